"""Commands of the building machine: run to their end, and what is missing said with the package that has it."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import RigError

STEP_S: Final = 1800
"""Bound of one building step; the longest (the root file system) takes one to three minutes."""

OUTPUT_SHOWN: Final = 2000

PACKAGES: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "mksquashfs": "squashfs-tools",
    "cpio": "cpio",
    "nbdkit": "nbdkit",
    "mkfs.ext4": "e2fsprogs",
    "make": "make",
    "gcc": "gcc",
    "xz": "xz-utils",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}
"""The commands that the rig needs, and the Debian packages that have them."""


def check_commands() -> None:
    """Raise RigError, with what to do, where a command or the right to build is missing."""
    missing = sorted({package for command, package in PACKAGES.items() if shutil.which(command) is None})
    if missing:
        raise RigError(f"the virtual console needs {' '.join(missing)}: run .ci/vm-packages as root")


def check_root() -> None:
    """Raise RigError where debootstrap and chroot would not be allowed."""
    if os.geteuid() != 0:
        raise RigError("the virtual console's root file system is built by debootstrap, as root: sudo make vm-test")


def run(command: Sequence[str | Path], *, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a building step, return its standard output. Raises RigError with the end of what it wrote."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=STEP_S,
        check=False,
    )
    if done.returncode:
        shown = (done.stdout + done.stderr)[-OUTPUT_SHOWN:].strip()
        raise RigError(f"{' '.join(map(str, command))[:200]} failed ({done.returncode}):\n{shown}")
    return done.stdout
