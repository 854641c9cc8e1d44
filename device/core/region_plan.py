"""The plan of a treatment: how many points an area has, and the marks that say what became of each point.

Owns the grids, the marks with the one rule by which they are taken back, the place of the next shot, and the tally of
every region. Never changes a volume or a number of shots: limits are held by what is booked (`core.limits`), a mark
only says to which point the next shot belongs. `core.ledger` folds the marks from the journal's records.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from math import isqrt
from typing import Final

from device.core.units import Micrometres

SPACING_UM: Final = Micrometres(20_000)
"""2 cm, the spacing that published protocols name most."""

SPACING_UM_LEAST: Final = Micrometres(5_000)
SPACING_UM_MOST: Final = Micrometres(30_000)
"""Published spacings are 0.5 to 3 cm."""

AREA_MM2_MOST: Final = 100_000
"""1000 cm2: more than any scalp."""

POINTS_MOST: Final = 1000
"""Of one region: bounds a plan, and what a slip of the finger orders."""

_UM2_PER_MM2: Final = 1_000_000


class Grid(Enum):
    """How the points of an area lie."""

    SQUARE = "square"
    HEXAGONAL = "hexagonal"


def points_in(area_mm2: int, spacing_um: Micrometres, grid: Grid) -> int:
    """Return how many points an area has, rounded down: no region is planned denser than its grid. Can be 0.

    A point of a square grid has a cell of s^2, one of a hexagonal grid s^2 * sqrt(3) / 2. In whole numbers the latter's
    count is the root of 4 A^2 / (3 s^4), and rounding inside and outside of the root comes to the same.
    """
    area_um2 = area_mm2 * _UM2_PER_MM2
    if grid is Grid.SQUARE:
        return int(area_um2 // spacing_um**2)
    return isqrt(4 * area_um2**2 // (3 * spacing_um**4))


class Mark(Enum):
    """What became of points: a shot counts for one, some were passed over, or the last one is to have another shot."""

    GIVEN = "given"
    SKIPPED = "skipped"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class PointMark:
    """A mark of `points` points from number `point` on, counted from 0 over all regions.

    `whole`: the shot gave all of its dose. `again`: it was the point's repeat.
    """

    mark: Mark
    point: int
    points: int = 1
    whole: bool = True
    again: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next shot belongs: to point `point`, counted from 1, of the `points` of region number `region`.

    `left` is how many shots in a row still belong to this region. `repeat`: the point had its shot already. `fresh`:
    the gun must be put elsewhere than beside the last shot, so that a held trigger may not go on.
    """

    region: int
    point: int
    points: int
    left: int
    repeat: bool
    fresh: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """What a region's points have come to. `partial` are the given ones, from 1, that no shot gave all of its dose."""

    planned: int
    given: int
    missed: int
    doubled: int
    partial: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a plan is: the points of its regions, and the marks in their order, of which the last can be undone.

    `next_point` is the first one without a mark; `repeating`: the next shot belongs to the last given one instead.
    There are never more marks than twice the shots, the points and one.
    """

    points: tuple[int, ...] = ()
    marks: tuple[PointMark, ...] = ()
    next_point: int = 0
    repeating: bool = False

    @property
    def planned(self) -> int:
        """All points."""
        return sum(self.points)

    @property
    def left(self) -> int:
        """How many shots the plan still has."""
        return max(0, self.planned - self.next_point) + self.repeating

    @property
    def given(self) -> int:
        """How many shots count for a point."""
        return sum(one.mark is Mark.GIVEN for one in self.marks)

    def region_of(self, point: int) -> tuple[int, int]:
        """Return the region of a planned point, and the point's number in it, from 0."""
        region = 0
        while point >= self.points[region]:
            point -= self.points[region]
            region += 1
        return region, point

    def place(self) -> Place | None:
        """Return where the next shot belongs; None when no point is left, or none was planned."""
        if not self.left:
            return None
        region, index = self.region_of(self._next)
        points = self.points[region]
        repeated = bool(self.marks) and self.marks[-1].again
        return Place(
            region=region,
            point=index + 1,
            points=points,
            # What follows a repeat lies elsewhere: it is a magazine of its own.
            left=1 if self.repeating else points - index,
            repeat=self.repeating,
            fresh=self.repeating or repeated or index == 0,
        )

    def ahead(self) -> Iterator[tuple[int, int]]:
        """Yield, in their order, the regions of the shots to come, and how many in a row belong to each."""
        if self.repeating:
            yield self.region_of(self._next)[0], 1
        first = 0
        for region, points in enumerate(self.points):
            first += points
            if (left := min(points, first - self.next_point)) > 0:
                yield region, left

    @property
    def _next(self) -> int:
        return self.marks[-1].point if self.repeating else self.next_point

    def shot(self, *, whole: bool) -> "Progress":
        """Return the progress after a shot; unchanged where no point is left for it."""
        if not self.left:
            return self
        mark = PointMark(Mark.GIVEN, self._next, whole=whole, again=self.repeating)
        if self.repeating:
            return replace(self, marks=(*self.marks, mark), repeating=False)
        return replace(self, marks=(*self.marks, mark), next_point=self.next_point + 1)

    def skipped(self, points: int) -> "Progress":
        """Return the progress after `points` points were passed over; a repeat that waits must be given or undone."""
        if self.repeating or not 0 < points <= self.left:
            return self
        mark = PointMark(Mark.SKIPPED, self.next_point, points)
        return replace(self, marks=(*self.marks, mark), next_point=self.next_point + points)

    @property
    def repeatable(self) -> bool:
        """Whether the last mark is a shot: only then it is clear which point "once more" means."""
        return bool(self.marks) and self.marks[-1].mark is Mark.GIVEN

    def repeated(self) -> "Progress":
        """Return the progress in which the next shot belongs to the last one's point; unchanged if that was no shot."""
        if not self.repeatable:
            return self
        mark = PointMark(Mark.REPEAT, self.marks[-1].point)
        return replace(self, marks=(*self.marks, mark), repeating=True)

    def undone(self) -> "Progress":
        """Return the progress as it was before its last mark; unchanged without any."""
        if not self.marks:
            return self
        last, marks = self.marks[-1], self.marks[:-1]
        if last.mark is Mark.REPEAT or last.again:
            return replace(self, marks=marks, repeating=last.again)
        return replace(self, marks=marks, next_point=self.next_point - last.points)

    def tallies(self) -> tuple[Tally, ...]:
        """Return what every region's points have come to."""
        shots = [0] * self.planned
        whole, missed = set[int](), set[int]()
        for one in self.marks:
            if one.mark is Mark.GIVEN:
                shots[one.point] += 1
                whole |= {one.point} if one.whole else set()
            elif one.mark is Mark.SKIPPED:
                missed |= set(range(one.point, one.point + one.points))
        found, first = [], 0
        for points in self.points:
            own = range(first, first + points)
            found.append(
                Tally(
                    planned=points,
                    given=sum(shots[point] > 0 for point in own),
                    missed=sum(point in missed for point in own),
                    doubled=sum(shots[point] > 1 for point in own),
                    partial=tuple(point - first + 1 for point in own if shots[point] and point not in whole),
                )
            )
            first += points
        return tuple(found)


NO_PLAN: Final = Progress()
"""Of a session without regions: its limits alone end it."""
