"""One plunger move of the simulated pump: a trapezoid, integrated in steps of 100 us.

Owns only the motion: how far the plunger has come at a given time. It follows the speeds step by step and knows no
closed formula, so that a planner's formula is checked by something that does not share it. Whole numbers throughout.
"""

from dataclasses import dataclass
from typing import Final

STEP_NS: Final = 100_000
HALF_INCREMENT: Final = 10_000_000
"""Plunger units per half-increment: a speed of 0.001 half-increment/s covers one unit in one step of 100 us."""
_MILLI: Final = 1000
_SLOPE_MILLI_PER_STEP: Final = 250
"""Change of speed in one step for L = 1: 2500 half-increments/s2 for 100 us, in 0.001 half-increments/s."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """The pump's v, V, c (half-increments/s) and L (units of 2500 half-increments/s2)."""

    start: int
    top: int
    cutoff: int
    slope: int


class PlungerMove:
    """A move of `increments` (0 or more) that begins at `began_ns`; one increment is `unit` plunger units."""

    def __init__(self, increments: int, *, unit: int, speeds: Speeds, began_ns: int) -> None:
        self._unit = unit
        self._whole = increments * unit
        self._way = 0
        self._top = speeds.top * _MILLI
        self._cutoff = min(speeds.cutoff, speeds.top) * _MILLI
        self._speed = min(speeds.start, speeds.top) * _MILLI
        self._slope = speeds.slope
        self._now_ns = began_ns

    @property
    def done(self) -> bool:
        """Whether the plunger has arrived."""
        return self._way >= self._whole

    @property
    def now_ns(self) -> int:
        """Until when the move has been followed; at the end, when it arrived."""
        return self._now_ns

    def travelled(self, until_ns: int) -> int:
        """Follow the move until `until_ns` and return the whole increments covered since it began."""
        while not self.done and self._now_ns + STEP_NS <= until_ns:
            self._step()
        return min(self._way, self._whole) // self._unit

    def _step(self) -> None:
        remaining = self._whole - self._way
        change = self._slope * _SLOPE_MILLI_PER_STEP
        # v2 - c2 = 2 a s, with a = L * 2500, v in thousandths and s in plunger units.
        braking_way = (self._speed**2 - self._cutoff**2) * 5 // (self._slope * 2500)
        if self._speed > self._cutoff and remaining - self._speed <= braking_way:
            self._speed = max(self._cutoff, self._speed - change)
        elif self._speed < self._top:
            self._speed = min(self._top, self._speed + change)
        self._way += self._speed
        self._now_ns += STEP_NS
