"""A whole simulated console for tests: pump, controller and real-time process, each the process it is in service.

Owns starting them, the hands on switches and signals, the waits (`until`, `holds`; nothing else here waits), and that
none of them outlives its test. The world is the truth about what moved and flowed; the journal is read as the auditor
reads it. Never reaches into a process: what is known of it came over its socket, its files or the lines.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from device.core.faults import Fault
from device.core.records import MagazineIntent, MagazineSettled, Record, ShotGiven
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from device.service.control_client import CommandRefused, ControllerAbsent, ask
from device.service.sim_console import create_world, sim_paths, start_pump
from device.settings import load_configuration
from drivers.sim.operator import SimulatedOperator
from tests.support.journal import REPOSITORY
from tests.support.settings import SHIPPED, Draft

START_S: Final = 30.0
"""Two Python processes start on a machine that other tests load."""

OPERATION_S: Final = 20.0
STOP_S: Final = 10.0
PRESSES_MOST: Final = 3
PATIENCE_S: Final = 0.15
DOSING_S: Final = 2.0
"""Several times the interval of a held trigger's shots."""

LOG_SHOWN: Final = 4000
PRIME_NL: Final = 20_000
PHASE_NS: Final = 100_000_000
"""More than the longest phase of a shipped profile."""

LATE: Final = frozenset({Fault.STEP_LATE, Fault.PERMIT_LOST, Fault.REALTIME_LOST})
"""The faults by which the gun says that the computer came too late: on a shared virtual machine it does at times, and
then the gun is right to stop. Where such a fault is not the subject, a test clears it and tries again, boundedly."""

IN_DOUBT: Final = frozenset({Fault.PUMP_POSITION_MISMATCH, Fault.DOSE_UNCERTAIN})
"""What goes with a late fault where it left no telling what was given."""


def came_late(faults: Collection[int]) -> bool:
    """Return whether the gun stopped because the computer came too late, and for nothing else."""
    return bool(LATE & set(faults)) and set(faults) <= LATE | IN_DOUBT


ATTEMPTS: Final = 3

T = TypeVar("T", bound=Record)


def until(condition: Callable[[], bool], *, within_s: float = OPERATION_S, look_s: float = 0.005) -> None:
    """Return as soon as `condition` holds, looking every `look_s` (0: all the time). Raises TimeoutError."""
    deadline_s = time.monotonic() + within_s
    tick = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"still not so after {within_s:g} s")
        if look_s:
            tick.wait(look_s)


def holds(condition: Callable[[], bool], *, for_s: float) -> bool:
    """Return whether `condition` holds at every look for that long."""
    try:
        until(lambda: not condition(), within_s=for_s, look_s=0.002)
    except TimeoutError:
        return True
    return False


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def only_line(self) -> str:
        """Return the one line of a refusal: nothing on standard output, one line and no traceback on the other."""
        assert self.out == ""
        assert "Traceback" not in self.err
        (line,) = self.err.splitlines()
        return line


def mesogun(*arguments: object, within_s: float = START_S, environment: dict[str, str] | None = None) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        command_line(*arguments),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        env=environment,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def command_line(*arguments: object) -> list[str]:
    """Return the command line of `mesogun ARGUMENTS` with this interpreter."""
    return [sys.executable, "-m", "device.service.cli", *map(str, arguments)]


def quick_configuration(directory: Path) -> Draft:
    """Return a copy of the shipped configuration whose pump refills in one second instead of four."""
    draft = Draft(directory)
    draft.replace("device.toml", "refill_speed = 1500", "refill_speed = 6000")
    return draft


@contextmanager
def started(command: Sequence[str], *, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that writes to `log` until the block ends; it is killed then if it still lives."""
    process = start(command, log=log)
    try:
        yield process
    finally:
        kill(process)


def start(command: Sequence[str], *, log: Path) -> "subprocess.Popen[bytes]":
    """Start a process that writes both outputs to the end of `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process, stopped or not, and collect it."""
    if process.poll() is None:
        process.kill()
    process.wait(STOP_S)


class SimulatedConsole:
    """A simulated console in `state`: its world and pump from the beginning, its controller when started."""

    def __init__(self, state: Path, configuration: Path = SHIPPED) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.configuration = configuration
        self.socket = state / "control.sock"
        self.log_file = state / "run.log"
        self._controller: subprocess.Popen[bytes] | None = None
        self._realtime_pids: set[int] = set()
        loaded = load_configuration(configuration)
        paths = sim_paths(state)
        self.world = create_world(paths, loaded)
        self.lines = self.world.lines
        self.operator = SimulatedOperator(self.world, seed=1)
        self.pump = start_pump(paths, baud=loaded.serial.baud, linger_s=None)
        self._tissue_before = self._air_before = 0

    # Processes --------------------------------------------------------------------------------------------------

    @property
    def run_command(self) -> list[str]:
        """The controller's command line."""
        return command_line("run", "--sim", f"--config={self.configuration}", f"--state={self.state}")

    @property
    def controller(self) -> "subprocess.Popen[bytes]":
        """The controller's process, started last."""
        assert self._controller is not None
        return self._controller

    @property
    def realtime_pid(self) -> int:
        """The process that drives the motor's lines."""
        pid = self.world.owner(self.lines.enable)
        self._realtime_pids.add(pid)
        return pid

    def start(self, *prefix: str) -> str:
        """Start the controller (behind `prefix`, such as prlimit) and return its state after the self-test."""
        self._controller = start([*prefix, *self.run_command], log=self.log_file)
        until(self._is_up, within_s=START_S)
        return self.state_name

    def _is_up(self) -> bool:
        assert self.controller.poll() is None, self.log()
        try:
            up = self.status()["state"] not in ("starting", "self_test")
        except ControllerAbsent:
            return False
        self._realtime_pids.add(self.realtime_pid)
        return up

    def end(self) -> int:
        """End the controller as systemd does and return its exit code."""
        self.controller.terminate()
        return self.controller.wait(STOP_S)

    def close(self) -> None:
        """Kill whatever still lives; the log's end goes to standard error, which pytest shows for a failed test."""
        sys.stderr.write(f"needle, fluid and edges {self.whatever_moves()}\n")
        sys.stderr.write(self.log()[-LOG_SHOWN:])
        self._realtime_pids.add(self.world.owner(self.lines.enable))
        if self._controller is not None:
            kill(self._controller)
        for pid in self._realtime_pids:
            if is_realtime(pid):
                os.kill(pid, signal.SIGKILL)
        kill(self.pump)
        self.world.close()

    def log(self) -> str:
        """Return what the controller and its child have logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    # Commands ---------------------------------------------------------------------------------------------------

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command over the control socket and return its result."""
        return ask(self.socket, command, arguments)

    def refused(self, command: str, **arguments: Any) -> list[str]:
        """Give a command that must be refused and return the reasons."""
        try:
            self.ask(command, **arguments)
        except CommandRefused as refusal:
            return refusal.reasons
        raise AssertionError(f"{command} was accepted")

    def cli(self, *arguments: object) -> Done:
        """Run a client command against this console."""
        return mesogun(*arguments, f"--state={self.state}")

    def status(self) -> dict[str, Any]:
        """Return the controller's status."""
        return self.ask("status")

    @property
    def state_name(self) -> str:
        """The controller's state."""
        return str(self.status()["state"])

    @property
    def faults(self) -> str:
        """The latched faults' numbers, as `status` lists them."""
        return str(self.status()["faults"])

    def until_state(self, *names: str, within_s: float = OPERATION_S) -> None:
        """Wait until the controller is in one of these states."""
        until(lambda: self.state_name in names, within_s=within_s)

    def make_ready(self, *, profile: str = "continuous", regions: dict[str, int] | None = None) -> None:
        """Home both axes, start a session and prime."""
        self.ask("home", plunger=True, patient_detached=True)
        self.calibrate()
        self.start_session(profile=profile, regions=regions)
        self.prime()

    def calibrate(self) -> None:
        """Write down that the simulated pump's full stroke gives what each syringe's file says."""
        for name, syringe in load_configuration(self.configuration).syringes.items():
            self.ask("calibrate", syringe=name, measured_nl=syringe.value.stroke_nl, method="simulated")

    def start_session(self, *, profile: str = "continuous", regions: dict[str, int] | None = None) -> None:
        """Start a session of the one patient with saline in the 1 mL syringe."""
        points = [{"name": name, "points": count} for name, count in (regions or {"front": 40}).items()]
        self.ask("session_start", profile=profile, serum="saline", syringe="1ml", patient="p-1", regions=points)

    def prime(self, volume_nl: int = PRIME_NL) -> None:
        """Prime; what reached the air so far is primed, not spilled. Again where the computer came too late."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.ask("prime", volume_nl=volume_nl)
                break
            except CommandRefused:
                if attempt == ATTEMPTS or not self._recovered_from_lateness():
                    raise
        self._air_before = self.world.given_in_air

    def _recovered_from_lateness(self) -> bool:
        """Clear a fault of lateness and home what lost its place; False where there is no fault, or another one."""
        self.until_settled()
        if not came_late([int(code) for code in self.faults.split(",") if code]):
            return False
        self.ask("fault_clear")
        self.until_state("session")
        if not self.status()["homed"]:
            self.ask("home")
        return True

    def arm(self) -> None:
        """Arm; a session that a restart has paused is resumed first."""
        if self.status()["paused"]:
            self.ask("session_resume")
        self.ask("arm")

    def forget_given(self) -> None:
        """Count what is given and spilled from now on."""
        self._tissue_before, self._air_before = self.world.given_in_tissue, self.world.given_in_air

    # The clinician ----------------------------------------------------------------------------------------------

    def press(self) -> None:
        """Put the gun on the skin, wait for the light, and press; again if nothing moves, as a clinician does.

        A press is refused within a shot's interval of the last stroke, which a prime is too. Returns with the needle
        on its way.
        """
        self.operator.touch_skin()
        until(self.operator.is_ready)
        for _ in range(PRESSES_MOST):
            steps = self.world.edges(self.lines.step)
            self.operator.press()
            if not holds(lambda: self.world.edges(self.lines.step) == steps, for_s=PATIENCE_S):  # noqa: B023 - now
                return
            self.operator.release()
            holds(lambda: True, for_s=PATIENCE_S)
        raise AssertionError("the gun does not fire")

    def let_go(self) -> None:
        """Release the trigger, and lift the gun when the needle is out: what was under way may end first."""
        self.operator.release()
        until(lambda: self.world.needle_steps <= 0 or self.motor_off())
        self.operator.lift()

    def shoot(self, shots: int) -> None:
        """Hold the trigger for this many strokes, or until a fault takes the motor's current, then let go."""
        goal = self.world.strokes + shots
        self.press()
        # Where the last stroke turns round no gate of it is left to be opened: a release from there on to the end of
        # the pause behind it ends no dose and begins no stroke.
        until(lambda: self.turned_round(goal) or self.motor_off(), look_s=0.001)
        self.let_go()

    def turned_round(self, stroke: int) -> bool:
        """Whether the needle is on its way out of the stroke with this number of the world, or that is over."""
        world = self.world
        outward = world.needle_steps > 0 and not world.level(self.lines.direction)
        return world.strokes >= stroke or (world.strokes == stroke - 1 and outward)

    def until_dosing(self) -> None:
        """Wait until the needle is on its way in, in tissue, with a gate open; looks without pause."""
        until(self.is_dosing, within_s=DOSING_S, look_s=0)

    def is_dosing(self) -> bool:
        """Whether the needle is in tissue, last moved inward, and a gate is open."""
        world, lines = self.world, self.lines
        return world.in_tissue and world.level(lines.direction) and not self.gates_closed()

    # The truth --------------------------------------------------------------------------------------------------

    def gates_closed(self) -> bool:
        """Whether both gate lines are high."""
        return self.world.level(self.lines.gate_1) and self.world.level(self.lines.gate_2)

    def motor_off(self) -> bool:
        """Whether the motor is without current."""
        return self.world.level(self.lines.enable)

    def given(self) -> int:
        """Return the increments that left the needle for the patient, wherever they went: all but what primes gave."""
        return self.world.given_in_tissue - self._tissue_before + self.spilled()

    def spilled(self) -> int:
        """Return the increments that left the needle into the air since the last prime or `forget_given`."""
        return self.world.given_in_air - self._air_before

    def whatever_moves(self) -> tuple[int, ...]:
        """Return every figure that changes when needle, gates or plunger move."""
        world, lines = self.world, self.lines
        counted = (lines.step, lines.gate_1, lines.gate_2)
        fluid = (world.given_in_tissue, world.given_in_air, world.drawn_back, world.from_vial, world.to_vial)
        return (world.needle_steps, *fluid, *(world.edges(line) for line in counted))

    def forgive_spilled(self) -> int:
        """Count what was spilled as given, and return it: of a gun lifted in mid-stroke some of it must be."""
        spilled = self.spilled()
        self._air_before += spilled
        self._tissue_before -= spilled
        return spilled

    def gate_edges(self) -> int:
        """Return how often a gate line has changed."""
        return self.world.edges(self.lines.gate_1) + self.world.edges(self.lines.gate_2)

    def pump_rests(self) -> bool:
        """Whether no fluid has left the needle for longer than any phase lasts."""
        return time.monotonic_ns() - self.world.last_fluid_ns > PHASE_NS

    # The record -------------------------------------------------------------------------------------------------

    def records(self, kind: type[T]) -> list[T]:
        """Return the journal's records of one kind."""
        return [record for record in journal_records(self.state) if isinstance(record, kind)]

    def until_settled(self) -> None:
        """Wait until the outcome of every intent stands in the journal; a state is shown before its record is."""
        until(lambda: len(self.records(MagazineIntent)) == len(self.records(MagazineSettled)))

    def booked(self) -> int:
        """Return the increments booked as given to the patient."""
        return sum(record.given for record in self.records(MagazineSettled) if record.purpose == "inject")

    def verify(self) -> None:
        """Check that the journal's chain is whole and that its figures agree with each other."""
        done = self.cli("journal", "verify")
        assert (done.code, done.err) == (0, ""), done
        settled = [record for record in self.records(MagazineSettled) if record.purpose == "inject"]
        shots = self.records(ShotGiven)
        assert sum(record.given_nl for record in settled) == sum(shot.booked_nl for shot in shots)
        assert sum(record.shots for record in settled) == len(shots)


def is_realtime(pid: int) -> bool:
    """Whether `pid` is a living real-time process."""
    try:
        return b"device.realtime" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def journal_records(state: Path) -> list[Record]:
    """Return every record of the journal in `state`, in order."""
    records: list[Record] = []
    with JournalReader.open(state / JOURNAL_NAME) as reader:
        while entries := reader.entries(len(records), 500):
            records += [entry.record() for entry in entries]
    return records


@contextmanager
def simulated_console(state: Path, configuration: Path = SHIPPED) -> Iterator[SimulatedConsole]:
    """Hold a console in `state`; all its processes are gone when the block ends. Its log must hold no traceback."""
    console = SimulatedConsole(state, configuration)
    try:
        yield console
        assert "Traceback" not in console.log()
    finally:
        console.close()
