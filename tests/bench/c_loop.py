"""The minimal loop in C (`edges.c`): the same edges at the same due times with nothing around them, and presses.

Owns its compiling, into a directory of the run's own, and what it is told of the simulated console's memory. It is a
floor: it has no safety, and nothing but the benchmarks ever runs it.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.core.stroke_timeline import Action, Timeline
from device.settings import Configuration
from drivers.ports import LineMap
from drivers.sim.world import Field, World
from drivers.sim.world_table import BYTES, CHANGED_NS, EDGES, LEVEL
from tests.bench.processes import MeasurementBroken, child, last_line, wait_for_line

SOURCE: Final = Path(__file__).with_name("edges.c")
COMPILE_S: Final = 60.0
START_S: Final = 20.0
STEP: Final = -1
"""The line of an action that is a step."""


@dataclass(frozen=True, slots=True)
class CommandedEdge:
    """One thing to write: a level of a line, or with line `STEP` a step in that direction."""

    due_ns: int
    line: int
    level: int


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late each step and each edge of a gate was written, in ns."""

    steps: list[int]
    gates: list[int]


def compiled(directory: Path) -> Path | str:
    """Return the program, made in `directory`; a text that says why where there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return "no compiler here (Debian: gcc, libc6-dev)"
    program = directory / "edges"
    command = [compiler, "-O2", "-o", str(program), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, timeout=COMPILE_S, check=False)
    return program if done.returncode == 0 else f"not compiled: {last_line(done.stderr)}"


def edges_of(timeline: Timeline, lines: LineMap, *, shots: int, interval_ns: int) -> list[CommandedEdge]:
    """Return what `shots` shots of this timeline write, one every `interval_ns`, from the first one's start."""
    edges: list[CommandedEdge] = []
    gates = (lines.gate_1, lines.gate_2)
    opened = 0
    for shot in range(shots):
        for due_ns, action in zip(timeline.due_ns, timeline.actions, strict=True):
            at_ns = shot * interval_ns + due_ns
            if action in (Action.STEP_IN, Action.STEP_OUT):
                edges.append(CommandedEdge(at_ns, STEP, int(action is Action.STEP_IN)))
            elif action is Action.OPEN:
                # Gates are low when open, and taken in turns.
                edges.append(CommandedEdge(at_ns, gates[opened % 2], 0))
                opened += 1
            elif action is Action.AWAIT:
                edges.append(CommandedEdge(at_ns, gates[(opened - 1) % 2], 1))
    return edges


def strokes(program: Path, world: Path, configuration: Configuration, edges: Sequence[CommandedEdge]) -> Lateness:
    """Let the program write `edges`. Raises MeasurementBroken where it does not, or was not made real-time."""
    command = [
        *_command(program, world, configuration.lines),
        "strokes",
        str(configuration.device.axis.shortest_step_ns),
    ]
    text = "".join(f"{edge.due_ns} {edge.line} {edge.level}\n" for edge in edges)
    within_s = START_S + 2 * edges[-1].due_ns / 1e9
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise MeasurementBroken(f"C loop: not done within {within_s:g} s") from error
    late_ns = [int(line) for line in done.stdout.split()]
    if done.returncode != 0 or len(late_ns) != len(edges):
        raise MeasurementBroken(f"C loop: code {done.returncode}, {last_line(done.stderr)}")
    pairs = list(zip(edges, late_ns, strict=True))
    return Lateness(
        [late for edge, late in pairs if edge.line == STEP], [late for edge, late in pairs if edge.line != STEP]
    )


@contextmanager
def answering_presses(program: Path, world: Path, configuration: Configuration, *, log: Path) -> Iterator[None]:
    """Let the program answer each press with one step in, each release with one step out, for the block."""
    command = [*_command(program, world, configuration.lines), "presses"]
    command += [str(configuration.device.timing.armed_scan_ns)]
    command += [str(configuration.lines.trigger_a), str(configuration.lines.trigger_b)]
    with child(command, log=log, output=True) as process:
        wait_for_line(process.stdout, "ready")
        yield


def ready_world(world: World) -> None:
    """Bring a world's motor and gates to where a program that only writes steps and gates finds them."""
    now_ns = time.monotonic_ns()
    for line in (world.lines.enable, world.lines.direction):
        world.drive(line, level=False, pid=0, now_ns=now_ns)


def _command(program: Path, world: Path, lines: LineMap) -> list[str]:
    places = (BYTES, LEVEL, CHANGED_NS, EDGES, Field.NEEDLE_STEPS, Field.NEEDLE_CHANGED_NS, lines.step, lines.direction)
    return [str(program), str(world), *(str(int(place)) for place in places)]
