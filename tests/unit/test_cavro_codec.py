"""The Cavro OEM frames: the manual's worked ones, and every way of damaging them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pump.cavro_codec import (
    DATA_BYTES_MOST,
    Answer,
    Command,
    FrameError,
    answer_reader,
    checksum,
    command_reader,
    error_meaning,
)

WORKED_COMMANDS = [
    (Command(1, 1, False, "ZR"), "02 31 31 5a 52 03 09"),
    (Command(1, 1, False, "Q"), "02 31 31 51 03 50"),
    (Command(1, 1, False, "D60R"), "02 31 31 44 36 30 52 03 11"),
    (Command(1, 1, True, "D60R"), "02 31 39 44 36 30 52 03 19"),
    (Command(1, 2, False, "D60R"), "02 31 32 44 36 30 52 03 12"),
    (Command(1, 3, False, "T"), "02 31 33 54 03 57"),
    (Command(1, 4, False, "?"), "02 31 34 3f 03 3b"),
]
WORKED_ANSWERS = [
    (Answer(True, 0, ""), "02 30 60 03 51"),
    (Answer(False, 0, ""), "02 30 40 03 71"),
    (Answer(True, 9, ""), "02 30 69 03 58"),
    (Answer(True, 0, "240"), "02 30 60 32 34 30 03 67"),
]
# Every character that the driver sends, and that a pump answers a number with.
OURS = st.text("0123456789?&ABDGHIJKLMNOPQRTVYZcvz", max_size=40)
commands = st.builds(Command, st.integers(1, 15), st.integers(1, 7), st.booleans(), OURS)
answers = st.builds(Answer, st.booleans(), st.integers(0, 15), st.text("0123456789", max_size=6))


@pytest.mark.parametrize(("frame", "text"), WORKED_COMMANDS)
def test_a_worked_command_of_the_manual_is_written_and_read(frame: Command, text: str) -> None:
    assert frame.to_bytes() == bytes.fromhex(text)
    assert command_reader().feed(bytes.fromhex(text)) == [frame]


@pytest.mark.parametrize(("frame", "text"), WORKED_ANSWERS)
def test_a_worked_answer_of_the_manual_is_written_and_read(frame: Answer, text: str) -> None:
    assert frame.to_bytes() == bytes.fromhex(text)
    assert answer_reader().feed(bytes.fromhex(text)) == [frame]


@given(st.lists(commands, min_size=1, max_size=3), st.data())
def test_commands_are_read_however_their_bytes_are_split(frames: list[Command], data: st.DataObject) -> None:
    stream = b"".join(frame.to_bytes() for frame in frames)
    reader = command_reader()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == frames
    assert reader.held == 0


@given(answers)
def test_an_answer_is_read_one_byte_at_a_time_and_only_at_its_last_byte(frame: Answer) -> None:
    reader = answer_reader()
    found = [reader.feed(bytes((byte,))) for byte in frame.to_bytes()]
    assert found[-1] == [frame]
    assert not any(found[:-1])


@given(commands)
def test_no_truncation_of_a_command_is_a_frame(frame: Command) -> None:
    whole = frame.to_bytes()
    assert not any(command_reader().feed(whole[:length]) for length in range(len(whole)))


@given(commands)
def test_no_single_bit_flip_of_a_command_is_a_frame(frame: Command) -> None:
    whole = frame.to_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        assert command_reader().feed(bytes(flipped)) == []


@given(answers)
def test_no_single_bit_flip_of_an_answer_is_a_frame_and_the_next_answer_is_read(frame: Answer) -> None:
    whole = frame.to_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        assert answer_reader().feed(bytes(flipped) + whole) == [frame]


@given(commands, st.binary(max_size=60).filter(lambda garbage: 2 not in garbage), st.binary(max_size=60))
def test_a_command_between_garbage_is_found(frame: Command, before: bytes, after: bytes) -> None:
    assert command_reader().feed(before + frame.to_bytes() + after)[:1] == [frame]


@given(answers, st.binary(max_size=30))
def test_an_answer_is_found_behind_any_garbage_once_its_repetition_comes(frame: Answer, garbage: bytes) -> None:
    # Garbage may look like the start of a frame and take the first answer with it; it never takes more than its bound.
    reader = answer_reader()
    found = reader.feed(garbage)
    for _ in range(2 + DATA_BYTES_MOST // len(frame.to_bytes()) + 2):
        found += reader.feed(frame.to_bytes())
    assert found[-1] == frame


@given(st.binary(max_size=3000))
def test_the_reader_never_holds_more_than_one_frame(noise: bytes) -> None:
    reader = command_reader()
    reader.feed(b"\x02\x31\x31" + noise)
    assert reader.held <= DATA_BYTES_MOST + 8


def test_a_frame_that_never_ends_is_dropped_at_its_bound() -> None:
    reader = command_reader()
    assert reader.feed(b"\x02\x31\x31" + b"A" * (DATA_BYTES_MOST + 1)) == []
    assert reader.held == 0


@pytest.mark.parametrize(
    ("address", "sequence", "data", "word"),
    [
        (0, 1, "Q", "address"),
        (16, 1, "Q", "address"),
        (1, 0, "Q", "sequence"),
        (1, 8, "Q", "sequence"),
        (1, 1, "Q\x03", "printable"),
        (1, 1, "µ", "printable"),
        (1, 1, "A" * 401, "at most 400"),
    ],
)
def test_what_the_line_cannot_carry_is_refused(address: int, sequence: int, data: str, word: str) -> None:
    with pytest.raises(FrameError, match=word):
        Command(address, sequence, False, data)


def test_the_ends_of_every_range_are_carried() -> None:
    longest = " " * 200 + "~" * 200
    for command in (Command(1, 1, False, ""), Command(15, 7, True, longest)):
        assert command_reader().feed(command.to_bytes()) == [command]
    for answer in (Answer(False, 0, longest), Answer(True, 15, "")):
        assert answer_reader().feed(answer.to_bytes()) == [answer]


@pytest.mark.parametrize("error", [-1, 16])
def test_an_error_number_beyond_four_bits_is_refused(error: int) -> None:
    with pytest.raises(FrameError, match=f"error must be 0..15; found {error}"):
        Answer(True, error, "")


def test_what_an_answer_of_the_pump_cannot_hold_is_refused() -> None:
    with pytest.raises(FrameError, match="at most 400 characters; found 401"):
        Answer(True, 0, "A" * 401)
    with pytest.raises(FrameError, match="printable ASCII; found 'a\\\\n'"):
        Answer(True, 0, "a\n")


@pytest.mark.parametrize(
    "head",
    [
        b"\x02\x30\x31",  # the host's own address
        b"\x02\x40\x31",  # address 16
        b"\x02\x31\x30",  # sequence 0
        b"\x02\x31\x38",  # sequence 0 with the repeat bit
        b"\x02\x31\x41",  # no sequence byte
    ],
)
def test_a_frame_from_nowhere_is_no_command_though_its_checksum_is_right(head: bytes) -> None:
    frame = head + b"Q\x03"
    assert command_reader().feed(frame + bytes((checksum(frame),))) == []


@pytest.mark.parametrize("head", [b"\x02\x31\x60", b"\x02\x30\x20", b"\x02\x30\xe0", b"\x02\x30\x70"])
def test_a_frame_to_nowhere_is_no_answer_though_its_checksum_is_right(head: bytes) -> None:
    frame = head + b"7\x03"
    assert answer_reader().feed(frame + bytes((checksum(frame),))) == []


@pytest.mark.parametrize(
    ("error", "meaning"),
    [(0, "no error"), (9, "plunger overload"), (15, "command overflow: sent while busy, or longer than the buffer")],
)
def test_an_errors_number_is_told_in_words(error: int, meaning: str) -> None:
    assert error_meaning(error) == meaning


@pytest.mark.parametrize("error", [5, 8, 12, 14])
def test_a_number_that_the_manual_does_not_list_is_an_unknown_error(error: int) -> None:
    assert error_meaning(error) == "unknown error"
