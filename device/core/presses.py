"""Presses of the trigger that fire nothing: why, and how they are written down.

Every one is counted in a record with its reason. Someone who hammers the trigger must not fill the journal all the
same: the real-time process lets a press through at most every two lock-outs, and here a run of presses with one reason
and nothing else written down between them is told one by one at first and then in doublings: `n` presses make about
`EACH + log2(n)` records. What is not told yet goes with the next record of any kind, or with the end of the process.
"""

from dataclasses import replace
from typing import Final

from device.core.console import NO_PRESSES, Console, PressRun, State
from device.core.effects import Commit, Exit, SoundRefusal
from device.core.faults import CATALOGUE, Fault
from device.core.operations import not_fit
from device.core.patient_day import UNKNOWN_MS
from device.core.realtime_messages import PressIgnored, PressRefusal
from device.core.records import PressRefused, Record
from device.core.session_care import not_cared_for
from device.core.steps import Step, book
from device.core.treatment import next_shot_refusals, vial_refusals

EACH: Final = 8
"""So many presses of a run have a record of their own: more than a person tries before he looks for the reason."""

_WHILE: Final = {
    State.STARTING: "starting: the gun is not ready yet",
    State.SELF_TEST: "self_test: the gun is being tested",
    State.HOMING: "homing: needle or plunger are on their way home",
    State.PRIMING: "priming: the needle is being filled",
    State.REFILLING: "refilling: the syringe is being filled",
    State.LOADING: "loading: the next shots are being loaded",
    State.SETTLING: "settling: the last shots are being booked",
    State.DISARMED: "no_session: no session is open",
}


def press_ignored(console: Console, event: PressIgnored) -> Step:
    """Tell the clinician, and the auditor."""
    session_id = console.session.session_id if console.session is not None else ""
    run, records = console.presses, list[Record]()
    reason = why_refused(console, event.reason)
    if (session_id, reason) != (run.session_id, run.reason):
        records += _told(run)
        run = PressRun(session_id, reason)
    run = replace(run, untold=run.untold + 1)
    if run.told < EACH or run.untold >= run.told:
        records += _told(run)
        run = replace(run, told=run.told + run.untold, untold=0)
    console = replace(book(console, *records), presses=run)
    return console, (SoundRefusal(), Commit(tuple(records))) if records else (SoundRefusal(),)


def why_refused(console: Console, refusal: PressRefusal) -> str:
    """Return a word for why a press fired nothing, and behind a colon what a person wants to know of it."""
    if refusal is PressRefusal.BUSY and console.ledger.faults:
        # The needle is on its way out.
        refusal = PressRefusal.NOT_ARMED
    if refusal is not PressRefusal.NOT_ARMED:
        return refusal.name.lower()
    if console.ledger.faults:
        faults = (Fault(code) for code in console.ledger.faults)
        return "fault: " + "; ".join(f"{fault.value} {CATALOGUE[fault].title}" for fault in faults)
    if console.state is not State.SESSION or console.session is None:
        return _WHILE.get(console.state, "not_armed")
    if limits := next_shot_refusals(console, console.session):
        return "limit: " + "; ".join(each.message for each in limits)
    # A press brings no wall clock: that something has expired is told by the arming.
    unmet = (reason.message for reason in not_cared_for(console))
    if unfit := (*not_fit(console, UNKNOWN_MS), *unmet):
        return "unfit: " + "; ".join(unfit)
    return "; ".join(vial_refusals(console, console.session)) or "not_armed"


def with_untold(before: Console, step: Step) -> Step:
    """Return `step` with the presses that are not told yet in its first record's company, or in front of its end."""
    console, effects = step
    run = console.presses
    if run is NO_PRESSES or run is not before.presses:
        return step
    place = next((place for place, effect in enumerate(effects) if isinstance(effect, Commit | Exit)), None)
    if place is None:
        return step
    records, found = _told(run), effects[place]
    console = replace(book(console, *records), presses=NO_PRESSES)
    if isinstance(found, Commit):
        effects = (*effects[:place], Commit((*records, *found.records)), *effects[place + 1 :])
    elif records:
        effects = (*effects[:place], Commit(records), *effects[place:])
    return console, effects


def _told(run: PressRun) -> tuple[Record, ...]:
    return (PressRefused(run.session_id, run.reason, presses=run.untold),) if run.untold else ()
