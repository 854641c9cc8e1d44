"""What the controller asks of the pump: the shipped loop's effect, the shipped driver, bytes, the simulated firmware.

Owns one call at a time, in virtual time of its own, from a pump in the table to a pump in the table. The driver's
order of checks, its ceiling and its certainty are its own; so is what the loop makes of a failure. The line can go
dead in either direction before any frame of a call: every different end of the call is told.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from device.controller.loop import ControllerLoop
from device.core.console import Console
from device.core.effects import Effect, HomePlunger, Refill
from device.core.events import Event, FaultOccurred
from device.core.realtime_messages import Order
from drivers.ports import Light, Sound
from drivers.pump.cavro import CavroPump
from drivers.pump.cavro_session import CavroSession
from drivers.sim.pump_firmware import PumpFirmware
from tests.exploration.gun import CEILING, SPEC
from tests.exploration.pump import ADDRESS, Plunge, Pumps, Surroundings
from tests.support.pump import BAUD, MemoryLine, VirtualTimeLoop

FRAMES_MOST: Final = 120
"""More frames than any call sends with all its repeats."""


class Driver(NamedTuple):
    """What the driver remembers between two calls."""

    connected: bool
    valve_at_needle: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A line that goes dead before frame `frames`: `deaf`, the pump hears no more; else the host hears no more."""

    frames: int
    deaf: bool


WHOLE: Final = Cut(FRAMES_MOST, deaf=True)
SEVERED: Final = Cut(0, deaf=True)
"""A cable that is out before the call begins."""


class Called(NamedTuple):
    """How a call ended: the pump, the driver, what the plunger and the phase line did, what the loop got to know."""

    pump: int
    driver: Driver
    plunges: tuple[Plunge, ...]
    phase: bool | None
    posted: tuple[Event, ...]
    failure: FaultOccurred | None


class _CutLine(MemoryLine):
    """The paced line in memory, with a cut."""

    def __init__(self, firmware: PumpFirmware, cut: Cut) -> None:
        super().__init__(firmware, BAUD)
        self._cut = cut
        self.frames = 0

    def write(self, data: bytes) -> None:
        self.frames += 1
        if self.frames > self._cut.frames:
            if self._cut.deaf:
                return
            self._received = _unheard
        super().write(data)


def _unheard(data: bytes) -> None:
    """The host's end of a line on which nothing arrives any more."""


class PumpCalls:
    """Carries out the pump's effects, each different question once."""

    def __init__(self, pumps: Pumps, console: Console) -> None:
        self._pumps = pumps
        self._console = console
        self._answers: dict[tuple[int, Effect, Driver, tuple[bool, bool], Cut], Called] = {}
        self._ends: dict[tuple[int, Effect, Driver, tuple[bool, bool]], tuple[Called, ...]] = {}
        self._frames: dict[tuple[int, Effect, Driver, tuple[bool, bool]], int] = {}

    def call(self, pump: int, effect: Effect, driver: Driver, gates: tuple[bool, bool], cut: Cut = WHOLE) -> Called:
        """Return how `effect` ends on a line with `cut`."""
        key = (pump, effect, driver, gates, cut)
        if key not in self._answers:
            self._answers[key] = self._call(pump, effect, driver, gates, cut)
        return self._answers[key]

    def broken_off(self, pump: int, effect: Effect, driver: Driver, gates: tuple[bool, bool]) -> tuple[Called, ...]:
        """Return every different end of `effect` on a line that goes dead at any of its frames."""
        key = (pump, effect, driver, gates)
        if key not in self._ends:
            whole = self.call(pump, effect, driver, gates)
            ends: dict[Called, None] = {}
            for frames in range(self._frames[key]):
                for deaf in (True, False):
                    ends[self.call(pump, effect, driver, gates, Cut(frames, deaf))] = None
            ends.pop(whole, None)
            self._ends[key] = tuple(ends)
        return self._ends[key]

    def _call(self, pump: int, effect: Effect, driver: Driver, gates: tuple[bool, bool], cut: Cut) -> Called:
        surroundings = Surroundings()
        surroundings.gates = gates
        firmware = self._pumps.copy(pump, surroundings)
        line = _CutLine(firmware, cut)
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            after, posted, failure = runner.run(self._carry_out(effect, line, driver))
        if cut is WHOLE:
            self._frames[pump, effect, driver, gates] = line.frames
        return Called(
            pump=self._pumps.keep(firmware),
            driver=after,
            plunges=tuple(surroundings.plunges),
            phase=surroundings.phase,
            posted=tuple(_without_words(event) for event in posted),
            failure=failure,
        )

    async def _carry_out(
        self, effect: Effect, line: _CutLine, driver: Driver
    ) -> tuple[Driver, tuple[Event, ...], FaultOccurred | None]:
        pump = CavroPump(line, address=ADDRESS, spec=SPEC.pump, ceiling=CEILING)
        if driver.connected:
            line.open(pump._bytes_received, pump._line_lost)
            pump._session = CavroSession(address=ADDRESS, baud=line.baud)
            pump._valve_at_needle = driver.valve_at_needle
        nothing = _Nothing()
        loop = ControllerLoop(
            self._console,
            pump=pump,
            realtime=nothing,
            journal=nothing,
            indicators=nothing,
            answered=nothing.answered,
            changed=nothing.changed,
            wall_clock_ms=lambda: 0,
        )
        failure: FaultOccurred | None = None
        if isinstance(effect, Refill | HomePlunger):
            await loop._long(effect)
        else:
            failure = await loop._attempt(effect)
        after = Driver(pump._session is not None, pump._session is not None and pump._valve_at_needle)
        line.close()
        return after, tuple(loop._events), None if failure is None else replace(failure, detail="")


def _without_words(event: Event) -> Event:
    return replace(event, detail="") if isinstance(event, FaultOccurred) else event


class _Nothing:
    """The ports that an effect on the pump does not touch."""

    def send(self, order: Order) -> None: ...

    async def append(self, records: object) -> None: ...

    def light(self, light: Light) -> None: ...

    def sound(self, sound: Sound) -> None: ...

    def hush(self) -> None: ...

    def close(self) -> None: ...

    def answered(self, *_: object) -> None: ...

    def changed(self, console: Console) -> None: ...
