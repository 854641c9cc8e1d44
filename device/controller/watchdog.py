"""systemd's notify protocol: ready, alive, stopping. Silent where systemd does not listen.

Owns the datagrams to NOTIFY_SOCKET (a Unix socket; this process opens no IP socket). The alive message is sent from
the event loop, and only while the controller gets on: one that hangs, or that waits for ever, is restarted by systemd.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

_FALLBACK_PERIOD_S: Final = 1.0


class Watchdog:
    """Notifies systemd. Outside a notify unit every method does nothing."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        if address.startswith("@"):
            address = "\0" + address[1:]
        self._address = address
        # Never waits: a manager that does not read must not hold up the loop that renews the permit.
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind) if address else None
        watchdog_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        self.period_s = watchdog_us / 2_000_000 if watchdog_us else _FALLBACK_PERIOD_S

    def _notify(self, text: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), self._address)
            except OSError:
                # A manager that does not listen now will notice by its own deadline.
                return

    def ready(self, status: str) -> None:
        """Tell that the service is up."""
        self._notify(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """Tell that the service ends."""
        self._notify("STOPPING=1")

    async def run(self, gets_on: Callable[[], bool]) -> None:
        """Send the alive message twice a watchdog period while the controller `gets_on`, until cancelled."""
        while True:
            if gets_on():
                self._notify("WATCHDOG=1")
            await asyncio.sleep(self.period_s)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
