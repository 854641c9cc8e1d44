"""Which records are a session's: found by its id, a part of it, or as the last one; listed in short."""

from dataclasses import replace

import pytest

from device.core.records import FaultsCleared, LimitOverridden, SessionEnded, SessionStarted
from device.service.session_records import COMMITTED_WITH_START_MOST, NoSuchSession, SessionList, SessionSearch
from tests.support.sessions import (
    CALIBRATED,
    SESSION_ID,
    STARTED,
    WHOLE,
    Chain,
    Unknown,
    command,
    eventful,
    intent,
    outcome,
)


def started(session_id: str, **changes: object) -> SessionStarted:
    return replace(STARTED, session_id=session_id, **changes)  # type: ignore[arg-type]


def ended(session_id: str) -> SessionEnded:
    return SessionEnded(session_id, "stopped", 0, 0)


def journal_of(*session_ids: str) -> Chain:
    chain = Chain().boot("boot-1")
    for session_id in session_ids:
        chain.add(command("session start"), started(session_id), command("session stop"), ended(session_id))
    return chain


def found_in(chain: Chain, wanted: str) -> list[int]:
    """Return the numbers of the records that are found to be the session's."""
    search = SessionSearch(wanted)
    for entry in chain.entries:
        search.take(entry)
    return [entry.seq for entry in search.found().entries]


def refusal_in(chain: Chain, wanted: str) -> str:
    with pytest.raises(NoSuchSession) as refusal:
        found_in(chain, wanted)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("a1", [2, 3, 4, 5]), ("a2", [6, 7, 8, 9]), ("a20", [10, 11, 12, 13]), ("b", [14, 15, 16, 17]),
     ("last", [14, 15, 16, 17])],
)  # fmt: skip
def test_a_session_runs_from_the_command_that_started_it_to_its_end(wanted: str, numbers: list[int]) -> None:
    assert found_in(journal_of("a1", "a2", "a20", "b7"), wanted) == numbers


def test_a_whole_id_goes_before_longer_ones_in_whatever_order_they_come() -> None:
    assert found_in(journal_of("a20", "a2"), "a2") == [6, 7, 8, 9]


@pytest.mark.parametrize(
    ("sessions", "wanted", "words"),
    [
        ((), "last", "the journal holds no session"),
        (("a1",), "b", "no session's id begins with 'b'; `mesogun session list` shows them"),
        (("a1", "a2"), "a", "2 sessions' ids begin with 'a': a1, a2; write more of it"),
        (("a1", "a1"), "a1", "2 sessions' ids begin with 'a1': a1, a1; write more of it"),
        (("a0", "a1", "a2", "a3", "a4", "a5", "a6"), "a",
         "7 sessions' ids begin with 'a': a0, a1, a2, a3, a4, ...; write more of it"),
    ],
)  # fmt: skip
def test_what_is_not_one_session_is_refused_in_one_line(sessions: tuple[str, ...], wanted: str, words: str) -> None:
    assert refusal_in(journal_of(*sessions), wanted) == words


def test_what_was_committed_between_the_command_and_the_start_belongs_to_the_session() -> None:
    overridden = LimitOverridden("a1", "soft.session_ml", "asked", by="dr-b", uid=0, figure="30 uL given")
    chain = Chain().add(command("session start"), overridden, started("a1"))
    assert found_in(chain, "a1") == [1, 2, 3]


def test_a_command_without_its_session_is_forgotten_in_the_end() -> None:
    chain = Chain().add(command("session start"))
    chain.add(*[command("status")] * COMMITTED_WITH_START_MOST, started("a1"))
    assert found_in(chain, "a1") == [COMMITTED_WITH_START_MOST + 2]


def test_a_refused_start_is_no_session_s_command() -> None:
    assert found_in(Chain().add(command("session start", reason="no weight"), started("a1")), "a1") == [2]


def test_a_session_without_an_end_is_what_came_until_the_next_one() -> None:
    chain = Chain().add(started("a1"), FaultsCleared([], 0), started("b1"))
    search = SessionSearch("a1")
    for entry in chain.entries:
        search.take(entry)
    found = search.found()
    assert ([entry.seq for entry in found.entries], found.succeeded) == ([1, 2], True)


def test_what_stood_before_a_session_is_kept_with_it() -> None:
    others = [replace(CALIBRATED, syringe_sha256=f"{number:064x}") for number in range(70)]
    chain = Chain().boot("boot-1").add(*others, CALIBRATED, CALIBRATED).boot("boot-2").add(started("a1"))
    search = SessionSearch("a1")
    for entry in chain.entries:
        search.take(entry)
    found = search.found()
    assert found.boot is not None
    assert found.calibration is not None
    assert (found.boot.boot_id, found.calibration.seq) == ("boot-2", 73)
    assert found.before.session is None


def test_the_list_has_each_session_with_its_outcomes_in_order() -> None:
    listed = SessionList()
    for entry in eventful().entries:
        listed.take(entry)
    first, second = listed.sessions
    assert (first.shots, first.booked_nl, first.end) == (1, 20_000, "stopped")
    assert (second.session_id, second.shots, second.partial, second.uncertain) == (SESSION_ID, 6, 2, 1)
    assert (second.booked_nl, second.faults, second.simulated) == (93_459, 3, True)


def test_the_list_may_be_one_patient_s_and_tells_open_from_unended() -> None:
    shot = intent(1, 1, shots=1)
    chain = Chain().add(started("a1", patient="p-1"), started("b1", patient="p-2"), started("c1", patient="p-1"))
    chain.add(shot, *outcome(shot, WHOLE), Unknown("course_noted"))
    listed = SessionList("p-1")
    for entry in chain.entries:
        listed.take(entry)
    assert [(one.session_id, one.end, one.shots) for one in listed.sessions] == [
        ("a1", "no record of its end", 0),
        ("c1", "open", 1),
    ]
