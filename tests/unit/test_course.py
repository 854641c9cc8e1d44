"""A course says which session is next and in what window of days; no clock that stands wrong makes one due."""

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.course import (
    DAY_MOST,
    EARLY_CODE,
    KEPT_MOST,
    LAPSED_CODE,
    Block,
    Course,
    CoursePast,
    Verdict,
    begun_anew,
    course_refusals,
    day_number,
    day_of,
    day_text,
    due,
    next_session,
    past_of,
    planned,
    remembered,
)
from device.core.limits import Refusal
from tests.support.core import LAW

COURSE = Course("four-and-four", (Block(4, 7, 5, 11, (4, 5, 9, 10)), Block(4, 15, 5, 22)))
LAST = day_number(date(2026, 9, 1))


def past(given: int = 2, day: int = LAST) -> CoursePast:
    return CoursePast("anna", COURSE.name, given, day)


def refused(given: int, gap: int, *, anew: bool = False) -> tuple[Refusal, ...]:
    return course_refusals(COURSE, past(given), patient="anna", today=LAST + gap, anew=anew)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    least, more, most = draw(st.integers(1, 60)), draw(st.integers(0, 30)), draw(st.integers(0, 30))
    seasons = draw(st.sets(st.integers(1, 12), max_size=4))
    return Block(draw(st.integers(1, 6)), least + more, least, least + more + most, tuple(sorted(seasons)))


courses = st.builds(Course, st.just("drawn"), st.lists(blocks(), min_size=1, max_size=3).map(tuple))
some_day = st.integers(0, 40_000)


# Days ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "utc_offset_s", "day"),
    [
        (datetime(2026, 9, 1, 0, 0, tzinfo=UTC), 0, "2026-09-01"),
        (datetime(2026, 9, 1, 23, 59, 59, 999_000, tzinfo=UTC), 0, "2026-09-01"),
        # Half past nine in the evening in Istanbul, and half past one the next morning.
        (datetime(2026, 9, 1, 18, 30, tzinfo=UTC), 10_800, "2026-09-01"),
        (datetime(2026, 9, 1, 22, 30, tzinfo=UTC), 10_800, "2026-09-02"),
        (datetime(2026, 9, 1, 1, 0, tzinfo=UTC), -25_200, "2026-08-31"),
        (datetime(2026, 9, 1, 20, 59, 59, 999_000, tzinfo=UTC), 10_800, "2026-09-01"),
    ],
)
def test_a_day_is_a_date_of_the_consoles_own_calendar(moment: datetime, utc_offset_s: int, day: str) -> None:
    assert day_text(day_of(int(moment.timestamp() * 1000), utc_offset_s)) == day


def test_an_earlier_hour_of_the_same_weekday_is_a_week_later() -> None:
    ten, nine = (int(datetime(2026, 9, day, hour, tzinfo=UTC).timestamp() * 1000) for day, hour in ((1, 10), (8, 9)))
    assert day_of(nine, 0) - day_of(ten, 0) == 7


@pytest.mark.parametrize(("day", "text"), [(-1, "1970-01-01"), (DAY_MOST + 1, "9999-12-31"), (LAST, "2026-09-01")])
def test_every_day_can_be_written_even_one_that_no_calendar_has(day: int, text: str) -> None:
    assert day_text(day) == text


def test_a_dates_number_counts_from_1970() -> None:
    assert day_number(date(1970, 1, 2)) == 1
    assert day_number(date.max) == DAY_MOST


# The next session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "gap", "verdict"),
    [
        (1, 0, Verdict.EARLY),
        (1, 4, Verdict.EARLY),
        (1, 5, Verdict.DUE),
        (1, 7, Verdict.DUE),
        (1, 8, Verdict.LATE),
        (1, 11, Verdict.LATE),
        (1, 12, Verdict.LAPSED),
        # Into the second block its own gaps hold.
        (3, 12, Verdict.LAPSED),
        (4, 12, Verdict.DUE),
        (4, 22, Verdict.LATE),
        (4, 23, Verdict.LAPSED),
        (8, 0, Verdict.COMPLETED),
        (8, 400, Verdict.COMPLETED),
    ],
)
def test_the_gap_since_the_last_session_decides(given: int, gap: int, verdict: Verdict) -> None:
    assert due(COURSE, past(given), today=LAST + gap).verdict is verdict


def test_the_window_of_a_session_is_told_in_days() -> None:
    found = due(COURSE, past(2), today=LAST + 3)
    assert (found.session, found.gap) == (3, 3)
    assert (found.earliest, found.target, found.latest) == (LAST + 5, LAST + 7, LAST + 11)


def test_the_first_session_has_no_window_and_may_begin() -> None:
    found = due(COURSE, None, today=LAST)
    assert (found.verdict, found.session, found.gap) == (Verdict.FIRST, 1, None)
    assert (found.earliest, found.target, found.latest, found.in_season) == (None, None, None, True)
    assert course_refusals(COURSE, None, patient="anna", today=LAST) == ()


def test_after_the_last_session_a_new_round_begins_and_keeps_the_last_gap() -> None:
    found = due(COURSE, past(8), today=LAST + 1)
    assert (found.session, found.earliest, found.target, found.latest) == (1, LAST + 5, None, None)
    assert [reason.code for reason in refused(8, 4)] == ["course_early"]
    assert refused(8, 5) == ()
    assert refused(8, 500) == ()


def test_a_course_whose_file_became_shorter_is_completed() -> None:
    assert due(COURSE, past(9), today=LAST).verdict is Verdict.COMPLETED
    assert next_session(COURSE, past(9)) == 1


def test_the_number_of_the_next_session() -> None:
    assert [next_session(COURSE, past(given)) for given in (1, 7, 8)] == [2, 8, 1]
    assert next_session(COURSE, None) == next_session(COURSE, past(3), anew=True) == 1


@pytest.mark.parametrize(
    ("given", "today", "in_season"),
    [
        (None, date(2026, 9, 30), True),
        (None, date(2026, 11, 1), False),
        (8, date(2026, 9, 1), True),
        (8, date(2026, 12, 1), False),
        # Inside a block, and in one that has no seasons, any month will do.
        (2, date(2026, 12, 1), True),
        (4, date(2026, 12, 1), True),
    ],
)
def test_only_a_session_that_begins_a_block_has_a_season(given: int | None, today: date, in_season: bool) -> None:
    found = due(COURSE, None if given is None else past(given), today=day_number(today))
    assert found.in_season is in_season


def test_a_later_blocks_season_is_that_of_the_day_on_which_it_can_begin() -> None:
    course = Course("c", (Block(1, 7, 5, 11), Block(1, 7, 5, 11, (10,))))
    assert due(course, CoursePast("anna", "c", 1, LAST + 27), today=LAST + 28).in_season
    assert not due(course, CoursePast("anna", "c", 1, LAST), today=LAST + 28).in_season


def test_a_round_begins_in_the_season_of_its_first_block() -> None:
    course = Course("c", (Block(1, 7, 5, 11, (9,)), Block(1, 7, 5, 11, (10,))))
    assert due(course, None, today=LAST).in_season
    assert not due(course, None, today=LAST + 40).in_season
    assert due(course, CoursePast("anna", "c", 2, LAST), today=LAST + 10).in_season
    assert not due(course, CoursePast("anna", "c", 2, LAST), today=LAST + 40).in_season


def test_each_session_is_in_the_block_that_its_number_says() -> None:
    course = Course("c", (Block(3, 1, 1, 1), Block(1, 2, 2, 2), Block(2, 3, 3, 3)))
    assert [course.block_of(number).target_days for number in range(1, 8)] == [1, 1, 1, 2, 3, 3, 3]
    assert [number for number in range(9) if course.begins_block(number)] == [1, 4, 5]


@pytest.mark.parametrize(("target", "least", "greatest"), [(4, 5, 11), (7, 5, 6), (7, 0, 11)])
def test_gaps_out_of_order_are_no_block(target: int, least: int, greatest: int) -> None:
    with pytest.raises(
        ValueError, match=r"^least_days must be at most target_days, and target_days at most greatest_days$"
    ):
        Block(4, target, least, greatest)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_too_early_is_refused_with_the_day_that_it_waits_for() -> None:
    (reason,) = refused(2, 4)
    assert reason == Refusal(
        "course_early",
        "session 3 of 8 of course four-and-four would be too early: 4 days after the last one of 2026-09-01, "
        "least_days is 5: wait until 2026-09-06, or have it started on a physician's word: --override REASON --by NAME",
        figure="4 days after the last session, at least 5",
    )
    assert refused(2, 5) == ()


def test_a_lapsed_course_is_named_with_what_it_means() -> None:
    assert refused(2, 11) == ()
    (reason,) = refused(2, 12)
    assert reason == Refusal(
        "course_lapsed",
        "course four-and-four has lapsed: 12 days after session 2 of 2026-09-01, greatest_days is 11: begin at "
        "session 1 with --anew, or go on with session 3 on a physician's word: --override REASON --by NAME",
        figure="12 days after the last session, at most 11",
    )


def test_a_lapsed_course_may_begin_anew_and_none_may_to_get_round_its_least_gap() -> None:
    assert refused(2, 12, anew=True) == ()
    (reason,) = refused(2, 1, anew=True)
    assert reason.message.startswith("session 1 of 8 of course four-and-four would be too early: 1 day after")
    assert begun_anew(COURSE, past(2), today=LAST + 1).earliest == LAST + 5
    assert [begun_anew(COURSE, past(2), today=LAST + gap).gap for gap in (-1, 0, 1)] == [0, 0, 1]


def test_what_is_soft_is_told_by_its_code_and_a_course_without_a_patient_is_not() -> None:
    assert {refused(2, 1)[0].code, refused(2, 99)[0].code} == {EARLY_CODE, LAPSED_CODE}
    (reason,) = course_refusals(COURSE, None, patient="", today=LAST)
    assert (bool(reason.figure), reason.code, reason.message) == (
        False,
        "course_patient",
        "a course belongs to a patient: give --patient ID, or leave --course out",
    )


@pytest.mark.parametrize("today", [LAST - 400, LAST - 1, 0])
def test_a_clock_that_fell_behind_makes_no_session_due(today: int) -> None:
    found = due(COURSE, past(2), today=today)
    assert (found.verdict, found.gap) == (Verdict.EARLY, 0)
    assert [reason.code for reason in course_refusals(COURSE, past(2), patient="anna", today=today)] == ["course_early"]


# What is remembered --------------------------------------------------------------------------------------------------


def test_the_memory_holds_one_line_a_patient_and_course_and_is_bounded() -> None:
    kept: tuple[CoursePast, ...] = ()
    for number in range(KEPT_MOST + 1):
        kept = remembered(kept, CoursePast(f"p-{number}", "c", 1, number))
    assert (len(kept), kept[0].patient) == (KEPT_MOST, "p-1")
    again = remembered(kept, CoursePast("p-1", "c", 2, 5000))
    assert (len(again), again[-1], again[0].patient) == (KEPT_MOST, CoursePast("p-1", "c", 2, 5000), "p-2")
    assert past_of(again, patient="p-1", course="c") == CoursePast("p-1", "c", 2, 5000)
    assert past_of(again, patient="p-1", course="d") is None


def test_a_session_cannot_have_been_before_the_one_before_it() -> None:
    assert remembered((past(2),), past(3, LAST - 30)) == (past(3, LAST),)


# Laws ----------------------------------------------------------------------------------------------------------------


@LAW
@given(course=courses, given=st.integers(1, 20), last=some_day, today=some_day)
def test_the_window_is_in_order_and_the_verdict_is_where_today_lies_in_it(
    course: Course, given: int, last: int, today: int
) -> None:
    found = due(course, CoursePast("anna", "drawn", given, last), today=today)
    assert 1 <= found.session <= course.sessions
    if found.verdict is Verdict.COMPLETED:
        assert given >= course.sessions
        return
    assert found.earliest is not None
    assert found.target is not None
    assert found.latest is not None
    assert last < found.earliest <= found.target <= found.latest
    assert found.verdict is (
        Verdict.EARLY
        if today < found.earliest
        else Verdict.DUE
        if today <= found.target
        else Verdict.LATE
        if today <= found.latest
        else Verdict.LAPSED
    )


@LAW
@given(course=courses, begun=some_day)
def test_a_course_kept_on_target_is_never_refused_and_never_lapses(course: Course, begun: int) -> None:
    kept: tuple[CoursePast, ...] = ()
    for session, day in planned(course, session=1, day=begun):
        before = past_of(kept, patient="anna", course="drawn")
        found = due(course, before, today=day)
        assert found.session == session == next_session(course, before)
        assert found.verdict in (Verdict.FIRST, Verdict.DUE)
        assert course_refusals(course, before, patient="anna", today=day) == ()
        kept = remembered(kept, CoursePast("anna", "drawn", session, day))
    assert due(course, kept[0], today=begun).verdict is Verdict.COMPLETED


@LAW
@given(course=courses, given=st.integers(1, 20), last=some_day, today=some_day, back=st.integers(0, 40_000))
def test_a_clock_set_back_never_makes_a_session_due_that_is_not(
    course: Course, given: int, last: int, today: int, back: int
) -> None:
    past = CoursePast("anna", "drawn", given, last)

    def too_early(day: int, anew: bool) -> bool:
        found = course_refusals(course, past, patient="anna", today=day, anew=anew)
        return "course_early" in {reason.code for reason in found}

    for anew in (False, True):
        assert too_early(today - back, anew) or not too_early(today, anew)


@LAW
@given(
    course=courses,
    sessions=st.lists(st.tuples(st.integers(0, 80), st.integers(-30, 80)), min_size=1, max_size=12),
)
def test_no_order_of_clocks_gives_two_sessions_nearer_than_the_least_gap_of_a_running_clock(
    course: Course, sessions: list[tuple[int, int]]
) -> None:
    # True days pass; the clock stands at the truth or behind it. What is given then is as far apart as it must be.
    kept: tuple[CoursePast, ...] = ()
    true_day, given_on = 20_000, 20_000
    for passed, wrong in sessions:
        true_day += passed
        clock = true_day - max(0, wrong)
        before = past_of(kept, patient="anna", course="drawn")
        if not course_refusals(course, before, patient="anna", today=clock):
            session = next_session(course, before)
            if before is not None:
                gap = course.block_of(before.given if session == 1 else session).least_days
                assert true_day - given_on >= gap
            given_on = true_day
            # The clock was right again when the session ended.
            kept = remembered(kept, CoursePast("anna", "drawn", session, true_day))


@LAW
@given(course=courses, session=st.integers(1, 18), day=some_day)
def test_a_plan_goes_on_to_the_last_session_by_the_targets(course: Course, session: int, day: int) -> None:
    plan = planned(course, session=session, day=day)
    assert plan[0] == (session, day)
    assert [number for number, _ in plan] == list(range(session, max(session, course.sessions) + 1))
    for (_, before), (number, after) in pairwise(plan):
        assert after - before == course.block_of(number).target_days
