"""The clinic of the simulation's tests: the shipped configuration, and the saline treatments that they give."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from device.core.device_spec import SoftLimits
from device.core.units import Nanolitres
from device.settings import Configuration, load_configuration
from device.simulation.clinic import Treatment

CONFIG: Final = Path(__file__).resolve().parents[2] / "config"
SERUM: Final = "saline"
SYRINGE: Final = "1ml"
PROFILES: Final = ("continuous", "nappage", "papule", "point-by-point", "saline-test")


@cache
def shipped(
    *, vial_nl: int | None = None, steps_per_mm: int | None = None, day_nl: int | None = None, hour: int | None = None
) -> Configuration:
    """Return the shipped configuration; with a vial that holds only so much, with another needle axis.

    `day_nl` and `hour` are other hard limits of a patient's day and hour; then there are no soft ones.
    """
    configuration = load_configuration(CONFIG)
    device, serums = configuration.device, dict(configuration.serums)
    if vial_nl is not None:
        serum = serums[SERUM]
        serums[SERUM] = replace(serum, value=replace(serum.value, vial_nl=Nanolitres(vial_nl)))
    if steps_per_mm is not None:
        device = replace(device, axis=replace(device.axis, steps_per_mm=steps_per_mm))
    limits = device.limits
    if day_nl is not None:
        limits, device = replace(limits, patient_day_nl=Nanolitres(day_nl)), replace(device, soft=SoftLimits())
    if hour is not None:
        limits, device = replace(limits, hour_shots=hour), replace(device, soft=SoftLimits())
    return replace(configuration, device=replace(device, limits=limits), serums=serums)


def saline(profile: str, points: int) -> Treatment:
    """Return a treatment with saline from the 1 mL syringe."""
    return Treatment(profile, SERUM, SYRINGE, points)
