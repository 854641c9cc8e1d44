"""The virtual console: the emulated machine with the shipped simulator of everything that is wired to it.

Owns the order of the start: the world and the pump outside, the machine, the wires, the agent. The guest's
configuration is the shipped one with a slow needle and wide limits of time, because emulated time is slow: counts,
order, sandboxes and what a crash leaves are true here, speed is not.
"""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from device.core.records import MagazineIntent, MagazineSettled, Record, ShotGiven
from device.journal_file import JOURNAL_NAME
from device.service.control_client import CommandRefused, ControllerAbsent
from device.service.sim_console import create_world, sim_paths
from device.settings import FORMULARY, load_configuration
from device.settings.bundle import TRUSTED, new_key
from drivers.sim.operator import SimulatedOperator
from tests.support.settings import Draft
from tests.vm.rig.build import Parts
from tests.vm.rig.disk import Disk
from tests.vm.rig.machine import BOOT_S, Machine, until
from tests.vm.rig.package import CHECKOUT
from tests.vm.rig.wires import Edge, Wires

BAUD: Final = 38_400
SOCKET: Final = "/run/mesogun/control.sock"
PROGRAM: Final = "/opt/mesogun/.venv/bin/mesogun"
READY_S: Final = 240.0
"""Bound of a service's start: the interpreter loads pydantic in emulation."""

CONFIGURATION: Final = "/etc/mesogun"
STATE: Final = "/var/lib/mesogun"
JOURNAL: Final = f"{STATE}/{JOURNAL_NAME}"
PRIME_NL: Final = 20_000
STROKE_NL: Final = 1_000_000
"""What the simulated pump's full stroke gives with the syringe `1ml`."""
STROKE_S: Final = 120.0
"""Bound of one stroke: a second of the guest's, a few of the host's."""

T = TypeVar("T", bound=Record)

PROFILE: Final = "virtual-console"
PATIENT: Final = "rig"
"""The same in every session: syringe and needle go on, and no plunger has to be homed in between."""

SLOW: Final = {
    # The one change without which a real console, which this is, does not start.
    'site = "demo-clinic"': 'site = "rig"',
    # A needle of 50 steps a second and a stroke of 20 steps: several times the way of a level through the wires.
    "steps_per_mm = 80": "steps_per_mm = 10",
    "fastest_mm_s = 60": "fastest_mm_s = 5",
    "acceleration_mm_s2 = 4000": "acceleration_mm_s2 = 100",
    "homing_mm_s = 5": "homing_mm_s = 5",
    # The pump's gates and its phase line lie at the ends of the wires.
    "gate_latency_ms = 4": "gate_latency_ms = 50",
    "settle_ms = 15": "settle_ms = 100",
    "phase_wait_ms = 200": "phase_wait_ms = 1000",
    # Each scan costs the host a millisecond. The limits of the supervision and of lateness are the shipped ones.
    "idle_scan_us = 2000": "idle_scan_us = 10000",
    "armed_scan_us = 500": "armed_scan_us = 2000",
    "spin_us = 80": "spin_us = 0",
    "refill_speed = 1500": "refill_speed = 6000",
}
"""Lines of the shipped `device.toml` and what stands in the guest's instead: a slow console of its own."""

SLOW_PROFILE: Final = {
    'name = "saline-test"': f'name = "{PROFILE}"',
    'mode = "burst"': 'mode = "single"',
    "burst_shots = 3": "burst_shots = 1",
    "interval_ms = 400": "interval_ms = 1000",
    "depth_mm = 2": "depth_mm = 1.5",
    "entry_speed_mm_s = 40": "entry_speed_mm_s = 5",
    "exit_speed_mm_s = 40": "exit_speed_mm_s = 5",
    "slowest_speed_mm_s = 20": "slowest_speed_mm_s = 1",
    "dwell_ms = 30": "dwell_ms = 100",
    "longest_dwell_ms = 100": "longest_dwell_ms = 2000",
    # The end of the suck-back comes by the same wires as the home switch, and after it.
    "suck_back_ul = 0": "suck_back_ul = 0.5",
    "session_volume_ml = 0.5": "session_volume_ml = 3",
    "session_shots = 60": "session_shots = 200",
}
"""Lines of the shipped profile `saline-test` and what stands in the guest's instead."""


class VirtualConsole:
    """A console in `directory`: switched on, wired, the product's package installed and not yet running.

    `with_disk`: what the guest writes lies on a disk with a volatile cache, and is there again after `cut_power` and
    `switch_on`; otherwise it is gone with the machine.
    """

    def __init__(self, parts: Parts, directory: Path, *, with_disk: bool = False) -> None:
        self._stack = ExitStack()
        self._parts = parts
        self._place = directory / "vm"
        self._cuts = 0
        with ExitStack() as stack:
            directory.mkdir(parents=True, exist_ok=True)
            self.configuration = slow_configuration(directory / "config")
            paths = sim_paths(directory)
            self.world = create_world(paths, load_configuration(self.configuration))
            stack.callback(self.world.close)
            self.lines = self.world.lines
            self.operator = SimulatedOperator(self.world, seed=1)
            self.disk = Disk(directory / "disk") if with_disk else None
            self.machine = self._switched_on()
            stack.callback(self._cut)
            self._world_path = paths.world
            self._pump = self._started_pump(self.machine.serial_socket)
            stack.callback(self._switch_pump_off)
            self.wires = Wires(self.machine.connect("wires"), self.world)
            stack.callback(self._close_wires)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Cut the power and put everything away."""
        self._stack.close()

    # The pump ---------------------------------------------------------------------------------------------------

    def switch_pump_off_and_on(self, port: Path) -> None:
        """Give the pump at `port` a new start, as after a loss of power: it has forgotten what it was doing."""
        self._switch_pump_off()
        self._pump = self._started_pump(port)

    def _started_pump(self, port: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=KILL", sys.executable, "-m", "drivers.sim.pump_process"),
                *(f"--baud={BAUD}", f"--serial-socket={port}", f"--world={self._world_path}"),
            ],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def _switch_pump_off(self) -> None:
        self._pump.kill()
        self._pump.wait()
        # A pump without power drives no output.
        self.world.set_phase(False, time.monotonic_ns())

    # The power --------------------------------------------------------------------------------------------------

    def cut_power(self) -> None:
        """Cut the computer's power: its disk's cache is lost, its lines fall to their pulls.

        The pump has a supply of its own, as on a real console, and goes on; so does the world.
        """
        self._cut()
        self.wires.close()
        for line in self.wires.outputs:
            self.world.release(line, time.monotonic_ns())
        self._cuts += 1
        self._place.rename(self._place.with_name(f"vm-{self._cuts}"))

    def switch_on(self) -> None:
        """Switch it on again after `cut_power`: the same disk, the same world. `boot` waits for it."""
        self.machine = self._switched_on()
        self.wires = Wires(self.machine.connect("wires"), self.world)

    def kill_machine(self) -> None:
        """Kill disk and machine where they stand, from any thread; `cut_power` does the rest."""
        if self.disk is not None:
            self.disk.kill()
        self.machine.kill()

    def _switched_on(self) -> Machine:
        if self.disk is None:
            return Machine(self._parts, self._place)
        self.disk.switch_on()
        return Machine(self._parts, self._place, disk=self.disk.socket)

    def _close_wires(self) -> None:
        self.wires.close()

    def _cut(self) -> None:
        self.kill_machine()
        self.machine.cut_power()
        if self.disk is not None:
            self.disk.cut_power()

    def boot(self) -> float:
        """Wait until the guest has started; return how many seconds it took since it was switched on."""
        self.machine.await_agent()
        self.wires.await_ready(within_s=BOOT_S)
        settled = self.machine.run("systemctl", "is-system-running", "--wait", within_s=BOOT_S)
        assert settled.out.strip() == "running", self.machine.run("systemctl", "--failed", "--no-pager").out
        return self.machine.age_s

    # The service ------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Do on the console, where the package lies installed, what is left to a clinic; the gun runs at the end.

        That is: its own values, its key, its formulary. Then the package's own script goes over it as when it was
        installed, with dpkg's word for it, and starts the gun.
        """
        self.machine.write(f"{CONFIGURATION}/device.toml", (self.configuration / "device.toml").read_bytes())
        for key in (self.configuration / TRUSTED).iterdir():
            self.machine.write(f"{CONFIGURATION}/{TRUSTED}/{key.name}", key.read_bytes())
        formulary = self.configuration / FORMULARY
        for file in formulary.rglob("*"):
            if file.is_file():
                self.machine.write(f"/root/{FORMULARY}/{file.relative_to(formulary)}", file.read_bytes())
        self.machine.shell(f"mesogun formulary install /root/{FORMULARY}", within_s=READY_S)
        configure = "DPKG_MAINTSCRIPT_PACKAGE=mesogun /var/lib/dpkg/info/mesogun.postinst configure"
        self.machine.shell(configure, within_s=2 * READY_S)
        assert self.unit_property("mesogun.service", "ActiveState") == "active", self.log("mesogun.service")

    def start(self, unit: str) -> None:
        """Start a unit and wait until systemd counts it as started; a failure shows the unit's log."""
        done = self.machine.run("systemctl", "start", unit, within_s=READY_S)
        assert done.code == 0, self.log(unit)

    def log(self, unit: str) -> str:
        """Return the end of a unit's log."""
        return self.machine.run("journalctl", "--no-pager", "-n", "80", "-o", "short-monotonic", "-u", unit).out

    def unit_property(self, unit: str, name: str) -> str:
        """Return a unit's property."""
        return self.machine.run("systemctl", "show", "--value", "-p", name, unit).checked().strip()

    # Commands ---------------------------------------------------------------------------------------------------

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command over the guest's control socket. Raises CommandRefused or ControllerAbsent."""
        try:
            answer = self.machine.ask(SOCKET, {"command": command, "arguments": arguments})
        except (OSError, ValueError) as error:
            raise ControllerAbsent(str(error)) from error
        if not answer["ok"]:
            raise CommandRefused([str(reason) for reason in answer["reasons"]])
        result: dict[str, Any] = answer["result"]
        return result

    @property
    def state(self) -> str:
        """The controller's state; empty where it does not answer."""
        try:
            return str(self.ask("status")["state"])
        except ControllerAbsent:
            return ""

    def until_state(self, *names: str, within_s: float = READY_S) -> None:
        """Wait until the controller is in one of these states."""
        until(lambda: self.state in names, within_s=within_s, what=f"state {' or '.join(names)}", look_s=0.2)

    @property
    def status(self) -> dict[str, Any]:
        """The controller's status."""
        return self.ask("status")

    def make_ready(self, *, points: int) -> None:
        """Bring the console, whatever it was doing, to a session of `points` points with both axes home and primed."""
        self.let_go()
        self.until_state("disarmed", "session", "armed", "fault")
        if self.state == "fault":
            self.ask("fault_clear")
            self.until_state("disarmed", "session")
        if self.state == "armed":
            self.ask("disarm")
            self.until_state("session")
        if self.status["session_id"]:
            self.ask("session_stop")
        self.ask("home", plunger=True, patient_detached=True)
        self.until_state("disarmed")
        self.ask("calibrate", syringe="1ml", measured_nl=STROKE_NL, method="simulated")
        regions = [{"name": "front", "points": points}]
        self.ask("session_start", profile=PROFILE, serum="saline", syringe="1ml", regions=regions, patient=PATIENT)
        self.ask("prime", volume_nl=PRIME_NL)
        self.until_state("session")

    # The clinician ----------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Put the gun on the skin and arm it; a session that a restart has paused is resumed first."""
        self.operator.touch_skin()
        if self.status["paused"]:
            self.ask("session_resume")
        self.ask("arm")
        self.until_state("armed")

    def shoot(self) -> None:
        """Press for one shot and let go when the needle is back; then wait until the next may be fired, or a fault."""
        strokes, shots = self.world.strokes, self.status["shots"]
        self.operator.press()
        try:
            until(lambda: self.world.strokes > strokes or self.motor_off(), within_s=STROKE_S, what="a stroke")
        finally:
            self.operator.release()
        until(lambda: bool(self.status["shots"] > shots or self.faults), within_s=STROKE_S, what="a settled shot")
        self.until_state("armed", "session", "fault")

    def press_until_dosing(self) -> None:
        """Press, and return while the needle is in tissue on its way in; the trigger is still held."""
        self.operator.press()
        until(
            lambda: self.world.in_tissue and self.world.level(self.lines.direction),
            within_s=STROKE_S,
            what="a needle in tissue",
            look_s=0.001,
        )

    def let_go(self) -> None:
        """Release the trigger and lift the gun."""
        self.operator.release()
        self.operator.lift()

    @property
    def faults(self) -> str:
        """The latched faults' numbers, as `status` lists them."""
        return str(self.status["faults"])

    # The truth --------------------------------------------------------------------------------------------------

    def motor_off(self) -> bool:
        """Whether the motor is without current."""
        return self.world.level(self.lines.enable)

    def gates_closed(self) -> bool:
        """Whether both gates are closed."""
        return self.world.level(self.lines.gate_1) and self.world.level(self.lines.gate_2)

    def edges_since(self, number: int) -> list[Edge]:
        """Return the edges after the first `number`."""
        return self.wires.edges[number:]

    # The record -------------------------------------------------------------------------------------------------

    def records(self, kind: type[T]) -> list[T]:
        """Return the journal's records of one kind."""
        rows = self.machine.records(JOURNAL)
        return [kind(**json.loads(body)) for name, body in rows if name == kind.KIND]

    def until_settled(self) -> None:
        """Wait until the outcome of every intent stands in the journal."""
        until(
            lambda: len(self.records(MagazineIntent)) == len(self.records(MagazineSettled)),
            within_s=READY_S,
            what="an outcome for every intent",
        )

    def verify(self) -> None:
        """Check, by the command for it, that the journal's chain is whole, and that its figures agree."""
        self.machine.run(PROGRAM, "journal", "verify", "--state", STATE).checked()
        settled = [record for record in self.records(MagazineSettled) if record.purpose == "inject"]
        shots = self.records(ShotGiven)
        assert sum(record.given_nl for record in settled) == sum(shot.booked_nl for shot in shots)
        assert sum(record.shots for record in settled) == len(shots)


def slow_configuration(directory: Path) -> Path:
    """Make the guest's configuration in `directory` and return it."""
    draft = Draft(directory)
    for old, new in SLOW.items():
        draft.replace("device.toml", old, new)
    profiles = directory / FORMULARY / "profiles"
    for profile in profiles.iterdir():
        # The others are faster than this needle: the configuration would be refused.
        if profile.name != "saline-test.toml":
            profile.unlink()
    (profiles / "saline-test.toml").rename(profiles / f"{PROFILE}.toml")
    for old, new in SLOW_PROFILE.items():
        draft.replace(f"formulary/profiles/{PROFILE}.toml", old, new)
    # A real console, which this is, trusts no key of the demo.
    key, trusted = new_key("rig")
    (directory / TRUSTED / "rig.toml").write_text(trusted)
    draft.sign(key)
    return directory
