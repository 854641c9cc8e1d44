"""How strokes and magazines end: at the home switch or in a fault, and a held trigger stays in its magazine."""

from dataclasses import replace

from device.core.faults import Fault
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Home,
    Load,
    MagazineEnded,
    Reset,
    ShotReport,
    StrokeStarted,
)
from device.core.stroke import ScanMode
from device.core.units import Steps
from tests.support.core import CONTINUOUS, MS, STROKE, make_magazine
from tests.support.scan_gun import Gun, assert_safe_at_home, ended, faults, fire, loaded_gun

WITHOUT_SUCK_BACK = make_magazine(stroke=replace(STROKE, suck_back_ns=None))
STROKE_STEPS = 2 * STROKE.depth


def test_steps_lost_on_the_way_out_are_a_fault_of_that_stroke_without_a_suck_back_too() -> None:
    gun = loaded_gun(WITHOUT_SUCK_BACK)
    begun = gun.steps
    gun.steps_that_count = lambda number: not begun + STROKE_STEPS - 4 < number <= begun + STROKE_STEPS
    fire(gun)
    assert faults(gun) == [Fault.NEEDLE_POSITION_LOST]
    assert ended(gun).reason is EndReason.FAULT
    (report,) = gun.of(ShotReport)
    assert report.fault == Fault.NEEDLE_POSITION_LOST
    assert_safe_at_home(gun)


def test_a_trigger_held_from_the_last_magazine_fires_nothing_where_a_fresh_press_is_wanted() -> None:
    # The press was good and is not spent: only the next magazine's own wish keeps it from firing.
    gun = loaded_gun(CONTINUOUS)
    gun.press()
    gun.run(until=lambda: bool(gun.of(MagazineEnded)) and gun.state.motion is None)
    gun.scan(Load(replace(CONTINUOUS, magazine_id=2, fresh_press=True)))
    gun.wait(1_000 * MS)
    assert {report.magazine_id for report in gun.of(StrokeStarted)} == {1}
    assert gun.state.mode is ScanMode.READY
    gun.release()
    gun.wait(50 * MS)
    gun.press()
    assert gun.of(StrokeStarted)[-1].magazine_id == 2


def test_homing_gives_up_a_fifth_beyond_the_axis() -> None:
    gun = Gun(home_works=False)
    gun.scan(Reset())
    gun.run(Home(), until=lambda: bool(gun.of(Faulted)))
    # 3 mm of 10 steps.
    assert gun.steps == 36


def test_a_stop_ends_an_ordinary_homing_where_it_is() -> None:
    # Only a needle on its way out because of a fault is stopped by nothing.
    gun = Gun(needle=20)
    gun.scan(Reset())
    gun.run(Home(), until=lambda: gun.needle == 10)
    gun.stop = True
    gun.scan()
    steps = gun.steps
    gun.wait(100 * MS)
    assert faults(gun) == [Fault.STOP_PRESSED]
    assert (gun.state.mode, gun.state.homed) == (ScanMode.SAFE, False)
    assert gun.steps == steps


def test_a_gate_that_opens_with_the_first_step_needs_no_needle_at_home() -> None:
    gun = loaded_gun(make_magazine(stroke=replace(STROKE, entry_open=Steps(1))))
    fire(gun)
    assert faults(gun) == []
    assert ended(gun).reason is EndReason.COMPLETE
    assert gun.moves[0].opened_at == 1
