"""The serial line to the pump: bytes out, bytes in, and a plain word when it is lost.

Owns the port's descriptor, its exclusive lock and its settings (8N1). Never knows a frame or a command. The only
module that imports `serial`. Bytes arrive through the event loop's `add_reader`, which needs no thread and no polling;
every failure ends as one `DriverError(PUMP_SILENT)` line that says what to do.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import serial

from device.core.faults import Fault
from drivers.ports import DriverError

READ_BYTES_MOST: Final = 4096
UNSENT_BYTES_MOST: Final = 2048
"""Eight of the longest commands: the session sends one frame at a time, so more is a fault of ours."""

Received = Callable[[bytes], None]
Lost = Callable[[str], None]


class PortMissingError(DriverError):
    """There is no such port: the adapter is unplugged, or the configuration names another one."""

    def __init__(self, port: str) -> None:
        super().__init__(
            Fault.PUMP_SILENT, f"{port} is missing: check the adapter's cable and the port's name in the configuration"
        )


class Line(Protocol):
    """A serial line as the pump's driver needs it."""

    @property
    def baud(self) -> int:
        """Bits per second; a byte takes ten."""

    def open(self, received: Received, lost: Lost) -> None:
        """Open and start listening. `lost` is called once, with the reason, when the line fails later.

        Raises DriverError (`PUMP_SILENT`) with one line that names the port, PortMissingError where there is none.
        """

    def write(self, data: bytes) -> None:
        """Send all of `data`, in the background where the port does not take it at once. Ignored on a lost line."""

    def close(self) -> None:
        """Stop listening and release the port. Twice is once."""


class SerialLine:
    """A real port (or a pty) under the running event loop."""

    def __init__(self, port: str, baud: int) -> None:
        self._port_name = port
        self._baud = baud
        self._port: serial.Serial | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._received: Received | None = None
        self._lost: Lost | None = None
        self._unsent = bytearray()

    @property
    def baud(self) -> int:
        """Bits per second; a byte takes ten."""
        return self._baud

    def open(self, received: Received, lost: Lost) -> None:
        """Open exclusively and start listening; see `Line.open`."""
        self.close()
        loop = asyncio.get_running_loop()
        try:
            port = serial.Serial(self._port_name, self._baud, timeout=0, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise _not_open(self._port_name, error) from error
        # An FTDI adapter otherwise waits 16 ms before it hands bytes over; a pty refuses (ENOTTY).
        with suppress(ValueError, OSError):
            port.set_low_latency_mode(True)
        self._port, self._loop, self._received, self._lost = port, loop, received, lost
        loop.add_reader(port.fileno(), self._readable)

    def write(self, data: bytes) -> None:
        """Send all of `data`; see `Line.write`."""
        if self._port is None or self._loop is None:
            return
        if len(self._unsent) + len(data) > UNSENT_BYTES_MOST:
            self._fail(f"{self._port_name} takes no bytes: check the adapter")
            return
        was_idle = not self._unsent
        self._unsent += data
        if was_idle:
            self._writable()

    def close(self) -> None:
        """Stop listening and release the port."""
        port, loop = self._port, self._loop
        self._port = self._loop = self._received = self._lost = None
        self._unsent.clear()
        if port is None:
            return
        if loop is not None and not loop.is_closed():
            loop.remove_reader(port.fileno())
            loop.remove_writer(port.fileno())
        with suppress(OSError, serial.SerialException):
            port.close()

    def _readable(self) -> None:
        if self._port is None or self._received is None:
            return
        try:
            data = os.read(self._port.fileno(), READ_BYTES_MOST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(f"{self._port_name} was unplugged ({os.strerror(error.errno or errno.EIO)})")
            return
        if data:
            self._received(data)
        else:
            self._fail(f"{self._port_name} was unplugged (end of file)")

    def _writable(self) -> None:
        if self._port is None or self._loop is None:
            return
        try:
            sent = os.write(self._port.fileno(), self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail(f"{self._port_name} was unplugged ({os.strerror(error.errno or errno.EIO)})")
            return
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._port.fileno(), self._writable)
        else:
            self._loop.remove_writer(self._port.fileno())

    def _fail(self, reason: str) -> None:
        lost = self._lost
        self.close()
        if lost is not None:
            lost(reason)


def _not_open(port: str, error: Exception) -> DriverError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return PortMissingError(port)
    if number in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EBUSY):
        why = "is held by another program: stop it first"
    elif number in (errno.EACCES, errno.EPERM):
        why = "may not be opened: add the service's user to the group that owns it (dialout)"
    else:
        why = f"cannot be opened as a serial port: {error}"
    return DriverError(Fault.PUMP_SILENT, f"{port} {why}")
