"""What is looked after around the shots of a session: its check-list, the age of its serum.

Handlers for what an operator says, and the reasons by which it keeps the gun from being armed. Moves nothing.
"""

from device.core.checklist import check_refusals, checklist_refusals
from device.core.console import Console
from device.core.effects import Commit, Reply
from device.core.events import CheckRequested
from device.core.limits import Refusal
from device.core.records import ItemChecked
from device.core.steps import Step, book, refused, taken
from device.core.vial import age_refusals


def not_cared_for(console: Console) -> tuple[Refusal, ...]:
    """Return what has still to be confirmed or done before the gun is armed; empty without a session."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return ()
    return checklist_refusals(session.checklist, totals.checked)


def too_old(console: Console, at_ms: int) -> tuple[Refusal, ...]:
    """Return why what is in vial or syringe may not be given at this time of the wall clock; empty when it may."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return ()
    return age_refusals(totals.vial, console.ledger.drawn, session.serum, now_ms=at_ms)


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
