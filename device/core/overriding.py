"""Handlers of overrides: who goes beyond a soft limit, by what reason; everything stands in the journal."""

from device.core.console import Console
from device.core.effects import Commit, Reply
from device.core.events import OverrideRequested, SessionStartRequested
from device.core.limits import Refusal
from device.core.records import LimitOverridden
from device.core.soft_limits import NAMES
from device.core.steps import Step, book, refused, taken
from device.core.treatment import next_shot_refusals

MAY_NOT = "this account may not override a limit: those that may stand in override_users of device.toml"
HALF = "an override needs a reason and a name: --override REASON --by NAME"


def override(console: Console, event: OverrideRequested) -> Step:
    """Lift a soft limit that refuses the next shot, for the rest of the session; refuse anything else."""
    session = console.session
    reached = next_shot_refusals(console, session) if session is not None else ()
    found = next((one for one in reached if one.figure and one.code == event.limit), None)
    reasons = []
    if not event.request.may_override:
        reasons.append(MAY_NOT)
    if event.limit not in NAMES:
        reasons.append(f"{event.limit} is no soft limit; those are {', '.join(NAMES)}")
    elif found is None:
        reasons.append(f"{event.limit} does not stand in the next shot's way: nothing to override")
    if not event.reason.strip() or not event.by.strip():
        reasons.append("an override needs a reason and a name")
    if session is None or found is None or reasons:
        return refused(console, event, tuple(reasons))
    record = LimitOverridden(
        session_id=session.session_id,
        limit=found.code,
        reason=event.reason.strip(),
        by=event.by.strip(),
        uid=event.request.uid,
        figure=found.figure,
    )
    effects = (Commit((taken(event), record)), Reply(event.request, accepted=True, reasons=()))
    return book(console, record), effects


def overridden_at_start(
    event: SessionStartRequested, refusals: tuple[Refusal, ...]
) -> tuple[tuple[Refusal, ...], tuple[LimitOverridden, ...]]:
    """Return what still refuses the session after the override that came with it, and the records of what does not."""
    reason, by = event.override_reason.strip(), event.override_by.strip()
    if not reason and not by:
        return refusals, ()
    if not reason or not by:
        return (*refusals, Refusal("override", HALF)), ()
    if not event.request.may_override:
        return (*refusals, Refusal("override", MAY_NOT)), ()
    return tuple(one for one in refusals if not one.figure), tuple(
        LimitOverridden(event.session_id, one.code, reason=reason, by=by, uid=event.request.uid, figure=one.figure)
        for one in refusals
        if one.figure
    )
