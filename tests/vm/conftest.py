"""The virtual console of these tests: built where it is not there yet, started once, its gun running."""

import sys
from collections.abc import Iterator

import pytest

from tests.vm.rig.build import build
from tests.vm.rig.cache import say
from tests.vm.rig.console import VirtualConsole

LOG_SHOWN = 6000
RUNNING = pytest.StashKey[VirtualConsole]()
"""The console without a disk, once a test has asked for it."""

WITH_DISK = "disk_console"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of the console with a disk come last: one machine at a time is slow enough."""
    items.sort(key=lambda item: WITH_DISK in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def console(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualConsole]:
    found = VirtualConsole(build(), tmp_path_factory.mktemp("console"))
    request.config.stash[RUNNING] = found
    try:
        say(f"the guest started in {found.boot():.0f} s")
        found.install()
        say(f"the console is configured and the gun runs after {found.machine.age_s:.0f} s")
        yield found
        assert found.wires.failure is None
        assert found.wires.lost == 0, "the kernel's trace lost edges: the counts say nothing"
    finally:
        found.close()


@pytest.fixture(scope="session")
def disk_console(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualConsole]:
    """A console that keeps what it wrote when its power is cut; its services start by themselves, as installed."""
    other = request.config.stash.get(RUNNING, None)
    if other is not None:
        other.close()
    found = VirtualConsole(build(), tmp_path_factory.mktemp("disk"), with_disk=True)
    try:
        say(f"the guest with a disk started in {found.boot():.0f} s")
        found.install()
        found.machine.shell("sync")
        say(f"the console is configured and the gun runs after {found.machine.age_s:.0f} s")
        yield found
        assert found.wires.failure is None
        assert found.wires.lost == 0, "the kernel's trace lost edges: the counts say nothing"
    finally:
        found.close()


@pytest.fixture(autouse=True)
def log_of_a_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the end of the service's log where a test fails."""
    used = next(name for name in (WITH_DISK, "console") if name in request.fixturenames)
    console: VirtualConsole = request.getfixturevalue(used)
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        sys.stderr.write(console.log("mesogun.service")[-LOG_SHOWN:])
