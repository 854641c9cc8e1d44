"""How late the steps of a stroke are: the scan loop, a loop without work at the same due times, and cyclictest.

The first two run in one process of the real-time process's kind, one after the other. cyclictest (Debian's rt-tests)
is what the kernel gives a C program that only sleeps; it is asked for the loop's armed period.
"""

import re
import shutil
import subprocess
from typing import Final

from tests.bench.effort import Effort
from tests.bench.figures import Findings, row
from tests.bench.processes import MeasurementBroken, answer_of, last_line
from tests.bench.shipped import profile_of, shipped_configuration

START_S: Final = 20.0
HISTOGRAM_US: Final = 20_000
"""cyclictest counts lateness up to this in whole microseconds."""

_BUCKET: Final = re.compile(r"^(\d+)\s+(\d+)$", re.MULTILINE)
_OVERFLOWS: Final = re.compile(r"^# Histogram Overflows: *(\d+)", re.MULTILINE)
_MOST: Final = re.compile(r"^# Max Latencies: *(\d+)", re.MULTILINE)


def step_lateness(effort: Effort) -> Findings:
    """Measure `effort.strokes` strokes. Raises MeasurementBroken."""
    configuration = shipped_configuration()
    interval_s = profile_of(configuration).interval_ns / 1e9
    answer = answer_of(
        ["-m", "tests.bench.realtime_child", "lateness", f"--strokes={effort.strokes}"],
        within_s=START_S + 4 * effort.strokes * interval_s,
    )
    samples = answer["samples"]
    rows = [
        row("scan loop", samples["scan"], "bare loop"),
        row("bare loop", samples["bare"]),
    ]
    notes = [f"not granted: {refused}" for refused in answer["refused"]]
    period_us = configuration.device.timing.armed_scan_ns // 1000
    slept_ns = cyclictest_ns(effort.cyclictest_s, period_us=period_us)
    if isinstance(slept_ns, str):
        notes.append(slept_ns)
    else:
        rows = [row("scan loop", samples["scan"], "bare loop", "cyclictest"), rows[1], row("cyclictest", slept_ns)]
    return Findings(tuple(rows), tuple(notes))


def cyclictest_ns(seconds: int, *, period_us: int) -> list[int] | str:
    """Return every lateness that cyclictest measured, to the microsecond; or why it did not.

    Raises MeasurementBroken when it does not end.
    """
    program = shutil.which("cyclictest")
    if program is None:
        return "cyclictest: not installed (Debian: rt-tests)"
    command = [program, "-q", "-m", "-p50", "-t1", f"-i{period_us}", f"-D{seconds}", f"-h{HISTOGRAM_US}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds + START_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise MeasurementBroken(f"cyclictest: not done within {error.timeout:g} s") from error
    late_ns = histogram_ns(done.stdout.decode(errors="replace"))
    if done.returncode != 0 or not late_ns:
        return f"cyclictest: did not run here ({last_line(done.stderr or done.stdout)})"
    return late_ns


def histogram_ns(text: str) -> list[int]:
    """Return the samples of cyclictest's histogram; what overflowed it is taken for the worst of it."""
    late_ns = [int(late_us) * 1000 for late_us, count in _BUCKET.findall(text) for _ in range(int(count))]
    overflows, most = _OVERFLOWS.search(text), _MOST.search(text)
    if overflows is not None and most is not None:
        late_ns += [int(most[1]) * 1000] * int(overflows[1])
    return late_ns
