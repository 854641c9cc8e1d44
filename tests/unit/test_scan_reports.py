"""What the scan reports and forgets, to the last figure: magazines, phase times, a homing that failed."""

from dataclasses import replace

import pytest

from device.core.faults import Fault
from device.core.profile import Mode
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Home,
    Load,
    Loaded,
    PressIgnored,
    PressRefusal,
    Reset,
    ShotReport,
    StrokeStarted,
)
from device.core.stroke import ScanMode
from device.core.units import Steps
from tests.support.core import BURST, MS, SMALL_AXIS, STROKE, make_magazine
from tests.support.scan_gun import Gun, assert_safe_at_home, ended, fire, homed_gun, loaded_gun, press_stop


def test_a_magazine_is_reported_as_taken_with_its_number_and_forgotten_at_its_end() -> None:
    gun = homed_gun()
    gun.scan(Load(make_magazine(magazine_id=7)))
    assert gun.reports == [Loaded(7)]
    fire(gun)
    assert (ended(gun).magazine_id, ended(gun).reason) == (7, EndReason.COMPLETE)
    assert (gun.state.mode, gun.state.loaded, gun.state.motion) == (ScanMode.IDLE, None, None)


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({}, (True, True, True)),
        ({"entry_open": None}, (False, True, True)),
        ({"dwell_dose": False}, (True, False, True)),
        ({"exit_done": None}, (True, True, False)),
        ({"entry_open": Steps(19), "dwell_dose": False, "exit_done": None}, (True, False, False)),
    ],
)
def test_each_phase_with_a_dose_has_its_own_time_and_the_others_have_none(
    changes: dict[str, Steps | bool | None], measured: tuple[bool, bool, bool]
) -> None:
    stroke = replace(STROKE, **changes)  # type: ignore[arg-type]
    gun = loaded_gun(make_magazine(stroke=stroke), move_ns=90 * MS)
    fire(gun)
    (report,) = gun.of(ShotReport)
    for phase_ns, expected in zip((report.entry_ns, report.dwell_ns, report.exit_ns), measured, strict=True):
        # A slow pump is waited for: each phase lasts as long as its move, and the scan that sees the end.
        assert 90 * MS <= phase_ns <= 91 * MS if expected else phase_ns == -1


def test_the_next_shot_of_a_burst_starts_when_its_interval_is_over_to_the_nanosecond() -> None:
    gun = loaded_gun(BURST)
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    for wait_ns, started in ((-1, 1), (0, 2)):
        gun.now_ns = gun.state.last_start_ns + BURST.interval_ns + wait_ns
        gun.scan()
        assert len(gun.of(StrokeStarted)) == started


@pytest.mark.parametrize(("wait_ns", "fires"), [(-1, False), (0, True)])
def test_a_press_fires_when_the_interval_is_over_to_the_nanosecond(wait_ns: int, fires: bool) -> None:
    magazine = make_magazine(shots=2, interval_ns=1_000 * MS)
    gun = loaded_gun(magazine)
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.READY)
    gun.release()
    gun.wait(30 * MS)
    gun.now_ns = gun.state.last_start_ns + magazine.interval_ns + wait_ns
    gun.press()
    assert (len(gun.of(StrokeStarted)) == 2) is fires
    assert gun.of(PressIgnored) == ([] if fires else [PressIgnored(PressRefusal.TOO_EARLY)])


def test_a_homing_that_finds_no_switch_is_a_fault_that_holds() -> None:
    gun = Gun(home_works=False)
    gun.scan(Reset())
    gun.run(Home(), until=lambda: bool(gun.of(Faulted)))
    steps = SMALL_AXIS.travel_steps * 6 // 5
    assert gun.of(Faulted) == [Faulted(Fault.NEEDLE_HOME_NOT_FOUND, homed=False, detail=steps)]
    assert (gun.state.mode, gun.state.fault, gun.state.homed) == (ScanMode.SAFE, Fault.NEEDLE_HOME_NOT_FOUND, False)


def test_a_needle_that_had_to_be_searched_for_is_home_at_position_nought() -> None:
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.needle == 15)
    # The count loses three steps on the way out: the switch comes later than it should.
    begun = gun.steps
    gun.steps_that_count = lambda number: number > begun + 3
    press_stop(gun)
    assert_safe_at_home(gun)
    assert (gun.state.position, gun.state.homed) == (0, True)


def test_each_shot_is_reported_by_its_place_in_its_magazine() -> None:
    gun = loaded_gun(make_magazine(magazine_id=7, shots=3, mode=Mode.BURST))
    gun.press()
    gun.run(until=lambda: gun.state.mode is ScanMode.IDLE)
    assert [(report.magazine_id, report.index) for report in gun.of(ShotReport)] == [(7, 0), (7, 1), (7, 2)]
