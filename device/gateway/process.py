"""The gateway: keeps a connection to the broker, and over it the outbox and the present state flowing.

Owns reconnecting and the order of things: status first, then records and states, a farewell at the end. Has no device,
writes no journal, subscribes to nothing. A broker that is absent, refuses or goes away costs one log line and a wait
with jitter, never a record: what was not acknowledged is published again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from device.gateway import mqtt
from device.gateway.broker_link import Broker, BrokerLink, BrokerLostError, Connect
from device.gateway.live_file import LIVE_NAME, LiveFile
from device.gateway.messages import ConnectionReason, DeviceMeta, MachineState, Message
from device.gateway.outbox import JournalReplacedError, Outbox
from device.gateway.outbox_cursor import CURSOR_NAME, Cursor, CursorFile
from device.gateway.publications import (
    DeviceAddress,
    Origin,
    Publication,
    connection_status,
    device_meta,
    live_session,
    machine_state,
    publication,
)
from device.journal_file import JOURNAL_NAME

LIVE_LOOK_S: Final = 0.2
"""Live values are looked at, and at most published, five times a second."""

LIVE_REPEAT_S: Final = 1.0
"""Within a session the live values are published at least this often."""

STATE_REPEAT_S: Final = 10.0
"""The machine's state is published at least this often."""

CANCEL_AGAIN_S: Final = 0.1
CANCELLATIONS_MAX: Final = 20
"""How often, and how many times, a task that goes on is cancelled again; more than the waits any task here makes."""

STEADY_S: Final = 10.0
"""A connection that lasted this long was a working one: the next failure is waited for from the beginning."""

FLUSH_S: Final = 1.2
FAREWELL_S: Final = 0.3
STOP_S: Final = 2.0
"""A stopping gateway flushes its outbox, says farewell and disconnects within these, all told within `STOP_S`."""

_log = logging.getLogger("mesogun.gateway")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the gateway needs to know. `host` must be reachable from this process alone; no device is opened.

    `state_dir` holds the journal; `cursor_dir` (default: `state_dir`) is the gateway's own, the only place it writes.
    `runtime_dir` holds the controller's live values. An empty `username` is none. Raises ValueError for names that
    are no topic level, and for a port or keep-alive out of range.
    """

    site: str
    device: str
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    state_dir: Path
    runtime_dir: Path
    keepalive_s: int
    cursor_dir: Path | None = None

    def __post_init__(self) -> None:
        """Check what cannot be made a connection of."""
        DeviceAddress(self.site, self.device)
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"port {self.port} is outside 1 ... 65535")
        if not 1 <= self.keepalive_s <= 65_535:
            raise ValueError(f"keepalive_s {self.keepalive_s} is outside 1 ... 65535")


@dataclass(slots=True)
class BackOff:
    """How long to wait before the next attempt: doubling from `first_s` to `last_s`, with jitter from `random`.

    Without jitter every console of a clinic would come back to a restarted broker in the same instant.
    """

    random: Random
    first_s: float = 1.0
    last_s: float = 60.0
    _bound_s: float = 0.0

    def next_s(self) -> float:
        """Return a wait between `first_s` and the present bound, and double the bound."""
        self._bound_s = min(self.last_s, max(self.first_s, self._bound_s) * 2)
        return self.random.uniform(self.first_s, self._bound_s)

    def reset(self) -> None:
        """Begin again at `first_s`: the broker worked."""
        self._bound_s = 0.0


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the gateway takes from outside besides files that it only reads; the defaults are those of the service.

    `now_s` is monotonic and of the event loop's pace; `wall_clock_ms` is only stamped on messages, and compared with
    a live file's own stamp.
    """

    connect: Connect = mqtt.connect
    cursor: Callable[[Path], Cursor] = CursorFile
    now_s: Callable[[], float] = time.monotonic
    wall_clock_ms: Callable[[], int] = _wall_clock_ms


async def run_gateway(
    settings: GatewaySettings,
    *,
    stop: asyncio.Event,
    back_off: BackOff | None = None,
    surroundings: Surroundings | None = None,
) -> None:
    """Publish until `stop` is set; then flush, say farewell and return within `STOP_S`.

    `back_off` defaults to 1 ... 60 s with jitter, `surroundings` to the service's. Raises nothing for any state of
    the broker, the journal or the live values: each is logged once and tried again.
    """
    gateway = _Gateway(
        settings,
        back_off if back_off is not None else BackOff(Random()),  # noqa: S311 - jitter, no secret
        surroundings if surroundings is not None else Surroundings(),
    )
    running = asyncio.create_task(gateway.run(stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=STOP_S)
    finally:
        await _end(running, stopping)
        gateway.outbox.close()
    if not running.cancelled():
        running.result()


class _Gateway:
    """The gateway's parts and what of them was last published."""

    def __init__(self, settings: GatewaySettings, back_off: BackOff, surroundings: Surroundings) -> None:
        self._address = DeviceAddress(settings.site, settings.device)
        self._broker = Broker(
            host=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password,
            # A fixed name: a reconnect takes over, so that an old connection's will cannot come after our "online".
            client_id=f"mesogun-{settings.site}-{settings.device}",
            keepalive_s=settings.keepalive_s,
        )
        self._back_off = back_off
        self._connect = surroundings.connect
        self._now_s = surroundings.now_s
        self._wall_clock_ms = surroundings.wall_clock_ms
        self._live = LiveFile(settings.runtime_dir / LIVE_NAME)
        cursor_dir = settings.cursor_dir if settings.cursor_dir is not None else settings.state_dir
        cursor = surroundings.cursor(cursor_dir / CURSOR_NAME)
        self.outbox = Outbox(settings.state_dir / JOURNAL_NAME, cursor, self._address, self._now_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Connect again and again until `stop`."""
        while not stop.is_set():
            try:
                async with self._connect(self._broker, self._status("lost")) as link:
                    await self._serve(link, stop)
            except JournalReplacedError as replaced:
                _log.warning("%s", replaced)
            except BrokerLostError as lost:
                delay_s = self._back_off.next_s()
                _log.warning("%s; next attempt in %.1f s", lost, delay_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await stop.wait()

    async def _serve(self, link: BrokerLink, stop: asyncio.Event) -> None:
        """Keep everything flowing until `stop`. Raises `BrokerLostError` or `JournalReplacedError`."""
        began_s = self._now_s()
        lost = asyncio.create_task(link.lost())
        stopping = asyncio.create_task(stop.wait())
        reporting = asyncio.create_task(self._report(link))
        pumping = asyncio.create_task(self.outbox.pump(link))
        everything: tuple[asyncio.Task[object], ...] = (lost, stopping, reporting, pumping)
        try:
            done, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if lost in done:
                raise BrokerLostError(lost.result())
            for flow in (reporting, pumping):
                if flow in done:
                    flow.result()
            await _end(reporting)
            await _as_long_as(lost, self.outbox.drained(), FLUSH_S)
            await _as_long_as(lost, link.publish(self._status("stopped")), FAREWELL_S)
            _log.info("%s: leaving at record %d", self._broker, self.outbox.acknowledged.seq)
        finally:
            await _end(*everything)
            if self._now_s() >= began_s + STEADY_S:
                self._back_off.reset()

    async def _report(self, link: BrokerLink) -> None:
        """Publish that we are here, then the present state, as it changes and as often as promised."""
        await link.publish(self._status("connected"))
        _log.info("%s: connected", self._broker)
        report = _Report(self._address, self.outbox)
        while True:
            now_s, wall_ms = self._now_s(), self._wall_ms()
            self._live.look(now_s=now_s, wall_s=wall_ms / 1000)
            for message in report.due(self._live, now_s=now_s, wall_ms=wall_ms):
                await link.publish(publication(self._address, message))
            await asyncio.sleep(LIVE_LOOK_S)

    def _status(self, reason: ConnectionReason) -> Publication:
        boot_id = self._live.values.boot_id if self._live.values is not None else ""
        origin = Origin(self._wall_ms(), boot_id, self.outbox.acknowledged.seq)
        return publication(self._address, connection_status(origin, reason))

    def _wall_ms(self) -> int:
        """Return the wall clock; one that stands before 1970 has no stamp."""
        return max(0, self._wall_clock_ms())


class _Report:
    """Which states are due on one connection: retained ones on change and in time, live ones conflated."""

    def __init__(self, address: DeviceAddress, outbox: Outbox) -> None:
        self._address = address
        self._outbox = outbox
        self._shown: object = None
        self._state: object = None
        self._state_s = 0.0
        self._meta: object = None
        self._live_changes = 0
        self._live_s = 0.0

    def due(self, live: LiveFile, *, now_s: float, wall_ms: int) -> list[Message]:
        """Return the messages to publish now."""
        values = live.values
        seq = self._outbox.acknowledged.seq
        origin = Origin(wall_ms, values.boot_id if values is not None else "", seq)
        messages: list[Message] = []
        shown = (live.changes, values is not None, self._outbox.journal_state)
        repeat = now_s >= self._state_s + STATE_REPEAT_S
        if shown != self._shown or repeat:
            # Only now is it worth building.
            self._shown = shown
            state = machine_state(origin, values, self._outbox.journal_state)
            if _content(state) != self._state or repeat:
                self._state, self._state_s = _content(state), now_s
                messages.append(state)
        if values is None:
            return messages
        changed = live.changes != self._live_changes
        if changed:
            meta = device_meta(origin, self._address, values)
            if _content(meta) != self._meta:
                self._meta = _content(meta)
                messages.append(meta)
        if changed or (values.session_id and now_s >= self._live_s + LIVE_REPEAT_S):
            self._live_changes, self._live_s = live.changes, now_s
            messages.append(live_session(Origin(values.ts_ms, values.boot_id, seq), values))
        return messages


def _content(message: MachineState | DeviceMeta) -> object:
    """Return what of a message is news: not when it was made, nor how far the outbox had come, nor a time that runs."""
    return message.model_dump(exclude={"ts", "ts_ms", "seq", "alarm_silenced_ms"})


async def _as_long_as(lost: asyncio.Task[str], farewell: Coroutine[Any, Any, object], bound_s: float) -> None:
    """Let `farewell` run for at most `bound_s` and while the connection is not `lost`; its failure changes nothing."""
    task = asyncio.create_task(farewell)
    try:
        await asyncio.wait({task, lost}, timeout=bound_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(task)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` until each has ended, and let none of their failures count.

    Until Python 3.12 a cancellation that meets a result inside `asyncio.wait_for` (aiomqtt waits so for each
    acknowledgement) is swallowed, and the task goes on: one cancellation is not enough.
    """
    pending = {task for task in tasks if not task.done()}
    for _ in range(CANCELLATIONS_MAX):
        if not pending:
            break
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    for task in pending:
        _log.error("a task does not end: %s", task)
    for task in tasks:
        if task.done() and not task.cancelled():
            # Read, so that the event loop does not report it as never retrieved.
            task.exception()
