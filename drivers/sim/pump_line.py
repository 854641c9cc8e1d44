"""The simulated pump at the end of a serial line: every byte takes its ten bits' time, one direction at a time.

Owns the pacing that a pty does not have, and the half duplex: what arrives while the pump is sending is lost. No I/O
and no clock; the process with the pty and the virtual-time tests use the same object.
"""

from collections import deque
from typing import Final

from drivers.pump.cavro_codec import ETX
from drivers.sim.pump_firmware import PumpFirmware

BITS_PER_BYTE: Final = 10
WIRE_BYTES_MOST: Final = 4096
"""Bytes under way in one direction; what is put on top of that is lost, as in a full receive buffer."""


class Wire:
    """One direction of the line."""

    def __init__(self, baud: int) -> None:
        self._byte_ns = -(-BITS_PER_BYTE * 1_000_000_000 // baud)
        self._bytes: deque[tuple[int, int]] = deque()
        self.busy_until_ns = 0

    def put(self, data: bytes, now_ns: int) -> None:
        """Send `data` from `now_ns` on, behind what is still under way."""
        for byte in data[: WIRE_BYTES_MOST - len(self._bytes)]:
            self.busy_until_ns = max(self.busy_until_ns, now_ns) + self._byte_ns
            self._bytes.append((self.busy_until_ns, byte))

    def take(self, now_ns: int) -> list[tuple[int, int]]:
        """Return the bytes that have arrived by `now_ns`, each with its time."""
        arrived: list[tuple[int, int]] = []
        while self._bytes and self._bytes[0][0] <= now_ns:
            arrived.append(self._bytes.popleft())
        return arrived

    def next_ns(self) -> int | None:
        """Return when the bytes under way have arrived: nobody does anything with a part of what is sent as one."""
        return self._bytes[-1][0] if self._bytes else None


class PumpOnLine:
    """`firmware` behind a line of `baud` bits per second."""

    def __init__(self, firmware: PumpFirmware, *, baud: int) -> None:
        self._firmware = firmware
        self._to_pump = Wire(baud)
        self._to_host = Wire(baud)

    def host_sends(self, data: bytes, now_ns: int) -> None:
        """The host's port takes `data`."""
        self._to_pump.put(data, now_ns)

    def advance(self, now_ns: int) -> bytes:
        """Let time pass until `now_ns` and return the bytes that have reached the host."""
        arrived = self._to_pump.take(now_ns)
        if arrived and self._is_idle(arrived[0][0], arrived[-1][0]):
            data = bytes(byte for _, byte in arrived)
            if data.find(ETX) == len(data) - 2:
                # One frame, and nothing that could come between its bytes: it is its last byte that counts.
                self._firmware.receive(data, arrived[-1][0])
                arrived = []
        for at_ns, byte in arrived:
            self._answer_until(at_ns)
            if at_ns > self._to_host.busy_until_ns:
                self._firmware.receive(bytes((byte,)), at_ns)
        self._answer_until(now_ns)
        return bytes(byte for _, byte in self._to_host.take(now_ns))

    def _is_idle(self, from_ns: int, to_ns: int) -> bool:
        """Return whether the pump neither sends nor does anything between two bytes."""
        if self._to_host.busy_until_ns >= from_ns:
            return False
        event_ns = self._firmware.next_event_ns(from_ns)
        return event_ns is None or event_ns > to_ns

    def next_event_ns(self, now_ns: int) -> int | None:
        """Return when `advance` should be called next; None: not before the host sends."""
        events = (self._to_pump.next_ns(), self._to_host.next_ns(), self._firmware.next_event_ns(now_ns))
        return min((event for event in events if event is not None), default=None)

    def _answer_until(self, now_ns: int) -> None:
        self._to_host.put(self._firmware.advance(now_ns), now_ns)
