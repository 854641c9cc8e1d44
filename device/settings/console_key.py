"""The console's own key: made once, kept beside its journal, and signs the summaries of its sessions.

Owns the key's file, its public half in words, and what a signature of a summary is. The private half never leaves the
file, which only the service's user can read; the public half stands in the journal, so that whoever has a copy of that
knows which key was this console's. It signs nothing else, and no formulary is taken by it.
"""

import base64
import hashlib
from pathlib import Path
from typing import Annotated, Final

from device.settings import ed25519
from device.settings.bundle import BASE64_32, BASE64_64, write_whole
from device.settings.problems import ConfigurationError
from device.settings.reading import Reader
from device.settings.values import SettingsTable, Text

KEY_NAME: Final = "console.key"
KEY_MODE: Final = 0o600
SIGNATURE_SUFFIX: Final = ".sig"
DOMAIN: Final = b"mesogun session summary\n"
"""In front of what is signed: a signature of something else by the same key is none of a summary."""


class ConsoleKeyFile(SettingsTable):
    """console.key: the private half."""

    private_key: Annotated[str, Text("the Ed25519 private key", BASE64_32, "32 bytes in base64")]


class SummarySignatureFile(SettingsTable):
    """<summary>.sig: by which key, and the signature of the summary's bytes."""

    public_key: Annotated[str, Text("the Ed25519 public key", BASE64_32, "32 bytes in base64")]
    signature: Annotated[str, Text("the Ed25519 signature", BASE64_64, "64 bytes in base64")]


def read_key(path: Path) -> bytes:
    """Return the private half. Raises ConfigurationError, in one line."""
    reader = Reader()
    read = reader.file(path, ConsoleKeyFile)
    if read is None:
        raise ConfigurationError(reader.problems)
    return base64.b64decode(read.file.private_key)


def read_or_make_key(path: Path) -> bytes:
    """Return the private half, made now where there is no file. Raises ConfigurationError and OSError."""
    if path.exists():
        return read_key(path)
    seed = ed25519.new_seed()
    text = (
        "# PRIVATE: this console signs the summaries of its sessions with it. It belongs to this console's journal.\n"
        f'private_key = "{_base64(seed)}"\n'
    )
    write_whole(path, text.encode(), mode=KEY_MODE)
    return seed


def public_half(seed: bytes) -> str:
    """Return the public key in base64."""
    return _base64(ed25519.public_key(seed))


def digest_of(public: str) -> str:
    """Return the SHA-256 of a public key's 32 bytes: short enough to be compared by eye."""
    return hashlib.sha256(base64.b64decode(public)).hexdigest()


def signature_text(seed: bytes, summary: bytes) -> str:
    """Return the signature's file for a summary's bytes."""
    signature = _base64(ed25519.signature(seed, DOMAIN + summary))
    return (
        "# The signature of the summary of this name, byte for byte: `mesogun session verify-summary FILE`.\n"
        f'public_key = "{public_half(seed)}"\nsignature = "{signature}"\n'
    )


def read_signature(path: Path) -> SummarySignatureFile:
    """Return a signature's file. Raises ConfigurationError, in one line."""
    reader = Reader()
    read = reader.file(path, SummarySignatureFile)
    if read is None:
        raise ConfigurationError(reader.problems)
    return read.file


def is_signed(summary: bytes, by: SummarySignatureFile) -> bool:
    """Whether the signature is of these bytes, by the key that it names."""
    return ed25519.is_signed(base64.b64decode(by.public_key), DOMAIN + summary, base64.b64decode(by.signature))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
