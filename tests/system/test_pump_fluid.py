"""The simulated pump's process with a tube that gives way: it drips after its plunger has stopped, and then sleeps."""

import asyncio
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.core.units import Increments
from drivers.pump.cavro import CavroPump
from drivers.pump.serial_line import SerialLine
from drivers.sim.world import World
from tests.support.console import LINES, make_world
from tests.support.pump import BAUD, CEILING, SPEC, shot_program, sim_pump

START = 2_000
DOSE_PL = 20_000_000
"""What `shot_program` gives: 480 increments of a 1 mL syringe."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = make_world(tmp_path / "world")
    yield world
    world.close()


def within_s(seconds: float) -> Iterator[None]:
    """Yield until `seconds` have passed, waiting a millisecond at a time on a descriptor that nothing writes to."""
    silent, other = os.pipe()
    try:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            yield
            select.select([silent], [], [], 0.001)
    finally:
        os.close(silent)
        os.close(other)


def test_another_process_sees_the_dose_leave_and_the_rest_drip(tmp_path: Path, world: World) -> None:
    async def main(port: Path) -> None:
        pump = CavroPump(SerialLine(str(port), BAUD), address=1, spec=SPEC, ceiling=CEILING)
        await pump.connect()
        await pump.home_plunger()
        await pump.refill(Increments(START), overshoot=Increments(50))
        spilled_pl = world.spilled_pl
        await pump.load(shot_program(START))
        highest_pa = 0
        for index, gate in enumerate((LINES.gate_1, LINES.gate_2, LINES.gate_1)):
            world.drive(gate, False, pid=os.getpid(), now_ns=time.monotonic_ns())
            for _ in within_s(2):
                highest_pa = max(highest_pa, world.pressure_pa)
                if world.level(20) is (index % 2 == 0):
                    break
            world.drive(gate, True, pid=os.getpid(), now_ns=time.monotonic_ns())
        assert any(world.spilled_pl - spilled_pl > DOSE_PL - 10_000 for _ in within_s(2))
        assert highest_pa > 10_000
        assert any(0 <= world.stored_pl < 1_000 for _ in within_s(2))
        assert abs(world.spilled_pl - spilled_pl + world.stored_pl - DOSE_PL) < 1_000
        assert world.given_in_air == world.spilled_pl * 24_000 // 1_000_000_000
        await pump.terminate()
        await pump.close()

    with sim_pump("--baud", str(BAUD), "--world", str(tmp_path / "world"), "--fluid", "30g") as (_, port):
        asyncio.run(main(port))
