"""How the planner fits a dose: no slower, no longer and no faster than it must; and each refusal in its words."""

import math
from dataclasses import replace
from typing import Any

import pytest

from device.core.device_spec import DeviceSpec
from device.core.kinematics import NeedleTravel, plunger_move_ns
from device.core.magazine import Magazine, PhaseMove, PlannedShot, Purpose, StrokeProgram
from device.core.profile import Mode, Phase, Profile, TriggerStyle
from device.core.shot_plan import PlanRefused, Plunger, StrokePlan, plan_prime, plan_shots, plan_stroke
from device.core.stroke_timeline import Action, stroke_timeline
from device.core.syringe import Syringe
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    Nanolitres,
    NanolitresPerSecond,
    Nanoseconds,
    Steps,
)
from tests.support.core import MS, PUMP, SPEC, SYRINGE, make_limits, make_profile

FOUR_AT_ONCE = make_profile(mode=Mode.BURST, dose_nl=4_500, burst_shots=4, suck_back_nl=1_000)
LARGE = make_profile(dose_nl=90_000)
"""A dose that the needle must be slowed down for and the dwell lengthened."""
PLAN = plan_stroke(LARGE, SYRINGE, SPEC)
TRAVELS = {Phase.ENTRY: 433 + PLAN.suck_back, Phase.DWELL: 1_297, Phase.EXIT: 433}
"""The most that each of its phases can have to move: its share and one increment more, the first the suck-back too."""


def told_ms(time_ns: int) -> str:
    """Return a time as a refusal tells it: up to the next microsecond."""
    return f"{math.ceil(time_ns / 1000) / 1000:.3f}"


def with_pump(**changes: Any) -> DeviceSpec:
    return replace(SPEC, pump=replace(PUMP, **changes))


def reasons(profile: Profile, spec: DeviceSpec = SPEC) -> list[tuple[str, str]]:
    with pytest.raises(PlanRefused) as refused:
        plan_stroke(profile, SYRINGE, spec)
    assert str(refused.value) == "; ".join(reason.message for reason in refused.value.reasons)
    return [(reason.code, reason.message) for reason in refused.value.reasons]


def windows_ns(plan: StrokePlan) -> dict[Phase, int]:
    """Return the time that the timeline leaves each gated move, from its gate to the wait for its end."""
    timeline = stroke_timeline(plan.stroke)
    pairs = list(zip(timeline.due_ns, timeline.actions, strict=True))
    opens = [due_ns for due_ns, action in pairs if action is Action.OPEN]
    awaits = [due_ns for due_ns, action in pairs if action is Action.AWAIT]
    return {phase: end - begin for phase, begin, end in zip(plan.phases, opens, awaits, strict=True)}


def needed_ns(phase: Phase, top_speed: int) -> int:
    travel = Increments(TRAVELS[phase])
    return PUMP.gate_latency_ns + plunger_move_ns(travel, pump=PUMP, top_speed=HalfIncrementsPerSecond(top_speed))


# --- no slower and no longer than it must ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "shares"),
    [
        ("entry", {"entry_percent": 20, "dwell_percent": 80, "exit_percent": 0}),
        ("exit", {"entry_percent": 0, "dwell_percent": 80, "exit_percent": 20}),
    ],
)
def test_the_needle_is_slowed_down_no_more_than_its_dose_needs(phase: str, shares: dict[str, int]) -> None:
    profile = make_profile(dose_nl=90_000, **shares)
    slowed = getattr(plan_stroke(profile, SYRINGE, SPEC).stroke, f"{phase}_speed_um_s")
    assert 10_000 < slowed < 40_000
    just_slow_enough = replace(profile, slowest_speed_um_s=slowed)
    assert getattr(plan_stroke(just_slow_enough, SYRINGE, SPEC).stroke, f"{phase}_speed_um_s") == slowed
    ((code, message),) = reasons(replace(profile, slowest_speed_um_s=slowed + 1))
    assert code == "phase_time"
    assert f"phase {phase}: " in message


def test_the_dwell_is_lengthened_no_more_than_its_dose_needs() -> None:
    lengthened = PLAN.stroke.dwell_ns
    assert lengthened == needed_ns(Phase.DWELL, 1_200)
    assert plan_stroke(replace(LARGE, longest_dwell_ns=lengthened), SYRINGE, SPEC).stroke.dwell_ns == lengthened
    ((code, message),) = reasons(replace(LARGE, longest_dwell_ns=Nanoseconds(lengthened - 1)))
    assert code == "phase_time"
    assert "phase dwell" in message


def test_each_dose_is_spread_over_the_whole_of_its_phase() -> None:
    windows = windows_ns(PLAN)
    for phase, speed in zip(PLAN.phases, PLAN.speeds, strict=True):
        if phase is not Phase.SUCK_BACK:
            assert needed_ns(phase, speed) <= windows[phase] + 2
            assert needed_ns(phase, speed - 1) > windows[phase] - 2


def test_a_small_dose_in_a_long_dwell_goes_as_slowly_as_the_pump_can() -> None:
    idle = make_profile(
        dose_nl=5_000,
        entry_percent=49,
        dwell_percent=2,
        exit_percent=49,
        dwell_ns=2_000 * MS,
        longest_dwell_ns=2_000 * MS,
    )
    plan = plan_stroke(idle, SYRINGE, SPEC)
    assert dict(zip(plan.phases, plan.speeds, strict=True))[Phase.DWELL] == 5


def test_a_needle_wished_faster_than_the_axis_goes_as_fast_as_the_axis() -> None:
    wished = make_profile(
        dose_nl=5_000,
        entry_speed_um_s=80_000,
        exit_speed_um_s=90_000,
        entry_percent=0,
        dwell_percent=100,
        exit_percent=0,
    )
    stroke = plan_stroke(wished, SYRINGE, SPEC).stroke
    assert (stroke.entry_speed_um_s, stroke.exit_speed_um_s) == (60_000, 60_000)
    dosed = make_profile(dose_nl=5_000, entry_speed_um_s=80_000, exit_speed_um_s=90_000)
    stroke = plan_stroke(dosed, SYRINGE, SPEC).stroke
    assert max(stroke.entry_speed_um_s, stroke.exit_speed_um_s) <= 60_000


def test_phases_without_a_dose_keep_what_was_wished_for_them() -> None:
    dwell_only = make_profile(entry_percent=0, dwell_percent=100, exit_percent=0, slowest_speed_um_s=10_000)
    stroke = plan_stroke(dwell_only, SYRINGE, SPEC).stroke
    assert (stroke.entry_speed_um_s, stroke.exit_speed_um_s) == (40_000, 40_000)
    assert (stroke.entry_open, stroke.dwell_dose, stroke.exit_done) == (None, True, None)
    way_only = make_profile(entry_percent=50, dwell_percent=0, exit_percent=50)
    stroke = plan_stroke(way_only, SYRINGE, SPEC).stroke
    assert (stroke.dwell_ns, stroke.dwell_dose) == (way_only.dwell_ns, False)


# --- no faster than it may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syringe_nl_s", "console_nl_s", "pump_fastest", "top_speed"),
    [
        (200_000, 400_000, 6_000, 1_200),
        (400_000, 200_000, 6_000, 1_200),
        (200_999, 400_000, 6_000, 1_205),
        (400_000, 400_000, 2_000, 2_000),
    ],
)
def test_the_plunger_is_as_fast_as_syringe_console_and_pump_all_allow(
    syringe_nl_s: int, console_nl_s: int, pump_fastest: int, top_speed: int
) -> None:
    spec = replace(
        with_pump(fastest_speed=HalfIncrementsPerSecond(pump_fastest)),
        limits=make_limits(fastest_nl_s=NanolitresPerSecond(console_nl_s)),
    )
    plan = plan_stroke(make_profile(), replace(SYRINGE, fastest_nl_s=NanolitresPerSecond(syringe_nl_s)), spec)
    assert plan.phases[-1] is Phase.SUCK_BACK
    assert plan.speeds[-1] == top_speed
    assert max(plan.speeds) == top_speed


def test_a_flow_below_the_pumps_slowest_is_planned_at_the_slowest() -> None:
    trickle = replace(SYRINGE, fastest_nl_s=NanolitresPerSecond(100))
    profile = make_profile(
        dose_nl=5_000, entry_percent=0, dwell_percent=100, exit_percent=0, longest_dwell_ns=20_000 * MS, suck_back_nl=0
    )
    assert plan_stroke(profile, trickle, SPEC).speeds == (5,)


# --- the plan ----------------------------------------------------------------------------------------------------


def test_the_stroke_holds_all_that_the_scan_needs() -> None:
    profile = make_profile(dose_nl=5_000, entry_from_um=1_000, exit_until_um=500)
    plan = plan_stroke(profile, SYRINGE, SPEC)
    back_ns = PUMP.gate_latency_ns + plunger_move_ns(
        plan.suck_back, pump=PUMP, top_speed=HalfIncrementsPerSecond(1_200)
    )
    assert plan.stroke == StrokeProgram(
        depth=Steps(360),
        steps_per_mm=80,
        entry_speed_um_s=profile.entry_speed_um_s,
        exit_speed_um_s=profile.exit_speed_um_s,
        acceleration_um_s2=SPEC.axis.acceleration_um_s2,
        dwell_ns=profile.dwell_ns,
        entry_open=Steps(121),
        dwell_dose=True,
        exit_done=Steps(81),
        suck_back_ns=Nanoseconds(back_ns),
        prime_ns=None,
    )
    assert plan.phases == (Phase.ENTRY, Phase.DWELL, Phase.EXIT, Phase.SUCK_BACK)


@pytest.mark.parametrize(
    ("program_bytes", "suck_back_nl", "shots"),
    [(63, 1_000, 1), (122, 1_000, 1), (123, 1_000, 2), (255, 1_000, 4), (255, 0, 5), (3_000, 0, 8)],
)
def test_a_magazine_holds_what_the_pumps_buffer_and_the_console_allow(
    program_bytes: int, suck_back_nl: int, shots: int
) -> None:
    # Three characters around the program, and at most fifteen for each of a shot's moves.
    profile = make_profile(suck_back_nl=suck_back_nl)
    assert plan_stroke(profile, SYRINGE, with_pump(program_bytes=program_bytes)).most_shots == shots


def test_a_buffer_one_character_too_short_for_a_shot_is_refused() -> None:
    assert reasons(make_profile(), with_pump(program_bytes=62)) == [
        ("program", "one shot does not fit into the pump's program buffer")
    ]


@pytest.mark.parametrize(("shots", "fits"), [(4, True), (5, False)])
def test_a_burst_may_fill_a_magazine_and_not_more(shots: int, fits: bool) -> None:
    burst = make_profile(mode=Mode.BURST, burst_shots=shots)
    if fits:
        assert plan_stroke(burst, SYRINGE, SPEC).most_shots == shots
    else:
        assert reasons(burst) == [("burst", "burst_shots 5 exceeds the 4 shots of a magazine")]


@pytest.mark.parametrize(
    ("profile", "smallest_nl", "suck_back", "told"),
    [
        (FOUR_AT_ONCE, 19_035, 1_282, "18.001 uL, a full syringe 1ml 18 uL"),
        (replace(FOUR_AT_ONCE, suck_back_nl=Nanolitres(0)), 18_017, 0, "18.001 uL, a full syringe 1ml 18 uL"),
        (make_profile(dose_nl=4_500, suck_back_nl=0), 4_505, 0, "4.501 uL, a full syringe 1ml 4.5 uL"),
    ],
)
def test_a_full_syringe_holds_what_one_press_gives_or_the_profile_is_refused(
    profile: Profile, smallest_nl: int, suck_back: int, told: str
) -> None:
    def found(syringe: Syringe) -> list[str]:
        with pytest.raises(PlanRefused) as refused:
            plan_stroke(profile, syringe, SPEC)
        return [reason.message for reason in refused.value.reasons if reason.code == "syringe_volume"]

    # So small a syringe gives none of it in time: that is refused besides.
    fits = replace(SYRINGE, stroke_nl=Nanolitres(smallest_nl))
    assert found(fits) == []
    full, shots = Increments(fits.stroke_increments - fits.backlash_increments), profile.burst_shots
    plunger = Plunger(full, Increments(full - suck_back), carry=smallest_nl - 1)
    assert len(plan_shots(plan=PLAN, profile=profile, syringe=fits, plunger=plunger, most=shots)) == shots
    assert found(replace(fits, stroke_nl=Nanolitres(smallest_nl - 1))) == [
        f"one press gives up to {told}: lower the dose or the shots of a burst, or take a larger syringe"
    ]


@pytest.mark.parametrize("mode", [Mode.BURST, Mode.CONTINUOUS])
def test_a_repeating_profile_may_be_due_again_the_moment_its_stroke_is_over(mode: Mode) -> None:
    profile = make_profile(mode=mode, burst_shots=2)
    stroke = plan_stroke(profile, SYRINGE, SPEC).stroke
    ways = [
        NeedleTravel(stroke.depth, stroke.steps_per_mm, speed, stroke.acceleration_um_s2).total_ns
        for speed in (stroke.entry_speed_um_s, stroke.exit_speed_um_s)
    ]
    stroke_ns = sum(ways) + stroke.dwell_ns
    just_long_enough = replace(profile, interval_ns=Nanoseconds(stroke_ns))
    assert plan_stroke(just_long_enough, SYRINGE, SPEC).stroke == stroke
    too_short = Nanoseconds(stroke_ns - 1)
    assert reasons(replace(profile, interval_ns=too_short)) == [
        (
            "interval",
            f"a stroke takes {told_ms(stroke_ns)} ms: interval {too_short / 1e6:g} ms is too short",
        )
    ]
    single = make_profile(mode=Mode.SINGLE, interval_ns=100 * MS)
    assert plan_stroke(single, SYRINGE, SPEC).stroke == stroke


def test_a_phase_that_does_not_fit_is_refused_with_the_times_and_what_to_change() -> None:
    strict = make_profile(dose_nl=90_000, slowest_speed_um_s=40_000)
    refused = dict(zip(("entry", "exit"), reasons(strict), strict=True))
    for name, (code, message) in refused.items():
        needed = needed_ns(Phase(name), 1_200) / 1e6
        assert code == "phase_time"
        assert message.startswith(f"phase {name}: ")
        assert f" uL take the pump {needed:.1f} ms, the phase has " in message
        had = float(message.split("the phase has ")[1].split(" ms")[0])
        short = float(message.split("(")[1].split(" ms")[0])
        assert short == pytest.approx(needed - had, abs=0.11)
        assert message.endswith(": lower its share or the dose, or change slowest_speed_mm_s")


def test_beyond_the_axis_no_other_reason_is_worked_out() -> None:
    assert [code for code, _ in reasons(make_profile(depth_um=13_600, dose_nl=90_000, slowest_speed_um_s=40_000))] == [
        "depth"
    ]


# --- shots and primes --------------------------------------------------------------------------------------------


def test_a_shot_is_its_moves_each_at_the_speed_of_its_phase() -> None:
    plunger = Plunger(position=Increments(20_000), low_water=Increments(19_954), carry=0)
    (shot,) = plan_shots(plan=PLAN, profile=LARGE, syringe=SYRINGE, plunger=plunger, most=1)
    low = 19_954
    assert shot == PlannedShot(
        dose_nl=Nanolitres(90_000),
        moves=tuple(
            PhaseMove(phase, Increments(target), speed)
            for phase, target, speed in zip(
                PLAN.phases,
                (low - 432, low - 1_728, low - 2_160, low - 2_160 + PLAN.suck_back),
                PLAN.speeds,
                strict=True,
            )
        ),
        carry_after=0,
    )


@pytest.mark.parametrize(("most", "shots"), [(0, 0), (1, 1), (3, 3)])
def test_no_more_shots_are_planned_than_were_asked_for(most: int, shots: int) -> None:
    plunger = Plunger(position=Increments(20_000), low_water=Increments(20_000), carry=0)
    assert len(plan_shots(plan=PLAN, profile=LARGE, syringe=SYRINGE, plunger=plunger, most=most)) == shots


def primed(volume_nl: int, spec: DeviceSpec = SPEC) -> Magazine | None:
    plunger = Plunger(position=Increments(12_000), low_water=Increments(11_954), carry=7)
    return plan_prime(
        volume_nl=Nanolitres(volume_nl), syringe=SYRINGE, spec=spec, plunger=plunger, magazine_id=3, session_id="s-1"
    )


def test_a_prime_is_a_magazine_of_one_move_into_the_air() -> None:
    duration_ns = plunger_move_ns(Increments(1_246), pump=PUMP, top_speed=PUMP.refill_speed)
    assert primed(50_000) == Magazine(
        magazine_id=3,
        purpose=Purpose.PRIME,
        session_id="s-1",
        first_shot=0,
        region="",
        stroke_nl=SYRINGE.stroke_nl,
        start=Increments(12_000),
        low_water=Increments(11_954),
        carry_before=7,
        shots=(
            PlannedShot(
                dose_nl=Nanolitres(50_000),
                moves=(PhaseMove(Phase.ENTRY, Increments(11_954 - 1_200), PUMP.refill_speed),),
                carry_after=7,
            ),
        ),
        mode=Mode.SINGLE,
        trigger=TriggerStyle.PRESS,
        interval_ns=Nanoseconds(0),
        fresh_press=False,
        require_contact=False,
        stroke=StrokeProgram(
            depth=Steps(0),
            steps_per_mm=80,
            entry_speed_um_s=SPEC.axis.homing_um_s,
            exit_speed_um_s=SPEC.axis.homing_um_s,
            acceleration_um_s2=SPEC.axis.acceleration_um_s2,
            dwell_ns=Nanoseconds(0),
            entry_open=None,
            dwell_dose=False,
            exit_done=None,
            suck_back_ns=None,
            prime_ns=Nanoseconds(PUMP.gate_latency_ns + duration_ns),
        ),
    )


def test_a_prime_may_last_its_longest_and_not_a_nanosecond_more() -> None:
    longest_ns = plunger_move_ns(Increments(1_246), pump=PUMP, top_speed=PUMP.refill_speed)
    assert primed(50_000, replace(SPEC, limits=make_limits(prime_ns=longest_ns))) is not None
    with pytest.raises(PlanRefused, match=r"it would take \d+\.\d{3} ms of limits\.prime_ms \d+"):
        primed(50_000, replace(SPEC, limits=make_limits(prime_ns=longest_ns - 1)))


def test_a_prime_is_never_faster_than_the_pump() -> None:
    magazine = primed(50_000, with_pump(fastest_speed=HalfIncrementsPerSecond(1_000)))
    assert magazine is not None
    assert magazine.shots[0].moves[0].top_speed == 1_000


def test_every_reason_against_a_prime_is_told_at_once() -> None:
    with pytest.raises(PlanRefused) as refused:
        primed(300_001, replace(SPEC, limits=make_limits(prime_ns=Nanoseconds(5 * MS))))
    took = plunger_move_ns(Increments(7_200 + 46), pump=PUMP, top_speed=PUMP.refill_speed)
    assert [(reason.code, reason.message) for reason in refused.value.reasons] == [
        ("prime_volume", "300.001 uL exceed limits.prime_ul 300 uL"),
        ("prime_time", f"it would take {told_ms(took)} ms of limits.prime_ms 5"),
    ]
    with pytest.raises(PlanRefused, match=r"0\.041 uL are less than one plunger increment"):
        primed(41)
