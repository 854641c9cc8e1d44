"""The simulated console as processes: a world's file and a pump on a pty beside a state directory.

Owns where they lie (`<state>/sim/world`, `<state>/sim/pump`) and how they are started. The pump outlives the
controller, as a real one does: a controller that is killed finds the same plunger when it comes back.
"""

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Final

from device.core.units import Micrometres
from device.settings import Configuration
from drivers.sim.world import World

START_DEADLINE_S: Final = 20.0
LINGER_S: Final = 30
"""How long a pump that `run --sim` started lives on after its controller is gone."""


class SimConsoleError(Exception):
    """The simulated console could not be started: one line why."""


@dataclass(frozen=True, slots=True)
class SimPaths:
    """Where the simulated console of a state directory lies."""

    directory: Path

    @property
    def world(self) -> Path:
        """The world's memory-mapped file."""
        return self.directory / "world"

    @property
    def port(self) -> Path:
        """The link to the pump's pty."""
        return self.directory / "pump"

    @property
    def lock(self) -> Path:
        """Held by the pump's process for as long as it lives."""
        return self.directory / "lock"


def sim_paths(state: Path) -> SimPaths:
    """Return where the simulated console of `state` lies."""
    return SimPaths(state.absolute() / "sim")


def hold_lock(path: Path) -> int:
    """Take the lock of a simulated console; returns its descriptor. Raises SimConsoleError if one lives already."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SimConsoleError(f"a simulated pump runs already for {path.parent}") from error
    return descriptor


def is_running(paths: SimPaths) -> bool:
    """Whether the console's pump lives."""
    if not paths.lock.exists():
        return False
    try:
        os.close(hold_lock(paths.lock))
    except SimConsoleError:
        return True
    return False


def create_world(paths: SimPaths, configuration: Configuration) -> World:
    """Make a new world for the configured console: needle home, syringe empty, nothing pressed."""
    paths.directory.mkdir(parents=True, exist_ok=True)
    axis = configuration.device.axis
    return World.create(
        paths.world,
        lines=configuration.lines,
        steps_per_mm=axis.steps_per_mm,
        clearance_steps=axis.steps_to(Micrometres(0)),
    )


def start_pump(paths: SimPaths, *, baud: int, linger_s: int | None) -> "subprocess.Popen[bytes]":
    """Start the pump's process in a session of its own and wait until it names its pty."""
    command = [sys.executable, "-m", "device.service.cli", "sim-pump", f"--baud={baud}"]
    command += [f"--link={paths.port}", f"--world={paths.world}"]
    if linger_s is not None:
        command.append(f"--linger={linger_s}")
    # A log of its own: the pump outlives whoever started it, and must not keep that one's terminal or pipe open.
    with (paths.directory / "pump.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    if process.stdout is None:
        raise SimConsoleError("the simulated pump has no output")
    with process.stdout as output:
        ready, _, _ = select([output], [], [], START_DEADLINE_S)
        line = output.readline() if ready else b""
    if not line:
        process.kill()
        process.wait()
        raise SimConsoleError(f"the simulated pump did not start: see {paths.directory / 'pump.log'}")
    return process
