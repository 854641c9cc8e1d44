"""I7, judged: every record of the journal reached the broker, in order, and nothing else did.

Sees what the broker kept and what the journal holds, nothing of the gateway. Pure. To be asked once the broker has
been well and the gateway alive for long enough: until then records may rightly be missing.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from device.core.journal_chain import Entry
from device.gateway.publications import DeviceAddress, event_of, publication
from device.simulation.broker import Received

EVENTS: Final = "event/"

Name = tuple[str, int]
"""What names a record everywhere: `boot_id` and `seq`."""


def delivery_violations(
    journals: Sequence[Sequence[Entry]],
    received: Sequence[Received],
    address: DeviceAddress,
    *,
    in_order_at_first: bool = True,
) -> list[str]:
    """Return what contradicts I7, a line each; empty when it holds.

    `journals` holds the journals that had the name, the present one last: of it every record must have come, of those
    before it an unbroken beginning. `in_order_at_first` is False where a broker refused some records and took others:
    a later one may then have come first, but for each the last arrival is in order all the same.
    """
    expected = {_name(entry): publication(address, event_of(entry)) for entries in journals for entry in entries}
    violations: list[str] = []
    arrived: list[Name] = []
    for message in received:
        if not message.topic.startswith(address.topic(EVENTS)):
            continue
        body = json.loads(message.payload)
        name = (body["boot_id"], body["seq"])
        record = expected.get(name)
        if record is None:
            violations.append(f"{_text(name)} came and is in no journal")
        elif (message.topic, message.payload, message.qos, message.retained) != (
            record.topic,
            record.payload,
            record.qos,
            record.retain,
        ):
            violations.append(f"{_text(name)} came as something else: {message.payload.decode()}")
        else:
            arrived.append(name)
    return violations + _missing(journals, set(arrived)) + _disorder(journals, arrived, at_first=in_order_at_first)


def _missing(journals: Sequence[Sequence[Entry]], arrived: set[Name]) -> list[str]:
    """Return the gaps: in the present journal any record, in an earlier one those before a record that came."""
    violations = []
    for entries in journals:
        names = [_name(entry) for entry in entries]
        owed = len(names)
        if entries is not journals[-1]:
            owed = max((place for place, name in enumerate(names) if name in arrived), default=0)
        violations += [f"{_text(name)} never came" for name in names[:owed] if name not in arrived]
    return violations


def _disorder(journals: Sequence[Sequence[Entry]], arrived: list[Name], *, at_first: bool) -> list[str]:
    """Return where first arrivals (of all journals) or last ones (of the present one) are out of order."""
    places: dict[Name, int] = {}
    for entries in journals:
        for entry in entries:
            places.setdefault(_name(entry), len(places))
    present = {_name(entry) for entry in journals[-1]}
    last = [name for name in reversed(dict.fromkeys(reversed(arrived))) if name in present]
    violations = _backward(last, places, "came last")
    if at_first:
        violations += _backward(list(dict.fromkeys(arrived)), places, "came first")
    return violations


def _backward(names: list[Name], places: dict[Name, int], what: str) -> list[str]:
    return [
        f"{_text(later)} {what} before {_text(earlier)}"
        for later, earlier in pairwise(names)
        if places[earlier] < places[later]
    ]


def _name(entry: Entry) -> Name:
    return (entry.boot_id, entry.seq)


def _text(name: Name) -> str:
    return f"record {name[1]} of {name[0]}"
