"""What the pump's tests share: a loop whose time jumps, a pump on a line in memory, and a bench to put it on.

The line in memory uses the same firmware and the same pacing as the simulated pump's process, so a test in virtual
time and one over a pty see the same bytes; only the waiting differs.
"""

import asyncio
import selectors
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from device.core.device_spec import PumpSpec
from device.core.magazine import PhaseMove, PumpProgram, Purpose
from device.core.profile import Phase
from device.core.units import HalfIncrementsPerSecond, Increments, Nanolitres, Nanoseconds
from drivers.pump.cavro import CavroPump, PumpCeiling
from drivers.pump.cavro_codec import Command
from drivers.pump.serial_line import Lost, Received
from drivers.sim.pump_firmware import STROKES, PumpFirmware, Troubles
from drivers.sim.pump_line import PumpOnLine

T = TypeVar("T")

BAUD = 38_400
SPEC = PumpSpec(
    stroke_increments=Increments(24_000),
    stroke_half_increments=6000,
    start_speed=HalfIncrementsPerSecond(900),
    fastest_speed=HalfIncrementsPerSecond(5800),
    cutoff_speed=HalfIncrementsPerSecond(900),
    slope=20,
    refill_speed=HalfIncrementsPerSecond(2000),
    program_bytes=255,
    gate_latency_ns=Nanoseconds(5_000_000),
    phase_feedback=True,
)
CEILING = PumpCeiling(
    shot_nl_most=Nanolitres(50_000),
    program_nl_most=Nanolitres(250_000),
    prime_nl_most=Nanolitres(100_000),
    suck_back_nl_most=Nanolitres(2_000),
)
STROKE_NL = Nanolitres(1_000_000)
"""A 1 mL syringe: of `CEILING` a shot may have 1200 increments, a program 6000, a prime 2400, a suck-back 48."""

FILLED = Increments(12_000)


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: where nothing is ready, virtual time moves on by the time-out instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing is left that could ever happen")
            self.now_s += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that runs as fast as it can and tells the time that would have passed."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


@dataclass
class Bench:
    """Where a pump stands in a test: gates to set, and a record of everything that the plunger and the line did."""

    gates: dict[int, bool] = field(default_factory=lambda: {1: False, 2: False})
    phases: list[bool] = field(default_factory=list)
    movements: list[tuple[int, int, bool, int]] = field(default_factory=list)

    def gate_low(self, number: int) -> bool:
        return self.gates[number]

    def set_phase(self, level: bool, now_ns: int) -> None:
        self.phases.append(level)

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        self.movements.append((from_position, to_position, needle_side, now_ns))

    @property
    def dispensed(self) -> int:
        """Increments pushed out on the needle's side."""
        return sum(max(0, before - after) for before, after, needle, _ in self.movements if needle)

    @property
    def needle_travel(self) -> int:
        """Increments moved on the needle's side, both ways."""
        return sum(abs(before - after) for before, after, needle, _ in self.movements if needle)

    @property
    def drawn_from_vial(self) -> int:
        """Increments drawn in on the vial's side."""
        return sum(max(0, after - before) for before, after, needle, _ in self.movements if not needle)

    def forget(self) -> None:
        self.movements.clear()
        self.phases.clear()


class MemoryLine:
    """A line in memory to `firmware`; paced like the wire, on the running loop's time."""

    def __init__(self, firmware: PumpFirmware, baud: int = BAUD) -> None:
        self.baud = baud
        self.sent: list[bytes] = []
        self._pump = PumpOnLine(firmware, baud=baud)
        self._received: Received | None = None
        self._lost: Lost | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self, received: Received, lost: Lost) -> None:
        self._received, self._lost = received, lost
        self._advance()

    def write(self, data: bytes) -> None:
        if self._received is not None:
            self.sent.append(data)
            self._pump.host_sends(data, self._now_ns())
            self._advance()

    def close(self) -> None:
        self._received = self._lost = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def unplug(self) -> None:
        """Pull the cable."""
        lost = self._lost
        self.close()
        if lost is not None:
            lost("the test pulled the cable")

    def _advance(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_ns = self._now_ns()
        answer = self._pump.advance(now_ns)
        event_ns = self._pump.next_event_ns(now_ns)
        if event_ns is not None and self._received is not None:
            self._timer = asyncio.get_running_loop().call_at(event_ns / 1e9, self._advance)
        if answer and self._received is not None:
            asyncio.get_running_loop().call_soon(self._received, answer)

    @staticmethod
    def _now_ns() -> int:
        return round(asyncio.get_running_loop().time() * 1e9)


@dataclass
class Rig:
    """A pump in memory with its driver: connected, initialised, filled to `FILLED`, record wiped."""

    bench: Bench
    firmware: PumpFirmware
    line: MemoryLine
    pump: CavroPump

    @property
    def troubles(self) -> Troubles:
        return self.firmware.troubles

    def words(self) -> list[str]:
        """The data of every frame sent so far, without repeats' difference."""
        return [frame[3:-2].decode("ascii") for frame in self.line.sent]

    async def let_pass(self, moves: int) -> None:
        """Open the gates in turn until `moves` moves ran, as the real-time process does."""
        for index in range(moves):
            gate = index % 2 + 1
            self.bench.gates[gate] = True
            await self.until(partial(self._phase_is, bool((index + 1) % 2)))
            self.bench.gates[gate] = False

    async def until(self, holds: Callable[[], bool], *, within_s: float = 20.0) -> None:
        """Wait in virtual time until `holds()`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + within_s
        while not holds():
            if loop.time() > deadline_s:
                raise AssertionError(f"not within {within_s} s")
            await self.pass_time(0.001)

    async def pass_time(self, seconds: float) -> None:
        """Let virtual time pass."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_later(seconds, done.set_result, None)
        await done

    async def whisper(self, text: str) -> None:
        """Have the pump carry out `text` behind the driver's back; its answer reaches nobody."""
        loop = asyncio.get_running_loop()

        def done() -> bool:
            self.firmware.advance(round(loop.time() * 1e9))
            return not self.firmware.busy

        self.firmware.receive(Command(1, 7, False, text).to_bytes(), round(loop.time() * 1e9))
        await self.pass_time(0.005)
        await self.until(done)

    def _phase_is(self, level: bool) -> bool:
        return self.bench.phases[-1:] == [level]


def make_rig(
    *,
    troubles: Troubles | None = None,
    coarse_position: int = 0,
    operand_error_at_once: bool = True,
    encoder: Callable[[int], int] | None = None,
) -> Rig:
    """Return a pump just switched on and a driver that has not connected."""
    bench = Bench()
    firmware = PumpFirmware(
        bench,
        troubles=troubles,
        position=coarse_position,
        operand_error_at_once=operand_error_at_once,
        encoder=encoder,
    )
    line = MemoryLine(firmware)
    return Rig(bench, firmware, line, CavroPump(line, address=1, spec=SPEC, ceiling=CEILING))


async def ready_rig(*, operand_error_at_once: bool = True, encoder: Callable[[int], int] | None = None) -> Rig:
    """Return a rig that is connected, initialised and filled."""
    rig = make_rig(
        coarse_position=FILLED * STROKES[0] // STROKES[1],
        operand_error_at_once=operand_error_at_once,
        encoder=encoder,
    )
    # `z` initialises where the plunger stands: no test has to wait for a syringe to fill.
    await rig.whisper("zR")
    await rig.pump.connect()
    rig.bench.forget()
    rig.line.sent.clear()
    return rig


def move(phase: Phase, target: int, top_speed: int = 2000) -> PhaseMove:
    return PhaseMove(phase, Increments(target), HalfIncrementsPerSecond(top_speed))


def shot_program(start: int = FILLED) -> PumpProgram:
    """One shot of 480 increments in three phases, with a suck-back of 24."""
    moves = (
        move(Phase.ENTRY, start - 160),
        move(Phase.DWELL, start - 320),
        move(Phase.EXIT, start - 480),
        move(Phase.SUCK_BACK, start - 456),
    )
    return PumpProgram(magazine_id=1, purpose=Purpose.INJECT, stroke_nl=STROKE_NL, start=Increments(start), moves=moves)


@contextmanager
def sim_pump(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run the simulated pump's process; yield it and its pty's name. Ends it by SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "drivers.sim.pump_process", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
