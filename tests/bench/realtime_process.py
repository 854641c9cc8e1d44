"""The real real-time process on a simulated console, with this process in the controller's place and no pump.

Owns its start, its orders and its end. The phase line is not wired here: nothing waits for a pump, so that a press
can follow a press at once. The permit is given for an hour, because nothing is supervised.
"""

import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from device.core.realtime_messages import Faulted, Home, Homed, Order, Ready, Reset
from device.core.units import NS_PER_S
from device.realtime.link import Configure, HeartbeatPage, open_pair, pack, unpack
from device.service.sim_console import create_world, sim_paths
from device.settings import Configuration
from drivers.sim.world import World
from tests.bench.processes import MeasurementBroken, child, last_line, python, until
from tests.bench.shipped import scan_spec

SHIPPED: Final = ("-m", "device.realtime")
REPORT_S: Final = 10.0
REPORTS_MOST: Final = 100
PERMIT_NS: Final = 3600 * NS_PER_S
PAGE_BYTES: Final = 4096

Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class RealtimeProcess:
    """A running real-time process, homed and idle. `first_scan_ns`: from its start to its first scan."""

    world: World
    pid: int
    first_scan_ns: int
    connection: socket.socket

    def order(self, order: Order) -> None:
        """Give an order."""
        self.connection.send(pack(order))

    def report(self, wanted: type[Wanted]) -> Wanted:
        """Return the next report of this type, passing over others. Raises MeasurementBroken for a fault or none."""
        for _ in range(REPORTS_MOST):
            ready, _, _ = select.select([self.connection], [], [], REPORT_S)
            data = self.connection.recv(PAGE_BYTES) if ready else b""
            if not data:
                break
            report = unpack(data)
            if isinstance(report, wanted):
                return report
            if isinstance(report, Faulted):
                raise MeasurementBroken(f"the real-time process reports fault {report.fault.name.lower()}")
        raise MeasurementBroken(f"the real-time process sent no {wanted.__name__}")


@contextmanager
def realtime_process(
    directory: Path, configuration: Configuration, *, program: Sequence[str] = SHIPPED
) -> Iterator[RealtimeProcess]:
    """Run a real-time process for the block; it ends by the link's end, as in service. Raises MeasurementBroken.

    `program`: what this interpreter runs with the process's arguments.
    """
    log = directory / "realtime.log"
    with ExitStack() as stack:
        world = create_world(sim_paths(directory), configuration)
        stack.callback(world.close)
        ours, theirs = open_pair()
        stack.callback(theirs.close)
        descriptor = HeartbeatPage.create()
        stack.callback(os.close, descriptor)
        page = HeartbeatPage(descriptor)
        stack.callback(page.close)
        command = python(*program, f"--link={theirs.fileno()}", f"--page={descriptor}")
        command += [f"--pins=sim:{sim_paths(directory).world}", f"--lock={directory / 'realtime.lock'}"]
        started_ns = time.monotonic_ns()
        process = stack.enter_context(child(command, log=log, inherited=(theirs.fileno(), descriptor)))
        # Closed before the child is waited for: the link's end is what makes it safe and end.
        stack.callback(ours.close)
        ours.send(pack(Configure(configuration.lines, scan_spec(configuration, phase_feedback=False))))
        page.permit(time.monotonic_ns() + PERMIT_NS)
        until(lambda: page.scan_ns != 0 or process.poll() is not None, "the first scan")
        first_scan_ns = time.monotonic_ns() - started_ns
        if process.poll() is not None:
            raise MeasurementBroken(f"the real-time process did not start: {last_line(log.read_bytes())}")
        realtime = RealtimeProcess(world, process.pid, first_scan_ns, ours)
        _home(realtime)
        yield realtime


def _home(realtime: RealtimeProcess) -> None:
    realtime.order(Reset())
    realtime.report(Ready)
    realtime.order(Home())
    realtime.report(Homed)
