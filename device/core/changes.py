"""Handlers of what an operator changes in the midst of a session, whose plan goes on: vial, needle, syringe.

Only while nothing is loaded. The serum, the profile and the type of the syringe are the plan itself: another one means
another session. A new needle or syringe is empty, so that a prime comes before the next shot.
"""

from dataclasses import replace

from device.core.console import Console, State
from device.core.effects import Commit, Reply, Send
from device.core.events import ChangeNeedleRequested, ChangeSyringeRequested, ChangeVialRequested
from device.core.operations import EMPTIES_SYRINGE, needle_refusals
from device.core.realtime_messages import Home
from device.core.records import NeedleChanged, SyringeChanged, VialChanged
from device.core.steps import Step, book, refused, taken
from device.core.vial import told_refusals

NO_SESSION = "no session is open"


def change_vial(console: Console, event: ChangeVialRequested) -> Step:
    """Draw from another vial of the same serum from now on; what is in the syringe keeps its age."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return refused(console, event, (NO_SESSION,))
    if why := told_refusals(event.vial, session.serum, now_ms=event.request.at_ms):
        return refused(console, event, tuple(reason.message for reason in why))
    record = VialChanged(
        session_id=session.session_id,
        lot=event.vial.lot,
        lot_expires_ms=event.vial.expires_ms,
        mixed_ms=event.vial.mixed_ms,
        before_nl=totals.drawn_nl,
        at_ms=event.request.at_ms,
    )
    return book(console, record), (Commit((taken(event), record)), Reply(event.request, accepted=True, reasons=()))


def change_needle(console: Console, event: ChangeNeedleRequested) -> Step:
    """Go on with another needle, which must be primed; one that was on before goes on with its count."""
    if console.session is None:
        return refused(console, event, (NO_SESSION,))
    if event.needle and event.needle == console.ledger.needle.needle:
        return refused(console, event, (f"{event.needle} is the needle that is on: give the new one an id of its own",))
    used = needle_refusals(console.ledger, event.needle, patient=console.session.patient) if event.needle else ()
    if used:
        return refused(console, event, tuple(reason.message for reason in used))
    record = NeedleChanged(console.session.session_id, event.needle, shots=console.ledger.needle.shots)
    return book(console, record), (Commit((taken(event), record)), Reply(event.request, accepted=True, reasons=()))


def change_syringe(console: Console, event: ChangeSyringeRequested) -> Step:
    """Home the plunger of the new syringe, without a patient: what was drawn before is waste."""
    session = console.session
    if session is None:
        return refused(console, event, (NO_SESSION,))
    reasons = []
    if event.syringe not in ("", session.syringe.name):
        reasons.append(
            f"the session is planned for syringe {session.syringe.name}: with another type the strokes are others; "
            "stop the session and start one with it"
        )
    if not console.ready:
        reasons.append("the needle is still on its way home: try again")
    if not event.patient_detached:
        reasons.append(EMPTIES_SYRINGE)
    if reasons:
        return refused(console, event, tuple(reasons))
    record = SyringeChanged(session.session_id, session.syringe.name)
    console = replace(
        book(console, record), state=State.HOMING, pending=event.request, plunger_wanted=True, homed=False
    )
    return console, (Commit((taken(event), record)), Send(Home()))
