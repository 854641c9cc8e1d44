"""Handlers from arming to the booked outcome: load, fire, settle, and the next magazine."""

from dataclasses import replace
from typing import Any

from device.core.booking import settled
from device.core.calibration import calibration_refusals
from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    ReadPosition,
    Reply,
    Send,
    SoundRegion,
)
from device.core.events import (
    ArmRequested,
    DisarmRequested,
    PositionRead,
    PumpLoaded,
)
from device.core.faults import Fault
from device.core.limits import Refusal
from device.core.operations import not_fit
from device.core.realtime_messages import (
    EndReason,
    Load,
    Loaded,
    MagazineEnded,
    ShotReport,
    StrokeStarted,
    Unload,
)
from device.core.safety import SHUTTING_DOWN, fault, uncertain
from device.core.session import Session
from device.core.session_care import not_cared_for, paused
from device.core.settlement import Seen
from device.core.steps import Step, back, given_up, prepend, refused, taken
from device.core.treatment import next_magazine, next_place, next_shot_refusals


def arm(console: Console, event: ArmRequested) -> Step:
    """Authorise magazines until disarmed, faulted or done; refuse with every reason at once."""
    session = console.session
    refusals = next_shot_refusals(console, session) if session is not None else ()
    fitness = not_fit(console, event.request.at_ms)
    unmet = (*_uncalibrated(console, event), *not_cared_for(console))
    reasons = (*fitness, *(refusal.message for refusal in (*unmet, *refusals)))
    if reasons:
        return refused(console, event, reasons)
    console = replace(console, armed=True, pending=event.request, ended=None)
    return next_magazine(console, taken(event))


def _uncalibrated(console: Console, event: ArmRequested) -> tuple[Refusal, ...]:
    """Return why the open session's syringe gives no known volume any more; empty without a session."""
    totals = console.ledger.session
    if totals is None:
        return ()
    started = totals.started
    return calibration_refusals(
        console.ledger.calibrations,
        syringe=started.syringe,
        syringe_sha256=started.syringe_sha256,
        now_ms=event.request.at_ms,
    )


def already_armed(console: Console, event: ArmRequested) -> Step:
    """Answer an arming that is in force; take back a disarming that has not reached the load yet."""
    if console.stopping:
        return refused(console, event, (SHUTTING_DOWN,))
    if why := paused(console):
        return refused(console, event, why)
    if not console.armed and console.state is not State.LOADING:
        return refused(console, event, ("the gun is being disarmed: try again",))
    return replace(console, armed=True), (Commit((taken(event),)), Reply(event.request, accepted=True, reasons=()))


def disarm(console: Console, event: DisarmRequested) -> Step:
    """Fire and prime nothing more: unload what is loaded; what is still being loaded or drawn for is given up."""
    effects: tuple[Effect, ...] = (Commit((taken(event),)), Reply(event.request, accepted=True, reasons=()))
    if console.state in (State.ARMED, State.FIRING):
        effects = (Send(Unload()), *effects)
    return prepend(effects, given_up(console, "disarmed"))


def pump_loaded(console: Console, event: PumpLoaded) -> Step:
    """Key 1 is in: give the real-time process key 2's part, unless the operator has thought better of it."""
    magazine = console.magazine
    if magazine is None or event.magazine_id != magazine.magazine_id:
        return fault(console, Fault.INTERNAL, "the pump was loaded with another magazine")
    priming = console.state is State.PRIMING
    if console.stopping or not (console.armed or priming):
        state = console.state if priming else State.SETTLING
        # What is known of the gates since the load still holds: none was opened.
        console = replace(console, state=state, ended=EndReason.UNLOADED)
        return prepend((ReadPosition(complete=False),), given_up(console, SHUTTING_DOWN))
    # From here on only its own count tells what it opened.
    return replace(console, seen=None), (Send(Load(magazine.realtime_magazine())),)


def magazine_loaded(console: Console, event: Loaded) -> Step:
    """Both keys are in: armed, unless the operator has thought better of it."""
    effects: tuple[Effect, ...] = ()
    if console.pending is not None:
        effects = (Reply(console.pending, accepted=True, reasons=()),)
    if not console.armed or console.stopping:
        effects = (Send(Unload()), *effects)
    return replace(console, state=State.ARMED, pending=None), effects


def stroke_started(console: Console, event: StrokeStarted) -> Step:
    """A shot is under way."""
    return replace(console, state=State.FIRING), ()


def unchanged(console: Console, event: Any) -> Step:
    """Take note of nothing: the event is expected here and carries no decision."""
    return console, ()


def shot_reported(console: Console, event: ShotReport) -> Step:
    """Keep the report until the magazine is settled."""
    return replace(console, reports=(*console.reports, event)), ()


def magazine_ended(console: Console, event: MagazineEnded) -> Step:
    """Ask the pump where it stands. After a fault the fault's own handling asks: its report follows this one."""
    if console.magazine is None or event.magazine_id != console.magazine.magazine_id:
        # In a fault the magazine may be settled already, from its position alone.
        unexpected = f"magazine {event.magazine_id} ended, which is not loaded"
        return (console, ()) if console.state is State.FAULT else fault(console, Fault.INTERNAL, unexpected)
    console = replace(console, seen=Seen(opened=event.opened, done=event.done), ended=event.reason)
    if event.reason is EndReason.FAULT or console.state is State.FAULT:
        return console, ()
    if console.state is not State.PRIMING:
        console = replace(console, state=State.SETTLING)
    return console, (ReadPosition(complete=event.reason is EndReason.COMPLETE),)


def position_read(console: Console, event: PositionRead) -> Step:
    """Settle and book; go on with the next magazine if one is wanted, or stop if the dose is not certain."""
    intent = console.ledger.open_intent
    if intent is None:
        return back(console)
    before = console
    console, records, certain = settled(console, intent, event.position)
    if not certain:
        console, effects = fault(console, *uncertain(intent.magazine_id, event))
        return console, (Commit(tuple(records)), *effects)
    console, effects = next_magazine(console, *records)
    session, going_on = console.session, console.state in (State.LOADING, State.REFILLING)
    # Only where it goes on: what ends the arming has a sound of its own.
    if session is not None and going_on and _another_region(session, before, console):
        effects = (*effects, SoundRegion())
    return console, effects


def _another_region(session: Session, before: Console, console: Console) -> bool:
    """Whether what was just settled was the last of its region and another one comes."""
    places = [next_place(each, session) for each in (before, console)]
    regions = {place.region for place in places if place is not None}
    return len(regions) == len(places)
