"""Copies of the working tree in which bugs are planted: the tree itself is never changed.

Owns the temporary directory. One copy is taken at the start, so that a tree that is being edited is judged as it was
at one moment; each bug gets a copy of that copy, and each copy is removed as soon as its tests have run.
"""

import compileall
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.sabotage.planted_bug import PlantedBug

ROOT: Final = Path(__file__).resolve().parents[2]
_LEFT_OUT: Final = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "var", "mutants")


class Copies:
    """The copy of the tree as it was, and copies of it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count(1)
        self.clean = directory / "clean"
        shutil.copytree(ROOT, self.clean, ignore=_LEFT_OUT)
        for package in ("device", "drivers", "tests"):
            compileall.compile_dir(self.clean / package, quiet=2)

    @contextmanager
    def copy(self, bug: PlantedBug | None) -> Iterator[Path]:
        """Yield a copy with `bug` planted in it. Raises StaleBug."""
        # A short name: tests put sockets below it, and a socket's path has 107 characters at most.
        place = self._directory / str(next(self._numbers))
        # Hard links: nothing writes into an existing file of the tree, neither the planting nor the tests.
        shutil.copytree(self.clean, place, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))
        try:
            if bug is not None:
                _plant(bug, place / bug.file)
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _plant(bug: PlantedBug, file: Path) -> None:
    planted = bug.planted_in(file.read_text())
    file.unlink()
    file.write_text(planted)
    # Byte code is told from its source by second and size alone: the clean module's must not serve the planted one.
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        compiled.unlink()


@contextmanager
def copies() -> Iterator[Copies]:
    """Yield copies of the tree as it is now; removes them all at the end."""
    with TemporaryDirectory(prefix="sabotage-") as directory:
        yield Copies(Path(directory))
