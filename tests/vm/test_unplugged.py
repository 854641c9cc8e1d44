"""The pump's USB adapter pulled out and plugged in again in every phase of a stroke, on the kernel's own FTDI driver.

The pump goes on by its program and its gates without a serial line: the shot is given whole, the controller says that
the pump does not answer (301), and knows what was given as soon as it can ask again. A pump that lost its power cannot
tell: the most that it can have given is booked, and its plunger must be homed.
"""

from collections.abc import Callable, Iterator

import pytest

from device.core.records import FaultRaised, ShotGiven
from device.service.control_client import CommandRefused
from tests.vm.rig.books import Books
from tests.vm.rig.cable import Cable
from tests.vm.rig.console import VirtualConsole
from tests.vm.rig.machine import until

pytestmark = pytest.mark.timeout(3600)

PORT = "/dev/mesogun-pump"
"""The name by `systemd/60-mesogun.rules`."""

UNIT = "mesogun.service"
SHIPPED_PORT = 'port = "/dev/serial0"'
PLUGGED_S = 120.0
DONE_S = 240.0
POINTS = 3

SILENT, UNCERTAIN = 301, 403


@pytest.fixture(scope="module")
def cable(console: VirtualConsole, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cable]:
    """The console with its pump at the USB adapter instead of at the serial pins."""
    with Cable(tmp_path_factory.mktemp("cable") / "pump") as cable:
        change_port(console, SHIPPED_PORT, f'port = "{PORT}"')
        console.switch_pump_off_and_on(cable.pump)
        plug_in(console, cable)
        console.start(UNIT)
        yield cable
        change_port(console, f'port = "{PORT}"', SHIPPED_PORT)
        console.switch_pump_off_and_on(console.machine.serial_socket)
        console.start(UNIT)


@pytest.fixture
def books(console: VirtualConsole, cable: Cable) -> Iterator[Books]:
    if not cable.plugged_in:
        plug_in(console, cable)
    console.make_ready(points=POINTS)
    yield Books.opened(console)
    console.let_go()


def change_port(console: VirtualConsole, before: str, after: str) -> None:
    """Write another port into the guest's configuration; the service is stopped."""
    console.machine.shell(f"systemctl stop {UNIT}; grep -qxF '{before}' /etc/mesogun/device.toml")
    console.machine.shell(f"sed -i 's#^{before}$#{after}#' /etc/mesogun/device.toml")
    console.machine.shell(f"grep -qxF '{after}' /etc/mesogun/device.toml")


def port_is_there(console: VirtualConsole) -> bool:
    return console.machine.run("test", "-e", PORT).code == 0


def plug_in(console: VirtualConsole, cable: Cable) -> None:
    """Plug in, once the guest has noticed that it was unplugged, and wait until it has its name for the port again."""
    until(lambda: not port_is_there(console), within_s=PLUGGED_S, what=f"no {PORT}", look_s=0.2)
    cable.plug_in(console.machine.usb_socket)
    until(lambda: port_is_there(console), within_s=PLUGGED_S, what=PORT, look_s=0.2)


def unplug(console: VirtualConsole, cable: Cable) -> None:
    """Unplug, and wait until the guest has noticed."""
    cable.unplug()
    until(lambda: not port_is_there(console), within_s=PLUGGED_S, what=f"no {PORT}", look_s=0.2)


def raised_since(console: VirtualConsole, number: int) -> list[int]:
    return [record.code for record in console.records(FaultRaised)[number:]]


def refused(console: VirtualConsole, command: str) -> str:
    """Give a command that must be refused; return the reasons."""
    with pytest.raises(CommandRefused) as refusal:
        console.ask(command)
    return str(refusal.value)


def clear_at_once(console: VirtualConsole) -> None:
    """Clear a fault that is younger than a scan: the real-time process may still be telling that it has halted, which
    raises it once more. No hand is so quick.
    """
    try:
        console.ask("fault_clear")
    except CommandRefused as refusal:
        if f"fault {SILENT}: the pump does not answer (needle at step 0)" not in str(refusal):
            raise
        console.ask("fault_clear")


def deliver_one(console: VirtualConsole) -> None:
    """Home, arm, fire one shot that is delivered whole, and disarm."""
    console.ask("home")
    console.until_state("session")
    shots = len(console.records(ShotGiven))
    console.arm()
    console.shoot()
    console.ask("disarm")
    console.until_state("session")
    console.let_go()
    (shot,) = console.records(ShotGiven)[shots:]
    assert (shot.outcome, shot.reason) == ("delivered", "")


def stays_down_while_unplugged(console: VirtualConsole) -> None:
    """Without its pump the console neither arms nor clears its fault."""
    assert refused(console, "arm") != ""
    assert str(SILENT) in refused(console, "fault_clear")
    assert (console.state, console.faults) == ("fault", str(SILENT))


def entering(console: VirtualConsole) -> bool:
    world, lines = console.world, console.lines
    return world.in_tissue and world.level(lines.direction) and not world.level(lines.gate_1)


def dwelling(console: VirtualConsole) -> bool:
    return console.world.in_tissue and not console.world.level(console.lines.gate_2)


def leaving(console: VirtualConsole) -> bool:
    world, lines = console.world, console.lines
    return world.in_tissue and not world.level(lines.direction) and not world.level(lines.gate_1)


def sucking_back(console: VirtualConsole) -> bool:
    return console.world.needle_steps <= 0 and not console.world.level(console.lines.gate_2)


PHASES: dict[str, Callable[[VirtualConsole], bool]] = {
    "entry": entering,
    "dwell": dwelling,
    "exit": leaving,
    "suck-back": sucking_back,
}


def press_until(console: VirtualConsole, phase: str) -> None:
    """Arm, press, and return in that phase of the stroke."""
    console.arm()
    console.operator.press()
    until(lambda: PHASES[phase](console), within_s=DONE_S, what=phase, look_s=0.0005)


def until_stroke_is_over(console: VirtualConsole) -> None:
    console.until_state("fault", within_s=DONE_S)
    until(
        lambda: console.world.needle_steps <= 0 and console.gates_closed(),
        within_s=DONE_S,
        what="a needle at home and closed gates",
    )
    console.let_go()


def test_the_adapter_has_its_name_its_group_and_hands_bytes_on_at_once(console: VirtualConsole, cable: Cable) -> None:
    assert cable.plugged_in
    found = console.machine.shell(
        f"stat -Lc '%G %a' {PORT}; readlink {PORT}; cat /sys/bus/usb-serial/devices/ttyUSB0/latency_timer"
    ).split()
    assert found == ["dialout", "660", "ttyUSB0", "1"]


@pytest.mark.parametrize("phase", PHASES)
def test_unplugged_in_a_stroke_the_shot_is_given_and_booked_when_the_pump_is_back(
    console: VirtualConsole, cable: Cable, books: Books, phase: str
) -> None:
    faults = len(console.records(FaultRaised))
    press_until(console, phase)
    cable.unplug()
    until_stroke_is_over(console)
    assert raised_since(console, faults) == [SILENT]
    assert books.spilled() == 0
    edges = len(console.wires.edges)
    stays_down_while_unplugged(console)

    plug_in(console, cable)
    assert console.state == "fault"
    assert console.status["uncertain"]
    console.ask("fault_clear")
    console.until_state("session")
    lines, since = console.lines, console.edges_since(edges)
    assert not any(edge.level for edge in since if edge.line == lines.step), "something moved by itself"
    assert all(edge.level for edge in since if edge.line in (lines.gate_1, lines.gate_2)), "a gate opened by itself"
    books.check()
    assert books.given() == sum(record.given for record in books.settled()) > 0
    deliver_one(console)
    books.check()


@pytest.fixture(scope="module")
def load_bytes(console: VirtualConsole, cable: Cable) -> int:
    """The bytes that an arming sends: the questions before the program, the program, and the question after it."""
    console.make_ready(points=1)
    before = cable.from_guest
    console.arm()
    count = cable.from_guest - before
    console.ask("disarm")
    console.until_state("session")
    return count


@pytest.mark.parametrize("percent", [0, 25, 50, 75, 100])
def test_unplugged_while_loading_nothing_is_given(
    console: VirtualConsole, cable: Cable, load_bytes: int, books: Books, percent: int
) -> None:
    console.operator.touch_skin()
    cable.unplug_after(max(1, load_bytes * percent // 100))
    assert str(SILENT) in refused(console, "arm")
    console.operator.press()
    assert console.state == "fault"
    assert not cable.plugged_in
    stays_down_while_unplugged(console)
    console.let_go()

    plug_in(console, cable)
    console.ask("fault_clear")
    console.until_state("session")
    books.check(certain=False)
    assert books.given() == 0
    deliver_one(console)
    books.check()


def test_unplugged_and_plugged_in_while_nothing_is_asked_of_the_pump(
    console: VirtualConsole, cable: Cable, books: Books
) -> None:
    unplug(console, cable)
    assert (console.state, console.faults) == ("session", "")
    plug_in(console, cable)
    console.operator.touch_skin()
    # The line that was open is gone for good; the operator is told, and clears it.
    assert str(SILENT) in refused(console, "arm")
    clear_at_once(console)
    console.until_state("session")
    deliver_one(console)
    books.check()


def test_unplugged_while_armed_the_one_loaded_shot_is_the_last(
    console: VirtualConsole, cable: Cable, books: Books
) -> None:
    console.arm()
    unplug(console, cable)
    console.operator.press()
    until_stroke_is_over(console)
    strokes = console.world.strokes
    plug_in(console, cable)
    console.ask("fault_clear")
    console.until_state("session")
    books.check()
    assert console.world.strokes == strokes
    deliver_one(console)
    books.check()


def test_disarmed_while_unplugged_one_phase_is_booked_because_the_pump_cannot_be_asked(
    console: VirtualConsole, cable: Cable, books: Books
) -> None:
    console.arm()
    unplug(console, cable)
    console.ask("disarm")
    console.until_state("fault")
    assert console.faults == str(UNCERTAIN)
    books.check_balance(certain=False)
    assert (books.given(), books.settled()[-1].certain) == (0, False)
    plug_in(console, cable)
    console.ask("fault_clear")
    console.until_state("session")
    deliver_one(console)
    books.check()


@pytest.mark.parametrize("phase", [*PHASES, "rest"])
def test_a_pump_that_lost_its_power_as_well_is_booked_at_the_most_and_homed(
    console: VirtualConsole, cable: Cable, books: Books, phase: str
) -> None:
    if phase == "rest":
        console.arm()
        unplug(console, cable)
    else:
        press_until(console, phase)
        cable.unplug()
    console.switch_pump_off_and_on(cable.pump)
    console.operator.press()
    until_stroke_is_over(console)

    plug_in(console, cable)
    with pytest.raises(CommandRefused) as refusal:
        console.ask("fault_clear")
    assert str(UNCERTAIN) in str(refusal.value)
    books.check(certain=False, phases=3)
    assert not books.settled()[-1].certain
    console.ask("fault_clear")
    console.until_state("session")
    assert "--plunger" in refused(console, "arm")
    console.make_ready(points=POINTS)
    again = Books.opened(console)
    deliver_one(console)
    again.check()


def test_a_service_that_starts_without_its_pump_says_so_and_is_cleared_when_it_is_there(
    console: VirtualConsole, cable: Cable, books: Books
) -> None:
    unplug(console, cable)
    console.machine.run("systemctl", "restart", UNIT).checked()
    console.until_state("fault", within_s=DONE_S)
    assert console.faults == str(SILENT)
    assert f"{PORT} is missing" in refused(console, "fault_clear")
    assert console.unit_property(UNIT, "NRestarts") == "0"
    plug_in(console, cable)
    console.ask("fault_clear")
    console.until_state("session")
    deliver_one(console)
    books.check()
