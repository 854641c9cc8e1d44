"""systemd's watchdog is fed by the event loop itself, twice a period, and only where systemd listens."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from device.controller.watchdog import Watchdog
from tests.support.console import run_virtually, virtual_loop


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd holds of a notify unit with a watchdog of 10 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "10000000")
        yield listener


def told(listener: socket.socket) -> list[str]:
    """Return what has been told since the last look."""

    def messages() -> Iterator[str]:
        with suppress(BlockingIOError):
            while True:  # ends: nobody tells anything meanwhile
                yield listener.recv(4096).decode()

    return list(messages())


def always() -> bool:
    return True


def fed(systemd: socket.socket, *, looks: int, every_s: float, gets_on: Callable[[], bool] = always) -> list[list[str]]:
    """Run the watchdog in virtual time; return what systemd finds at each look."""

    async def run() -> list[list[str]]:
        feeding = asyncio.create_task(watchdog.run(gets_on))
        found: list[list[str]] = []
        for _ in range(looks):
            await asyncio.sleep(every_s)
            found.append(told(systemd))
        assert feeding.cancel(), "it has ended by itself"
        return found

    with virtual_loop() as loop:
        watchdog = Watchdog()
        try:
            return run_virtually(loop, run())
        finally:
            watchdog.close()


def test_the_event_loop_itself_feeds_it_twice_a_period(systemd: socket.socket) -> None:
    threads = threading.active_count()
    # A loop that hangs feeds nothing, because nothing else does.
    assert fed(systemd, looks=4, every_s=9.9) == [["WATCHDOG=1"] * 2] * 4
    assert threading.active_count() == threads


def test_a_controller_that_does_not_get_on_feeds_nothing(systemd: socket.socket) -> None:
    answers = iter([True, True, False, False, True, True])
    assert fed(systemd, looks=3, every_s=9.9, gets_on=lambda: next(answers)) == [
        ["WATCHDOG=1"] * 2,
        [],
        ["WATCHDOG=1"] * 2,
    ]


@pytest.mark.timeout(20)
def test_a_manager_that_does_not_read_never_holds_up_the_loop(systemd: socket.socket) -> None:
    # A full queue once blocked the loop that renews the permit.
    (found,) = fed(systemd, looks=1, every_s=10_000)
    assert 1 <= len(found) < 2_000


def test_it_tells_of_start_and_end(systemd: socket.socket) -> None:
    watchdog = Watchdog()
    watchdog.ready("running")
    watchdog.stopping()
    watchdog.close()
    assert told(systemd) == ["READY=1\nSTATUS=running", "STOPPING=1"]


def test_outside_a_unit_and_behind_a_manager_that_is_gone_it_is_silent(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Watchdog()
    systemd.close()
    gone.ready("running")
    gone.close()
    monkeypatch.delenv("NOTIFY_SOCKET")
    nowhere = Watchdog()
    nowhere.ready("running")
    nowhere.close()
