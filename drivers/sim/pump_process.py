"""The simulated pump as a process: a pty that behaves like a pump on a serial port, and the keeper of the world.

Owns the pty (or the socket of an emulated machine's port), its name's link, the waiting, and the duty that a world of
memory cannot do by itself: when a process that drives lines dies, its lines go to their pulls. All behaviour is
`pump_firmware`'s and `world`'s. Idle it sleeps; while a program waits at a gate or the plunger moves it looks
every 0.5 ms or more often.
"""

import argparse
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from drivers.ports import LineMap
from drivers.sim.fluid import FLUID_30G, FLUID_32G, FluidSpec
from drivers.sim.pump_firmware import Dialect, PumpFirmware, Troubles
from drivers.sim.pump_line import PumpOnLine
from drivers.sim.pump_port import PumpPort, PumpPty, PumpSocket
from drivers.sim.world import World, WorldError

TICK_NS: Final = 20_000_000
"""Longest sleep: how late a new driver of lines, a trouble or a closed pty is noticed."""
WATCHED_MOST: Final = 64

_CONSOLE_LINES: Final = LineMap(
    trigger_a=5,
    trigger_b=6,
    stop_a=13,
    stop_b=19,
    home=26,
    contact=21,
    phase=20,
    step=17,
    direction=27,
    enable=22,
    gate_1=23,
    gate_2=24,
    light=12,
    buzzer=16,
)
_FLUIDS: Final[dict[str, FluidSpec | None]] = {"rigid": None, "30g": FLUID_30G, "32g": FLUID_32G}
_STEPS_PER_MM: Final = 100
_CLEARANCE_STEPS: Final = 100


class SimPumpError(Exception):
    """The simulated pump cannot run; one line that says why."""


@dataclass(slots=True)
class _TroublesAsked:
    """The totals of the world's countable troubles that have been handed to the firmware so far."""

    drop_frames: int = 0
    drop_answers: int = 0
    delay_answers: int = 0
    overloads: int = 0
    flip_bits: int = 0

    def hand_over(self, world: World, troubles: Troubles) -> None:
        """Give `troubles` what was asked for since the last time."""
        troubles.drop_frames += world.trouble_drop_frames - self.drop_frames
        troubles.drop_answers += world.trouble_drop_answers - self.drop_answers
        troubles.delay_ns = world.trouble_delay_ms * 1_000_000
        troubles.delay_answers += world.trouble_delay_answers - self.delay_answers
        troubles.overloads += world.trouble_overloads - self.overloads
        troubles.flip_answers += world.trouble_flip_bits - self.flip_bits
        troubles.lose_increments = world.trouble_lose_increments
        self.drop_frames = world.trouble_drop_frames
        self.drop_answers = world.trouble_drop_answers
        self.delay_answers = world.trouble_delay_answers
        self.overloads = world.trouble_overloads
        self.flip_bits = world.trouble_flip_bits


class LineKeeper:
    """Watches the processes that drive the world's lines and lets their lines go when they die."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._watched: dict[int, int] = {}

    def descriptors(self) -> list[int]:
        """Return what becomes readable when a watched process dies."""
        return list(self._watched)

    def look(self, now_ns: int) -> None:
        """Begin to watch new drivers of lines; those that are dead already are released."""
        known = set(self._watched.values())
        for pid in self._world.owners() - known:
            if len(self._watched) >= WATCHED_MOST:
                raise SimPumpError(f"more than {WATCHED_MOST} processes drive the simulated lines")
            try:
                self._watched[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                self._world.release_all_of(pid, now_ns)

    def died(self, descriptor: int, now_ns: int) -> None:
        """Release the lines of the process behind `descriptor`."""
        self._world.release_all_of(self._watched.pop(descriptor), now_ns)
        os.close(descriptor)

    def close(self) -> None:
        """Stop watching."""
        for descriptor in self._watched:
            os.close(descriptor)
        self._watched.clear()


def run_sim_pump(
    *,
    dialects: Sequence[Dialect] = (Dialect.CAVRO, Dialect.DT),
    baud: int = 38_400,
    address: int = 1,
    position: int = 0,
    link: Path | None = None,
    serial_socket: Path | None = None,
    world: Path | None = None,
    linger_s: float | None = None,
    fluid: FluidSpec | None = None,
) -> None:
    """Run a pump until SIGTERM or SIGINT, or until nobody has had the pty open for `linger_s`.

    Prints the pty's name as the first line on stdout; `link` becomes a symbolic link to it while the pump runs.
    `serial_socket`: no pty, but the Unix socket at which an emulated machine offers its serial port; its name is
    printed.
    `world` is attached; None: a world of its own, at rest, whose gates nobody opens. `position`: the plunger's, in
    coarse increments. `fluid` None: serum leaves the needle with the plunger. Call it in a process's main thread.
    Raises SimPumpError and WorldError with one line.
    """
    with ExitStack() as stack:
        if world is None:
            surroundings = World.create(
                None, lines=_CONSOLE_LINES, steps_per_mm=_STEPS_PER_MM, clearance_steps=_CLEARANCE_STEPS
            )
        else:
            surroundings = World.attach(world)
        stack.callback(surroundings.close)
        stopped = stack.enter_context(_stop_signals())
        port: PumpPort = PumpPty() if serial_socket is None else PumpSocket(serial_socket)
        stack.callback(port.close)
        if link is not None:
            stack.enter_context(_linked(link, port.name))
        path = None if fluid is None else surroundings.carry_fluid(fluid, position=position)
        firmware = PumpFirmware(surroundings, dialects=dialects, address=address, position=position, fluid=path)
        keeper = LineKeeper(surroundings)
        stack.callback(keeper.close)
        print(port.name, flush=True)
        linger_ns = None if linger_s is None else round(linger_s * 1e9)
        runner = _Runner(
            port=port,
            pump=PumpOnLine(firmware, baud=baud),
            firmware=firmware,
            world=surroundings,
            keeper=keeper,
            linger_ns=linger_ns,
        )
        runner.run(stopped)


class _Runner:
    """The waiting loop: sleeps until bytes, a death, a signal or the pump's next event."""

    def __init__(
        self,
        *,
        port: PumpPort,
        pump: PumpOnLine,
        firmware: PumpFirmware,
        world: World,
        keeper: LineKeeper,
        linger_ns: int | None,
    ) -> None:
        self._port = port
        self._pump = pump
        self._firmware = firmware
        self._world = world
        self._keeper = keeper
        self._linger_ns = linger_ns
        self._asked = _TroublesAsked()
        self._is_open = False
        self._seen_ns = time.monotonic_ns()

    def run(self, stopped: socket.socket) -> None:
        """Run until `stopped` becomes readable or the lingering ends."""
        tick_ns = 0
        while True:  # a process's main loop: ends by signal or lingering
            now_ns = time.monotonic_ns()
            if now_ns >= tick_ns:
                if self._tick(now_ns):
                    return
                tick_ns = now_ns + TICK_NS
            self._advance(now_ns)
            watched = [stopped.fileno(), *self._keeper.descriptors()]
            if self._is_open:
                watched.append(self._port.descriptor)
            event_ns = self._pump.next_event_ns(now_ns)
            wake_ns = tick_ns if event_ns is None else min(event_ns, tick_ns)
            timeout_s = max(0, wake_ns - time.monotonic_ns()) / 1e9
            readable, _, _ = select.select(watched, [], [], timeout_s)
            if stopped.fileno() in readable:
                return
            self._take(readable)

    def _tick(self, now_ns: int) -> bool:
        """Do what is due every tick; return whether the lingering has ended."""
        self._keeper.look(now_ns)
        self._asked.hand_over(self._world, self._firmware.troubles)
        self._is_open = self._port.is_open()
        if self._is_open:
            self._seen_ns = now_ns
        return self._linger_ns is not None and now_ns - self._seen_ns > self._linger_ns

    def _advance(self, now_ns: int) -> None:
        answer = self._pump.advance(now_ns)
        if answer and self._is_open:
            self._port.write(answer)

    def _take(self, readable: list[int]) -> None:
        now_ns = time.monotonic_ns()
        for descriptor in readable:
            if descriptor == self._port.descriptor:
                data = self._port.read()
                if data:
                    # A test that asks for a trouble and then sends a frame finds the trouble in force.
                    self._asked.hand_over(self._world, self._firmware.troubles)
                    self._pump.host_sends(data, now_ns)
                else:
                    self._is_open = False
            else:
                self._keeper.died(descriptor, now_ns)


@contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """Yield a socket that becomes readable at SIGTERM or SIGINT."""

    def noted(_number: int, _frame: FrameType | None) -> None:
        """Leave the signal to the wake-up descriptor, which the interpreter writes by itself."""

    receiver, sender = socket.socketpair()
    with receiver, sender:
        sender.setblocking(False)  # noqa: FBT003 - the socket's own signature
        before = {number: signal.signal(number, noted) for number in (signal.SIGTERM, signal.SIGINT)}
        descriptor = signal.set_wakeup_fd(sender.fileno())
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _linked(link: Path, target: str) -> Iterator[None]:
    """Make `link` point to `target`, in place of an older link; take it away at the end if it is still ours."""
    if link.exists() and not link.is_symlink():
        raise SimPumpError(f"{link} exists and is no symbolic link: choose another name for the simulated port")
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SimPumpError(f"{link}: the link cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if str(link.readlink()) == target:
                link.unlink()


def _run_from_command_line(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m drivers.sim.pump_process", description="A simulated dosing pump.")
    parser.add_argument("--baud", type=int, default=38_400)
    parser.add_argument("--address", type=int, default=1)
    parser.add_argument("--position", type=int, default=0, help="the plunger's, in coarse increments")
    parser.add_argument("--link", type=Path)
    parser.add_argument("--serial-socket", type=Path, help="an emulated machine's serial port, instead of a pty")
    parser.add_argument("--world", type=Path)
    parser.add_argument("--linger", type=float, help="end after the port was closed for so many seconds")
    parser.add_argument("--dialect", choices=["both", *(dialect.value for dialect in Dialect)], default="both")
    parser.add_argument("--fluid", choices=list(_FLUIDS), default="rigid", help="what lies behind the pump (1 mL)")
    options = parser.parse_args(arguments)
    dialects = tuple(Dialect) if options.dialect == "both" else (Dialect(options.dialect),)
    try:
        run_sim_pump(
            dialects=dialects,
            baud=options.baud,
            address=options.address,
            position=options.position,
            link=options.link,
            serial_socket=options.serial_socket,
            world=options.world,
            linger_s=options.linger,
            fluid=_FLUIDS[options.fluid],
        )
    except (SimPumpError, WorldError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    _run_from_command_line(sys.argv[1:])
