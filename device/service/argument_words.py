"""What people write on the command line, each kind turned into the units used inside.

Every function raises argparse.ArgumentTypeError, which is exit code 2 and one line that says what is allowed.
"""

import argparse
import re
from datetime import UTC, date, datetime
from decimal import Decimal, DecimalException
from typing import Final

WHOLE_MOST: Final = 10**12
"""Far above every range of the control socket, and a number that every program reads."""

YEAR_MOST: Final = 9998
"""The last one of which every day has a day after it, and every moment a time in every time zone."""


def weight_g(text: str) -> int:
    """Return grams from kilograms."""
    return _whole(text, 1000, "kilograms", "70 or 70.5")


def volume_nl(text: str) -> int:
    """Return nanolitres from microlitres."""
    return _whole(text, 1000, "microlitres", "100 or 2.5")


def _whole(text: str, factor: int, unit: str, example: str) -> int:
    try:
        value = Decimal(text) * factor
    except DecimalException as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit}; write {example}") from error
    if not value.is_finite() or not 0 < value < WHOLE_MOST or value != value.to_integral_value():
        raise argparse.ArgumentTypeError(
            f"{text!r}: allowed are positive {unit} with at most 3 decimals, below {WHOLE_MOST // factor}"
        )
    return int(value)


def regions(text: str) -> list[dict[str, object]]:
    """Return a session's regions; the grammar is `region_text`'s."""
    from device.service.region_text import parse_regions  # noqa: PLC0415 - only a session's start needs it

    try:
        return parse_regions(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def broker(text: str) -> tuple[str, int]:
    """Return a broker's host and port."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r}: write HOST:PORT, as in localhost:1883")
    return host, int(port)


def positive(text: str) -> int:
    """Return a whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are whole numbers from 1")
    return int(text)


def count(text: str) -> int:
    """Return a whole number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are whole numbers from 0")
    return int(text)


def day(text: str) -> date:
    """Return a day of the calendar."""
    try:
        when = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write YYYY-MM-DD, as in 2026-09-30") from error
    if when.year < 1970:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are dates from 1970 on")
    return when


def last_day(text: str) -> date:
    """Return a day that another one follows."""
    when = day(text)
    if when.year > YEAR_MOST:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are dates up to {YEAR_MOST}")
    return when


def moment(text: str) -> datetime:
    """Return a moment of this computer's own time."""
    try:
        when = datetime.strptime(text, "%Y-%m-%d %H:%M")  # noqa: DTZ007 - this computer's own time, made so by astimezone
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no moment; write "YYYY-MM-DD HH:MM", as in "2026-09-30 14:05"'
        ) from error
    if not 1971 <= when.year <= YEAR_MOST:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are moments from 1971 to {YEAR_MOST}")
    return when


def key_name(text: str) -> str:
    """Return a key's name."""
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are 1 to 32 small letters, digits and hyphens")
    return text
