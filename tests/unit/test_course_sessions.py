"""A session of a course: its number and digest in the record, too early and lapsed refused softly, an override kept."""

from dataclasses import replace

import pytest

from device.controller.recovery import restored_session
from device.core.console import Console
from device.core.course import Block, Course, CoursePast
from device.core.effects import Reply
from device.core.events import Request, SessionStartRequested, SessionStopRequested
from device.core.ledger import Ledger, apply
from device.core.machine import step
from device.core.patient_day import DAY_MS, UNKNOWN_MS
from device.core.records import CommandTaken, LimitOverridden, SessionEnded, SessionStarted, from_body, to_body
from device.core.session import Session
from device.settings import load_configuration
from tests.support.journal import STARTED
from tests.support.machine import DISARMED, START_SESSION, after, records_in
from tests.support.settings import SHIPPED

COURSE = Course("weekly", (Block(2, 7, 5, 11), Block(1, 14, 10, 20)))
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
"""Noon in Greenwich of day 20000, 2024-10-04."""
BEGIN_AGAIN = (
    "begin at session 1 with --anew, or go on with session 2 on a physician's word: --override REASON --by NAME"
)


def start(day: int, **changes: object) -> SessionStartRequested:
    """Ask for a session of the course at noon of the day, counted from day 20000."""
    request = Request(number=1, uid=1000, pid=77, at_ms=NOON_MS + day * DAY_MS, may_override=True)
    asked = replace(START_SESSION, request=request, session_id=f"s-{day}", course=COURSE, course_sha256="c")
    return replace(asked, **changes)  # type: ignore[arg-type]


def stop(day: int) -> SessionStopRequested:
    return SessionStopRequested(Request(number=2, uid=1000, pid=77, at_ms=NOON_MS + day * DAY_MS + 60_000))


def treated(console: Console, asked: SessionStartRequested, *, volume_nl: int = 20_000) -> Console:
    """Return the console after the session that was asked for, in which the patient had this volume by the book."""
    opened = after(console, asked)
    assert opened.ledger.session is not None, records_in(step(console, asked)[1])
    session = replace(opened.ledger.session, volume_nl=volume_nl)
    opened = replace(opened, ledger=replace(opened.ledger, session=session))
    day = (asked.request.at_ms - NOON_MS) // DAY_MS
    return after(opened, stop(day))


def answer(console: Console, asked: SessionStartRequested) -> tuple[tuple[str, ...], list[object]]:
    """Return the reasons against the session, none when it started, and the records."""
    _, effects = step(console, asked)
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    assert reply.accepted is not bool(reply.reasons)
    return reply.reasons, records_in(effects)


ONCE = treated(DISARMED, start(0))


def test_a_sessions_number_in_its_course_stands_in_record_and_session() -> None:
    console = after(ONCE, start(7))
    assert console.session is not None
    assert (console.session.course, console.session.course_session, console.session.course_sessions) == ("weekly", 2, 3)
    _, records = answer(ONCE, replace(start(7), request=replace(start(7).request, utc_offset_s=10_800)))
    (started,) = [record for record in records if isinstance(record, SessionStarted)]
    assert (started.course, started.course_sha256, started.course_session, started.course_sessions) == (
        "weekly",
        "c",
        2,
        3,
    )
    assert started.utc_offset_s == 10_800


def test_a_session_outside_of_a_course_has_no_number_and_counts_in_none() -> None:
    console = treated(DISARMED, replace(start(0), course=None, course_sha256=""))
    assert console.ledger.courses == ()
    opened = after(DISARMED, replace(start(0), course=None, course_sha256=""))
    assert opened.session is not None
    assert (opened.session.course, opened.session.course_session, opened.session.course_sessions) == ("", 0, 0)


def test_a_course_goes_through_its_blocks_to_its_end_and_begins_again() -> None:
    console, numbers = DISARMED, []
    for day in (0, 7, 21, 35):
        console = treated(console, start(day))
        numbers.append(console.ledger.courses[-1].given)
    assert numbers == [1, 2, 3, 1]
    assert console.ledger.courses == (CoursePast("anna", "weekly", 1, 20_035),)


def test_a_session_that_gave_nothing_does_not_count() -> None:
    console = treated(ONCE, start(7), volume_nl=0)
    assert console.ledger.courses == ONCE.ledger.courses
    assert answer(console, start(8))[0] == ()


def test_too_early_is_refused_and_changes_nothing() -> None:
    reasons, records = answer(ONCE, start(4))
    assert reasons == (
        "session 2 of 3 of course weekly would be too early: 4 days after the last one of 2024-10-04, least_days is 5: "
        "wait until 2024-10-09, or have it started on a physician's word: --override REASON --by NAME",
    )
    assert [type(record) for record in records] == [CommandTaken]
    console = after(ONCE, start(4))
    assert (console.session, console.ledger) == (None, ONCE.ledger)
    assert answer(ONCE, start(5))[0] == ()


def test_a_lapsed_course_is_refused_by_name_and_may_begin_anew() -> None:
    reasons, _ = answer(ONCE, start(12))
    assert reasons == (
        f"course weekly has lapsed: 12 days after session 1 of 2024-10-04, greatest_days is 11: {BEGIN_AGAIN}",
    )
    assert treated(ONCE, start(12, anew=True)).ledger.courses == (CoursePast("anna", "weekly", 1, 20_012),)


@pytest.mark.parametrize(
    ("day", "limit", "figure"),
    [
        (4, "course_early", "4 days after the last session, at least 5"),
        (12, "course_lapsed", "12 days after the last session, at most 11"),
    ],
)
def test_an_override_with_a_reason_and_a_name_starts_it_and_stands_in_the_journal(
    day: int, limit: str, figure: str
) -> None:
    asked = start(day, override_reason=" the patient travels ", override_by="a physician")
    reasons, records = answer(ONCE, asked)
    assert reasons == ()
    assert [type(record) for record in records] == [CommandTaken, SessionStarted, LimitOverridden]
    assert records[-1] == LimitOverridden(
        session_id=f"s-{day}", limit=limit, reason="the patient travels", by="a physician", uid=1000, figure=figure
    )
    assert treated(ONCE, asked).ledger.courses == (CoursePast("anna", "weekly", 2, 20_000 + day),)


@pytest.mark.parametrize(("reason", "by"), [("travels", ""), ("", "a physician"), ("travels", "  ")])
def test_half_an_override_is_none(reason: str, by: str) -> None:
    reasons, _ = answer(ONCE, start(4, override_reason=reason, override_by=by))
    assert len(reasons) == 2
    assert reasons[1] == "an override needs a reason and a name: --override REASON --by NAME"


def test_an_override_of_nothing_is_not_written_down() -> None:
    _, records = answer(ONCE, start(7, override_reason="travels", override_by="a physician"))
    assert [type(record) for record in records] == [CommandTaken, SessionStarted]


def test_an_override_of_a_course_overrides_no_hard_limit() -> None:
    asked = start(4, override_reason="travels", override_by="a physician", patient="")
    assert answer(ONCE, asked)[0] == ("a course belongs to a patient: give --patient ID, or leave --course out",)
    # What is in the syringe was drawn for another patient.
    content = replace(STARTED, patient="berta")
    filled = replace(ONCE, ledger=replace(ONCE.ledger, content=content))
    reasons, _ = answer(filled, start(4, override_reason="travels", override_by="a physician"))
    assert [reason.split(" of an ")[0] for reason in reasons] == ["the syringe 5ml holds saline"]


def test_anew_without_a_course_means_nothing_and_is_refused() -> None:
    assert answer(ONCE, start(7, course=None, anew=True))[0] == (
        "--anew begins a course at session 1: give --course NAME",
    )


def test_each_patient_and_each_course_is_counted_alone() -> None:
    assert answer(ONCE, start(1, patient="berta"))[0] == ()
    other = replace(COURSE, name="other")
    assert answer(ONCE, start(1, course=other))[0] == ()
    both = treated(ONCE, start(1, course=other))
    assert {(one.course, one.given, one.day) for one in both.ledger.courses} == {
        ("weekly", 1, 20_000),
        ("other", 1, 20_001),
    }


@pytest.mark.parametrize(
    ("started_ms", "ended_ms", "utc_offset_s", "day"),
    [
        (NOON_MS, NOON_MS + 60_000, 0, 20_000),
        (NOON_MS, NOON_MS + 60_000, 46_800, 20_001),
        # Set right while it ran; ended by a restart, which knows no time.
        (NOON_MS - 400 * DAY_MS, NOON_MS, 0, 20_000),
        (NOON_MS, UNKNOWN_MS, 0, 20_000),
        (NOON_MS, NOON_MS - 5 * DAY_MS, 0, 20_000),
    ],
)
def test_a_session_counts_from_the_later_of_its_start_and_end(
    started_ms: int, ended_ms: int, utc_offset_s: int, day: int
) -> None:
    started = replace(
        STARTED, patient="anna", course="weekly", course_session=1, at_ms=started_ms, utc_offset_s=utc_offset_s
    )
    ledger = apply(Ledger(), started)
    assert ledger.session is not None
    ledger = replace(ledger, session=replace(ledger.session, volume_nl=5))
    ended = SessionEnded(session_id="s-0001", reason="stopped", shots=1, volume_nl=5, at_ms=ended_ms)
    assert apply(ledger, ended).courses == (CoursePast("anna", "weekly", 1, day),)


def test_a_clock_set_back_after_a_session_starts_no_other() -> None:
    assert answer(ONCE, start(-300))[0][0].startswith(
        "session 2 of 3 of course weekly would be too early: 0 days after"
    )


def test_a_record_from_before_courses_is_read_as_one_outside_of_them() -> None:
    body = to_body(STARTED)
    for name in ("course", "course_sha256", "course_session", "course_sessions", "utc_offset_s"):
        del body[name]
    assert from_body("session_started", body) == STARTED


def test_a_session_that_goes_on_after_a_restart_keeps_its_place_in_the_course() -> None:
    configuration = load_configuration(SHIPPED)
    profile, serum, syringe = (
        configuration.profiles["nappage"],
        configuration.serums["saline"],
        configuration.syringes["1ml"],
    )
    started = replace(
        STARTED,
        profile_sha256=profile.sha256,
        serum_sha256=serum.sha256,
        syringe="1ml",
        syringe_sha256=syringe.sha256,
        course="weekly-ten",
        course_sha256="of a file that has changed since",
        course_session=3,
        course_sessions=10,
    )
    session = restored_session(apply(Ledger(), started), configuration)
    assert isinstance(session, Session)
    assert (session.course, session.course_session, session.course_sessions) == ("weekly-ten", 3, 10)
