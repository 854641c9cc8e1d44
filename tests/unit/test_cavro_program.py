"""A program's command string, and the ceiling that it is held to."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.faults import Fault
from device.core.magazine import PhaseMove, PumpProgram, Purpose
from device.core.profile import Phase
from device.core.units import HalfIncrementsPerSecond, Increments, Nanolitres
from drivers.ports import DriverError
from drivers.pump.cavro import check_ceiling, longest_move_ns, program_length, program_text
from drivers.pump.cavro_program import PumpCeiling
from drivers.sim.pump_commands import parse_string
from tests.support.core import LIMITS
from tests.support.pump import CEILING, FILLED, SPEC, STROKE_NL, move, shot_program


def program(*moves: PhaseMove, start: int = FILLED) -> PumpProgram:
    return PumpProgram(magazine_id=1, purpose=Purpose.INJECT, stroke_nl=STROKE_NL, start=Increments(start), moves=moves)


def refusal(given: PumpProgram) -> str:
    with pytest.raises(DriverError) as caught:
        check_ceiling(given, spec=SPEC, ceiling=CEILING)
    assert caught.value.fault is Fault.PUMP_CEILING
    return caught.value.detail


def test_gates_and_the_phase_line_alternate_over_the_whole_program() -> None:
    assert program_text(shot_program()) == "J0V2000H1A11840J1H2A11680J0H1A11520J1H2A11544J0R"


def test_the_speed_is_set_again_only_where_it_changes() -> None:
    text = program_text(
        program(move(Phase.ENTRY, 11_900, 1000), move(Phase.DWELL, 11_800, 1000), move(Phase.EXIT, 11_700, 900))
    )
    assert text == "J0V1000H1A11900J1H2A11800J0V900H1A11700J1R"


def test_the_length_is_that_of_the_text() -> None:
    assert program_length(shot_program().moves) == len(program_text(shot_program()))


phases = st.sampled_from(Phase)
moves_any = st.lists(st.builds(move, phases, st.integers(0, 24_000), st.integers(5, 5800)), min_size=1, max_size=8)


@given(moves_any)
def test_every_move_waits_at_a_gate_of_its_own(moves: list[PhaseMove]) -> None:
    words = parse_string(program_text(program(*moves)), stroke=24_000)
    assert words.runs
    letters = [word.letter for word in words.instructions if word.letter != "V"]
    assert letters == ["J", *"HAJ" * len(moves)]
    assert [word.operand for word in words.instructions if word.letter == "A"] == [m.target for m in moves]
    gates = [word.operand for word in words.instructions if word.letter == "H"]
    assert gates == [index % 2 + 1 for index in range(len(moves))]


@given(moves_any)
def test_what_passes_the_ceiling_gives_no_more_than_the_ceiling(moves: list[PhaseMove]) -> None:
    given_program = program(*moves)
    try:
        check_ceiling(given_program, spec=SPEC, ceiling=CEILING)
    except DriverError:
        return
    lowest = min(m.target for m in moves)
    assert FILLED - lowest <= 6000 + 48
    assert program_length(moves) <= SPEC.program_bytes


def test_a_sound_shot_passes() -> None:
    check_ceiling(shot_program(), spec=SPEC, ceiling=CEILING)


def test_a_shot_may_give_its_most_and_a_repaid_suck_back_but_not_one_increment_more() -> None:
    most = FILLED - 1200 - 48
    check_ceiling(program(move(Phase.DWELL, most)), spec=SPEC, ceiling=CEILING)
    assert "brings its shot to 1249" in refusal(program(move(Phase.DWELL, most - 1)))


def test_the_second_shot_has_no_allowance_for_a_suck_back_that_the_program_shows() -> None:
    first, back = move(Phase.DWELL, 11_000), move(Phase.SUCK_BACK, 11_048)
    check_ceiling(program(first, back, move(Phase.DWELL, 9800)), spec=SPEC, ceiling=CEILING)
    assert "brings its shot to 1201" in refusal(program(first, back, move(Phase.DWELL, 9799)))


def test_splitting_a_shot_over_phases_does_not_raise_its_most() -> None:
    moves = (move(Phase.ENTRY, 11_500), move(Phase.DWELL, 11_000), move(Phase.EXIT, 10_700))
    assert "move 3 brings its shot to 1300" in refusal(program(*moves))


def test_a_program_has_a_most_of_its_own() -> None:
    moves = tuple(move(Phase.DWELL, FILLED - 1000 * shot) for shot in range(1, 7))
    most = (*moves[:5], move(Phase.DWELL, FILLED - 6048))
    check_ceiling(program(*most), spec=SPEC, ceiling=CEILING)
    beyond = (*moves[:5], move(Phase.DWELL, FILLED - 6049))
    assert "the program gives 6049 increments; the most is 6048" in refusal(program(*beyond))


def test_a_prime_has_a_most_of_its_own() -> None:
    # 100 uL are 2400 increments: more than a shot may give, and the suck-back to be repaid.
    def prime(target: int) -> PumpProgram:
        return replace(program(move(Phase.ENTRY, target)), purpose=Purpose.PRIME)

    check_ceiling(prime(FILLED - 2448), spec=SPEC, ceiling=CEILING)
    assert "brings its shot to 2449 increments; the most is 2448" in refusal(prime(FILLED - 2449))
    assert "brings its shot to 2400 increments; the most is 1248" in refusal(program(move(Phase.ENTRY, FILLED - 2400)))


def test_bounds_in_volume_become_increments_of_the_syringe_rounded_toward_less_fluid() -> None:
    # 50 uL of a syringe of 1000.001 uL are 1199.999 increments, and 2 uL 47.99995.
    def shot(target: int) -> PumpProgram:
        return replace(program(move(Phase.DWELL, target)), stroke_nl=Nanolitres(1_000_001))

    check_ceiling(shot(FILLED - 1199 - 47), spec=SPEC, ceiling=CEILING)
    assert "the most is 1246" in refusal(shot(FILLED - 1199 - 48))


@pytest.mark.parametrize("stroke_nl", [0, -1])
def test_a_syringe_without_a_volume_is_refused(stroke_nl: int) -> None:
    impossible = replace(shot_program(), stroke_nl=Nanolitres(stroke_nl))
    assert refusal(impossible) == f"the syringe's stroke is {stroke_nl} nl"


def test_every_move_may_reach_the_bounds_of_place_speed_and_suck_back() -> None:
    full = SPEC.stroke_increments
    check_ceiling(program(move(Phase.DWELL, full, 5), start=full), spec=SPEC, ceiling=CEILING)
    check_ceiling(program(move(Phase.DWELL, 0, 5800), start=1000), spec=SPEC, ceiling=CEILING)
    there_and_back = (move(Phase.DWELL, 11_900), move(Phase.SUCK_BACK, 11_948))
    check_ceiling(program(*there_and_back), spec=SPEC, ceiling=CEILING)
    nothing_drawn = (move(Phase.DWELL, 11_900), move(Phase.SUCK_BACK, 11_900))
    check_ceiling(program(*nothing_drawn), spec=SPEC, ceiling=CEILING)


@pytest.mark.parametrize(("fastest", "most"), [(5_800, 5_800), (7_000, 6_000)])
def test_no_move_is_faster_than_the_console_and_the_pump_allow(fastest: int, most: int) -> None:
    spec = replace(SPEC, fastest_speed=HalfIncrementsPerSecond(fastest))
    check_ceiling(program(move(Phase.DWELL, 11_900, most)), spec=spec, ceiling=CEILING)
    with pytest.raises(DriverError, match=f"top speed {most + 1}"):
        check_ceiling(program(move(Phase.DWELL, 11_900, most + 1)), spec=spec, ceiling=CEILING)


def test_a_suck_back_is_bounded_above_the_lowest_place_of_the_program() -> None:
    there_and_back = (move(Phase.DWELL, 11_900), move(Phase.SUCK_BACK, 11_930))
    again = (*there_and_back, move(Phase.DWELL, 11_920), move(Phase.SUCK_BACK, 11_949))
    assert "move 4, a suck-back, goes from 11920 to 11949; the most above 11900 is 48" in refusal(program(*again))


def test_a_repaid_suck_back_is_no_part_of_what_the_second_shot_gives() -> None:
    first, back = move(Phase.DWELL, 11_000), move(Phase.SUCK_BACK, 11_048)
    moves = (first, back, move(Phase.ENTRY, 10_400), move(Phase.DWELL, 9_800))
    check_ceiling(program(*moves), spec=SPEC, ceiling=CEILING)
    assert "move 4 brings its shot to 1201" in refusal(program(*moves[:3], move(Phase.DWELL, 9_799)))


def test_the_ceiling_of_a_console_is_made_of_its_hard_limits() -> None:
    assert PumpCeiling.of(LIMITS) == PumpCeiling(
        shot_nl_most=Nanolitres(100_000),
        program_nl_most=Nanolitres(800_000),
        prime_nl_most=Nanolitres(300_000),
        suck_back_nl_most=Nanolitres(10_000),
    )


@pytest.mark.parametrize(
    ("given_program", "detail"),
    [
        (program(), "no moves"),
        (program(move(Phase.DWELL, -1), start=100), "position -1 is outside"),
        (program(move(Phase.DWELL, 24_000), start=24_001), "position 24001 is outside"),
        (program(move(Phase.DWELL, 11_900, 5801)), "top speed 5801"),
        (program(move(Phase.DWELL, 11_900, 4)), "top speed 4"),
        (program(move(Phase.EXIT, 12_001)), "draws back"),
        (program(move(Phase.SUCK_BACK, 11_999)), "a suck-back, goes from"),
        (program(move(Phase.DWELL, 11_900), move(Phase.SUCK_BACK, 11_949)), "a suck-back, goes from"),
    ],
)
def test_a_program_outside_the_ceiling_is_refused_with_its_reason(given_program: PumpProgram, detail: str) -> None:
    assert detail in refusal(given_program)


def test_a_program_longer_than_the_pumps_buffer_is_refused() -> None:
    text_bytes = program_length(shot_program().moves)
    short = replace(SPEC, program_bytes=text_bytes - 1)
    check_ceiling(shot_program(), spec=replace(SPEC, program_bytes=text_bytes), ceiling=CEILING)
    with pytest.raises(DriverError, match=f"{text_bytes} characters; the pump holds {text_bytes - 1}"):
        check_ceiling(shot_program(), spec=short, ceiling=CEILING)


def test_a_move_is_given_twice_its_planned_time() -> None:
    # 12000 increments are 3000 half-increments: 1.5 s at 2000/s, and two ramps of 40 ms at L 20.
    assert longest_move_ns(Increments(12_000), SPEC.refill_speed, SPEC) == 2 * (1_500_000_000 + 80_000_000)
