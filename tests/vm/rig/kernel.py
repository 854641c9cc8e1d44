"""The guest's kernel: Debian's own PREEMPT_RT build, and gpio-sim, which Debian leaves out, as a module for it.

Owns the choice of the version, the download (unpacked, never installed) and the module's build. An entry holds
`vmlinuz` and, in `modules`, what the start needs in the order in which it must be loaded.
"""

import lzma
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import Cache, RigError
from tests.vm.rig.shell import run

SERIES: Final = "6.12"
"""The long-term kernel of Debian 12's security archive and of Debian 13: the one of Raspberry Pi OS, too."""

LOADED: Final = (
    *("virtio_blk", "squashfs", "overlay", "crc32c_generic", "ext4", "configfs", "autofs4", "gpio-sim-rig"),
    *("xhci_pci", "ftdi_sio"),
)
"""Loaded by the initramfs; what they depend on comes before them."""

_DEPENDS: Final = re.compile(rb"\0depends=([^\0]*)\0")
_SOURCES: Final = ("drivers/gpio/gpio-sim.c", "kernel/irq/irq_sim.c")
_PATCHES: Final = (
    # The kernel keeps `irq_to_desc` to itself, and exports what it is made of.
    ("irq_sim.c", "irq_to_desc(irqnum)", "irq_data_to_desc(irq_get_irq_data(irqnum))"),
    ("irq_sim.c", "#include <linux/irq_sim.h>", "#include <linux/irq_sim.h>\n#include <linux/irqdesc.h>"),
    # A chip's own pull is weaker than what is wired to its line: it must not move a line that a switch holds.
    ("gpio-sim.c", "PULL_UP:\n\t\treturn gpio_sim_apply_pull(chip, offset, 1);", "PULL_UP:\n\t\treturn 0;"),
    ("gpio-sim.c", "PULL_DOWN:\n\t\treturn gpio_sim_apply_pull(chip, offset, 0);", "PULL_DOWN:\n\t\treturn 0;"),
)
"""File, what stands in it, and what must stand there for the module."""

_MAKEFILE: Final = "obj-m := gpio-sim-rig.o\ngpio-sim-rig-y := gpio-sim.o irq_sim.o\n"


def kernel(cache: Cache) -> Path:
    """Return the cache entry with the kernel and its modules."""
    release, version = _newest_release()

    def make(place: Path) -> None:
        with tempfile.TemporaryDirectory(dir=cache.directory, prefix=".kernel.") as scratch:
            _make(place, Path(scratch), release=release, version=version)

    return cache.entry("kernel", (release, version, *LOADED, str(_PATCHES), "1"), make, about_s=60)


def _newest_release() -> tuple[str, str]:
    """Return the newest real-time kernel of the series that the archive has, and its package version."""
    pattern = rf"^linux-headers-{re.escape(SERIES)}\.[0-9]+\+.*-rt-amd64$"
    names = run(["apt-cache", "search", "--names-only", pattern]).splitlines()
    releases = [line.split()[0].removeprefix("linux-headers-") for line in names]
    if not releases:
        raise RigError(
            f"apt knows no linux-headers-{SERIES}.*-rt-amd64: run apt-get update; on Debian 12 its sources need "
            "bookworm-security"
        )
    release = max(releases, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
    shown = run(["apt-cache", "show", "--no-all-versions", f"linux-headers-{release}"])
    version = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
    if version is None:
        raise RigError(f"apt-cache shows no version of linux-headers-{release}")
    return release, version[1]


def _make(place: Path, scratch: Path, *, release: str, version: str) -> None:
    plain = release.removesuffix("-rt-amd64")
    packages = [
        f"linux-image-{release}",
        f"linux-headers-{release}",
        f"linux-headers-{plain}-common-rt",
        f"linux-kbuild-{plain}",
    ]
    source = f"linux-source-{SERIES}"
    exact = [f"{package}={version}" for package in (*packages, source)]
    run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *exact], cwd=scratch)
    unpacked = scratch / "unpacked"
    for package in packages:
        run(["dpkg-deb", "-x", *scratch.glob(f"{package}_*.deb"), unpacked])
    (archive,) = scratch.glob(f"{source}_*.deb")
    _take_sources(archive, scratch)
    module = _build_module(scratch / "module", unpacked, release)
    shutil.copyfile(unpacked / "boot" / f"vmlinuz-{release}", place / "vmlinuz")
    _take_modules(place / "modules", unpacked / "lib" / "modules" / release, module)


def _take_sources(archive: Path, scratch: Path) -> None:
    """Unpack the module's files, and nothing else, from the source package."""
    directory = f"linux-source-{SERIES}"
    wanted = " ".join(f"{directory}/{source}" for source in _SOURCES)
    # The last tar ends as soon as it has the files; the ends of the others are then no errors.
    pipeline = (
        f"dpkg-deb --fsys-tarfile '{archive}' 2>/dev/null | tar -xO ./usr/src/{directory}.tar.xz 2>/dev/null"
        f" | tar -xJ --occurrence=1 {wanted}"
    )
    run(["sh", "-c", pipeline], cwd=scratch)
    module = scratch / "module"
    module.mkdir()
    for source in _SOURCES:
        shutil.copy(scratch / directory / source, module)


def _build_module(module: Path, unpacked: Path, release: str) -> Path:
    """Build both sources, corrected, as one module against the unpacked headers; return it."""
    for name, before, after in _PATCHES:
        source = module / name
        text = source.read_text()
        if before not in text:
            raise RigError(f"{name} of Linux {release} has changed: {before!r} is not in it; correct {__file__}")
        source.write_text(text.replace(before, after))
    (module / "Makefile").write_text(_MAKEFILE)
    headers = unpacked / "usr" / "src" / f"linux-headers-{release}"
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("include /usr/src", f"include {unpacked}/usr/src"))
    variables = (headers / ".kernelvariables").read_text()
    compiler = re.search(r"gcc-\d+", variables)
    if compiler is not None and shutil.which(compiler[0]) is None:
        raise RigError(f"this kernel was built by {compiler[0]}: apt-get install {compiler[0]}")
    # Without BTF, which only debuggers read and for which pahole would be needed.
    run(["make", "-C", headers, f"M={module}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"])
    return module / "gpio-sim-rig.ko"


def _take_modules(place: Path, available: Path, built: Path) -> None:
    """Write the modules of `LOADED` and what they depend on, numbered in the order of loading, to `place`."""
    files = {_name(file): file for file in (*available.rglob("*.ko*"), built)}
    order: list[str] = []

    def take(name: str) -> None:
        file = files.get(name)
        if name in order or file is None:
            return  # a name without a file is built in
        for needed in _depends(_content(file)):
            take(needed)
        order.append(name)

    for name in LOADED:
        take(name.replace("-", "_"))
    place.mkdir()
    for number, name in enumerate(order):
        (place / f"{number:02}-{name}.ko").write_bytes(_content(files[name]))


def _name(file: Path) -> str:
    return file.name.split(".", maxsplit=1)[0].replace("-", "_")


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    return lzma.decompress(content) if file.suffix == ".xz" else content


def _depends(module: bytes) -> list[str]:
    found = _DEPENDS.search(module)
    return [name.decode().replace("-", "_") for name in found[1].split(b",") if name] if found else []
