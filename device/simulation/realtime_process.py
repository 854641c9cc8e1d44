"""The real-time process in virtual time: the shipped cycle around the shipped lines, alive and mortal.

Owns the waiting between two cycles, and what the operating system does at a start and at a death. Cycles that can
change nothing (same inputs, no order, nothing due) are left out, but keep their places in time, so that the gun does
the same with them and without them. Decides nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from device.core.realtime_messages import Inputs, Order, Report
from device.core.stroke import Scan, ScanMode, ScanSpec, ScanState, initial_state, scan_spec
from device.core.stroke_timeline import Action
from device.core.switches import is_settled
from device.realtime.lateness import BUCKETS, counted
from device.realtime.link import Configure, pack, unpack
from device.realtime.process import Cycle
from device.simulation.virtual_time import Timer
from drivers.gpio.realtime_lines import RealtimeLines
from drivers.sim.pins import SimPinFactory

if TYPE_CHECKING:
    from device.simulation.gun import VirtualGun

LINK_NS: Final = 60_000
"""A message over the link between controller and real-time process: the measured order of a socket pair's."""
START_NS: Final = 120_000_000
"""From the start of a real-time process to its first scan: interpreter and imports."""

_NEVER_NS: Final = 1 << 62


def quiet_until_ns(state: ScanState, inputs: Inputs, *, spec: ScanSpec) -> int:
    """Return the first time at which a scan with the same inputs, no order, permit and link can do anything.

    0 where that cannot be told, `_NEVER_NS` where nothing is due. A scan before it leaves everything as it is.
    """
    if not is_settled(state.switches, inputs) or (state.reset_pending and state.mode in (ScanMode.SAFE, ScanMode.IDLE)):
        return 0
    motion, loaded = state.motion, state.loaded
    if motion is not None:
        if motion.action is Action.AWAIT and spec.phase_feedback and loaded is not None:
            ended = inputs.phase == (loaded.opened % 2 == 1)
            return motion.due_ns if ended else motion.due_ns + spec.timing.phase_wait_ns + 1
        return motion.due_ns
    if state.mode is ScanMode.READY and loaded is not None and loaded.auto:
        return state.last_start_ns + loaded.magazine.interval_ns
    return _NEVER_NS


class _Lines(RealtimeLines):
    """The shipped lines, read only when one of them has changed: every reading in between would be the same."""

    known: Inputs | None = None

    def read(self) -> Inputs:
        known = self.known
        if known is None:
            known = self.known = super().read()
        return known


class _End:
    """The process's end of the link, and the page shared with the controller."""

    def __init__(self, tell: Callable[[Report], None], ordered: Callable[[Order], None]) -> None:
        self.linked = True
        self.send = tell
        self._ordered = ordered
        self.orders: deque[bytes | None] = deque()
        """Packed orders that have arrived; None is the end of the stream."""
        self.permit_until_ns = 0
        self.scan_ns = 0
        self.position = 0
        self.late_counts = [0] * BUCKETS
        self.page = self

    def receive(self) -> Configure | Order | None:
        if not self.orders:
            return None
        data = self.orders.popleft()
        if data is None:
            self.linked = False
            return None
        order: Order = unpack(data)  # type: ignore[assignment]  # the controller packs orders only
        self._ordered(order)
        return order

    def beat(self, now_ns: int, position: int) -> None:
        self.scan_ns = now_ns
        self.position = position

    def add_lateness(self, late_ns: Sequence[int]) -> None:
        self.late_counts = [before + more for before, more in zip(self.late_counts, counted(late_ns), strict=True)]


class RealtimeProcess:
    """One real-time process from its start to its death.

    `received` gets its packed reports when they have passed the link. `leave_out` False: every cycle is made.
    """

    def __init__(self, gun: "VirtualGun", received: Callable[[bytes], None], *, leave_out: bool) -> None:
        self.ended: str | None = None
        self.when_ended: Callable[[], None] = lambda: None
        """Called once it has ended."""
        self._gun = gun
        self._received = received
        self._leave_out = leave_out
        self._spec = scan_spec(gun.configuration.device)
        self._armed_ns = self._spec.timing.armed_scan_ns
        self._end = _End(self._tell, self._ordered)
        self._factory = SimPinFactory(gun.world, now_ns=gun.time.clock, on_edge=gun.edge)
        self._lines: _Lines | None = None
        self._cycle: Cycle | None = None
        self.frozen = False
        self._wake_ns = 0
        """When the next cycle's place in time is; with `_period_ns` behind it the next ones' while nothing happens."""
        self._period_ns = 0
        self._quiet_ns = 0
        self._timer: Timer = gun.time.after(START_NS, self._start)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None

    @property
    def state(self) -> ScanState:
        """What its scan remembers."""
        return self._cycle.state if self._cycle is not None else initial_state()

    # The controller's side

    @property
    def scan_ns(self) -> int:
        """When its last scan began, those that were left out included; 0 before the first."""
        end, now_ns = self._end, self._gun.time.now_ns
        if self.frozen or not self.alive or self._period_ns == 0 or now_ns < self._wake_ns:
            return end.scan_ns
        return now_ns - (now_ns - self._wake_ns) % self._period_ns

    @property
    def position(self) -> int:
        """The needle's position in steps, as last told."""
        return self._end.position

    @property
    def late_counts(self) -> tuple[int, ...]:
        """How many of its steps were how late."""
        return tuple(self._end.late_counts)

    def permit(self, until_ns: int) -> None:
        """The controller renews the permit."""
        self._end.permit_until_ns = until_ns

    def take(self, data: bytes | None) -> None:
        """The link brings an order, or its end."""
        self._end.orders.append(data)
        self.look()

    # Its life

    def _start(self) -> None:
        self._lines = _Lines(self._factory, self._gun.configuration.lines, step_high_ns=0)
        self._cycle = Cycle(self._end, self._lines, self._spec, now_ns=self._gun.time.clock)
        self._run()

    def _run(self) -> None:
        """Make the cycle that is due, and those behind it while a needle is under way and nothing else happens."""
        if self._cycle is not None and self.alive:
            while self._run_once(self._cycle):  # ends: time passes, and with it what is due next comes nearer
                pass

    def _run_once(self, cycle: Cycle) -> bool:
        """Make one cycle; return whether the next one's time has come."""
        gun = self._gun
        now_ns = gun.time.now_ns
        if now_ns > self._end.permit_until_ns or not self._leave_out:
            self._quiet_ns = 0
        if now_ns > self._wake_ns > 0:
            # The last of those that were left out.
            cycle.before_ns = max(cycle.before_ns, now_ns - self._period_ns)
        before = cycle.state
        result = cycle.run()
        for scanned in gun.audience.scanned:
            scanned(before, result, now_ns)
        under_way = result.step_due_ns >= 0 and self._end.linked
        if not under_way and not cycle.goes_on:
            self._finish("it ended with code 0")
            return False
        wake_ns = result.wake_ns if result.wake_ns > now_ns else now_ns + 1
        if gun.jitter:
            wake_ns += gun.late_ns()
        self._wake_ns = wake_ns
        self._period_ns = wake_ns - now_ns
        self._timer.cancel()
        if not under_way:
            self._wait(before, result)
            return False
        self._quiet_ns = 0
        if self._period_ns >= self._armed_ns:
            self._quiet_ns = self._still_until_ns(result)
            if self._quiet_ns > wake_ns:
                self._sleep()
                return False
        if gun.time.pass_to(wake_ns):
            return True
        self._timer = gun.time.at(wake_ns, self._run)
        return False

    def _still_until_ns(self, result: Scan) -> int:
        """Return when the step behind this one is due, where the scans in between find nothing; 0 where they may."""
        motion, lines = result.state.motion, self._lines
        if motion is None or lines is None or not self._leave_out or self._end.orders:
            return 0
        known = lines.known
        return motion.due_ns if known is not None and known is motion.clear and not known.home else 0

    def _wait(self, before: ScanState, result: Scan) -> None:
        """Set the timer for the next cycle that can change anything."""
        if (
            self._lines is None
            or self._lines.known is None
            or self._end.orders
            or result.reports
            or result.step_due_ns >= 0
            or result.state is not before
            or not self._leave_out
        ):
            self._quiet_ns = 0
        else:
            self._quiet_ns = quiet_until_ns(result.state, self._lines.known, spec=self._spec)
        self._sleep()

    def _sleep(self) -> None:
        """Sleep to the next cycle, or over those that would find nothing: to what is due, or the permit's end."""
        due_ns = min(self._quiet_ns, self._end.permit_until_ns + 1)
        if due_ns <= self._wake_ns:
            self._timer = self._gun.time.at(self._wake_ns, self._run)
        else:
            self._timer = self._gun.time.at(self._place_after(due_ns), self._wake)

    def _wake(self) -> None:
        if min(self._quiet_ns, self._end.permit_until_ns + 1) > self._gun.time.now_ns:
            self._sleep()
        else:
            self._run()

    def _place_after(self, at_ns: int) -> int:
        """Return the first place of a cycle at or after `at_ns`; a timeline's due time is a place of its own."""
        if at_ns <= self._wake_ns:
            return self._wake_ns
        motion = self.state.motion
        place_ns = self._wake_ns + -(-(at_ns - self._wake_ns) // self._period_ns) * self._period_ns
        if motion is not None and at_ns <= motion.due_ns:
            return min(place_ns, motion.due_ns)
        return place_ns

    def look(self) -> None:
        """Something has changed that the next cycle will see."""
        # Before the first cycle is made, which may itself change a line, nothing is left out that could miss it.
        if self._period_ns > 0 and not self.frozen and self.alive:
            # A cycle at this very nanosecond has been made.
            self._timer.cancel()
            self._timer = self._gun.time.at(self._place_after(self._gun.time.now_ns + 1), self._run)

    def line_changed(self) -> None:
        """One of the input lines has another level."""
        if self._lines is not None:
            self._lines.known = None
            self.look()

    def _ordered(self, order: Order) -> None:
        for ordered in self._gun.audience.ordered:
            ordered(order, self._gun.time.now_ns)

    def _tell(self, report: Report) -> None:
        gun, data = self._gun, pack(report)
        for reported in gun.audience.reported:
            reported(report, gun.time.now_ns)
        gun.time.after(LINK_NS, lambda: self._received(data))

    def freeze(self) -> None:
        """SIGSTOP: the lines keep their levels."""
        self.frozen = True
        self._timer.cancel()

    def resume(self) -> None:
        """SIGCONT."""
        if self.alive and self.frozen:
            self.frozen = False
            self._timer = self._gun.time.after(0, self._run if self._cycle is not None else self._start)

    def kill(self) -> None:
        """SIGKILL: nothing runs any more, every line falls to its pull."""
        self._finish("it ended with code -9")

    def _finish(self, how: str) -> None:
        if self.alive:
            self.ended = how
            self._timer.cancel()
            # What the process drove ends at the levels of the pulls; closing brings it there in one moment.
            if self._lines is not None:
                self._lines.close()
            self._factory.close()
            self.when_ended()


class Child:
    """The controller's view of a real-time process: `realtime_child.Child`. Mute once the controller is dead."""

    def __init__(self, gun: "VirtualGun", process: RealtimeProcess) -> None:
        self._gun = gun
        self._process = process
        self._hung_up = False
        self.pid = 1

    @property
    def ended(self) -> str | None:
        """How it ended."""
        return self._process.ended

    @property
    def scan_ns(self) -> int:
        """When its last scan began; 0 before the first."""
        return self._process.scan_ns

    @property
    def position(self) -> int:
        """The needle's position in steps, as last told."""
        return self._process.position

    @property
    def steps_kept(self) -> int:
        """Virtual time tries no pace."""
        return 0

    @property
    def late_counts(self) -> tuple[int, ...]:
        """How many of its steps were how late."""
        return self._process.late_counts

    def permit(self, until_ns: int) -> None:
        """Renew the permit."""
        self._process.permit(until_ns)

    def send(self, message: bytes) -> None:
        """Send a packed order."""
        if self._hung_up or not self._process.alive:
            raise ConnectionError("the link is closed")
        self._gun.time.after(LINK_NS, lambda: self._process.take(message))

    def hang_up(self) -> None:
        """Close the link; the operating system does it for a controller that dies."""
        if not self._hung_up:
            self._hung_up = True
            self._gun.time.after(LINK_NS, lambda: self._process.take(None))

    def kill(self) -> None:
        """Kill it at once."""
        self._process.kill()

    async def wait(self) -> None:
        """Return once it has ended."""
        ended = asyncio.Event()
        self._process.when_ended = ended.set
        if self._process.alive:
            await ended.wait()
