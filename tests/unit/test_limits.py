"""The limits: on the bound is allowed, one above is not, and every reason is told at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.limits import (
    RegionLoad,
    ingredient_limit,
    nl_per_cm2,
    profile_refusals,
    serum_refusals,
    shot_refusals,
    ul,
)
from device.core.patient_day import NOTHING_BEFORE, Before
from device.core.profile import Profile
from device.core.serum import Serum
from device.core.units import Micrograms, Nanolitres
from tests.support.core import (
    LAW,
    LIMITS,
    MS,
    PROFILE,
    SALINE,
    SYRINGE,
    make_ingredient,
    make_limits,
    make_profile,
    make_serum,
)


def profile_codes(profile: Profile) -> list[str]:
    return [reason.code for reason in profile_refusals(profile, limits=LIMITS, syringe=SYRINGE)]


def shot_codes(
    *,
    profile: Profile = PROFILE,
    serum: Serum = SALINE,
    weight_g: int | None = None,
    booked_nl: int = 0,
    booked_shots: int = 0,
    planned_shots: int = 0,
    regions: tuple[RegionLoad, ...] = (),
    dose_nl: int = 20_000,
    before: Before = NOTHING_BEFORE,
    hour_shots: int = 0,
    needle_shots: int = 0,
) -> list[str]:
    refusals = shot_refusals(
        profile=profile,
        limits=LIMITS,
        serum=serum,
        weight_g=weight_g,
        booked_nl=Nanolitres(booked_nl),
        booked_shots=booked_shots,
        total_nl=Nanolitres(booked_nl + dose_nl),
        planned_shots=planned_shots,
        points_left=planned_shots - booked_shots,
        before=before,
        hour_shots=hour_shots,
        regions=regions,
        needle_shots=needle_shots,
    )
    return [reason.code for reason in refusals]


@pytest.mark.parametrize(
    ("field", "allowed", "refused", "code"),
    [
        ("depth_um", 13_000, 13_001, "depth"),
        ("interval_ns", 100 * MS, 100 * MS - 1, "interval"),
        ("dose_nl", 5_000, 4_999, "smallest_dose"),
    ],
)
def test_a_profile_may_reach_a_limit_and_not_pass_it(field: str, allowed: int, refused: int, code: str) -> None:
    assert profile_codes(make_profile(**{field: allowed})) == []
    assert profile_codes(make_profile(**{field: refused})) == [code]


def test_the_shot_limit_counts_the_increment_that_the_carried_remainder_may_add() -> None:
    # 99 958 nl are 2398 whole increments, 99 917 nl; with one more, 42 nl, the shot still keeps the limit.
    assert profile_codes(make_profile(dose_nl=99_958)) == []
    assert profile_codes(make_profile(dose_nl=100_000)) == ["shot_volume"]


@pytest.mark.parametrize(("shot_nl", "codes"), [(99_959, []), (99_958, ["shot_volume"])])
def test_the_largest_shot_that_the_remainder_can_make_may_reach_the_shot_limit(shot_nl: int, codes: list[str]) -> None:
    reasons = profile_refusals(make_profile(dose_nl=99_958), limits=make_limits(shot_nl=shot_nl), syringe=SYRINGE)
    assert [reason.code for reason in reasons] == codes


def test_every_reason_against_a_profile_is_told_at_once() -> None:
    hopeless = make_profile(dose_nl=4_000, depth_um=13_500, interval_ns=1)
    reasons = profile_refusals(hopeless, limits=make_limits(shot_nl=1_000), syringe=SYRINGE)
    assert [reason.code for reason in reasons] == ["shot_volume", "smallest_dose", "depth", "interval"]
    assert all(any(character.isdigit() for character in reason.message) for reason in reasons)


@pytest.mark.parametrize(
    ("booked_nl", "codes"),
    [
        (3_979_999, []),
        (3_980_000, []),
        (3_980_001, ["session_volume"]),
        (5_980_000, ["session_volume"]),
        (5_980_001, ["session_volume", "session_volume"]),
    ],
)
def test_the_session_ends_at_the_profiles_volume_and_at_the_consoles(booked_nl: int, codes: list[str]) -> None:
    assert shot_codes(booked_nl=booked_nl) == codes


@pytest.mark.parametrize(
    ("booked_shots", "codes"),
    [(149, []), (150, ["session_shots"]), (299, ["session_shots"]), (300, ["session_shots", "session_shots"])],
)
def test_the_session_ends_at_the_profiles_shots_and_at_the_consoles(booked_shots: int, codes: list[str]) -> None:
    assert shot_codes(booked_shots=booked_shots) == codes


@pytest.mark.parametrize(("booked_shots", "codes"), [(9, []), (10, ["points_done"]), (11, ["points_done"])])
def test_no_shot_beyond_the_planned_points(booked_shots: int, codes: list[str]) -> None:
    assert shot_codes(booked_shots=booked_shots, planned_shots=10) == codes


@pytest.mark.parametrize(
    ("reached_nl", "codes"),
    [(499_999, []), (500_000, []), (500_001, ["region_density"]), (900_000, ["region_density"])],
)
def test_a_region_may_reach_its_volume_by_area_and_not_pass_it(reached_nl: int, codes: list[str]) -> None:
    crown = RegionLoad("crown", 1_250, booked_nl=480_000, reached_nl=reached_nl)
    temple = RegionLoad("temple", 100_000, booked_nl=0, reached_nl=reached_nl)
    assert shot_codes(regions=(temple, crown)) == codes


def test_a_volume_by_area_is_told_rounded_up() -> None:
    assert [nl_per_cm2(volume_nl, 300) for volume_nl in (0, 1, 3, 60_000)] == [0, 1, 1, 20_000]


def test_without_regions_no_number_of_points_ends_the_session() -> None:
    assert shot_codes(booked_shots=100, planned_shots=0) == []


@pytest.mark.parametrize(("most_ug", "codes"), [(201, []), (200, []), (199, ["ingredient"])])
def test_an_ingredient_may_reach_its_limit_and_not_pass_it(most_ug: int, codes: list[str]) -> None:
    # 20 uL at 10 mg/mL are 200 ug.
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=most_ug))
    assert shot_codes(serum=serum) == codes


@pytest.mark.parametrize(("weight_g", "codes"), [(50_001, []), (50_000, []), (49_999, ["ingredient"])])
def test_a_limit_per_kilogram_is_rounded_down(weight_g: int, codes: list[str]) -> None:
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug_per_kg=4))
    assert shot_codes(serum=serum, weight_g=weight_g) == codes


def test_the_smaller_of_two_limits_of_an_ingredient_holds() -> None:
    ingredient = make_ingredient(ug_per_ml=1, most_ug=300_000, most_ug_per_kg=4_500)
    assert ingredient_limit(ingredient, 60_000) == 270_000
    assert ingredient_limit(ingredient, 80_000) == 300_000
    assert ingredient_limit(ingredient, None) == 300_000
    assert ingredient_limit(make_ingredient(ug_per_ml=1), 80_000) is None


@LAW
@given(volume=st.integers(0, 6_000_000), concentration=st.integers(0, 200_000))
def test_the_mass_in_a_volume_is_rounded_up_by_less_than_a_microgram(volume: int, concentration: int) -> None:
    mass = make_ingredient(ug_per_ml=concentration).mass_in(Nanolitres(volume))
    assert 0 <= mass * 1_000_000 - volume * concentration < 1_000_000


def test_a_limit_per_kilogram_needs_the_weight_before_the_session_starts() -> None:
    serum = make_serum(make_ingredient(ug_per_ml=1, most_ug_per_kg=4_500), make_ingredient(ug_per_ml=1, most_ug=10))
    (reason,) = serum_refusals(serum, weight_g=None)
    assert (reason.code, reason.message) == ("weight", "lidocaine in mix has a limit per kilogram: give --weight-kg")
    assert serum_refusals(serum, weight_g=60_000) == ()
    assert serum_refusals(make_serum(make_ingredient(ug_per_ml=1, most_ug=10)), weight_g=None) == ()


def test_every_reason_against_a_shot_is_told_at_once() -> None:
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=1))
    codes = shot_codes(serum=serum, booked_nl=6_000_000, booked_shots=300, planned_shots=5)
    assert codes == [
        "session_volume",
        "session_volume",
        "session_shots",
        "session_shots",
        "points_done",
        "ingredient",
    ]


@LAW
@given(
    booked_nl=st.integers(0, 6_100_000),
    shots=st.integers(0, 310),
    dose_nl=st.integers(0, 100_000),
    most_ug=st.integers(0, 100_000),
)
def test_an_allowed_shot_keeps_every_total(booked_nl: int, shots: int, dose_nl: int, most_ug: int) -> None:
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=most_ug))
    if not shot_codes(serum=serum, booked_nl=booked_nl, booked_shots=shots, dose_nl=dose_nl):
        assert booked_nl + dose_nl <= min(PROFILE.session_volume_nl, LIMITS.session_nl)
        assert shots < min(PROFILE.session_shots, LIMITS.session_shots)
        assert (booked_nl + dose_nl) * 10_000 <= most_ug * 1_000_000


@pytest.mark.parametrize(("before_nl", "codes"), [(11_980_000, []), (11_980_001, ["patient_day"])])
def test_a_day_may_reach_its_volume_and_not_pass_it(before_nl: int, codes: list[str]) -> None:
    assert shot_codes(before=Before(Nanolitres(before_nl), ())) == codes


@pytest.mark.parametrize(("hour_shots", "codes"), [(399, []), (400, ["hour_shots"])])
def test_an_hour_may_reach_its_shots_and_not_pass_them(hour_shots: int, codes: list[str]) -> None:
    assert shot_codes(hour_shots=hour_shots) == codes


@pytest.mark.parametrize(("shots", "codes"), [(1_999, []), (2_000, ["needle_shots"]), (2_001, ["needle_shots"])])
def test_a_needle_gives_so_many_shots_and_no_more(shots: int, codes: list[str]) -> None:
    assert shot_codes(needle_shots=shots) == codes


def test_what_was_given_before_is_told_only_where_there_was_something() -> None:
    (reason,) = shot_refusals(
        profile=PROFILE,
        limits=LIMITS,
        serum=make_serum(make_ingredient(ug_per_ml=10_000, most_ug=100)),
        weight_g=None,
        booked_nl=Nanolitres(0),
        booked_shots=0,
        total_nl=Nanolitres(20_000),
        planned_shots=0,
        points_left=0,
        before=NOTHING_BEFORE,
        hour_shots=0,
        needle_shots=0,
    )
    assert reason.message == "lidocaine would reach 0.2 mg of at most 0.1 mg"


def test_volumes_are_told_in_microlitres_without_idle_zeros() -> None:
    volumes = (20_000, 20_500, 42, 0, 1, 10_010)
    assert [ul(volume) for volume in volumes] == ["20 uL", "20.5 uL", "0.042 uL", "0 uL", "0.001 uL", "10.01 uL"]


def test_each_refusal_of_a_profile_names_the_key_the_value_and_the_bound() -> None:
    hopeless = make_profile(dose_nl=4_000, depth_um=13_500, interval_ns=99 * MS)
    reasons = profile_refusals(hopeless, limits=make_limits(shot_nl=1_000), syringe=SYRINGE)
    assert [reason.message for reason in reasons] == [
        "the shot of 4 uL may exceed limits.shot_ul 1 uL",
        "the dose of 4 uL is under the smallest of syringe 1ml, 5 uL: raise dose_ul or take a smaller syringe",
        "depth 13.5 mm exceeds limits.depth_mm 13.0",
        "interval 99 ms is under limits.least_interval_ms 100",
    ]


def test_each_refusal_of_a_shot_names_what_was_given_and_the_bound() -> None:
    reasons = shot_refusals(
        profile=make_profile(session_volume_nl=3_000_000, session_shots=100),
        limits=make_limits(session_nl=2_000_000, patient_day_nl=6_000_000, session_shots=90),
        serum=make_serum(make_ingredient(ug_per_ml=10_000, most_ug=25_500)),
        weight_g=None,
        booked_nl=Nanolitres(2_990_500),
        booked_shots=100,
        total_nl=Nanolitres(3_010_500),
        planned_shots=100,
        points_left=0,
        before=Before(Nanolitres(4_000_000), (("lidocaine", Micrograms(12_500)),)),
        hour_shots=400,
        regions=(RegionLoad("crown", 1_250, booked_nl=500_000, reached_nl=520_000),),
        needle_shots=0,
    )
    assert [reason.message for reason in reasons] == [
        "2990.5 uL given, the next shot would reach 3010.5 uL: limits.session_ml is 2000 uL",
        "2990.5 uL given, the next shot would reach 3010.5 uL: session_volume_ml is 3000 uL",
        "4000 uL given to this patient in 24 hours before this session, the next shot would reach 7010.5 uL: "
        "limits.patient_day_ml is 6000 uL",
        "100 shots given: limits.session_shots is 90",
        "100 shots given: session_shots is 100",
        "400 shots given to this patient within an hour: limits.hour_shots is 400",
        "all 100 planned points are treated or skipped: stop the session",
        "500 uL given on the 12.5 cm2 of crown, the next shot would reach 41.6 uL per cm2: limits.region_ul_per_cm2 is "
        "40 uL; skip the points that are left there: `mesogun point skip --count N`",
        "lidocaine would reach 42.605 mg of at most 25.5 mg, 12.5 mg of it in 24 hours before this session",
    ]
