"""All that the virtual console is made of, built where it is not there yet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import Cache
from tests.vm.rig.kernel import kernel
from tests.vm.rig.layer import layer
from tests.vm.rig.package import CHECKOUT
from tests.vm.rig.root import initramfs, root
from tests.vm.rig.shell import check_commands

DIRECTORY: Final = CHECKOUT / "var" / "vm"


@dataclass(frozen=True, slots=True)
class Parts:
    """The files from which a virtual console starts."""

    kernel: Path
    initramfs: Path
    root: Path
    layer: Path


def build() -> Parts:
    """Return the parts, for the product as it is in the checkout. Raises RigError."""
    check_commands()
    cache = Cache(DIRECTORY)
    kernel_entry = kernel(cache)
    root_entry = root(cache)
    return Parts(
        kernel=kernel_entry / "vmlinuz",
        initramfs=initramfs(cache, kernel_entry) / "initramfs",
        root=root_entry / "root.sqfs",
        layer=layer(cache, root_entry) / "layer.sqfs",
    )
