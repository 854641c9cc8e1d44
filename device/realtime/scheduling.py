"""Real-time scheduling for this process, as far as the system grants it.

Owns the calls for SCHED_FIFO, locked memory, timer slack and a silent garbage collector, and the sleep to an absolute
deadline. Nothing here is needed for safety: without the rights the process runs on and says what was not granted.
"""

import ctypes
import gc
import os
import time
from pathlib import Path
from typing import Final

ISOLATED: Final = Path("/sys/devices/system/cpu/isolated")
"""The cores that the kernel gives to nobody who does not ask (`isolcpus=`), such as `3` or `2-3`."""

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PR_SET_TIMERSLACK = 29


def become_realtime(*, priority: int, lock_memory: bool) -> tuple[str, ...]:
    """Take what real-time properties are granted; return what was refused, each with the remedy."""
    refused = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        refused.append(f"SCHED_FIFO {priority}: {error.strerror} (give the service CPUSchedulingPolicy=fifo)")
    libc = ctypes.CDLL(None, use_errno=True)
    # For processes outside SCHED_FIFO: the kernel may otherwise delay each sleep by 50 us.
    libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    if lock_memory and libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        refused.append(f"mlockall: {os.strerror(ctypes.get_errno())} (give the service LimitMEMLOCK=infinity)")
    return tuple(refused)


def take_isolated_core(listing: Path = ISOLATED) -> int | None:
    """Move this process to the first core that is kept free of others; return it, None where there is none."""
    try:
        first = listing.read_text().strip().replace("-", ",").split(",")[0]
        core = int(first)
        os.sched_setaffinity(0, {core})
    except (OSError, ValueError):
        # No list, an empty one, or a core that this process may not use: it stays where it is.
        return None
    return core


def silence_garbage_collector() -> None:
    """Collect once, keep what lives now out of later collections, and collect no more: for processes without cycles."""
    gc.collect()
    gc.freeze()
    gc.disable()


def sleep_until(deadline_ns: int, *, spin_ns: int) -> None:
    """Return at `deadline_ns` of CLOCK_MONOTONIC: sleeps, then watches the clock for the last `spin_ns`."""
    rest_ns = deadline_ns - time.monotonic_ns() - spin_ns
    if rest_ns > 0:
        time.sleep(rest_ns / 1e9)
    if spin_ns:
        while time.monotonic_ns() < deadline_ns:
            pass
