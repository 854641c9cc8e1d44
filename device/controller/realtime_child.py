"""The real-time process as the controller's child: start, orders, permit, supervision, restart.

Owns the child and the controller's end of the link. Renews the permit from the event loop itself, so that a loop that
hangs stops the gun; kills a child that is silent longer than `timing.silence_ns`, so that its lines fall to their
pulls, and starts another one. Never decides what a fault means: it reports events.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from device.core.device_spec import DeviceSpec
from device.core.events import Event, FaultOccurred, RealtimeRestarted
from device.core.faults import Fault
from device.core.realtime_messages import Order
from device.core.stroke import ScanSpec
from device.realtime.link import Configure, HeartbeatPage, LinkError, open_pair, pack, unpack
from drivers.ports import LineMap

log = logging.getLogger(__name__)

PERMIT_PERIOD_S: Final = 0.005
"""How often the permit is renewed and the child's heartbeat looked at: several times within each one's limit."""

START_DEADLINE_S: Final = 15.0
MOST_RESTARTS: Final = 5
"""A child that dies more often than this needs a person, not another start."""

_RECEIVE_BYTES: Final = 4096


class RealtimeChild:
    """One real-time process at a time, which `lock` makes sure of. `post` takes reports and supervision's events."""

    def __init__(
        self, *, pins: str, lock: Path, lines: LineMap, spec: DeviceSpec, post: Callable[[Event], None]
    ) -> None:
        self._pins = pins
        self._lock = lock
        self._configure = Configure(lines, ScanSpec(spec.axis, spec.timing, spec.pump.phase_feedback))
        self._timing = spec.timing
        self._post = post
        self._process: asyncio.subprocess.Process | None = None
        self._connection: socket.socket | None = None
        self._page: HeartbeatPage | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._restarts = 0
        self._closing = False

    @property
    def pid(self) -> int | None:
        """The child's process number; None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def position(self) -> int:
        """The needle's position in steps, as last told."""
        return self._page.position if self._page is not None else 0

    async def start(self) -> None:
        """Start the child and wait for its first scan. Raises OSError or TimeoutError."""
        await self._spawn()
        self._supervision = asyncio.create_task(self._supervise(), name="realtime supervision")

    async def _spawn(self) -> None:
        ours, theirs = open_pair()
        descriptor = HeartbeatPage.create()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "device.realtime",
                f"--link={theirs.fileno()}",
                f"--page={descriptor}",
                f"--pins={self._pins}",
                f"--lock={self._lock}",
                pass_fds=(theirs.fileno(), descriptor),
                stdin=asyncio.subprocess.DEVNULL,
                # A stroke is not to be left half done because somebody pressed Ctrl-C in the terminal.
                start_new_session=True,
            )
            self._page = HeartbeatPage(descriptor)
        finally:
            theirs.close()
            os.close(descriptor)
        ours.setblocking(False)  # noqa: FBT003 - the standard library's form
        self._connection = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable)
        self.send_message(pack(self._configure))
        await self._first_scan()

    async def _first_scan(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_DEADLINE_S
        while self._page is not None and self._page.scan_ns == 0:
            if self._process is None or self._process.returncode is not None:
                raise ChildProcessError("the real-time process ended at its start: see its line above")
            self._renew_permit()
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the real-time process made no scan within {START_DEADLINE_S:g} s")
            await asyncio.sleep(PERMIT_PERIOD_S)
        self._renew_permit()

    def send(self, order: Order) -> None:
        """Give an order. A child that is gone takes none: the supervision reports that."""
        self.send_message(pack(order))

    def send_message(self, data: bytes) -> None:
        """Send packed bytes; losing the child shows in the supervision."""
        if self._connection is None:
            if not self._closing:
                self._post(FaultOccurred(Fault.REALTIME_LOST, "it is not running"))
            return
        try:
            self._connection.send(data)
        except (BlockingIOError, ConnectionError) as error:
            log.warning("order not delivered to the real-time process: %s", error)

    def _readable(self) -> None:
        if self._connection is None:
            return
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            return
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
        while not self._closing:
            self._renew_permit()
            reason = self._lost()
            if reason is not None:
                await self._replace(reason)
            await asyncio.sleep(PERMIT_PERIOD_S)

    def _renew_permit(self) -> None:
        if self._page is not None:
            self._page.permit(time.monotonic_ns() + self._timing.permit_ns)

    def _lost(self) -> str | None:
        """Return why the child counts as lost; None while it lives and scans."""
        if self._process is None or self._page is None:
            return None
        if self._process.returncode is not None:
            return f"it ended with code {self._process.returncode}"
        silent_ns = time.monotonic_ns() - self._page.scan_ns
        if silent_ns > self._timing.silence_ns:
            return f"no scan for {silent_ns / 1e6:.0f} ms"
        return None

    async def _replace(self, reason: str) -> None:
        """Kill, report, start again: killed lines fall to their pulls, and a new child can retract the needle."""
        self._kill()
        self._post(FaultOccurred(Fault.REALTIME_LOST, reason))
        await self._end()
        if self._restarts >= MOST_RESTARTS:
            log.error("the real-time process was lost %d times: not started again", self._restarts + 1)
            return
        self._restarts += 1
        try:
            await self._spawn()
        except (OSError, TimeoutError) as error:
            log.error("the real-time process could not be started again: %s", error)  # noqa: TRY400 - one line
            await self._end()
            return
        self._post(RealtimeRestarted())

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def _end(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self._connection = None
        if self._process is not None:
            await self._process.wait()
            self._process = None
        if self._page is not None:
            self._page.close()
            self._page = None

    async def close(self) -> None:
        """Close the link, which makes the child safe and end; kill it if it does not."""
        self._closing = True
        if self._supervision is not None:
            await self._supervision
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                async with asyncio.timeout(START_DEADLINE_S):
                    await self._process.wait()
            except TimeoutError:
                self._kill()
        await self._end()
