"""A whole session, shot after shot: an exact sum, limits that end it, regions kept apart, and nothing that arms it."""

from dataclasses import replace
from typing import Any

import pytest

from device.core.console import Console, State
from device.core.effects import Effect, LoadPump, Refill, Send
from device.core.events import PositionRead, PumpLoaded, PumpProbed, RefillDone, SessionStartRequested, Started
from device.core.faults import Fault
from device.core.machine import step
from device.core.magazine import Magazine
from device.core.profile import Mode
from device.core.realtime_messages import EndReason, Load, Loaded, Ready, StrokeStarted
from device.core.session import Region
from device.core.units import Increments, Nanolitres
from tests.support.core import make_ingredient, make_serum
from tests.support.machine import (
    ARM,
    ARMED,
    CONTACT_LOST,
    DISARMED,
    FAULT,
    FILLED,
    FIRING,
    MOVES,
    PRIME,
    PROFILE,
    SESSION,
    START_SESSION,
    after,
    magazine_ended,
    reply_in,
    shot_report,
)

MAGAZINES_MOST = 400
"""More than any of these sessions loads: one that needs more goes on for ever."""


def treat(start: SessionStartRequested) -> tuple[Console, list[Magazine]]:
    """Start the session and arm; play a gun that gives all it is loaded with; return its end and its magazines."""
    console, effects = step(after(DISARMED, start), ARM)
    magazines: list[Magazine] = []
    for _ in range(MAGAZINES_MOST):
        match console.state:
            case State.REFILLING:
                (refill,) = [effect for effect in effects if isinstance(effect, Refill)]
                console, effects = step(console, RefillDone(refill.target))
            case State.LOADING:
                assert console.magazine is not None
                magazines.append(console.magazine)
                console, effects = given_whole(console, console.magazine)
            case state:
                assert state is State.SESSION
                return console, magazines
    raise AssertionError(f"still {console.state} after {MAGAZINES_MOST} magazines and refills")


def given_whole(console: Console, magazine: Magazine) -> tuple[Console, tuple[Effect, ...]]:
    number, shots = magazine.magazine_id, len(magazine.shots)
    console = after(console, PumpLoaded(number), Loaded(number))
    for index in range(shots):
        console = after(console, StrokeStarted(number, index), shot_report(number, index))
    moves = MOVES * shots
    console = after(console, magazine_ended(opened=moves, done=moves, magazine_id=number))
    return step(console, PositionRead(magazine.pump_program().moves[-1].target))


def a_session(mode: Mode, *, points: tuple[int, ...] = (), **profile: Any) -> SessionStartRequested:
    """Return a session in `mode` with regions of so many `points`."""
    return replace(
        START_SESSION,
        profile=replace(PROFILE, mode=mode, burst_shots=2, **profile),
        regions=tuple(Region(f"region {number}", count) for number, count in enumerate(points)),
    )


@pytest.mark.parametrize("mode", list(Mode))
def test_a_session_gives_the_sum_of_its_doses_to_the_increment(mode: Mode) -> None:
    # 480.8 increments a shot: with every remainder thrown away 60 shots would give 48 increments less.
    start = a_session(mode, points=(60,))
    syringe = replace(start.syringe, stroke_nl=Nanolitres(998_336))
    console, _ = treat(replace(start, syringe=syringe))
    totals = console.ledger.session
    assert totals is not None
    assert (totals.shots, totals.increments) == (60, syringe.increments_within(Nanolitres(60 * PROFILE.dose_nl)))


@pytest.mark.parametrize("mode", [Mode.SINGLE, Mode.CONTINUOUS])
@pytest.mark.parametrize(
    ("profile", "shots"), [({"session_volume_nl": 279_999}, 13), ({"session_shots": 13}, 13), ({"session_shots": 1}, 1)]
)
def test_no_magazine_reaches_beyond_a_limit_of_the_session(mode: Mode, profile: dict[str, Any], shots: int) -> None:
    console, magazines = treat(a_session(mode, **profile))
    totals = console.ledger.session
    assert totals is not None
    assert (totals.shots, totals.volume_nl) == (shots, shots * PROFILE.dose_nl)
    assert sum(len(magazine.shots) for magazine in magazines) == shots


@pytest.mark.parametrize("mode", list(Mode))
def test_no_magazine_reaches_beyond_an_ingredients_limit(mode: Mode) -> None:
    # 10 mg/mL: 20 uL hold 200 ug, and six shots 1200 ug.
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=1_399))
    console, _ = treat(replace(a_session(mode), serum=serum))
    totals = console.ledger.session
    assert totals is not None
    assert totals.shots == 6


@pytest.mark.parametrize("mode", list(Mode))
def test_no_magazine_reaches_beyond_its_region_and_the_next_region_wants_a_fresh_press(mode: Mode) -> None:
    _, magazines = treat(a_session(mode, points=(3, 7)))
    given = [(magazine.region, len(magazine.shots)) for magazine in magazines]
    for region, points in (("region 0", 3), ("region 1", 7)):
        assert sum(shots for name, shots in given if name == region) == points
    entered = next(magazine for magazine in magazines if magazine.region == "region 1")
    assert entered.fresh_press
    assert entered.first_shot == 4


def test_the_magazines_of_a_session_add_up() -> None:
    console, magazines = treat(a_session(Mode.SINGLE, points=(3,)))
    totals = console.ledger.session
    assert totals is not None
    assert len(magazines) == 3
    assert (totals.shots, totals.increments, totals.volume_nl) == (3, 3 * 480, 3 * PROFILE.dose_nl)


def test_a_session_that_a_restart_interrupted_waits_for_the_operator() -> None:
    console = replace(SESSION, state=State.STARTING, ledger=ARMED.ledger, ready=False, homed=False)
    assert console.ledger.open_intent is not None
    done: list[Effect] = []
    for event in (Started(), PumpProbed(FILLED), Ready(homed=True)):
        console, effects = step(console, event)
        done += effects
    assert (console.state, console.armed, console.magazine) == (State.SESSION, False, None)
    assert not any(isinstance(effect, LoadPump | Refill) for effect in done)
    assert not any(isinstance(effect, Send) and isinstance(effect.order, Load) for effect in done)


def test_nothing_is_given_before_the_last_magazine_is_settled() -> None:
    unsettled = replace(SESSION, ledger=replace(ARMED.ledger, position=FILLED))
    for request in (ARM, PRIME):
        console, effects = step(unsettled, request)
        assert console.state is State.SESSION
        assert reply_in(effects).reasons == ("the last magazine is not settled yet",)


def test_a_latched_fault_refuses_arming_however_fit_the_console_is_otherwise() -> None:
    fit = after(FAULT, magazine_ended(EndReason.FAULT, opened=0, done=0), PositionRead(FILLED), Ready(homed=True))
    assert (fit.ready, fit.homed, fit.initialised, fit.ledger.open_intent) == (True, True, True, None)
    console, effects = step(fit, ARM)
    assert (console.state, console.armed) == (State.FAULT, False)
    assert "not possible in state fault" in reply_in(effects).reasons[0]


def test_a_position_lost_after_a_fault_that_does_not_latch_books_the_most_and_latches() -> None:
    settling = after(FIRING, magazine_ended(opened=2, done=1), CONTACT_LOST)
    assert settling.state is State.SETTLING
    console, _ = step(settling, PositionRead(None))
    assert console.ledger.faults == (Fault.DOSE_UNCERTAIN,)
    assert console.ledger.session is not None
    # Two gates were opened; a gate that sticks may have let one move more begin.
    assert console.ledger.session.increments == Increments(480)
