"""Pause and resume: nothing is primed or armed in between, what was loaded is unloaded, and a restart always pauses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controller.live import refusals, snapshot
from device.core.console import Console, State
from device.core.effects import LoadPump, Refill, Reply, Send
from device.core.events import (
    CheckRequested,
    Command,
    Event,
    PauseRequested,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    ResumeRequested,
    SessionStopRequested,
    Started,
)
from device.core.ledger import Ledger, apply
from device.core.machine import step
from device.core.realtime_messages import EndReason, Load, Loaded, PressIgnored, PressRefusal, Ready, Unload
from device.core.records import CommandTaken, SessionPaused, SessionResumed
from tests.support.core import LAW
from tests.support.machine import (
    ARM,
    ARMED,
    CHECKLIST,
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
    START_SESSION,
    after,
    magazine_ended,
    records_in,
    reply_in,
)

PAUSE, RESUME = PauseRequested(replace(REQUEST, number=8)), ResumeRequested(replace(REQUEST, number=9))
PAUSED = after(SESSION, PAUSE)
WHY = "the session is paused: `mesogun session resume`"


def answer_to(console: Console, command: Command) -> Reply:
    _, effects = step(console, command)
    (reply,) = [one for one in effects if isinstance(one, Reply) and one.request == command.request]
    return reply


@pytest.mark.parametrize("command", [ARM, PRIME], ids=["arm", "prime"])
def test_a_paused_session_is_neither_armed_nor_primed_until_it_is_resumed(command: Command) -> None:
    assert answer_to(PAUSED, command).reasons == (WHY,)
    assert after(PAUSED, RESUME, command).state is State.REFILLING


def test_pause_and_resume_are_records_behind_their_commands() -> None:
    console, effects = step(SESSION, PAUSE)
    assert records_in(effects) == [
        CommandTaken("session pause", 1000, 77, accepted=True, reason=""),
        SessionPaused("s-1", "operator"),
    ]
    assert reply_in(effects) == Reply(PAUSE.request, accepted=True, reasons=())
    console, effects = step(console, RESUME)
    assert records_in(effects)[1] == SessionResumed("s-1")
    assert reply_in(effects) == Reply(RESUME.request, accepted=True, reasons=())
    assert console.ledger.session == SESSION.ledger.session


def test_what_is_so_already_is_refused() -> None:
    assert answer_to(PAUSED, PAUSE).reasons == ("the session is paused already",)
    assert answer_to(SESSION, RESUME).reasons == ("the session is not paused",)


@pytest.mark.parametrize("console", [ARMED, FIRING], ids=["armed", "firing"])
def test_a_pause_unloads_what_is_loaded_and_lets_the_running_shot_end(console: Console) -> None:
    pausing, effects = step(console, PAUSE)
    assert effects[0] == Send(Unload())
    assert (pausing.state, pausing.armed) == (console.state, False)
    ended = after(pausing, magazine_ended(EndReason.UNLOADED, opened=0, done=0), PositionRead(FILLED))
    assert (ended.state, ended.armed) == (State.SESSION, False)


@pytest.mark.parametrize("console", [REFILLING, LOADING], ids=["refilling", "loading"])
def test_a_pause_gives_up_what_is_being_prepared_and_tells_who_waits_for_it(console: Console) -> None:
    pausing, effects = step(console, PAUSE)
    told = [(one.accepted, one.reasons) for one in effects if isinstance(one, Reply)]
    assert told == [(True, ()), (False, ("the session was paused",))]
    assert pausing.pending is None
    # An arming cannot take it back, as it takes back a disarming that has not reached the load yet.
    rearmed, effects = step(pausing, replace(ARM, request=replace(REQUEST, number=11)))
    assert not rearmed.armed
    assert not reply_in(effects).accepted


def test_a_refill_that_a_pause_overtook_is_booked_and_leads_to_no_load() -> None:
    console, effects = step(after(REFILLING, PAUSE), RefillDone(FILLED))
    assert console.state is State.SESSION
    assert not any(isinstance(effect, LoadPump) for effect in effects)


def test_no_magazine_follows_the_one_that_is_being_settled() -> None:
    console, effects = step(after(SETTLING, PAUSE), PositionRead(FILLED))
    assert not any(isinstance(effect, LoadPump | Refill) for effect in effects)
    assert console.state is not State.LOADING


def test_a_prime_under_way_is_not_paused() -> None:
    assert not answer_to(PRIMING, PAUSE).accepted


def restarted(console: Console) -> tuple[Console, list[object]]:
    """Return the console of the next controller after its self-test, and what it wrote down."""
    fresh = Console(spec=console.spec, ledger=console.ledger, formulary=console.formulary, session=console.session)
    fresh, effects = step(fresh, Started())
    written = records_in(effects)
    for event in (PumpProbed(FILLED), Ready(homed=True)):
        fresh, effects = step(fresh, event)
        written += records_in(effects)
        assert not any(isinstance(one, LoadPump | Refill) for one in effects)
        assert not any(isinstance(one, Send) and isinstance(one.order, Load) for one in effects)
    return fresh, written


@pytest.mark.parametrize("console", [SESSION, ARMED, FIRING, SETTLING], ids=lambda console: console.state.name)
def test_a_restart_leaves_an_open_session_paused_and_says_so(console: Console) -> None:
    fresh, written = restarted(console)
    assert written.count(SessionPaused("s-1", "restart")) == 1
    assert fresh.ledger.session is not None
    assert (fresh.ledger.session.paused, fresh.armed) == (True, False)


def test_a_session_that_was_paused_is_so_after_a_restart_and_is_told_once() -> None:
    fresh, written = restarted(PAUSED)
    assert not any(isinstance(record, SessionPaused) for record in written)
    assert fresh.state is State.SESSION
    assert answer_to(replace(fresh, initialised=True), ARM).reasons == (WHY,)


def test_without_a_session_there_is_nothing_to_pause() -> None:
    _, written = restarted(DISARMED)
    assert not any(isinstance(record, SessionPaused) for record in written)


def test_a_paused_session_can_be_checked_and_stopped() -> None:
    listed = after(DISARMED, replace(START_SESSION, checklist=CHECKLIST), PAUSE)
    checked = after(listed, CheckRequested(REQUEST, ("disinfected",), "a nurse"))
    assert checked.ledger.session is not None
    assert checked.ledger.session.checked == ("disinfected",)
    assert after(checked, SessionStopRequested(REQUEST)).state is State.DISARMED


def test_a_press_in_a_pause_says_so() -> None:
    (record,) = records_in(step(PAUSED, PressIgnored(PressRefusal.NOT_ARMED))[1])
    assert record.reason == f"unfit: {WHY}"


def test_status_says_that_it_is_paused_and_why_nothing_is_armed() -> None:
    assert snapshot(PAUSED)["paused"] is True
    assert WHY in refusals(PAUSED, 0)
    assert (snapshot(SESSION)["paused"], snapshot(DISARMED)["paused"]) == (False, False)


def went_on(console: Console) -> list[Event]:
    """Return what the gun reports next in this state."""
    number = console.ledger.magazines
    match console.state:
        case State.REFILLING:
            return [RefillDone(FILLED)]
        case State.LOADING:
            return [PumpLoaded(number), Loaded(number)]
        case State.SETTLING:
            return [PositionRead(FILLED)]
        case _:
            return []


@given(st.lists(st.sampled_from([PAUSE, RESUME, ARM, "restart", "load"]), max_size=12))
@LAW
def test_whatever_is_asked_in_whatever_order_nothing_is_armed_in_a_pause(asked: list[object]) -> None:
    console = SESSION
    for one in asked:
        if one == "restart":
            console = replace(restarted(console)[0], initialised=True)
        elif one == "load":
            console = after(console, *went_on(console))
        elif isinstance(one, PauseRequested | ResumeRequested | type(ARM)):
            console = after(console, one)
        totals = console.ledger.session
        assert totals is not None
        assert not (totals.paused and console.armed)


def test_a_record_of_no_session_pauses_nothing() -> None:
    assert apply(Ledger(), SessionPaused("s-1", "restart")) == Ledger()
