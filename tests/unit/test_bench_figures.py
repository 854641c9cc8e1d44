"""The benchmarks' own arithmetic: percentiles, ratios, tables, and what is read out of other programs' output."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.scan_state import motion_along
from device.core.shot_plan import plan_stroke
from device.core.stroke_timeline import Action, Timeline, stroke_timeline
from tests.bench import table
from tests.bench.brisk import brisk_configuration, with_values
from tests.bench.c_loop import STEP, CommandedEdge, edges_of
from tests.bench.figures import Findings, Spread, Unit, row, times, written
from tests.bench.noted_realtime import Notes, gates_due_ns, read_notes
from tests.bench.processes import MeasurementBroken, cpu_ticks
from tests.bench.shipped import profile_of, shipped_configuration, syringe_of
from tests.bench.shot_rate import Treatment
from tests.bench.step_lateness import histogram_ns
from tests.bench.timing import aims
from tests.bench.treatment import full_turn
from tests.support.core import LAW

LINES = shipped_configuration().lines


def test_percentiles_are_nearest_ranks() -> None:
    spread = Spread.of(range(1, 1001))
    assert (spread.p50, spread.p99, spread.p999, spread.most) == (500, 990, 999, 1000)


@LAW
@given(samples=st.lists(st.integers(0, 10**9), min_size=1, max_size=1200))
def test_a_percentile_is_a_sample_and_no_smaller_than_its_share(samples: list[int]) -> None:
    spread = Spread.of(samples)
    for share, value in ((500, spread.p50), (990, spread.p99), (999, spread.p999)):
        assert value in samples
        assert sum(each <= value for each in samples) * 1000 >= share * len(samples)
        assert sum(each < value for each in samples) * 1000 < share * len(samples)


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["p50"]),
        (2, ["p50", "max"]),
        (99, ["p50", "max"]),
        (100, ["p50", "p99", "max"]),
        (999, ["p50", "p99", "max"]),
        (1000, ["p50", "p99", "p99.9", "max"]),
    ],
)
def test_a_figure_that_the_samples_do_not_support_is_left_out(count: int, names: list[str]) -> None:
    assert list(Spread.of(range(count)).parts()) == names


def test_no_samples_are_no_spread() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_ratio_stands_only_where_both_sides_have_the_figure() -> None:
    findings = Findings((row("ours", [20] * 1000, "floor", "single"), row("floor", [10] * 100), row("single", [5])))
    assert findings.ratios(findings.rows[0], "floor") == {"p50": 2.0, "p99": 2.0, "max": 2.0}
    assert findings.ratios(findings.rows[0], "single") == {"p50": 4.0, "p99": 4.0, "p99.9": 4.0, "max": 4.0}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (9_999, Unit.NANOSECONDS, "9999 ns"),
        (10_000, Unit.NANOSECONDS, "10.0 us"),
        (12_345_678, Unit.NANOSECONDS, "12.3 ms"),
        (3 * 2**20, Unit.BYTES, "3.0 MiB"),
        (286_500, Unit.MILLISHOTS_PER_MINUTE, "286.5 /min"),
        (12_300, Unit.PPM, "1.23 %"),
    ],
)
def test_a_value_is_written_with_a_unit_that_people_read(value: int, unit: Unit, text: str) -> None:
    assert written(value, unit) == text


def test_a_large_ratio_is_written_in_full() -> None:
    assert (times(2.345), times(1234.5)) == ("x 2.35", "x 1234")


def test_the_table_says_each_figure_its_floor_and_how_to_repeat_it() -> None:
    findings = Findings((row("ours | all", [20_000] * 1000, "floor"), row("floor", [10_000])), ("a note",))
    text = table.as_markdown({"load": "0.1"}, {"timing": findings, "planning": "no | machine"})
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.replace("\\|", "").count("|") for line in rows] == [10] * 4
    assert "ours \\| all | 1000 | 20.0 us | 20.0 us | 20.0 us | 20.0 us | x 2 / x 2 / x 2 / x 2 of floor" in rows[1]
    assert rows[1].endswith('`make bench BENCH="timing"` |')
    assert "| floor | 1 | 10.0 us | - | - | - |" in rows[2]
    assert "broken: no \\| machine" in rows[3]
    assert "- load: 0.1" in text
    assert "- timing: a note" in text


def test_the_files_hold_the_same_run(tmp_path: Path) -> None:
    findings = Findings((row("ours", [1, 2, 3]),))
    table.write(tmp_path / "var" / "bench", {"load": "0.1"}, {"timing": findings, "planning": "no machine"})
    found = json.loads((tmp_path / "var" / "bench" / table.JSON).read_text())
    assert found["machine"] == {"load": "0.1"}
    assert found["benchmarks"]["planning"] == {"broken": "no machine"}
    assert found["benchmarks"]["timing"]["rows"][0] | {"ratios": {}} == {
        "name": "ours", "unit": "ns", "count": 3, "p50": 2, "max": 3, "ratios": {},
    }  # fmt: skip
    assert found["benchmarks"]["timing"]["repeat"] == 'make bench BENCH="timing"'
    assert "| timing | ours | 3 |" in (tmp_path / "var" / "bench" / table.MARKDOWN).read_text()


def test_cyclictests_histogram_is_read_with_what_overflowed_it() -> None:
    text = "# Histogram\n000003 000002\n000010 000001\n# Max Latencies: 00700\n# Histogram Overflows: 00002\n"
    assert histogram_ns(text) == [3_000, 3_000, 10_000, 700_000, 700_000]
    assert histogram_ns("nothing of the kind") == []


def test_a_process_may_have_any_name() -> None:
    stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 5 5 20 0 1 0 100 1000 10"
    assert cpu_ticks(stat) == 42


def test_the_c_loop_writes_what_the_timeline_has_with_gates_in_turns() -> None:
    steps = (Action.STEP_IN, Action.OPEN, Action.AWAIT, Action.STEP_OUT, Action.END)
    timeline = Timeline(due_ns=(0, 0, 50, 60, 90), actions=steps)
    edges = edges_of(timeline, LINES, shots=2, interval_ns=1_000)
    assert edges[:4] == [
        CommandedEdge(0, STEP, 1),
        CommandedEdge(0, LINES.gate_1, 0),
        CommandedEdge(50, LINES.gate_1, 1),
        CommandedEdge(60, STEP, 0),
    ]
    assert [(edge.due_ns, edge.line) for edge in edges[4:]] == [
        (1_000, STEP), (1_000, LINES.gate_2), (1_050, LINES.gate_2), (1_060, STEP),
    ]  # fmt: skip


def test_a_gate_is_due_when_the_timeline_had_it_before_the_scan() -> None:
    timeline = Timeline(
        due_ns=(0, 40, 50, 50, 60), actions=(Action.STEP_IN, Action.AWAIT, Action.OPEN, Action.STEP_OUT, Action.END)
    )
    before = motion_along(timeline, 1_000)._replace(place=1)
    after = before._replace(place=4, base_ns=1_007)
    assert gates_due_ns(before, after) == [1_040, 1_050]
    assert gates_due_ns(before, before._replace(place=2)) == [1_040]
    assert (
        gates_due_ns(before, after._replace(timeline=stroke_timeline(full_turn(shipped_configuration()).fired.stroke)))
        == []
    )


def test_notes_leave_out_the_homing_and_what_followed(tmp_path: Path) -> None:
    notes = tmp_path / "notes.json"
    notes.write_text(json.dumps({"shots": [[9], [1, 2], [3, 4], [5]], "gates": [6, 7]}))
    assert read_notes(notes, strokes=2, steps=2) == Notes([1, 2, 3, 4], [6, 7])
    for strokes, steps in ((4, 2), (2, 3)):
        with pytest.raises(MeasurementBroken, match="expected"):
            read_notes(notes, strokes=strokes, steps=steps)
    with pytest.raises(MeasurementBroken, match="left no notes"):
        read_notes(tmp_path / "none", strokes=1, steps=1)


def test_the_aims_are_said_as_ratios_to_what_was_measured_beside_them() -> None:
    findings = Findings(
        (
            row("step, under load: real-time process", [300_000] * 1000),
            row("press to first step, under load: real-time process", [700_000] * 1000),
            row("wake-up, under load: cyclictest", [100_000] * 1000),
        )
    )
    step, press = aims(findings, period_ns=500_000)
    assert "x 3 of cyclictest's" in step
    assert "700.0 us" in press
    assert "800.0 us" in press
    assert aims(Findings(findings.rows[:2]), period_ns=500_000) == []


def test_the_measured_magazine_is_a_full_one_of_the_machine() -> None:
    turn = full_turn(shipped_configuration())
    assert len(turn.fired.shots) > 1
    assert turn.intent in turn.records
    assert len(turn.records) == len(turn.fired.shots) + 2, "each shot, the settlement, the next intent"


def test_the_brisk_console_changes_what_it_names_and_is_accepted(tmp_path: Path) -> None:
    brisk = brisk_configuration(tmp_path / "config")
    assert brisk.device.limits.least_interval_ns == 50_000_000
    assert plan_stroke(profile_of(brisk), syringe_of(brisk), brisk.device).stroke.moves == 3
    with pytest.raises(MeasurementBroken, match="has no speed"):
        with_values("dose_ul = 5\n", {"speed": "1"})


def test_the_rate_is_counted_from_the_first_start_to_the_last() -> None:
    given = Treatment([0, 200_000_000, 500_000_000], {}, ())
    assert given.between_ns == [200_000_000, 300_000_000]
    assert given.rate == 240_000
