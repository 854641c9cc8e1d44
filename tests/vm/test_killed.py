"""A process killed in mid-stroke on the real kernel: its lines fall to their pulls, needle home, books settled."""

import re
from collections.abc import Iterator

import pytest

from device.core.records import FaultRaised, MagazineSettled
from tests.vm.rig.books import Books, fire_once_more
from tests.vm.rig.console import VirtualConsole
from tests.vm.rig.machine import until

pytestmark = pytest.mark.timeout(3600)

POINTS = 10
RETRACTED_S = 240.0
"""A new process starts and takes the needle out: a few seconds of the guest's."""


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


WATCHDOG = re.compile(r"\[\s*([0-9.]+)\] .*mesogun\.service: Watchdog timeout")


def stop(console: VirtualConsole) -> float:
    """Stop the controller and let its permit run out; return when it was stopped, by the guest's clock (s)."""
    pid = console.unit_property("mesogun.service", "MainPID")
    # Longer than the permit: a press in it would still be a press.
    return float(console.machine.shell(f"cut -d' ' -f1 /proc/uptime; kill -STOP {pid}; sleep 0.1"))


@pytest.mark.parametrize("armed", [False, True], ids=["idle", "armed"])
def test_a_stopped_controller_is_killed_by_the_watchdog_and_comes_back_unarmed(
    console: VirtualConsole, armed: bool
) -> None:
    console.make_ready(points=POINTS)
    books, faults = Books.opened(console), len(console.records(FaultRaised))
    restarts = int(console.unit_property("mesogun.service", "NRestarts"))
    console.operator.touch_skin()
    if armed:
        console.arm()
    strokes, before = console.world.strokes, len(console.wires.edges)
    stopped_s = stop(console)
    console.operator.press()

    until(
        lambda: int(console.unit_property("mesogun.service", "NRestarts")) > restarts,
        within_s=RETRACTED_S,
        what="another start by systemd",
        look_s=0.2,
    )
    console.until_state("session")
    # The alive message goes out every second, and 2 s without one are the limit.
    killed = WATCHDOG.findall(console.log("mesogun.service"))
    assert 1.0 <= float(killed[-1]) - stopped_s <= 2.5
    assert console.faults == ""
    assert console.records(FaultRaised)[faults:] == []
    assert not console.status["armed"]
    assert console.world.strokes == strokes
    assert not any(edge.level for edge in console.edges_since(before) if edge.line == console.lines.step)
    gates = (console.lines.gate_1, console.lines.gate_2)
    assert all(edge.level for edge in console.edges_since(before) if edge.line in gates)
    if armed:
        last = books.settled()[-1]
        assert (last.reason, last.given, last.certain) == ("recovered", 0, True)
    console.let_go()
    console.machine.run("systemctl", "reset-failed", "mesogun.service").checked()
    fire_once_more(console)
    books.check()
