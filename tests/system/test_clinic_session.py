"""A whole session as a clinic has it: vial, check-list, pause, restart, new vial and needle, aftercare, summary."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from device.core.records import (
    ItemChecked,
    NeedleChanged,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    ShotGiven,
    VialChanged,
)
from tests.support.console_processes import SimulatedConsole, mesogun, quick_configuration, simulated_console, until

START = ("session", "start", "--profile=continuous", "--serum=saline", "--syringe=1ml", "--regions=front:40")


def done(console: SimulatedConsole, *arguments: object) -> str:
    result = console.cli(*arguments)
    assert (result.code, result.err) == (0, ""), result
    return result.out


def fire(console: SimulatedConsole) -> None:
    """Arm, fire a shot, and be at rest again."""
    shots = len(console.records(ShotGiven))
    console.arm()
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots)
    console.ask("disarm")
    console.until_state("session")
    console.until_settled()


def test_a_session_from_its_check_list_to_its_summary(tmp_path: Path) -> None:
    draft = quick_configuration(tmp_path / "config")
    next_year = (datetime.now(UTC) + timedelta(days=365)).date().isoformat()
    with simulated_console(tmp_path / "state", draft.directory) as console:
        console.start()
        console.ask("home", plunger=True, patient_detached=True)
        console.calibrate()
        started = done(
            console, *START, "--checklist=standard", "--operator=a nurse", "--lot=L-1", f"--lot-expires={next_year}",
            "--patient=p-17", "--needle=n-1",
        )  # fmt: skip
        assert "next: mesogun session check, mesogun prime, then mesogun arm" in started
        console.prime()
        assert all(reason.startswith("check-list: ") for reason in console.refused("arm"))
        keys = console.status()["checklist_open"].split(",")
        done(console, "session", "check", *keys[:-1], "--by=a nurse")
        assert f"OPEN  {keys[-1]}" in done(console, "session", "check")
        assert len(console.refused("arm")) == 1
        done(console, "session", "check", keys[-1], "--by=a nurse")
        assert [record.item for record in console.records(ItemChecked)] == keys
        fire(console)

        done(console, "session", "pause")
        assert "PAUSED: mesogun session resume" in done(console, "status")
        assert console.refused("arm") == ["the session is paused: `mesogun session resume`"]
        done(console, "session", "resume")

        # Killed while it is armed: it comes back with the session paused, and armed by nobody.
        console.arm()
        console.controller.kill()
        console.controller.wait()
        assert console.start() == "session"
        status = console.status()
        assert (status["paused"], status["armed"], status["checklist_open"]) == (True, False, "")
        assert [record.reason for record in console.records(SessionPaused)] == ["operator", "restart"]
        console.ask("home")

        done(console, "change", "vial", "--lot=L-2", f"--lot-expires={next_year}")
        done(console, "change", "needle", "--needle=n-2")
        done(console, "session", "resume")
        (reason,) = console.refused("arm")
        assert reason.endswith("`mesogun prime`")
        console.prime()
        fire(console)
        status = console.status()
        assert (status["lot"], status["needle"]) == ("L-2", "n-2")
        assert status["needle_shots"] == status["shots"] - console.records(NeedleChanged)[0].shots
        assert len(console.records(VialChanged)) == 1
        assert len(console.records(SessionResumed)) == 2

        stopped = done(console, "session", "stop")
        assert "aftercare:" in stopped
        assert "For 24 hours do not wash or wet the hair" in stopped
        (session,) = console.records(SessionStarted)
        out = tmp_path / "out"
        done(console, "session", "summary", "last", f"--out={out}")
        summary = out / f"{session.session_id}.json"
        found = json.loads(summary.read_text())
        assert found["ok"]
        assert found["volumes"]["booked_nl"] == sum(shot.booked_nl for shot in console.records(ShotGiven))
        assert "as it was signed" in done(console, "session", "verify-summary", summary)
        summary.write_text(summary.read_text().replace("L-1", "L-9"))
        altered = mesogun("session", "verify-summary", summary, f"--state={console.state}")
        assert altered.code == 1
        assert "was altered" in altered.only_line()
        console.verify()
