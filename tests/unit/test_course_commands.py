"""`mesogun course`: what there is, what was given and is due, and a calendar that says so without saying to whom."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import icalendar
import pytest

from device.core.course import day_number
from device.core.patient_day import DAY_MS
from device.core.records import Record, SessionEnded
from device.journal_file import JOURNAL_NAME
from device.service.cli import main
from tests.support.journal import BOOTED, INTENT, SETTLED, STARTED, journal_of
from tests.support.settings import SHIPPED

HOUR_MS = 60 * 60 * 1000
SPRING_MS = day_number(date(2026, 4, 1)) * DAY_MS + 9 * HOUR_MS
"""Nine in the morning of the first day."""

Told = Callable[..., tuple[int, str, str]]


def treated(
    number: int, day: int, *, patient: str = "p-17", course: str = "four-and-four", volume_nl: int = 20_000
) -> tuple[Record, ...]:
    """Return the records of a session that began on the day, counted from the first."""
    started = replace(
        STARTED,
        session_id=f"s-{patient}-{day}",
        patient=patient,
        course=course,
        course_session=number,
        course_sessions=8,
        at_ms=SPRING_MS + day * DAY_MS,
    )
    ended = SessionEnded(
        session_id=started.session_id, reason="stopped", shots=1, volume_nl=volume_nl, at_ms=started.at_ms + HOUR_MS
    )
    return started, INTENT, replace(SETTLED, given_nl=volume_nl), ended


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Told:
    def run(*arguments: str, records: tuple[Record, ...] = (), state: Path = tmp_path) -> tuple[int, str, str]:
        if records:
            state.mkdir(exist_ok=True)
            with journal_of(state / JOURNAL_NAME, BOOTED, *records):
                pass
        try:
            code = main(["course", *arguments, f"--config={SHIPPED}"])
        except SystemExit as wrong_use:
            code = int(str(wrong_use.code))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def due(told: Told, state: Path, on: str, *records: Record, course: str = "") -> dict[str, Any]:
    more = [f"--course={course}"] if course else []
    arguments = ("due", "--patient=p-17", f"--state={state}", f"--on={on}", "--json", *more)
    code, out, err = told(*arguments, records=records)
    assert (code, err) == (0, "")
    (found,) = json.loads(out)["courses"]
    assert isinstance(found, dict)
    return found


def events_in(content: bytes) -> list[tuple[str, date, str]]:
    calendar: Any = icalendar.Calendar.from_ical(content)
    return [(str(one["UID"]), one["DTSTART"].dt, str(one["SUMMARY"])) for one in calendar.walk("VEVENT")]


def contents(directory: Path) -> dict[Path, bytes]:
    """Return every file but those that SQLite keeps beside a journal while somebody reads it."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {path: path.read_bytes() for path in files}


# The courses ---------------------------------------------------------------------------------------------------------


def test_the_courses_are_listed_one_a_line(told: Told) -> None:
    code, out, err = told("list")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == (
        "four-and-four            8 sessions: 4 every 7 days (5 to 11), from April, May, September, October; then "
        "4 every 5 days (5 to 22)"
    )
    assert len(out.splitlines()) == 5


def test_the_courses_are_listed_for_a_program(told: Told) -> None:
    found = json.loads(told("list", "--json")[1])
    assert found["weekly-ten"] == {
        "sessions": 10,
        "blocks": [{"sessions": 10, "target_days": 7, "least_days": 7, "greatest_days": 10, "seasons": []}],
    }


# What is due ---------------------------------------------------------------------------------------------------------


def test_what_was_given_and_what_is_due_is_told_in_words(told: Told, tmp_path: Path) -> None:
    records = (*treated(1, 0), *treated(1, 1, patient="p-18"), *treated(2, 6))
    code, out, err = told("due", "--patient=p-17", f"--state={tmp_path}", "--on=2026-04-14", records=records)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "four-and-four",
        "  given  1 on 2026-04-01, 2 on 2026-04-07",
        "  next   session 3 of 8 is due: 7 days after the last one, due on 2026-04-14, from 2026-04-12 to 2026-04-18",
    ]


@pytest.mark.parametrize(
    ("on", "verdict", "words"),
    [
        ("2026-04-01", "early", "session 2 of 8 is due on 2026-04-08, from 2026-04-06 to 2026-04-12: today, 0 days"),
        ("2026-04-06", "due", "session 2 of 8 is due: 5 days after the last one"),
        ("2026-04-09", "late", "session 2 of 8 is late: 8 days after the last one"),
        ("2026-04-13", "lapsed", "course four-and-four has lapsed: session 2 of 8 was due on 2026-04-08"),
        # A day before the session: as on its own day.
        ("2026-03-01", "early", "session 2 of 8 is due on 2026-04-08, from 2026-04-06 to 2026-04-12: today, 0 days"),
    ],
)
def test_each_verdict_is_named(told: Told, tmp_path: Path, on: str, verdict: str, words: str) -> None:
    found = due(told, tmp_path, on, *treated(1, 0))
    assert (found["verdict"], found["session"], found["sessions"]) == (verdict, 2, 8)
    assert (found["earliest"], found["target"], found["latest"]) == ("2026-04-06", "2026-04-08", "2026-04-12")
    assert found["says"].startswith(words)
    assert found["given"] == [{"session": 1, "date": "2026-04-01"}]


def test_a_completed_course_tells_when_it_may_begin_again_and_its_season(told: Told, tmp_path: Path) -> None:
    records = [record for number in range(1, 9) for record in treated(number, 7 * number)]
    found = due(told, tmp_path, "2026-06-10", *records)
    assert found["verdict"] == "completed"
    assert found["says"] == (
        "completed, all 8 given; it may begin again from 2026-06-01; out of season, which is April, May, September, "
        "October"
    )


def test_a_course_that_the_patient_has_not_begun_may_begin(told: Told, tmp_path: Path) -> None:
    found = due(told, tmp_path, "2026-06-10", *treated(1, 0), course="weekly-ten")
    assert (found["verdict"], found["given"]) == ("first", [])
    assert found["says"] == "session 1 of 10: nothing was given yet, it may begin"


def test_a_session_that_is_going_on_is_told_and_not_counted(told: Told, tmp_path: Path) -> None:
    code, out, _ = told(
        "due", "--patient=p-17", f"--state={tmp_path}", "--on=2026-04-08", records=(*treated(1, 0), treated(2, 7)[0])
    )
    assert code == 0
    assert out.splitlines()[1] == "  given  1 on 2026-04-01; a session is open now"


def test_a_session_that_gave_nothing_is_not_told(told: Told, tmp_path: Path) -> None:
    found = due(told, tmp_path, "2026-04-08", *treated(1, 0), *treated(2, 6, volume_nl=0))
    assert (found["session"], found["given"]) == (2, [{"session": 1, "date": "2026-04-01"}])


def test_a_course_whose_file_is_gone_is_told_with_what_was_given(told: Told, tmp_path: Path) -> None:
    found = due(told, tmp_path, "2026-04-08", *treated(1, 0, course="abandoned"))
    assert (found["verdict"], found["says"]) == ("unknown", "no file of this course is left in the configuration")


def test_today_is_this_computers_date_where_none_is_given(told: Told, tmp_path: Path) -> None:
    code, out, _ = told("due", "--patient=p-17", f"--state={tmp_path}", "--json", records=treated(1, 0))
    assert (code, date.fromisoformat(json.loads(out)["on"]) > date(2026, 4, 1)) == (0, True)


# The calendar --------------------------------------------------------------------------------------------------------


def planned(told: Told, out: Path, *arguments: str, records: tuple[Record, ...] = ()) -> list[tuple[str, date, str]]:
    """Return the plan's events, made beside a journal of these records where there are any."""
    if records:
        arguments = (*arguments, "--patient=p-17", f"--state={out.with_suffix('')}")
    command = ("calendar", "--course=four-and-four", f"--out={out}", *arguments)
    code, said, err = told(*command, records=records, state=out.with_suffix(""))
    assert (code, err) == (0, "")
    assert said.startswith(f"{out}: ")
    return events_in(out.read_bytes())


def test_a_course_is_planned_from_its_targets(told: Told, tmp_path: Path) -> None:
    events = planned(told, tmp_path / "plan.ics", "--start=2026-09-01")
    days = [(day - date(2026, 9, 1)).days for _, day, _ in events]
    assert days == [0, 7, 14, 21, 26, 31, 36, 41]
    assert [summary for _, _, summary in events][1] == "Hair mesotherapy: session 2 of 8"
    assert len({uid for uid, _, _ in events}) == 8


def test_the_rest_of_a_patients_course_keeps_its_uids_as_it_moves(told: Told, tmp_path: Path) -> None:
    first = planned(told, tmp_path / "first.ics", "--on=2026-04-02", records=treated(1, 0))
    assert [day.isoformat() for _, day, _ in first[:2]] == ["2026-04-08", "2026-04-15"]
    second = planned(told, tmp_path / "second.ics", "--on=2026-04-02", records=(*treated(1, 0), *treated(2, 10)))
    assert [uid for uid, _, _ in second] == [uid for uid, _, _ in first][1:]
    assert [day.isoformat() for _, day, _ in second[:2]] == ["2026-04-18", "2026-04-25"]


def test_a_late_session_is_planned_for_today(told: Told, tmp_path: Path) -> None:
    events = planned(told, tmp_path / "late.ics", "--on=2026-04-10", records=treated(1, 0))
    assert [day.isoformat() for _, day, _ in events[:2]] == ["2026-04-10", "2026-04-17"]


def test_a_new_round_has_events_of_its_own(told: Told, tmp_path: Path) -> None:
    first = planned(told, tmp_path / "first.ics", "--on=2026-04-02", records=treated(1, 0))
    again = planned(told, tmp_path / "again.ics", "--on=2026-04-02", records=(*treated(1, 0), *treated(1, 20)))
    assert not {uid for uid, _, _ in first} & {uid for uid, _, _ in again}


def test_no_patient_is_in_the_file_unless_it_was_asked_for(told: Told, tmp_path: Path) -> None:
    out = tmp_path / "plan.ics"
    planned(told, out, "--on=2026-04-02", records=treated(1, 0))
    assert b"p-17" not in out.read_bytes().replace(b"\r\n ", b"")
    arguments = ("--with-patient", "--patient=p-17", f"--state={tmp_path / 'plan'}", "--on=2026-04-02")
    events = planned(told, out, *arguments)
    assert {summary.partition(", ")[2] for _, _, summary in events} == {"patient p-17"}


def test_a_plan_out_of_season_is_made_and_told(told: Told, tmp_path: Path) -> None:
    out = tmp_path / "plan.ics"
    code, _, err = told("calendar", "--course=four-and-four", "--start=2026-12-01", f"--out={out}")
    assert code == 0
    assert err.splitlines() == [
        "mesogun course: note: session 1 on 2026-12-01 is out of season, which is April, May, September, October"
    ]
    assert len(events_in(out.read_bytes())) == 8


def test_without_a_file_the_calendar_goes_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["course", "calendar", "--course=weekly-ten", "--start=2026-09-01", f"--config={SHIPPED}"]) == 0
    assert len(events_in(capfdbinary.readouterr().out)) == 10


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["due", "--patient=p-99"], "the journal in STATE knows no patient 'p-99'"),
        (["due", "--patient=p-18"], "no session of a course has been given to patient 'p-18': name one with --course"),
        (
            ["due", "--patient=p-17", "--course=nope"],
            "no course named 'nope'; there are: fortnightly-and-monthly, four",
        ),
        (["calendar", "--course=nope", "--start=2026-09-01"], "no course named 'nope'; there are: fortnightly-and-mo"),
        (["calendar", "--course=weekly-ten", "--start=9999-12-01"], "the course would end after 9999-12-31: choose an"),
        (
            ["calendar", "--course=weekly-ten", "--patient=p-17"],
            "course weekly-ten is not begun for patient 'p-17': plan it with --start YYYY-MM-DD",
        ),
        (
            ["calendar", "--course=four-and-four", "--patient=p-17", "--on=2026-04-13"],
            "course four-and-four has lapsed: session 2 of 8 was due on 2026-04-08, from 2026-04-06 to 2026-04-12",
        ),
        (["calendar", "--course=four-and-four", "--patient=p-99"], "the journal in STATE knows no patient 'p-99'"),
        (
            ["calendar", "--course=weekly-ten", "--start=2026-09-01", "--with-patient"],
            "--with-patient writes the id of --patient: give that",
        ),
        (
            ["calendar", "--course=weekly-ten", "--start=2026-09-01", "--out=STATE/none/plan.ics"],
            "STATE/none/plan.ics: No such file or directory; choose another --out",
        ),
        (
            ["calendar", "--course=weekly-ten", "--start=2026-09-01", "--out=STATE"],
            "STATE: Is a directory; choose another --out",
        ),
    ],
)
def test_what_cannot_be_told_is_one_line_and_changes_nothing(
    told: Told, tmp_path: Path, arguments: list[str], line: str
) -> None:
    records = (*treated(1, 0), *treated(0, 1, patient="p-18", course=""))
    told("list", records=records)
    files = contents(tmp_path)
    arguments = [argument.replace("STATE", str(tmp_path)) for argument in arguments]
    code, out, err = told(*arguments, f"--state={tmp_path}")
    assert (code, out) == (1, "")
    (said,) = err.splitlines()
    assert said.startswith(f"mesogun course: {line.replace('STATE', str(tmp_path))}")
    assert contents(tmp_path) == files


def test_a_completed_course_has_nothing_left_to_plan(told: Told, tmp_path: Path) -> None:
    code, _, err = told(
        "calendar",
        "--course=four-and-four",
        "--patient=p-17",
        f"--state={tmp_path}",
        records=tuple(record for number in range(1, 9) for record in treated(number, 7 * number)),
    )
    assert (code, err) == (
        1,
        "mesogun course: course four-and-four is completed for patient 'p-17': plan it with --start YYYY-MM-DD\n",
    )


@pytest.mark.parametrize("out", [".", "/", "/dev/null/plan.ics", "no-such-folder/plan.ics"])
def test_a_place_where_no_file_can_be_is_one_line(told: Told, out: str) -> None:
    code, _, err = told("calendar", "--course=weekly-ten", "--start=2026-09-07", f"--out={out}")
    assert code == 1
    assert err.startswith(f"mesogun course: {out}: ")
    assert err.endswith("choose another --out\n")
    assert err.count("\n") == 1


def test_a_journal_that_is_not_there_is_one_line(told: Told, tmp_path: Path) -> None:
    code, _, err = told("due", "--patient=p-17", f"--state={tmp_path}/none")
    assert (code, len(err.splitlines())) == (1, 1)
    assert f"journal {tmp_path}/none/journal.db: does not exist" in err


def test_a_course_of_a_configuration_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["course", "list", f"--config={tmp_path}/none"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("text", ["2026-13-01", "2026-02-29", "tomorrow", "1.9.2026", "0001-01-01", "1969-12-31", ""])
def test_what_is_no_date_is_wrong_use(told: Told, text: str) -> None:
    code, _, err = told("calendar", "--course=weekly-ten", f"--start={text}")
    assert code == 2
    assert f"argument --start: {text!r}" in err.splitlines()[-1]


def test_a_calendar_is_planned_from_a_day_or_for_a_patient_and_not_both(told: Told) -> None:
    code, _, err = told("calendar", "--course=weekly-ten", "--start=2026-09-01", "--patient=p-17")
    assert (code, "not allowed with argument" in err) == (2, True)
