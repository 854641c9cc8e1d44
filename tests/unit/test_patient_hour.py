"""A patient's hour: so many shots, whatever sessions, restarts and clocks come between."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.events import PositionRead
from device.core.ledger import Ledger, apply
from device.core.machine import step
from device.core.patient_day import UNKNOWN_MS
from device.core.patient_hour import HOUR_MS, RUN_MS, RUNS_KEPT_MOST, Run, dated, shots_within_hour, with_shots
from device.core.records import START_COMMAND, CommandTaken, MagazineSettled, SessionEnded, SessionStarted
from device.core.units import Increments
from tests.support.journal import STARTED
from tests.support.machine import SETTLING, records_in

NOON_MS = 1_772_600_000_000
MINUTE_MS = 60_000


def settled(at_ms: int, shots: int, *, purpose: str = "inject") -> MagazineSettled:
    return MagazineSettled(
        magazine_id=1, purpose=purpose, session_id="s", reason="complete", position=0, low_water=0, given=0, given_nl=0,
        shots=shots, carry=0, certain=True, at_ms=at_ms,
    )  # fmt: skip


def started(patient: str = "anna", at_ms: int = NOON_MS) -> SessionStarted:
    return replace(STARTED, patient=patient, at_ms=at_ms)


@pytest.mark.parametrize(("ms", "counted"), [(0, 5), (HOUR_MS - 1, 5), (HOUR_MS, 0)])
def test_a_shot_counts_for_an_hour(ms: int, counted: int) -> None:
    runs = with_shots((), patient="anna", at_ms=NOON_MS, shots=5)
    assert shots_within_hour(runs, patient="anna", now_ms=NOON_MS + ms) == counted


def test_what_lies_in_the_future_or_nowhere_counts() -> None:
    runs = (Run("anna", NOON_MS, NOON_MS, 3), Run("anna", UNKNOWN_MS, UNKNOWN_MS, 4))
    assert shots_within_hour(runs, patient="anna", now_ms=NOON_MS - 10 * HOUR_MS) == 7
    assert shots_within_hour(runs, patient="anna", now_ms=NOON_MS + 10 * HOUR_MS) == 4
    assert shots_within_hour(runs, patient="anna", now_ms=UNKNOWN_MS) == 7


def test_each_patient_has_an_hour_of_their_own() -> None:
    runs = with_shots(with_shots((), patient="anna", at_ms=NOON_MS, shots=5), patient="", at_ms=NOON_MS, shots=2)
    assert [shots_within_hour(runs, patient=who, now_ms=NOON_MS) for who in ("anna", "", "carl")] == [5, 2, 0]


def test_a_minutes_shots_are_one_run_dated_by_its_last() -> None:
    runs: tuple[Run, ...] = ()
    for ms in (0, RUN_MS - 1, RUN_MS):
        runs = with_shots(runs, patient="anna", at_ms=NOON_MS + ms, shots=1)
    assert runs == (Run("anna", NOON_MS, NOON_MS + RUN_MS - 1, 2), Run("anna", NOON_MS + RUN_MS, NOON_MS + RUN_MS, 1))


def test_a_magazine_is_stamped_with_the_time_at_which_its_position_was_read() -> None:
    _, effects = step(replace(SETTLING, now_ms=7), PositionRead(Increments(0), 77_000))
    (settled,) = [one for one in records_in(effects) if isinstance(one, MagazineSettled)]
    assert settled.at_ms == 77_000


def test_the_same_millisecond_is_one_run_and_no_shots_are_none() -> None:
    once = with_shots((), patient="anna", at_ms=5, shots=1)
    assert with_shots(once, patient="anna", at_ms=5, shots=2) == (Run("anna", 5, 5, 3),)
    assert with_shots(once, patient="anna", at_ms=5 + RUN_MS, shots=0) == once


def test_what_was_given_at_an_unknown_time_is_dated_by_what_comes_after_it() -> None:
    runs = with_shots((), patient="anna", at_ms=UNKNOWN_MS, shots=3)
    assert dated(runs, UNKNOWN_MS) == runs
    runs = with_shots(runs, patient="anna", at_ms=NOON_MS, shots=0)
    assert runs == (Run("anna", NOON_MS, NOON_MS, 3),)


def test_the_memory_is_bounded_and_keeps_the_last() -> None:
    runs: tuple[Run, ...] = ()
    for number in range(RUNS_KEPT_MOST + 1):
        runs = with_shots(runs, patient="anna", at_ms=NOON_MS + number * RUN_MS, shots=1)
    assert len(runs) == RUNS_KEPT_MOST
    assert runs[-1].last_ms == NOON_MS + RUNS_KEPT_MOST * RUN_MS


def test_a_new_session_begins_no_new_hour() -> None:
    ledger = Ledger()
    ended = SessionEnded("s", "stopped", 0, 0, NOON_MS)
    for record in (started(), settled(NOON_MS, 7), settled(NOON_MS, 5, purpose="prime"), ended, started()):
        ledger = apply(ledger, record)
    assert shots_within_hour(ledger.runs, patient="anna", now_ms=NOON_MS) == 7


def test_a_sessions_start_dates_what_a_power_cut_left_undated() -> None:
    ledger = Ledger()
    for record in (started(), settled(UNKNOWN_MS, 2), SessionEnded("s", "stopped", 0, 0, UNKNOWN_MS), started()):
        ledger = apply(ledger, record)
    assert shots_within_hour(ledger.runs, patient="anna", now_ms=NOON_MS + HOUR_MS - 1) == 2
    assert shots_within_hour(ledger.runs, patient="anna", now_ms=NOON_MS + HOUR_MS) == 0


@given(
    shots=st.lists(st.tuples(st.sampled_from(["anna", "carl"]), st.integers(0, 3 * 60), st.integers(1, 9)), max_size=60)
)
def test_never_fewer_are_counted_than_were_given_and_none_that_is_older_than_an_hour_and_a_minute(
    shots: list[tuple[str, int, int]],
) -> None:
    runs: tuple[Run, ...] = ()
    given_at: list[tuple[str, int, int]] = []
    now_ms = NOON_MS
    for patient, seconds, count in shots:
        now_ms += seconds * 1000
        runs = with_shots(runs, patient=patient, at_ms=now_ms, shots=count)
        given_at.append((patient, now_ms, count))
    for who in ("anna", "carl"):
        counted = shots_within_hour(runs, patient=who, now_ms=now_ms)
        ages = [(now_ms - at_ms, count) for patient, at_ms, count in given_at if patient == who]
        least = sum(count for age, count in ages if age < HOUR_MS)
        most = sum(count for age, count in ages if age < HOUR_MS + RUN_MS)
        assert least <= counted <= most


def test_shots_of_a_journal_that_knew_no_time_keep_nobody_from_a_session_for_ever() -> None:
    old = apply(apply(Ledger(), started(at_ms=UNKNOWN_MS)), settled(UNKNOWN_MS, 900))
    ended = apply(old, SessionEnded(session_id="s-1", reason="stopped", shots=900, volume_nl=1, at_ms=UNKNOWN_MS))
    refused = CommandTaken(START_COMMAND, 0, 1, accepted=False, reason="hour_shots", at_ms=NOON_MS)
    for ledger, later in ((ended, 900), (apply(ended, refused), 0)):
        assert shots_within_hour(ledger.runs, patient="anna", now_ms=NOON_MS) == 900
        assert shots_within_hour(ledger.runs, patient="anna", now_ms=NOON_MS + HOUR_MS) == later
