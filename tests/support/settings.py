"""A copy of the shipped configuration that a test may spoil, one line at a time."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from device.settings import FORMULARY, ConfigurationError, load_configuration
from device.settings.bundle import MANIFEST, PrivateKey, read_private_key, sign

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SHIPPED: Final = CHECKOUT / "config"
DEMO_KEY: Final = CHECKOUT / "tests/keys/demo.key"
"""Signs what is shipped and what tests write. Everybody has it, so only simulated consoles trust it."""


class Draft:
    """A configuration directory under edit."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = 1
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
        self.sign()
        return number[0]

    def sign(self, key: PrivateKey | None = None, *, days: int = 365) -> None:
        """Sign the formulary as it stands, whatever is in it, with the next version; with the demo's key by default."""
        key = key or read_private_key(DEMO_KEY)
        self.version += 1
        folder = self.directory / FORMULARY
        paths = [path for path in sorted(folder.rglob("*.toml")) if path.name != MANIFEST]
        files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        today = datetime.now(UTC).date()
        sign(folder, files, key, version=self.version, author="a test", signed=today, days=days)

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
