"""The oracles can fail: each of them finds a gun that breaks what it watches over."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from device.core.events import ArmRequested
from device.core.magazine import RealtimeMagazine
from device.core.scan_shots import take_magazine
from device.core.scan_state import ScanState
from device.core.units import Nanolitres
from device.simulation.clinic import make_ready, start_session, treat, treat_one_point, wait_armed
from device.simulation.gun import VirtualGun
from device.simulation.oracles import Watch, check_the_book
from tests.support.clinic import saline, shipped

POINTS = 3
STEPS_PER_MM = 20


@pytest.fixture
def watched() -> Iterator[tuple[VirtualGun, Watch]]:
    with VirtualGun(shipped(steps_per_mm=STEPS_PER_MM), content=4000) as gun:
        watch = Watch(gun, undisturbed=True)
        make_ready(gun)
        assert start_session(gun, saline("point-by-point", POINTS)).accepted
        yield gun, watch


def found(watch: Watch) -> str:
    return "\n".join(watch.violations)


def test_a_sound_gun_violates_nothing(watched: tuple[VirtualGun, Watch]) -> None:
    gun, watch = watched
    treat(gun, presses_most=9)
    assert (watch.violations, check_the_book(gun, watch)) == ([], [])
    assert watch.given == 3 * 480


def test_more_than_the_limits_allow_is_found(watched: tuple[VirtualGun, Watch]) -> None:
    gun, watch = watched
    # The controller has its limits already: for the oracle they are lower now.
    low = Nanolitres(15_000)
    limits = replace(gun.configuration.device.limits, shot_nl=low, session_nl=low)
    gun.configuration = replace(gun.configuration, device=replace(gun.configuration.device, limits=limits))
    treat(gun, presses_most=2)
    assert "I1: 363 increments in one shot" in found(watch)
    assert "I1: 363 increments in one session" in found(watch)


def test_fluid_outside_the_skin_is_found(watched: tuple[VirtualGun, Watch], mocker: MockerFixture) -> None:
    gun, watch = watched
    gun.ask(ArmRequested)
    assert wait_armed(gun)
    mocker.patch.object(type(gun.world), "in_tissue", mocker.PropertyMock(return_value=False))
    treat_one_point(gun)
    assert "I3: fluid while the needle is out of the skin" in found(watch)


def test_a_second_shot_of_one_press_is_found(watched: tuple[VirtualGun, Watch], mocker: MockerFixture) -> None:
    def starting_by_itself(state: ScanState, magazine: RealtimeMagazine, **others: Any) -> ScanState:
        state = take_magazine(state, magazine, **others)
        assert state.loaded is not None
        return state._replace(loaded=state.loaded._replace(auto=True))

    gun, watch = watched
    mocker.patch("device.core.stroke.take_magazine", starting_by_itself)
    gun.ask(ArmRequested)
    gun.hands.touch_skin()
    gun.hands.press()
    gun.run_for(3000)
    assert gun.world.strokes > 1
    assert "I4: shot 2 of one press" in found(watch)


def test_a_book_that_holds_less_than_was_given_is_found(watched: tuple[VirtualGun, Watch]) -> None:
    gun, watch = watched
    treat(gun, presses_most=9)
    watch.given += 1
    assert any(line.startswith("I2") for line in check_the_book(gun, watch))
    watch.given -= 200
    assert any("may be too much" in line for line in check_the_book(gun, watch))


def test_a_gate_that_stays_open_after_a_stop_is_found(watched: tuple[VirtualGun, Watch]) -> None:
    gun, watch = watched
    gun.ask(ArmRequested)
    assert wait_armed(gun)
    gun.hands.touch_skin()
    gun.run_for(15)
    gun.hands.press()
    assert gun.run_until(lambda: not gun.world.level(gun.configuration.lines.gate_1), within_ms=400)
    watch.danger("stop pressed, and nobody heard it")
    gun.run_for(51)
    assert "I5: " in found(watch)
