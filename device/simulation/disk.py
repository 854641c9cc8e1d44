"""The card under the journal: slow, full, or gone in the middle of a write.

Owns what a power cut leaves of the real files. The journal, its SQLite and its files are the shipped ones; a cut while
an append is being written leaves the files as they were before it, as they are after it, or with any mixture of the
sectors in which the two differ, which is what a medium may do with everything that was not synchronised. What was
synchronised is never taken away: a medium that lies about that is not survived by any program.
"""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from random import Random
from typing import Final

SECTOR_BYTES: Final = 512
COMMIT_NS: Final = 2_000_000
"""A commit on a good card: two synchronisations."""

_SIDE_FILES: Final = ("", "-wal")
"""The database and its log; what SQLite shares between processes beside them is made anew after a power cut."""
_SHARED: Final = "-shm"


class Cut(Enum):
    """When, in an append, the power goes."""

    BEFORE = "before"
    """Nothing of it was written."""
    TORN = "torn"
    """Any part of it was."""
    AFTER = "after"
    """All of it is durable, and nobody got to know."""


class Disk:
    """The card that holds the journal at `path`. `commit_ns` is how long an append takes."""

    def __init__(self, path: Path, random: Random) -> None:
        self.commit_ns = COMMIT_NS
        self.full = False
        self.busy = False
        """An append is under way."""
        self.appends = 0
        """Appends begun since the simulation began."""
        self._path = path
        self._random = random
        self._cut: tuple[int, Cut] | None = None
        self._remains: list[bytes] | None = None
        """The files as the power cut left them."""

    def cut_at(self, append: int, cut: Cut) -> None:
        """Let the power go in the append of that number, counted from 0 over all processes' lives."""
        self._cut = (append, cut)

    def write(self, append: Callable[[], object]) -> bool:
        """Carry out an append; False where the power went in it, and nothing more may be done."""
        number, self.appends = self.appends, self.appends + 1
        cut = self._cut[1] if self._cut is not None and self._cut[0] == number else None
        if cut is None:
            append()
            return True
        self._cut = None
        before = self._contents()
        if cut is not Cut.BEFORE:
            append()
        self._remains = self._torn(before, self._contents()) if cut is Cut.TORN else self._contents()
        return False

    def power_goes(self) -> None:
        """From this moment on nothing of what is written counts."""
        if self._remains is None:
            self._remains = self._contents()

    def power_comes(self) -> None:
        """Put the files into the state in which the cut left them; nobody may have them open any more."""
        remains, self._remains = self._remains, None
        if remains is None:
            return
        # What only a running system shares is gone; the rest is as the medium has it.
        self._path.with_name(self._path.name + _SHARED).unlink(missing_ok=True)
        for file, content in zip(self._files(), remains, strict=True):
            if content:
                file.write_bytes(content)
            else:
                file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return [self._path.with_name(self._path.name + side) for side in _SIDE_FILES]

    def _contents(self) -> list[bytes]:
        return [file.read_bytes() if file.exists() else b"" for file in self._files()]

    def _torn(self, before: list[bytes], after: list[bytes]) -> list[bytes]:
        """Return a random mixture of the two, sector by sector: the database is written once the log is durable."""
        if before[0] != after[0]:
            return [self._mixture(before[0], after[0]), after[1]]
        return [after[0], self._mixture(before[1], after[1])]

    def _mixture(self, old: bytes, new: bytes) -> bytes:
        length = max(len(old), len(new))
        mixed = bytearray()
        for start in range(0, length, SECTOR_BYTES):
            part = new if self._random.random() < 0.5 else old
            sector = part[start : start + SECTOR_BYTES]
            whole = min(SECTOR_BYTES, length - start)
            mixed += sector.ljust(whole, b"\0")
        return bytes(mixed)
