"""The processes of a measurement: started from the checkout, waited for with a deadline, ended whatever happens.

Owns every start of a child but the product's own. What is known of a child comes from its exit, its first words, its
socket and the kernel; nothing here reaches into one. A child that outlives its `with` block is killed.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from device.core.units import NS_PER_S
from tests.bench.shipped import CHECKOUT

START_S: Final = 30.0
END_S: Final = 5.0
LOOK_S: Final = 0.001
LINES_MOST: Final = 1_000
"""Most lines of a child's log that are read for the one that is waited for."""

INSTRUMENT_PRIORITY: Final = 1
"""SCHED_FIFO priority of what presses and looks: a finger is no process, and no load keeps it waiting."""

_SETPRIV: Final = shutil.which("setpriv")
_ENDING_WITH_PARENT: Final = () if _SETPRIV is None else (_SETPRIV, "--pdeathsig", "TERM")

CLI: Final = ("-m", "device.service.cli")


class MeasurementBroken(Exception):
    """A benchmark could not be carried out: one line why."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A process's memory in bytes: resident, and its proportional share of what it shares with others."""

    resident: int
    proportional: int


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with `arguments`."""
    return [sys.executable, *arguments]


def until(condition: Callable[[], bool], what: str, *, within_s: float = START_S, look_s: float = LOOK_S) -> None:
    """Return when `condition` holds, looking every `look_s`. Raises MeasurementBroken, naming `what`."""
    deadline_s = time.monotonic() + within_s
    tick = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            raise MeasurementBroken(f"{what}: not within {within_s:g} s")
        tick.wait(look_s)


def answer_of(arguments: Sequence[str], *, within_s: float) -> Any:
    """Run this interpreter with `arguments` to its end and return the JSON it prints. Raises MeasurementBroken."""
    try:
        done = subprocess.run(python(*arguments), cwd=CHECKOUT, capture_output=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise MeasurementBroken(f"{' '.join(arguments)}: not done within {within_s:g} s") from error
    if done.returncode != 0:
        raise MeasurementBroken(f"{' '.join(arguments)}: {last_line(done.stderr)}")
    return json.loads(done.stdout)


def last_line(text: bytes) -> str:
    """Return the last line of a child's error output."""
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


@contextmanager
def as_instrument() -> Iterator[None]:
    """Give this process, for the block, a place above the load and below what it measures, where that is granted.

    Start no child in the block: it would have that place too.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(INSTRUMENT_PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


@contextmanager
def child(
    command: Sequence[str],
    *,
    log: Path,
    output: bool = False,
    errors: bool = False,
    inherited: Sequence[int] = (),
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `command` for the block, then end it by SIGTERM, or SIGKILL after `END_S`.

    Where util-linux is installed the kernel also ends it by SIGTERM when this process is killed.

    `output`, `errors`: pipe that stream to the block; otherwise it goes to `log`. `inherited`: descriptors that it
    keeps. In a session of its own: Ctrl-C is for this process, which then ends the children in their order.
    """
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*_ENDING_WITH_PARENT, *command],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if output else sink,
            stderr=subprocess.PIPE if errors else sink,
            pass_fds=inherited,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, gently first; says so where that was not enough."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"killed, for it did not end within {END_S:g} s of SIGTERM: {process.args!r}\n")
            process.kill()
            process.wait(END_S)


def wait_for_line(stream: IO[bytes] | None, containing: str, *, within_s: float = START_S) -> None:
    """Read lines of a child's pipe until one holds `containing`. Raises MeasurementBroken at its end or deadline."""
    if stream is None:
        raise MeasurementBroken("the child has no pipe")
    deadline_s = time.monotonic() + within_s
    read = b""
    for _ in range(LINES_MOST):
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline_s - time.monotonic()))
        data = os.read(stream.fileno(), 65_536) if ready else b""
        if not data:
            break
        read += data
        if containing.encode() in read and read.endswith(b"\n"):
            return
    raise MeasurementBroken(f"waited for {containing!r}, last heard: {last_line(read)}")


def memory_of(pid: int) -> Memory:
    """Return the memory of process `pid` as the kernel adds it up. Raises MeasurementBroken where it does not."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError as error:
        raise MeasurementBroken(f"memory of process {pid}: {error.strerror}") from error
    sizes = {key: int(rest.split()[0]) * 1024 for key, _, rest in (line.partition(":") for line in lines[1:])}
    return Memory(resident=sizes["Rss"], proportional=sizes["Pss"])


def children_of(pid: int) -> list[int]:
    """Return the processes that process `pid` has started and that live. Raises MeasurementBroken where unknown."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError as error:
        raise MeasurementBroken(f"children of process {pid}: {error.strerror}") from error


def cpu_ns_of(pid: int) -> int:
    """Return the processor time that process `pid` has used, its threads with it, to a clock tick (10 ms).

    Raises MeasurementBroken where the kernel does not say.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError as error:
        raise MeasurementBroken(f"processor time of process {pid}: {error.strerror}") from error
    return cpu_ticks(text) * (NS_PER_S // os.sysconf("SC_CLK_TCK"))


def cpu_ticks(stat: str) -> int:
    """Return user and system time in clock ticks from a line of /proc/PID/stat; the name in it may be anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
