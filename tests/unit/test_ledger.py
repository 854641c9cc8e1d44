"""The ledger: a fold of the journal's records, the same however it is cut, and volumes that add up to the nanolitre."""

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.booking import settled
from device.core.console import Console, State
from device.core.ledger import Ledger, SessionTotals, apply
from device.core.realtime_messages import EndReason, ShotReport
from device.core.records import (
    Booted,
    CommandTaken,
    FaultRaised,
    FaultsCleared,
    MagazineIntent,
    MagazineSettled,
    PlungerFound,
    PlungerHomed,
    Record,
    Refilled,
    SessionEnded,
    SessionStarted,
    ShotGiven,
)
from device.core.region_plan import Progress
from device.core.session import Session
from device.core.settlement import Seen
from device.core.shot_plan import plan_stroke
from device.core.syringe import Syringe
from device.core.units import Increments
from tests.support.core import LAW, PROFILE, SALINE, SPEC, SYRINGE, make_intent, syringes

STARTED = SessionStarted(
    session_id="s-1",
    profile="point",
    profile_sha256="p",
    serum="saline",
    serum_sha256="s",
    syringe="1ml",
    syringe_sha256="y",
    patient="anna",
    weight_g=None,
    regions=["crown"],
    region_points=[10],
)
ENDED = SessionEnded(session_id="s-1", reason="stopped", shots=0, volume_nl=0)


def magazine_settled(
    *, purpose: str = "inject", given: int = 480, given_nl: int = 20_000, shots: int = 1, position: int = 9_520
) -> MagazineSettled:
    return MagazineSettled(
        magazine_id=1,
        purpose=purpose,
        session_id="s-1",
        reason="complete",
        position=position,
        low_water=position - 24,
        given=given,
        given_nl=given_nl,
        shots=shots,
        carry=3,
        certain=True,
    )


def fault_raised(code: int, *, latched: bool = True) -> FaultRaised:
    return FaultRaised(code=code, name="x", priority="high", latched=latched, detail="", session_id="")


def shot_given(volume_nl: int) -> ShotGiven:
    unknown = dict.fromkeys(
        ("press_to_step_us", "step_late_us_p50", "step_late_us_p99", "step_late_us_max"), -1
    ) | dict.fromkeys(("entry_us", "dwell_us", "exit_us", "stroke_us"), -1)
    return ShotGiven(
        session_id="s-1",
        magazine_id=1,
        shot=1,
        region="crown",
        outcome="delivered",
        reason="",
        mode="single",
        planned_nl=20_000,
        booked_nl=volume_nl,
        entry_nl=volume_nl,
        dwell_nl=0,
        exit_nl=0,
        depth_um=4_000,
        **unknown,
    )


def fold(*records: Record) -> Ledger:
    return reduce(apply, records, Ledger())


amounts = st.integers(0, 500_000)
records_: st.SearchStrategy[Record] = st.one_of(
    st.just(STARTED),
    st.just(ENDED),
    st.just(make_intent()),
    st.builds(
        magazine_settled,
        purpose=st.sampled_from(["inject", "prime"]),
        given=amounts,
        given_nl=amounts,
        shots=st.integers(0, 8),
        position=st.integers(100, 20_000),
    ),
    amounts.map(shot_given),
    st.builds(Refilled, from_position=amounts, position=amounts, volume_nl=amounts),
    st.builds(PlungerHomed, position=st.just(0)),
    st.builds(PlungerFound, expected=amounts, position=amounts),
    st.builds(fault_raised, st.sampled_from([101, 104, 301]), latched=st.booleans()),
    st.builds(FaultsCleared, codes=st.just([101]), uid=st.just(0)),
    st.just(CommandTaken(command="arm", uid=0, pid=1, accepted=True, reason="")),
    st.just(Booted(version="1", configuration_sha256="c", simulated=True)),
)


@LAW
@given(records=st.lists(records_, max_size=30), cut=st.integers(0, 30))
def test_a_restart_in_the_middle_gives_the_same_ledger(records: list[Record], cut: int) -> None:
    assert reduce(apply, records[cut:], fold(*records[:cut])) == fold(*records)


@LAW
@given(records=st.lists(records_, max_size=30))
def test_a_sessions_volume_is_the_sum_of_its_settled_injections(records: list[Record]) -> None:
    ledger = fold(*records)
    opened = [place for place, record in enumerate(records) if isinstance(record, SessionStarted)]
    if ledger.session is None:
        return
    mine = [record for record in records[opened[-1] :] if isinstance(record, MagazineSettled)]
    injected = [record for record in mine if record.purpose == "inject"]
    assert ledger.session.volume_nl == sum(record.given_nl for record in injected)
    assert ledger.session.shots == sum(record.shots for record in injected)
    assert ledger.session.increments == sum(record.given for record in injected)
    assert ledger.session.primed_nl == sum(record.given_nl for record in mine if record.purpose == "prime")


@LAW
@given(records=st.lists(records_, max_size=30))
def test_a_fault_is_open_from_its_latched_record_to_the_clearing(records: list[Record]) -> None:
    open_codes: list[int] = []
    for record in records:
        if isinstance(record, FaultsCleared):
            open_codes = []
        elif isinstance(record, FaultRaised) and record.latched:
            open_codes = [code for code in open_codes if code != record.code] + [record.code]
    assert fold(*records).faults == tuple(open_codes)


@LAW
@given(before=records_, position=st.integers(1_000, 23_000), owed=st.integers(0, 100))
def test_a_refill_keeps_the_debt_of_the_suck_back(before: Record, position: int, owed: int) -> None:
    ledger = replace(fold(before), position=position, low_water=position - owed)
    refilled = apply(ledger, Refilled(from_position=position, position=23_978, volume_nl=1))
    assert (refilled.position, refilled.low_water) == (23_978, 23_978 - owed)


def test_what_was_drawn_from_the_vial_is_added_up_over_the_session_alone() -> None:
    draw = Refilled(from_position=0, position=23_000, volume_nl=900_000)
    ledger = fold(draw, STARTED, draw, draw)
    assert ledger.session is not None
    assert ledger.session.drawn_nl == 1_800_000


def test_homing_the_plunger_forgives_the_debt_and_a_new_session_the_carried_remainder() -> None:
    homed = fold(magazine_settled(), PlungerHomed(position=0))
    assert (homed.position, homed.low_water) == (0, 0)
    assert fold(magazine_settled()).carry == 3
    assert fold(magazine_settled(), STARTED).carry == 0


def test_an_intent_is_open_until_it_is_settled_and_counts_the_magazines() -> None:
    intent = make_intent(magazine_id=7)
    assert fold(intent).open_intent == intent
    assert fold(intent).magazines == 7
    assert fold(intent, magazine_settled()).open_intent is None


def test_a_plunger_found_elsewhere_keeps_its_debt() -> None:
    found = fold(magazine_settled(), PlungerFound(expected=9_520, position=9_600))
    assert (found.position, found.low_water) == (9_600, 9_576)


@LAW
@given(position=st.integers(1_000, 23_000), owed=st.integers(0, 100), moved=st.integers(1, 200))
def test_a_plunger_found_nearer_to_the_needle_has_repaid_of_its_debt_what_it_went(
    position: int, owed: int, moved: int
) -> None:
    # The whole debt once was kept, so that the next shot repaid it a second time: into the patient.
    ledger = replace(Ledger(), position=position, low_water=position - owed)
    found = apply(ledger, PlungerFound(expected=position, position=position - moved))
    assert found.position == position - moved
    assert found.low_water == position - max(owed, moved)


def test_an_empty_journal_adds_up_to_nothing_and_knows_no_place_of_the_plunger() -> None:
    nothing = Ledger()
    assert (nothing.session, nothing.open_intent, nothing.content, nothing.position) == (None, None, None, None)
    assert (nothing.low_water, nothing.carry, nothing.magazines, nothing.faults) == (0, 0, 0, ())
    assert SessionTotals(STARTED) == SessionTotals(STARTED, 0, 0, 0, 0, 0)


def test_a_plunger_that_never_was_anywhere_owes_nothing() -> None:
    assert fold(Refilled(from_position=0, position=23_000, volume_nl=1)).low_water == 23_000
    found = replace(Ledger(), position=500, low_water=500)
    assert apply(found, PlungerFound(expected=500, position=600)).low_water == 600


def test_a_plunger_found_drawn_up_leaves_the_play_open_until_it_has_come_to_a_place_from_above() -> None:
    drawn_up = PlungerFound(expected=9_520, position=9_600)
    assert not fold(magazine_settled()).play_open
    assert not fold(magazine_settled(), PlungerFound(expected=9_520, position=9_510)).play_open
    assert fold(magazine_settled(), drawn_up).play_open
    assert fold(magazine_settled(), drawn_up, PlungerFound(expected=9_600, position=9_590)).play_open
    draw = Refilled(from_position=9_600, position=23_000, volume_nl=1)
    for closing in (draw, PlungerHomed(position=0), magazine_settled()):
        assert not fold(magazine_settled(), drawn_up, closing).play_open


OPENED = SessionTotals(STARTED, progress=Progress((10,)), region_nl=(0,))


def test_a_session_lasts_from_its_start_to_its_end() -> None:
    assert fold(STARTED).session == OPENED
    assert fold(STARTED, magazine_settled(), ENDED).session is None
    assert fold(STARTED, magazine_settled(), STARTED).session == OPENED


def test_a_settled_magazine_leaves_place_debt_and_remainder_also_without_a_session() -> None:
    ledger = fold(make_intent(), magazine_settled(position=9_000))
    assert (ledger.open_intent, ledger.position, ledger.low_water, ledger.carry) == (None, 9_000, 8_976, 3)


def test_a_sessions_totals_are_the_sums_of_its_magazines_and_its_primes_apart() -> None:
    first, second = magazine_settled(shots=2, given=960, given_nl=40_000), magazine_settled(shots=3, given=1_441)
    prime = magazine_settled(purpose="prime", given=1_200, given_nl=50_000)
    totals = fold(STARTED, first, prime, second, prime).session
    assert totals is not None
    assert (totals.shots, totals.increments, totals.volume_nl, totals.primed_nl) == (5, 2_401, 60_000, 100_000)


def test_a_low_water_above_the_expected_place_is_no_debt() -> None:
    odd = replace(Ledger(), position=9_500, low_water=9_520)
    assert apply(odd, PlungerFound(expected=9_500, position=9_600)).low_water == 9_600


def test_content_is_whose_session_drew_it_until_the_plunger_is_homed() -> None:
    draw = Refilled(from_position=0, position=23_000, volume_nl=1)
    annas = fold(STARTED, draw, ENDED)
    assert annas.content == STARTED
    assert apply(annas, draw).content == STARTED
    berts = replace(STARTED, session_id="s-2", patient="bert")
    assert apply(apply(annas, berts), draw).content == berts
    assert apply(annas, PlungerHomed(position=0)).content is None


def test_a_latched_fault_is_kept_once_and_the_latest_stands_last() -> None:
    ledger = fold(fault_raised(101), fault_raised(301), fault_raised(104, latched=False), fault_raised(101))
    assert ledger.faults == (301, 101)
    assert apply(ledger, FaultsCleared(codes=[301, 101], uid=0)).faults == ()


@pytest.mark.parametrize(("first", "second"), [(7, 3), (3, 7)])
def test_magazines_are_numbered_on_from_the_highest(first: int, second: int) -> None:
    assert fold(make_intent(magazine_id=first), make_intent(magazine_id=second)).magazines == 7


# --- shots against their magazine --------------------------------------------------------------------------------


def open_console(syringe: Syringe, intent: MagazineIntent, *, base: int) -> Console:
    """Return a console in which `base` increments are booked and `intent` is open."""
    booked = magazine_settled(given=base, given_nl=syringe.volume_of(Increments(base)), shots=3)
    session = Session(
        session_id="s-1",
        profile=PROFILE,
        serum=SALINE,
        syringe=syringe,
        patient="anna",
        weight_g=None,
        regions=(),
        plan=plan_stroke(PROFILE, SYRINGE, SPEC),
    )
    return Console(
        spec=SPEC, ledger=fold(STARTED, booked, intent), session=session, state=State.SETTLING, ended=EndReason.COMPLETE
    )


@LAW
@given(
    syringe=syringes(),
    base=st.integers(0, 100_000),
    position=st.one_of(st.none(), st.integers(8_000, 10_000)),
    opened=st.one_of(st.none(), st.integers(0, 8)),
    reported=st.integers(0, 2),
)
def test_the_shots_of_a_magazine_book_exactly_what_the_session_grows_by(
    syringe: Syringe, base: int, position: int | None, opened: int | None, reported: int
) -> None:
    intent = make_intent(stroke_nl=syringe.stroke_nl)
    console = open_console(syringe, intent, base=base)
    seen = None if opened is None else Seen(opened=opened, done=max(0, opened - 1))
    reports = tuple(
        ShotReport(magazine_id=1, index=index, opened=0, done=0, fault=0, released=False, steps_in=360, steps_out=360)
        for index in range(reported)
    )
    console = replace(console, seen=seen, reports=reports)
    after, records, _ = settled(console, intent, None if position is None else Increments(position))
    (closing,) = [record for record in records if isinstance(record, MagazineSettled)]
    shots = [record for record in records if isinstance(record, ShotGiven)]
    grown = syringe.volume_of(Increments(base + closing.given)) - syringe.volume_of(Increments(base))
    assert sum(shot.booked_nl for shot in shots) == closing.given_nl == grown
    assert all(shot.booked_nl == shot.entry_nl + shot.dwell_nl + shot.exit_nl for shot in shots)
    assert closing.shots == len(shots) >= reported
    assert after.ledger.session is not None
    assert after.ledger.session.volume_nl == syringe.volume_of(Increments(base + closing.given))
    assert after.ledger == reduce(apply, records, console.ledger)


def test_a_prime_books_no_shot() -> None:
    intent = make_intent(
        purpose="prime", moves_per_shot=1, phases=["entry"], targets=[9_000], doses_nl=[40_000], carries=[5]
    )
    console = open_console(SYRINGE, intent, base=0)
    after, records, certain = settled(console, intent, Increments(9_000))
    assert certain
    assert not [record for record in records if isinstance(record, ShotGiven)]
    assert after.ledger.session is not None
    assert (after.ledger.session.primed_nl, after.ledger.session.volume_nl) == (40_667, 0)


@pytest.mark.parametrize("ended", [None, EndReason.RELEASED])
def test_a_settlement_says_why_the_magazine_ended(ended: EndReason | None) -> None:
    console = replace(open_console(SYRINGE, make_intent(), base=0), ended=ended)
    _, records, _ = settled(console, make_intent(), Increments(10_000))
    (closing,) = [record for record in records if isinstance(record, MagazineSettled)]
    assert closing.reason == ("recovered" if ended is None else "released")
