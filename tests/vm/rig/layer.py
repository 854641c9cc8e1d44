"""What lies over the guest's root: what the product's package changed in it, and the rig's own few files.

Owns the installation: `dpkg` installs the package in a copy of the root, its maintainer scripts run there, and the
layer is what they made different. Over it lie the units that stand in for a Pi's hardware.
"""

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import Cache, RigError, digest_of_files
from tests.vm.rig.package import CHECKOUT, package
from tests.vm.rig.root import squash
from tests.vm.rig.shell import check_root, run

PACKAGE: Final = Path("opt/rig/mesogun.deb")
"""Where a test of the guest finds what was installed."""

_GUEST: Final = Path(__file__).with_name("guest")
_ENABLED: Final = (
    "etc/systemd/system/multi-user.target.wants/mesogun.target",
    "var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants/mesogun.target",
    "var/lib/systemd/deb-systemd-helper-enabled/mesogun.target.dsh-also",
)
"""By what the package's target is enabled, and by what its script sees at the next time that it was."""

_INSTALL: Final = f"""
mount -t proc proc "$1/proc"
exec chroot "$1" dpkg --install /{PACKAGE}
"""

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
    product = package(cache, root)
    rig = [file for file in _GUEST.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    ingredients = (root.name, product.name, digest_of_files(CHECKOUT, rig), *_MASKED, _INSTALL, "4")

    def make(place: Path) -> None:
        check_root()
        before, tree = root / "tree", place / "tree"
        run(["cp", "-a", "--reflink=auto", before, tree])
        _install_product(tree, product)
        _keep_what_changed(tree, before)
        # The package enables the gun, and under the shipped example it refuses to start: no boot is to end with that.
        # `VirtualConsole.install` lets the package's own script enable it as for the first time, when the console has
        # a configuration of its own.
        for name in _ENABLED:
            (tree / name).unlink()
        _install_rig(tree)
        squash(tree, place / "layer.sqfs")
        shutil.rmtree(tree)

    return cache.entry("layer", ingredients, make, about_s=20)


def _install_product(tree: Path, product: Path) -> None:
    """Install the package as on a console that is not running; what is mounted for it goes with the command."""
    (deb,) = product.glob("*.deb")
    (tree / PACKAGE).parent.mkdir(parents=True)
    shutil.copy(deb, tree / PACKAGE)
    surroundings = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    run(["unshare", "--mount", "sh", "-ec", _INSTALL, "sh", tree], environment=surroundings)


def _keep_what_changed(tree: Path, before: Path) -> None:
    """Take away from `tree`, a copy of `before`, whatever is as it was: what stays is new or different."""
    gone = [name for name in _names(before) if not os.path.lexists(tree / name)]
    if gone:
        raise RigError(f"the package took away {gone[0]}, which a layer cannot show")
    for name in reversed(_names(tree)):
        path, old = tree / name, before / name
        if not os.path.lexists(old) or _looks(path) != _looks(old):
            continue
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()


def _names(tree: Path) -> list[Path]:
    """Return everything in `tree`, each directory before what is in it."""
    return sorted(path.relative_to(tree) for path in tree.rglob("*"))


def _looks(path: Path) -> tuple[int, ...]:
    """Return by what a file is told from an older one; a directory's time is that of what is in it."""
    status = path.lstat()
    changed = () if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
    return (status.st_mode, status.st_uid, status.st_gid, *changed)


def _install_rig(tree: Path) -> None:
    """Put in place of a Pi's hardware what `guest` holds, and leave out what the guest does not need."""
    units = tree / "etc" / "systemd" / "system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    for unit in _MASKED:
        (units / unit).symlink_to("/dev/null")
    for service in sorted(_GUEST.glob("*.service")):
        shutil.copy(service, units)
        (wanted / service.name).symlink_to(f"../{service.name}")
    addition = units / "mesogun.service.d"
    addition.mkdir()
    shutil.copy(_GUEST / "mesogun.service.conf", addition / "virtual-console.conf")
    rules = tree / "etc" / "udev" / "rules.d"
    rules.mkdir(parents=True, exist_ok=True)
    shutil.copy(_GUEST / "99-rig.rules", rules)
    programs = tree / "opt" / "rig"
    programs.mkdir(exist_ok=True)
    for program in ("board.sh", "agent.py", "wires.py"):
        shutil.copy(_GUEST / program, programs)
    (programs / "board.sh").chmod(0o755)
    (tree / "etc" / "hostname").write_text("console\n")
    (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    (tree / "etc" / "fstab").write_text("")
    (tree / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
