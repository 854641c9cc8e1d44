"""The simulated pump of an explored state: the real firmware, kept as a number, run as far as the next thing it does.

Owns every look into `PumpFirmware` and its mechanics, and the pump's coarse time: a move is at its begin, at one of its
stages, or at its end, however long that takes. A firmware is copied before it runs, so a number always stands for the
same pump; clocks, frame numbers and half-heard frames are levelled, because nothing that follows depends on them.
"""

import copy
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from drivers.pump.cavro_codec import Command as Frame
from drivers.sim.pump_firmware import PumpFirmware, Troubles
from tests.exploration.gun import FILLED
from tests.exploration.numbering import Numbers

ADDRESS: Final = 1
CLOCK_NS: Final = 1_000_000_000_000
"""The clock of a pump at rest in the table; a driver's virtual time begins here too."""
LOOK_NS: Final = 50_000
LOOKS_MOST: Final = 400_000
"""Twenty seconds of looks: longer than any move or valve change of these runs."""
COARSE_SCALE: Final = 8


class Plunge(NamedTuple):
    """A plunger movement, in increments."""

    before: int
    after: int
    needle_side: bool


class PumpStep(NamedTuple):
    """What a pump did: its number afterwards, the movements, the phase line's last level (None: not touched)."""

    pump: int
    plunges: tuple[Plunge, ...]
    phase: bool | None
    began: bool
    """A gate was passed and a move begun."""


class Surroundings:
    """What the pump touches while it runs: gate levels as it sees them, and a record of what it does."""

    def __init__(self) -> None:
        self.gates = (False, False)
        self.plunges: list[Plunge] = []
        self.phase: bool | None = None

    def gate_low(self, number: int) -> bool:
        return self.gates[number - 1]

    def set_phase(self, level: bool, now_ns: int) -> None:
        self.phase = level

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        if self.plunges:
            before, after, side = self.plunges[-1]
            if side is needle_side and (after > before) is (to_position > from_position):
                self.plunges[-1] = Plunge(before, to_position, side)
                return
        self.plunges.append(Plunge(from_position, to_position, needle_side))


@dataclass(frozen=True, slots=True)
class PumpLook:
    """What a pump in the table is doing."""

    position: int
    busy: bool
    moving: bool
    halted_at: int
    error: int


class Pumps:
    """The table of pumps. `fine`: a move stands also one increment after its begin and one before its end."""

    def __init__(self, *, fine: bool = False) -> None:
        self._fine = fine
        self._table: Numbers[PumpFirmware] = Numbers()
        self._looks: list[PumpLook] = []
        self._steps: dict[tuple[int, tuple[bool, bool]], PumpStep | None] = {}

    def __len__(self) -> int:
        return len(self._table)

    def first(self) -> int:
        """Return a pump that has long been in use: initialised, filled, its valve at the needle."""
        surroundings = Surroundings()
        firmware = PumpFirmware(surroundings, address=ADDRESS, position=FILLED // COARSE_SCALE)
        _level(firmware, CLOCK_NS)
        firmware.receive(Frame(ADDRESS, 1, False, "zR").to_bytes(), CLOCK_NS)
        _run(firmware, lambda: not firmware.busy)
        return self.keep(firmware)

    def look(self, pump: int) -> PumpLook:
        return self._looks[pump]

    def copy(self, pump: int, surroundings: Surroundings) -> PumpFirmware:
        """Return a copy of a pump to run, in `surroundings`; its clock stands at `CLOCK_NS`."""
        kept = self._table[pump]
        shared = {id(part): part for part in _unchanging(kept)}
        return copy.deepcopy(kept, {**shared, id(_NOWHERE): surroundings})

    def keep(self, firmware: PumpFirmware) -> int:
        """Return the number of the pump that `firmware` has become. It must not be run any further."""
        _level(firmware, CLOCK_NS)
        firmware._surroundings = _NOWHERE
        firmware._mechanics._surroundings = _NOWHERE
        number = self._table.of(firmware, _content(firmware))
        if number == len(self._looks):
            mechanics = firmware._mechanics
            self._looks.append(
                PumpLook(
                    position=firmware.position,
                    busy=firmware.busy,
                    moving=mechanics._travel is not None,
                    halted_at=mechanics._halt or 0,
                    error=mechanics.error,
                )
            )
        return number

    def step(self, pump: int, gates: tuple[bool, bool]) -> PumpStep | None:
        """Return the next thing that the pump does by itself; None when it waits for a gate or has nothing to do."""
        look = self._looks[pump]
        if not look.busy or (look.halted_at and not gates[look.halted_at - 1]):
            return None
        key = (pump, gates)
        if key not in self._steps:
            self._steps[key] = self._step(pump, gates)
        return self._steps[key]

    def _step(self, pump: int, gates: tuple[bool, bool]) -> PumpStep:
        surroundings = Surroundings()
        surroundings.gates = gates
        firmware = self.copy(pump, surroundings)
        mechanics = firmware._mechanics
        travel, halted = mechanics._travel, mechanics._halt is not None
        if travel is not None:
            way = abs(travel.target - travel.start)
            stages = {1, way // 2, way - 1} if self._fine else {way // 2}
            reached = next((stage for stage in sorted(stages) if travel.reported < stage < way), way)
            _run(firmware, lambda: mechanics._travel is not travel or travel.reported >= reached != way)
        else:
            _run(
                firmware,
                lambda: (
                    mechanics._travel is not None
                    or not mechanics.busy
                    or (mechanics._halt is not None and not (halted and _same_place(firmware, self._table[pump])))
                ),
            )
        began = halted and travel is None and mechanics._travel is not None
        return PumpStep(self.keep(firmware), tuple(surroundings.plunges), surroundings.phase, began)

    def switched_off_and_on(self, pump: int) -> PumpStep:
        """Return the pump after a power cut: it knows nothing but holds its plunger."""
        surroundings = Surroundings()
        firmware = self.copy(pump, surroundings)
        firmware.power_cycle(CLOCK_NS)
        return PumpStep(self.keep(firmware), tuple(surroundings.plunges), surroundings.phase, began=False)

    def about_to_stall(self, pump: int) -> int:
        """Return the pump with an occlusion ahead: its next move ends in an overload half-way."""
        firmware = self.copy(pump, Surroundings())
        firmware.troubles = Troubles(overloads=1)
        return self.keep(firmware)


_NOWHERE: Final = Surroundings()
"""Where a pump in the table stands."""


def _unchanging(firmware: PumpFirmware) -> tuple[object, ...]:
    """Return the big parts of a pump that are never changed, only replaced."""
    mechanics = firmware._mechanics
    move = mechanics._travel.move if mechanics._travel is not None else None
    return (mechanics._buffer.instructions, *(() if move is None else (move._ways,)))


def _content(firmware: PumpFirmware) -> dict[str, object]:
    """Return all that tells two pumps apart; a move's course stands for itself, since equal ones are one object."""
    content = {name: part for name, part in vars(firmware._mechanics).items() if name != "_surroundings"}
    travel = firmware._mechanics._travel
    if travel is not None:
        move = travel.move
        course = (id(move._ways), move._steps, move._began_ns)
        rest = (travel.start, travel.target, travel.initialises, travel.stalls_after, travel.reported)
        content["_travel"] = (course, rest)
    return content


def _same_place(firmware: PumpFirmware, before: PumpFirmware) -> bool:
    return firmware._mechanics._buffer.place == before._mechanics._buffer.place


def _run(firmware: PumpFirmware, until: Any) -> None:
    """Run the pump, look by look, until `until()`."""
    now_ns = firmware._mechanics._clock_ns
    for _ in range(LOOKS_MOST):
        if until():
            return
        now_ns += LOOK_NS
        firmware.advance(now_ns)
    raise RuntimeError("the pump never comes to what it was run for")


def _level(firmware: PumpFirmware, clock_ns: int) -> None:
    """Set the pump's clock to `clock_ns`, everything with it, and forget the conversation."""
    mechanics = firmware._mechanics
    later_ns = clock_ns - mechanics._clock_ns
    mechanics._clock_ns = clock_ns
    if mechanics._wait_until_ns is not None:
        mechanics._wait_until_ns += later_ns
    if mechanics._travel is not None:
        mechanics._travel.move._began_ns += later_ns
    firmware._answers.clear()
    firmware._oem.clear()
    firmware._dt.clear()
    firmware._last_sequence = None
