"""The outside end of the guest's wires: its programs move the simulated world, and the world pulls their lines.

Owns the thread that carries levels and the list of all edges with the kernel's own time stamps. The needle, the home
switch, the skin and the fluid are the shipped simulator's (`drivers.sim.world`); nothing here knows what a line means.
"""

import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final

from drivers.sim.world import World
from drivers.sim.world_table import CONSOLE
from tests.vm.rig.machine import hurry

LOOK_S: Final = 0.001
"""How often the world's lines are looked at: the world is shared memory and calls nobody."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One change of a line that a program in the guest drives. `traced`: by the program, else by its death."""

    at_ns: int
    """The guest's CLOCK_MONOTONIC, by the kernel's trace (µs)."""
    line: int
    level: bool
    traced: bool = True


class Wires:
    """Carries levels between the guest and `world` until closed."""

    def __init__(self, connection: socket.socket, world: World) -> None:
        self._connection = connection
        self._world = world
        lines = world.lines
        self.outputs = (
            *(lines.step, lines.direction, lines.enable, lines.gate_1, lines.gate_2),
            *(lines.light, lines.buzzer),
        )
        sensed = (lines.trigger_a, lines.trigger_b, lines.stop_a, lines.stop_b, lines.home, lines.contact, lines.phase)
        self._inputs = tuple(line for line in sensed if line is not None)
        self._sent: dict[int, bool] = {}
        self._received = b""
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self.edges: list[Edge] = []
        """All edges so far, in the order in which the guest told them."""
        self.lost = 0
        """Edges that the kernel's trace could not keep: any makes a count worthless."""
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="wires", daemon=True)
        self._thread.start()

    def await_ready(self, *, within_s: float) -> None:
        """Wait until the guest's end is there and every line has been pulled. Raises TimeoutError."""
        if not self._ready.wait(within_s):
            raise TimeoutError(f"the guest's wires did not come within {within_s:g} s")

    def close(self) -> None:
        """Stop carrying."""
        self._stopped.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        hurry()
        try:
            while not self._stopped.is_set():
                readable, _, _ = select.select([self._connection], [], [], LOOK_S)
                if readable:
                    data = self._connection.recv(65536)
                    if not data:
                        return
                    self._take(data)
                if self._ready.is_set():
                    self._send({line: self._world.level(line) for line in self._inputs})
        except (OSError, ValueError) as failure:
            self.failure = failure

    def _take(self, data: bytes) -> None:
        self._received += data
        *whole, self._received = self._received.split(b"\n")
        for text in whole:
            kind, at_ns, line, level = text.split()
            match kind:
                case b"h":
                    pulls = {line: self._world.pull(line) for line in self.outputs}
                    self._send(pulls | {line: self._world.level(line) for line in self._inputs})
                    self._ready.set()
                case b"s":  # what the edges moved is told before the answer for which the guest waits
                    self._send({line: self._world.level(line) for line in self._inputs})
                    self._connection.sendall(b"ack\n")
                case b"l":
                    self.lost += int(line)
                case _:
                    self._edge(Edge(int(at_ns), int(line), level == b"1", traced=kind == b"e"))

    def _edge(self, edge: Edge) -> None:
        self.edges.append(edge)
        now_ns = time.monotonic_ns()
        if edge.traced:
            self._world.drive(edge.line, edge.level, pid=CONSOLE, now_ns=now_ns)
        else:
            self._world.release(edge.line, now_ns)

    def _send(self, levels: dict[int, bool]) -> None:
        """Tell the guest those of `levels` that it has not been told yet."""
        changed = {line: level for line, level in levels.items() if self._sent.get(line) is not level}
        if changed:
            self._connection.sendall(b"".join(b"%d %d\n" % (line, level) for line, level in changed.items()))
            self._sent.update(changed)
