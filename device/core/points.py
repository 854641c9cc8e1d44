"""Handlers of the marks: what an operator says of the planned points. They change where the next shot belongs, no dose.

A mark is taken only where nothing is loaded: a loaded magazine's shots belong to the points that its intent names, and
no mark may change that behind it. Whoever marks disarms first, and the next arming wants a fresh press.
"""

from device.core.console import Console
from device.core.effects import Commit, Reply
from device.core.events import PointRepeatRequested, PointSkipRequested, PointUndoRequested
from device.core.ledger import SessionTotals
from device.core.records import MarkWord, PointMarked
from device.core.region_plan import Mark, PointMark
from device.core.steps import Step, book, refused, taken

PointRequested = PointSkipRequested | PointRepeatRequested | PointUndoRequested

REPEAT_WAITS = "a repeat waits for its shot: give it, or `mesogun point undo`"

_UNDONE = {
    Mark.GIVEN: MarkWord.SHOT_UNDONE,
    Mark.SKIPPED: MarkWord.SKIP_UNDONE,
    Mark.REPEAT: MarkWord.REPEAT_UNDONE,
}


def point_skip(console: Console, event: PointSkipRequested) -> Step:
    """Pass over the region's next points, never over its end: the next region is another decision."""
    totals, reasons = console.ledger.session, _not_now(console)
    if totals is None or reasons:
        return refused(console, event, reasons)
    progress, place = totals.progress, totals.progress.place()
    if progress.repeating:
        return refused(console, event, (REPEAT_WAITS,))
    if place is None:
        return refused(console, event, (f"all {progress.planned} planned points are treated or skipped",))
    if not 0 < event.points <= place.left:
        region, left = totals.started.regions[place.region], place.left
        return refused(console, event, (f"{region} has {left} point{'s' * (left > 1)} left: skip 1 to {left}",))
    mark = PointMark(Mark.SKIPPED, progress.next_point, event.points)
    return _marked(console, event, totals, mark, MarkWord.SKIPPED)


def point_repeat(console: Console, event: PointRepeatRequested) -> Step:
    """Let the next shot belong to the last one's point once more."""
    totals, reasons = console.ledger.session, _not_now(console)
    if totals is None or reasons:
        return refused(console, event, reasons)
    if totals.progress.repeating:
        return refused(console, event, (REPEAT_WAITS,))
    if not totals.progress.repeatable:
        return refused(console, event, ("the last mark is no shot: there is no point to repeat",))
    mark = PointMark(Mark.REPEAT, totals.progress.marks[-1].point)
    return _marked(console, event, totals, mark, MarkWord.REPEAT)


def point_undo(console: Console, event: PointUndoRequested) -> Step:
    """Take back the last mark. A shot whose mark is taken back stays booked, and its point is open again."""
    totals, reasons = console.ledger.session, _not_now(console)
    if totals is None or reasons:
        return refused(console, event, reasons)
    if not totals.progress.marks:
        return refused(console, event, ("there is no mark to take back",))
    last = totals.progress.marks[-1]
    return _marked(console, event, totals, last, _UNDONE[last.mark])


def _not_now(console: Console) -> tuple[str, ...]:
    """Return why the plan cannot be marked now; empty when it can."""
    totals = console.ledger.session
    if totals is None or not totals.progress.points:
        return ("the session has no planned points: start it with --regions",)
    # Its shots will take the next points, whatever came of them.
    return ("the last magazine is not settled yet",) if console.ledger.open_intent is not None else ()


def _marked(console: Console, event: PointRequested, totals: SessionTotals, mark: PointMark, word: MarkWord) -> Step:
    region, index = totals.progress.region_of(mark.point)
    record = PointMarked(
        session_id=totals.started.session_id,
        region=totals.started.regions[region],
        point=index + 1,
        points=mark.points,
        mark=word.value,
        uid=event.request.uid,
    )
    answer = Reply(event.request, accepted=True, reasons=())
    return book(console, record), (Commit((taken(event), record)), answer)
