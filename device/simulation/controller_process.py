"""The controller as a process in virtual time: the shipped loop, journal, driver, supervision and indicators.

Stands in for what the operating system does around them: the link, the port, the disk's time, SIGSTOP and SIGKILL.
A dead process is mute: whatever its remains still do when they are taken apart reaches nobody.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device.controller.journal import Journal, JournalWriteError
from device.controller.loop import ControllerLoop
from device.controller.realtime_child import RealtimeChild
from device.controller.recovery import fold_journal, restored_session
from device.core.console import Console
from device.core.events import Event, Request, Started
from device.core.formulary import Formulary
from device.core.realtime_messages import Order
from device.core.records import Booted, Record
from device.simulation.realtime_process import Child, RealtimeProcess
from device.simulation.virtual_time import ProcessLoop
from drivers.gpio.indicators import Indicators
from drivers.pump.cavro import CavroPump, PumpCeiling
from drivers.pump.serial_line import Lost, Received
from drivers.sim.pins import SimPinFactory

if TYPE_CHECKING:
    from device.simulation.gun import VirtualGun

VERSION = "simulated"

SIMULATED_FORMULARY: Final = Formulary(1, "", "simulated", "", signed_ms=0, expires_ms=2**62)
"""As if what is simulated had been signed: it can be tried before it is."""


@dataclass(frozen=True)
class Answer:
    """What a command was answered."""

    accepted: bool
    reasons: tuple[str, ...]


class ControllerProcess:
    """The controller: its event loop, journal, driver, indicators and machine, and the real-time process it keeps."""

    def __init__(self, gun: "VirtualGun", number: int) -> None:
        self._gun = gun
        self.events = ProcessLoop(gun.time)
        self.answers: dict[int, Answer] = {}
        self._buried = False
        self.realtime: RealtimeProcess | None = None
        """The one it started last."""
        self._child: Child | None = None
        self._received: Received | None = None
        self._lost: Lost | None = None
        self.journal = Journal.open(gun.journal_path, boot_id=f"boot-{number}", wall_clock_ms=gun.wall_clock_ms)
        ledger = fold_journal(self.journal, simulated=True)
        console = Console(
            spec=gun.configuration.device,
            ledger=ledger,
            formulary=SIMULATED_FORMULARY,
            session=restored_session(ledger, gun.configuration),
        )
        self._state = console.state
        self._factory = SimPinFactory(gun.world, now_ns=gun.time.clock, on_edge=gun.edge)
        self._indicators = Indicators(self._factory, gun.configuration.lines)
        self._supervision = RealtimeChild(
            spawn=self._spawn, timing=gun.configuration.device.timing, post=self._post, now_ns=gun.time.clock
        )
        self.loop = ControllerLoop(
            console,
            pump=CavroPump(
                self,
                address=gun.configuration.serial.address,
                spec=gun.configuration.device.pump,
                ceiling=PumpCeiling.of(gun.configuration.device.limits),
            ),
            realtime=self,
            journal=self,
            indicators=self._indicators,
            answered=self._answered,
            changed=self._changed,
            wall_clock_ms=gun.wall_clock_ms,
        )
        self._main = self.events.create_task(self._run())

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        return self.events.alive

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._main.done()

    # The ports that the loop is given

    def send(self, order: Order) -> None:
        """Give an order over the link."""
        if not self._gun.passing():
            self._supervision.send(order)

    async def append(self, records: Sequence[Record]) -> None:
        """Append to the shipped journal; it takes the disk's time."""
        gun = self._gun
        if self._gun.passing():
            raise JournalWriteError("the process is dead")
        gun.disk.busy = True
        await asyncio.sleep(gun.disk.commit_ns / 1e9)
        if not self.alive:
            raise JournalWriteError("the process is dead")
        gun.disk.busy = False
        if gun.disk.full:
            gun.disk.appends += 1
            # Without its path, which is another one in every run: it comes to be in the record of the fault.
            raise JournalWriteError("journal: database or disk is full")
        whole = gun.disk.write(lambda: self.journal.append(records))
        if not whole:
            gun.cut_power()
            raise JournalWriteError("the power is gone")
        for recorded in gun.audience.recorded:
            recorded(records, gun.time.now_ns)

    @property
    def baud(self) -> int:
        """The line's speed."""
        return self._gun.configuration.serial.baud

    def open(self, received: Received, lost: Lost) -> None:
        """Open the pump's line. Raises DriverError while the cable is out."""
        self._gun.check_plugged()
        self._received, self._lost = received, lost
        self._gun.pump.listener = self._bytes_arrived

    def write(self, data: bytes) -> None:
        """Send to the pump."""
        if self.alive and self._received is not None and not self._gun.passing():
            for sent in self._gun.audience.sent:
                sent(data, self._gun.time.now_ns)
            self._gun.pump.host_sends(data)

    def close(self) -> None:
        """Close the pump's line."""
        if self._received is not None and self.alive:
            self._gun.pump.listener = None
        self._received = self._lost = None

    async def _spawn(self, received: Callable[[bytes], None]) -> Child:
        self.realtime = RealtimeProcess(
            self._gun, lambda data: self._deliver(lambda: received(data)), leave_out=self._gun.leave_out
        )
        self._child = Child(self._gun, self.realtime)
        return self._child

    # What reaches the process from outside

    def _deliver(self, call: Callable[[], object]) -> None:
        """Let the event loop make `call` as soon as it runs."""
        if self.alive:
            self.events.call_soon(call)

    def post(self, event: Event) -> None:
        """Queue an event from outside."""
        self._deliver(lambda: self.loop.post(event))

    def unplugged(self) -> None:
        """The cable of the pump is out."""
        lost = self._lost
        if lost is not None:
            self._deliver(lambda: lost("the cable was pulled out"))

    def _post(self, event: Event) -> None:
        self.loop.post(event)

    def _bytes_arrived(self, data: bytes) -> None:
        def take() -> None:
            if self._received is not None:
                for received in self._gun.audience.received:
                    received(data, self._gun.time.now_ns)
                self._received(data)

        self._deliver(take)

    def _answered(self, request: Request, accepted: bool, reasons: tuple[str, ...]) -> None:  # noqa: FBT001 - a callback
        if not self._gun.passing():
            self.answers[request.number] = Answer(accepted, reasons)

    def _changed(self, console: Console) -> None:
        before, self._state = self._state, console.state
        for changed in self._gun.audience.changed:
            changed(before, console, self._gun.time.now_ns)

    # The process' own life

    async def _run(self) -> None:
        try:
            await self._supervision.start()
            await self.append([Booted(VERSION, self._gun.configuration.sha256, simulated=True)])
            self.loop.post(Started())
            await self.loop.run()
        finally:
            if self.alive:
                await self._supervision.close()

    def check(self) -> None:
        """Raise what the process has ended with, if with an error."""
        if self.alive and self._main.done() and not self._main.cancelled():
            self._main.result()

    def kill(self) -> None:
        """SIGKILL: the link closes, the journal's lock and the port go free; the real-time process lives on."""
        if not self.alive:
            return
        self.events.kill()
        self._gun.disk.busy = False
        self._gun.pump.listener = None
        if self._child is not None:
            self._child.hang_up()

    def bury(self) -> None:
        """Take apart what is left of a dead process, without a moment passing and without a byte leaving."""
        self.kill()
        self._received = self._lost = None
        with suppress(asyncio.CancelledError):
            self.events.bury()
        if not self._buried:
            self._buried = True
            self._indicators.close()
            self._factory.close()
            self.journal.close()
