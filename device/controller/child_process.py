"""The real-time process as an operating system's process: started, linked, killed, waited for.

Owns the process, the controller's end of the link and the shared page. Decides nothing: `realtime_child` supervises.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from device.realtime.link import Configure, HeartbeatPage, open_pair, pack

_RECEIVE_BYTES: Final = 4096


class ChildProcess:
    """A started process. `start` makes one; `received` is called with each packed report."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        connection: socket.socket,
        page: HeartbeatPage,
        received: Callable[[bytes], None],
    ) -> None:
        self._process = process
        self._connection: socket.socket | None = connection
        self._page: HeartbeatPage | None = page
        self._received = received
        connection.setblocking(False)  # noqa: FBT003 - the standard library's form
        asyncio.get_running_loop().add_reader(connection.fileno(), self._readable)

    @classmethod
    async def start(cls, received: Callable[[bytes], None], *, pins: str, lock: Path, configure: Configure) -> Self:
        """Start the process and send its configuration. `lock` makes sure of one at a time. Raises OSError."""
        ours, theirs = open_pair()
        descriptor = HeartbeatPage.create()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "device.realtime",
                f"--link={theirs.fileno()}",
                f"--page={descriptor}",
                f"--pins={pins}",
                f"--lock={lock}",
                pass_fds=(theirs.fileno(), descriptor),
                stdin=asyncio.subprocess.DEVNULL,
                # A stroke is not to be left half done because somebody pressed Ctrl-C in the terminal.
                start_new_session=True,
            )
            page = HeartbeatPage(descriptor)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(descriptor)
        child = cls(process, ours, page, received)
        child.send(pack(configure))
        return child

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def ended(self) -> str | None:
        """How it ended, in words; None while it lives."""
        code = self._process.returncode
        return None if code is None else f"it ended with code {code}"

    @property
    def scan_ns(self) -> int:
        """When its last scan began; 0 before the first, and after its end."""
        return self._page.scan_ns if self._page is not None else 0

    @property
    def position(self) -> int:
        """The needle's position in steps, as last told."""
        return self._page.position if self._page is not None else 0

    @property
    def steps_kept(self) -> int:
        """How many steps a second it keeps, as it found at its start; 0 before that and after its end."""
        return self._page.steps_kept if self._page is not None else 0

    @property
    def late_counts(self) -> tuple[int, ...]:
        """How many of its steps were how late, in the buckets of `lateness`; empty after its end."""
        return self._page.late_counts if self._page is not None else ()

    def permit(self, until_ns: int) -> None:
        """Renew the permit."""
        if self._page is not None:
            self._page.permit(until_ns)

    def send(self, message: bytes) -> None:
        """Send a packed order. Raises OSError where it is not taken."""
        if self._connection is None:
            raise ConnectionError("the link is closed")
        self._connection.send(message)

    def _readable(self) -> None:
        if self._connection is None:
            return
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._received(data)
        else:
            asyncio.get_running_loop().remove_reader(self._connection.fileno())

    def hang_up(self) -> None:
        """Close the link, which makes the process safe and end. Twice is once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(connection.fileno())
            connection.close()

    def kill(self) -> None:
        """Kill it at once: its lines fall to their pulls. Nothing for one that has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def wait(self) -> None:
        """Return once it has ended and nothing of it is left."""
        await self._process.wait()
        self.hang_up()
        page, self._page = self._page, None
        if page is not None:
            page.close()
