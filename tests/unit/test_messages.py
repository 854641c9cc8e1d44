"""The messages: every record gives one flat event with exact decimals, codes, and no patient."""

import json
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from device.core.faults import Priority
from device.core.journal_chain import Entry, append_entry, genesis
from device.core.magazine import Outcome, Purpose
from device.core.profile import Mode
from device.core.records import KINDS, CommandTaken, FaultsCleared, MarkWord, PointMarked, Record, SessionStarted
from device.gateway.messages import (
    CHANNELS,
    EVENTS,
    AlarmPriority,
    ConnectionReason,
    JournalState,
    LiveValues,
    NextAction,
    PriorityName,
)
from device.gateway.publications import (
    ALARM_CODES,
    CONNECTION_CODES,
    ENUMERATED_CODES,
    JOURNAL_CODES,
    NEXT_ACTION_CODES,
    DeviceAddress,
    Origin,
    connection_status,
    event_of,
    live_session,
    machine_state,
    publication,
    thousandths,
)
from tests.support.gateway import LIVE
from tests.support.journal import INTENT, RAISED, SHOT, STARTED, records

ADDRESS = DeviceAddress("clinic", "console-1")
ORIGIN = Origin(ts_ms=1_772_600_767_089, boot_id="boot-1", seq=7)


def entry_of(record: Record) -> Entry:
    entry, _ = append_entry(genesis(bytes(16)), record, boot_id="boot-1", ts_ms=ORIGIN.ts_ms)
    return entry


def payload_of(record: Record) -> dict[str, Any]:
    made = publication(ADDRESS, event_of(entry_of(record)))
    payload: dict[str, Any] = json.loads(made.payload)
    return payload


@given(records())
def test_every_record_gives_one_flat_event_that_says_all_of_it(record: Record) -> None:
    payload = payload_of(record)
    made = publication(ADDRESS, event_of(entry_of(record)))

    assert (made.qos, made.retain) == (1, False)
    assert made.topic.startswith("mesogun/v1/clinic/console-1/event/")
    assert not any(isinstance(value, dict | list) for value in payload.values())
    told = {name.replace("_nl", "_ul").replace("_um", "_mm") for name in field_names(record)} - {"patient"}
    assert told <= set(payload)
    assert payload["ts"] == "2026-03-04T05:06:07.089Z"
    assert (payload["schema"], payload["ts_ms"], payload["boot_id"], payload["seq"]) == (1, ORIGIN.ts_ms, "boot-1", 1)


def field_names(record: Record) -> set[str]:
    return {field.name for field in fields(record)}


def test_every_kind_of_record_has_its_own_event_and_code() -> None:
    assert set(EVENTS) == set(KINDS)
    codes = [message.model_fields["kind_code"].default for message in EVENTS.values()]
    assert sorted(codes) == list(range(1, len(KINDS) + 1))


def test_kinds_go_to_the_topics_that_consumers_subscribe() -> None:
    def kinds(name: str) -> set[str]:
        return {kind for kind, message in EVENTS.items() if message in CHANNELS[name].messages}

    assert kinds("event/shot") == {"shot"}
    assert kinds("event/session") == {"session_started", "session_paused", "session_resumed", "session_ended"}
    assert kinds("event/alarm") == {"fault_raised", "faults_cleared"}


@given(st.integers(-(10**12), 10**12))
def test_microlitres_and_millimetres_are_told_to_the_last_digit(whole: int) -> None:
    assert Decimal(json.dumps(thousandths(whole))) * 1000 == whole


def test_a_shot_is_told_in_microlitres_and_millimetres_with_codes() -> None:
    payload = payload_of(replace(SHOT, outcome="uncertain", mode="burst"))

    assert (payload["planned_ul"], payload["booked_ul"], payload["exit_ul"]) == (20.0, 19.999, 3.999)
    assert payload["depth_mm"] == 6.005
    assert (payload["outcome"], payload["outcome_code"]) == ("uncertain", 2)
    assert (payload["mode"], payload["mode_code"]) == ("burst", 2)
    assert payload["session_id"] == "s-0001"
    assert payload["step_late_us_max"] == 200


def test_lists_are_joined_and_their_volumes_converted() -> None:
    payload = payload_of(replace(INTENT, doses_nl=[20_000, 19_999]))

    assert payload["phases"] == "entry,dwell,exit"
    assert payload["targets"] == "23970,23910,23880"
    assert payload["doses_ul"] == "20.0,19.999"


def test_the_patient_does_not_leave() -> None:
    payload = payload_of(STARTED)

    assert "patient" not in payload
    assert "Ada" not in json.dumps(payload)
    assert (payload["regions"], payload["region_points"]) == ("crown,temple-left", "12,8")


@given(st.text(min_size=1))
def test_whatever_the_patient_is_called_the_event_is_the_same(patient: str) -> None:
    assert payload_of(replace(STARTED, patient=patient)) == payload_of(STARTED)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("session_start", "session_start"),
        ("session start --patient Ada", "session"),
        ('{"patient": "Ada"}', "other"),
        ("Ada", "other"),
        ("", "other"),
        ("  ", "other"),
    ],
)
def test_only_a_command_s_first_word_leaves(command: str, told: str) -> None:
    taken = CommandTaken(command=command, uid=1000, pid=1, accepted=True, reason="")

    assert payload_of(taken)["command"] == told


@pytest.mark.parametrize(
    "record", [replace(SHOT, outcome="lost"), replace(SHOT, mode=""), replace(RAISED, priority="highest")]
)
def test_an_enumerated_string_outside_its_table_gives_no_event(record: Record) -> None:
    with pytest.raises(ValueError, match="is none of"):
        event_of(entry_of(record))


def test_every_enumerated_value_has_a_code() -> None:
    assert set(ENUMERATED_CODES["outcome"]) == {member.value for member in Outcome}
    assert set(ENUMERATED_CODES["purpose"]) == {member.value for member in Purpose}
    assert set(ENUMERATED_CODES["mode"]) == {member.value for member in Mode}
    assert set(ENUMERATED_CODES["priority"]) == {member.value for member in Priority} == set(get_args(PriorityName))
    assert set(CONNECTION_CODES) == set(get_args(ConnectionReason))
    assert set(JOURNAL_CODES) == set(get_args(JournalState))
    assert set(ENUMERATED_CODES["mark"]) == {word.value for word in MarkWord}
    assert set(NEXT_ACTION_CODES) == set(get_args(NextAction))


def test_a_mark_is_told_with_its_code_and_its_points() -> None:
    payload = payload_of(PointMarked("s-0001", "crown", point=4, points=2, mark="skip_undone", uid=1000))

    assert (payload["region"], payload["point"], payload["points"]) == ("crown", 4, 2)
    assert (payload["mark"], payload["mark_code"], payload["kind_code"]) == ("skip_undone", 4, 17)


def test_a_region_s_area_and_spacing_are_told_and_an_older_record_s_are_empty() -> None:
    measured = replace(STARTED, region_area_mm2=[3500, 0], region_spacing_um=[15_000, 0], region_grid=["hexagonal", ""])
    payload = payload_of(measured)

    assert (payload["region_area_mm2"], payload["region_spacing_mm"]) == ("3500,0", "15.0,0.0")
    assert payload["region_grid"] == "hexagonal,"
    assert payload_of(STARTED)["region_area_mm2"] == ""


def test_a_record_of_before_a_field_was_known_gives_its_event_with_the_records_default() -> None:
    # A console that was updated publishes what its older program wrote: a gateway that stops there stops for good.
    now = entry_of(STARTED)
    older = replace(now, body={name: now.body[name] for name in now.body if name not in ("needle", "lot", "operator")})

    assert event_of(older) == event_of(now)


def test_the_point_and_the_next_action_are_told_live() -> None:
    guided = {"point": 4, "region_points": 12, "points_given": 3, "points_missed": 1, "next_action": "skip_points"}
    live = live_session(ORIGIN, LiveValues.model_validate(LIVE | guided))

    assert (live.point, live.region_points, live.points_given, live.points_missed) == (4, 12, 3, 1)
    assert (live.next_action, live.next_action_code) == ("skip_points", 5)


def test_a_model_refuses_what_it_does_not_know() -> None:
    values = payload_of(FaultsCleared(codes=[101, 403], uid=1000))

    with pytest.raises(ValidationError, match="Extra inputs"):
        EVENTS["faults_cleared"].model_validate(values | {"patient": "Ada"})


@pytest.mark.parametrize("name", ["", "a/b", "a+b", "#", "a b", "x" * 65, "Zürich"])
def test_a_name_that_is_no_topic_level_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be 1 \.\.\. 64 letters"):
        DeviceAddress(name, "console-1")
    with pytest.raises(ValueError, match=r"must be 1 \.\.\. 64 letters"):
        DeviceAddress("clinic", name)


def test_an_unheard_controller_is_unknown() -> None:
    state = machine_state(ORIGIN, None, "ok")

    assert (state.state, state.state_code, state.faults, state.session_id) == ("unknown", -1, "", "")


@pytest.mark.parametrize(
    ("priority", "code", "silenced_ms"), [("none", 0, 0), ("low", 1, 0), ("medium", 2, 119_001), ("high", 3, 0)]
)
def test_the_alarm_is_told_with_its_code_and_how_long_it_is_silenced(
    priority: str, code: int, silenced_ms: int
) -> None:
    live = LiveValues.model_validate(
        LIVE | {"alarm_priority": priority, "alarm_escalated": code == 3, "alarm_silenced_ms": silenced_ms}
    )
    state = machine_state(ORIGIN, live, "ok")

    assert (state.alarm_priority, state.alarm_priority_code, state.alarm_escalated) == (priority, code, code == 3)
    assert (state.alarm_silenced, state.alarm_silenced_ms) == (silenced_ms > 0, silenced_ms)


def test_an_unheard_controller_s_alarm_is_unknown_and_not_none() -> None:
    state = machine_state(ORIGIN, None, "ok")

    assert (state.alarm_priority, state.alarm_priority_code, state.alarm_silenced) == ("unknown", -1, False)
    assert set(ALARM_CODES) == set(get_args(AlarmPriority))


def test_live_values_are_told_as_they_are() -> None:
    live = live_session(ORIGIN, LiveValues.model_validate(LIVE))
    made = publication(ADDRESS, live)

    assert (live.volume_ul, live.volume_limit_ul) == (59.997, 6000.0)
    assert (made.topic, made.qos, made.retain) == ("mesogun/v1/clinic/console-1/live/session", 0, False)


@pytest.mark.parametrize(
    ("reason", "online", "code"), [("connected", True, 0), ("stopped", False, 1), ("lost", False, 2)]
)
def test_the_connection_s_status_is_retained(reason: ConnectionReason, online: bool, code: int) -> None:
    made = publication(ADDRESS, connection_status(ORIGIN, reason))
    payload = json.loads(made.payload)

    assert (made.topic, made.qos, made.retain) == ("mesogun/v1/clinic/console-1/status/connection", 1, True)
    assert (payload["online"], payload["reason"], payload["reason_code"]) == (online, reason, code)


def test_a_session_started_without_a_weight_tells_null() -> None:
    assert isinstance(STARTED, SessionStarted)
    assert payload_of(replace(STARTED, weight_g=None))["weight_g"] is None
