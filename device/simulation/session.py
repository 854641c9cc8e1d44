"""One simulated session from a seed: a treatment, what goes wrong in it, and what came of it.

Owns the course of a session with its recoveries, and the verdict. Everything is decided by the plan: the same plan and
the same code give the same fingerprint.
"""

import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from device.core.console import State
from device.core.events import SessionStopRequested
from device.core.faults import Fault
from device.core.records import FaultRaised, MagazineSettled, PressRefused, Refilled, ShotGiven
from device.core.units import Increments
from device.settings import Configuration
from device.simulation.clinic import MARKS, Treatment, arm, latched, make_ready, mark, recover, start_session, treat
from device.simulation.delivery import delivery_violations
from device.simulation.gun import VirtualGun
from device.simulation.mishaps import Level, Mishap, Scene, plan_mishaps, repair
from device.simulation.oracles import Watch, check_the_book
from device.simulation.trace import Fingerprint, Trace
from drivers.sim.fluid import FLUID_30G, FluidSpec

TREATMENTS_MOST: Final = 6
"""Times the session is taken up again after something went wrong."""
SETTLE_MS: Final = 450
"""How long the gun is left alone after the last mishap: longer than the longest freeze."""
RESTART_MS: Final = 400
"""The service manager's pause before it starts the controller again."""
WRITTEN_MS: Final = 2000
"""Longer than the slowest commit of a mishap."""
RESTARTS_MOST: Final = 5
"""Starts, each of which the power may cut short: one more than a session has mishaps."""
MISHAPS_WITHIN_MS: Final = 1500
DELIVERY_MS: Final = 90_000
"""Longer than the gateway's longest wait for a broker that is well again."""
PHYSICS_SHARE: Final = 0.4
"""Of the sessions in which something goes wrong; the others' books can be held to the increment."""
MARKS_SHARE: Final = 0.2
"""Of the sessions in which something goes wrong."""
ENCODER_SHARE: Final = 0.5
"""Of the sessions in which something goes wrong."""
ENCODER_ERROR: Final = 2
"""Increments by which the encoder then misses the plunger's place at most: its resolution (settlement's tolerance)."""
TRACE_EVENTS: Final = 6000
TRACE_LINES: Final = 60
"""What a person is shown of a trace that ends in a violation."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What is simulated. `content` is the plunger's position at the start, in increments; `move_ms` a point's way."""

    seed: int
    treatment: Treatment
    content: int
    mishaps: tuple[Mishap, ...] = ()
    move_ms: float = 0
    gateway: bool = False
    physics: bool = False
    """The tube gives way, the drive has play, the needle resists; otherwise the fluid follows the plunger at once."""
    encoder_error: int = 0
    """Increments by which the encoder's readings miss the plunger's place at most."""
    presses_most: int = 0
    sessions: int = 1
    """One after the other, of the same patient."""
    marks: tuple[str, ...] = ()
    """What is said of the points before each arming, of `clinic.MARKS`."""

    def __str__(self) -> str:
        """Return it in one line."""
        treatment = self.treatment
        struck = ", ".join(f"{mishap.name} at {mishap.at_ms} ms" for mishap in self.mishaps) or "nothing goes wrong"
        tube = "soft tube" if self.physics else "rigid tube"
        encoder = f", encoder +-{self.encoder_error}" if self.encoder_error else ""
        points = f"{treatment.points} points of {treatment.profile}"
        marks = f", {' '.join(self.marks)}" if self.marks else ""
        return f"seed {self.seed}: {points}, plunger {self.content}{encoder}, {tube}{marks}: {struck}"


@dataclass(slots=True)
class SessionResult:
    """What came of it. Volumes in nl, times in ms; `violations` is empty when every invariant held."""

    seed: int
    profile: str
    outcome: str
    """`completed`, `limit`, `vial empty`, `refused`, `not fit` or `gave up`."""
    shots: int = 0
    planned: int = 0
    booked_nl: int = 0
    given_nl: int = 0
    spilled_nl: int = 0
    duration_ms: int = 0
    refills: int = 0
    presses_refused: int = 0
    faults: list[str] = field(default_factory=list)
    mishaps: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """The limits reached, or why the session was refused."""
    violations: list[str] = field(default_factory=list)
    fingerprint: str = ""
    trace: str = ""


def plan_session(
    seed: int, treatment: Treatment, *, level: Level, contents: tuple[int, ...], move_ms: float = 0
) -> SessionPlan:
    """Return the session that `seed` decides. `contents`: where the plunger may stand at the start."""
    random = Random(seed)  # noqa: S311 - a reproducible session, no secret
    return SessionPlan(
        seed=seed,
        treatment=treatment,
        content=random.choice(contents),
        mishaps=plan_mishaps(random, level, until_ms=MISHAPS_WITHIN_MS),
        move_ms=move_ms,
        gateway=level is not Level.NONE,
        physics=level is Level.NONE or random.random() < PHYSICS_SHARE,
        encoder_error=_encoder_error(seed) if level is not Level.NONE else 0,
        marks=_marks(seed) if level is not Level.NONE else (),
    )


def _encoder_error(seed: int) -> int:
    """Return by how much the encoder misses; drawn apart, as the marks are."""
    random = Random(f"encoder {seed}")  # noqa: S311 - a reproducible session, no secret
    return ENCODER_ERROR if random.random() < ENCODER_SHARE else 0


def _marks(seed: int) -> tuple[str, ...]:
    """Return what is said of the points; drawn apart, so that nothing else of a seed's session is another for it."""
    random = Random(f"marks {seed}")  # noqa: S311 - a reproducible session, no secret
    return tuple(random.choices(MARKS, k=TREATMENTS_MOST)) if random.random() < MARKS_SHARE else ()


def run_session(plan: SessionPlan, configuration: Configuration) -> SessionResult:
    """Simulate it. Whatever goes wrong in the gun is in the result; nothing is raised."""
    disturbed = bool(plan.mishaps)
    fluid = fluid_of(configuration, plan.treatment) if plan.physics else None
    with VirtualGun(
        configuration,
        content=plan.content,
        seed=plan.seed,
        jitter=True,
        gateway=plan.gateway,
        fluid=fluid,
        encoder_error=plan.encoder_error,
    ) as gun:
        run = _Run(gun, plan, undisturbed=not disturbed)
        try:
            run.go()
        except Exception as error:  # noqa: BLE001 - whatever a part raises is a finding, and must not stop the others
            run.watch.violations.append(f"{type(error).__name__}: {error}")
        return run.result()


def fluid_of(configuration: Configuration, treatment: Treatment) -> FluidSpec:
    """Return the path of the fluid behind the treatment's syringe: 15 cm of tube and a 30G needle."""
    syringe = configuration.syringes[treatment.syringe].value
    backlash_pl = syringe.volume_of(syringe.backlash_increments) * 1000
    return replace(FLUID_30G, stroke_nl=syringe.stroke_nl, backlash_pl=backlash_pl)


class _Run:
    def __init__(self, gun: VirtualGun, plan: SessionPlan, *, undisturbed: bool) -> None:
        self._gun = gun
        self._plan = plan
        self.watch = Watch(gun, undisturbed=undisturbed)
        self._fingerprint = Fingerprint()
        self._trace = Trace(gun.configuration.lines, most=TRACE_EVENTS)
        self._trace.begin()
        self._looked = 0
        self._arrived = False
        gun.audience.add(self._fingerprint, self._trace)
        self._result = SessionResult(
            plan.seed,
            plan.treatment.profile,
            "gave up",
            planned=plan.treatment.points,
            mishaps=[f"{mishap.name} at {mishap.at_ms} ms" for mishap in plan.mishaps],
        )

    def go(self) -> None:
        """Run the session to its end."""
        gun, plan, result = self._gun, self._plan, self._result
        make_ready(gun)
        began_ns = gun.time.now_ns
        started = start_session(gun, plan.treatment)
        if not started.accepted:
            result.outcome, result.reasons = "refused", list(started.reasons)
            return
        scene = Scene(gun, self.watch)
        for mishap in plan.mishaps:
            gun.time.after(mishap.at_ms * 1_000_000, lambda mishap=mishap: scene.strike(mishap))  # type: ignore[misc]
        last_ms = max((mishap.at_ms for mishap in plan.mishaps), default=0)
        presses = plan.presses_most or 4 * plan.treatment.points + 8
        for time in range(TREATMENTS_MOST):
            if plan.marks and gun.state is State.SESSION:
                mark(gun, plan.marks[time])
            armed = treat(gun, presses_most=presses, move_ms=plan.move_ms)
            if plan.mishaps:
                gun.run_for(max(SETTLE_MS, SETTLE_MS + last_ms - (gun.time.now_ns - began_ns) / 1e6))
                if not self._made_fit():
                    result.outcome = "not fit"
                    break
            if self._done():
                result.outcome = "completed"
                break
            if self._refused(armed.reasons):
                break
        result.duration_ms = (gun.time.now_ns - began_ns) // 1_000_000
        for number in range(1, plan.sessions):
            if gun.state is State.SESSION:
                gun.ask(SessionStopRequested)
            if start_session(gun, plan.treatment, session_id=f"s-{number + 1:04}").accepted:
                treat(gun, presses_most=presses, move_ms=plan.move_ms)
                self._made_fit()
        if gun.state is State.SESSION:
            gun.ask(SessionStopRequested)
        self._judge_delivery()

    def _done(self) -> bool:
        totals = self._gun.console.ledger.session
        return totals is not None and totals.progress.left == 0

    def _refused(self, reasons: tuple[str, ...]) -> bool:
        """Whether no more may be given; notes why."""
        gun, result = self._gun, self._result
        if gun.state is not State.SESSION or gun.console.ledger.session is None:
            if gun.console.ledger.session is None and gun.alive:
                result.outcome, result.reasons = "limit", ["the session has ended"]
                return True
            return False
        answer = arm(gun) if not reasons else None
        found = reasons if answer is None else answer.reasons
        if not found:
            return False
        result.reasons = list(found)
        result.outcome = "vial empty" if any("vial" in reason for reason in found) else "limit"
        return True

    def _made_fit(self) -> bool:
        """Repair what lasts, restart what is dead, recover, and judge the books; whether the gun is fit again."""
        gun = self._gun
        fit = False
        for _ in range(RESTARTS_MOST):
            # The power may go again at the start, in the middle of its first record.
            repair(gun)
            self._restart_what_is_dead()
            fit = recover(gun)
            if gun.alive:
                break
        if fit and latched(gun):
            self.watch.violations.append(f"fit with latched faults {sorted(latched(gun))}")
        gun.run_until(lambda: not gun.disk.busy, within_ms=WRITTEN_MS)
        if gun.state in (State.SESSION, State.DISARMED):
            self.watch.violations += check_the_book(gun, self.watch)
        if not fit:
            self.watch.violations.append(f"not fit again: {gun.state.name}, latched {sorted(latched(gun))}")
        return fit

    def _restart_what_is_dead(self) -> None:
        gun = self._gun
        if not gun.alive:
            gun.run_for(RESTART_MS)
            gun.restart_controller()

    def _judge_delivery(self) -> None:
        gun = self._gun
        if gun.gateway is None:
            return
        gun.broker.recover()
        # The power may have gone with the session's last record.
        self._restart_what_is_dead()
        gun.start_gateway()
        # What a starting controller writes down must arrive as well.
        gun.run_until(lambda: gun.state not in (State.STARTING, State.SELF_TEST), within_ms=WRITTEN_MS)
        wanted = gun.controller.journal.head.seq
        gun.run_until(lambda: self._has_arrived(wanted), within_ms=DELIVERY_MS)
        gun.run_for(200)
        refused = any(mishap.name == "broker_refuses" for mishap in self._plan.mishaps)
        self.watch.violations += delivery_violations(
            [gun.entries()], gun.broker.received, gun.address, in_order_at_first=not refused
        )

    def _has_arrived(self, seq: int) -> bool:
        """Whether the broker has taken that record."""
        received = self._gun.broker.received
        fresh, self._looked = received[self._looked :], len(received)
        self._arrived = self._arrived or any(json.loads(message.payload).get("seq") == seq for message in fresh)
        return self._arrived

    def result(self) -> SessionResult:
        """Return what came of it."""
        gun, result = self._gun, self._result
        records = gun.records()
        outcomes = [record for record in records if isinstance(record, MagazineSettled)]
        syringe = gun.configuration.syringes[self._plan.treatment.syringe].value
        if not self.watch.violations and not self._plan.mishaps:
            self.watch.violations += check_the_book(gun, self.watch)
        result.shots = sum(isinstance(record, ShotGiven) for record in records)
        result.booked_nl = sum(record.given_nl for record in outcomes)
        result.given_nl = syringe.volume_of(Increments(gun.world.given_in_tissue))
        result.spilled_nl = syringe.volume_of(Increments(gun.world.given_in_air))
        result.refills = sum(isinstance(record, Refilled) for record in records)
        result.presses_refused = sum(record.presses for record in records if isinstance(record, PressRefused))
        result.faults = [Fault(record.code).name.lower() for record in records if isinstance(record, FaultRaised)]
        result.violations = self.watch.violations
        result.fingerprint = self._fingerprint.hexdigest()
        if result.violations:
            result.trace = "\n".join(self._trace.text().splitlines()[-TRACE_LINES:])
        return result
