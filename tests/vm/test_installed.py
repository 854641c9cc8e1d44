"""The package on a running system: what runs is what it put there, and its update starts the gun anew, or is refused.

`tests/package` installs it where nothing runs; here its scripts find systemd, udev, a controller and a session. No test
starts the gun where the package is to do that.
"""

from typing import Final

import pytest

from device.core.records import FormularyTaken
from tests.vm.rig.books import Books, fire_once_more
from tests.vm.rig.console import READY_S, VirtualConsole
from tests.vm.rig.layer import PACKAGE

pytestmark = pytest.mark.timeout(3600)

UNITS: Final = ("mesogun.service", "mesogun-gateway.service", "mesogun.target")
UPDATE: Final = ("dpkg", "--force-confdef", "--force-confold", "--install", f"/{PACKAGE}")
UPDATE_S: Final = 4 * READY_S
"""Stopped, unpacked and checked by an emulated processor; then both services are started."""

DEVICE_FILE: Final = "/etc/mesogun/device.toml"


def changed_files(console: VirtualConsole) -> set[str]:
    """Return what of the package's files is not as it put it there."""
    return {line.split()[-1] for line in console.machine.run("dpkg", "--verify", "mesogun").out.splitlines()}


def formulary_place(console: VirtualConsole) -> str:
    return console.machine.shell("readlink /etc/mesogun/formulary").strip()


def active_states(console: VirtualConsole) -> list[str]:
    return [console.unit_property(unit, "ActiveState") for unit in UNITS]


def main_pid(console: VirtualConsole) -> str:
    return console.unit_property("mesogun.service", "MainPID")


def test_what_runs_is_what_the_package_put_there_with_the_consoles_own_values(console: VirtualConsole) -> None:
    assert changed_files(console) == {DEVICE_FILE}
    places = [console.unit_property(unit, "FragmentPath").removeprefix("/usr") for unit in UNITS]
    assert places == [f"/lib/systemd/system/{unit}" for unit in UNITS]
    assert console.unit_property("mesogun.target", "UnitFileState") == "enabled"
    assert active_states(console) == ["active"] * len(UNITS)
    command = console.machine.shell(f"tr '\\0' ' ' </proc/{main_pid(console)}/cmdline")
    assert command.startswith("/opt/mesogun/.venv/bin/python /opt/mesogun/.venv/bin/mesogun run ")


def test_the_sandboxed_controller_took_the_formulary_that_was_installed_and_no_other(console: VirtualConsole) -> None:
    """Its signature was checked under the unit's filter of system calls and without writable code."""
    assert formulary_place(console) not in ("", "formularies/examples")
    assert [taken.signed_by for taken in console.records(FormularyTaken)] == ["rig"]
    permissions = "stat -c '%U:%G %a' /etc/mesogun/formulary/ /etc/mesogun/formulary/limits.toml"
    assert console.machine.shell(permissions) == "root:mesogun 750\nroot:mesogun 640\n"


def test_an_update_waits_for_the_session_and_then_keeps_everything_but_the_program(console: VirtualConsole) -> None:
    machine = console.machine
    console.make_ready(points=1)
    pid, place = main_pid(console), formulary_place(console)
    refused = machine.run(*UPDATE, within_s=UPDATE_S)
    assert refused.code != 0
    assert "mesogun: a session is open; end it first: mesogun session stop" in refused.err
    assert (main_pid(console), console.state) == (pid, "session")
    assert changed_files(console) == {DEVICE_FILE}

    console.ask("session_stop")
    machine.run(*UPDATE, within_s=UPDATE_S).checked()
    assert active_states(console) == ["active"] * len(UNITS)
    assert main_pid(console) != pid
    console.until_state("disarmed")
    assert console.unit_property("mesogun.target", "UnitFileState") == "enabled"
    assert changed_files(console) == {DEVICE_FILE}
    assert formulary_place(console) == place
    assert len(console.records(FormularyTaken)) == 1
    console.make_ready(points=2)
    books = Books.opened(console)
    fire_once_more(console)
    books.check()


def test_an_update_that_the_configuration_does_not_fit_leaves_the_gun_stopped_and_says_so(
    console: VirtualConsole,
) -> None:
    machine = console.machine
    console.make_ready(points=1)
    console.ask("session_stop")
    machine.shell(f"cp -p {DEVICE_FILE} /root/device.toml; sed -i '1i of_another_version = 1' {DEVICE_FILE}")
    updated = machine.run(*UPDATE, within_s=UPDATE_S)
    updated.checked()
    assert f"{DEVICE_FILE}:1: of_another_version: found an unknown key" in updated.err
    assert "mesogun: the gun is stopped, for its configuration is not one of this version" in updated.err
    assert "active" not in active_states(console)
    assert console.state == ""

    # Mended and started, as the line says.
    machine.shell(f"cp -p /root/device.toml {DEVICE_FILE}")
    console.start("mesogun.target")
    assert active_states(console) == ["active"] * len(UNITS)
    console.make_ready(points=2)
    books = Books.opened(console)
    fire_once_more(console)
    books.check()
