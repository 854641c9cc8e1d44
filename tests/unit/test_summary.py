"""A session's signed summary: written of what the journal proves, and checked against the console's key."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.controller.live import ended_session
from device.core.ledger import Ledger, apply
from device.core.records import ConsoleKeyMade, Record, SessionEnded
from device.journal_file import JOURNAL_NAME
from device.service.cli import main
from device.settings import ConfigurationError
from device.settings.console_key import KEY_NAME, digest_of, public_half, read_key, read_or_make_key
from tests.support.journal import journal_of
from tests.support.machine import CHECKLIST, DISARMED, SESSION, START_SESSION, after
from tests.support.sessions import BOOTED, STARTED, WHOLE, command, intent, outcome

SESSION_ID = "a1b2"


def given(*, ended: bool = True, shots: int = 1) -> list[Record]:
    """Return a session of one shot; its end says `shots`."""
    started = replace(STARTED, session_id=SESSION_ID, before_nl=0)
    announced = replace(intent(1, 1, shots=1), session_id=SESSION_ID)
    end = [SessionEnded(SESSION_ID, "stopped", shots, 20_000, started.at_ms + 1)] if ended else []
    return [command("session start"), started, announced, *outcome(announced, WHOLE), *end]


def state_with(place: Path, *records: Record) -> Path:
    place.mkdir()
    public = public_half(read_or_make_key(place / KEY_NAME))
    with journal_of(place / JOURNAL_NAME, BOOTED, ConsoleKeyMade(public, digest_of(public)), *records):
        pass
    return place


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return state_with(tmp_path / "state", *given())


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["session", *(str(argument) for argument in arguments)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture
def written(state: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A summary, beside its signature."""
    out = state / "out"
    code, _, err = run(capsys, "summary", "last", "--state", state, "--out", out)
    assert (code, err) == (0, "")
    return out / f"{SESSION_ID}.json"


def test_a_summary_is_the_report_and_is_good_by_the_journals_key(
    state: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = json.loads(written.read_text())
    assert (found["ok"], found["started"]["session_id"], found["volumes"]["booked_nl"]) == (True, SESSION_ID, 20_000)
    digest = digest_of(public_half(read_key(state / KEY_NAME)))
    assert found["signed_with"]["sha256"] == digest
    code, out, _ = run(capsys, "verify-summary", written, "--state", state)
    assert (code, out) == (0, f"session {SESSION_ID}: as it was signed, by the console's key of record 2, {digest}\n")


def test_an_auditor_elsewhere_names_the_key(state: Path, written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = public_half(read_key(state / KEY_NAME))
    code, out, _ = run(capsys, "verify-summary", written, "--public-key", public)
    assert code == 0
    assert "by the key that was named" in out
    code, _, err = run(capsys, "verify-summary", written, "--public-key", public_half(b"x" * 32))
    assert code == 1
    assert "which is no key of this console" in err


@pytest.mark.parametrize(("old", "new"), [('"booked_nl": 20000', '"booked_nl": 10000'), ("}", "} ")])
def test_a_summary_in_which_one_sign_was_changed_is_none(
    old: str, new: str, state: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = written.read_text()
    assert old in text
    written.write_text(text.replace(old, new, 1))
    code, _, err = run(capsys, "verify-summary", written, "--state", state)
    assert code == 1
    assert "was altered since it was signed" in err


def test_another_consoles_summary_is_not_taken_for_this_ones(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = state_with(tmp_path / "other", *given())
    code, _, err = run(capsys, "verify-summary", written, "--state", other)
    assert code == 1
    assert "which is no key of this console" in err


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (given(ended=False), "session a1b2 has not ended: `mesogun session stop` first"),
        (given(shots=2), "nothing that the journal does not prove is signed"),
    ],
)
def test_only_an_ended_session_that_the_journal_proves_is_signed(
    records: list[Record], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = state_with(tmp_path / "state", *records)
    code, _, err = run(capsys, "summary", "last", "--state", place, "--out", place / "out")
    assert code == 1
    assert said in err
    assert not (place / "out").exists()


def test_a_missing_key_file_or_signature_is_one_line(
    state: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / KEY_NAME).unlink()
    code, _, err = run(capsys, "summary", "last", "--state", state, "--out", state / "out")
    assert code == 1
    assert "console.key" in err
    assert "sudo -u mesogun" in err
    written.with_name(f"{written.name}.sig").unlink()
    code, _, err = run(capsys, "verify-summary", written, "--state", state)
    assert code == 1
    assert len(err.splitlines()) == 1
    code, _, err = run(capsys, "verify-summary", written.with_name("none.json"), "--state", state)
    assert (code, len(err.splitlines())) == (1, 1)


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / KEY_NAME
    seed = read_or_make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_key(path) == seed
    path.write_text('private_key = "short"\n')
    with pytest.raises(ConfigurationError, match="32 bytes in base64"):
        read_or_make_key(path)
    assert path.read_text() == 'private_key = "short"\n'


def test_the_ledger_knows_the_key_that_was_told_last() -> None:
    ledger = apply(apply(Ledger(), ConsoleKeyMade("a", "1")), ConsoleKeyMade("b", "2"))
    assert ledger.console_key == "b"


def test_the_end_tells_totals_and_aftercare() -> None:
    listed = after(DISARMED, replace(START_SESSION, checklist=CHECKLIST))
    assert ended_session(listed) == {
        "session_id": "s-1",
        "shots": 0,
        "volume_nl": 0,
        "primed_nl": 0,
        "aftercare": ["Do not wash the hair."],
    }
    assert ended_session(SESSION)["aftercare"] == []
    assert ended_session(DISARMED) == {}
