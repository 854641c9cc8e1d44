"""What step rate this process keeps on this machine: tried at its start, with the needle at rest.

Owns only the measurement. The shipped cycle is run at the pace of the axis' fastest steps; it drives no line, so a
step's pulse is not in the figure. A trial never paces a needle: it ends with the first cycle that began a motion.
"""

from collections.abc import Callable
from typing import Final

from device.core.units import NS_PER_S

CYCLES: Final = 250
"""Enough for a 99th percentile; at 4 kHz a sixteenth of a second."""

PERIOD_NS_MOST: Final = 1_000_000
"""A slow axis is tried at this pace, so that the trial ends in a quarter of a second."""


def steps_kept(
    cycle: Callable[[], bool],
    *,
    period_ns: int,
    now_ns: Callable[[], int],
    sleep_until: Callable[[int], object],
) -> int:
    """Run `cycle` every `period_ns`, at most `PERIOD_NS_MOST`; return how many a second are done in time, 99 of 100.

    A cycle's time is from when it was due to when it was done, the lateness of its waking with it: the most steps a
    second that would fit behind each other if all took the 99th percentile of that. `cycle` returns whether the needle
    is at rest behind it; where it is not the trial is over at once, and 0 is returned.
    """
    period_ns = min(period_ns, PERIOD_NS_MOST)
    due_ns = now_ns()
    took_ns: list[int] = []
    for _ in range(CYCLES):
        due_ns += period_ns
        sleep_until(due_ns)
        if not cycle():
            return 0
        done_ns = now_ns()
        took_ns.append(done_ns - due_ns)
        # What came too late does not make the next one late.
        due_ns = max(due_ns, done_ns - period_ns)
    took_ns.sort()
    return NS_PER_S // max(1, took_ns[CYCLES * 99 // 100])
