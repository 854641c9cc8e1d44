"""The gateway's cursor: durable, and never trusted further than the journal bears it out."""

import logging
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.journal_chain import Head
from device.gateway.live_file import STALE_S, LiveFile
from device.gateway.outbox_cursor import CURSOR_NAME, CursorFile, resume_after
from device.gateway.process import BackOff, GatewaySettings
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from tests.support.gateway import write_live
from tests.support.journal import SESSION, journal_of, shot

HERE = Head(7, bytes(range(32)))


@pytest.fixture
def cursor(tmp_path: Path) -> CursorFile:
    return CursorFile(tmp_path / CURSOR_NAME)


def test_an_absent_cursor_is_none(cursor: CursorFile) -> None:
    assert cursor.load() is None


@given(seq=st.integers(0, 2**63 - 1), digest=st.binary(min_size=32, max_size=32))
def test_what_was_stored_is_loaded(tmp_path_factory: pytest.TempPathFactory, seq: int, digest: bytes) -> None:
    cursor = CursorFile(tmp_path_factory.getbasetemp() / CURSOR_NAME)
    cursor.store(Head(seq, digest))

    assert cursor.load() == Head(seq, digest)


def test_a_store_replaces_the_old_cursor_and_leaves_nothing_else(cursor: CursorFile) -> None:
    cursor.store(HERE)
    cursor.store(Head(8, bytes(32)))

    assert cursor.load() == Head(8, bytes(32))
    assert [found.name for found in cursor.path.parent.iterdir()] == [CURSOR_NAME]


def test_a_store_that_fails_leaves_the_old_cursor(cursor: CursorFile) -> None:
    cursor.store(HERE)
    cursor.path.with_name(CURSOR_NAME + ".new").mkdir()

    with pytest.raises(OSError, match="directory"):
        cursor.store(Head(8, bytes(32)))

    assert cursor.load() == HERE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"{}",
        b'{"version":2,"seq":1,"hash":"' + b"0" * 64 + b'"}',
        b'{"version":1,"seq":-1,"hash":"' + b"0" * 64 + b'"}',
        b'{"version":1,"seq":"1","hash":"' + b"0" * 64 + b'"}',
        b'{"version":1,"seq":1,"hash":"00"}',
        b'{"version":1,"seq":1,"hash":"' + b"0" * 64 + b'","more":1}',
        b" " * 5000 + b'{"version":1,"seq":1,"hash":"' + b"0" * 64 + b'"}',
    ],
)
def test_a_damaged_cursor_is_none_and_said(
    cursor: CursorFile, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    cursor.path.write_bytes(content)

    assert cursor.load() is None
    assert "damaged; every record is published again, which is harmless" in caplog.text


def test_a_cursor_of_this_journal_is_gone_on_from(tmp_path: Path) -> None:
    with journal_of(tmp_path / JOURNAL_NAME, *SESSION) as journal:
        third = journal.entries(2, 1)[0].head
        with JournalReader.open(tmp_path / JOURNAL_NAME) as reader:
            assert resume_after(third, reader) == 3
            assert resume_after(journal.head, reader) == len(SESSION)
            assert resume_after(None, reader) == 0


def test_a_cursor_ahead_of_the_journal_or_of_another_one_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with journal_of(tmp_path / "other.db", *SESSION) as other:
        ahead = other.head
        within = other.entries(0, 1)[0].head
    with journal_of(tmp_path / JOURNAL_NAME, shot(1)), JournalReader.open(tmp_path / JOURNAL_NAME) as reader:
        assert resume_after(ahead, reader) == 0
        assert resume_after(within, reader) == 0

    assert caplog.text.count("is not this journal's; every record is published again") == 2


# The waits between attempts.


@given(st.integers())
def test_waits_grow_to_their_bound_with_jitter_and_begin_again(seed: int) -> None:
    back_off = BackOff(Random(seed))
    bounds = [2, 4, 8, 16, 32, 60, 60, 60]

    waits = [back_off.next_s() for _ in bounds]

    assert all(1 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len(set(waits)) > 1
    back_off.reset()
    assert 1 <= back_off.next_s() <= 2


@pytest.mark.parametrize("wrong", [{"site": "a/b"}, {"device": ""}, {"port": 0}, {"port": 65_536}, {"keepalive_s": 0}])
def test_settings_that_make_no_connection_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    right: dict[str, object] = {
        "site": "clinic",
        "device": "console-1",
        "host": "localhost",
        "port": 1883,
        "username": "",
        "password": "never shown",
        "state_dir": tmp_path,
        "runtime_dir": tmp_path,
        "keepalive_s": 15,
    }
    assert "never shown" not in repr(GatewaySettings(**right))  # type: ignore[arg-type] # a table of mixed types

    with pytest.raises(ValueError, match=f"{next(iter(wrong))} .* (must be|outside)"):
        GatewaySettings(**right | wrong)  # type: ignore[arg-type] # as above


# The live values.


def shots_after_a_look(live: LiveFile, *, now_s: float, wall_s: float) -> int | None:
    live.look(now_s=now_s, wall_s=wall_s)
    return None if live.values is None else live.values.shots


def test_live_values_that_stop_changing_become_none(tmp_path: Path) -> None:
    write_live(tmp_path)
    live = LiveFile(tmp_path / "live.json")
    wall_s = live.path.stat().st_mtime

    assert shots_after_a_look(live, now_s=100.0, wall_s=wall_s) == 3
    assert shots_after_a_look(live, now_s=100.0 + STALE_S, wall_s=wall_s) == 3
    assert shots_after_a_look(live, now_s=100.1 + STALE_S, wall_s=wall_s) is None
    write_live(tmp_path, shots=4)
    assert shots_after_a_look(live, now_s=130.0, wall_s=wall_s) == 4
    live.path.unlink()
    assert shots_after_a_look(live, now_s=130.2, wall_s=wall_s) is None
    assert live.changes == 2


def test_live_values_left_by_an_earlier_boot_are_none(tmp_path: Path) -> None:
    write_live(tmp_path)
    live = LiveFile(tmp_path / "live.json")

    live.look(now_s=5.0, wall_s=live.path.stat().st_mtime + STALE_S + 1)

    assert live.values is None


def test_damaged_live_values_are_skipped_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_live(tmp_path)
    live = LiveFile(tmp_path / "live.json")
    live.look(now_s=0.0, wall_s=0.0)
    for damaged in ('{"shots": ', '{"shots": "three"}'):
        live.path.write_text(damaged)
        live.look(now_s=1.0, wall_s=0.0)

    assert live.values is not None
    assert live.changes == 1
    assert caplog.text.count("skipped") == 1


def test_further_fields_of_live_values_are_let_pass(tmp_path: Path) -> None:
    write_live(tmp_path, battery_percent=80)
    live = LiveFile(tmp_path / "live.json")

    live.look(now_s=0.0, wall_s=0.0)

    assert live.values is not None
