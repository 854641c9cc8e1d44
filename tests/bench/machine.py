"""The machine under the figures: kernel, processors, load, and what it grants a real-time process.

Owns what is read of it; a fact that cannot be read is "unknown", never left out.
"""

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.bench.processes import answer_of
from tests.bench.shipped import CHECKOUT

UNKNOWN: Final = "unknown"
GRANTS_S: Final = 20.0
REVISION_S: Final = 5.0

_MODEL_KEYS: Final = ("model name", "Model", "Hardware")


def facts() -> dict[str, str]:
    """Return what is known of this machine. Raises MeasurementBroken when no child can be started."""
    refused = answer_of(["-m", "tests.bench.realtime_child", "grants"], within_s=GRANTS_S)["refused"]
    return {
        "revision": _revision(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "preemption": _preemption(),
        "processor": _processor(),
        "processors": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load": load(),
        "granted": "SCHED_FIFO and mlockall" if not refused else f"refused: {'; '.join(refused)}",
        "rt throttling": f"{_first_line(Path('/proc/sys/kernel/sched_rt_runtime_us'))} us a period",
        "cyclictest": shutil.which("cyclictest") or "not installed (Debian: rt-tests)",
    }


def load() -> str:
    """Return the load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def _preemption() -> str:
    """Return the kernel's kind of preemption, as its version says."""
    words = [word for word in platform.version().split() if word.startswith("PREEMPT")]
    return " ".join(words) or UNKNOWN


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in _MODEL_KEYS:
                return value.strip()
    return UNKNOWN


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip().partition("\n")[0]
    except OSError:
        return UNKNOWN


def _revision() -> str:
    """Return the checkout's commit, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=REVISION_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN
