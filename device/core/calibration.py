"""A syringe's calibration on this console: what was measured, when, and until when it holds.

Owns what a calibration must be to be taken, and why none, or an old one, keeps the gun from being armed. It keeps
nothing else from being done: a stroke is measured by drawing and expelling it. It belongs to the very file of the
syringe, by its digest: whoever changes that calibrates again. Pure: the wall clock is an argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from device.core.limits import Refusal, ul
from device.core.syringe import Syringe
from device.core.units import Nanolitres

ERROR_PERCENT_MOST: Final = 2
"""What was measured may differ so much from the file: twice the 1 % to which a shot's mean error is held."""

KEPT_MOST: Final = 64
"""Calibrations that the ledger remembers: one for each syringe's file, and several consoles' worth of them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """That a syringe was measured, and until when that holds: the wall clock, in ms."""

    syringe_sha256: str
    at_ms: int
    expires_ms: int


def measurement_refusals(syringe: Syringe, measured_nl: Nanolitres, *, at_ms: int, expires_ms: int) -> tuple[str, ...]:
    """Return why a measurement is no calibration of `syringe`; empty when it is one."""
    found = []
    if abs(measured_nl - syringe.stroke_nl) * 100 > ERROR_PERCENT_MOST * syringe.stroke_nl:
        found.append(
            f"measured {ul(measured_nl)}, but stroke_ul of syringe {syringe.name} is {ul(syringe.stroke_nl)}: they may "
            f"differ by {ERROR_PERCENT_MOST} %; write what was measured into its file, sign and install that, "
            "restart, measure again"
        )
    if expires_ms <= at_ms:
        found.append("the calibration would have expired already: check the computer's clock")
    return tuple(found)


def kept(calibrations: tuple[Calibration, ...], latest: Calibration) -> tuple[Calibration, ...]:
    """Return `calibrations` with `latest` in place of an older one of the same syringe, the oldest left out at last."""
    others = tuple(one for one in calibrations if one.syringe_sha256 != latest.syringe_sha256)
    return (*others, latest)[-KEPT_MOST:]


def calibration_refusals(
    calibrations: Iterable[Calibration], *, syringe: str, syringe_sha256: str, now_ms: int
) -> tuple[Refusal, ...]:
    """Return why the gun may not be armed with this syringe now; empty when it is calibrated."""
    found = next((one for one in calibrations if one.syringe_sha256 == syringe_sha256), None)
    if found is None:
        why = "was never calibrated on this console, or its file has changed since"
    # A clock that fell behind does not make an old calibration young: it was made when it says at the earliest.
    elif max(now_ms, found.at_ms) >= found.expires_ms:
        why = "has a calibration that has expired"
    else:
        return ()
    how = f"`mesogun calibrate --syringe {syringe} --measured-ul ... --method ...`"
    return (Refusal("calibration", f"syringe {syringe} {why}: weigh what a full stroke gives, then {how}"),)
