"""The signed bundle: a manifest that names every file of a formulary with its digest, and a signature over it.

Owns the manifest, the signature and the keys as files, signing, and what `verified` finds wrong. The order is: the
signature first, then what the manifest says, then the digests of the very bytes that were read as limits, profiles,
serums and syringes. Never raises for a bad bundle: it becomes the one line in `Formulary.problem`, and nothing is
released under it. Reads no clock.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from device.core.formulary import Formulary
from device.settings import ed25519
from device.settings.formulary import FormularyFile
from device.settings.problems import ConfigurationError
from device.settings.reading import FILES_MOST, Read, Reader
from device.settings.values import Count, Day, Flag, SettingsTable, Text, topic_name

MANIFEST: Final = "formulary.toml"
SIGNATURE: Final = "formulary.sig"
TRUSTED: Final = "trusted"
DOMAIN: Final = b"mesogun formulary\n"
"""In front of what is signed: a signature of something else by the same key is none of a formulary."""

VERSION_MOST: Final = 1_000_000
VALID_DAYS_MOST: Final = 3653
"""Ten years: more is a typing error."""

WRONG_EXPIRY: Final = f"expires must be after signed, by {VALID_DAYS_MOST} days at most"

AUTHOR_PATTERN: Final = r"[^\x00-\x1f\x7f\"\\]{1,120}"
BASE64_32: Final = r"[A-Za-z0-9+/]{43}="
BASE64_64: Final = r"[A-Za-z0-9+/]{86}=="


class FileTable(SettingsTable):
    """One file of the formulary."""

    path: Annotated[
        str, Text("its path in the formulary", r"(?:[a-z]{1,20}/)?[a-z0-9-]{1,32}\.toml", "a path such as limits.toml")
    ]
    sha256: Annotated[str, Text("the SHA-256 of its bytes", r"[0-9a-f]{64}", "64 hexadecimal digits")]


class ManifestFile(SettingsTable):
    """formulary.toml: what is signed."""

    version: Annotated[int, Count("the bundle's version, higher than the one before", 1, VERSION_MOST)]
    author: Annotated[str, Text("who answers for it", AUTHOR_PATTERN, "one line of text without quotation marks")]
    signed: Annotated[date, Day("the day on which it was signed")]
    expires: Annotated[date, Day("the first day on which it does not hold any more")]
    files: Annotated[list[FileTable], Field(min_length=1, max_length=5 * FILES_MOST)]

    @model_validator(mode="after")
    def _holds_for_a_while_and_lists_each_file_once(self) -> Self:
        if not self.signed < self.expires <= self.signed + timedelta(days=VALID_DAYS_MOST):
            raise ValueError(WRONG_EXPIRY)
        paths = [file.path for file in self.files]
        if len(set(paths)) < len(paths):
            raise ValueError("files must name each path once")
        return self


class SignatureFile(SettingsTable):
    """formulary.sig: by which key, and the signature of the manifest's bytes."""

    key: Annotated[str, topic_name("the trusted key's name")]
    signature: Annotated[str, Text("the Ed25519 signature", BASE64_64, "64 bytes in base64")]


class TrustedKeyFile(FormularyFile):
    """trusted/<name>.toml: a public key whose formularies this console takes."""

    public_key: Annotated[str, Text("the Ed25519 public key", BASE64_32, "32 bytes in base64")]
    simulated_only: Annotated[bool, Flag("whether it is trusted on a simulated console alone")]


class PrivateKeyFile(FormularyFile):
    """A private key, kept by who signs and never on a console."""

    private_key: Annotated[str, Text("the Ed25519 private key", BASE64_32, "32 bytes in base64")]


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key to sign with."""

    name: str
    seed: bytes


def new_key(name: str) -> tuple[PrivateKey, str]:
    """Return a new private key and the text of the file by which consoles trust it."""
    key = PrivateKey(name, ed25519.new_seed())
    return key, trusted_text(key)


def private_text(key: PrivateKey) -> str:
    """Return the private key's file."""
    return (
        "# PRIVATE: whoever has this file can sign formularies for every console that trusts the key.\n"
        f'# Keep it away from consoles and networks.\nname = "{key.name}"\nprivate_key = "{_base64(key.seed)}"\n'
    )


def trusted_text(key: PrivateKey, *, simulated_only: bool = False) -> str:
    """Return the file that makes a console trust the key."""
    return (
        f"# The public half of the formulary key {key.name}: put it into {TRUSTED}/ of a console's configuration.\n"
        f'# The key\'s name, that of the file.\nname = "{key.name}"\n'
        f'# The Ed25519 public key, 32 bytes in base64.\npublic_key = "{_base64(ed25519.public_key(key.seed))}"\n'
        "# Whether it is trusted on a simulated console alone: true or false.\n"
        f"simulated_only = {str(simulated_only).lower()}\n"
    )


def read_private_key(path: Path) -> PrivateKey:
    """Return the private key in a file. Raises ConfigurationError."""
    reader = Reader()
    read = reader.file(path, PrivateKeyFile)
    if read is None:
        raise ConfigurationError(reader.problems)
    return PrivateKey(read.file.name, base64.b64decode(read.file.private_key))


def sign(
    directory: Path, files: Mapping[str, str], key: PrivateKey, *, version: int, author: str, signed: date, days: int
) -> None:
    """Write manifest and signature of the formulary in `directory`, whose `files` have these digests.

    The signature is written last: a signing that is broken off leaves an unsigned bundle. Raises OSError, and
    ValueError for a version, author or number of days that no manifest may have.
    """
    try:
        expires = signed + timedelta(days=days)
    except OverflowError as error:
        raise ValueError(WRONG_EXPIRY) from error
    content = {
        "version": version,
        "author": author,
        "signed": signed,
        "expires": expires,
        "files": [{"path": path, "sha256": sha256} for path, sha256 in sorted(files.items())],
    }
    try:
        ManifestFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join((*map(str, first["loc"]), first["msg"]))) from error
    lines = [
        "# Made by `mesogun formulary sign`: what this formulary is, who answers for it, and until when it holds.",
        f"version = {version}",
        f'author = "{author}"',
        f"signed = {content['signed']}",
        f"expires = {content['expires']}",
        *(line for path, sha256 in sorted(files.items()) for line in _file_lines(path, sha256)),
    ]
    manifest = ("\n".join(lines) + "\n").encode()
    signature = _base64(ed25519.signature(key.seed, DOMAIN + manifest))
    (directory / SIGNATURE).unlink(missing_ok=True)
    write_whole(directory / MANIFEST, manifest)
    write_whole(
        directory / SIGNATURE,
        f'# The signature of {MANIFEST}, byte for byte.\nkey = "{key.name}"\nsignature = "{signature}"\n'.encode(),
    )


def _file_lines(path: str, sha256: str) -> tuple[str, ...]:
    return ("", "[[files]]", f'path = "{path}"', f'sha256 = "{sha256}"')


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that after a power cut it is there whole, as before, or not at all. Raises OSError."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    draft.replace(path)
    synced(path.parent)


def synced(directory: Path) -> None:
    """Make the names in `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verified(directory: Path, files: Mapping[str, str], *, trusted: Path, simulated: bool) -> Formulary:
    """Return the formulary of `directory`, whose `files` were read with these digests, as keys in `trusted` sign it.

    `simulated`: the console is one, so that keys for those count. What is wrong stands in its `problem`.
    """
    try:
        return _verified(directory, files, trusted=trusted, simulated=simulated)
    except ConfigurationError as error:
        return _unusable(str(error.problems[0]))
    except _NotSigned as error:
        return _unusable(str(error))


class _NotSigned(Exception):
    """One line why a bundle is not signed as it should be."""


def _unusable(problem: str) -> Formulary:
    return Formulary(0, "", "", "", 0, 0, problem=problem)


def _verified(directory: Path, files: Mapping[str, str], *, trusted: Path, simulated: bool) -> Formulary:
    if not (directory / MANIFEST).exists() or not (directory / SIGNATURE).exists():
        raise _NotSigned(f"{directory} is not signed: `mesogun formulary sign {directory} --key FILE --author NAME`")
    reader = Reader()
    seal = reader.file(directory / SIGNATURE, SignatureFile)
    manifest = reader.file(directory / MANIFEST, ManifestFile)
    keys = reader.folder(trusted, TrustedKeyFile)
    if seal is None or manifest is None or reader.problems:
        raise ConfigurationError(reader.problems)
    _check_signature(seal, manifest, keys, trusted=trusted, simulated=simulated)
    _check_digests(manifest, files)
    stated = manifest.file
    return Formulary(
        version=stated.version,
        author=stated.author,
        signed_by=seal.file.key,
        sha256=manifest.document.sha256,
        signed_ms=_ms(stated.signed),
        expires_ms=_ms(stated.expires),
    )


def _check_signature(
    seal: Read[SignatureFile],
    manifest: Read[ManifestFile],
    keys: Sequence[Read[TrustedKeyFile]],
    *,
    trusted: Path,
    simulated: bool,
) -> None:
    name = seal.file.key
    key = next((each.file for each in keys if each.file.name == name), None)
    if key is None:
        names = ", ".join(each.file.name for each in keys)
        raise _NotSigned(f"signed by the key {name}, which is not in {trusted}; trusted are: {names}")
    if key.simulated_only and not simulated:
        raise _NotSigned(
            f"signed by the key {name}, which is trusted on a simulated console alone: sign your own formulary"
        )
    message = DOMAIN + manifest.document.text.encode()
    if not ed25519.is_signed(base64.b64decode(key.public_key), message, base64.b64decode(seal.file.signature)):
        raise _NotSigned(f"{manifest.document.path} was altered since it was signed, or not signed by the key {name}")


def _check_digests(manifest: Read[ManifestFile], files: Mapping[str, str]) -> None:
    signed = {file.path: file.sha256 for file in manifest.file.files}
    directory = manifest.document.path.parent
    for path in sorted(signed.keys() | files.keys()):
        if path not in files:
            raise _NotSigned(f"{directory / path} is missing, which was signed: restore it, or sign anew")
        if path not in signed:
            raise _NotSigned(f"{directory / path} was added since {MANIFEST} was signed: remove it, or sign anew")
        if signed[path] != files[path]:
            raise _NotSigned(f"{directory / path} was altered since it was signed: restore it, or sign anew")


def _ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
