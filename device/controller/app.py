"""The controller's composition root: checks what it is given, wires the drivers to the loop, runs until told to end.

The one place of this process that names concrete drivers. Whatever is wrong at start is one clear line
(`StartRefused`) before anything was changed. `simulated` chooses pins and pump together: they cannot be mixed.
"""

import asyncio
import fcntl
import logging
import os
import pwd
import signal
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from device.controller.child_process import ChildProcess
from device.controller.command_events import event_of
from device.controller.commands import Arguments, CommandRefused
from device.controller.control_socket import ControlSocket, SocketInUse
from device.controller.journal import Journal, JournalWriteError
from device.controller.journal_writer import JournalWriter
from device.controller.live import (
    LiveFile,
    checklist_items,
    ended_session,
    fault_list,
    refusals,
    region_list,
    snapshot,
    step_lateness,
)
from device.controller.loop import ControllerLoop
from device.controller.realtime_child import RealtimeChild
from device.controller.recovery import OtherKindError, fold_journal, restored_session
from device.controller.watchdog import Watchdog
from device.core.console import Console
from device.core.events import (
    Request,
    ShutdownRequested,
    Started,
)
from device.core.formulary import Formulary
from device.core.ledger import Ledger, apply
from device.core.records import Booted, ConsoleKeyMade, Record
from device.core.scan_state import scan_spec
from device.core.units import NS_PER_S
from device.journal_file import JOURNAL_NAME, JournalDamagedError, JournalUnavailableError
from device.realtime.link import Configure
from device.realtime.scheduling import become_realtime
from device.settings import DEVICE_FILE, EXAMPLE_SITE, FORMULARY, Configuration, ConfigurationError, Problem
from device.settings.bundle import TRUSTED, verified
from device.settings.console_key import KEY_NAME, digest_of, public_half, read_or_make_key
from drivers.gpio.indicators import Indicators
from drivers.gpio.pin_factory import Factory, PinFactoryError, open_lgpio_factory, why_lines_stay_driven
from drivers.ports import DriverError
from drivers.pump.cavro import CavroPump
from drivers.pump.cavro_program import PumpCeiling
from drivers.pump.serial_line import PortMissingError, SerialLine

log = logging.getLogger(__name__)

VERSION: Final = version("mesogun")
"""Read once: it is a search in the file system."""

PRIORITY: Final = 10
"""SCHED_FIFO priority of the controller: the permit must not wait for other programs; far below the strokes' 50."""

STOP_DEADLINE_S: Final = 2.0


class StartRefused(Exception):
    """The controller cannot start: one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The simulated console to run against: the world's file and the pump's port."""

    world: Path
    port: Path


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `mesogun run` was told. `simulation` is None on a real console."""

    configuration: Configuration
    state_dir: Path
    socket: Path
    simulation: Simulation | None


def run_controller(options: RunOptions) -> None:
    """Run until SIGTERM or SIGINT. Raises StartRefused when it cannot start."""
    asyncio.run(_run(options))


async def _run(options: RunOptions) -> None:
    async with AsyncExitStack() as stack:
        controller = await _compose(options, stack)
        await controller.run()


def lock_state(directory: Path) -> int:
    """Take the state directory for this process; returns the lock's descriptor. Raises StartRefused."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StartRefused(f"state directory {directory}: {error.strerror}; choose another --state") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StartRefused(
            f"state directory {directory}: another controller works there; stop it or choose another --state"
        ) from error
    return descriptor


async def _compose(options: RunOptions, stack: AsyncExitStack) -> "Controller":
    configuration = options.configuration
    if options.simulation is None:
        _refuse_the_example(configuration)
    descriptor = lock_state(options.state_dir)
    stack.callback(os.close, descriptor)
    boot_id = str(uuid.uuid4())
    try:
        journal = Journal.open(options.state_dir / JOURNAL_NAME, boot_id=boot_id, wall_clock_ms=wall_clock_ms)
    except (JournalDamagedError, JournalUnavailableError) as error:
        raise StartRefused(str(error)) from error
    stack.callback(journal.close)
    writer = JournalWriter(journal)
    stack.callback(writer.close)
    try:
        ledger = fold_journal(journal, simulated=options.simulation is not None)
    except OtherKindError as error:
        raise StartRefused(str(error)) from error
    key_records = _key_records(options.state_dir / KEY_NAME, ledger)
    for record in key_records:
        ledger = apply(ledger, record)
    for refused in become_realtime(priority=PRIORITY, lock_memory=False):
        log.warning("not granted: %s", refused)
    line = _open_line(options)
    pump = CavroPump(
        line,
        address=configuration.serial.address,
        spec=configuration.device.pump,
        ceiling=PumpCeiling.of(configuration.device.limits),
    )
    stack.push_async_callback(pump.close)
    indicators = Indicators(_pin_factory(options), configuration.lines)
    stack.callback(indicators.close)
    console = Console(
        spec=configuration.device,
        ledger=ledger,
        formulary=_formulary(options),
        session=restored_session(ledger, configuration),
    )
    controller = Controller(options, boot_id=boot_id, console=console, overriders=_overriders(options))
    child = RealtimeChild(
        spawn=partial(
            ChildProcess.start,
            pins=_pins(options),
            lock=options.state_dir / "realtime.lock",
            configure=Configure(configuration.lines, scan_spec(configuration.device)),
        ),
        timing=configuration.device.timing,
        post=controller.post,
        now_ns=time.monotonic_ns,
    )
    stack.push_async_callback(child.close)
    controller.child = child
    controller.loop = ControllerLoop(
        console,
        pump=pump,
        realtime=child,
        journal=writer,
        indicators=indicators,
        answered=controller.answered,
        changed=controller.changed,
        wall_clock_ms=wall_clock_ms,
    )
    control = ControlSocket(options.socket, controller.take)
    try:
        await control.open()
    except SocketInUse as error:
        raise StartRefused(str(error)) from error
    stack.push_async_callback(control.close)
    try:
        await child.start()
    except (OSError, TimeoutError) as error:
        raise StartRefused(f"real-time process: {error}") from error
    booted = Booted(VERSION, configuration.sha256, simulated=options.simulation is not None)
    try:
        journal.append([booted, *key_records])
    except JournalWriteError as error:
        raise StartRefused(str(error)) from error
    return controller


def _refuse_the_example(configuration: Configuration) -> None:
    """Raise StartRefused where a real console was given the wiring of the shipped example."""
    if configuration.device.site != EXAMPLE_SITE:
        return
    problem = Problem(
        file=configuration.directory / DEVICE_FILE,
        line=None,
        key="site",
        found=f'"{EXAMPLE_SITE}", the shipped example\'s',
        allowed="a real console starts only with its own values",
        action="write this console's own wiring, needle, pump and clinic into the file, then start again",
    )
    raise StartRefused(str(problem))


def _formulary(options: RunOptions) -> Formulary:
    """Return the formulary with what came of its signature. Without a good one the gun runs and releases nothing."""
    configuration = options.configuration
    found = verified(
        configuration.directory / FORMULARY,
        configuration.files,
        trusted=configuration.directory / TRUSTED,
        simulated=options.simulation is not None,
    )
    if found.problem:
        log.error("nothing will be released: %s", found.problem)
    return found


def _overriders(options: RunOptions) -> frozenset[int]:
    """Return the numbers of the accounts whose word goes beyond soft limits. Raises StartRefused for an unknown one."""
    found = {os.getuid()} if options.simulation is not None else set[int]()
    for name in options.configuration.override_users:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError as error:
            raise StartRefused(
                f"access.override_users: found {name!r}, which is no account of this machine; add it (adduser) or "
                "leave it out"
            ) from error
    return frozenset(found)


def _key_records(path: Path, ledger: Ledger) -> tuple[Record, ...]:
    """Return what the journal has still to be told of the console's key, which is made where there is none.

    Without a readable key the gun works all the same: only summaries cannot be signed, and the command says why.
    """
    try:
        public = public_half(read_or_make_key(path))
    except (ConfigurationError, OSError) as error:
        log.warning("no summary can be signed: %s", error)
        return ()
    return () if public == ledger.console_key else (ConsoleKeyMade(public, digest_of(public)),)


def _open_line(options: RunOptions) -> SerialLine:
    """Return the pump's serial line, once opened to see that it can be. Raises StartRefused.

    A port that is not there may be plugged in again: the self-test makes a fault of it.
    """
    serial = options.configuration.serial
    port = str(options.simulation.port) if options.simulation is not None else serial.port
    line = SerialLine(port, serial.baud)
    try:
        line.open(lambda _data: None, lambda _reason: None)
    except PortMissingError as error:
        log.warning("pump: %s", error.detail)
    except DriverError as error:
        raise StartRefused(f"pump: {error.detail}") from error
    line.close()
    return line


def wall_clock_ms() -> int:
    """Return the wall clock's time for the journal; never used in control."""
    return time.time_ns() // 1_000_000


def utc_offset_s(at_ms: int) -> int:
    """Return how far this computer's own time is ahead of UTC at a time of the wall clock."""
    return time.localtime(at_ms // 1000).tm_gmtoff


def _pins(options: RunOptions) -> str:
    if options.simulation is not None:
        return f"sim:{options.simulation.world}"
    return f"lgpio:{options.socket.parent}"


def _pin_factory(options: RunOptions) -> Factory:
    if options.simulation is not None:
        from drivers.sim.pins import SimPinFactory  # noqa: PLC0415 - on the Pi no simulator is ever imported
        from drivers.sim.world import World, WorldError  # noqa: PLC0415 - as above

        try:
            return SimPinFactory(World.attach(options.simulation.world))
        except WorldError as error:
            raise StartRefused(str(error)) from error
    try:
        factory = open_lgpio_factory(options.socket.parent)
    except PinFactoryError as error:
        raise StartRefused(str(error)) from error
    kept = why_lines_stay_driven(factory)
    if kept is not None:
        log.warning("%s", kept)
    return factory


class Controller:
    """The running controller: turns commands into events and the machine's replies into answers."""

    loop: ControllerLoop
    child: RealtimeChild

    def __init__(self, options: RunOptions, *, boot_id: str, console: Console, overriders: frozenset[int]) -> None:
        self._options = options
        self._boot_id = boot_id
        self._requests = 0
        self._overriders = overriders
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._console = console
        self._ended: dict[str, Any] = {}
        self._live = LiveFile(options.socket.parent / "live.json", current=lambda: self._console, stamp=self._stamp)

    def post(self, event: Any) -> None:
        """Queue an event for the loop."""
        self.loop.post(event)

    def changed(self, console: Console) -> None:
        """Take the newest console for `status` and the live file."""
        if console.state is not self._console.state:
            log.info("%s -> %s", self._console.state.name.lower(), console.state.name.lower())
            for fault in fault_list(console):
                if fault["code"] not in self._console.ledger.faults:
                    log.error("fault %d: %s: %s", fault["code"], fault["title"], fault["action"])
        if self._console.session is not None and console.session is None:
            self._ended = ended_session(self._console)
        self._console = console
        self._live.changed()

    def answered(self, request: Request, accepted: bool, reasons: tuple[str, ...]) -> None:  # noqa: FBT001 - a callback
        """Give the machine's reply to whoever waits for it."""
        future = self._waiting.pop(request.number, None)
        if future is not None and not future.done():
            if accepted:
                future.set_result(None)
            else:
                future.set_exception(CommandRefused(*reasons))

    async def run(self) -> None:
        """Run until told to end; safe and settled then."""
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, self.loop.post, ShutdownRequested())
        watchdog = Watchdog()
        tasks = [asyncio.create_task(self._live.run()), asyncio.create_task(watchdog.run(self.loop.gets_on))]
        self.loop.post(Started())
        watchdog.ready("running")
        log.info("control socket %s", self._options.socket)
        try:
            await self.loop.run()
        finally:
            watchdog.stopping()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_DEADLINE_S)
            watchdog.close()
            self._live.remove()

    def _stamp(self) -> dict[str, Any]:
        return {
            "ts_ms": wall_clock_ms(),
            "boot_id": self._boot_id,
            "simulated": self._options.simulation is not None,
            "version": VERSION,
            "serial": self._options.configuration.device.device,
            **self.loop.alarm.values(),
        }

    async def take(self, command: str, arguments: Arguments, uid: int, pid: int) -> dict[str, Any]:
        """Carry out a command of the control socket. Raises CommandRefused with every reason."""
        if command == "status":
            return self._status()
        self._requests += 1
        at_ms = wall_clock_ms()
        request = Request(
            number=self._requests,
            uid=uid,
            pid=pid,
            at_ms=at_ms,
            utc_offset_s=utc_offset_s(at_ms),
            may_override=uid in self._overriders,
        )
        event = event_of(command, arguments, request, self._options.configuration)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request.number] = future
        try:
            self.loop.post(event)
            await future
        finally:
            self._waiting.pop(request.number, None)
        result = {**snapshot(self._console), **self.loop.alarm.values()}
        return {**result, "ended": self._ended} if command == "session_stop" else result

    def _status(self) -> dict[str, Any]:
        return {
            **self._stamp(),
            **snapshot(self._console),
            "fault_list": fault_list(self._console),
            "regions": region_list(self._console),
            "refusals": refusals(self._console, wall_clock_ms()),
            "checklist_items": checklist_items(self._console),
            "steps_per_s_kept": self.child.steps_kept,
            "steps_per_s_asked": NS_PER_S // self._console.spec.axis.shortest_step_ns,
            "step_late": step_lateness(self.child.late_counts),
        }
