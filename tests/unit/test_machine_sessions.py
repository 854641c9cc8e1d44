"""The way of a session through the machine: self-test, homing, filling, arming, shots, regions, primes, the end."""

from dataclasses import replace

import pytest

from device.core.console import State
from device.core.effects import (
    Commit,
    Exit,
    HomePlunger,
    LoadPump,
    ProbePump,
    ReadPosition,
    Refill,
    Reply,
    Send,
    SoundDone,
    SoundRefusal,
    TerminatePump,
)
from device.core.events import (
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    SessionStopRequested,
    ShutdownRequested,
    Started,
)
from device.core.faults import Fault
from device.core.ledger import Ledger
from device.core.machine import step
from device.core.realtime_messages import (
    Home,
    Homed,
    Load,
    Loaded,
    PressIgnored,
    PressRefusal,
    Ready,
    Reset,
    StrokeStarted,
    Unload,
)
from device.core.records import (
    CommandTaken,
    MagazineIntent,
    MagazineSettled,
    PlungerFound,
    ShotGiven,
)
from device.core.treatment import vial_refusals
from device.core.units import Increments, Nanolitres
from tests.support.core import SYRINGE, make_ingredient, make_profile, make_serum
from tests.support.machine import (
    ARM,
    ARMED,
    CONSOLES,
    DISARM,
    DISARMED,
    FILLED,
    FIRING,
    HOME_PLUNGER,
    LOADING,
    PRIME,
    PRIMING,
    PROFILE,
    REQUEST,
    SELF_TEST,
    SESSION,
    SETTLING,
    START_SESSION,
    STARTING,
    STOP_PRESSED,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
    shots_given,
)


def test_the_self_test_asks_the_pump_then_the_real_time_process() -> None:
    console, effects = step(STARTING, Started())
    assert effects[1:] == (ProbePump(),)
    console, effects = step(console, PumpProbed(None))
    assert (console.state, effects) == (State.SELF_TEST, (Send(Reset()),))
    console, effects = step(console, Ready(homed=False))
    assert (console.state, effects) == (State.DISARMED, ())
    assert not console.initialised


def test_a_faulted_real_time_process_fails_the_self_test() -> None:
    console, effects = step(SELF_TEST, STOP_PRESSED)
    assert console.state is State.FAULT
    assert not any(isinstance(effect, TerminatePump) for effect in effects)


def test_an_intent_without_outcome_is_settled_by_the_self_test_and_never_resumed() -> None:
    crashed = replace(SELF_TEST, ledger=FIRING.ledger)
    console, effects = step(crashed, PumpProbed(Increments(FILLED - 96)))
    (shot, closing, ended) = records_in(effects)
    assert isinstance(shot, ShotGiven)
    assert (shot.outcome, shot.entry_nl, shot.reason) == ("partial", 4_000, "recovered")
    assert isinstance(closing, MagazineSettled)
    assert (closing.given, closing.reason) == (96, "recovered")
    assert ended.reason == "configuration changed"
    assert not any(isinstance(effect, LoadPump) for effect in effects)
    assert step(console, Ready(homed=True))[0].state is State.DISARMED


def test_an_unknown_position_at_the_self_test_books_the_most_and_latches() -> None:
    console, effects = step(replace(SELF_TEST, ledger=FIRING.ledger), PumpProbed(None))
    assert console.state is State.FAULT
    assert console.ledger.faults == (Fault.DOSE_UNCERTAIN,)
    closing = next(record for record in records_in(effects) if isinstance(record, MagazineSettled))
    assert (closing.given, closing.certain) == (480, False)


@pytest.mark.parametrize(
    ("offset", "found", "state"),
    [(2, False, State.DISARMED), (-2, False, State.DISARMED), (3, True, State.DISARMED), (-3, True, State.FAULT)],
)
def test_a_plunger_found_elsewhere_is_written_down_and_deeper_than_booked_it_is_a_fault(
    offset: int, found: bool, state: State
) -> None:
    ledger = replace(DISARMED.ledger, position=10_000, low_water=10_000)
    console, effects = step(replace(SELF_TEST, ledger=ledger), PumpProbed(Increments(10_000 + offset)))
    assert any(isinstance(record, PlungerFound) for record in records_in(effects)) is found
    if console.state is not State.FAULT:
        console = after(console, Ready(homed=True))
    assert console.state is state


def test_a_latched_fault_outlives_a_restart() -> None:
    console = after(replace(SELF_TEST, ledger=replace(Ledger(), faults=(301,))), PumpProbed(None))
    console, effects = step(console, Ready(homed=True))
    assert (console.state, console.ledger.faults, effects) == (State.FAULT, (301,), ())


def test_homing_the_plunger_needs_the_patient_detached() -> None:
    console, effects = step(DISARMED, replace(HOME_PLUNGER, patient_detached=False))
    assert console.state is State.DISARMED
    assert "--patient-detached" in reply_in(effects).reasons[0]


def test_homing_does_the_needle_first_then_the_plunger_and_answers_at_the_end() -> None:
    console, effects = step(DISARMED, HOME_PLUNGER)
    assert effects[-1] == Send(Home())
    console, effects = step(console, Homed(3))
    assert effects == (HomePlunger(),)
    console, effects = step(console, PlungerAtTop(Increments(0)))
    assert reply_in(effects) == Reply(REQUEST, accepted=True, reasons=())
    assert (console.ledger.position, console.initialised, console.homed) == (0, True, True)


def test_a_session_with_an_impossible_profile_is_refused_with_every_reason_at_once() -> None:
    lidocaine = make_serum(make_ingredient(ug_per_ml=1, most_ug_per_kg=1))
    hopeless = make_profile(depth_um=13_001, interval_ns=1)
    console, effects = step(DISARMED, replace(START_SESSION, serum=lidocaine, profile=hopeless))
    assert console.session is None
    reasons = " / ".join(reply_in(effects).reasons)
    assert "--weight-kg" in reasons
    assert "limits.depth_mm" in reasons
    assert "limits.least_interval_ms" in reasons


def test_a_session_that_no_shot_could_follow_leaves_no_trace_in_the_ledger() -> None:
    # The ledger once counted the refused session as begun, and then knew more than the journal.
    console, effects = step(DISARMED, replace(START_SESSION, profile=make_profile(session_shots=0)))
    assert not reply_in(effects).accepted
    (attempt,) = records_in(effects)
    assert isinstance(attempt, CommandTaken)
    assert console.ledger == DISARMED.ledger


ANNAS = after(shots_given(ARMED, 5), SessionStopRequested(REQUEST))
"""Without a session; what is left in the syringe was drawn in that of the patient anna."""


def test_what_was_drawn_for_one_patient_is_refused_to_the_next_until_the_plunger_was_homed() -> None:
    for other in (
        replace(START_SESSION, patient="bert"),
        replace(START_SESSION, patient=""),
        replace(START_SESSION, serum_sha256="another"),
        replace(START_SESSION, syringe_sha256="another"),
    ):
        console, effects = step(ANNAS, other)
        assert "holds mix of an earlier session" in reply_in(effects).reasons[0]
        assert console.session is None
    emptied = after(ANNAS, HOME_PLUNGER, Homed(3), PlungerAtTop(Increments(0)))
    _, effects = step(emptied, replace(START_SESSION, patient="bert", needle="n-2"))
    assert reply_in(effects).accepted


def test_the_same_patient_may_go_on_with_what_was_drawn_for_them() -> None:
    _, effects = step(ANNAS, replace(START_SESSION, session_id="s-2"))
    assert reply_in(effects).accepted


def test_arming_an_unfit_console_is_refused_with_every_reason_at_once() -> None:
    unfit = replace(SESSION, ready=False, homed=False, initialised=False)
    console, effects = step(unfit, ARM)
    assert console.state is State.SESSION
    assert len(reply_in(effects).reasons) == 3


def test_arming_an_empty_plunger_draws_from_the_vial_then_commits_and_loads() -> None:
    console, effects = step(SESSION, ARM)
    assert effects[-1] == Refill(FILLED, overshoot=SYRINGE.backlash_increments, owed=Increments(0))
    console, effects = step(console, RefillDone(FILLED))
    commit, load = effects
    assert isinstance(load, LoadPump)
    assert isinstance(commit, Commit)
    drawn, intent = commit.records
    assert drawn.volume_nl == SYRINGE.volume_of(FILLED)  # type: ignore[union-attr]  # the record of the refill
    assert isinstance(intent, MagazineIntent)
    assert (intent.magazine_id, intent.region, intent.first_shot) == (1, "crown", 1)
    assert [move.target for move in load.program.moves] == intent.targets


def test_a_refill_after_a_suck_back_is_told_what_the_next_shot_repays() -> None:
    nearly_empty = replace(SESSION.ledger, position=100, low_water=54)
    _, effects = step(replace(SESSION, ledger=nearly_empty), ARM)
    assert effects[-1] == Refill(FILLED, overshoot=SYRINGE.backlash_increments, owed=Increments(46))


@pytest.mark.parametrize("deeper", [1, 2])
def test_a_book_that_has_the_plunger_below_what_it_gave_owes_a_refill_nothing(deeper: int) -> None:
    # Journals of before hold such a book, of a plunger that was read so; each refill was then fault 307, for good.
    nearly_empty = replace(SESSION.ledger, position=100 - deeper, low_water=100)
    console, effects = step(replace(SESSION, ledger=nearly_empty), ARM)
    assert effects[-1] == Refill(FILLED, overshoot=SYRINGE.backlash_increments, owed=Increments(0))
    _, effects = step(console, RefillDone(FILLED))
    load = effects[-1]
    assert isinstance(load, LoadPump)
    # What is missing the next shot gives less: its targets go on from what was given.
    whole = SYRINGE.increments_within(PROFILE.dose_nl)
    assert FILLED - min(move.target for move in load.program.moves) == whole - deeper


@pytest.mark.parametrize("deeper", [1, 2])
def test_a_vial_gives_a_refill_as_much_where_the_book_has_the_plunger_below_what_it_gave(deeper: int) -> None:
    session = SESSION.session
    assert session is not None
    whole = SYRINGE.increments_within(PROFILE.dose_nl)
    just_enough = replace(session.serum, vial_nl=SYRINGE.volume_of(Increments(whole + 1)))
    console = replace(SESSION, session=replace(session, serum=just_enough))
    book = replace(console.ledger, position=0, low_water=deeper)
    assert vial_refusals(replace(console, ledger=book), replace(session, serum=just_enough)) == ()
    less = replace(session.serum, vial_nl=SYRINGE.volume_of(Increments(whole)))
    assert vial_refusals(replace(console, ledger=book), replace(session, serum=less)) != ()


@pytest.mark.parametrize("read", [-2, -1, 1, 2])
def test_a_plunger_that_came_to_its_target_stands_there_whatever_is_read_of_it(read: int) -> None:
    no_suck_back = replace(START_SESSION, profile=replace(PROFILE, suck_back_nl=Nanolitres(0)))
    console = after(DISARMED, no_suck_back, ARM, RefillDone(FILLED), PumpLoaded(1), Loaded(1), StrokeStarted(1, 0))
    intent = console.ledger.open_intent
    assert intent is not None
    moves = len(intent.targets)
    console = after(console, shot_report(), magazine_ended(opened=moves, done=moves))
    place = intent.targets[-1]
    settled = after(console, PositionRead(Increments(place + read)))
    assert (settled.ledger.position, settled.ledger.low_water) == (place, place)
    assert settled == after(console, PositionRead(Increments(place)))


def test_the_real_time_process_gets_its_key_only_when_the_pump_has_its_own() -> None:
    console, effects = step(LOADING, PumpLoaded(1))
    (send,) = effects
    assert isinstance(send, Send)
    assert isinstance(send.order, Load)
    assert (send.order.magazine.magazine_id, send.order.magazine.fresh_press) == (1, True)
    _, effects = step(console, Loaded(1))
    assert effects == (Reply(REQUEST, accepted=True, reasons=()),)


def test_a_disarming_while_the_pump_is_loading_keeps_key_2_from_the_real_time_process() -> None:
    # The magazine once was given to it all the same, and could be fired until the unloading came.
    console, effects = step(after(LOADING, DISARM), PumpLoaded(1))
    assert (console.state, effects) == (State.SETTLING, (ReadPosition(complete=False),))
    console, effects = step(console, PositionRead(FILLED))
    (closing,) = records_in(effects)
    assert isinstance(closing, MagazineSettled)
    assert (closing.given, closing.reason, closing.certain) == (0, "unloaded", True)
    assert (console.state, console.armed) == (State.SESSION, False)
    assert not any(isinstance(effect, Send | LoadPump) for effect in effects)


def test_a_disarming_can_be_taken_back_until_the_pump_is_loaded() -> None:
    # Such an arming once was accepted and then void: the gun said armed and fired nothing.
    console, effects = step(after(LOADING, DISARM), ARM)
    assert reply_in(effects).accepted
    assert console.armed
    _, (send,) = step(console, PumpLoaded(1))
    assert isinstance(send, Send)
    assert isinstance(send.order, Load)


@pytest.mark.parametrize("state", [State.ARMED, State.FIRING])
def test_arming_behind_a_disarming_that_is_under_way_is_refused(state: State) -> None:
    console, effects = step(after(CONSOLES[state], DISARM), ARM)
    assert reply_in(effects).reasons == ("the gun is being disarmed: try again",)
    assert not console.armed


def test_a_shutdown_while_a_prime_is_loading_gives_nothing() -> None:
    console, effects = step(after(PRIMING, ShutdownRequested()), PumpLoaded(1))
    assert effects[0] == ReadPosition(complete=False)
    console, effects = step(console, PositionRead(FILLED))
    assert effects[-1] == Exit()
    assert console.ledger.session is not None
    assert console.ledger.session.primed_nl == 0


def test_a_vial_that_holds_too_little_is_the_answer_to_the_arming() -> None:
    # The command once was left without an answer.
    session = after(DISARMED, replace(START_SESSION, serum=make_serum(vial_nl=10_000)))
    console, effects = step(session, ARM)
    assert "reservoir" in reply_in(effects).reasons[0]
    assert (console.state, console.armed, console.pending) == (State.SESSION, False, None)


def test_a_pump_loaded_with_another_magazine_is_a_fault() -> None:
    console, _ = step(LOADING, PumpLoaded(2))
    assert console.ledger.faults == (Fault.INTERNAL,)


def test_a_shots_outcome_and_the_next_intent_are_committed_together_in_front_of_the_load() -> None:
    console, effects = step(SETTLING, PositionRead(Increments(FILLED - 480 + 46)))
    commit, load = effects
    assert isinstance(load, LoadPump)
    shot, closing, intent = records_in((commit,))
    assert (shot.outcome, shot.booked_nl, shot.shot) == ("delivered", 20_000, 1)
    assert (closing.given_nl, closing.certain) == (20_000, True)
    assert (intent.magazine_id, intent.start, intent.low_water) == (2, FILLED - 434, FILLED - 480)
    assert console.state is State.LOADING


def test_regions_follow_each_other_and_the_last_point_ends_the_arming() -> None:
    console = shots_given(ARMED, 3)
    assert console.magazine is not None
    assert (console.magazine.region, console.magazine.first_shot, console.magazine.fresh_press) == ("temple", 4, True)
    console = shots_given(console, 2)
    assert (console.state, console.armed) == (State.SESSION, False)
    assert console.ledger.session is not None
    assert (console.ledger.session.shots, console.ledger.session.volume_nl) == (5, 100_000)
    _, effects = step(console, ARM)
    assert "all 5 planned points" in reply_in(effects).reasons[0]


def test_the_last_point_is_told_by_sound() -> None:
    console = shots_given(ARMED, 4)
    console = after(console, StrokeStarted(5, 0), shot_report(5), magazine_ended(magazine_id=5))
    assert console.magazine is not None
    _, effects = step(console, PositionRead(console.magazine.pump_program().moves[-1].target))
    assert effects[-1] == SoundDone()


def test_a_position_that_nothing_explains_books_the_most_and_disarms() -> None:
    console, effects = step(SETTLING, PositionRead(Increments(FILLED - 700)))
    assert console.ledger.faults == (Fault.PUMP_POSITION_MISMATCH,)
    closing = next(record for record in records_in(effects) if isinstance(record, MagazineSettled))
    assert (closing.given, closing.certain) == (702, False)
    assert not any(isinstance(effect, LoadPump) for effect in effects)


@pytest.mark.parametrize("state", [State.ARMED, State.FIRING])
def test_disarming_unloads_first_and_answers_then(state: State) -> None:
    console, effects = step(CONSOLES[state], DISARM)
    assert effects[0] == Send(Unload())
    assert reply_in(effects).accepted
    assert not console.armed


def test_after_a_disarming_no_next_magazine_is_loaded() -> None:
    console = after(FIRING, DISARM, shot_report(), magazine_ended())
    console, effects = step(console, PositionRead(Increments(FILLED - 434)))
    assert console.state is State.SESSION
    assert not any(isinstance(effect, LoadPump | Send) for effect in effects)


def test_a_prime_is_loaded_at_once_when_the_plunger_holds_it_and_booked_as_no_shot() -> None:
    filled = after(SESSION, PRIME, RefillDone(FILLED), PumpLoaded(1), Loaded(1), StrokeStarted(1, 0))
    console = after(filled, shot_report(), magazine_ended(opened=1, done=1))
    console, effects = step(console, PositionRead(Increments(FILLED - 1200)))
    assert reply_in(effects).accepted
    assert console.state is State.SESSION
    assert console.ledger.session is not None
    assert (console.ledger.session.primed_nl, console.ledger.session.shots) == (50_000, 0)
    _, effects = step(console, PRIME)
    assert isinstance(effects[-1], LoadPump)


def test_a_prime_above_its_limit_is_refused() -> None:
    console, effects = step(SESSION, replace(PRIME, volume_nl=Nanolitres(300_001)))
    assert console.state is State.SESSION
    assert "limits.prime_ul" in reply_in(effects).reasons[0]


def test_an_ignored_press_is_heard_and_written_down() -> None:
    _, effects = step(ARMED, PressIgnored(PressRefusal.NO_CONTACT))
    assert effects[0] == SoundRefusal()
    assert [record.reason for record in records_in(effects)] == ["no_contact"]
