"""One virtual clock for several simulated processes, and the event loop that each of them runs on it.

Owns when things happen: whole nanoseconds, one thread, no executor, no descriptor, no real waiting. What is due at the
same nanosecond happens in the order in which it was asked for, so a run is a function of its inputs alone. A
simulation in which nothing is ready and nothing is due is a deadlock, and an error. A process is killed or frozen by
its loop: what it had to do is dropped, or waits.
"""

import asyncio
import heapq
from asyncio import _get_running_loop, _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

START_NS: Final = 1_000_000_000
"""The virtual clock's first reading: no stamp of a simulated event is 0."""
CALLS_AT_ONCE_MOST: Final = 100_000
"""What one process may do in one nanosecond; more is a loop that never waits."""
BURIAL_ROUNDS_MOST: Final = 1000


class Deadlock(Exception):
    """Nothing is ready and nothing is due: the simulated world has come to a standstill."""


class Livelock(Exception):
    """A process goes on and on without any time passing."""


class Timer:
    """A call that is due; `cancel` takes it back."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Take the call back; allowed at any time."""
        self.call = None


class VirtualTime:
    """The one clock, and everything that is due."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.events = 0
        """Calls made so far."""
        self._due: list[tuple[int, int, Timer]] = []
        self._asked = 0
        self._until_ns = START_NS

    def clock(self) -> int:
        """Return the time, in ns."""
        return self.now_ns

    def at(self, due_ns: int, call: Callable[[], object]) -> Timer:
        """Make `call` when it is `due_ns`; now, behind what is due already, if that has passed."""
        timer = Timer(call)
        self._asked += 1
        heapq.heappush(self._due, (max(self.now_ns, due_ns), self._asked, timer))
        return timer

    def after(self, wait_ns: int, call: Callable[[], object]) -> Timer:
        """Make `call` in `wait_ns`."""
        return self.at(self.now_ns + wait_ns, call)

    def pass_to(self, due_ns: int) -> bool:
        """Let it be `due_ns` now, if nothing else is due until then; for whoever would end here and ask for a call.

        Returns whether it is; False leaves the time as it is.
        """
        due = self._due
        if due_ns > self._until_ns or (due and due[0][0] <= due_ns):
            return False
        self.now_ns = due_ns
        self.events += 1
        return True

    def run_to(self, until_ns: int) -> None:
        """Let everything happen that is due by `until_ns`; the clock stands there afterwards."""
        due, self._until_ns = self._due, until_ns
        while due and due[0][0] <= until_ns:
            due_ns, _, timer = heapq.heappop(due)
            call = timer.call
            if call is not None:
                self.now_ns = due_ns
                self.events += 1
                call()
        self.now_ns = max(self.now_ns, until_ns)

    def step(self) -> None:
        """Let the next thing happen. Raises Deadlock when there is none."""
        while self._due:
            due_ns, _, timer = heapq.heappop(self._due)
            call = timer.call
            if call is not None:
                self.now_ns = self._until_ns = due_ns
                self.events += 1
                call()
                return
        raise Deadlock(f"at {self.now_ns / 1e6:.3f} ms nothing is ready and nothing is due")


class _Handle:
    """A callback of a process: as `asyncio.Handle`, without its debugging."""

    __slots__ = ("_args", "_callback", "_context", "due_s", "timer")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context
        self.timer: Timer | None = None
        self.due_s = 0.0

    def cancel(self) -> None:
        self._callback = None
        if self.timer is not None:
            self.timer.cancel()

    def cancelled(self) -> bool:
        return self._callback is None

    def when(self) -> float:
        return self.due_s

    def run(self) -> None:
        callback = self._callback
        if callback is None:
            return
        if self._context is None:
            callback(*self._args)
        else:
            self._context.run(callback, *self._args)


# Untyped as a base: what is left out of it here is left out for good, and raises NotImplementedError.
_EventLoop: Any = asyncio.AbstractEventLoop


class ProcessLoop(_EventLoop):  # type: ignore[misc]
    """One simulated process's event loop on the shared clock.

    Everything that an asyncio loop can do besides calls, timers, tasks and futures raises NotImplementedError: a
    simulated process has no descriptor, thread or child of its own. An exception that nobody takes ends the run.
    """

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._ready: deque[_Handle] = deque()
        self._left_over: list[_Handle] = []
        self._scheduled = False
        self._running = False
        self._frozen = False
        self.alive = True

    # What asyncio asks of a loop

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._time.now_ns / 1e9

    def get_debug(self) -> bool:
        """Return False: the simulation has its own trace."""
        return False

    def is_running(self) -> bool:
        """Return whether the process can go on."""
        return self.alive and not self._frozen

    def is_closed(self) -> bool:
        """Return whether the process is dead and buried."""
        return not self.alive

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Queue a callback for this nanosecond."""
        handle = _Handle(callback, args, context)
        self._enqueue(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        """Queue a callback for in `delay` seconds."""
        return self._call_at_ns(self._time.now_ns + round(delay * 1e9), callback, args, context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """Queue a callback for `when`, in seconds of `time`."""
        return self._call_at_ns(round(when * 1e9), callback, args, context)

    def _call_at_ns(
        self, due_ns: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> _Handle:
        handle = _Handle(callback, args, context)
        handle.due_s = due_ns / 1e9
        handle.timer = self._time.at(due_ns, partial(self._due, handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **_: object,
    ) -> "asyncio.Task[T]":
        """Start a task."""
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, context=context)
        if name is not None:
            task.set_name(name)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Raise what nobody took, while the process lives."""
        if self.alive:
            error = context.get("exception")
            raise error if isinstance(error, BaseException) else RuntimeError(context.get("message"))

    # What the simulation asks of a process

    def freeze(self) -> None:
        """SIGSTOP: nothing runs; what becomes due waits."""
        self._frozen = True

    def resume(self) -> None:
        """SIGCONT."""
        self._frozen = False
        self._schedule()

    def kill(self) -> None:
        """SIGKILL: nothing runs ever again; a frozen process dies like any other."""
        self.alive = False
        self._frozen = False
        # Kept for the burial: a task whose next step was due can be taken apart only by that step.
        self._left_over.extend(self._ready)
        self._ready.clear()

    def bury(self) -> None:
        """Take apart the tasks of a killed process without a moment passing; their ports must be mute by now.

        Raises RuntimeError for a living process, and for a task that does not end: collected later, it would end in
        the middle of another.
        """
        if self.alive:
            raise RuntimeError("a living process is not buried")
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self._ready.extendleft(reversed(self._left_over))
        self._left_over.clear()
        for _ in range(BURIAL_ROUNDS_MOST):
            if not self._ready:
                break
            self._run()
        self._ready.clear()
        for task in tasks:
            if not task.done():
                raise RuntimeError(f"a task of a killed process does not end: {task}")

    def _enqueue(self, handle: _Handle) -> None:
        self._ready.append(handle)
        if not self._scheduled and not self._running:
            self._schedule()

    def _due(self, handle: _Handle) -> None:
        """A timer is due: it is the process's turn already, unless something of it waits for that."""
        self._ready.append(handle)
        if not self._scheduled:
            self._wake()

    def _schedule(self) -> None:
        if self.alive and not self._frozen and self._ready:
            self._scheduled = True
            self._time.at(self._time.now_ns, self._wake)

    def _wake(self) -> None:
        self._scheduled = False
        if self.alive and not self._frozen:
            self._run()

    def _run(self) -> None:
        """Run what is ready, and what that makes ready, until the process waits, dies or is frozen."""
        ready = self._ready
        outer = _get_running_loop()
        _set_running_loop(self)
        self._running = True
        try:
            for _ in range(CALLS_AT_ONCE_MOST):
                if not ready or self._frozen:
                    return
                ready.popleft().run()
        finally:
            self._running = False
            _set_running_loop(outer)
        raise Livelock(f"a process does not wait: {CALLS_AT_ONCE_MOST} calls at {self._time.now_ns / 1e6:.3f} ms")
