"""The console that is measured: the shipped configuration with the profile `continuous`, the fastest of the shipped.

Owns the choice of profile, serum and syringe, so that every benchmark speaks of the same stroke and the same magazine.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from device.core.magazine import Purpose, RealtimeMagazine
from device.core.profile import Mode, Profile, TriggerStyle
from device.core.shot_plan import plan_stroke
from device.core.stroke import ScanSpec
from device.core.syringe import Syringe
from device.core.units import NS_PER_S, Nanoseconds
from device.settings import Configuration, load_configuration

CHECKOUT: Final = Path(__file__).resolve().parents[2]
CONFIGURATION: Final = CHECKOUT / "config"
PROFILE: Final = "continuous"
SERUM: Final = "saline"
SYRINGE: Final = "1ml"
LATE_LIMIT_NS: Final = Nanoseconds(NS_PER_S)


def shipped_configuration() -> Configuration:
    """Return the shipped configuration. Raises ConfigurationError."""
    return load_configuration(CONFIGURATION)


def profile_of(configuration: Configuration) -> Profile:
    """Return the measured profile."""
    return configuration.profiles[PROFILE].value


def syringe_of(configuration: Configuration) -> Syringe:
    """Return the measured syringe."""
    return configuration.syringes[SYRINGE].value


def scan_spec(configuration: Configuration, *, phase_feedback: bool) -> ScanSpec:
    """Return what the scan is told, but for its limit of lateness: a late step is measured here, it ends no stroke."""
    device = configuration.device
    timing = replace(device.timing, late_limit_ns=LATE_LIMIT_NS)
    return ScanSpec(device.axis, timing, phase_feedback)


def realtime_magazine(
    configuration: Configuration, *, magazine_id: int, shots: int, mode: Mode, trigger: TriggerStyle
) -> RealtimeMagazine:
    """Return a magazine of the measured profile's stroke, fired as `mode` and `trigger` say."""
    profile = profile_of(configuration)
    plan = plan_stroke(profile, syringe_of(configuration), configuration.device)
    return RealtimeMagazine(
        magazine_id=magazine_id,
        shots=shots,
        purpose=Purpose.INJECT,
        mode=mode,
        trigger=trigger,
        interval_ns=profile.interval_ns,
        fresh_press=True,
        require_contact=profile.require_contact,
        stroke=plan.stroke,
    )
