"""A needle by its id: what was used keeps its shots and its patient, however often another one was on in between."""

from dataclasses import replace

import pytest

from device.core.console import Console, State
from device.core.events import ChangeNeedleRequested, PlungerAtTop, SessionStopRequested
from device.core.ledger import NEEDLES_KEPT_MOST, Ledger, Needle, apply
from device.core.machine import step
from device.core.realtime_messages import Homed
from device.core.records import NeedleChanged
from device.core.units import Increments
from tests.support.journal import SETTLED
from tests.support.machine import DISARMED, HOME_PLUNGER, REQUEST, SESSION, START_SESSION, after, reply_in

STOP = SessionStopRequested(REQUEST)
BEN = replace(START_SESSION, session_id="s-2", patient="ben")
ANOTHER = "needle n-1 was used on another patient: put a new one on, and give it an id of its own by --needle ID"


def worn(console: Console, shots: int = 7) -> Console:
    """Return the console after so many shots of anna with the needle that is on."""
    needle = replace(console.ledger.needle, shots=shots, patient="anna", used=True)
    return replace(console, ledger=replace(console.ledger, needle=needle))


def change(console: Console, needle: str) -> Console:
    return after(console, ChangeNeedleRequested(REQUEST, needle))


ANNAS = worn(after(DISARMED, replace(START_SESSION, needle="n-1")))
"""Anna's session, seven shots with n-1."""


def why(console: Console, needle: str) -> tuple[str, ...]:
    return reply_in(step(console, ChangeNeedleRequested(REQUEST, needle))[1]).reasons


def test_the_needle_that_is_on_is_no_new_one() -> None:
    assert why(ANNAS, "n-1") == ("n-1 is the needle that is on: give the new one an id of its own",)
    assert change(ANNAS, "n-1").ledger.needle == Needle("n-1", 7, "anna", used=True)


def test_a_needle_without_an_id_is_changed_for_another_without_one() -> None:
    assert change(worn(SESSION), "").ledger.needle == Needle()


def test_a_needle_that_is_put_on_again_goes_on_with_its_count() -> None:
    again = change(worn(change(ANNAS, "n-2"), 2), "n-1")
    assert again.ledger.needle == Needle("n-1", 7, "anna", used=True)
    assert change(again, "n-2").ledger.needle == Needle("n-2", 2, "anna", used=True)
    stopped = after(change(ANNAS, "n-2"), STOP, replace(START_SESSION, needle="n-1"))
    assert stopped.ledger.needle == Needle("n-1", 7, "anna", used=True)


@pytest.mark.parametrize(("needle", "refused"), [("n-1", True), ("n-2", False), ("n-3", False), ("", False)])
def test_a_needle_of_one_patient_is_refused_for_another_though_a_new_one_was_on_since(
    needle: str, refused: bool
) -> None:
    emptied = after(change(ANNAS, "n-2"), STOP, HOME_PLUNGER, Homed(0), PlungerAtTop(Increments(0)))
    start = replace(BEN, needle=needle)
    assert reply_in(step(emptied, start)[1]).reasons == ((ANOTHER,) if refused else ())
    assert why(replace(after(emptied, BEN), state=State.SESSION), needle) == (
        (ANOTHER,)
        if refused
        else ("n-2 is the needle that is on: give the new one an id of its own",) * (needle == "n-2")
    )


def test_the_memory_of_needles_is_bounded_and_keeps_the_last() -> None:
    ledger = SESSION.ledger
    for number in range(NEEDLES_KEPT_MOST + 2):
        ledger = apply(ledger, NeedleChanged("s-1", f"n-{number}", shots=0))
        ledger = replace(ledger, needle=replace(ledger.needle, used=True))
    assert len(ledger.needles) == NEEDLES_KEPT_MOST
    assert ledger.needles[-1].needle == f"n-{NEEDLES_KEPT_MOST}"
    assert Ledger().needles == ()


def test_a_worn_needle_keeps_a_session_from_starting_and_the_refusal_names_what_can_be_done_then() -> None:
    worn_out = after(worn(SESSION, SESSION.spec.limits.needle_shots), STOP)
    assert worn_out.state is State.DISARMED
    (reason,) = reply_in(step(worn_out, START_SESSION)[1]).reasons
    assert reason.endswith("`mesogun change needle`, at a session's start --needle ID")
    assert reply_in(step(worn_out, replace(START_SESSION, needle="n-9"))[1]).accepted


@pytest.mark.parametrize(
    ("reason", "purpose", "shots", "used"),
    [
        ("recovered", "inject", 0, True),
        ("recovered", "inject", 2, True),
        ("complete", "inject", 1, True),
        ("unloaded", "inject", 0, False),
        ("fault", "inject", 0, False),
        ("recovered", "prime", 0, False),
    ],
)
def test_a_needle_that_may_have_been_in_without_a_shot_is_a_used_one_and_counts_what_was_booked(
    reason: str, purpose: str, shots: int, used: bool
) -> None:
    settled = replace(SETTLED, reason=reason, purpose=purpose, shots=shots, given=0, given_nl=0)
    needle = apply(replace(SESSION.ledger, needle=Needle("n-1")), settled).needle
    assert needle == Needle("n-1", shots, "anna" if used else "", used)
