"""Gives a process a signal at an exact moment of a stroke: so many nanoseconds after the first step edge that comes.

`signal_at.py PID SIGNAL LINE DELAY_NS RESULT` returns as soon as it watches the line, and goes on in the background
before everything else in the guest: no edge of the product lies between the moment and the signal. RESULT, a JSON
file, appears once the signal was given. Sees the edges in a trace buffer of its own, so that the wires' keeps all.
"""

import json
import os
import re
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final

TRACING: Final = Path("/sys/kernel/tracing/instances/signal_at")
LABEL: Final = "pinctrl-bcm2711"
PRIORITY: Final = 62
"""Above the wires and above the kernel's thread that wakes a trace's reader."""

EDGE_MS: Final = 600_000
"""Bound of the waiting for the stroke, in the guest's time."""

EDGE: Final = re.compile(rb" (\d+)\.(\d{6}): gpio_value: \d+ set 1")


def chip_base() -> int:
    """Return the kernel's number of the board's line 0."""
    for chip in Path("/sys/class/gpio").glob("gpiochip*"):
        if (chip / "label").read_text().strip() == LABEL:
            return int((chip / "base").read_text())
    raise SystemExit(f"no chip {LABEL}")


def watch(line: int) -> int:
    """Begin to trace the rising edges of `line`; return the descriptor that they come from."""
    TRACING.mkdir(exist_ok=True)
    (TRACING / "tracing_on").write_text("0")
    (TRACING / "trace").write_text("")
    (TRACING / "trace_clock").write_text("mono")
    (TRACING / "buffer_size_kb").write_text("64")
    (TRACING / "events/gpio/gpio_value/filter").write_text(f"get == 0 && gpio == {chip_base() + line} && value == 1")
    (TRACING / "events/gpio/gpio_value/enable").write_text("1")
    pipe = os.open(TRACING / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    (TRACING / "tracing_on").write_text("1")
    return pipe


def first_edge_ns(pipe: int) -> int:
    """Wait for the first edge and return its time, by CLOCK_MONOTONIC."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    deadline_ns = time.monotonic_ns() + EDGE_MS * 1_000_000
    seen = b""
    while time.monotonic_ns() < deadline_ns:
        if waiting.poll(1000):
            seen += os.read(pipe, 4096)
        edge = EDGE.search(seen)
        if edge is not None:
            return int(edge[1]) * 1_000_000_000 + int(edge[2]) * 1000
    raise SystemExit("no edge came")


def strike(pipe: int, pid: int, number: int, delay_ns: int, result: Path) -> None:
    """Wait for the moment, give the signal, and write down when both were."""
    edge_ns = first_edge_ns(pipe)
    while (remaining_ns := edge_ns + delay_ns - time.monotonic_ns()) > 0:  # ends with the moment
        time.sleep(remaining_ns / 1e9)
    struck_ns = time.monotonic_ns()
    os.kill(pid, number)
    # From here on the product goes before this program again.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    (TRACING / "tracing_on").write_text("0")
    (TRACING / "events/gpio/gpio_value/enable").write_text("0")
    temporary = result.with_suffix(".new")
    temporary.write_text(json.dumps({"edge_ns": edge_ns, "struck_ns": struck_ns}))
    temporary.replace(result)


def main() -> None:
    """Watch, let the caller go on, strike."""
    pid, name, line, delay_ns, path = sys.argv[1:]
    result = Path(path)
    result.unlink(missing_ok=True)
    number = signal.Signals[name].value
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    pipe = watch(int(line))
    if os.fork():
        return
    os.setsid()
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    strike(pipe, int(pid), number, int(delay_ns), result)


if __name__ == "__main__":
    main()
