"""The gateway's durable place in the journal: the last record that the broker acknowledged.

Owns one small file, replaced as a whole and synchronised, so that a power cut leaves the old place or the new one.
Never decides what is published: an absent, damaged or unsuitable cursor means from the start, because a repeat is
harmless and a gap is not. The cursor holds the record's hash beside its number, so a journal that was replaced or
rewound is seen.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from device.core.journal_chain import Head

CURSOR_NAME: Final = "gateway-cursor.json"
DRAFT_SUFFIX: Final = ".new"
"""What the name of a cursor has behind it that is not yet stored."""

CURSOR_BYTES_MAX: Final = 4096
"""Some 110 bytes are written; a larger file is not a cursor."""

_log = logging.getLogger("mesogun.gateway")


class HashesBySeq(Protocol):
    """What `resume_after` asks of a journal: `hash_at` returns None where there is no such record."""

    def hash_at(self, seq: int) -> bytes | None:
        """Return the hash of record `seq`."""


class Cursor(Protocol):
    """What the outbox asks of its durable place; `CursorFile` is the one in service."""

    @property
    def path(self) -> Path:
        """Return where it lies, for what a person reads."""

    def load(self) -> Head | None:
        """Return the last record stored, None where there is none."""

    def store(self, acknowledged: Head) -> None:
        """Replace the place; durable when it returns. Raises OSError, the old one then still stands."""


class _CursorFileContent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    seq: int = Field(ge=0)
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class CursorFile:
    """The cursor's file. Blocking; its directory must exist."""

    path: Path

    def load(self) -> Head | None:
        """Return the last acknowledged record, None (logged) when the file is absent, unreadable or damaged."""
        try:
            with self.path.open("rb") as file:
                content = _CursorFileContent.model_validate_json(file.read(CURSOR_BYTES_MAX))
        except FileNotFoundError:
            _log.info("cursor %s: none yet", self.path)
            return None
        except (OSError, ValidationError) as error:
            what = error.strerror if isinstance(error, OSError) else "damaged"
            _log.warning("cursor %s: %s; every record is published again, which is harmless", self.path, what)
            return None
        return Head(content.seq, bytes.fromhex(content.hash))

    def store(self, acknowledged: Head) -> None:
        """Replace the cursor; durable when it returns. Raises OSError, the old cursor then still stands."""
        content = _CursorFileContent(version=1, seq=acknowledged.seq, hash=acknowledged.hash.hex())
        draft = self.path.with_name(self.path.name + DRAFT_SUFFIX)
        with draft.open("wb") as file:
            file.write(content.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def resume_after(cursor: Head | None, journal: HashesBySeq) -> int:
    """Return the number of the record after which to publish: the cursor's, or 0 (logged) if it is not this journal's.

    A cursor ahead of the journal, or with another hash than the journal's at that place, belongs to another journal.
    """
    if cursor is None:
        return 0
    if journal.hash_at(cursor.seq) == cursor.hash:
        return cursor.seq
    _log.warning("cursor: record %d is not this journal's; every record is published again", cursor.seq)
    return 0
