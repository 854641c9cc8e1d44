"""Whatever is commanded, pressed, broken off, killed and restarted: nobody gets a nanolitre, a microgram or a shot past
a hard limit of any formulary.

The machine plays against a gun that knows the truth: where the plunger really is, what really left the needle, into
whom and when. The truth is held to the limits after every step; the book is not asked.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from device.core.console import Console, State
from device.core.device_spec import DeviceSpec, SoftLimits
from device.core.effects import (
    Commit,
    Effect,
    HomePlunger,
    LoadPump,
    ProbePump,
    ReadPosition,
    Refill,
    Send,
)
from device.core.events import (
    ArmRequested,
    ChangeNeedleRequested,
    ChangeVialRequested,
    Command,
    DisarmRequested,
    Event,
    FaultClearRequested,
    HomeRequested,
    OverrideRequested,
    PauseRequested,
    PlungerAtTop,
    PositionRead,
    PrimeRequested,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    Request,
    ResumeRequested,
    SessionStopRequested,
    Started,
)
from device.core.ledger import Ledger, apply
from device.core.limits import ingredient_limit
from device.core.machine import step
from device.core.magazine import PumpProgram, RealtimeMagazine
from device.core.patient_day import DAY_MS
from device.core.patient_hour import HOUR_MS
from device.core.profile import Mode, Profile
from device.core.realtime_messages import (
    EndReason,
    Home,
    Homed,
    Load,
    Loaded,
    MagazineEnded,
    Ready,
    Reset,
    ShotReport,
    StrokeStarted,
    Unload,
)
from device.core.serum import Serum
from device.core.settlement import reads_as
from device.core.soft_limits import NAMES
from device.core.units import Increments, Micrograms, Nanolitres
from device.core.vial import Vial
from tests.support.core import FORMULARY, SPEC, SYRINGE, make_ingredient, make_profile, make_serum
from tests.support.machine import CALIBRATE, START_SESSION

NOON_MS = 1_772_600_000_000
PATIENTS = ("anna", "carl", "")
DOSES_NL = (5_000, 12_345, 20_000)
COMMANDS = ("start", "stop", "home", "prime", "arm", "disarm", "override", "clear", "pause", "resume", "needle", "vial")
EVENTS_MOST = 400
"""More than any command needs until the gun rests again."""


@dataclass(frozen=True)
class Given:
    """What a stroke really gave: to whom, when, in which session, of which serum, and how many increments."""

    patient: str
    at_ms: int
    session_id: str
    serum: Serum
    weight_g: int | None
    increments: int


@dataclass(frozen=True)
class Formulary:
    """What a clinic could write, tight enough to be reached in a few shots."""

    spec: DeviceSpec
    profile: Profile
    serums: tuple[Serum, Serum]
    """One ingredient in two strengths, limited in the same way."""


@st.composite
def formularies(draw: st.DrawFn) -> Formulary:
    session_nl, hour_shots = draw(st.integers(30_000, 200_000)), draw(st.integers(1, 12))
    limits = replace(
        SPEC.limits,
        session_nl=Nanolitres(session_nl),
        patient_day_nl=Nanolitres(draw(st.integers(30_000, 250_000))),
        session_shots=draw(st.integers(1, 9)),
        hour_shots=hour_shots,
    )
    soft = SoftLimits()
    if (percent := draw(st.one_of(st.none(), st.integers(20, 90)))) is not None:
        soft = SoftLimits(
            session_nl=Nanolitres(session_nl * percent // 100), hour_shots=max(1, hour_shots * percent // 100)
        )
    profile = make_profile(
        dose_nl=draw(st.sampled_from(DOSES_NL)),
        mode=draw(st.sampled_from(list(Mode))),
        burst_shots=2,
        suck_back_nl=draw(st.sampled_from([0, 500])),
        session_volume_nl=draw(st.integers(30_000, 200_000)),
        session_shots=draw(st.integers(1, 12)),
    )
    limited = make_ingredient(
        ug_per_ml=draw(st.integers(1, 20_000)),
        most_ug=draw(st.integers(50, 2_000)),
        most_ug_per_kg=draw(st.one_of(st.none(), st.integers(1, 30))),
    )
    stronger = replace(limited, name="LIDOCAINE", concentration_ug_per_ml=2 * limited.concentration_ug_per_ml)
    serums = (make_serum(limited), replace(make_serum(stronger), name="strong"))
    return Formulary(replace(SPEC, limits=limits, soft=soft), profile, serums)


class Gun(RuleBasedStateMachine):
    """A gun with a formulary, its operator, and its truth."""

    @initialize(formulary=formularies())
    def switch_on(self, formulary: Formulary) -> None:
        self.spec, self.profile, self.serums = formulary.spec, formulary.profile, formulary.serums
        self.now_ms = NOON_MS
        self.requests = 0
        self.ledger = Ledger()
        self.given: list[Given] = []
        self.strokes: list[tuple[str, int]] = []
        self.place = self.low_water = 0
        self.initialised = True
        self.program: PumpProgram | None = None
        self.magazine: RealtimeMagazine | None = None
        self.console = Console(spec=self.spec, ledger=self.ledger, formulary=FORMULARY)
        self.take(Started())
        self.ask(lambda request: HomeRequested(request, plunger=True, patient_detached=True))
        self.ask(lambda request: replace(CALIBRATE, request=request, expires_ms=NOON_MS + 366 * DAY_MS))

    # The machine and its gun ------------------------------------------------------------------------------------

    def ask(self, command: Callable[[Request], Command]) -> None:
        self.requests += 1
        self.take(command(Request(self.requests, uid=0, pid=1, at_ms=self.now_ms, may_override=True)))

    def take(self, event: Event) -> None:
        """Give an event to the machine, and whatever the gun says to its effects, until the gun rests."""
        events = deque([event])
        for _ in range(EVENTS_MOST):
            if not events:
                return
            self.console, effects = step(self.console, events.popleft())
            for effect in effects:
                events.extend(self.answer(effect))
        raise AssertionError(f"no rest after {EVENTS_MOST} events")

    def answer(self, effect: Effect) -> list[Event]:
        match effect:
            case Commit(records):
                for record in records:
                    self.ledger = apply(self.ledger, record)
                return []
            case ProbePump():
                self.program = None
                return [PumpProbed(Increments(self.place) if self.initialised else None)]
            case Send(Reset()):
                return [Ready(homed=True)]
            case Send(Home()):
                return [Homed(0)]
            case Send(Unload()) if self.magazine is not None:
                return [self.ended(EndReason.UNLOADED, opened=0, done=0)]
            case Send(Load(magazine)):
                self.magazine = magazine
                if self.console.state is State.PRIMING:
                    return self.primed()
                return [Loaded(magazine.magazine_id)]
            case HomePlunger():
                self.place = self.low_water = 0
                self.initialised = True
                return [PlungerAtTop(Increments(0))]
            case Refill(target=target):
                self.low_water += target - self.place
                self.place = target
                return [RefillDone(target)]
            case LoadPump(program):
                assert reads_as(self.place, program.start)
                self.program = program
                return [PumpLoaded(program.magazine_id)]
            case ReadPosition():
                self.program = None
                return [PositionRead(Increments(self.place), self.now_ms)]
            case _:
                return []

    def ended(self, reason: EndReason, *, opened: int, done: int) -> MagazineEnded:
        assert self.magazine is not None
        number, self.magazine = self.magazine.magazine_id, None
        return MagazineEnded(magazine_id=number, reason=reason, shots_fired=0, opened=opened, done=done)

    def primed(self) -> list[Event]:
        assert self.program is not None
        moves = len(self.program.moves)
        self.place = self.low_water = self.program.moves[-1].target
        return [self.ended(EndReason.COMPLETE, opened=moves, done=moves)]

    def move(self, target: int) -> None:
        """Move the plunger; what leaves the needle is what goes below where it was lowest."""
        session = self.console.session
        assert session is not None
        out = max(0, self.low_water - target)
        self.place, self.low_water = target, min(self.low_water, target)
        if out:
            self.given.append(
                Given(session.patient, self.now_ms, session.session_id, session.serum, session.weight_g, out)
            )

    # What the operator does -------------------------------------------------------------------------------------

    def command(
        self, kind: str, *, patient: str, serum: int, volume_nl: int, limit: str
    ) -> Callable[[Request], Command]:
        chosen = self.serums[serum]
        started = replace(
            START_SESSION,
            session_id=f"s-{self.requests}",
            profile=self.profile,
            serum=chosen,
            serum_sha256=chosen.name,
            patient=patient,
            weight_g=70_000,
            regions=(),
        )
        commands: dict[str, Callable[[Request], Command]] = {
            "start": lambda request: replace(started, request=request),
            "stop": SessionStopRequested,
            "home": lambda request: HomeRequested(request, plunger=True, patient_detached=True),
            "prime": lambda request: PrimeRequested(request, Nanolitres(volume_nl)),
            "arm": ArmRequested,
            "disarm": DisarmRequested,
            "override": lambda request: OverrideRequested(request, limit, reason="as agreed", by="a physician"),
            "clear": FaultClearRequested,
            "pause": PauseRequested,
            "resume": ResumeRequested,
            "needle": lambda request: ChangeNeedleRequested(request, needle=""),
            "vial": lambda request: ChangeVialRequested(request, Vial("L-2")),
        }
        return commands[kind]

    @rule(
        kinds=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=3),
        patient=st.sampled_from(PATIENTS),
        serum=st.integers(0, 1),
        volume_nl=st.integers(1_000, 350_000),
        limit=st.sampled_from(NAMES),
    )
    def anything(self, kinds: list[str], patient: str, serum: int, volume_nl: int, limit: str) -> None:
        """Give commands at the right and at the wrong moment."""
        for kind in kinds:
            self.ask(self.command(kind, patient=patient, serum=serum, volume_nl=volume_nl, limit=limit))

    @rule(patient=st.sampled_from(PATIENTS), serum=st.integers(0, 1), again=st.booleans(), word=st.booleans())
    def come_to_arms(self, patient: str, serum: int, again: bool, word: bool) -> None:
        """Do what it takes to have an armed gun, with a new session or in the open one."""
        ways = ["clear", "disarm", *(["stop", "home", "start"] if again else ["start", "home", "resume", "prime"])]
        for kind in (*ways, *(["override"] * word), "arm"):
            for limit in NAMES if kind == "override" else NAMES[:1]:
                self.ask(self.command(kind, patient=patient, serum=serum, volume_nl=1_000, limit=limit))

    @rule(minutes=st.sampled_from([1, 10, 59, 60, 23 * 60, 24 * 60]))
    def wait(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    # What the trigger and the world do --------------------------------------------------------------------------

    def is_armed(self) -> bool:
        return self.console.state is State.ARMED and self.magazine is not None

    @precondition(is_armed)
    @rule(shots=st.integers(1, 8))
    def press(self, shots: int) -> None:
        """Give the magazine whole; where the next is loaded, go on, as long as the trigger is held."""
        for _ in range(shots):
            if not self.is_armed():
                return
            moves = self.fired()
            self.take(self.ended(EndReason.COMPLETE, opened=moves, done=moves))

    @precondition(is_armed)
    @rule(percent=st.integers(0, 100), unseen=st.booleans())
    def release(self, percent: int, unseen: bool) -> None:
        """Break the magazine off in the middle of a move; the end of the move before may not have been seen yet."""
        opened = self.fired(percent)
        done = max(0, opened - 1 - unseen)
        self.take(self.ended(EndReason.RELEASED, opened=opened, done=done))

    @precondition(is_armed)
    @rule(percent=st.integers(0, 100), power=st.booleans())
    def die(self, percent: int, power: bool) -> None:
        """Kill the controller in mid-magazine; with `power` the pump too, which then knows its place no more."""
        self.fired(percent)
        if power:
            self.initialised = False
        self.restart()

    @rule()
    def restart(self) -> None:
        """Start anew with what was written down; the open session goes on."""
        session = self.console.session if self.ledger.session is not None else None
        self.magazine = self.program = None
        self.console = Console(spec=self.spec, ledger=self.ledger, formulary=FORMULARY, session=session)
        self.take(Started())

    def fired(self, percent: int = 100) -> int:
        """Carry out so much of the loaded program; return how many gates that opened."""
        assert self.program is not None
        assert self.magazine is not None
        assert self.console.session is not None
        patient = self.console.session.patient
        number, moves = self.magazine.magazine_id, self.program.moves
        per_shot = len(moves) // self.magazine.shots
        whole, part = divmod(len(moves) * percent, 100)
        counted = -1
        for index, move in enumerate(moves[: whole + (part > 0)]):
            shot, given = index // per_shot, len(self.given)
            if index % per_shot == 0:
                self.console, _ = step(self.console, StrokeStarted(number, shot))
            self.move(move.target if index < whole else self.place + (move.target - self.place) * part // 100)
            if len(self.given) > given and counted != shot:
                # One that has only repaid the suck-back before it is no shot: nothing has left the needle.
                self.strokes.append((patient, self.now_ms))
                counted = shot
            self.now_ms += 100
            if index % per_shot == per_shot - 1 and index < whole:
                self.console, _ = step(self.console, self.report(number, index // per_shot, per_shot))
        return whole + (part > 0)

    def report(self, number: int, index: int, moves: int) -> ShotReport:
        return ShotReport(
            magazine_id=number, index=index, opened=moves, done=moves, fault=0, released=False, steps_in=1, steps_out=1
        )

    # The law ----------------------------------------------------------------------------------------------------

    @invariant()
    def the_truth_is_within_every_hard_limit(self) -> None:
        if not hasattr(self, "spec"):
            return
        limits, now_ms = self.spec.limits, self.now_ms
        in_session: dict[str, int] = {}
        for one in self.given:
            in_session[one.session_id] = in_session.get(one.session_id, 0) + one.increments
        for increments in in_session.values():
            given_nl = SYRINGE.volume_of(Increments(increments))
            assert given_nl <= min(limits.session_nl, self.profile.session_volume_nl)
        for patient in PATIENTS:
            today = [one for one in self.given if one.patient == patient and now_ms - one.at_ms < DAY_MS]
            assert SYRINGE.volume_of(Increments(sum(one.increments for one in today))) <= limits.patient_day_nl
            strokes = [at_ms for who, at_ms in self.strokes if who == patient and now_ms - at_ms < HOUR_MS]
            assert len(strokes) <= limits.hour_shots
            self.ingredient_of(today)

    def ingredient_of(self, today: list[Given]) -> None:
        """Hold what a patient had to the limit of the session that gave last."""
        if not today:
            return
        (ingredient,) = today[-1].serum.ingredients
        most_ug = ingredient_limit(ingredient, today[-1].weight_g)
        # nL x ug/mL: millionths of a microgram.
        had = sum(
            SYRINGE.volume_of(Increments(one.increments)) * one.serum.ingredients[0].concentration_ug_per_ml
            for one in today
        )
        assert most_ug is None or had <= Micrograms(most_ug) * 1_000_000


Gun.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestNeverPastALimit: Any = Gun.TestCase
