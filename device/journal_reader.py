"""The journal as anyone may read it: a reader that cannot write, and its export.

Never changes a journal: the connection is opened `mode=ro` with `query_only`. Works beside a live writer, without one,
and for a user who may not write to the directory. What it returns has been checked against the chain, record by
record (`device.journal_file`), so that an altered record is never shown or published as a true one.
"""

import csv
import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias, assert_never
from urllib.parse import quote

from device.core.journal_chain import Entry, Head, canonical_json
from device.journal_file import (
    BUSY_MS,
    ENTRIES_MAX,
    JournalDamagedError,
    JournalUnavailableError,
    check_layout,
    check_present,
    hash_at,
    journal_errors,
    read_entries,
    read_meta,
    side_file,
    verified_entries,
)

ExportFormat = Literal["jsonl", "csv"]

_Mark: TypeAlias = tuple[int, int, int]
NO_MARK: Final[_Mark] = (-1, -1, -1)
"""Of no file."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the whole file found: `records` good ones from the first; where and why it stopped, if not ok."""

    ok: bool
    records: int
    first_bad_seq: int | None
    what: str


class JournalReader:
    """A read-only view of a journal. Blocking; one thread at a time. Close it, or use it in a `with` statement."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, immutable: bool, mark: _Mark) -> None:
        self._path = path
        self._connection = connection
        self._immutable = immutable
        self._mark = mark

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the journal at `path` and check that it is one (not yet its records: see `verify`).

        Raises `JournalUnavailableError` when it is missing, not permitted or locked, `JournalDamagedError` when
        the file is empty, is no SQLite database, or is another program's.
        """
        check_present(path)
        mark = _mark(path)
        connection, immutable = _connect(path)
        return cls(path, connection, immutable=immutable, mark=mark)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file. The reader cannot be used afterwards."""
        self._connection.close()

    def head(self) -> Head:
        """Return where the journal stands now. Raises as `open` does."""
        with self._snapshot():
            return read_meta(self._connection).head

    def hash_at(self, seq: int) -> bytes | None:
        """Return the hash of record `seq` (of the genesis for 0), None where there is none. Raises as `open` does."""
        with self._snapshot():
            return hash_at(self._connection, seq)

    def version(self) -> int | None:
        """Return a number that is another one after any other connection's commit; None where that cannot be told.

        A quarter of the price of a look at the entries. Ask before a look: as long as the answer is the same
        afterwards, the same look would find the same. Raises as `open` does.
        """
        if self._immutable:
            return None
        with journal_errors(self._path):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def entries(self, after: int, limit: int) -> tuple[Entry, ...]:
        """Return up to `limit` (1 ... `ENTRIES_MAX`) entries following record `after`, each checked against the chain.

        Empty when `after` is at or beyond the head. Raises `JournalDamagedError` for a record that does not follow
        from the one before it, and as `open` does.
        """
        with self._snapshot():
            return read_entries(self._connection, after, limit)

    def verify(self, take: Callable[[Entry], None] | None = None) -> Verification:
        """Check every page and every record. Raises only `JournalUnavailableError`; damage is the answer.

        `take` is handed each good record in its order, up to the first bad one: what is read so was checked from the
        journal's first record on, in one state of the file, and no more than a record is held.
        """
        records = 0
        try:
            with self._snapshot():
                for entry in verified_entries(self._connection):
                    records = entry.seq
                    if take is not None:
                        take(entry)
        except JournalDamagedError as damage:
            return Verification(ok=False, records=records, first_bad_seq=damage.seq, what=damage.what)
        return Verification(ok=True, records=records, first_bad_seq=None, what="")

    def export(self, form: ExportFormat) -> Iterator[str]:
        """Yield the lines (no line end) of all records up to the present head, for a file or a pipe.

        `jsonl`: one JSON object a record. `csv`: a heading, then one row a record with the body as JSON (a CSV
        field may hold a line end only where a body holds one: canonical JSON escapes it). Raises as `entries` does.
        """
        last = self.head().seq
        after = 0
        if form == "csv":
            yield _csv_line(("seq", "ts", "ts_ms", "boot_id", "kind", "body", "hash"))
        while after < last:
            page = self.entries(after, min(ENTRIES_MAX, last - after))
            for entry in page:
                yield _export_line(entry, form)
            after = page[-1].seq

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Hold one consistent state of the file, and turn SQLite's errors into the two that a person meets."""
        if self._immutable and (side_file(self._path, "-wal").exists() or self._mark != _mark(self._path)):
            # A writer has come, or has come and gone: what was a file at rest is one that changes. SQLite does not look
            # again at what it was told does not change, and would go on showing the pages that it has.
            self._connection.close()
            # Until there is another connection every look asks for one.
            mark, self._mark = _mark(self._path), NO_MARK
            self._connection, self._immutable = _connect(self._path)
            self._mark = mark
        with journal_errors(self._path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")


def utc_text(ts_ms: int) -> str:
    """Return ISO 8601 in UTC with milliseconds and `Z`, for 0 ... `TS_MS_MAX`."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ts_ms % 1000:03d}Z"


def _connect(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Return a checked read-only connection, and whether it takes the file as one that does not change.

    The log's index (`-shm`) must exist or be made, and a reader that may not write to the directory cannot make it.
    The writer removes log and index when it closes, so without a log the file itself is all there is.
    """
    try:
        return _open_read_only(path, "mode=ro"), False
    except JournalUnavailableError:
        if side_file(path, "-wal").exists():
            raise
        return _open_read_only(path, "mode=ro&immutable=1"), True


def _mark(path: Path) -> _Mark:
    """Return by what a changed file is told from one at rest; zeros where it cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _open_read_only(path: Path, options: str) -> sqlite3.Connection:
    with journal_errors(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?{options}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_MS / 1000,
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            check_layout(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _export_line(entry: Entry, form: ExportFormat) -> str:
    if form == "jsonl":
        return canonical_json(
            {
                "seq": entry.seq,
                "ts": utc_text(entry.ts_ms),
                "ts_ms": entry.ts_ms,
                "boot_id": entry.boot_id,
                "kind": entry.kind,
                "body": dict(entry.body),
                "hash": entry.hash.hex(),
            }
        )
    if form == "csv":
        body = canonical_json(dict(entry.body))
        columns = (entry.seq, utc_text(entry.ts_ms), entry.ts_ms, entry.boot_id, entry.kind, body, entry.hash.hex())
        return _csv_line(columns)
    assert_never(form)


def _csv_line(values: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
