"""The pump's USB cable: its adapter is plugged into the guest, and out of it again, while the pump goes on.

Owns the bytes' way between the pump and QEMU's socket of the adapter. What the pump sends while nothing is plugged in
is lost, as on a wire. Knows no frame and no guest.
"""

import contextlib
import select
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.vm.rig.machine import go_before_others

LOOK_S: Final = 0.001
"""How often the ends are looked at when nothing comes; they change whenever somebody plugs."""

READ_BYTES_MOST: Final = 4096


class Cable:
    """A cable that ends at `pump`, a socket for the pump to connect to. A context manager."""

    def __init__(self, pump: Path) -> None:
        self.pump = pump
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(pump))
        self._listener.listen()
        self._lock = threading.Lock()
        self._pump_end: socket.socket | None = None
        self._guest_end: socket.socket | None = None
        self._bytes_left: int | None = None
        self.from_guest = 0
        """Bytes that the guest has sent so far."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.unplug()
        if self._pump_end is not None:
            self._pump_end.close()
        self._listener.close()
        self.pump.unlink(missing_ok=True)

    @property
    def plugged_in(self) -> bool:
        """Whether the adapter is in the guest's socket."""
        return self._guest_end is not None

    def plug_in(self, port: Path) -> None:
        """Plug the adapter into the guest whose socket for it is `port`."""
        guest = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        guest.connect(str(port))
        with self._lock:
            self._guest_end = guest

    def unplug(self) -> None:
        """Pull the adapter out. Twice is once."""
        with self._lock:
            if self._guest_end is not None:
                self._guest_end.close()
                self._guest_end = None

    def unplug_after(self, count: int) -> None:
        """Pull the adapter out as soon as the guest has sent `count` more bytes (1 and more); those still arrive."""
        with self._lock:
            self._bytes_left = count

    def _run(self) -> None:
        go_before_others(0)
        while not self._stopped.is_set():
            with self._lock:
                ends = [end for end in (self._listener, self._pump_end, self._guest_end) if end is not None]
                readable, _, _ = select.select(ends, [], [], 0)
                for end in readable:
                    self._serve(end)
            if not readable:
                self._stopped.wait(LOOK_S)

    def _serve(self, end: socket.socket) -> None:
        if end is self._listener:
            # A pump that was switched off and on comes anew.
            if self._pump_end is not None:
                self._pump_end.close()
            self._pump_end, _ = self._listener.accept()
            return
        data = b""
        with contextlib.suppress(ConnectionError):
            data = end.recv(READ_BYTES_MOST)
        ends = not data
        if end is self._guest_end and self._bytes_left is not None:
            data = data[: self._bytes_left]
            self._bytes_left -= len(data)
            ends = ends or self._bytes_left == 0
        if end is self._guest_end:
            self.from_guest += len(data)
        other = self._guest_end if end is self._pump_end else self._pump_end
        if data and other is not None:
            with contextlib.suppress(ConnectionError):
                other.sendall(data)
        if ends:
            self._gone(end)

    def _gone(self, end: socket.socket) -> None:
        end.close()
        if end is self._pump_end:
            self._pump_end = None
        else:
            self._guest_end = self._bytes_left = None
