"""A needle that had to wait on its way out starts again from rest."""

from itertools import pairwise

from device.core.stroke_timeline import Action, resumed_outward, stroke_timeline
from device.core.units import MicrometresPerSecond
from tests.support.core import AXIS, STROKE


def test_what_is_left_after_a_wait_is_a_travel_from_rest_with_the_same_actions() -> None:
    timeline = stroke_timeline(STROKE)
    outward = [place for place, action in enumerate(timeline.actions) if action is Action.STEP_OUT]
    index = outward[len(outward) // 2]
    resumed = resumed_outward(
        timeline,
        index=index,
        steps_per_mm=AXIS.steps_per_mm,
        speed_um_s=MicrometresPerSecond(AXIS.fastest_um_s),
        acceleration_um_s2=AXIS.acceleration_um_s2,
    )
    assert resumed.actions == timeline.actions[index:]
    assert all(earlier <= later for earlier, later in pairwise(resumed.due_ns))
    steps = [due for due, action in zip(resumed.due_ns, resumed.actions, strict=True) if action is Action.STEP_OUT]
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    assert steps[0] > min(gaps), "the first step comes as slowly as one from rest"
    assert min(gaps) >= AXIS.shortest_step_ns - 1000
    last = len(timeline.due_ns) - 1
    assert resumed.due_ns[-1] - steps[-1] == timeline.due_ns[last] - timeline.due_ns[outward[-1]]
