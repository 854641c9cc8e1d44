"""The real-time process: read inputs, one pure scan, write outputs, sleep to an absolute deadline.

Owns the cycle and its measurements (press to first step, step lateness). Decides nothing: that is `core.stroke`.
Never imports asyncio, blocks on anything but its deadline, or parses text. Ends only when the controller's end of
the link is closed and the needle is home; `__main__` has the signals ignored that would end it sooner.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from device.core.realtime_messages import Inputs, Order, Report, ShotReport, StrokeStarted
from device.core.stroke import Outputs, Scan, ScanMode, ScanSpec, initial_state, scan
from device.core.units import NS_PER_S
from device.realtime.link import Configure, RealtimeEnd
from device.realtime.scheduling import silence_garbage_collector, sleep_until
from device.realtime.trial import steps_kept

log = logging.getLogger(__name__)

MOST_STEPS_MEASURED = 20_000
"""Bound of the lateness list of one shot: more steps than any axis has in and out."""


class Lines(Protocol):
    """What the loop needs of the console's lines; `drivers.gpio.realtime_lines` gives it."""

    def read(self) -> Inputs:
        """Sample every input."""

    def set_gate(self, number: int, open_: bool) -> None:  # noqa: FBT001 - as the driver
        """Open or close a gate."""

    def set_enable(self, on: bool) -> None:  # noqa: FBT001 - as the driver
        """Switch the motor's current."""

    def set_direction(self, inward: bool) -> None:  # noqa: FBT001 - as the driver
        """Choose the direction of the next steps."""

    def pulse_step(self) -> None:
        """Give one step."""

    def safe(self) -> None:
        """Gates closed, motor off, step low."""

    def close(self) -> None:
        """Make safe and let the lines go."""


class Page(Protocol):
    """The page shared with the controller; `device.realtime.link.HeartbeatPage` is it."""

    @property
    def permit_until_ns(self) -> int:
        """Until when the controller's permit holds."""

    def beat(self, now_ns: int, position: int) -> None:
        """Tell that a scan was made."""

    def add_lateness(self, late_ns: Sequence[int]) -> None:
        """Count how late each step of a shot was."""


class OutputWriter:
    """Writes only what changed, in the safe order: gates close first and open last."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._gate = 0
        self._enable = False
        self._inward: bool | None = None
        self._last: Outputs | None = None
        lines.safe()

    def write(self, outputs: Outputs) -> None:
        """Bring the lines to `outputs`; gives the step if there is one."""
        if outputs is self._last:
            # All levels are as they were; only a step is an act and not a level.
            if outputs.step:
                self._lines.pulse_step()
            return
        self._last = outputs
        if self._gate and outputs.gate != self._gate:
            self._lines.set_gate(self._gate, False)  # noqa: FBT003 - the driver's form
            self._gate = 0
        if outputs.enable is not self._enable:
            self._lines.set_enable(outputs.enable)
            self._enable = outputs.enable
        if outputs.step:
            inward = outputs.step > 0
            if inward is not self._inward:
                self._lines.set_direction(inward)
                self._inward = inward
            self._lines.pulse_step()
        if outputs.gate and outputs.gate != self._gate:
            self._lines.set_gate(outputs.gate, True)  # noqa: FBT003 - the driver's form
            self._gate = outputs.gate


class Stopwatch:
    """Measures the running shot: press to first step, and how late each step was."""

    def __init__(self) -> None:
        self._late_ns: list[int] = []
        """Of the running shot."""
        self._press_to_step_ns = -1

    def started(self, *, by_press: bool, scan_before_ns: int, step_ns: int) -> None:
        """Note the start of a shot; a shot that repeats by itself has no press to measure from."""
        self._late_ns.clear()
        self._press_to_step_ns = step_ns - scan_before_ns if by_press else -1

    def stepped(self, late_ns: int) -> None:
        """Note a step's lateness."""
        if len(self._late_ns) < MOST_STEPS_MEASURED:
            self._late_ns.append(late_ns)

    @property
    def late_ns(self) -> Sequence[int]:
        """How late each step of the running shot was."""
        return self._late_ns

    def complete(self, report: ShotReport) -> ShotReport:
        """Return the report with the measurements."""
        late = sorted(self._late_ns)
        if not late:
            return replace(report, press_to_step_ns=self._press_to_step_ns)
        return replace(
            report,
            press_to_step_ns=self._press_to_step_ns,
            late_ns_p50=late[len(late) // 2],
            late_ns_p99=late[min(len(late) - 1, len(late) * 99 // 100)],
            late_ns_max=late[-1],
        )


def receive_configuration(end: RealtimeEnd, *, deadline_ns: int) -> Configure:
    """Wait for the controller's first message. Raises TimeoutError or ConnectionError."""
    while time.monotonic_ns() < deadline_ns:
        message = end.receive()
        if isinstance(message, Configure):
            return message
        if not end.linked:
            raise ConnectionError("the controller closed the link before configuring")
        sleep_until(time.monotonic_ns() + 1_000_000, spin_ns=0)
    raise TimeoutError("the controller sent no configuration")


class End(Protocol):
    """The real-time process's end of the link; `device.realtime.link.RealtimeEnd` is it."""

    linked: bool
    """False once the controller's end is closed."""

    @property
    def page(self) -> Page:
        """The page that is shared with the controller."""

    def receive(self) -> Configure | Order | None:
        """Return the next order, None if there is none."""

    def send(self, report: Report) -> None:
        """Send a report."""


class Cycle:
    """The scan cycle around its memory: one `run` reads, scans, writes and reports.

    `now_ns` is the clock; it is read again after the outputs are written, for the stopwatch.
    """

    def __init__(self, end: End, lines: Lines, spec: ScanSpec, *, now_ns: Callable[[], int]) -> None:
        self._end = end
        self._lines = lines
        self._spec = spec
        self._now_ns = now_ns
        self._writer = OutputWriter(lines)
        self._stopwatch = Stopwatch()
        self.before_ns = now_ns()
        """When the cycle before was made; for a simulation that leaves out those without effect to say."""
        self.state = initial_state()

    @property
    def goes_on(self) -> bool:
        """Whether there is anything left to do: the controller is there, or the needle is not safe yet."""
        return self._end.linked or self.state.mode is not ScanMode.SAFE

    def run(self) -> Scan:
        """Make one cycle now; returns what the scan gave. Raises ConnectionError when configured twice."""
        end, now_ns = self._end, self._now_ns()
        order = end.receive()
        if order is not None and isinstance(order, Configure):
            raise ConnectionError("configured twice")
        page = end.page
        result = scan(
            self.state,
            self._lines.read(),
            order,
            spec=self._spec,
            now_ns=now_ns,
            permit_until_ns=page.permit_until_ns,
            linked=end.linked,
        )
        self._writer.write(result.outputs)
        self.state = result.state
        if result.reports:
            self._report(result, self._now_ns())
        elif result.step_due_ns >= 0:
            self._stopwatch.stepped(self._now_ns() - result.step_due_ns)
        page.beat(now_ns, result.state.position)
        self.before_ns = now_ns
        return result

    def _report(self, result: Scan, now_ns: int) -> None:
        """Measure what was done, and tell what there is to tell, completed by the measurements."""
        stopwatch = self._stopwatch
        for report in result.reports:
            if isinstance(report, StrokeStarted):
                by_press = result.state.switches.pressed_now
                stopwatch.started(by_press=by_press, scan_before_ns=self.before_ns, step_ns=now_ns)
        if result.step_due_ns >= 0:
            stopwatch.stepped(now_ns - result.step_due_ns)
        for report in result.reports:
            if isinstance(report, ShotReport):
                self._end.page.add_lateness(stopwatch.late_ns)
                self._end.send(stopwatch.complete(report))
            else:
                self._end.send(report)


def _try_pace(cycle: Cycle, spec: ScanSpec) -> int:
    """Return the steps a second that are kept, 0 where a motion began; the log says where the axis may ask for more."""

    def rests() -> bool:
        return cycle.run().state.motion is None

    asked = NS_PER_S // spec.axis.shortest_step_ns
    kept = steps_kept(
        rests,
        period_ns=spec.axis.shortest_step_ns,
        now_ns=time.monotonic_ns,
        sleep_until=lambda due_ns: sleep_until(due_ns, spin_ns=spec.timing.spin_ns),
    )
    if 0 < kept < asked:
        log.warning("99 of 100 scans keep %d steps/s; the axis may ask for %d: lower needle.fastest_mm_s", kept, asked)
    return kept


def run(end: RealtimeEnd, lines: Lines, spec: ScanSpec) -> None:
    """Scan until the controller is gone and the needle is safe; leaves the lines safe whatever happens."""
    try:
        cycle = Cycle(end, lines, spec, now_ns=time.monotonic_ns)
        silence_garbage_collector()
        end.page.tell_steps_kept(_try_pace(cycle, spec))
        while cycle.goes_on:
            result = cycle.run()
            sleep_until(result.wake_ns, spin_ns=spec.timing.spin_ns if result.state.motion is not None else 0)
    finally:
        lines.close()
