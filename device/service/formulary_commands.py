"""`mesogun formulary`: make keys, sign, verify, install, compare, tell the history, and go back.

All but roll-back work on files and need no running controller: a pharmacist signs on another computer. What is
installed is taken at the controller's next start, and stands in the journal from then on.
"""

import argparse
import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from device.core.formulary import Formulary
from device.journal_file import JOURNAL_NAME, JournalDamagedError, JournalUnavailableError
from device.journal_reader import JournalReader, utc_text
from device.service.control_client import STANDARD_STATE
from device.service.errors import ServiceError
from device.service.formulary_install import InstallRefused, install_formulary, installed_version
from device.service.treatment_commands import asked, show
from device.settings import (
    FORMULARY,
    ConfigurationError,
    find_configuration_directory,
    load_configuration,
    load_formulary,
)
from device.settings.bundle import (
    MANIFEST,
    SIGNATURE,
    TRUSTED,
    new_key,
    private_text,
    read_private_key,
    sign,
    verified,
    write_whole,
)

PRIVATE_MODE: Final = 0o600
PAGE: Final = 500


def keygen(options: argparse.Namespace) -> int:
    """`mesogun formulary keygen`: never writes over a key."""
    directory: Path = options.out
    private, public = directory / f"{options.name}.key", directory / f"{options.name}.toml"
    key, trusted = new_key(options.name)
    try:
        for path in (private, public):
            if path.exists():
                raise ServiceError(f"{path} is there already: a key is never written over; take another name or --out")
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(private, private_text(key).encode(), mode=PRIVATE_MODE)
        write_whole(public, trusted.encode())
    except OSError as error:
        raise ServiceError(f"{directory}: {error.strerror}; choose another --out") from error
    text = f"{private}: the private key, keep it away from consoles\n{public}: copy it into {TRUSTED}/ of each console"
    return show(options, {"private": str(private), "public": str(public)}, text)


def sign_formulary(options: argparse.Namespace) -> int:
    """`mesogun formulary sign`: only what a console could load is signed."""
    directory: Path = options.directory
    try:
        files = load_formulary(directory)
        key = read_private_key(options.key)
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error
    before = stated_version(directory)
    version = options.version or before + 1
    if version <= before:
        raise ServiceError(f"{directory} is version {before} already: a changed formulary needs a higher version")
    today = datetime.now(UTC).date()
    try:
        sign(directory, files, key, version=version, author=options.author, signed=today, days=options.valid_days)
    except ValueError as error:
        raise ServiceError(f"--author, --version or --valid-days: {error}") from error
    except OSError as error:
        raise ServiceError(f"{directory}: {error.strerror}; it must be writable") from error
    result = {"version": version, "files": len(files), "key": key.name}
    return show(options, result, f"{directory}: version {version}, {len(files)} files, signed with the key {key.name}")


def stated_version(directory: Path) -> int:
    """Return the version that a formulary says it has, 0 for one that was never signed. It need not be signed well."""
    for line in _lines(directory / MANIFEST):
        key, _, value = line.partition("=")
        if key.strip() == "version" and value.strip().isdecimal():
            return int(value)
    return 0


def _checked(options: argparse.Namespace, directory: Path) -> tuple[Formulary, Mapping[str, str]]:
    """Return what is known of a formulary. Raises ServiceError where it cannot even be read."""
    try:
        files = load_formulary(directory)
        trusted: Path = options.trusted or find_configuration_directory(options.config) / TRUSTED
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error
    return verified(directory, files, trusted=trusted, simulated=options.simulated), files


def verify(options: argparse.Namespace) -> int:
    """`mesogun formulary verify`: exit code 1 for one that no gun may be armed with."""
    formulary, files = _checked(options, options.directory)
    refuse_unusable(formulary)
    result = {
        "version": formulary.version,
        "author": formulary.author,
        "signed_by": formulary.signed_by,
        "expires_ms": formulary.expires_ms,
        "sha256": formulary.sha256,
        "files": len(files),
    }
    return show(options, result, f"{options.directory}: {in_words(formulary)}, {len(files)} files as they were signed")


def refuse_unusable(formulary: Formulary) -> None:
    """Raise ServiceError for a formulary that is not signed as it should be, or has expired."""
    if problem := unusable(formulary):
        raise ServiceError(problem)


def unusable(formulary: Formulary) -> str:
    """Return why nothing is released under a formulary today; empty where it may be."""
    if not formulary.problem and formulary.expires_ms <= int(datetime.now(UTC).timestamp() * 1000):
        return f"formulary version {formulary.version} has expired on {_day(formulary.expires_ms)}: sign anew"
    return formulary.problem


def in_words(formulary: Formulary) -> str:
    """Return who signed which version, and until when it holds."""
    return (
        f"version {formulary.version} of {formulary.author}, signed with the key {formulary.signed_by}, "
        f"holds until {_day(formulary.expires_ms)}"
    )


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


def install(options: argparse.Namespace) -> int:
    """`mesogun formulary install`: verify, copy, and put into place in one step."""
    try:
        configuration = find_configuration_directory(options.config)
        # It must fit this console as well: a controller does not start with one that asks for too fast a needle.
        load_configuration(configuration, formulary=options.directory)
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error
    formulary, files = _checked(options, options.directory)
    refuse_unusable(formulary)
    try:
        place = install_formulary(
            options.directory,
            [*files, MANIFEST, SIGNATURE],
            configuration,
            formulary=formulary,
            before=_version_in_force(options, configuration / FORMULARY),
            roll_back=options.roll_back,
        )
    except InstallRefused as error:
        raise ServiceError(str(error)) from error
    lines = [f"{place}: {in_words(formulary)}", "taken when the controller starts: sudo systemctl restart mesogun"]
    if options.roll_back:
        lines.append('then, because it is older: mesogun formulary roll-back --reason "..." --by NAME')
    return show(options, {"version": formulary.version, "place": str(place)}, "\n".join(lines))


def _version_in_force(options: argparse.Namespace, directory: Path) -> int:
    """Return the version of a formulary that was installed, or that this console would take; 0 where there is none.

    One that was altered since keeps the version that it was installed with; the shipped example has none on a real gun.
    """
    installed = installed_version(directory)
    if installed:
        return installed
    try:
        formulary, _ = _checked(options, directory)
    except ServiceError:
        return 0
    return formulary.version


def diff(options: argparse.Namespace) -> int:
    """`mesogun formulary diff`: what changes from the first to the second, line by line; signed or not."""
    try:
        names = load_formulary(options.old).keys() | load_formulary(options.new).keys()
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error
    changed: list[str] = []
    for name in sorted(names):
        old, new = _lines(options.old / name), _lines(options.new / name)
        changed += difflib.unified_diff(old, new, f"old/{name}", f"new/{name}", lineterm="", n=1)
    return show(options, {"changes": changed}, "\n".join(changed) or "no difference in any file")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def history(options: argparse.Namespace) -> int:
    """`mesogun formulary history`: which formularies this console took, from its journal."""
    state: Path = options.state or STANDARD_STATE
    found: list[dict[str, Any]] = []
    try:
        with JournalReader.open(state / JOURNAL_NAME) as reader:
            after = 0
            while entries := reader.entries(after, PAGE):
                found += [{"ts_ms": each.ts_ms, **each.body} for each in entries if each.kind == "formulary_taken"]
                after = entries[-1].seq
    except (JournalDamagedError, JournalUnavailableError) as error:
        raise ServiceError(str(error)) from error
    return show(options, {"taken": found}, "\n".join(map(_taken_line, found)) or "no formulary was ever taken here")


def _taken_line(taken: Mapping[str, Any]) -> str:
    word = f"  ROLLED BACK by {taken['by']} (uid {taken['uid']}): {taken['reason']}" if taken["rolled_back"] else ""
    return (
        f"{utc_text(taken['ts_ms'])}  version {taken['version']:<6} {taken['sha256'][:12]}  key {taken['signed_by']}  "
        f"{taken['author']}{word}"
    )


def roll_back(options: argparse.Namespace) -> int:
    """`mesogun formulary roll-back`: the running controller takes the older formulary that it has found."""
    result = asked(options, "formulary_roll_back", {"reason": options.reason, "by": options.by})
    return show(options, result, f"formulary version {result['formulary_version']} is in force")
