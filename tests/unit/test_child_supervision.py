"""The controller's supervision of the real-time process: permit, silence, death, restart; in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from device.controller.realtime_child import MOST_RESTARTS, PERMIT_PERIOD_S, RESTART_PAUSE_S, Child, RealtimeChild
from device.core.events import Event, FaultOccurred, RealtimeRestarted
from device.core.faults import Fault
from device.core.realtime_messages import Homed, Unload
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


def test_a_process_that_dies_again_and_again_is_not_started_for_ever() -> None:
    async def work(console: Console) -> None:
        for _ in range(MOST_RESTARTS + 3):
            console.processes[-1].ended = "it ended with code 1"
            await pass_ms(50)
        console.child.send(Unload())

    console = supervised(work)
    assert len(console.processes) == 1 + MOST_RESTARTS
    assert console.faults == [Fault.REALTIME_LOST] * (MOST_RESTARTS + 2)
    assert console.events.count(RealtimeRestarted()) == MOST_RESTARTS


def test_a_successor_that_ends_at_its_start_is_no_restart_and_another_is_started() -> None:
    async def work(console: Console) -> None:
        console.stillborn = True
        console.processes[0].ended = "it ended with code 1"
        await pass_ms(RESTART_PAUSE_S * 1000)
        console.stillborn = False
        await pass_ms(RESTART_PAUSE_S * 1000 + 50)
        assert console.child.pid is not None

    console = supervised(work)
    assert console.events == [FaultOccurred(Fault.REALTIME_LOST, "it ended with code 1"), RealtimeRestarted()]
    assert len(console.processes) > 2
    assert all("killed" in stillborn.done for stillborn in console.processes[1:-1])


def test_successors_that_all_end_at_their_start_are_given_up() -> None:
    async def work(console: Console) -> None:
        console.stillborn = True
        console.processes[0].ended = "it ended with code 1"
        await pass_ms(MOST_RESTARTS * RESTART_PAUSE_S * 1000 + 50)
        assert console.child.pid is None

    console = supervised(work)
    assert console.faults == [Fault.REALTIME_LOST]
    assert RealtimeRestarted() not in console.events
    assert len(console.processes) == 1 + MOST_RESTARTS


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

    async def stubborn(console: Console) -> None:
        console.processes[0].ends_when_hung_up = False

    assert supervised(well).processes[0].done == ["hung up"]
    assert supervised(stubborn).processes[0].done == ["hung up", "killed"]


def test_a_first_process_that_never_scans_is_given_up() -> None:
    with virtual_loop() as loop:
        console = Console(loop)
        mute = Process(loop.now_ns, silent_since_ns=0)

        async def spawn(received: Callable[[bytes], None]) -> Child:
            return mute

        child = RealtimeChild(spawn=spawn, timing=TIMING, post=console.events.append, now_ns=loop.now_ns)
        with pytest.raises(TimeoutError, match="made no scan"):
            run_virtually(loop, child.start())
