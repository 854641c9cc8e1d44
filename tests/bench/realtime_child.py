"""`python -m tests.bench.realtime_child WHAT`: what must be measured in a process of the real-time process's kind.

Owns that kind (SCHED_FIFO, locked memory, a silent garbage collector, nothing else in the process) and the floors that
share it. Prints one JSON object: samples in ns by name, and what the system refused. Started by the benchmarks only.
"""

import argparse
import json
import sys
import time
from typing import Final

from device.realtime.__main__ import PRIORITY
from device.realtime.scheduling import become_realtime, silence_garbage_collector, sleep_until
from device.settings import Configuration
from tests.bench.scan_rig import DEADLINE_NS, Pass, ScanRig
from tests.bench.shipped import shipped_configuration

Samples = dict[str, list[int]]

LEAD_NS: Final = 1_000_000
"""From the decision to start a bare loop to its first due time."""


def lateness(configuration: Configuration, *, strokes: int) -> Samples:
    """Measure how late the steps of `strokes` strokes are, then a loop without work at the same due times."""
    scan_ns: list[int] = []
    due_ns: list[int] = []

    def note(passed: Pass) -> None:
        if passed.late_ns >= 0:
            scan_ns.append(passed.late_ns)
            due_ns.append(passed.result.step_due_ns)

    with ScanRig(configuration) as rig:
        rig.ready()
        rig.load(strokes=strokes)
        rig.fire(each=note)
    spin_ns = configuration.device.timing.spin_ns
    return {"scan": scan_ns, "bare": _bare_lateness(due_ns, spin_ns=spin_ns)}


def _bare_lateness(due_ns: list[int], *, spin_ns: int) -> list[int]:
    shift_ns = time.monotonic_ns() + LEAD_NS - due_ns[0]
    late_ns = []
    for due in due_ns:
        sleep_until(due + shift_ns, spin_ns=spin_ns)
        late_ns.append(time.monotonic_ns() - due - shift_ns)
    return late_ns


def scan_cost(configuration: Configuration, *, scans: int, strokes: int) -> Samples:
    """Measure a pass of the loop without its sleep, in each of its rhythms, and its floors in the armed one."""
    idle_ns: list[int] = []
    armed_ns: list[int] = []
    stepping_ns: list[int] = []

    def note_step(passed: Pass) -> None:
        if passed.late_ns >= 0:
            stepping_ns.append(passed.cost_ns)

    with ScanRig(configuration) as rig:
        rig.ready()
        timing = configuration.device.timing
        rig.run(
            until=lambda _: len(idle_ns) >= scans,
            each=lambda passed: idle_ns.append(passed.cost_ns),
            within_ns=2 * scans * timing.idle_scan_ns + DEADLINE_NS,
        )
        rig.load(strokes=strokes)
        rig.run(
            until=lambda _: len(armed_ns) >= scans,
            each=lambda passed: armed_ns.append(passed.cost_ns),
            within_ns=2 * scans * timing.armed_scan_ns + DEADLINE_NS,
        )
        clock_ns, read_ns = _floors(rig, scans=scans, period_ns=timing.armed_scan_ns)
        rig.fire(each=note_step)
    return {"idle": idle_ns, "armed": armed_ns, "stepping": stepping_ns, "clock": clock_ns, "read": read_ns}


def _floors(rig: ScanRig, *, scans: int, period_ns: int) -> tuple[list[int], list[int]]:
    """Return what reading the clock and reading the lines take, each after a sleep like the scan's own."""
    clock_ns, read_ns = [], []
    for _ in range(scans):
        sleep_until(time.monotonic_ns() + period_ns, spin_ns=0)
        began_ns = time.monotonic_ns()
        clocked_ns = time.monotonic_ns()
        rig.lines.read()
        ended_ns = time.monotonic_ns()
        clock_ns.append(clocked_ns - began_ns)
        read_ns.append(ended_ns - clocked_ns)
    return clock_ns, read_ns


def main() -> int:
    """Measure what the arguments name and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.realtime_child", description=__doc__)
    parser.add_argument("what", choices=("grants", "lateness", "cost"))
    parser.add_argument("--strokes", type=int, default=1)
    parser.add_argument("--scans", type=int, default=1)
    options = parser.parse_args()
    configuration = shipped_configuration()
    refused = become_realtime(priority=PRIORITY, lock_memory=True)
    silence_garbage_collector()
    samples: Samples = {}
    if options.what == "lateness":
        samples = lateness(configuration, strokes=options.strokes)
    elif options.what == "cost":
        samples = scan_cost(configuration, scans=options.scans, strokes=options.strokes)
    json.dump({"refused": refused, "samples": samples}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
