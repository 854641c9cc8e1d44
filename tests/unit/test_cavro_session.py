"""The session's rules: numbers, repeats, deadlines, and no late answer taken for a new one."""

import pytest

from drivers.pump.cavro_codec import Answer, Command, command_reader
from drivers.pump.cavro_session import (
    ANSWER_NS,
    IDENTITY,
    QUIET_NS,
    STATUS,
    STOP,
    TRIES_MOST,
    CavroSession,
    Kind,
    Request,
    SessionMisuse,
    Step,
    fits,
)

BYTE_NS = 260_417  # ten bits at 38400 baud, rounded up
MS = 1_000_000
LOAD = Request("A100R", Kind.COMMAND)
POSITION = Request("?4", Kind.NUMBER)
ACK = Answer(True, 0, "").to_bytes()
NAME = Answer(True, 0, "pump").to_bytes()


def sent(step: Step) -> Command:
    (frame,) = command_reader().feed(step.send)
    return frame


class Talk:
    """A session and its time; each method returns the step it brought."""

    def __init__(self) -> None:
        self.session = CavroSession(address=1, baud=38_400)
        self.now_ns = 1_000_000_000
        self.step = Step()

    def ask(self, request: Request) -> Step:
        self.step = self.session.begin(request, self.now_ns)
        return self.step

    def hear(self, data: bytes, *, after_ns: int = 5_000_000) -> Step:
        self.now_ns += after_ns
        self.step = self.session.bytes_received(data, self.now_ns)
        return self.step

    def wait(self) -> Step:
        if self.step.deadline_ns is None:
            raise AssertionError("nothing to wait for")
        self.now_ns = self.step.deadline_ns
        self.step = self.session.time_passed(self.now_ns)
        return self.step


def certain() -> Talk:
    """A session whose first Q was answered."""
    talk = Talk()
    talk.ask(STATUS)
    talk.wait()
    talk.hear(NAME)
    talk.hear(ACK)
    assert not talk.session.in_doubt
    return talk


def test_the_first_exchange_waits_for_quiet_asks_the_identity_and_then_q() -> None:
    talk = Talk()
    step = talk.ask(STATUS)
    assert (step.send, step.deadline_ns) == (b"", talk.now_ns + QUIET_NS)
    assert sent(talk.wait()) == Command(1, 1, False, "&")
    assert sent(talk.hear(NAME)) == Command(1, 2, False, "Q")
    assert talk.hear(ACK).answer == Answer(True, 0, "")


def test_no_command_leaves_before_a_q_was_answered() -> None:
    talk = Talk()
    with pytest.raises(SessionMisuse, match="before the first Q"):
        talk.ask(LOAD)


def test_two_exchanges_at_once_are_refused() -> None:
    talk = certain()
    talk.ask(STATUS)
    with pytest.raises(SessionMisuse, match="while an exchange runs"):
        talk.ask(STATUS)


def test_numbers_run_from_1_to_7_and_round() -> None:
    talk = certain()
    numbers = []
    for _ in range(9):
        numbers.append(sent(talk.ask(STATUS)).sequence)
        talk.hear(ACK)
    assert numbers == [3, 4, 5, 6, 7, 1, 2, 3, 4]


def test_the_deadline_is_100_ms_after_the_last_byte_has_left() -> None:
    talk = certain()
    step = talk.ask(LOAD)
    assert step.deadline_ns == talk.now_ns + len(step.send) * BYTE_NS + ANSWER_NS


def test_before_the_deadline_nothing_is_sent() -> None:
    talk = certain()
    step = talk.ask(LOAD)
    assert talk.session.time_passed((step.deadline_ns or 0) - 1) == Step(deadline_ns=step.deadline_ns)


def test_a_command_without_answer_is_repeated_with_its_number_and_then_given_up() -> None:
    talk = certain()
    first = sent(talk.ask(LOAD))
    repeats = [sent(talk.wait()) for _ in range(TRIES_MOST - 1)]
    assert not first.repeat
    assert repeats == [Command(1, first.sequence, True, LOAD.text)] * (TRIES_MOST - 1)
    assert talk.wait().failure == "no answer to A100R after 4 tries"
    assert talk.session.in_doubt


def test_a_query_without_answer_is_sent_again_as_new_after_the_identity() -> None:
    talk = certain()
    first = sent(talk.ask(POSITION))
    assert talk.wait().send == b""
    assert sent(talk.wait()).data == "&"
    again = sent(talk.hear(NAME))
    assert (again.data, again.repeat) == ("?4", False)
    assert again.sequence != first.sequence


def test_a_late_acknowledgement_is_not_taken_for_the_answer_to_q() -> None:
    talk = certain()
    talk.ask(LOAD)
    talk.wait()  # silence: the repeat leaves
    assert talk.hear(ACK).answer is not None  # the late answer to the first frame
    talk.ask(STATUS)
    assert talk.hear(ACK, after_ns=1_000_000).answer is None  # the answer to the repeat, while draining
    assert sent(talk.wait()).data == "&"
    assert talk.hear(ACK).answer is None  # one more, while the identity is awaited
    assert sent(talk.hear(NAME)).data == "Q"
    assert talk.hear(ACK).answer == Answer(True, 0, "")


def test_a_late_identity_is_not_taken_for_a_number() -> None:
    talk = certain()
    talk.ask(POSITION)
    talk.hear(NAME)
    assert talk.step.answer is None
    assert talk.hear(Answer(True, 0, "240").to_bytes()).answer == Answer(True, 0, "240")


def test_a_refused_report_ends_the_exchange_at_once() -> None:
    talk = certain()
    talk.ask(POSITION)
    assert talk.hear(Answer(True, 2, "").to_bytes()).answer == Answer(True, 2, "")


def test_draining_goes_on_while_bytes_come_and_ends_at_its_bound() -> None:
    talk = Talk()
    talk.ask(STATUS)
    began_ns = talk.now_ns
    for _ in range(100):
        if talk.hear(b"\xff").send:
            break
    assert sent(talk.step).data == "&"
    assert talk.now_ns - began_ns == 100_000_000


def test_draining_ends_with_the_quiet_after_the_last_byte() -> None:
    talk = certain()
    frame = talk.ask(Request("A" * 200, Kind.COMMAND)).send
    talk.session.abandon()
    left_ns = talk.now_ns + len(frame) * BYTE_NS
    talk.ask(STATUS)
    # Heard while the frame is still going out: the quiet is counted from its end.
    assert talk.hear(b"\xff", after_ns=1).deadline_ns == left_ns + QUIET_NS
    talk.now_ns = left_ns
    assert talk.hear(b"\xff", after_ns=3 * MS).deadline_ns == talk.now_ns + QUIET_NS
    assert sent(talk.wait()).data == "&"


def test_a_silent_pump_is_given_up_after_four_questions() -> None:
    talk = Talk()
    talk.ask(STATUS)
    asked = 0
    for _ in range(20):
        asked += bool(talk.wait().send)
        if talk.step.failure:
            break
    assert talk.step.failure == "no answer to & after 4 tries"
    assert asked == TRIES_MOST


def test_t_leaves_at_once_and_is_sent_again_as_new() -> None:
    talk = certain()
    first = sent(talk.ask(STOP))
    again = sent(talk.wait())
    assert (first.data, again.data, again.repeat) == ("T", "T", False)
    assert again.sequence != first.sequence


def test_t_after_an_abandoned_exchange_waits_for_the_frame_to_leave_and_leaves_the_doubt() -> None:
    talk = certain()
    frame = talk.ask(Request("A" * 240, Kind.COMMAND)).send
    talk.session.abandon()
    step = talk.ask(STOP)
    assert (step.send, step.deadline_ns) == (b"", talk.now_ns + len(frame) * BYTE_NS + QUIET_NS)
    assert sent(talk.wait()).data == "T"
    talk.hear(ACK)
    assert talk.session.in_doubt
    assert talk.ask(STATUS).send == b""
    assert sent(talk.wait()).data == "&"


def test_the_identity_itself_may_be_asked_for() -> None:
    talk = certain()
    assert sent(talk.ask(IDENTITY)).data == "&"
    assert talk.hear(NAME).answer == Answer(True, 0, "pump")


def test_the_waits_are_those_of_the_manual() -> None:
    assert (ANSWER_NS, QUIET_NS, TRIES_MOST) == (100 * MS, 10 * MS, 4)


@pytest.mark.parametrize(
    ("kind", "answer", "shaped"),
    [
        (Kind.COMMAND, Answer(True, 0, ""), True),
        (Kind.COMMAND, Answer(False, 15, ""), True),
        (Kind.COMMAND, Answer(True, 0, "240"), False),
        (Kind.STATUS, Answer(True, 0, ""), True),
        (Kind.STATUS, Answer(True, 0, "pump"), False),
        (Kind.STOP, Answer(True, 0, ""), True),
        (Kind.STOP, Answer(True, 0, "0"), False),
        (Kind.NUMBER, Answer(True, 0, "240"), True),
        (Kind.NUMBER, Answer(True, 0, "-3"), True),
        (Kind.NUMBER, Answer(True, 0, "--3"), False),
        (Kind.NUMBER, Answer(True, 0, "pump"), False),
        (Kind.NUMBER, Answer(True, 2, "pump"), False),
        # Without data only a refusal of the report itself; else it is the acknowledgement of something older.
        (Kind.NUMBER, Answer(True, 0, ""), False),
        (Kind.NUMBER, Answer(True, 1, ""), False),
        (Kind.NUMBER, Answer(True, 2, ""), True),
        (Kind.NUMBER, Answer(True, 3, ""), True),
        (Kind.NUMBER, Answer(True, 4, ""), False),
        (Kind.IDENTITY, Answer(True, 0, "pump"), True),
        (Kind.IDENTITY, Answer(True, 0, "1.0"), True),
        (Kind.IDENTITY, Answer(True, 0, "240"), False),
        (Kind.IDENTITY, Answer(True, 0, "-3"), False),
        (Kind.IDENTITY, Answer(True, 0, ""), False),
    ],
)
def test_an_answer_is_known_by_its_shape(kind: Kind, answer: Answer, shaped: bool) -> None:
    assert fits(kind, answer) is shaped


def test_t_waits_for_no_proof_neither_at_the_start_nor_after_silence() -> None:
    assert sent(Talk().ask(STOP)).data == "T"
    talk = certain()
    talk.ask(LOAD)
    for _ in range(TRIES_MOST):
        talk.wait()
    assert talk.session.in_doubt
    assert sent(talk.ask(STOP)).data == "T"


def test_t_without_answer_is_given_up_after_four_frames_and_leaves_the_doubt() -> None:
    talk = certain()
    numbers = [sent(talk.ask(STOP)).sequence, *(sent(talk.wait()).sequence for _ in range(TRIES_MOST - 1))]
    assert numbers == [3, 4, 5, 6]
    assert talk.wait().failure == "no answer to T after 4 tries"
    assert talk.session.in_doubt


@pytest.mark.parametrize(("quiet_ns", "waits"), [(QUIET_NS - 1, True), (QUIET_NS, False)])
def test_t_after_an_abandoned_exchange_leaves_once_the_line_is_quiet(quiet_ns: int, waits: bool) -> None:
    talk = certain()
    frame = talk.ask(LOAD).send
    talk.session.abandon()
    talk.now_ns += len(frame) * BYTE_NS + quiet_ns
    step = talk.ask(STOP)
    assert (step.send == b"") is waits
    if waits:
        assert step.deadline_ns == talk.now_ns + 1
        assert sent(talk.wait()).data == "T"


def test_t_after_an_abandoned_exchange_waits_for_the_answer_on_the_wire_to_be_over() -> None:
    talk = certain()
    talk.ask(POSITION)
    talk.session.abandon()
    talk.hear(b"\x020", after_ns=50 * MS)
    talk.now_ns += QUIET_NS - 1
    step = talk.ask(STOP)
    assert (step.send, step.deadline_ns) == (b"", talk.now_ns + 1)
    assert sent(talk.wait()).data == "T"


def test_nothing_is_abandoned_where_nothing_runs() -> None:
    talk = certain()
    talk.session.abandon()
    assert not talk.session.in_doubt
    assert sent(talk.ask(STATUS)).data == "Q"


def test_an_abandoned_exchange_makes_room_for_the_next_one_which_ends_the_doubt_first() -> None:
    talk = certain()
    talk.ask(LOAD)
    talk.session.abandon()
    assert talk.ask(POSITION).send == b""
    assert talk.hear(ACK, after_ns=1 * MS).answer is None
    assert sent(talk.wait()).data == "&"
    assert sent(talk.hear(NAME)).data == "?4"
    assert not talk.session.in_doubt
    assert talk.hear(Answer(True, 0, "7").to_bytes()).answer == Answer(True, 0, "7")


def test_after_an_exchange_was_given_up_the_next_one_ends_the_doubt_and_is_answered() -> None:
    talk = certain()
    talk.ask(LOAD)
    for _ in range(TRIES_MOST):
        talk.wait()
    talk.ask(STATUS)
    assert sent(talk.wait()).data == "&"
    assert sent(talk.hear(NAME)).data == "Q"
    assert talk.hear(ACK).answer == Answer(True, 0, "")


def test_a_query_is_given_up_when_the_identity_comes_and_the_answer_never_does() -> None:
    talk = certain()
    asked = [sent(talk.ask(POSITION)).data]
    for _ in range(TRIES_MOST - 1):
        talk.wait()
        asked += [sent(talk.wait()).data, sent(talk.hear(NAME)).data]
    assert asked == ["?4", *["&", "?4"] * 3]
    assert talk.wait().failure == "no answer to ?4 after 4 tries"


def test_each_exchange_has_all_its_tries() -> None:
    talk = Talk()
    for _ in range(3):
        talk.ask(STATUS)
        sent_frames = 0
        while talk.step.failure is None:
            sent_frames += bool(talk.wait().send)
        assert sent_frames == TRIES_MOST


def test_half_an_answer_from_before_the_drain_is_never_completed_by_the_next_one() -> None:
    # The checksum of this older identity, not heard yet, is the first byte of any frame.
    older = Answer(True, 0, "S").to_bytes()
    assert older[-1:] == NAME[:1]
    talk = certain()
    talk.ask(POSITION)
    talk.hear(older[:-1])
    talk.wait()
    assert sent(talk.wait()).data == "&"
    assert talk.hear(NAME[:1]) == Step(deadline_ns=talk.step.deadline_ns)
    assert talk.session.in_doubt
    assert sent(talk.hear(NAME[1:])).data == "?4"


def test_between_exchanges_nothing_that_comes_or_passes_does_anything() -> None:
    talk = certain()
    assert talk.hear(ACK + NAME) == Step()
    assert talk.session.time_passed(talk.now_ns + 10**12) == Step()
    assert sent(talk.ask(POSITION)).data == "?4"


def test_of_two_answers_at_once_the_one_behind_what_was_asked_is_not_taken_for_the_next() -> None:
    talk = certain()
    talk.ask(POSITION)
    talk.wait()
    talk.wait()
    step = talk.hear(NAME + Answer(True, 0, "240").to_bytes())
    assert (sent(step).data, step.answer) == ("?4", None)
    assert talk.hear(Answer(True, 0, "7").to_bytes()).answer == Answer(True, 0, "7")


@pytest.mark.parametrize(
    ("text", "shown"), [("A" * 15 + "R", "AAAAAAAAAAAAAAAR"), ("A" * 16 + "R", "AAAAAAAAAAAAAAAA...")]
)
def test_what_was_given_up_is_told_shortened_to_sixteen_characters(text: str, shown: str) -> None:
    talk = certain()
    talk.ask(Request(text, Kind.COMMAND))
    for _ in range(TRIES_MOST):
        talk.wait()
    assert talk.step.failure == f"no answer to {shown} after 4 tries"
