"""The Debian package in a root of its own: installed, updated, refused, removed; state and configuration outlive it.

Needs root, debootstrap and a package in dist/: `make package-test` builds that. The root is made once and kept in
var/package; each test gets a copy. No systemd runs in it: where the package's scripts look for one, a program of a few
lines stands in for it, which notes what it was asked. With a real one they meet in the virtual console.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from device.controller.journal import Journal
from device.core.records import Booted, Record, SessionEnded, SessionStarted
from device.settings import FORMULARY
from device.settings.bundle import TRUSTED, new_key
from tests.support.settings import CHECKOUT, Draft

CACHE: Final = CHECKOUT / "var" / "package"
RELEASE: Final = "bookworm"
PROGRAM: Final = "/opt/mesogun/.venv/bin/mesogun"
STATE: Final = "var/lib/mesogun"
MARK: Final = "run/mesogun-update"
"""What an update has stopped, until it is started again."""

TARGET: Final = "mesogun.target"
UNITS: Final = (TARGET, "mesogun.service", "mesogun-gateway.service")
COMMAND_S: Final = 600
SURROUNDINGS: Final = ("env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

SYSTEMCTL: Final = """#!/bin/sh
# Of a systemd that runs: which units do, and what was asked of it. What is about files the real program does.
place=/run/stand-in
case $1 in
  show | is-active)
    for unit in "$@"; do :; done
    if [ -e $place/running/$unit ]; then found=active; else found=inactive; fi
    [ "$1" = show ] && echo $found || [ $found = active ]
    ;;
  start | stop | reset-failed | daemon-reload)
    echo "$*" >>$place/asked
    verb=$1
    shift
    for unit in "$@"; do
      case $verb in
        start)
          [ "$(readlink /etc/systemd/system/$unit)" != /dev/null ] || { echo "$unit is masked" >&2; exit 1; }
          touch $place/running/$unit
          # The target wants both services.
          [ $unit != mesogun.target ] || touch $place/running/mesogun.service $place/running/mesogun-gateway.service
          ;;
        stop) rm -f $place/running/$unit ;;
      esac
    done
    if [ $verb = stop ] && [ -e $place/at-stop ]; then sh -e $place/at-stop; fi
    ;;
  *) exec env SYSTEMD_OFFLINE=1 /usr/bin/systemctl "$@" ;;
esac
"""


def run(*command: str | Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
    return done


def pristine_root() -> Path:
    """Return an archive of a small Debian with systemd, made at the first call."""
    archive = CACHE / f"{RELEASE}.tar"
    if not archive.exists():
        assert os.geteuid() == 0, "needs root: sudo make package-test"
        assert shutil.which("debootstrap"), "needs debootstrap: sudo apt-get install debootstrap"
        made = CACHE / RELEASE
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        run("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,udev,python3", RELEASE, made)
        run("tar", "-C", made, "-cf", archive.with_suffix(".part"), ".")
        archive.with_suffix(".part").rename(archive)
        shutil.rmtree(made)
    return archive


class Root:
    """A Debian to install in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (package,) = sorted((CHECKOUT / "dist").glob("mesogun_*.deb"), key=lambda file: file.stat().st_mtime)[-1:]
        shutil.copy(package, path / "mesogun.deb")

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command in it."""
        return run("chroot", self.path, *SURROUNDINGS, *command, check=check)

    def install(self, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Install or update, as packaging/install does where nobody can be asked."""
        return self.run("dpkg", "--force-confdef", "--force-confold", "--install", "/mesogun.deb", check=check)

    def conffiles(self) -> list[str]:
        """Return the files about which dpkg asks."""
        return self.run("dpkg-query", "-W", "-f", "${Conffiles}", "mesogun").stdout.split()[::2]

    def file(self, place: str) -> Path:
        """Return where a file of it lies."""
        return self.path / place

    def configure(self) -> None:
        """Make of the example the console's own."""
        device = self.file("etc/mesogun/device.toml")
        device.write_text(device.read_text().replace('site = "demo-clinic"', 'site = "a-clinic"'))

    def write_journal(self, *records: Record) -> None:
        """Leave a journal of these records, owned as the controller's is."""
        state = self.file(STATE)
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
        with Journal.open(state / "journal.db", boot_id="boot", wall_clock_ms=lambda: 1_772_600_767_089) as journal:
            journal.append([Booted("1", "0" * 64, simulated=False), *records])
        self.run("chown", "-R", "mesogun:mesogun", f"/{STATE}")


class StandIn:
    """A systemd that is taken for a running one in `root`."""

    def __init__(self, root: Root) -> None:
        self._place = root.file("run/stand-in")
        root.file("run/systemd/system").mkdir(parents=True)
        (self._place / "running").mkdir(parents=True)
        program = root.file("usr/local/bin/systemctl")
        program.write_text(SYSTEMCTL)
        program.chmod(0o755)

    @property
    def running(self) -> set[str]:
        """The units that run."""
        return {unit.name for unit in (self._place / "running").iterdir()}

    def let_run(self, *units: str) -> None:
        """Let these units run and no other, whoever started them."""
        for unit in UNITS:
            (self._place / "running" / unit).unlink(missing_ok=True)
        for unit in units:
            (self._place / "running" / unit).touch()

    def asked(self) -> list[str]:
        """Return what it was asked to start and stop since the last call."""
        asked = self._place / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        asked.write_text("")
        return [line for line in lines if line.startswith(("start ", "stop ", "reset-failed "))]

    def at_stop(self, script: str) -> None:
        """Run a script in the root whenever something was stopped."""
        (self._place / "at-stop").write_text(script)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    run("tar", "-C", tmp_path, "-xf", pristine_root())
    run("mount", "-t", "proc", "proc", tmp_path / "proc")
    try:
        yield Root(tmp_path)
    finally:
        run("umount", tmp_path / "proc")


@pytest.fixture
def systemd(root: Root) -> StandIn:
    return StandIn(root)


STARTED: Final = SessionStarted(
    session_id="s-1",
    patient="p",
    profile="continuous",
    profile_sha256="0" * 64,
    serum="saline",
    serum_sha256="0" * 64,
    syringe="1ml",
    syringe_sha256="0" * 64,
    regions=["crown"],
    region_points=[2],
    weight_g=None,
)


def test_what_is_installed_runs_and_belongs_to_whom_it_should(root: Root) -> None:
    root.install()
    assert "invariants  held" in root.run("/usr/bin/mesogun", "simulate", "--sessions", "1", "--points", "2").stdout
    assert root.run("/usr/bin/mesogun", "config", "check", "--config", "/etc/mesogun").returncode == 0
    places = ("/etc/mesogun/device.toml", "/etc/mesogun/formulary/profiles")
    assert root.run("stat", "-c", "%U:%G %a", *places).stdout == "root:mesogun 640\nroot:mesogun 750\n"
    as_service = ("runuser", "-u", "mesogun", "--")
    assert root.run(*as_service, "/usr/bin/mesogun", "config", "check", "--config", "/etc/mesogun").returncode == 0
    assert root.run("systemctl", "is-enabled", "mesogun.target").stdout == "enabled\n"
    units = ("mesogun.service", "mesogun-gateway.service", "mesogun.target")
    assert root.run("systemd-analyze", "verify", "--man=no", *units).stderr == ""


def test_a_second_time_changes_nothing_and_keeps_what_the_clinic_wrote(root: Root) -> None:
    root.install()
    device = root.file("etc/mesogun/device.toml")
    device.write_text(device.read_text() + "\n# the clinic's own\n")
    before = root.run("find", "/etc/mesogun", "/opt/mesogun", "/usr/lib/systemd/system/mesogun.service", "-ls").stdout
    root.install()
    after = root.run("find", "/etc/mesogun", "/opt/mesogun", "/usr/lib/systemd/system/mesogun.service", "-ls").stdout
    assert device.read_text().endswith("# the clinic's own\n")
    names = [[line.split()[-1] for line in listing.splitlines()] for listing in (before, after)]
    assert names[0] == names[1]


def contents(directory: Path) -> dict[Path, bytes]:
    return {file.relative_to(directory): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def test_an_update_leaves_the_clinics_signed_formulary_alone(root: Root) -> None:
    root.install()
    key, public = new_key("pharmacy")
    draft = Draft(root.file("root/clinic"))
    draft.sign(key)
    root.file(f"etc/mesogun/{TRUSTED}/pharmacy.toml").write_text(public)
    # Its version is lower than the example's, which was never in force here.
    root.run("/usr/bin/mesogun", "formulary", "install", f"/root/clinic/{FORMULARY}")
    installed = root.file("etc/mesogun/formulary")
    place = installed.readlink()
    assert place.parts[0] == "formularies"
    assert place.name != "examples"
    signed = contents(installed.parent / place)
    # The example of a new version is another one: dpkg, which would ask, is not to know of it.
    example = root.file("opt/mesogun/.venv/share/mesogun/config/formulary/limits.toml")
    example.write_text(example.read_text() + "# of the next version\n")

    root.install()
    assert installed.readlink() == place
    assert contents(installed.parent / place) == signed
    verify = ("/usr/bin/mesogun", "formulary", "verify", "/etc/mesogun/formulary", "--config", "/etc/mesogun")
    assert "signed with the key pharmacy" in root.run("runuser", "-u", "mesogun", "--", *verify).stdout
    assert not [name for name in root.conffiles() if name.startswith("/etc/mesogun/formulary")]


def test_a_formulary_that_is_missing_is_not_put_in_place_of_a_link(root: Root) -> None:
    """A link whose bundle is gone is a damage to be seen, not to be covered with examples."""
    root.install()
    root.file("etc/mesogun/formulary").unlink()
    root.file("etc/mesogun/formulary").symlink_to("formularies/7-01234567")
    root.install()
    assert root.file("etc/mesogun/formulary").readlink() == Path("formularies/7-01234567")
    root.file("etc/mesogun/formulary").unlink()
    root.install()
    assert root.run("/usr/bin/mesogun", "config", "check", "--config", "/etc/mesogun").returncode == 0


def test_the_brokers_password_is_the_gateways_alone_also_behind_an_update(root: Root) -> None:
    root.install()
    place = "/etc/mesogun/mqtt-password"
    root.file(place[1:]).write_text("secret")
    root.run("install", "-o", "mesogun-gateway", "-g", "root", "-m", "400", place, f"{place}.new")
    root.run("mv", f"{place}.new", place)
    root.install()
    assert root.run("stat", "-c", "%U:%G %a", place).stdout == "mesogun-gateway:root 400\n"
    read = ("runuser", "-u", "mesogun-gateway", "--", "cat", place)
    assert root.run(*read).stdout == "secret"


def check_refused(root: Root) -> None:
    """Try an update that an open session refuses; nothing of the program that stays is taken away."""
    refused = root.install(check=False)
    assert refused.returncode != 0
    assert "mesogun: a session is open; end it first: mesogun session stop" in refused.stderr
    assert root.run(PROGRAM, "--help").returncode == 0
    assert set(root.run("dpkg", "--verify", "mesogun").stdout.split()) <= {"??5??????", "c", "/etc/mesogun/device.toml"}
    assert root.run("dpkg-query", "-W", "-f", "${Status}", "mesogun").stdout == "install ok installed"


def test_an_update_is_refused_while_a_session_is_open(root: Root) -> None:
    root.install()
    root.write_journal(STARTED)
    check_refused(root)
    shutil.rmtree(root.file(STATE))
    root.write_journal(STARTED, SessionEnded(session_id="s-1", reason="stopped", shots=0, volume_nl=0))
    assert root.install().returncode == 0


def test_a_gun_that_cannot_end_its_session_is_removed_and_installed_anew(root: Root, systemd: StandIn) -> None:
    root.install()
    root.configure()
    root.write_journal(STARTED)
    systemd.let_run(*UNITS)
    refused = root.install(check=False)
    assert "mesogun: with a gun that cannot: dpkg --remove mesogun, which keeps journal" in refused.stderr
    root.run("dpkg", "--remove", "mesogun")
    assert systemd.running == set()
    # As packaging/install does: what the clinic has changed in the configuration stays.
    root.install()
    assert 'site = "a-clinic"' in root.file("etc/mesogun/device.toml").read_text()
    assert root.file(f"{STATE}/journal.db").exists()
    assert systemd.running == set(UNITS)
    check_refused(root)


# With a systemd that runs ---------------------------------------------------------------------------------------------


def test_the_shipped_example_is_installed_and_not_started(root: Root, systemd: StandIn) -> None:
    said = root.install().stderr
    assert "mesogun: the gun is stopped, for /etc/mesogun/device.toml is the shipped example: write this" in said
    assert systemd.running == set()
    assert root.run("systemctl", "is-enabled", TARGET).stdout == "enabled\n"
    # Nor by an update that finds it so.
    assert "the shipped example" in root.install().stderr
    assert systemd.asked() == []


def test_an_update_stops_the_gun_before_it_is_unpacked_and_starts_what_ran(root: Root, systemd: StandIn) -> None:
    root.install()
    root.configure()
    for running in (UNITS, ("mesogun.service",)):
        systemd.let_run(*running)
        systemd.at_stop(f"test -x {PROGRAM}; cp -p {PROGRAM} /run/stand-in/program; rm {PROGRAM}")
        assert "mesogun:" not in root.install().stderr
        assert root.file(PROGRAM[1:]).exists()
        assert systemd.asked() == [
            f"stop {' '.join(UNITS)}",
            f"reset-failed {' '.join(UNITS)}",
            f"start {' '.join(running)}",
        ]
        assert systemd.running == set(running)
        assert not root.file(MARK).exists()


def test_a_gun_that_did_not_run_is_updated_and_stays_stopped(root: Root, systemd: StandIn) -> None:
    root.install()
    root.configure()
    said = root.install().stderr
    assert "mesogun: the gun is stopped, as it was before: systemctl start mesogun.target" in said
    assert systemd.asked() == []


def test_a_session_that_was_open_before_is_found_with_nothing_stopped(root: Root, systemd: StandIn) -> None:
    root.install()
    root.write_journal(STARTED)
    systemd.let_run(*UNITS)
    check_refused(root)
    assert systemd.asked() == []
    assert systemd.running == set(UNITS)
    # Also where the gun does not run: what the session holds is the old version's all the same.
    systemd.let_run()
    check_refused(root)


def test_a_session_that_began_while_the_update_did_is_found_once_nothing_takes_commands(
    root: Root, systemd: StandIn
) -> None:
    root.install()
    root.configure()
    root.write_journal(STARTED)
    root.run("mv", f"/{STATE}", "/root/begun")
    root.write_journal()
    systemd.let_run(*UNITS)
    systemd.at_stop(f"rm -r /{STATE}; cp -a /root/begun /{STATE}")
    check_refused(root)
    assert [line.split()[0] for line in systemd.asked()] == ["stop", "reset-failed", "start"]
    assert systemd.running == set(UNITS)
    assert not root.file(MARK).exists()


def test_an_update_that_fails_on_its_way_starts_what_it_had_stopped(root: Root, systemd: StandIn) -> None:
    root.install()
    root.configure()
    systemd.let_run(*UNITS)
    package = root.file("mesogun.deb")
    whole = package.read_bytes()
    package.write_bytes(whole[: len(whole) * 9 // 10])
    assert root.install(check=False).returncode != 0
    assert [line.split()[0] for line in systemd.asked()] == ["stop", "reset-failed", "start"]
    assert systemd.running == set(UNITS)
    assert not root.file(MARK).exists()
    assert root.run(PROGRAM, "--help").returncode == 0


def test_under_a_configuration_that_no_longer_fits_the_gun_is_stopped_and_that_is_said(
    root: Root, systemd: StandIn
) -> None:
    root.install()
    root.configure()
    systemd.let_run(*UNITS)
    device = root.file("etc/mesogun/device.toml")
    own = device.read_text()
    device.write_text(own.replace("slope = 14", "slope = 14\nof_another_version = 1"))
    said = root.install().stderr
    assert "of_another_version: found an unknown key" in said
    assert "mesogun: the gun is stopped, for its configuration is not one of this version: mend what is said" in said
    assert systemd.running == set()
    assert root.run("dpkg-query", "-W", "-f", "${Status}", "mesogun").stdout == "install ok installed"
    assert not root.file(MARK).exists()


def enabled(root: Root) -> str:
    return root.run("systemctl", "is-enabled", TARGET, check=False).stdout.strip()


def test_what_an_engineer_has_disabled_stays_so(root: Root, systemd: StandIn) -> None:
    root.install()
    root.configure()
    root.run("systemctl", "disable", TARGET)
    root.install()
    assert (enabled(root), systemd.running) == ("disabled", set())
    # What he started by hand for now is running again.
    systemd.let_run("mesogun.service")
    root.install()
    assert (enabled(root), systemd.running) == ("disabled", {"mesogun.service"})
    root.run("dpkg", "--remove", "mesogun")
    root.install()
    assert (enabled(root), systemd.running) == ("disabled", set())
    root.run("systemctl", "enable", TARGET)
    root.install()
    assert enabled(root) == "enabled"
    root.run("dpkg", "--purge", "mesogun")
    assert not list(root.file("etc/systemd").rglob("mesogun*"))
    root.install()
    assert enabled(root) == "enabled"


def test_what_an_engineer_has_masked_is_installed_and_updated_without_a_start(root: Root, systemd: StandIn) -> None:
    """A unit of which systemd says that it is masked fails to start: the package is configured all the same."""
    root.run("systemctl", "mask", TARGET)
    root.install()
    root.configure()
    assert "mesogun: the gun is stopped, for mesogun.target is masked" in root.install().stderr
    root.run("dpkg", "--remove", "mesogun")
    root.install()
    assert (enabled(root), systemd.running) == ("masked", set())
    root.run("systemctl", "unmask", TARGET)
    root.install()
    assert enabled(root) == "enabled"
    # Masked while the gun runs: it is stopped by the update, and not before.
    root.run("systemctl", "mask", TARGET)
    systemd.let_run(*UNITS)
    root.install()
    assert (enabled(root), systemd.running) == ("masked", set())
    root.run("systemctl", "unmask", TARGET)
    assert enabled(root) == "enabled"


# Removed --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["--remove", "--purge"])
def test_the_journal_outlives_the_program(root: Root, how: str) -> None:
    root.install()
    root.write_journal(STARTED)
    root.run("dpkg", how, "mesogun")
    assert root.file("etc/mesogun/formulary/formulary.toml").exists()
    assert root.file(f"{STATE}/journal.db").exists()
    assert not root.file("opt/mesogun").exists()
    assert root.file("etc/mesogun/device.toml").exists() is (how == "--remove")
    assert not root.file("usr/lib/systemd/system/mesogun.service").exists()
