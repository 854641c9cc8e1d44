"""The transitions of the controller's process: an event taken, an effect carried out, the supervision's three steps.

Owns what `device.controller.loop` and `device.controller.realtime_child` do around the machine: a failed effect drops
the ones behind it and goes in front of the queue; a lost real-time process is noticed, replaced and announced.
"""

from collections.abc import Iterator
from typing import Final

from device.core.console import State as ConsoleState
from device.core.effects import (
    Commit,
    Effect,
    Exit,
    HomePlunger,
    LoadPump,
    Note,
    ProbePump,
    ReadPosition,
    Refill,
    Send,
    TerminatePump,
)
from device.core.events import (
    ArmRequested,
    DisarmRequested,
    FaultOccurred,
    PrimeRequested,
    RealtimeRestarted,
)
from device.core.faults import Fault
from device.core.profile import TriggerStyle
from device.core.realtime_messages import Faulted, Home, Load
from tests.exploration import checks
from tests.exploration.pace import call_can_end, gates_of
from tests.exploration.parts import CABLE, DISK, NONE, PHASE, Account, Controller, Kind, Life, Realtime, Room, State
from tests.exploration.pump import Plunge
from tests.exploration.pump_calls import SEVERED, WHOLE, Called, Cut, Driver
from tests.exploration.scans import AT_PULLS
from tests.exploration.tables import Move, Tables, View

LOST: Final = FaultOccurred(Fault.REALTIME_LOST, "")
RESCUE: Final = Home(rescue=True)
MUTE: Final = Cut(0, deaf=False)
_LINKED: Final = (Life.RUNNING, Life.FROZEN, Life.DEAD, Life.STARTING)
_CAN_ARM: Final = (ConsoleState.SESSION, ConsoleState.LOADING, ConsoleState.ARMED, ConsoleState.FIRING)
_CAN_DISARM: Final = (*_CAN_ARM, ConsoleState.REFILLING, ConsoleState.SETTLING)


def controller_moves(tables: Tables, view: View) -> Iterator[Move]:
    """Yield what the running controller may do next."""
    controller = view.controller
    if controller.life is not Life.RUNNING:
        return
    if controller.effects:
        yield from _carry_out(tables, view)
    elif controller.urgent >= 0:
        yield _take(tables, view, controller.urgent, controller._replace(urgent=NONE), view.realtime)
    else:
        yield from _takes(tables, view)
    # The process' other tasks run while its loop waits: for an event, or in an effect.
    if not (tables.waits(controller.effects[0]) if controller.effects else not controller.queue):
        return
    if controller.urgent >= 0:
        return
    if controller.background >= 0:
        yield _background_ends(tables, view)
    yield from _supervise(tables, view)


def only_move(tables: Tables, view: View) -> Move | None:
    """Return a step of the controller that need not be tried in any other order; None if there is none.

    An event that makes no effect, or a commit that opens and closes no intent: nothing else in the gun can see it,
    hinder it or be hindered by it, once no fault and no disarming is left to come between.
    """
    controller, account = view.controller, view.account
    if account.faults or account.acts or controller.life is not Life.RUNNING or controller.urgent >= 0:
        return None
    if view.realtime.life is not Life.RUNNING:
        return None
    if controller.effects:
        number = controller.effects[0]
        if view.room.troubles & DISK or not tables.is_quiet_commit(number) or controller.unwritten:
            return None
        return _commit(tables, view, number, controller._replace(effects=controller.effects[1:]))
    if bool(controller.queue) is bool(view.realtime.reports):
        return None
    (move,) = _takes(tables, view)
    return move if tables.controllers[move.state.controller].effects == () else None


def _takes(tables: Tables, view: View) -> Iterator[Move]:
    controller, realtime = view.controller, view.realtime
    if controller.queue:
        taken = controller._replace(queue=controller.queue[1:])
        yield _take(tables, view, controller.queue[0], taken, realtime)
    # What a successor tells stands behind the loss of the one before and its own start.
    heard = not any(tables.messages[event] in (LOST, RealtimeRestarted()) for event in controller.queue)
    if realtime.reports and realtime.life in _LINKED and heard:
        yield _take(tables, view, realtime.reports[0], controller, realtime._replace(reports=realtime.reports[1:]))


def _take(tables: Tables, view: View, event: int, controller: Controller, realtime: Realtime) -> Move:
    happened = tables.messages[event]
    words = ("controller takes", event)
    try:
        stepped = tables.machines.step(controller.console, event)
    except Exception as error:  # noqa: BLE001 - whatever the machine raises is the finding
        return Move(Kind.GUN, words, view.state, (f"the machine raises {error!r}",))
    before, after = tables.console(controller.console), tables.console(stepped.console)
    account = view.account
    if isinstance(happened, ArmRequested | PrimeRequested) and before.state in _CAN_ARM:
        account = account._replace(allowed=True)
    disarmed = isinstance(happened, DisarmRequested) and before.state in _CAN_DISARM
    if disarmed or isinstance(happened, Faulted | FaultOccurred) or after.state is ConsoleState.FAULT:
        account = account._replace(allowed=False)
    state = tables.after(
        view,
        controller=controller._replace(console=stepped.console, effects=stepped.effects),
        realtime=realtime,
        account=account,
    )
    return Move(Kind.GUN, words, state, checks.armed(after))


# Effects


def _carry_out(tables: Tables, view: View) -> Iterator[Move]:
    controller = view.controller
    number = controller.effects[0]
    effect = tables.effect(number)
    rest = controller._replace(effects=controller.effects[1:])
    match effect:
        case Commit() | Note():
            yield _commit(tables, view, number, rest)
        case Send():
            yield _send(tables, view, effect, number, rest)
        case Refill() | HomePlunger():
            yield Move(Kind.GUN, ("begins", number), tables.after(view, controller=rest._replace(background=number)))
        case Exit():
            yield _end(tables, view, number)
        case LoadPump() | ProbePump() | ReadPosition() | TerminatePump():
            if not call_can_end(tables, view, effect):
                return
            if isinstance(effect, TerminatePump):
                rest = rest._replace(background=NONE)
            yield from _ask_pump(tables, view, effect, number, rest)
        case _:
            raise TypeError(f"nobody carries out {type(effect).__name__}")


def _commit(tables: Tables, view: View, number: int, rest: Controller) -> Move:
    full = bool(view.room.troubles & DISK)
    result = tables.machines.commit(rest.durable, rest.unwritten, number, full=full)
    if result.failure >= 0:
        failed = rest._replace(effects=(), urgent=result.failure, unwritten=result.unwritten)
        return Move(Kind.GUN, ("cannot write", number), tables.after(view, controller=failed))
    account, broken = checks.recorded(view.account, result.written, intent=tables.intent(rest.durable))
    written_ = rest._replace(durable=result.durable, unwritten=result.unwritten)
    state = tables.after(view, controller=written_, account=account)
    return Move(Kind.GUN, ("writes", number), state, broken, checks.noted(result.written))


def _end(tables: Tables, view: View, number: int) -> Move:
    """What could not be written is tried once more; then only what is durable is left."""
    controller = view.controller
    full = bool(view.room.troubles & DISK)
    result = tables.machines.commit(controller.durable, controller.unwritten, number, full=full)
    account, broken = checks.recorded(view.account, result.written, intent=tables.intent(controller.durable))
    return Move(Kind.GUN, ("controller ends",), dead_controller(tables, view, account, result.durable), broken)


def _send(tables: Tables, view: View, effect: Send, number: int, rest: Controller) -> Move:
    broken: tuple[str, ...] = ()
    if isinstance(effect.order, Load):
        intent = tables.intent(rest.durable)
        broken = checks.loading(view.account, effect.order.magazine.magazine_id, intent=intent, what="key 2")
    realtime = view.realtime
    if realtime.life is Life.GONE:
        rest = rest._replace(queue=(*rest.queue, tables.messages.of(LOST)))
    elif realtime.life is not Life.DEAD:
        realtime = realtime._replace(orders=(*realtime.orders, tables.messages.of(effect.order)))
    return Move(Kind.GUN, ("sends", number), tables.after(view, controller=rest, realtime=realtime), broken)


def _ask_pump(tables: Tables, view: View, effect: Effect, number: int, rest: Controller) -> Iterator[Move]:
    gates, driver = gates_of(view), rest.driver
    if view.room.troubles & CABLE:
        called = tables.calls.call(view.pump, effect, driver, gates, SEVERED)
        yield _asked(tables, view, number, rest, called, what="asks in vain")
        return
    called = tables.calls.call(view.pump, effect, driver, gates, WHOLE)
    yield _asked(tables, view, number, rest, called, what="asks the pump")
    if view.account.faults == 0:
        return
    if isinstance(effect, LoadPump):
        ends = tables.calls.broken_off(view.pump, effect, driver, gates)
    else:
        ends = tuple(tables.calls.call(view.pump, effect, driver, gates, cut) for cut in (SEVERED, MUTE))
    for end in dict.fromkeys(ends):
        yield _asked(tables, view, number, rest, end, what="asks on a failing line", kind=Kind.FAULT)


def _asked(
    tables: Tables,
    view: View,
    number: int,
    rest: Controller,
    called: Called,
    *,
    what: str,
    kind: Kind = Kind.GUN,
) -> Move:
    effect = tables.effect(number)
    account = spent(view.account) if kind is Kind.FAULT else view.account
    broken: tuple[str, ...] = ()
    intent = tables.intent(rest.durable)
    if isinstance(effect, LoadPump):
        magazine = effect.program.magazine_id
        broken = checks.loading(account, magazine, intent=intent, what="key 1")
        if tables.pumps.look(called.pump).busy:
            account = account._replace(loaded=magazine)
    account, spilled = pour(tables, view, called.plunges, account)
    posted = tuple(tables.messages.of(event) for event in called.posted)
    # While the call lasted every report was read.
    reports = view.realtime.reports
    after = rest._replace(driver=called.driver, queue=(*rest.queue, *reports, *posted))
    if called.failure is not None:
        after = after._replace(effects=(), urgent=tables.messages.of(called.failure))
    state = tables.after(
        view,
        controller=after,
        realtime=view.realtime._replace(reports=()),
        pump=called.pump,
        room=phase_set(view, called.phase),
        account=account,
    )
    return Move(kind, (what, number), state, (*broken, *spilled))


def spent(account: Account) -> Account:
    """Return the account after a fault was tried."""
    return account._replace(faults=account.faults - 1, disturbed=True)


def phase_set(view: View, level: bool | None) -> Room | None:
    """Return the room after the pump set its phase line; None when that changes nothing."""
    room = view.room
    if level is None or level is room.phase or room.troubles & PHASE:
        return None
    return room._replace(phase=level)


def pour(
    tables: Tables, view: View, plunges: tuple[Plunge, ...], account: Account, *, waste: bool = False
) -> checks.Poured:
    """Judge plunger movements under the durable intent of this moment."""
    if not plunges:
        return checks.Poured(account, ())
    return checks.poured(
        account,
        plunges,
        intent=tables.intent(view.controller.durable),
        room=view.room,
        # A release in hold mode breaks the stroke off, and what a broken-off phase still moves has no place.
        undisturbed=not account.disturbed and tables.plan.profile.trigger is TriggerStyle.PRESS,
        waste=waste,
    )


def _background_ends(tables: Tables, view: View) -> Move:
    controller = view.controller
    number = controller.background
    effect = tables.effect(number)
    cut = SEVERED if view.room.troubles & CABLE else WHOLE
    called = tables.calls.call(view.pump, effect, controller.driver, gates_of(view), cut)
    account, broken = pour(tables, view, called.plunges, view.account, waste=isinstance(effect, HomePlunger))
    posted = tuple(tables.messages.of(event) for event in called.posted)
    after = controller._replace(driver=called.driver, queue=(*controller.queue, *posted), background=NONE)
    state = tables.after(view, controller=after, pump=called.pump, room=phase_set(view, called.phase), account=account)
    return Move(Kind.GUN, ("ends", number), state, broken)


# Life and death


def dead_controller(tables: Tables, view: View, account: Account, durable: int) -> State:
    """Return the state after the controller's end: only what is durable is left of it."""
    dead = Controller(
        life=Life.DEAD,
        console=NONE,
        durable=durable,
        unwritten=tables.machines.nothing_unwritten,
        queue=(),
        urgent=NONE,
        effects=(),
        background=NONE,
        driver=Driver(connected=False, valve_at_needle=False),
    )
    realtime = view.realtime._replace(reports=())
    return tables.after(view, controller=dead, realtime=realtime, account=account._replace(allowed=False))


def new_realtime(tables: Tables, life: Life) -> Realtime:
    """Return a real-time process at its first scan."""
    return Realtime(life, tables.scans.first, AT_PULLS, (), (), linked=True, permit=True, seen=NONE)


def _supervise(tables: Tables, view: View) -> Iterator[Move]:
    controller, realtime = view.controller, view.realtime
    if realtime.life in (Life.DEAD, Life.FROZEN):
        # What the lost process still told may have been read before the link was closed, or not.
        for count in range(len(realtime.reports) + 1):
            heard = (*controller.queue, *realtime.reports[:count], tables.messages.of(LOST))
            gone = realtime._replace(life=Life.GONE, lines=AT_PULLS, orders=(), reports=(), linked=False)
            state = tables.after(
                view,
                controller=controller._replace(queue=heard),
                realtime=gone,
                account=view.account._replace(quiet=True),
            )
            yield Move(Kind.GUN, ("misses the real-time process",), state)
    elif realtime.life is Life.GONE:
        started = new_realtime(tables, Life.STARTING)._replace(orders=(tables.messages.of(RESCUE),))
        told = controller._replace(queue=(*controller.queue, tables.messages.of(RealtimeRestarted())))
        yield Move(Kind.GUN, ("starts a real-time process",), tables.after(view, controller=told, realtime=started))
    elif realtime.life is Life.STARTING:
        state = tables.after(view, realtime=realtime._replace(life=Life.RUNNING))
        yield Move(Kind.GUN, ("sees the real-time process scan",), state)
