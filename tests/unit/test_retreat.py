"""The way home of a broken-off stroke or homing: what is reported and forgotten, how it brakes, how fast it looks."""

from itertools import pairwise

import pytest

from device.core.faults import Fault
from device.core.realtime_messages import Faulted, Halt, Home, Load, MagazineEnded, Ready, Reset
from device.core.stroke import ScanMode
from device.core.stroke_timeline import Action
from tests.support.core import MS, PRIME_MAGAZINE, SMALL_AXIS, STROKE, make_magazine
from tests.support.scan_gun import Gun, faults, homed_gun, loaded_gun, press_stop

STEP_NS = 10 * MS
"""10 mm/s of homing at 10 steps a millimetre."""
STEPS_S2 = SMALL_AXIS.acceleration_um_s2 * SMALL_AXIS.steps_per_mm // 1000


def inward_to(position: int) -> Gun:
    """Return a gun on its way in, with the needle at `position`."""
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.needle == position)
    return gun


def faulted(gun: Gun) -> Faulted:
    (report,) = gun.of(Faulted)
    assert isinstance(report, Faulted)
    return report


@pytest.mark.parametrize("position", [1, 7, 20])
def test_a_broken_off_stroke_tells_where_the_needle_was_and_forgets_its_magazine(position: int) -> None:
    gun = inward_to(position)
    press_stop(gun)
    assert faulted(gun) == Faulted(Fault.STOP_PRESSED, homed=True, detail=position)
    assert (gun.state.mode, gun.state.loaded, gun.state.fault) == (ScanMode.RETRACT, None, Fault.STOP_PRESSED)
    assert len(gun.of(MagazineEnded)) == 1


def test_a_needle_that_is_elsewhere_is_reported_as_not_homed() -> None:
    gun = loaded_gun()
    gun.needle = 3
    gun.scan()
    assert faulted(gun) == Faulted(Fault.NEEDLE_POSITION_LOST, homed=False, detail=0)


def test_a_release_into_the_air_is_broken_off_in_one_scan() -> None:
    gun = loaded_gun(PRIME_MAGAZINE)
    gun.wait(MS)
    press_stop(gun)
    assert (gun.state.mode, gun.state.motion) == (ScanMode.SAFE, None)


@pytest.mark.parametrize("position", range(1, 20))
def test_the_needle_brakes_over_the_way_that_its_speed_needs_and_never_deeper_than_the_stroke(position: int) -> None:
    gun = inward_to(position)
    assert gun.state.motion is not None
    timeline = gun.state.motion.timeline
    due_ns = [due for due, action in zip(timeline.due_ns, timeline.actions, strict=True) if action is Action.STEP_IN]
    speed_steps_s = 1_000_000_000 // (due_ns[position] - due_ns[position - 1])
    press_stop(gun)
    gun.settle()
    assert gun.deepest == min(position + speed_steps_s**2 // (2 * STEPS_S2), STROKE.depth)


def out_from(position: int, *, stop: bool) -> int:
    """Return how long the needle takes to its home from `position` on its way out."""
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.deepest == STROKE.depth and gun.needle == position)
    began_ns, gun.stop = gun.now_ns, stop
    gun.run(until=lambda: gun.needle == 0)
    return gun.now_ns - began_ns


@pytest.mark.parametrize("position", [17, 10, 3])
def test_a_needle_on_its_way_out_goes_on_at_its_pace(position: int) -> None:
    whole_ns, broken_off_ns = out_from(position, stop=False), out_from(position, stop=True)
    # The exit's end is not awaited any more: a broken-off stroke is out no later than a whole one.
    assert 0.8 * whole_ns <= broken_off_ns <= whole_ns + MS


def test_a_reset_that_waits_for_the_homings_end_is_void_when_that_is_broken_off() -> None:
    # It would clear the fault that broke it off.
    gun = homed_gun()
    gun.needle = 20
    gun.scan(Home())
    gun.scan(Reset())
    assert gun.state.reset_pending
    gun.scan(Halt(Fault.PUMP_OVERLOAD))
    gun.wait(100 * MS)
    assert faults(gun) == [Fault.PUMP_OVERLOAD]
    assert not gun.of(Ready)
    assert (gun.state.mode, gun.state.fault) == (ScanMode.SAFE, Fault.PUMP_OVERLOAD)


def test_a_homing_that_was_broken_off_leaves_a_needle_of_unknown_place() -> None:
    gun = homed_gun()
    gun.needle = 20
    gun.scan(Home())
    gun.wait(3 * STEP_NS)
    press_stop(gun)
    steps = gun.steps
    gun.wait(100 * MS)
    assert (gun.state.mode, gun.state.homed, gun.steps) == (ScanMode.SAFE, False, steps)
    assert not faulted(gun).homed


def test_homing_goes_at_its_own_speed() -> None:
    gun = homed_gun()
    gun.needle = 20
    gun.scan(Home())
    assert gun.state.motion is not None
    timeline = gun.state.motion.timeline
    assert len(timeline.due_ns) == len(timeline.actions)
    assert {later - earlier for earlier, later in pairwise(timeline.due_ns)} == {STEP_NS}
    began_ns = gun.now_ns
    gun.run(until=lambda: gun.needle == 0)
    assert abs(gun.now_ns - began_ns - 19 * STEP_NS) <= MS


def test_a_needle_that_waits_on_its_way_out_sets_off_from_rest() -> None:
    gun = loaded_gun(move_ns=90 * MS)
    gun.press()
    gun.run(until=lambda: gun.needle == 20)

    def waits() -> bool:
        motion = gun.state.motion
        return motion is not None and motion.steps_out > 0 and motion.action is Action.AWAIT

    gun.run(until=waits)
    place = gun.needle
    assert 0 < place < 20
    press_stop(gun)
    times = [gun.now_ns]
    while gun.needle > 0:
        gun.run(until=lambda place=place: gun.needle < place)  # type: ignore[misc]
        times.append(gun.now_ns)
        place = gun.needle
    first, *others = (later - earlier for earlier, later in pairwise(times))
    # From rest a step takes longest; asked for its full pace at once the motor would lose steps.
    assert first > 1.5 * min(others)


def test_a_load_that_comes_before_any_reset_is_refused_and_leaves_the_safe_gun_as_it_is() -> None:
    gun = Gun()
    before = gun.state
    assert before.mode is ScanMode.SAFE
    gun.scan(Load(make_magazine()))
    assert faults(gun) == [Fault.INTERNAL]
    assert (gun.state.mode, gun.state.fault, gun.state.loaded) == (ScanMode.SAFE, before.fault, None)
