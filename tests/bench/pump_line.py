"""What the driver makes of the pump's serial line: a status query, and the loading of a full magazine.

Over a pty to the simulated pump's process, which paces every byte as the line does. The floor is the time that the
counted bytes take on the wire: what no driver can be faster than.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from device.core.magazine import PumpProgram
from device.core.units import NS_PER_S, Increments
from device.service.sim_console import sim_paths
from device.settings import Configuration
from drivers.pump.cavro import CavroPump, PumpCeiling
from drivers.pump.serial_line import Lost, Received, SerialLine
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Row, row
from tests.bench.gun import sim_pump
from tests.bench.shipped import shipped_configuration, syringe_of
from tests.bench.treatment import full_turn

BITS_PER_BYTE: Final = 10
LOWEST: Final = 10_000
"""Where the measured program ends: the lowest plunger position with the five digits of a filled syringe's."""


class CountingLine:
    """A serial line that counts the bytes of both directions."""

    def __init__(self, line: SerialLine) -> None:
        self._line = line
        self.count = 0

    @property
    def baud(self) -> int:
        """Bits per second."""
        return self._line.baud

    def open(self, received: Received, lost: Lost) -> None:
        """Open and count what comes."""

        def counted(data: bytes) -> None:
            self.count += len(data)
            received(data)

        self._line.open(counted, lost)

    def write(self, data: bytes) -> None:
        """Count and send."""
        self.count += len(data)
        self._line.write(data)

    def close(self) -> None:
        """Close the line."""
        self._line.close()


def pump_line(effort: Effort) -> Findings:
    """Measure `effort.status_queries` queries and `effort.program_loads` loads. Raises DriverError."""
    configuration = shipped_configuration()
    with TemporaryDirectory(prefix="mesogun-bench-") as name:
        paths = sim_paths(Path(name))
        with sim_pump(paths, configuration):
            return asyncio.run(_measure(configuration, str(paths.port), effort))


async def _measure(configuration: Configuration, port: str, effort: Effort) -> Findings:
    program = _lowered(full_turn(configuration).fired.pump_program())
    line = CountingLine(SerialLine(port, configuration.serial.baud))
    pump = CavroPump(
        line,
        address=configuration.serial.address,
        spec=configuration.device.pump,
        ceiling=PumpCeiling.of(configuration.device.limits),
    )

    async def unload() -> None:
        # At its first gate the program has moved nothing: the plunger is where the next load wants it.
        await pump.terminate()

    async def nothing() -> None:
        return

    try:
        await pump.connect()
        await pump.home_plunger()
        await pump.refill(Increments(program.start), overshoot=syringe_of(configuration).backlash_increments)
        rows = [
            *await _timed("status (Q)", pump.status, nothing, line=line, count=effort.status_queries),
            *await _timed(
                f"load of {len(program.moves)} moves",
                lambda: pump.load(program),
                unload,
                line=line,
                count=effort.program_loads,
            ),
        ]
        await pump.terminate()
    finally:
        await pump.close()
    return Findings(tuple(rows), (f"{configuration.serial.baud} bit/s, {BITS_PER_BYTE} bits a byte",))


def _lowered(program: PumpProgram) -> PumpProgram:
    """Return `program` from a lower plunger, so that nobody waits for a full syringe; as many digits to send."""
    down = min(move.target for move in program.moves) - LOWEST
    moves = tuple(replace(move, target=Increments(move.target - down)) for move in program.moves)
    return replace(program, start=Increments(program.start - down), moves=moves)


async def _timed(
    name: str,
    call: Callable[[], Awaitable[Any]],
    between: Callable[[], Awaitable[None]],
    *,
    line: CountingLine,
    count: int,
) -> list[Row]:
    """Time `count` calls, with `between` untimed after each; return their row and that of their bytes' time."""
    byte_ns = BITS_PER_BYTE * NS_PER_S // line.baud
    call_ns: list[int] = []
    wire_ns: list[int] = []
    for _ in range(count):
        before, began_ns = line.count, time.monotonic_ns()
        await call()
        call_ns.append(time.monotonic_ns() - began_ns)
        wire_ns.append((line.count - before) * byte_ns)
        await between()
    floor = f"{wire_ns[0] // byte_ns} bytes on the line"
    return [row(name, call_ns, floor), row(floor, wire_ns)]
