"""The two units keep the separation: the controller has no network, the gateway has no device."""

import os
import shutil
import signal
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from device.controller.realtime_child import END_DEADLINE_S
from device.realtime.__main__ import IGNORED
from device.service.cli import build_parser
from tests.support.settings import CHECKOUT

UNITS = CHECKOUT / "systemd"
EXPOSURE_MOST = 15
"""`systemd-analyze security` counts in tenths: 1.5, where a unit without a sandbox has 9.6."""
TOOL_SECONDS_MOST = 20

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed; the parsed checks above ran"
)
needs_sysusers = pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed"
)

Unit = dict[str, list[str]]


def read_unit(name: str) -> Unit:
    """Return the unit's settings, each with all its values in order; section names are dropped, as no key repeats."""
    settings: Unit = defaultdict(list)
    for line in (UNITS / name).read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            settings[key].append(value)
    return settings


@pytest.fixture
def controller() -> Unit:
    return read_unit("mesogun.service")


@pytest.fixture
def gateway() -> Unit:
    return read_unit("mesogun-gateway.service")


def test_the_controller_has_no_network(controller: Unit) -> None:
    assert controller["PrivateNetwork"] == ["yes"]
    assert controller["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert controller["IPAddressDeny"] == ["any"]


def test_the_controller_has_the_lines_and_the_serial_ports_and_no_other_device(controller: Unit) -> None:
    assert controller["DevicePolicy"] == ["closed"]
    assert controller["DeviceAllow"] == [f"char-{name} rw" for name in ("gpiochip", "ttyAMA", "ttyS", "ttyUSB")]


def test_an_adapter_that_is_plugged_in_after_the_start_is_among_the_devices(controller: Unit) -> None:
    """Device groups are looked up when the unit starts: what is not loaded then is left out."""
    assert controller["Wants"] == ["modprobe@usbserial.service"]
    assert "modprobe@usbserial.service" in controller["After"][0].split()


def test_the_gateway_has_no_device(gateway: Unit) -> None:
    assert gateway["DevicePolicy"] == ["closed"]
    assert gateway["PrivateDevices"] == ["yes"]
    assert "DeviceAllow" not in gateway
    assert "SupplementaryGroups" not in gateway


def test_the_gateway_cannot_reach_the_control_socket(gateway: Unit) -> None:
    assert gateway["RestrictAddressFamilies"] == ["AF_INET AF_INET6"]
    # sd_notify would need a Unix socket, which this unit does not have.
    assert gateway["Type"] == ["exec"]
    assert "WatchdogSec" not in gateway


def test_the_gateway_can_write_its_own_directory_only(gateway: Unit, controller: Unit) -> None:
    assert gateway["ProtectSystem"] == ["strict"]
    assert gateway["StateDirectory"] == ["mesogun-gateway"]
    assert not {"ReadWritePaths", "RuntimeDirectory"} & gateway.keys()
    assert gateway["User"] != controller["User"]


def test_the_journal_is_readable_by_the_gateways_group_and_by_nobody_else(gateway: Unit, controller: Unit) -> None:
    assert gateway["Group"] == controller["Group"] == ["mesogun"]
    assert controller["UMask"] == ["0027"]
    assert controller["StateDirectoryMode"] == ["0750"]


def test_a_controller_that_stops_turning_is_ended_and_its_child_is_left_to_take_the_needle_out(
    controller: Unit,
) -> None:
    assert controller["Type"] == ["notify"]
    assert controller["NotifyAccess"] == ["main"]
    assert controller["WatchdogSec"] == ["2"]
    # The signal goes to the whole control group: it must be one that the real-time process ignores.
    (signal_name,) = controller["WatchdogSignal"]
    assert {signal.Signals[signal_name], signal.SIGTERM} <= set(IGNORED)
    assert controller["KillMode"] == ["control-group"]
    assert int(controller["TimeoutStopSec"][0]) > END_DEADLINE_S
    assert "TimeoutAbortSec" not in controller
    assert controller["LimitCORE"] == ["0"]
    assert controller["Restart"] == ["on-failure"]


def test_the_realtime_process_may_schedule_itself_above_the_controller_and_lock_its_memory(controller: Unit) -> None:
    assert controller["CPUSchedulingPolicy"] == ["fifo"]
    assert int(controller["CPUSchedulingPriority"][0]) < int(controller["LimitRTPRIO"][0]) <= 50
    assert controller["LimitMEMLOCK"] == ["infinity"]
    assert "RestrictRealtime" not in controller


def test_the_controller_can_still_tell_which_board_it_runs_on(controller: Unit) -> None:
    assert "ProcSubset" not in controller
    assert "LG_WD=/run/mesogun" in controller["Environment"]


@pytest.mark.parametrize("name", ["mesogun.service", "mesogun-gateway.service"])
def test_both_run_without_rights_on_a_system_they_cannot_change(name: str) -> None:
    unit = read_unit(name)
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    for key in (
        "NoNewPrivileges",
        "MemoryDenyWriteExecute",
        "RestrictSUIDSGID",
        "RestrictNamespaces",
        "LockPersonality",
        "PrivateTmp",
        "ProtectHome",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "ProtectControlGroups",
    ):
        assert unit[key] == ["yes"], key
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["SystemCallFilter"][0] == "@system-service"
    assert "~@privileged" in unit["SystemCallFilter"][1]
    assert unit["User"] != ["root"]


@pytest.mark.parametrize("name", ["mesogun.service", "mesogun-gateway.service"])
def test_both_name_their_configuration_and_so_never_fall_back_to_the_examples(name: str) -> None:
    assert "MESOGUN_CONFIG=/etc/mesogun" in read_unit(name)["Environment"]


@pytest.mark.parametrize("name", ["mesogun.service", "mesogun-gateway.service"])
def test_the_command_that_a_unit_starts_is_one_that_mesogun_understands(name: str) -> None:
    program, *arguments = read_unit(name)["ExecStart"][0].split()
    assert program == "/opt/mesogun/.venv/bin/mesogun"
    build_parser().parse_args(arguments)


@pytest.mark.parametrize("name", ["mesogun.service", "mesogun-gateway.service"])
def test_every_line_of_a_unit_is_argued_in_the_readme(name: str) -> None:
    readme = (UNITS / "README.md").read_text()
    plain = {"Description", "Documentation", "ExecStart", "WantedBy"}
    assert {key for key in read_unit(name).keys() - plain if f"{key}=" not in readme} == set()


def environment_without_colour() -> dict[str, str]:
    return {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


@needs_systemd
@pytest.mark.parametrize("name", ["mesogun.service", "mesogun-gateway.service"])
def test_systemd_finds_the_unit_little_exposed(name: str) -> None:
    answer = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MOST}", str(UNITS / name)],
        capture_output=True,
        check=False,
        env=environment_without_colour(),
        text=True,
        timeout=TOOL_SECONDS_MOST,
    )
    assert answer.returncode == 0, answer.stdout[-200:] + answer.stderr


@needs_systemd
def test_systemd_understands_every_line_of_both_units(tmp_path: Path) -> None:
    copies = []
    for name in ("mesogun.service", "mesogun-gateway.service"):
        text = (UNITS / name).read_text()
        # The program is not installed where tests run; systemd would complain of that alone.
        copy = tmp_path / name
        copy.write_text(text.replace("/opt/mesogun/.venv/bin/mesogun", "/bin/true"))
        copies.append(str(copy))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *copies],
        capture_output=True,
        check=False,
        env=environment_without_colour(),
        text=True,
        timeout=TOOL_SECONDS_MOST,
    )
    complaints = [line for line in answer.stderr.splitlines() if line.startswith(str(tmp_path))]
    assert (answer.returncode, complaints) == (0, [])


@needs_sysusers
def test_the_accounts_that_the_units_name_are_made_and_cannot_log_in(
    tmp_path: Path, controller: Unit, gateway: Unit
) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "mesogun.sysusers.conf")],
        capture_output=True,
        check=True,
        timeout=TOOL_SECONDS_MOST,
    )
    users = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    groups = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc" / "group").read_text().splitlines()}
    assert users.keys() == {*controller["User"], *gateway["User"]}
    assert groups.keys() == {controller["Group"][0], "gpio"}
    assert {fields[3] for fields in users.values()} == {groups["mesogun"][2]}
    assert {fields[6] for fields in users.values()} == {"/usr/sbin/nologin"}
