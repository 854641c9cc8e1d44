"""The commands about courses: which there are, when a patient's next session is due, and a calendar of them.

They read configuration and journal, change nothing of the console and need no running controller. What is due is said
by the same fold and the same functions as when a session starts.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from device.core.course import (
    MONTHS,
    Block,
    Course,
    CoursePast,
    Due,
    Verdict,
    day_number,
    day_text,
    days,
    due,
    past_of,
    planned,
)
from device.core.ledger import Ledger, apply
from device.core.records import SessionStarted
from device.journal_file import JOURNAL_NAME, JournalDamagedError, JournalUnavailableError
from device.journal_reader import JournalReader
from device.service.calendar_file import CalendarEvent, calendar_text
from device.service.control_client import STANDARD_STATE
from device.service.errors import ServiceError
from device.settings import ConfigurationError, Loaded, find_configuration_directory, load_configuration

PAGE = 500


@dataclass(frozen=True, slots=True)
class Given:
    """A session of a course that gave something: its number, its day, the random id of the round's first session."""

    course: str
    session: int
    day: int
    round_id: str


@dataclass(frozen=True, slots=True)
class History:
    """What the journal says of a patient's courses. `open_course` is that of the session that is going on, or empty."""

    courses: tuple[CoursePast, ...]
    given: tuple[Given, ...]
    open_course: str


def course_list(options: argparse.Namespace) -> int:
    """`mesogun course list`."""
    courses = {name: loaded.value for name, loaded in sorted(_courses(options).items())}
    if options.json:
        _print(json.dumps({name: _as_json(course) for name, course in courses.items()}))
    else:
        width = max(map(len, courses))
        for name, course in courses.items():
            _print(f"{name:<{width}}  {course.sessions} sessions: {'; then '.join(map(_block_words, course.blocks))}")
    return 0


def course_due(options: argparse.Namespace) -> int:
    """`mesogun course due`."""
    courses = _courses(options)
    history = _history(options)
    names = [options.course] if options.course else sorted({one.course for one in history.courses})
    if options.course:
        _named(courses, options.course)
    elif not names:
        raise ServiceError(
            f"no session of a course has been given to patient {options.patient!r}: name one with --course"
        )
    today = _today(options)
    found: list[dict[str, Any]] = []
    for name in names:
        past = past_of(history.courses, patient=options.patient, course=name)
        given = [{"session": one.session, "date": day_text(one.day)} for one in history.given if one.course == name]
        about: dict[str, Any] = {"course": name, "given": given, "session_open": history.open_course == name}
        if name in courses:
            course = courses[name].value
            next_due = due(course, past, today=today)
            about |= _due_json(course, next_due) | {"says": _due_words(course, past, next_due)}
        else:
            about |= {"verdict": "unknown", "says": "no file of this course is left in the configuration"}
        found.append(about)
    if options.json:
        _print(json.dumps({"on": day_text(today), "courses": found}))
        return 0
    for about in found:
        told = ", ".join(f"{one['session']} on {one['date']}" for one in about["given"])
        _print(f"{about['course']}")
        _print(f"  given  {told or 'nothing yet'}{'; a session is open now' if about['session_open'] else ''}")
        _print(f"  next   {about['says']}")
    return 0


def course_calendar(options: argparse.Namespace) -> int:
    """`mesogun course calendar`."""
    course = _named(_courses(options), options.course)
    if options.with_patient and options.patient is None:
        raise ServiceError("--with-patient writes the id of --patient: give that")
    if options.start is not None:
        first, revision, round_id = (1, day_number(options.start)), 0, options.start.isoformat()
    else:
        first, revision, round_id = _rest_of(options, course)
    plan = planned(course, session=first[0], day=first[1])
    if plan[-1][1] > day_number(date.max):
        raise ServiceError(f"the course would end after {date.max}: choose an earlier --start")
    for session, day in plan:
        if course.begins_block(session) and not course.block_of(session).begins_in_season(day):
            why = _out_of_season(course.block_of(session))
            sys.stderr.write(f"mesogun course: note: session {session} on {day_text(day)} is {why}\n")
    who = f", patient {options.patient}" if options.with_patient else ""
    events = [
        CalendarEvent(
            uid=f"{_digest(course.name, round_id, str(session))}@mesogun",
            day=date.fromisoformat(day_text(day)),
            summary=f"Hair mesotherapy: session {session} of {course.sessions}{who}",
            description=_event_words(course, session),
            revision=revision,
        )
        for session, day in plan
    ]
    content = calendar_text(events, made=datetime.now(UTC))
    if options.out is None:
        sys.stdout.buffer.write(content)
        return 0
    _write(options.out, content)
    _print(f"{options.out}: {len(events)} sessions, {day_text(plan[0][1])} to {day_text(plan[-1][1])}")
    return 0


def _rest_of(options: argparse.Namespace, course: Course) -> tuple[tuple[int, int], int, str]:
    """Return the patient's next session with its day, how many were given, and the round's id."""
    history, today = _history(options), _today(options)
    past = past_of(history.courses, patient=options.patient, course=course.name)
    found = due(course, past, today=today)
    if past is None or found.target is None:
        what = "not begun" if past is None else "completed"
        raise ServiceError(
            f"course {course.name} is {what} for patient {options.patient!r}: plan it with --start YYYY-MM-DD"
        )
    if found.verdict is Verdict.LAPSED:
        raise ServiceError(
            f"{_due_words(course, past, found)}: nothing is left to plan; begin it anew with --start YYYY-MM-DD"
        )
    round_id = next(one.round_id for one in reversed(history.given) if one.course == course.name)
    return (found.session, max(found.target, today)), past.given, round_id


def _history(options: argparse.Namespace) -> History:
    """Fold the journal. Raises ServiceError where it cannot be read or knows no such patient."""
    state: Path = options.state or STANDARD_STATE
    ledger, known, after = Ledger(), False, 0
    given: list[Given] = []
    try:
        with JournalReader.open(state / JOURNAL_NAME) as reader:
            while entries := reader.entries(after, PAGE):
                for entry in entries:
                    record, before = entry.record(), ledger
                    ledger = apply(before, record)
                    known = known or (isinstance(record, SessionStarted) and record.patient == options.patient)
                    if ledger.courses is not before.courses and before.session is not None:
                        _take(given, ledger.courses[-1], before.session.started, options.patient)
                after = entries[-1].seq
    except (JournalDamagedError, JournalUnavailableError) as error:
        raise ServiceError(str(error)) from error
    if not known:
        raise ServiceError(f"the journal in {state} knows no patient {options.patient!r}")
    opened = ledger.session.started if ledger.session is not None else None
    return History(
        courses=tuple(one for one in ledger.courses if one.patient == options.patient),
        given=tuple(given),
        open_course=opened.course if opened is not None and opened.patient == options.patient else "",
    )


def _take(given: list[Given], reached: CoursePast, started: SessionStarted, patient: str) -> None:
    """Add a session that has just been booked in a course, if it was the patient's."""
    if reached.patient != patient:
        return
    before = [one for one in given if one.course == reached.course]
    round_id = before[-1].round_id if before and reached.given > 1 else started.session_id
    given.append(Given(reached.course, reached.given, reached.day, round_id))


def _courses(options: argparse.Namespace) -> Mapping[str, Loaded[Course]]:
    try:
        return load_configuration(find_configuration_directory(options.config)).courses
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error


def _named(courses: Mapping[str, Loaded[Course]], name: str) -> Course:
    loaded = courses.get(name)
    if loaded is None:
        raise ServiceError(f"no course named {name!r}; there are: {', '.join(sorted(courses))}")
    return loaded.value


def _today(options: argparse.Namespace) -> int:
    """Return the day that was asked for, or today by this computer's own calendar."""
    return day_number(options.on or datetime.now(UTC).astimezone().date())


def _due_words(course: Course, past: CoursePast | None, found: Due) -> str:
    """Return in a sentence how the course stands."""
    season = "" if found.in_season else f"; {_out_of_season(course.block_of(found.session))}"
    session = f"session {found.session} of {course.sessions}"
    if past is None or found.earliest is None:
        return f"{session}: nothing was given yet, it may begin{season}"
    if found.target is None or found.latest is None:
        return f"completed, all {course.sessions} given; it may begin again from {day_text(found.earliest)}{season}"
    since = f"{days(found.gap or 0)} after the last one"
    window = f"due on {day_text(found.target)}, from {day_text(found.earliest)} to {day_text(found.latest)}"
    match found.verdict:
        case Verdict.EARLY:
            return f"{session} is {window}: today, {since}, is too early{season}"
        case Verdict.DUE:
            return f"{session} is due: {since}, {window}{season}"
        case Verdict.LATE:
            return f"{session} is late: {since}, {window}{season}"
        case _:
            return (
                f"course {course.name} has lapsed: {session} was {window}; it begins anew (--anew), or goes on by a "
                f"physician's word (--override){season}"
            )


def _due_json(course: Course, found: Due) -> dict[str, Any]:
    return {
        "verdict": found.verdict.value,
        "session": found.session,
        "sessions": course.sessions,
        "gap_days": found.gap,
        "earliest": None if found.earliest is None else day_text(found.earliest),
        "target": None if found.target is None else day_text(found.target),
        "latest": None if found.latest is None else day_text(found.latest),
        "in_season": found.in_season,
    }


def _as_json(course: Course) -> dict[str, Any]:
    blocks = [
        {
            "sessions": block.sessions,
            "target_days": block.target_days,
            "least_days": block.least_days,
            "greatest_days": block.greatest_days,
            "seasons": list(block.seasons),
        }
        for block in course.blocks
    ]
    return {"sessions": course.sessions, "blocks": blocks}


def _block_words(block: Block) -> str:
    seasons = f", from {_months(block)}" if block.seasons else ""
    gaps = f"every {days(block.target_days)} ({block.least_days} to {block.greatest_days})"
    return f"{block.sessions} {gaps}{seasons}"


def _event_words(course: Course, session: int) -> str:
    block = course.block_of(session)
    if session == 1:
        return f"Course {course.name}, the first session."
    return (
        f"Course {course.name}: {days(block.target_days)} after the session before, at least {block.least_days} and at "
        f"most {block.greatest_days}."
    )


def _out_of_season(block: Block) -> str:
    return f"out of season, which is {_months(block)}"


def _months(block: Block) -> str:
    return ", ".join(MONTHS[month - 1] for month in block.seasons)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _write(path: Path, content: bytes) -> None:
    """Replace the file whole, so that a calendar never imports half a one."""
    if not path.name:
        raise ServiceError(f"{path}: is a directory; choose another --out")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ServiceError(f"{path}: {error.strerror or error}; choose another --out") from error


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
