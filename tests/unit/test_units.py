"""Conversions between units: whole numbers, rounded toward less fluid and the shallower needle."""

from hypothesis import given
from hypothesis import strategies as st

from device.core.units import (
    Increments,
    Micrometres,
    Nanolitres,
    Steps,
    depth_of,
    increments_within,
    steps_within,
    volume_of,
)
from tests.support.core import LAW

strokes = st.tuples(st.integers(10_000, 20_000_000), st.sampled_from([3_000, 6_000, 24_000, 48_000]))


@LAW
@given(volume=st.integers(0, 10_000_000), stroke=strokes)
def test_increments_never_hold_more_than_the_volume_and_one_more_would(volume: int, stroke: tuple[int, int]) -> None:
    stroke_nl, stroke_increments = Nanolitres(stroke[0]), Increments(stroke[1])
    most = increments_within(Nanolitres(volume), stroke_nl=stroke_nl, stroke_increments=stroke_increments)
    assert most * stroke_nl <= volume * stroke_increments < (most + 1) * stroke_nl


@LAW
@given(increments=st.integers(0, 48_000), stroke=strokes)
def test_a_booked_volume_is_never_less_than_what_moved_and_at_most_one_nanolitre_more(
    increments: int, stroke: tuple[int, int]
) -> None:
    stroke_nl, stroke_increments = Nanolitres(stroke[0]), Increments(stroke[1])
    booked = volume_of(Increments(increments), stroke_nl=stroke_nl, stroke_increments=stroke_increments)
    assert 0 <= booked * stroke_increments - increments * stroke_nl < stroke_increments


@LAW
@given(distance=st.integers(0, 30_000), steps_per_mm=st.integers(1, 3_200))
def test_steps_never_reach_deeper_than_the_distance(distance: int, steps_per_mm: int) -> None:
    steps = steps_within(Micrometres(distance), steps_per_mm=steps_per_mm)
    assert steps * 1000 <= distance * steps_per_mm < (steps + 1) * 1000


@LAW
@given(steps=st.integers(0, 100_000), steps_per_mm=st.integers(1, 3_200))
def test_a_depth_for_people_is_within_half_a_micrometre(steps: int, steps_per_mm: int) -> None:
    depth = depth_of(Steps(steps), steps_per_mm=steps_per_mm)
    assert abs(2 * (depth * steps_per_mm - steps * 1000)) <= steps_per_mm


def test_twenty_microlitres_are_four_hundred_and_eighty_increments_of_a_millilitre_syringe() -> None:
    assert (
        increments_within(Nanolitres(20_000), stroke_nl=Nanolitres(1_000_000), stroke_increments=Increments(24_000))
        == 480
    )
    assert volume_of(Increments(480), stroke_nl=Nanolitres(1_000_000), stroke_increments=Increments(24_000)) == 20_000
    assert volume_of(Increments(1), stroke_nl=Nanolitres(1_000_000), stroke_increments=Increments(24_000)) == 42
