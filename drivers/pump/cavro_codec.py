"""The Cavro OEM frames: bytes to frames and back, in both directions.

Owns the frame layout, the checksum and the meaning of the error numbers; takes bytes however they are split, and
finds its way back after garbage. Never waits, repeats or decides: that is `cavro_session`. A frame is either whole,
with a right checksum and only printable data, or it does not exist; the tests cut, flip and split every byte.

Source of the layout and the error numbers: Tecan Cavro XCalibur operating manual 733085-B, chapter 3 and appendix G.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Final, Generic, TypeAlias, TypeVar

STX: Final = 0x02
ETX: Final = 0x03
HOST_ADDRESS: Final = 0x30
ADDRESS_MOST: Final = 15
SEQUENCE_MOST: Final = 7
DATA_BYTES_MOST: Final = 400
"""Above the pump's buffer of 255, so that a command that is too long is answered with an error and not with silence."""

_FRAME_BYTES_MOST: Final = DATA_BYTES_MOST + 8
_REPEAT_BIT: Final = 0x08
_READY_BIT: Final = 0x20

ERROR_MEANINGS: Final[dict[int, str]] = {
    0: "no error",
    1: "initialisation failed",
    2: "invalid command",
    3: "invalid operand",
    4: "invalid command sequence",
    6: "EEPROM failure",
    7: "not initialised",
    9: "plunger overload",
    10: "valve overload",
    11: "plunger move not allowed",
    15: "command overflow: sent while busy, or longer than the buffer",
}

_PRINTABLE: Final = bytes(range(0x20, 0x7F))

FrameT = TypeVar("FrameT")
Scan: TypeAlias = Callable[[bytes], tuple[int, FrameT | None]]
"""Looks at the start of a buffer: (bytes to drop, frame found); (0, None) asks for more bytes."""


class FrameError(ValueError):
    """A frame was asked for that the line cannot carry."""


def error_meaning(error: int) -> str:
    """Return what error number `error` (0..15) means, for people."""
    return ERROR_MEANINGS.get(error, "unknown error")


def checksum(data: bytes) -> int:
    """Return the XOR of `data` (the bytes from STX to ETX)."""
    return reduce(xor, data, 0)


def is_printable(data: bytes) -> bool:
    """Return whether every byte of `data` is printable ASCII, the only bytes that a frame's data may have."""
    return not data.translate(None, _PRINTABLE)


def _check_data(data: str) -> None:
    if not data.isascii() or not is_printable(data.encode("ascii")):
        raise FrameError(f"data must be printable ASCII; found {data!r}")
    if len(data) > DATA_BYTES_MOST:
        raise FrameError(f"data must have at most {DATA_BYTES_MOST} characters; found {len(data)}")


def _framed(head: bytes, data: str) -> bytes:
    body = bytes((STX,)) + head + data.encode("ascii") + bytes((ETX,))
    return body + bytes((checksum(body),))


@dataclass(frozen=True, slots=True)
class Command:
    """A frame to the pump: `address` 1..15, `sequence` 1..7, `repeat` for a frame sent again. Raises FrameError."""

    address: int
    sequence: int
    repeat: bool
    data: str

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.address <= ADDRESS_MOST:
            raise FrameError(f"address must be 1..{ADDRESS_MOST}; found {self.address}")
        if not 1 <= self.sequence <= SEQUENCE_MOST:
            raise FrameError(f"sequence must be 1..{SEQUENCE_MOST}; found {self.sequence}")
        _check_data(self.data)

    def to_bytes(self) -> bytes:
        """Return the frame as it goes over the line."""
        sequence = 0x30 | self.sequence | (_REPEAT_BIT if self.repeat else 0)
        return _framed(bytes((HOST_ADDRESS + self.address, sequence)), self.data)


@dataclass(frozen=True, slots=True)
class Answer:
    """A frame from the pump. `ready` is only valid in the answer to `Q`; `error` (0..15) in every answer."""

    ready: bool
    error: int
    data: str

    def __post_init__(self) -> None:
        """Check the ranges. Raises FrameError."""
        if not 0 <= self.error <= 15:
            raise FrameError(f"error must be 0..15; found {self.error}")
        _check_data(self.data)

    def to_bytes(self) -> bytes:
        """Return the frame as it goes over the line."""
        return _framed(bytes((HOST_ADDRESS, status_byte(ready=self.ready, error=self.error))), self.data)


def status_byte(*, ready: bool, error: int) -> int:
    """Return `01X0eeee`."""
    return 0x40 | (_READY_BIT if ready else 0) | error


def status_of(byte: int) -> tuple[bool, int] | None:
    """Return (ready, error) of a status byte, or None where it is none."""
    if byte & 0xD0 != 0x40:
        return None
    return bool(byte & _READY_BIT), byte & 0x0F


def _scan_frame(buffer: bytes, *, head_fits: Callable[[int, int], bool]) -> int:
    """Return the length of the frame at the start of `buffer`; 0: more bytes needed; negative: bytes to drop."""
    start = buffer.find(STX)
    if start != 0:
        return -(start if start > 0 else len(buffer))
    if len(buffer) < 3:
        return 0
    end = buffer.find(ETX, 3)
    data = buffer[3:] if end < 0 else buffer[3:end]
    if not head_fits(buffer[1], buffer[2]) or not is_printable(data) or len(data) > DATA_BYTES_MOST:
        return -1
    if end < 0 or len(buffer) < end + 2:
        return 0
    if checksum(buffer[: end + 1]) != buffer[end + 1]:
        return -1
    return end + 2


def _command_head(address: int, sequence: int) -> bool:
    is_address = HOST_ADDRESS < address <= HOST_ADDRESS + ADDRESS_MOST
    return is_address and sequence & 0xF0 == 0x30 and sequence & SEQUENCE_MOST != 0


def _answer_head(address: int, status: int) -> bool:
    return address == HOST_ADDRESS and status_of(status) is not None


def scan_command(buffer: bytes) -> tuple[int, Command | None]:
    """Find a command at the start of `buffer`; see `Scan`."""
    length = _scan_frame(buffer, head_fits=_command_head)
    if length <= 0:
        return -length, None
    sequence = buffer[2]
    command = Command(
        address=buffer[1] - HOST_ADDRESS,
        sequence=sequence & SEQUENCE_MOST,
        repeat=bool(sequence & _REPEAT_BIT),
        data=buffer[3 : length - 2].decode("ascii"),
    )
    return length, command


def scan_answer(buffer: bytes) -> tuple[int, Answer | None]:
    """Find an answer at the start of `buffer`; see `Scan`."""
    length = _scan_frame(buffer, head_fits=_answer_head)
    if length <= 0:
        return -length, None
    status = buffer[2]
    return length, Answer(
        ready=bool(status & _READY_BIT), error=status & 0x0F, data=buffer[3 : length - 2].decode("ascii")
    )


class FrameReader(Generic[FrameT]):
    """Bytes in, frames out. Holds at most one frame's bytes: what cannot become a frame is dropped at once."""

    def __init__(self, scan: Scan[FrameT]) -> None:
        self._scan = scan
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[FrameT]:
        """Take `data` and return the frames completed by it, in order."""
        self._buffer += data
        found: list[FrameT] = []
        while self._buffer:  # ends: every turn drops bytes or breaks
            dropped, frame = self._scan(bytes(self._buffer[:_FRAME_BYTES_MOST]))
            if dropped == 0:
                break
            del self._buffer[:dropped]
            if frame is not None:
                found.append(frame)
        return found

    def clear(self) -> None:
        """Forget a half-received frame."""
        self._buffer.clear()

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)


def command_reader() -> FrameReader[Command]:
    """Return a reader of frames to the pump."""
    return FrameReader(scan_command)


def answer_reader() -> FrameReader[Answer]:
    """Return a reader of frames from the pump."""
    return FrameReader(scan_answer)
