"""Lot, expiry and the time after mixing: what is too old is not drawn, primed or fired, whatever the clock does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controller.live import refusals, snapshot
from device.core.console import Console, State
from device.core.events import (
    ArmRequested,
    Command,
    PositionRead,
    PrimeRequested,
    PumpLoaded,
    RefillDone,
    Request,
    SessionStartRequested,
)
from device.core.ledger import Ledger, apply
from device.core.machine import step
from device.core.patient_hour import HOUR_MS
from device.core.realtime_messages import Loaded, StrokeStarted
from device.core.records import PlungerHomed, Refilled, SessionStarted, VialChanged
from device.core.serum import Serum
from device.core.units import Nanolitres
from device.core.vial import UNTOLD, Vial, age_refusals, drawn_together, told_refusals
from tests.support.core import LAW, make_serum
from tests.support.machine import (
    DISARMED,
    FILLED,
    START_SESSION,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
)

NOON_MS = 1_772_600_000_000
SERUM = replace(make_serum(), lot_required=True, use_within_ms=4 * HOUR_MS)
VIAL = Vial("L-1", NOON_MS + 6 * HOUR_MS, NOON_MS - HOUR_MS, told_ms=NOON_MS)
ANOTHER = "take another vial, in a session with `mesogun change vial`"
EMPTY = "what is in the syringe came from it: empty it, without a patient `mesogun home --plunger --patient-detached`"
EXPIRED, MIXED = "lot L-1 of mix has expired", "mix was mixed 4 h ago or more"


def at(ms: int) -> Request:
    return Request(number=5, uid=1000, pid=77, at_ms=ms)


def start(vial: Vial = VIAL, serum: Serum = SERUM, ms: int = NOON_MS) -> SessionStartRequested:
    return replace(START_SESSION, request=at(ms), serum=serum, vial=vial, operator="a nurse")


def why(console: Console, command: Command) -> tuple[str, ...]:
    """Return why a command is refused; empty where it is taken, or waits for the pump."""
    console, effects = step(console, command)
    return () if console.state is State.REFILLING else reply_in(effects).reasons


OPEN = after(DISARMED, start())


@pytest.mark.parametrize(
    ("vial", "reasons"),
    [
        (VIAL, []),
        (replace(VIAL, lot=""), ["mix is given by its lot: give --lot LOT --lot-expires YYYY-MM-DD"]),
        (replace(VIAL, expires_ms=0), ["mix is given by its lot: give --lot LOT --lot-expires YYYY-MM-DD"]),
        (replace(VIAL, mixed_ms=0), ['mix holds for 4 h after mixing: give --mixed-at "YYYY-MM-DD HH:MM"']),
        (
            UNTOLD,
            [
                "mix is given by its lot: give --lot LOT --lot-expires YYYY-MM-DD",
                'mix holds for 4 h after mixing: give --mixed-at "YYYY-MM-DD HH:MM"',
            ],
        ),
        (replace(VIAL, expires_ms=NOON_MS + 1), []),
        (replace(VIAL, expires_ms=NOON_MS), [f"{EXPIRED}: {ANOTHER}"]),
        (replace(VIAL, mixed_ms=NOON_MS - 4 * HOUR_MS + 1), []),
        (replace(VIAL, mixed_ms=NOON_MS - 4 * HOUR_MS), [f"{MIXED}: {ANOTHER}"]),
        (replace(VIAL, mixed_ms=NOON_MS + 1), ["--mixed-at lies in the future: correct it, or the computer's clock"]),
    ],
)
def test_a_session_takes_a_vial_of_which_everything_is_told_and_nothing_has_passed(
    vial: Vial, reasons: list[str]
) -> None:
    assert [reason.message for reason in told_refusals(vial, SERUM, now_ms=NOON_MS)] == reasons
    assert list(reply_in(step(DISARMED, start(vial))[1]).reasons) == reasons


def test_a_serum_that_asks_for_nothing_takes_any_vial_and_holds_one_to_what_was_told() -> None:
    plain = make_serum()
    assert told_refusals(UNTOLD, plain, now_ms=NOON_MS) == ()
    (old,) = told_refusals(replace(UNTOLD, expires_ms=1), plain, now_ms=NOON_MS)
    assert old.message == f"lot without a number of mix has expired: {ANOTHER}"
    # Nobody said for how long it holds after mixing.
    assert told_refusals(replace(UNTOLD, mixed_ms=1), plain, now_ms=NOON_MS) == ()


@pytest.mark.parametrize("command", [ArmRequested, lambda request: PrimeRequested(request, Nanolitres(50_000))])
def test_arming_and_priming_end_with_the_vial(command: type[ArmRequested]) -> None:
    assert why(OPEN, command(at(NOON_MS + 3 * HOUR_MS - 1))) == ()
    assert why(OPEN, command(at(NOON_MS + 3 * HOUR_MS))) == (f"{MIXED}: {ANOTHER}",)
    assert why(OPEN, command(at(NOON_MS + 6 * HOUR_MS))) == (f"{EXPIRED}: {ANOTHER}", f"{MIXED}: {ANOTHER}")


def test_a_clock_that_fell_behind_makes_nothing_younger() -> None:
    # Told at its very end, by a clock that is set back afterwards.
    late = replace(VIAL, mixed_ms=0, told_ms=VIAL.expires_ms)
    plain = make_serum()
    assert age_refusals(late, None, plain, now_ms=0) != ()
    mixed = Vial(mixed_ms=NOON_MS, told_ms=NOON_MS)
    assert age_refusals(mixed, None, SERUM, now_ms=NOON_MS + 4 * HOUR_MS) != ()
    assert age_refusals(mixed, None, SERUM, now_ms=NOON_MS - 100 * HOUR_MS) == ()
    # Mixed later than it was told: it is at least as late as that, too.
    assert age_refusals(Vial("L-1", NOON_MS, mixed_ms=NOON_MS, told_ms=1), None, plain, now_ms=2) != ()


def test_what_was_drawn_ages_with_its_vial_until_the_syringe_is_emptied() -> None:
    drawn = after(OPEN, PrimeRequested(at(NOON_MS), Nanolitres(50_000)), RefillDone(FILLED)).ledger
    assert drawn.drawn == VIAL
    late_ms = NOON_MS + 3 * HOUR_MS
    fresh = replace(VIAL, mixed_ms=late_ms, told_ms=late_ms)
    assert [one.message for one in age_refusals(fresh, drawn.drawn, SERUM, now_ms=late_ms)] == [f"{MIXED}: {EMPTY}"]
    assert apply(drawn, PlungerHomed(position=0)).drawn is None
    # What is wrong with both is told of both.
    both = [one.message for one in age_refusals(VIAL, drawn.drawn, SERUM, now_ms=late_ms)]
    assert both == [f"{MIXED}: {ANOTHER}", f"{MIXED}: {EMPTY}"]


def test_the_gun_is_not_armed_with_something_old_in_the_syringe_behind_a_fresh_vial() -> None:
    late_ms = NOON_MS + 3 * HOUR_MS
    drawn = apply(OPEN.ledger, Refilled(0, FILLED, 400_000))
    changed = VialChanged("s-1", "L-2", late_ms + HOUR_MS, late_ms, 0, late_ms)
    console = replace(OPEN, ledger=apply(drawn, changed))
    assert why(console, ArmRequested(at(late_ms))) == (f"{MIXED}: {EMPTY}",)


def test_what_is_in_the_syringe_is_at_least_as_late_as_the_later_of_its_vials_was_told() -> None:
    early, late = Vial("a", expires_ms=9, told_ms=3), Vial("b", expires_ms=20, told_ms=9)
    for mixture in (drawn_together(early, late), drawn_together(late, early)):
        assert (mixture.lot, mixture.told_ms) == ("a", 9)
        assert mixture.ends(make_serum(), now_ms=4) != ()


def test_what_is_drawn_on_top_of_something_old_is_as_old() -> None:
    fresh = replace(VIAL, lot="L-2", expires_ms=VIAL.expires_ms + HOUR_MS, mixed_ms=NOON_MS)
    drawn = after(OPEN, PrimeRequested(at(NOON_MS), Nanolitres(50_000)), RefillDone(FILLED)).ledger
    again = apply(apply(drawn, VialChanged("s-1", "L-2", fresh.expires_ms, NOON_MS, 0, NOON_MS)), Refilled(0, 9, 375))
    assert again.drawn is not None
    assert (again.drawn.lot, again.drawn.expires_ms, again.drawn.mixed_ms) == ("L-1", VIAL.expires_ms, VIAL.mixed_ms)


vials = st.builds(
    Vial,
    lot=st.sampled_from(["", "a", "b"]),
    expires_ms=st.integers(0, 20) | st.just(0),
    mixed_ms=st.integers(0, 20) | st.just(0),
    told_ms=st.integers(0, 20),
)


@given(st.lists(vials, min_size=1, max_size=5), st.integers(0, 40))
@LAW
def test_of_several_vials_in_one_syringe_the_first_that_ends_ends_it(found: list[Vial], now_ms: int) -> None:
    serum = replace(make_serum(), use_within_ms=5)
    # All of them were told by now: the clock went on since, or is taken to have.
    now_ms = max(now_ms, *(vial.told_ms for vial in found), *(vial.mixed_ms for vial in found))
    content = None
    for vial in found:
        content = drawn_together(content, vial)
    assert content is not None
    assert bool(content.ends(serum, now_ms)) is any(vial.ends(serum, now_ms) for vial in found)


def test_what_was_told_stands_in_record_ledger_and_status() -> None:
    (started,) = (one for one in records_in(step(DISARMED, start())[1]) if isinstance(one, SessionStarted))
    told = (started.operator, started.lot, started.lot_expires_ms, started.mixed_ms)
    assert told == ("a nurse", "L-1", VIAL.expires_ms, VIAL.mixed_ms)
    again = apply(Ledger(), started)
    assert again.session is not None
    assert again.session.vial == VIAL
    shown = snapshot(OPEN)
    assert (shown["operator"], shown["lot"], shown["lot_expires_ms"], shown["mixed_ms"]) == told
    assert f"{MIXED}: {ANOTHER}" in refusals(OPEN, NOON_MS + 3 * HOUR_MS)
    assert snapshot(DISARMED)["lot"] == ""


def test_a_refill_without_a_session_draws_from_no_vial_that_anybody_knows() -> None:
    assert apply(Ledger(), Refilled(0, 100, 4_000)).drawn is None


@pytest.mark.parametrize(("before_ms", "state"), [(1, State.LOADING), (0, State.SESSION)])
def test_a_gun_that_is_armed_when_the_vials_time_ends_is_given_no_other_magazine(before_ms: int, state: State) -> None:
    end_ms = NOON_MS + 3 * HOUR_MS
    armed = after(OPEN, ArmRequested(at(NOON_MS)), RefillDone(FILLED), PumpLoaded(1), Loaded(1))
    assert armed.magazine is not None
    place = armed.magazine.pump_program().moves[-1].target
    fired = after(armed, StrokeStarted(1, 0), shot_report(), magazine_ended(), PositionRead(place, end_ms - before_ms))
    assert fired.state is state
