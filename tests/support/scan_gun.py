"""A gun in virtual time around the scan: a needle that follows steps, a home switch, and a loaded pump.

It shares no code with the simulator under `drivers/sim`, so the scan is judged by two independent worlds. Every scan
is checked for what must hold in each of them: an open gate only in a stroke, with a magazine, a fresh permit, a link
and no stop; no step and no gate in the safe mode.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from device.core.faults import Fault
from device.core.magazine import RealtimeMagazine
from device.core.realtime_messages import (
    Faulted,
    Home,
    Inputs,
    Load,
    MagazineEnded,
    Order,
    PressIgnored,
    PressRefusal,
    Report,
    Reset,
    inputs_of,
)
from device.core.stroke import Scan, ScanMode, ScanSpec, ScanState, initial_state, scan
from tests.support.core import MS, SCAN_SPEC, STROKE, make_magazine

NEVER_NS = 1 << 62
SCANS_MOST = 20_000
"""More scans than any way to a safe end takes: a gun that needs more hangs."""


@dataclass(frozen=True)
class Move:
    """One plunger move that the pump made: its gate's number and the needle's true place at both its ends."""

    gate: int
    opened_at: int
    ended_at: int


@dataclass
class Gun:
    """Needle, switches and a loaded pump around the scan; time passes from one wake-up to the next.

    `needle` is where the needle really is. `steps_that_count` decides for each step, by its number, whether the motor
    follows. `home_lag_ns` is what the home switch takes to close behind the needle. `move_ns` is what the pump takes
    for a move; None: it never ends one. `stuck_gate` is a gate line that the pump always reads as open, 0 none.
    """

    spec: ScanSpec = SCAN_SPEC
    state: ScanState = field(default_factory=initial_state)
    now_ns: int = 1_000 * MS
    needle: int = 0
    deepest: int = 0
    trigger: bool = False
    trigger_b: bool | None = None
    stop: bool = False
    stop_b: bool | None = None
    contact: bool = True
    linked: bool = True
    permit_fresh: bool = True
    home_works: bool = True
    home_lag_ns: int = 0
    line_stuck: bool | None = None
    stuck_gate: int = 0
    move_ns: int | None = 4 * MS
    steps_that_count: Callable[[int], bool] = lambda number: True
    steps: int = 0
    phase: bool = False
    reports: list[Report] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    opened: int = 0
    gate: int = 0
    _running: tuple[int, int, int] | None = None
    _program: int = 0
    _ended: int = 0
    _home_since_ns: int = 0

    def copy(self) -> Self:
        """Return a gun that goes on from here by itself."""
        return replace(self, reports=list(self.reports), moves=list(self.moves))

    def scan(self, order: Order | None = None) -> Scan:
        """Make one scan, let the world follow, go to the wake-up time."""
        if isinstance(order, Load):
            self._load(order.magazine)
        self._pump()
        trigger_b = self.trigger if self.trigger_b is None else self.trigger_b
        stop_b = self.stop if self.stop_b is None else self.stop_b
        phase = self.phase if self.line_stuck is None else self.line_stuck
        levels = (self.trigger, trigger_b, self.stop, stop_b, self._at_home(), self.contact, phase)
        result = self._result(inputs_of(levels), order)
        # A reading of its own is looked at anew: the shorter way of a plain step must come to the same.
        assert remembered(result) == remembered(self._result(Inputs(*levels), order))
        self._check(result)
        self.state = result.state
        self.reports += result.reports
        self._follow(result)
        self.now_ns = max(result.wake_ns, self.now_ns + 1_000)
        return result

    def _result(self, inputs: Inputs, order: Order | None) -> Scan:
        return scan(
            self.state,
            inputs,
            order,
            spec=self.spec,
            now_ns=self.now_ns,
            permit_until_ns=self.now_ns + 10 * MS if self.permit_fresh else self.now_ns - 1,
            linked=self.linked,
        )

    def _check(self, result: Scan) -> None:
        outputs = result.outputs
        if outputs.gate:
            assert result.state.mode is ScanMode.STROKE
            assert result.state.loaded is not None
            assert self.permit_fresh
            assert self.linked
            assert not self.stop
            assert not self.stop_b
            assert outputs.enable
        if outputs.step:
            assert outputs.enable
            timing = self.spec.timing
            assert self.now_ns - timing.late_limit_ns <= result.step_due_ns <= self.now_ns
            assert result.state.motion is not None
            assert result.wake_ns == min(result.state.motion.due_ns, self.now_ns + timing.armed_scan_ns)
        if result.state.mode is ScanMode.SAFE:
            assert (outputs.enable, outputs.step, outputs.gate) == (False, 0, 0)

    def _follow(self, result: Scan) -> None:
        outputs = result.outputs
        if outputs.step:
            self.steps += 1
            if self.steps_that_count(self.steps) and self.needle + outputs.step >= 0:
                self.needle += outputs.step
                self._home_since_ns = self.now_ns
        self.deepest = max(self.deepest, self.needle)
        if outputs.gate and outputs.gate != self.gate:
            self.opened += 1
        self.gate = outputs.gate
        self._pump()

    def _at_home(self) -> bool:
        return self.home_works and self.needle <= 0 and self.now_ns >= self._home_since_ns + self.home_lag_ns

    def _load(self, magazine: RealtimeMagazine) -> None:
        """The controller has loaded the pump before the scan gets its part: halted at gate 1, phase line at 0."""
        self._program = magazine.shots * magazine.stroke.moves
        self._ended = 0
        self._running = None
        self.phase = False

    def _pump(self) -> None:
        """Run the program's next move when its gate is open: the gates take turns."""
        if self._running is not None:
            gate, opened_at, end_ns = self._running
            if self.now_ns < end_ns:
                return
            self.moves.append(Move(gate, opened_at, self.needle))
            self.phase = not self.phase
            self._ended += 1
            self._running = None
        next_gate = 1 + self._ended % 2
        if self._ended < self._program and next_gate in (self.gate, self.stuck_gate):
            end_ns = self.now_ns + self.move_ns if self.move_ns is not None else NEVER_NS
            self._running = (next_gate, self.needle, end_ns)

    def run(self, order: Order | None = None, *, until: Callable[[], bool]) -> None:
        """Scan until `until` holds; fails when it never does."""
        for _ in range(SCANS_MOST):
            self.scan(order)
            order = None
            if until():
                return
        raise AssertionError(f"not reached in {SCANS_MOST} scans: {self.state.mode}, needle at {self.needle}")

    def wait(self, duration_ns: int) -> None:
        """Scan until `duration_ns` have passed."""
        end_ns = self.now_ns + duration_ns
        self.run(until=lambda: self.now_ns >= end_ns)

    def settle(self) -> None:
        """Scan until nothing moves any more."""
        self.run(until=lambda: self.state.motion is None)

    def press(self) -> None:
        """Press the trigger and hold it."""
        self.trigger = True
        self.scan()

    def release(self) -> None:
        """Let the trigger go; counts when the lock-out is over."""
        self.trigger = False

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the reports of one kind."""
        return [report for report in self.reports if isinstance(report, kind)]


def remembered(result: Scan) -> Scan:
    """Return the result without the note that lets the next scan be short."""
    motion = result.state.motion
    if motion is None:
        return result
    return result._replace(state=result.state._replace(motion=motion._replace(clear=None)))


def homed_gun(**changes: Any) -> Gun:
    """Return a gun that is out of its safe mode, homed and idle."""
    gun = Gun(**changes)
    gun.scan(Reset())
    gun.run(Home(), until=lambda: gun.state.mode is ScanMode.IDLE and gun.state.homed)
    gun.reports.clear()
    return gun


def loaded_gun(magazine: RealtimeMagazine | None = None, **changes: Any) -> Gun:
    """Return a homed gun with a magazine loaded and the trigger free."""
    gun = homed_gun(**changes)
    gun.scan(Load(magazine if magazine is not None else make_magazine()))
    return gun


def fire(gun: Gun) -> None:
    """Press, and scan until the magazine has ended and nothing moves."""
    gun.press()
    gun.run(until=lambda: bool(gun.of(MagazineEnded)) and gun.state.motion is None)


def ended(gun: Gun) -> MagazineEnded:
    """Return the one report of a magazine's end."""
    (report,) = gun.of(MagazineEnded)
    assert isinstance(report, MagazineEnded)
    return report


def faults(gun: Gun) -> list[Fault]:
    """Return the reported faults in their order."""
    return [report.fault for report in gun.of(Faulted)]


def refusals(gun: Gun) -> list[PressRefusal]:
    """Return why presses fired nothing, in their order."""
    return [report.reason for report in gun.of(PressIgnored)]


def press_stop(gun: Gun) -> None:
    """Press the stop and scan."""
    gun.stop = True
    gun.scan()


def assert_safe_at_home(gun: Gun) -> None:
    """Safe, out of the skin, gates closed; and still after a while."""
    gun.settle()
    assert gun.state.mode is ScanMode.SAFE
    assert gun.needle == 0
    assert gun.deepest <= STROKE.depth
    steps, opened = gun.steps, gun.opened
    gun.wait(30 * MS)
    assert (gun.steps, gun.opened, gun.gate) == (steps, opened, 0)
