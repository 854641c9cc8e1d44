"""The dose reaches its phase although the tube gives way and the drive has play; the committed table says no more."""

import re

import pytest

from drivers.sim.fluid import FLUID_30G
from tests.bench.dose_gun import Case, fired
from tests.bench.dose_truth import (
    PHASE_MOST_PERCENT,
    SHOTS,
    TABLE,
    TOTAL_MOST_PERCENT,
    errors_of,
    main_cases,
    misses,
    table_row,
)
from tests.bench.shipped import SYRINGE, shipped_configuration

SHIPPED = shipped_configuration()
DRIFT_PERCENT = {True: 0.3, False: 1.0}
"""How far a change elsewhere may move a figure, with and without compensation, before the table must be written anew
(`make dose-truth`): without it half a millisecond of the scan shows."""


def case(profile: str, dose_nl: int, *, compensated: bool = True) -> Case:
    return Case(profile, dose_nl, SYRINGE, FLUID_30G, SHIPPED.device.pump.settle_ns, compensated)


def rows(title: str) -> list[list[str]]:
    """Return the cells of the committed table under the heading that begins with `title`."""
    section = TABLE.read_text(encoding="utf-8").split(f"\n## {title}")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def percents(cells: list[str]) -> list[float]:
    return [float(number) for cell in cells for number in re.findall(r"([+-]\d+\.\d+) %", cell)]


@pytest.mark.parametrize(
    ("profile", "dose_nl"), [("continuous", 5_000), ("nappage", 10_000), ("point-by-point", 52_000)]
)
def test_with_compensation_the_dose_is_within_its_aims_in_every_phase(profile: str, dose_nl: int) -> None:
    shots = fired(SHIPPED, case(profile, dose_nl), shots=4)
    assert misses(case(profile, dose_nl), shots) == []
    for shot in shots:
        assert shot.given.in_tissue_pl <= shot.planned.in_tissue_pl, "never more than was planned"


def test_without_compensation_it_is_not() -> None:
    bare = case("continuous", 10_000, compensated=False)
    missed = misses(bare, fired(SHIPPED, bare, shots=4))
    assert any("entry" in line for line in missed)
    assert any("total" in line for line in missed)


def test_a_shot_after_a_refill_is_as_good_as_any_other() -> None:
    # Of 52 uL the 1 mL syringe gives eighteen shots: the nineteenth follows a refill that a suck-back preceded.
    shots = fired(SHIPPED, case("point-by-point", 52_000), shots=20)
    total = errors_of(shots)["total"]
    assert total is not None
    assert max(total.single_ppm) - min(total.single_ppm) < 1_000


def test_the_committed_table_keeps_the_aims_in_every_case_or_says_where_it_does_not() -> None:
    for section in ("With compensation", "Other needles", "Other tubes"):
        for profile, dose, *cells, _ in rows(section):
            for name, cell in zip(("entry", "dwell", "exit", "total"), cells, strict=True):
                most = TOTAL_MOST_PERCENT if name == "total" else PHASE_MOST_PERCENT
                for mean in percents([cell])[:1]:
                    told = f"- {profile}: {name} " in TABLE.read_text(encoding="utf-8")
                    assert abs(mean) <= most or told, f"{profile} {dose}: {name} {mean} %"


def test_the_committed_table_has_every_profile_with_every_dose() -> None:
    for compensated, title in ((True, "With compensation"), (False, "Without")):
        wanted = [(each.profile, each.dose_nl / 1000) for each in main_cases(SHIPPED, compensated=compensated)]
        assert [(profile, float(dose)) for profile, dose, *_ in rows(title)] == wanted


@pytest.mark.parametrize(("title", "compensated"), [("With compensation", True), ("Without", False)])
def test_the_committed_figures_are_those_that_the_gun_gives(title: str, compensated: bool) -> None:
    wanted = case("saline-test", 5_000, compensated=compensated)
    fresh = table_row(wanted, fired(SHIPPED, wanted, shots=SHOTS))
    (committed,) = (row for row in rows(title) if row[:2] == ["saline-test", "5"])
    figures, now = percents(committed), percents([fresh])
    assert len(figures) == len(now) == 8
    assert all(abs(a - b) <= DRIFT_PERCENT[compensated] for a, b in zip(figures, now, strict=True)), (
        f"make dose-truth: {fresh}"
    )
