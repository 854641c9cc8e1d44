"""Reads single TOML files into their models, and collects what is wrong with them.

Owns the bounds on files, the reading (each file once: the bytes that are hashed are the bytes that are parsed) and
the rule that a file's name is the name in it. Never raises for a bad file: its problems are collected and the file
is left out, so that one pass tells everything. Follows no path but those it is given.
"""

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from device.settings.formulary import FormularyFile
from device.settings.key_help import contradiction, problems_of
from device.settings.problems import Document, Problem, shown
from device.settings.values import SettingsTable

FILE_BYTES_MOST: Final = 65_536
"""Ten times the longest shipped file; a larger one is no configuration."""
FILES_MOST: Final = 256
"""Most files in one folder."""

_TOML_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")

File_co = TypeVar("File_co", bound=SettingsTable, covariant=True)
Named = TypeVar("Named", bound=FormularyFile)
Core = TypeVar("Core")


@dataclass(frozen=True, slots=True)
class Read(Generic[File_co]):
    """A file whose every value is allowed by itself."""

    document: Document
    file: File_co


class Reader:
    """Reads files one after another; `problems` grows."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def file(self, path: Path, model: type[File_co]) -> Read[File_co] | None:
        """Return the file, None where it has problems."""
        document = self._document(path)
        if document is None:
            return None
        try:
            return Read(document, model.model_validate(document.content))
        except ValidationError as error:
            self.problems.extend(problems_of(error, model, document))
            return None

    def folder(self, folder: Path, model: type[Named]) -> list[Read[Named]]:
        """Return the usable files of `folder` in the order of their names; a folder must hold at least one file."""
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
        except (FileNotFoundError, NotADirectoryError):
            paths = []
        except OSError as error:
            found = f"it unreadable ({error.strerror})"
            self._refuse(folder, found, "required is a readable directory", "check its owner and mode")
            return []
        if not 1 <= len(paths) <= FILES_MOST:
            allowed = f"required is at least one and at most {FILES_MOST}"
            self._refuse(folder, f"{len(paths)} files *.toml", allowed, "add or remove files")
            return []
        read = [each for path in paths if (each := self.file(path, model)) is not None]
        for each in read:
            if each.file.name != each.document.path.stem:
                self.problems.append(
                    each.document.problem(
                        ("name",),
                        found=shown(each.file.name),
                        allowed=f'required is "{each.document.path.stem}", as the file is called',
                        action="rename the file or correct the name",
                    )
                )
        return read

    def converted(self, read: Read[SettingsTable], convert: Callable[[], Core]) -> Core | None:
        """Return what `convert` makes of the file; its ValueError is a problem of the file."""
        try:
            return convert()
        except ValueError as error:
            self.problems.append(contradiction(error, read.document))
            return None

    def _document(self, path: Path) -> Document | None:
        content = self._bytes(path)
        if content is None:
            return None
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            found = f"the byte 0x{content[error.start]:02x}, which is not UTF-8"
            self._refuse(path, found, "allowed is text in UTF-8", "save the file as UTF-8", line=line)
            return None
        toml = self._toml(path, text)
        return None if toml is None else Document(path, text, toml, hashlib.sha256(content).hexdigest())

    def _bytes(self, path: Path) -> bytes | None:
        try:
            if path.exists() and not path.is_file():
                self._refuse(path, "something that is no file", "required is a file", "replace it by a file")
                return None
            with path.open("rb") as stream:
                content = stream.read(FILE_BYTES_MOST + 1)
        except FileNotFoundError:
            self._refuse(path, "no such file", "required is a readable file", "add it or name another directory")
            return None
        except OSError as error:
            found = f"it unreadable ({error.strerror})"
            self._refuse(path, found, "required is a readable file", "check its owner and mode")
            return None
        if len(content) > FILE_BYTES_MOST:
            self._refuse(path, "a longer file", f"allowed is at most {FILE_BYTES_MOST} bytes", "shorten it")
            return None
        return content

    def _toml(self, path: Path, text: str) -> Mapping[str, object] | None:
        allowed, action = 'allowed is TOML: key = value, texts in "quotation marks", [tables]', "correct this"
        try:
            return tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            place = _TOML_LINE.search(str(error))
            what = _TOML_LINE.sub("", str(error))
            line = int(place[1]) if place else None
            self._refuse(path, f"text that is not TOML ({what})", allowed, action, line=line)
        except (ValueError, DecimalException, RecursionError):
            self._refuse(path, "a number too long or tables too deep to read", allowed, action)
        return None

    def _refuse(self, path: Path, found: str, allowed: str, action: str, *, line: int | None = None) -> None:
        self.problems.append(Problem(path, line, "", found, allowed, action))
