"""The driver, the serial line and the simulated pump's process over a real pty, in real time."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from device.core.faults import Fault
from device.core.units import Increments
from drivers.ports import DriverError, LineMap
from drivers.pump.cavro import CavroPump, ExchangeCut
from drivers.pump.cavro_codec import Answer, Command, answer_reader
from drivers.pump.serial_line import SerialLine
from drivers.sim.pump_firmware import IDENTITY
from drivers.sim.world import World
from tests.support.pump import BAUD, CEILING, SPEC, shot_program, sim_pump

LINES = LineMap(
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
START = 2000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path / "world", lines=LINES, steps_per_mm=100, clearance_steps=100)
    yield world
    world.close()


def driver(port: Path) -> CavroPump:
    return CavroPump(SerialLine(str(port), BAUD), address=1, spec=SPEC, ceiling=CEILING)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


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


async def filled(pump: CavroPump) -> None:
    assert await pump.connect() == IDENTITY
    await pump.home_plunger()
    assert await pump.refill(Increments(START), overshoot=Increments(50)) == START


async def let_pass(world: World, moves: int) -> None:
    """Open the gates in turn as the real-time process does, each until the phase line has changed."""
    for index in range(moves):
        gate = (LINES.gate_1, LINES.gate_2)[index % 2]
        wanted = bool((index + 1) % 2)
        world.drive(gate, False, pid=os.getpid(), now_ns=time.monotonic_ns())
        passed = any(world.level(20) is wanted for _ in within_s(2))
        world.drive(gate, True, pid=os.getpid(), now_ns=time.monotonic_ns())
        assert passed


def test_a_shot_is_given_once_over_a_pty_although_the_first_frame_and_an_answer_are_lost(
    tmp_path: Path, world: World
) -> None:
    async def main(port: Path) -> None:
        pump = driver(port)
        await filled(pump)
        air_before = world.given_in_air
        world.trouble_drop_frames += 1
        world.trouble_drop_answers += 1
        world.trouble_delay_ms = 150
        world.trouble_delay_answers += 1
        await pump.load(shot_program(START))
        await let_pass(world, 4)
        assert await pump.position() == START - 456
        assert (world.given_in_air - air_before, world.drawn_back) == (480, 24)
        await pump.terminate()
        await pump.close()

    with sim_pump("--baud", str(BAUD), "--world", str(tmp_path / "world")) as (_, port):
        run(main(port))


def test_terminate_cuts_off_a_refill_over_a_pty(tmp_path: Path, world: World) -> None:
    async def main(port: Path) -> None:
        pump = driver(port)
        await filled(pump)
        refill = asyncio.create_task(pump.refill(Increments(20_000), overshoot=Increments(0)))
        for _ in within_s(5):
            await asyncio.sleep(0)
            if world.from_vial >= START + 200:
                break
        await pump.terminate()
        with pytest.raises(ExchangeCut):
            await refill
        assert await pump.position() == world.from_vial - world.to_vial
        await pump.close()

    with sim_pump("--baud", str(BAUD), "--world", str(tmp_path / "world")) as (_, port):
        run(main(port))


def test_the_pump_outlives_its_hosts_and_keeps_its_link_until_it_ends(tmp_path: Path) -> None:
    async def main(port: Path) -> None:
        for _ in range(2):
            pump = driver(port)
            assert await pump.connect() == IDENTITY
            await pump.close()

    link = tmp_path / "pump"
    link.symlink_to("/dev/pts/a-pump-of-yesterday")
    with sim_pump("--link", str(link)) as (process, name):
        assert link.readlink() == name
        run(main(link))
    assert process.returncode == 0
    assert not link.is_symlink()


def answered(connection: socket.socket, command: str) -> Answer:
    """Return what the pump answers to `command`."""
    connection.sendall(Command(1, 1, repeat=False, data=command).to_bytes())
    reader = answer_reader()
    while True:
        for answer in reader.feed(connection.recv(100)):
            return answer


def test_a_pump_is_plugged_into_an_emulated_machine_whenever_one_listens(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    with sim_pump("--baud", str(BAUD), "--serial-socket", str(path)) as (process, name):
        assert name == path
        for _ in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as machine:
                machine.settimeout(10)
                machine.bind(str(path))
                machine.listen()
                connection, _ = machine.accept()
                with connection:
                    connection.settimeout(10)
                    started_s = time.monotonic()
                    assert answered(connection, "&").data == IDENTITY
                    # Both frames' bytes at 38400 baud: the emulated port does not pace, the pump does.
                    assert time.monotonic() - started_s > (len(IDENTITY) + 6) * 10 / BAUD
            path.unlink()
        assert process.poll() is None


def test_a_link_that_would_hide_a_file_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "pump"
    link.write_text("a file")
    with sim_pump("--link", str(link)) as (process, name):
        assert name == Path()
        assert process.wait(10) == 1
    assert link.read_text() == "a file"


def test_the_pump_ends_when_nobody_has_had_it_open_for_long_enough() -> None:
    with sim_pump("--linger", "0.1") as (process, _):
        assert process.wait(10) == 0


def test_a_missing_port_is_named() -> None:
    with pytest.raises(DriverError, match="/dev/no-such-port is missing: check the adapter") as caught:
        run(connecting(Path("/dev/no-such-port")))
    assert caught.value.fault is Fault.PUMP_SILENT


def test_a_file_is_not_taken_for_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DriverError, match="cannot be opened as a serial port"):
        run(connecting(tmp_path / "file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave the rights of a test behind")
def test_a_port_without_permission_is_named() -> None:
    with sim_pump() as (_, port):
        program = (
            "import asyncio, os, sys; sys.path.insert(0, os.getcwd())\n"
            "from drivers.pump.serial_line import SerialLine\n"
            "from drivers.ports import DriverError\n"
            "async def main():\n"
            "    try: SerialLine(sys.argv[1], 9600).open(print, print)\n"
            "    except DriverError as error: print(error)\n"
            "os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); asyncio.run(main())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(port)], capture_output=True, text=True, timeout=20, check=False
        )
        assert "may not be opened: add the service's user to the group" in done.stdout + done.stderr


def test_a_port_that_another_program_holds_is_named() -> None:
    held = pytest.raises(DriverError, match="is held by another program: stop it first")
    with sim_pump() as (_, port), serial.Serial(str(port), BAUD, exclusive=True), held:
        run(connecting(port))


async def connecting(port: Path) -> None:
    await driver(port).connect()


def test_a_pump_that_is_unplugged_while_a_call_runs_ends_the_call() -> None:
    async def main(process: "subprocess.Popen[str]", port: Path) -> None:
        pump = driver(port)
        await filled(pump)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(DriverError, match="was unplugged"):
            await pump.refill(Increments(20_000), overshoot=Increments(0))
        with pytest.raises(DriverError, match="was unplugged"):
            await pump.status()
        await pump.close()

    with sim_pump() as (process, port):
        run(main(process, port))


def test_a_silent_port_is_given_up_within_a_second() -> None:
    async def main(name: str) -> None:
        began_s = time.monotonic()
        with pytest.raises(DriverError, match="no answer to &"):
            await driver(Path(name)).connect()
        assert time.monotonic() - began_s < 1

    master, slave = os.openpty()
    try:
        run(main(os.ttyname(slave)))
    finally:
        os.close(master)
        os.close(slave)


def test_the_lines_of_a_killed_process_go_to_their_pulls(tmp_path: Path, world: World) -> None:
    program = (
        "import os, sys, time; sys.path.insert(0, os.getcwd())\n"
        "from pathlib import Path\n"
        "from drivers.sim.world import World\n"
        "world = World.attach(Path(sys.argv[1]))\n"
        "world.drive(23, False, pid=os.getpid(), now_ns=time.monotonic_ns())\n"
        "print('driving', flush=True); sys.stdin.read()\n"
    )
    with sim_pump("--world", str(tmp_path / "world")) as (_, _port):
        killed = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "world")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with killed:
            assert killed.stdout is not None
            assert killed.stdout.readline() == "driving\n"
            assert world.level(23) is False
            killed.kill()
            assert any(world.level(23) for _ in within_s(1))
