"""The search: breadth first over every state that can be reached, the shortest path to whatever breaks an invariant.

Owns the visited set (whole states, no digests), the paths, and the question whether every state has a way back to a
console at rest without another fault. Every state is expanded once; `most_states` bounds the run, and a run that met
the bound says so and has proved nothing about ways back.
"""

import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from device.core.console import State as ConsoleState
from tests.exploration.numbering import Table
from tests.exploration.parts import NONE, Kind, Life, State
from tests.exploration.tables import Tables
from tests.exploration.words import words_of
from tests.exploration.world import moves_from

PROGRESS_STATES = 20_000


@dataclass
class Found:
    """What a search came to. `broken` holds what the first broken invariant was, with `path` there, in words."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    complete: bool = False
    broken: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    noted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    by_console: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return the report."""
        found = [
            f"{self.states} states, {self.transitions} transitions, depth {self.depth}, {self.seconds:.1f} s"
            + ("" if self.complete else ", NOT COMPLETE"),
            "transitions: " + ", ".join(f"{count} {name}" for name, count in sorted(self.by_kind.items())),
            "states by console: " + ", ".join(f"{count} {name}" for name, count in self.by_console.most_common()),
        ]
        for note, path in self.noted.items():
            found += [f"noted: {note}, shortest path:", *_numbered(path)]
        if self.broken:
            found += ["BROKEN: " + "; ".join(self.broken), "shortest path:", *_numbered(self.path)]
        return found


def _numbered(path: tuple[str, ...]) -> list[str]:
    return [f"{number:4}  {line}" for number, line in enumerate(path, start=1)]


class Search:
    """One search over the states of `tables`."""

    def __init__(
        self, tables: Tables, *, most_states: int, progress: Callable[[str], None] = lambda line: None
    ) -> None:
        self._tables = tables
        self._most_states = most_states
        self._progress = progress
        self._order: list[State] = []
        self._places: dict[State, int] = {}
        self._parents = array("q")
        self._words: Table[tuple[object, ...]] = Table()
        self._reasons = array("q")
        self._depths = array("l")
        self._from = array("q")
        self._to = array("q")
        self._kinds = [0] * len(Kind)
        self._consoles: Counter[int] = Counter()
        self.found = Found()

    def run(self) -> Found:
        """Search until everything is seen, an invariant breaks, or the bound is met."""
        found, began = self.found, time.process_time()
        self._add(self._tables.first(), -1, -1)
        place = 0
        while place < len(self._order) and not found.broken and len(self._order) < self._most_states:
            self._expand(place)
            place += 1
            if place % PROGRESS_STATES == 0:
                self._progress(
                    f"{place} expanded, {len(self._order)} seen, depth {self._depths[place]}, "
                    f"{time.process_time() - began:.0f} s"
                )
        found.complete = place == len(self._order) and not found.broken
        if found.complete:
            self._judge_ways_back()
        self._count()
        found.seconds = time.process_time() - began
        return found

    def _add(self, state: State, parent: int, reason: int) -> int:
        place = self._places[state] = len(self._order)
        self._order.append(state)
        self._parents.append(parent)
        self._reasons.append(reason)
        self._depths.append(0 if parent < 0 else self._depths[parent] + 1)
        return place

    def _expand(self, place: int) -> None:
        found = self.found
        view = self._tables.view(self._order[place])
        self._consoles[view.controller.console if view.controller.life is Life.RUNNING else NONE] += 1
        for kind, words, state, broken, noted in moves_from(self._tables, view):
            self._kinds[kind] += 1
            if broken:
                found.broken = broken
                found.path = (*self._path(place), words_of(self._tables, words))
                return
            for note in noted:
                if note not in found.noted:
                    found.noted[note] = (*self._path(place), words_of(self._tables, words))
            next_place = self._places.get(state, NONE)
            if next_place == NONE:
                next_place = self._add(state, place, self._words.of(words))
            if kind is not Kind.FAULT and next_place != place:
                self._from.append(place)
                self._to.append(next_place)

    def _count(self) -> None:
        found, tables = self.found, self._tables
        found.states, found.transitions, found.depth = len(self._order), sum(self._kinds), max(self._depths)
        found.by_kind = {kind.name.lower(): self._kinds[kind] for kind in Kind}
        for console, count in self._consoles.items():
            name = "no process" if console == NONE else tables.console(console).state.name.lower()
            found.by_console[name] += count

    def _path(self, place: int) -> list[str]:
        lines = []
        while self._parents[place] >= 0:
            lines.append(words_of(self._tables, self._words[self._reasons[place]]))
            place = self._parents[place]
        return lines[::-1]

    def _judge_ways_back(self) -> None:
        """Fail where no order of the gun's own steps and the operator's acts leads to a console at rest."""
        count = len(self._order)
        begins = array("q", bytes(8 * (count + 1)))
        for target in self._to:
            begins[target + 1] += 1
        for place in range(count):
            begins[place + 1] += begins[place]
        sources = array("q", bytes(8 * len(self._from)))
        filled = array("q", begins)
        for source, target in zip(self._from, self._to, strict=True):
            sources[filled[target]] = source
            filled[target] += 1
        known = bytearray(count)
        waiting = [place for place, state in enumerate(self._order) if self._at_rest(state)]
        for place in waiting:
            known[place] = 1
        while waiting:
            place = waiting.pop()
            for source in sources[begins[place] : begins[place + 1]]:
                if not known[source]:
                    known[source] = 1
                    waiting.append(source)
        lost = known.find(0)
        if lost >= 0:
            self.found.broken = (f"no way back to a console at rest from {known.count(0)} states",)
            self.found.path = tuple(self._path(lost))

    def _at_rest(self, state: State) -> bool:
        view = self._tables.view(state)
        controller, realtime = view.controller, view.realtime
        if controller.life is not Life.RUNNING or controller.effects or controller.queue or controller.urgent >= 0:
            return False
        if realtime.life is not Life.RUNNING or realtime.orders or realtime.reports or controller.background >= 0:
            return False
        if self._tables.intent(controller.durable).magazine >= 0:
            return False
        return self._tables.console(controller.console).state in (ConsoleState.SESSION, ConsoleState.DISARMED)
