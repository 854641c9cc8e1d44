"""The journal's records: JSON and back without loss, and nothing unknown let in."""

import json
from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.faults import CATALOGUE, Fault
from device.core.magazine import Purpose
from device.core.records import KINDS, FaultRaised, MagazineIntent, Record, from_body, to_body
from tests.support.core import LAW, make_intent

VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=12),
    int: st.integers(-(2**60), 2**60),
    bool: st.booleans(),
    int | None: st.none() | st.integers(0, 200_000),
    list[str]: st.lists(st.text(max_size=5), max_size=4),
    list[int]: st.lists(st.integers(-100, 100_000), max_size=4),
}


def records_of(kind: type[Record]) -> st.SearchStrategy[Record]:
    return st.builds(kind, **{field.name: VALUES[field.type] for field in fields(kind)})


any_record = st.one_of(*(records_of(kind) for kind in get_args(Record)))


@LAW
@given(record=any_record)
def test_every_record_survives_its_json(record: Record) -> None:
    body = json.loads(json.dumps(to_body(record)))
    assert from_body(record.KIND, body) == record


@LAW
@given(record=any_record, data=st.data())
def test_a_body_with_an_unknown_or_a_missing_field_is_refused_by_name(record: Record, data: st.DataObject) -> None:
    body = to_body(record)
    with pytest.raises(ValueError, match="surprise"):
        from_body(record.KIND, {**body, "surprise": 1})
    # A field that was added later has a default: what was written before it is still read.
    first = [field.name for field in fields(record) if field.default is MISSING and field.default_factory is MISSING]
    name = data.draw(st.sampled_from(first))
    del body[name]
    with pytest.raises(ValueError, match=name):
        from_body(record.KIND, body)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown record kind 'dream'"):
        from_body("dream", {})


def test_every_record_type_has_a_kind_of_its_own() -> None:
    assert set(KINDS.values()) == set(get_args(Record))
    assert all(name == kind.KIND for name, kind in KINDS.items())


def test_the_kinds_never_change() -> None:
    assert set(KINDS) >= {
        "booted",
        "command",
        "session_started",
        "session_ended",
        "magazine_intent",
        "shot",
        "magazine_settled",
        "refilled",
        "plunger_homed",
        "plunger_found",
        "press_refused",
        "fault_raised",
        "faults_cleared",
    }


def test_enumerations_are_read_back_from_their_values() -> None:
    assert make_intent(purpose="prime").purpose_of is Purpose.PRIME
    raised = FaultRaised(code=203, name="", priority="", latched=True, detail="", session_id="")
    assert raised.fault is Fault.STEP_LATE


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_is_explained_with_what_to_do(fault: Fault) -> None:
    meaning = CATALOGUE[fault]
    assert meaning.title
    assert meaning.action
    assert 100 < fault.value < 600


def test_an_intent_holds_whole_numbers_only() -> None:
    body = to_body(make_intent())
    numbers = [value for name in ("targets", "doses_nl", "carries") for value in body[name]]  # type: ignore[union-attr]  # lists by their declaration
    assert all(type(number) is int for number in numbers)
    assert from_body(MagazineIntent.KIND, body) == make_intent()
