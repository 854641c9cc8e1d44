"""The controller's supervision of the real-time process: permit, silence, death, restart; in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from device.controller.realtime_child import (
    END_DEADLINE_S,
    END_SILENCE_S,
    GOOD_LIFE_S,
    MOST_STARTS_AT_THE_END,
    PERMIT_PERIOD_S,
    Child,
    RealtimeChild,
)
from device.core.events import Event, FaultOccurred, RealtimeRestarted
from device.core.faults import Fault
from device.core.realtime_messages import Home, Homed, Reset, Unload
from device.core.units import NS_PER_S
from device.realtime.link import pack, unpack
from tests.support.console import VirtualLoop, run_virtually, virtual_loop
from tests.support.core import MS, TIMING

SCANNING = -1


@dataclass
class Process:
    """A real-time process as the controller sees it; it scans all the time until it is `silent` or has `ended`."""

    clock: Callable[[], int]
    pid: int = 1
    ended: str | None = None
    position: int = 0
    late_counts: tuple[int, ...] = ()
    steps_kept: int = 0
    silent_since_ns: int = SCANNING
    ends_when_hung_up: bool = True
    permits: list[tuple[int, int]] = field(default_factory=list)
    orders: list[object] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    @property
    def scan_ns(self) -> int:
        return self.clock() if self.silent_since_ns == SCANNING else self.silent_since_ns

    def permit(self, until_ns: int) -> None:
        self.permits.append((self.clock(), until_ns))

    def send(self, message: bytes) -> None:
        self.orders.append(unpack(message))

    def hang_up(self) -> None:
        self.done.append("hung up")
        if self.ends_when_hung_up:
            self.ended = self.ended or "it ended with code 0"

    def kill(self) -> None:
        self.done.append("killed")
        self.ended = self.ended or "it ended with code -9"

    async def wait(self) -> None:
        while self.ended is None:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.001)


@dataclass
class Console:
    """The supervision, with every process that it started and everything that it reported."""

    loop: VirtualLoop
    processes: list[Process] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    stillborn: bool = False

    def __post_init__(self) -> None:
        self.child = RealtimeChild(spawn=self._spawn, timing=TIMING, post=self.events.append, now_ns=self.loop.now_ns)

    async def _spawn(self, received: Callable[[bytes], None]) -> Child:
        process = Process(self.loop.now_ns)
        if self.stillborn:
            process.ended = "it ended with code 1"
            process.silent_since_ns = 0
        self.tell = received
        self.processes.append(process)
        return process

    @property
    def faults(self) -> list[Fault]:
        return [event.fault for event in self.events if isinstance(event, FaultOccurred)]


def supervised(work: Callable[[Console], Coroutine[Any, Any, None]]) -> Console:
    """Start the supervision, do `work`, close it; return what came of it."""
    with virtual_loop() as loop:
        console = Console(loop)

        async def run() -> None:
            await console.child.start()
            await work(console)
            await console.child.close()

        run_virtually(loop, run())
        return console


async def pass_ms(milliseconds: float) -> None:
    await asyncio.sleep(milliseconds / 1000)


def test_the_permit_is_renewed_before_it_runs_out_and_never_for_longer_than_it_may_hold() -> None:
    console = supervised(lambda console: pass_ms(500))
    permits = console.processes[0].permits
    assert {until_ns - given_ns for given_ns, until_ns in permits} == {TIMING.permit_ns}
    gaps_ns = [later - earlier for (earlier, _), (later, _) in pairwise(permits)]
    assert max(gaps_ns) < TIMING.permit_ns // 2
    assert len(permits) >= 100
    assert console.events == []


def test_a_silent_process_is_killed_and_reported_within_its_limit_and_one_period_and_another_is_started() -> None:
    killed_after_ns: list[int] = []

    async def work(console: Console) -> None:
        process = console.processes[0]
        process.silent_since_ns = console.loop.now_ns()
        for _ in range(1000):
            if "killed" in process.done:
                break
            await asyncio.sleep(0.001)
        killed_after_ns.append(console.loop.now_ns() - process.silent_since_ns)
        await pass_ms(50)

    console = supervised(work)
    assert console.processes[0].done[0] == "killed"
    assert killed_after_ns[0] <= TIMING.silence_ns + PERMIT_PERIOD_S * 1e9 + MS
    assert console.faults == [Fault.REALTIME_LOST]
    assert console.events[-1] == RealtimeRestarted()
    assert len(console.processes) == 2


def test_a_process_that_scans_now_and_then_within_its_limit_is_left_alone() -> None:
    async def work(console: Console) -> None:
        process = console.processes[0]
        for _ in range(20):
            process.silent_since_ns = console.loop.now_ns()
            await asyncio.sleep((TIMING.silence_ns - MS) / 1e9)

    assert supervised(work).events == []


def test_a_process_that_ended_is_reported_in_its_own_words_and_its_permit_ends_with_it() -> None:
    async def work(console: Console) -> None:
        console.processes[0].ended = "it ended with code 7"
        await pass_ms(50)
        given = len(console.processes[0].permits)
        await pass_ms(50)
        assert len(console.processes[0].permits) == given

    console = supervised(work)
    assert console.events == [FaultOccurred(Fault.REALTIME_LOST, "it ended with code 7"), RealtimeRestarted()]


def test_a_successor_takes_the_needle_out_before_it_obeys_anything_else() -> None:
    async def work(console: Console) -> None:
        console.processes[0].ended = "it ended with code 7"
        while len(console.processes) < 2:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.001)
        console.child.send(Reset())
        await pass_ms(50)

    first, second = supervised(work).processes
    assert (first.orders, second.orders) == ([], [Home(rescue=True), Reset()])


def test_a_process_that_dies_again_and_again_is_started_again_ever_more_slowly() -> None:
    starts_ms: list[int] = []

    async def work(console: Console) -> None:
        for _ in range(10):
            dying, died_ns = console.processes[-1], console.loop.now_ns()
            dying.ended = "it ended with code 1"
            while console.processes[-1] is dying:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.001)
            starts_ms.append((console.loop.now_ns() - died_ns) // MS)
            await pass_ms(50)
        # The next one is sound for long enough: its loss is a first one again.
        await pass_ms(GOOD_LIFE_S * 1000)
        console.processes[-1].ended = "it ended with code 1"
        await pass_ms(50)

    console = supervised(work)
    pauses_ms = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]
    assert [abs(found - wanted) <= 10 for found, wanted in zip(starts_ms, pauses_ms, strict=True)] == [True] * 10
    assert len(console.processes) == 12
    assert console.faults == [Fault.REALTIME_LOST] * 11
    assert console.events.count(RealtimeRestarted()) == 11
    assert all(process.orders == [Home(rescue=True)] for process in console.processes[1:])


def test_a_successor_that_ends_at_its_start_is_followed_by_another() -> None:
    async def work(console: Console) -> None:
        await pass_ms(GOOD_LIFE_S * 1000)
        console.stillborn = True
        console.processes[0].ended = "it ended with code 1"
        await pass_ms(350)
        console.stillborn = False
        await pass_ms(500)
        assert console.child.pid is not None

    console = supervised(work)
    # Told of each, so that a test that one of them left unanswered begins again.
    assert console.events == [FaultOccurred(Fault.REALTIME_LOST, "it ended with code 1"), *[RealtimeRestarted()] * 4]
    assert len(console.processes) == 5
    assert all("killed" in stillborn.done for stillborn in console.processes[1:-1])


def test_an_end_waits_for_the_successor_of_a_lost_process_which_takes_the_needle_out() -> None:
    async def work(console: Console) -> None:
        console.processes[0].ended = "it ended with code 7"

    _, second = supervised(work).processes
    assert (second.orders, second.done) == ([Home(rescue=True)], ["hung up"])


def test_an_end_gives_up_successors_that_all_end_at_their_start() -> None:
    async def work(console: Console) -> None:
        console.stillborn = True
        console.processes[0].ended = "it ended with code 1"

    console = supervised(work)
    assert len(console.processes) == 1 + MOST_STARTS_AT_THE_END


def test_orders_reach_the_present_process_and_its_reports_come_back() -> None:
    async def work(console: Console) -> None:
        console.child.send(Unload())
        console.tell(pack(Homed(steps=3)))
        console.tell(b"nonsense")

    console = supervised(work)
    assert console.processes[0].orders == [Unload()]
    assert console.events[0] == Homed(steps=3)
    assert console.faults == [Fault.INTERNAL]


def test_closing_hangs_up_first_and_kills_what_does_not_end() -> None:
    async def well(console: Console) -> None:
        await pass_ms(1)

    def ended_after_s(*, silent: bool) -> float:
        told_ns: list[int] = []

        async def work(console: Console) -> None:
            told_ns.append(console.loop.now_ns())
            process = console.processes[0]
            process.ends_when_hung_up = False
            process.silent_since_ns = console.loop.now_ns() if silent else SCANNING

        console = supervised(work)
        assert console.processes[0].done == ["hung up", "killed"]
        return (console.loop.now_ns() - told_ns[0]) / NS_PER_S

    assert supervised(well).processes[0].done == ["hung up"]
    # A needle may be on its way out, as long as it scans; a search for the home switch ends, too.
    assert END_SILENCE_S <= ended_after_s(silent=True) <= END_SILENCE_S + 0.1
    assert END_DEADLINE_S <= ended_after_s(silent=False) <= END_DEADLINE_S + 0.1


def test_a_first_process_that_never_scans_is_given_up() -> None:
    with virtual_loop() as loop:
        console = Console(loop)
        mute = Process(loop.now_ns, silent_since_ns=0)

        async def spawn(received: Callable[[bytes], None]) -> Child:
            return mute

        child = RealtimeChild(spawn=spawn, timing=TIMING, post=console.events.append, now_ns=loop.now_ns)
        with pytest.raises(TimeoutError, match="made no scan"):
            run_virtually(loop, child.start())
