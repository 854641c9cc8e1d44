"""Builders for the tests of the core: specifications, profiles, syringes, intents and magazines.

They give one plausible console; a test names only what it changes. The strategies give what a clinic could write and
what other consoles could be.
"""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from device.core.device_spec import AxisSpec, DeviceSpec, HardLimits, PumpSpec, Timing
from device.core.formulary import Formulary
from device.core.magazine import Purpose, RealtimeMagazine, StrokeProgram
from device.core.profile import Mode, Profile, TriggerStyle
from device.core.records import MagazineIntent
from device.core.serum import Ingredient, Serum
from device.core.stroke import ScanSpec
from device.core.syringe import Syringe
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    Micrograms,
    Micrometres,
    MicrometresPerSecond,
    MicrometresPerSecond2,
    Nanolitres,
    NanolitresPerCm2,
    NanolitresPerSecond,
    Nanoseconds,
    Steps,
)

MS = 1_000_000

LAW = settings(max_examples=40, deadline=None)
"""How hard a law is tried: enough to meet its corners, little enough for every change."""

AXIS = AxisSpec(
    steps_per_mm=80,
    clearance_um=Micrometres(500),
    travel_um=Micrometres(14_000),
    fastest_um_s=MicrometresPerSecond(60_000),
    acceleration_um_s2=MicrometresPerSecond2(4_000_000),
    homing_um_s=MicrometresPerSecond(5_000),
)
PUMP = PumpSpec(
    stroke_increments=Increments(24_000),
    stroke_half_increments=6000,
    start_speed=HalfIncrementsPerSecond(900),
    fastest_speed=HalfIncrementsPerSecond(6000),
    cutoff_speed=HalfIncrementsPerSecond(900),
    slope=14,
    refill_speed=HalfIncrementsPerSecond(1500),
    program_bytes=255,
    gate_latency_ns=Nanoseconds(4 * MS),
    phase_feedback=True,
)
FORMULARY = Formulary(
    3, "a pharmacist", signed_by="pharmacy", sha256="f", signed_ms=0, expires_ms=1_000_000_000_000_000
)

LIMITS = HardLimits(
    shot_nl=Nanolitres(100_000),
    session_nl=Nanolitres(6_000_000),
    patient_day_nl=Nanolitres(12_000_000),
    session_shots=300,
    hour_shots=400,
    least_interval_ns=Nanoseconds(100 * MS),
    fastest_nl_s=NanolitresPerSecond(400_000),
    depth_um=Micrometres(13_000),
    magazine_shots=8,
    prime_nl=Nanolitres(300_000),
    prime_ns=Nanoseconds(10_000 * MS),
    region_nl_per_cm2=NanolitresPerCm2(40_000),
    needle_shots=2_000,
)
TIMING = Timing(
    permit_ns=Nanoseconds(30 * MS),
    silence_ns=Nanoseconds(30 * MS),
    discrepancy_ns=Nanoseconds(30 * MS),
    lockout_ns=Nanoseconds(20 * MS),
    late_limit_ns=Nanoseconds(20 * MS),
    phase_wait_ns=Nanoseconds(200 * MS),
    idle_scan_ns=Nanoseconds(2 * MS),
    armed_scan_ns=Nanoseconds(MS // 2),
    spin_ns=Nanoseconds(80_000),
)
SPEC = DeviceSpec(site="clinic", device="console-1", axis=AXIS, pump=PUMP, limits=LIMITS, timing=TIMING)

PROFILE = Profile(
    name="point",
    mode=Mode.SINGLE,
    trigger=TriggerStyle.PRESS,
    burst_shots=1,
    interval_ns=Nanoseconds(400 * MS),
    depth_um=Micrometres(4_000),
    entry_speed_um_s=MicrometresPerSecond(40_000),
    exit_speed_um_s=MicrometresPerSecond(40_000),
    slowest_speed_um_s=MicrometresPerSecond(10_000),
    dwell_ns=Nanoseconds(50 * MS),
    longest_dwell_ns=Nanoseconds(400 * MS),
    entry_from_um=Micrometres(1_000),
    exit_until_um=Micrometres(1_000),
    dose_nl=Nanolitres(20_000),
    entry_percent=20,
    dwell_percent=60,
    exit_percent=20,
    suck_back_nl=Nanolitres(1_000),
    require_contact=True,
    session_volume_nl=Nanolitres(4_000_000),
    session_shots=150,
)
SYRINGE = Syringe(
    name="1ml",
    stroke_nl=Nanolitres(1_000_000),
    stroke_increments=Increments(24_000),
    smallest_dose_nl=Nanolitres(5_000),
    fastest_nl_s=NanolitresPerSecond(200_000),
    backlash_increments=Increments(22),
)
SALINE = Serum(name="saline", ingredients=(), vial_nl=Nanolitres(5_000_000))


def make_profile(**changes: Any) -> Profile:
    """Return the plausible profile with `changes`."""
    return replace(PROFILE, **changes)


def make_limits(**changes: Any) -> HardLimits:
    """Return the console's hard limits with `changes`."""
    return replace(LIMITS, **changes)


def make_ingredient(*, ug_per_ml: int, most_ug: int | None = None, most_ug_per_kg: int | None = None) -> Ingredient:
    """Return an ingredient called lidocaine."""
    return Ingredient(
        name="lidocaine",
        concentration_ug_per_ml=ug_per_ml,
        most_ug=None if most_ug is None else Micrograms(most_ug),
        most_ug_per_kg=None if most_ug_per_kg is None else Micrograms(most_ug_per_kg),
    )


def make_serum(*ingredients: Ingredient, vial_nl: int = 5_000_000) -> Serum:
    """Return a serum of `ingredients`."""
    return Serum(name="mix", ingredients=ingredients, vial_nl=Nanolitres(vial_nl))


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Profiles that a clinic could write, most of which some console can deliver."""
    depth_um = draw(st.integers(500, 13_000))
    wished = draw(st.integers(5_000, 60_000)), draw(st.integers(5_000, 60_000))
    entry = draw(st.integers(0, 100))
    dwell = draw(st.integers(0, 100 - entry))
    dwell_ms = draw(st.integers(0, 300))
    # A gate must lie at least one motor step above the bottom.
    highest_um = depth_um - 100
    return make_profile(
        depth_um=depth_um,
        entry_speed_um_s=wished[0],
        exit_speed_um_s=wished[1],
        slowest_speed_um_s=draw(st.integers(2_000, min(wished))),
        dwell_ns=dwell_ms * MS,
        longest_dwell_ns=(dwell_ms + draw(st.integers(0, 800))) * MS,
        entry_from_um=draw(st.integers(0, highest_um)),
        exit_until_um=draw(st.integers(0, highest_um)),
        dose_nl=draw(st.integers(5_000, 60_000)),
        entry_percent=entry,
        dwell_percent=dwell,
        exit_percent=100 - entry - dwell,
        suck_back_nl=draw(st.sampled_from([0, 500, 1_000, 2_500])),
    )


@st.composite
def syringes(draw: st.DrawFn) -> Syringe:
    """Syringes of 1 to 5 mL with any calibration."""
    return replace(
        SYRINGE,
        stroke_nl=Nanolitres(draw(st.integers(900_000, 5_500_000))),
        fastest_nl_s=NanolitresPerSecond(draw(st.integers(50_000, 400_000))),
    )


@st.composite
def specs(draw: st.DrawFn) -> DeviceSpec:
    """Consoles with other motors, pumps and clearances."""
    axis = replace(
        AXIS,
        steps_per_mm=draw(st.sampled_from([40, 80, 100, 133, 160])),
        clearance_um=Micrometres(draw(st.integers(100, 1_000))),
        acceleration_um_s2=MicrometresPerSecond2(draw(st.integers(500_000, 8_000_000))),
    )
    pump = replace(
        PUMP,
        start_speed=HalfIncrementsPerSecond(draw(st.integers(50, 1_000))),
        cutoff_speed=HalfIncrementsPerSecond(draw(st.integers(50, 2_700))),
        slope=draw(st.integers(1, 20)),
        gate_latency_ns=Nanoseconds(draw(st.integers(0, 8)) * MS),
    )
    return replace(SPEC, axis=axis, pump=pump)


def make_intent(**changes: Any) -> MagazineIntent:
    """Return the intent of two shots of three phases and a suck-back, the first repaying 24 increments."""
    intent = MagazineIntent(
        magazine_id=1,
        purpose=Purpose.INJECT.value,
        session_id="s-1",
        region="crown",
        first_shot=1,
        stroke_nl=1_000_000,
        stroke_increments=24_000,
        start=10_000,
        low_water=9_976,
        carry_before=5,
        moves_per_shot=4,
        phases=["entry", "dwell", "exit", "suck_back"] * 2,
        targets=[9_880, 9_592, 9_496, 9_520, 9_400, 9_112, 9_016, 9_040],
        doses_nl=[20_000, 20_000],
        carries=[6, 7],
    )
    return replace(intent, **changes)


SMALL_AXIS = replace(
    AXIS,
    steps_per_mm=10,
    travel_um=Micrometres(3_000),
    fastest_um_s=MicrometresPerSecond(40_000),
    acceleration_um_s2=MicrometresPerSecond2(1_000_000),
    homing_um_s=MicrometresPerSecond(10_000),
)
"""An axis of few steps, so that a test can break off a stroke at every single one."""

SCAN_SPEC = ScanSpec(axis=SMALL_AXIS, timing=TIMING, phase_feedback=True)

STROKE = StrokeProgram(
    depth=Steps(20),
    steps_per_mm=10,
    entry_speed_um_s=MicrometresPerSecond(40_000),
    exit_speed_um_s=MicrometresPerSecond(30_000),
    acceleration_um_s2=MicrometresPerSecond2(1_000_000),
    dwell_ns=Nanoseconds(20 * MS),
    entry_open=Steps(8),
    dwell_dose=True,
    exit_done=Steps(7),
    suck_back_ns=Nanoseconds(10 * MS),
    prime_ns=None,
)
PRIME_STROKE = replace(
    STROKE,
    depth=Steps(0),
    dwell_ns=Nanoseconds(0),
    entry_open=None,
    dwell_dose=False,
    exit_done=None,
    suck_back_ns=None,
    prime_ns=Nanoseconds(30 * MS),
)


def make_magazine(**changes: Any) -> RealtimeMagazine:
    """Return a single shot fired by a press, with `changes`."""
    magazine = RealtimeMagazine(
        magazine_id=1,
        shots=1,
        purpose=Purpose.INJECT,
        mode=Mode.SINGLE,
        trigger=TriggerStyle.PRESS,
        interval_ns=Nanoseconds(200 * MS),
        fresh_press=True,
        require_contact=True,
        stroke=STROKE,
    )
    return replace(magazine, **changes)


PRIME_MAGAZINE = make_magazine(purpose=Purpose.PRIME, stroke=PRIME_STROKE, require_contact=False)
"""A release into the air at home, without the trigger."""
BURST = make_magazine(shots=3, mode=Mode.BURST)
CONTINUOUS = make_magazine(shots=3, mode=Mode.CONTINUOUS)
HELD = make_magazine(trigger=TriggerStyle.HOLD)
