"""What each process weighs and how long it takes to start, against bare interpreters.

Start is until a process can do its work: an exit, a first scan, an answer, a connection, a pty's name. Memory is the
kernel's `smaps_rollup` at rest: RSS counts shared pages in full, PSS shares them out among the processes that run, so
a process's PSS falls when others run the same interpreter. The real-time process locks all its pages: its RSS is all
that it has mapped.
"""

import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from device.service.broker import BrokerUnavailableError
from device.settings import Configuration
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Row, Unit, row
from tests.bench.gun import Gun, running_gateway, running_gun
from tests.bench.processes import (
    CLI,
    START_S,
    MeasurementBroken,
    child,
    last_line,
    memory_of,
    python,
    wait_for_line,
)
from tests.bench.realtime_process import realtime_process
from tests.bench.shipped import shipped_configuration

EMPTY: Final = "python -c pass"
LIBRARIES: Final = "python, sqlite3 and asyncio"
FLOORS: Final = {EMPTY: "pass", LIBRARIES: "import sqlite3, asyncio"}
STATUS: Final = "mesogun status"
CONTROLLER: Final = "controller"
REALTIME: Final = "real-time process"
GATEWAY: Final = "gateway"
PUMP: Final = "simulated pump"
TOGETHER: Final = "PSS of the three together"

REST: Final = "import sys; print('at rest', flush=True); sys.stdin.read()"
"""Appended to a program so that it stays while its memory is read."""

STATUS_PROGRAM: Final = "import sys; from device.service.cli import main; main(sys.argv[1:])"


class _Samples:
    """Start times and memory by process."""

    def __init__(self) -> None:
        self.start_ns: defaultdict[str, list[int]] = defaultdict(list)
        self.resident: defaultdict[str, list[int]] = defaultdict(list)
        self.proportional: defaultdict[str, list[int]] = defaultdict(list)
        self.together: list[int] = []

    def started(self, name: str, start_ns: int) -> None:
        """Note a start time."""
        self.start_ns[name].append(start_ns)

    def weigh(self, name: str, pid: int) -> None:
        """Note a running process's memory."""
        memory = memory_of(pid)
        self.resident[name].append(memory.resident)
        self.proportional[name].append(memory.proportional)

    def weigh_together(self, pids: Sequence[int]) -> None:
        """Note the sum of running processes' shares."""
        self.together.append(sum(memory_of(pid).proportional for pid in pids))

    def rows(self) -> tuple[Row, ...]:
        """Return all rows, starts first."""
        starts = [_row(f"start of {name}", of_ns, name, "start of") for name, of_ns in self.start_ns.items()]
        resident = [_row(f"RSS of {name}", of, name, "RSS of", Unit.BYTES) for name, of in self.resident.items()]
        shared = [_row(f"PSS of {name}", of, name, "PSS of", Unit.BYTES) for name, of in self.proportional.items()]
        together = [row(TOGETHER, self.together, unit=Unit.BYTES)] if self.together else []
        return (*starts, *resident, *shared, *together)


def _row(title: str, samples: list[int], name: str, figure: str, unit: Unit = Unit.NANOSECONDS) -> Row:
    floors = () if name in FLOORS else tuple(f"{figure} {floor}" for floor in FLOORS)
    return row(title, samples, *floors, unit=unit)


def footprint(effort: Effort) -> Findings:
    """Measure `effort.starts` starts of every process. Raises MeasurementBroken, SimConsoleError."""
    configuration = shipped_configuration()
    samples = _Samples()
    notes: list[str] = []
    for _ in range(effort.starts):
        with TemporaryDirectory(prefix="mesogun-bench-") as name:
            directory = Path(name)
            for floor, program in FLOORS.items():
                samples.started(floor, _time_to_exit("-c", program))
                _weigh_program(samples, floor, program, directory=directory)
            with running_gun(directory, configuration) as gun:
                notes = _measure_gun(samples, gun, configuration, directory)
            (directory / "alone").mkdir()
            with realtime_process(directory / "alone", configuration) as realtime:
                samples.started(f"{REALTIME}: first scan", realtime.first_scan_ns)
                samples.weigh(REALTIME, realtime.pid)
    return Findings(samples.rows(), tuple(notes))


def _measure_gun(samples: _Samples, gun: Gun, configuration: Configuration, directory: Path) -> list[str]:
    """Take the samples of a running console's processes; return what could not be measured."""
    samples.started(f"{PUMP}: pty named", gun.pump.named_ns)
    samples.started(f"{CONTROLLER}: first answer", gun.answered_ns)
    samples.started(f"{CONTROLLER}: self-test done", gun.ready_ns)
    status = ["status", f"--socket={gun.socket}"]
    samples.started(f"{STATUS}: exit", _time_to_exit(*CLI, *status))
    _weigh_program(samples, STATUS, STATUS_PROGRAM, *status, directory=directory)
    samples.weigh(CONTROLLER, gun.pid)
    samples.weigh(PUMP, gun.pump.pid)
    try:
        with running_gateway(directory, configuration) as gateway:
            samples.started(f"{GATEWAY}: connected", gateway.connected_ns)
            samples.weigh(GATEWAY, gateway.pid)
            samples.weigh_together((gun.pid, gun.realtime_pid, gateway.pid))
            return [f"{GATEWAY}: broker {gateway.broker}"]
    except BrokerUnavailableError as error:
        return [f"{GATEWAY}: not measured ({error})"]


def _time_to_exit(*arguments: str) -> int:
    """Return how long this interpreter runs with `arguments`, in ns. Raises MeasurementBroken when it fails."""
    began_ns = time.monotonic_ns()
    try:
        done = subprocess.run(python(*arguments), capture_output=True, timeout=START_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise MeasurementBroken(f"{' '.join(arguments)}: not done within {START_S:g} s") from error
    took_ns = time.monotonic_ns() - began_ns
    if done.returncode != 0:
        raise MeasurementBroken(f"{' '.join(arguments)}: {last_line(done.stderr)}")
    return took_ns


def _weigh_program(samples: _Samples, name: str, program: str, *arguments: str, directory: Path) -> None:
    """Weigh an interpreter that has run `program` and would end now."""
    command = python("-c", f"{program}\n{REST}", *arguments)
    with child(command, log=directory / "program.log", output=True) as process:
        wait_for_line(process.stdout, "at rest")
        samples.weigh(name, process.pid)
