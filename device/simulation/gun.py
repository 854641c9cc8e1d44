"""The whole gun in one thread and in virtual time: shipped controller, scan, drivers, journal, gateway and firmware.

Owns what lies between them: one clock, the wires, and the parts that die or freeze by themselves as processes do.
Never replaces a product part by an imitation; what is written anew in this package (link delay, process deaths, disk,
broker) stands for what the operating system and the world do. Seeded: the same seed gives the same bytes, edges and
records.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final, Self

from device.controller.journal import Journal
from device.controller.recovery import JOURNAL_PAGE
from device.core.console import Console, State
from device.core.events import Command, Request, ShutdownRequested
from device.core.faults import Fault
from device.core.journal_chain import Entry
from device.core.records import Booted, PlungerHomed, Record
from device.gateway.publications import DeviceAddress
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from device.settings import Configuration
from device.simulation.broker import SimulatedBroker
from device.simulation.controller_process import Answer, ControllerProcess
from device.simulation.disk import Disk
from device.simulation.gateway_process import GatewayProcess
from device.simulation.observer import Audience, Observer
from device.simulation.pump_unit import PumpUnit
from device.simulation.realtime_process import RealtimeProcess
from device.simulation.virtual_time import START_NS, VirtualTime
from drivers.ports import DriverError
from drivers.sim.encoder import Encoder
from drivers.sim.fluid import FluidSpec
from drivers.sim.operator import SimulatedOperator
from drivers.sim.world import World

WALL_CLOCK_MS: Final = 1_772_600_767_089
"""2026-03-04T05:06:07.089Z at the virtual start; the records' stamps follow the virtual clock."""
LATE_NS_MOST: Final = 100_000
"""A scan of a jittering gun comes late by less than this."""
LOOK_NS: Final = 4_000_000
"""How often `run_until` looks."""
ORPHAN_MS: Final = 15_000
"""Longer than a real-time process without a controller takes to bring the needle home."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
"""Where a simulated disk is kept if there is such a place: its contents need outlive nothing."""


def scratch_directory() -> Path:
    """Return a new directory for one gun's files, in memory where there is such a place; the caller removes it."""
    return Path(tempfile.mkdtemp(prefix="mesogun-simulated-", dir=MEMORY if MEMORY.is_dir() else None))


class VirtualGun:
    """A console that was used before: its plunger stands at `content` increments, and the journal says so.

    `seed` decides every lateness of a jittering gun, the operator's choices, and by how much the plunger's encoder
    misses its place: at most `encoder_error` increments. `leave_out` False makes also those cycles of the real-time
    process that can change nothing. Use it in a `with` statement: at the end whatever still lives is killed. Files are
    kept in `directory`, or where that is None in one of its own that is removed.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        content: int,
        directory: Path | None = None,
        seed: int = 0,
        jitter: bool = False,
        leave_out: bool = True,
        gateway: bool = False,
        observers: Iterable[Observer] = (),
        fluid: FluidSpec | None = None,
        encoder_error: int = 0,
    ) -> None:
        self.configuration = configuration
        self.audience = Audience()
        self.audience.add(*observers)
        self.leave_out = leave_out
        self.encoder_error = encoder_error
        self.time = VirtualTime()
        self.directory = scratch_directory() if directory is None else directory
        self._own_directory = directory is None
        self.journal_path = self.directory / JOURNAL_NAME
        self._random = Random(seed)  # noqa: S311 - a reproducible world, no secret
        self.jitter = jitter
        self.wall_clock_step_ms = 0
        """How far the wall clock was set forward since the start; negative: back."""
        axis = configuration.device.axis
        self.world = World.create(
            None,
            lines=configuration.lines,
            steps_per_mm=axis.steps_per_mm,
            clearance_steps=axis.clearance_steps,
        )
        lines = configuration.lines
        self._inputs = frozenset(
            (lines.trigger_a, lines.trigger_b, lines.stop_a, lines.stop_b, lines.home, lines.contact, lines.phase)
        )
        self._gates = frozenset((lines.gate_1, lines.gate_2))
        self._step = lines.step
        serial = configuration.serial
        encoder = Encoder(Random(f"encoder {seed}"), most=encoder_error)  # noqa: S311 - as above
        self.pump = PumpUnit(self, content, serial.baud, serial.address, fluid=fluid, encoder=encoder.read)
        self.hands = SimulatedOperator(self.world, seed=seed, now_ns=self.time.clock)
        self.disk = Disk(self.journal_path, self._random)
        with Journal.open(self.journal_path, boot_id="earlier", wall_clock_ms=self.wall_clock_ms) as journal:
            journal.append([Booted("simulated", configuration.sha256, simulated=True), PlungerHomed(content)])
        self.helpless_until_ns = 0
        """Until when neither process could act, the last time that this was so."""
        self._boots = 0
        self._requests = 0
        self.power = True
        self.passed = 0
        """Places at which the controller's process did something that another part can see: orders, bytes, answers."""
        self.ends_at: tuple[int, Callable[[], None]] | None = None
        """At which of these places, and how, it shall end before it does it."""
        self.controller = self._boot()
        self.world.on_level = self._level_changed
        self.broker = SimulatedBroker(self.time, Random(seed))  # noqa: S311 - as above
        self.gateway = self._gateway(seed) if gateway else None
        self.start_gateway()

    def _gateway(self, seed: int) -> GatewayProcess:
        return GatewayProcess(
            self.time,
            self.broker,
            journal=self.journal_path,
            cursor_dir=self.directory,
            runtime_dir=self.directory,
            address=self.address,
            wall_clock_ms=self.wall_clock_ms,
            random=Random(seed),  # noqa: S311 - as above
        )

    @property
    def address(self) -> DeviceAddress:
        """The console's place in the broker's topics."""
        return DeviceAddress(self.configuration.device.site, self.configuration.device.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.audience.leave()
        if self.gateway is not None:
            self.gateway.close()
        self.controller.bury()
        if self.realtime is not None:
            self.realtime.kill()
        self.world.on_level = None
        self.world.close()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    # Its parts

    def late_ns(self) -> int:
        """Return how late the next scan is."""
        return self._random.randrange(LATE_NS_MOST) if self.jitter else 0

    def wall_clock_ms(self) -> int:
        """Return the wall clock, which nobody may rely on."""
        return WALL_CLOCK_MS + self.wall_clock_step_ms + (self.time.now_ns - START_NS) // 1_000_000

    def edge(self, line: int, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """A process changed an output line."""
        if line == self._step:
            for step_edge in self.audience.step_edge:
                step_edge(level, now_ns)
            return
        for edge in self.audience.edge:
            edge(line, level, now_ns)

    def _level_changed(self, line: int) -> None:
        for level in self.audience.level:
            level(line, self.time.now_ns)
        if line in self._inputs:
            if self.realtime is not None:
                self.realtime.line_changed()
        elif line in self._gates:
            self.pump.gate_changed()

    @property
    def realtime(self) -> RealtimeProcess | None:
        """The real-time process that was started last."""
        return self.controller.realtime

    @property
    def console(self) -> Console:
        """The controller's memory."""
        return self.controller.loop.console

    @property
    def state(self) -> State:
        """The controller's state."""
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
        """Read the whole journal back, checking its chain."""
        return [entry.record() for entry in self.entries()]

    def entries(self) -> list[Entry]:
        """Read the whole journal back as entries, checking its chain."""
        found: list[Entry] = []
        with JournalReader.open(self.journal_path) as reader:
            while page := reader.entries(found[-1].seq if found else 0, JOURNAL_PAGE):
                found += page
        return found

    def passing(self) -> bool:
        """Count a place at which the controller does something outside; return whether it ended there."""
        place, self.passed = self.passed, self.passed + 1
        if self.ends_at is not None and self.ends_at[0] == place:
            end, self.ends_at = self.ends_at[1], None
            end()
        return not self.controller.alive

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
        self.time.run_to(until_ns)
        self.controller.check()

    # What is done to it

    def ask(self, command: Callable[[Request], Command], *, within_ms: float = 8000) -> Answer:
        """Give a command over the control socket; the answer, or a refusal where none came or the process died."""
        self._requests += 1
        number, controller = self._requests, self.controller
        controller.post(command(Request(number, uid=1000, pid=4321, at_ms=self.wall_clock_ms())))
        self.run_until(lambda: number in controller.answers or not controller.alive, within_ms=within_ms)
        return controller.answers.get(number, Answer(False, ("no answer",)))  # noqa: FBT003 - refused

    def kill_controller(self) -> None:
        """SIGKILL to the controller."""
        self.controller.kill()
        self.lost("controller killed")

    def end_controller(self) -> None:
        """SIGTERM to the controller: it ends by itself, when everything is safe and settled."""
        self.controller.post(ShutdownRequested())

    def freeze_controller(self, ms: float) -> None:
        """SIGSTOP to the controller, and SIGCONT after `ms`."""
        events = self.controller.events
        events.freeze()
        self.time.after(round(ms * 1e6), lambda: self._go_on(events.resume))
        self.lost("controller frozen")

    def kill_realtime(self) -> None:
        """SIGKILL to the real-time process."""
        if self.realtime is not None:
            self.realtime.kill()
            self.lost("real-time process killed")

    def freeze_realtime(self, ms: float, *, told: bool = True) -> None:
        """SIGSTOP to the real-time process, and SIGCONT after `ms`; `told`: the observers are."""
        realtime = self.realtime
        if realtime is not None:
            realtime.freeze()
            self.time.after(round(ms * 1e6), lambda: self._go_on(realtime.resume))
            if told:
                self.lost("real-time process frozen")

    @property
    def helpless(self) -> bool:
        """Whether neither process can act: the real-time process stands still, the controller does or is dead."""
        realtime = self.realtime
        stands = realtime is not None and realtime.alive and realtime.frozen
        return stands and not self.controller.events.is_running()

    def _go_on(self, resume: Callable[[], None]) -> None:
        if self.helpless:
            self.helpless_until_ns = self.time.now_ns
        resume()

    def unplug_pump(self) -> None:
        """Pull the cable of the pump's serial line."""
        self.pump.unplugged = True
        self.controller.unplugged()

    def plug_pump(self) -> None:
        """Put it in again."""
        self.pump.unplugged = False

    def check_plugged(self) -> None:
        """Raise DriverError, as the port does, while the cable is out."""
        if self.pump.unplugged:
            raise DriverError(Fault.PUMP_SILENT, "the port is missing: check the adapter's cable")

    def cut_power(self) -> None:
        """The computer is without power: everything on it ends here, the pump and its plunger go on by themselves."""
        if not self.power:
            return
        self.power = False
        self.disk.power_goes()
        self.controller.kill()
        if self.realtime is not None:
            self.realtime.kill()
        if self.gateway is not None and self.gateway.alive:
            self.gateway.kill()
        self.lost("power cut")

    def restart_controller(self) -> None:
        """Start the service again after the controller was killed. The orphaned real-time process has ended by then."""
        orphan = self.realtime
        if not self.run_until(lambda: orphan is None or not orphan.alive, within_ms=ORPHAN_MS):
            raise RuntimeError("the real-time process outlives its controller")
        self.controller.bury()
        if not self.power:
            if self.gateway is not None:
                self.gateway.close()
            self.disk.power_comes()
            self.power = True
        self.controller = self._boot()
        self.start_gateway()

    def start_gateway(self) -> None:
        """Start the gateway, where there is one, it does not run, and there is power for it."""
        if self.gateway is not None and self.power and not self.gateway.alive:
            self.gateway.start()

    def _boot(self) -> ControllerProcess:
        self._boots += 1
        return ControllerProcess(self, self._boots)

    def lost(self, what: str) -> None:
        """Tell the observers that a process is gone or frozen."""
        for lost in self.audience.lost:
            lost(what, self.time.now_ns)
