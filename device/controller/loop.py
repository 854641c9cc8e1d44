"""The controller's loop: one bounded queue into one pure machine; its effects carried out in order.

Owns the order of things. An effect that fails drops the ones behind it (a load is never done without its committed
intent) and puts the fault in front of the queue. Times no stroke; every wait on hardware has the driver's deadline.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from device.controller.alarm_signal import AlarmSignal
from device.controller.journal import APPEND_RECORDS_MAX, JournalWriteError
from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    Exit,
    HomePlunger,
    LoadPump,
    Note,
    ProbePump,
    ReadPosition,
    Refill,
    Reply,
    Send,
    SilenceAlarm,
    SoundAlarm,
    SoundDone,
    SoundRefusal,
    SoundRegion,
    TerminatePump,
)
from device.core.events import (
    Event,
    FaultOccurred,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RealtimeRestarted,
    RefillDone,
    Request,
    ShutdownRequested,
)
from device.core.faults import Fault
from device.core.machine import COMMANDS, step
from device.core.realtime_messages import Order
from device.core.records import Record
from drivers.ports import DriverError, IndicatorsPort, Light, PumpPort, Sound

log = logging.getLogger(__name__)

QUEUE_EVENTS: Final = 256
"""Bound of the event queue: a magazine makes about 20 events; this many at once mean that something is wrong."""

LONGEST_EFFECT_S: Final = 30.0
"""No effect takes so long, the driver's deadlines and a slow card's writing included: one that does will not end."""

PUMP_END_S: Final = 0.5
"""How long the pump may take to report ready after the last phase's end was seen."""

PUMP_POLL_S: Final = 0.005

# Steady light is a promise: a press fires now. Between two magazines it is dark for the moment that this takes.
LIGHTS: Final[dict[State, Light]] = {
    State.STARTING: Light.OFF,
    State.SELF_TEST: Light.SLOW,
    State.DISARMED: Light.OFF,
    State.HOMING: Light.SLOW,
    State.PRIMING: Light.SLOW,
    State.REFILLING: Light.SLOW,
    State.SESSION: Light.SLOW,
    State.LOADING: Light.OFF,
    State.ARMED: Light.ON,
    State.FIRING: Light.ON,
    State.SETTLING: Light.OFF,
    State.FAULT: Light.ALARM_HIGH,
}


SOUNDS: Final[dict[type[Effect], Sound]] = {
    SoundRefusal: Sound.REFUSED,
    SoundDone: Sound.DONE,
    SoundRegion: Sound.REGION,
}


class RealtimePort(Protocol):
    """The real-time process as the loop needs it."""

    def send(self, order: Order) -> None:
        """Give an order; never raises for a lost process."""


class JournalPort(Protocol):
    """The journal as the loop needs it: the loop goes on while it writes."""

    async def append(self, records: Sequence[Record]) -> None:
        """Make the records durable, all or none. Raises JournalWriteError when it cannot."""


class ControllerLoop:
    """Runs the machine. `answered` gets every Reply; `changed` is called with the console after every event.

    `alarm` signals what is latched; when time alone changed that, `changed` is called as well.
    `wall_clock_ms` dates what was given, and serves nothing else.
    """

    def __init__(
        self,
        console: Console,
        *,
        pump: PumpPort,
        realtime: RealtimePort,
        journal: JournalPort,
        indicators: IndicatorsPort,
        answered: Callable[[Request, bool, tuple[str, ...]], None],
        changed: Callable[[Console], None],
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self.console = console
        self._pump = pump
        self._realtime = realtime
        self._journal = journal
        self._indicators = indicators
        self.alarm = AlarmSignal(indicators, changed=lambda: changed(self.console))
        self._answered = answered
        self._changed = changed
        self._wall_clock_ms = wall_clock_ms
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._background: asyncio.Task[None] | None = None
        self._unwritten: tuple[Record, ...] = ()
        self._overflowed = False
        self._effect_since_s: float | None = None
        self._exit = False

    def post(self, event: Event) -> None:
        """Queue an event. On overflow one fault replaces the queue, of which only what nobody says again is kept."""
        self._events.append(event)
        if len(self._events) > QUEUE_EVENTS:
            full = FaultOccurred(Fault.QUEUE_FULL, f"{QUEUE_EVENTS} events waiting")
            dropped, self._events = self._events, deque([full])
            for each in dropped:
                if isinstance(each, ShutdownRequested | RealtimeRestarted):
                    self._events.append(each)
                elif isinstance(each, COMMANDS):
                    self._refused(each.request, full)
        self._wake.set()

    def gets_on(self) -> bool:
        """Whether it waits for an event, or for an effect that may still end."""
        since_s = self._effect_since_s
        return since_s is None or asyncio.get_running_loop().time() - since_s <= LONGEST_EFFECT_S

    async def run(self) -> None:
        """Handle events until an Exit effect; leaves no background task."""
        try:
            while not self._exit:
                await self._wake.wait()
                while self._events and not self._exit:
                    await self.handle(self._events.popleft())
                if not self._events:
                    self._wake.clear()
        finally:
            self.alarm.close()
            await self._stop_background()

    async def handle(self, event: Event) -> None:
        """Give one event to the machine and carry out its effects."""
        log.debug("%s: %s", self.console.state.name.lower(), event)
        before = self.console.state
        self.console, effects = step(self.console, event)
        if self.console.state is not before:
            log.debug("%s -> %s", before.name.lower(), self.console.state.name.lower())
        self.alarm.follow(LIGHTS[self.console.state], self.console.ledger.faults)
        self._changed(self.console)
        for place, effect in enumerate(effects):
            self._effect_since_s = asyncio.get_running_loop().time()
            failure = await self._attempt(effect)
            self._effect_since_s = None
            if failure is not None:
                log.error("%d %s: %s", failure.fault.value, failure.fault.name.lower(), failure.detail)
                self._events.appendleft(failure)
                self._wake.set()
                self._answer_dropped(effects[place + 1 :], failure)
                return

    async def _attempt(self, effect: Effect) -> FaultOccurred | None:
        try:
            await self._perform(effect)
        except DriverError as error:
            return FaultOccurred(error.fault, error.detail)
        except Exception as error:
            log.exception("effect %s failed", type(effect).__name__)
            return FaultOccurred(Fault.INTERNAL, f"{type(effect).__name__}: {error}")
        return None

    def _answer_dropped(self, effects: tuple[Effect, ...], failure: FaultOccurred) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._refused(effect.request, failure)

    def _refused(self, request: Request, failure: FaultOccurred) -> None:
        reason = f"fault {failure.fault.value} {failure.fault.name.lower()}: {failure.detail}"
        self._answered(request, False, (reason,))  # noqa: FBT003 - refused

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Commit(records):
                await self._commit(records)
            case Note(record):
                self._note(record)
            case Reply(request, accepted, reasons):
                self._answered(request, accepted, reasons)
            case Send(order):
                self._realtime.send(order)
            case LoadPump(program):
                await self._pump.load(program)
                self.post(PumpLoaded(program.magazine_id))
            case ReadPosition(complete):
                await self._read_position(complete=complete)
            case TerminatePump():
                await self._terminate()
            case ProbePump():
                await self._probe()
            case Refill() | HomePlunger():
                await self._stop_background()
                self._background = asyncio.create_task(self._long(effect), name=type(effect).__name__)
            case SoundAlarm(priority):
                self.alarm.once(priority)
            case SilenceAlarm():
                self.alarm.silence()
            case SoundRefusal() | SoundDone() | SoundRegion():
                self._indicators.sound(SOUNDS[type(effect)])
            case Exit():
                self._exit = True
                await self._write_the_rest()

    async def _commit(self, records: tuple[Record, ...]) -> None:
        """Write `records`, behind those that an earlier commit could not write: the ledger has them all already."""
        if self._overflowed or len(self._unwritten) + len(records) > APPEND_RECORDS_MAX:
            self._overflowed = True
            # Nothing of it may be left out, so from here on only a restart, which settles by position, can go on.
            raise DriverError(Fault.JOURNAL_WRITE_FAILED, f"{len(self._unwritten)} records wait already: restart")
        self._unwritten = (*self._unwritten, *records)
        try:
            await self._journal.append(self._unwritten)
        except JournalWriteError as error:
            raise DriverError(Fault.JOURNAL_WRITE_FAILED, str(error)) from error
        self._unwritten = ()

    def _note(self, record: Record) -> None:
        # After an overflow something is left out already, and nothing may be written behind a gap.
        if not self._overflowed and len(self._unwritten) < APPEND_RECORDS_MAX:
            self._unwritten = (*self._unwritten, record)

    async def _write_the_rest(self) -> None:
        """What waits for a journal that could not be written is tried once more: there may be space again."""
        if not self._unwritten:
            return
        try:
            await self._journal.append(self._unwritten)
        except JournalWriteError as error:
            log.error("%d records are lost: %s", len(self._unwritten), error)  # noqa: TRY400 - one line
        else:
            self._unwritten = ()

    async def _probe(self) -> None:
        identity = await self._pump.connect()
        log.info("pump: %s", identity)
        status = await self._pump.status()
        if status.error in PUMP_WITHOUT_POSITION:
            self.post(PumpProbed(None))
            return
        gates = await self._pump.gates()
        if gates.gate_1_open or gates.gate_2_open:
            stuck = " and ".join(name for name, open_ in (("1", gates.gate_1_open), ("2", gates.gate_2_open)) if open_)
            raise DriverError(Fault.PUMP_GATE_STUCK, f"the pump reads gate {stuck} as open at rest")
        self.post(PumpProbed(await self._pump.position()))

    async def _read_position(self, *, complete: bool) -> None:
        """Read where the plunger stands. An unreadable one is an unknown position, which the machine books worst."""
        try:
            if complete:
                await self._until_ready()
            else:
                await self._pump.terminate()
            position = await self._pump.position()
        except DriverError as error:
            if complete:
                raise
            log.error("the plunger's position cannot be read: %s", error)  # noqa: TRY400 - one line
            self.post(PositionRead(None, self._wall_clock_ms()))
        else:
            self.post(PositionRead(position, self._wall_clock_ms()))

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PUMP_END_S
        while not (await self._pump.status()).ready:
            if loop.time() > deadline:
                raise DriverError(Fault.PHASE_NOT_FINISHED, f"the pump is still busy after {PUMP_END_S:g} s")
            await asyncio.sleep(PUMP_POLL_S)

    async def _terminate(self) -> None:
        await self._stop_background()
        try:
            await self._pump.terminate()
        except DriverError as error:
            log.error("the pump could not be terminated: %s", error)  # noqa: TRY400 - one line

    async def _long(self, effect: Refill | HomePlunger) -> None:
        try:
            if isinstance(effect, Refill):
                refill = self._pump.refill(effect.target, overshoot=effect.overshoot, owed=effect.owed)
                self.post(RefillDone(await refill))
            else:
                self.post(PlungerAtTop(await self._pump.home_plunger()))
        except DriverError as error:
            self.post(FaultOccurred(error.fault, error.detail))
        except Exception as error:
            log.exception("effect %s failed", type(effect).__name__)
            self.post(FaultOccurred(Fault.INTERNAL, f"{type(effect).__name__}: {error}"))

    async def _stop_background(self) -> None:
        task, self._background = self._background, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])


PUMP_WITHOUT_POSITION: Final = (1, 7)
"""The pump's errors that only homing its plunger ends: the homing failed, or was not done since power-up."""
