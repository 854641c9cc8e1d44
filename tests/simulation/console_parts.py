"""The virtual gun's pump and its real-time process, each around the product's own parts.

Owns the waiting of both in virtual time, and the death of the second. Nothing here decides what they do.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from device.core.realtime_messages import Report, ShotReport
from device.core.stroke import ScanMode, ScanSpec, initial_state, scan
from device.realtime.link import Configure, pack, unpack
from device.realtime.process import OutputWriter, Stopwatch, _measure
from drivers.gpio.realtime_lines import RealtimeLines
from drivers.pump.cavro_codec import Command as Frame
from drivers.sim.pins import SimPinFactory
from drivers.sim.pump_firmware import PumpFirmware
from drivers.sim.pump_line import PumpOnLine
from drivers.sim.pump_mechanics import NOT_INITIALISED, STROKES
from tests.simulation.virtual_time import Timer

if TYPE_CHECKING:
    from tests.support.gun import VirtualGun

COARSE: Final = STROKES[1] // STROKES[0]


class PumpUnit:
    """The pump with its line, and the world around it as the observers see it."""

    def __init__(self, gun: "VirtualGun", content: int, baud: int, address: int) -> None:
        self._gun = gun
        self.firmware = PumpFirmware(self, address=address, position=content // COARSE)
        self._wire = PumpOnLine(self.firmware, baud=baud)
        self._timer: Timer | None = None
        self.listener: Callable[[bytes], None] | None = None
        # A pump that has long been in use: it knows its plunger, and its valve stands at the needle.
        self.firmware.receive(Frame(address, 1, False, "zR").to_bytes(), gun.time.now_ns)
        self.advance()

    @property
    def is_homing(self) -> bool:
        """Whether the plunger looks for the top: what it gives then is waste."""
        return self.firmware._mechanics.error == NOT_INITIALISED

    def gate_low(self, number: int) -> bool:
        return self._gun.world.gate_low(number)

    def set_phase(self, level: bool, now_ns: int) -> None:
        if not self._gun.world.trouble_phase_stuck:
            for observer in self._gun.observers:
                observer.phase(level, now_ns)
        self._gun.world.set_phase(level, now_ns)

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        for observer in self._gun.observers:
            observer.plunger(from_position, to_position, needle_side, now_ns)
        self._gun.world.plunger_moved(from_position, to_position, needle_side=needle_side, now_ns=now_ns)

    def host_sends(self, data: bytes) -> None:
        self._wire.host_sends(data, self._gun.time.now_ns)
        self.advance()

    def advance(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now_ns = self._gun.time.now_ns
        answer = self._wire.advance(now_ns)
        event_ns = self._wire.next_event_ns(now_ns)
        self._timer = None if event_ns is None else self._gun.time.at(max(event_ns, now_ns + 1), self.advance)
        if answer and self.listener is not None:
            self.listener(answer)


class VirtualRealtime:
    """The real-time process: the loop of `device.realtime.process` in virtual time, around the same parts."""

    def __init__(self, gun: "VirtualGun", tell: Callable[[Report], None]) -> None:
        self._gun = gun
        self._tell = tell
        self._factory = SimPinFactory(gun.world, now_ns=gun.time.clock, on_edge=gun.edge)
        self._lines = RealtimeLines(self._factory, gun.configuration.lines)
        self._writer = OutputWriter(self._lines)
        self._stopwatch = Stopwatch()
        spec = gun.configuration.device
        self._spec = ScanSpec(spec.axis, spec.timing, spec.pump.phase_feedback)
        self._orders: deque[bytes] = deque()
        self.state = initial_state()
        self.permit_until_ns = 0
        self.scan_ns = gun.time.now_ns
        self.linked = True
        self.alive = True
        self._frozen = False
        self._timer = gun.time.at(gun.time.now_ns, self._scan)

    def take(self, data: bytes) -> None:
        """The link brings an order."""
        self._orders.append(data)

    def kill(self) -> None:
        """SIGKILL: nothing runs any more, every line falls to its pull."""
        if self.alive:
            self.alive = False
            self._timer.cancel()
            # What the process drove ends at the levels of the pulls; closing brings it there in one moment.
            self._lines.close()
            self._factory.close()

    def freeze(self) -> None:
        """SIGSTOP: the lines keep their levels."""
        self._frozen = True
        self._timer.cancel()

    def resume(self) -> None:
        """SIGCONT."""
        if self.alive and self._frozen:
            self._frozen = False
            self._timer = self._gun.time.at(self._gun.time.now_ns, self._scan)

    def _scan(self) -> None:
        gun, before = self._gun, self.state
        now_ns = gun.time.now_ns
        order = unpack(self._orders.popleft()) if self._orders else None
        if isinstance(order, Configure):
            raise TypeError("the link brings orders only")
        if order is not None:
            for observer in gun.observers:
                observer.ordered(order, now_ns)  # type: ignore[arg-type]  # the controller packs orders only
        result = scan(
            before,
            self._lines.read(),
            order,  # type: ignore[arg-type]  # as above
            spec=self._spec,
            now_ns=now_ns,
            permit_until_ns=self.permit_until_ns,
            linked=self.linked,
        )
        self._writer.write(result.outputs)
        self.state = result.state
        _measure(self._stopwatch, result, result.state, before_ns=self.scan_ns, now_ns=now_ns)
        self.scan_ns = now_ns
        self._timer = gun.time.at(max(result.wake_ns, now_ns + 1) + gun.late_ns(), self._scan)
        for report in result.reports:
            self._tell(report)
        for observer in gun.observers:
            observer.scanned(before, result, now_ns)
        if not self.linked and self.state.mode is ScanMode.SAFE:
            self.kill()

    def complete(self, report: Report) -> bytes:
        """Return the report as it goes over the link, with the stopwatch's figures."""
        return pack(self._stopwatch.complete(report) if isinstance(report, ShotReport) else report)
