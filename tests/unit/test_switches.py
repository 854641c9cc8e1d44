"""The trigger and the stop: one press counts once, a stop counts at once, channels that differ are found."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.realtime_messages import Inputs
from device.core.switches import Switches, update_switches
from tests.support.core import LAW, MS, TIMING

LOCKOUT = TIMING.lockout_ns
DISCREPANCY = TIMING.discrepancy_ns


def inputs(*, a: bool = False, b: bool = False, stop_a: bool = False, stop_b: bool = False) -> Inputs:
    return Inputs(trigger_a=a, trigger_b=b, stop_a=stop_a, stop_b=stop_b, home=True, contact=True, phase=False)


def update(before: Switches, seen: Inputs, now_ns: int) -> Switches:
    return update_switches(before, seen, timing=TIMING, now_ns=now_ns)


def test_a_press_counts_at_its_first_edge_and_in_that_scan_only() -> None:
    pressed = update(Switches(), inputs(a=True, b=True), 0)
    assert pressed.pressed
    assert pressed.pressed_now
    later = update(pressed, inputs(a=True, b=True), 1)
    assert later.pressed
    assert not later.pressed_now


def test_one_channel_alone_is_no_press() -> None:
    assert not update(Switches(), inputs(a=True), 0).pressed
    assert not update(Switches(), inputs(b=True), 0).pressed


def test_a_release_counts_from_either_channel() -> None:
    pressed = update(Switches(), inputs(a=True, b=True), 0)
    assert not update(pressed, inputs(a=True), LOCKOUT).pressed
    assert not update(pressed, inputs(b=True), LOCKOUT).pressed


@pytest.mark.parametrize(
    ("after_ns", "counts"), [(1, False), (LOCKOUT - 1, False), (LOCKOUT, True), (LOCKOUT + 1, True)]
)
def test_a_release_counts_only_when_the_lock_out_is_over(after_ns: int, counts: bool) -> None:
    pressed = update(Switches(), inputs(a=True, b=True), 0)
    assert update(pressed, inputs(), after_ns).pressed is not counts


@LAW
@given(bounces=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_bounce_within_the_lock_out_changes_nothing(bounces: list[tuple[bool, bool]]) -> None:
    switches = update(Switches(), inputs(a=True, b=True), 0)
    presses = 0
    for number, (a, b) in enumerate(bounces, start=1):
        switches = update(switches, inputs(a=a, b=b), number * (LOCKOUT - 1) // 40)
        presses += switches.pressed_now
        assert switches.pressed
    assert presses == 0


@LAW
@given(levels=st.lists(st.booleans(), min_size=1, max_size=200), tick=st.integers(MS // 4, 3 * MS))
def test_presses_are_never_closer_than_two_lock_outs(levels: list[bool], tick: int) -> None:
    switches = Switches()
    presses: list[int] = []
    for number, level in enumerate(levels):
        switches = update(switches, inputs(a=level, b=level), number * tick)
        if switches.pressed_now:
            presses.append(number * tick)
    assert all(later - earlier >= 2 * LOCKOUT for earlier, later in pairwise(presses))


@pytest.mark.parametrize("channel", ["stop_a", "stop_b"])
def test_either_stop_channel_stops_at_once(channel: str) -> None:
    stopped = update(Switches(), inputs(**{channel: True}), 0)
    assert stopped.stop
    assert not stopped.stop_disagrees
    assert not update(stopped, inputs(), 1).stop


@pytest.mark.parametrize(
    ("after_ns", "found"), [(DISCREPANCY - 1, False), (DISCREPANCY, False), (DISCREPANCY + 1, True)]
)
def test_channels_disagree_when_they_differ_for_longer_than_the_discrepancy_time(after_ns: int, found: bool) -> None:
    first = update(Switches(), inputs(b=True, stop_a=True), 0)
    later = update(first, inputs(b=True, stop_a=True), after_ns)
    assert later.trigger_disagrees is found
    assert later.stop_disagrees is found


def test_agreement_in_between_starts_the_discrepancy_time_again() -> None:
    switches = update(Switches(), inputs(a=True), 0)
    switches = update(switches, inputs(), DISCREPANCY)
    switches = update(switches, inputs(a=True), DISCREPANCY + 1)
    assert not update(switches, inputs(a=True), 2 * DISCREPANCY + 1).trigger_disagrees
    assert update(switches, inputs(a=True), 2 * DISCREPANCY + 2).trigger_disagrees


def test_unchanged_inputs_give_the_same_object() -> None:
    quiet = update(Switches(), inputs(), 0)
    assert update(quiet, inputs(), MS) is quiet
