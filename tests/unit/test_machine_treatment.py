"""How magazines come: how many shots, from where, for which region, until which limit, and what is drawn for them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.console import Console, State
from device.core.effects import Commit, Exit, LoadPump, Refill, Reply, SoundDone, SoundRefusal
from device.core.events import Command, PositionRead, PumpLoaded, RefillDone
from device.core.machine import step
from device.core.magazine import Purpose
from device.core.profile import Mode, Profile, TriggerStyle
from device.core.realtime_messages import EndReason, Loaded, StrokeStarted
from device.core.records import MagazineIntent, MagazineSettled, ShotGiven
from device.core.session import Region
from device.core.settlement import Seen
from device.core.shot_plan import Plunger
from device.core.treatment import (
    allowed_shots,
    intent_of,
    magazine_size,
    next_shot_refusals,
    plunger_of,
    refill_target,
    shots_left,
)
from device.core.units import Increments, Nanolitres
from tests.support.core import LAW, MS, SPEC, make_ingredient, make_limits, make_profile, make_serum
from tests.support.machine import (
    ARM,
    ARMED,
    DISARMED,
    FILLED,
    LOADING,
    PRIME,
    PROFILE,
    REFILLING,
    REQUEST,
    SESSION,
    SETTLING,
    START_SESSION,
    STARTING,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
    shots_given,
)

CONTINUOUS = replace(PROFILE, mode=Mode.CONTINUOUS)
BURST = replace(PROFILE, mode=Mode.BURST, burst_shots=2)


def in_session(console: Console = DISARMED, **changes: Any) -> Console:
    """Return `console` in a session that was started with `changes`."""
    opened = after(console, replace(START_SESSION, **changes))
    assert opened.state is State.SESSION
    return opened


def booked(console: Console, **totals: Any) -> Console:
    """Return `console` with these totals in its session."""
    session = console.ledger.session
    assert session is not None
    progress = session.progress
    for _ in range(totals.get("shots", 0)):
        progress = progress.shot(whole=True)
    return replace(
        console, ledger=replace(console.ledger, session=replace(session, **{"progress": progress, **totals}))
    )


def filled(console: Console, *, position: int = FILLED, owed: int = 0, carry: int = 0) -> Console:
    """Return `console` with its plunger at `position`."""
    ledger = replace(console.ledger, position=position, low_water=position - owed, carry=carry)
    return replace(console, ledger=ledger)


def loaded(console: Console) -> Console:
    """Arm and return the console with its first magazine."""
    console, effects = step(console, ARM)
    assert isinstance(effects[-1], LoadPump)
    return console


def done(console: Console) -> PositionRead:
    """The plunger stands where the magazine of `console` leaves it."""
    assert console.magazine is not None
    return PositionRead(console.magazine.pump_program().moves[-1].target)


def shots_loaded(console: Console) -> int:
    magazine = loaded(console).magazine
    assert magazine is not None
    return len(magazine.shots)


# --- how many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "shots"), [(PROFILE, 1), (BURST, 2), (CONTINUOUS, 3)])
def test_a_magazine_holds_by_its_mode_one_shot_a_burst_or_all_that_fit_up_to_the_regions_end(
    profile: Profile, shots: int
) -> None:
    assert shots_loaded(filled(in_session(profile=profile))) == shots


def test_a_continuous_magazine_outside_of_regions_is_as_large_as_the_plan_allows() -> None:
    console = filled(in_session(profile=CONTINUOUS, regions=()))
    assert console.session is not None
    assert shots_loaded(console) == console.session.plan.most_shots > 3


def test_a_burst_larger_than_a_magazine_is_cut_to_it() -> None:
    session = in_session(profile=BURST).session
    assert session is not None
    assert magazine_size(replace(session, plan=replace(session.plan, most_shots=1)), 5) == 1


@pytest.mark.parametrize(("points_left", "shots"), [(0, 4), (1, 1), (4, 4), (5, 4)])
def test_a_magazine_never_goes_beyond_its_region(points_left: int, shots: int) -> None:
    session = in_session(profile=CONTINUOUS).session
    assert session is not None
    assert magazine_size(replace(session, plan=replace(session.plan, most_shots=4)), points_left) == shots


@pytest.mark.parametrize(("given", "shots"), [(0, 3), (1, 2), (2, 1), (3, 2), (4, 1)])
def test_a_magazine_ends_with_the_points_of_its_region(given: int, shots: int) -> None:
    console = filled(booked(in_session(profile=CONTINUOUS), shots=given))
    magazine = loaded(console).magazine
    assert magazine is not None
    assert (len(magazine.shots), magazine.first_shot) == (shots, given + 1)
    assert magazine.region == ("crown" if given < 3 else "temple")


@pytest.mark.parametrize(("session_shots", "shots"), [(3, 3), (2, 2), (1, 1)])
def test_a_magazine_is_cut_to_the_shots_that_the_session_still_allows(session_shots: int, shots: int) -> None:
    profile = make_profile(mode=Mode.CONTINUOUS, session_shots=session_shots)
    assert shots_loaded(filled(in_session(profile=profile))) == shots


@pytest.mark.parametrize(("session_nl", "shots"), [(60_000, 3), (59_999, 2), (40_000, 2), (39_999, 1)])
def test_a_magazine_is_cut_to_the_volume_that_the_session_still_allows(session_nl: int, shots: int) -> None:
    profile = make_profile(mode=Mode.CONTINUOUS, session_volume_nl=session_nl)
    assert shots_loaded(filled(in_session(profile=profile))) == shots


@pytest.mark.parametrize(("most_ug", "shots"), [(600, 3), (599, 2), (200, 1)])
def test_a_magazine_is_cut_to_the_ingredient_that_the_patient_may_still_have(most_ug: int, shots: int) -> None:
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=most_ug))
    assert shots_loaded(filled(in_session(profile=CONTINUOUS, serum=serum))) == shots


def test_a_limit_per_kilogram_is_that_of_the_patient_in_the_chair() -> None:
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug_per_kg=10))
    assert shots_loaded(filled(in_session(profile=CONTINUOUS, serum=serum, weight_g=40_000))) == 2


@pytest.mark.parametrize(("content", "shots"), [(1_440, 3), (1_439, 2), (480, 1)])
def test_a_continuous_magazine_is_as_short_as_what_the_plunger_holds(content: int, shots: int) -> None:
    assert shots_loaded(filled(in_session(profile=CONTINUOUS), position=content)) == shots


@pytest.mark.parametrize(("content", "effect"), [(960, LoadPump), (959, Refill)])
def test_a_burst_is_drawn_for_whole(content: int, effect: type) -> None:
    _, effects = step(filled(in_session(profile=BURST), position=content), ARM)
    assert isinstance(effects[-1], effect)


# --- limits ahead ------------------------------------------------------------------------------------------------


def test_the_limits_are_held_to_the_plungers_real_travel_with_its_carried_remainder() -> None:
    # 20.020 uL are 480.48 increments: of three shots the last has one more, 1441 in all or 60.042 uL.
    profile = make_profile(mode=Mode.CONTINUOUS, dose_nl=20_020, session_volume_nl=60_042)
    console = filled(in_session(profile=profile, regions=()))
    assert console.session is not None
    assert allowed_shots(console, console.session, 8) == 3
    tighter = replace(console.session, profile=make_profile(dose_nl=20_020, session_volume_nl=60_041))
    assert allowed_shots(console, tighter, 8) == 2
    # A carried remainder brings the first shot its one more, and at 0.56 of an increment the third one too.
    assert allowed_shots(filled(console, carry=559_999), console.session, 8) == 3
    assert allowed_shots(filled(console, carry=560_000), console.session, 8) == 2


def test_a_limit_ahead_is_told_with_what_will_have_been_given_by_then() -> None:
    console = booked(in_session(regions=()), shots=2, increments=960, volume_nl=40_000)
    assert console.session is not None
    session = replace(console.session, profile=make_profile(session_volume_nl=70_000, session_shots=3))
    assert next_shot_refusals(console, session) == ()
    messages = [refusal.message for refusal in next_shot_refusals(console, session, 1)]
    assert messages == [
        "60 uL given, the next shot would reach 80 uL: session_volume_ml is 70 uL",
        "3 shots given: session_shots is 3",
    ]


def test_every_limit_of_the_console_is_asked_for_the_next_shot() -> None:
    console = booked(in_session(regions=()), shots=7, increments=3_360)
    assert console.session is not None
    tight = replace(console, spec=replace(SPEC, limits=make_limits(session_nl=159_999, session_shots=7)))
    codes = [refusal.code for refusal in next_shot_refusals(tight, console.session)]
    assert codes == ["session_volume", "session_shots"]


def test_without_totals_the_limits_count_from_nothing() -> None:
    assert SESSION.session is not None
    unrecorded = replace(SESSION, ledger=replace(SESSION.ledger, session=None))
    assert next_shot_refusals(unrecorded, replace(SESSION.session, profile=make_profile(session_shots=1))) == ()
    assert next_shot_refusals(unrecorded, replace(SESSION.session, profile=make_profile(session_shots=0))) != ()


@pytest.mark.parametrize(("session_nl", "allowed"), [(20_000, True), (19_999, False)])
def test_without_totals_the_volume_counts_from_nothing(session_nl: int, allowed: bool) -> None:
    assert SESSION.session is not None
    unrecorded = replace(SESSION, ledger=replace(SESSION.ledger, session=None))
    session = replace(SESSION.session, profile=make_profile(session_volume_nl=session_nl))
    assert (next_shot_refusals(unrecorded, session) == ()) is allowed


def test_an_arming_that_a_limit_ends_is_heard_booked_and_over() -> None:
    console = booked(SETTLING, shots=4)
    console, effects = step(console, done(console))
    assert [type(effect) for effect in effects] == [Commit, SoundDone]
    assert (console.state, console.armed) == (State.SESSION, False)


# --- what a magazine is ------------------------------------------------------------------------------------------


def test_a_magazine_says_all_that_both_keys_need() -> None:
    profile = make_profile(mode=Mode.CONTINUOUS, trigger=TriggerStyle.HOLD, interval_ns=350 * MS, suck_back_nl=0)
    console = filled(booked(in_session(profile=profile), shots=3), position=20_000, owed=24, carry=7)
    console = replace(console, ledger=replace(console.ledger, magazines=11))
    magazine = loaded(console).magazine
    assert magazine is not None
    assert console.session is not None
    assert (magazine.magazine_id, magazine.purpose, magazine.session_id) == (12, Purpose.INJECT, "s-1")
    assert (magazine.first_shot, magazine.region, magazine.stroke_nl) == (4, "temple", 1_000_000)
    assert (magazine.start, magazine.low_water, magazine.carry_before) == (20_000, 19_976, 7)
    assert (magazine.mode, magazine.trigger, magazine.interval_ns) == (Mode.CONTINUOUS, TriggerStyle.HOLD, 350 * MS)
    assert (magazine.fresh_press, magazine.require_contact) == (True, True)
    assert magazine.stroke == console.session.plan.stroke
    assert [[move.target for move in shot.moves] for shot in magazine.shots] == [
        [19_880, 19_592, 19_496],
        [19_400, 19_112, 19_016],
    ]


def test_the_intent_repeats_the_magazine_for_the_auditor() -> None:
    profile = make_profile(mode=Mode.CONTINUOUS, dose_nl=20_020, suck_back_nl=0)
    console = loaded(filled(booked(in_session(profile=profile), shots=3), position=20_000, owed=24, carry=7))
    magazine = console.magazine
    assert magazine is not None
    assert intent_of(magazine, 24_000) == MagazineIntent(
        magazine_id=1,
        purpose="inject",
        session_id="s-1",
        region="temple",
        first_shot=4,
        stroke_nl=1_000_000,
        stroke_increments=24_000,
        start=20_000,
        low_water=19_976,
        carry_before=7,
        moves_per_shot=3,
        phases=["entry", "dwell", "exit"] * 2,
        targets=[19_880, 19_592, 19_496, 19_400, 19_112, 19_016],
        doses_nl=[20_020, 20_020],
        carries=[480_007, 960_007],
    )
    assert console.ledger.open_intent == intent_of(magazine, SPEC.pump.stroke_increments)


@pytest.mark.parametrize(
    ("ended", "fresh"),
    [(EndReason.COMPLETE, False), (EndReason.RELEASED, True), (EndReason.UNLOADED, True), (None, True)],
)
def test_only_after_a_complete_magazine_of_the_same_region_does_a_held_trigger_go_on(
    ended: EndReason | None, fresh: bool
) -> None:
    console = after(replace(SETTLING, ended=ended), done(SETTLING))
    assert console.magazine is not None
    assert (console.magazine.first_shot, console.magazine.fresh_press) == (2, fresh)


def test_a_new_region_needs_a_fresh_press() -> None:
    console = shots_given(ARMED, 2)
    assert console.magazine is not None
    assert (console.magazine.region, console.magazine.fresh_press) == ("crown", False)
    console = shots_given(console, 1)
    assert console.magazine is not None
    assert (console.magazine.region, console.magazine.fresh_press) == ("temple", True)


def test_a_held_trigger_never_goes_on_over_an_arming_or_a_refill() -> None:
    waiting = replace(filled(booked(in_session(), shots=1)), ended=EndReason.COMPLETE)
    magazine = loaded(waiting).magazine
    assert magazine is not None
    assert magazine.fresh_press
    drawing = replace(REFILLING, ended=None)
    assert step(replace(waiting, ledger=replace(waiting.ledger, position=0, low_water=0)), ARM)[0].ended is None
    console = after(booked(drawing, shots=1), RefillDone(FILLED))
    assert console.magazine is not None
    assert console.magazine.fresh_press


def test_without_totals_the_first_shot_is_the_first() -> None:
    unrecorded = filled(replace(SESSION, ledger=replace(SESSION.ledger, session=None)))
    magazine = loaded(unrecorded).magazine
    assert magazine is not None
    assert (magazine.first_shot, magazine.region) == (1, "crown")


def test_nothing_follows_in_a_session_that_is_gone_nor_in_a_process_that_ends() -> None:
    gone, effects = step(replace(SETTLING, session=None), done(SETTLING))
    assert (gone.state, [type(effect) for effect in effects]) == (State.DISARMED, [Commit])
    _, effects = step(replace(SETTLING, stopping=True), done(SETTLING))
    assert [type(effect) for effect in effects] == [Commit, Exit]


def test_loading_forgets_what_came_of_the_magazine_before() -> None:
    used = replace(filled(in_session()), reports=(shot_report(),), ended=EndReason.COMPLETE)
    console = loaded(used)
    assert (console.reports, console.ended, console.state) == ((), None, State.LOADING)


def test_no_gate_can_have_opened_before_the_real_time_process_was_sent_its_part() -> None:
    assert LOADING.seen == Seen(opened=0, done=0)
    assert after(LOADING, PumpLoaded(1)).seen is None


def test_a_plunger_without_a_known_place_counts_as_empty() -> None:
    assert plunger_of(STARTING) == Plunger(position=Increments(0), low_water=Increments(0), carry=0)
    assert plunger_of(filled(SESSION, position=700, owed=24, carry=9)) == Plunger(
        position=Increments(700), low_water=Increments(676), carry=9
    )


# --- drawing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "drawn_nl", "target"),
    [
        (0, 0, 23_978),  # the full stroke less the overshoot that takes up the backlash
        (10_000, 0, 23_978),
        (0, 4_500_000, 12_000),  # half a millilitre is left in the vial
        (11_978, 4_500_000, 23_978),
        (11_977, 4_500_000, 23_977),
        (1_000, 5_000_000, 1_000),
        (1_000, 5_000_001, 1_000),
    ],
)
def test_a_refill_draws_to_the_full_stroke_or_what_is_left_in_the_vial(
    position: int, drawn_nl: int, target: int
) -> None:
    console = booked(filled(SESSION, position=position), drawn_nl=drawn_nl)
    assert console.session is not None
    assert refill_target(console, console.session) == target


def test_without_totals_and_place_a_refill_draws_into_an_empty_plunger() -> None:
    unknown = replace(SESSION, ledger=replace(SESSION.ledger, session=None, position=None))
    assert SESSION.session is not None
    assert refill_target(unknown, replace(SESSION.session, serum=make_serum(vial_nl=500_000))) == 12_000


@pytest.mark.parametrize(("vial_nl", "enough"), [(20_042, True), (20_041, False)])
def test_a_shot_is_drawn_for_only_if_the_vial_has_it_with_the_increment_that_the_remainder_may_add(
    vial_nl: int, enough: bool
) -> None:
    # 480 increments and one: 20.0417 uL.
    _, effects = step(in_session(serum=make_serum(vial_nl=vial_nl)), ARM)
    if enough:
        (refill,) = [effect for effect in effects if isinstance(effect, Refill)]
        assert refill.target == 481
    else:
        assert not reply_in(effects).accepted


@pytest.mark.parametrize(("owed", "enough"), [(24, True), (25, False)])
def test_what_was_sucked_back_is_not_there_to_be_given(owed: int, enough: bool) -> None:
    console = filled(in_session(serum=make_serum(vial_nl=20_042)), position=24, owed=owed)
    _, effects = step(console, ARM)
    assert any(isinstance(effect, Refill) for effect in effects) is enough


@pytest.mark.parametrize("command", [ARM, PRIME], ids=["arm", "prime"])
def test_an_empty_vial_refuses_with_a_sound_and_leaves_the_session_disarmed(command: Command) -> None:
    console, effects = step(in_session(serum=make_serum(vial_nl=100)), command)
    commit, reply, sound = effects
    assert isinstance(commit, Commit)
    assert reply == Reply(
        REQUEST,
        accepted=False,
        reasons=("reservoir: the vial is empty by the book: take another one with `mesogun change vial`",),
    )
    assert sound == SoundRefusal()
    assert (console.state, console.armed, console.pending, console.prime_nl) == (State.SESSION, False, None, 0)


def test_a_vial_that_runs_out_between_two_magazines_is_heard_and_the_shot_before_is_booked() -> None:
    # It held the first shot, and one increment.
    console = after(in_session(serum=make_serum(vial_nl=20_042)), ARM, RefillDone(Increments(481)))
    console = after(console, PumpLoaded(1), Loaded(1), StrokeStarted(1, 0), shot_report(), magazine_ended())
    following, effects = step(console, done(console))
    commit, sound = effects
    assert [type(record) for record in records_in((commit,))] == [ShotGiven, MagazineSettled]
    assert sound == SoundRefusal()
    assert (following.state, following.armed) == (State.SESSION, False)


def test_a_refill_keeps_the_records_of_what_came_before_it() -> None:
    nearly_empty = filled(in_session(regions=(Region("all", 9),)), position=600)
    console = after(loaded(nearly_empty), PumpLoaded(1), Loaded(1), StrokeStarted(1, 0), shot_report())
    console = after(console, magazine_ended())
    console, effects = step(console, done(console))
    commit, refill = effects
    assert [type(record) for record in records_in((commit,))] == [ShotGiven, MagazineSettled]
    assert isinstance(refill, Refill)
    assert (console.state, console.ended) == (State.REFILLING, None)


def test_a_plunger_that_was_left_drawn_up_comes_to_its_place_from_above_before_it_gives() -> None:
    # A refill was broken off: the shot would give less by the drive's play, and be booked whole.
    console = filled(in_session(regions=(Region("all", 9),)), position=9_000)
    console = replace(console, ledger=replace(console.ledger, play_open=True))
    console, effects = step(console, ARM)
    (refill,) = (effect for effect in effects if isinstance(effect, Refill))
    assert console.state is State.REFILLING
    console, effects = step(console, RefillDone(refill.target))
    assert (console.state, console.ledger.play_open) == (State.LOADING, False)
    assert any(isinstance(effect, LoadPump) for effect in effects)


def test_until_the_real_time_process_has_its_part_it_is_known_to_have_opened_nothing() -> None:
    assert after(filled(in_session()), ARM).seen == Seen(opened=0, done=0)


@pytest.mark.parametrize(
    ("changes", "left", "code"),
    [
        # Twenty microlitres a shot, five planned points: what comes first is named.
        ({}, 5, "points_done"),
        ({"session_volume_nl": 60_000}, 3, "session_volume"),
        ({"session_shots": 2}, 2, "session_shots"),
        ({"session_shots": 0}, 0, "session_shots"),
    ],
)
def test_the_shots_that_are_left_and_the_limit_behind_them_are_known(
    changes: dict[str, Any], left: int, code: str
) -> None:
    session = SESSION.session
    assert session is not None
    found, limit = shots_left(SESSION, replace(session, profile=replace(session.profile, **changes)))
    assert (found, limit.code) == (left, code)


@LAW
@given(st.integers(0, 400_000), st.integers(0, 8), st.integers(0, 24_000))
def test_the_shots_that_are_left_are_those_before_the_first_that_is_refused(
    volume_nl: int, points: int, carry: int
) -> None:
    session = SESSION.session
    assert session is not None
    console = replace(SESSION, ledger=replace(SESSION.ledger, carry=carry))
    session = replace(
        session,
        profile=replace(session.profile, session_volume_nl=Nanolitres(volume_nl)),
        regions=(Region("crown", points),) if points else (),
    )
    left, limit = shots_left(console, session)
    refused = [bool(next_shot_refusals(console, session, more)) for more in range(left + 2)]
    assert refused == [False] * left + [True, True]
    assert limit == next_shot_refusals(console, session, left)[0]
