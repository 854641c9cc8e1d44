"""One virtual clock for several processes: what happens outside the controller, and the controller's event loop on it.

Where the controller's loop waits, the rest of the console lives. A process that is killed or frozen is one whose loop
is no longer run: the loop is left in the middle of its waiting by `Interrupted`, as a signal would.
"""

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable
from typing import Final

START_NS: Final = 1_000_000_000


class Timer:
    """A call that is due; `cancel` takes it back."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class VirtualTime:
    """The one clock, and everything that happens outside the controller, in order of time and then of asking."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self._due: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()

    def clock(self) -> int:
        return self.now_ns

    def at(self, due_ns: int, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._due, (max(due_ns, self.now_ns), next(self._numbers), timer))
        return timer

    def one_step(self, until_ns: int) -> bool:
        """Make the next call that is due by `until_ns`; False, with the clock moved there, when there is none."""
        while self._due and self._due[0][0] <= until_ns:
            due_ns, _, timer = heapq.heappop(self._due)
            if timer.call is not None:
                self.now_ns = due_ns
                timer.call()
                return True
        self.now_ns = max(self.now_ns, until_ns)
        return False


class Interrupted(Exception):
    """The controller's process was killed or frozen while it waited."""


class WorldSelector(selectors.SelectSelector):
    """Where the controller waits, the rest of the console lives."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time
        self.woken = False
        self.interrupted = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("the controller waits for something that can never come")
        until_ns = self._time.now_ns + max(0, round(timeout * 1e9))
        while not self.woken and self._time.one_step(until_ns):
            if self.interrupted:
                raise Interrupted
        self.woken = False
        return ready


class ProcessLoop(asyncio.SelectorEventLoop):
    """The controller's event loop on the virtual clock."""

    def __init__(self, time: VirtualTime) -> None:
        self.selector = WorldSelector(time)
        self._virtual = time
        super().__init__(self.selector)

    def time(self) -> float:
        return self._virtual.now_ns / 1e9
