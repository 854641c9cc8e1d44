"""The machine from the arming to the outcome: what is loaded, what a disarming or an end stops, what is asked then."""

from dataclasses import replace

import pytest

from device.core.console import Console, State
from device.core.effects import Commit, Exit, LoadPump, ReadPosition, Refill, Reply, Send, SoundRefusal
from device.core.events import (
    Command,
    Event,
    PositionRead,
    PumpLoaded,
    RefillDone,
    Request,
    SessionStopRequested,
    ShutdownRequested,
)
from device.core.faults import Fault
from device.core.machine import step
from device.core.realtime_messages import (
    EndReason,
    Load,
    Loaded,
    PressIgnored,
    PressRefusal,
    Ready,
    StrokeStarted,
    Unload,
)
from device.core.records import CommandTaken, FaultRaised, MagazineSettled
from device.core.settlement import Seen
from device.core.units import Increments
from tests.support.machine import (
    ARM,
    ARMED,
    CONSOLES,
    DISARM,
    DISARMED,
    FILLED,
    FIRING,
    LOADING,
    PRIME,
    PRIMING,
    REFILLING,
    REQUEST,
    SESSION,
    SETTLING,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
)

assert SETTLING.magazine is not None
DONE = PositionRead(SETTLING.magazine.pump_program().moves[-1].target)
"""The plunger stands where the first shot left it."""
REARM = replace(ARM, request=Request(number=3, uid=1000, pid=77))


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        (replace(SESSION, ready=False), "the needle is still on its way home: try again"),
        (replace(SESSION, homed=False), "the needle is not homed: `mesogun home`"),
        (replace(SESSION, initialised=False), "the plunger is not homed: without a patient `mesogun home --plunger"),
        (
            replace(SESSION, ledger=replace(SESSION.ledger, position=None)),
            "the plunger is not homed: without a patient",
        ),
        (replace(SESSION, ledger=ARMED.ledger), "the last magazine is not settled yet"),
        (replace(SESSION, session=None), "no session is open"),
    ],
    ids=["ready", "homed", "initialised", "position", "settled", "session"],
)
@pytest.mark.parametrize("command", [ARM, PRIME], ids=["arm", "prime"])
def test_each_thing_that_is_missing_keeps_the_gun_from_giving_anything(
    command: Command, console: Console, reason: str
) -> None:
    unchanged, effects = step(console, command)
    (told,) = reply_in(effects).reasons
    assert reason in told
    (attempt,) = records_in(effects)
    assert isinstance(attempt, CommandTaken)
    assert (attempt.accepted, attempt.reason) == (False, told)
    assert unchanged == console


def test_everything_that_is_missing_is_told_at_once_with_the_limits_that_are_reached() -> None:
    totals = SESSION.ledger.session
    assert totals is not None
    done = totals.progress.skipped(5)
    full = replace(SESSION.ledger, session=replace(totals, progress=done), position=None)
    _, effects = step(replace(SESSION, ready=False, homed=False, ledger=full), ARM)
    reasons = reply_in(effects).reasons
    assert [reason.split(":")[0] for reason in reasons] == [
        "the needle is still on its way home",
        "the needle is not homed",
        "the plunger is not homed",
        "all 5 planned points are treated or skipped",
    ]


def test_an_accepted_arming_is_answered_when_the_gun_is_armed_and_not_before() -> None:
    console, effects = step(SESSION, ARM)
    (accepted,) = records_in(effects)
    assert accepted == CommandTaken(command="arm", uid=1000, pid=77, accepted=True, reason="")
    assert (console.armed, console.pending, console.ended) == (True, REQUEST, None)
    console = after(console, RefillDone(FILLED), PumpLoaded(1))
    console, effects = step(console, Loaded(1))
    assert effects == (Reply(REQUEST, accepted=True, reasons=()),)
    assert (console.state, console.pending, console.armed) == (State.ARMED, None, True)


def test_arming_again_what_is_armed_is_accepted_and_written_down() -> None:
    console, effects = step(ARMED, REARM)
    assert reply_in(effects) == Reply(REARM.request, accepted=True, reasons=())
    assert [record.accepted for record in records_in(effects)] == [True]
    assert (console.state, console.armed) == (State.ARMED, True)


def test_an_arming_while_the_first_is_loading_is_answered_at_once_and_the_first_at_its_end() -> None:
    console, effects = step(LOADING, REARM)
    assert reply_in(effects).request == REARM.request
    assert console.pending == REQUEST
    _, effects = step(after(console, PumpLoaded(1)), Loaded(1))
    assert reply_in(effects).request == REQUEST


@pytest.mark.parametrize("state", [State.REFILLING, State.LOADING])
def test_disarming_answers_the_arming_that_it_takes_back(state: State) -> None:
    console, effects = step(CONSOLES[state], DISARM)
    commit, *replies = effects
    assert isinstance(commit, Commit)
    assert replies == [
        Reply(DISARM.request, accepted=True, reasons=()),
        Reply(REQUEST, accepted=False, reasons=("disarmed",)),
    ]
    assert (console.armed, console.pending, console.prime_nl) == (False, None, 0)


@pytest.mark.parametrize("state", [State.LOADING, State.ARMED, State.FIRING])
def test_arming_a_gun_that_shuts_down_is_refused(state: State) -> None:
    # While the pump was being loaded it once was accepted, and the process ended all the same.
    console, effects = step(after(CONSOLES[state], ShutdownRequested()), REARM)
    assert reply_in(effects) == Reply(REARM.request, accepted=False, reasons=("the gun is shutting down",))
    assert not console.armed


def test_disarming_while_drawing_for_shots_draws_and_then_loads_nothing() -> None:
    console, effects = step(after(REFILLING, DISARM), RefillDone(FILLED))
    assert (console.state, console.ledger.position) == (State.SESSION, FILLED)
    assert [type(effect) for effect in effects] == [Commit]


def test_disarming_while_drawing_for_a_prime_draws_and_then_primes_nothing() -> None:
    console, effects = step(after(SESSION, PRIME, DISARM), RefillDone(FILLED))
    assert (console.state, console.prime_nl) == (State.SESSION, 0)
    assert [type(effect) for effect in effects] == [Commit]


def test_disarming_a_session_that_is_not_armed_changes_nothing() -> None:
    console, effects = step(SESSION, DISARM)
    assert [type(effect) for effect in effects] == [Commit, Reply]
    assert replace(console, ledger=SESSION.ledger) == SESSION


def test_disarming_between_the_two_keys_unloads_as_soon_as_the_second_is_in() -> None:
    console, effects = step(after(LOADING, PumpLoaded(1), DISARM), Loaded(1))
    assert (console.state, effects) == (State.ARMED, (Send(Unload()),))


def test_a_shutdown_between_the_two_keys_unloads_as_soon_as_the_second_is_in() -> None:
    console, effects = step(after(LOADING, PumpLoaded(1), ShutdownRequested()), Loaded(1))
    assert effects == (Send(Unload()),)
    console = after(console, magazine_ended(EndReason.UNLOADED, opened=0, done=0))
    console, effects = step(console, PositionRead(FILLED))
    assert effects[-1] == Exit()


@pytest.mark.parametrize("event", [DISARM, ShutdownRequested()], ids=["disarm", "shutdown"])
def test_a_magazine_in_the_pump_alone_is_taken_out_of_it_and_nothing_was_given(
    event: Event,
) -> None:
    console, effects = step(after(LOADING, event), PumpLoaded(1))
    assert effects == (ReadPosition(complete=False),)
    assert (console.state, console.seen, console.ended) == (State.SETTLING, Seen(0, 0), EndReason.UNLOADED)


def test_a_prime_is_loaded_though_nothing_is_armed() -> None:
    console, effects = step(PRIMING, PumpLoaded(1))
    assert not console.armed
    (send,) = effects
    assert isinstance(send, Send)
    assert isinstance(send.order, Load)
    assert send.order.magazine.stroke.prime_ns is not None


def test_a_pump_loaded_without_any_magazine_is_an_internal_fault() -> None:
    _, effects = step(replace(LOADING, magazine=None), PumpLoaded(1))
    (raised,) = [record for record in records_in(effects) if isinstance(record, FaultRaised)]
    assert (raised.code, raised.detail) == (Fault.INTERNAL, "the pump was loaded with another magazine")


@pytest.mark.parametrize(
    ("reason", "complete"), [(EndReason.COMPLETE, True), (EndReason.RELEASED, False), (EndReason.UNLOADED, False)]
)
def test_only_after_a_complete_magazine_is_the_pumps_own_end_waited_for(reason: EndReason, complete: bool) -> None:
    console, effects = step(after(FIRING, shot_report()), magazine_ended(reason, opened=3, done=2))
    assert effects == (ReadPosition(complete=complete),)
    assert (console.state, console.seen, console.ended) == (State.SETTLING, Seen(opened=3, done=2), reason)


def test_a_prime_that_was_being_loaded_at_the_end_is_read_back_as_a_prime_that_never_began() -> None:
    ending = replace(PRIMING, stopping=True, seen=Seen(opened=0, done=0))
    assert ending.magazine is not None
    console, effects = step(ending, PumpLoaded(ending.magazine.magazine_id))
    assert effects[0] == ReadPosition(complete=False)
    assert (console.state, console.ended, console.seen) == (State.PRIMING, EndReason.UNLOADED, Seen(0, 0))


def test_the_end_of_a_prime_is_read_back_in_the_priming_state() -> None:
    console, effects = step(after(PRIMING, PumpLoaded(1), Loaded(1)), magazine_ended(opened=1, done=1))
    assert (console.state, effects) == (State.PRIMING, (ReadPosition(complete=True),))


def test_a_magazine_that_ended_in_a_fault_leaves_the_reading_to_the_fault() -> None:
    console, effects = step(FIRING, magazine_ended(EndReason.FAULT, opened=2, done=1))
    assert (console.state, console.seen, effects) == (State.FIRING, Seen(opened=2, done=1), ())


def test_in_a_fault_an_end_that_needs_no_fault_is_noted_and_asks_for_nothing() -> None:
    console = after(FIRING, magazine_ended(EndReason.FAULT, opened=1, done=0))
    console = replace(console, state=State.FAULT)
    console, effects = step(console, magazine_ended(EndReason.UNLOADED, opened=4, done=4))
    assert (console.state, console.seen, effects) == (State.FAULT, Seen(opened=4, done=4), ())


def test_an_end_without_any_magazine_is_an_internal_fault_that_says_which() -> None:
    _, effects = step(replace(ARMED, magazine=None), magazine_ended(magazine_id=7))
    (raised,) = [record for record in records_in(effects) if isinstance(record, FaultRaised)]
    assert (raised.code, raised.detail) == (Fault.INTERNAL, "magazine 7 ended, which is not loaded")


def test_reports_are_kept_in_their_order_until_the_magazine_is_settled() -> None:
    first, second = shot_report(index=0), shot_report(index=1)
    console = after(FIRING, first, StrokeStarted(1, 1), second)
    assert (console.state, console.reports) == (State.FIRING, (first, second))
    assert after(console, magazine_ended(), DONE).reports == ()


def test_a_lost_position_books_the_most_and_latches() -> None:
    console, effects = step(SETTLING, PositionRead(None))
    *_, closing, raised = records_in(effects)
    assert isinstance(closing, MagazineSettled)
    assert (closing.given, closing.certain) == (480, False)
    assert (raised.name, raised.detail) == (
        "dose_uncertain",
        "magazine 1: the plunger's position is lost; the most is booked",
    )
    assert (console.state, console.ledger.faults, console.ledger.open_intent) == (
        State.FAULT,
        (Fault.DOSE_UNCERTAIN,),
        None,
    )


def test_an_unexplained_position_is_named_in_the_fault() -> None:
    _, effects = step(SETTLING, PositionRead(Increments(FILLED - 700)))
    raised = records_in(effects)[-1]
    assert raised.detail == "magazine 1: the plunger stands at 23278, from which it cannot be told what was given"


def test_a_position_that_several_courses_explain_is_not_called_unexplained() -> None:
    intent = SETTLING.ledger.open_intent
    assert intent is not None
    top = intent.start
    # Drawn back after the whole dose, or stopped after its first two phases: the same place.
    course = replace(
        intent,
        phases=["entry", "dwell", "exit", "suck_back"],
        targets=[top - 36, top - 84, top - 120, top - 84],
        moves_per_shot=4,
        doses_nl=[5000],
        carries=[0],
    )
    console = replace(SETTLING, seen=None, ledger=replace(SETTLING.ledger, open_intent=course))
    _, effects = step(console, PositionRead(Increments(top - 84)))
    *_, closing, raised = records_in(effects)
    assert isinstance(closing, MagazineSettled)
    assert (closing.given, closing.certain) == (120, False)
    assert raised.detail == f"magazine 1: the plunger stands at {top - 84}, from which it cannot be told what was given"


def test_a_prime_is_booked_and_answered_and_leaves_the_gun_disarmed() -> None:
    console = after(PRIMING, PumpLoaded(1), Loaded(1), StrokeStarted(1, 0), magazine_ended(opened=1, done=1))
    console, effects = step(console, PositionRead(Increments(FILLED - 1200)))
    commit, reply = effects
    assert isinstance(commit, Commit)
    assert reply == Reply(REQUEST, accepted=True, reasons=())
    assert (console.state, console.armed, console.pending) == (State.SESSION, False, None)


def test_an_armed_session_goes_on_by_itself_and_a_disarmed_one_ends_there() -> None:
    _, effects = step(SETTLING, DONE)
    assert isinstance(effects[-1], LoadPump)
    console, effects = step(replace(SETTLING, armed=False), DONE)
    assert (console.state, [type(effect) for effect in effects]) == (State.SESSION, [Commit])


def test_a_position_that_nothing_waits_for_leads_back_to_the_session_disarmed() -> None:
    settled = replace(SETTLING, ledger=replace(SETTLING.ledger, open_intent=None))
    console, effects = step(settled, DONE)
    assert (console.state, console.armed, effects) == (State.SESSION, False, ())


@pytest.mark.parametrize(("console", "session_id"), [(ARMED, "s-1"), (DISARMED, "")], ids=["session", "none"])
def test_an_ignored_press_is_heard_at_once_and_written_down_with_its_session(console: Console, session_id: str) -> None:
    _, effects = step(console, PressIgnored(PressRefusal.TOO_EARLY))
    sound, commit = effects
    assert sound == SoundRefusal()
    (refused,) = records_in((commit,))
    assert (refused.session_id, refused.reason) == (session_id, "too_early")


def test_the_gun_is_fit_again_when_the_needle_has_come_home() -> None:
    waiting = replace(SESSION, ready=False, homed=False)
    console, effects = step(waiting, Ready(homed=True))
    assert (console.ready, console.homed, effects) == (True, True, ())
    assert isinstance(step(console, ARM)[1][-1], Refill)
    assert not step(waiting, Ready(homed=False))[0].homed


def test_stopping_a_session_writes_its_totals_and_answers() -> None:
    fired = after(after(SETTLING, DISARM), DONE)
    console, effects = step(fired, SessionStopRequested(REQUEST))
    commit, reply = effects
    accepted, ended = records_in((commit,))
    assert (accepted.command, accepted.accepted) == ("session stop", True)
    assert (ended.session_id, ended.reason, ended.shots, ended.volume_nl) == ("s-1", "stopped", 1, 20_000)
    assert reply == Reply(REQUEST, accepted=True, reasons=())
    assert (console.state, console.session, console.ledger.session) == (State.DISARMED, None, None)
