"""The plan's points and marks: how many an area has, where the next shot belongs, what it came to, what is undone."""

from dataclasses import replace
from decimal import Decimal, getcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.region_plan import Grid, Mark, Place, PointMark, Progress, Tally, points_in
from device.core.units import Micrometres
from tests.support.core import LAW

TWO = Progress((3, 2))
"""Three points on the crown, then two on the temple."""


def shots(progress: Progress, count: int) -> Progress:
    """Return `progress` after so many whole shots."""
    for _ in range(count):
        progress = progress.shot(whole=True)
    return progress


@pytest.mark.parametrize(
    ("area_cm2", "spacing_mm", "grid", "points"),
    [
        (4, 20, Grid.SQUARE, 1),
        (3, 20, Grid.SQUARE, 0),
        (40, 20, Grid.SQUARE, 10),
        (43, 20, Grid.SQUARE, 10),
        (44, 20, Grid.SQUARE, 11),
        (12, 15, Grid.SQUARE, 5),
        (12, 15, Grid.HEXAGONAL, 6),
        (40, 20, Grid.HEXAGONAL, 11),
        (3, 20, Grid.HEXAGONAL, 0),
        (1000, 30, Grid.HEXAGONAL, 128),
    ],
)
def test_the_points_of_an_area_follow_from_spacing_and_grid(
    area_cm2: int, spacing_mm: int, grid: Grid, points: int
) -> None:
    assert points_in(area_cm2 * 100, Micrometres(spacing_mm * 1000), grid) == points


@LAW
@given(st.integers(1, 100_000), st.integers(5_000, 30_000), st.sampled_from(Grid))
def test_no_area_is_planned_denser_than_its_grid_and_none_thinner_by_a_point(
    area_mm2: int, spacing_um: int, grid: Grid
) -> None:
    getcontext().prec = 60
    root = Decimal(1) if grid is Grid.SQUARE else Decimal(3).sqrt() / 2
    cell_um2 = Decimal(spacing_um) ** 2 * root
    points = points_in(area_mm2, Micrometres(spacing_um), grid)
    assert points * cell_um2 <= area_mm2 * 1_000_000 < (points + 1) * cell_um2


@pytest.mark.parametrize(
    ("given_shots", "place"),
    [
        (0, Place(0, 1, 3, left=3, repeat=False, fresh=True)),
        (1, Place(0, 2, 3, left=2, repeat=False, fresh=False)),
        (2, Place(0, 3, 3, left=1, repeat=False, fresh=False)),
        (3, Place(1, 1, 2, left=2, repeat=False, fresh=True)),
        (4, Place(1, 2, 2, left=1, repeat=False, fresh=False)),
        (5, None),
    ],
)
def test_the_next_shot_belongs_to_the_first_point_without_a_mark(given_shots: int, place: Place | None) -> None:
    assert shots(TWO, given_shots).place() == place


def test_a_region_without_points_is_passed_over() -> None:
    progress = Progress((0, 1, 0, 1))
    assert progress.place() == Place(1, 1, 1, left=1, repeat=False, fresh=True)
    assert list(progress.ahead()) == [(1, 1), (3, 1)]
    assert shots(progress, 1).place() == Place(3, 1, 1, left=1, repeat=False, fresh=True)


def test_without_a_plan_a_shot_belongs_nowhere_and_leaves_no_mark() -> None:
    assert (Progress().place(), Progress().left, list(Progress().ahead())) == (None, 0, [])
    assert Progress().shot(whole=True) == Progress()
    done = shots(TWO, 5)
    assert done.shot(whole=True) == done


def test_skipped_points_are_missed_and_the_next_shot_goes_behind_them() -> None:
    progress = shots(TWO, 1).skipped(2)
    assert progress.place() == Place(1, 1, 2, left=2, repeat=False, fresh=True)
    assert progress.left == 2
    assert progress.tallies() == (Tally(3, 1, 2, 0, ()), Tally(2, 0, 0, 0, ()))
    assert list(progress.ahead()) == [(1, 2)]
    # Skipped by two words as by one.
    assert shots(TWO, 1).skipped(1).skipped(1).tallies() == progress.tallies()


@pytest.mark.parametrize("points", [-1, 0, 6])
def test_no_points_or_more_than_are_left_are_not_skipped(points: int) -> None:
    assert TWO.skipped(points) == TWO


def test_a_repeat_gives_the_last_point_another_shot_alone_and_the_next_one_wants_a_fresh_press() -> None:
    progress = shots(TWO, 2).repeated()
    assert progress.place() == Place(0, 2, 3, left=1, repeat=True, fresh=True)
    assert (progress.left, list(progress.ahead())) == (4, [(0, 1), (0, 1), (1, 2)])
    after = progress.shot(whole=True)
    assert after.place() == Place(0, 3, 3, left=1, repeat=False, fresh=True)
    assert after.tallies()[0] == Tally(3, 2, 0, 1, ())
    assert shots(after, 1).place() == Place(1, 1, 2, left=2, repeat=False, fresh=True)


def test_the_last_point_of_a_region_and_of_the_plan_can_be_repeated() -> None:
    place = shots(TWO, 3).repeated().place()
    assert place == Place(0, 3, 3, left=1, repeat=True, fresh=True)
    assert list(shots(TWO, 3).repeated().ahead()) == [(0, 1), (1, 2)]
    last = shots(TWO, 5).repeated()
    assert (last.left, last.place()) == (1, Place(1, 2, 2, left=1, repeat=True, fresh=True))
    assert shots(last, 1).left == 0


def test_a_point_may_be_repeated_again_and_counts_as_doubled_once() -> None:
    progress = shots(shots(TWO, 1).repeated(), 1).repeated().shot(whole=True)
    assert progress.tallies()[0] == Tally(3, 1, 0, 1, ())
    assert progress.given == 3


@pytest.mark.parametrize("progress", [TWO, TWO.skipped(1), shots(TWO, 1).repeated(), shots(TWO, 1).skipped(1)])
def test_only_a_shot_is_repeated(progress: Progress) -> None:
    assert not progress.repeatable
    assert progress.repeated() == progress


def test_nothing_is_skipped_while_a_repeat_waits() -> None:
    progress = shots(TWO, 1).repeated()
    assert progress.skipped(1) == progress


def test_a_point_that_got_a_part_counts_as_given_and_is_listed_until_its_repeat_gives_all() -> None:
    part = shots(TWO, 1).shot(whole=False)
    assert part.tallies()[0] == Tally(3, 2, 0, 0, (2,))
    assert part.repeated().shot(whole=False).tallies()[0] == Tally(3, 2, 0, 1, (2,))
    assert part.repeated().shot(whole=True).tallies()[0] == Tally(3, 2, 0, 1, ())
    second = shots(TWO, 3).shot(whole=False)
    assert second.tallies() == (Tally(3, 3, 0, 0, ()), Tally(2, 1, 0, 0, (1,)))


def test_a_shot_whose_mark_is_taken_back_leaves_its_point_open() -> None:
    progress = shots(TWO, 4).undone()
    assert progress == shots(TWO, 3)
    assert TWO.undone() == TWO


def test_a_repeat_s_shot_taken_back_leaves_the_repeat_waiting_and_that_taken_back_the_first_shot() -> None:
    once = shots(TWO, 2)
    progress = once.repeated().shot(whole=True)
    assert progress.marks[-1] == PointMark(Mark.GIVEN, 1, again=True)
    assert progress.undone() == once.repeated()
    assert progress.undone().undone() == once
    assert progress.undone().undone().undone() == shots(TWO, 1)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("shot"), st.booleans()),
        st.tuples(st.just("skip"), st.integers(0, 4)),
        st.tuples(st.just("repeat"), st.just(0)),
        st.tuples(st.just("undo"), st.just(0)),
    ),
    max_size=40,
)
plans = st.lists(st.integers(0, 6), max_size=4).map(tuple)


def taken(progress: Progress, step: tuple[str, int]) -> Progress:
    """Return `progress` after one step of a walk."""
    match step:
        case "shot", whole:
            return progress.shot(whole=bool(whole))
        case "skip", points:
            return progress.skipped(points)
        case "repeat", _:
            return progress.repeated()
        case _:
            return progress.undone()


@LAW
@given(plans, steps)
def test_whatever_is_marked_the_points_add_up(points: tuple[int, ...], walk: list[tuple[str, int]]) -> None:
    progress = Progress(points)
    for step in walk:
        progress = taken(progress, step)
        tallies = progress.tallies()
        assert [tally.planned for tally in tallies] == list(points)
        for tally in tallies:
            assert 0 <= tally.given + tally.missed <= tally.planned
            assert tally.doubled <= tally.given
            assert len(tally.partial) <= tally.given
        marked = sum(tally.given + tally.missed for tally in tallies)
        assert progress.left == progress.planned - marked + progress.repeating
        assert progress.left == sum(count for _, count in progress.ahead())
        place = progress.place()
        assert (place is None) == (progress.left == 0)
        if place is not None:
            region, count = next(progress.ahead())
            assert (place.region, place.left) == (region, count)
            assert 1 <= place.point <= place.points == points[place.region]


@LAW
@given(plans, steps)
def test_undoing_takes_back_exactly_the_last_mark_as_often_as_there_are_marks(
    points: tuple[int, ...], walk: list[tuple[str, int]]
) -> None:
    history = [Progress(points)]
    for step in walk:
        after = taken(history[-1], step)
        if step[0] == "undo":
            assert after == (history[-2] if len(history) > 1 else history[-1])
            history = history[:-1] or history
            continue
        if after != history[-1]:
            history.append(after)
    while len(history) > 1:
        assert history.pop().undone() == history[-1]
    assert history == [Progress(points)]


@LAW
@given(plans, steps)
def test_whether_shots_were_whole_changes_no_place(points: tuple[int, ...], walk: list[tuple[str, int]]) -> None:
    one = other = Progress(points)
    for step in walk:
        one = taken(one, step)
        other = taken(other, ("shot", 1) if step[0] == "shot" else step)
        assert one.place() == other.place()
        assert replace(one, marks=()) == replace(other, marks=())
