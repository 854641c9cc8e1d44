"""The sandboxes are real: a program in a unit's place reaches what its unit is for, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.vm.rig.console import VirtualConsole
from tests.vm.rig.machine import until
from tests.vm.rig.package import CHECKOUT

pytestmark = pytest.mark.timeout(3600)

PYTHON = "/opt/mesogun/.venv/bin/python"

PROBE = """
import ctypes, errno, json, os, socket

def attempt(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "allowed"

def opened(path, flags=os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY):
    return attempt(lambda: os.close(os.open(path, flags)))

def priority(level):
    return attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level)))

def asked():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("/run/mesogun/control.sock")

def locked():
    if ctypes.CDLL(None, use_errno=True).mlockall(1):
        raise OSError(ctypes.get_errno(), "mlockall")

families = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_UNIX")
devices = ("/dev/gpiochip0", "/dev/ttyS1", "/dev/vda", "/dev/kmsg")
found = {
    "uid": os.getuid(),
    "sockets": {name: attempt(lambda: socket.socket(getattr(socket, name)).close()) for name in families},
    "devices": {name: opened(name) for name in devices},
    "written": {name: opened(name + "/probe", os.O_CREAT | os.O_WRONLY) for name in
                ("/etc", "/usr", "/etc/mesogun", "/opt/mesogun", "/var/lib/mesogun", "/sys/kernel")},
    "journal": opened("/var/lib/mesogun/journal.db", os.O_RDONLY),
    "control": attempt(asked),
    "fifo 50": priority(50),
    "fifo 51": priority(51),
    "memory locked": attempt(locked),
    "first process": opened("/proc/1/environ", os.O_RDONLY),
}
print(json.dumps(found))
"""


def probe(console: VirtualConsole, unit: str, *, user: str = "") -> dict[str, Any]:
    """Run the probe under the very settings of `unit`, or as `user` instead of its own; return what it found."""
    lines = []
    for line in (CHECKOUT / "systemd" / unit).read_text().splitlines():
        key = line.partition("=")[0]
        if key in ("ExecStart", "Type", "NotifyAccess", "WatchdogSec", "WatchdogSignal", "Restart", "RestartSec"):
            continue
        if key == "RuntimeDirectory":
            line = "RuntimeDirectory=probe"  # noqa: PLW2901 - else the end of the probe would take away the service's
        if user and key in ("User", "Group", "SupplementaryGroups", "StateDirectory", "StateDirectoryMode"):
            continue  # systemd would give the directory, and the journal in it, to the other user
        lines.append(line)
        if line == "[Service]":
            lines += ["Type=oneshot", f"ExecStart={PYTHON} /opt/probe.py", "StandardOutput=truncate:/run/probe.json"]
    machine = console.machine
    machine.write("/opt/probe.py", PROBE.encode())
    machine.write("/etc/systemd/system/probe.service", "\n".join(lines).encode())
    machine.shell("systemctl daemon-reload; systemctl reset-failed probe.service 2>/dev/null || true")
    done = machine.run("systemctl", "start", "probe.service")
    assert done.code == 0, console.log("probe.service")
    found: dict[str, Any] = json.loads(machine.read("/run/probe.json"))
    return found


def refused(found: dict[str, str]) -> dict[str, str]:
    return {name: result for name, result in found.items() if result != "allowed"}


def test_the_controller_has_its_devices_and_no_network(console: VirtualConsole) -> None:
    found = probe(console, "mesogun.service")
    assert found["uid"] != 0
    assert set(refused(found["sockets"])) == {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"}
    assert set(refused(found["devices"])) == {"/dev/vda", "/dev/kmsg"}
    assert set(refused(found["written"])) == set(found["written"]) - {"/var/lib/mesogun"}
    assert (found["fifo 50"], found["memory locked"]) == ("allowed", "allowed")
    assert found["fifo 51"] == "EPERM"
    assert found["first process"] != "allowed"


def test_not_even_root_gets_a_disk_or_a_network_in_the_controllers_place(console: VirtualConsole) -> None:
    found = probe(console, "mesogun.service", user="root")
    assert found["uid"] == 0
    assert set(refused(found["sockets"])) == {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"}
    assert found["devices"]["/dev/vda"] == "EPERM"
    assert set(refused(found["written"])) == set(found["written"])


def test_the_gateway_has_the_network_and_no_device_and_no_way_to_the_controller(console: VirtualConsole) -> None:
    for user in ("", "root"):
        found = probe(console, "mesogun-gateway.service", user=user)
        assert set(refused(found["sockets"])) == {"AF_NETLINK", "AF_PACKET", "AF_UNIX"}
        assert set(refused(found["devices"])) == set(found["devices"])
        assert set(refused(found["written"])) == set(found["written"])
        # Its own user reads as the journal's group; a root without capabilities is in no group.
        assert (found["journal"] == "allowed") is (not user)
        assert found["control"] != "allowed"
        assert found["fifo 50"] == "EPERM"


def test_the_strokes_go_before_everything_else_of_the_product(console: VirtualConsole) -> None:
    """The real-time process has its priority and its memory locked, on a kernel that is fully preemptible."""
    machine = console.machine
    assert "PREEMPT_RT" in machine.shell("uname -v")
    found = machine.shell(
        "pid=$(pgrep -of device.realtime); chrt -p $pid; grep VmLck /proc/$pid/status;"
        f" chrt -p {console.unit_property('mesogun.service', 'MainPID')}"
    ).splitlines()
    assert "SCHED_FIFO" in found[0]
    assert found[1].endswith("priority: 50")
    assert int(found[2].split()[1]) > 0
    assert found[4].endswith("priority: 10")


@pytest.mark.parametrize("unit", ["mesogun.service", "mesogun-gateway.service"])
def test_systemd_counts_little_exposure(console: VirtualConsole, unit: str) -> None:
    shown = console.machine.run("systemd-analyze", "security", "--no-pager", unit).out
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert exposure is not None, shown
    assert float(exposure[1]) <= 1.5, shown


def test_the_unit_is_the_shipped_one_but_for_the_boards_revision(console: VirtualConsole) -> None:
    changed = console.machine.shell("systemctl cat mesogun.service | grep '^# /'").split("# ")
    names = [Path(name.strip()).name for name in changed if name.strip()]
    assert names == ["mesogun.service", "virtual-console.conf"]


def test_the_gateway_runs_beside_the_controller_and_tries_for_its_broker_again(console: VirtualConsole) -> None:
    unit = "mesogun-gateway.service"
    console.machine.run("systemctl", "restart", unit).checked()
    told = console.log(unit).count("next attempt in")
    until(lambda: console.log(unit).count("next attempt in") > told, within_s=240, what="a second attempt", look_s=0.5)
    assert console.unit_property(unit, "ActiveState") == "active"
    assert console.unit_property(unit, "NRestarts") == "0"
