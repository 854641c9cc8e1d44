"""A calendar file is what RFC 5545 asks for: read by an independent reader, and held to the rules of its lines."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.service.calendar_file import LINE_OCTETS_MOST, CalendarEvent, calendar_text
from tests.support.core import LAW

MADE = datetime(2026, 9, 1, 10, 30, tzinfo=timezone(timedelta(hours=3)))
EVENT = CalendarEvent("one@mesogun", date(2026, 9, 8), "session 2 of 8", "at least 5, at most 11; then \\ \n 22", 3)
printable = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=200)


def test_an_independent_reader_finds_what_was_written() -> None:
    calendar: Any = icalendar.Calendar.from_ical(calendar_text([EVENT], made=MADE))
    (event,) = calendar.walk("VEVENT")
    assert (str(calendar["VERSION"]), str(calendar["PRODID"])) == ("2.0", "-//mesogun//course//EN")
    assert (str(event["UID"]), event["SEQUENCE"], str(event["TRANSP"])) == ("one@mesogun", 3, "TRANSPARENT")
    assert (event["DTSTART"].dt, type(event["DTSTART"].dt)) == (date(2026, 9, 8), date)
    assert event["DTSTAMP"].dt == MADE.astimezone(UTC)
    assert (str(event["SUMMARY"]), str(event["DESCRIPTION"])) == (EVENT.summary, EVENT.description)


@LAW
@given(summary=printable, description=printable)
def test_any_text_survives_in_lines_of_at_most_75_octets(summary: str, description: str) -> None:
    content = calendar_text([CalendarEvent("u", date(2026, 9, 8), summary, description, 0)], made=MADE)
    assert content.endswith(b"END:VCALENDAR\r\n")
    lines = content.split(b"\r\n")[:-1]
    for line in lines:
        assert len(line) <= LINE_OCTETS_MOST
        assert b"\n" not in line
        line.decode()
    unfolded = content.replace(b"\r\n ", b"").decode().split("\r\n")
    for name, text in (("SUMMARY", summary), ("DESCRIPTION", description)):
        (value,) = (line.removeprefix(f"{name}:") for line in unfolded if line.startswith(f"{name}:"))
        plain = value.replace("\\\\", "\0").replace("\\;", ";").replace("\\,", ",").replace("\0", "\\")
        assert plain == text


@pytest.mark.parametrize("control", ["\r", "\t", "\x00", "\x7f"])
def test_a_control_character_is_left_out(control: str) -> None:
    content = calendar_text([CalendarEvent("u", date(2026, 9, 8), f"a{control}b", "", 0)], made=MADE)
    assert b"SUMMARY:ab\r\n" in content


def test_a_calendar_without_events_is_one() -> None:
    assert calendar_text([], made=MADE).split(b"\r\n") == [
        b"BEGIN:VCALENDAR",
        b"VERSION:2.0",
        b"PRODID:-//mesogun//course//EN",
        b"CALSCALE:GREGORIAN",
        b"END:VCALENDAR",
        b"",
    ]
