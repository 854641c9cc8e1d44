"""The DT frames: layout, splits, and the byte that may precede an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pump.cavro_codec import DATA_BYTES_MOST, FrameError
from drivers.pump.dt_codec import DtAnswer, DtCommand, dt_answer_reader, dt_command_reader

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="/"), max_size=40)
commands = st.builds(DtCommand, st.integers(1, 15), texts)
answers = st.builds(DtAnswer, st.booleans(), st.integers(0, 15), texts)


def test_a_command_is_written_as_the_manual_shows() -> None:
    assert DtCommand(1, "ZR").to_bytes() == b"/1ZR\r"


def test_an_answer_is_written_as_the_manual_shows() -> None:
    assert DtAnswer(True, 0, "240").to_bytes() == b"/0`240\x03\r\n"


@given(commands, st.data())
def test_a_command_is_read_however_it_is_split(frame: DtCommand, data: st.DataObject) -> None:
    whole = frame.to_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    reader = dt_command_reader()
    assert reader.feed(whole[:cut]) + reader.feed(whole[cut:]) == [frame]


@given(answers)
def test_an_answer_is_read_one_byte_at_a_time_and_only_at_its_last_byte(frame: DtAnswer) -> None:
    reader = dt_answer_reader()
    found = [reader.feed(bytes((byte,))) for byte in frame.to_bytes()]
    assert found[-1] == [frame]
    assert not any(found[:-1])


@given(answers)
def test_the_turn_round_byte_before_an_answer_is_passed_over(frame: DtAnswer) -> None:
    assert dt_answer_reader().feed(b"\xff" + frame.to_bytes()) == [frame]


@given(answers)
def test_no_truncation_of_an_answer_is_a_frame_and_the_next_answer_is_read(frame: DtAnswer) -> None:
    whole = frame.to_bytes()
    for length in range(len(whole)):
        assert dt_answer_reader().feed(whole[:length]) == []
        assert dt_answer_reader().feed(whole[:length] + whole) == [frame]


@given(st.binary(max_size=3000))
def test_the_reader_never_holds_more_than_one_frame(noise: bytes) -> None:
    reader = dt_answer_reader()
    reader.feed(b"/0`" + noise)
    assert reader.held <= 408


@pytest.mark.parametrize("data", ["A/B", "A\r", "\x1f", "\x7f", "\xb5L", "A" * (DATA_BYTES_MOST + 1)])
def test_what_the_line_cannot_carry_is_refused_in_both_directions(data: str) -> None:
    for frame in (lambda: DtCommand(1, data), lambda: DtAnswer(True, 0, data)):
        with pytest.raises(FrameError, match="at most 400 printable characters without '/'"):
            frame()


def test_the_longest_data_is_carried_in_both_directions() -> None:
    longest = " " * 200 + "~" * 200
    assert dt_command_reader().feed(DtCommand(1, longest).to_bytes()) == [DtCommand(1, longest)]
    assert dt_answer_reader().feed(DtAnswer(True, 0, longest).to_bytes()) == [DtAnswer(True, 0, longest)]


@pytest.mark.parametrize(("allowed", "refused"), [(1, 0), (15, 16)])
def test_an_address_lies_in_1_to_15(allowed: int, refused: int) -> None:
    assert dt_command_reader().feed(DtCommand(allowed, "Q").to_bytes()) == [DtCommand(allowed, "Q")]
    with pytest.raises(FrameError, match=f"address must be 1..15; found {refused}"):
        DtCommand(refused, "Q")


@pytest.mark.parametrize(("allowed", "refused"), [(0, -1), (15, 16)])
def test_an_error_lies_in_0_to_15(allowed: int, refused: int) -> None:
    assert dt_answer_reader().feed(DtAnswer(False, allowed, "").to_bytes()) == [DtAnswer(False, allowed, "")]
    with pytest.raises(FrameError, match=f"error must be 0..15; found {refused}"):
        DtAnswer(False, refused, "")


@pytest.mark.parametrize(
    "noise",
    [
        b"/0Q\r",  # address 0 is the host's
        b"/@Q\r",  # address 16
        b"/1Q\x80\r",
        b"/1" + b"Q" * (DATA_BYTES_MOST + 1) + b"\r",
        b"\r\r",
        b"/",
        b"/1Q",
    ],
)
def test_what_is_no_command_is_dropped_and_the_next_command_is_read(noise: bytes) -> None:
    following = DtCommand(2, "ZR")
    assert dt_command_reader().feed(noise + following.to_bytes()) == [following]


@pytest.mark.parametrize(
    "noise",
    [
        b"/1`\x03\r\n",  # another address than the host's
        b"/0\x30\x03\r\n",  # no status byte
        b"/0`\x80\x03\r\n",
        b"/0`" + b"1" * (DATA_BYTES_MOST + 1) + b"\x03\r\n",
        b"/0`240\x03\n\n",
        b"/0`240\x03\r\r",
        b"/0`240\x03\r",
        b"/0`240",
        b"/0",
        b"/x",
        b"\xff\xff",
    ],
)
def test_what_is_no_answer_is_dropped_and_the_next_answer_is_read(noise: bytes) -> None:
    following = DtAnswer(True, 0, "7")
    assert dt_answer_reader().feed(noise + following.to_bytes()) == [following]


@pytest.mark.parametrize(("begun", "held"), [(b"/", 1), (b"/0", 2), (b"/x", 0), (b"\xff", 0), (b"/0`\x03\r", 5)])
def test_a_reader_of_answers_holds_what_may_still_become_one(begun: bytes, held: int) -> None:
    reader = dt_answer_reader()
    assert reader.feed(begun) == []
    assert reader.held == held


@pytest.mark.parametrize(("begun", "held"), [(b"/", 1), (b"/1", 2), (b"/0", 0), (b"1Q", 0), (b"/1Q", 3)])
def test_a_reader_of_commands_holds_what_may_still_become_one(begun: bytes, held: int) -> None:
    reader = dt_command_reader()
    assert reader.feed(begun) == []
    assert reader.held == held
