"""One plunger move of the simulated pump: a trapezoid, integrated in steps of 100 us.

Owns only the motion: how far the plunger has come at a given time. It follows the speeds step by step and knows no
closed formula, so that a planner's formula is checked by something that does not share it. Whole numbers throughout.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

STEP_NS: Final = 100_000
HALF_INCREMENT: Final = 10_000_000
"""Plunger units per half-increment: a speed of 0.001 half-increment/s covers one unit in one step of 100 us."""
TRAJECTORIES_KEPT: Final = 1024
"""The moves of a session are few and come again and again."""
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


@lru_cache(maxsize=TRAJECTORIES_KEPT)
def _trajectory(whole: int, start: int, top: int, cutoff: int, slope: int) -> tuple[int, ...]:
    """Return how far the plunger has come after each step of 100 us, in plunger units; the last is `whole`."""
    change = slope * _SLOPE_MILLI_PER_STEP
    top_speed, cutoff_speed = top * _MILLI, min(cutoff, top) * _MILLI
    speed = min(start, top) * _MILLI
    ways: list[int] = []
    way = 0
    while way < whole:
        remaining = whole - way
        # v2 - c2 = 2 a s, with a = L * 2500, v in thousandths and s in plunger units.
        braking_way = (speed**2 - cutoff_speed**2) * 5 // (slope * 2500)
        if speed > cutoff_speed and remaining - speed <= braking_way:
            speed = max(cutoff_speed, speed - change)
        elif speed < top_speed:
            speed = min(top_speed, speed + change)
        way += speed
        ways.append(min(way, whole))
    return tuple(ways)


class PlungerMove:
    """A move of `increments` (0 or more) that begins at `began_ns`; one increment is `unit` plunger units."""

    def __init__(self, increments: int, *, unit: int, speeds: Speeds, began_ns: int) -> None:
        self._unit = unit
        self._ways = _trajectory(increments * unit, speeds.start, speeds.top, speeds.cutoff, speeds.slope)
        self._steps = 0
        self._began_ns = began_ns

    @property
    def done(self) -> bool:
        """Whether the plunger has arrived."""
        return self._steps >= len(self._ways)

    @property
    def ends_ns(self) -> int:
        """When the plunger arrives."""
        return self._began_ns + len(self._ways) * STEP_NS

    @property
    def now_ns(self) -> int:
        """Until when the move has been followed; at the end, when it arrived."""
        return self._began_ns + self._steps * STEP_NS

    def travelled(self, until_ns: int) -> int:
        """Follow the move until `until_ns` and return the whole increments covered since it began."""
        steps = (until_ns - self._began_ns) // STEP_NS
        self._steps = max(self._steps, min(steps, len(self._ways)))
        return self._ways[self._steps - 1] // self._unit if self._steps else 0
