"""Presses that fire nothing: each is counted with its reason, and hammering does not fill the journal."""

from dataclasses import replace
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.console import NO_PRESSES, Console, State
from device.core.effects import Commit, Effect, Exit, SoundRefusal
from device.core.events import (
    AlarmSilenceRequested,
    Event,
    FaultOccurred,
    PumpLoaded,
    RefillDone,
    SessionStopRequested,
    ShutdownRequested,
)
from device.core.faults import Fault
from device.core.formulary import UNSIGNED
from device.core.machine import step
from device.core.presses import EACH, why_refused
from device.core.profile import Mode
from device.core.realtime_messages import Loaded, PressIgnored, PressRefusal, StrokeStarted
from device.core.records import CommandTaken, FaultRaised, PressRefused, SessionEnded
from device.core.units import Nanolitres
from tests.support.core import LAW, SALINE
from tests.support.machine import (
    ARM,
    ARMED,
    CONSOLES,
    DISARM,
    DISARMED,
    FAULT,
    FILLED,
    FIRING,
    PROFILE,
    REQUEST,
    SESSION,
    START_SESSION,
    STOP_PRESSED,
    after,
    records_in,
    shots_given,
)

NOT_ARMED, BUSY, EARLY, LIFTED = (
    PressIgnored(reason)
    for reason in (PressRefusal.NOT_ARMED, PressRefusal.BUSY, PressRefusal.TOO_EARLY, PressRefusal.NO_CONTACT)
)


def why(console: Console, event: PressIgnored = NOT_ARMED) -> str:
    """Return the reason that is written down."""
    (record,) = records_in(step(console, event)[1])
    assert isinstance(record, PressRefused)
    return record.reason


SILENCE = AlarmSilenceRequested(REQUEST)


# --- why ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.STARTING, "starting"),
        (State.SELF_TEST, "self_test"),
        (State.DISARMED, "no_session"),
        (State.HOMING, "homing"),
        (State.PRIMING, "priming"),
        (State.REFILLING, "refilling"),
        (State.LOADING, "loading"),
        (State.SETTLING, "settling"),
        (State.FAULT, "fault"),
    ],
)
def test_a_press_on_a_gun_that_is_not_armed_is_told_what_the_gun_is_doing(state: State, word: str) -> None:
    reason = why(CONSOLES[state])
    assert reason.startswith(f"{word}: ")
    assert len(reason) > len(word) + 10


@pytest.mark.parametrize("state", [State.ARMED, State.FIRING])
def test_a_press_that_an_armed_gun_has_outrun_is_not_armed(state: State) -> None:
    assert why(CONSOLES[state]) == "not_armed"


def test_a_session_that_could_be_armed_is_only_not_armed() -> None:
    assert why(SESSION) == "not_armed"
    assert why(replace(SESSION, ledger=replace(SESSION.ledger, position=FILLED, low_water=FILLED))) == "not_armed"


@pytest.mark.parametrize(("event", "reason"), [(BUSY, "busy"), (EARLY, "too_early"), (LIFTED, "no_contact")])
def test_what_only_the_scan_knows_is_told_as_it_is(event: PressIgnored, reason: str) -> None:
    assert why(FIRING, event) == reason


@pytest.mark.parametrize("event", [NOT_ARMED, BUSY])
def test_in_a_fault_every_latched_fault_is_the_reason(event: PressIgnored) -> None:
    console = after(FAULT, FaultOccurred(Fault.PUMP_SILENT, "no answer"))
    assert why(console, event) == "fault: 101 stop pressed; 301 the pump does not answer"


def test_a_fault_from_before_the_start_is_the_reason_from_the_start() -> None:
    console = CONSOLES[State.SELF_TEST]
    assert why(replace(console, ledger=FAULT.ledger)) == "fault: 101 stop pressed"


def test_when_a_limit_is_reached_it_is_the_reason() -> None:
    console = shots_given(ARMED, 5)
    assert console.state is State.SESSION
    assert why(console) == "limit: all 5 planned points are treated or skipped: stop the session"


def test_when_the_vial_is_empty_that_is_the_reason() -> None:
    opened = replace(START_SESSION, serum=replace(SALINE, vial_nl=Nanolitres(30_000)))
    console = after(DISARMED, opened, ARM, RefillDone(opened.syringe.increments_within(Nanolitres(30_000))))
    console = shots_given(after(console, PumpLoaded(1), Loaded(1)), 1)
    assert console.state is State.SESSION
    assert why(console).startswith("reservoir: the vial is empty")


def test_a_burst_that_the_vial_cannot_give_whole_is_the_reason() -> None:
    opened = replace(
        START_SESSION,
        profile=replace(PROFILE, mode=Mode.BURST, burst_shots=3),
        serum=replace(SALINE, vial_nl=Nanolitres(50_000)),
    )
    assert why(after(DISARMED, opened)).startswith("reservoir: ")


def test_a_syringe_that_must_first_be_filled_is_no_reason() -> None:
    ledger = replace(SESSION.ledger, position=FILLED, low_water=FILLED, play_open=True)
    assert why(replace(SESSION, ledger=ledger)) == "not_armed"


def test_a_gun_that_does_not_know_where_its_needle_is_says_so() -> None:
    assert why(replace(SESSION, homed=False, ready=False)) == (
        "unfit: the needle is still on its way home: try again; the needle is not homed: `mesogun home`"
    )


def test_a_gun_without_a_formulary_that_may_be_used_says_so() -> None:
    assert why(replace(SESSION, formulary=UNSIGNED)).startswith("unfit: formulary: the formulary is not signed")


@pytest.mark.parametrize("refusal", list(PressRefusal))
@pytest.mark.parametrize("state", list(State))
def test_every_refusal_has_a_reason_in_every_state(state: State, refusal: PressRefusal) -> None:
    assert why_refused(CONSOLES[state], refusal)


# --- how often it is written down --------------------------------------------------------------------------------


def hammered(console: Console, presses: int, event: Event = BUSY) -> tuple[Console, list[int]]:
    """Press so often; return the console and the presses of each record."""
    told: list[int] = []
    for _ in range(presses):
        console, effects = step(console, event)
        assert effects[0] == SoundRefusal(), "every single one is heard"
        told += [record.presses for record in records_in(effects)]
    return console, told


def test_a_person_s_presses_are_written_down_one_by_one_and_hammering_in_doublings() -> None:
    assert hammered(FIRING, EACH)[1] == [1] * EACH
    assert hammered(FIRING, 1000)[1] == [1] * EACH + [8, 16, 32, 64, 128, 256]


def test_an_hour_of_hammering_at_the_lock_out_s_bound_makes_a_score_of_records() -> None:
    presses = 3600 * 25
    assert len(hammered(FIRING, presses)[1]) <= EACH + ceil(log2(presses)) < 30


def test_a_press_that_is_not_told_yet_writes_nothing_at_all() -> None:
    # Not even an empty commit, which would have the disk made durable for each press of a hammering hand.
    console, _ = hammered(FIRING, EACH)
    assert step(console, BUSY)[1] == (SoundRefusal(),)


def test_what_is_not_told_yet_takes_nothing_from_the_step_it_goes_with() -> None:
    silence = replace(SILENCE, request=replace(REQUEST, number=21))
    quiet, _ = hammered(FAULT, EACH, NOT_ARMED)
    hammering, _ = hammered(quiet, 3, NOT_ARMED)
    alone, together = step(quiet, silence)[1], step(hammering, silence)[1]
    untold = PressRefused("s-1", why(FAULT), presses=3)
    assert len(alone) > 1
    assert together == tuple(
        replace(effect, records=(untold, *effect.records)) if isinstance(effect, Commit) else effect for effect in alone
    )


def test_what_is_not_told_yet_goes_in_front_of_the_next_record() -> None:
    console, told = hammered(SESSION, 13, NOT_ARMED)
    assert sum(told) == 8
    console, effects = step(console, ARM)
    (commit,) = [effect for effect in effects if isinstance(effect, Commit)]
    first, second = commit.records
    assert first == PressRefused("s-1", "not_armed", presses=5)
    assert isinstance(second, CommandTaken)
    assert console.presses is NO_PRESSES
    assert hammered(console, 2)[1] == [1, 1]


def test_another_reason_ends_the_run_and_is_told_with_its_rest() -> None:
    console, _ = hammered(FIRING, 10, BUSY)
    console, effects = step(console, LIFTED)
    assert records_in(effects) == [PressRefused("s-1", "busy", presses=2), PressRefused("s-1", "no_contact")]


def test_the_rest_belongs_to_the_session_it_was_pressed_in() -> None:
    console, _ = hammered(SESSION, 9, NOT_ARMED)
    console, effects = step(console, SessionStopRequested(REQUEST))
    rest, command, ended = records_in(effects)
    assert rest == PressRefused("s-1", "not_armed", presses=1)
    assert (type(command), type(ended)) == (CommandTaken, SessionEnded)
    (pressed,) = records_in(step(console, NOT_ARMED)[1])
    assert pressed.session_id == ""


def test_a_fault_makes_safe_first_and_tells_the_rest_with_its_record() -> None:
    console, _ = hammered(FIRING, 10)
    _, effects = step(console, STOP_PRESSED)
    place = next(place for place, effect in enumerate(effects) if isinstance(effect, Commit))
    assert place > 0
    assert [type(record) for record in records_in(effects)] == [PressRefused, FaultRaised]


@pytest.mark.parametrize(("presses", "expected"), [(8, [Exit]), (10, [Commit, Exit])])
def test_the_rest_is_told_before_the_process_ends(presses: int, expected: list[type[Effect]]) -> None:
    console, _ = hammered(SESSION, presses)
    console, effects = step(console, ShutdownRequested())
    assert [type(effect) for effect in effects] == expected
    assert sum(record.presses for record in records_in(effects)) == presses - EACH


def test_an_event_that_writes_nothing_leaves_the_run_as_it_is() -> None:
    console, _ = hammered(ARMED, 10)
    assert after(console, StrokeStarted(1, 0)).presses == console.presses


@LAW
@given(
    runs=st.lists(
        st.tuples(
            st.sampled_from([BUSY, EARLY, LIFTED, NOT_ARMED, ARM, DISARM, STOP_PRESSED, SILENCE]), st.integers(1, 30)
        ),
        max_size=20,
    )
)
def test_no_press_is_lost_and_none_is_told_twice(runs: list[tuple[Event, int]]) -> None:
    console, told, pressed = SESSION, 0, 0
    for event, times in runs:
        for _ in range(times):
            console, effects = step(console, event)
            told += sum(record.presses for record in records_in(effects) if isinstance(record, PressRefused))
        pressed += times if isinstance(event, PressIgnored) else 0
    assert told + console.presses.untold == pressed
    assert console.presses.untold < max(1, console.presses.told)
