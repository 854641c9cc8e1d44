"""A process killed in mid-stroke on the real kernel: its lines fall to their pulls, needle home, books settled."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from device.core.records import MagazineIntent, MagazineSettled, ShotGiven
from tests.vm.rig.console import VirtualConsole
from tests.vm.rig.machine import until

pytestmark = pytest.mark.timeout(3600)

POINTS = 10
RETRACTED_S = 240.0
"""A new process starts and takes the needle out: a few seconds of the guest's."""


@dataclass
class Books:
    """What was given and booked since a session began."""

    console: VirtualConsole
    tissue: int
    air: int
    settled: int

    @classmethod
    def opened(cls, console: VirtualConsole) -> "Books":
        world = console.world
        return cls(console, world.given_in_tissue, world.given_in_air, len(console.records(MagazineSettled)))

    def given(self) -> int:
        """Return the increments that left the needle."""
        world = self.console.world
        return world.given_in_tissue - self.tissue + world.given_in_air - self.air

    def booked(self) -> int:
        """Return the increments booked for the patient."""
        settled = self.console.records(MagazineSettled)[self.settled :]
        return sum(record.given for record in settled if record.purpose == "inject")

    def largest_phase(self) -> int:
        """Return the most increments that one move of the session's magazines may give."""
        intents = [intent for intent in self.console.records(MagazineIntent) if intent.purpose == "inject"]
        intent = intents[-1]
        places = [intent.start, *intent.targets]
        return max(before - after for before, after in zip(places, intent.targets, strict=False))

    def check(self) -> None:
        """I2: booked at least what was given, and at most one phase more; with certainty. The journal is whole."""
        self.console.until_settled()
        assert 0 <= self.booked() - self.given() <= self.largest_phase()
        assert self.console.records(MagazineSettled)[-1].certain
        self.console.verify()


@pytest.fixture
def books(console: VirtualConsole) -> Iterator[Books]:
    console.make_ready(points=POINTS)
    books = Books.opened(console)
    console.arm()
    yield books
    console.let_go()


def realtime_pid(console: VirtualConsole) -> str:
    return console.machine.shell("pgrep -f device.realtime").split()[0]


def kill(console: VirtualConsole, pid: str) -> int:
    """Kill a process while the needle is in tissue; return how many edges there were before."""
    console.press_until_dosing()
    before = len(console.wires.edges)
    console.machine.run("kill", "-KILL", pid).checked()
    return before


def fire_once_more(console: VirtualConsole) -> None:
    """Home, arm, fire one shot that is delivered whole, and disarm: a loaded magazine is an open intent."""
    shots = len(console.records(ShotGiven))
    console.ask("home")
    console.until_state("session")
    console.arm()
    console.shoot()
    console.ask("disarm")
    console.until_state("session")
    shot = console.records(ShotGiven)[shots:][0]
    assert (shot.outcome, shot.reason) == ("delivered", "")
    console.let_go()


def test_a_killed_realtime_process_lets_go_of_its_lines_and_another_takes_the_needle_out(
    console: VirtualConsole, books: Books
) -> None:
    lines, world = console.lines, console.world
    before = kill(console, realtime_pid(console))
    assert world.needle_steps > 0
    until(console.motor_off, within_s=RETRACTED_S, what="a motor without current")
    assert console.gates_closed()
    let_go = [edge for edge in console.edges_since(before) if not edge.traced]
    assert (lines.enable, True) in {(edge.line, edge.level) for edge in let_go}

    until(lambda: world.needle_steps <= 0, within_s=RETRACTED_S, what="a needle at home")
    console.until_state("fault")
    assert console.faults == "503"
    console.let_go()
    books.check()
    deepest = world.stroke_deepest_steps
    console.ask("fault_clear")
    console.until_state("session")
    assert (world.needle_steps, world.stroke_deepest_steps) == (0, deepest)
    fire_once_more(console)
    books.check()


def test_a_killed_controller_is_started_again_with_the_needle_out_and_nothing_resumed(
    console: VirtualConsole, books: Books
) -> None:
    lines, world = console.lines, console.world
    kill(console, console.unit_property("mesogun.service", "MainPID"))
    until(lambda: console.motor_off() and console.gates_closed(), within_s=RETRACTED_S, what="safe lines")
    assert world.needle_steps <= 0
    at_rest = len(console.wires.edges)

    # The clinician still holds the trigger: it must not matter.
    until(lambda: console.state == "session", within_s=RETRACTED_S, what="a new controller", look_s=0.5)
    assert console.records(MagazineSettled)[-1].reason == "recovered"
    moved = {edge.line for edge in console.edges_since(at_rest) if edge.line == lines.step and edge.level}
    opened = {edge.line for edge in console.edges_since(at_rest) if edge.line in (lines.gate_1, lines.gate_2)}
    assert moved == set()
    assert all(edge.level for edge in console.edges_since(at_rest) if edge.line in opened), (
        "a gate was opened by nobody's press"
    )
    console.let_go()
    books.check()
    fire_once_more(console)
    books.check()
