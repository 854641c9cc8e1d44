"""Pins of several processes on one world: each sees the others, and a killed one lets its lines go."""

import os
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.sim.pins import SimPinFactory
from drivers.sim.world import World
from tests.support.console import CLEARANCE_STEPS, LINES, make_world

ROOT = Path(__file__).parents[2]
DEADLINE_S = 10

CHILD = """
import sys
from pathlib import Path
from drivers.gpio.realtime_lines import RealtimeLines
from drivers.sim.pins import SimPinFactory
from drivers.sim.world import World

world = World.attach(Path(sys.argv[1]))
lines = RealtimeLines(SimPinFactory(world), world.lines)
for order in sys.stdin:
    name, *numbers = order.split()
    match name:
        case "step":
            lines.set_direction(numbers[1] == "in")
            for _ in range(int(numbers[0])):
                lines.pulse_step()
        case "enable":
            lines.set_enable(numbers[0] == "on")
        case "gate":
            lines.set_gate(int(numbers[0]), True)
        case "read":
            print(lines.read(), flush=True)
    print("done", flush=True)
"""


class Child:
    """A process that owns the real-time lines and obeys orders, one answer line each."""

    def __init__(self, world: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(world)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def line(self) -> str:
        stdout = self.process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], DEADLINE_S)
        assert ready, "the child did not answer in time"
        return stdout.readline().decode().strip()

    def order(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")

    def obey(self, text: str) -> None:
        self.order(text)
        assert self.line() == "done"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def console(tmp_path: Path) -> Iterator[tuple[World, Child]]:
    path = tmp_path / "world"
    world = make_world(path)
    child = Child(path)
    try:
        yield world, child
    finally:
        child.close()
        world.close()


def test_another_process_drives_lines_and_this_one_sees_them(tmp_path: Path) -> None:
    with console(tmp_path) as (world, child):
        child.obey("enable on")
        child.obey("gate 2")
        assert world.owners() == {child.process.pid}
        assert not world.level(LINES.enable)
        assert (world.gate_low(1), world.gate_low(2)) == (False, True)


def test_another_process_reads_what_this_one_does(tmp_path: Path) -> None:
    with console(tmp_path) as (world, child):
        world.set_switch(LINES.trigger_a, closed=True, now_ns=1)
        world.set_switch(LINES.trigger_b, closed=False, now_ns=1)
        world.set_on_skin(True, 2)
        child.order("read")
        assert child.line() == (
            "Inputs(trigger_a=True, trigger_b=True, stop_a=False, stop_b=False, home=True, contact=True, phase=False)"
        )


def test_a_killed_process_lets_its_lines_go_and_leaves_the_needle(tmp_path: Path) -> None:
    with console(tmp_path) as (world, child):
        child.obey("enable on")
        child.obey("gate 1")
        child.obey("step 70 in")
        pidfd = os.pidfd_open(child.process.pid)
        try:
            child.kill()
            ready, _, _ = select.select([pidfd], [], [], DEADLINE_S)
            assert ready
        finally:
            os.close(pidfd)
        assert world.gate_low(1), "nobody has told the world yet"
        world.release_all_of(child.process.pid, 123)
        assert world.owners() == set()
        assert world.level(LINES.enable)
        assert not world.gate_low(1)
        assert world.changed_ns(LINES.gate_1) == 123
        assert world.needle_steps == 70
        assert world.level(LINES.home)
        assert not world.level(LINES.stop_a), "a switch does not move because a process dies"


def test_ten_thousand_steps_of_another_process_are_counted_exactly(tmp_path: Path) -> None:
    with console(tmp_path) as (world, child):
        child.obey("enable on")
        for _ in range(5):
            child.obey("step 1000 in")
            assert world.needle_steps == 1000
            assert world.level(LINES.home)
            child.obey("step 1000 out")
            assert world.needle_steps == 0
            assert not world.level(LINES.home)
        assert world.edges(LINES.step) == 20_000
        assert world.strokes == 5
        assert world.deepest_steps == 1000 > CLEARANCE_STEPS


def test_two_processes_keep_their_own_lines(tmp_path: Path) -> None:
    with console(tmp_path) as (world, child):
        child.obey("gate 1")
        factory = SimPinFactory(world)
        lamp = factory.pin(LINES.light)
        lamp.output_with_state(True)
        assert world.owners() == {child.process.pid, os.getpid()}
        child.kill()
        world.release_all_of(child.process.pid, 5)
        assert world.level(LINES.light)
        factory.close()
        assert not world.level(LINES.light)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    world = make_world(tmp_path / "world")
    assert stat.S_IMODE((tmp_path / "world").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["world"]
    world.close()


@pytest.mark.parametrize("again", [1, 2])
def test_a_new_world_takes_the_place_of_an_old_one(tmp_path: Path, again: int) -> None:
    path = tmp_path / "world"
    old = make_world(path)
    old.set_on_skin(True, 1)
    for _ in range(again):
        make_world(path).close()
    new = World.attach(path)
    assert (old.on_skin, new.on_skin) == (True, False)
    old.close()
    new.close()
