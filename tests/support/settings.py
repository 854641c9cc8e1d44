"""A copy of the shipped configuration that a test may spoil, one line at a time."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from device.settings import ConfigurationError, load_configuration

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SHIPPED: Final = CHECKOUT / "config"


class Draft:
    """A configuration directory under edit."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(SHIPPED, directory)

    def replace(self, file: str, old: str, new: str) -> int:
        """Replace the one line `old` of `file` by `new`; return its number."""
        path = self.directory / file
        lines = path.read_text().splitlines()
        number = [at for at, line in enumerate(lines, start=1) if line == old]
        if len(number) != 1:
            raise LookupError(f"{file} has {len(number)} lines {old!r}")
        lines[number[0] - 1] = new
        path.write_text("\n".join(lines) + "\n")
        return number[0]

    def place(self, file: str, start: str) -> str:
        """Return `file:line` of the one line of `file` that starts with `start`."""
        lines = (self.directory / file).read_text().splitlines()
        (number,) = (at for at, line in enumerate(lines, start=1) if line.startswith(start))
        return f"{file}:{number}"

    def problems(self) -> list[str]:
        """Return the problems' lines, with the directory's name cut off; fails where there are none."""
        with pytest.raises(ConfigurationError) as refusal:
            load_configuration(self.directory)
        return [str(problem).removeprefix(f"{self.directory}/") for problem in refusal.value.problems]
