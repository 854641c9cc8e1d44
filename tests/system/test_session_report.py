"""What the auditor is told of a session is what left the needle: the report beside the world's truth."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.core.records import PressRefused, ShotGiven
from tests.support.console_processes import SimulatedConsole, mesogun, quick_configuration, simulated_console, until

STROKE_NL, STROKE_INCREMENTS = 1_000_000, 24_000
PRIME_NL = 20_000


@pytest.fixture
def console(tmp_path: Path) -> Iterator[SimulatedConsole]:
    draft = quick_configuration(tmp_path / "config")
    with simulated_console(tmp_path / "state", draft.directory) as found:
        found.start()
        yield found


def volume_nl(increments: int) -> int:
    """Return the volume of `increments` of the 1 mL syringe, rounded up as the book rounds it."""
    return -(-increments * STROKE_NL // STROKE_INCREMENTS)


def release_in_mid_stroke(console: SimulatedConsole) -> None:
    shots = len(console.records(ShotGiven))
    console.press()
    console.until_dosing()
    console.operator.release()
    until(lambda: len(console.records(ShotGiven)) > shots)
    console.let_go()


def test_the_report_of_a_session_with_a_part_of_a_shot_and_a_restart_is_the_truth(console: SimulatedConsole) -> None:
    console.make_ready(regions={"front": 10, "crown": 4})
    console.forget_given()
    console.operator.press()
    until(lambda: bool(console.records(PressRefused)))
    console.operator.release()
    console.ask("arm")
    console.shoot(2)
    until(lambda: len(console.records(ShotGiven)) >= 2)
    console.until_state("armed")
    release_in_mid_stroke(console)
    console.until_state("armed")
    open_one = json.loads(console.cli("session", "report", "last", "--json").out)
    assert (open_one["ok"], open_one["end"], open_one["ended_ms"]) == (True, "open", None)
    # A magazine is loaded, and what it may still give is told beside what is booked.
    assert open_one["open_magazine"] > 0
    assert open_one["volumes"]["open_most_nl"] > 0

    assert console.end() == 0
    console.start()
    console.until_state("session")
    console.ask("session_stop")
    assert console.end() == 0

    # No controller runs any more: the journal alone says all of it.
    shots = console.records(ShotGiven)
    done = mesogun("session", "report", open_one["started"]["session_id"][:6], "--json", f"--state={console.state}")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    volumes = report["volumes"]
    assert report["problems"] == []
    assert volumes["booked_nl"] == volume_nl(console.given())
    assert volumes["entry_nl"] + volumes["dwell_nl"] + volumes["exit_nl"] == volumes["booked_nl"]
    assert volumes["primed_nl"] == PRIME_NL
    assert report["simulated"] is True
    assert report["shots"] == len(shots) >= 3
    assert [row["region"] for row in report["regions"]] == ["front", "crown"]
    assert [(shot["outcome"], shot["reason"]) for shot in report["not_delivered"]] == [("partial", "released")]
    assert report["not_delivered"][0]["booked_nl"] < 10_000
    assert [one["reason"] for one in report["refused_presses"]] == ["not_armed"]
    assert len(report["boots"]) == 2
    assert (report["end"], report["commands"][-1]["command"]) == ("stopped", "session stop")

    text = mesogun("session", "report", "last", f"--state={console.state}")
    assert (text.code, text.err) == (0, "")
    assert re.search(r"^booked +(\S+) uL in", text.out, re.MULTILINE)[1] == f"{volumes['booked_nl'] / 1000:.3f}"  # type: ignore[index]
    assert report["proof"]["last_hash"] in text.out
    listed = mesogun("session", "list", f"--state={console.state}")
    assert report["started"]["session_id"] in listed.out
