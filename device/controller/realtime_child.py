"""The real-time process as the controller's child: orders, permit, supervision, restart.

Owns the rules of supervision and which child is the present one; `child_process` owns the operating system's part.
Renews the permit from the event loop itself, so that a loop that hangs stops the gun; kills a child that is silent
longer than `timing.silence_ns`, so that its lines fall to their pulls, starts another one, and has that take the needle
out (decision 4). Never decides what a fault means: it reports events.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from device.core.device_spec import Timing
from device.core.events import Event, FaultOccurred, RealtimeRestarted
from device.core.faults import Fault
from device.core.realtime_messages import Home, Order
from device.core.units import NS_PER_S
from device.realtime.link import Configure, LinkError, pack, unpack

log = logging.getLogger(__name__)

PERMIT_PERIOD_S: Final = 0.005
"""How often the permit is renewed and the child's heartbeat looked at: several times within each one's limit."""

START_DEADLINE_S: Final = 15.0
GOOD_LIFE_S: Final = 10.0
"""A process that scanned for so long was sound: the next loss is a first one again."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Between starts that came to nothing each pause is twice the one before, and no longer than this: never given up, as a
needle may be in."""
MOST_STARTS_AT_THE_END: Final = 3
"""So many of them at most when the controller itself is ending."""
END_SILENCE_S: Final = 1.0
"""A process that was told to end takes the needle out first; one that does not even scan is killed."""
END_DEADLINE_S: Final = 75.0
"""Then it is killed in any case: 30 mm at 0.5 mm/s with the overtravel of a search for the home switch take 72 s."""


class Child(Protocol):
    """A running real-time process, seen from the controller."""

    @property
    def pid(self) -> int:
        """Its process number."""

    @property
    def ended(self) -> str | None:
        """How it ended, in words; None while it lives."""

    @property
    def scan_ns(self) -> int:
        """When its last scan began; 0 before the first."""

    @property
    def position(self) -> int:
        """The needle's position in steps, as last told."""

    @property
    def steps_kept(self) -> int:
        """How many steps a second it keeps, as it found at its start; 0 before that."""

    @property
    def late_counts(self) -> tuple[int, ...]:
        """How many of its steps were how late, in the buckets of `lateness`."""

    def permit(self, until_ns: int) -> None:
        """Renew the permit."""

    def send(self, message: bytes) -> None:
        """Send a packed order. Raises OSError where it is not taken."""

    def hang_up(self) -> None:
        """Close the link, which makes the child safe and end. Twice is once."""

    def kill(self) -> None:
        """Kill it at once: its lines fall to their pulls. Nothing for one that has ended."""

    async def wait(self) -> None:
        """Return once it has ended and nothing of it is left."""


Spawn = Callable[[Callable[[bytes], None]], Awaitable[Child]]
"""Starts and configures a child, which gives its reports, packed, to the argument. Raises OSError."""


class RealtimeChild:
    """One real-time process at a time, started by `spawn`. `post` takes reports and supervision's events.

    `now_ns` is the clock that the child stamps its scans with.
    """

    def __init__(
        self, *, spawn: Spawn, timing: Timing, post: Callable[[Event], None], now_ns: Callable[[], int]
    ) -> None:
        self._spawn_child = spawn
        self._timing = timing
        self._post = post
        self._now_ns = now_ns
        self._child: Child | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._started_ns = 0
        self._short_lives = 0
        self._closing = False

    @property
    def pid(self) -> int | None:
        """The child's process number; None while there is none."""
        return self._child.pid if self._child is not None else None

    @property
    def position(self) -> int:
        """The needle's position in steps, as last told."""
        return self._child.position if self._child is not None else 0

    @property
    def steps_kept(self) -> int:
        """How many steps a second the present child keeps; 0 where that is not known."""
        return self._child.steps_kept if self._child is not None else 0

    @property
    def late_counts(self) -> tuple[int, ...]:
        """How many steps of the present child were how late, in the buckets of `lateness`; empty without one."""
        return self._child.late_counts if self._child is not None else ()

    async def start(self) -> None:
        """Start the child and wait for its first scan. Raises OSError or TimeoutError."""
        await self._spawn(rescue=False)
        self._supervision = asyncio.create_task(self._supervise(), name="realtime supervision")

    async def _spawn(self, *, rescue: bool) -> None:
        child = self._child = await self._spawn_child(self._received)
        if rescue:
            # In front of whatever the machine gives it, and told in front of whatever it reports.
            self._deliver(Home(rescue=True))
            self._post(RealtimeRestarted())
        deadline = asyncio.get_running_loop().time() + START_DEADLINE_S
        while child.scan_ns == 0:
            if child.ended is not None:
                raise ChildProcessError("the real-time process ended at its start: see its line above")
            self._renew_permit()
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the real-time process made no scan within {START_DEADLINE_S:g} s")
            await asyncio.sleep(PERMIT_PERIOD_S)
        self._started_ns = self._now_ns()
        self._renew_permit()

    def send(self, order: Order) -> None:
        """Give an order. A child that is gone takes none: the supervision reports that."""
        if self._child is None:
            if not self._closing:
                self._post(FaultOccurred(Fault.REALTIME_LOST, "it is not running"))
            return
        try:
            self._deliver(order)
        except OSError as error:
            log.warning("order not delivered to the real-time process: %s", error)

    def _deliver(self, order: Order) -> None:
        if self._child is not None:
            self._child.send(pack(order))

    def _received(self, data: bytes) -> None:
        try:
            message = unpack(data)
        except LinkError as error:
            self._post(FaultOccurred(Fault.INTERNAL, str(error)))
            return
        if not isinstance(message, Configure):
            # An order would be a child that mirrors us; the machine refuses it as unexpected.
            self._post(message)  # type: ignore[arg-type]

    async def _supervise(self) -> None:
        """Renew the permit while the loop runs; notice a silent or ended child within one period."""
        while True:
            self._renew_permit()
            reason = self._lost()
            if reason is not None:
                await self._replace(reason)
            if self._closing:
                return
            await asyncio.sleep(PERMIT_PERIOD_S)

    def _renew_permit(self) -> None:
        if self._child is not None:
            self._child.permit(self._now_ns() + self._timing.permit_ns)

    def _lost(self) -> str | None:
        """Return why the child counts as lost; None while it lives and scans."""
        if self._child is None:
            return None
        if self._child.ended is not None:
            return self._child.ended
        silent_ns = self._now_ns() - self._child.scan_ns
        if silent_ns > self._timing.silence_ns:
            return f"no scan for {silent_ns / 1e6:.0f} ms"
        return None

    async def _replace(self, reason: str) -> None:
        """Kill, report, start again, and have the new one take the needle out: the one motion that is always safe.

        Killed lines fall to their pulls. The order does not wait for the machine, which may be waiting for a slow card,
        or be ending.
        """
        if self._child is not None:
            self._child.kill()
        self._post(FaultOccurred(Fault.REALTIME_LOST, reason))
        await self._end()
        lived_s = (self._now_ns() - self._started_ns) / NS_PER_S
        self._short_lives = 0 if lived_s >= GOOD_LIFE_S else self._short_lives + 1
        starts = 0
        while not await self._started_anew():
            starts += 1
            self._short_lives += 1
            if self._closing and starts >= MOST_STARTS_AT_THE_END:
                log.error("the real-time process does not start: look whether the needle is in")
                return

    async def _started_anew(self) -> bool:
        """Try to start a child and give it the rescue, after a pause where the last ones did not live long."""
        if self._short_lives:
            await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** min(self._short_lives - 1, 10), LONGEST_PAUSE_S))
        try:
            await self._spawn(rescue=True)
        except (OSError, TimeoutError) as error:
            log.error("the real-time process could not be started: %s", error)  # noqa: TRY400 - one line
            if self._child is not None:
                self._child.kill()
            await self._end()
            return False
        return True

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.hang_up()
            await child.wait()

    async def close(self) -> None:
        """Close the link, which makes the child safe and end; one that was lost is replaced first, for its rescue."""
        self._closing = True
        if self._supervision is not None:
            await self._supervision
        child = self._child
        if child is None:
            return
        child.hang_up()
        ended = asyncio.ensure_future(child.wait())
        told_ns = self._now_ns()
        while not (await asyncio.wait([ended], timeout=PERMIT_PERIOD_S))[0]:
            now_ns = self._now_ns()
            silent_ns = now_ns - max(child.scan_ns, told_ns)
            if silent_ns > END_SILENCE_S * NS_PER_S or now_ns - told_ns > END_DEADLINE_S * NS_PER_S:
                child.kill()
                await ended
        self._child = None
