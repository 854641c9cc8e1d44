"""The journal's file: what is appended is read back; what was damaged does not open, and says where."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.controller.journal import APPEND_RECORDS_MAX, Journal, JournalWriteError
from device.core.journal_chain import TS_MS_MAX, Entry
from device.core.records import FaultsCleared, Record
from device.journal_file import (
    APPLICATION_ID,
    ENTRIES_MAX,
    JOURNAL_NAME,
    JournalDamagedError,
    JournalUnavailableError,
)
from device.journal_reader import JournalReader, Verification, utc_text
from tests.support.journal import (
    BOOT_ID,
    BOOTED,
    ENDED,
    REPOSITORY,
    SESSION,
    SHOT,
    by_sql,
    journal_of,
    open_journal,
    records,
    shot,
    wall_clock_ms,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / JOURNAL_NAME


def all_entries(path: Path) -> tuple[Entry, ...]:
    with JournalReader.open(path) as reader:
        return reader.entries(0, ENTRIES_MAX)


def damage_of(path: Path) -> JournalDamagedError:
    """Return the damage that both the writer and the reader see."""
    with pytest.raises(JournalDamagedError) as damage:
        open_journal(path).close()
    assert reader_s_finding(path) == (damage.value.seq, damage.value.what)
    return damage.value


def reader_s_finding(path: Path) -> tuple[int | None, str]:
    try:
        with JournalReader.open(path) as reader:
            seen = reader.verify()
    except JournalDamagedError as error:
        return error.seq, error.what
    return seen.first_bad_seq, seen.what


# What is written is there.


def test_a_new_journal_is_empty_and_its_owner_s_group_may_read_it(path: Path) -> None:
    with open_journal(path) as journal:
        assert journal.head.seq == 0
        assert journal.entries(0, 10) == ()

    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(found.name for found in path.parent.iterdir()) == [JOURNAL_NAME, f"{JOURNAL_NAME}.lock"]


@settings(max_examples=30)
@given(st.lists(st.lists(records(), max_size=4), max_size=4))
def test_what_is_appended_is_there_after_reopening_in_order(batches: list[list[Record]]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / JOURNAL_NAME
        with open_journal(path) as journal:
            appended = [entry for batch in batches for entry in journal.append(batch)]
        with open_journal(path) as journal:
            found = journal.entries(0, ENTRIES_MAX)
            assert list(found) == appended
            assert [entry.record() for entry in found] == [record for batch in batches for record in batch]
            assert journal.head.seq == len(appended)


def test_numbers_go_on_over_a_restart_and_each_record_tells_its_boot(path: Path) -> None:
    for boot_id in ("boot-a", "boot-b"):
        with Journal.open(path, boot_id=boot_id, wall_clock_ms=wall_clock_ms) as journal:
            journal.append([BOOTED, SHOT])

    assert [(entry.seq, entry.boot_id) for entry in all_entries(path)] == [
        (1, "boot-a"),
        (2, "boot-a"),
        (3, "boot-b"),
        (4, "boot-b"),
    ]


def test_entries_come_in_pages(path: Path) -> None:
    with journal_of(path, *SESSION) as journal:
        assert [entry.seq for entry in journal.entries(2, 3)] == [3, 4, 5]
        assert [entry.seq for entry in journal.entries(5, 3)] == [6, 7]
        assert journal.entries(7, 3) == journal.entries(99, 3) == ()


@pytest.mark.parametrize(("after", "limit"), [(-1, 1), (0, 0), (0, ENTRIES_MAX + 1)])
def test_an_unbounded_page_is_refused(path: Path, after: int, limit: int) -> None:
    with journal_of(path, SHOT) as journal, pytest.raises(ValueError, match="allowed are"):
        journal.entries(after, limit)


def test_a_clock_that_jumps_back_changes_no_order(path: Path) -> None:
    times = iter([5_000, 1_000, 0])
    with Journal.open(path, boot_id=BOOT_ID, wall_clock_ms=lambda: next(times)) as journal:
        for number in (1, 2, 3):
            journal.append([shot(number)])

    assert [(entry.seq, entry.ts_ms) for entry in all_entries(path)] == [(1, 5_000), (2, 1_000), (3, 0)]
    open_journal(path).close()


@pytest.mark.parametrize("absurd", [-1, TS_MS_MAX + 1])
def test_an_absurd_clock_writes_nothing(path: Path, absurd: int) -> None:
    times = iter([absurd, 7])
    with Journal.open(path, boot_id=BOOT_ID, wall_clock_ms=lambda: next(times)) as journal:
        with pytest.raises(JournalWriteError, match="set the computer's clock"):
            journal.append([SHOT])
        assert [entry.seq for entry in journal.append([SHOT])] == [1]


def test_nothing_appended_is_nothing_written(path: Path) -> None:
    with open_journal(path) as journal:
        before = journal.head
        assert journal.append([]) == ()
        assert journal.head == before


def test_too_many_records_at_once_are_refused_whole(path: Path) -> None:
    with open_journal(path) as journal:
        with pytest.raises(ValueError, match=f"at most {APPEND_RECORDS_MAX}"):
            journal.append([SHOT] * (APPEND_RECORDS_MAX + 1))
        assert journal.head.seq == 0


def test_one_unwritable_record_keeps_the_others_out(path: Path) -> None:
    with open_journal(path) as journal:
        with pytest.raises(ValueError, match="faults_cleared"):
            journal.append([SHOT, FaultsCleared(codes=[101] * 20_000, uid=0)])
        assert journal.append([ENDED])[0].seq == 1


def test_the_journal_may_be_used_from_a_worker_thread(path: Path) -> None:
    with open_journal(path) as journal:
        worker = threading.Thread(target=journal.append, args=([SHOT],))
        worker.start()
        worker.join()
        assert journal.head.seq == 1


# One writer.


def test_a_second_writer_is_refused(path: Path) -> None:
    with open_journal(path), pytest.raises(JournalUnavailableError, match="another process is writing it"):
        open_journal(path)


def test_a_journal_changed_by_another_program_takes_nothing_more(path: Path) -> None:
    with journal_of(path, SHOT) as journal:
        by_sql(path, "UPDATE meta SET head_seq = 0")
        for _ in range(2):
            with pytest.raises(JournalWriteError, match="changed by another program"):
                journal.append([SHOT])


def test_a_journal_locked_for_a_moment_can_be_written_afterwards(path: Path) -> None:
    with journal_of(path, SHOT) as journal:
        journal._connection.execute("PRAGMA busy_timeout = 0")
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalWriteError, match="locked"):
            journal.append([SHOT])
        blocker.close()
        assert journal.append([SHOT])[0].seq == 2


# Damage: the record is named where it can be.


@pytest.mark.parametrize(
    ("statement", "seq", "what"),
    [
        ("UPDATE record SET body = replace(body, '19999', '29999') WHERE seq = 4", 4, "altered"),
        ("UPDATE record SET ts_ms = ts_ms + 1 WHERE seq = 2", 2, "altered"),
        ("UPDATE record SET kind = 'refilled' WHERE seq = 4", 4, "altered"),
        ("UPDATE record SET boot_id = 'other' WHERE seq = 1", 1, "altered"),
        ("UPDATE record SET hash = zeroblob(32) WHERE seq = 3", 3, "altered"),
        ("UPDATE record SET body = 'nonsense' WHERE seq = 3", 3, "altered"),
        ("DELETE FROM record WHERE seq = 3", 3, "missing: the next record in the file is 4"),
        ("DELETE FROM record WHERE seq = 1", 1, "missing"),
        ("DELETE FROM record WHERE seq = 7", 7, "missing: the journal went up to record 7"),
        ("DELETE FROM record", 1, "missing: the journal went up to record 7"),
        ("UPDATE meta SET head_seq = 6", 7, "not the head"),
        ("UPDATE meta SET head_hash = zeroblob(32)", 7, "not the head"),
        ("UPDATE meta SET head_seq = -1", 0, "undecodable"),
        ("UPDATE meta SET device_id = zeroblob(16)", 1, "altered"),
        ("DELETE FROM meta", 0, "`meta` has 0 rows"),
        ("DROP TABLE record", None, "tables"),
        ("CREATE TABLE other (x)", None, "tables"),
        ("PRAGMA application_id = 7", None, f"application_id is 0x7, a journal's is {APPLICATION_ID:#x}"),
        ("PRAGMA user_version = 2", None, "version 2 found; this software reads version 1"),
    ],
)
def test_what_was_altered_by_sql_is_refused(path: Path, statement: str, seq: int | None, what: str) -> None:
    with journal_of(path, *SESSION):
        pass
    by_sql(path, statement)

    damage = damage_of(path)

    assert damage.seq == seq
    assert what in damage.what
    place = f"journal {path}" if seq is None else f"journal {path}, record {seq}"
    assert str(damage).startswith(f"{place}: {damage.what}; keep the file")
    assert "\n" not in str(damage)


def test_two_records_that_changed_places_are_refused(path: Path) -> None:
    with journal_of(path, *SESSION):
        pass
    by_sql(
        path,
        "UPDATE record SET seq = 100 WHERE seq = 3",
        "UPDATE record SET seq = 3 WHERE seq = 4",
        "UPDATE record SET seq = 4 WHERE seq = 100",
    )

    assert damage_of(path).seq == 3


@pytest.mark.parametrize(
    ("found", "seq"),
    [(b'"region":"crown","session_id":"s-0001","shot":1', 4), (b"session_ended", 7), (b"Ada Example", 2)],
)
def test_a_byte_changed_in_a_record_is_refused_with_its_number(path: Path, found: bytes, seq: int) -> None:
    with journal_of(path, *SESSION):
        pass
    content = bytearray(path.read_bytes())
    content[content.index(found) + 2] ^= 0x01
    path.write_bytes(content)

    assert damage_of(path).seq == seq


def test_text_that_is_no_longer_utf_8_is_refused_with_its_record(path: Path) -> None:
    with journal_of(path, *SESSION):
        pass
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Ada Example", b"Ada \xff\xfeample"))

    damage = damage_of(path)

    assert damage.seq == 2
    assert damage.what.startswith("unreadable")


@pytest.fixture(scope="module")
def sealed() -> bytes:
    """Return the bytes of a closed journal of some pages."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / JOURNAL_NAME
        with open_journal(path) as journal:
            for number in range(1, 31):
                journal.append([shot(number)])
        return path.read_bytes()


@settings(max_examples=120)
@given(data=st.data(), bit=st.integers(0, 7))
def test_a_changed_bit_anywhere_is_refused_or_changes_no_record(sealed: bytes, data: st.DataObject, bit: int) -> None:
    at = data.draw(st.one_of(st.integers(0, 120), st.integers(0, len(sealed) - 1)))
    content = bytearray(sealed)
    content[at] ^= 1 << bit
    with TemporaryDirectory() as directory:
        path = Path(directory) / JOURNAL_NAME
        path.write_bytes(content)
        with suppress(JournalDamagedError, JournalUnavailableError), open_journal(path) as journal:
            found = journal.entries(0, ENTRIES_MAX)
            assert [entry.record() for entry in found] == [shot(number) for number in range(1, 31)]


def test_a_damaged_schema_that_sqlite_quotes_in_words_that_are_no_text_is_refused(path: Path, sealed: bytes) -> None:
    # The error that Python makes of such words is none of SQLite's, and once was taken for a mistake of the program.
    damaged = sealed.replace(b"hash BLOB NOT NULL", b"hash BLO\xc2 NOT NULL")
    assert damaged != sealed
    path.write_bytes(damaged)

    assert "damaged" in damage_of(path).what


@pytest.mark.parametrize("kept", [1, 99, 100, 4096, 8192, -4096, -1])
def test_a_truncated_file_is_refused(path: Path, sealed: bytes, kept: int) -> None:
    path.write_bytes(sealed[:kept])

    damage_of(path)


def test_an_emptied_file_is_refused(path: Path) -> None:
    path.touch()

    assert "the file is empty" in damage_of(path).what
    assert path.stat().st_size == 0


@pytest.mark.parametrize("leftover", ["-wal", "-shm", "-journal"])
def test_a_file_that_is_gone_while_its_side_file_is_left_is_no_new_journal(path: Path, leftover: str) -> None:
    path.with_name(path.name + leftover).touch()

    assert f"{JOURNAL_NAME}{leftover} is still there" in damage_of(path).what
    assert not path.exists()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("seq,boot_id\n" * 1000)

    assert "not a database" in damage_of(path).what


def test_an_interrupted_creation_is_begun_anew(path: Path) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(b"half")
    draft.with_name(draft.name + "-journal").write_bytes(b"half")

    with journal_of(path, SHOT):
        pass

    assert len(all_entries(path)) == 1
    assert not draft.exists()


# Unavailable: the medium and the permissions.


def test_a_directory_in_the_journal_s_place_is_refused(path: Path) -> None:
    path.mkdir()

    with pytest.raises(JournalUnavailableError, match="is not a file"):
        open_journal(path)


def test_a_missing_state_directory_is_refused(path: Path) -> None:
    with pytest.raises(JournalUnavailableError, match=r"No such file or directory.*create the state directory"):
        open_journal(path.parent / "absent" / JOURNAL_NAME)


READ_AS_NOBODY = """
import sys
from pathlib import Path
from device.journal_file import JournalUnavailableError
from device.journal_reader import JournalReader
from tests.support.journal import become_nobody
become_nobody()
try:
    reader = JournalReader.open(Path(sys.argv[1]))
    for line in sys.stdin:
        print(len(reader.entries(0, 100)), flush=True)
except JournalUnavailableError as error:
    print(error, flush=True)
"""

WRITE_AS_NOBODY = """
import sys
from pathlib import Path
from device.controller.journal import Journal
from device.journal_file import JournalUnavailableError
from tests.support.journal import become_nobody
become_nobody()
try:
    Journal.open(Path(sys.argv[1]), boot_id="b", wall_clock_ms=lambda: 0)
except JournalUnavailableError as error:
    print(error, flush=True)
"""


@pytest.fixture
def shut() -> TemporaryDirectory[str]:
    """Return a directory that other users reach (pytest's own are the user's alone)."""
    return TemporaryDirectory(dir="/tmp")


def as_nobody(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def ask(reader: subprocess.Popen[str]) -> str:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    return reader.stdout.readline().strip()


def test_a_reader_without_the_right_to_write_reads_a_closed_journal_and_follows_when_it_is_opened(
    shut: TemporaryDirectory[str],
) -> None:
    with shut as directory:
        path = Path(directory) / JOURNAL_NAME
        with journal_of(path, *SESSION):
            pass
        path.chmod(0o644)
        path.parent.chmod(0o555)
        with as_nobody(READ_AS_NOBODY, path) as reader:
            assert ask(reader) == "7"
            path.parent.chmod(0o755)
            with journal_of(path, SHOT):
                assert ask(reader) == "8"
            assert ask(reader) == "8"
            reader.communicate(timeout=10)


def test_a_reader_without_the_right_to_write_sees_what_was_written_while_it_did_not_look(
    shut: TemporaryDirectory[str],
) -> None:
    with shut as directory:
        path = Path(directory) / JOURNAL_NAME
        with journal_of(path, *SESSION):
            pass
        path.chmod(0o644)
        path.parent.chmod(0o555)
        with as_nobody(READ_AS_NOBODY, path) as reader:
            assert ask(reader) == "7"
            path.parent.chmod(0o755)
            # Opened and closed again: neither log nor index is left to tell of it.
            with journal_of(path, SHOT):
                pass
            path.parent.chmod(0o555)
            assert ask(reader) == "8"
            reader.communicate(timeout=10)
        path.parent.chmod(0o755)


def test_a_reader_without_any_right_is_told_so(shut: TemporaryDirectory[str]) -> None:
    with shut as directory:
        path = Path(directory) / JOURNAL_NAME
        with journal_of(path, *SESSION):
            pass
        path.chmod(0o000)
        path.parent.chmod(0o755)
        with as_nobody(READ_AS_NOBODY, path) as reader:
            said, _ = reader.communicate(timeout=10)

    assert "unable to open database file" in said
    assert "check the permissions" in said


@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o444, 0o777), (0o666, 0o555)])
def test_a_writer_without_the_right_to_write_is_told_so(
    shut: TemporaryDirectory[str], file_mode: int, directory_mode: int
) -> None:
    with shut as directory:
        path = Path(directory) / JOURNAL_NAME
        with journal_of(path, *SESSION):
            pass
        path.with_name(path.name + ".lock").chmod(0o666)
        path.chmod(file_mode)
        path.parent.chmod(directory_mode)
        with as_nobody(WRITE_AS_NOBODY, path) as writer:
            said, _ = writer.communicate(timeout=10)
        path.parent.chmod(0o755)

    assert said.startswith(f"journal {path}: cannot be used")
    assert said.count("\n") == 1


# The reader.


def test_a_reader_sees_what_a_live_writer_appends(path: Path) -> None:
    with open_journal(path) as journal, JournalReader.open(path) as reader:
        for number in range(1, 4):
            journal.append([shot(number)])
            assert reader.head() == journal.head
            assert [entry.record() for entry in reader.entries(0, 10)] == [shot(n) for n in range(1, number + 1)]


def test_a_reader_cannot_write(path: Path) -> None:
    with journal_of(path, SHOT), JournalReader.open(path) as reader:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM record")
        assert reader.verify() == Verification(ok=True, records=1, first_bad_seq=None, what="")


def test_a_reader_returns_no_altered_record(path: Path) -> None:
    with journal_of(path, *SESSION):
        pass
    by_sql(path, "UPDATE record SET body = replace(body, '19999', '29999') WHERE seq = 4")

    with JournalReader.open(path) as reader:
        assert len(reader.entries(0, 3)) == 3
        assert len(reader.entries(4, 3)) == 3
        with pytest.raises(JournalDamagedError, match="record 4: altered"):
            reader.entries(3, 1)


def test_a_reader_notices_a_tail_that_was_cut_off(path: Path) -> None:
    with journal_of(path, *SESSION):
        pass
    by_sql(path, "DELETE FROM record WHERE seq >= 6")

    with JournalReader.open(path) as reader:
        assert len(reader.entries(0, 5)) == 5
        with pytest.raises(JournalDamagedError, match="record 6: missing: the journal went up to record 7"):
            reader.entries(3, 5)
        with pytest.raises(JournalDamagedError, match="record 6: missing"):
            reader.entries(5, 5)


def test_a_missing_journal_is_told_as_missing(path: Path) -> None:
    with pytest.raises(JournalUnavailableError, match=r"does not exist; check the state directory's name"):
        JournalReader.open(path)


def test_the_hash_at_a_record_is_that_of_its_entry(path: Path) -> None:
    with journal_of(path, *SESSION) as journal, JournalReader.open(path) as reader:
        assert reader.hash_at(7) == journal.head.hash
        assert reader.hash_at(3) == journal.entries(2, 1)[0].hash
        assert reader.hash_at(8) is None
        assert reader.hash_at(0) is not None


def test_the_export_has_every_record_in_order(path: Path) -> None:
    with journal_of(path, *SESSION), JournalReader.open(path) as reader:
        lines = list(reader.export("jsonl"))
        table = list(reader.export("csv"))

    assert len(lines) == len(SESSION)
    assert lines[3].startswith('{"body":{"booked_nl":19999,')
    assert '"seq":4,"ts":"2026-03-04T05:06:07.089Z","ts_ms":1772600767089}' in lines[3]
    assert table[0] == "seq,ts,ts_ms,boot_id,kind,body,hash"
    assert table[7].startswith(f"7,2026-03-04T05:06:07.089Z,1772600767089,{BOOT_ID},session_ended,")
    assert len(table) == len(SESSION) + 1


@pytest.mark.parametrize(
    ("ts_ms", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (TS_MS_MAX, "9999-12-31T23:59:59.999Z")],
)
def test_times_are_told_in_utc_with_milliseconds(ts_ms: int, text: str) -> None:
    assert utc_text(ts_ms) == text
