"""The virtual gun's controller: the real loop, journal, driver and indicators, alive and mortal as a process.

Stands in for what the operating system does around them: the link's delay, the supervision's timer, a restart of
the real-time process, SIGSTOP and SIGKILL.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device.controller.app import _ledger, _restored, pump_ceiling
from device.controller.journal import Journal, JournalWriteError
from device.controller.loop import ControllerLoop
from device.controller.realtime_child import PERMIT_PERIOD_S
from device.core.console import Console
from device.core.events import Event, FaultOccurred, RealtimeRestarted, Request, Started
from device.core.faults import Fault
from device.core.realtime_messages import Order, Report
from device.core.records import Booted, Record
from device.realtime.link import pack, unpack
from drivers.gpio.indicators import Indicators
from drivers.pump.cavro import CavroPump
from drivers.pump.serial_line import Lost, Received
from drivers.sim.pins import SimPinFactory
from tests.simulation.console_parts import VirtualRealtime
from tests.simulation.virtual_time import Interrupted, ProcessLoop

if TYPE_CHECKING:
    from tests.support.gun import VirtualGun

LINK_NS: Final = 60_000
"""A message over the link between controller and real-time process: the measured order of a socket pair's."""
RESPAWN_NS: Final = 120_000_000
"""From the end of a lost real-time process to the first scan of the next one."""


@dataclass(frozen=True)
class Answer:
    """What a command was answered."""

    accepted: bool
    reasons: tuple[str, ...]


class ControllerProcess:
    """The controller: its event loop, journal, driver, indicators and machine, and the real-time process it keeps."""

    def __init__(self, gun: "VirtualGun", number: int) -> None:
        self._gun = gun
        self.alive = True
        self.frozen_until_ns = 0
        self.disk_full = False
        """While True the journal takes nothing, in its own words; nothing of it is changed."""
        self.answers: dict[int, Answer] = {}
        self.events = ProcessLoop(gun.time)
        self._line_open = False
        self._received: Received | None = None
        self.journal = Journal.open(gun.journal_path, boot_id=f"boot-{number}", wall_clock_ms=gun.wall_clock_ms)
        ledger = _ledger(self.journal, simulated=True)
        console = Console(spec=gun.configuration.device, ledger=ledger, session=_restored(ledger, gun.configuration))
        self._state = console.state
        self._factory = SimPinFactory(gun.world, now_ns=gun.time.clock, on_edge=gun.edge)
        self._indicators = Indicators(self._factory, gun.configuration.lines)
        self._pump = CavroPump(
            self,
            address=gun.configuration.serial.address,
            spec=gun.configuration.device.pump,
            ceiling=pump_ceiling(gun.configuration),
        )
        self.loop = ControllerLoop(
            console,
            pump=self._pump,
            realtime=self,
            journal=self,
            indicators=self._indicators,
            answered=self._answered,
            changed=self._changed,
            writer=None,
        )
        self.realtime: VirtualRealtime | None = VirtualRealtime(gun, self._tell)
        self._restarting = False
        self.append([Booted("simulated", gun.configuration.sha256, simulated=True)])
        self._main = self.events.create_task(self._run())

    # The ports that the loop is given

    def send(self, order: Order) -> None:
        """Give an order over the link."""
        realtime, data = self.realtime, pack(order)
        if self.alive and realtime is not None:
            self._gun.time.at(self._gun.time.now_ns + LINK_NS, lambda: realtime.take(data))

    def append(self, records: Sequence[Record]) -> None:
        """Append to the real journal, then tell the observers."""
        if not self.alive:
            raise OSError("the process is dead")
        if self.disk_full:
            raise JournalWriteError(f"journal {self._gun.journal_path}: database or disk is full")
        self.journal.append(records)
        for observer in self._gun.observers:
            observer.recorded(records, self._gun.time.now_ns)

    @property
    def baud(self) -> int:
        return self._gun.configuration.serial.baud

    def open(self, received: Received, lost: Lost) -> None:
        """Open the pump's line."""
        self._received = received
        self._gun.pump.listener = self._bytes_arrived

    def write(self, data: bytes) -> None:
        """Send to the pump."""
        if self.alive and self._received is not None:
            for observer in self._gun.observers:
                observer.sent(data, self._gun.time.now_ns)
            self._gun.pump.host_sends(data)

    def close(self) -> None:
        """Close the pump's line."""
        if self._received is not None and self.alive:
            self._gun.pump.listener = None
        self._received = None

    # What reaches the process from outside

    def deliver(self, call: Callable[[], object]) -> None:
        """Let the event loop make `call` as soon as it runs."""
        if self.alive:
            self.events.call_soon(call)
            self.events.selector.woken = True

    def post(self, event: Event) -> None:
        self.deliver(lambda: self.loop.post(event))

    def _bytes_arrived(self, data: bytes) -> None:
        def take() -> None:
            if self._received is not None:
                for observer in self._gun.observers:
                    observer.received(data, self._gun.time.now_ns)
                self._received(data)

        self.deliver(take)

    def _tell(self, report: Report) -> None:
        realtime = self.realtime
        for observer in self._gun.observers:
            observer.reported(report, self._gun.time.now_ns)
        if realtime is not None:
            arrived = unpack(realtime.complete(report))
            self._gun.time.at(self._gun.time.now_ns + LINK_NS, lambda: self.post(arrived))  # type: ignore[arg-type]

    def _answered(self, request: Request, accepted: bool, reasons: tuple[str, ...]) -> None:
        self.answers[request.number] = Answer(accepted, reasons)

    def _changed(self, console: Console) -> None:
        before, self._state = self._state, console.state
        for observer in self._gun.observers:
            observer.changed(before, console, self._gun.time.now_ns)

    # The process' own life

    async def _run(self) -> None:
        self.loop.post(Started())
        supervision = asyncio.create_task(self._supervise())
        try:
            await self.loop.run()
        finally:
            supervision.cancel()
            with suppress(asyncio.CancelledError):
                await supervision

    async def _supervise(self) -> None:
        """As `RealtimeChild`: renew the permit, replace a real-time process that is dead or silent."""
        timing, time = self._gun.configuration.device.timing, self._gun.time
        while True:  # ends with the process
            realtime = self.realtime
            if realtime is not None:
                realtime.permit_until_ns = time.now_ns + timing.permit_ns
                if not realtime.alive or time.now_ns - realtime.scan_ns > timing.silence_ns:
                    realtime.kill()
                    self.realtime = None
                    self.loop.post(FaultOccurred(Fault.REALTIME_LOST, "it ended or was silent"))
                    await asyncio.sleep(RESPAWN_NS / 1e9)
                    self.realtime = VirtualRealtime(self._gun, self._tell)
                    self.loop.post(RealtimeRestarted())
            await asyncio.sleep(PERMIT_PERIOD_S)

    def kill(self) -> None:
        """SIGKILL: the link closes, the journal's lock and the port go free; the real-time process lives on."""
        if not self.alive:
            return
        self.alive = False
        self.events.selector.interrupted = True
        self._gun.pump.listener = None
        if self.realtime is not None:
            self.realtime.linked = False

    def freeze(self, until_ns: int) -> None:
        """SIGSTOP until then."""
        self.frozen_until_ns = max(until_ns, self.frozen_until_ns)
        self.events.selector.interrupted = True

    def run_to(self, until_ns: int) -> None:
        """Live until then, or until killed or frozen."""
        stop = self.events.call_at(until_ns / 1e9, self.events.stop)
        self.events.selector.interrupted = False
        try:
            self.events.run_forever()
        except Interrupted:
            pass
        finally:
            stop.cancel()
        if self._main.done() and not self._main.cancelled():
            self._main.result()

    def bury(self) -> None:
        """Take apart what is left of a dead process, without a moment passing and without a byte leaving."""
        self.alive = False
        self._received = None
        tasks = asyncio.all_tasks(self.events)
        for task in tasks:
            task.cancel()
        if tasks:
            self.events.run_until_complete(asyncio.wait(tasks))
        self._indicators.close()
        self._factory.close()
        self.journal.close()
        self.events.close()
