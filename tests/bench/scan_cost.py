"""What one pass of the scan loop costs without its sleep: idle, armed and with a step, against its unavoidable parts.

The floors are one `RealtimeLines.read()` and one reading of the clock, taken in the same process after sleeps of the
armed period: caches are as cold as the scan finds them.
"""

from typing import Final

from tests.bench.effort import Effort
from tests.bench.figures import Findings, row
from tests.bench.processes import answer_of
from tests.bench.shipped import profile_of, shipped_configuration

STROKES: Final = 10
DEADLINE_S: Final = 60.0

READ: Final = "RealtimeLines.read()"
CLOCK: Final = "time.monotonic_ns()"


def scan_cost(effort: Effort) -> Findings:
    """Measure `effort.waiting_scans` passes of each waiting kind, and the steps of a few strokes."""
    configuration = shipped_configuration()
    timing = configuration.device.timing
    waiting_s = effort.waiting_scans * (timing.idle_scan_ns + 2 * timing.armed_scan_ns) / 1e9
    strokes_s = STROKES * profile_of(configuration).interval_ns / 1e9
    answer = answer_of(
        ["-m", "tests.bench.realtime_child", "cost", f"--scans={effort.waiting_scans}", f"--strokes={STROKES}"],
        within_s=DEADLINE_S + 2 * (waiting_s + strokes_s),
    )
    samples = answer["samples"]
    rows = [row(f"scan, {kind}", samples[kind], READ, CLOCK) for kind in ("idle", "armed", "stepping")]
    rows += [row(READ, samples["read"]), row(CLOCK, samples["clock"])]
    return Findings(tuple(rows), tuple(f"not granted: {refused}" for refused in answer["refused"]))
