"""What is wrong with a configuration, told so that a person can mend it.

Owns the one-line problem, the error that carries all of them, the document as it was read, and the search for the
line on which a key stands (the TOML parser reports none). Never decides what is allowed: the models and `loading`
do. A line number is given only where it is certain: a key found twice in a table's text gives none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeAlias

Location: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the tables' names, the number of an entry in an array of tables, the key."""

SHOWN_CHARACTERS_MOST: Final = 40
"""A longer text is cut in a message, which has to stay one line."""

_TABLE: Final = re.compile(r"\s*\[(?P<array>\[)?\s*(?P<name>[A-Za-z0-9_.\"'\s-]+?)\s*\]")
_ASSIGNMENT: Final = re.compile(r"\s*(?P<key>[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*=")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, as one line: where, what was found, what is allowed, what to do.

    `line` counts from 1 and is None where it is not known; `key` is empty where a whole file is meant.
    """

    file: Path
    line: int | None
    key: str
    found: str
    allowed: str
    action: str

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        subject = f"{place}: {self.key}" if self.key else place
        text = f"{subject}: found {self.found}; {self.allowed}; {self.action}"
        return "".join(character if character.isprintable() else "?" for character in text)


class ConfigurationError(Exception):
    """The configuration cannot be used. `problems` holds every problem of every file, at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def shown(value: object) -> str:
    """Return `value`, as TOML gave it, in words short enough for a message."""
    match value:
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return _shortened(str(value))
        case str():
            return f'the text "{_shortened(value)}"'
        case datetime() | date() | time():
            return f"the date or time {value}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return _shortened(repr(value))


def name_of(location: Location) -> str:
    """Return a location as people write it: `pump.slope`; entries of an array of tables count from 1."""
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part + 1}]"
        else:
            name += f".{part}" if name else part
    return name


def line_of(text: str, location: Location) -> int | None:
    """Return the line of `text` on which the key or table at `location` stands, None where that is not certain."""
    hits = [line for line, place in _places(text) if place == location]
    # TOML forbids a key twice in a table, so of two hits one is text: no line is better than a wrong one.
    return hits[0] if len(hits) == 1 else None


@dataclass(frozen=True, slots=True)
class Document:
    """One TOML file as it was read: its path, its text, what it says, and the digest of its bytes."""

    path: Path
    text: str
    content: Mapping[str, object]
    sha256: str

    def at(self, location: Location) -> object:
        """Return the value at `location`, None where there is none (TOML has no null)."""
        value: object = self.content
        for part in location:
            if isinstance(part, str) and isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(part, int) and isinstance(value, list) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def problem(
        self, location: Location, *, found: str, allowed: str, action: str, line_at: Location | None = None
    ) -> Problem:
        """Return a problem of this file, with the line of `line_at` or else of `location`."""
        line = line_of(self.text, location if line_at is None else line_at)
        return Problem(self.path, line, name_of(location), found, allowed, action)


def _places(text: str) -> list[tuple[int, Location]]:
    """List the lines that open a table or assign a key, with the location of each."""
    places: list[tuple[int, Location]] = []
    table: Location = ()
    entries: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            name = header["name"]
            table = tuple(_bare(part) for part in name.split("."))
            if header["array"]:
                entries[name] = entries.get(name, -1) + 1
                table = (*table, entries[name])
            places.append((number, table))
        elif assignment := _ASSIGNMENT.match(line):
            places.append((number, (*table, _bare(assignment["key"]))))
    return places


def _bare(key: str) -> str:
    """Return a key without the quotation marks that TOML permits around it."""
    return key.strip().strip("\"'")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS_MOST else f"{text[:SHOWN_CHARACTERS_MOST]}..."
