"""What lies over the guest's root: the product's environment, and the rig's own few files.

Owns the virtual environment in `/opt/mesogun`, made by the guest's own Python from the hashed requirements of a real
console, and the units that stand in for a Pi's hardware. Rebuilt when the product's code changes: the wheels and the
environment without the product are entries of their own.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import Cache, digest_of_files
from tests.vm.rig.root import squash
from tests.vm.rig.shell import check_root, run

CHECKOUT: Final = Path(__file__).resolve().parents[3]
REQUIREMENTS: Final = CHECKOUT / "requirements" / "pi.txt"
PREFIX: Final = Path("opt/mesogun")
_GUEST: Final = Path(__file__).with_name("guest")
_PLATFORMS: Final = (
    *(f"manylinux_2_{minor}_x86_64" for minor in (36, 34, 31, 28, 17, 12, 5)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)
"""The wheels that Debian 12's C library can run."""

_MASKED: Final = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "mosquitto.service",
    "getty@tty1.service",
    "getty-static.service",
    "serial-getty@ttyS0.service",
    "serial-getty@ttyS1.service",
    "dev-mqueue.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-debug.mount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-logind.service",
    "systemd-journal-flush.service",
    "systemd-modules-load.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-timesyncd.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "dev-hugepages.mount",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
    "timers.target",
)
"""Units of a whole system that a virtual console without disk, screen and clock chip does not need."""


def layer(cache: Cache, root: Path) -> Path:
    """Return the cache entry with `layer.sqfs` for the product as it is in the checkout."""
    wheels = _wheels(cache)
    environment = _environment(cache, root, wheels)
    product = [
        file
        for part in ("device", "drivers", "config", "systemd")
        for file in (CHECKOUT / part).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    product += [CHECKOUT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    rig = [file for file in _GUEST.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    ingredients = (environment.name, digest_of_files(CHECKOUT, product), digest_of_files(CHECKOUT, rig), *_MASKED, "2")

    def make(place: Path) -> None:
        tree = place / "tree"
        _install_product(tree, root=root, environment=environment, scratch=place)
        _install_rig(tree)
        squash(tree, place / "layer.sqfs", "-all-root")
        shutil.rmtree(tree)

    return cache.entry("layer", ingredients, make, about_s=15)


def _wheels(cache: Cache) -> Path:
    def make(place: Path) -> None:
        platforms = [f"--platform={platform}" for platform in _PLATFORMS]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
        chosen = ["--python-version=3.11", "--implementation=cp", "--only-binary=:all:", *platforms]
        run([*pip, *chosen, "--require-hashes", "--requirement", str(REQUIREMENTS), "--dest", str(place)])

    return cache.entry("wheels", (REQUIREMENTS.read_text(), *_PLATFORMS, "1"), make, about_s=10)


def _environment(cache: Cache, root: Path, wheels: Path) -> Path:
    """Return the entry with the environment's `tree`: all that the product needs, not yet the product."""

    def make(place: Path) -> None:
        check_root()
        inside = root / "tree"
        _clear(inside)
        shutil.copytree(wheels, inside / "tmp" / "wheels")
        shutil.copy(REQUIREMENTS, inside / "tmp" / "pi.txt")
        environment = f"/{PREFIX}/.venv"
        run(["chroot", inside, "/usr/bin/python3", "-m", "venv", environment])
        hashed = ["--require-hashes", "--requirement", "/tmp/pi.txt"]  # noqa: S108 - the guest's own, seen by nobody else
        run(["chroot", inside, *_pip(environment), *hashed])
        shutil.move(inside / PREFIX, place / "tree")
        _clear(inside)

    return cache.entry("environment", (root.name, wheels.name, "1"), make, about_s=40)


def _install_product(tree: Path, *, root: Path, environment: Path, scratch: Path) -> None:
    """Build the product's wheel and install it by the guest's pip, as on a console."""
    check_root()
    inside = root / "tree"
    _clear(inside)
    wheels = inside / "tmp" / "wheels"
    wheels.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel"]
    run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(CHECKOUT)], cwd=scratch)
    subprocess.run(["cp", "-a", environment / "tree", inside / PREFIX], check=True)
    (wheel,) = wheels.iterdir()
    run(["chroot", inside, *_pip(f"/{PREFIX}/.venv"), "--no-deps", f"/tmp/wheels/{wheel.name}"])  # noqa: S108 - as above
    (tree / PREFIX.parent).mkdir(parents=True)
    shutil.move(inside / PREFIX, tree / PREFIX)
    _clear(inside)


def _pip(environment: str) -> list[str]:
    command = [f"{environment}/bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    return [*command, "--no-index", "--find-links", "/tmp/wheels"]  # noqa: S108 - as above


def _clear(inside: Path) -> None:
    shutil.rmtree(inside / PREFIX, ignore_errors=True)
    shutil.rmtree(inside / "tmp" / "wheels", ignore_errors=True)
    (inside / "tmp" / "pi.txt").unlink(missing_ok=True)


def _install_rig(tree: Path) -> None:
    """Put in place of a Pi's hardware what `guest` holds, and leave out what the guest does not need."""
    units = tree / "etc" / "systemd" / "system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True)
    for unit in _MASKED:
        (units / unit).symlink_to("/dev/null")
    for service in sorted(_GUEST.glob("*.service")):
        shutil.copy(service, units)
        (wanted / service.name).symlink_to(f"../{service.name}")
    addition = units / "mesogun.service.d"
    addition.mkdir()
    shutil.copy(_GUEST / "mesogun.service.conf", addition / "virtual-console.conf")
    rules = tree / "etc" / "udev" / "rules.d"
    rules.mkdir(parents=True)
    shutil.copy(_GUEST / "99-rig.rules", rules)
    programs = tree / "opt" / "rig"
    programs.mkdir()
    for program in ("board.sh", "agent.py", "wires.py"):
        shutil.copy(_GUEST / program, programs)
    (programs / "board.sh").chmod(0o755)
    (tree / "etc" / "hostname").write_text("console\n")
    (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (tree / "etc" / "fstab").write_text("")
    (tree / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
