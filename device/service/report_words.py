"""How a line of a report is made: headings, rows, dated items, and how times, volumes and masses are written.

Lines are at most `COLUMNS` wide. What a terminal would obey and not show is made visible. Whole numbers come in and are
written exactly: nothing is rounded.
"""

import textwrap
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from device.core.journal_chain import TS_MS_MAX
from device.core.patient_day import DAY_MS
from device.journal_reader import utc_text

COLUMNS: Final = 100
LABEL: Final = 13


def heading(text: str) -> list[str]:
    """Return a heading, underlined."""
    return [text, "-" * len(text)]


def row_of(label: str, text: str) -> list[str]:
    """Return `text` behind its label, wrapped."""
    return wrapped(f"{label:<{LABEL - 1}} ", text)


def item(seq: int, at_ms: int, text: str) -> list[str]:
    """Return `text` behind a record's number and time (ms since 1970), wrapped."""
    return wrapped(f"{seq:>7}  {utc(at_ms)}  ", text)


def wrapped(prefix: str, text: str) -> list[str]:
    """Return `text` behind `prefix`, wrapped; a word longer than the room (an unbroken name) is broken too."""
    return textwrap.wrap(
        printable(text), COLUMNS, initial_indent=prefix, subsequent_indent=" " * len(prefix), break_on_hyphens=False
    ) or [prefix.rstrip()]


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey and not show, as from a free-text field, made visible."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def has_text(at_ms: int) -> bool:
    """Return whether a time has a text in every time zone."""
    # Less than a day before the end of what has a text: any time zone's then has one, too.
    return 0 < at_ms <= TS_MS_MAX - DAY_MS


def utc(at_ms: int) -> str:
    """Return a time in UTC; "at an unknown time" for one that no calendar has."""
    return utc_text(at_ms) if has_text(at_ms) else "at an unknown time"


def local(at_ms: int, zone: tzinfo | None) -> str:
    """Return a time in `zone` with its offset (None: this computer's)."""
    if not has_text(at_ms):
        return "at an unknown time"
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    text = moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %z")
    return f"{text[:-2]}:{text[-2:]}"


def utc_and_local(at_ms: int, zone: tzinfo | None) -> str:
    """Return a time in UTC and in `zone`."""
    return f"{utc(at_ms)}, local {local(at_ms, zone)}" if has_text(at_ms) else "at an unknown time"


def in_ul(volume_nl: int) -> str:
    """Return nanolitres as microlitres, to the nanolitre."""
    return decimal(volume_nl, 1000, digits=3)


def counted(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun; `more` is the plural where an s does not make it."""
    return f"{number} {one if number == 1 else more or one + 's'}"


def in_mg(mass_ug: int) -> str:
    """Return micrograms as milligrams, to the microgram."""
    return decimal(mass_ug, 1000, digits=3)


def decimal(value: int, unit: int, *, digits: int = 0) -> str:
    """Return `value / unit` exactly, for a unit of 1000, with at least so many digits behind the point."""
    whole, rest = divmod(abs(value), unit)
    behind = f"{rest:03d}".rstrip("0").ljust(digits, "0")
    return f"{'-' if value < 0 else ''}{whole}" + (f".{behind}" if behind else "")
