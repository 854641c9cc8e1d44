"""What is looked after around the shots of a session: its check-list, the age of its serum, its pauses.

Handlers for what an operator says, and the reasons by which it keeps the gun from being armed. Moves nothing: a pause
unloads what is loaded, as a disarming does. A session that outlives its controller is paused at the next start: whoever
goes on with it has looked at the patient first.
"""

from typing import Final

from device.core.checklist import check_refusals, checklist_refusals
from device.core.console import Console, State
from device.core.effects import Commit, Effect, Reply, Send
from device.core.events import CheckRequested, PauseRequested, ResumeRequested
from device.core.limits import Refusal
from device.core.realtime_messages import Unload
from device.core.records import ItemChecked, SessionPaused, SessionResumed
from device.core.steps import Step, book, given_up, prepend, refused, taken
from device.core.vial import age_refusals

UNPRIMED: Final = "needle or syringe were changed, and what is new holds air: `mesogun prime`"
UNHOMED: Final = (
    "the syringe was changed, or drew without a session, and its plunger was not homed: without a patient "
    "`mesogun home --plunger --patient-detached`"
)
PAUSED: Final = "the session is paused: `mesogun session resume`"


def not_cared_for(console: Console) -> tuple[Refusal, ...]:
    """Return what has still to be confirmed or done before the gun is armed; empty without a session."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return ()
    unprimed = (Refusal("prime", UNPRIMED),) if console.ledger.unprimed else ()
    return (*checklist_refusals(session.checklist, totals.checked), *unprimed)


def too_old(console: Console, at_ms: int) -> tuple[Refusal, ...]:
    """Return why what is in vial or syringe may not be given at this time of the wall clock; empty when it may."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return ()
    return age_refusals(totals.vial, console.ledger.drawn, session.serum, now_ms=at_ms)


def paused(console: Console) -> tuple[str, ...]:
    """Return why nothing is primed or armed in a paused session; empty in one that is not."""
    totals = console.ledger.session
    return (PAUSED,) if totals is not None and totals.paused else ()


def held_back(console: Console) -> tuple[str, ...]:
    """Return why the session lets nothing be primed or armed: it is paused, or its plunger has to be homed."""
    return (*paused(console), *((UNHOMED,) if console.ledger.unhomed else ()))


def paused_by_restart(console: Console) -> Step:
    """Pause the session that an earlier controller left open."""
    if console.session is None or paused(console):
        return console, ()
    record = SessionPaused(console.session.session_id, "restart")
    return book(console, record), (Commit((record,)),)


def pause(console: Console, event: PauseRequested) -> Step:
    """Pause: what is loaded is unloaded, what is being loaded or drawn for is given up."""
    if console.session is None or paused(console):
        return refused(console, event, ("the session is paused already",))
    record = SessionPaused(console.session.session_id, "operator")
    effects: tuple[Effect, ...] = (
        Commit((taken(event), record)),
        Reply(event.request, accepted=True, reasons=()),
    )
    if console.state in (State.ARMED, State.FIRING):
        effects = (Send(Unload()), *effects)
    return prepend(effects, given_up(book(console, record), "the session was paused"))


def resume(console: Console, event: ResumeRequested) -> Step:
    """Go on; whatever else keeps the gun from being armed is told by the arming."""
    if console.session is None or not paused(console):
        return refused(console, event, ("the session is not paused",))
    record = SessionResumed(console.session.session_id)
    return book(console, record), (Commit((taken(event), record)), Reply(event.request, accepted=True, reasons=()))


def check(console: Console, event: CheckRequested) -> Step:
    """Write down who confirmed which items; what was confirmed before is confirmed again by another name."""
    session = console.session
    checklist = session.checklist if session is not None else None
    if session is None or checklist is None or check_refusals(checklist, event.items):
        return refused(console, event, check_refusals(checklist, event.items))
    records = tuple(
        ItemChecked(
            session_id=session.session_id,
            checklist=checklist.name,
            item=item.key,
            text=item.text,
            by=event.by,
            uid=event.request.uid,
        )
        for item in checklist.items
        if item.key in event.items
    )
    return book(console, *records), (Commit((taken(event), *records)), Reply(event.request, accepted=True, reasons=()))
