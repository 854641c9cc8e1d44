"""Random moments of a stroke, and what came of the signal that was given at each.

Owns the choice of the moments from a seed, what the kernel's edges say of a moment, and the report of a sweep. Gives
no signal and judges no console.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Final

from drivers.ports import LineMap
from tests.vm.rig.wires import Edge

KINDS: Final = tuple((process, signal) for process in ("realtime", "controller") for signal in ("SIGKILL", "SIGSTOP"))
"""Every process with every signal; the gateway has no part in a stroke."""


@dataclass(frozen=True, slots=True)
class Blow:
    """A signal for a process, `delay_ns` after the first step of a stroke."""

    process: str
    signal: str
    delay_ns: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the needle was at a moment, its way, which gate was open (0: none), and the phase that this is."""

    step: int
    inward: bool
    gate: int
    phase: str


@dataclass(slots=True)
class Outcome:
    """What came of one blow. `wrong` is empty where everything held."""

    blow: Blow
    place: str = ""
    faults: str = ""
    certain: bool = True
    given: int = 0
    booked: int = 0
    back_s: float = 0.0
    """From the signal until the product answered again, by the guest's clock."""
    host_s: float = 0.0
    late: bool = False
    """The stroke had been ended before the signal, because the host was late."""
    wrong: str = ""


def choose(seed: int, *, moments: int, length_ns: int) -> list[Blow]:
    """Return `moments` blows of each kind in rounds of one each; those of a kind lie in equal slices of the stroke."""
    random = Random(seed)
    slices = {kind: random.sample(range(moments), moments) for kind in KINDS}
    blows = []
    for turn in range(moments):
        for process, signal in random.sample(KINDS, len(KINDS)):
            part = slices[process, signal][turn]
            delay_ns = (part * length_ns + random.randrange(length_ns)) // moments
            blows.append(Blow(process, signal, delay_ns))
    return blows


def place_at(edges: Iterable[Edge], lines: LineMap, at_ns: int, *, depth: int) -> Place:
    """Return where a stroke of `depth` steps was at `at_ns`, from its edges; the needle stood at home before them."""
    step, inward, opened, deepest = 0, True, 0, 0
    for edge in edges:
        if edge.at_ns > at_ns:
            break
        if edge.line == lines.direction:
            inward = edge.level
        elif edge.line == lines.step and edge.level:
            step += 1 if inward else -1
            deepest = max(deepest, step)
        elif edge.line in (lines.gate_1, lines.gate_2):
            number = 1 if edge.line == lines.gate_1 else 2
            opened = 0 if edge.level else number
    if step == depth:
        phase = "dwell"
    elif step > 0:
        phase = "exit" if deepest == depth else "entry"
    else:
        phase = "suck-back" if opened else "home"
    return Place(step, inward, opened, phase)


def described(place: Place) -> str:
    """Return a place in words."""
    gate = f"gate {place.gate} open" if place.gate else "gates closed"
    return f"{place.phase}, step {place.step}, {gate}"


class Report:
    """A sweep's outcomes, written to `path` after every one of them: a sweep that is ended early has its result."""

    def __init__(self, path: Path, *, seed: int, moments: int, length_ns: int) -> None:
        self._path = path
        self._head = {"seed": seed, "moments_of_each": moments, "stroke_ns": length_ns}
        self._started_s = time.monotonic()
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Take an outcome down."""
        self.outcomes.append(outcome)
        seconds = round(time.monotonic() - self._started_s, 1)
        whole = {**self._head, "host_s": seconds, "table": self.table(), "outcomes": [*map(asdict, self.outcomes)]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(whole, indent=1) + "\n")

    def struck(self) -> list[Outcome]:
        """Return the outcomes of the signals that met the stroke they were meant for."""
        return [outcome for outcome in self.outcomes if not outcome.late]

    def failed(self) -> list[Outcome]:
        """Return the blows that something was wrong after."""
        return [outcome for outcome in self.outcomes if outcome.wrong]

    def table(self) -> list[str]:
        """Return one row of Markdown for each kind of blow: fault, moments, survived, seconds."""
        return [self._row(f"`{signal}` of the {process} process", process, signal) for process, signal in KINDS]

    def _row(self, title: str, process: str, signal: str) -> str:
        mine = [each for each in self.struck() if (each.blow.process, each.blow.signal) == (process, signal)]
        phases = Counter(each.place.partition(",")[0] for each in mine)
        where = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
        survived = sum(not each.wrong for each in mine)
        return f"| {title} | {where} | {survived} of {len(mine)} | {_spread([each.back_s for each in mine])} |"


def _spread(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.1f} to {max(seconds):.1f} s" if seconds else "-"
