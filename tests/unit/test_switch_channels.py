"""Each channel by itself: found when it differs alone, obeyed when both say the same, and settled only when known."""

import pytest

from device.core.realtime_messages import Inputs
from device.core.switches import Switches, is_settled, update_switches
from tests.support.core import MS, TIMING

CHANNELS = ("trigger_a", "trigger_b", "stop_a", "stop_b")


def inputs(*high: str) -> Inputs:
    return Inputs(**{channel: channel in high for channel in CHANNELS}, home=True, contact=True, phase=False)


def update(before: Switches, seen: Inputs, now_ns: int) -> Switches:
    return update_switches(before, seen, timing=TIMING, now_ns=now_ns)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("at_rest", [inputs(), inputs(*CHANNELS)], ids=["released", "pressed"])
def test_a_channel_that_differs_alone_is_found(channel: str, at_rest: Inputs) -> None:
    high = {name for name in CHANNELS if getattr(at_rest, name)} ^ {channel}
    switches = update(update(Switches(), at_rest, 0), at_rest, 1)
    switches = update(switches, inputs(*high), 100 * MS)
    switches = update(switches, inputs(*high), 100 * MS + TIMING.discrepancy_ns + 1)
    assert switches.trigger_disagrees is channel.startswith("trigger")
    assert switches.stop_disagrees is channel.startswith("stop")


def test_both_stop_channels_at_once_stop_at_once() -> None:
    stopped = update(Switches(), inputs("stop_a", "stop_b"), 0)
    assert stopped.stop
    assert not update(stopped, inputs(), 1).stop


def test_known_inputs_at_rest_are_settled_and_no_others() -> None:
    assert is_settled(Switches(), inputs())
    assert is_settled(Switches(pressed=True, stop=True), inputs(*CHANNELS))
    for high in (("trigger_a", "trigger_b"), ("stop_a", "stop_b"), *((channel,) for channel in CHANNELS)):
        assert not is_settled(Switches(), inputs(*high))
    assert not is_settled(Switches(pressed_now=True), inputs())
    assert not is_settled(Switches(trigger_differs_since_ns=0), inputs())
    assert not is_settled(Switches(stop_differs_since_ns=0), inputs())


def test_a_discrepancy_under_watch_gives_the_same_object_until_it_is_one() -> None:
    watched = update(Switches(), inputs("stop_b"), 0)
    assert update(watched, inputs("stop_b"), 1) is watched
    assert update(watched, inputs("stop_b"), TIMING.discrepancy_ns + 1) is not watched
