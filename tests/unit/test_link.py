"""The link: every message arrives as it was sent, and nothing malformed is taken for one."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.device_spec import AxisSpec, Timing
from device.core.faults import Fault
from device.core.magazine import Purpose, RealtimeMagazine, StrokeProgram
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Halt,
    Load,
    MagazineEnded,
    Order,
    PressIgnored,
    PressRefusal,
    Ready,
    Report,
    Reset,
)
from device.core.stroke import ScanSpec
from device.realtime.link import (
    MESSAGE_FIELDS,
    NONE,
    Configure,
    HeartbeatPage,
    LinkError,
    RealtimeEnd,
    open_pair,
    pack,
    unpack,
)
from drivers.ports import LineMap
from tests.support.console import LINES
from tests.support.core import AXIS, LAW, SCAN_SPEC, TIMING, make_magazine

NUMBERS = st.integers(NONE + 1, 2**63 - 1)
MESSAGE = struct.Struct(f"<{MESSAGE_FIELDS}q")
OPTIONAL = {"entry_open", "exit_done", "suck_back_ns", "prime_ns", "contact", "phase"}


def values_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return any value of a message, field by field from its declaration."""
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for field in fields(kind):
        if field.type is bool:
            parts[field.name] = st.booleans()
        elif field.type in (Fault, EndReason, PressRefusal, Purpose, Mode, TriggerStyle):
            parts[field.name] = st.sampled_from(field.type)
        elif field.type in (RealtimeMagazine, StrokeProgram):
            parts[field.name] = values_of(field.type)
        else:
            parts[field.name] = st.none() | NUMBERS if field.name in OPTIONAL else NUMBERS
    return st.builds(kind, **parts)


messages = st.one_of(*(values_of(kind) for kind in (*get_args(Order), *get_args(Report))))


@LAW
@given(message=messages)
def test_every_order_and_report_arrives_as_it_was_sent(message: Order | Report) -> None:
    data = pack(message)
    assert len(data) == MESSAGE.size
    assert unpack(data) == message


@LAW
@given(lines=values_of(LineMap), axis=values_of(AxisSpec), timing=values_of(Timing), feedback=st.booleans())
def test_the_configuration_arrives_as_it_was_sent(
    lines: LineMap, axis: AxisSpec, timing: Timing, feedback: bool
) -> None:
    spec = ScanSpec(axis=axis, timing=timing, phase_feedback=feedback)
    arrived = unpack(pack(Configure(lines, spec)))
    assert isinstance(arrived, Configure)
    assert (arrived.lines, arrived.spec) == (lines, spec)


@pytest.mark.parametrize("kind", [*get_args(Order), *get_args(Report)], ids=lambda kind: kind.__name__)
def test_every_kind_of_message_has_room_in_the_fixed_size(kind: type[Any]) -> None:
    assert len(pack(_smallest(kind))) == MESSAGE.size


def _smallest(kind: type[Any]) -> Any:
    numbers = {field.name: 0 for field in fields(kind)}
    changes: dict[type[Any], dict[str, Any]] = {
        Load: {"magazine": make_magazine()},
        Halt: {"fault": Fault.INTERNAL},
        Faulted: {"fault": Fault.INTERNAL},
        PressIgnored: {"reason": PressRefusal.BUSY},
        MagazineEnded: {"reason": EndReason.COMPLETE},
    }
    return kind(**(numbers | changes.get(kind, {})))


@LAW
@given(data=st.binary(max_size=2 * MESSAGE.size).filter(lambda data: len(data) != MESSAGE.size))
def test_a_message_of_another_size_is_refused(data: bytes) -> None:
    with pytest.raises(LinkError, match=f"message of {len(data)} bytes"):
        unpack(data)


@LAW
@given(kind=st.integers(-(2**63), 2**63 - 1).filter(lambda kind: not 0 <= kind <= 13))
def test_a_message_of_an_unknown_type_is_refused(kind: int) -> None:
    with pytest.raises(LinkError, match="unknown message type"):
        unpack(MESSAGE.pack(kind, *[0] * (MESSAGE_FIELDS - 1)))


def with_number(message: Order | Report, place: int, number: int) -> bytes:
    numbers = list(MESSAGE.unpack(pack(message)))
    numbers[place] = number
    return MESSAGE.pack(*numbers)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (Halt(Fault.STOP_PRESSED), 1),
        (Faulted(Fault.STEP_LATE, homed=True, detail=0), 1),
        (PressIgnored(PressRefusal.BUSY), 1),
        (MagazineEnded(magazine_id=1, reason=EndReason.COMPLETE, shots_fired=1, opened=4, done=4), 2),
        (Load(make_magazine()), 3),
        (Load(make_magazine()), 4),
        (Load(make_magazine()), 5),
    ],
    ids=["halt", "faulted", "press", "ended", "purpose", "mode", "trigger"],
)
@pytest.mark.parametrize("number", [99, -1])
def test_a_value_outside_its_enumeration_is_refused(message: Order | Report, place: int, number: int) -> None:
    # A negative number once counted from the enumeration's end.
    with pytest.raises(LinkError, match=type(message).__name__):
        unpack(with_number(message, place, number))


def test_a_number_too_large_for_the_message_is_refused() -> None:
    with pytest.raises(LinkError, match="Faulted does not fit a message"):
        pack(Faulted(Fault.STEP_LATE, homed=True, detail=2**63))


def test_every_field_of_the_heartbeat_page_is_seen_by_the_other_end() -> None:
    descriptor = HeartbeatPage.create()
    ours, theirs = HeartbeatPage(descriptor), HeartbeatPage(descriptor)
    os.close(descriptor)
    assert (ours.permit_until_ns, ours.scan_ns, ours.position) == (0, 0, 0)
    ours.permit(123)
    assert (theirs.permit_until_ns, theirs.scan_ns, theirs.position) == (123, 0, 0)
    theirs.beat(456, -7)
    assert (ours.permit_until_ns, ours.scan_ns, ours.position) == (123, 456, -7)
    ours.close()
    theirs.close()


@contextmanager
def ends() -> Iterator[tuple[Any, RealtimeEnd]]:
    controller, connection = open_pair()
    descriptor = HeartbeatPage.create()
    end = RealtimeEnd(connection, HeartbeatPage(descriptor))
    os.close(descriptor)
    yield controller, end
    controller.close()
    end.close()


def test_orders_are_received_one_by_one_and_no_order_is_no_wait() -> None:
    with ends() as (controller, end):
        assert end.receive() is None
        controller.send(pack(Reset()))
        controller.send(pack(Halt(Fault.STOP_PRESSED)))
        assert end.receive() == Reset()
        assert end.receive() == Halt(Fault.STOP_PRESSED)
        assert end.receive() is None
        assert end.linked


def test_reports_reach_the_controller_with_their_boundaries() -> None:
    with ends() as (controller, end):
        end.send(Ready(homed=True))
        end.send(PressIgnored(PressRefusal.BUSY))
        assert unpack(controller.recv(4096)) == Ready(homed=True)
        assert unpack(controller.recv(4096)) == PressIgnored(PressRefusal.BUSY)


def test_a_closed_controller_is_a_lost_link_and_no_error() -> None:
    with ends() as (controller, end):
        controller.close()
        assert end.receive() is None
        assert not end.linked
        end.send(Ready(homed=True))


def test_a_controller_hopelessly_behind_is_a_lost_link() -> None:
    with ends() as (_, end):
        for _ in range(10_000):
            end.send(Ready(homed=True))
            if not end.linked:
                return
        pytest.fail("ten thousand reports that nobody reads were taken")


def test_a_report_sent_to_the_real_time_process_is_refused() -> None:
    with ends() as (controller, end):
        controller.send(pack(Ready(homed=True)))
        with pytest.raises(LinkError, match="Ready is no order"):
            end.receive()


def test_the_configuration_is_received_as_the_first_message() -> None:
    with ends() as (controller, end):
        controller.send(pack(Configure(LINES, SCAN_SPEC)))
        arrived = end.receive()
        assert isinstance(arrived, Configure)
        assert arrived.spec.axis != AXIS
        assert arrived.spec.timing == TIMING
