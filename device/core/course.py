"""A course: a patient's sessions, with a target, a least and a greatest gap in days between each and the next.

Owns which session of a course is next, the window of days it belongs in, and why one must not start today. A day is a
date of the console's own calendar, as patient and clinic count it: a session at ten and one at nine a week later are
seven days apart. Pure: today is an argument, and only ever compared with days of the same calendar. A today before
the last session counts as that session's day: a clock that fell behind can delay a session, and never makes one due.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from typing import Final

from device.core.limits import Refusal
from device.core.patient_day import DAY_MS

KEPT_MOST: Final = 2000
"""Courses of patients that the ledger remembers: a course of 8 for 20 patients a day, for more than two years."""

EPOCH: Final = date(1970, 1, 1).toordinal()
"""Days are counted from there, as the wall clock's milliseconds are."""

DAY_MOST: Final = date.max.toordinal() - EPOCH
"""The last day that has a date."""

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

EARLY_CODE: Final = "course_early"
LAPSED_CODE: Final = "course_lapsed"
"""What may be overridden with a reason and a name: a physician may know better than a file when a session is due."""


@dataclass(frozen=True, slots=True)
class Block:
    """Sessions in a row with the same gaps: each is so many days after the one before it, in whatever block that was.

    `seasons` are the months, 1 to 12, in which its first session should fall; empty for any.
    """

    sessions: int
    target_days: int
    least_days: int
    greatest_days: int
    seasons: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the order of the gaps."""
        if not 0 < self.least_days <= self.target_days <= self.greatest_days:
            raise ValueError("least_days must be at most target_days, and target_days at most greatest_days")

    def begins_in_season(self, day: int) -> bool:
        """Whether the block may begin on `day` by its seasons."""
        return not self.seasons or _date(day).month in self.seasons


@dataclass(frozen=True, slots=True)
class Course:
    """Blocks of sessions, one after the other; the first session of the first block has none before it.

    `checklist` is the name of the check-list that its sessions are held to, empty for none.
    """

    name: str
    blocks: tuple[Block, ...]
    checklist: str = ""

    @property
    def sessions(self) -> int:
        """All sessions of the course."""
        return sum(block.sessions for block in self.blocks)

    def block_of(self, session: int) -> Block:
        """Return the block of session number `session`, from 1; the last one's for a number beyond the course."""
        left = session
        for block in self.blocks:
            if left <= block.sessions:
                return block
            left -= block.sessions
        return self.blocks[-1]

    def begins_block(self, session: int) -> bool:
        """Whether session number `session` is the first of a block."""
        starts = [1]
        for block in self.blocks:
            starts.append(starts[-1] + block.sessions)
        return session in starts[:-1]


@dataclass(frozen=True, slots=True)
class CoursePast:
    """How far a patient has come in a course: `given` is the number of the last session, `day` its day."""

    patient: str
    course: str
    given: int
    day: int


class Verdict(Enum):
    """How a course stands today, by its next session."""

    FIRST = "first"
    EARLY = "early"
    DUE = "due"
    LATE = "late"
    LAPSED = "lapsed"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Due:
    """The next session of a course and its window, in days; None where there is no such bound.

    `gap` is how many days have passed since the last session. `in_season` is False where the session begins a block
    that should begin in another month: told, and never a refusal, for a season is advice and protects nobody.
    """

    verdict: Verdict
    session: int
    gap: int | None
    earliest: int | None
    target: int | None
    latest: int | None
    in_season: bool


def day_of(at_ms: int, utc_offset_s: int) -> int:
    """Return the day of a wall clock's milliseconds on a calendar that is `utc_offset_s` ahead of UTC."""
    return (at_ms + utc_offset_s * 1000) // DAY_MS


def day_text(day: int) -> str:
    """Return a day as YYYY-MM-DD."""
    return _date(day).isoformat()


def day_number(when: date) -> int:
    """Return the number of a date's day: the inverse of `day_text`."""
    return when.toordinal() - EPOCH


def past_of(courses: Iterable[CoursePast], *, patient: str, course: str) -> CoursePast | None:
    """Return how far `patient` has come in the course of that name, None where it was not begun."""
    return next((one for one in courses if (one.patient, one.course) == (patient, course)), None)


def remembered(courses: tuple[CoursePast, ...], latest: CoursePast) -> tuple[CoursePast, ...]:
    """Return `courses` with `latest` in the place of what it goes on from; beyond `KEPT_MOST` without the oldest.

    Sessions come in order: one whose clock stood before the one before it cannot have been earlier than that.
    """
    before = past_of(courses, patient=latest.patient, course=latest.course)
    others = tuple(one for one in courses if one is not before)
    if before is not None:
        latest = replace(latest, day=max(latest.day, before.day))
    return (*others, latest)[-KEPT_MOST:]


def due(course: Course, past: CoursePast | None, *, today: int) -> Due:
    """Return the next session of `course`, its window and what today is to it.

    After the last session the next one is the first of a new round, which keeps the last block's least gap.
    """
    if past is None:
        in_season = course.block_of(1).begins_in_season(today)
        return Due(Verdict.FIRST, 1, None, None, None, None, in_season)
    gap = max(0, today - past.day)
    if past.given >= course.sessions:
        return _anew(course, past, gap)
    session = past.given + 1
    block = course.block_of(session)
    # The earliest day on which it can still be given decides over its season.
    when = past.day + max(gap, block.least_days)
    return Due(
        verdict=_verdict(block, gap),
        session=session,
        gap=gap,
        earliest=past.day + block.least_days,
        target=past.day + block.target_days,
        latest=past.day + block.greatest_days,
        in_season=not course.begins_block(session) or block.begins_in_season(when),
    )


def course_refusals(
    course: Course, past: CoursePast | None, *, patient: str, today: int, anew: bool = False
) -> tuple[Refusal, ...]:
    """Return why the next session of `course` must not start today; empty if it may.

    `anew`: the first session of a new round is meant. A refusal with a `figure` may be overridden.
    """
    if not patient:
        return (Refusal("course_patient", "a course belongs to a patient: give --patient ID, or leave --course out"),)
    if past is None:
        return ()
    found = begun_anew(course, past, today=today) if anew else due(course, past, today=today)
    gap, last = found.gap or 0, day_text(past.day)
    what = f"session {found.session} of {course.sessions} of course {course.name}"
    word = "or have it started on a physician's word: --override REASON --by NAME"
    if found.earliest is not None and gap < found.earliest - past.day:
        least = found.earliest - past.day
        return (
            Refusal(
                EARLY_CODE,
                f"{what} would be too early: {days(gap)} after the last one of {last}, least_days is {least}: wait "
                f"until {day_text(found.earliest)}, {word}",
                figure=f"{days(gap)} after the last session, at least {least}",
            ),
        )
    if found.verdict is Verdict.LAPSED and found.latest is not None:
        greatest = found.latest - past.day
        return (
            Refusal(
                LAPSED_CODE,
                f"course {course.name} has lapsed: {days(gap)} after session {past.given} of {last}, greatest_days is "
                f"{greatest}: begin at session 1 with --anew, or go on with session {found.session} on a physician's "
                "word: --override REASON --by NAME",
                figure=f"{days(gap)} after the last session, at most {greatest}",
            ),
        )
    return ()


def begun_anew(course: Course, past: CoursePast, *, today: int) -> Due:
    """Return the first session of a new round, wherever in the course the patient stands."""
    return _anew(course, past, max(0, today - past.day))


def next_session(course: Course, past: CoursePast | None, *, anew: bool = False) -> int:
    """Return the number of the next session of `course`."""
    return 1 if past is None or anew or past.given >= course.sessions else past.given + 1


def planned(course: Course, *, session: int, day: int) -> tuple[tuple[int, int], ...]:
    """Return (session, day) of session number `session` on `day` and of all after it at their targets."""
    plan = [(session, day)]
    for number in range(session + 1, course.sessions + 1):
        plan.append((number, plan[-1][1] + course.block_of(number).target_days))
    return tuple(plan)


def days(count: int) -> str:
    """Return a number of days in words."""
    return f"{count} day" if count == 1 else f"{count} days"


def _anew(course: Course, past: CoursePast, gap: int) -> Due:
    least = course.block_of(past.given).least_days
    in_season = course.block_of(1).begins_in_season(past.day + max(gap, least))
    return Due(Verdict.COMPLETED, 1, gap, past.day + least, None, None, in_season)


def _verdict(block: Block, gap: int) -> Verdict:
    if gap < block.least_days:
        return Verdict.EARLY
    if gap <= block.target_days:
        return Verdict.DUE
    return Verdict.LATE if gap <= block.greatest_days else Verdict.LAPSED


def _date(day: int) -> date:
    """Return a day's date; the nearest one that exists for a day that no calendar has."""
    return date.fromordinal(EPOCH + min(max(day, 0), DAY_MOST))
