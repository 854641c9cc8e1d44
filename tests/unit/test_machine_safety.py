"""The machine's handlers of faults and of the end, case by case: what is done, what is written, what is left behind."""

from dataclasses import replace

import pytest

from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    Exit,
    HomePlunger,
    ProbePump,
    ReadPosition,
    Reply,
    Send,
    TerminatePump,
)
from device.core.events import (
    FaultClearRequested,
    FaultOccurred,
    HomeRequested,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RealtimeRestarted,
    RefillDone,
    Request,
    ShutdownRequested,
    Started,
)
from device.core.faults import Fault
from device.core.machine import step
from device.core.realtime_messages import EndReason, Faulted, Halt, Homed, Load, Loaded, Ready, Reset, Unload
from device.core.records import CommandTaken, FaultRaised, FaultsCleared, MagazineSettled
from device.core.units import Increments
from tests.support.machine import (
    ARM,
    ARMED,
    CONSOLES,
    CONTACT_LOST,
    DISARMED,
    FAULT,
    FILLED,
    FIRING,
    HOMING,
    LOADING,
    PRIME,
    PRIMING,
    PROBED,
    REFILLING,
    REQUEST,
    SELF_TEST,
    SESSION,
    SETTLING,
    STARTING,
    STOP_PRESSED,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
)

SILENT = FaultOccurred(Fault.PUMP_SILENT, "no answer")
CLEAR = FaultClearRequested(Request(number=5, uid=1001, pid=78))
NEEDLE_ONLY = HomeRequested(REQUEST, plunger=False, patient_detached=False)


def raised_in(effects: tuple[Effect, ...]) -> FaultRaised:
    (raised,) = [record for record in records_in(effects) if isinstance(record, FaultRaised)]
    return raised


# --- what is done and written ------------------------------------------------------------------------------------


def test_a_fault_is_written_down_with_all_that_is_known_of_it() -> None:
    _, effects = step(FIRING, SILENT)
    assert raised_in(effects) == FaultRaised(
        code=301, name="pump_silent", priority="high", latched=True, detail="no answer", session_id="s-1"
    )
    assert raised_in(step(DISARMED, SILENT)[1]).session_id == ""


def test_a_fault_of_the_real_time_process_is_written_down_with_the_needles_place() -> None:
    _, effects = step(FIRING, Faulted(Fault.STEP_LATE, homed=False, detail=37))
    assert raised_in(effects).detail == "needle at step 37"


def test_a_fault_while_firing_makes_safe_records_and_reads_the_plunger_in_this_order() -> None:
    console, effects = step(FIRING, SILENT)
    halt, terminate, commit, read = effects
    assert (halt, terminate) == (Send(Halt(Fault.PUMP_SILENT)), TerminatePump())
    assert isinstance(commit, Commit)
    assert read == ReadPosition(complete=False)
    assert (console.state, console.armed, console.ready, console.homed) == (State.FAULT, False, False, True)


@pytest.mark.parametrize("console", [STARTING, SELF_TEST, PROBED], ids=["starting", "asking", "probed"])
def test_before_the_self_test_is_over_there_is_nothing_in_the_pump_to_terminate(console: Console) -> None:
    after_it, effects = step(console, SILENT)
    assert [type(effect) for effect in effects] == [Send, Commit]
    assert after_it.state is State.FAULT


def test_a_fault_in_the_self_test_leaves_an_open_intent_to_the_next_one() -> None:
    crashed = replace(SELF_TEST, ledger=FIRING.ledger)
    console, effects = step(crashed, SILENT)
    assert not any(isinstance(effect, ReadPosition) for effect in effects)
    assert console.ledger.open_intent == FIRING.ledger.open_intent
    _, effects = step(after(console, CLEAR), PumpProbed(Increments(FILLED - 96)))
    assert any(isinstance(record, MagazineSettled) for record in records_in(effects))


def test_an_event_that_cannot_be_is_an_internal_fault_that_halts_everything() -> None:
    _, effects = step(SESSION, Loaded(1))
    assert effects[:2] == (Send(Halt(Fault.INTERNAL)), TerminatePump())
    assert raised_in(effects).detail == "unexpected Loaded in state session"


def test_a_journal_that_cannot_be_written_is_a_fault_and_not_written_to() -> None:
    console, effects = step(FIRING, FaultOccurred(Fault.JOURNAL_WRITE_FAILED, "disk full"))
    assert records_in(effects) == []
    assert effects[-1] == ReadPosition(complete=False)
    assert console.ledger.faults == (Fault.JOURNAL_WRITE_FAILED,)


def test_a_fault_answers_the_waiting_command_with_what_it_is_and_what_to_do() -> None:
    console, effects = step(LOADING, SILENT)
    (reason,) = reply_in(effects).reasons
    assert (
        reason == "fault 301: the pump does not answer (no answer); check the pump's power and serial cable, then clear"
    )
    assert not reply_in(effects).accepted
    assert console.pending is None


@pytest.mark.parametrize("homed", [True, False])
def test_the_real_time_process_says_itself_whether_the_needle_is_home_and_needs_no_halt(homed: bool) -> None:
    console, effects = step(replace(FIRING, homed=not homed), Faulted(Fault.STOP_PRESSED, homed=homed, detail=0))
    assert (console.homed, console.ready) == (homed, False)
    assert not any(isinstance(effect, Send) for effect in effects)


@pytest.mark.parametrize("homed", [True, False])
def test_a_fault_elsewhere_leaves_the_needle_where_it_is_known_to_be_but_not_ready(homed: bool) -> None:
    console, _ = step(replace(SESSION, homed=homed), SILENT)
    assert (console.homed, console.ready) == (homed, False)


def test_a_lost_real_time_process_is_not_told_to_halt_and_the_needle_is_anywhere() -> None:
    console, effects = step(FIRING, FaultOccurred(Fault.REALTIME_LOST, "silent"))
    assert effects[0] == TerminatePump()
    assert not any(isinstance(effect, Send) for effect in effects)
    assert (console.homed, console.ready) == (False, False)


# --- latched or not ----------------------------------------------------------------------------------------------


def test_lost_contact_with_nothing_loaded_latches_like_any_fault() -> None:
    console, effects = step(SESSION, CONTACT_LOST)
    assert (console.state, console.ledger.faults) == (State.FAULT, (Fault.CONTACT_LOST,))
    assert raised_in(effects).latched
    assert Send(Reset()) not in effects


def test_lost_contact_in_a_fault_latches_and_does_not_lead_out_of_it() -> None:
    console, effects = step(FAULT, CONTACT_LOST)
    assert (console.state, console.ledger.faults) == (State.FAULT, (Fault.STOP_PRESSED, Fault.CONTACT_LOST))
    assert Send(Reset()) not in effects


def test_lost_contact_in_a_shot_is_written_down_as_not_latched_and_lets_the_needle_be_ready_again() -> None:
    console, effects = step(after(FIRING, magazine_ended(EndReason.FAULT, opened=1, done=0)), CONTACT_LOST)
    assert not raised_in(effects).latched
    assert effects[:2] == (TerminatePump(), Send(Reset()))
    assert (console.state, console.ledger.faults, console.ready) == (State.SETTLING, (), False)
    assert step(console, Ready(homed=True))[0].ready


def test_the_same_fault_in_another_state_than_the_fault_is_a_new_one() -> None:
    faulty = replace(SESSION, ledger=replace(SESSION.ledger, faults=(Fault.PUMP_SILENT,)))
    _, effects = step(faulty, SILENT)
    assert raised_in(effects).code == Fault.PUMP_SILENT


# --- what is left behind -----------------------------------------------------------------------------------------


def test_a_homing_that_a_fault_broke_off_leaves_no_wish_to_home_the_plunger() -> None:
    # The next homing, of the needle alone, would empty the syringe: perhaps into a patient.
    console = after(HOMING, STOP_PRESSED, CLEAR, PumpProbed(Increments(0)), Ready(homed=True))
    assert (console.state, console.plunger_wanted) == (State.DISARMED, False)
    console, effects = step(after(console, NEEDLE_ONLY), Homed(3))
    assert not any(isinstance(effect, HomePlunger) for effect in effects)
    assert console.state is State.DISARMED


def test_a_prime_that_a_fault_broke_off_is_not_given_after_the_next_refill() -> None:
    drawing = after(SESSION, PRIME)
    console = after(drawing, SILENT, CLEAR, PumpProbed(Increments(0)), Ready(homed=True), ARM)
    assert (console.state, console.prime_nl) == (State.REFILLING, 0)
    assert after(console, RefillDone(FILLED)).state is State.LOADING


def test_clearing_is_written_down_with_the_faults_and_by_whom() -> None:
    both = after(FAULT, SILENT, PositionRead(FILLED))
    console, effects = step(both, CLEAR)
    commit, probe = effects
    assert records_in((commit,)) == [
        CommandTaken(command="fault clear", uid=1001, pid=78, accepted=True, reason=""),
        FaultsCleared(codes=[101, 301], uid=1001),
    ]
    assert probe == ProbePump()
    assert (console.state, console.probed, console.pending) == (State.SELF_TEST, False, CLEAR.request)


def test_after_a_clearing_the_real_time_process_alone_does_not_end_the_self_test() -> None:
    clearing = after(FAULT, PositionRead(FILLED), CLEAR)
    console, effects = step(clearing, Ready(homed=True))
    assert (console.state, effects) == (State.SELF_TEST, ())
    console = after(console, PumpProbed(FILLED))
    assert after(console, Ready(homed=True)).state is State.SESSION


def test_the_needle_coming_home_in_a_fault_is_noted_and_leads_nowhere() -> None:
    lost = after(FIRING, FaultOccurred(Fault.REALTIME_LOST, "silent"))
    console, effects = step(lost, Ready(homed=False))
    assert (console.state, console.ready, console.homed, effects) == (State.FAULT, True, False, ())


@pytest.mark.parametrize("state", [State.STARTING, State.FAULT])
def test_a_new_real_time_process_waits_for_the_self_test(state: State) -> None:
    console, effects = step(replace(CONSOLES[state], ready=True, homed=True), RealtimeRestarted())
    assert effects == ()
    assert (console.state, console.ready, console.homed) == (state, False, False)


TESTED_TOO_EARLY = [state for state in State if state not in (State.STARTING, State.SELF_TEST, State.FAULT)]


@pytest.mark.parametrize("state", TESTED_TOO_EARLY)
def test_a_real_time_process_that_was_tested_before_its_rescue_is_rescued_and_tested_again(state: State) -> None:
    # A clearing while the lost process was being replaced once ended in an internal fault, when the needle was home.
    console, effects = step(replace(CONSOLES[state], ready=True, homed=True), RealtimeRestarted())
    assert effects[0] == TerminatePump()
    raised = raised_in(effects[1:])
    assert (raised.name, raised.detail) == ("realtime_lost", "tested before it was restarted: test again")
    assert (console.state, console.ready, console.homed) == (State.FAULT, False, False)
    console, effects = step(console, Homed(3))
    assert (console.state, console.homed, effects) == (State.FAULT, True, ())


def test_an_unexplained_position_in_a_fault_books_the_most_and_adds_a_fault() -> None:
    console, effects = step(FAULT, PositionRead(Increments(FILLED - 700)))
    commit, *following = effects
    *_, closing = records_in((commit,))
    assert isinstance(closing, MagazineSettled)
    assert (closing.given, closing.certain) == (702, False)
    assert raised_in(tuple(following)).name == "pump_position_mismatch"
    assert (console.state, console.ledger.open_intent) == (State.FAULT, None)
    assert console.ledger.faults == (Fault.STOP_PRESSED, Fault.PUMP_POSITION_MISMATCH)


def test_a_position_read_again_in_a_fault_books_nothing_twice() -> None:
    settled = after(FAULT, PositionRead(Increments(FILLED - 96)))
    assert step(settled, PositionRead(Increments(FILLED - 96))) == (settled, ())


# --- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.HOMING, State.PRIMING, State.SETTLING])
def test_a_shutdown_waits_for_what_is_under_way(state: State) -> None:
    console, effects = step(CONSOLES[state], ShutdownRequested())
    assert effects == ()
    assert (console.state, console.stopping, console.armed) == (state, True, False)


@pytest.mark.parametrize("state", [State.ARMED, State.FIRING])
def test_a_shutdown_fires_nothing_more(state: State) -> None:
    console, effects = step(CONSOLES[state], ShutdownRequested())
    assert effects == (Send(Unload()),)
    assert (console.stopping, console.armed) == (True, False)


@pytest.mark.parametrize("console", [REFILLING, LOADING, after(SESSION, PRIME)], ids=["refilling", "loading", "prime"])
def test_a_shutdown_gives_up_what_is_drawn_for_or_loaded_and_says_so(console: Console) -> None:
    # The arming once was told that it was accepted, by a gun that ended.
    console, effects = step(console, ShutdownRequested())
    assert effects == (Reply(REQUEST, accepted=False, reasons=("the gun is shutting down",)),)
    assert (console.stopping, console.armed, console.pending, console.prime_nl) == (True, False, None, 0)


def test_a_shutdown_before_a_prime_is_in_the_pump_tells_that_nothing_was_primed() -> None:
    console, effects = step(after(PRIMING, ShutdownRequested()), PumpLoaded(1))
    refusal = Reply(REQUEST, accepted=False, reasons=("the gun is shutting down",))
    assert effects == (ReadPosition(complete=False), refusal)
    _, effects = step(console, PositionRead(FILLED))
    assert [type(effect) for effect in effects] == [Commit, Exit]


def test_a_prime_that_runs_when_the_end_comes_is_finished_and_answered() -> None:
    running = after(PRIMING, PumpLoaded(1), Loaded(1), ShutdownRequested(), magazine_ended(opened=1, done=1))
    _, effects = step(running, PositionRead(Increments(FILLED - 1200)))
    assert effects[1:] == (Reply(REQUEST, accepted=True, reasons=()), Exit())


def test_a_shutdown_before_the_start_ends_at_once() -> None:
    assert step(STARTING, ShutdownRequested())[1] == (Exit(),)


def test_a_homing_that_was_under_way_is_finished_answered_and_the_last() -> None:
    console, effects = step(after(HOMING, ShutdownRequested()), Homed(3))
    assert effects == (HomePlunger(),)
    _, effects = step(console, PlungerAtTop(Increments(0)))
    assert [type(effect) for effect in effects] == [Commit, Reply, Exit]


def test_a_refill_that_was_under_way_is_booked_and_the_last() -> None:
    console, effects = step(after(REFILLING, ShutdownRequested()), RefillDone(FILLED))
    assert [type(effect) for effect in effects] == [Commit, Exit]
    assert (console.state, console.ledger.position) == (State.SESSION, FILLED)


def test_a_prime_that_was_drawn_for_is_not_given_after_a_shutdown() -> None:
    _, effects = step(after(SESSION, PRIME, ShutdownRequested()), RefillDone(FILLED))
    assert [type(effect) for effect in effects] == [Commit, Exit]


def test_a_magazine_that_was_loading_never_reaches_the_real_time_process() -> None:
    console, effects = step(after(LOADING, ShutdownRequested()), PumpLoaded(1))
    assert not any(isinstance(effect, Send) and isinstance(effect.order, Load) for effect in effects)
    _, effects = step(console, PositionRead(FILLED))
    assert effects[-1] == Exit()


def test_a_shot_that_was_being_settled_is_the_last() -> None:
    assert SETTLING.magazine is not None
    done = PositionRead(SETTLING.magazine.pump_program().moves[-1].target)
    console, effects = step(after(SETTLING, ShutdownRequested()), done)
    assert [type(effect) for effect in effects] == [Commit, Exit]
    assert console.ledger.open_intent is None


@pytest.mark.parametrize("console", [HOMING, REFILLING], ids=["homing", "refilling"])
def test_a_fault_with_nothing_to_settle_ends_a_shutdown_at_once(console: Console) -> None:
    after_it, effects = step(after(console, ShutdownRequested()), SILENT)
    assert effects[-1] == Exit()
    assert after_it.ledger.faults == (Fault.PUMP_SILENT,)


def test_the_same_fault_again_ends_a_shutdown_when_nothing_is_left_to_settle() -> None:
    settled = after(FAULT, PositionRead(FILLED))
    assert step(replace(settled, stopping=True), STOP_PRESSED)[1] == (Exit(),)
    assert step(settled, STOP_PRESSED)[1] == ()


def test_a_shutdown_in_a_fault_books_what_was_given_before_it_ends() -> None:
    _, effects = step(after(FIRING, ShutdownRequested(), SILENT), PositionRead(Increments(FILLED - 96)))
    commit, end = effects
    assert isinstance(records_in((commit,))[-1], MagazineSettled)
    assert end == Exit()


def test_a_shutdown_ends_with_the_faults_settlement_also_when_it_is_uncertain() -> None:
    stopping = after(FIRING, shot_report(), ShutdownRequested(), SILENT)
    _, effects = step(stopping, PositionRead(Increments(FILLED - 700)))
    assert raised_in(effects).name == "pump_position_mismatch"
    assert effects[-1] == Exit()


def test_without_a_shutdown_nothing_ends_the_process() -> None:
    for console in (FIRING, PRIMING, ARMED):
        faulty = after(console, SILENT)
        _, effects = step(faulty, PositionRead(FILLED))
        assert not any(isinstance(effect, Exit) for effect in effects)
    assert step(SELF_TEST, Started())[1][-1] != Exit()
