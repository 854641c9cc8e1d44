"""A course on the whole console: its sessions by the command line, refused and overridden, told and planned."""

import json
from pathlib import Path

import pytest

from device.core.records import CommandTaken, LimitOverridden, SessionStarted
from tests.support.console_processes import mesogun, quick_configuration, simulated_console
from tests.support.settings import Draft

START = ("session", "start", "--profile=continuous", "--serum=saline", "--syringe=1ml", "--regions=front:40")
COURSE = ("--patient=p-17", "--course=weekly-ten")


def test_a_second_session_on_the_same_day_needs_a_physicians_word(tmp_path: Path) -> None:
    draft = quick_configuration(tmp_path / "config")
    calendar = tmp_path / "rest.ics"
    with simulated_console(tmp_path / "state", draft.directory) as console:
        console.start()
        console.ask("home", plunger=True, patient_detached=True)
        console.calibrate()
        first = console.cli(*START, *COURSE)
        assert (first.code, first.err) == (0, "")
        assert "(weekly-ten, session 1 of 10) started; next: mesogun session check, mesogun prime" in first.out
        assert "course     weekly-ten, session 1 of 10" in console.cli("status").out.splitlines()
        console.prime()
        assert any("check-list" in reason for reason in console.refused("arm"))
        checked = console.cli("session", "check", *console.status()["checklist_open"].split(","), "--by=a nurse")
        assert (checked.code, checked.err) == (0, "")
        console.ask("arm")
        console.shoot(1)
        console.ask("disarm")
        console.until_settled()
        console.ask("session_stop")

        refused = console.cli(*START, *COURSE)
        assert refused.code == 1
        assert "session 2 of 10 of course weekly-ten would be too early: " in refused.only_line()
        assert console.state_name == "disarmed"
        assert not console.records(CommandTaken)[-1].accepted

        begun = console.cli(*START, *COURSE, "--override=the patient travels", "--by=a physician")
        assert (begun.code, begun.err) == (0, "")
        (overridden,) = console.records(LimitOverridden)
        assert (overridden.limit, overridden.reason, overridden.by) == (
            "course_early",
            "the patient travels",
            "a physician",
        )
        assert [record.course_session for record in console.records(SessionStarted)] == [1, 2]

        # Killed in the middle of the session: it goes on as the second of its course.
        console.controller.kill()
        console.controller.wait()
        console.start()
        assert (console.status()["course"], console.status()["course_session"]) == ("weekly-ten", 2)

        config = f"--config={draft.directory}"
        due = console.cli("course", "due", "--patient=p-17", "--json", config)
        (found,) = json.loads(due.out)["courses"]
        assert (found["session"], found["session_open"], len(found["given"])) == (2, True, 1)
        planned = console.cli(
            "course", "calendar", "--patient=p-17", "--course=weekly-ten", f"--out={calendar}", config
        )
        assert (planned.code, planned.err) == (0, "")
        assert calendar.read_bytes().count(b"BEGIN:VEVENT\r\n") == 9


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "least_days = 7",
            "least_days = 9",
            "least_days must be at most target_days, and target_days at most greatest",
        ),
        ("target_days = 7", "target_weeks = 1", "target_weeks: found an unknown key; the nearest key is target_days"),
        ("sessions = 10", "sessions = 0", "sessions: found 0; allowed is a whole number, 1 to 60"),
    ],
)
def test_a_wrong_course_is_one_line_for_the_check_and_for_the_start(
    old: str, new: str, line: str, tmp_path: Path
) -> None:
    draft = Draft(tmp_path / "config")
    draft.replace("formulary/courses/weekly-ten.toml", old, new)
    for command in (["config", "check"], ["run", "--sim", f"--state={tmp_path / 'state'}"], ["course", "list"]):
        done = mesogun(*command, f"--config={draft.directory}")
        assert done.code == 1
        assert line in done.only_line()
    assert not (tmp_path / "state").exists()
