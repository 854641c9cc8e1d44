"""`python -m tests.bench [--quick] [--json] [--write DIR] [NAME...]`: measure; print each figure beside its floor.

Owns the list of benchmarks, their order, the deadline of each and the exit code: 0 when everything could be measured,
whatever the figures; 1 when something could not; 130 after Ctrl-C. Children end with their benchmark, also then.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from device.controller.journal import JournalWriteError
from device.core.shot_plan import PlanRefused
from device.journal_file import JournalUnavailableError
from device.service.control_client import CommandRefused, ControllerAbsent
from device.service.sim_console import SimConsoleError
from device.settings import ConfigurationError
from drivers.ports import DriverError
from drivers.sim.world import WorldError
from tests.bench import table
from tests.bench.dose_truth import dose_truth
from tests.bench.effort import FULL, QUICK, Effort
from tests.bench.figures import Findings
from tests.bench.footprint import footprint
from tests.bench.journal_commit import journal_commit
from tests.bench.machine import facts, load
from tests.bench.planning import planning
from tests.bench.processes import MeasurementBroken
from tests.bench.pump_line import pump_line
from tests.bench.scan_cost import scan_cost
from tests.bench.shot_rate import shot_rate
from tests.bench.simulation_rate import simulation_rate
from tests.bench.step_lateness import step_lateness
from tests.bench.timing import timing
from tests.bench.trigger_latency import trigger_latency

BENCHMARKS: Final[dict[str, Callable[[Effort], Findings]]] = {
    "timing": timing,
    "step-lateness": step_lateness,
    "trigger-latency": trigger_latency,
    "scan-cost": scan_cost,
    "journal-commit": journal_commit,
    "planning": planning,
    "pump-line": pump_line,
    "dose-truth": dose_truth,
    "simulation-rate": simulation_rate,
    "footprint": footprint,
    "shot-rate": shot_rate,
}

BENCHMARK_S: Final = 900
"""Deadline of one benchmark, whatever it waits for: twice the longest full one (`timing`)."""

BROKEN: Final = 1
INTERRUPTED: Final = 130

EXPECTED: Final = (
    CommandRefused,
    ConfigurationError,
    ControllerAbsent,
    DriverError,
    JournalUnavailableError,
    JournalWriteError,
    MeasurementBroken,
    OSError,
    PlanRefused,
    SimConsoleError,
    WorldError,
)


def main() -> int:
    """Measure what the arguments name; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Timings as ratios to measured floors.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write the whole as one table into DIR, too")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        effort = QUICK if options.quick else FULL
        return _measure(options.names or list(BENCHMARKS), effort, as_json=options.json, directory=options.write)
    except KeyboardInterrupt:
        _progress("interrupted")
        return INTERRUPTED


def _measure(names: list[str], effort: Effort, *, as_json: bool, directory: Path | None) -> int:
    machine = facts()
    if not as_json:
        _say(["machine", *(f"  {name:14}{value}" for name, value in machine.items())])
    results: dict[str, Findings | str] = {}
    code = 0
    for name in names:
        _progress(f"measuring {name} ...")
        try:
            with _deadline(BENCHMARK_S):
                findings = BENCHMARKS[name](effort)
        except EXPECTED as error:
            code = BROKEN
            results[name] = str(error)
            lines = [f"  broken: {error}"]
        else:
            results[name] = findings
            lines = findings.as_text()
        if not as_json:
            _say(["", name, *lines])
    machine["load at the end"] = load()
    if as_json:
        _say([json.dumps(table.as_json(machine, results))])
    else:
        _say(["", f"load at the end: {machine['load at the end']}"])
    if directory is not None:
        table.write(directory, machine, results)
        _progress(f"written: {directory / table.MARKDOWN} and {directory / table.JSON}")
    return code


@contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    """Break the block off after `seconds`, wherever it waits, by MeasurementBroken."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise MeasurementBroken(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as after Ctrl-C, so that every child is ended first."""
    raise KeyboardInterrupt


def _say(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
