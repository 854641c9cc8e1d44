"""The planner: exact sums, phases that keep their share, plunger targets that only go down, and time enough for all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.device_spec import DeviceSpec
from device.core.kinematics import plunger_move_ns
from device.core.magazine import Magazine, PhaseMove, PlannedShot, PumpProgram, Purpose
from device.core.profile import Mode, Phase, Profile
from device.core.shot_plan import (
    PlanRefused,
    Plunger,
    StrokePlan,
    plan_prime,
    plan_shots,
    plan_stroke,
    shot_increments,
    split_increments,
)
from device.core.stroke_timeline import Action, stroke_timeline
from device.core.syringe import Syringe
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    Micrometres,
    Nanolitres,
    NanolitresPerSecond,
    Nanoseconds,
    Steps,
)
from drivers.pump.cavro_program import program_text
from tests.support.core import LAW, MS, PROFILE, SPEC, SYRINGE, make_limits, make_profile, profiles, specs, syringes

FULL = Increments(23_978)


def planned(profile: Profile, syringe: Syringe, spec: DeviceSpec) -> StrokePlan | None:
    try:
        return plan_stroke(profile, syringe, spec)
    except PlanRefused:
        return None


def refusals(profile: Profile, syringe: Syringe = SYRINGE, spec: DeviceSpec = SPEC) -> list[tuple[str, str]]:
    with pytest.raises(PlanRefused) as refused:
        plan_stroke(profile, syringe, spec)
    return [(reason.code, reason.message) for reason in refused.value.reasons]


def shots_from(
    plunger: Plunger, *, profile: Profile, syringe: Syringe, plan: StrokePlan, most: int = 8
) -> tuple[PlannedShot, ...]:
    return plan_shots(plan=plan, profile=profile, syringe=syringe, plunger=plunger, most=most)


def plan_of(profile: Profile, syringe: Syringe) -> StrokePlan:
    """Return a plan by hand, so that laws of the targets are tried on profiles that no pump has time for."""
    phases = tuple(phase for phase in (Phase.ENTRY, Phase.DWELL, Phase.EXIT) if profile.percent(phase))
    suck_back = syringe.increments_within(profile.suck_back_nl)
    if suck_back:
        phases = (*phases, Phase.SUCK_BACK)
    stroke = plan_stroke(PROFILE, SYRINGE, SPEC).stroke
    return StrokePlan(
        stroke=stroke,
        phases=phases,
        speeds=tuple(HalfIncrementsPerSecond(1000 + number) for number in range(len(phases))),
        suck_back=suck_back,
        most_shots=8,
    )


# --- how much ----------------------------------------------------------------------------------------------------


@LAW
@given(dose=st.integers(0, 100_000), syringe=syringes(), shots=st.integers(1, 200), carry=st.integers(0, 899_999))
def test_any_number_of_shots_sums_to_the_whole_increments_of_all_their_doses(
    dose: int, syringe: Syringe, shots: int, carry: int
) -> None:
    total, rest = 0, carry
    for _ in range(shots):
        increments, rest = shot_increments(Nanolitres(dose), rest, syringe)
        total += increments
    assert (total, rest) == divmod(shots * dose * syringe.stroke_increments + carry, syringe.stroke_nl)


@LAW
@given(profile=profiles(), syringe=syringes(), magazines=st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_the_carried_remainder_crosses_magazines_without_drift(
    profile: Profile, syringe: Syringe, magazines: list[int]
) -> None:
    plan = plan_of(profile, syringe)
    plunger = Plunger(position=FULL, low_water=FULL, carry=0)
    given_shots = 0
    for most in magazines:
        for shot in shots_from(plunger, profile=profile, syringe=syringe, plan=plan, most=most):
            given_shots += 1
            lowest = Increments(min(move.target for move in shot.moves))
            plunger = Plunger(position=shot.moves[-1].target, low_water=lowest, carry=shot.carry_after)
    wanted_nl = given_shots * profile.dose_nl
    assert FULL - plunger.low_water == wanted_nl * syringe.stroke_increments // syringe.stroke_nl
    assert (FULL - plunger.low_water) * syringe.stroke_nl <= wanted_nl * syringe.stroke_increments


@LAW
@given(profile=profiles(), total=st.integers(0, 3_000))
def test_phases_share_a_shot_exactly_and_within_one_increment_of_their_percentage(profile: Profile, total: int) -> None:
    parts = split_increments(Increments(total), profile)
    assert sum(parts.values()) == total
    assert set(parts) == {phase for phase in Phase if profile.percent(phase) > 0}
    for phase, part in parts.items():
        assert abs(100 * part - total * profile.percent(phase)) <= 100


@LAW
@given(profile=profiles(), syringe=syringes(), owed=st.booleans(), position=st.integers(2_000, 23_000))
def test_targets_are_absolute_and_only_go_down_but_for_the_suck_back_that_the_next_shot_repays(
    profile: Profile, syringe: Syringe, owed: bool, position: int
) -> None:
    plan = plan_of(profile, syringe)
    low_water = position - (plan.suck_back if owed else 0)
    plunger = Plunger(position=Increments(position), low_water=Increments(low_water), carry=0)
    lowest, carry = low_water, 0
    for shot in shots_from(plunger, profile=profile, syringe=syringe, plan=plan):
        total, carry = shot_increments(profile.dose_nl, carry, syringe)
        parts = split_increments(total, profile)
        assert [move.phase for move in shot.moves] == list(plan.phases)
        for move in shot.moves:
            if move.phase is Phase.SUCK_BACK:
                assert move.target == lowest + plan.suck_back
            else:
                # From the low water, wherever the plunger stands: the suck-back's way is repaid on top of the dose.
                assert move.target == lowest - parts[move.phase]
                lowest = move.target
            assert move.target >= 0


@LAW
@given(profile=profiles(), syringe=syringes(), content=st.integers(0, 4_000))
def test_a_plunger_gives_every_whole_shot_that_it_holds_and_no_part_of_one(
    profile: Profile, syringe: Syringe, content: int
) -> None:
    plunger = Plunger(position=Increments(content), low_water=Increments(content), carry=0)
    shots = shots_from(plunger, profile=profile, syringe=syringe, plan=plan_of(profile, syringe), most=8)
    wanted = [number * profile.dose_nl * syringe.stroke_increments // syringe.stroke_nl for number in range(1, 9)]
    assert len(shots) == sum(increments <= content for increments in wanted)


# --- in what time ------------------------------------------------------------------------------------------------


def windows_ns(plan: StrokePlan) -> dict[Phase, int]:
    """Return the time from each gate's opening to the moment its phase must have ended, read off the timeline."""
    timeline = stroke_timeline(plan.stroke)
    pairs = list(zip(timeline.due_ns, timeline.actions, strict=True))
    opens = [due_ns for due_ns, action in pairs if action is Action.OPEN]
    awaits = [due_ns for due_ns, action in pairs if action is Action.AWAIT]
    return {phase: end - start for phase, start, end in zip(plan.phases, opens, awaits, strict=True)}


def assert_time_enough(plan: StrokePlan, profile: Profile, syringe: Syringe, spec: DeviceSpec) -> None:
    """Walk sixty shots with their carried remainders: each gated move fits the window that the needle gives it."""
    windows = windows_ns(plan)
    plunger = Plunger(position=FULL, low_water=FULL, carry=0)
    if plan.suck_back:
        plunger = replace(plunger, low_water=Increments(FULL - plan.suck_back))
    place: int = plunger.position
    for shot in shots_from(plunger, profile=profile, syringe=syringe, plan=plan, most=60):
        for move in shot.moves:
            travel = Increments(abs(place - move.target))
            place = move.target
            if travel:
                needed = plunger_move_ns(travel, pump=spec.pump, top_speed=move.top_speed)
                # Step times are cut to whole nanoseconds.
                settling = 0 if move.phase is Phase.SUCK_BACK else spec.pump.settle_ns
                assert spec.pump.gate_latency_ns + needed + settling <= windows[move.phase] + 2


@LAW
@given(profile=profiles(), syringe=syringes(), spec=specs())
def test_a_planned_phase_always_has_the_time_that_the_pump_needs(
    profile: Profile, syringe: Syringe, spec: DeviceSpec
) -> None:
    plan = planned(profile, syringe, spec)
    if plan is not None:
        assert_time_enough(plan, profile, syringe, spec)


@LAW
@given(profile=profiles(), syringe=syringes(), spec=specs(), settle_ms=st.integers(1, 60))
def test_a_planned_phase_leaves_the_tube_its_time_to_drain_before_the_needle_goes_on(
    profile: Profile, syringe: Syringe, spec: DeviceSpec, settle_ms: int
) -> None:
    lagging = replace(spec, pump=replace(spec.pump, settle_ns=Nanoseconds(settle_ms * MS)))
    plan = planned(profile, syringe, lagging)
    if plan is not None:
        assert_time_enough(plan, profile, syringe, lagging)
        # What could be planned with the tube's lag could be planned without, in no more time.
        rigid = plan_stroke(profile, syringe, spec)
        assert stroke_timeline(rigid.stroke).due_ns[-1] <= stroke_timeline(plan.stroke).due_ns[-1]


@pytest.mark.parametrize(("wished_nl", "increments"), [(0, 0), (41, 0), (42, 23), (500, 12 + 22), (1_000, 24 + 22)])
def test_a_suck_back_goes_beyond_the_drives_play_by_its_volume(wished_nl: int, increments: int) -> None:
    assert plan_stroke(make_profile(suck_back_nl=wished_nl), SYRINGE, SPEC).suck_back == increments


@pytest.mark.parametrize(("play", "allowed"), [(216, True), (217, False)])
def test_a_suck_back_beyond_what_the_driver_goes_back_is_refused(play: int, allowed: bool) -> None:
    syringe = replace(SYRINGE, backlash_increments=Increments(play), fastest_nl_s=NanolitresPerSecond(400_000))
    if allowed:
        assert plan_stroke(PROFILE, syringe, SPEC).suck_back == 240
    else:
        assert [code for code, _ in refusals(PROFILE, syringe)] == ["suck_back"]


@LAW
@given(profile=profiles(), syringe=syringes(), spec=specs())
def test_a_plan_keeps_the_profiles_bounds_the_flow_and_the_depth(
    profile: Profile, syringe: Syringe, spec: DeviceSpec
) -> None:
    plan = planned(profile, syringe, spec)
    if plan is None:
        return
    stroke = plan.stroke
    fastest = spec.axis.fastest_um_s
    assert profile.slowest_speed_um_s <= stroke.entry_speed_um_s <= min(profile.entry_speed_um_s, fastest)
    assert profile.slowest_speed_um_s <= stroke.exit_speed_um_s <= min(profile.exit_speed_um_s, fastest)
    assert profile.dwell_ns <= stroke.dwell_ns <= profile.longest_dwell_ns
    for speed in plan.speeds:
        flow = speed * syringe.stroke_nl
        assert flow <= min(syringe.fastest_nl_s, spec.limits.fastest_nl_s) * spec.pump.stroke_half_increments
        assert speed <= spec.pump.fastest_speed
    steps_per_m = spec.axis.steps_per_mm * 1000
    assert stroke.depth * 1_000_000 <= (profile.depth_um + spec.axis.clearance_um) * steps_per_m
    for gate, least_um in ((stroke.entry_open, profile.entry_from_um), (stroke.exit_done, profile.exit_until_um)):
        if gate is not None:
            assert (least_um + spec.axis.clearance_um) * steps_per_m <= gate * 1_000_000
            assert gate <= stroke.depth


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (make_profile(depth_um=2_005, entry_from_um=2_001, exit_until_um=0), ["entry"]),
        (make_profile(depth_um=2_005, entry_from_um=0, exit_until_um=2_001), ["exit"]),
        (make_profile(depth_um=2_005, entry_from_um=2_001, exit_until_um=2_001), ["entry", "exit"]),
    ],
    ids=["entry", "exit", "both"],
)
def test_a_gate_within_one_step_of_the_bottom_is_refused(profile: Profile, expected: list[str]) -> None:
    # Its gate once lay at no step of the stroke: the phase was never opened, and its dose came in the next one.
    found = refusals(profile)
    assert [code for code, _ in found] == ["depth_window"] * len(expected)
    for phase, (_, message) in zip(expected, found, strict=True):
        assert message.startswith(f"phase {phase}: between ")
        assert "not one motor step of 1/80 mm" in message


@LAW
@given(profile=profiles(), syringe=syringes(), spec=specs())
def test_a_refused_plan_names_the_phase_and_how_much_time_it_lacks(
    profile: Profile, syringe: Syringe, spec: DeviceSpec
) -> None:
    for code, message in [] if planned(profile, syringe, spec) else refusals(profile, syringe, spec):
        assert any(character.isdigit() for character in message) or code == "program"
        if code == "phase_time":
            assert any(f"phase {phase.value}" in message for phase in Phase)
            assert " ms too short" in message


def test_a_dose_with_time_enough_leaves_the_wished_speeds_and_dwell() -> None:
    gentle = make_profile(dose_nl=5_000)
    plan = plan_stroke(gentle, SYRINGE, SPEC)
    assert plan.stroke.entry_speed_um_s == gentle.entry_speed_um_s
    assert plan.stroke.exit_speed_um_s == gentle.exit_speed_um_s
    assert plan.stroke.dwell_ns == gentle.dwell_ns


def test_a_larger_dose_slows_the_needle_and_lengthens_the_dwell_but_keeps_every_share() -> None:
    plan = plan_stroke(make_profile(dose_nl=90_000), SYRINGE, SPEC)
    assert plan.stroke.entry_speed_um_s < 40_000
    assert plan.stroke.dwell_ns > 50 * MS
    plunger = Plunger(position=FULL, low_water=FULL, carry=0)
    (shot,) = plan_shots(plan=plan, profile=make_profile(dose_nl=90_000), syringe=SYRINGE, plunger=plunger, most=1)
    assert [move.target for move in shot.moves] == [FULL - 432, FULL - 1728, FULL - 2160, FULL - 2160 + 24 + 22]


def test_a_profile_that_forbids_slowing_is_refused_rather_than_changed() -> None:
    strict = make_profile(dose_nl=90_000, slowest_speed_um_s=40_000, longest_dwell_ns=50 * MS)
    found = refusals(strict)
    assert [code for code, _ in found] == ["phase_time"] * 3
    for phase, (_, message) in zip(("entry", "exit", "dwell"), found, strict=True):
        assert f"phase {phase}" in message
    assert "slowest_speed_mm_s" in found[0][1]
    assert "longest_dwell_ms" in found[2][1]


def test_every_reason_against_a_plan_is_told_at_once() -> None:
    hopeless = make_profile(
        mode=Mode.BURST,
        burst_shots=9,
        dose_nl=4_000,
        interval_ns=1 * MS,
        dwell_percent=0,
        entry_percent=100,
        exit_percent=0,
        slowest_speed_um_s=40_000,
        entry_from_um=3_900,
    )
    assert [code for code, _ in refusals(hopeless)] == ["smallest_dose", "interval", "phase_time", "burst", "interval"]


def test_a_depth_beyond_the_axis_is_refused_before_any_timing() -> None:
    deep = make_profile(depth_um=13_600)
    assert [code for code, _ in refusals(deep)] == ["depth"]


@pytest.mark.parametrize(("interval_ms", "fits"), [(400, True), (200, False)])
def test_a_repeating_profile_needs_an_interval_as_long_as_its_stroke(interval_ms: int, fits: bool) -> None:
    profile = make_profile(mode=Mode.CONTINUOUS, interval_ns=interval_ms * MS)
    assert (planned(profile, SYRINGE, SPEC) is not None) is fits


# --- in how many shots -------------------------------------------------------------------------------------------


@LAW
@given(profile=profiles(), syringe=syringes(), program_bytes=st.integers(20, 600))
def test_a_magazine_never_exceeds_the_pumps_buffer(profile: Profile, syringe: Syringe, program_bytes: int) -> None:
    limits = make_limits(magazine_shots=60)
    spec = replace(SPEC, limits=limits, pump=replace(SPEC.pump, program_bytes=program_bytes))
    plan = planned(profile, syringe, spec)
    if plan is None:
        return
    plunger = Plunger(position=FULL, low_water=FULL, carry=0)
    shots = shots_from(plunger, profile=profile, syringe=syringe, plan=plan, most=plan.most_shots)
    moves: tuple[PhaseMove, ...] = tuple(move for shot in shots for move in shot.moves)
    assert (
        len(
            program_text(
                PumpProgram(magazine_id=1, purpose=Purpose.INJECT, stroke_nl=syringe.stroke_nl, start=FULL, moves=moves)
            )
        )
        <= program_bytes
    )


def test_a_magazine_never_exceeds_the_consoles_shots() -> None:
    spec = replace(SPEC, limits=make_limits(magazine_shots=2))
    assert plan_stroke(PROFILE, SYRINGE, spec).most_shots == 2


def test_a_buffer_too_small_for_one_shot_is_refused() -> None:
    spec = replace(SPEC, pump=replace(SPEC.pump, program_bytes=40))
    assert [code for code, _ in refusals(PROFILE, spec=spec)] == ["program"]


# --- priming -----------------------------------------------------------------------------------------------------


def prime(volume_nl: int, *, position: int = 12_000, owed: int = 0) -> Magazine | None:
    return plan_prime(
        volume_nl=Nanolitres(volume_nl),
        syringe=SYRINGE,
        spec=SPEC,
        plunger=Plunger(position=Increments(position), low_water=Increments(position - owed), carry=7),
        magazine_id=3,
        session_id="s-1",
    )


def test_a_prime_is_one_move_at_home_that_repays_the_suck_back_and_keeps_the_carried_remainder() -> None:
    magazine = prime(50_000, owed=24)
    assert magazine is not None
    (shot,) = magazine.shots
    assert magazine.purpose is Purpose.PRIME
    assert [move.target for move in shot.moves] == [12_000 - 24 - 1200]
    assert shot.carry_after == 7
    assert magazine.stroke.depth == Steps(0)
    needed = plunger_move_ns(Increments(1224), pump=SPEC.pump, top_speed=SPEC.pump.refill_speed)
    assert magazine.stroke.prime_ns == SPEC.pump.gate_latency_ns + needed


@pytest.mark.parametrize(("volume_nl", "allowed"), [(300_000, True), (300_001, False), (42, True), (41, False)])
def test_a_prime_keeps_its_limit_and_moves_at_least_one_increment(volume_nl: int, allowed: bool) -> None:
    if allowed:
        assert prime(volume_nl) is not None
    else:
        with pytest.raises(PlanRefused, match="uL"):
            prime(volume_nl)


def test_a_prime_longer_than_allowed_is_refused() -> None:
    spec = replace(SPEC, limits=make_limits(prime_ns=Nanoseconds(100 * MS)))
    with pytest.raises(PlanRefused, match=r"ms of limits\.prime_ms 100"):
        plan_prime(
            volume_nl=Nanolitres(300_000),
            syringe=SYRINGE,
            spec=spec,
            plunger=Plunger(position=FULL, low_water=FULL, carry=0),
            magazine_id=1,
            session_id="s-1",
        )


def test_a_prime_needs_its_content_below_the_debt() -> None:
    assert prime(50_000, position=1_224, owed=24) is not None
    assert prime(50_000, position=1_223, owed=24) is None


def test_a_gate_never_opens_above_the_depth_that_the_profile_names() -> None:
    stroke = plan_stroke(make_profile(entry_from_um=Micrometres(1_001)), SYRINGE, SPEC).stroke
    # (500 + 1001) um at 80 steps/mm are 120.08 steps: the gate waits for step 121.
    assert stroke.entry_open == 121
