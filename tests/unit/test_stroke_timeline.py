"""A stroke as one list: every step once, each gate at its depth, each end awaited before the needle leaves it."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.device_spec import PREPARED_STEP_NS
from device.core.magazine import StrokeProgram
from device.core.stroke_timeline import (
    Action,
    Timeline,
    resumed_outward,
    retract_timeline,
    stroke_timeline,
    without_dose,
)
from device.core.units import MicrometresPerSecond, MicrometresPerSecond2, Nanoseconds, Steps
from tests.support.core import LAW, MS, PRIME_STROKE, STROKE, TIMING

GATES = (Action.OPEN, Action.AWAIT)


@st.composite
def strokes(draw: st.DrawFn) -> StrokeProgram:
    depth = draw(st.integers(1, 400))
    speeds = st.integers(2_000, 60_000)
    return replace(
        STROKE,
        depth=Steps(depth),
        steps_per_mm=80,
        entry_speed_um_s=MicrometresPerSecond(draw(speeds)),
        exit_speed_um_s=MicrometresPerSecond(draw(speeds)),
        dwell_ns=Nanoseconds(draw(st.integers(0, 300)) * MS),
        entry_open=draw(st.none() | st.integers(1, depth).map(Steps)),
        dwell_dose=draw(st.booleans()),
        exit_done=draw(st.none() | st.integers(0, depth - 1).map(Steps)),
        suck_back_ns=draw(st.none() | st.just(Nanoseconds(10 * MS))),
    )


def walk(timeline: Timeline) -> list[tuple[int, Action]]:
    """Return each action with the needle's position when it is done."""
    position, walked = 0, []
    for action in timeline.actions:
        position += {Action.STEP_IN: 1, Action.STEP_OUT: -1}.get(action, 0)
        walked.append((position, action))
    return walked


@LAW
@given(program=strokes())
def test_a_stroke_goes_in_to_its_depth_out_to_home_and_never_deeper(program: StrokeProgram) -> None:
    timeline = stroke_timeline(program)
    walked = walk(timeline)
    steps = [action for action in timeline.actions if action in (Action.STEP_IN, Action.STEP_OUT)]
    assert steps == [Action.STEP_IN] * program.depth + [Action.STEP_OUT] * program.depth
    assert max(position for position, _ in walked) == program.depth
    assert walked[-1] == (0, Action.END)
    assert timeline.actions.count(Action.END) == 1


@LAW
@given(program=strokes())
def test_due_times_never_go_back_and_begin_with_the_first_step(program: StrokeProgram) -> None:
    timeline = stroke_timeline(program)
    assert timeline.due_ns[0] == 0
    assert timeline.actions[0] is Action.STEP_IN
    assert len(timeline.due_ns) == len(timeline.actions)
    assert list(timeline.due_ns) == sorted(timeline.due_ns)


@LAW
@given(program=strokes())
def test_every_gate_opens_at_its_depth_and_is_awaited_before_the_needle_leaves_it(program: StrokeProgram) -> None:
    gates = [(position, action) for position, action in walk(stroke_timeline(program)) if action in GATES]
    expected: list[tuple[int, Action]] = []
    if program.entry_open is not None:
        expected += [(program.entry_open, Action.OPEN), (program.depth, Action.AWAIT)]
    if program.dwell_dose:
        expected += [(program.depth, Action.OPEN), (program.depth, Action.AWAIT)]
    if program.exit_done is not None:
        expected += [(program.depth, Action.OPEN), (program.exit_done, Action.AWAIT)]
    if program.suck_back_ns is not None:
        expected += [(0, Action.OPEN), (0, Action.AWAIT)]
    assert gates == expected
    assert len(gates) == 2 * program.moves


@LAW
@given(program=strokes(), data=st.data())
def test_a_stroke_without_its_dose_is_its_way_out_alone(program: StrokeProgram, data: st.DataObject) -> None:
    timeline = stroke_timeline(program)
    index = data.draw(st.integers(0, len(timeline.actions) - 1))
    rest = without_dose(timeline, index=index)
    assert not {Action.OPEN, Action.AWAIT} & set(rest.actions)
    assert rest.due_ns[0] == 0
    assert rest.actions[-1] is Action.END
    kept = [action for action in timeline.actions[index:] if action not in (Action.OPEN, Action.AWAIT)]
    assert list(rest.actions) == kept


@LAW
@given(
    position=st.integers(0, 400),
    below=st.integers(0, 400),
    speed=st.integers(0, 6_000),
    acceleration=st.integers(500_000, 8_000_000),
)
def test_a_retraction_brakes_within_the_strokes_depth_and_ends_at_home(
    position: int, below: int, speed: int, acceleration: int
) -> None:
    timeline = retract_timeline(
        position=Steps(position),
        depth=Steps(position + below),
        inward_speed_steps_s=speed,
        steps_per_mm=80,
        outward_speed_um_s=MicrometresPerSecond(60_000),
        acceleration_um_s2=MicrometresPerSecond2(acceleration),
    )
    inward, outward = timeline.actions.count(Action.STEP_IN), timeline.actions.count(Action.STEP_OUT)
    assert inward <= below
    assert inward <= speed**2 / (2 * acceleration * 80 // 1000)
    assert position + inward - outward == 0
    assert list(timeline.due_ns) == sorted(timeline.due_ns)
    assert list(timeline.actions) == [Action.STEP_IN] * inward + [Action.STEP_OUT] * outward + [Action.END]


@pytest.mark.parametrize("speed", [2_400, 3_200, 4_800])
def test_a_retraction_slows_down_from_the_speed_the_needle_has(speed: int) -> None:
    timeline = retract_timeline(
        position=Steps(100),
        depth=Steps(400),
        inward_speed_steps_s=speed,
        steps_per_mm=80,
        outward_speed_um_s=MicrometresPerSecond(60_000),
        acceleration_um_s2=MicrometresPerSecond2(4_000_000),
    )
    braking = [due for due, action in zip(timeline.due_ns, timeline.actions, strict=True) if action is Action.STEP_IN]
    gaps = [later - earlier for earlier, later in pairwise([0, *braking])]
    assert gaps == sorted(gaps)
    # The first braking step comes after the last step's gap, to a step's worth of rounding.
    assert gaps[0] == pytest.approx(1_000_000_000 // speed, rel=0.2)


def test_a_prime_is_one_gate_at_home_for_its_time() -> None:
    timeline = stroke_timeline(PRIME_STROKE)
    assert timeline.actions == (Action.OPEN, Action.AWAIT, Action.END)
    assert timeline.due_ns == (0, 30 * MS, 30 * MS)


LONGEST = Steps(TIMING.silence_ns // PREPARED_STEP_NS)
"""Steps of the longest stroke that a console may have."""


@pytest.mark.parametrize("speed_um_s", [1_000, 60_000, 200_000])
def test_the_longest_stroke_takes_two_entries_a_step_and_a_handful_for_its_gates(speed_um_s: int) -> None:
    # What a scan spends on a timeline goes with its entries; how long each takes is a benchmark's to tell.
    speed = MicrometresPerSecond(speed_um_s)
    stroke = replace(
        STROKE,
        depth=LONGEST,
        steps_per_mm=1_000,
        entry_speed_um_s=speed,
        exit_speed_um_s=speed,
        entry_open=Steps(1),
        exit_done=Steps(1),
    )
    gates = 2 * stroke.moves
    timeline = stroke_timeline(stroke)
    assert len(timeline.actions) == 2 * LONGEST + gates + 1
    assert len(without_dose(timeline, index=0).actions) == 2 * LONGEST + 1
    outward = timeline.actions.index(Action.STEP_OUT)
    resumed = resumed_outward(
        timeline, index=outward, steps_per_mm=1_000, speed_um_s=speed, acceleration_um_s2=stroke.acceleration_um_s2
    )
    # What is left of the gates: the exit's end, and the suck-back.
    assert len(resumed.actions) == LONGEST + 3 + 1


@pytest.mark.parametrize("position", [1, LONGEST // 2, LONGEST])
@pytest.mark.parametrize("acceleration_um_s2", [100_000, 20_000_000])
def test_the_way_home_of_the_longest_stroke_takes_no_more_entries_than_the_stroke(
    position: int, acceleration_um_s2: int
) -> None:
    way = retract_timeline(
        position=Steps(position),
        depth=LONGEST,
        inward_speed_steps_s=200_000,
        steps_per_mm=1_000,
        outward_speed_um_s=MicrometresPerSecond(200_000),
        acceleration_um_s2=MicrometresPerSecond2(acceleration_um_s2),
    )
    assert position < len(way.actions) <= 2 * LONGEST - position + 1


def test_the_braking_way_is_that_of_the_speed_to_the_step() -> None:
    way = retract_timeline(
        position=Steps(500),
        depth=LONGEST,
        inward_speed_steps_s=100_000,
        steps_per_mm=1_000,
        outward_speed_um_s=MicrometresPerSecond(200_000),
        acceleration_um_s2=MicrometresPerSecond2(1_000_000),
    )
    # Its square by twice the acceleration, of 1 000 000 steps/s2.
    assert way.actions.count(Action.STEP_IN) == 5_000
