"""Puts a verified formulary into a console's configuration: copied beside the others, then put into place by a link.

Owns `formularies/` of the configuration, where every installed bundle stays, and the link `formulary`. A power cut
leaves the old one or the new one in force; only the first time, when a directory makes room for the link, it can leave
none, and the old one in `formularies/`. What is installed is for the service's account to read, whoever installs it:
the configuration's own directory keeps others out.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from device.core.formulary import Formulary
from device.settings import FORMULARY
from device.settings.bundle import synced, write_whole

KEPT: Final = "formularies"
DIGITS: Final = 8
"""Of a bundle's digest in its directory's name: to tell two of the same version apart."""

BY_HAND: Final = "before-the-first-installed"
BY_HAND_MOST: Final = 100
"""How often a directory that was put in the link's place by hand is kept under a name of its own."""

FILE_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o755
"""Whatever the installing account's umask is."""


class InstallRefused(Exception):
    """One line why a formulary was not installed; nothing was changed."""


def install_formulary(
    source: Path, files: Sequence[str], configuration: Path, *, formulary: Formulary, before: int, roll_back: bool
) -> Path:
    """Install the verified `formulary` that lies in `source` and return where. Raises InstallRefused.

    `before` is the version in force; one that is no newer is installed with `roll_back` alone.
    """
    if formulary.version <= before and not roll_back:
        raise InstallRefused(
            f"{source} is version {formulary.version}, in force is {before}: sign it with a higher version, or go back "
            "on purpose by --roll-back"
        )
    if roll_back and formulary.version >= before:
        raise InstallRefused(f"{source} is version {formulary.version}, in force is {before}: leave out --roll-back")
    place = configuration / KEPT / f"{formulary.version}-{formulary.sha256[:DIGITS]}"
    try:
        _copy(source, files, place)
        _put_into_force(configuration, place)
    except OSError as error:
        how = "; run it as root (sudo)" if isinstance(error, PermissionError) else "; nothing came into force"
        raise InstallRefused(f"{error.filename or place}: {error.strerror}{how}") from error
    return place


def installed_version(directory: Path) -> int:
    """Return the version that was installed where `directory` leads to, by its place's name; 0 for any other place."""
    version, _, digits = directory.resolve().name.partition("-")
    return int(version) if version.isdigit() and len(digits) == DIGITS else 0


def _copy(source: Path, files: Sequence[str], place: Path) -> None:
    """Copy the signed files and nothing else; the directory appears when it is whole and durable."""
    if place.exists():
        for name in files:
            if not (place / name).is_file() or (place / name).read_bytes() != (source / name).read_bytes():
                raise InstallRefused(
                    f"{place / name} was altered since it was installed: remove {place}, install again"
                )
        if added := sorted({path.relative_to(place).as_posix() for path in place.rglob("*.toml")} - set(files)):
            raise InstallRefused(f"{place / added[0]} was added since it was installed: remove it, install again")
        return
    draft = place.with_name(f".{place.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for name in files:
        target = draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, (source / name).read_bytes())
        target.chmod(FILE_MODE)
    for directory in (place.parent, draft, *(path for path in draft.rglob("*") if path.is_dir())):
        directory.chmod(DIRECTORY_MODE)
    draft.replace(place)
    synced(place.parent)


def _put_into_force(configuration: Path, place: Path) -> None:
    link = configuration / FORMULARY
    draft = configuration / f".{FORMULARY}.draft"
    draft.unlink(missing_ok=True)
    draft.symlink_to(place.relative_to(configuration))
    if not link.is_dir() or link.is_symlink():
        os.replace(draft, link)  # noqa: PTH105 - the call whose atomicity is meant
    else:
        # A configuration that was copied by hand: its own formulary stays too.
        kept = _free_name(configuration / KEPT)
        link.rename(kept)
        try:
            os.replace(draft, link)  # noqa: PTH105 - as above
        except BaseException:
            kept.rename(link)
            raise
    synced(configuration)


def _free_name(kept: Path) -> Path:
    """Return a name under which no formulary was kept yet. Raises InstallRefused."""
    names = (BY_HAND, *(f"{BY_HAND}-{number}" for number in range(2, BY_HAND_MOST + 1)))
    for name in names:
        if not os.path.lexists(kept / name):
            return kept / name
    raise InstallRefused(f"{kept}: {BY_HAND_MOST} formularies {BY_HAND} are kept there: remove what nobody needs")
