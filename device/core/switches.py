"""The two-channel trigger and stop: debounce, agreement, and the one press that counts.

Debounce is "first edge wins, then lockout": a press counts at once, then the trigger's level is ignored for the
lock-out; the same after a release. Safe because each loaded shot fires once. A stop counts on either channel at once.
Two channels that differ for longer than the discrepancy time are a fault, whatever else they do.
"""

from dataclasses import dataclass

from device.core.device_spec import Timing
from device.core.realtime_messages import Inputs


@dataclass(frozen=True, slots=True)
class Switches:
    """The trigger and the stop as understood. `pressed_now` is True in the one scan that saw the press.

    `*_differs_since_ns` is -1 while the two channels agree.
    """

    pressed: bool = False
    pressed_now: bool = False
    changed_ns: int = -1_000_000_000
    stop: bool = False
    trigger_differs_since_ns: int = -1
    stop_differs_since_ns: int = -1
    trigger_disagrees: bool = False
    stop_disagrees: bool = False

    @property
    def at_rest(self) -> bool:
        """Whether unchanged inputs change nothing: no press to forget, no discrepancy under watch."""
        return not self.pressed_now and self.trigger_differs_since_ns < 0 and self.stop_differs_since_ns < 0


def is_settled(switches: Switches, inputs: Inputs) -> bool:
    """Whether `inputs`, while they last, change nothing: they say what is known, and nothing is under watch."""
    agree = inputs.trigger_a == inputs.trigger_b and inputs.stop_a == inputs.stop_b
    known = inputs.trigger_a is switches.pressed and inputs.stop_a is switches.stop
    return agree and known and switches.at_rest


def update_switches(before: Switches, inputs: Inputs, *, timing: Timing, now_ns: int) -> Switches:
    """Return the switches after `inputs`; the same object when nothing changed."""
    if is_settled(before, inputs):
        # Nearly every scan: nothing to remember, nothing to build.
        return before
    both = inputs.trigger_a and inputs.trigger_b
    stop = inputs.stop_a or inputs.stop_b
    pressed, changed_ns = before.pressed, before.changed_ns
    if both != pressed and now_ns - changed_ns >= timing.lockout_ns:
        pressed, changed_ns = both, now_ns
    trigger_since = _since(before.trigger_differs_since_ns, inputs.trigger_a != inputs.trigger_b, now_ns)
    stop_since = _since(before.stop_differs_since_ns, inputs.stop_a != inputs.stop_b, now_ns)
    after = Switches(
        pressed=pressed,
        pressed_now=pressed and not before.pressed,
        changed_ns=changed_ns,
        stop=stop,
        trigger_differs_since_ns=trigger_since,
        stop_differs_since_ns=stop_since,
        trigger_disagrees=0 <= trigger_since < now_ns - timing.discrepancy_ns,
        stop_disagrees=0 <= stop_since < now_ns - timing.discrepancy_ns,
    )
    return before if after == before else after


def _since(before_ns: int, differs: bool, now_ns: int) -> int:  # noqa: FBT001 - private, one call each
    if not differs:
        return -1
    return now_ns if before_ns < 0 else before_ns
