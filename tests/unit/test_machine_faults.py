"""The machine in a fault: safe first, then written down and signalled, then found out what was given."""

import pytest

from device.core.console import State
from device.core.effects import (
    Commit,
    Exit,
    LoadPump,
    ProbePump,
    ReadPosition,
    Send,
    SoundAlarm,
    TerminatePump,
)
from device.core.events import (
    FaultClearRequested,
    FaultOccurred,
    PositionRead,
    PumpProbed,
    RealtimeRestarted,
    ShutdownRequested,
)
from device.core.faults import CATALOGUE, Fault, Priority
from device.core.machine import step
from device.core.realtime_messages import (
    EndReason,
    Halt,
    Homed,
    Ready,
    Reset,
    StrokeStarted,
    Unload,
)
from device.core.records import (
    FaultsCleared,
    MagazineSettled,
)
from device.core.units import Increments
from tests.support.machine import (
    ARM,
    ARMED,
    CONSOLES,
    CONTACT_LOST,
    FAULT,
    FILLED,
    FIRING,
    REQUEST,
    SELF_TEST,
    STOP_PRESSED,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
    shots_given,
)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("state", [State.SESSION, State.LOADING, State.ARMED, State.FIRING, State.PRIMING])
def test_a_fault_makes_safe_before_it_is_written_down(state: State, fault: Fault) -> None:
    console, effects = step(CONSOLES[state], FaultOccurred(fault, "detail"))
    kinds = [type(effect) for effect in effects]
    assert TerminatePump in kinds
    if fault is not Fault.JOURNAL_WRITE_FAILED:
        assert kinds.index(TerminatePump) < kinds.index(Commit)
    if fault is not Fault.REALTIME_LOST:
        assert effects[0] == Send(Halt(fault))
    # What is latched is signalled for as long as it is; what is over when it is told, once.
    once = console.ledger.faults == ()
    assert [effect for effect in effects if isinstance(effect, SoundAlarm)] == (
        [SoundAlarm(CATALOGUE[fault].priority)] if once else []
    )
    assert not console.armed
    if CATALOGUE[fault].latched:
        assert console.state is State.FAULT
        assert console.ledger.faults == (fault,)
    if console.ledger.open_intent is not None:
        assert effects[-1] == ReadPosition(complete=False)


def test_the_same_fault_again_changes_nothing() -> None:
    assert step(FAULT, STOP_PRESSED)[1] == ()


def test_what_was_given_in_a_fault_is_settled_from_the_position() -> None:
    console = after(FAULT, magazine_ended(EndReason.FAULT, opened=2, done=1))
    console, effects = step(console, PositionRead(Increments(FILLED - 200)))
    closing = next(record for record in records_in(effects) if isinstance(record, MagazineSettled))
    # Two increments more than it was read: what the encoder cannot tell of a move that was broken off.
    assert (closing.given, closing.certain, closing.reason) == (202, True, "fault")
    assert console.state is State.FAULT


def test_without_a_position_a_fault_leaves_the_intent_open_for_the_next_self_test() -> None:
    console, effects = step(FAULT, PositionRead(None))
    assert console.ledger.open_intent is not None
    assert effects == ()


def test_counts_beyond_the_magazine_book_no_more_than_it_held() -> None:
    # More gates than the magazine has moves once raised an error in the middle of settling.
    console = after(FIRING, magazine_ended(opened=99, done=99))
    console, effects = step(console, PositionRead(Increments(FILLED - 434)))
    closing = next(record for record in records_in(effects) if isinstance(record, MagazineSettled))
    assert (closing.given, closing.certain) == (480, True)


def test_a_magazine_ended_that_is_not_the_loaded_one_is_a_fault_and_in_a_fault_nothing() -> None:
    console, _ = step(ARMED, magazine_ended(magazine_id=2))
    assert console.ledger.faults == (Fault.INTERNAL,)
    settled = after(FAULT, PositionRead(FILLED))
    assert step(settled, magazine_ended(EndReason.FAULT)) == (settled, ())


def test_a_magazine_whose_end_nobody_reported_is_recovered_not_complete() -> None:
    # The second magazine's record once gave the first one's reason.
    console = after(shots_given(ARMED, 1), StrokeStarted(2, 0), FaultOccurred(Fault.REALTIME_LOST, "silent"))
    start = FILLED - 434
    console, effects = step(console, PositionRead(Increments(start - 100)))
    closing = next(record for record in records_in(effects) if isinstance(record, MagazineSettled))
    assert (closing.magazine_id, closing.reason, closing.certain) == (2, "recovered", True)


def test_a_clearing_in_front_of_the_faults_own_position_is_no_fault() -> None:
    # The read-back that every fault asks for then came in the self-test, as an internal fault.
    console = after(FAULT, FaultClearRequested(REQUEST))
    console, effects = step(console, PositionRead(Increments(FILLED - 200)))
    assert (console.state, console.ledger.faults) == (State.SELF_TEST, ())
    assert any(isinstance(record, MagazineSettled) for record in records_in(effects))
    assert console.ledger.open_intent is None


def test_clearing_tests_everything_again_and_answers_at_the_end() -> None:
    console, effects = step(after(FAULT, PositionRead(FILLED)), FaultClearRequested(REQUEST))
    assert effects[-1] == ProbePump()
    assert [record.codes for record in records_in(effects) if isinstance(record, FaultsCleared)] == [[101]]
    assert console.ledger.faults == ()
    console, effects = step(console, PumpProbed(FILLED))
    assert effects == (Send(Reset()),)
    console, effects = step(console, Ready(homed=True))
    assert reply_in(effects).accepted
    assert (console.state, console.armed) == (State.SESSION, False)


def test_a_clearing_that_fails_is_answered_with_the_fault() -> None:
    console, effects = step(after(FAULT, PositionRead(FILLED), FaultClearRequested(REQUEST)), STOP_PRESSED)
    assert console.state is State.FAULT
    assert "stop pressed" in reply_in(effects).reasons[0]


def test_lost_contact_ends_in_the_session_without_a_clearing() -> None:
    console = after(FIRING, shot_report(), magazine_ended(EndReason.FAULT, opened=1, done=0))
    console, effects = step(console, CONTACT_LOST)
    kept = [effect for effect in effects if isinstance(effect, TerminatePump | Send | ReadPosition | SoundAlarm)]
    expected = [TerminatePump(), Send(Reset()), SoundAlarm(Priority.MEDIUM), ReadPosition(complete=False)]
    assert kept == expected
    assert console.state is State.SETTLING
    console, _ = step(console, PositionRead(Increments(FILLED - 50)))
    assert (console.state, console.armed, console.ledger.faults) == (State.SESSION, False, ())
    _, effects = step(console, ARM)
    assert "still on its way home" in reply_in(effects).reasons[0]


def test_while_a_restarted_real_time_process_takes_the_needle_out_the_fault_stays() -> None:
    console = after(FIRING, FaultOccurred(Fault.REALTIME_LOST, "silent"))
    console, effects = step(console, RealtimeRestarted())
    assert effects == ()
    console, effects = step(console, Homed(80))
    assert (console.state, console.homed, effects) == (State.FAULT, True, ())


def test_a_real_time_process_lost_in_the_self_test_is_tested_when_the_needle_is_out() -> None:
    _, effects = step(SELF_TEST, RealtimeRestarted())
    assert effects == (Send(Reset()),)


def test_a_self_test_that_asked_the_real_time_process_before_its_rescue_begins_again() -> None:
    # The answer from before the rescue once ended the test, and the needle's coming home was then an internal fault.
    console, effects = step(after(SELF_TEST, PumpProbed(None)), RealtimeRestarted())
    assert effects == (ProbePump(),)
    console = after(console, Ready(homed=False), Homed(2))
    assert console.state is State.SELF_TEST
    assert after(console, PumpProbed(None), Ready(homed=True)).state is State.DISARMED


@pytest.mark.parametrize("state", [State.DISARMED, State.SESSION, State.SELF_TEST, State.FAULT])
def test_a_shutdown_with_nothing_under_way_ends_at_once(state: State) -> None:
    assert step(CONSOLES[state], ShutdownRequested())[1] == (Exit(),)


def test_a_shutdown_while_armed_unloads_settles_and_ends() -> None:
    console, effects = step(FIRING, ShutdownRequested())
    assert effects == (Send(Unload()),)
    console = after(console, shot_report(), magazine_ended())
    console, effects = step(console, PositionRead(Increments(FILLED - 434)))
    assert effects[-1] == Exit()
    assert not any(isinstance(effect, LoadPump) for effect in effects)


@pytest.mark.parametrize("position", [None, Increments(FILLED - 200)], ids=["unknown", "known"])
def test_a_shutdown_that_faults_overtake_ends_with_the_position_they_ask_for(position: Increments | None) -> None:
    # The Exit was once given out with the first fault only, and lost when a second one came before the position.
    console = after(FIRING, ShutdownRequested())
    for fault in (Fault.STEP_LATE, Fault.PUMP_SILENT):
        console, effects = step(console, FaultOccurred(fault, ""))
        assert effects[-1] == ReadPosition(complete=False)
    console, effects = step(console, FaultOccurred(Fault.PUMP_SILENT, ""))
    assert effects == ()
    console, effects = step(console, PositionRead(position))
    assert effects[-1] == Exit()
