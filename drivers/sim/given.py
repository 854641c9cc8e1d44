"""Where the serum went: into the tissue on the way in, at depth or on the way out, or outside the skin.

Owns the judgement, from the needle's own motion alone: no plan, gate or program is asked. On the way in it cannot be
known whether the present depth is the deepest, so what leaves there stays undecided until the needle goes deeper
(entry), turns round or rests (dwell).
"""

from typing import Final, Protocol

from drivers.sim.world_table import Field

RESTING_NS: Final = 20_000_000
"""A needle that has not moved for so long stands at its depth: longer than the slowest step of a stroke."""

_NEEDLE_STEPS: Final = int(Field.NEEDLE_STEPS)
_NEEDLE_CHANGED_NS: Final = int(Field.NEEDLE_CHANGED_NS)
_LAST_FLUID_NS: Final = int(Field.LAST_FLUID_NS)
_ENTRY_PL: Final = int(Field.ENTRY_PL)
_DWELL_PL: Final = int(Field.DWELL_PL)
_EXIT_PL: Final = int(Field.EXIT_PL)
_UNDECIDED_PL: Final = int(Field.UNDECIDED_PL)
_SPILLED_PL: Final = int(Field.SPILLED_PL)
_BUBBLES_PL: Final = int(Field.BUBBLES_PL)


class FluidWitness(Protocol):
    """Who sees every amount of serum that leaves the needle."""

    def fluid_left(self, volume_pl: int, *, in_tissue: bool, needle_steps: int, inward: bool, now_ns: int) -> None:
        """`volume_pl` of serum left; `needle_steps`: where the tip was; `inward`: where its motor was told to go."""


class Given:
    """The judgement for one world's pump, written into its cells."""

    __slots__ = ("_cells", "_steps")

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        self._steps = 0

    @property
    def in_tissue_pl(self) -> int:
        """All serum that was left under the skin."""
        cells = self._cells
        return cells[_ENTRY_PL] + cells[_DWELL_PL] + cells[_EXIT_PL] + cells[_UNDECIDED_PL]

    def left(self, serum_pl: int, bubbles_pl: int, *, in_tissue: bool, inward: bool, now_ns: int) -> bool:
        """Book what has just left the needle; return whether something is undecided."""
        cells = self._cells
        steps = cells[_NEEDLE_STEPS]
        if cells[_UNDECIDED_PL]:
            self._decide(steps, inward=inward, now_ns=now_ns)
        cells[_BUBBLES_PL] += bubbles_pl
        if serum_pl:
            cells[_LAST_FLUID_NS] = now_ns
            if not in_tissue:
                cells[_SPILLED_PL] += serum_pl
            elif not inward:
                cells[_EXIT_PL] += serum_pl
            else:
                cells[_UNDECIDED_PL] += serum_pl
                self._steps = steps
        return cells[_UNDECIDED_PL] != 0

    def _decide(self, steps: int, *, inward: bool, now_ns: int) -> None:
        cells = self._cells
        deeper = steps > self._steps
        if deeper or steps < self._steps or not inward or now_ns - cells[_NEEDLE_CHANGED_NS] >= RESTING_NS:
            cells[_ENTRY_PL if deeper else _DWELL_PL] += cells[_UNDECIDED_PL]
            cells[_UNDECIDED_PL] = 0
