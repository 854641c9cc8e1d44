"""The tables of one run: everything that an explored state's numbers stand for, and what is often asked of it.

Owns the first state and how a state is put together and taken apart. Knows no transition.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from device.core.console import Console
from device.core.console import State as ConsoleState
from device.core.effects import Commit, Effect, LoadPump, ProbePump, ReadPosition, TerminatePump
from device.core.events import Command
from device.core.machine import step
from device.core.magazine import Purpose
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import Home, Reset
from device.core.records import MagazineIntent, MagazineSettled
from device.core.stroke import ScanMode, ScanState, scan
from device.core.stroke_timeline import Action
from tests.exploration.gun import Plan, first_console, first_ledger, session_of
from tests.exploration.machines import Machine, Machines, records_of
from tests.exploration.numbering import Table
from tests.exploration.parts import NONE, Account, Controller, Kind, Life, Realtime, Room, State
from tests.exploration.pump import Pumps
from tests.exploration.pump_calls import Driver, PumpCalls
from tests.exploration.scans import AT_PULLS, Moment, Scanner, Scans, written

CLOSED: Final = (False, False)
AT_HOME: Final = 0b0000100
"""The inputs of a gun at rest, in the order of `Inputs`: only the home switch is closed."""


class ConsoleFacts(NamedTuple):
    """What is asked of a console."""

    state: ConsoleState
    latched: bool
    armed: bool
    homed: bool
    initialised: bool
    answering: bool
    """A command waits for its answer."""
    paused: bool


class ScanFacts(NamedTuple):
    """What is asked of a scan state."""

    mode: ScanMode
    faulty: bool
    magazine: int
    injects: bool
    awaited: bool | None
    """The level of the phase line that a waiting needle waits for; None: it does not wait."""


class IntentFacts(NamedTuple):
    """What is asked of a durable ledger: its open intent (magazine -1 when there is none) and its latched faults."""

    magazine: int
    lowest: int
    authorised: int
    primes: bool
    latched: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is tried in one run.

    `restless`: the trigger is pressed and released also where, after a fault, no shot is loaded or on its way.
    """

    shots: int
    faults: int
    presses: int
    commands: int
    acts: int
    restless: bool = False


class View(NamedTuple):
    """A state taken apart."""

    state: State
    controller: Controller
    realtime: Realtime
    pump: int
    room: Room
    account: Account


class Move(NamedTuple):
    """One transition: who makes it, its words' parts, where it leads, and which invariants it broke.

    `noted` is what breaks nothing and yet ought to be looked at.
    """

    kind: Kind
    words: tuple[Any, ...]
    state: State
    broken: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()


class Tables:
    """All tables of a run of `plan` within `budget`. `machine` and `scanner` are replaced only to see a search fail."""

    def __init__(
        self, plan: Plan, budget: Budget, *, fine: bool = False, machine: Machine = step, scanner: Scanner = scan
    ) -> None:
        self.plan = plan
        self.budget = budget
        self.session = session_of(plan, budget.shots)
        self.depth = self.session.plan.stroke.depth
        console = first_console(first_ledger(budget.shots), self.session)
        self.messages: Table[Any] = Table()
        self.machines = Machines(self.messages, self.session, console, machine)
        self.scans = Scans(self.messages, scanner)
        self.pumps = Pumps(fine=fine)
        self.calls = PumpCalls(self.pumps, console)
        self.controllers: Table[Controller] = Table()
        self.realtimes: Table[Realtime] = Table()
        self.rooms: Table[Room] = Table()
        self.accounts: Table[Account] = Table()
        self._consoles: list[ConsoleFacts] = []
        self._scans: list[ScanFacts] = []
        self._intents: list[IntentFacts] = []

    def first(self) -> State:
        """Return the gun in its open session: tested, homed, filled, connected, nothing pressed."""
        called = self.calls.call(self.pumps.first(), ProbePump(), Driver(False, False), CLOSED)
        scan, lines = self.scans.first, AT_PULLS
        for order in (Reset(), Home()):
            result = self.scans.scan(scan, AT_HOME, self.messages.of(order), Moment.AT_ONCE, permit=True, linked=True)
            scan, lines = result.scan, written(lines, result.outputs).lines
        controller = Controller(
            life=Life.RUNNING,
            console=self.machines.first,
            durable=self.machines.first_durable,
            unwritten=self.machines.nothing_unwritten,
            queue=(),
            urgent=NONE,
            effects=(),
            background=NONE,
            driver=called.driver,
        )
        realtime = Realtime(Life.RUNNING, scan, lines, (), (), linked=True, permit=True, seen=NONE)
        room = Room(needle=0, trigger=False, stop=False, touching=True, phase=False, troubles=0)
        budget = self.budget
        account = Account(
            faults=budget.faults,
            presses=budget.presses,
            commands=budget.commands,
            acts=budget.acts,
            disturbed=False,
            given=0,
            drawn=0,
            loaded=NONE,
            allowed=False,
            press_shots=0,
            quiet=False,
        )
        return State(
            self.controllers.of(controller),
            self.realtimes.of(realtime),
            called.pump,
            self.rooms.of(room),
            self.accounts.of(account),
        )

    def view(self, state: State) -> View:
        """Take a state apart."""
        return View(
            state,
            self.controllers[state.controller],
            self.realtimes[state.realtime],
            state.pump,
            self.rooms[state.room],
            self.accounts[state.account],
        )

    def after(
        self,
        view: View,
        *,
        controller: Controller | None = None,
        realtime: Realtime | None = None,
        pump: int | None = None,
        room: Room | None = None,
        account: Account | None = None,
    ) -> State:
        """Put the state together that differs from `view` in the given parts."""
        state = view.state
        return State(
            state.controller if controller is None else self.controllers.of(controller),
            state.realtime if realtime is None else self.realtimes.of(realtime),
            state.pump if pump is None else pump,
            state.room if room is None else self.rooms.of(room),
            state.account if account is None else self.accounts.of(account),
        )

    def is_command(self, event: int) -> bool:
        """Whether a message is an operator's command."""
        return isinstance(self.messages[event], Command)

    def is_quiet_commit(self, effect: int) -> bool:
        """Whether an effect writes records that open and close no intent."""
        records = records_of(self.machines.effects[effect])
        return bool(records) and not any(isinstance(record, MagazineIntent | MagazineSettled) for record in records)

    def waits(self, effect: int) -> bool:
        """Whether the controller's loop waits in an effect, so that its other tasks run."""
        return isinstance(self.machines.effects[effect], Commit | LoadPump | ProbePump | ReadPosition | TerminatePump)

    def effect(self, number: int) -> Effect:
        return self.machines.effects[number]

    def console(self, number: int) -> ConsoleFacts:
        """Return what is asked of a console."""
        while len(self._consoles) <= number:
            self._consoles.append(_console_facts(self.machines.consoles[len(self._consoles)]))
        return self._consoles[number]

    def scan(self, number: int) -> ScanFacts:
        """Return what is asked of a scan state."""
        while len(self._scans) <= number:
            state = self.scans[len(self._scans)]
            loaded = state.loaded.magazine if state.loaded is not None else None
            self._scans.append(
                ScanFacts(
                    mode=state.mode,
                    faulty=state.fault is not None,
                    magazine=loaded.magazine_id if loaded is not None else NONE,
                    injects=loaded is not None and loaded.purpose is Purpose.INJECT,
                    awaited=_awaited(state),
                )
            )
        return self._scans[number]

    def intent(self, durable: int) -> IntentFacts:
        """Return what is asked of a durable ledger."""
        while len(self._intents) <= durable:
            ledger = self.machines.ledgers[len(self._intents)]
            self._intents.append(intent_facts(ledger.open_intent, latched=bool(ledger.faults)))
        return self._intents[durable]

    @property
    def most_shots_of_a_press(self) -> int:
        """How many shots one press may give; the whole session where only the release ends them."""
        profile = self.plan.profile
        by_mode = {Mode.SINGLE: 1, Mode.BURST: profile.burst_shots}
        return by_mode.get(profile.mode, self.budget.shots)

    @property
    def bound_to_trigger(self) -> bool:
        """Whether no shot may begin with the trigger released."""
        profile = self.plan.profile
        return profile.mode is Mode.CONTINUOUS or profile.trigger is TriggerStyle.HOLD


def _awaited(state: ScanState) -> bool | None:
    if state.loaded is None or state.motion is None or state.motion.action is not Action.AWAIT:
        return None
    return state.loaded.opened % 2 == 1


def _console_facts(console: Console) -> ConsoleFacts:
    return ConsoleFacts(
        state=console.state,
        latched=bool(console.ledger.faults),
        armed=console.armed,
        homed=console.homed,
        initialised=console.initialised,
        answering=console.pending is not None,
        paused=console.ledger.session is not None and console.ledger.session.paused,
    )


def intent_facts(intent: MagazineIntent | None, *, latched: bool) -> IntentFacts:
    """Return what is asked of an open intent."""
    if intent is None:
        return IntentFacts(NONE, 0, 0, primes=False, latched=latched)
    return IntentFacts(
        magazine=intent.magazine_id,
        lowest=min(intent.targets),
        authorised=intent.low_water - min(intent.targets),
        primes=intent.purpose_of is Purpose.PRIME,
        latched=latched,
    )
