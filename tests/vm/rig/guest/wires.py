"""The wires between the guest's lines and the world outside: what a program drives goes out, the world's pulls come in.

Out: every edge that the kernel's `gpio:gpio_value` trace saw, with the kernel's time (`e NS LINE LEVEL`), and each
level that a line fell to when the program that drove it died, which leaves no trace (`r NS LINE LEVEL`). In: the level
to which the world pulls a line (`LINE LEVEL`). Knows no needle, pump or switch, and decides nothing.

The world is a process of the host, and much slower than a switch. So this program, which nothing in the guest goes
before, keeps the guest's one processor until the world has answered what went out (`s`, `ack`): a line that follows an
edge has followed it before the product looks again.
"""

import contextlib
import os
import re
import select
import time
from pathlib import Path
from typing import Final

PORT: Final = "mesogun.wires"
LABEL: Final = "pinctrl-bcm2711"
LINES: Final = 28
TRACING: Final = Path("/sys/kernel/tracing")
LOOK_MS: Final = 10
"""After so long without an edge the lines' levels are looked at for those that fell to their pulls."""

WAKER_PRIORITY: Final = 61
"""One above this program's own, in rig-wires.service."""

ANSWER_NS: Final = 2_000_000_000
"""The world is given up after so long: its host is gone."""

EDGE: Final = re.compile(rb" (\d+)\.(\d{6}): gpio_value: (\d+) set ([01])")
LOST: Final = re.compile(rb"\[LOST (\d+) EVENTS\]")


def port(name: str) -> Path:
    """Return the device of the virtio port `name`."""
    for entry in Path("/sys/class/virtio-ports").iterdir():
        if (entry / "name").read_text().strip() == name:
            return Path("/dev") / entry.name
    raise SystemExit(f"no virtio port {name}")


def chip_base() -> int:
    """Return the kernel's number of the board's line 0."""
    for chip in Path("/sys/class/gpio").glob("gpiochip*"):
        if (chip / "label").read_text().strip() == LABEL:
            return int((chip / "base").read_text())
    raise SystemExit(f"no chip {LABEL}")


def hurry_the_trace() -> None:
    """Let the kernel's thread that wakes the trace's reader go before all else: its priority of 1 is the lowest."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a process that has ended meanwhile
            if (process / "comm").read_text().startswith("irq_work/"):
                os.sched_setscheduler(int(process.name), os.SCHED_FIFO, os.sched_param(WAKER_PRIORITY))


class Wires:
    """All lines of the board."""

    def __init__(self) -> None:
        self._channel = os.open(port(PORT), os.O_RDWR)
        self._incoming = select.poll()
        self._incoming.register(self._channel, select.POLLIN)
        self._base = chip_base()
        (TRACING / "tracing_on").write_text("0")
        (TRACING / "trace_clock").write_text("mono")
        (TRACING / "buffer_size_kb").write_text("4096")
        (TRACING / "events/gpio/gpio_value/filter").write_text("get == 0")
        (TRACING / "events/gpio/gpio_value/enable").write_text("1")
        self._pipe = os.open(TRACING / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        (TRACING / "tracing_on").write_text("1")
        (simulated,) = Path("/sys/devices/platform").glob("gpio-sim.*/gpiochip*/sim_gpio0")
        lines = [simulated.with_name(f"sim_gpio{line}") for line in range(LINES)]
        self._pulls = [os.open(line / "pull", os.O_WRONLY) for line in lines]
        self._values = [os.open(line / "value", os.O_RDONLY) for line in lines]
        self._driven: dict[int, bytes] = {}
        """The level to which a program last drove each line that one drives."""
        self._doubted: set[int] = set()
        """Lines that the last look saw at another level."""
        self._read = b""
        self._received = b""
        self._answered = True

    def run(self) -> None:
        """Carry levels both ways for as long as the guest runs."""
        waiting = select.poll()
        waiting.register(self._pipe, select.POLLIN)
        waiting.register(self._channel, select.POLLIN)
        self._send(b"h 0 0 0\n")
        while True:  # a service's main loop: ended by systemd
            ready = dict(waiting.poll(LOOK_MS))
            if self._channel in ready:
                self._take_pulls()
            if self._pipe in ready:
                messages, touched = self._edges()
                self._doubted -= touched
                self._send(messages)
            if not ready:
                self._look()

    def _take_pulls(self) -> None:
        self._received += os.read(self._channel, 4096)
        *whole, self._received = self._received.split(b"\n")
        for text in whole:
            if text == b"ack":
                self._answered = True
                continue
            line, level = text.split()
            os.pwrite(self._pulls[int(line)], b"pull-up" if level == b"1" else b"pull-down", 0)

    def _edges(self) -> tuple[bytes, set[int]]:
        """Return the messages of all edges that are in the trace by now, and their lines."""
        messages = bytearray()
        touched = set()
        while True:  # ends: the trace is read faster than Python can make edges
            try:
                self._read += os.read(self._pipe, 65536)
            except BlockingIOError:
                break
            *whole, self._read = self._read.split(b"\n")
            for text in whole:
                edge = EDGE.search(text)
                if edge is not None:
                    seconds, micros, number, level = edge.groups()
                    line = int(number) - self._base
                    touched.add(line)
                    self._driven[line] = level
                    messages += b"e %s%s000 %d %s\n" % (seconds, micros, line, level)
                elif lost := LOST.search(text):
                    messages += b"l 0 %s 0\n" % lost[1]
        return bytes(messages), touched

    def _look(self) -> None:
        """Send the levels of driven lines that two looks in turn saw at another level than they were driven to.

        One look is not enough: the kernel traces an edge before it makes it, and this program runs in between. Two are:
        before the second nothing was to be done here, so that the edge has been made.
        """
        seen = {line: os.pread(self._values[line], 2, 0)[:1] for line in self._driven}
        messages, touched = self._edges()
        now_ns = time.monotonic_ns()
        doubted = {line for line, level in seen.items() if line not in touched and self._driven[line] != level}
        for line in doubted & self._doubted:
            # No program made this edge: it would stand in the trace.
            self._driven[line] = seen[line]
            messages += b"r %d %d %s\n" % (now_ns, line, seen[line])
        self._doubted = doubted
        self._send(messages)

    def _send(self, messages: bytes) -> None:
        """Send `messages`, and keep the processor until they are answered."""
        if not messages:
            return
        messages += b"s 0 0 0\n"
        while messages:
            messages = messages[os.write(self._channel, messages) :]
        self._answered = False
        deadline_ns = time.monotonic_ns() + ANSWER_NS
        while not self._answered and time.monotonic_ns() < deadline_ns:
            if self._incoming.poll(0):
                self._take_pulls()


if __name__ == "__main__":
    hurry_the_trace()
    Wires().run()
