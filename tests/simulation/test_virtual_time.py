"""The virtual clock and the processes on it: exact, in order, and stuck only with an error."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from device.simulation.virtual_time import START_NS, Deadlock, Livelock, ProcessLoop, VirtualTime

HOUR_NS = 3600 * 1_000_000_000


def running(work: Coroutine[Any, Any, Any]) -> tuple[VirtualTime, ProcessLoop, "asyncio.Task[Any]"]:
    time = VirtualTime()
    loop = ProcessLoop(time)
    return time, loop, loop.create_task(work)


def end(loop: ProcessLoop) -> None:
    loop.kill()
    loop.bury()


def test_what_is_due_at_the_same_time_happens_in_the_order_in_which_it_was_asked_for() -> None:
    time, seen = VirtualTime(), list[str]()
    for name in "abc":
        time.after(5, lambda name=name: seen.append(name))  # type: ignore[misc]
    time.after(4, lambda: seen.append("first"))
    time.run_to(START_NS + 5)
    assert seen == ["first", "a", "b", "c"]
    assert time.now_ns == START_NS + 5


def test_a_call_that_is_taken_back_is_not_made() -> None:
    time, seen = VirtualTime(), list[str]()
    time.after(5, lambda: seen.append("taken back")).cancel()
    time.run_to(START_NS + 5)
    assert seen == []


def test_a_world_in_which_nothing_is_due_is_a_deadlock() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    time, loop, _task = running(forever())
    time.step()
    with pytest.raises(Deadlock, match="nothing is ready and nothing is due"):
        time.step()
    end(loop)


def test_a_process_that_never_waits_is_a_livelock() -> None:
    async def busy() -> None:
        while True:  # noqa: ASYNC110 - the fault that is tested
            await asyncio.sleep(0)

    time, loop, _task = running(busy())
    with pytest.raises(Livelock):
        time.step()
    end(loop)


def test_hours_of_sleeping_and_waiting_with_deadlines_end_to_the_nanosecond() -> None:
    async def wait() -> list[float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(3600)
        seen = [loop.time()]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.Event().wait()
        seen.append(loop.time())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.5)
        return [*seen, loop.time()]

    time, _loop, task = running(wait())
    time.run_to(START_NS + 2 * HOUR_NS)
    assert task.result() == [3601.0, 3601.25, 3601.75]


def test_a_frozen_process_does_afterwards_what_was_due_meanwhile() -> None:
    seen: list[int] = []

    async def tick() -> None:
        for _ in range(4):
            await asyncio.sleep(1e-9)
            seen.append(time.now_ns - START_NS)

    time, loop, _task = running(tick())
    time.run_to(START_NS + 1)
    loop.freeze()
    time.run_to(START_NS + 10)
    assert seen == [1]
    loop.resume()
    time.run_to(START_NS + 20)
    assert seen == [1, 10, 11, 12]


def test_a_killed_process_runs_nothing_more_not_even_its_clean_up() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1e-6)
            seen.append("worked")
        finally:
            seen.append("cleaned up")

    time, loop, _task = running(work())
    time.run_to(START_NS + 10)
    loop.kill()
    time.run_to(START_NS + HOUR_NS)
    assert seen == []
    loop.bury()
    assert seen == ["cleaned up"], "at its burial, when its ports are mute"


def test_a_frozen_process_that_is_killed_is_taken_apart_like_any_other() -> None:
    async def tidy() -> None:
        try:
            await asyncio.sleep(HOUR_NS / 1e9)
        finally:
            await asyncio.sleep(0)

    time, loop, task = running(tidy())
    time.step()
    loop.freeze()
    end(loop)
    assert task.cancelled()


def test_a_task_that_outlives_its_process_is_an_error() -> None:
    async def stubborn() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()

    time, loop, task = running(stubborn())
    time.step()
    loop.kill()
    with pytest.raises(RuntimeError, match="does not end"):
        loop.bury()
    loop.bury()
    assert task.done()


def test_a_living_process_is_not_buried() -> None:
    loop = ProcessLoop(VirtualTime())
    with pytest.raises(RuntimeError, match="living"):
        loop.bury()


def test_a_process_has_no_executor_and_no_descriptor() -> None:
    loop = ProcessLoop(VirtualTime())
    with pytest.raises(NotImplementedError):
        loop.run_in_executor(None, print)
    with pytest.raises(NotImplementedError):
        loop.add_reader(0, print)


def test_an_error_that_nobody_takes_ends_the_run() -> None:
    time = VirtualTime()
    loop = ProcessLoop(time)

    def fail() -> None:
        raise ValueError("nobody takes this")

    loop.call_soon(fail)
    with pytest.raises(ValueError, match="nobody takes this"):
        time.step()
