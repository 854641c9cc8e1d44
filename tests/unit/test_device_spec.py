"""A console's specification: the rules between its parts, and its axis in steps."""

from dataclasses import replace

import pytest

from device.core.device_spec import PREPARED_STEP_NS
from device.core.units import Micrometres, MicrometresPerSecond, Nanoseconds
from tests.support.core import AXIS, LIMITS, MS, SPEC, TIMING


def test_the_deepest_shot_may_take_the_whole_travel_and_not_a_micrometre_more() -> None:
    deepest = replace(LIMITS, depth_um=Micrometres(13_500))
    assert replace(SPEC, limits=deepest).limits.depth_um + AXIS.clearance_um == AXIS.travel_um
    with pytest.raises(ValueError, match=r"limits\.depth_mm 13\.501 \+ needle\.clearance_mm must be at most"):
        replace(SPEC, limits=replace(LIMITS, depth_um=Micrometres(13_501)))


@pytest.mark.parametrize("deadline", ["permit_ns", "silence_ns"])
def test_neither_deadline_of_the_supervision_is_longer_than_a_safe_gun_allows(deadline: str) -> None:
    # 50 ms to a safe gun, less one scan and the needle's braking.
    longest = replace(TIMING, **{deadline: Nanoseconds(40_000_000)})
    assert getattr(replace(SPEC, timing=longest).timing, deadline) == 40_000_000
    with pytest.raises(ValueError, match=r"timing\.permit_ms and timing\.silence_ms must be at most 40 ms"):
        replace(SPEC, timing=replace(TIMING, **{deadline: Nanoseconds(40_000_001)}))


@pytest.mark.parametrize(("silence_ms", "steps_per_mm"), [(30, 444), (40, 592), (5, 74)])
def test_the_longest_stroke_has_as_many_steps_as_one_scan_can_prepare_and_not_one_more(
    silence_ms: int, steps_per_mm: int
) -> None:
    # 13 mm of depth and 0.5 mm to the skin, at 5 us a step.
    timing = replace(TIMING, silence_ns=Nanoseconds(silence_ms * MS))
    spec = replace(SPEC, axis=replace(AXIS, steps_per_mm=steps_per_mm), timing=timing)
    assert spec.axis.steps_to(LIMITS.depth_um) * PREPARED_STEP_NS <= timing.silence_ns
    with pytest.raises(ValueError, match=r"needle\.steps_per_mm .* steps; at most \d+ can be prepared"):
        replace(spec, axis=replace(AXIS, steps_per_mm=steps_per_mm + 1))


def test_a_stroke_of_exactly_the_steps_that_can_be_prepared_is_taken() -> None:
    axis = replace(AXIS, steps_per_mm=1_000, clearance_um=Micrometres(1_000))
    exactly = replace(SPEC, axis=axis, limits=replace(LIMITS, depth_um=Micrometres(5_000)))
    assert exactly.axis.steps_to(exactly.limits.depth_um) == 6_000
    with pytest.raises(ValueError, match=r"limits\.depth_mm 5\.001 \+ .* has 6001 steps; at most 6000 can be"):
        replace(exactly, limits=replace(LIMITS, depth_um=Micrometres(5_001)))


def test_depths_are_counted_from_home_and_rounded_to_the_shallower_step() -> None:
    assert (AXIS.clearance_steps, AXIS.travel_steps) == (40, 1_120)
    assert [AXIS.steps_to(Micrometres(depth_um)) for depth_um in (0, 12, 13, 4_000, 4_012)] == [40, 40, 41, 360, 360]


def test_the_shortest_step_is_that_of_the_fastest_speed_rounded_up() -> None:
    assert AXIS.shortest_step_ns == 208_334  # 60 mm/s at 80 steps/mm are 4800 steps/s
    assert replace(AXIS, fastest_um_s=MicrometresPerSecond(50_000)).shortest_step_ns == 250_000
