"""The DT frames ("data terminal"): bytes to frames and back, in both directions.

Owns the layout only: `/ address data CR` to the pump, `/ 0 status data ETX CR LF` back. DT has no checksum, no
sequence number and no repeat flag, so nothing here can tell a damaged frame from a sound one; whoever speaks it must
never send a move twice. The reader is `cavro_codec.FrameReader`; the status byte is the same as in Cavro OEM.
"""

from dataclasses import dataclass
from typing import Final

from drivers.pump.cavro_codec import (
    ADDRESS_MOST,
    DATA_BYTES_MOST,
    ETX,
    HOST_ADDRESS,
    FrameError,
    FrameReader,
    is_printable,
    status_byte,
    status_of,
)

_SLASH: Final = 0x2F
_CR: Final = 0x0D
_ANSWER_HEAD: Final = b"/0"
_ANSWER_TAIL: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class DtCommand:
    """A frame to the pump: `address` 1..15 and printable data without `/`. Raises FrameError."""

    address: int
    data: str

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.address <= ADDRESS_MOST:
            raise FrameError(f"address must be 1..{ADDRESS_MOST}; found {self.address}")
        _check_data(self.data)

    def to_bytes(self) -> bytes:
        """Return the frame as it goes over the line."""
        return bytes((_SLASH, HOST_ADDRESS + self.address)) + self.data.encode("ascii") + bytes((_CR,))


@dataclass(frozen=True, slots=True)
class DtAnswer:
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
        head = _ANSWER_HEAD + bytes((status_byte(ready=self.ready, error=self.error),))
        return head + self.data.encode("ascii") + bytes((ETX,)) + _ANSWER_TAIL


def _check_data(data: str) -> None:
    if not data.isascii() or not is_printable(data.encode("ascii")) or "/" in data or len(data) > DATA_BYTES_MOST:
        raise FrameError(f"data must be at most {DATA_BYTES_MOST} printable characters without '/'; found {data!r}")


def scan_dt_command(buffer: bytes) -> tuple[int, DtCommand | None]:
    """Find a command at the start of `buffer`; see `cavro_codec.Scan`. A `/` always starts a new frame."""
    start = buffer.find(_SLASH)
    if start != 0:
        return (start if start > 0 else len(buffer)), None
    if len(buffer) < 2:
        return 0, None
    end = buffer.find(_CR, 2)
    data = buffer[2:] if end < 0 else buffer[2:end]
    is_address = HOST_ADDRESS < buffer[1] <= HOST_ADDRESS + ADDRESS_MOST
    if not is_address or not is_printable(data) or _SLASH in data or len(data) > DATA_BYTES_MOST:
        return 1, None
    if end < 0:
        return 0, None
    return end + 1, DtCommand(address=buffer[1] - HOST_ADDRESS, data=data.decode("ascii"))


def scan_dt_answer(buffer: bytes) -> tuple[int, DtAnswer | None]:
    """Find an answer at the start of `buffer`; see `cavro_codec.Scan`. A line turn-round byte before it is dropped."""
    start = buffer.find(_SLASH)
    if start != 0:
        return (start if start > 0 else len(buffer)), None
    if len(buffer) < 3:
        return (0, None) if _ANSWER_HEAD.startswith(buffer) or buffer.startswith(_ANSWER_HEAD) else (1, None)
    status = status_of(buffer[2])
    end = buffer.find(ETX, 3)
    data = buffer[3:] if end < 0 else buffer[3:end]
    if buffer[1] != HOST_ADDRESS or status is None or not is_printable(data) or _SLASH in data:
        return 1, None
    if len(data) > DATA_BYTES_MOST:
        return 1, None
    tail = buffer[end + 1 : end + 3] if end >= 0 else b""
    if end < 0 or len(tail) < 2:
        return (0, None) if _ANSWER_TAIL.startswith(tail) else (1, None)
    if tail != _ANSWER_TAIL:
        return 1, None
    ready, error = status
    return end + 3, DtAnswer(ready=ready, error=error, data=data.decode("ascii"))


def dt_command_reader() -> FrameReader[DtCommand]:
    """Return a reader of frames to the pump."""
    return FrameReader(scan_dt_command)


def dt_answer_reader() -> FrameReader[DtAnswer]:
    """Return a reader of frames from the pump."""
    return FrameReader(scan_dt_answer)
