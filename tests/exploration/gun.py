"""The gun that is explored: a real console in every rule, coarse in its numbers.

Owns the specification, the profiles and the first state of each run. The needle's axis has three steps a stroke and
a phase thirteen plunger increments, so that a stroke has few scans; plans, limits and ceilings are the shipped
planner's and driver's own. Time is coarse too: 200 ms a step, well above every lock-out.
"""

from dataclasses import dataclass, replace
from typing import Final

from device.core.console import Console, State
from device.core.device_spec import AxisSpec, DeviceSpec
from device.core.events import ArmRequested, Command, PrimeRequested, Request
from device.core.ledger import Ledger, apply
from device.core.profile import Mode, Profile, TriggerStyle
from device.core.records import FormularyTaken, PlungerHomed, Refilled, SessionStarted, SyringeCalibrated
from device.core.session import Region, Session
from device.core.shot_plan import plan_stroke
from device.core.stroke import ScanSpec
from device.core.syringe import Syringe
from device.core.units import (
    Increments,
    Micrometres,
    MicrometresPerSecond,
    MicrometresPerSecond2,
    Nanolitres,
    NanolitresPerSecond,
    Nanoseconds,
)
from drivers.pump.cavro_program import PumpCeiling
from tests.support.core import FORMULARY, LIMITS, MS, PROFILE, PUMP, TIMING, make_serum

STEPS_PER_MM: Final = 1
INCREMENT_NL: Final = 1_000
FILLED: Final = 400
"""Increments in the syringe at the start: enough for every shot of a run, a multiple of the pump's coarse scale."""

AXIS: Final = AxisSpec(
    steps_per_mm=STEPS_PER_MM,
    clearance_um=Micrometres(0),
    travel_um=Micrometres(3_000),
    fastest_um_s=MicrometresPerSecond(5_000),
    acceleration_um_s2=MicrometresPerSecond2(1_000_000),
    homing_um_s=MicrometresPerSecond(5_000),
)
SPEC: Final = DeviceSpec(
    site="clinic",
    device="explored",
    axis=AXIS,
    pump=PUMP,
    limits=replace(LIMITS, depth_um=Micrometres(3_000)),
    timing=TIMING,
)
SCAN_SPEC: Final = ScanSpec(axis=AXIS, timing=TIMING, phase_feedback=True)
SYRINGE: Final = Syringe(
    name="coarse",
    stroke_nl=Nanolitres(24_000 * INCREMENT_NL),
    stroke_increments=Increments(24_000),
    smallest_dose_nl=Nanolitres(5_000),
    fastest_nl_s=NanolitresPerSecond(200_000),
    backlash_increments=Increments(2),
)
CEILING: Final = PumpCeiling.of(SPEC.limits)

# 39.5 increments: the half is carried on, so that two shots differ.
_POINT: Final = replace(
    PROFILE,
    interval_ns=Nanoseconds(3_000 * MS),
    depth_um=Micrometres(3_000),
    entry_speed_um_s=MicrometresPerSecond(5_000),
    exit_speed_um_s=MicrometresPerSecond(5_000),
    slowest_speed_um_s=MicrometresPerSecond(5_000),
    entry_from_um=Micrometres(0),
    exit_until_um=Micrometres(0),
    dose_nl=Nanolitres(39_500),
    entry_percent=34,
    dwell_percent=33,
    exit_percent=33,
    suck_back_nl=Nanolitres(0),
)
_TWO_PHASES: Final = replace(_POINT, entry_percent=0, dwell_percent=50, exit_percent=50)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run explores: a profile, or a prime, and the command that begins it."""

    name: str
    profile: Profile
    begin: Command


ARM: Final = ArmRequested(Request(1, 1000, 77))
PRIME: Final = PrimeRequested(Request(2, 1000, 77), volume_nl=Nanolitres(20 * INCREMENT_NL))

_HELD: Final = TriggerStyle.HOLD
_HOLD: Final = replace(_TWO_PHASES, trigger=_HELD, suck_back_nl=Nanolitres(8_000), require_contact=False)
_TAP: Final = replace(_POINT, trigger=_HELD, require_contact=False, entry_percent=0, dwell_percent=100, exit_percent=0)
_BURST: Final = replace(_TWO_PHASES, mode=Mode.BURST, burst_shots=2, require_contact=False)

PLANS: Final[dict[str, Plan]] = {
    "press": Plan("press", _POINT, ARM),
    "hold": Plan("hold", _HOLD, ARM),
    "tap": Plan("tap", _TAP, ARM),
    "burst": Plan("burst", _BURST, ARM),
    "continuous": Plan("continuous", replace(_TWO_PHASES, mode=Mode.CONTINUOUS, trigger=_HELD), ARM),
    "prime": Plan("prime", replace(_POINT, require_contact=False), PRIME),
}
"""`tap` is a held shot with the dwell's dose alone: the smallest stroke that a release can break off."""


def session_of(plan: Plan, shots: int) -> Session:
    """Return the open session of `shots` points, planned by the shipped planner."""
    return Session(
        session_id="s-1",
        profile=plan.profile,
        serum=make_serum(),
        syringe=SYRINGE,
        patient="anna",
        weight_g=None,
        regions=(Region("crown", shots),),
        plan=plan_stroke(plan.profile, SYRINGE, SPEC),
    )


def first_ledger(shots: int) -> Ledger:
    """Return what the journal says at the start: a session is open, the syringe is filled."""
    started = SessionStarted(
        session_id="s-1",
        profile="p",
        profile_sha256="p",
        serum="s",
        serum_sha256="s",
        syringe="y",
        syringe_sha256="y",
        patient="anna",
        weight_g=None,
        regions=["crown"],
        region_points=[shots],
    )
    ledger = Ledger()
    measured = SyringeCalibrated("y", "y", SYRINGE.stroke_nl, SYRINGE.stroke_nl, "weighed", at_ms=0, expires_ms=1)
    signed = FormularyTaken(FORMULARY.version, FORMULARY.sha256, "", "", signed_ms=0, expires_ms=1)
    for record in (PlungerHomed(0), signed, measured, started, Refilled(0, FILLED, FILLED * INCREMENT_NL)):
        ledger = apply(ledger, record)
    return ledger


def restarted_console(ledger: Ledger, session: Session) -> Console:
    """Return the console of a controller that has just started on this journal; the configuration is unchanged."""
    return Console(
        spec=SPEC, ledger=ledger, formulary=FORMULARY, session=session if ledger.session is not None else None
    )


def first_console(ledger: Ledger, session: Session) -> Console:
    """Return the console in its open session, tested and homed, with nothing under way."""
    return replace(
        restarted_console(ledger, session), state=State.SESSION, ready=True, homed=True, initialised=True, probed=True
    )
