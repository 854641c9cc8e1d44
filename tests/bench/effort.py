"""How much is measured: the sample counts of a quick and of a full run, each benchmark's in one place.

Owns nothing else. On a busy machine of two processors a quick run took two minutes, a full one twelve.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """Sample counts of one run; `cyclictest_s` in seconds."""

    strokes: int
    cyclictest_s: int
    presses: int
    timing_rounds: int
    waiting_scans: int
    commits: int
    plans: int
    status_queries: int
    program_loads: int
    starts: int
    shots: int
    dose_shots: int
    simulated_shots: int


QUICK: Final = Effort(
    strokes=10,
    cyclictest_s=2,
    presses=50,
    timing_rounds=1,
    waiting_scans=500,
    commits=200,
    plans=200,
    status_queries=100,
    program_loads=10,
    starts=2,
    shots=20,
    dose_shots=5,
    simulated_shots=20,
)
FULL: Final = Effort(
    strokes=100,
    cyclictest_s=15,
    presses=250,
    timing_rounds=10,
    waiting_scans=4_000,
    commits=1_000,
    plans=2_000,
    status_queries=500,
    program_loads=50,
    starts=5,
    shots=60,
    dose_shots=25,
    simulated_shots=100,
)
