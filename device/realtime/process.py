"""The real-time process: read inputs, one pure scan, write outputs, sleep to an absolute deadline.

Owns the loop and its measurements (press to first step, step lateness). Decides nothing: that is `core.stroke`.
Never imports asyncio, blocks on anything but its deadline, or parses text. Ends only when the controller's end of
the link is closed and the needle is home; signals to end are ignored, for a stroke must not be left half done.
"""

import logging
import signal
import time
from dataclasses import replace
from typing import Protocol

from device.core.realtime_messages import Inputs, Report, ShotReport, StrokeStarted
from device.core.stroke import Outputs, Scan, ScanMode, ScanSpec, ScanState, initial_state, scan
from device.realtime.link import Configure, RealtimeEnd
from device.realtime.scheduling import silence_garbage_collector, sleep_until

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


class OutputWriter:
    """Writes only what changed, in the safe order: gates close first and open last."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._gate = 0
        self._enable = False
        self._inward: bool | None = None
        lines.safe()

    def write(self, outputs: Outputs) -> None:
        """Bring the lines to `outputs`; gives the step if there is one."""
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
        self._press_to_step_ns = -1

    def started(self, *, by_press: bool, scan_before_ns: int, step_ns: int) -> None:
        """Note the start of a shot; a shot that repeats by itself has no press to measure from."""
        self._late_ns.clear()
        self._press_to_step_ns = step_ns - scan_before_ns if by_press else -1

    def stepped(self, late_ns: int) -> None:
        """Note a step's lateness."""
        if len(self._late_ns) < MOST_STEPS_MEASURED:
            self._late_ns.append(late_ns)

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


def run(end: RealtimeEnd, lines: Lines, spec: ScanSpec) -> None:
    """Scan until the controller is gone and the needle is safe; leaves the lines safe whatever happens."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _loop(end, lines, spec)
    finally:
        lines.close()


def _loop(end: RealtimeEnd, lines: Lines, spec: ScanSpec) -> None:
    state = initial_state()
    writer = OutputWriter(lines)
    stopwatch = Stopwatch()
    page = end.page
    clock = time.monotonic_ns
    before_ns = clock()
    silence_garbage_collector()
    while end.linked or state.mode is not ScanMode.SAFE:
        now_ns = clock()
        order = end.receive()
        if isinstance(order, Configure):
            raise ConnectionError("configured twice")
        result = scan(
            state,
            lines.read(),
            order,
            spec=spec,
            now_ns=now_ns,
            permit_until_ns=page.permit_until_ns,
            linked=end.linked,
        )
        writer.write(result.outputs)
        state = result.state
        _measure(stopwatch, result, state, before_ns=before_ns, now_ns=clock())
        for report in result.reports:
            _tell(end, stopwatch, report)
        page.beat(now_ns, state.position)
        before_ns = now_ns
        sleep_until(result.wake_ns, spin_ns=spec.timing.spin_ns if state.motion is not None else 0)


def _measure(stopwatch: Stopwatch, result: Scan, state: ScanState, *, before_ns: int, now_ns: int) -> None:
    if result.reports and any(isinstance(report, StrokeStarted) for report in result.reports):
        stopwatch.started(by_press=state.switches.pressed_now, scan_before_ns=before_ns, step_ns=now_ns)
    if result.step_due_ns >= 0:
        stopwatch.stepped(now_ns - result.step_due_ns)


def _tell(end: RealtimeEnd, stopwatch: Stopwatch, report: Report) -> None:
    end.send(stopwatch.complete(report) if isinstance(report, ShotReport) else report)
