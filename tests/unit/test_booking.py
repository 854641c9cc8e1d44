"""What is written down of a shot: its number, place, volumes, depth, times and why it ended; and of a session's end."""

from dataclasses import replace

import pytest

from device.core.booking import session_ended, settled
from device.core.console import Console
from device.core.faults import Fault
from device.core.realtime_messages import EndReason, ShotReport
from device.core.records import MagazineSettled, Record, SessionEnded, ShotGiven
from device.core.settlement import Seen
from device.core.units import Increments
from tests.support.core import make_intent
from tests.support.machine import (
    ARMED,
    DISARMED,
    FILLED,
    FIRING,
    SESSION,
    SETTLING,
    shot_report,
    shots_given,
)

assert ARMED.magazine is not None
DONE = ARMED.magazine.pump_program().moves[-1].target
"""Where the first shot leaves the plunger: 480 increments given, and the suck-back drawn."""


def booked(console: Console, position: int | None) -> tuple[Console, list[ShotGiven], MagazineSettled]:
    """Settle the open magazine of `console`; return the console, the shots' records and the magazine's."""
    intent = console.ledger.open_intent
    assert intent is not None
    after, records, _ = settled(console, intent, None if position is None else Increments(position))
    *shots, closing = records
    assert isinstance(closing, MagazineSettled)
    return after, [shot for shot in shots if isinstance(shot, ShotGiven)], closing


def the_shot(report: ShotReport, *, position: int = DONE) -> ShotGiven:
    """Return the record of the first shot with `report`."""
    _, (shot,), _ = booked(replace(SETTLING, reports=(report,)), position)
    return shot


def test_a_delivered_shot_is_written_down_whole() -> None:
    report = replace(
        shot_report(),
        steps_in=360,
        press_to_step_ns=1_234_567,
        late_ns_p50=1_999,
        late_ns_p99=20_000,
        late_ns_max=300_001,
        entry_ns=40_000_000,
        dwell_ns=50_000_999,
        exit_ns=999,
        stroke_ns=0,
    )
    assert the_shot(report) == ShotGiven(
        session_id="s-1",
        magazine_id=1,
        shot=1,
        region="crown",
        outcome="delivered",
        reason="",
        mode="single",
        planned_nl=20_000,
        booked_nl=20_000,
        entry_nl=4_000,
        dwell_nl=12_000,
        exit_nl=4_000,
        depth_um=4_000,
        press_to_step_us=1_234,
        step_late_us_p50=1,
        step_late_us_p99=20,
        step_late_us_max=300,
        entry_us=40_000,
        dwell_us=50_000,
        exit_us=0,
        stroke_us=0,
    )


def test_times_that_were_not_measured_are_not_booked_as_a_microsecond() -> None:
    shot = the_shot(replace(shot_report(), press_to_step_ns=-1, exit_ns=-1, stroke_ns=5_000))
    assert (shot.press_to_step_us, shot.exit_us, shot.stroke_us) == (-1, -1, 5)


def test_a_shot_that_nobody_reported_has_no_depth_and_no_times() -> None:
    _, (shot,), _ = booked(replace(FIRING, ended=None), DONE)
    assert (shot.reason, shot.outcome, shot.depth_um) == ("recovered", "uncertain", -1)
    times = (shot.press_to_step_us, shot.step_late_us_p50, shot.step_late_us_p99, shot.step_late_us_max)
    assert (*times, shot.entry_us, shot.dwell_us, shot.exit_us, shot.stroke_us) == (-1,) * 8


@pytest.mark.parametrize(
    ("released", "fault", "reason"),
    [(False, 0, ""), (True, 0, "released"), (False, Fault.STEP_LATE, "fault 203"), (True, 104, "released")],
)
def test_a_shots_record_says_why_it_ended(released: bool, fault: int, reason: str) -> None:
    assert the_shot(replace(shot_report(), released=released, fault=int(fault))).reason == reason


@pytest.mark.parametrize(("steps_in", "depth_um"), [(360, 4_000), (200, 2_000), (41, 13), (40, 0), (0, 0)])
def test_the_depth_is_that_below_the_skin_and_none_while_the_needle_is_above_it(steps_in: int, depth_um: int) -> None:
    # The clearance of 500 um is 40 steps.
    assert the_shot(replace(shot_report(), steps_in=steps_in)).depth_um == depth_um


def test_a_shot_of_which_only_the_needle_moved_took_place_and_gave_nothing() -> None:
    report = replace(shot_report(), opened=0, done=0)
    console = replace(SETTLING, reports=(report,), seen=Seen(opened=0, done=0))
    _, (shot,), closing = booked(console, FILLED)
    assert (shot.outcome, shot.booked_nl, closing.shots, closing.given) == ("partial", 0, 1, 0)


def test_a_shot_that_was_never_fired_has_no_record() -> None:
    console = replace(SETTLING, reports=(), seen=Seen(opened=0, done=0))
    _, shots, closing = booked(console, FILLED)
    assert (shots, closing.shots) == ([], 0)


def test_the_reports_belong_to_the_shots_by_their_index() -> None:
    # The second of two reported only: the first one's outcome is known from the plunger alone.
    intent = make_intent()
    console = replace(SETTLING, reports=(replace(shot_report(), index=1, released=True),), seen=Seen(8, 8))
    _, records, _ = settled(console, intent, Increments(9_040))
    shots = [record for record in records if isinstance(record, ShotGiven)]
    assert [(shot.shot, shot.reason, shot.depth_um) for shot in shots] == [(1, "recovered", -1), (2, "released", 4_000)]


def test_shots_are_numbered_on_from_the_first_of_their_magazine() -> None:
    intent = make_intent(first_shot=12)
    _, records, _ = settled(replace(SETTLING, reports=(), seen=Seen(8, 8)), intent, Increments(9_040))
    assert [record.shot for record in records if isinstance(record, ShotGiven)] == [12, 13]


def test_phases_without_a_share_are_booked_as_nothing() -> None:
    intent = make_intent(
        moves_per_shot=1, phases=["dwell"], targets=[9_496], doses_nl=[20_000], carries=[6], start=9_976
    )
    _, (shot, _), certain = settled(replace(SETTLING, reports=(), seen=Seen(1, 1)), intent, Increments(9_496))
    assert isinstance(shot, ShotGiven)
    assert (shot.entry_nl, shot.dwell_nl, shot.exit_nl, certain) == (0, 20_000, 0, True)


def test_a_prime_counts_no_shot_though_the_real_time_process_reports_one() -> None:
    intent = make_intent(
        purpose="prime", moves_per_shot=1, phases=["entry"], targets=[9_000], doses_nl=[40_000], carries=[5]
    )
    console = replace(SETTLING, reports=(shot_report(),), seen=Seen(1, 1))
    _, (closing,), _ = settled(console, intent, Increments(9_000))
    assert isinstance(closing, MagazineSettled)
    assert (closing.purpose, closing.shots, closing.given, closing.given_nl) == ("prime", 0, 976, 40_667)


def test_a_session_that_is_gone_after_a_restart_still_has_its_shots_booked_from_what_it_had() -> None:
    # Half a nanolitre is rounded over the running total of the session, not anew in each magazine.
    console = replace(SETTLING, session=None)
    _, (shot,), closing = booked(console, DONE)
    assert (shot.mode, shot.booked_nl, closing.given_nl) == ("", 20_000, 20_000)


def test_without_totals_a_magazine_is_booked_from_nothing() -> None:
    console = replace(SETTLING, ledger=replace(SETTLING.ledger, session=None), reports=(), seen=Seen(1, 0))
    # Its gate was opened: it may have moved by the two increments that no reading tells.
    _, (shot,), closing = booked(console, FILLED)
    # Two increments are 83 1/3 nl, rounded up; the two behind a first one would be 83.
    assert (shot.booked_nl, closing.given_nl) == (84, 84)


def test_volumes_are_differences_of_the_running_total() -> None:
    totals = SETTLING.ledger.session
    assert totals is not None
    ledger = replace(SETTLING.ledger, session=replace(totals, increments=1, volume_nl=42))
    _, (shot,), closing = booked(replace(SETTLING, ledger=ledger, reports=(), seen=Seen(1, 0)), FILLED)
    # The second and third increments come to 83 nl on top of the first one's 42: 125 nl in all.
    assert (shot.booked_nl, closing.given_nl) == (83, 83)


def test_the_phases_of_a_shot_add_up_to_it_though_each_is_rounded() -> None:
    intent = make_intent(
        moves_per_shot=3,
        phases=["entry", "dwell", "exit"],
        targets=[9_975, 9_974, 9_973],
        start=9_976,
        doses_nl=[125],
        carries=[6],
    )
    _, (shot, _), _ = settled(replace(SETTLING, reports=(), seen=Seen(3, 3)), intent, Increments(9_973))
    assert isinstance(shot, ShotGiven)
    assert (shot.entry_nl, shot.dwell_nl, shot.exit_nl, shot.booked_nl) == (42, 42, 41, 125)


def test_a_settled_magazine_is_written_down_whole() -> None:
    ledger = replace(SETTLING.ledger, carry=9)
    intent = make_intent(session_id="s-9", carry_before=9)
    console = replace(SETTLING, ledger=ledger, reports=(), seen=Seen(2, 1), ended=EndReason.RELEASED)
    _, records, certain = settled(console, intent, Increments(9_700))
    assert certain
    assert records[-1] == MagazineSettled(
        magazine_id=1,
        purpose="inject",
        session_id="s-9",
        reason="released",
        position=9_700,
        low_water=9_700,
        given=278,
        given_nl=11_584,
        shots=1,
        carry=9,
        certain=True,
    )
    _, records, certain = settled(replace(console, ended=None), intent, None)
    assert not certain
    lost = records[-1]
    assert isinstance(lost, MagazineSettled)
    assert (lost.reason, lost.certain) == ("recovered", False)
    # Where the second gate let it go; booked besides is the move of a third one that may have stuck.
    assert (lost.position, lost.low_water, lost.given) == (9_592, 9_592, 480)


def test_settling_forgets_the_magazine_with_its_reports_and_remembers_the_last_shot() -> None:
    after, (shot,), _ = booked(SETTLING, DONE)
    assert (after.magazine, after.reports, after.seen, after.last_shot) == (None, (), None, shot)
    assert after.ledger.open_intent is None


def test_the_last_shot_is_remembered_when_a_magazine_gave_none() -> None:
    console = shots_given(ARMED, 1)
    assert console.last_shot is not None
    assert console.magazine is not None
    after, shots, _ = booked(replace(console, seen=Seen(0, 0)), console.magazine.start)
    assert (shots, after.last_shot) == ([], console.last_shot)


def test_a_session_ends_with_what_was_booked_in_it() -> None:
    after, ended = session_ended(shots_given(ARMED, 2), "stopped", at_ms=17)
    assert ended == SessionEnded(session_id="s-1", reason="stopped", shots=2, volume_nl=40_000, at_ms=17)
    assert (after.session, after.ledger.session) == (None, None)


@pytest.mark.parametrize("console", [DISARMED, replace(SESSION, ledger=DISARMED.ledger)], ids=["none", "unrecorded"])
def test_a_session_that_was_never_recorded_ends_with_nothing(console: Console) -> None:
    ended: Record
    after, ended = session_ended(console, "stopped", at_ms=0)
    assert ended == SessionEnded(session_id="", reason="stopped", shots=0, volume_nl=0)
    assert after.session is None


def test_a_phase_that_the_profile_does_not_have_is_booked_with_nothing() -> None:
    intent = make_intent(
        moves_per_shot=1, phases=["entry"], targets=[9_736], doses_nl=[10_000], carries=[0], start=9_976
    )
    console = replace(SETTLING, reports=(shot_report(),), seen=Seen(opened=1, done=1))
    _, records, certain = settled(console, intent, Increments(9_736))
    shot = records[0]
    assert isinstance(shot, ShotGiven)
    assert certain
    assert (shot.entry_nl, shot.dwell_nl, shot.exit_nl, shot.booked_nl) == (10_000, 0, 0, 10_000)
