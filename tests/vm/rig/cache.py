"""What the rig builds, kept under `var/vm` by the digest of what it is made of: a second run builds nothing.

Owns the directory, its lock (one builder at a time) and the progress lines. An entry appears whole or not at all, and
takes the place of older entries of its name.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

DIGEST_SHOWN: Final = 16
"""Hex digits of the digest in an entry's name."""


class RigError(Exception):
    """The virtual console cannot be built or run: one line that says why and what to do."""


def say(line: str) -> None:
    """Write a progress line to standard error, so that a long step is seen to be one."""
    sys.stderr.write(f"vm: {line}\n")
    sys.stderr.flush()


def digest_of_files(root: Path, files: Sequence[Path]) -> str:
    """Return one digest of the names below `root` and the contents of `files`."""
    total = hashlib.sha256()
    for file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(root)} {content}\n".encode())
    return total.hexdigest()


class Cache:
    """The built parts in `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory

    def entry(self, name: str, ingredients: Sequence[str], make: Callable[[Path], None], *, about_s: int) -> Path:
        """Return the directory of the entry `name` made of `ingredients`; `make` fills it where it is not there yet.

        `about_s`: how long that takes, for the progress line.
        """
        digest = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:DIGEST_SHOWN]
        place = self.directory / f"{name}-{digest}"
        if place.exists():
            return place
        with self._locked():
            if place.exists():
                return place
            making = self.directory / f".{name}.making"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            say(f"{name}: is made now, which takes about {about_s} s")
            started_s = time.monotonic()
            make(making)
            for older in self.directory.glob(f"{name}-{'[0-9a-f]' * DIGEST_SHOWN}"):
                shutil.rmtree(older)
            making.replace(place)
            say(f"{name}: made in {time.monotonic() - started_s:.0f} s")
        return place

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
