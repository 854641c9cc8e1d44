"""Laws of the machine over walks of every kind, likely and unlikely."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    LoadPump,
    Refill,
    Reply,
    Send,
    TerminatePump,
)
from device.core.events import (
    ArmRequested,
    Event,
    FaultClearRequested,
    FaultOccurred,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    Request,
    SessionStartRequested,
    SessionStopRequested,
    ShutdownRequested,
    Started,
)
from device.core.faults import Fault
from device.core.ledger import Ledger, apply
from device.core.machine import COMMANDS, EVENTS, TABLE, step
from device.core.profile import Mode
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Homed,
    Load,
    Loaded,
    Ready,
    StrokeStarted,
)
from device.core.records import (
    CommandTaken,
    FaultRaised,
    FaultsCleared,
    MagazineIntent,
)
from device.core.session import Region
from device.core.units import Increments
from tests.support.core import make_serum
from tests.support.machine import (
    CALIBRATE,
    FILLED,
    HOME_PLUNGER,
    MOVES,
    PRIME,
    PROFILE,
    START_SESSION,
    STARTING,
    TYPICAL,
    magazine_ended,
    records_in,
    shot_report,
)


@dataclass
class Watch:
    """Follows a walk of the machine and checks its laws after every step."""

    console: Console
    committed: set[int] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    faulty: bool = False
    testing: bool = False
    effects: tuple[Effect, ...] = ()

    def take(self, event: Event) -> None:
        command = event.request.number if isinstance(event, COMMANDS) else None
        if command is not None:
            self.asked.append(command)
        # Until the self-test is over nothing can be under way in the pump.
        self.testing = self.console.state in (State.STARTING, State.SELF_TEST)
        listed = TABLE.get((self.console.state, type(event)))
        stays = (self.console.state,)
        self.console, self.effects = step(self.console, event)
        assert self.console.state in (*(listed.to if listed is not None else stays), State.FAULT)
        effects = self.effects
        kinds = [type(effect) for effect in effects]
        for place, effect in enumerate(effects):
            self._follow(effect, kinds[:place])
        # The record of a command says what the command's sender was told, as far as it is known with it.
        told = [each.accepted for each in effects if isinstance(each, Reply) and each.request.number == command]
        written = [record.accepted for record in records_in(effects) if isinstance(record, CommandTaken)]
        assert len(written) == (command is not None)
        assert not told or written == told
        # The ledger is what a restart would read from the journal, and nothing else.
        assert self.console.ledger == self.ledger
        assert self.faulty is bool(self.ledger.faults)
        if self.ledger.faults:
            assert self.console.state in (State.FAULT, State.STARTING, State.SELF_TEST)
            assert not self.console.armed
        waiting = [number for number in self.asked if number not in self.answered]
        assert waiting == ([self.console.pending.number] if self.console.pending is not None else [])

    def _follow(self, effect: Effect, before: list[type[Effect]]) -> None:
        match effect:
            case Commit(records):
                for record in records:
                    self.ledger = apply(self.ledger, record)
                    if isinstance(record, MagazineIntent):
                        assert not self.faulty
                        self.committed.add(record.magazine_id)
                    if isinstance(record, FaultRaised):
                        assert TerminatePump in before or self.testing
                        self.faulty = self.faulty or record.latched
                    if isinstance(record, FaultsCleared):
                        self.faulty = False
            case LoadPump(program):
                assert program.magazine_id in self.committed
                assert not self.faulty
                assert self.ledger.open_intent is not None
                assert self.ledger.open_intent.magazine_id == program.magazine_id
            case Send(Load(magazine)):
                assert magazine.magazine_id in self.committed
                assert not self.faulty
            case Reply(request):
                assert request.number in self.asked
                assert request.number not in self.answered
                self.answered.append(request.number)
            case _:
                pass


def expected_events(console: Console, number: int, value: int) -> list[Event]:
    """Return what a working gun could report next in this state, and what an operator would ask for."""
    request = Request(number, 1000, 77)
    magazine_id = console.magazine.magazine_id if console.magazine is not None else 0
    start = console.ledger.position or 0
    position = Increments(max(0, start - value % 600))
    opened = value % (MOVES + 1)
    reason = [EndReason.COMPLETE, EndReason.RELEASED, EndReason.UNLOADED][value % 3]
    match console.state:
        case State.STARTING:
            return [Started()]
        case State.SELF_TEST:
            return [Ready(homed=bool(value % 4)), PumpProbed(Increments(start)), PumpProbed(position)]
        case State.DISARMED:
            return [replace(event, request=request) for event in (HOME_PLUNGER, CALIBRATE, START_SESSION)]
        case State.HOMING:
            return [Homed(3)] if console.plunger_wanted else [PlungerAtTop(Increments(0))]
        case State.SESSION:
            arm, prime = ArmRequested(request), replace(PRIME, request=request)
            return [arm, arm, prime, Ready(homed=True), SessionStopRequested(request)]
        case State.REFILLING:
            return [RefillDone(FILLED)]
        case State.LOADING:
            return [PumpLoaded(magazine_id), Loaded(magazine_id), Loaded(magazine_id)]
        case State.PRIMING if console.ended is None:
            return [PumpLoaded(magazine_id), magazine_ended(opened=1, done=1, magazine_id=magazine_id)]
        case State.PRIMING:
            return [PositionRead(position)]
        case State.ARMED:
            return [
                StrokeStarted(magazine_id, 0),
                StrokeStarted(magazine_id, 0),
                magazine_ended(reason, opened=0, done=0),
            ]
        case State.FIRING:
            return [shot_report(magazine_id), magazine_ended(reason, opened=opened, done=max(0, opened - 1))]
        case State.SETTLING:
            return [PositionRead(position), PositionRead(position), PositionRead(None), Ready(homed=True)]
        case State.FAULT:
            return [PositionRead(position), FaultClearRequested(request), Ready(homed=False), Homed(2)]


def any_event(number: int, value: int) -> Event:
    """Return an event that nobody expects."""
    kind = EVENTS[value % len(EVENTS)]
    event = TYPICAL[kind]
    if isinstance(event, COMMANDS):
        return replace(event, request=Request(number, 1000, 77))
    if isinstance(event, FaultOccurred | Faulted):
        return replace(event, fault=list(Fault)[value % len(Fault)])
    return event


READY_TO_ARM: tuple[Event, ...] = (
    Started(),
    PumpProbed(None),
    Ready(homed=True),
    replace(HOME_PLUNGER, request=Request(-3, 0, 0)),
    Homed(1),
    PlungerAtTop(Increments(0)),
    replace(CALIBRATE, request=Request(-4, 0, 0)),
    replace(START_SESSION, request=Request(-2, 0, 0), regions=(Region("all", 70),)),
)
choices = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 100_000)), min_size=10, max_size=60)


@settings(max_examples=100, deadline=None)
@given(begun=st.integers(0, len(READY_TO_ARM)), armed=st.booleans(), choices=choices)
def test_on_every_walk_the_machine_keeps_its_laws(begun: int, armed: bool, choices: list[tuple[int, int]]) -> None:
    watch = Watch(STARTING)
    for event in READY_TO_ARM if armed else READY_TO_ARM[:begun]:
        watch.take(event)
    if armed:
        watch.take(ArmRequested(Request(-1, 0, 0)))
    for number, (luck, value) in enumerate(choices, start=1):
        likely = expected_events(watch.console, number, value)
        event = any_event(number, value) if luck == 12 else likely[value // 7 % len(likely)]
        if not isinstance(event, ShutdownRequested) and not _not_journalled(event):
            watch.take(event)


def _not_journalled(event: Event) -> bool:
    """A fault of the journal itself cannot be written to it: the book is then ahead of the journal."""
    return isinstance(event, FaultOccurred | Faulted) and event.fault is Fault.JOURNAL_WRITE_FAILED


def fire_while_armed(watch: Watch) -> int:
    """Arm, and play a gun that does all it is told until no magazine follows; return how often it was refilled."""
    watch.take(ArmRequested(Request(-1, 0, 0)))
    refills = 0
    for _ in range(EVENTS_MOST):
        console = watch.console
        number = console.ledger.magazines
        match console.state:
            case State.REFILLING:
                (refill,) = [effect for effect in watch.effects if isinstance(effect, Refill)]
                watch.take(RefillDone(refill.target))
                refills += 1
            case State.LOADING:
                watch.take(PumpLoaded(number))
                watch.take(Loaded(number))
            case State.ARMED:
                assert console.magazine is not None
                shots = len(console.magazine.shots)
                for index in range(shots):
                    watch.take(StrokeStarted(number, index))
                    watch.take(shot_report(number, index))
                watch.take(magazine_ended(opened=MOVES * shots, done=MOVES * shots, magazine_id=number))
                watch.take(PositionRead(console.magazine.pump_program().moves[-1].target))
            case state:
                assert state is State.SESSION
                return refills
    raise AssertionError(f"still {watch.console.state} after {EVENTS_MOST} magazines and refills")


EVENTS_MOST = 300
"""More magazines and refills than the longest of these sessions has: one that needs more goes on for ever."""


def opened_session(**changes: Any) -> Watch:
    """Return a watch over a console whose session was started with `changes`."""
    watch = Watch(STARTING)
    for event in READY_TO_ARM:
        watch.take(replace(event, **changes) if isinstance(event, SessionStartRequested) else event)
    return watch


@pytest.mark.parametrize("mode", list(Mode))
def test_a_whole_session_of_many_shots_keeps_the_laws_in_every_mode(mode: Mode) -> None:
    watch = opened_session(profile=replace(PROFILE, mode=mode, burst_shots=2))
    refills = fire_while_armed(watch)
    totals = watch.console.ledger.session
    assert totals is not None
    assert (totals.shots, totals.volume_nl) == (70, 1_400_000)
    # The syringe holds 1 mL, the vial 5 mL.
    assert refills == 2


BURSTS_OF_THREE = replace(PROFILE, mode=Mode.BURST, burst_shots=3)


def test_a_burst_that_the_vial_cannot_give_whole_is_refused_with_an_answer_and_without_a_refill() -> None:
    # The syringe once was filled again and again from a vial that held fewer shots than the burst.
    watch = opened_session(profile=BURSTS_OF_THREE, regions=(), serum=make_serum(vial_nl=50_000))
    assert fire_while_armed(watch) == 0
    (reply,) = [effect for effect in watch.effects if isinstance(effect, Reply)]
    assert not reply.accepted
    assert "reservoir" in reply.reasons[0]


def test_bursts_end_with_the_last_whole_one_in_the_vial() -> None:
    watch = opened_session(profile=BURSTS_OF_THREE, regions=(), serum=make_serum(vial_nl=150_000))
    assert fire_while_armed(watch) == 1
    totals = watch.console.ledger.session
    assert totals is not None
    assert (totals.shots, totals.volume_nl) == (6, 120_000)
