"""A refill that was broken off: what it drew is in the syringe, whoever's and however old, and not in the vial."""

from dataclasses import replace

from device.core.console import Console, State
from device.core.events import (
    ChangeVialRequested,
    FaultClearRequested,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    SessionStopRequested,
    Started,
)
from device.core.ledger import apply
from device.core.machine import step
from device.core.realtime_messages import EndReason, Homed, Loaded, Ready
from device.core.records import PlungerFound
from device.core.session_care import UNHOMED
from device.core.units import Increments
from device.core.vial import Vial
from tests.support.core import SYRINGE
from tests.support.machine import (
    ARM,
    DISARMED,
    FILLED,
    HOME_PLUNGER,
    PRIME,
    REFILLING,
    REQUEST,
    START_SESSION,
    STOP_PRESSED,
    after,
    magazine_ended,
    records_in,
    reply_in,
)

HALF = Increments(12_000)
STOP = SessionStopRequested(REQUEST)
BEN = replace(START_SESSION, session_id="s-2", patient="ben")


def broken_off(refilling: Console) -> Console:
    """Return the console after a stop in the midst of the drawing, its fault cleared."""
    return after(
        refilling, STOP_PRESSED, FaultClearRequested(REQUEST), PumpProbed(HALF), Ready(homed=True)
    )  # fmt: skip


def restarted(refilling: Console) -> Console:
    """Return the next controller after a crash in the midst of the drawing; the session's files have changed since."""
    fresh = Console(spec=refilling.spec, ledger=refilling.ledger, formulary=refilling.formulary)
    return after(fresh, Started(), PumpProbed(HALF), Ready(homed=True))


def test_what_it_drew_for_one_patient_is_refused_for_another_until_the_plunger_is_homed() -> None:
    for console in (after(broken_off(REFILLING), STOP), restarted(REFILLING)):
        assert console.state is State.DISARMED
        (reason,) = reply_in(step(console, BEN)[1]).reasons
        assert reason.startswith("the syringe 1ml holds mix of an earlier session")
        assert reply_in(step(console, START_SESSION)[1]).accepted
        emptied = after(console, HOME_PLUNGER, Homed(0), PlungerAtTop(Increments(0)))
        assert reply_in(step(emptied, BEN)[1]).accepted


def test_what_it_drew_is_as_old_as_its_vial() -> None:
    first = Vial("L-1", expires_ms=9)
    console = broken_off(after(DISARMED, replace(START_SESSION, vial=first), ARM))
    assert console.ledger.drawn == first
    assert after(console, ChangeVialRequested(REQUEST, Vial("L-2", expires_ms=99))).ledger.drawn == first


def test_what_it_drew_is_no_more_in_the_vial() -> None:
    _, effects = step(after(REFILLING, STOP_PRESSED, FaultClearRequested(REQUEST)), PumpProbed(HALF))
    assert records_in(effects) == [PlungerFound(expected=0, position=HALF, volume_nl=SYRINGE.volume_of(HALF))]
    whole = after(broken_off(REFILLING), ARM, RefillDone(FILLED)).ledger.session
    assert whole is not None
    assert whole.drawn_nl == SYRINGE.volume_of(HALF) + SYRINGE.volume_of(Increments(FILLED - HALF))


def test_a_prime_that_moved_nothing_leaves_the_drives_play_open_and_the_next_shot_behind_a_refill() -> None:
    console = after(broken_off(REFILLING), PRIME)
    number = console.ledger.magazines
    unmoved = magazine_ended(EndReason.UNLOADED, opened=0, done=0, magazine_id=number)
    console = after(console, PumpLoaded(number), Loaded(number), unmoved, PositionRead(HALF))
    assert (console.state, console.ledger.play_open) == (State.SESSION, True)
    assert after(console, ARM).state is State.REFILLING


def test_whose_the_syringes_content_was_before_it_stays() -> None:
    ledger = replace(REFILLING.ledger, content=replace(REFILLING.ledger.session.started, patient="ada"))  # type: ignore[union-attr]
    found = apply(ledger, PlungerFound(expected=0, position=HALF, volume_nl=1)).content
    assert found is not None
    assert found.patient == "ada"


def test_a_plunger_that_was_found_drawn_up_outside_of_any_session_is_nobodys() -> None:
    console = after(replace(DISARMED, state=State.STARTING), Started(), PumpProbed(HALF))
    assert console.ledger.content is None
    assert console.ledger.position == HALF


def test_a_plunger_that_drew_without_a_session_is_homed_before_anything_is_given() -> None:
    # By another program or by hand: from the vial, from the needle, or air.
    resting = replace(DISARMED, ledger=replace(DISARMED.ledger, position=HALF, low_water=HALF))
    fresh = Console(spec=resting.spec, ledger=resting.ledger, formulary=resting.formulary)
    drew = after(fresh, Started(), PumpProbed(Increments(HALF + 500)), Ready(homed=True), START_SESSION)
    for command in (ARM, PRIME):
        assert UNHOMED in reply_in(step(drew, command)[1]).reasons
    homed = after(drew, HOME_PLUNGER, Homed(3), PlungerAtTop(Increments(0)))
    assert after(homed, ARM).state is State.REFILLING
    pushed = after(fresh, Started(), PumpProbed(Increments(HALF - 500)))
    assert not pushed.ledger.unhomed
