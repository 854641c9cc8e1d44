"""The layout of a simulated console's memory: which cell is where, who writes it, and what it holds at first.

Owns the table alone: names, places, the check that a file is a world of this very layout, and the attributes that
read a cell. What a change of a cell means is `world`'s. Every cell has one writing process, named here in groups; a
cell is one aligned 64-bit store.
"""

import contextlib
import dataclasses
import mmap
import zlib
from enum import IntEnum, auto
from typing import Final

from drivers.ports import LineMap

LINE_COUNT: Final = 28
"""BCM 0 ... 27: the lines on a Raspberry Pi's header."""

CONSOLE: Final = -1
"""The owner of a line that a part of the console drives (a switch, the pump), not a process."""

UNDRIVEN: Final = 0
UNWIRED: Final = -1
MAGIC: Final = int.from_bytes(b"mesogun\0", "big")

_PULLED_UP: Final = ("trigger_a", "trigger_b", "stop_a", "stop_b", "home", "contact", "enable", "gate_1", "gate_2")
_PULLED_DOWN: Final = ("phase", "step", "direction", "light", "buzzer")
_CLOSED_AT_REST: Final = ("trigger_b", "stop_a", "stop_b", "home")


class WorldError(Exception):
    """A world could not be made or attached; one line that names the file and what is wrong with it."""


class Field(IntEnum):
    """The table's single cells, each with its one writer. The arrays of the lines follow them."""

    # Written when the world is created.
    MAGIC = 0
    LAYOUT = auto()
    STEPS_PER_MM = auto()
    CLEARANCE_STEPS = auto()
    # Written by the process that drives step, direction and enable.
    NEEDLE_STEPS = auto()
    NEEDLE_CHANGED_NS = auto()
    DEEPEST_STEPS = auto()
    STROKE_DEEPEST_STEPS = auto()
    STROKES = auto()
    STEPS_HINDERED = auto()
    STEPS_LOST = auto()
    # Written by the operator.
    ON_SKIN = auto()
    # Written by the pump.
    GIVEN_IN_TISSUE = auto()
    GIVEN_IN_AIR = auto()
    FROM_VIAL = auto()
    TO_VIAL = auto()
    DRAWN_BACK = auto()
    LAST_FLUID_NS = auto()
    ENTRY_PL = auto()
    DWELL_PL = auto()
    EXIT_PL = auto()
    UNDECIDED_PL = auto()
    SPILLED_PL = auto()
    BUBBLES_PL = auto()
    VIAL_AIR_PL = auto()
    STORED_PL = auto()
    PRESSURE_PA = auto()
    # Written by tests.
    TROUBLE_DROP_FRAMES = auto()
    TROUBLE_DROP_ANSWERS = auto()
    TROUBLE_DELAY_ANSWERS = auto()
    TROUBLE_DELAY_MS = auto()
    TROUBLE_OVERLOADS = auto()
    TROUBLE_LOSE_INCREMENTS = auto()
    TROUBLE_FLIP_BITS = auto()
    TROUBLE_GATE_1_STUCK = auto()
    TROUBLE_GATE_2_STUCK = auto()
    TROUBLE_PHASE_STUCK = auto()
    TROUBLE_NEEDLE_JAMMED = auto()
    TROUBLE_HOME_BROKEN = auto()
    TROUBLE_LOSE_STEPS = auto()
    TROUBLE_LOSE_EVERY_STEPS = auto()
    NEEDLE_HINDERED = auto()
    TROUBLE_CLOGGED_PERCENT = auto()
    TROUBLE_AIR_NL = auto()
    VIAL_NL = auto()


LINE_NAMES: Final = tuple(field.name for field in dataclasses.fields(LineMap))
LINE_MAP: Final = len(Field)
LEVEL: Final = LINE_MAP + len(LINE_NAMES)
PULL: Final = LEVEL + LINE_COUNT
BOARD_PULL: Final = PULL + LINE_COUNT
OWNER: Final = BOARD_PULL + LINE_COUNT
CHANGED_NS: Final = OWNER + LINE_COUNT
EDGES: Final = CHANGED_NS + LINE_COUNT
_CELLS: Final = EDGES + LINE_COUNT
BYTES: Final = _CELLS * 8
# Any change of the table is another layout, without a version number that somebody must remember to raise.
LAYOUT: Final = zlib.crc32("\n".join((*Field.__members__, *LINE_NAMES, str(_CELLS))).encode())


class Reading:
    """A cell as a read-only attribute of `World`."""

    __slots__ = ("_cell",)

    def __init__(self, field: Field) -> None:
        self._cell = int(field)

    def __get__(self, world: "WorldCells", owner: type["WorldCells"]) -> int:
        return world.cells[self._cell]


class Trouble(Reading):
    """A cell as an attribute that tests may write."""

    __slots__ = ()

    def __set__(self, world: "WorldCells", value: int) -> None:
        world.cells[self._cell] = value


class NeedleTrouble(Trouble):
    """A trouble of the needle: also notes whether there is any, which is all that a step edge has to look at."""

    __slots__ = ()

    def __set__(self, world: "WorldCells", value: int) -> None:
        super().__set__(world, value)
        world.cells[Field.NEEDLE_HINDERED] = any(world.cells[trouble] for trouble in _NEEDLE_TROUBLES)


_NEEDLE_TROUBLES: Final = (Field.TROUBLE_NEEDLE_JAMMED, Field.TROUBLE_LOSE_STEPS, Field.TROUBLE_LOSE_EVERY_STEPS)


class WorldCells:
    """The table's cells as attributes: read by everybody, the troubles and the vial written by tests."""

    __slots__ = ("cells",)

    cells: memoryview
    """The table itself, 64-bit cells; for this package's hot paths."""

    steps_per_mm = Reading(Field.STEPS_PER_MM)
    clearance_steps = Reading(Field.CLEARANCE_STEPS)
    """The needle's way from home to the skin's surface, in steps."""
    needle_steps = Reading(Field.NEEDLE_STEPS)
    """The needle's position: 0 home, positive inward, never below `END_STOP_STEPS`."""
    needle_changed_ns = Reading(Field.NEEDLE_CHANGED_NS)
    deepest_steps = Reading(Field.DEEPEST_STEPS)
    """The deepest position since the world was made."""
    stroke_deepest_steps = Reading(Field.STROKE_DEEPEST_STEPS)
    """The deepest position since the needle last left home."""
    strokes = Reading(Field.STROKES)
    """How often the needle returned home after its tip had passed the skin's surface."""
    given_in_tissue = Reading(Field.GIVEN_IN_TISSUE)
    given_in_air = Reading(Field.GIVEN_IN_AIR)
    from_vial = Reading(Field.FROM_VIAL)
    to_vial = Reading(Field.TO_VIAL)
    drawn_back = Reading(Field.DRAWN_BACK)
    """The deficit at the tip: drawn back on the needle side and not yet repaid."""
    last_fluid_ns = Reading(Field.LAST_FLUID_NS)
    """When fluid last left the needle; 0 never."""

    # Only where the world carries a fluid path, in picolitres of serum; the cells above are rounded down from these.
    entry_pl = Reading(Field.ENTRY_PL)
    """Left under the skin while the needle moved inward."""
    dwell_pl = Reading(Field.DWELL_PL)
    """Left under the skin at the stroke's deepest point, from the last step inward to the first outward."""
    exit_pl = Reading(Field.EXIT_PL)
    """Left under the skin while the needle moved outward."""
    undecided_pl = Reading(Field.UNDECIDED_PL)
    """Left under the skin at the deepest point so far: entry if the needle goes on, else dwell; 0 soon after."""
    spilled_pl = Reading(Field.SPILLED_PL)
    """Left outside the skin, primes too."""
    bubbles_pl = Reading(Field.BUBBLES_PL)
    """Air from inside that left the needle."""
    vial_air_pl = Reading(Field.VIAL_AIR_PL)
    """Air drawn from an empty vial."""
    stored_pl = Reading(Field.STORED_PL)
    """What the tube holds over its rest."""
    pressure_pa = Reading(Field.PRESSURE_PA)
    """The pressure in the tube, over the room's."""

    # Countable troubles hold the total asked for since the world was made: the one who suffers them counts what it
    # has done by itself, so that each cell keeps one writer. The others hold while they are not 0.
    trouble_drop_frames = Trouble(Field.TROUBLE_DROP_FRAMES)
    """Total of frames that the pump must not have heard."""
    trouble_drop_answers = Trouble(Field.TROUBLE_DROP_ANSWERS)
    """Total of answers that the pump must lose."""
    trouble_delay_answers = Trouble(Field.TROUBLE_DELAY_ANSWERS)
    """Total of answers that the pump must send late, each by `trouble_delay_ms`."""
    trouble_delay_ms = Trouble(Field.TROUBLE_DELAY_MS)
    trouble_overloads = Trouble(Field.TROUBLE_OVERLOADS)
    """Total of moves that must end in an overload."""
    trouble_lose_increments = Trouble(Field.TROUBLE_LOSE_INCREMENTS)
    """Increments lost at every terminate that hits a running move; 0 none."""
    trouble_flip_bits = Trouble(Field.TROUBLE_FLIP_BITS)
    """Total of answers in which one bit must be flipped."""
    trouble_gate_1_stuck = Trouble(Field.TROUBLE_GATE_1_STUCK)
    """The pump sees gate 1 low whatever drives it."""
    trouble_gate_2_stuck = Trouble(Field.TROUBLE_GATE_2_STUCK)
    """The pump sees gate 2 low whatever drives it."""
    trouble_phase_stuck = Trouble(Field.TROUBLE_PHASE_STUCK)
    """The phase line keeps its level."""
    trouble_needle_jammed = NeedleTrouble(Field.TROUBLE_NEEDLE_JAMMED)
    """Steps do not move the needle."""
    trouble_home_broken = Trouble(Field.TROUBLE_HOME_BROKEN)
    """The home switch's wire is broken: from the next step on the line reads away from home."""
    trouble_lose_steps = NeedleTrouble(Field.TROUBLE_LOSE_STEPS)
    """Total of step edges that must not move the needle."""
    trouble_lose_every_steps = NeedleTrouble(Field.TROUBLE_LOSE_EVERY_STEPS)
    """Every so many step edges one does not move the needle."""
    # The following act where the world carries a fluid path.
    trouble_clogged_percent = Trouble(Field.TROUBLE_CLOGGED_PERCENT)
    """By how much the needle's resistance is raised."""
    trouble_air_nl = Trouble(Field.TROUBLE_AIR_NL)
    """Total of the air that must have got into the tube's end at the pump."""
    vial_nl = Trouble(Field.VIAL_NL)
    """All serum that was ever put under the pump; what is drawn beyond it is air. 0: the vial never runs empty."""


def check_lines(lines: LineMap) -> None:
    """Raise WorldError for a line outside the header or used twice."""
    names: dict[int, str] = {}
    for name, line in lines.as_numbers().items():
        if line is None:
            continue
        if not 0 <= line < LINE_COUNT:
            raise WorldError(f"line {name} is BCM {line}; allowed are 0 ... {LINE_COUNT - 1}")
        if line in names:
            raise WorldError(f"lines {names[line]} and {name} are both BCM {line}")
        names[line] = name


def fill(memory: mmap.mmap, lines: LineMap, *, steps_per_mm: int, clearance_steps: int) -> None:
    """Write the table of a world at rest into zeroed memory."""
    numbers = lines.as_numbers()
    with contextlib.ExitStack() as views:
        cells = views.enter_context(views.enter_context(memoryview(memory)).cast("q"))
        cells[Field.LAYOUT] = LAYOUT
        cells[Field.STEPS_PER_MM] = steps_per_mm
        cells[Field.CLEARANCE_STEPS] = clearance_steps
        for place, name in enumerate(LINE_NAMES):
            line = numbers[name]
            cells[LINE_MAP + place] = UNWIRED if line is None else line
        for line in range(LINE_COUNT):
            cells[BOARD_PULL + line] = UNWIRED
        for name in (*_PULLED_UP, *_PULLED_DOWN):
            line = numbers[name]
            if line is not None:
                cells[LEVEL + line] = cells[PULL + line] = cells[BOARD_PULL + line] = name in _PULLED_UP
        for name in _CLOSED_AT_REST:
            line = numbers[name]
            if line is not None:
                cells[LEVEL + line] = 0
                cells[OWNER + line] = CONSOLE
        cells[Field.MAGIC] = MAGIC
