"""A session's report: its sums, and every way in which a journal can contradict itself about a session."""

from dataclasses import replace
from datetime import UTC
from typing import Any

from device.core.records import MagazineIntent, MagazineSettled, Record, SessionEnded, SessionStarted, ShotGiven
from device.journal_reader import Verification
from device.service.report_words import COLUMNS
from device.service.session_report import SessionReport, Volumes
from device.service.session_report_text import list_lines, report_json, report_lines
from tests.support.sessions import (
    CALIBRATED,
    SESSION_ID,
    STARTED,
    WHOLE,
    Chain,
    Unknown,
    eventful,
    fault,
    intent,
    outcome,
    prime,
    report_on,
    uneven,
)

FIRST = replace(STARTED, before_nl=0)


def session(*records: Record | Unknown, start: SessionStarted = FIRST) -> SessionReport:
    return report_on(Chain().boot("boot-1").add(start, *records).entries)


def one_shot(**changes: Any) -> tuple[Record, ...]:
    """Return a magazine of one shot, whose record is changed."""
    announced = intent(1, 1, shots=1)
    shot, settled = outcome(announced, WHOLE)
    return announced, replace(shot, **changes), settled


def text_of(report: SessionReport) -> str:
    return "\n".join(report_lines(report, UTC))


def test_every_volume_of_a_session_is_added_up() -> None:
    report = report_on(eventful().entries)
    assert report.volumes == Volumes(
        planned_nl=120_000,
        booked_nl=93_459,
        entry_nl=24_000,
        dwell_nl=53_459,
        exit_nl=16_000,
        uncertain_nl=20_000,
        open_most_nl=0,
        primed_nl=50_000,
        drawn_nl=999_084,
    )
    assert report.problems == ()
    assert [(row.region, row.shots) for row in report.regions] == [("crown", 4), ("temple-left", 2)]


def test_ingredients_are_rounded_up_as_the_limits_round_them() -> None:
    report = report_on(eventful().entries)
    # 93.459 uL of 0.333 mg/mL are 31.12 ug, the 20 uL before them 6.66 ug.
    assert [(one.name, one.session_ug, one.before_ug) for one in report.ingredients] == [
        ("Lidocaine", 935, 200),
        ("biotin", 32, 7),
    ]
    assert report.before_nl == 20_000


def test_an_open_session_tells_what_its_magazine_may_still_give() -> None:
    report = session(intent(1, 1, shots=3))
    assert (report.end, report.ended_ms, report.open_magazine) == ("open", None, 1)
    assert report.volumes.open_most_nl == 60_000
    assert report.good
    assert "up to 60.000 uL more" in text_of(report)


def test_an_open_prime_gives_the_patient_nothing() -> None:
    announced, _ = prime(1, increments=480)
    assert session(announced).volumes.open_most_nl == 0


def test_a_session_that_the_next_one_ended_says_so() -> None:
    chain = Chain().boot("boot-1").add(FIRST, replace(FIRST, session_id="b1"))
    assert report_on(chain.entries, SESSION_ID).end == "no record of its end: the next session began"


def test_a_record_of_an_unknown_kind_and_one_of_another_syringe_are_shown_whole() -> None:
    other = replace(CALIBRATED, syringe_sha256="ff" * 32)
    report = session(Unknown("sealed", by="dr-b", pages=[3]), other)
    assert [one.kind for one in report.others] == ["sealed", "syringe_calibrated"]
    assert "sealed by=dr-b pages=[3]" in text_of(report)
    assert report.calibrations == ()


def test_a_fault_of_an_unknown_number_keeps_its_name() -> None:
    report = session(fault(999, "moon_fell"), *one_shot(outcome="partial", reason="fault 999"))
    assert report.faults[0].title == "moon_fell"
    assert report.not_delivered[0].reason == "fault 999"
    assert "NOT CLEARED in this session" in text_of(report)


def test_what_nobody_measured_is_told_as_that() -> None:
    announced = intent(1, 1, shots=1)
    report = session(announced, *outcome(announced, WHOLE, reason="recovered", certain=False))
    assert (report.timings.press_to_step_us_p99, report.timings.stroke_us_max) == (-1, -1)
    assert "no shot was measured" in text_of(report)
    unpressed = text_of(session(*one_shot(press_to_step_us=-1, stroke_us=300_000, step_late_us_max=-1)))
    assert "first step   no press was measured" in unpressed
    assert "steps late   no step was measured" in unpressed


def test_a_shot_in_a_region_that_nobody_planned_has_a_row_of_its_own() -> None:
    rows = session(*one_shot(region="nape")).regions
    assert [(row.region, row.points, row.shots) for row in rows] == [
        ("crown", 4, 0),
        ("temple-left", 3, 0),
        ("nape", None, 1),
    ]


def test_a_session_of_which_little_is_known_is_reported_all_the_same() -> None:
    start = replace(
        FIRST, patient="", weight_g=None, regions=[], region_points=[], at_ms=0, ingredients=[], ug_per_ml=[]
    )
    report = report_on(Chain().add(start, SessionEnded(SESSION_ID, "configuration changed", 0, 0)).entries)
    assert (report.started_ms, report.ended_ms) == (1_772_600_767_089, 1_772_600_768_089)
    text = text_of(report)
    for words in (
        "without an id, weight not given",
        "none of this syringe in the journal",
        "ingredient   none in the record",
        "in 0 shots; no points planned",
        "presses      refused: none",
    ):
        assert words in text


# --- contradictions -----------------------------------------------------------------------------------------------


def problems(*records: Record | Unknown, start: SessionStarted = FIRST) -> list[str]:
    report = session(*records, start=start)
    lines = report_lines(report, UTC)
    # Whatever is wrong is said before the first figure and once more behind the last.
    assert sum(line.startswith("!!! ") for line in lines) == 2 * len(report.problems)
    assert not report.good
    return list(report.problems)


def test_a_shot_whose_phases_are_not_its_volume_is_a_contradiction() -> None:
    assert problems(*one_shot(dwell_nl=11_999)) == [
        "record 4: shot 1 is booked at 20000 nl, its phases add up to 19999 nl"
    ]


def test_a_shot_that_its_magazine_does_not_have_is_a_contradiction_everywhere() -> None:
    announced, shot, settled = one_shot()
    end = SessionEnded(SESSION_ID, "stopped", 1, 20_000)
    assert problems(announced, shot, shot, settled, end) == [
        "record 6: magazine 1 is settled with 1 shot and 20000 nl, its shots' records come to 2 shots and 40000 nl",
        "the ledger has 1 shot and 20000 nl, the shots' records 2 shots and 40000 nl",
        "the ledger has 20000 nl in region crown, the shots' records 40000 nl",
        "record 7: the session's end says 1 shot and 20000 nl, the shots' records 2 shots and 40000 nl",
    ]


def test_shots_without_an_outcome_are_a_contradiction() -> None:
    announced, shot, _ = one_shot()
    assert problems(announced, shot)[0] == ("magazine 1 has no outcome; its shots' records come to 1 shot and 20000 nl")


def test_a_volume_that_the_plunger_did_not_go_is_a_contradiction() -> None:
    announced, shot, settled = one_shot()
    assert isinstance(settled, MagazineSettled)
    assert problems(announced, shot, replace(settled, given=481)) == [
        "the plunger went 481 increments, 20042 nl, for the 20000 nl that are booked"
    ]


def test_the_end_s_own_totals_are_compared() -> None:
    assert problems(*one_shot(), SessionEnded(SESSION_ID, "stopped", 1, 19_999)) == [
        "record 6: the session's end says 1 shot and 19999 nl, the shots' records 1 shot and 20000 nl"
    ]


def test_another_session_s_records_in_between_are_a_contradiction() -> None:
    assert problems(*one_shot(session_id="b1"))[0] == "record 4 (shot) is of session b1"


def test_what_the_patient_had_before_is_added_up_again() -> None:
    assert problems(start=replace(FIRST, before_nl=5)) == [
        "the session's start says 5 nl in the 24 h before it, the records before it 0 nl"
    ]


def test_of_a_damaged_journal_what_stands_before_the_damage_is_reported() -> None:
    announced, shot, settled = one_shot()
    entries = Chain().boot("boot-1").add(FIRST, announced, shot, settled, *one_shot()[:2]).entries
    damage = Verification(ok=False, records=6, first_bad_seq=7, what="altered: by hand")
    report = report_on(entries, verification=damage)
    # That the damage cut an outcome in two is no contradiction beside it.
    assert report.problems == (
        "the journal is DAMAGED at record 7: altered: by hand; what stands behind it is not shown",
    )
    assert (report.end, report.shots) == ("not readable: the journal is damaged before it", 2)
    nowhere = replace(damage, first_bad_seq=None)
    assert "the journal is DAMAGED: altered" in report_on(entries, verification=nowhere).problems[0]


# --- form ---------------------------------------------------------------------------------------------------------


def test_every_time_in_the_json_stands_there_as_text_too() -> None:
    found = report_json(report_on(eventful().entries), UTC)
    assert (found["ok"], found["started_utc"], found["started_local"]) == (
        True,
        "2026-03-04T07:06:07.089Z",
        "2026-03-04 07:06:07 +00:00",
    )
    assert found["calibrations"][0]["expires_utc"].startswith("2026-08-31T")
    assert found["volumes"]["booked_nl"] == 93_459
    assert found["proof"]["last_hash"] == eventful().entries[found["proof"]["last_seq"] - 1].hash.hex()


def test_what_a_terminal_would_obey_is_shown_and_not_sent() -> None:
    text = text_of(session(start=replace(FIRST, patient="p\x1b[2J")))
    assert "p\ufffd[2J" in text


def test_a_name_longer_than_the_page_is_broken() -> None:
    report = session(start=replace(FIRST, patient="p" * 500))
    assert max(map(len, report_lines(report, UTC))) <= COLUMNS


def test_an_empty_list_is_told_as_one() -> None:
    assert list_lines([], UTC) == ["no session"]


def test_a_calibration_of_an_absurd_clock_is_shown_without_its_times() -> None:
    report = report_on(Chain().boot("boot-1").add(replace(CALIBRATED, expires_ms=10**18), FIRST).entries)
    assert "expires at an unknown time" in text_of(report).replace("\n             ", " ")


def test_shot_records_of_the_support_are_what_they_say() -> None:
    shots = [record for record in outcome(intent(1, 1, shots=2), WHOLE, (96, 0, 0)) if isinstance(record, ShotGiven)]
    assert [(shot.outcome, shot.booked_nl) for shot in shots] == [("delivered", 20_000), ("partial", 4_000)]


def test_points_and_marks_are_reported_by_region_and_a_shot_taken_back_counts_for_none() -> None:
    report = report_on(uneven().entries)
    assert report.problems == ()
    crown, temple = report.evenness
    assert (crown.given, crown.missed, crown.doubled, crown.open, crown.partial) == (4, 2, 1, 0, (6,))
    # 90 uL on 12 cm2.
    assert (crown.nl_per_cm2, temple.nl_per_cm2, temple.open) == (7_500, None, 2)
    assert (report.shots, report.uncounted) == (7, 1)
    assert [(one.mark, one.point, one.points) for one in report.marks][:2] == [("repeat", 3, 1), ("skipped", 4, 3)]
    assert not [one for one in report.others if one.kind == "point_marked"]


def test_a_region_whose_volume_differs_from_its_shots_is_a_problem() -> None:
    announced, *given = one_shot()
    assert isinstance(announced, MagazineIntent)
    report = session(replace(announced, region="temple-left"), *given)
    assert report.problems == (
        "the ledger has 0 nl in region crown, the shots' records 20000 nl",
        "the ledger has 20000 nl in region temple-left, the shots' records 0 nl",
    )


def test_without_planned_regions_no_evenness_is_reported() -> None:
    report = report_on(Chain().boot("boot-1").add(replace(STARTED, regions=[], region_points=[], before_nl=0)).entries)
    assert (report.evenness, report.marks, report.uncounted) == ((), (), 0)
    assert "Evenness" not in text_of(report)
