"""What the scan's motion does at its corners: each of these was a change of the code that no test noticed."""

from dataclasses import replace

import pytest

from device.core.faults import Fault
from device.core.kinematics import NeedleTravel
from device.core.profile import TriggerStyle
from device.core.realtime_messages import Faulted, Halt, Home, Homed, Load, Ready, Reset, ShotReport, StrokeStarted
from device.core.scan_state import ScanMode
from device.core.stroke_timeline import (
    Action,
    Timeline,
    resumed_outward,
    retract_timeline,
    stroke_timeline,
    without_dose,
)
from device.core.units import MicrometresPerSecond, Steps
from tests.support.core import MS, SCAN_SPEC, SMALL_AXIS, STROKE, TIMING, make_magazine
from tests.support.scan_gun import assert_safe_at_home, ended, faults, fire, homed_gun, loaded_gun

HELD = make_magazine(trigger=TriggerStyle.HOLD)
UNWATCHED = replace(SCAN_SPEC, phase_feedback=False)
"""A pump whose phase line is not wired: a gate is open for the time that its phase is planned to take."""


def due_of(timeline: Timeline, action: Action, number: int) -> int:
    """Return when the `number`-th such action is due."""
    return [due for due, of in zip(timeline.due_ns, timeline.actions, strict=True) if of is action][number]


def test_without_a_phase_line_each_gate_is_open_for_its_planned_time() -> None:
    gun = loaded_gun(spec=UNWATCHED, line_stuck=False)
    gates: list[tuple[int, int]] = []
    gun.press()
    while gun.state.motion is not None:
        scanned_ns, gate = gun.now_ns, gun.gate
        gun.scan()
        if gun.gate != gate:
            gates.append((gun.gate, scanned_ns))
    # The entry's gate closes in the scan that opens the dwell's, and that one's with the exit's.
    assert [gate for gate, _ in gates] == [1, 2, 1, 0, 2, 0]
    planned = stroke_timeline(STROKE)
    opened = [gates[place] for place in (0, 1, 2, 4)]
    closed = [gates[place] for place in (1, 2, 3, 5)]
    for number in range(STROKE.moves):
        wished_ns = due_of(planned, Action.AWAIT, number) - due_of(planned, Action.OPEN, number)
        assert 0 <= closed[number][1] - opened[number][1] - wished_ns <= TIMING.armed_scan_ns
    assert faults(gun) == []


def test_a_release_behind_the_first_gate_goes_out_as_slowly_as_the_profile_says() -> None:
    def way_out_ns(release: bool) -> int:
        gun = loaded_gun(HELD)
        gun.press()
        gun.run(until=lambda: gun.gate == 1)
        gun.trigger = not release
        gun.run(until=lambda: bool(gun.state.motion and gun.state.motion.steps_out))
        began_ns = gun.now_ns
        gun.run(until=lambda: gun.needle == 0)
        assert gun.deepest == STROKE.depth
        return gun.now_ns - began_ns

    assert abs(way_out_ns(release=True) - way_out_ns(release=False)) <= TIMING.armed_scan_ns


def test_a_release_before_the_first_gate_tells_the_stroke_from_its_press() -> None:
    gun = loaded_gun(HELD)
    gun.press()
    began_ns = gun.state.last_start_ns
    gun.run(until=lambda: gun.needle == 3)
    gun.trigger = False
    ended_ns = gun.now_ns
    while not gun.of(ShotReport):
        ended_ns = gun.now_ns
        gun.scan()
    (shot,) = gun.of(ShotReport)
    assert (shot.released, shot.opened, shot.steps_in) == (True, 0, gun.deepest)
    assert shot.steps_out == shot.steps_in
    assert shot.stroke_ns == ended_ns - began_ns


def test_the_scan_is_quick_while_a_trigger_may_be_pressed_and_holds_the_motor() -> None:
    idle = homed_gun()
    before_ns = idle.now_ns
    result = idle.scan()
    assert (result.outputs.enable, result.wake_ns) == (True, before_ns + TIMING.idle_scan_ns)
    armed = loaded_gun()
    before_ns = armed.now_ns
    result = armed.scan()
    assert (result.outputs.enable, result.wake_ns) == (True, before_ns + TIMING.armed_scan_ns)


def test_a_scan_that_came_late_does_not_make_the_next_one_late() -> None:
    armed = loaded_gun()
    due_ns = armed.now_ns
    armed.now_ns += TIMING.armed_scan_ns // 5
    assert armed.scan().wake_ns == due_ns + TIMING.armed_scan_ns


def test_every_step_says_when_it_was_due() -> None:
    gun = loaded_gun()
    gun.press()
    steps = []
    while gun.state.motion is not None:
        before_ns = gun.now_ns
        result = gun.scan()
        if result.outputs.step:
            steps.append(before_ns - result.step_due_ns)
        else:
            assert result.step_due_ns == -1
    # The first step comes with the press itself.
    assert len(steps) == 2 * STROKE.depth - 1
    assert set(steps) == {0}, "the world woke the scan exactly in time"


def test_a_press_that_was_refused_is_forgotten_with_its_release() -> None:
    gun = homed_gun()
    gun.press()
    gun.run(Home(), until=lambda: gun.state.mode is ScanMode.IDLE)
    held = gun.state
    gun.release()
    gun.wait(2 * TIMING.lockout_ns)
    assert (held.press_spent, gun.state.press_spent) == (True, False)
    gun.scan(Load(make_magazine()))
    gun.press()
    assert len(gun.of(StrokeStarted)) == 1


def test_a_refused_press_stays_spent_while_a_needle_goes_home() -> None:
    gun = homed_gun()
    gun.press()
    # The way home has steps to make: a needle that stands three steps out.
    gun.needle = 3
    gun.run(Home(), until=lambda: gun.needle == 0)
    assert gun.state.press_spent


def test_after_a_fault_was_reset_the_needle_homes_to_work_again() -> None:
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.needle == 10)
    gun.scan(Halt(Fault.CONTROLLER_LOST))
    assert_safe_at_home(gun)
    gun.reports.clear()
    gun.scan(Reset())
    assert gun.of(Ready) == [Ready(homed=True)]
    gun.run(Home(), until=lambda: gun.state.motion is None)
    assert (gun.state.mode, gun.state.homed) == (ScanMode.IDLE, True)
    assert len(gun.of(Homed)) == 1


@pytest.mark.parametrize("lost", [range(1, 8), range(21, 27)], ids=["on the way in", "on the way out"])
def test_a_needle_that_had_lost_its_place_counts_from_its_home_switch_again(lost: range) -> None:
    gun = loaded_gun()
    began = gun.steps
    gun.steps_that_count = lambda number: number - began not in lost
    gun.press()
    gun.run(until=lambda: bool(faults(gun)) and gun.state.motion is None)
    assert (gun.state.mode, gun.state.position, gun.needle) == (ScanMode.SAFE, 0, 0)
    gun.steps_that_count = lambda _number: True
    gun.reports.clear()
    gun.scan(Reset())
    gun.run(Home(), until=lambda: gun.state.mode is ScanMode.IDLE)
    gun.deepest = 0
    gun.release()
    gun.wait(2 * TIMING.lockout_ns + make_magazine().interval_ns)
    gun.scan(Load(make_magazine()))
    fire(gun)
    assert (ended(gun).shots_fired, gun.deepest) == (1, STROKE.depth)


def test_a_reset_with_the_stop_pressed_is_answered_by_that_fault_and_stays_safe() -> None:
    gun = loaded_gun()
    gun.stop = True
    gun.scan()
    assert_safe_at_home(gun)
    gun.reports.clear()
    gun.scan(Reset())
    assert gun.reports == [Faulted(Fault.STOP_PRESSED, homed=True, detail=0)]
    assert (gun.state.mode, gun.state.fault) == (ScanMode.SAFE, Fault.STOP_PRESSED)
    # Work that crosses that answer on its way is not the controller's mistake.
    gun.reports.clear()
    gun.scan(Home())
    assert gun.reports == []


# --- timelines ---------------------------------------------------------------------------------------------------


def test_what_follows_the_last_step_keeps_its_distance_when_the_way_out_begins_anew() -> None:
    timeline = stroke_timeline(STROKE)
    first_out = timeline.actions.index(Action.STEP_OUT)
    resumed = resumed_outward(
        timeline,
        index=first_out,
        steps_per_mm=SMALL_AXIS.steps_per_mm,
        speed_um_s=STROKE.exit_speed_um_s,
        acceleration_um_s2=STROKE.acceleration_um_s2,
    )
    last_out = len(timeline.actions) - 1 - timeline.actions[::-1].index(Action.STEP_OUT)
    behind = [due - timeline.due_ns[last_out] for due in timeline.due_ns[last_out:]]
    last_resumed = last_out - first_out
    assert behind == [due - resumed.due_ns[last_resumed] for due in resumed.due_ns[last_resumed:]]
    way = NeedleTravel(
        steps=STROKE.depth,
        steps_per_mm=SMALL_AXIS.steps_per_mm,
        speed_um_s=STROKE.exit_speed_um_s,
        acceleration_um_s2=STROKE.acceleration_um_s2,
    )
    steps = [due for due, action in zip(resumed.due_ns, resumed.actions, strict=True) if action is Action.STEP_OUT]
    assert steps == [way.time_at(step) for step in range(1, STROKE.depth + 1)]
    # What lies between two steps waits for nothing but the step before it.
    for place in range(1, last_resumed):
        if resumed.actions[place] is not Action.STEP_OUT:
            assert resumed.due_ns[place] == resumed.due_ns[place - 1]


def test_a_timeline_without_its_dose_keeps_every_step_and_no_gate() -> None:
    timeline = stroke_timeline(STROKE)
    index = timeline.actions.index(Action.STEP_OUT)
    kept = without_dose(timeline, index=index)
    assert kept.due_ns[0] == 0
    assert set(kept.actions) == {Action.STEP_OUT, Action.END}
    assert kept.actions.count(Action.STEP_OUT) == STROKE.depth


@pytest.mark.parametrize("position", [4, 10])
def test_a_needle_that_turns_round_in_mid_entry_stands_still_before_it_goes_out(position: int) -> None:
    # At 100 steps/s and 10 000 steps/s2 it brakes over half a step: none. At 400, over eight.
    timeline = retract_timeline(
        position=Steps(position),
        depth=STROKE.depth,
        inward_speed_steps_s=400,
        steps_per_mm=SMALL_AXIS.steps_per_mm,
        outward_speed_um_s=MicrometresPerSecond(40_000),
        acceleration_um_s2=SMALL_AXIS.acceleration_um_s2,
    )
    braking = timeline.actions.count(Action.STEP_IN)
    assert braking == 8
    assert timeline.actions.count(Action.STEP_OUT) == position + braking
    last_in, first_out = timeline.due_ns[braking - 1], timeline.due_ns[braking]
    # From 400 steps/s to rest at 10 000 steps/s2: 40 ms; the first step from rest takes 14.1 ms.
    assert abs(last_in - 40 * MS) <= MS
    assert abs(first_out - last_in - 14_142_136) <= 2_000
