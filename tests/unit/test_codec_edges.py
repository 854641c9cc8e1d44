"""The pump's frames at their edges: the last printable byte, every status, data that is spoilt at its first byte."""

import pytest

from drivers.pump.cavro_codec import (
    ETX,
    STX,
    Answer,
    Command,
    FrameError,
    answer_reader,
    checksum,
    command_reader,
    status_byte,
    status_of,
)


def framed(head: bytes, data: bytes) -> bytes:
    """Return a frame with a right checksum, whatever its data."""
    body = bytes((STX,)) + head + data + bytes((ETX,))
    return body + bytes((checksum(body),))


@pytest.mark.parametrize(("character", "fits"), [("\x1f", False), (" ", True), ("~", True), ("\x7f", False)])
def test_data_goes_from_the_space_to_the_tilde(character: str, fits: bool) -> None:
    frame = framed(b"0\x60", character.encode())
    assert answer_reader().feed(frame) == ([Answer(ready=True, error=0, data=character)] if fits else [])
    if fits:
        assert Command(1, 1, False, character).to_bytes() == framed(b"11", character.encode())
    else:
        with pytest.raises(FrameError, match="printable"):
            Command(1, 1, False, character)


@pytest.mark.parametrize("spoilt", [b"\x07240", b"2\x0740", b"240\x07"])
def test_data_with_one_unprintable_byte_is_no_frame_wherever_it_is(spoilt: bytes) -> None:
    assert answer_reader().feed(framed(b"0\x60", spoilt)) == []
    assert command_reader().feed(framed(b"11", spoilt)) == []


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("error", range(16))
def test_every_status_is_read_as_it_was_written(ready: bool, error: int) -> None:
    assert status_of(status_byte(ready=ready, error=error)) == (ready, error)


@pytest.mark.parametrize("byte", [0x00, 0x20, 0x50, 0x80, 0xC0, 0x70])
def test_another_byte_is_no_status(byte: int) -> None:
    assert status_of(byte) is None


def test_nothing_has_the_checksum_nought() -> None:
    assert checksum(b"") == 0
