"""A calendar file (RFC 5545) of all-day events, to be imported by whatever calendar a clinic has.

Owns the form alone: CRLF, lines folded at 75 octets, escaped text. No time zones, alarms or recurrences, which is why
no library is needed for it; a test reads it back with one. Never writes who a patient is: its text is the caller's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

LINE_OCTETS_MOST: Final = 75
"""RFC 5545, 3.1: a longer line is folded, the line end not counted."""

PRODUCT: Final = "-//mesogun//course//EN"


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """One all-day event. A calendar that knows its `uid` moves it there instead of adding another one.

    `revision` grows when the event is planned anew.
    """

    uid: str
    day: date
    summary: str
    description: str
    revision: int


def calendar_text(events: Iterable[CalendarEvent], *, made: datetime) -> bytes:
    """Return the file's content; `made` is an aware time, the stamp of every event."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{PRODUCT}", "CALSCALE:GREGORIAN"]
    for event in events:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{event.uid}",
            f"DTSTAMP:{made.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            f"SEQUENCE:{event.revision}",
            f"DTSTART;VALUE=DATE:{event.day:%Y%m%d}",
            f"SUMMARY:{_escaped(event.summary)}",
            f"DESCRIPTION:{_escaped(event.description)}",
            # An appointment is made for an hour of that day: the day itself is not taken.
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return b"".join(part + b"\r\n" for line in lines for part in _folded(line.encode()))


def _escaped(text: str) -> str:
    """Return a text as a value (RFC 5545, 3.3.11). Other control characters are left out: none is allowed."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return "".join(character for character in text if character >= " " and character != "\x7f")


def _folded(line: bytes) -> Iterator[bytes]:
    """Yield the parts of a line, each after the first with the blank that says so; no character is torn in two."""
    start, room = 0, LINE_OCTETS_MOST
    while len(line) - start > room:
        end = start + room
        while line[end] & 0xC0 == 0x80:
            end -= 1
        yield b" " * (start > 0) + line[start:end]
        start, room = end, LINE_OCTETS_MOST - 1
    yield b" " * (start > 0) + line[start:]
