"""The virtual console of these tests: built where it is not there yet, started once, the product installed on it."""

import sys
from collections.abc import Iterator

import pytest

from tests.vm.rig.build import build
from tests.vm.rig.cache import say
from tests.vm.rig.console import VirtualConsole

LOG_SHOWN = 6000


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualConsole]:
    found = VirtualConsole(build(), tmp_path_factory.mktemp("console"))
    try:
        say(f"the guest started in {found.boot():.0f} s")
        found.install()
        found.start("mesogun.service")
        say(f"the product is installed and its unit started after {found.machine.age_s:.0f} s")
        yield found
        assert found.wires.failure is None
        assert found.wires.lost == 0, "the kernel's trace lost edges: the counts say nothing"
    finally:
        found.close()


@pytest.fixture(autouse=True)
def log_of_a_failure(console: VirtualConsole, request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the end of the service's log where a test fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        sys.stderr.write(console.log("mesogun.service")[-LOG_SHOWN:])
