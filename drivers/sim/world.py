"""The simulated console: its lines, its needle, the skin under it and the fluid, as one table of whole numbers.

Owns the only truth of a simulated run, in shared memory that several processes map at once. Every cell has one
writing process, and a cell is one aligned 64-bit store, so no lock is needed and none is taken; only the keeper
(the pump's process) writes cells of another process, and only once that process is dead. Never reads a clock: every
change is stamped with the `now_ns` (CLOCK_MONOTONIC) of its caller. Knows no pin library, pump protocol or controller.
"""

import mmap
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from drivers.ports import LineMap
from drivers.sim.fluid import FluidPath, FluidSpec
from drivers.sim.given import FluidWitness, Given
from drivers.sim.world_table import (
    BOARD_PULL,
    BYTES,
    CHANGED_NS,
    CONSOLE,
    EDGES,
    LAYOUT,
    LEVEL,
    LINE_COUNT,
    LINE_MAP,
    LINE_NAMES,
    MAGIC,
    OWNER,
    PULL,
    UNDRIVEN,
    UNWIRED,
    Field,
    WorldCells,
    WorldError,
    check_lines,
    fill,
)

__all__ = ["CONSOLE", "END_STOP_STEPS", "LINE_COUNT", "Field", "World", "WorldError"]

END_STOP_STEPS: Final = -2
"""The needle's outward end stop: two steps behind the home switch; further outward steps are lost there."""

# The scan writes a step several thousand times a second: plain module integers, not enum members, on that path.
_NEEDLE_STEPS: Final = int(Field.NEEDLE_STEPS)
_NEEDLE_CHANGED_NS: Final = int(Field.NEEDLE_CHANGED_NS)
_DEEPEST_STEPS: Final = int(Field.DEEPEST_STEPS)
_STROKE_DEEPEST_STEPS: Final = int(Field.STROKE_DEEPEST_STEPS)
_NEEDLE_HINDERED: Final = int(Field.NEEDLE_HINDERED)
# The pump writes these at every small amount that leaves.
_STORED_PL: Final = int(Field.STORED_PL)
_PRESSURE_PA: Final = int(Field.PRESSURE_PA)
_DRAWN_BACK: Final = int(Field.DRAWN_BACK)
_GIVEN_IN_TISSUE: Final = int(Field.GIVEN_IN_TISSUE)
_GIVEN_IN_AIR: Final = int(Field.GIVEN_IN_AIR)
_SPILLED_PL: Final = int(Field.SPILLED_PL)
_ON_SKIN: Final = int(Field.ON_SKIN)
_CLEARANCE_STEPS: Final = int(Field.CLEARANCE_STEPS)


class World(WorldCells):
    """The simulated console. Times are CLOCK_MONOTONIC ns, positions motor steps, fluid the pump's increments."""

    __slots__ = (
        "_direction",
        "_enable",
        "_fluid",
        "_gates",
        "_given",
        "_home",
        "_lines",
        "_memory",
        "_phase",
        "_step",
        "_witness",
        "on_level",
    )

    def __init__(self, memory: mmap.mmap) -> None:
        """Take over mapped memory whose table is filled in; `create` and `attach` are the ways to a world."""
        self._memory = memory
        self.cells = memoryview(memory).cast("q")
        numbers = (self.cells[LINE_MAP + place] for place in range(len(LINE_NAMES)))
        wired = {name: None if line == UNWIRED else line for name, line in zip(LINE_NAMES, numbers, strict=True)}
        self._lines = LineMap(**wired)  # type: ignore[arg-type]  # create() allows None for contact and phase only
        self._step = self._lines.step
        self._direction = self._lines.direction
        self._enable = self._lines.enable
        self._home = self._lines.home
        self._phase = self._lines.phase
        self._gates = (self._lines.gate_1, self._lines.gate_2)
        self._fluid: FluidPath | None = None
        self._given: Given | None = None
        self._witness: FluidWitness | None = None
        self.on_level: Callable[[int], None] | None = None
        """Called with every line whose level this process has just changed; for a simulation in one process."""

    @classmethod
    def create(cls, path: Path | None, *, lines: LineMap, steps_per_mm: int, clearance_steps: int) -> Self:
        """Make a world at rest: needle home, nothing pressed, off the skin, no line driven.

        `path` None: in anonymous memory. Otherwise a file of mode 0600 that appears whole or not at all and takes
        the place of an older one. Raises WorldError for line numbers outside BCM 0 ... 27 or used twice, or where
        the file cannot be made.
        """
        check_lines(lines)
        if path is None:
            memory = mmap.mmap(-1, BYTES)
            fill(memory, lines, steps_per_mm=steps_per_mm, clearance_steps=clearance_steps)
            return cls(memory)
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp: mode 0600
        except OSError as error:
            raise WorldError(f"{path}: the world cannot be made: {error.strerror}") from error
        try:
            os.ftruncate(descriptor, BYTES)
            memory = mmap.mmap(descriptor, BYTES)
            fill(memory, lines, steps_per_mm=steps_per_mm, clearance_steps=clearance_steps)
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
            if magic != MAGIC:
                raise WorldError(f"{path}: not a simulated world")
            if layout != LAYOUT or status.st_size != BYTES:
                raise WorldError(f"{path}: a world of another version; remove it and start the simulator again")
            return cls(mmap.mmap(descriptor, BYTES))
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
        return self.cells[LEVEL + line] != 0

    def drive(self, line: int, level: bool, *, pid: int, now_ns: int) -> bool:  # noqa: FBT001 - a level is the datum
        """Set a line's level on behalf of process `pid`; a rising step edge moves the needle.

        Returns whether the level changed.
        """
        cells = self.cells
        cells[OWNER + line] = pid
        if (cells[LEVEL + line] != 0) is level:
            return False
        cells[CHANGED_NS + line] = now_ns
        cells[EDGES + line] += 1
        cells[LEVEL + line] = level
        if line == self._step:
            if level:
                self._step_needle(now_ns)
        elif self.on_level is not None:
            self.on_level(line)
        return True

    def release(self, line: int, now_ns: int) -> None:
        """Let a line go to its pull: nobody drives it any more."""
        self._change(line, level=self.cells[PULL + line] != 0, now_ns=now_ns)
        self.cells[OWNER + line] = UNDRIVEN

    def release_all_of(self, pid: int, now_ns: int) -> None:
        """Let every line that process `pid` drives go to its pull: what its death does to real lines.

        For the keeper, once `pid` is known to be dead. A successor cannot lose by the race, because it starts by
        driving its lines to the safe levels, which are their pulls.
        """
        for line in range(LINE_COUNT):
            if self.cells[OWNER + line] == pid:
                self.release(line, now_ns)

    def set_pull(self, line: int, up: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Pull a line up or down; its level follows if nobody drives it."""
        self.cells[PULL + line] = up
        if self.cells[OWNER + line] == UNDRIVEN:
            self._change(line, level=up, now_ns=now_ns)

    def pull(self, line: int) -> bool:
        """Return the level that the line has when nobody drives it."""
        return self.cells[PULL + line] != 0

    def board_pull(self, line: int) -> bool | None:
        """Return the level of the console's own pull resistor on the line; None where it has none."""
        pull = self.cells[BOARD_PULL + line]
        return None if pull == UNWIRED else pull != 0

    def owner(self, line: int) -> int:
        """Return the pid that drives the line; 0 nobody, `CONSOLE` a part of the console."""
        return self.cells[OWNER + line]

    def owners(self) -> set[int]:
        """Return the pids that drive lines, for the keeper to watch."""
        return {pid for pid in self.cells[OWNER : OWNER + LINE_COUNT] if pid > 0}

    def changed_ns(self, line: int) -> int:
        """Return when the line's level last changed; 0 never."""
        return self.cells[CHANGED_NS + line]

    def edges(self, line: int) -> int:
        """Return how often the line's level changed."""
        return self.cells[EDGES + line]

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
        if (cells[LEVEL + line] != 0) is not level:
            cells[CHANGED_NS + line] = now_ns
            cells[EDGES + line] += 1
            cells[LEVEL + line] = level
            if self.on_level is not None:
                self.on_level(line)

    # Needle -----------------------------------------------------------------------------------------------------

    def _step_needle(self, now_ns: int) -> None:
        """Move the needle one step by direction, if the motor is on and nothing holds the needle."""
        cells = self.cells
        if cells[LEVEL + self._enable] or (cells[_NEEDLE_HINDERED] and self._loses_step()):
            return
        before = cells[_NEEDLE_STEPS]
        if cells[LEVEL + self._direction]:
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

    def _loses_step(self) -> bool:
        """Whether a trouble keeps the needle where it is at this step edge."""
        cells = self.cells
        if cells[Field.TROUBLE_NEEDLE_JAMMED]:
            return True
        if cells[Field.STEPS_LOST] < cells[Field.TROUBLE_LOSE_STEPS]:
            cells[Field.STEPS_LOST] += 1
            return True
        every = cells[Field.TROUBLE_LOSE_EVERY_STEPS]
        if not every:
            return False
        cells[Field.STEPS_HINDERED] += 1
        return cells[Field.STEPS_HINDERED] % every == 0

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
        cells = self.cells
        return cells[_ON_SKIN] != 0 and cells[_NEEDLE_STEPS] > cells[_CLEARANCE_STEPS]

    # Fluid and pump ---------------------------------------------------------------------------------------------

    def carry_fluid(self, spec: FluidSpec, *, position: int, witness: FluidWitness | None = None) -> FluidPath:
        """Let the fluid follow `spec` from now on instead of leaving at once; for the pump's process alone.

        `position`: the plunger's, in coarse increments; the syringe is full of serum up to it. `witness` sees every
        amount that leaves the needle. The path returned must be given to the pump's firmware, which lets its time pass.
        """
        self._given = Given(self.cells)
        self._witness = witness
        self._fluid = FluidPath(spec, self, position=position)
        return self._fluid

    def fluid_left(self, serum_pl: int, bubbles_pl: int, *, in_tissue: bool, now_ns: int) -> bool:
        """Take note of what has left the needle where it is now; return whether its phase is not decided yet."""
        if self._given is None:
            raise WorldError("fluid leaves a world that carries no fluid path")
        cells = self.cells
        inward = cells[LEVEL + self._direction] != 0
        if self._witness is not None and serum_pl:
            self._witness.fluid_left(
                serum_pl, in_tissue=in_tissue, needle_steps=cells[_NEEDLE_STEPS], inward=inward, now_ns=now_ns
            )
        return self._given.left(serum_pl, bubbles_pl, in_tissue=in_tissue, inward=inward, now_ns=now_ns)

    def fluid_changed(self, fluid: FluidPath) -> None:
        """Write down how the tube stands; the cells in increments are rounded down from those in picolitres."""
        if self._given is None:
            return
        cells, scale, stroke_pl = self.cells, fluid.scale, fluid.stroke_pl
        cells[_STORED_PL] = fluid.stored_pl
        cells[_PRESSURE_PA] = fluid.pressure_pa
        cells[_DRAWN_BACK] = fluid.drawn_back_pl * scale // stroke_pl
        cells[_GIVEN_IN_TISSUE] = self._given.in_tissue_pl * scale // stroke_pl
        cells[_GIVEN_IN_AIR] = cells[_SPILLED_PL] * scale // stroke_pl

    def vial_changed(self, fluid: FluidPath) -> None:
        """Write down what has gone to and fro between syringe and vial."""
        cells = self.cells
        cells[Field.VIAL_AIR_PL] = fluid.vial_air_pl
        cells[Field.FROM_VIAL] = fluid.from_vial_pl * fluid.scale // fluid.stroke_pl
        cells[Field.TO_VIAL] = fluid.to_vial_pl * fluid.scale // fluid.stroke_pl

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        """Attribute one small plunger movement, in increments; a falling position dispenses.

        Where a fluid path is carried, the movement goes into it. Else all is rigid. Dispensed on the needle side:
        first what was drawn back, which gives nothing; the rest leaves the needle where the tip is now. Called often
        enough (1 ms) that the needle stands nearly still meanwhile.
        """
        if self._fluid is not None:
            self._fluid.plunger_moved(from_position, to_position, needle_side=needle_side, now_ns=now_ns)
            return
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
        return self.cells[LEVEL + self._gates[number - 1]] == 0 or self.cells[stuck] != 0

    def set_phase(self, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Set the pump's output 1, the phase line, where it is wired."""
        if self._phase is not None and not self.cells[Field.TROUBLE_PHASE_STUCK]:
            self.drive(self._phase, level, pid=CONSOLE, now_ns=now_ns)
