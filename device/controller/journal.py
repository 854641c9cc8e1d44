"""The journal's one writer: creates the file, checks all of it at start, appends records durably.

Owns the file and its lock; nothing else writes it. Never repairs, skips or shortens what it finds: a damaged journal
does not open, and without a journal nothing arms (invariant I8). Durable means SQLite in WAL mode with
`synchronous=FULL`: `append` returns after the log has been synchronised to the medium. Every call blocks on the disk
(a card can take 100 ms), so the controller calls it from one worker thread, never from its event loop.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from device.core.journal_chain import (
    DEVICE_ID_BYTES,
    TS_MS_MAX,
    Entry,
    Head,
    Row,
    append_entry,
    check_boot_id,
    genesis,
)
from device.core.records import Record
from device.journal_file import (
    APPLICATION_ID,
    BUSY_MS,
    SCHEMA_VERSION,
    TABLES,
    JournalUnavailableError,
    check_layout,
    check_present,
    journal_errors,
    read_entries,
    read_meta,
    verified_entries,
)

APPEND_RECORDS_MAX: Final = 256
"""More than any one event of the controller causes: a magazine's outcome is its shots and a settlement."""

FILE_MODE: Final = 0o640
"""The owner writes; the group (the gateway, the service engineer) reads; SQLite gives its side files the same."""

WAL_BYTES_MAX: Final = 4 * 1024 * 1024
"""What the log is cut back to after a checkpoint, so that a burst does not hold the card's space for good."""

# After one of these SQLite has rolled back cleanly and the next append may succeed. After any other failure only a
# reopened file tells what reached the medium (a failed fsync may have dropped what a second one would then confirm).
_RECOVERABLE_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY})


class JournalWriteError(Exception):
    """Nothing of the records given was written. The controller raises fault 402 and does not arm."""


class Journal:
    """The open journal. Blocking; used by one thread at a time. Close it, or use it in a `with` statement."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: int,
        head: Head,
        *,
        boot_id: str,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        self._head = head
        self._boot_id = boot_id
        self._wall_clock_ms = wall_clock_ms
        self._failure: str | None = None

    @classmethod
    def open(cls, path: Path, *, boot_id: str, wall_clock_ms: Callable[[], int]) -> Self:
        """Open the journal at `path`, or make an empty one there, and check every page and record of it.

        `boot_id` names this start of the console in every record (see `check_boot_id`); `wall_clock_ms` returns
        milliseconds since 1970 and is only recorded. Raises `JournalDamagedError` for anything altered, missing,
        reordered or undecodable; `JournalUnavailableError` when the file or its directory cannot be written or
        another process is the writer; ValueError for a bad `boot_id`.
        """
        check_boot_id(boot_id)
        lock = _take_lock(path)
        try:
            _create_if_absent(path)
            check_present(path)
            connection = _open_writable(path)
        except BaseException:
            os.close(lock)
            raise
        try:
            head = _verify(path, connection)
        except BaseException:
            connection.close()
            os.close(lock)
            raise
        return cls(path, connection, lock, head, boot_id=boot_id, wall_clock_ms=wall_clock_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def head(self) -> Head:
        """The last record's number and hash; number 0 while there is none."""
        return self._head

    def append(self, records: Sequence[Record]) -> tuple[Entry, ...]:
        """Write `records` (0 ... `APPEND_RECORDS_MAX`) in one transaction; they are durable when this returns.

        Raises `JournalWriteError` when the disk is full or fails or the wall clock is absurd: then none of them was
        written, and the chain is as it was. After a full disk a later call may succeed; after any other failure
        every later call fails until the journal is opened again. Raises ValueError, having written nothing, for too
        many records or one that has no exact body.
        """
        if self._failure is not None:
            raise JournalWriteError(f"{self._failure} (an earlier failure; restart the controller)")
        if len(records) > APPEND_RECORDS_MAX:
            raise ValueError(f"{len(records)} records given; at most {APPEND_RECORDS_MAX} are written at once")
        ts_ms = self._wall_clock_ms()
        if not 0 <= ts_ms <= TS_MS_MAX:
            raise JournalWriteError(f"the wall clock reads {ts_ms} ms since 1970; set the computer's clock")
        head = self._head
        entries: list[Entry] = []
        rows: list[Row] = []
        for record in records:
            entry, row = append_entry(head, record, boot_id=self._boot_id, ts_ms=ts_ms)
            entries.append(entry)
            rows.append(row)
            head = entry.head
        if entries:
            self._commit(rows, head)
        self._head = head
        return tuple(entries)

    def entries(self, after: int, limit: int) -> tuple[Entry, ...]:
        """Return up to `limit` (1 ... `ENTRIES_MAX`) entries following record `after`, checked against the chain.

        Raises `JournalDamagedError` or `JournalUnavailableError`.
        """
        with journal_errors(self._path):
            return read_entries(self._connection, after, limit)

    def close(self) -> None:
        """Release the file and its lock. Everything appended is already durable.

        Moves the log into the file first, if readers allow it: a copy of the file alone is then whole.
        """
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        os.close(self._lock)

    def _commit(self, rows: Sequence[Row], head: Head) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)",
                ((row.seq, row.boot_id, row.ts_ms, row.kind, row.body, row.hash) for row in rows),
            )
            moved = connection.execute(
                "UPDATE meta SET head_seq = ?, head_hash = ? WHERE head_seq = ? AND head_hash = ?",
                (head.seq, head.hash, self._head.seq, self._head.hash),
            ).rowcount
            if moved != 1:
                self._failure = f"journal {self._path}: changed by another program while the controller held it"
                raise JournalWriteError(self._failure)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            what = f"journal {self._path}: cannot be written ({error}); free disk space or replace the card"
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _RECOVERABLE_CODES:
                self._failure = what
            raise JournalWriteError(what) from error
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        """End a transaction that did not commit. SQLite itself ends it on a full disk."""
        if not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._failure = f"journal {self._path}: a failed write could not be undone ({error})"


def _take_lock(path: Path) -> int:
    """Return a descriptor that holds the writer's lock until it is closed, or the process ends.

    A file of its own: closing a second descriptor of the database would drop SQLite's own locks on it.
    """
    name = path.with_name(path.name + ".lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        action = "create the state directory and let this user write to it"
        raise JournalUnavailableError(path, f"{name.name} cannot be made ({error.strerror})", action) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise JournalUnavailableError(path, "another process is writing it", "stop that controller first") from error
    return lock


def _create_if_absent(path: Path) -> None:
    """Make an empty journal under another name and give it its own when it is whole.

    So the name never stands for a half-made file, and an empty file under it is always a loss.
    """
    try:
        check_present(path)
    except JournalUnavailableError:
        if os.path.lexists(path):
            raise
    else:
        return
    draft = path.with_name(path.name + ".new")
    try:
        for leftover in (draft, draft.with_name(draft.name + "-journal"), draft.with_name(draft.name + "-wal")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        draft.chmod(FILE_MODE)
        _write_empty(draft)
        _synchronise(draft)
        draft.rename(path)
        _synchronise(path.parent)
    except (OSError, sqlite3.Error) as error:
        action = "check the state directory's permissions and the disk's space"
        raise JournalUnavailableError(path, f"cannot be created ({error})", action) from error


def _write_empty(draft: Path) -> None:
    device_id = os.urandom(DEVICE_ID_BYTES)
    head = genesis(device_id)
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("BEGIN IMMEDIATE")
        for table in TABLES.values():
            connection.execute(table)
        connection.execute("INSERT INTO meta VALUES (1, ?, ?, ?)", (device_id, head.seq, head.hash))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _open_writable(path: Path) -> sqlite3.Connection:
    with journal_errors(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1000,
        )
        try:
            _prepare(path, connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    check_layout(connection, path)
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        action = "put the state directory on a local file system"
        raise JournalUnavailableError(path, f"journal mode is {mode!r}, not 'wal'", action)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    # SQLite opens what it may not write as read-only, and says so only at the first write, not at BEGIN IMMEDIATE.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE meta SET head_seq = head_seq")
    connection.execute("ROLLBACK")


def _verify(path: Path, connection: sqlite3.Connection) -> Head:
    with journal_errors(path):
        head = None
        for entry in verified_entries(connection):
            head = entry.head
        if head is None:
            head = read_meta(connection).genesis
        return head


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
