"""The scan loop with clocks in it: the real-time process's own parts on a console in this process's memory.

Owns what the process has around them: link, heartbeat page, trigger, and a pump that ends each phase at once. Every
pass is the product's (`RealtimeEnd`, `RealtimeLines`, `scan`, `OutputWriter`, `sleep_until`), in the order of
`device.realtime.process`; only the readings of the clock at its ends are added.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import Home, Load, Order, Reset
from device.core.stroke import Scan, ScanMode, initial_state, scan
from device.core.units import NS_PER_S, Micrometres
from device.realtime.link import Configure, HeartbeatPage, RealtimeEnd, open_pair, pack
from device.realtime.process import OutputWriter, Stopwatch
from device.realtime.scheduling import sleep_until
from device.settings import Configuration
from drivers.gpio.realtime_lines import RealtimeLines
from drivers.sim.pins import SimPinFactory
from drivers.sim.world import World
from tests.bench.shipped import realtime_magazine, scan_spec

DEADLINE_NS: Final = 10 * NS_PER_S
"""How long anything but the strokes may take; the strokes get this much more than their intervals."""

PERMIT_NS: Final = 3600 * NS_PER_S
"""Nobody supervises this loop, so one permit covers all of it."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of the loop. `cost_ns` is all of it but the sleep; `late_ns` is that of its step, -1 without one."""

    result: Scan
    cost_ns: int
    late_ns: int


class ScanRig:
    """The loop of the shipped console, driven from this process; use it in a `with` statement."""

    def __init__(self, configuration: Configuration) -> None:
        device = configuration.device
        self._configuration = configuration
        self._spec = scan_spec(configuration, phase_feedback=True)
        self._world = World.create(
            None,
            lines=configuration.lines,
            steps_per_mm=device.axis.steps_per_mm,
            clearance_steps=device.axis.steps_to(Micrometres(0)),
        )
        self._controller, realtime = open_pair()
        page = HeartbeatPage.create()
        try:
            self._end = RealtimeEnd(realtime, HeartbeatPage(page))
        finally:
            os.close(page)
        self._end.page.permit(time.monotonic_ns() + PERMIT_NS)
        self.lines = RealtimeLines(SimPinFactory(self._world), configuration.lines)
        self._writer = OutputWriter(self.lines)
        self._stopwatch = Stopwatch()
        self._state = initial_state()
        self._opened = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self._end.close()
        self._controller.close()
        self._world.close()

    def ready(self) -> None:
        """Leave the safe mode and home: the loop is idle then. Raises TimeoutError."""
        self._order(Reset())
        self.run(until=lambda result: result.state.mode is ScanMode.IDLE)
        self._order(Home())
        self.run(until=lambda result: result.state.mode is ScanMode.IDLE and result.state.homed)

    def load(self, *, strokes: int) -> None:
        """Load one magazine of `strokes` strokes of the measured profile. Raises TimeoutError."""
        magazine = realtime_magazine(
            self._configuration, magazine_id=1, shots=strokes, mode=Mode.CONTINUOUS, trigger=TriggerStyle.HOLD
        )
        self._order(Load(magazine))
        self.run(until=lambda result: result.state.mode is ScanMode.READY)

    def fire(self, *, each: Callable[[Pass], None]) -> None:
        """Press and hold until the magazine is fired. Raises TimeoutError, and RuntimeError when it broke off."""
        loaded = self._state.loaded
        if loaded is None:
            raise RuntimeError("nothing is loaded")
        within_ns = loaded.magazine.shots * loaded.magazine.interval_ns + DEADLINE_NS
        now_ns = time.monotonic_ns()
        lines = self._world.lines
        self._world.set_on_skin(True, now_ns)
        self._world.set_switch(lines.trigger_a, closed=True, now_ns=now_ns)
        self._world.set_switch(lines.trigger_b, closed=False, now_ns=now_ns)
        self.run(until=lambda result: result.state.loaded is None, each=each, within_ns=within_ns)
        if self._state.fault is not None:
            raise RuntimeError(f"the strokes broke off: {self._state.fault.name.lower()}")

    def run(
        self,
        *,
        until: Callable[[Scan], bool],
        each: Callable[[Pass], None] | None = None,
        within_ns: int = DEADLINE_NS,
    ) -> None:
        """Run the loop until a scan is as wanted, with `each` called after every one. Raises TimeoutError."""
        deadline_ns = time.monotonic_ns() + within_ns
        spin_ns = self._spec.timing.spin_ns
        while time.monotonic_ns() < deadline_ns:
            passed = self._pass()
            if each is not None:
                each(passed)
            if until(passed.result):
                return
            self._pump(passed.result)
            sleep_until(passed.result.wake_ns, spin_ns=spin_ns if self._state.motion is not None else 0)
        raise TimeoutError(f"the loop is still in mode {self._state.mode.value} after {within_ns / NS_PER_S:g} s")

    def _pass(self) -> Pass:
        now_ns = time.monotonic_ns()
        order = self._end.receive()
        if isinstance(order, Configure):
            raise TypeError("the rig configures nothing")
        result = scan(
            self._state,
            self.lines.read(),
            order,
            spec=self._spec,
            now_ns=now_ns,
            permit_until_ns=self._end.page.permit_until_ns,
            linked=self._end.linked,
        )
        self._writer.write(result.outputs)
        self._state = result.state
        written_ns = time.monotonic_ns()
        late_ns = written_ns - result.step_due_ns if result.step_due_ns >= 0 else -1
        if late_ns >= 0:
            self._stopwatch.stepped(late_ns)
        for report in result.reports:
            self._end.send(report)
        self._end.page.beat(now_ns, self._state.position)
        return Pass(result, time.monotonic_ns() - now_ns, late_ns)

    def _order(self, order: Order) -> None:
        self._controller.send(pack(order))

    def _pump(self, result: Scan) -> None:
        """End each phase as soon as its gate is open, and take the reports away as the controller does."""
        loaded = result.state.loaded
        if loaded is not None and loaded.opened != self._opened:
            self._opened = loaded.opened
            self._world.set_phase(loaded.opened % 2 == 1, time.monotonic_ns())
        if result.reports:
            self._controller.recv(4096)
