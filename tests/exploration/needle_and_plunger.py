"""The transitions of what moves: a scan of the real-time process, and the pump's next stage.

Owns what the real-time process' loop does around the scan: one order at most, its end when the link is closed and the
needle safe. A scan that changes nothing is no transition.
"""

from collections.abc import Iterator

from device.core.realtime_messages import StrokeStarted
from device.core.stroke import ScanMode
from drivers.sim.world import END_STOP_STEPS
from tests.exploration import checks
from tests.exploration.pace import SCANNING, gates_of, inputs_of, is_settled, linked, time_can_pass
from tests.exploration.parts import GATE_1, GATE_2, NONE, Kind, Life, Realtime
from tests.exploration.processes import phase_set, pour, spent
from tests.exploration.scans import AT_PULLS, Moment, Scanned, written
from tests.exploration.tables import Move, Tables, View


def realtime_moves(tables: Tables, view: View) -> Iterator[Move]:
    """Yield the scans that may come next."""
    realtime = view.realtime
    if realtime.life not in SCANNING:
        return
    order = realtime.orders[0] if realtime.orders else NONE
    inputs, is_linked = inputs_of(view), linked(view)
    for moment in tables.scans.moments(realtime.scan):
        if moment in (Moment.DUE, Moment.LATER) and not time_can_pass(tables, view):
            continue
        kind = Kind.GUN
        if moment is Moment.TOO_LATE and not _pump_is_stuck(tables, view):
            if view.account.faults == 0:
                continue
            kind = Kind.FAULT
        words = ("scan", moment, order)
        try:
            result = tables.scans.scan(realtime.scan, inputs, order, moment, permit=realtime.permit, linked=is_linked)
        except Exception as error:  # noqa: BLE001 - whatever the scan raises is the finding
            yield Move(kind, words, view.state, (f"the scan raises {error!r}",))
            continue
        move = _scanned(tables, view, result, kind, words, is_linked=is_linked)
        if move.state != view.state:
            yield move


def _pump_is_stuck(tables: Tables, view: View) -> bool:
    """Whether an awaited end can never come: then it is not the lateness that is tried, but what led to it."""
    awaited = tables.scan(view.realtime.scan).awaited
    if awaited is None or awaited is view.room.phase:
        return False
    return tables.pumps.step(view.pump, gates_of(view)) is None


def _scanned(
    tables: Tables, view: View, result: Scanned, kind: Kind, words: tuple[object, ...], *, is_linked: bool
) -> Move:
    realtime, room = view.realtime, view.room
    account = spent(view.account) if kind is Kind.FAULT else view.account
    scan = tables.scan(result.scan)
    lines, step, both_open = written(realtime.lines, result.outputs)
    if step:
        room = room._replace(needle=max(END_STOP_STEPS, room.needle + step))
    intent = tables.intent(view.controller.durable)
    broken = checks.scanned(
        realtime.lines,
        lines,
        scan,
        both_open=both_open,
        room=room,
        account=account,
        intent=intent,
        permit=realtime.permit,
        linked=is_linked,
        depth=tables.depth,
    )
    for report in result.reports:
        if isinstance(tables.messages[report], StrokeStarted) and not intent.primes:
            account = account._replace(press_shots=account.press_shots + 1)
            broken += checks.started(
                account,
                most_of_a_press=tables.most_shots_of_a_press,
                bound_to_trigger=tables.bound_to_trigger,
                trigger=room.trigger,
            )
    struck = scan.faulty and not tables.scan(realtime.scan).faulty
    if (struck or not is_linked) and not account.quiet:
        account = account._replace(quiet=True)
    dead = view.controller.life is Life.DEAD
    after = Realtime(
        life=realtime.life,
        scan=result.scan,
        lines=lines,
        orders=realtime.orders[1:],
        reports=() if dead else (*realtime.reports, *result.reports),
        # A report to a controller that is gone tells of its end.
        linked=is_linked and not (dead and result.reports),
        permit=realtime.permit,
        seen=inputs_of(view),
    )
    if not after.linked and scan.mode is ScanMode.SAFE:
        after = after._replace(life=Life.DEAD, lines=AT_PULLS, orders=())
    state = tables.after(view, realtime=after, room=room, account=account)
    return Move(kind, words, state, broken)


def pump_moves(tables: Tables, view: View) -> Iterator[Move]:
    """Yield what the pump does next by itself."""
    gates = gates_of(view)
    step = tables.pumps.step(view.pump, gates)
    if step is None or (tables.pumps.look(view.pump).moving and not is_settled(tables, view)):
        return
    broken: tuple[str, ...] = ()
    if step.began:
        broken = checks.begun(view.account, stuck=_stuck_gate(tables, view))
    account, spilled = pour(tables, view, step.plunges, view.account)
    state = tables.after(view, pump=step.pump, room=phase_set(view, step.phase), account=account)
    yield Move(Kind.GUN, ("pump", step.pump), state, (*broken, *spilled))


def _stuck_gate(tables: Tables, view: View) -> bool:
    stuck = GATE_1 if tables.pumps.look(view.pump).halted_at == 1 else GATE_2
    return bool(view.room.troubles & stuck)
