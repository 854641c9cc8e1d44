"""The product's Debian package, built in the guest's own root by the guest's own Python from wheels fetched before.

Owns the wheels and the call of `packaging/build-deb`, which is the shipped one. Built in there, the package is for the
guest's release on whatever release the rig runs, and nothing is fetched while it is built.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import Cache, digest_of_files
from tests.vm.rig.shell import check_root, run

CHECKOUT: Final = Path(__file__).resolve().parents[3]
_REQUIREMENTS: Final = (CHECKOUT / "requirements" / "pi.txt", CHECKOUT / "requirements" / "build.txt")
_PARTS: Final = ("device", "drivers", "config", "systemd", "packaging")
_FILES: Final = (*_REQUIREMENTS, CHECKOUT / "pyproject.toml", CHECKOUT / "README.md", CHECKOUT / "LICENSE")
_PLATFORMS: Final = (
    *(f"manylinux_2_{minor}_x86_64" for minor in (36, 34, 31, 28, 17, 12, 5)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)
"""The wheels that Debian 12's C library can run."""

_BUILD: Final = """
cd /tmp/mesogun
python3 -m venv builder
builder/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
PIP_PYTHON=builder/bin/python packaging/build-deb
"""
_SURROUNDINGS: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp/mesogun",  # noqa: S108 - the guest's own, seen by nobody else
    "LC_ALL": "C.UTF-8",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "/tmp/mesogun/wheels",  # noqa: S108 - as above
    "PIP_NO_CACHE_DIR": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # The same content is the same package, whatever was committed last.
    "REVISION": "rig",
    "SOURCE_DATE_EPOCH": "1577836800",
}


def package(cache: Cache, root: Path) -> Path:
    """Return the cache entry with the `.deb` of the product as it is in the checkout."""
    wheels = _wheels(cache)
    product = [
        file
        for part in _PARTS
        for file in (CHECKOUT / part).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    product += _FILES
    ingredients = (root.name, wheels.name, digest_of_files(CHECKOUT, product), _BUILD, str(_SURROUNDINGS), "1")

    def make(place: Path) -> None:
        check_root()
        work = root / "tree" / "tmp" / "mesogun"
        shutil.rmtree(work, ignore_errors=True)
        for file in product:
            target = work / file.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        shutil.copytree(wheels, work / "wheels")
        run(["chroot", root / "tree", "sh", "-ec", _BUILD], environment=_SURROUNDINGS)
        (made,) = (work / "dist").glob("*.deb")
        shutil.move(made, place)
        shutil.rmtree(work)

    return cache.entry("package", ingredients, make, about_s=30)


def _wheels(cache: Cache) -> Path:
    def make(place: Path) -> None:
        platforms = [f"--platform={platform}" for platform in _PLATFORMS]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
        chosen = ["--python-version=3.11", "--implementation=cp", "--only-binary=:all:", *platforms]
        wanted = [f"--requirement={file}" for file in _REQUIREMENTS]
        run([*pip, *chosen, "--require-hashes", *wanted, "--dest", str(place)])

    ingredients = (*(file.read_text() for file in _REQUIREMENTS), *_PLATFORMS, "2")
    return cache.entry("wheels", ingredients, make, about_s=10)
