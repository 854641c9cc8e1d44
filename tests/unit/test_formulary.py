"""Nothing is released under a formulary that is not signed, has expired, or is older than what this console took."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.console import Console, State
from device.core.effects import Commit, ProbePump, Reply
from device.core.events import (
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    RollBackRequested,
    Started,
)
from device.core.formulary import (
    UNSIGNED,
    Formulary,
    TakenFormulary,
    formulary_refusals,
    is_newer,
    is_roll_back,
)
from device.core.ledger import Ledger
from device.core.machine import step
from device.core.realtime_messages import Loaded, Ready, StrokeStarted
from device.core.records import CommandTaken, FormularyTaken
from tests.support.core import FORMULARY, SPEC
from tests.support.machine import (
    ARM,
    DISARMED,
    PRIME,
    REQUEST,
    SESSION,
    START_SESSION,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
)

NOON_MS = 1_772_600_000_000
ROLL_BACK = RollBackRequested(REQUEST, reason="the new dose burns", by="a physician")
TAKEN = FormularyTaken(3, "f", "a pharmacist", "pharmacy", signed_ms=0, expires_ms=FORMULARY.expires_ms)


def started_with(formulary: Formulary, taken: TakenFormulary | None) -> Console:
    console = Console(spec=SPEC, ledger=replace(Ledger(), formulary=taken), formulary=formulary)
    return after(console, Started(), PumpProbed(None), Ready(homed=True))


@pytest.mark.parametrize(
    ("formulary", "taken", "now_ms", "reasons"),
    [
        (FORMULARY, None, NOON_MS, []),
        (FORMULARY, TakenFormulary(3, "f"), NOON_MS, []),
        (FORMULARY, TakenFormulary(2, "e"), NOON_MS, []),
        (UNSIGNED, None, NOON_MS, ["formulary: the formulary is not signed"]),
        (
            FORMULARY,
            TakenFormulary(4, "g"),
            NOON_MS,
            [
                "formulary version 3 is older than version 4 that this console has taken: install a newer one, or "
                '`mesogun formulary roll-back --reason "..." --by NAME`'
            ],
        ),
        (
            FORMULARY,
            TakenFormulary(3, "another"),
            NOON_MS,
            [
                "formulary version 3 is not the one that this console has taken: install a newer one, or "
                '`mesogun formulary roll-back --reason "..." --by NAME`'
            ],
        ),
        (replace(FORMULARY, expires_ms=NOON_MS + 1), None, NOON_MS, []),
        (
            replace(FORMULARY, expires_ms=NOON_MS),
            None,
            NOON_MS,
            ["formulary version 3 has expired: sign and install a new one"],
        ),
        # A clock that stands before the signing tells nothing of the age: what is over when signed is over.
        (
            replace(FORMULARY, signed_ms=NOON_MS, expires_ms=NOON_MS),
            None,
            0,
            ["formulary version 3 has expired: sign and install a new one"],
        ),
    ],
)
def test_why_nothing_is_released(
    formulary: Formulary, taken: TakenFormulary | None, now_ms: int, reasons: list[str]
) -> None:
    found = formulary_refusals(formulary, taken, now_ms=now_ms)
    assert [reason.message for reason in found] == reasons
    assert {reason.code for reason in found} <= {"formulary"}


@given(
    version=st.integers(1, 5), taken_version=st.integers(1, 5), same=st.booleans(), problem=st.sampled_from(["", "bad"])
)
def test_a_bundle_is_newer_or_in_force_or_needs_a_word_or_is_bad(
    version: int, taken_version: int, same: bool, problem: str
) -> None:
    formulary = replace(FORMULARY, version=version, problem=problem)
    taken = TakenFormulary(taken_version, formulary.sha256 if same else "another")
    newer, word = is_newer(formulary, taken), is_roll_back(formulary, taken)
    assert not (newer and word)
    assert (newer or word) <= (not problem)
    usable = not formulary_refusals(formulary, taken, now_ms=NOON_MS)
    assert usable == (not problem and not word)


@pytest.mark.parametrize("event", [START_SESSION, PRIME, ARM])
def test_no_path_to_fluid_leads_past_an_unsigned_formulary(event: object) -> None:
    before = DISARMED if event is START_SESSION else SESSION
    console, effects = step(replace(before, formulary=UNSIGNED), event)  # type: ignore[arg-type] # one of the three
    assert "formulary: the formulary is not signed" in reply_in(effects).reasons
    assert (console.state, console.armed) == (before.state, False)


@pytest.mark.parametrize(("left_ms", "state"), [(1, State.LOADING), (0, State.SESSION)])
def test_a_gun_that_is_armed_when_the_formulary_ends_is_given_no_other_magazine(left_ms: int, state: State) -> None:
    armed = after(SESSION, ARM, RefillDone(SESSION.spec.pump.stroke_increments), PumpLoaded(1), Loaded(1))
    assert armed.magazine is not None
    place = armed.magazine.pump_program().moves[-1].target
    read = PositionRead(place, FORMULARY.expires_ms - left_ms)
    fired = after(armed, StrokeStarted(1, 0), shot_report(), magazine_ended(), read)
    assert (fired.state, fired.armed) == (state, left_ms > 0)


def test_a_newer_formulary_is_taken_at_the_start_and_written_down_before_the_pump_is_asked() -> None:
    console, effects = step(Console(spec=SPEC, ledger=Ledger(), formulary=FORMULARY), Started())
    assert effects == (Commit((TAKEN,)), ProbePump())
    assert console.ledger.formulary == TakenFormulary(3, "f")
    again = replace(console, state=State.STARTING)
    assert step(again, Started())[1] == (ProbePump(),)


@pytest.mark.parametrize("formulary", [UNSIGNED, replace(FORMULARY, version=2, sha256="old")])
def test_what_is_bad_or_older_is_not_taken_at_the_start(formulary: Formulary) -> None:
    console = started_with(formulary, TakenFormulary(3, "f"))
    assert console.ledger.formulary == TakenFormulary(3, "f")


def test_going_back_is_somebodys_word_and_stands_in_the_journal() -> None:
    older = started_with(replace(FORMULARY, version=2, sha256="old"), TakenFormulary(3, "f"))
    assert reply_in(step(older, START_SESSION)[1]).accepted is False
    console, effects = step(older, ROLL_BACK)
    assert records_in(effects) == [
        CommandTaken("formulary roll-back", 1000, 77, accepted=True, reason=""),
        replace(
            TAKEN, version=2, sha256="old", rolled_back=True, reason="the new dose burns", by="a physician", uid=1000
        ),
    ]
    assert effects[-1] == Reply(REQUEST, accepted=True, reasons=())
    assert step(console, START_SESSION)[0].session is not None
    # The newer one is taken again at a start, without a word.
    forward = started_with(FORMULARY, console.ledger.formulary)
    assert forward.ledger.formulary == TakenFormulary(3, "f")


@pytest.mark.parametrize(
    ("formulary", "reason"),
    [
        (FORMULARY, "formulary version 3 is in force already"),
        (UNSIGNED, "formulary: the formulary is not signed"),
    ],
)
def test_nobodys_word_replaces_a_signature(formulary: Formulary, reason: str) -> None:
    console, effects = step(started_with(formulary, TakenFormulary(3, "f")), ROLL_BACK)
    assert reply_in(effects).reasons == (reason,)
    assert console.ledger.formulary == TakenFormulary(3, "f")


def test_an_open_session_goes_on_under_the_older_one_by_the_same_word() -> None:
    older = replace(SESSION, formulary=replace(FORMULARY, version=2, sha256="old"))
    console, _ = step(older, ROLL_BACK)
    assert (console.state, console.ledger.formulary) == (State.SESSION, TakenFormulary(2, "old"))


def test_the_session_says_under_which_formulary_it_began() -> None:
    assert SESSION.ledger.session is not None
    started = SESSION.ledger.session.started
    assert (started.formulary_version, started.formulary_sha256) == (3, "f")
