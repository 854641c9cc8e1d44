"""A clinician's work on the whole console: prime, refill, regions, releases, lost contact, limits, the wrong moment.

One console serves all tests; each starts a session of its own and leaves it disarmed. What was given is the world's
word, what was booked the journal's, and both agree after every test, to the encoder's resolution of what a fault broke
off.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.core.records import (
    CommandTaken,
    FaultRaised,
    LimitOverridden,
    MagazineIntent,
    MagazineSettled,
    PointMarked,
    PressRefused,
    Refilled,
    ShotGiven,
)
from device.core.settlement import POSITION_TOLERANCE
from tests.support.console_processes import SimulatedConsole, holds, quick_configuration, simulated_console, until
from tests.support.journal import REPOSITORY

STILL_S = 0.3
SHOTS_OF_SHORT = 3
LARGEST_PHASE = 96
"""Increments: 40 % of the continuous profile's dose, 10 uL of the 1 mL syringe."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedConsole]:
    directory = tmp_path_factory.mktemp("operation")
    draft = quick_configuration(directory / "config")
    shutil.copy(
        draft.directory / "formulary/profiles/continuous.toml", draft.directory / "formulary/profiles/short.toml"
    )
    draft.replace("formulary/profiles/short.toml", 'name = "continuous"', 'name = "short"')
    draft.replace("formulary/profiles/short.toml", "session_shots = 200", f"session_shots = {SHOTS_OF_SHORT}")
    with simulated_console(directory / "state", draft.directory) as found:
        found.start()
        yield found


@pytest.fixture
def console(shared: SimulatedConsole) -> Iterator[SimulatedConsole]:
    """The console without a session; ends the test's session and compares truth and book."""
    booked, settled = shared.booked(), len(shared.records(MagazineSettled))
    yield shared
    shared.let_go()
    if shared.faults:
        shared.ask("fault_clear")
    if shared.status()["armed"]:
        shared.ask("disarm")
    shared.until_state("session")
    shared.until_settled()
    # Before anything is judged: a test that failed must not keep the next one from its session.
    shared.ask("session_stop")
    broken_off = sum(record.reason == "fault" for record in shared.records(MagazineSettled)[settled:])
    assert 0 <= shared.booked() - booked - shared.given() <= broken_off * POSITION_TOLERANCE
    assert shared.spilled() == 0
    shared.verify()


def begin(console: SimulatedConsole, *, profile: str = "continuous", regions: dict[str, int] | None = None) -> int:
    """Change the syringe, start a session and prime; return how many shots the journal has so far."""
    console.make_ready(profile=profile, regions=regions)
    console.forget_given()
    return len(console.records(ShotGiven))


def test_a_prime_is_bounded_and_a_larger_one_moves_nothing(console: SimulatedConsole) -> None:
    begin(console)
    rest = console.whatever_moves()

    (reason,) = console.refused("prime", volume_nl=400_000)

    assert "limits.prime_ul" in reason
    assert console.whatever_moves() == rest
    assert console.state_name == "session"


def test_a_syringe_that_runs_empty_is_refilled_between_magazines(console: SimulatedConsole) -> None:
    shots = begin(console)
    while console.status()["plunger_increments"] > 7200:
        console.prime(250_000)
    console.forget_given()
    refills = len(console.records(Refilled))
    goal = console.world.strokes + console.status()["plunger_increments"] // 240 + 3

    console.ask("arm")
    while console.world.strokes < goal:
        # After a refill the trigger must be pressed afresh.
        console.press()
        until(lambda: console.turned_round(goal) or console.state_name == "refilling")
        console.let_go()
        console.until_state("armed")

    assert len(console.records(Refilled)) == refills + 1
    fresh = console.records(ShotGiven)[shots:]
    assert {shot.outcome for shot in fresh} == {"delivered"}
    assert console.given() == 240 * len(fresh)


def test_the_plunger_is_not_homed_while_a_magazine_is_loaded(console: SimulatedConsole) -> None:
    begin(console)
    console.ask("arm")

    (reason,) = console.refused("home", plunger=True, patient_detached=True)

    assert reason.startswith("not possible in state armed; possible in: ")
    console.ask("disarm")
    console.until_state("session")
    (reason,) = console.refused("home", plunger=True)
    assert "confirm with --patient-detached" in reason


def test_a_release_in_mid_stroke_gives_a_part_that_is_recorded_as_one(console: SimulatedConsole) -> None:
    shots = begin(console)
    console.ask("arm")
    console.press()
    console.until_dosing()
    console.operator.release()
    until(lambda: len(console.records(ShotGiven)) > shots)

    (shot,) = console.records(ShotGiven)[shots:]
    assert (shot.outcome, shot.reason) == ("partial", "released")
    # What had begun is finished, and nothing after it is given.
    assert 0 < console.given() < 240
    assert shot.booked_nl == console.records(MagazineSettled)[-1].given_nl
    assert console.world.needle_steps == 0
    assert console.faults == ""
    console.until_state("armed")
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots + 1)


def test_contact_lost_in_mid_stroke_stops_the_shot_and_does_not_latch(console: SimulatedConsole) -> None:
    shots = begin(console)
    console.ask("arm")
    console.press()
    console.until_dosing()
    console.operator.lift()
    until(lambda: len(console.records(ShotGiven)) > shots)
    console.until_state("session")

    fault = console.records(FaultRaised)[-1]
    assert (fault.code, fault.latched) == (104, False)
    assert console.records(ShotGiven)[-1].outcome == "partial"
    assert console.faults == ""
    assert console.gates_closed()
    until(console.operator.needle_is_out)
    rest = console.world.edges(console.lines.step)
    # The trigger is held and the gun set down again: nothing fires before it is armed.
    console.operator.touch_skin()
    assert holds(lambda: console.world.edges(console.lines.step) == rest, for_s=STILL_S)
    console.let_go()
    # The lift takes the needle out at once: what the running phase still gives ends in the air, and is booked.
    assert console.forgive_spilled() <= LARGEST_PHASE
    console.ask("arm")
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots + 1)
    assert console.records(ShotGiven)[-1].outcome == "delivered"


def test_a_region_ends_its_shots_and_the_next_one_wants_a_fresh_press(console: SimulatedConsole) -> None:
    shots = begin(console, regions={"front": 2, "crown": 1})
    console.ask("arm")
    console.press()
    until(lambda: len(console.records(ShotGiven)) >= shots + 2)
    console.until_state("armed")

    strokes = console.world.strokes
    assert holds(lambda: console.world.strokes == strokes and console.operator.needle_is_out(), for_s=STILL_S)
    console.let_go()
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) >= shots + 3)
    console.until_state("session")
    assert [shot.region for shot in console.records(ShotGiven)[shots:]] == ["front", "front", "crown"]
    assert console.refused("arm") == ["all 3 planned points are treated or skipped: stop the session"]


def test_points_are_skipped_repeated_and_taken_back_from_the_command_line(console: SimulatedConsole) -> None:
    shots = begin(console, regions={"front": 3, "crown": 1})
    world, lines = console.world, console.lines
    console.ask("arm")
    done = console.cli("point", "skip")
    assert (done.code, done.err) == (
        1,
        "mesogun point: not possible in state armed; possible in: session\n",
    )
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots)
    console.until_state("armed")
    console.ask("disarm")
    console.until_state("session")

    # What the last shot missed is given again; the point behind it is left out.
    assert console.cli("point", "undo").out == (
        "the last mark is taken back, no dose is; next: point 1 of 3 in front: mesogun arm\n"
    )
    console.ask("arm")
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots + 1)
    console.until_state("armed")
    console.ask("disarm")
    console.until_state("session")
    assert "skipped 2 points; next: point 1 of 1 in crown" in console.cli("point", "skip", "--count=2").out
    (reason,) = console.refused("point_repeat")
    assert reason == "the last mark is no shot: there is no point to repeat"

    console.ask("arm")
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots + 2)
    console.until_state("session")
    assert "point 1 of 1 in crown once more: mesogun arm" in console.cli("point", "repeat").out
    console.ask("arm")
    before = world.edges(lines.buzzer)
    console.shoot(1)
    until(lambda: len(console.records(ShotGiven)) > shots + 3)
    console.until_state("session")
    until(lambda: world.edges(lines.buzzer) >= before + 2)

    status = console.status()
    front, crown = status["regions"]
    assert (front["given"], front["missed"], front["doubled"]) == (1, 2, 0)
    assert (crown["given"], crown["missed"], crown["doubled"]) == (1, 0, 1)
    assert [shot.region for shot in console.records(ShotGiven)[shots:]] == ["front", "front", "crown", "crown"]
    assert (status["next_action"], status["shots"]) == ("stop_session", 4)
    assert [record.mark for record in console.records(PointMarked)[-3:]] == ["shot_undone", "skipped", "repeat"]
    report = json.loads(console.cli("session", "report", "last", "--json").out)
    assert (report["ok"], report["uncounted"]) == (True, 1)
    assert console.given() == 4 * 240


def test_a_region_of_known_area_gets_no_more_than_its_limit(console: SimulatedConsole) -> None:
    console.ask("home", plunger=True, patient_detached=True)
    arguments = ["--profile=continuous", "--serum=saline", "--syringe=1ml", "--patient=p-1"]
    done = console.cli("session", "start", *arguments, "--regions=front:1cm2@5mm,crown:3")
    assert done.code == 0, done.err
    console.prime()
    console.forget_given()
    shots = len(console.records(ShotGiven))
    front = console.status()["regions"][0]
    assert (front["points"], front["area_mm2"], front["spacing_um"], front["nl_per_cm2"]) == (4, 100, 5_000, 0)

    console.ask("arm")
    console.shoot(1)
    console.until_state("session")
    (softly,) = console.refused("arm")
    assert "the next shot would reach 20 uL per cm2 of front: soft.region_ul_per_cm2 is 12.5 uL" in softly
    console.ask("override", limit="soft.region_ul_per_cm2", reason="as agreed", by="a physician")
    console.ask("arm")
    console.shoot(3)
    until(lambda: len(console.records(ShotGiven)) >= shots + 4)
    console.until_state("armed")
    console.ask("disarm")
    console.until_state("session")
    # 40 uL on 1 cm2 is all that the limits allow.
    assert console.cli("point", "undo").code == 0
    (reason,) = console.refused("arm")
    assert reason.startswith("40 uL given on the 1 cm2 of front, the next shot would reach 50 uL per cm2")
    assert console.status()["next_action"] == "skip_points"
    assert console.cli("point", "skip").code == 0
    console.ask("arm")


def test_the_profile_s_limit_of_shots_ends_the_arming(console: SimulatedConsole) -> None:
    shots = begin(console, profile="short", regions={"front": 40})
    console.ask("arm")
    console.press()
    console.until_state("session")
    console.until_settled()

    assert len(console.records(ShotGiven)) == shots + SHOTS_OF_SHORT
    assert console.refused("arm") == [f"{SHOTS_OF_SHORT} shots given: session_shots is {SHOTS_OF_SHORT}"]
    status = console.status()
    assert status["refusals"] != []
    assert status["steps_per_s_kept"] > 0
    late = status["step_late"]
    assert late["steps"] == sum(late["counts"]) >= SHOTS_OF_SHORT * 2
    assert 0 < late["us_p50_most"] <= late["us_p999_most"] <= late["us_max_most"]


def test_a_session_is_not_stopped_while_armed(console: SimulatedConsole) -> None:
    begin(console)
    console.ask("arm")

    (reason,) = console.refused("session_stop")

    assert reason == "not possible in state armed; possible in: session"
    # Arming twice is no second authority.
    intents = len(console.records(MagazineIntent))
    console.ask("arm")
    assert len(console.records(MagazineIntent)) == intents


def test_disarmed_with_the_trigger_held_the_running_shot_ends_and_no_other_begins(console: SimulatedConsole) -> None:
    shots = begin(console)
    console.ask("arm")
    console.press()
    console.until_dosing()
    console.ask("disarm")
    console.until_state("session")
    console.until_settled()

    (shot,) = console.records(ShotGiven)[shots:]
    assert shot.outcome == "delivered"
    strokes = console.world.strokes
    assert holds(lambda: console.world.strokes == strokes and console.operator.needle_is_out(), for_s=STILL_S)


def test_a_press_that_fires_nothing_is_answered_and_recorded(console: SimulatedConsole) -> None:
    begin(console)
    before = len(console.records(PressRefused))
    console.operator.press()
    until(lambda: len(console.records(PressRefused)) > before)
    console.operator.release()
    assert console.records(PressRefused)[-1].reason == "not_armed"

    console.ask("arm")
    until(console.operator.is_ready)
    console.operator.press()
    until(lambda: len(console.records(PressRefused)) > before + 1)
    console.operator.release()
    assert console.records(PressRefused)[-1].reason == "no_contact"
    assert console.given() == 0


def test_an_alarm_is_silenced_from_the_command_line_and_its_light_goes_on(console: SimulatedConsole) -> None:
    world, lines = console.world, console.lines
    begin(console)
    done = console.cli("alarm", "silence")
    assert (done.code, "no alarm is active" in done.err) == (1, True)

    before = world.edges(lines.buzzer)
    console.operator.press_stop()
    console.until_state("fault")
    until(lambda: world.edges(lines.buzzer) > before)
    assert "high, silent for 120 s" in console.cli("alarm", "silence").out
    # The burst would have gone on for three seconds.
    heard, seen = world.edges(lines.buzzer), world.edges(lines.light)
    assert holds(lambda: world.edges(lines.buzzer) == heard and not world.level(lines.buzzer), for_s=STILL_S)
    until(lambda: world.edges(lines.light) > seen + 2)
    until(lambda: json.loads((console.state / "live.json").read_text())["alarm_silenced_ms"] > 0)
    assert "ALARM      high, silent for 1" in console.cli("status").out
    command = console.records(CommandTaken)[-1]
    assert (command.command, command.accepted) == ("alarm silence", True)

    refused = len(console.records(PressRefused))
    console.operator.press()
    until(lambda: len(console.records(PressRefused)) > refused)
    console.operator.release()
    assert console.records(PressRefused)[-1].reason == "fault: 101 stop pressed"
    console.operator.release_stop()


def test_a_syringe_is_calibrated_as_its_guide_says_and_then_armed(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs/calibration.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    draw_and_expel, write_down = ([shlex.split(line)[1:] for line in block.splitlines()] for block in blocks)

    with simulated_console(tmp_path / "state") as console:
        console.start()
        expelled_before = drawn = 0
        for arguments in draw_and_expel:
            done = console.cli(*arguments)
            assert done.code == 0, done.err
            if arguments[0] == "status":
                drawn = json.loads(done.out)["plunger_increments"]
                expelled_before = console.world.given_in_air
        assert 0 < drawn == console.world.given_in_air - expelled_before
        (reason,) = console.refused("arm")
        assert "calibrat" in reason

        measure, stop = write_down
        done = console.cli(*measure)
        assert done.code == 0, done.err
        console.prime()
        console.ask("arm")
        console.shoot(1)
        until(lambda: bool(console.records(ShotGiven)))
        console.ask("disarm")
        console.until_state("session")
        assert console.cli(*stop).code == 0


def test_a_soft_limit_stops_the_gun_until_somebody_who_may_says_otherwise(tmp_path: Path) -> None:
    draft = quick_configuration(tmp_path / "config")
    draft.replace("formulary/limits.toml", "session_shots = 240", f"session_shots = {SHOTS_OF_SHORT}")
    with simulated_console(tmp_path / "state", draft.directory) as console:
        console.start()
        console.make_ready()
        (early,) = console.refused("override", limit="soft.session_shots", reason="as agreed", by="a physician")
        assert "does not stand in the next shot's way" in early
        console.ask("arm")
        console.shoot(SHOTS_OF_SHORT)
        console.until_state("session")
        refused = console.cli("arm")
        assert f"shot {SHOTS_OF_SHORT + 1} of the session: soft.session_shots is {SHOTS_OF_SHORT}" in refused.err

        done = console.cli("override", "soft.session_shots", "--reason=as agreed", "--by=a physician")
        assert done.code == 0, done.err
        console.ask("arm")
        console.shoot(1)
        until(lambda: len(console.records(ShotGiven)) == SHOTS_OF_SHORT + 1)
        console.ask("disarm")
        console.until_state("session")

        (record,) = console.records(LimitOverridden)
        told = (record.limit, record.by, record.uid, record.figure)
        assert told == ("soft.session_shots", "a physician", os.getuid(), f"shot {SHOTS_OF_SHORT + 1}")
        assert "a physician" in console.cli("session", "report", "last").out
