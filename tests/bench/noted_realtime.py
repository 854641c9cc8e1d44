"""`python -m tests.bench.noted_realtime --notes PATH ...`: the shipped real-time process, which notes what it measures.

The rest of the arguments are `device.realtime`'s, and so is all that runs: its `main` with its scan, lines and loop.
Only two of its classes are replaced by their subclasses below, which add nothing to a step: the product's own
stopwatch keeps every lateness instead of a shot's percentiles, and an edge of a gate is stamped once it is written.
Writes its notes as one JSON object when the process ends. Started by the benchmarks only.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import device.realtime.__main__ as realtime
from device.core.scan_state import Motion
from device.core.stroke import Scan, ScanSpec
from device.core.stroke_timeline import Action
from device.realtime import process
from drivers.gpio.realtime_lines import RealtimeLines
from tests.bench.processes import MeasurementBroken

_GATE_ACTIONS: Final = (Action.OPEN, Action.AWAIT)


class NotedStopwatch(process.Stopwatch):
    """Keeps how late each step was, by shots; what comes before the first shot (homing) in a list of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shots: list[list[int]] = [[]]

    def started(self, *, by_press: bool, scan_before_ns: int, step_ns: int) -> None:
        """Begin the next shot's list."""
        self.shots.append([])
        super().started(by_press=by_press, scan_before_ns=scan_before_ns, step_ns=step_ns)

    def stepped(self, late_ns: int) -> None:
        """Keep a step's lateness."""
        self.shots[-1].append(late_ns)
        super().stepped(late_ns)


class NotedLines(RealtimeLines):
    """Stamps the newest edge of a gate."""

    gate_written_ns = 0

    def set_gate(self, number: int, open_: bool) -> None:
        """Write the edge, then read the clock."""
        super().set_gate(number, open_)
        self.gate_written_ns = time.monotonic_ns()


class NotedCycle(process.Cycle):
    """Notes how late each gate was opened and closed, against what the timeline had before this scan moved it on."""

    newest: "NotedCycle | None" = None

    def __init__(self, end: process.End, lines: process.Lines, spec: ScanSpec, *, now_ns: Callable[[], int]) -> None:
        super().__init__(end, lines, spec, now_ns=now_ns)
        self.stopwatch = self._stopwatch = NotedStopwatch()
        self.gates: list[int] = []
        NotedCycle.newest = self

    def run(self) -> Scan:
        """Make one cycle, then note the gates that were due in it."""
        before = self.state.motion
        result = super().run()
        after = self.state.motion
        if before is not None and after is not None and after.place != before.place:
            due_ns = gates_due_ns(before, after)
            if due_ns and isinstance(self._lines, NotedLines):
                self.gates += [self._lines.gate_written_ns - due for due in due_ns]
        return result


@dataclass(frozen=True, slots=True)
class Notes:
    """How late the steps and the gates' edges of some strokes were, in ns."""

    steps_ns: list[int]
    gates_ns: list[int]


def read_notes(path: Path, *, strokes: int, steps: int) -> Notes:
    """Return what a process that has ended noted of its first `strokes` strokes of `steps` steps each.

    Raises MeasurementBroken where there are not as many.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MeasurementBroken(f"the real-time process left no notes: {error}") from error
    # The first list is the homing's.
    shots = found["shots"][1 : 1 + strokes]
    if len(shots) < strokes or any(len(shot) != steps for shot in shots):
        raise MeasurementBroken(f"notes of {len(shots)} strokes, expected {strokes} of {steps} steps")
    return Notes([late_ns for shot in shots for late_ns in shot], found["gates"])


def gates_due_ns(before: Motion, after: Motion) -> list[int]:
    """Return when the gate actions were due that one scan has done; none where it took up another timeline."""
    if after.timeline is not before.timeline:
        return []
    done = range(before.place, after.place)
    timeline = before.timeline
    return [before.base_ns + timeline.due_ns[place] for place in done if timeline.actions[place] in _GATE_ACTIONS]


def main() -> int:
    """Run the process to its end and write its notes; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.noted_realtime", description=__doc__)
    parser.add_argument("--notes", type=Path, required=True)
    options, rest = parser.parse_known_args()
    sys.argv = [sys.argv[0], *rest]
    process.Cycle = NotedCycle  # type: ignore[misc]  # the only way in that leaves the loop itself the shipped one
    realtime.RealtimeLines = NotedLines  # type: ignore[attr-defined]
    code = realtime.main()
    cycle = NotedCycle.newest
    if cycle is not None:
        notes: dict[str, Any] = {"shots": cycle.stopwatch.shots, "gates": cycle.gates}
        options.notes.write_text(json.dumps(notes))
    return code


if __name__ == "__main__":
    sys.exit(main())
