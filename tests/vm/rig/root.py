"""The guest's root file system: a small Debian with systemd and Python, and the first program that mounts it.

Owns the packages, the squashfs and the initramfs. An entry `root` holds the tree (in which the product's
package is built, and of which a copy is what it is installed in) and `root.sqfs`, which the guest mounts.
"""

import shutil
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import Cache, RigError
from tests.vm.rig.shell import check_root, run

SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"
PACKAGES: Final = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "kmod",
    "udev",
    "python3",
    "python3-venv",
    "gpiod",
    "procps",
    # A broker for the gateway; nobody starts it but the test that needs it.
    "mosquitto",
    "mosquitto-clients",
)
_GUEST: Final = Path(__file__).with_name("guest")


def root(cache: Cache) -> Path:
    """Return the cache entry of the root file system."""

    def make(place: Path) -> None:
        check_root()
        tree = place / "tree"
        run(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, tree, MIRROR])
        shutil.rmtree(tree / "var" / "cache" / "apt" / "archives")
        # As on Raspberry Pi OS: the owners of the lines.
        run(["chroot", tree, "groupadd", "--system", "gpio"])
        squash(tree, place / "root.sqfs")

    return cache.entry("root", (SUITE, *PACKAGES, "1"), make, about_s=120)


def initramfs(cache: Cache, kernel: Path) -> Path:
    """Return the cache entry with `initramfs`: busybox, the modules, and `guest/init`."""
    init = _GUEST / "init"

    def make(place: Path) -> None:
        tree = place / "tree"
        for directory in ("bin", "modules", "proc", "sys", "dev", "root"):
            (tree / directory).mkdir(parents=True)
        busybox = shutil.which("busybox")
        if busybox is None:
            raise RigError("busybox-static is missing: run .ci/vm-packages as root")
        shutil.copy(busybox, tree / "bin" / "busybox")
        for module in sorted((kernel / "modules").iterdir()):
            shutil.copy(module, tree / "modules")
        shutil.copy(init, tree / "init")
        (tree / "init").chmod(0o755)
        run(["sh", "-c", "find . | cpio --quiet -o -H newc > ../initramfs"], cwd=tree)

    return cache.entry("initramfs", (kernel.name, init.read_text(), "1"), make, about_s=1)


def squash(tree: Path, image: Path, *options: str) -> None:
    """Write `tree` as a squashfs: lz4, because the guest's processor is slow."""
    run(["mksquashfs", tree, image, "-comp", "lz4", "-noappend", "-quiet", "-no-progress", *options])
