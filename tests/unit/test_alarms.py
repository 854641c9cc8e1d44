"""The alarm as a function of latched faults and time: priority, repetition, silence, escalation."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.alarms import NO_ALARM, REPEAT_NS, SILENCE_NS, UNANSWERED_NS, Alarms, Raised, silenced, turn
from device.core.faults import CATALOGUE, Fault, FaultMeaning, Priority
from device.core.units import NS_PER_S
from tests.support.core import LAW

HIGH, HIGH_TOO, MEDIUM, MEDIUM_TOO = (
    Fault.STOP_PRESSED,
    Fault.PUMP_SILENT,
    Fault.STEP_LATE,
    Fault.PUMP_NOT_INITIALISED,
)
START_NS = 7_000 * NS_PER_S


def after_s(seconds: float) -> int:
    return START_NS + round(seconds * NS_PER_S)


def bursts(alarms: Alarms, faults: Sequence[Fault], *, until_s: float) -> tuple[Alarms, list[tuple[float, Priority]]]:
    """Turn whenever the alarms ask for it; return them and the bursts with their seconds."""
    heard = []
    while alarms.turns_ns is not None and alarms.turns_ns <= after_s(until_s):
        now_ns = alarms.turns_ns
        alarms, burst = turn(alarms, faults, now_ns)
        assert alarms.turns_ns is not None
        assert alarms.turns_ns > now_ns, "a timer that is always due keeps the loop busy"
        if burst is not None:
            heard.append(((now_ns - START_NS) / NS_PER_S, burst))
    return alarms, heard


def begun(*faults: Fault) -> Alarms:
    alarms, burst = turn(NO_ALARM, faults, START_NS)
    assert burst is not None
    return alarms


# --- priority and repetition -------------------------------------------------------------------------------------


def test_without_a_latched_fault_there_is_no_alarm_and_nothing_to_wait_for() -> None:
    assert turn(NO_ALARM, (), START_NS) == (NO_ALARM, None)
    assert (NO_ALARM.priority, NO_ALARM.escalated, NO_ALARM.turns_ns, NO_ALARM.silent_ns(0)) == (None, False, None, 0)
    assert silenced(NO_ALARM, START_NS) == NO_ALARM


def test_a_high_alarm_sounds_at_once_and_every_ten_seconds_until_it_is_cleared() -> None:
    alarms, heard = bursts(begun(HIGH), [HIGH], until_s=35)
    assert heard == [(10, Priority.HIGH), (20, Priority.HIGH), (30, Priority.HIGH)]
    assert turn(alarms, (), after_s(36)) == (NO_ALARM, None)


def test_a_medium_alarm_repeats_at_its_own_interval() -> None:
    _, heard = bursts(begun(MEDIUM), [MEDIUM], until_s=50)
    assert heard == [(15, Priority.MEDIUM), (30, Priority.MEDIUM), (45, Priority.MEDIUM)]


def test_a_low_alarm_repeats_rarely_and_never_escalates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, MEDIUM, FaultMeaning("t", "a", Priority.LOW))
    alarms, heard = bursts(begun(MEDIUM), [MEDIUM], until_s=100)
    assert heard == [(30, Priority.LOW), (60, Priority.LOW), (90, Priority.LOW)]
    assert (alarms.priority, alarms.escalated) == (Priority.LOW, False)


def test_a_newer_lesser_alarm_neither_masks_the_higher_one_nor_shifts_its_bursts() -> None:
    alarms, burst = turn(begun(HIGH), (HIGH, MEDIUM), after_s(3))
    assert (alarms.priority, burst) == (Priority.HIGH, None)
    _, heard = bursts(alarms, (HIGH, MEDIUM), until_s=25)
    assert heard == [(10, Priority.HIGH), (20, Priority.HIGH)]


def test_a_newer_higher_alarm_sounds_at_once() -> None:
    alarms, burst = turn(begun(MEDIUM), (MEDIUM, HIGH), after_s(3))
    assert (alarms.priority, burst, alarms.turns_ns) == (Priority.HIGH, Priority.HIGH, after_s(13))


def test_when_the_higher_is_cleared_the_lesser_goes_on() -> None:
    alarms, burst = turn(begun(HIGH, MEDIUM), (MEDIUM,), after_s(4))
    assert (alarms.priority, burst) == (Priority.MEDIUM, None)
    _, heard = bursts(alarms, (MEDIUM,), until_s=30)
    assert heard == [(10, Priority.MEDIUM), (25, Priority.MEDIUM)]


def test_the_same_fault_raised_again_after_its_clearing_is_a_new_alarm() -> None:
    cleared, _ = turn(silenced(begun(HIGH), after_s(1)), (), after_s(2))
    assert turn(cleared, (HIGH,), after_s(2))[1] is Priority.HIGH


# --- silence -----------------------------------------------------------------------------------------------------


def test_silence_pauses_the_sound_and_ends_by_itself() -> None:
    alarms = silenced(begun(HIGH), after_s(4))
    assert alarms.silent_ns(after_s(10)) == SILENCE_NS - 6 * NS_PER_S
    assert [alarms.silent_ns(after_s(later_s)) for later_s in (124, 125)] == [0, 0]
    assert alarms.priority is Priority.HIGH
    alarms, heard = bursts(alarms, [HIGH], until_s=140)
    assert heard == [(124, Priority.HIGH), (134, Priority.HIGH)]
    assert alarms.silent_ns(after_s(140)) == 0


@pytest.mark.parametrize(
    ("first", "new", "told"),
    [(HIGH, HIGH_TOO, Priority.HIGH), (HIGH, MEDIUM, Priority.HIGH), (MEDIUM, MEDIUM_TOO, Priority.MEDIUM)],
)
def test_a_new_alarm_ends_the_silence_at_once(first: Fault, new: Fault, told: Priority) -> None:
    alarms, burst = turn(silenced(begun(first), after_s(4)), (first, new), after_s(5))
    assert (burst, alarms.silent_until_ns, alarms.silent_ns(after_s(5))) == (told, None, 0)


def test_a_fault_that_goes_leaves_the_others_silent() -> None:
    alarms, burst = turn(silenced(begun(HIGH, MEDIUM), after_s(4)), (MEDIUM,), after_s(5))
    assert (alarms.priority, burst) == (Priority.MEDIUM, None)
    assert alarms.silent_ns(after_s(5)) == SILENCE_NS - NS_PER_S


def test_a_second_silence_begins_anew_and_is_no_longer_than_the_first() -> None:
    alarms = silenced(silenced(begun(HIGH), after_s(4)), after_s(100))
    assert alarms.silent_ns(after_s(100)) == SILENCE_NS


# --- escalation --------------------------------------------------------------------------------------------------


def test_a_medium_alarm_that_nobody_answers_becomes_high_and_stays_so_until_it_is_cleared() -> None:
    alarms, heard = bursts(begun(MEDIUM), [MEDIUM], until_s=75)
    assert heard[-2:] == [(60, Priority.HIGH), (70, Priority.HIGH)]
    assert (alarms.priority, alarms.escalated) == (Priority.HIGH, True)
    alarms = silenced(alarms, after_s(76))
    assert (alarms.priority, alarms.escalated) == (Priority.HIGH, True)
    alarms, _ = turn(alarms, (), after_s(80))
    assert turn(alarms, [MEDIUM], after_s(80))[1] is Priority.MEDIUM


def test_a_silenced_alarm_is_answered_and_waits_anew_from_the_end_of_the_silence() -> None:
    alarms = silenced(begun(MEDIUM), after_s(50))
    alarms, heard = bursts(alarms, [MEDIUM], until_s=229)
    assert {priority for _, priority in heard} == {Priority.MEDIUM}
    alarms, heard = bursts(alarms, [MEDIUM], until_s=231)
    assert heard == [(230, Priority.HIGH)]
    assert alarms.escalated


def test_a_silence_that_a_new_alarm_ends_answers_no_longer() -> None:
    alarms, _ = turn(silenced(begun(MEDIUM), after_s(50)), (MEDIUM, MEDIUM_TOO), after_s(60))
    assert [each.waits_since_ns for each in alarms.raised] == [after_s(60), after_s(60)]
    _, heard = bursts(alarms, (MEDIUM, MEDIUM_TOO), until_s=121)
    assert heard[-1] == (120, Priority.HIGH)


def test_a_high_alarm_has_nothing_to_become() -> None:
    alarms, _ = bursts(begun(HIGH), [HIGH], until_s=300)
    assert not alarms.escalated
    assert alarms.raised == (Raised(HIGH, START_NS),)


# --- laws --------------------------------------------------------------------------------------------------------

acts = st.lists(
    st.tuples(
        st.integers(0, 90 * NS_PER_S),
        st.one_of(st.just("silence"), st.lists(st.sampled_from(list(Fault)), unique=True, max_size=4)),
    ),
    max_size=20,
)


@LAW
@given(acts=acts)
def test_whatever_happens_the_alarm_keeps_its_laws(acts: list[tuple[int, str | list[Fault]]]) -> None:
    alarms, faults, now_ns = NO_ALARM, list[Fault](), START_NS
    silenced_ns = -SILENCE_NS
    last_burst_ns = 0
    for wait_ns, act in acts:
        until_ns = now_ns + wait_ns
        while alarms.turns_ns is not None and alarms.turns_ns <= until_ns:
            assert alarms.turns_ns > now_ns
            now_ns = alarms.turns_ns
            alarms, burst = turn(alarms, faults, now_ns)
            last_burst_ns = now_ns if burst else last_burst_ns
        now_ns = until_ns
        before = alarms
        if isinstance(act, str):
            alarms, silenced_ns = silenced(alarms, now_ns), now_ns
        else:
            new = set(act) - set(faults)
            faults = act
            alarms, burst = turn(alarms, faults, now_ns)
            last_burst_ns = now_ns if burst else last_burst_ns
            if new and (before.priority is None or before.silent_ns(now_ns)):
                assert burst is not None
        # The highest priority wins, and every latched fault is signalled.
        assert [each.fault for each in alarms.raised] == faults
        priorities = {CATALOGUE[fault].priority for fault in faults}
        if Priority.HIGH in priorities or alarms.escalated:
            assert alarms.priority is Priority.HIGH
        else:
            assert alarms.priority is (Priority.MEDIUM if priorities else None)
        # Silence is bounded, and without it a burst is never further away than its interval.
        if faults and alarms.silent_ns(now_ns) == 0:
            assert now_ns - last_burst_ns <= REPEAT_NS[Priority.MEDIUM]
        assert alarms.silent_ns(now_ns) <= max(0, silenced_ns + SILENCE_NS - now_ns)
        for each in alarms.raised:
            if CATALOGUE[each.fault].priority is Priority.MEDIUM and not each.escalated:
                assert now_ns - each.waits_since_ns < UNANSWERED_NS


@LAW
@given(faults=st.lists(st.sampled_from(list(Fault)), unique=True, min_size=1, max_size=4), looks=st.data())
def test_looking_more_often_changes_nothing_that_is_signalled(faults: list[Fault], looks: st.DataObject) -> None:
    alarms = turn(NO_ALARM, faults, START_NS)[0]
    often = alarms
    times = looks.draw(st.lists(st.integers(START_NS, after_s(200)), max_size=8))
    for now_ns in sorted(times):
        often, _ = turn(often, faults, now_ns)
    at_last, _ = turn(alarms, faults, after_s(200))
    often, _ = turn(often, faults, after_s(200))
    assert replace(often, burst_ns=None) == replace(at_last, burst_ns=None)
