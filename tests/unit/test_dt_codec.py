"""The DT frames: layout, splits, and the byte that may precede an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pump.cavro_codec import FrameError
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


def test_a_slash_in_the_data_is_refused() -> None:
    with pytest.raises(FrameError, match="without '/'"):
        DtCommand(1, "A/B")
