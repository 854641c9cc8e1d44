"""Durable means on the medium: synchronised commits, a new file synchronised before it has its name, all or nothing."""

import os
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from device.controller.journal import JournalWriteError
from device.journal_file import JOURNAL_NAME
from tests.support.journal import ENDED, SHOT, journal_of, open_journal

SYNCHRONOUS_FULL: Final = 2
"""SQLite's number for `FULL` (sqlite.org/pragma.html)."""
MANY: Final = 200


def test_every_commit_is_synchronised_to_the_medium(tmp_path: Path) -> None:
    # In WAL mode `NORMAL` synchronises at a checkpoint only: a power cut would take the last intents along.
    with open_journal(tmp_path / JOURNAL_NAME) as journal:
        (level,) = journal._connection.execute("PRAGMA synchronous").fetchone()
        (mode,) = journal._connection.execute("PRAGMA journal_mode").fetchone()
    assert (level, mode) == (SYNCHRONOUS_FULL, "wal")


def test_a_new_journal_is_on_the_medium_before_it_has_its_name_and_its_name_is_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / JOURNAL_NAME
    synchronised: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synchronised.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    open_journal(path).close()
    assert synchronised == [(f"{path}.new", False), (str(tmp_path), True)]


def test_records_that_do_not_all_fit_are_none_of_them_written(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    with journal_of(path, SHOT) as journal:
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        # Room for a few records more: the disk is full in the middle of the transaction.
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(JournalWriteError, match="full"):
            journal.append([SHOT] * MANY)
        assert in_the_file(path) == 1
        journal._connection.execute(f"PRAGMA max_page_count = {pages + MANY}")
        assert journal.append([ENDED])[0].seq == 2
    with open_journal(path) as journal:
        assert journal.head.seq == 2


def in_the_file(path: Path) -> int:
    """Return how many records another program sees in the file."""
    connection = sqlite3.connect(path)
    (count,) = connection.execute("SELECT count(*) FROM record").fetchone()
    connection.close()
    assert isinstance(count, int)
    return count
