"""The scan, against a small gun in virtual time: where gates open, who may fire, and what a release does."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from device.core.faults import Fault
from device.core.profile import TriggerStyle
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Load,
    MagazineEnded,
    PressIgnored,
    PressRefusal,
    ShotReport,
    StrokeStarted,
    Unload,
)
from device.core.stroke import ScanMode
from device.core.stroke_timeline import stroke_timeline
from device.core.units import Nanoseconds
from tests.support.core import (
    BURST,
    CONTINUOUS,
    HELD,
    MS,
    PRIME_MAGAZINE,
    SCAN_SPEC,
    STROKE,
    make_magazine,
)
from tests.support.scan_gun import (
    Gun,
    Move,
    assert_safe_at_home,
    ended,
    faults,
    fire,
    homed_gun,
    loaded_gun,
    press_stop,
    refusals,
)

DEPTH = int(STROKE.depth)
ACTIONS = len(stroke_timeline(STROKE).actions)


def test_a_press_fires_one_shot_with_every_phase_at_its_depth() -> None:
    gun = loaded_gun()
    fire(gun)
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.COMPLETE, shots_fired=1, opened=4, done=4)
    entry, dwell, exit_, suck_back = gun.moves
    assert (entry.gate, dwell.gate, exit_.gate, suck_back.gate) == (1, 2, 1, 2)
    assert entry.opened_at == STROKE.entry_open
    assert (dwell.opened_at, dwell.ended_at) == (DEPTH, DEPTH)
    assert exit_.opened_at == DEPTH - 1, "with the first step outward: nothing of the exit's dose is given at rest"
    assert STROKE.exit_done is not None
    assert exit_.ended_at >= STROKE.exit_done
    assert (suck_back.opened_at, suck_back.ended_at) == (0, 0)
    assert (gun.deepest, gun.needle) == (DEPTH, 0)


def test_the_first_step_comes_in_the_scan_that_sees_the_press() -> None:
    gun = loaded_gun()
    gun.press()
    assert gun.needle == 1
    assert gun.reports[-1] == StrokeStarted(magazine_id=1, index=0)


def test_a_shot_report_counts_steps_gates_and_times() -> None:
    gun = loaded_gun()
    gun.press()
    ended_ns = gun.now_ns
    while not gun.of(ShotReport):
        ended_ns = gun.now_ns
        gun.scan()
    (report,) = gun.of(ShotReport)
    assert (report.steps_in, report.steps_out) == (DEPTH, DEPTH)
    assert (report.opened, report.done, report.fault, report.released) == (4, 4, 0, False)
    # The pump takes 4 ms a move; an end is seen at the latest one scan later, and waited for where it is due.
    assert report.entry_ns >= 4 * MS
    assert STROKE.dwell_ns <= report.dwell_ns <= STROKE.dwell_ns + SCAN_SPEC.timing.armed_scan_ns
    assert report.exit_ns >= 4 * MS
    assert report.stroke_ns == ended_ns - started_ns(gun)


def started_ns(gun: Gun) -> int:
    return gun.state.last_start_ns


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"entry_open": None}, 3),
        ({"dwell_dose": False}, 3),
        ({"exit_done": None}, 3),
        ({"suck_back_ns": None}, 3),
        ({"entry_open": None, "dwell_dose": False, "suck_back_ns": None}, 1),
    ],
)
def test_a_phase_without_a_dose_opens_no_gate(changes: dict[str, Any], moves: int) -> None:
    gun = loaded_gun(make_magazine(stroke=replace(STROKE, **changes)))
    fire(gun)
    assert ended(gun).opened == len(gun.moves) == moves
    assert [move.gate for move in gun.moves] == [1 + number % 2 for number in range(moves)]
    assert all(move.ended_at >= 7 or move.opened_at == 0 for move in gun.moves)


def test_a_late_pump_makes_the_needle_wait_where_it_is() -> None:
    gun = loaded_gun(move_ns=60 * MS)
    fire(gun)
    assert ended(gun).reason is EndReason.COMPLETE
    entry, dwell, exit_, _ = gun.moves
    assert (entry.ended_at, dwell.ended_at, exit_.ended_at) == (DEPTH, DEPTH, STROKE.exit_done)


def test_a_pump_that_is_too_late_ends_the_shot() -> None:
    gun = loaded_gun(move_ns=None)
    gun.press()
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.PHASE_NOT_FINISHED]
    assert gun.gate == 0
    assert (ended(gun).opened, ended(gun).done) == (1, 0)
    assert_safe_at_home(gun)


def test_without_a_phase_line_the_needle_goes_by_time_alone() -> None:
    gun = loaded_gun(spec=replace(SCAN_SPEC, phase_feedback=False), line_stuck=False)
    fire(gun)
    assert (ended(gun).opened, ended(gun).done) == (4, 4)


# --- who may fire --------------------------------------------------------------------------------------------------


def test_a_single_magazine_of_several_shots_fires_one_a_press() -> None:
    gun = loaded_gun(make_magazine(shots=3))
    for shot in range(3):
        gun.press()
        gun.wait(250 * MS)
        gun.release()
        gun.wait(50 * MS)
        assert len(gun.of(StrokeStarted)) == shot + 1
    assert ended(gun).shots_fired == 3
    assert gun.opened == 12


@pytest.mark.parametrize("trigger", list(TriggerStyle))
def test_a_held_trigger_never_fires_a_second_single_shot(trigger: TriggerStyle) -> None:
    gun = loaded_gun(make_magazine(shots=3, trigger=trigger))
    gun.press()
    gun.wait(1_000 * MS)
    assert len(gun.of(StrokeStarted)) == 1


def test_a_burst_fires_all_its_shots_at_their_interval() -> None:
    gun = loaded_gun(BURST)
    starts: list[int] = []
    gun.press()
    gun.release()
    for _ in range(20_000):
        if len(gun.of(StrokeStarted)) > len(starts):
            starts.append(gun.state.last_start_ns)
        if gun.of(MagazineEnded):
            break
        gun.scan()
    assert len(starts) == 3
    assert all(later - earlier >= 200 * MS for earlier, later in pairwise(starts))
    assert ended(gun).reason is EndReason.COMPLETE


def test_a_burst_bound_to_the_trigger_ends_with_the_release() -> None:
    gun = loaded_gun(replace(BURST, trigger=TriggerStyle.HOLD))
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.release()
    gun.wait(500 * MS)
    assert len(gun.of(StrokeStarted)) == 1
    assert ended(gun).reason is EndReason.RELEASED


def test_a_continuous_trigger_fires_while_it_is_held_and_not_after_the_release() -> None:
    gun = loaded_gun(CONTINUOUS)
    gun.press()
    gun.run(until=lambda: len(gun.of(StrokeStarted)) == 2)
    gun.release()
    gun.wait(1_000 * MS)
    assert len(gun.of(StrokeStarted)) == 2
    # In press mode the running shot is given whole.
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.RELEASED, shots_fired=2, opened=8, done=8)


def test_a_trigger_still_held_goes_on_with_the_next_continuous_magazine() -> None:
    gun = loaded_gun(CONTINUOUS)
    fire(gun)
    gun.scan(Load(replace(CONTINUOUS, magazine_id=2, fresh_press=False)))
    gun.run(until=lambda: len(gun.of(MagazineEnded)) == 2)
    assert len(gun.of(StrokeStarted)) == 6


@pytest.mark.parametrize("magazine", [replace(CONTINUOUS, magazine_id=2), make_magazine(fresh_press=False)])
def test_a_held_trigger_fires_nothing_where_a_fresh_press_is_wanted(magazine: Any) -> None:
    gun = homed_gun(trigger=True)
    gun.wait(100 * MS)
    gun.scan(Load(magazine))
    gun.wait(1_000 * MS)
    assert not gun.of(StrokeStarted)
    assert gun.state.mode is ScanMode.READY


def test_unload_completes_the_running_shot_and_fires_no_other() -> None:
    gun = loaded_gun(BURST)
    gun.press()
    gun.wait(10 * MS)
    gun.scan(Unload())
    gun.wait(1_000 * MS)
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.UNLOADED, shots_fired=1, opened=4, done=4)


def test_unload_before_the_press_ends_the_magazine_at_once() -> None:
    gun = loaded_gun()
    gun.scan(Unload())
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.UNLOADED, shots_fired=0, opened=0, done=0)
    gun.press()
    assert gun.of(PressIgnored) == [PressIgnored(PressRefusal.NOT_ARMED)]


def test_a_press_without_a_magazine_fires_nothing_and_says_so() -> None:
    gun = homed_gun()
    gun.press()
    assert refusals(gun) == [PressRefusal.NOT_ARMED]


def test_a_press_without_contact_fires_nothing_and_says_so() -> None:
    gun = loaded_gun(contact=False)
    gun.press()
    assert refusals(gun) == [PressRefusal.NO_CONTACT]
    assert gun.steps == 0


def test_a_profile_without_contact_sensing_fires_without_contact() -> None:
    gun = loaded_gun(make_magazine(require_contact=False), contact=False)
    fire(gun)
    assert ended(gun).reason is EndReason.COMPLETE


def test_presses_during_a_stroke_and_before_the_interval_fire_nothing_and_say_so() -> None:
    gun = loaded_gun(make_magazine(shots=2, interval_ns=Nanoseconds(2_000 * MS)))
    gun.press()
    gun.release()
    gun.wait(25 * MS)
    gun.press()
    gun.wait(25 * MS)
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.release()
    gun.wait(25 * MS)
    gun.press()
    assert refusals(gun) == [PressRefusal.BUSY, PressRefusal.TOO_EARLY]
    assert len(gun.of(StrokeStarted)) == 1


def test_a_refused_press_that_stays_held_fires_nothing_later_but_a_new_press_does() -> None:
    # It once fired the next continuous magazine by itself, as if it had been held through the shots before.
    gun = homed_gun()
    gun.press()
    gun.wait(50 * MS)
    assert refusals(gun) == [PressRefusal.NOT_ARMED]
    gun.scan(Load(replace(CONTINUOUS, fresh_press=False)))
    gun.wait(500 * MS)
    assert not gun.of(StrokeStarted)
    gun.release()
    gun.wait(50 * MS)
    gun.press()
    assert len(gun.of(StrokeStarted)) == 1


def test_a_held_trigger_waits_while_the_gun_is_lifted_and_fires_again_when_it_touches() -> None:
    # A lifted gun once was a lost contact in the middle of a shot: moving on to the next point ended the session.
    gun = loaded_gun(CONTINUOUS)
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.contact = False
    gun.wait(1_000 * MS)
    assert (gun.state.mode, len(gun.of(StrokeStarted)), faults(gun)) == (ScanMode.READY, 1, [])
    gun.contact = True
    gun.scan()
    assert len(gun.of(StrokeStarted)) == 2


def test_a_gun_that_is_lifted_when_a_bursts_next_shot_is_due_never_fires_it_at_the_next_touch() -> None:
    # It once waited for the next touch, with nothing pressed, for as long as it took.
    gun = loaded_gun(BURST)
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.release()
    gun.contact = False
    gun.wait(1_000 * MS)
    gun.contact = True
    gun.wait(1_000 * MS)
    assert len(gun.of(StrokeStarted)) == 1
    assert ended(gun).reason is EndReason.RELEASED


def test_a_lift_between_two_shots_of_a_burst_that_is_over_in_time_changes_nothing() -> None:
    gun = loaded_gun(replace(BURST, interval_ns=Nanoseconds(1_000 * MS)))
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.contact = False
    gun.scan()
    gun.contact = True
    gun.run(until=lambda: bool(gun.of(MagazineEnded)))
    assert ended(gun).reason is EndReason.COMPLETE


def test_letting_go_of_a_lifted_gun_ends_its_magazine() -> None:
    gun = loaded_gun(CONTINUOUS)
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.contact = False
    gun.release()
    gun.wait(50 * MS)
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.RELEASED, shots_fired=1, opened=4, done=4)


def test_a_second_edge_within_the_lock_out_is_no_second_press() -> None:
    gun = loaded_gun(make_magazine(shots=2, interval_ns=Nanoseconds(0)))
    for level in (True, False, True, False, True):
        gun.trigger = level
        gun.scan()
    gun.wait(1_000 * MS)
    assert len(gun.of(StrokeStarted)) == 1
    assert not gun.of(PressIgnored)


# --- letting go ----------------------------------------------------------------------------------------------------


def test_a_release_before_any_gate_turns_the_needle_round_and_gives_nothing() -> None:
    gun = loaded_gun(make_magazine(trigger=TriggerStyle.HOLD, stroke=replace(STROKE, entry_open=None)))
    gun.press()
    gun.release()
    gun.run(until=lambda: bool(gun.of(MagazineEnded)))
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.RELEASED, shots_fired=1, opened=0, done=0)
    assert gun.needle == 0
    assert gun.state.mode is ScanMode.IDLE
    (report,) = gun.of(ShotReport)
    assert report.released
    assert report.steps_in == report.steps_out > 0


@pytest.mark.parametrize("released_in", [1, 2, 3])
def test_a_release_ends_the_running_phase_whole_and_opens_no_other(released_in: int) -> None:
    gun = loaded_gun(HELD, move_ns=30 * MS)
    gun.press()
    gun.run(until=lambda: gun.opened == released_in)
    gun.wait(25 * MS)
    gun.release()
    gun.run(until=lambda: bool(gun.of(MagazineEnded)))
    assert gun.opened == released_in
    assert len(gun.moves) == released_in
    assert (ended(gun).opened, ended(gun).done) == (released_in, released_in)
    assert ended(gun).reason is EndReason.RELEASED
    assert gun.needle == 0


def test_a_trigger_held_to_the_end_gives_the_whole_shot() -> None:
    gun = loaded_gun(HELD)
    fire(gun)
    assert ended(gun).reason is EndReason.COMPLETE
    assert not gun.of(ShotReport)[0].released


def test_in_press_mode_a_release_changes_nothing() -> None:
    gun = loaded_gun()
    gun.press()
    gun.release()
    gun.run(until=lambda: bool(gun.of(MagazineEnded)))
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.COMPLETE, shots_fired=1, opened=4, done=4)


# --- priming -------------------------------------------------------------------------------------------------------


def test_a_prime_is_released_at_home_without_the_trigger() -> None:
    gun = homed_gun(contact=False)
    gun.run(Load(PRIME_MAGAZINE), until=lambda: bool(gun.of(MagazineEnded)))
    assert gun.moves == [Move(gate=1, opened_at=0, ended_at=0)]
    assert ended(gun) == MagazineEnded(magazine_id=1, reason=EndReason.COMPLETE, shots_fired=1, opened=1, done=1)
    assert gun.steps == 0


def test_a_prime_is_refused_when_the_needle_is_not_at_home() -> None:
    gun = homed_gun()
    gun.needle = 2
    gun.scan(Load(PRIME_MAGAZINE))
    assert faults(gun) == [Fault.NEEDLE_POSITION_LOST]
    assert gun.opened == 0


def test_a_prime_ends_when_the_needle_leaves_home_and_when_the_stop_is_pressed() -> None:
    for trouble, fault in ((push_needle, Fault.NEEDLE_POSITION_LOST), (press_stop, Fault.STOP_PRESSED)):
        gun = homed_gun()
        gun.scan(Load(PRIME_MAGAZINE))
        gun.wait(5 * MS)
        trouble(gun)
        assert gun.gate == 0
        assert faults(gun) == [fault]
        assert ended(gun).opened == 1


def push_needle(gun: Gun) -> None:
    gun.needle = 2
    gun.scan()


def test_a_prime_does_not_end_with_the_trigger() -> None:
    gun = homed_gun(trigger=True)
    gun.wait(50 * MS)
    gun.scan(Load(replace(PRIME_MAGAZINE, trigger=TriggerStyle.HOLD)))
    gun.release()
    gun.run(until=lambda: bool(gun.of(MagazineEnded)))
    assert ended(gun).reason is EndReason.COMPLETE


def test_a_prime_does_not_start_the_interval() -> None:
    gun = homed_gun()
    gun.run(Load(PRIME_MAGAZINE), until=lambda: bool(gun.of(MagazineEnded)))
    gun.reports.clear()
    gun.scan(Load(make_magazine(magazine_id=2, interval_ns=Nanoseconds(1_500 * MS))))
    gun.press()
    assert gun.of(StrokeStarted) == [StrokeStarted(magazine_id=2, index=0)]
