"""The demo, as a person starts it: every process real, the events received by a client that is not ours.

What the demo says of itself is held against the journal it leaves, against what `mosquitto_sub` received, and against
a second reading of the journal by another process. Timings must be told, and are not judged here.
"""

import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from device.core.records import FaultRaised, MagazineSettled, Record, SessionEnded, ShotGiven
from device.service.control_client import ControllerAbsent, ask
from tests.support.broker import MOSQUITTO, MosquittoBroker, subscriber
from tests.support.console_processes import (
    ATTEMPTS,
    STOP_S,
    came_late,
    command_line,
    journal_records,
    mesogun,
    quick_configuration,
    started,
    until,
)

EVENTS = "mesogun/v1/+/+/event/+"
DEMO_S = 120.0
KEYS = {
    "shots_planned",
    "shots_delivered",
    "shots_refused",
    "volume_planned_ul",
    "volume_delivered_ul",
    "volume_booked_ul",
    "records",
    "records_published",
    "journal_ok",
    "trigger_latency_us_p50",
    "trigger_latency_us_p99",
    "step_late_us_p99",
    "shots_per_minute",
    "duration_s",
}


def demo(state: Path, *options: object, prefix: Sequence[str] = ()) -> dict[str, Any]:
    """Run a demo in `state`, which must succeed, and return its JSON; once more where the computer was too late."""
    for _ in range(ATTEMPTS):
        code, lines = run_demo(state, *options, prefix=prefix)
        if code == 0:
            summary: dict[str, Any] = json.loads(lines[-1])
            assert summary.keys() >= KEYS
            return summary
        raised = {record.code for record in journal_records(state) if isinstance(record, FaultRaised)}
        assert came_late(raised), lines
        shutil.rmtree(state)
    raise AssertionError(f"the computer was too late {ATTEMPTS} times")


def run_demo(state: Path, *options: object, prefix: Sequence[str]) -> tuple[int, list[str]]:
    """Run a demo; return its exit code and lines. One whose console is in a fault is interrupted by Ctrl-C's signal."""
    state.mkdir()
    log = state / "demo.log"
    with started([*prefix, *command_line("demo", "--json", f"--state={state}", *options)], log=log) as process:
        until(lambda: process.poll() is not None or in_fault(state), within_s=DEMO_S, look_s=0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.wait(STOP_S), log.read_text().splitlines()


def in_fault(state: Path) -> bool:
    try:
        return bool(ask(state / "control.sock", "status")["faults"])
    except ControllerAbsent:
        return False


def check_agreement(summary: dict[str, Any], shots: int) -> None:
    """Truth, book and plan agree within one increment a magazine; everything was published; timings are told."""
    tolerance_ul = summary["magazines"] * summary["increment_ul"]
    assert summary["shots_planned"] == summary["shots_delivered"] == shots
    assert summary["volume_delivered_ul"] == pytest.approx(summary["volume_planned_ul"], abs=tolerance_ul)
    assert summary["volume_booked_ul"] == pytest.approx(summary["volume_planned_ul"], abs=tolerance_ul)
    assert summary["volume_delivered_ul"] == pytest.approx(summary["volume_booked_ul"], abs=tolerance_ul)
    assert summary["volume_spilled_ul"] == 0
    assert summary["records_published"] == summary["records"]
    assert summary["journal_ok"] is True
    assert summary["shots_per_minute"] > 0
    assert 0 < summary["trigger_latency_us_p50"] <= summary["trigger_latency_us_p99"]


def check_journal(state: Path, summary: dict[str, Any], shots: int) -> list[Record]:
    """The journal, read by itself, says the same as the summary."""
    verified = mesogun("journal", "verify", f"--state={state}")
    assert (verified.code, verified.out) == (0, f"{summary['records']} records, chain complete\n")
    records = journal_records(state)
    given = [record for record in records if isinstance(record, ShotGiven)]
    settled = [record for record in records if isinstance(record, MagazineSettled) and record.purpose == "inject"]
    (ended,) = (record for record in records if isinstance(record, SessionEnded))
    booked_nl = sum(shot.booked_nl for shot in given)
    assert [shot.shot for shot in given] == list(range(1, shots + 1))
    assert booked_nl == sum(record.given_nl for record in settled) == ended.volume_nl
    assert booked_nl == round(summary["volume_booked_ul"] * 1000)
    assert all(record.certain for record in settled)
    assert all(shot.step_late_us_max >= shot.step_late_us_p99 >= shot.step_late_us_p50 >= 0 for shot in given)
    return records


def first_of_a_press(records: list[Record], profile: str) -> list[ShotGiven]:
    """Return the shots that a press must have started: the first of each region, or of each press where one is due."""
    shots = [record for record in records if isinstance(record, ShotGiven)]
    if profile in ("point-by-point", "papule"):
        return shots
    return [
        shot
        for shot, before in zip(shots, [None, *shots], strict=False)
        if before is None or before.region != shot.region
    ]


def test_sixty_shots_reach_an_independent_subscriber_record_by_record(tmp_path: Path) -> None:
    state = tmp_path / "state"
    directory = tmp_path / "broker"
    directory.mkdir()
    with MosquittoBroker(directory) as broker, subscriber(broker.port, EVENTS) as events:
        summary = demo(state, "--shots=60", f"--broker=127.0.0.1:{broker.port}")
        received = events.until(summary["records"])

    check_agreement(summary, 60)
    records = check_journal(state, summary, 60)
    assert {message.payload["seq"] for message in received} == set(range(1, summary["records"] + 1))
    assert {message.qos for message in received} == {1}
    shots = {message.payload["seq"]: message.payload for message in received if message.topic.endswith("/event/shot")}
    assert len(shots) == 60
    for payload in shots.values():
        assert payload["step_late_us_p99"] >= 0
        assert "press_to_step_us" in payload
    assert all(shot.press_to_step_us > 0 for shot in first_of_a_press(records, "continuous"))
    assert "demo" not in {payload.get("patient") for payload in shots.values()}


@pytest.mark.parametrize(
    ("profile", "shots"), [("nappage", 12), ("point-by-point", 12), ("papule", 12), ("saline-test", 9)]
)
def test_every_shipped_profile(profile: str, shots: int, tmp_path: Path) -> None:
    configuration = quick_configuration(tmp_path / "config").directory
    state = tmp_path / "state"

    summary = demo(state, f"--shots={shots}", f"--profile={profile}", f"--config={configuration}")

    check_agreement(summary, shots)
    assert summary["broker"] == "mosquitto"
    records = check_journal(state, summary, shots)
    assert all(shot.press_to_step_us > 0 for shot in first_of_a_press(records, profile))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="hiding a program needs root")
def test_without_mosquitto_the_broker_of_the_wheel_serves(tmp_path: Path) -> None:
    # Debian's Mosquitto is looked for beside PATH too, so its file is hidden, in a mount namespace of the demo's own.
    configuration = quick_configuration(tmp_path / "config").directory
    state = tmp_path / "state"
    hidden = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', MOSQUITTO]

    summary = demo(state, "--shots=6", f"--config={configuration}", prefix=hidden)

    check_agreement(summary, 6)
    check_journal(state, summary, 6)
    assert summary["broker"] == "iotcore"
