"""The two time laws: the needle's steps and the plunger's moves, against physics worked out by other means."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from device.core.device_spec import PumpSpec
from device.core.kinematics import NeedleTravel, plunger_move_ns
from device.core.units import (
    NS_PER_S,
    HalfIncrementsPerSecond,
    Increments,
    MicrometresPerSecond,
    MicrometresPerSecond2,
    Steps,
)
from tests.support.core import LAW, PUMP


@st.composite
def travels(draw: st.DrawFn) -> NeedleTravel:
    return NeedleTravel(
        steps=Steps(draw(st.integers(1, 1_500))),
        steps_per_mm=draw(st.sampled_from([10, 40, 80, 160, 320])),
        speed_um_s=MicrometresPerSecond(draw(st.integers(2_000, 80_000))),
        acceleration_um_s2=MicrometresPerSecond2(draw(st.integers(200_000, 10_000_000))),
    )


def gaps(travel: NeedleTravel) -> list[int]:
    times = [travel.time_at(step) for step in range(travel.steps + 1)]
    return [later - earlier for earlier, later in pairwise(times)]


@LAW
@given(travel=travels())
def test_needle_steps_come_one_after_the_other_from_rest_to_the_total_time(travel: NeedleTravel) -> None:
    assert travel.time_at(0) == 0
    assert travel.time_at(travel.steps) == travel.total_ns
    assert all(gap > 0 for gap in gaps(travel))


@LAW
@given(travel=travels())
@example(travel=NeedleTravel(Steps(1), 80, MicrometresPerSecond(60_000), MicrometresPerSecond2(4_000_000)))
@example(travel=NeedleTravel(Steps(2), 80, MicrometresPerSecond(60_000), MicrometresPerSecond2(4_000_000)))
@example(travel=NeedleTravel(Steps(3), 80, MicrometresPerSecond(60_000), MicrometresPerSecond2(4_000_000)))
@example(travel=NeedleTravel(Steps(74), 80, MicrometresPerSecond(60_000), MicrometresPerSecond2(4_000_000)))
@example(travel=NeedleTravel(Steps(75), 80, MicrometresPerSecond(2_000), MicrometresPerSecond2(4_000_000)))
def test_all_steps_times_at_once_are_those_of_each_step_alone(travel: NeedleTravel) -> None:
    assert travel.times() == [travel.time_at(step) for step in range(1, travel.steps + 1)]


@LAW
@given(travel=travels())
def test_a_needle_travel_brakes_as_it_accelerates(travel: NeedleTravel) -> None:
    forward = gaps(travel)
    assert all(abs(a - b) <= 2 for a, b in zip(forward, reversed(forward), strict=True))


@LAW
@given(travel=travels())
@example(travel=NeedleTravel(Steps(1), 80, MicrometresPerSecond(2_000), MicrometresPerSecond2(4_000_000)))
@example(travel=NeedleTravel(Steps(3), 80, MicrometresPerSecond(2_000), MicrometresPerSecond2(4_000_000)))
def test_a_needle_never_steps_faster_than_its_speed(travel: NeedleTravel) -> None:
    # The one step between two ramps once was as short as the acceleration alone allowed.
    fastest_gap = 1000 * NS_PER_S // (travel.speed_um_s * travel.steps_per_mm)
    assert min(gaps(travel)) >= fastest_gap - 1_000


@LAW
@given(travel=travels())
def test_a_needle_never_accelerates_harder_than_its_acceleration(travel: NeedleTravel) -> None:
    # From rest a step number k lies at sqrt(2 k / a): no travel may be ahead of that.
    steps_s2 = travel.acceleration_um_s2 * travel.steps_per_mm // 1000 + 1
    assume(travel.ramp_steps > 0)
    for step in range(travel.ramp_steps + 1):
        seconds = Fraction(travel.time_at(step) + 1_000, NS_PER_S)
        assert seconds**2 * steps_s2 >= 2 * step


def test_a_four_millimetre_stroke_takes_the_time_of_the_textbook() -> None:
    travel = NeedleTravel(
        steps=Steps(320),
        steps_per_mm=80,
        speed_um_s=MicrometresPerSecond(40_000),
        acceleration_um_s2=MicrometresPerSecond2(4_000_000),
    )
    # 4 mm at 40 mm/s is 100 ms; two ramps of 10 ms go half as far as cruising would: 10 ms more.
    assert travel.ramp_steps == 16
    assert travel.total_ns == pytest.approx(110_000_000, abs=10)


def integrated_ns(travel: int, *, start: float, top: float, cutoff: float, slope: float) -> float:
    """Return the time of a plunger move by stepping the speed law through 4000 slices of its way."""
    slices = 4_000
    piece = travel / slices

    def speed_at(done: float) -> float:
        speeding = (start**2 + 2 * slope * done) ** 0.5
        braking = (cutoff**2 + 2 * slope * (travel - done)) ** 0.5
        return float(min(speeding, braking, top))

    # At a constant acceleration the mean speed of a slice is the mean of those at its ends.
    speeds = [speed_at(number * piece) for number in range(slices + 1)]
    return sum(2 * piece / (before + behind) for before, behind in pairwise(speeds)) * 1e9


@st.composite
def plunger_moves(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    top = draw(st.integers(5, 6_000))
    start, cutoff = draw(st.integers(50, 1_000)), draw(st.integers(50, 2_700))
    travel = draw(st.one_of(st.integers(1, 100), st.integers(1, 12_000)))
    return travel, top, start, cutoff, draw(st.integers(1, 20))


def pump_of(start: int, cutoff: int, slope: int) -> PumpSpec:
    return replace(
        PUMP, start_speed=HalfIncrementsPerSecond(start), cutoff_speed=HalfIncrementsPerSecond(cutoff), slope=slope
    )


@LAW
@given(move=plunger_moves())
@example(move=(21, 4_000, 50, 461, 8))
@example(move=(21, 4_000, 461, 50, 8))
def test_a_plunger_move_never_takes_longer_than_planned_nor_much_shorter(move: tuple[int, int, int, int, int]) -> None:
    travel, top, start, cutoff, slope = move
    pump = pump_of(start, cutoff, slope)
    planned = plunger_move_ns(Increments(travel), pump=pump, top_speed=HalfIncrementsPerSecond(top))
    scale = pump.stroke_increments // pump.stroke_half_increments
    true = integrated_ns(
        travel,
        start=min(start, top) * scale,
        top=top * scale,
        cutoff=min(cutoff, top) * scale,
        slope=slope * 2500 * scale,
    )
    # Rounded to whole increments/s at the peak, and to a whole increment of cruising.
    rounding = 2 * NS_PER_S // (slope * 2500 * scale) + NS_PER_S // (top * scale) + 2
    # The integration is good to a hundred-thousandth of the time.
    assert true * (1 - 1e-5) <= planned <= true * (1 + 1e-5) + rounding


@pytest.mark.parametrize("slope", [1, 14, 20])
def test_a_plunger_move_too_short_for_its_top_speed_is_bounded_to_the_nanosecond(slope: int) -> None:
    # Its peak speed was once rounded down, and the move planned shorter than it is.
    start, acceleration = 4 * PUMP.start_speed, slope * 10_000
    for travel in range(20, 3_000):
        peak_squared = acceleration * travel + start**2
        if peak_squared >= (4 * 6_000) ** 2:
            break
        planned = plunger_move_ns(
            Increments(travel), pump=replace(PUMP, slope=slope), top_speed=HalfIncrementsPerSecond(6_000)
        )
        # The move takes 2 (peak - start) / acceleration; compared as squares, in whole numbers.
        reached = Fraction(planned * acceleration, 2 * NS_PER_S) + start
        assert reached**2 >= peak_squared


@LAW
@given(move=plunger_moves(), more=st.integers(1, 500))
@example(move=(21, 4_000, 50, 461, 8), more=1)
@example(move=(21, 4_000, 461, 50, 8), more=1)
def test_a_longer_plunger_move_is_never_planned_shorter(move: tuple[int, int, int, int, int], more: int) -> None:
    # A move too short for both ramps once was planned five times as long as the next longer one, so that the planner,
    # which fits a phase's longest move, could not know that the others fit.
    travel, top, start, cutoff, slope = move
    pump = pump_of(start, cutoff, slope)
    base = plunger_move_ns(Increments(travel), pump=pump, top_speed=HalfIncrementsPerSecond(top))
    assert plunger_move_ns(Increments(travel + more), pump=pump, top_speed=HalfIncrementsPerSecond(top)) >= base


@LAW
@given(travel=st.integers(200, 12_000), top=st.integers(900, 6_000), more=st.integers(1, 500), slope=st.integers(1, 20))
def test_a_faster_plunger_move_takes_no_longer(travel: int, top: int, more: int, slope: int) -> None:
    pump = replace(PUMP, slope=slope)
    base = plunger_move_ns(Increments(travel), pump=pump, top_speed=HalfIncrementsPerSecond(top))
    # Both results are rounded: to whole increments/s at the peak, and to a whole increment of cruising.
    slack = 2 * NS_PER_S // (slope * 10_000) + NS_PER_S // (4 * top) + 2
    assume(top + more <= 6_000)
    faster = plunger_move_ns(Increments(travel), pump=pump, top_speed=HalfIncrementsPerSecond(top + more))
    assert faster <= base + slack


def test_a_slow_plunger_move_is_its_way_over_its_speed() -> None:
    # V100 is 400 increments/s in fine positioning, slower than start and cut-off: no ramp at all.
    planned = plunger_move_ns(Increments(400), pump=PUMP, top_speed=HalfIncrementsPerSecond(100))
    assert planned == pytest.approx(NS_PER_S, abs=10)


def test_the_middle_step_of_a_travel_too_short_for_its_speed_takes_as_long_as_the_ramp_s_next() -> None:
    # 320 000 steps/s2: from rest the first step ends at 2.5 ms, the second at 3.5355 ms; at full speed one takes 0.208.
    short = NeedleTravel(Steps(3), 80, MicrometresPerSecond(60_000), MicrometresPerSecond2(4_000_000))
    assert [short.time_at(step) for step in range(4)] == [0, 2_500_000, 3_535_533, 6_035_533]
    # With two steps between its ramps it reaches its speed.
    longer = NeedleTravel(Steps(74), 80, MicrometresPerSecond(60_000), MicrometresPerSecond2(4_000_000))
    assert longer.ramp_steps == 36
    assert longer.time_at(38) - longer.time_at(36) == 416_666
