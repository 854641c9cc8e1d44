"""The Debian package in a root of its own: installed, updated, refused, removed; state and configuration outlive it.

Needs root, debootstrap and a package in dist/: `make package-test` builds that. The root is made once and kept in
var/package; each test gets a copy. What needs a running systemd is the virtual console's to show.
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
COMMAND_S: Final = 600


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
        return run("chroot", self.path, *command, check=check)

    def install(self, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Install or update, as packaging/install does where nobody can be asked."""
        return self.run("dpkg", "--force-confdef", "--force-confold", "--install", "/mesogun.deb", check=check)

    def conffiles(self) -> list[str]:
        """Return the files about which dpkg asks."""
        return self.run("dpkg-query", "-W", "-f", "${Conffiles}", "mesogun").stdout.split()[::2]

    def file(self, place: str) -> Path:
        """Return where a file of it lies."""
        return self.path / place

    def write_journal(self, *records: Record) -> None:
        """Leave a journal of these records, owned as the controller's is."""
        state = self.file(STATE)
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
        with Journal.open(state / "journal.db", boot_id="boot", wall_clock_ms=lambda: 1_772_600_767_089) as journal:
            journal.append([Booted("1", "0" * 64, simulated=False), *records])
        self.run("chown", "-R", "mesogun:mesogun", f"/{STATE}")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    run("tar", "-C", tmp_path, "-xf", pristine_root())
    run("mount", "-t", "proc", "proc", tmp_path / "proc")
    try:
        yield Root(tmp_path)
    finally:
        run("umount", tmp_path / "proc")


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


def test_an_update_is_refused_while_a_session_is_open(root: Root) -> None:
    root.install()
    root.write_journal(STARTED)
    refused = root.install(check=False)
    assert refused.returncode != 0
    assert "mesogun: a session is open; end it first: mesogun session stop" in refused.stderr
    assert root.run(PROGRAM, "--help").returncode == 0
    # Nothing of the program that stays was taken away: it starts no slower than before.
    assert root.run("dpkg", "--verify", "mesogun").stdout == ""
    shutil.rmtree(root.file(STATE))
    root.write_journal(STARTED, SessionEnded(session_id="s-1", reason="stopped", shots=0, volume_nl=0))
    assert root.install().returncode == 0


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
