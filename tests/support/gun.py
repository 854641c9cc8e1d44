"""The whole gun in one process and in virtual time: the real controller, scan, drivers, journal and firmware.

Owns what lies between them: one clock, and the three parts that die or freeze by themselves as processes do. The
controller runs on an event loop of its own whose waiting lets the rest of the console live, so that a frozen or a
killed controller is one whose loop is no longer run. Never replaces a product part by an imitation; what is written
anew here (link delay, supervision timer, restart) stands for what the operating system does. Seeded: the same seed
gives the same bytes, edges and records.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final, Self

from device.controller.journal import Journal
from device.core.console import Console, State
from device.core.events import Command, Request
from device.core.records import Booted, PlungerHomed, Record
from device.journal_reader import verified_entries
from device.settings import Configuration, load_configuration
from drivers.sim.operator import SimulatedOperator
from drivers.sim.world import World
from tests.simulation.console_parts import PumpUnit
from tests.simulation.controller_process import Answer, ControllerProcess
from tests.simulation.observer import Observer
from tests.simulation.virtual_time import START_NS, VirtualTime

__all__ = ["CONFIG", "START_NS", "Answer", "Observer", "VirtualGun"]

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
WALL_CLOCK_MS: Final = 1_772_600_767_089
"""2026-03-04T05:06:07.089Z at the virtual start; the records' stamps follow the virtual clock."""
LATE_NS_MOST: Final = 100_000
"""A scan of a jittering gun comes late by less than this."""
LOOK_NS: Final = 4_000_000
"""How often `run_until` looks."""


class VirtualGun:
    """A console that was used before: its plunger stands at `content` increments, and the journal says so.

    `seed` decides every lateness of a jittering gun and the operator's choices. Use it in a `with` statement: at the
    end whatever still lives is killed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        content: int,
        seed: int = 0,
        jitter: bool = False,
        configuration: Configuration | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.configuration = load_configuration(CONFIG) if configuration is None else configuration
        self.observers: list[Observer] = list(observers)
        self.time = VirtualTime()
        self.journal_path = directory / "journal.sqlite"
        self._random = Random(seed)
        self._jitter = jitter
        axis = self.configuration.device.axis
        self.world = World.create(
            None,
            lines=self.configuration.lines,
            steps_per_mm=axis.steps_per_mm,
            clearance_steps=axis.clearance_um * axis.steps_per_mm // 1000,
        )
        self.pump = PumpUnit(self, content, self.configuration.serial.baud, self.configuration.serial.address)
        self.hands = SimulatedOperator(self.world, seed=seed, now_ns=self.time.clock)
        with Journal.open(self.journal_path, boot_id="earlier", wall_clock_ms=self.wall_clock_ms) as journal:
            journal.append([Booted("simulated", self.configuration.sha256, simulated=True), PlungerHomed(content)])
        self._boots = 0
        self._requests = 0
        self.controller = self._boot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        realtime = self.controller.realtime
        self.controller.kill()
        self.controller.bury()
        if realtime is not None:
            realtime.kill()
        self.world.close()

    # Its parts

    def late_ns(self) -> int:
        return self._random.randrange(LATE_NS_MOST) if self._jitter else 0

    def wall_clock_ms(self) -> int:
        return WALL_CLOCK_MS + (self.time.now_ns - START_NS) // 1_000_000

    def edge(self, line: int, level: bool, now_ns: int) -> None:
        for observer in self.observers:
            observer.edge(line, level, now_ns)

    @property
    def console(self) -> Console:
        return self.controller.loop.console

    @property
    def state(self) -> State:
        return self.console.state

    @property
    def alive(self) -> bool:
        """Whether the controller lives."""
        return self.controller.alive

    @property
    def given(self) -> int:
        """Increments that have left the needle since the world was made."""
        return self.world.given_in_tissue + self.world.given_in_air

    def records(self) -> list[Record]:
        """Read the whole journal back, verifying its chain."""
        return [entry.record() for entry in verified_entries(self.controller.journal._connection)]

    # Time

    def run_for(self, ms: float) -> None:
        """Let so much time pass."""
        self._run_to(self.time.now_ns + round(ms * 1e6))

    def run_until(self, holds: Callable[[], bool], *, within_ms: float) -> bool:
        """Let time pass until `holds()`, looked at every 4 ms; False if it never did."""
        deadline_ns = self.time.now_ns + round(within_ms * 1e6)
        while not holds():
            if self.time.now_ns >= deadline_ns:
                return False
            self._run_to(min(deadline_ns, self.time.now_ns + LOOK_NS))
        return True

    def _run_to(self, until_ns: int) -> None:
        while self.time.now_ns < until_ns:
            controller = self.controller
            awake_ns = min(until_ns, controller.frozen_until_ns) if controller.alive else until_ns
            if controller.alive and controller.frozen_until_ns <= self.time.now_ns:
                controller.run_to(until_ns)
            else:
                self.time.one_step(awake_ns)

    # What is done to it

    def ask(self, command: Callable[[Request], Command], *, within_ms: float = 8000) -> Answer:
        """Give a command over the control socket; the answer, or a refusal where none came or the process died."""
        self._requests += 1
        number, controller = self._requests, self.controller
        controller.post(command(Request(number, uid=1000, pid=4321)))
        self.run_until(lambda: number in controller.answers or not controller.alive, within_ms=within_ms)
        return controller.answers.get(number, Answer(False, ("no answer",)))

    def kill_controller(self) -> None:
        self.controller.kill()
        self._lost("controller killed")

    def freeze_controller(self, ms: float) -> None:
        self.controller.freeze(self.time.now_ns + round(ms * 1e6))
        self._lost("controller frozen")

    def kill_realtime(self) -> None:
        if self.controller.realtime is not None:
            self.controller.realtime.kill()
            self._lost("real-time process killed")

    def freeze_realtime(self, ms: float) -> None:
        realtime = self.controller.realtime
        if realtime is not None:
            realtime.freeze()
            self.time.at(self.time.now_ns + round(ms * 1e6), realtime.resume)
            self._lost("real-time process frozen")

    def restart_controller(self) -> None:
        """Start the service again after the controller was killed. The orphaned real-time process has ended by then."""
        orphan = self.controller.realtime
        if not self.run_until(lambda: orphan is None or not orphan.alive, within_ms=15_000):
            raise RuntimeError("the real-time process outlives its controller")
        self.controller.bury()
        self.controller = self._boot()

    def _boot(self) -> ControllerProcess:
        self._boots += 1
        return ControllerProcess(self, self._boots)

    def _lost(self, what: str) -> None:
        for observer in self.observers:
            observer.lost(what, self.time.now_ns)
