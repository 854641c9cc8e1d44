"""The link between controller and real-time process: fixed-size messages and a shared heartbeat page.

Owns the layout of both. A message is `MESSAGE_FIELDS` signed 64-bit numbers (type, then the value's fields in their
declared order; enumerations by their place, None as `NONE`), so the real-time process parses no text and no message
can grow. The page holds one number per field, each with one writer. Imports no asyncio: both ends use it.
"""

import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from typing import Any, Final, get_args

from device.core.device_spec import AxisSpec, Timing
from device.core.faults import Fault
from device.core.magazine import Purpose, RealtimeMagazine, StrokeProgram
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import (
    EndReason,
    Halt,
    Home,
    Load,
    Order,
    PressRefusal,
    Report,
    Reset,
    Unload,
)
from device.core.stroke import ScanSpec
from device.realtime.lateness import BUCKETS, counted
from drivers.ports import LineMap

MESSAGE_FIELDS: Final = 40
_MESSAGE: Final = struct.Struct(f"<{MESSAGE_FIELDS}q")
NONE: Final = -(2**63)

_ENUMS: Final[dict[str, type[Enum]]] = {
    "purpose": Purpose,
    "mode": Mode,
    "trigger": TriggerStyle,
    "fault": Fault,
}


class LinkError(Exception):
    """A message that is not of this version: the two ends are of different installations."""


class Configure:
    """The first message to a real-time process: its lines and what it must know of the console."""

    def __init__(self, lines: LineMap, spec: ScanSpec) -> None:
        self.lines = lines
        self.spec = spec


_TYPES: Final[tuple[type[Any], ...]] = (Configure, *get_args(Order), *get_args(Report))


def _flat(value: Any) -> list[int]:
    if value is None:
        return [NONE]
    if isinstance(value, IntEnum | bool):
        return [int(value)]
    if isinstance(value, Enum):
        return [list(type(value)).index(value)]
    if isinstance(value, int):
        return [value]
    if is_dataclass(value):
        return [number for field in fields(value) for number in _flat(getattr(value, field.name))]
    raise TypeError(f"{type(value).__name__} cannot be sent over the link")


def pack(message: Configure | Order | Report) -> bytes:
    """Return the message's fixed-size form. Raises LinkError when a number does not fit."""
    parts = (message.lines, message.spec) if isinstance(message, Configure) else (message,)
    numbers = [number for part in parts for number in _flat(part)]
    numbers = [_TYPES.index(type(message)), *numbers]
    try:
        return _MESSAGE.pack(*numbers, *([0] * (MESSAGE_FIELDS - len(numbers))))
    except struct.error as error:
        raise LinkError(f"{type(message).__name__} does not fit a message: {error}") from error


def unpack(data: bytes) -> Configure | Order | Report:
    """Return the message. Raises LinkError for a wrong size, an unknown type or a value outside its enumeration."""
    if len(data) != _MESSAGE.size:
        raise LinkError(f"message of {len(data)} bytes, expected {_MESSAGE.size}")
    kind, *numbers = _MESSAGE.unpack(data)
    if not 0 <= kind < len(_TYPES):
        raise LinkError(f"unknown message type {kind}")
    message_type = _TYPES[kind]
    reader = iter(numbers)
    try:
        if message_type is Configure:
            lines = LineMap(**{field.name: _optional(next(reader)) for field in fields(LineMap)})
            return Configure(lines, ScanSpec(_plain(AxisSpec, reader), _plain(Timing, reader), bool(next(reader))))
        if message_type is Load:
            return Load(_magazine(reader))
        message: Order | Report = _plain(message_type, reader)
    except (IndexError, ValueError) as error:
        raise LinkError(f"{message_type.__name__}: {error}") from error
    return message


def _optional(number: int) -> Any:
    return None if number == NONE else number


def _plain(message_type: type[Any], reader: Any) -> Any:
    values: dict[str, Any] = {}
    for field in fields(message_type):
        number = next(reader)
        if field.type is bool:
            values[field.name] = bool(number)
        elif field.type in (Fault, EndReason, PressRefusal):
            values[field.name] = field.type(number)
        else:
            values[field.name] = _optional(number)
    return message_type(**values)


def _magazine(reader: Any) -> RealtimeMagazine:
    values: dict[str, Any] = {}
    for field in fields(RealtimeMagazine):
        if field.name == "stroke":
            values["stroke"] = _plain(StrokeProgram, reader)
            continue
        number = next(reader)
        enum = _ENUMS.get(field.name)
        if enum is not None:
            if not 0 <= number < len(enum):
                raise ValueError(f"{field.name} has no value {number}")
            values[field.name] = list(enum)[number]
        else:
            values[field.name] = bool(number) if field.type is bool else number
    return RealtimeMagazine(**values)


class HeartbeatPage:
    """One page of shared memory. The controller writes `permit_until_ns`; the real-time process the rest."""

    _PERMIT_UNTIL, _SCAN, _POSITION, _STEPS_KEPT, _LATE = range(5)

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, mmap.PAGESIZE)
        self._numbers = memoryview(self._map).cast("q")

    @staticmethod
    def create() -> int:
        """Return a descriptor of a new page, to be mapped by both ends; the caller closes it."""
        descriptor = os.memfd_create("mesogun-heartbeat")
        os.ftruncate(descriptor, mmap.PAGESIZE)
        return descriptor

    @property
    def permit_until_ns(self) -> int:
        """Until when the real-time process may work without another sign from the controller."""
        return self._numbers[self._PERMIT_UNTIL]

    def permit(self, until_ns: int) -> None:
        """Renew the permit (controller)."""
        self._numbers[self._PERMIT_UNTIL] = until_ns

    @property
    def scan_ns(self) -> int:
        """When the last scan began; 0 before the first."""
        return self._numbers[self._SCAN]

    @property
    def position(self) -> int:
        """The needle's position in steps after the last scan."""
        return self._numbers[self._POSITION]

    def beat(self, now_ns: int, position: int) -> None:
        """Tell that a scan was made (real-time process)."""
        self._numbers[self._SCAN] = now_ns
        self._numbers[self._POSITION] = position

    @property
    def steps_kept(self) -> int:
        """How many steps a second the real-time process keeps, as it found at its start; 0 where it did not."""
        return self._numbers[self._STEPS_KEPT]

    def tell_steps_kept(self, steps_per_s: int) -> None:
        """Tell what the trial at the start found (real-time process)."""
        self._numbers[self._STEPS_KEPT] = steps_per_s

    @property
    def late_counts(self) -> tuple[int, ...]:
        """How many steps of this process were how late, in the buckets of `lateness`."""
        return tuple(self._numbers[self._LATE : self._LATE + BUCKETS])

    def add_lateness(self, late_ns: Sequence[int]) -> None:
        """Count a shot's steps (real-time process); never in the middle of one."""
        for bucket, count in enumerate(counted(late_ns)):
            self._numbers[self._LATE + bucket] += count

    def close(self) -> None:
        """Unmap the page."""
        self._numbers.release()
        self._map.close()


class RealtimeEnd:
    """The real-time process's end: never blocks."""

    def __init__(self, connection: socket.socket, page: HeartbeatPage) -> None:
        connection.settimeout(0)
        self._connection = connection
        self.page = page
        self.linked = True

    def receive(self) -> Configure | Order | None:
        """Return the next order, None if there is none; sets `linked` False when the controller's end is closed."""
        try:
            data = self._connection.recv(_MESSAGE.size)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            self.linked = False
            return None
        message = unpack(data)
        if isinstance(message, Configure | Reset | Home | Load | Unload | Halt):
            return message
        raise LinkError(f"{type(message).__name__} is no order")

    def send(self, report: Report) -> None:
        """Send a report; a controller that is gone or hopelessly behind is a lost link."""
        try:
            self._connection.send(pack(report))
        except (BlockingIOError, ConnectionError):
            self.linked = False

    def close(self) -> None:
        """Close the connection and the page."""
        self._connection.close()
        self.page.close()


def open_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected pair that keeps message boundaries: (controller's end, real-time process's end)."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
