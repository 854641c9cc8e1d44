"""A new vial, needle or syringe in the midst of a session: each is written down, counts anew, and the plan goes on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controller.live import refusals, snapshot
from device.core.changes import change_needle, change_syringe, change_vial
from device.core.console import Console, State
from device.core.effects import HomePlunger, Reply, Send
from device.core.events import (
    ChangeNeedleRequested,
    ChangeSyringeRequested,
    ChangeVialRequested,
    Command,
    FaultClearRequested,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    SessionStopRequested,
)
from device.core.ledger import Ledger, Needle, apply
from device.core.machine import step
from device.core.operations import EMPTIES_SYRINGE
from device.core.patient_hour import HOUR_MS
from device.core.realtime_messages import EndReason, Home, Homed, Loaded, Ready
from device.core.records import CommandTaken, NeedleChanged, SessionStarted, SyringeChanged, VialChanged
from device.core.session_care import UNHOMED, UNPRIMED
from device.core.treatment import refill_target
from device.core.units import Increments
from device.core.vial import Vial
from tests.support.core import LAW, make_serum
from tests.support.journal import SETTLED
from tests.support.machine import (
    ARM,
    ARMED,
    DISARM,
    DISARMED,
    FILLED,
    HOME_PLUNGER,
    PRIME,
    REQUEST,
    SESSION,
    SETTLING,
    START_SESSION,
    STOP_PRESSED,
    TYPICAL,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shots_given,
)

VIAL = ChangeVialRequested(REQUEST, Vial("L-2", expires_ms=2 * HOUR_MS))
NEEDLE = ChangeNeedleRequested(REQUEST, "n-2")
SYRINGE = ChangeSyringeRequested(REQUEST, "", patient_detached=True)


def resting(shots: int) -> Console:
    """Return the session at rest after so many shots."""
    console = after(shots_given(ARMED, shots), DISARM)
    number = console.ledger.magazines
    return after(console, magazine_ended(EndReason.UNLOADED, opened=0, done=0, magazine_id=number), read(console))


def read(console: Console) -> PositionRead:
    return PositionRead(Increments(console.ledger.open_intent.start if console.ledger.open_intent else 0))


TWO_GIVEN = resting(2)


def why(console: Console, command: Command) -> tuple[str, ...]:
    return reply_in(step(console, command)[1]).reasons


def test_a_new_vial_is_full_and_the_plan_goes_on() -> None:
    assert TWO_GIVEN.ledger.session is not None
    drawn_nl = TWO_GIVEN.ledger.session.drawn_nl
    assert drawn_nl > 0
    console, effects = step(TWO_GIVEN, VIAL)
    assert records_in(effects) == [
        CommandTaken("change vial", 1000, 77, accepted=True, reason=""),
        VialChanged("s-1", "L-2", 2 * HOUR_MS, 0, before_nl=drawn_nl, at_ms=0),
    ]
    assert reply_in(effects) == Reply(REQUEST, accepted=True, reasons=())
    totals = console.ledger.session
    assert totals is not None
    assert (totals.drawn_nl, totals.earlier_vials_nl, totals.vial.lot) == (0, drawn_nl, "L-2")
    assert (totals.shots, console.session, console.state) == (2, TWO_GIVEN.session, State.SESSION)
    assert snapshot(console)["vial_drawn_nl"] == 0


def test_a_changed_vial_is_as_old_as_it_was_told() -> None:
    told = replace(VIAL, request=replace(REQUEST, at_ms=70), vial=Vial("L-2", expires_ms=90, mixed_ms=50))
    totals = after(TWO_GIVEN, told).ledger.session
    assert totals is not None
    assert totals.vial == Vial("L-2", expires_ms=90, mixed_ms=50, told_ms=70)


@pytest.mark.parametrize(
    ("reason", "given_nl", "primed"), [("complete", 1, True), ("complete", 0, False), ("fault", 1, False)]
)
def test_only_a_prime_that_was_whole_and_gave_something_is_one(reason: str, given_nl: int, primed: bool) -> None:
    prime = replace(SETTLED, purpose="prime", reason=reason, given_nl=given_nl, shots=0)
    assert apply(step(TWO_GIVEN, NEEDLE)[0].ledger, prime).unprimed is not primed


def test_an_empty_vial_is_changed_and_not_the_session() -> None:
    little = after(DISARMED, replace(START_SESSION, serum=make_serum(vial_nl=20_000)))
    (reason,) = why(little, ARM)
    assert reason == "reservoir: the vial is empty by the book: take another one with `mesogun change vial`"
    half = after(little, PRIME)
    assert half.session is not None
    drawn = replace(half, ledger=replace(half.ledger, session=replace(half.ledger.session, drawn_nl=20_000)))  # type: ignore[type-var]
    assert refill_target(drawn, half.session) == 0
    assert refill_target(after(replace(drawn, state=State.SESSION), VIAL), half.session) > 0


def test_a_vial_is_held_to_what_its_serum_asks_for() -> None:
    serum = replace(make_serum(), lot_required=True)
    first = Vial("L-1", expires_ms=HOUR_MS)
    console = after(DISARMED, replace(START_SESSION, serum=serum, vial=first))
    late = replace(REQUEST, at_ms=HOUR_MS)
    assert why(console, ChangeVialRequested(REQUEST, Vial())) == (
        "mix is given by its lot: give --lot LOT --lot-expires YYYY-MM-DD",
    )
    assert "has expired" in why(console, ChangeVialRequested(late, first))[0]
    fresh = after(console, ChangeVialRequested(late, Vial("L-2", expires_ms=2 * HOUR_MS)))
    assert after(fresh, replace(ARM, request=late)).state is State.REFILLING


def test_a_new_needle_counts_its_shots_anew_and_wants_a_prime() -> None:
    assert TWO_GIVEN.ledger.needle == Needle("", 2, "anna", used=True)
    console, effects = step(TWO_GIVEN, NEEDLE)
    assert records_in(effects)[1] == NeedleChanged("s-1", "n-2", shots=2)
    assert reply_in(effects) == Reply(REQUEST, accepted=True, reasons=())
    assert console.ledger.needle == Needle("n-2", 0)
    assert why(console, ARM) == (UNPRIMED,)
    assert UNPRIMED in refusals(console, 0)
    assert after(primed(console), ARM).state is State.LOADING


def primed(console: Console, reason: EndReason = EndReason.COMPLETE) -> Console:
    """Return the console after a prime that ended so."""
    console = after(console, PRIME)
    if console.state is State.REFILLING:
        console = after(console, RefillDone(FILLED))
    number = console.ledger.magazines
    assert console.magazine is not None
    target = console.magazine.pump_program().moves[-1].target
    whole = reason is EndReason.COMPLETE
    ended = magazine_ended(reason, opened=int(whole), done=int(whole), magazine_id=number)
    place = PositionRead(target) if whole else read(console)
    return after(console, PumpLoaded(number), Loaded(number), ended, place)


def test_a_prime_that_was_broken_off_is_none() -> None:
    console = primed(after(TWO_GIVEN, NEEDLE), EndReason.UNLOADED)
    assert console.state is State.SESSION
    assert why(console, ARM) == (UNPRIMED,)


def test_a_needle_is_counted_over_sessions_until_another_is_named() -> None:
    ledger = TWO_GIVEN.ledger
    (started,) = (one for one in records_in(step(DISARMED, START_SESSION)[1]) if isinstance(one, SessionStarted))
    assert apply(ledger, started).needle == Needle("", 2, "anna", used=True)
    assert apply(ledger, replace(started, needle="n-3")).needle == Needle("n-3", 0)
    same = replace(ledger, needle=Needle("n-3", 7))
    assert apply(same, replace(started, needle="n-3")).needle == Needle("n-3", 7)


USED = after(TWO_GIVEN, SessionStopRequested(REQUEST), HOME_PLUNGER, Homed(0), PlungerAtTop(Increments(0)))
"""Two shots were given to a patient; the syringe is another one, and empty."""


@pytest.mark.parametrize(
    ("patient", "needle", "refused"),
    [("anna", "", False), ("carl", "", True), ("", "", True), ("carl", "n-2", False), ("", "n-2", False)],
)
def test_a_needle_that_was_used_on_a_patient_is_refused_for_another(patient: str, needle: str, refused: bool) -> None:
    reasons = why(USED, replace(START_SESSION, patient=patient, needle=needle))
    used = "the needle was used on another patient: put a new one on, and give it an id of its own by --needle ID"
    assert reasons == ((used,) if refused else ())


def test_the_id_of_the_used_needle_makes_no_new_one() -> None:
    named = replace(USED, ledger=replace(USED.ledger, needle=Needle("n-1", 2, "anna", used=True)))
    assert len(why(named, replace(START_SESSION, patient="carl", needle="n-1"))) == 1


def test_patients_without_a_name_are_never_taken_for_the_same_by_the_needle() -> None:
    nameless = replace(USED, ledger=replace(USED.ledger, needle=Needle("n-1", 2, "", used=True)))
    used = (
        "the needle was used on a patient without a name: put a new one on, and give it an id of its own by --needle ID"
    )
    assert why(nameless, replace(START_SESSION, patient="")) == (used,)
    assert why(nameless, START_SESSION) == (used,)


def test_a_needle_that_gave_nothing_may_stay_for_the_next_patient() -> None:
    fresh = after(DISARMED, START_SESSION, SessionStopRequested(REQUEST))
    assert why(fresh, replace(START_SESSION, patient="carl")) == ()


def test_a_new_needle_at_a_sessions_start_wants_a_prime_as_any_other() -> None:
    assert UNPRIMED in refusals(after(DISARMED, replace(START_SESSION, needle="n-9")), 0)


@given(st.lists(st.sampled_from(["shot", "change"]), max_size=8))
@LAW
def test_the_count_is_of_the_shots_since_the_last_change(happened: list[str]) -> None:
    ledger, since = SESSION.ledger, 0
    shot = next(record for record in records_in(step(SETTLING, TYPICAL[PositionRead])[1]) if hasattr(record, "carry"))
    for one in happened:
        since = since + 1 if one == "shot" else 0
        ledger = apply(ledger, shot if one == "shot" else NeedleChanged("s-1", "", shots=0))
    assert ledger.needle.shots == since


def test_a_prime_wears_no_needle() -> None:
    assert primed(TWO_GIVEN).ledger.needle == TWO_GIVEN.ledger.needle


def test_a_new_syringe_is_emptied_homed_and_primed() -> None:
    console, effects = step(TWO_GIVEN, SYRINGE)
    assert records_in(effects)[1] == SyringeChanged("s-1", "1ml")
    assert Send(Home()) in effects
    # A homing that ends in a fault leaves a needle of which nobody knows where it is.
    assert (console.state, console.homed) == (State.HOMING, False)
    console, effects = step(console, Homed(3))
    assert effects == (HomePlunger(),)
    console, effects = step(console, PlungerAtTop(Increments(0)))
    assert reply_in(effects).accepted
    assert (console.state, console.ledger.content, console.session) == (State.SESSION, None, TWO_GIVEN.session)
    assert why(console, ARM) == (UNPRIMED,)
    assert after(primed(console), ARM).state is State.LOADING


def test_a_syringe_whose_plunger_was_not_homed_gives_nothing_even_after_a_restart() -> None:
    ledger = step(TWO_GIVEN, SYRINGE)[0].ledger
    console = replace(TWO_GIVEN, ledger=ledger)
    assert why(console, PRIME) == (UNHOMED,)
    assert why(console, ARM) == (UNHOMED, UNPRIMED)


@pytest.mark.parametrize(
    ("console", "asked", "reasons"),
    [
        (TWO_GIVEN, replace(SYRINGE, patient_detached=False), (EMPTIES_SYRINGE,)),
        (
            replace(TWO_GIVEN, ready=False),
            replace(SYRINGE, syringe="5ml", patient_detached=False),
            (
                "the session is planned for syringe 1ml: with another type the strokes are others; stop the session "
                "and start one with it",
                "the needle is still on its way home: try again",
                EMPTIES_SYRINGE,
            ),
        ),
    ],
)
def test_another_type_of_syringe_is_another_plan(
    console: Console, asked: ChangeSyringeRequested, reasons: tuple[str, ...]
) -> None:
    assert why(console, asked) == reasons
    assert after(TWO_GIVEN, replace(SYRINGE, syringe="1ml")).state is State.HOMING


@pytest.mark.parametrize("command", [VIAL, NEEDLE, SYRINGE], ids=["vial", "needle", "syringe"])
def test_nothing_is_changed_on_an_armed_gun(command: Command) -> None:
    assert why(ARMED, command) == ("not possible in state armed; possible in: session",)


def test_the_handlers_ask_for_a_session_themselves() -> None:
    for _, effects in (
        change_vial(DISARMED, VIAL),
        change_needle(DISARMED, NEEDLE),
        change_syringe(DISARMED, SYRINGE),
    ):
        assert reply_in(effects).reasons == ("no session is open",)


def test_a_record_of_no_session_changes_nothing() -> None:
    for record in (VialChanged("s-1", "", 0, 0, 0, 0), NeedleChanged("s-1", "", 0), SyringeChanged("s-1", "1ml")):
        assert apply(Ledger(), record) == Ledger()


def broken_off(console: Console) -> Console:
    """Return the console whose homing a stop has ended and whose fault was cleared: the plunger stands as before."""
    stood = console.ledger.position
    assert stood is not None
    cleared = after(console, STOP_PRESSED, FaultClearRequested(REQUEST))
    return after(cleared, PumpProbed(Increments(stood)), Ready(homed=True))


STOP = SessionStopRequested(REQUEST)


def test_a_needle_that_was_changed_is_primed_whatever_session_it_is_fired_in() -> None:
    for ended in (after(TWO_GIVEN, NEEDLE, STOP), after(DISARMED, replace(START_SESSION, needle="n-9"), STOP)):
        again = after(ended, START_SESSION)
        assert again.state is State.SESSION
        assert why(again, ARM) == (UNPRIMED,)
        assert not primed(again).ledger.unprimed


def test_a_syringe_that_was_changed_is_homed_and_primed_whatever_session_it_is_fired_in() -> None:
    left = after(broken_off(after(TWO_GIVEN, SYRINGE)), STOP)
    assert left.state is State.DISARMED
    again = after(left, START_SESSION)
    assert why(again, PRIME) == (UNHOMED,)
    assert why(again, ARM) == (UNHOMED, UNPRIMED)
    homed = after(left, HOME_PLUNGER, Homed(0), PlungerAtTop(Increments(0)), START_SESSION)
    assert why(homed, ARM) == (UNPRIMED,)
