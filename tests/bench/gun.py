"""A whole simulated console in a directory: pump, controller and real-time process, as `mesogun run --sim` has them.

And the gateway beside them, with a broker of its own. Owns their start, the way to a session that may be armed, and
their end, the controller first.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device.service.broker import start_broker
from device.service.control_client import ControllerAbsent, ask
from device.service.sim_console import SimPaths, create_world, sim_paths, start_pump
from device.settings import Configuration
from drivers.sim.world import World
from tests.bench.processes import (
    CLI,
    MeasurementBroken,
    child,
    children_of,
    end,
    last_line,
    python,
    until,
    wait_for_line,
)
from tests.bench.shipped import PROFILE, SERUM, SYRINGE, shipped_configuration

LINGER_S: Final = 30
PRIME_NL: Final = 20_000
STARTING: Final = ("starting", "self_test")


@dataclass(frozen=True, slots=True)
class SimPump:
    """A running simulated pump and its world. `named_ns`: from its start until it has named its pty."""

    world: World
    pid: int
    named_ns: int


@dataclass(frozen=True, slots=True)
class Gun:
    """A running console. `answered_ns` and `ready_ns`: from the controller's start to its first answer, and to the
    end of its self-test.
    """

    pump: SimPump
    socket: Path
    pid: int
    answered_ns: int
    ready_ns: int

    @property
    def realtime_pid(self) -> int:
        """The controller's real-time process. Raises MeasurementBroken when there is not just one child."""
        pids = children_of(self.pid)
        if len(pids) != 1:
            raise MeasurementBroken(f"the controller has {len(pids)} children, expected its real-time process")
        return pids[0]

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give a command. Raises CommandRefused, ControllerAbsent."""
        return ask(self.socket, name, arguments)

    def begin_session(self, *, region: str, points: int) -> None:
        """Home, open a session of one region and prime: it can be armed then."""
        self.command("home", {"plunger": True, "patient_detached": True})
        syringe = shipped_configuration().syringes[SYRINGE].value
        self.command("calibrate", {"syringe": SYRINGE, "measured_nl": syringe.stroke_nl, "method": "simulated"})
        self.command(
            "session_start",
            {
                "profile": PROFILE,
                "serum": SERUM,
                "syringe": SYRINGE,
                "patient": "bench",
                "regions": [{"name": region, "points": points}],
            },
        )
        self.command("prime", {"volume_nl": PRIME_NL})


@contextmanager
def sim_pump(paths: SimPaths, configuration: Configuration) -> Iterator[SimPump]:
    """Run a simulated pump with a new world for the block. Raises SimConsoleError."""
    world = create_world(paths, configuration)
    try:
        started_ns = time.monotonic_ns()
        process = start_pump(paths, baud=configuration.serial.baud, linger_s=LINGER_S)
        try:
            yield SimPump(world, process.pid, time.monotonic_ns() - started_ns)
        finally:
            end(process)
    finally:
        world.close()


@contextmanager
def running_gun(directory: Path, configuration: Configuration) -> Iterator[Gun]:
    """Run a console for the block. Raises MeasurementBroken when it does not come up."""
    socket, log = directory / "control.sock", directory / "run.log"
    command = [*python(*CLI), "run", "--sim", f"--config={configuration.directory}", f"--state={directory}"]
    with sim_pump(sim_paths(directory), configuration) as pump:
        started_ns = time.monotonic_ns()
        with child(command, log=log) as controller:
            states: list[tuple[str, int]] = []

            def is_up() -> bool:
                if controller.poll() is not None:
                    raise MeasurementBroken(f"the controller did not start: {last_line(log.read_bytes())}")
                with suppress(ControllerAbsent):
                    states.append((ask(socket, "status")["state"], time.monotonic_ns() - started_ns))
                return bool(states) and states[-1][0] not in STARTING

            until(is_up, "the controller's self-test")
            yield Gun(pump, socket, controller.pid, answered_ns=states[0][1], ready_ns=states[-1][1])


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway. `connected_ns`: from its start to its broker's answer; `broker`: the broker's kind."""

    pid: int
    connected_ns: int
    broker: str


@contextmanager
def running_gateway(directory: Path, configuration: Configuration) -> Iterator[Gateway]:
    """Run a broker and a gateway on the state in `directory` for the block.

    Raises BrokerUnavailableError where there is no broker, MeasurementBroken when the gateway does not connect.
    """
    (directory / "broker").mkdir()
    with start_broker(directory / "broker") as broker:
        command = [*python(*CLI), "gateway", f"--config={configuration.directory}", f"--state={directory}"]
        command.append(f"--broker={broker.host}:{broker.port}")
        began_ns = time.monotonic_ns()
        with child(command, log=directory / "gateway.log", errors=True) as gateway:
            wait_for_line(gateway.stderr, ": connected")
            yield Gateway(gateway.pid, time.monotonic_ns() - began_ns, broker.kind)
