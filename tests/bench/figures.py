"""What a benchmark finds: spreads of whole numbers, each set against floors that were measured in the same run.

Owns percentiles, ratios and how both are written for people and as JSON. Never judges: there is no threshold here, for
a figure without its machine means nothing. Samples are whole numbers in one base unit (`Unit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Self


class Unit(Enum):
    """A row's base unit."""

    NANOSECONDS = "ns"
    BYTES = "bytes"
    MILLISHOTS_PER_MINUTE = "shots per 1000 min"
    PPM = "ppm"


LEAST_FOR_P99: Final = 100
"""With fewer samples the nearest rank of the 99th percentile is the largest sample: not a figure of its own."""

LEAST_FOR_P999: Final = 1_000
"""As above, for the 99.9th."""

FIGURES: Final = ("p50", "p99", "p99.9", "max")
"""The columns of every table."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of `count` samples; percentiles by nearest rank."""

    count: int
    p50: int
    p99: int
    p999: int
    most: int

    @classmethod
    def of(cls, samples: Sequence[int]) -> Self:
        """Return the spread of `samples`. Raises ValueError for none."""
        if not samples:
            raise ValueError("no samples: nothing was measured")
        ordered = sorted(samples)
        count = len(ordered)
        p50, p99, p999 = (ordered[-(-count * share // 1_000) - 1] for share in (500, 990, 999))
        return cls(count, p50, p99, p999, ordered[-1])

    def parts(self) -> dict[str, int]:
        """Return the figures that `count` supports, by name."""
        parts = {"p50": self.p50}
        if self.count >= LEAST_FOR_P99:
            parts["p99"] = self.p99
        if self.count >= LEAST_FOR_P999:
            parts["p99.9"] = self.p999
        if self.count > 1:
            parts["max"] = self.most
        return parts


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing; `floors` names the rows of the same findings that it is set against."""

    name: str
    spread: Spread
    floors: tuple[str, ...] = ()
    unit: Unit = Unit.NANOSECONDS


def row(name: str, samples: Sequence[int], *floors: str, unit: Unit = Unit.NANOSECONDS) -> Row:
    """Return the row of `samples`. Raises ValueError for none."""
    return Row(name, Spread.of(samples), floors, unit)


@dataclass(frozen=True, slots=True)
class Findings:
    """What one benchmark found: its rows, and what a reader must know beside them, one line each."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def ratios(self, of: Row, floor: str) -> dict[str, float]:
        """Return each figure of `of` divided by the floor's; a floor of one sample stands for all its figures."""
        against = next(candidate for candidate in self.rows if candidate.name == floor).spread
        parts = dict.fromkeys(FIGURES, against.p50) if against.count == 1 else against.parts()
        return {name: value / parts[name] for name, value in of.spread.parts().items() if parts.get(name, 0) > 0}

    def as_json(self) -> dict[str, Any]:
        """Return the findings as plain JSON values."""
        return {
            "rows": [
                {
                    "name": each.name,
                    "unit": each.unit.value,
                    "count": each.spread.count,
                    **each.spread.parts(),
                    "ratios": {floor: self.ratios(each, floor) for floor in each.floors},
                }
                for each in self.rows
            ],
            "notes": list(self.notes),
        }

    def as_text(self) -> list[str]:
        """Return the findings as lines of a table: under each row, how many times each of its floors it is."""
        width = max(40, *(len(each.name) + 2 for each in self.rows))
        lines = [f"  {'':{width}}{'n':>8}" + "".join(f"{name:>11}" for name in FIGURES)]
        for each in self.rows:
            parts = {name: written(value, each.unit) for name, value in each.spread.parts().items()}
            lines.append(f"  {each.name:{width}}{each.spread.count:>8}" + _cells(parts))
            for floor in each.floors:
                ratios = {name: times(ratio) for name, ratio in self.ratios(each, floor).items()}
                lines.append(f"    {'of ' + floor:{width + 6}}" + _cells(ratios))
        return [*lines, *(f"  {note}" for note in self.notes)]


def _cells(parts: dict[str, str]) -> str:
    return "".join(f"{parts.get(name, '-'):>11}" for name in FIGURES)


def times(ratio: float) -> str:
    """Return `ratio` as people read it."""
    return f"x {ratio:.3g}" if ratio < 1000 else f"x {ratio:.0f}"


def written(value: int, unit: Unit) -> str:
    """Return `value` with a unit that people read."""
    if unit is Unit.BYTES:
        return f"{value / 2**20:.1f} MiB"
    if unit is Unit.MILLISHOTS_PER_MINUTE:
        return f"{value / 1000:.1f} /min"
    if unit is Unit.PPM:
        return f"{value / 10_000:.2f} %"
    for divisor, name in ((1, "ns"), (1_000, "us"), (1_000_000, "ms")):
        if abs(value) < 10_000 * divisor:
            return f"{value} ns" if divisor == 1 else f"{value / divisor:.1f} {name}"
    return f"{value / 1_000_000_000:.1f} s"
