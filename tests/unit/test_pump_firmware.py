"""The simulated pump: what its words do, when, and what it answers."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from drivers.pump.cavro_codec import Answer, Command, answer_reader
from drivers.pump.dt_codec import DtAnswer, DtCommand, dt_answer_reader
from drivers.sim.encoder import Encoder
from drivers.sim.plunger import HALF_INCREMENT, PlungerMove, Speeds
from drivers.sim.pump_firmware import Dialect, PumpFirmware, Troubles, Valve
from drivers.sim.pump_line import PumpOnLine, Wire
from tests.support.pump import Bench

MS = 1_000_000


class Host:
    """A pump on a bench, spoken to without a line; every answer is awaited within 5 ms."""

    def __init__(
        self,
        *,
        fine: bool = True,
        operand_error_at_once: bool = True,
        encoder: Callable[[int], int] | None = None,
        **troubles: int,
    ) -> None:
        self.bench = Bench()
        self.pump = PumpFirmware(
            self.bench,
            troubles=Troubles(**troubles),
            operand_error_at_once=operand_error_at_once,
            encoder=encoder,
        )
        self.now_ns = 0
        self.sequence = 0
        self.fine = fine

    def prepare(self) -> "Host":
        if self.fine:
            self.say("N1R")
            self.pass_time(1 * MS)
        self.say("ZR")
        self.pass_time(10 * MS)
        return self

    def say(self, text: str, *, sequence: int | None = None, repeat: bool = False) -> Answer | None:
        self.sequence = sequence or self.sequence % 7 + 1
        self.pump.receive(Command(1, self.sequence, repeat, text).to_bytes(), self.now_ns)
        return self.hear()

    def hear(self) -> Answer | None:
        self.now_ns += 5 * MS
        answers = answer_reader().feed(self.pump.advance(self.now_ns))
        return answers[0] if answers else None

    def pass_time(self, ns: int) -> None:
        end_ns = self.now_ns + ns
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, max(self.now_ns + 1, self.pump.next_event_ns(self.now_ns) or end_ns))
            self.pump.advance(self.now_ns)

    def number(self, text: str) -> int:
        answer = self.say(text)
        if answer is None:
            raise AssertionError("no answer")
        return int(answer.data)

    def status(self) -> tuple[bool, int]:
        answer = self.say("Q")
        if answer is None:
            raise AssertionError("no answer")
        return answer.ready, answer.error


def test_after_power_on_it_is_not_initialised_and_moves_nothing() -> None:
    host = Host()
    assert host.pump.valve is Valve.UNKNOWN
    assert host.say("A100R") == Answer(True, 7, "")
    host.pass_time(1000 * MS)
    assert host.status() == (True, 7)
    assert host.bench.movements == []


def test_initialising_empties_the_syringe_through_the_needle() -> None:
    host = Host(fine=False)
    host.pump = PumpFirmware(host.bench, position=300)
    assert host.say("ZR") is not None
    assert host.status()[0] is False
    host.pass_time(1000 * MS)
    assert host.status() == (True, 0)
    assert (host.pump.position, host.bench.dispensed, host.pump.valve) == (0, 300, Valve.NEEDLE)


def test_an_absolute_move_from_the_vial_draws_what_it_says() -> None:
    host = Host().prepare()
    host.say("V2000IA2400R")
    host.pass_time(1000 * MS)
    assert host.status() == (True, 0)
    assert host.number("?4") == 2400
    assert (host.bench.drawn_from_vial, host.bench.needle_travel) == (2400, 0)


def test_movements_are_reported_in_grains_of_a_millisecond_that_add_up() -> None:
    host = Host().prepare()
    host.say("V1000IA2400R")
    host.pass_time(2000 * MS)
    moves = host.bench.movements
    assert all(before[1] == after[0] for before, after in pairwise(moves))
    assert max(after[3] - before[3] for before, after in pairwise(moves)) <= 1_100_000
    assert (
        max(after - before for before, after, _, _ in moves) <= 5
    )  # 4 increments in a millisecond at 1000 half-increments/s, and one begun before


@pytest.mark.parametrize(
    ("increments", "speeds", "planned_ms"),
    [
        (24_000, Speeds(900, 5800, 900, 20), 1117),
        (480, Speeds(900, 1200, 900, 14), 102),
        (480, Speeds(50, 2000, 50, 20), 98),
        (40, Speeds(900, 900, 900, 20), 11),
    ],
)
def test_a_move_takes_the_time_of_its_trapezoid(increments: int, speeds: Speeds, planned_ms: int) -> None:
    # From a closed formula worked by hand: d/V + (V-v)2/2aV + (V-c)2/2aV, or a triangle where V is not reached.
    move = PlungerMove(increments, unit=HALF_INCREMENT // 4, speeds=speeds, began_ns=0)
    assert move.travelled(10_000 * MS) == increments
    assert abs(move.now_ns / MS - planned_ms) <= max(1.5, planned_ms * 0.015)


def test_a_closed_gate_holds_the_program_and_a_low_one_lets_one_move_pass() -> None:
    host = Host().prepare()
    host.say("IA1000OR")
    host.pass_time(2000 * MS)
    host.bench.forget()
    host.say("J0H1A900J1H2A800J0R")
    host.pass_time(500 * MS)
    assert (host.status()[0], host.bench.movements, host.bench.phases) == (False, [], [False])
    host.bench.gates[1] = True
    host.pass_time(500 * MS)
    assert (host.pump.position, host.bench.phases) == (900, [False, True])
    host.bench.gates[2] = True
    host.pass_time(500 * MS)
    assert (host.pump.position, host.bench.phases, host.status()) == (800, [False, True, False], (True, 0))


def test_the_first_movement_follows_the_gate_within_two_milliseconds() -> None:
    host = Host().prepare()
    host.say("IA1000OV2000R")
    host.pass_time(2000 * MS)
    host.say("H1A500R")
    host.pass_time(100 * MS)
    host.bench.forget()
    opened_ns = host.now_ns
    host.bench.gates[1] = True
    host.pass_time(100 * MS)
    assert host.bench.movements[0][3] - opened_ns <= 2 * MS


def test_r_lets_a_halted_program_pass_without_the_gate() -> None:
    host = Host().prepare()
    host.say("H1IA100R")
    host.pass_time(50 * MS)
    host.say("R")
    host.pass_time(500 * MS)
    assert host.pump.position == 100


def test_t_stops_a_move_and_a_bare_r_resumes_the_rest() -> None:
    host = Host().prepare()
    host.say("V100IA1000OA0R")
    host.pass_time(1000 * MS)
    host.say("T")
    stopped_at = host.pump.position
    assert 0 < stopped_at < 1000
    assert host.status() == (True, 0)
    assert host.number("?10") == 1
    host.pass_time(1000 * MS)
    assert host.pump.position == stopped_at
    host.say("R")
    host.pass_time(20_000 * MS)
    assert (host.pump.position, host.number("?10")) == (0, 0)


def test_increments_lost_at_t_show_between_the_commanded_and_the_actual_position() -> None:
    host = Host(lose_increments=3).prepare()
    host.say("V100IA1000R")
    host.pass_time(1000 * MS)
    host.say("T")
    assert host.number("?4") == host.pump.position
    assert host.number("?") == host.pump.position + 3


def test_a_string_of_its_own_takes_the_place_of_a_killed_one() -> None:
    host = Host().prepare()
    host.say("H1IA100R")
    host.say("T")
    host.say("J0R")
    host.pass_time(10 * MS)
    assert host.number("?10") == 0
    host.say("R")
    host.pass_time(1000 * MS)
    assert host.pump.position == 0


def test_a_repeat_with_the_last_number_is_acknowledged_and_not_carried_out() -> None:
    host = Host().prepare()
    host.say("IA1000R")
    host.pass_time(2000 * MS)
    assert host.say("D60R", sequence=3) == Answer(True, 0, "")
    host.pass_time(500 * MS)
    assert host.say("D60R", sequence=3, repeat=True) == Answer(True, 0, "")
    host.pass_time(500 * MS)
    assert host.pump.position == 940


def test_a_repeat_with_another_number_is_carried_out() -> None:
    host = Host().prepare()
    host.say("IA1000R", sequence=2)
    host.pass_time(2000 * MS)
    host.say("D60R", sequence=3, repeat=True)
    host.pass_time(500 * MS)
    assert host.pump.position == 940


def test_without_the_repeat_bit_the_same_number_is_carried_out_again() -> None:
    host = Host().prepare()
    host.say("IA1000R")
    host.pass_time(2000 * MS)
    for _ in range(2):
        host.say("D60R", sequence=3)
        host.pass_time(500 * MS)
    assert host.pump.position == 880


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("%R", 2),
        ("xR", 2),
        ("E1R", 2),
        ("A24001R", 3),
        ("AR", 3),
        ("V4R", 3),
        ("V6001R", 3),
        ("I5R", 3),
        ("H3R", 3),
        ("L21R", 3),
        ("A1" * 130, 15),
        ("?99", 2),
    ],
)
def test_a_bad_string_is_refused_with_its_number_and_nothing_moves(text: str, error: int) -> None:
    host = Host().prepare()
    assert host.say(text) == Answer(True, error, "")
    host.pass_time(200 * MS)
    assert host.bench.movements == []


def test_255_characters_fit_and_256_do_not() -> None:
    host = Host().prepare()
    assert host.say("J0" * 126 + "J1R") == Answer(True, 0, "")
    host.pass_time(100 * MS)
    assert host.say("J0" * 127 + "J1") == Answer(True, 15, "")


def test_a_pump_that_checks_operands_later_tells_at_the_next_q() -> None:
    host = Host(operand_error_at_once=False).prepare()
    assert host.say("V4R") == Answer(True, 0, "")
    assert host.status() == (True, 3)
    assert host.say("V50R") == Answer(True, 0, "")
    assert host.status()[1] == 0


def test_a_string_sent_while_busy_is_refused_and_the_running_one_goes_on() -> None:
    host = Host().prepare()
    host.say("V500IA1000R")
    assert host.say("A0R") == Answer(True, 15, "")
    host.pass_time(3000 * MS)
    assert host.pump.position == 1000


def test_a_move_through_a_valve_in_bypass_is_not_allowed() -> None:
    host = Host().prepare()
    host.say("BA100R")
    host.pass_time(500 * MS)
    assert host.status() == (True, 11)
    assert host.pump.position == 0


def test_an_overload_stops_half_way_ends_the_program_and_lasts_until_initialised() -> None:
    host = Host(overloads=1).prepare()
    host.say("IA1000A2000R")
    host.pass_time(3000 * MS)
    assert host.status() == (True, 9)
    assert (host.pump.position, host.number("?10")) == (500, 0)
    assert host.say("A100R") == Answer(True, 9, "")
    host.say("ZR")
    host.pass_time(3000 * MS)
    assert (host.status(), host.pump.position) == ((True, 0), 0)


def test_a_loop_runs_as_often_as_it_says() -> None:
    host = Host().prepare()
    host.say("gJ1J0G3R")
    host.pass_time(100 * MS)
    assert host.bench.phases == [True, False] * 3


def test_an_endless_loop_does_not_hold_the_pump_and_ends_at_t() -> None:
    host = Host().prepare()
    host.say("gJ1G0R")
    host.pass_time(100 * MS)
    assert host.status()[0] is False
    host.say("T")
    assert host.status()[0] is True


def test_a_loop_end_without_its_begin_is_a_bad_sequence() -> None:
    host = Host().prepare()
    host.say("J1G3R")
    host.pass_time(10 * MS)
    assert host.status() == (True, 4)


def test_a_delay_and_the_valve_take_their_time() -> None:
    host = Host().prepare()
    host.say("M500R")
    host.pass_time(490 * MS)
    assert host.status()[0] is False
    host.pass_time(10 * MS)
    assert host.status()[0] is True
    host.say("IR")
    host.pass_time(85 * MS)
    assert host.status()[0] is False
    host.pass_time(10 * MS)
    assert host.status()[0] is True


def test_relative_moves_add_up() -> None:
    host = Host().prepare()
    host.say("IP500P100D50R")
    host.pass_time(3000 * MS)
    assert host.pump.position == 550
    host.say("D551R")
    host.pass_time(3000 * MS)
    assert (host.status(), host.pump.position) == ((True, 3), 550)


def test_the_scale_changes_the_position_with_it() -> None:
    host = Host().prepare()
    host.say("IA2400R")
    host.pass_time(3000 * MS)
    host.say("N0R")
    host.pass_time(5 * MS)
    assert host.number("?4") == 300


def test_the_encoder_misses_the_place_by_at_most_as_much_and_by_the_same_while_the_plunger_stands() -> None:
    encoder = Encoder(Random(5), most=2)
    errors = []
    for place in range(100):
        error = encoder.read(place) - place
        assert encoder.read(place) - place == error
        errors.append(error)
    assert set(errors) == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(("error", "at_the_top", "on_the_way", "at_the_end"), [(-2, 0, 98, 2_998), (2, 2, 102, 3_000)])
def test_the_encoder_is_what_the_actual_position_is_read_from_and_moves_nothing(
    error: int, at_the_top: int, on_the_way: int, at_the_end: int
) -> None:
    host = Host(fine=False, encoder=lambda place: place + error).prepare()
    assert (host.number("?4"), host.pump.position) == (at_the_top, 0)
    for place, read in ((100, on_the_way), (3_000, at_the_end)):
        host.say(f"IA{place}R")
        host.pass_time(9_000 * MS)
        assert (host.number("?"), host.number("?4"), host.pump.position) == (place, read, place)


def test_the_inputs_are_reported_1_where_high() -> None:
    host = Host().prepare()
    host.bench.gates[2] = True
    assert (host.number("?13"), host.number("?14")) == (1, 0)


def test_a_power_cycle_forgets_all_but_the_plunger() -> None:
    host = Host().prepare()
    host.say("IA2400R")
    host.pass_time(3000 * MS)
    host.pump.power_cycle(host.now_ns)
    assert host.status() == (True, 7)
    assert (host.number("?10"), host.pump.position, host.pump.valve) == (0, 300, Valve.UNKNOWN)


def test_a_dropped_frame_and_a_dropped_answer_are_silence() -> None:
    host = Host(drop_frames=1, drop_answers=1)
    assert host.say("Q") is None
    assert host.say("Q") is None
    assert host.say("Q") == Answer(True, 7, "")


def test_a_delayed_answer_holds_back_the_ones_after_it() -> None:
    host = Host(delay_answers=1, delay_ns=20 * MS)
    assert host.say("Q") is None
    assert host.say("?13") is None
    host.now_ns += 20 * MS
    frames = answer_reader().feed(host.pump.advance(host.now_ns))
    assert [frame.data for frame in frames] == ["", "1"]


def test_a_flipped_bit_makes_no_frame() -> None:
    assert Host(flip_answers=1).say("Q") is None


def test_another_pumps_address_is_not_answered() -> None:
    host = Host()
    host.pump.receive(Command(2, 1, False, "Q").to_bytes(), 0)
    assert host.hear() is None


def test_an_answer_begins_within_five_milliseconds_and_not_at_once() -> None:
    host = Host()
    host.pump.receive(Command(1, 1, False, "Q").to_bytes(), 0)
    assert host.pump.advance(1 * MS) == b""
    assert host.pump.advance(5 * MS) == Answer(True, 7, "").to_bytes()


def dt_say(pump: PumpFirmware, text: str, now_ns: int) -> list[DtAnswer]:
    pump.receive(DtCommand(1, text).to_bytes(), now_ns)
    return dt_answer_reader().feed(pump.advance(now_ns + 5 * MS))


def test_it_speaks_dt_until_its_first_oem_frame() -> None:
    pump = PumpFirmware(Bench())
    assert dt_say(pump, "Q", 0) == [DtAnswer(True, 7, "")]
    pump.receive(Command(1, 1, False, "Q").to_bytes(), 10 * MS)
    assert pump.advance(15 * MS) == Answer(True, 7, "").to_bytes()
    assert dt_say(pump, "Q", 20 * MS) == []
    pump.power_cycle(40 * MS)
    assert dt_say(pump, "Q", 50 * MS) == [DtAnswer(True, 7, "")]


def test_a_pump_told_one_dialect_is_deaf_to_the_other() -> None:
    dt_only = PumpFirmware(Bench(), dialects=[Dialect.DT])
    dt_only.receive(Command(1, 1, False, "Q").to_bytes(), 0)
    assert dt_only.advance(5 * MS) == b""
    assert dt_say(PumpFirmware(Bench(), dialects=[Dialect.CAVRO]), "Q", 0) == []


def test_a_dt_command_sent_twice_runs_twice() -> None:
    pump = PumpFirmware(Bench())
    dt_say(pump, "ZR", 0)
    pump.advance(100 * MS)
    dt_say(pump, "IP10R", 100 * MS)
    pump.advance(1000 * MS)
    dt_say(pump, "IP10R", 1000 * MS)
    pump.advance(2000 * MS)
    assert pump.position == 20


def test_a_byte_takes_ten_bits_on_the_wire() -> None:
    wire = Wire(10_000)
    wire.put(b"ab", 0)
    assert wire.take(999_999) == []
    assert wire.take(1 * MS) == [(1 * MS, ord("a"))]
    assert wire.next_ns() == 2 * MS


def test_what_arrives_while_the_pump_sends_is_lost() -> None:
    line = PumpOnLine(PumpFirmware(Bench()), baud=38_400)
    query = Command(1, 1, False, "Q").to_bytes()
    line.host_sends(query, 0)
    line.advance(4 * MS)  # the answer is on its way
    line.host_sends(query[:1], 4 * MS)
    assert line.advance(6 * MS) == Answer(True, 7, "").to_bytes()
    line.host_sends(query[1:], 6 * MS)
    assert line.advance(20 * MS) == b""
