"""The simulated pump's end of the serial line: a pty, or the socket of an emulated machine's port.

Owns the descriptor. Never waits, and knows nothing of what the bytes mean: a byte that nobody listens for is lost, as
on a wire.
"""

import errno
import os
import select
import socket
import tty
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

READ_BYTES_MOST: Final = 4096


class PumpPort(Protocol):
    """The pump's end of the serial line."""

    name: str

    @property
    def descriptor(self) -> int:
        """What becomes readable when bytes have come; only while the port is open."""

    def is_open(self) -> bool:
        """Return whether a host is at the other end; asked every tick."""

    def read(self) -> bytes:
        """Return what has come, empty where the host has gone."""

    def write(self, data: bytes) -> None:
        """Send `data`."""

    def close(self) -> None:
        """Hang up."""


class PumpPty:
    """The pump's end of a pty. A host may close and open the other end as it likes."""

    def __init__(self) -> None:
        self.descriptor, slave = os.openpty()
        self.name = os.ttyname(slave)
        tty.setraw(slave)
        os.set_blocking(self.descriptor, False)
        os.close(slave)
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLHUP)

    def is_open(self) -> bool:
        """Return whether a host has the other end open."""
        return not any(event & select.POLLHUP for _, event in self._poll.poll(0))

    def read(self) -> bytes:
        """Return what has come, empty for nothing."""
        try:
            return os.read(self.descriptor, READ_BYTES_MOST)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == errno.EIO:  # the host closed
                return b""
            raise

    def write(self, data: bytes) -> None:
        """Send `data`; a host that does not listen loses it, as on a wire."""
        with suppress(BlockingIOError):
            os.write(self.descriptor, data)

    def close(self) -> None:
        """Hang up."""
        os.close(self.descriptor)


class PumpSocket:
    """The pump's end of an emulated machine's serial port: a Unix socket on which the emulator listens.

    The emulator may come later, go, and come again: the pump is plugged in whenever it listens.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._connection: socket.socket | None = None

    @property
    def descriptor(self) -> int:
        """The connection's; -1 without one."""
        return -1 if self._connection is None else self._connection.fileno()

    def is_open(self) -> bool:
        """Connect where that is possible, and return whether the pump is connected."""
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(self.name)
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
            else:
                connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
                self._connection = connection
        return self._connection is not None

    def read(self) -> bytes:
        """Return what has come, empty where the emulator has gone."""
        if self._connection is None:
            return b""
        try:
            data = self._connection.recv(READ_BYTES_MOST)
        except BlockingIOError:
            return b""
        except ConnectionError:
            data = b""
        if not data:
            self.close()
        return data

    def write(self, data: bytes) -> None:
        """Send `data`; an emulator that has gone or does not listen loses it, as on a wire."""
        if self._connection is not None:
            with suppress(BlockingIOError, ConnectionError):
                self._connection.send(data)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
