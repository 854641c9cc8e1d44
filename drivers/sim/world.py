"""The simulated console: its lines, its needle, the skin under it and the fluid, as one table of whole numbers.

Owns the only truth of a simulated run, in shared memory that several processes map at once. Every cell has one
writing process, and a cell is one aligned 64-bit store, so no lock is needed and none is taken; only the keeper
(the pump's process) writes cells of another process, and only once that process is dead. Never reads a clock: every
change is stamped with the `now_ns` (CLOCK_MONOTONIC) of its caller. Knows no pin library, pump protocol or controller.
"""

import contextlib
import dataclasses
import mmap
import os
import stat
import tempfile
import zlib
from enum import IntEnum, auto
from pathlib import Path
from typing import Final, Self

from drivers.ports import LineMap

LINE_COUNT: Final = 28
"""BCM 0 ... 27: the lines on a Raspberry Pi's header."""

END_STOP_STEPS: Final = -2
"""The needle's outward end stop: two steps behind the home switch; further outward steps are lost there."""

CONSOLE: Final = -1
"""The owner of a line that a part of the console drives (a switch, the pump), not a process."""

_UNDRIVEN: Final = 0
_UNWIRED: Final = -1
_MAGIC: Final = int.from_bytes(b"mesogun\0", "big")

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
    # Written by the operator.
    ON_SKIN = auto()
    # Written by the pump.
    GIVEN_IN_TISSUE = auto()
    GIVEN_IN_AIR = auto()
    FROM_VIAL = auto()
    TO_VIAL = auto()
    DRAWN_BACK = auto()
    LAST_FLUID_NS = auto()
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


_LINE_NAMES: Final = tuple(field.name for field in dataclasses.fields(LineMap))
_LINE_MAP: Final = len(Field)
_LEVEL: Final = _LINE_MAP + len(_LINE_NAMES)
_PULL: Final = _LEVEL + LINE_COUNT
_BOARD_PULL: Final = _PULL + LINE_COUNT
_OWNER: Final = _BOARD_PULL + LINE_COUNT
_CHANGED_NS: Final = _OWNER + LINE_COUNT
_EDGES: Final = _CHANGED_NS + LINE_COUNT
_CELLS: Final = _EDGES + LINE_COUNT
_BYTES: Final = _CELLS * 8
# Any change of the table is another layout, without a version number that somebody must remember to raise.
_LAYOUT: Final = zlib.crc32("\n".join((*Field.__members__, *_LINE_NAMES, str(_CELLS))).encode())

# The scan writes a step several thousand times a second: plain module integers, not enum members, on that path.
_NEEDLE_STEPS: Final = int(Field.NEEDLE_STEPS)
_NEEDLE_CHANGED_NS: Final = int(Field.NEEDLE_CHANGED_NS)
_DEEPEST_STEPS: Final = int(Field.DEEPEST_STEPS)
_STROKE_DEEPEST_STEPS: Final = int(Field.STROKE_DEEPEST_STEPS)
_TROUBLE_NEEDLE_JAMMED: Final = int(Field.TROUBLE_NEEDLE_JAMMED)


class _Reading:
    """A cell as a read-only attribute of `World`."""

    __slots__ = ("_cell",)

    def __init__(self, field: Field) -> None:
        self._cell = int(field)

    def __get__(self, world: "World", owner: type["World"]) -> int:
        return world.cells[self._cell]


class _Trouble(_Reading):
    """A cell as an attribute that tests may write."""

    __slots__ = ()

    def __set__(self, world: "World", value: int) -> None:
        world.cells[self._cell] = value


class World:
    """The simulated console. Times are CLOCK_MONOTONIC ns, positions motor steps, fluid the pump's increments."""

    __slots__ = ("_direction", "_enable", "_gates", "_home", "_lines", "_memory", "_phase", "_step", "cells")

    cells: memoryview
    """The table itself, 64-bit cells; for this package's hot paths."""

    steps_per_mm = _Reading(Field.STEPS_PER_MM)
    clearance_steps = _Reading(Field.CLEARANCE_STEPS)
    """The needle's way from home to the skin's surface, in steps."""
    needle_steps = _Reading(Field.NEEDLE_STEPS)
    """The needle's position: 0 home, positive inward, never below `END_STOP_STEPS`."""
    needle_changed_ns = _Reading(Field.NEEDLE_CHANGED_NS)
    deepest_steps = _Reading(Field.DEEPEST_STEPS)
    """The deepest position since the world was made."""
    stroke_deepest_steps = _Reading(Field.STROKE_DEEPEST_STEPS)
    """The deepest position since the needle last left home."""
    strokes = _Reading(Field.STROKES)
    """How often the needle returned home after its tip had passed the skin's surface."""
    given_in_tissue = _Reading(Field.GIVEN_IN_TISSUE)
    given_in_air = _Reading(Field.GIVEN_IN_AIR)
    from_vial = _Reading(Field.FROM_VIAL)
    to_vial = _Reading(Field.TO_VIAL)
    drawn_back = _Reading(Field.DRAWN_BACK)
    """The deficit at the tip: drawn back on the needle side and not yet repaid."""
    last_fluid_ns = _Reading(Field.LAST_FLUID_NS)
    """When fluid last left the needle; 0 never."""

    # Countable troubles hold the total asked for since the world was made: the one who suffers them counts what it
    # has done by itself, so that each cell keeps one writer. The others hold while they are not 0.
    trouble_drop_frames = _Trouble(Field.TROUBLE_DROP_FRAMES)
    """Total of frames that the pump must not have heard."""
    trouble_drop_answers = _Trouble(Field.TROUBLE_DROP_ANSWERS)
    """Total of answers that the pump must lose."""
    trouble_delay_answers = _Trouble(Field.TROUBLE_DELAY_ANSWERS)
    """Total of answers that the pump must send late, each by `trouble_delay_ms`."""
    trouble_delay_ms = _Trouble(Field.TROUBLE_DELAY_MS)
    trouble_overloads = _Trouble(Field.TROUBLE_OVERLOADS)
    """Total of moves that must end in an overload."""
    trouble_lose_increments = _Trouble(Field.TROUBLE_LOSE_INCREMENTS)
    """Increments lost at every terminate that hits a running move; 0 none."""
    trouble_flip_bits = _Trouble(Field.TROUBLE_FLIP_BITS)
    """Total of answers in which one bit must be flipped."""
    trouble_gate_1_stuck = _Trouble(Field.TROUBLE_GATE_1_STUCK)
    """The pump sees gate 1 low whatever drives it."""
    trouble_gate_2_stuck = _Trouble(Field.TROUBLE_GATE_2_STUCK)
    """The pump sees gate 2 low whatever drives it."""
    trouble_phase_stuck = _Trouble(Field.TROUBLE_PHASE_STUCK)
    """The phase line keeps its level."""
    trouble_needle_jammed = _Trouble(Field.TROUBLE_NEEDLE_JAMMED)
    """Steps do not move the needle."""
    trouble_home_broken = _Trouble(Field.TROUBLE_HOME_BROKEN)
    """The home switch's wire is broken: from the next step on the line reads away from home."""

    def __init__(self, memory: mmap.mmap) -> None:
        """Take over mapped memory whose table is filled in; `create` and `attach` are the ways to a world."""
        self._memory = memory
        self.cells = memoryview(memory).cast("q")
        numbers = (self.cells[_LINE_MAP + place] for place in range(len(_LINE_NAMES)))
        wired = {name: None if line == _UNWIRED else line for name, line in zip(_LINE_NAMES, numbers, strict=True)}
        self._lines = LineMap(**wired)  # type: ignore[arg-type]  # create() allows None for contact and phase only
        self._step = self._lines.step
        self._direction = self._lines.direction
        self._enable = self._lines.enable
        self._home = self._lines.home
        self._phase = self._lines.phase
        self._gates = (self._lines.gate_1, self._lines.gate_2)

    @classmethod
    def create(cls, path: Path | None, *, lines: LineMap, steps_per_mm: int, clearance_steps: int) -> Self:
        """Make a world at rest: needle home, nothing pressed, off the skin, no line driven.

        `path` None: in anonymous memory. Otherwise a file of mode 0600 that appears whole or not at all and takes
        the place of an older one. Raises WorldError for line numbers outside BCM 0 ... 27 or used twice, or where
        the file cannot be made.
        """
        _check_lines(lines)
        if path is None:
            memory = mmap.mmap(-1, _BYTES)
            _fill(memory, lines, steps_per_mm=steps_per_mm, clearance_steps=clearance_steps)
            return cls(memory)
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp: mode 0600
        except OSError as error:
            raise WorldError(f"{path}: the world cannot be made: {error.strerror}") from error
        try:
            os.ftruncate(descriptor, _BYTES)
            memory = mmap.mmap(descriptor, _BYTES)
            _fill(memory, lines, steps_per_mm=steps_per_mm, clearance_steps=clearance_steps)
            Path(temporary).replace(path)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise WorldError(f"{path}: the world cannot be made: {error.strerror}") from error
        finally:
            os.close(descriptor)
        return cls(memory)

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Map the world that another process made at `path`.

        Raises WorldError, naming the file, where it is missing, not a world, or of another layout.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise WorldError(f"{path}: no simulated world here: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size < 2 * 8:
                raise WorldError(f"{path}: not a simulated world")
            header = os.pread(descriptor, 2 * 8, 0)
            with memoryview(header).cast("q") as cells:
                magic, layout = cells[Field.MAGIC], cells[Field.LAYOUT]
            if magic != _MAGIC:
                raise WorldError(f"{path}: not a simulated world")
            if layout != _LAYOUT or status.st_size != _BYTES:
                raise WorldError(f"{path}: a world of another version; remove it and start the simulator again")
            return cls(mmap.mmap(descriptor, _BYTES))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Unmap the table; the world goes on for whoever else has it. Closing twice is allowed."""
        self.cells.release()
        self._memory.close()

    @property
    def lines(self) -> LineMap:
        """The console's wiring."""
        return self._lines

    # Lines ------------------------------------------------------------------------------------------------------

    def level(self, line: int) -> bool:
        """Return the electrical level: True is high. An undriven line reads its pull."""
        return self.cells[_LEVEL + line] != 0

    def drive(self, line: int, level: bool, *, pid: int, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Set a line's level on behalf of process `pid`; a rising step edge moves the needle."""
        cells = self.cells
        cells[_OWNER + line] = pid
        if (cells[_LEVEL + line] != 0) is not level:
            cells[_CHANGED_NS + line] = now_ns
            cells[_EDGES + line] += 1
            cells[_LEVEL + line] = level
            if level and line == self._step:
                self._step_needle(now_ns)

    def release(self, line: int, now_ns: int) -> None:
        """Let a line go to its pull: nobody drives it any more."""
        self._change(line, level=self.cells[_PULL + line] != 0, now_ns=now_ns)
        self.cells[_OWNER + line] = _UNDRIVEN

    def release_all_of(self, pid: int, now_ns: int) -> None:
        """Let every line that process `pid` drives go to its pull: what its death does to real lines.

        For the keeper, once `pid` is known to be dead. A successor cannot lose by the race, because it starts by
        driving its lines to the safe levels, which are their pulls.
        """
        for line in range(LINE_COUNT):
            if self.cells[_OWNER + line] == pid:
                self.release(line, now_ns)

    def set_pull(self, line: int, up: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Pull a line up or down; its level follows if nobody drives it."""
        self.cells[_PULL + line] = up
        if self.cells[_OWNER + line] == _UNDRIVEN:
            self._change(line, level=up, now_ns=now_ns)

    def pull(self, line: int) -> bool:
        """Return the level that the line has when nobody drives it."""
        return self.cells[_PULL + line] != 0

    def board_pull(self, line: int) -> bool | None:
        """Return the level of the console's own pull resistor on the line; None where it has none."""
        pull = self.cells[_BOARD_PULL + line]
        return None if pull == _UNWIRED else pull != 0

    def owner(self, line: int) -> int:
        """Return the pid that drives the line; 0 nobody, `CONSOLE` a part of the console."""
        return self.cells[_OWNER + line]

    def owners(self) -> set[int]:
        """Return the pids that drive lines, for the keeper to watch."""
        return {pid for pid in self.cells[_OWNER : _OWNER + LINE_COUNT] if pid > 0}

    def changed_ns(self, line: int) -> int:
        """Return when the line's level last changed; 0 never."""
        return self.cells[_CHANGED_NS + line]

    def edges(self, line: int) -> int:
        """Return how often the line's level changed."""
        return self.cells[_EDGES + line]

    def set_switch(self, line: int, *, closed: bool, now_ns: int) -> None:
        """Close a switch to ground, or open it (as a broken wire does) so that the line goes to its pull.

        The line then belongs to the console: a switch stays as it is when the process that moved it dies.
        """
        if closed:
            self.drive(line, level=False, pid=CONSOLE, now_ns=now_ns)
        else:
            self.release(line, now_ns)

    def _change(self, line: int, *, level: bool, now_ns: int) -> None:
        cells = self.cells
        if (cells[_LEVEL + line] != 0) is not level:
            cells[_CHANGED_NS + line] = now_ns
            cells[_EDGES + line] += 1
            cells[_LEVEL + line] = level

    # Needle -----------------------------------------------------------------------------------------------------

    def _step_needle(self, now_ns: int) -> None:
        """Move the needle one step by direction, if the motor is on and nothing holds the needle."""
        cells = self.cells
        if cells[_LEVEL + self._enable] or cells[_TROUBLE_NEEDLE_JAMMED]:
            return
        before = cells[_NEEDLE_STEPS]
        if cells[_LEVEL + self._direction]:
            after = before + 1
            if after == 1 or after > cells[_STROKE_DEEPEST_STEPS]:
                cells[_STROKE_DEEPEST_STEPS] = after
            cells[_DEEPEST_STEPS] = max(cells[_DEEPEST_STEPS], after)
        elif before > END_STOP_STEPS:
            after = before - 1
        else:
            return
        cells[_NEEDLE_CHANGED_NS] = now_ns
        cells[_NEEDLE_STEPS] = after
        if after in (0, 1):
            self._pass_home(after, now_ns)

    def _pass_home(self, after: int, now_ns: int) -> None:
        """Follow the needle with the home switch; count a stroke that comes back from under the skin."""
        cells = self.cells
        home = after <= 0
        if home and cells[_STROKE_DEEPEST_STEPS] > cells[Field.CLEARANCE_STEPS]:
            cells[Field.STROKES] += 1
            cells[_STROKE_DEEPEST_STEPS] = 0
        self.set_switch(self._home, closed=home and not cells[Field.TROUBLE_HOME_BROKEN], now_ns=now_ns)

    # Skin -------------------------------------------------------------------------------------------------------

    @property
    def on_skin(self) -> bool:
        """Whether the operator holds the nosepiece on the skin."""
        return self.cells[Field.ON_SKIN] != 0

    def set_on_skin(self, on_skin: bool, now_ns: int) -> None:  # noqa: FBT001 - a state is the datum
        """Put the nosepiece on the skin or lift it; the contact line follows where it is wired."""
        self.cells[Field.ON_SKIN] = on_skin
        if self._lines.contact is not None:
            self.set_switch(self._lines.contact, closed=on_skin, now_ns=now_ns)

    @property
    def in_tissue(self) -> bool:
        """Whether the needle's tip is under the skin at this moment."""
        return self.on_skin and self.cells[_NEEDLE_STEPS] > self.cells[Field.CLEARANCE_STEPS]

    # Fluid and pump ---------------------------------------------------------------------------------------------

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        """Attribute one small plunger movement, in increments; a falling position dispenses.

        Dispensed on the needle side: first what was drawn back, which gives nothing; the rest leaves the needle
        where the tip is now. Called often enough (1 ms) that the needle stands nearly still meanwhile.
        """
        cells = self.cells
        dispensed = from_position - to_position
        if not needle_side:
            cells[Field.TO_VIAL if dispensed > 0 else Field.FROM_VIAL] += abs(dispensed)
            return
        if dispensed < 0:
            cells[Field.DRAWN_BACK] -= dispensed
            return
        repaid = min(dispensed, cells[Field.DRAWN_BACK])
        cells[Field.DRAWN_BACK] -= repaid
        given = dispensed - repaid
        if given:
            cells[Field.GIVEN_IN_TISSUE if self.in_tissue else Field.GIVEN_IN_AIR] += given
            cells[Field.LAST_FLUID_NS] = now_ns

    def gate_low(self, number: int) -> bool:
        """Return whether the pump sees gate `number` (1 or 2) low, which lets its program pass."""
        stuck = Field.TROUBLE_GATE_1_STUCK if number == 1 else Field.TROUBLE_GATE_2_STUCK
        return self.cells[_LEVEL + self._gates[number - 1]] == 0 or self.cells[stuck] != 0

    def set_phase(self, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Set the pump's output 1, the phase line, where it is wired."""
        if self._phase is not None and not self.cells[Field.TROUBLE_PHASE_STUCK]:
            self.drive(self._phase, level, pid=CONSOLE, now_ns=now_ns)


def _check_lines(lines: LineMap) -> None:
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


def _fill(memory: mmap.mmap, lines: LineMap, *, steps_per_mm: int, clearance_steps: int) -> None:
    """Write the table of a world at rest into zeroed memory."""
    numbers = lines.as_numbers()
    with contextlib.ExitStack() as views:
        cells = views.enter_context(views.enter_context(memoryview(memory)).cast("q"))
        cells[Field.LAYOUT] = _LAYOUT
        cells[Field.STEPS_PER_MM] = steps_per_mm
        cells[Field.CLEARANCE_STEPS] = clearance_steps
        for place, name in enumerate(_LINE_NAMES):
            line = numbers[name]
            cells[_LINE_MAP + place] = _UNWIRED if line is None else line
        for line in range(LINE_COUNT):
            cells[_BOARD_PULL + line] = _UNWIRED
        for name in (*_PULLED_UP, *_PULLED_DOWN):
            line = numbers[name]
            if line is not None:
                cells[_LEVEL + line] = cells[_PULL + line] = cells[_BOARD_PULL + line] = name in _PULLED_UP
        for name in _CLOSED_AT_REST:
            line = numbers[name]
            if line is not None:
                cells[_LEVEL + line] = 0
                cells[_OWNER + line] = CONSOLE
        cells[Field.MAGIC] = _MAGIC
