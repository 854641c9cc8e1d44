"""A soft limit stops the gun until somebody who may says otherwise; what is said stands in the journal."""

from dataclasses import replace

import pytest

from device.core.console import Console, State
from device.core.device_spec import SoftLimits
from device.core.effects import Reply
from device.core.events import ArmRequested, OverrideRequested, SessionStopRequested
from device.core.limits import Refusal, RegionLoad
from device.core.machine import step
from device.core.patient_day import Before
from device.core.records import CommandTaken, LimitOverridden
from device.core.session import Session
from device.core.soft_limits import NAMES, soft_refusals
from device.core.treatment import shots_left
from device.core.units import Nanolitres, NanolitresPerCm2, Nanoseconds
from tests.support.core import MS, make_profile
from tests.support.machine import ARM, DISARMED, HOME_PLUNGER, REQUEST, START_SESSION, after, records_in, reply_in

PROFILE = make_profile(dose_nl=20_000, interval_ns=400 * MS)
ALL = SoftLimits(
    shot_nl=Nanolitres(19_999),
    session_nl=Nanolitres(39_999),
    patient_day_nl=Nanolitres(59_999),
    session_shots=1,
    hour_shots=4,
    region_nl_per_cm2=NanolitresPerCm2(3_999),
    least_interval_ns=Nanoseconds(400 * MS + 1),
)
BEYOND = OverrideRequested(REQUEST, "soft.session_ml", reason="both temples, as agreed", by="a physician")


def found(soft: SoftLimits, *overridden: str) -> tuple[Refusal, ...]:
    return soft_refusals(
        soft,
        overridden=overridden,
        profile=PROFILE,
        booked_shots=1,
        total_nl=Nanolitres(40_000),
        before=Before(Nanolitres(20_000), ()),
        hour_shots=4,
        regions=(RegionLoad("crown", 1_000, booked_nl=20_000, reached_nl=40_000),),
    )


def test_every_soft_limit_that_is_exceeded_is_told_with_how_to_go_beyond_it() -> None:
    how = '; to go beyond it, `mesogun override {} --reason "..." --by NAME`'
    assert [(one.code, one.message, one.figure) for one in found(ALL)] == [
        (name, f"{words}: {name} is {limit}" + how.format(name), figure)
        for name, words, limit, figure in (
            ("soft.shot_ul", "a dose of 20 uL", "19.999 uL", "20 uL"),
            ("soft.session_ml", "the next shot would reach 40 uL", "39.999 uL", "40 uL"),
            ("soft.patient_day_ml", "the next shot would reach, in 24 hours, 60 uL", "59.999 uL", "60 uL"),
            ("soft.session_shots", "shot 2 of the session", "1", "shot 2"),
            ("soft.hour_shots", "shot 5 of the patient's hour", "4", "shot 5"),
            ("soft.region_ul_per_cm2", "the next shot would reach 4 uL per cm2 of crown", "3.999 uL", "4 uL per cm2"),
            ("soft.least_interval_ms", "an interval of 400 ms", "400 ms", "400 ms"),
        )
    ]


def test_what_reaches_a_soft_limit_exactly_is_within_it_and_none_is_no_limit() -> None:
    exact = SoftLimits(
        shot_nl=Nanolitres(20_000),
        session_nl=Nanolitres(40_000),
        patient_day_nl=Nanolitres(60_000),
        session_shots=2,
        hour_shots=5,
        region_nl_per_cm2=NanolitresPerCm2(4_000),
        least_interval_ns=Nanoseconds(400 * MS),
    )
    assert found(exact) == found(SoftLimits()) == ()


@pytest.mark.parametrize("name", NAMES)
def test_an_override_lifts_the_one_limit_that_it_names(name: str) -> None:
    assert {one.code for one in found(ALL, name)} == set(NAMES) - {name}


def limited(console: Console = DISARMED) -> Console:
    """Return the console whose session may give two shots of 20 uL without anybody's word, and five at all."""
    limits = replace(console.spec.limits, session_nl=Nanolitres(100_000))
    return replace(console, spec=replace(console.spec, soft=SoftLimits(session_nl=Nanolitres(40_000)), limits=limits))


def reached() -> Console:
    """Return the console in a session that has reached its soft limit."""
    console = after(limited(), START_SESSION)
    assert console.ledger.session is not None
    totals = replace(console.ledger.session, shots=2, increments=960, volume_nl=40_000)
    return replace(console, ledger=replace(console.ledger, session=totals))


def left(console: Console) -> tuple[int, str]:
    assert isinstance(console.session, Session)
    shots, limit = shots_left(console, console.session)
    return shots, limit.code


def test_a_soft_limit_is_the_first_limit_until_it_is_overridden() -> None:
    assert left(after(limited(), START_SESSION)) == (2, "soft.session_ml")
    assert left(reached()) == (0, "soft.session_ml")
    assert left(after(reached(), BEYOND)) == (3, "session_volume")


def test_the_gun_is_armed_beyond_a_soft_limit_by_a_word_that_is_written_down() -> None:
    refused = reply_in(step(reached(), ARM)[1])
    assert [reason.partition(";")[0] for reason in refused.reasons] == [
        "the next shot would reach 60 uL: soft.session_ml is 40 uL"
    ]
    console, effects = step(reached(), BEYOND)
    assert records_in(effects) == [
        CommandTaken("override", 1000, 77, accepted=True, reason=""),
        LimitOverridden("s-1", "soft.session_ml", "both temples, as agreed", "a physician", uid=1000, figure="60 uL"),
    ]
    assert effects[-1] == Reply(REQUEST, accepted=True, reasons=())
    assert step(console, ARM)[0].armed


def test_beyond_a_soft_limit_the_hard_one_holds() -> None:
    console = after(reached(), BEYOND)
    assert console.ledger.session is not None
    full = replace(console.ledger.session, shots=5, increments=2400, volume_nl=100_000)
    reasons = reply_in(step(replace(console, ledger=replace(console.ledger, session=full)), ARM)[1]).reasons
    assert reasons[0] == "100 uL given, the next shot would reach 120 uL: limits.session_ml is 100 uL"


def test_an_account_that_may_not_override_is_refused_and_recorded() -> None:
    nobody = replace(REQUEST, may_override=False)
    console, effects = step(reached(), replace(BEYOND, request=nobody))
    (record,) = records_in(effects)
    assert isinstance(record, CommandTaken)
    assert (record.accepted, record.uid) == (False, 1000)
    assert "override_users of device.toml" in record.reason
    assert left(console) == (0, "soft.session_ml")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"limit": "limits.session_ml"}, "limits.session_ml is no soft limit; those are soft.shot_ul, "),
        ({"limit": "soft.hour_shots"}, "soft.hour_shots does not stand in the next shot's way: nothing to override"),
        ({"reason": "  "}, "an override needs a reason and a name"),
        ({"by": "\t"}, "an override needs a reason and a name"),
    ],
)
def test_an_override_of_nothing_or_by_nobody_is_refused(changes: dict[str, str], reason: str) -> None:
    console, effects = step(reached(), replace(BEYOND, **changes))  # type: ignore[arg-type] # texts all
    assert reply_in(effects).reasons[0].startswith(reason)
    assert left(console) == (0, "soft.session_ml")


def test_an_override_ends_with_its_session() -> None:
    console = after(reached(), BEYOND, SessionStopRequested(REQUEST), HOME_PLUNGER)
    again = replace(console, state=State.DISARMED, initialised=False, ledger=replace(console.ledger, past=()))
    assert left(after(again, START_SESSION)) == (2, "soft.session_ml")


def test_a_session_may_start_beyond_a_soft_limit_and_is_not_armed() -> None:
    soft = replace(DISARMED, spec=replace(DISARMED.spec, soft=SoftLimits(shot_nl=Nanolitres(10_000))))
    console = after(soft, START_SESSION)
    assert console.state is State.SESSION
    assert "soft.shot_ul is 10 uL" in reply_in(step(console, ArmRequested(REQUEST))[1]).reasons[0]


def test_a_word_about_a_courses_gap_lifts_no_soft_limit() -> None:
    # One reason answers for one limit: whoever says that a week may be a day says nothing of the dose.
    soft = replace(DISARMED, spec=replace(DISARMED.spec, soft=SoftLimits(shot_nl=Nanolitres(10_000))))
    with_word = replace(START_SESSION, override_reason="leaves tomorrow", override_by="a physician")
    console, effects = step(soft, with_word)
    assert console.state is State.SESSION
    assert [each for each in records_in(effects) if isinstance(each, LimitOverridden)] == []
    assert "soft.shot_ul is 10 uL" in reply_in(step(console, ARM)[1]).reasons[0]


def test_a_word_of_who_may_not_give_it_refuses_the_start() -> None:
    with_word = replace(
        START_SESSION,
        request=replace(REQUEST, may_override=False),
        override_reason="as agreed",
        override_by="a physician",
    )
    _, effects = step(DISARMED, with_word)
    assert "override_users of device.toml" in reply_in(effects).reasons[0]
