"""Messages made ready for the broker: from records to events, from live values to states.

Owns the way from inside to outside: whole nanolitres and micrometres become decimal microlitres and millimetres,
lists become comma-joined strings, enumerated strings get their code, private fields are left out. Never reads a clock
or a file. A record gives exactly one event or an error, never an event that says less: the models refuse both an
unknown and a missing field.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from device.core.journal_chain import Entry
from device.core.magazine import Outcome, Purpose
from device.core.profile import Mode
from device.core.records import Json, MarkWord, to_body
from device.gateway.messages import (
    CHANNELS,
    EVENTS,
    ConnectionReason,
    ConnectionStatus,
    DeviceMeta,
    JournalState,
    LiveSession,
    LiveValues,
    MachineState,
    Message,
)
from device.journal_reader import utc_text

TOPIC_ROOT: Final = "mesogun/v1"
ENUMERATED_CODES: Final[Mapping[str, Mapping[str, int]]] = {
    "outcome": {Outcome.DELIVERED.value: 0, Outcome.PARTIAL.value: 1, Outcome.UNCERTAIN.value: 2},
    "purpose": {Purpose.INJECT.value: 1, Purpose.PRIME.value: 2},
    "mode": {Mode.SINGLE.value: 1, Mode.BURST.value: 2, Mode.CONTINUOUS.value: 3},
    "priority": {"low": 1, "medium": 2, "high": 3},
    "mark": {word.value: code for code, word in enumerate(MarkWord, start=1)},
}
"""The records' enumerated fields; each is followed by a field of the same name and `_code`."""

PRIVATE_FIELDS: Final = frozenset({"patient"})
"""What a record holds and no message does."""

OUTSIDE_UNITS: Final = {"_nl": "_ul", "_um": "_mm"}
"""The units inside, and a thousand times larger, for people."""

CONNECTION_CODES: Final[Mapping[str, int]] = {"connected": 0, "stopped": 1, "lost": 2}

ALARM_CODES: Final[Mapping[str, int]] = {"unknown": -1, "none": 0, **ENUMERATED_CODES["priority"]}

NEXT_ACTION_CODES: Final[Mapping[str, int]] = {
    "none": 0, "arm": 1, "press": 2, "wait": 3, "clear_fault": 4, "skip_points": 5, "stop_session": 6,
    "override": 7, "resume_session": 8, "confirm_checklist": 9, "prime": 10, "change_needle": 11,
    "home": 12,
}  # fmt: skip

JOURNAL_CODES: Final[Mapping[str, int]] = {"ok": 0, "unavailable": 1, "damaged": 2}

STATE_UNKNOWN: Final = "unknown"
STATE_UNKNOWN_CODE: Final = -1
"""The controller is not heard: its live values are absent or stale."""

_TOPIC_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COMMAND_WORD: Final = re.compile(r"[a-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Publication:
    """One message, ready for the broker."""

    topic: str
    payload: bytes
    qos: Literal[0, 1]
    retain: bool


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """Where a console stands in the topic tree. Raises ValueError for a name that is no single topic level."""

    site: str
    device: str

    def __post_init__(self) -> None:
        """Check both names."""
        for name, value in (("site", self.site), ("device", self.device)):
            if _TOPIC_WORD.fullmatch(value) is None:
                raise ValueError(f"{name} {value!r} must be 1 ... 64 letters, digits, '_', '.' or '-'")

    def topic(self, name: str) -> str:
        """Return the topic for `name`, such as `event/shot`."""
        return f"{TOPIC_ROOT}/{self.site}/{self.device}/{name}"


@dataclass(frozen=True, slots=True)
class Origin:
    """What every message says of itself: when (ms since 1970), of which boot, at which record."""

    ts_ms: int
    boot_id: str
    seq: int


_TOPIC_OF: Final = {message: name for name, channel in CHANNELS.items() for message in channel.messages}


def publication(address: DeviceAddress, message: Message) -> Publication:
    """Return `message` with its topic, quality of service and retention."""
    name = _TOPIC_OF[type(message)]
    channel = CHANNELS[name]
    payload = message.model_dump_json(by_alias=True).encode()
    return Publication(address.topic(name), payload, channel.qos, channel.retain)


def event_of(entry: Entry) -> Message:
    """Return the one event that `entry` gives: its record's fields in outside units, lists comma-joined.

    A field that an older version of the console did not write yet has the record's default. Raises ValueError for a
    kind without a message, an enumerated string outside its table, or a field that the message does not know: better no
    event than one that says less than the record.
    """
    message = EVENTS.get(entry.kind)
    if message is None:
        raise ValueError(f"record kind {entry.kind!r} has no message")
    origin = Origin(entry.ts_ms, entry.boot_id, entry.seq)
    values: dict[str, object] = _header(origin, "")
    for name, value in to_body(entry.record()).items():
        values |= _outside(name, value)
    return message.model_validate(values)


def connection_status(origin: Origin, reason: ConnectionReason) -> ConnectionStatus:
    """Return the status for `reason`."""
    values = {"online": reason == "connected", "reason": reason, "reason_code": CONNECTION_CODES[reason]}
    return ConnectionStatus.model_validate(_header(origin, "") | values)


def device_meta(origin: Origin, address: DeviceAddress, live: LiveValues) -> DeviceMeta:
    """Return which console this is."""
    values = {"site": address.site, "device": address.device, "serial": live.serial}
    return DeviceMeta.model_validate(
        _header(origin, "") | values | {"version": live.version, "simulated": live.simulated}
    )


def machine_state(origin: Origin, live: LiveValues | None, journal: JournalState) -> MachineState:
    """Return the controller's state; unknown when `live` is None."""
    alarm = live.alarm_priority if live else "unknown"
    return MachineState.model_validate(
        _header(origin, live.session_id if live else "")
        | {
            "state": live.state if live else STATE_UNKNOWN,
            "state_code": live.state_code if live else STATE_UNKNOWN_CODE,
            "faults": live.faults if live else "",
            "alarm_priority": alarm,
            "alarm_priority_code": ALARM_CODES[alarm],
            "alarm_escalated": live.alarm_escalated if live else False,
            "alarm_silenced": live.alarm_silenced_ms > 0 if live else False,
            "alarm_silenced_ms": live.alarm_silenced_ms if live else 0,
            "simulated": live.simulated if live else False,
            "journal": journal,
            "journal_code": JOURNAL_CODES[journal],
        }
    )


def live_session(origin: Origin, live: LiveValues) -> LiveSession:
    """Return the session's progress."""
    return LiveSession.model_validate(
        _header(origin, live.session_id)
        | {
            "state": live.state,
            "state_code": live.state_code,
            "profile": live.profile,
            "region": live.region,
            "shots": live.shots,
            "shots_planned": live.shots_planned,
            "shots_left": live.shots_left,
            "first_limit": live.first_limit,
            "point": live.point,
            "region_points": live.region_points,
            "point_repeat": live.point_repeat,
            "points_given": live.points_given,
            "points_missed": live.points_missed,
            "points_doubled": live.points_doubled,
            "next_action": live.next_action,
            "next_action_code": NEXT_ACTION_CODES[live.next_action],
        }
        | _outside("volume_nl", live.volume_nl)
        | _outside("volume_limit_nl", live.volume_limit_nl)
    )


def thousandths(whole: int) -> float:
    """Return `whole` / 1000 for people: the float nearest to the exact decimal, so that it prints as that decimal."""
    return whole / 1000


def _header(origin: Origin, session_id: str) -> dict[str, object]:
    return {
        "ts": utc_text(origin.ts_ms),
        "ts_ms": origin.ts_ms,
        "boot_id": origin.boot_id,
        "seq": origin.seq,
        "session_id": session_id,
    }


def _outside(name: str, value: Json) -> dict[str, object]:
    """Return what one field of a record becomes in a message: nothing, one field, or a string and its code."""
    if name in PRIVATE_FIELDS:
        return {}
    if name in ENUMERATED_CODES:
        return _with_code(name, value)
    if name == "command":
        return {name: _command_word(value)}
    outside_unit = OUTSIDE_UNITS.get(name[-3:])
    if outside_unit is not None:
        name = name[:-3] + outside_unit
    if isinstance(value, list):
        return {name: ",".join(str(_scaled(part, outside_unit)) for part in value)}
    return {name: _scaled(value, outside_unit)}


def _scaled(value: Json, outside_unit: str | None) -> object:
    return thousandths(value) if outside_unit is not None and isinstance(value, int) else value


def _with_code(name: str, value: Json) -> dict[str, object]:
    codes = ENUMERATED_CODES[name]
    if not isinstance(value, str) or value not in codes:
        raise ValueError(f"{name} {value!r} is none of {', '.join(codes)}")
    return {name: value, f"{name}_code": codes[value]}


def _command_word(value: Json) -> str:
    """Return a command's first word; `other` if that is no plain word, so that no free text leaves the console."""
    first = value.split(maxsplit=1)[0] if isinstance(value, str) and value.strip() else ""
    return first if _COMMAND_WORD.fullmatch(first) else "other"
