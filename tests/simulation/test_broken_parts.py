"""A part that is broken and stays broken costs at most one phase, and the gun says so instead of going on."""

from collections.abc import Callable, Iterator
from operator import itemgetter

import pytest

from device.core.console import State
from device.core.events import ArmRequested
from device.core.faults import Fault
from device.simulation.clinic import latched, make_ready, recover, start_session, treat, treat_one_point, wait_armed
from device.simulation.disk import COMMIT_NS
from device.simulation.gun import VirtualGun
from device.simulation.oracles import Watch, check_the_book
from tests.support.clinic import saline, shipped

PROFILES = ("point-by-point", "continuous")
POINTS = 4


@pytest.fixture(params=PROFILES)
def armed(request: pytest.FixtureRequest) -> Iterator[tuple[VirtualGun, Watch]]:
    """An armed gun, off the skin."""
    with VirtualGun(shipped(), content=8000) as gun:
        watch = Watch(gun, undisturbed=False)
        make_ready(gun)
        assert start_session(gun, saline(request.param, POINTS)).accepted
        assert gun.ask(ArmRequested).accepted
        assert wait_armed(gun)
        yield gun, watch


def test_a_needle_that_does_not_leave_its_home_gives_nothing(armed: tuple[VirtualGun, Watch]) -> None:
    gun, watch = armed
    gun.world.trouble_needle_jammed = 1
    treat_one_point(gun)
    gun.run_for(300)
    assert gun.given == 0
    assert latched(gun) == {Fault.NEEDLE_POSITION_LOST}
    assert watch.violations == []


def test_a_gate_that_sticks_open_while_armed_is_noticed_before_a_shot(armed: tuple[VirtualGun, Watch]) -> None:
    gun, watch = armed
    gun.world.trouble_gate_1_stuck = 1
    gun.pump.gate_changed()
    gun.run_for(300)
    assert 0 < gun.given <= watch.phases_largest, "the pump passes the gate: that much cannot be prevented"
    given = gun.given
    treat_one_point(gun)
    gun.run_for(300)
    assert gun.given == given
    assert gun.state is State.FAULT
    assert check_the_book(gun, watch) == []
    assert watch.violations == []


@pytest.mark.parametrize("name", ["trouble_phase_stuck", "trouble_home_broken", "trouble_gate_2_stuck"])
def test_nothing_more_is_fired_with_a_broken_line(armed: tuple[VirtualGun, Watch], name: str) -> None:
    gun, watch = armed
    setattr(gun.world, name, 1)
    gun.pump.gate_changed()
    treat(gun, presses_most=12)
    gun.run_for(300)
    given = gun.given
    treat(gun, presses_most=3)
    assert gun.given == given
    assert gun.state is State.FAULT
    assert check_the_book(gun, watch) == []
    assert watch.violations == []


@pytest.mark.parametrize("then", [VirtualGun.kill_controller, lambda gun: None], ids=["crash", "no crash"])
def test_what_was_given_while_the_disk_was_full_is_in_the_book_after_all(
    armed: tuple[VirtualGun, Watch], then: Callable[[VirtualGun], None]
) -> None:
    gun, watch = armed
    gun.disk.full = True
    treat_one_point(gun)
    gun.run_for(300)
    assert gun.given > 0
    assert gun.state is State.FAULT
    assert latched(gun) == {Fault.JOURNAL_WRITE_FAILED}
    gun.disk.full = False
    if then is VirtualGun.kill_controller:
        gun.kill_controller()
        gun.restart_controller()
    assert recover(gun)
    assert check_the_book(gun, watch) == []
    assert watch.violations == []


def test_a_killed_controller_and_a_killed_real_time_process_leave_one_true_book(
    armed: tuple[VirtualGun, Watch],
) -> None:
    gun, watch = armed
    gun.hands.touch_skin()
    gun.run_for(20)
    gun.hands.press()
    assert gun.run_until(lambda: gun.given > 20, within_ms=400)
    gun.kill_controller()
    gun.run_for(1)
    gun.kill_realtime()
    gun.run_for(400)
    gun.restart_controller()
    assert recover(gun)
    assert 20 < gun.given <= watch.phases_largest
    assert check_the_book(gun, watch) == []
    treat(gun, presses_most=20)
    assert check_the_book(gun, watch) == []
    assert watch.violations == []


@pytest.mark.parametrize(("ends_ms", "dies_ms"), [(5, 0), (60, 0), (130, 0), (0, 5)])
def test_a_controller_that_ends_takes_the_needle_out_though_the_real_time_process_died(
    armed: tuple[VirtualGun, Watch], ends_ms: int, dies_ms: int
) -> None:
    # It ended in front of the rescue, which only its successor's operator would have asked for.
    gun, watch = armed
    gun.hands.touch_skin()
    gun.run_for(20)
    gun.hands.press()
    assert gun.run_until(lambda: gun.given > 20, within_ms=400)
    for wait_ms, strike in sorted([(ends_ms, gun.end_controller), (dies_ms, gun.kill_realtime)], key=itemgetter(0)):
        gun.time.after(wait_ms * 1_000_000, strike)
    gun.run_for(max(ends_ms, dies_ms))
    assert gun.world.needle_steps > 0
    assert gun.run_until(lambda: gun.controller.ended, within_ms=5_000)
    assert gun.world.needle_steps == 0
    assert gun.realtime is not None
    assert not gun.realtime.alive
    gun.kill_controller()
    gun.restart_controller()
    assert recover(gun)
    assert check_the_book(gun, watch) == []
    assert watch.violations == []


def test_the_tenth_loss_of_a_real_time_process_is_rescued_like_the_first(armed: tuple[VirtualGun, Watch]) -> None:
    gun, watch = armed
    for _ in range(10):
        gun.hands.touch_skin()
        gun.run_for(20)
        gun.hands.press()
        assert gun.run_until(lambda: gun.world.needle_steps > 40, within_ms=400)
        gun.kill_realtime()
        assert gun.run_until(lambda: gun.world.needle_steps == 0, within_ms=8_000)
        gun.hands.lift()
        assert recover(gun)
        treat(gun, presses_most=0)
        assert wait_armed(gun)
    assert watch.violations == []


def test_the_needle_is_taken_out_while_the_journal_waits_for_its_card(armed: tuple[VirtualGun, Watch]) -> None:
    gun, watch = armed
    gun.hands.touch_skin()
    gun.run_for(20)
    gun.hands.press()
    assert gun.run_until(lambda: gun.given > 20, within_ms=400)
    gun.disk.commit_ns = 20_000_000_000
    gun.kill_realtime()
    assert gun.run_until(lambda: gun.world.needle_steps == 0, within_ms=2_000)
    assert gun.disk.busy
    gun.disk.commit_ns = COMMIT_NS
    gun.run_for(21_000)
    assert recover(gun)
    assert check_the_book(gun, watch) == []
    assert watch.violations == []
