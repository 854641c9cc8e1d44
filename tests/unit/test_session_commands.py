"""`mesogun session list` and `report` on a journal's file: whole, damaged, missing, asked for what it has not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.core.records import Record, SessionEnded
from device.journal_file import JOURNAL_NAME
from device.service.cli import main
from tests.support.journal import by_sql, journal_of
from tests.support.sessions import BOOTED, STARTED, WHOLE, command, intent, outcome

FIRST = replace(STARTED, session_id="a1b2", before_nl=0)
SECOND = replace(STARTED, session_id="a1c3", patient="p-2", before_nl=0)


def given(session: Any, number: int) -> list[Record]:
    """Return a whole session of one shot."""
    announced = replace(intent(number, 1, shots=1), session_id=session.session_id)
    end = SessionEnded(session.session_id, "stopped", 1, 20_000, session.at_ms + 1)
    return [command("session start"), session, announced, *outcome(announced, WHOLE), end]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with journal_of(tmp_path / JOURNAL_NAME, BOOTED, *given(FIRST, 1), *given(SECOND, 2)):
        pass
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_session_is_reported_by_the_beginning_of_its_id_and_as_the_last(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wanted, session in (("a1b", FIRST), ("last", SECOND), ("a1c3", SECOND)):
        code, out, err = run(capsys, "session", "report", wanted, "--state", state)
        assert (code, err) == (0, "")
        assert out.startswith(f"Session {session.session_id} ")
        assert "whole: all 13 records" in out


def test_the_json_of_a_report_is_one_object(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "session", "report", "last", "--state", state, "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["started"]["session_id"]) == (0, True, "a1c3")
    assert (found["proof"]["first_seq"], found["proof"]["last_seq"]) == (8, 13)
    assert found["volumes"]["booked_nl"] == 20_000


def test_sessions_are_listed_all_or_one_patient_s(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "session", "list", "--state", state)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["session", "a1b2", "a1c3"]
    _, out, _ = run(capsys, "session", "list", "--patient", "p-2", "--json", "--state", state)
    assert [one["session_id"] for one in json.loads(out)["sessions"]] == ["a1c3"]


@pytest.mark.parametrize(("wanted", "words"), [("x", "no session's id begins"), ("a1", "a1b2, a1c3; write more of it")])
def test_what_is_not_one_session_is_one_clear_line(
    state: Path, capsys: pytest.CaptureFixture[str], wanted: str, words: str
) -> None:
    code, out, err = run(capsys, "session", "report", wanted, "--state", state)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert words in err


@pytest.mark.parametrize("asked", [["list"], ["report", "last"]])
def test_a_missing_journal_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    code, out, err = run(capsys, "session", *asked, "--state", tmp_path)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "does not exist" in err


def test_of_a_damaged_journal_what_stands_before_the_damage_is_shown_and_the_exit_code_is_1(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_sql(state / JOURNAL_NAME, "UPDATE record SET body = replace(body, '20000', '19000') WHERE seq = 11")
    code, out, err = run(capsys, "session", "report", "a1b2", "--state", state)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "the journal is DAMAGED at record 11: altered" in err
    assert "booked       20.000 uL in 1 shot;" in out
    assert out.count("!!! ") == 2
    code, out, _ = run(capsys, "session", "report", "a1c3", "--state", state, "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["shots"], found["open_magazine"]) == (1, False, 0, 2)
    code, out, err = run(capsys, "session", "list", "--state", state)
    assert (code, len(out.splitlines())) == (1, 3)
    assert "DAMAGED at record 11" in err
    code, out, err = run(capsys, "session", "report", "zz", "--state", state)
    assert (code, out) == (1, "")
    assert "no session's id begins with 'zz'" in err
    assert "DAMAGED" in err


def test_a_contradiction_is_a_loud_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *records, end = given(FIRST, 1)
    assert isinstance(end, SessionEnded)
    with journal_of(tmp_path / JOURNAL_NAME, BOOTED, *records, replace(end, volume_nl=1)):
        pass
    code, out, err = run(capsys, "session", "report", "last", "--state", tmp_path)
    assert code == 1
    assert "the session's end says 1 shot and 1 nl" in err
    assert "!!! record 7: the session's end says" in out


def test_a_record_is_one_line_and_what_a_terminal_would_obey_is_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with journal_of(tmp_path / JOURNAL_NAME, replace(STARTED, patient="p\x1b[2J\n17")):
        pass
    assert main(["journal", "show", f"--state={tmp_path}"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "patient=p\ufffd[2J\ufffd17 " in line
