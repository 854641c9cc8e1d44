"""The journal's file: its layout in SQLite, its check, and the two errors a person meets.

Owns the schema and what makes a file a journal, for the writer (`device.controller.journal`) and the reader
(`device.journal_reader`) alike. Opens no file and changes none: it works on a connection that it is given. What it
returns has been checked against the chain, record by record.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.core.journal_chain import (
    DEVICE_ID_BYTES,
    HASH_BYTES,
    ChainBrokenError,
    Entry,
    Head,
    Row,
    check_rows,
    genesis,
)

JOURNAL_NAME: Final = "journal.db"
"""The journal's file name in the state directory."""

APPLICATION_ID: Final = 0x4D474A31
"""SQLite's application_id of a journal: "MGJ1"."""

SCHEMA_VERSION: Final = 1
"""SQLite's user_version; also counted up when the chain's format changes."""

TABLES: Final = {
    "meta": (
        "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), device_id BLOB NOT NULL,"
        " head_seq INTEGER NOT NULL, head_hash BLOB NOT NULL) STRICT"
    ),
    "record": (
        "CREATE TABLE record (seq INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, ts_ms INTEGER NOT NULL,"
        " kind TEXT NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL) STRICT"
    ),
}
"""`meta` holds the head beside the records, written in the same transaction: a tail cut off is seen."""

SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; any of them without the database means that the database was lost."""

BUSY_MS: Final = 2_000
"""How long a statement waits for another process's lock. Readers and the writer hold one for milliseconds."""

ENTRIES_MAX: Final = 1_000
"""The most entries of one call: some 0.5 MB of memory and 30 ms of work here."""

DAMAGE_ACTION: Final = "keep the file as it is, run `mesogun journal verify`, call service"

_COLUMNS: Final = (("seq", int), ("boot_id", str), ("ts_ms", int), ("kind", str), ("body", str), ("hash", bytes))
_SELECT: Final = "SELECT seq, boot_id, ts_ms, kind, body, hash FROM record"

# The primary result codes (sqlite.org/rescode.html) that speak of access and not of content.
_UNAVAILABLE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_AUTH,
    }
)


class JournalDamagedError(Exception):
    """The file holds something else than what was written; `seq` is the first record affected, None if unknown."""

    def __init__(self, path: Path, seq: int | None, what: str) -> None:
        place = f"journal {path}" if seq is None else f"journal {path}, record {seq}"
        super().__init__(f"{place}: {what}; {DAMAGE_ACTION}")
        self.path = path
        self.seq = seq
        self.what = what


class JournalUnavailableError(Exception):
    """The file cannot be reached (missing, not permitted, locked, medium failing); says what to do."""

    def __init__(self, path: Path, what: str, action: str) -> None:
        super().__init__(f"journal {path}: {what}; {action}")
        self.path = path
        self.what = what


@dataclass(frozen=True, slots=True)
class Meta:
    """The one row of `meta`: the empty chain's head and the chain's head now."""

    genesis: Head
    head: Head


def check_present(path: Path) -> None:
    """Raise unless `path` is a file with content: `JournalUnavailableError`, or `JournalDamagedError` for one that
    was emptied or is gone while what SQLite keeps beside it is still there.
    """
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        action = "give this user access to the state directory"
        raise JournalUnavailableError(path, f"cannot be read ({error.strerror})", action) from error
    if size == 0:
        raise JournalDamagedError(path, None, "the file is empty; a journal is never empty, so its content was lost")
    if size is not None:
        return
    if path.exists():
        raise JournalUnavailableError(path, "is not a file", "move away what has taken the journal's name")
    leftovers = [suffix for suffix in SIDE_FILES if side_file(path, suffix).exists()]
    if leftovers:
        what = f"the file is gone, but {path.name}{leftovers[0]} is still there"
        raise JournalDamagedError(path, None, what)
    action = "check the state directory's name; the controller makes the journal when it first starts"
    raise JournalUnavailableError(path, "does not exist", action)


def check_layout(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `JournalDamagedError` unless the database is a journal of this version."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID:
        what = f"application_id is {application_id:#x}, a journal's is {APPLICATION_ID:#x}: not a journal"
        raise JournalDamagedError(path, None, what)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        what = f"version {version} found; this software reads version {SCHEMA_VERSION}"
        raise JournalDamagedError(path, None, what)
    found = dict(connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall())
    if found != TABLES:
        raise JournalDamagedError(path, None, f"its tables {sorted(map(str, found))} are not a journal's")


def read_meta(connection: sqlite3.Connection) -> Meta:
    """Return the chain's ends. Raises `ChainBrokenError` (record 0) when the row is missing or malformed."""
    rows = connection.execute("SELECT device_id, head_seq, head_hash FROM meta").fetchall()
    if len(rows) != 1:
        raise ChainBrokenError(0, f"missing: `meta` has {len(rows)} rows, not 1")
    device_id, head_seq, head_hash = rows[0]
    if (
        not isinstance(device_id, bytes)
        or not isinstance(head_hash, bytes)
        or not isinstance(head_seq, int)
        or len(device_id) != DEVICE_ID_BYTES
        or len(head_hash) != HASH_BYTES
        or head_seq < 0
    ):
        raise ChainBrokenError(0, "undecodable: `meta` does not hold a device id and a head")
    return Meta(genesis=genesis(device_id), head=Head(head_seq, head_hash))


def read_entries(connection: sqlite3.Connection, after: int, limit: int) -> tuple[Entry, ...]:
    """Return checked entries; see `JournalReader.entries`. Raises `ChainBrokenError` and ValueError for a bad limit.

    The caller holds a transaction, so that records and head are of one moment.
    """
    if not 1 <= limit <= ENTRIES_MAX or after < 0:
        raise ValueError(f"after is {after}, limit {limit}; allowed are 0 or more and 1 ... {ENTRIES_MAX}")
    head = read_meta(connection).head
    if after >= head.seq:
        return ()
    previous = hash_at(connection, after)
    if previous is None:
        raise ChainBrokenError(after, "missing")
    rows = _rows(connection.execute(f"{_SELECT} WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)), after)
    found = tuple(check_rows(Head(after, previous), rows))
    if len(found) < limit:
        _check_head(found[-1].head if found else Head(after, previous), head)
    return found


def verified_entries(connection: sqlite3.Connection) -> Iterator[Entry]:
    """Yield every entry, then check the head and every page of the file. Raises `ChainBrokenError`.

    Records come first, so that a damaged one is named by its number. The caller holds a transaction or is the only
    writer.
    """
    meta = read_meta(connection)
    reached = meta.genesis
    for entry in check_rows(meta.genesis, _rows(connection.execute(f"{_SELECT} ORDER BY seq"), 0)):
        reached = entry.head
        yield entry
    _check_head(reached, meta.head)
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        raise ChainBrokenError(reached.seq + 1, f"SQLite finds the file damaged: {_one_line(finding)}")


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the chain's errors inside into `JournalDamagedError` or `JournalUnavailableError`."""
    try:
        yield
    except ChainBrokenError as error:
        raise JournalDamagedError(path, error.seq, error.what) from error
    except UnicodeDecodeError as error:
        # SQLite's own words quote a damaged schema, and the damage is no text.
        raise JournalDamagedError(path, None, "SQLite finds it damaged in its schema") from error
    except sqlite3.Error as error:
        if not is_access_error(error):
            raise JournalDamagedError(path, None, f"SQLite finds it damaged: {_one_line(error)}") from error
        action = "check the permissions of the file and its directory, the disk's space, and the card"
        raise JournalUnavailableError(path, f"cannot be used ({_one_line(error)})", action) from error


def is_access_error(error: sqlite3.Error) -> bool:
    """Return whether SQLite speaks of access (permission, lock, space, medium), and not of the file's content."""
    # Python's own conversion errors (text that is not UTF-8) carry no code: those are content.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in _UNAVAILABLE_CODES


def _rows(cursor: sqlite3.Cursor, after: int) -> Iterator[Row]:
    """Yield the rows with their types checked: a damaged page can hold any type under any column."""
    try:
        for values in cursor:
            for (name, wanted), value in zip(_COLUMNS, values, strict=True):
                if type(value) is not wanted:
                    found = type(value).__name__
                    raise ChainBrokenError(after + 1, f"undecodable: {name} is {found}, not {wanted.__name__}")
            row = Row(*values)
            yield row
            after = row.seq
    except sqlite3.Error as error:
        if is_access_error(error):
            raise
        raise ChainBrokenError(after + 1, f"unreadable: {_one_line(error)}") from error


def hash_at(connection: sqlite3.Connection, seq: int) -> bytes | None:
    """Return the hash of record `seq` (of the genesis for 0), None where there is none."""
    if seq == 0:
        return read_meta(connection).genesis.hash
    found = connection.execute("SELECT hash FROM record WHERE seq = ?", (seq,)).fetchone()
    return found[0] if found is not None and isinstance(found[0], bytes) else None


def _check_head(reached: Head, head: Head) -> None:
    if reached.seq < head.seq:
        raise ChainBrokenError(reached.seq + 1, f"missing: the journal went up to record {head.seq}")
    if reached != head:
        raise ChainBrokenError(reached.seq, f"not the head that the journal noted (record {head.seq})")


def side_file(path: Path, suffix: str) -> Path:
    """Return the path of what SQLite keeps beside the database at `path`."""
    return path.with_name(path.name + suffix)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
