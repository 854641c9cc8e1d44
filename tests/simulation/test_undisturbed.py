"""Left alone, the gun keeps every invariant with every shipped profile, and books what it gave to the increment."""

from typing import Final

import pytest

from device.core.console import State
from device.core.events import ArmRequested, DisarmRequested, PrimeRequested
from device.core.ledger import Ledger, apply
from device.core.records import MagazineIntent, MagazineSettled, PressRefused, Refilled, ShotGiven
from device.core.units import Nanolitres
from device.simulation.clinic import make_ready, start_session, treat, treat_one_point, wait_armed
from device.simulation.gun import VirtualGun
from device.simulation.oracles import Watch
from tests.support.clinic import PROFILES, saline, shipped

POINTS: Final = 4
SHOTS_BEFORE_REFILL: Final = 2
VIAL_NL: Final = 300_000


def booked(gun: VirtualGun) -> int:
    """Return the increments that the journal says were given."""
    return sum(record.given for record in gun.records() if isinstance(record, MagazineSettled))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_whole_region_with_a_refill_in_between_is_given_and_booked_exactly(profile: str) -> None:
    configuration = shipped(vial_nl=VIAL_NL)
    dose_nl = configuration.profiles[profile].value.dose_nl
    content = (
        configuration.syringes["1ml"].value.increments_within(Nanolitres(dose_nl * SHOTS_BEFORE_REFILL)) // 8 * 8 + 8
    )
    with VirtualGun(configuration, content=content, jitter=True, seed=7) as gun:
        watch = Watch(gun, undisturbed=True)
        make_ready(gun)
        assert start_session(gun, saline(profile, POINTS)).accepted
        treat(gun, presses_most=5 * POINTS)

        records = gun.records()
        shots = [record for record in records if isinstance(record, ShotGiven)]
        syringe = configuration.syringes["1ml"].value
        assert [shot.shot for shot in shots] == list(range(1, POINTS + 1))
        assert {shot.outcome for shot in shots} == {"delivered"}
        assert any(isinstance(record, Refilled) for record in records)
        assert gun.world.given_in_tissue == booked(gun) == syringe.increments_within(Nanolitres(dose_nl * POINTS))
        assert gun.world.given_in_air == 0
        assert gun.world.strokes == POINTS
        assert gun.state is State.SESSION
        assert gun.console.ledger == _folded(gun)
        assert watch.violations == []


def _folded(gun: VirtualGun) -> Ledger:
    ledger = Ledger()
    for record in gun.records():
        ledger = apply(ledger, record)
    return ledger


def test_a_prime_goes_into_the_air_and_nothing_else_does() -> None:
    with VirtualGun(shipped(), content=8000) as gun:
        watch = Watch(gun, undisturbed=True)
        make_ready(gun)
        start_session(gun, saline("point-by-point", 2))
        assert gun.ask(lambda request: PrimeRequested(request, Nanolitres(50_000))).accepted
        assert (gun.world.given_in_air, gun.world.given_in_tissue) == (1200, 0)
        treat(gun, presses_most=20)
        assert (gun.world.given_in_air, gun.world.given_in_tissue) == (1200, 960)
        assert booked(gun) == gun.given
        assert watch.violations == []


@pytest.mark.parametrize(("profile", "fires"), [("papule", 1), ("continuous", 1)])
@pytest.mark.parametrize("held_ms", [1, 12, 40, 70, 85, 110, 160])
def test_a_release_at_any_moment_ends_the_shot_and_books_what_was_given(profile: str, fires: int, held_ms: int) -> None:
    with VirtualGun(shipped(), content=8000) as gun:
        watch = Watch(gun, undisturbed=True)
        make_ready(gun)
        start_session(gun, saline(profile, POINTS))
        gun.ask(ArmRequested)
        gun.hands.touch_skin()
        assert wait_armed(gun)
        gun.run_for(10)
        gun.hands.press()
        gun.run_for(held_ms)
        gun.hands.release()
        assert gun.run_until(lambda: gun.world.needle_steps == 0, within_ms=400)
        gun.run_for(150)
        strokes = gun.world.strokes
        gun.run_for(300)
        assert gun.world.strokes == strokes <= fires
        assert booked(gun) == gun.given
        assert watch.violations == []


def test_a_press_that_may_not_fire_gives_nothing_and_is_recorded() -> None:
    with VirtualGun(shipped(), content=8000) as gun:
        watch = Watch(gun, undisturbed=True)
        make_ready(gun)
        start_session(gun, saline("point-by-point", POINTS))
        gun.hands.press()  # not armed
        gun.run_for(30)
        gun.hands.release()
        gun.run_for(30)
        gun.ask(ArmRequested)
        assert wait_armed(gun)
        gun.hands.press()  # no contact
        gun.run_for(30)
        gun.hands.release()
        gun.run_for(30)
        treat_one_point(gun)
        assert wait_armed(gun)
        gun.ask(DisarmRequested)
        gun.run_for(100)
        refused = [record.reason for record in gun.records() if isinstance(record, PressRefused)]
        assert refused == ["not_armed", "no_contact"]
        assert gun.world.given_in_tissue == booked(gun) == 480
        assert watch.violations == []


def test_no_program_is_in_the_pump_before_its_intent_is_durable() -> None:
    """The order of key 1: the intent first, then the bytes that could give it."""

    class Order(Watch):
        intents = 0
        programs = 0

        def sent(self, data: bytes, now_ns: int) -> None:
            if b"H1A" in data and not data[2] & 0x08:  # a repeat is not another program
                self.programs += 1
                self.durable = sum(isinstance(record, MagazineIntent) for record in self._gun.records())
                if self.durable != self.programs:
                    self._violated(f"program {self.programs} leaves while {self.durable} intents are durable")

    with VirtualGun(shipped(), content=8000) as gun:
        watch = Order(gun, undisturbed=True)
        make_ready(gun)
        start_session(gun, saline("point-by-point", 3))
        treat(gun, presses_most=20)
        assert watch.programs == 3
        assert watch.violations == []
