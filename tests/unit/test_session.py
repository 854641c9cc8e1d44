"""A session's regions: which one the next shot belongs to, and how many points are left in it."""

from dataclasses import replace

import pytest

from device.core.session import Region, Session
from tests.support.machine import SESSION

assert SESSION.session is not None
TWO_REGIONS = SESSION.session
"""Three points on the crown, then two on the temple."""
NO_REGIONS = replace(TWO_REGIONS, regions=())


@pytest.mark.parametrize(
    ("shots", "region"),
    [
        (0, ("crown", 3, True)),
        (1, ("crown", 2, False)),
        (2, ("crown", 1, False)),
        (3, ("temple", 2, True)),
        (4, ("temple", 1, False)),
        (5, ("", 0, False)),
    ],
)
def test_the_next_shot_belongs_to_the_region_with_points_left(shots: int, region: tuple[str, int, bool]) -> None:
    assert TWO_REGIONS.region_after(shots) == region


@pytest.mark.parametrize(("shots", "entered"), [(0, True), (1, False)])
def test_without_regions_only_the_very_first_shot_begins_one(shots: int, entered: bool) -> None:
    assert NO_REGIONS.region_after(shots) == ("", 0, entered)


def test_a_region_without_points_is_passed_over() -> None:
    session = replace(TWO_REGIONS, regions=(Region("none", 0), Region("crown", 1)))
    assert session.region_after(0) == ("crown", 1, True)


@pytest.mark.parametrize(("session", "points"), [(TWO_REGIONS, 5), (NO_REGIONS, 0)], ids=["regions", "none"])
def test_the_planned_shots_are_all_points_of_all_regions(session: Session, points: int) -> None:
    assert session.planned_shots == points


@pytest.mark.parametrize(
    ("shots", "region"),
    [(2, ("crown", 1, False)), (3, ("temple", 2, True)), (4, ("temple", 1, False)), (5, ("", 0, False))],
)
def test_a_third_region_comes_after_all_the_points_of_the_two_before_it(
    shots: int, region: tuple[str, int, bool]
) -> None:
    session = replace(TWO_REGIONS, regions=(Region("front", 1), Region("crown", 2), Region("temple", 2)))
    assert session.region_after(shots) == region
