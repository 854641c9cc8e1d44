"""The transitions from outside: what an operator may do, and the single faults that are tried.

Owns the budgets: presses, commands and faults are counted; repairing, clearing, restarting and homing are always
possible where they make sense, because every state must have a way back by them.
"""

from collections.abc import Iterator
from typing import Final

from device.core.console import State as ConsoleState
from device.core.events import (
    DisarmRequested,
    FaultClearRequested,
    HomeRequested,
    Request,
    ResumeRequested,
    ShutdownRequested,
    Started,
)
from tests.exploration.pace import is_about_to_be_announced
from tests.exploration.parts import DISK, NONE, TROUBLES, Account, Kind, Life, State
from tests.exploration.processes import dead_controller, new_realtime, phase_set, spent
from tests.exploration.scans import AT_PULLS
from tests.exploration.tables import Move, Tables, View

RESUME: Final = ResumeRequested(Request(3, 1000, 77))
DISARM: Final = DisarmRequested(Request(3, 1000, 77))
CLEAR: Final = FaultClearRequested(Request(4, 1000, 77))
HOME: Final = HomeRequested(Request(5, 1000, 77), plunger=False, patient_detached=False)
HOME_PLUNGER: Final = HomeRequested(Request(6, 1000, 77), plunger=True, patient_detached=True)
SHUTDOWN: Final = ShutdownRequested()
STARTED: Final = Started()

UNWRITTEN_MOST: Final = 8
"""An operator clears a few times on a full disk, not for ever: every clearing waits for the disk in the memory."""
HOMING_MOST: Final = 9
"""Nor does he look for a broken home switch for ever; a repaired one is found, and the steps are counted anew."""

_LOADED: Final = (
    ConsoleState.REFILLING,
    ConsoleState.LOADING,
    ConsoleState.ARMED,
    ConsoleState.FIRING,
    ConsoleState.SETTLING,
)
_AT_REST: Final = (ConsoleState.SESSION, ConsoleState.DISARMED)


def operator_moves(tables: Tables, view: View) -> Iterator[Move]:
    """Yield what the operator, and the operating system in his place, may do next."""
    yield from _trigger_moves(tables, view)
    yield from _life_moves(tables, view)
    controller = view.controller
    if controller.life is Life.RUNNING:
        yield from _command_moves(tables, view)
    room = view.room
    if not _settled(tables, view):
        return
    broken = controller.life is Life.DEAD or tables.console(controller.console).state is ConsoleState.FAULT
    if not room.touching:
        yield _act(("touches the skin",), tables.after(view, room=room._replace(touching=True)))
    if room.stop and broken:
        yield _act(("releases the stop",), tables.after(view, room=room._replace(stop=False)))
    if room.troubles and broken:
        for trouble in TROUBLES:
            if room.troubles & trouble:
                mended = room._replace(troubles=room.troubles & ~trouble)
                yield _act(("repairs", trouble), tables.after(view, room=mended))


def _settled(tables: Tables, view: View) -> bool:
    """Whether no message is under way: a person is slower than that, a needle or a new process is not waited for."""
    controller, realtime = view.controller, view.realtime
    if controller.life is Life.FROZEN or controller.effects or controller.queue or controller.urgent >= 0:
        return False
    if realtime.life is Life.FROZEN:
        return True
    return not (realtime.orders or realtime.reports or is_about_to_be_announced(tables, view))


def _act(words: tuple[object, ...], state: State) -> Move:
    return Move(Kind.OPERATOR, words, state)


def _trigger_moves(tables: Tables, view: View) -> Iterator[Move]:
    room, account = view.room, view.account
    if account.disturbed and not tables.budget.restless and not _shot_is_near(tables, view):
        return
    # A release does nothing by itself in press mode: it is tried there only for the press that may follow.
    if room.trigger and (tables.bound_to_trigger or account.presses > 0):
        yield _act(("releases",), tables.after(view, room=room._replace(trigger=False)))
    elif account.presses > 0 and account.commands < tables.budget.commands:
        state = tables.after(
            view,
            room=room._replace(trigger=True),
            account=account._replace(presses=account.presses - 1, press_shots=0),
        )
        yield _act(("presses",), state)


def _shot_is_near(tables: Tables, view: View) -> bool:
    """Whether a shot is loaded, or being loaded."""
    if tables.scan(view.realtime.scan).magazine != NONE or view.controller.life is not Life.RUNNING:
        return True
    return tables.console(view.controller.console).state in _LOADED


def _life_moves(tables: Tables, view: View) -> Iterator[Move]:
    controller, realtime = view.controller, view.realtime
    if controller.life is not Life.RUNNING and realtime.permit and realtime.life in (Life.RUNNING, Life.STARTING):
        state = tables.after(view, realtime=realtime._replace(permit=False))
        yield Move(Kind.GUN, ("the permit runs out",), state)
    if controller.life is Life.FROZEN:
        thawed = controller._replace(life=Life.RUNNING)
        state = tables.after(view, controller=thawed, realtime=realtime._replace(permit=True))
        yield _act(("the controller goes on",), state)
    if realtime.life is Life.FROZEN:
        state = tables.after(view, realtime=realtime._replace(life=Life.RUNNING))
        yield _act(("the real-time process goes on",), state)
    if controller.life is Life.DEAD and realtime.life in (Life.DEAD, Life.GONE):
        started = controller._replace(
            life=Life.RUNNING,
            console=tables.machines.restarted(controller.durable),
            queue=(tables.messages.of(STARTED),),
        )
        state = tables.after(view, controller=started, realtime=new_realtime(tables, Life.RUNNING))
        yield _act(("starts the controller",), state)


def _command_moves(tables: Tables, view: View) -> Iterator[Move]:
    controller, account = view.controller, view.account
    facts = tables.console(controller.console)
    if any(tables.is_command(event) for event in controller.queue):
        return
    settled = _settled(tables, view) and not facts.answering
    if facts.state in _AT_REST and settled:
        if facts.paused:
            yield _command(tables, view, RESUME, account)
        elif facts.state is ConsoleState.SESSION and account.commands > 0:
            spending = account._replace(commands=account.commands - 1, quiet=False)
            yield _command(tables, view, tables.plan.begin, spending)
        if not facts.initialised and tables.scans[view.realtime.scan].position >= -HOMING_MOST:
            yield _command(tables, view, HOME_PLUNGER, account)
        elif not facts.homed and tables.scans[view.realtime.scan].position >= -HOMING_MOST:
            yield _command(tables, view, HOME, account)
    waiting = len(tables.machines.unwritten[controller.unwritten])
    patient = waiting <= UNWRITTEN_MOST or not view.room.troubles & DISK
    if facts.state is ConsoleState.FAULT and settled and patient:
        yield _command(tables, view, CLEAR, account)
    spending = account._replace(acts=max(0, account.acts - 1))
    # An armed gun that nobody will press again is disarmed: that is its way back.
    left = facts.state is ConsoleState.ARMED and facts.armed and account.presses == 0
    if facts.state in _LOADED and (account.acts > 0 or left):
        yield _command(tables, view, DISARM, spending)
    if facts.state is not ConsoleState.STARTING and account.acts > 0:
        yield _command(tables, view, SHUTDOWN, spending)


def _command(tables: Tables, view: View, event: object, account: Account) -> Move:
    number = tables.messages.of(event)
    controller = view.controller._replace(queue=(*view.controller.queue, number))
    return _act(("operator", number), tables.after(view, controller=controller, account=account))


def fault_moves(tables: Tables, view: View) -> Iterator[Move]:
    """Yield every single fault that can strike now."""
    if view.account.faults == 0:
        return
    account = spent(view.account)
    yield from _deaths(tables, view, account)
    controller, realtime, room = view.controller, view.realtime, view.room
    if controller.life is Life.RUNNING:
        frozen = controller._replace(life=Life.FROZEN)
        yield _fault("the controller freezes", tables.after(view, controller=frozen, account=account))
    if realtime.life is Life.RUNNING:
        stopped = realtime._replace(life=Life.FROZEN)
        yield _fault("the real-time process freezes", tables.after(view, realtime=stopped, account=account))
    if not room.stop:
        yield _fault("the stop is pressed", tables.after(view, room=room._replace(stop=True), account=account))
    if room.touching and tables.plan.profile.require_contact:
        yield _fault("the gun is lifted", tables.after(view, room=room._replace(touching=False), account=account))
    for trouble in TROUBLES:
        if not room.troubles & trouble:
            worse = room._replace(troubles=room.troubles | trouble)
            state = tables.after(view, room=worse, account=account)
            yield Move(Kind.FAULT, ("breaks", trouble), state)
    cut = tables.pumps.switched_off_and_on(view.pump)
    state = tables.after(view, pump=cut.pump, room=phase_set(view, cut.phase), account=account)
    yield _fault("the pump loses its power", state)
    stalling = tables.pumps.about_to_stall(view.pump)
    yield _fault("an occlusion is ahead", tables.after(view, pump=stalling, account=account))


def _deaths(tables: Tables, view: View, account: Account) -> Iterator[Move]:
    controller, realtime = view.controller, view.realtime
    alive = controller.life in (Life.RUNNING, Life.FROZEN)
    scanning = realtime.life in (Life.RUNNING, Life.FROZEN, Life.STARTING)
    if alive:
        yield _fault("the controller is killed", dead_controller(tables, view, account, view.controller.durable))
    if scanning:
        killed = realtime._replace(life=Life.DEAD, lines=AT_PULLS, orders=())
        quiet = account._replace(quiet=True)
        state = tables.after(view, realtime=killed, account=quiet)
        yield _fault("the real-time process is killed", state)
        if alive:
            both = tables.view(dead_controller(tables, view, quiet, view.controller.durable))
            dead = both.realtime._replace(life=Life.DEAD, lines=AT_PULLS, orders=())
            state = tables.after(both, realtime=dead)
            yield _fault("both processes are killed", state)
            dark = tables.view(state)
            off = tables.pumps.switched_off_and_on(view.pump)
            state = tables.after(dark, pump=off.pump, room=phase_set(dark, off.phase))
            yield _fault("the power is cut", state)


def _fault(words: str, state: State) -> Move:
    return Move(Kind.FAULT, (words,), state)
