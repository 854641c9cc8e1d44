"""The plan to the last figure: how gently each phase is given, what a prime is, and what a refusal says."""

import math
from dataclasses import replace

import pytest

from device.core.device_spec import DeviceSpec
from device.core.kinematics import NeedleTravel, plunger_move_ns
from device.core.limits import Refusal
from device.core.magazine import Magazine, PhaseMove, PlannedShot, Purpose, StrokeProgram
from device.core.profile import Mode, Phase, Profile, TriggerStyle
from device.core.shot_plan import PlanRefused, Plunger, StrokePlan, largest, plan_prime, plan_shots, plan_stroke
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    Micrometres,
    MicrometresPerSecond,
    Nanolitres,
    Nanoseconds,
    Steps,
)
from tests.support.core import AXIS, MS, PROFILE, PUMP, SPEC, SYRINGE, make_limits, make_profile

SLOWEST = 5
SURROUNDED_NS = PUMP.gate_latency_ns + PUMP.settle_ns
"""What a phase takes besides its move: until the plunger starts, and until the tube has drained."""
MOST_OF_PHASE = {Phase.ENTRY: 96 + 1, Phase.DWELL: 288 + 1, Phase.EXIT: 96 + 1}
"""Increments of the profile's largest shot: each phase may get one more for the carried remainder."""


def window_ns(phase: Phase, plan: StrokePlan) -> int:
    """Return the time that the needle leaves the pump for `phase`."""
    stroke = plan.stroke
    assert stroke.entry_open is not None
    assert stroke.exit_done is not None
    if phase is Phase.DWELL:
        return stroke.dwell_ns
    speed = stroke.entry_speed_um_s if phase is Phase.ENTRY else stroke.exit_speed_um_s
    travel = NeedleTravel(stroke.depth, stroke.steps_per_mm, speed, stroke.acceleration_um_s2)
    if phase is Phase.ENTRY:
        return travel.total_ns - travel.time_at(stroke.entry_open)
    # The gate opens with the first step outward.
    return travel.time_at(stroke.depth - stroke.exit_done) - travel.time_at(1)


@pytest.mark.parametrize("profile", [PROFILE, make_profile(dwell_ns=Nanoseconds(300 * MS))], ids=["quick", "slow"])
def test_every_phase_is_given_as_gently_as_its_time_allows(profile: Profile) -> None:
    plan = plan_stroke(profile, SYRINGE, SPEC)
    for phase, speed in zip(plan.phases, plan.speeds, strict=True):
        if phase is Phase.SUCK_BACK:
            continue
        repaid = plan.suck_back if phase is Phase.ENTRY else 0
        travel = Increments(MOST_OF_PHASE[phase] + repaid)
        needed = [
            SURROUNDED_NS + plunger_move_ns(travel, pump=PUMP, top_speed=HalfIncrementsPerSecond(speed - slower))
            for slower in (0, 1)
        ]
        assert speed > SLOWEST
        assert needed[0] <= window_ns(phase, plan) < needed[1]


def test_a_plunger_that_holds_exactly_one_shot_gives_it() -> None:
    plan = plan_stroke(PROFILE, SYRINGE, SPEC)
    for content, shots in ((480, 1), (479, 0)):
        plunger = Plunger(position=Increments(content), low_water=Increments(content), carry=0)
        given = plan_shots(plan=plan, profile=PROFILE, syringe=SYRINGE, plunger=plunger, most=8)
        assert [(shot.dose_nl, shot.moves[-2].target) for shot in given] == [(PROFILE.dose_nl, 0)] * shots


def prime(volume_nl: int, **limits: int) -> Magazine | None:
    return plan_prime(
        volume_nl=Nanolitres(volume_nl),
        syringe=SYRINGE,
        spec=replace(SPEC, limits=make_limits(**limits)),
        plunger=Plunger(position=Increments(12_000), low_water=Increments(11_976), carry=7),
        magazine_id=3,
        session_id="s-1",
    )


def prime_ns(increments: int) -> int:
    return plunger_move_ns(Increments(increments), pump=PUMP, top_speed=PUMP.refill_speed)


def test_a_prime_is_this_magazine() -> None:
    nothing = Nanoseconds(0)
    stroke = StrokeProgram(
        depth=Steps(0),
        steps_per_mm=AXIS.steps_per_mm,
        entry_speed_um_s=MicrometresPerSecond(AXIS.homing_um_s),
        exit_speed_um_s=MicrometresPerSecond(AXIS.homing_um_s),
        acceleration_um_s2=AXIS.acceleration_um_s2,
        dwell_ns=nothing,
        entry_open=None,
        dwell_dose=False,
        exit_done=None,
        suck_back_ns=None,
        prime_ns=Nanoseconds(PUMP.gate_latency_ns + prime_ns(1_224)),
    )
    move = PhaseMove(phase=Phase.ENTRY, target=Increments(10_776), top_speed=PUMP.refill_speed)
    assert prime(50_000) == Magazine(
        magazine_id=3,
        purpose=Purpose.PRIME,
        session_id="s-1",
        first_shot=0,
        region="",
        stroke_nl=SYRINGE.stroke_nl,
        start=Increments(12_000),
        low_water=Increments(11_976),
        carry_before=7,
        shots=(PlannedShot(dose_nl=Nanolitres(50_000), moves=(move,), carry_after=7),),
        mode=Mode.SINGLE,
        trigger=TriggerStyle.PRESS,
        interval_ns=nothing,
        fresh_press=False,
        require_contact=False,
        stroke=stroke,
    )


def test_a_prime_may_last_as_long_as_allowed_and_no_nanosecond_longer() -> None:
    lasting_ns = prime_ns(1_224)
    assert prime(50_000, prime_ns=lasting_ns) is not None
    with pytest.raises(PlanRefused):
        prime(50_000, prime_ns=lasting_ns - 1)


def test_a_refused_prime_says_every_figure() -> None:
    with pytest.raises(PlanRefused) as refused:
        prime(50_000, prime_nl=40_000, prime_ns=199_999_999)
    taken_ms = f"{math.ceil(prime_ns(1_224) / 1000) / 1000:.3f}"
    assert refused.value.reasons == (
        Refusal("prime_volume", "50 uL exceed limits.prime_ul 40 uL"),
        Refusal("prime_time", f"it would take {taken_ms} ms of limits.prime_ms 200"),
    )
    assert str(refused.value) == "; ".join(reason.message for reason in refused.value.reasons)
    with pytest.raises(PlanRefused) as too_little:
        prime(41)
    assert too_little.value.reasons == (Refusal("prime_volume", "0.041 uL are less than one plunger increment"),)


@pytest.mark.parametrize(
    ("phase", "profile", "key"),
    [
        (
            Phase.ENTRY,
            make_profile(entry_percent=90, dwell_percent=5, exit_percent=5, dose_nl=60_000),
            "slowest_speed_mm_s",
        ),
        (Phase.DWELL, make_profile(longest_dwell_ns=50 * MS, dose_nl=60_000), "longest_dwell_ms"),
        (
            Phase.EXIT,
            make_profile(entry_percent=5, dwell_percent=5, exit_percent=90, dose_nl=60_000),
            "slowest_speed_mm_s",
        ),
    ],
    ids=["entry", "dwell", "exit"],
)
def test_a_phase_without_time_enough_says_dose_times_and_remedy(phase: Phase, profile: Profile, key: str) -> None:
    profile = replace(profile, slowest_speed_um_s=profile.entry_speed_um_s)
    with pytest.raises(PlanRefused) as refused:
        plan_stroke(profile, SYRINGE, SPEC)
    (reason,) = [each for each in refused.value.reasons if f"phase {phase.value}" in each.message]
    words = reason.message.split()
    dose_ul, needed_ms, given_ms, short_ms = float(words[2]), float(words[7]), float(words[12]), float(words[14][1:])
    travel = Increments(round(dose_ul * 24))
    speed = HalfIncrementsPerSecond(SYRINGE.fastest_nl_s * PUMP.stroke_half_increments // SYRINGE.stroke_nl)
    most_ns = SURROUNDED_NS + plunger_move_ns(travel, pump=PUMP, top_speed=speed)
    assert needed_ms == round(most_ns / 1e6, 1)
    assert given_ms < needed_ms
    assert short_ms == pytest.approx(needed_ms - given_ms, abs=0.1001)
    assert given_ms == 50 or phase is not Phase.DWELL
    assert reason.code == "phase_time"
    assert reason.message.endswith(f"too short): lower its share or the dose, or change {key}")


def reasons(profile: Profile, spec: DeviceSpec = SPEC) -> list[tuple[str, str]]:
    with pytest.raises(PlanRefused) as refused:
        plan_stroke(profile, SYRINGE, spec)
    return [(reason.code, reason.message) for reason in refused.value.reasons]


@pytest.mark.parametrize("most", range(-1, 12))
@pytest.mark.parametrize("high", range(11))
def test_the_largest_that_fits_is_found_in_every_range(most: int, high: int) -> None:
    assert largest(0, high, lambda value: value <= most) == (None if most < 0 else min(most, high))


def test_a_remainder_is_planned_as_the_whole_increment_that_it_may_become() -> None:
    # 100 nl an increment: 480 of them, 480 and a half, 481.
    syringe = replace(SYRINGE, stroke_nl=Nanolitres(2_400_000))
    less, rest, more = (
        plan_stroke(make_profile(dose_nl=dose_nl), syringe, SPEC) for dose_nl in (48_000, 48_050, 48_100)
    )
    assert rest == more
    assert less != more


def test_a_plan_reaches_the_axis_whole_travel_and_beyond_it_says_only_that() -> None:
    axis, limits = replace(AXIS, travel_um=Micrometres(4_500)), make_limits(depth_um=4_000)
    short = replace(SPEC, axis=axis, limits=limits)
    assert plan_stroke(PROFILE, SYRINGE, short).stroke.depth == short.axis.travel_steps
    beyond = make_profile(depth_um=4_001, mode=Mode.BURST, burst_shots=2, interval_ns=Nanoseconds(2 * MS))
    found = [message for _, message in reasons(beyond, short)]
    assert not any("a stroke takes" in message for message in found)
    assert len(found) >= 1


def test_a_gate_at_the_very_bottom_is_one_step_too_deep() -> None:
    # 2.0 mm lie at step 200, and so does the first step beyond 1.99 mm.
    def profile(least_um: int) -> Profile:
        return make_profile(depth_um=2_000, entry_from_um=least_um, exit_until_um=least_um)

    found = reasons(profile(1_990))
    assert found == [
        (
            "depth_window",
            f"phase {phase}: between {key} and depth_mm 2.0 there is not one motor step of 1/80 mm: lower {key}",
        )
        for phase, key in (("entry", "entry_from_mm"), ("exit", "exit_until_mm"))
    ]
    assert "depth_window" not in [code for code, _ in reasons(profile(1_980))]


@pytest.mark.parametrize("phase", [Phase.ENTRY, Phase.EXIT])
def test_a_phase_without_time_enough_says_how_much_the_slowest_needle_leaves(phase: Phase) -> None:
    large, small = 90, 5
    shares = {"entry_percent": small, "dwell_percent": small, "exit_percent": small, f"{phase.value}_percent": large}
    profile = make_profile(dose_nl=60_000, slowest_speed_um_s=40_000, exit_until_um=500, **shares)
    possible = plan_stroke(replace(profile, dose_nl=Nanolitres(5_000)), SYRINGE, SPEC)
    (message,) = [message for _, message in reasons(profile) if f"phase {phase.value}" in message]
    assert f"the phase has {window_ns(phase, possible) / 1e6:.1f} ms" in message


def test_a_shot_of_one_move_fills_the_buffer_with_itself_alone() -> None:
    # Three characters around the program and fifteen for each move: three shots are 48.
    single = make_profile(entry_percent=0, dwell_percent=100, exit_percent=0, suck_back_nl=0)
    spec = replace(SPEC, pump=replace(PUMP, program_bytes=48))
    assert plan_stroke(single, SYRINGE, spec).most_shots == 3
