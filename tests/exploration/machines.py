"""The controller of an explored state: the shipped machine and the shipped loop's commit, each asked once.

Owns the tables of consoles, ledgers and records. Answers and sounds change nothing in the gun and are left out of the
effects; every other effect is one step, so that a process can die between any two.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any, Final, NamedTuple

from device.controller.journal import JournalWriteError
from device.controller.loop import ControllerLoop
from device.core.console import NO_PRESSES, Console
from device.core.effects import (
    Commit,
    Effect,
    Reply,
    SilenceAlarm,
    SoundAlarm,
    SoundDone,
    SoundRefusal,
    SoundRegion,
)
from device.core.events import Event, FaultOccurred
from device.core.ledger import Ledger, apply
from device.core.records import Record
from device.core.session import Session
from tests.exploration.gun import SPEC, restarted_console
from tests.exploration.numbering import Numbers, Table

_SEEN_BY_PEOPLE: Final = (Reply, SilenceAlarm, SoundAlarm, SoundDone, SoundRefusal, SoundRegion)


Machine = Callable[[Console, Event], tuple[Console, tuple[Effect, ...]]]
"""What `device.core.machine.step` is."""


class Stepped(NamedTuple):
    """What an event made of a console: its number, and the effects' numbers in order."""

    console: int
    effects: tuple[int, ...]


class Committed(NamedTuple):
    """What a commit came to: the records that are durable now, those still unwritten, the failure's number or -1."""

    durable: int
    written: tuple[Record, ...]
    unwritten: int
    failure: int


class Machines:
    """The controller's tables. `messages` holds events, orders and reports; `machine` is the shipped step."""

    def __init__(self, messages: Table[Any], session: Session, first: Console, machine: Machine) -> None:
        self._messages = messages
        self._machine = machine
        self._session = session
        constants = (SPEC, session, session.plan, session.profile)
        self.consoles: Numbers[Console] = Numbers(*constants)
        self.ledgers: Numbers[Ledger] = Numbers()
        self.effects: Numbers[Effect] = Numbers()
        self.unwritten: Numbers[tuple[Record, ...]] = Numbers()
        self._steps: dict[tuple[int, int], Stepped] = {}
        self._commits: dict[tuple[int, int, int, bool], Committed] = {}
        self.first = self.consoles.of(first)
        self.first_durable = self.ledgers.of(first.ledger)
        self.nothing_unwritten = self.unwritten.of(())
        self._disk = _Disk()
        self._loop = ControllerLoop(
            first,
            pump=self._disk,  # type: ignore[arg-type]  # a commit asks nothing of the pump
            realtime=self._disk,
            journal=self._disk,
            indicators=self._disk,  # type: ignore[arg-type]  # nor of the lights
            answered=self._disk.ignored,
            changed=self._disk.ignored,
            wall_clock_ms=lambda: 0,
        )

    def step(self, console: int, event: int) -> Stepped:
        """Give an event to the machine."""
        key = (console, event)
        found = self._steps.get(key)
        if found is None:
            after, effects = self._machine(self.consoles[console], self._messages[event])
            # How often a press was refused decides nothing, and would tell apart what is alike.
            after = replace(after, presses=NO_PRESSES)
            wanted = (effect for effect in effects if not isinstance(effect, _SEEN_BY_PEOPLE))
            found = self._steps[key] = Stepped(
                self.consoles.of(after), tuple(self.effects.of(effect) for effect in wanted)
            )
        return found

    def restarted(self, durable: int) -> int:
        """Return the console of a controller that starts on this journal."""
        return self.consoles.of(restarted_console(self.ledgers[durable], self._session))

    def commit(self, durable: int, unwritten: int, effect: int, *, full: bool) -> Committed:
        """Have the shipped loop carry out what writes, a Commit, a Note, the end; `full`: the disk takes nothing."""
        key = (durable, unwritten, effect, full)
        found = self._commits.get(key)
        if found is None:
            found = self._commits[key] = self._commit(*key)
        return found

    def _commit(self, durable: int, unwritten: int, effect: int, full: bool) -> Committed:
        self._disk.full = full
        self._disk.written = ()
        self._loop._unwritten = self.unwritten[unwritten]
        failure = _result_of(self._loop._attempt(self.effects[effect]))
        written: tuple[Record, ...] = self._disk.written
        return Committed(
            durable=self.ledgers.of(reduce(apply, written, self.ledgers[durable])),
            written=written,
            unwritten=self.unwritten.of(self._loop._unwritten),
            failure=-1 if failure is None else self._messages.of(replace(failure, detail="")),
        )


def records_of(effect: Effect) -> tuple[Record, ...]:
    """Return what a Commit would write; nothing for other effects."""
    return effect.records if isinstance(effect, Commit) else ()


def _result_of(coroutine: Any) -> FaultOccurred | None:
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: FaultOccurred | None = ended.value
        return result
    raise RuntimeError("the effect waits for something")


class _Disk:
    """The journal's file: takes what it is given, or is full."""

    def __init__(self) -> None:
        self.full = False
        self.written: tuple[Record, ...] = ()

    async def append(self, records: Any) -> None:
        if self.full:
            raise JournalWriteError("the disk is full")
        self.written = tuple(records)

    def send(self, order: object) -> None:
        raise RuntimeError("a commit sends no order")

    def ignored(self, *_: object) -> None: ...
