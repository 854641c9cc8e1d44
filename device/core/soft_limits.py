"""Soft limits: what may be exceeded by the word of somebody who may give it, and by nobody's beyond the hard limits.

Pure. A refusal by a soft limit has a `figure`, what an override goes beyond; a hard one has none. An override holds for
one limit and for the rest of one session; it stands in the journal with its reason and its name.
"""

from collections.abc import Collection, Sequence
from typing import Final

from device.core.device_spec import SoftLimits
from device.core.limits import Refusal, RegionLoad, nl_per_cm2, ul
from device.core.patient_day import Before
from device.core.profile import Profile
from device.core.units import NS_PER_MS, Nanolitres

NAMES: Final = (
    "soft.shot_ul",
    "soft.session_ml",
    "soft.patient_day_ml",
    "soft.session_shots",
    "soft.hour_shots",
    "soft.region_ul_per_cm2",
    "soft.least_interval_ms",
)


def soft_refusals(
    soft: SoftLimits,
    *,
    overridden: Collection[str],
    profile: Profile,
    booked_shots: int,
    total_nl: Nanolitres,
    before: Before,
    hour_shots: int,
    regions: Sequence[RegionLoad],
) -> tuple[Refusal, ...]:
    """Return which soft limits, that nobody has overridden, the next shot would exceed; arguments: `shot_refusals`."""
    day_nl = before.volume_nl + total_nl
    exceeded = (
        _above("soft.shot_ul", profile.dose_nl, soft.shot_nl, "a dose of"),
        _above("soft.session_ml", total_nl, soft.session_nl, "the next shot would reach"),
        _above("soft.patient_day_ml", day_nl, soft.patient_day_nl, "the next shot would reach, in 24 hours,"),
        _more("soft.session_shots", booked_shots + 1, soft.session_shots, "of the session"),
        _more("soft.hour_shots", hour_shots + 1, soft.hour_shots, "of the patient's hour"),
        _denser("soft.region_ul_per_cm2", regions, soft.region_nl_per_cm2),
        _hastier("soft.least_interval_ms", profile.interval_ns, soft.least_interval_ns),
    )
    return tuple(one for one in exceeded if one is not None and one.code not in overridden)


def _above(name: str, volume_nl: int, most_nl: int | None, what: str) -> Refusal | None:
    if most_nl is None or volume_nl <= most_nl:
        return None
    return _refusal(name, f"{what} {ul(volume_nl)}", ul(most_nl), figure=ul(volume_nl))


def _more(name: str, shot: int, most: int | None, of_what: str) -> Refusal | None:
    if most is None or shot <= most:
        return None
    return _refusal(name, f"shot {shot} {of_what}", str(most), figure=f"shot {shot}")


def _denser(name: str, regions: Sequence[RegionLoad], most: int | None) -> Refusal | None:
    """Refuse the first region that would get more for its area: the others are refused when they are reached."""
    found = next((one for one in regions if most is not None and one.exceeds(most)), None)
    if most is None or found is None:
        return None
    reached = f"{ul(nl_per_cm2(found.reached_nl, found.area_mm2))} per cm2"
    return _refusal(name, f"the next shot would reach {reached} of {found.name}", f"{ul(most)}", figure=reached)


def _hastier(name: str, interval_ns: int, least_ns: int | None) -> Refusal | None:
    if least_ns is None or interval_ns >= least_ns:
        return None
    interval, least = (f"{time_ns / NS_PER_MS:g} ms" for time_ns in (interval_ns, least_ns))
    return _refusal(name, f"an interval of {interval}", least, figure=interval)


def _refusal(name: str, what: str, limit: str, *, figure: str) -> Refusal:
    how = f'`mesogun override {name} --reason "..." --by NAME`'
    return Refusal(name, f"{what}: {name} is {limit}; to go beyond it, {how}", figure=figure)
