"""The outbox: the cursor moves only over an unbroken run of acknowledged records, and no record is passed over."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from device.core.journal_chain import Head
from device.gateway.broker_link import IN_FLIGHT_MAX, BrokerLostError
from device.gateway.outbox import Outbox
from device.gateway.outbox_cursor import CURSOR_NAME, CursorFile
from device.gateway.process import _end
from device.gateway.publications import DeviceAddress, Publication
from device.journal_file import JOURNAL_NAME
from tests.support.journal import journal_of, open_journal, shot

DEADLINE_S = 5.0


class ScriptedLink:
    """A link whose acknowledgements the test gives, by record number and in any order."""

    def __init__(self) -> None:
        self.published: list[int] = []
        self._answers: dict[int, asyncio.Future[None]] = {}

    async def publish(self, publication: Publication) -> None:
        seq = json.loads(publication.payload)["seq"]
        self.published.append(seq)
        self._answers[seq] = asyncio.get_running_loop().create_future()
        await self._answers[seq]

    async def lost(self) -> str:
        await asyncio.Event().wait()
        return "never"

    def acknowledge(self, *numbers: int) -> None:
        for seq in numbers:
            self._answers[seq].set_result(None)

    def refuse(self, seq: int) -> None:
        self._answers[seq].set_exception(BrokerLostError("refused"))


def outbox_in(directory: Path) -> Outbox:
    cursor = CursorFile(directory / CURSOR_NAME)
    return Outbox(directory / JOURNAL_NAME, cursor, DeviceAddress("clinic", "console-1"), time.monotonic)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - yields to the loop, waits for no time
            await asyncio.sleep(0)


def pumping(outbox: Outbox, link: ScriptedLink) -> asyncio.Task[None]:
    return asyncio.create_task(outbox.pump(link))


async def ended(pump: asyncio.Task[None]) -> None:
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)


def stored(directory: Path) -> Head:
    head = CursorFile(directory / CURSOR_NAME).load()
    return head if head is not None else Head(0, b"")


def test_the_cursor_waits_for_the_oldest_unacknowledged_record(tmp_path: Path) -> None:
    async def run() -> None:
        outbox, link = outbox_in(tmp_path), ScriptedLink()
        pump = pumping(outbox, link)
        await until(lambda: link.published == [1])
        link.acknowledge(1)
        await until(lambda: len(link.published) == 5)
        link.acknowledge(3, 4)
        journal.append([shot(6)])
        await until(lambda: len(link.published) == 6)
        assert outbox.acknowledged.seq == 1
        link.acknowledge(2)
        await until(lambda: outbox.acknowledged.seq == 4)
        await ended(pump)
        outbox.close()
        assert stored(tmp_path) == journal.entries(3, 1)[0].head

    with journal_of(tmp_path / JOURNAL_NAME, *(shot(number) for number in range(1, 6))) as journal:
        asyncio.run(run())


def test_what_was_not_acknowledged_is_published_again_on_the_next_connection(tmp_path: Path) -> None:
    async def run() -> None:
        outbox, first, second = outbox_in(tmp_path), ScriptedLink(), ScriptedLink()
        pump = pumping(outbox, first)
        await until(lambda: first.published == [1])
        first.acknowledge(1)
        await until(lambda: len(first.published) == 5)
        first.acknowledge(3, 4)
        first.refuse(2)
        with pytest.raises(BrokerLostError):
            await asyncio.wait_for(pump, DEADLINE_S)
        pump = pumping(outbox, second)
        await until(lambda: second.published == [2])
        second.acknowledge(2)
        await until(lambda: second.published == [2, 3, 4, 5])
        await ended(pump)
        outbox.close()

    with journal_of(tmp_path / JOURNAL_NAME, *(shot(number) for number in range(1, 6))):
        asyncio.run(run())


def test_the_first_record_goes_alone_and_then_no_more_than_a_window(tmp_path: Path) -> None:
    async def run() -> None:
        outbox, link = outbox_in(tmp_path), ScriptedLink()
        pump = pumping(outbox, link)
        await until(lambda: len(link.published) > 0)
        assert link.published == [1]
        link.acknowledge(1)
        await until(lambda: len(link.published) >= 1 + IN_FLIGHT_MAX)
        assert link.published == list(range(1, 2 + IN_FLIGHT_MAX))
        link.acknowledge(*link.published[1:])
        await until(lambda: len(link.published) >= 1 + 2 * IN_FLIGHT_MAX)
        assert link.published == list(range(1, 2 + 2 * IN_FLIGHT_MAX))
        await ended(pump)
        outbox.close()

    with open_journal(tmp_path / JOURNAL_NAME) as journal:
        journal.append([shot(number) for number in range(1, 3 * IN_FLIGHT_MAX)])
        asyncio.run(run())


def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await asyncio.wait_for(_end(task), DEADLINE_S)
        assert task.cancelled()

    asyncio.run(run())


def test_drained_means_looked_at_after_the_question(tmp_path: Path) -> None:
    async def run() -> None:
        outbox, link = outbox_in(tmp_path), ScriptedLink()
        pump = pumping(outbox, link)
        async with asyncio.timeout(DEADLINE_S):
            await outbox.drained()
        journal.append([shot(1)])
        drained = asyncio.create_task(outbox.drained())
        await until(lambda: link.published == [1])
        assert not drained.done()
        link.acknowledge(1)
        await asyncio.wait_for(drained, DEADLINE_S)
        assert outbox.acknowledged == journal.head
        await ended(pump)
        outbox.close()

    with open_journal(tmp_path / JOURNAL_NAME) as journal:
        asyncio.run(run())
