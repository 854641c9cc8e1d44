"""A gun is armed only with a syringe that was measured on this console, and not too long ago."""

from dataclasses import replace
from typing import Any

import pytest

from device.core.calibration import KEPT_MOST, Calibration, calibration_refusals, kept
from device.core.console import Console, State
from device.core.effects import Commit, Reply
from device.core.events import ArmRequested, CalibrateRequested, Request
from device.core.ledger import apply
from device.core.machine import step
from device.core.records import CommandTaken, SyringeCalibrated
from device.core.units import Nanolitres
from tests.support.machine import (
    CALIBRATE,
    DISARMED,
    PRIME,
    REFILLING,
    REQUEST,
    SESSION,
    START_SESSION,
    UNCALIBRATED,
    after,
    records_in,
    reply_in,
)

NOON_MS = 1_790_000_000_000
NEVER = (
    "syringe 1ml was never calibrated on this console, or its file has changed since: weigh what a full stroke gives, "
    "then `mesogun calibrate --syringe 1ml --measured-ul ... --method ...`"
)


def measured(**changes: Any) -> CalibrateRequested:
    request = replace(REQUEST, at_ms=NOON_MS)
    return replace(CALIBRATE, **{"request": request, "expires_ms": NOON_MS + 10, **changes})


def arming(at_ms: int) -> ArmRequested:
    return ArmRequested(Request(number=4, uid=1000, pid=77, at_ms=at_ms))


def test_a_measurement_is_written_down_with_its_command_and_answered() -> None:
    console, effects = step(UNCALIBRATED, measured(measured_nl=Nanolitres(1_012_000), method="weighed"))
    commit, reply = effects
    assert isinstance(commit, Commit)
    assert list(commit.records) == [
        CommandTaken("calibrate", 1000, 77, accepted=True, reason="", at_ms=NOON_MS),
        SyringeCalibrated(
            syringe="1ml",
            syringe_sha256="y",
            stroke_nl=1_000_000,
            measured_nl=1_012_000,
            method="weighed",
            at_ms=NOON_MS,
            expires_ms=NOON_MS + 10,
        ),
    ]
    assert reply == Reply(replace(REQUEST, at_ms=NOON_MS), accepted=True, reasons=())
    assert console.state is State.DISARMED
    assert console.ledger.calibrations == (Calibration("y", NOON_MS, NOON_MS + 10),)


@pytest.mark.parametrize("measured_nl", [980_000, 1_020_000])
def test_a_stroke_may_be_two_percent_beside_its_file(measured_nl: int) -> None:
    _, effects = step(UNCALIBRATED, measured(measured_nl=Nanolitres(measured_nl)))
    assert reply_in(effects).accepted


@pytest.mark.parametrize("measured_nl", [979_999, 1_020_001])
def test_a_stroke_further_beside_its_file_is_refused_with_what_to_do(measured_nl: int) -> None:
    console, effects = step(UNCALIBRATED, measured(measured_nl=Nanolitres(measured_nl)))
    (reason,) = reply_in(effects).reasons
    assert reason == (
        f"measured {measured_nl / 1000:.3f} uL, but stroke_ul of syringe 1ml is 1000 uL: they may differ by 2 %; "
        "write what was measured into its file, sign and install that, restart, measure again"
    )
    assert console.ledger.calibrations == ()
    assert [type(record) for record in records_in(effects)] == [CommandTaken]


def test_a_calibration_that_would_be_over_already_is_refused() -> None:
    _, effects = step(UNCALIBRATED, measured(expires_ms=NOON_MS))
    assert reply_in(effects).reasons == ("the calibration would have expired already: check the computer's clock",)


def test_without_a_calibration_serum_is_drawn_and_expelled_but_the_gun_is_not_armed() -> None:
    # How else would one measure a stroke?
    opened = after(UNCALIBRATED, START_SESSION)
    primed, _ = step(opened, PRIME)
    assert (opened.state, primed.state) == (State.SESSION, State.REFILLING)
    console, effects = step(opened, arming(NOON_MS))
    assert (console.armed, reply_in(effects).reasons) == (False, (NEVER,))
    assert step(after(opened, measured()), arming(NOON_MS))[0].armed


def test_a_syringe_whose_file_has_changed_must_be_measured_again() -> None:
    opened = after(DISARMED, replace(START_SESSION, syringe_sha256="other"))
    console, effects = step(opened, arming(NOON_MS))
    assert (console.armed, reply_in(effects).reasons) == (False, (NEVER,))


def session_with(expires_ms: int) -> Console:
    return after(after(UNCALIBRATED, measured(expires_ms=expires_ms)), replace(START_SESSION, request=REQUEST))


@pytest.mark.parametrize(("at_ms", "armed"), [(NOON_MS + 9, True), (NOON_MS + 10, False), (NOON_MS + 11, False)])
def test_the_gun_is_armed_until_the_calibration_expires(at_ms: int, armed: bool) -> None:
    console, effects = step(session_with(NOON_MS + 10), arming(at_ms))
    assert console.armed is armed
    if not armed:
        (reason,) = reply_in(effects).reasons
        assert reason.startswith("syringe 1ml has a calibration that has expired: ")


def test_a_clock_that_fell_behind_makes_no_calibration_younger() -> None:
    expired = replace(SESSION.ledger.calibrations[0], at_ms=NOON_MS, expires_ms=NOON_MS)
    console = replace(SESSION, ledger=replace(SESSION.ledger, calibrations=(expired,)))
    assert not step(console, arming(1))[0].armed


def test_a_session_that_goes_on_after_a_restart_is_not_armed_without_a_calibration() -> None:
    console, effects = step(replace(SESSION, ledger=replace(SESSION.ledger, calibrations=())), arming(NOON_MS))
    assert (console.armed, reply_in(effects).reasons) == (False, (NEVER,))
    assert step(SESSION, arming(NOON_MS))[0].state is REFILLING.state


def test_the_latest_measurement_of_a_syringe_holds_and_the_memory_is_bounded() -> None:
    found: tuple[Calibration, ...] = ()
    for number in range(KEPT_MOST + 1):
        found = kept(found, Calibration(f"y-{number}", 0, 10))
    assert len(found) == KEPT_MOST
    refused = calibration_refusals(found, syringe="1ml", syringe_sha256="y-0", now_ms=0)
    assert [reason.code for reason in refused] == ["calibration"]
    again = kept(found, Calibration("y-1", 5, 20))
    assert len(again) == KEPT_MOST
    assert calibration_refusals(again, syringe="1ml", syringe_sha256="y-1", now_ms=15) == ()


def test_the_ledger_knows_it_again_from_its_record() -> None:
    (record,) = [one for one in records_in(step(UNCALIBRATED, measured())[1]) if isinstance(one, SyringeCalibrated)]
    assert apply(UNCALIBRATED.ledger, record).calibrations == after(UNCALIBRATED, measured()).ledger.calibrations
