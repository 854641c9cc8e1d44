"""The limits: every reason to refuse a shot, all at once.

Pure checks of one wished shot against the console's hard limits, the profile, the syringe, the serum's ingredients
and the totals already booked. The pump driver holds the plunger to its own ceiling besides (`drivers.pump`): this
module is never the only guard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from device.core.device_spec import HardLimits
from device.core.patient_day import Before
from device.core.profile import Profile
from device.core.serum import Ingredient, Serum
from device.core.syringe import Syringe
from device.core.units import Micrograms, Nanolitres


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason: a stable `code` for programs, a sentence with figures and a remedy for people.

    `figure` is what an override of it goes beyond, in few words; empty for what nobody may override.
    """

    code: str
    message: str
    figure: str = ""


@dataclass(frozen=True, slots=True)
class RegionLoad:
    """What is booked in a region of known area, and what the next shots would reach there."""

    name: str
    area_mm2: int
    booked_nl: int
    reached_nl: int

    def exceeds(self, most_nl_per_cm2: int) -> bool:
        """Whether it would be more for its area than that: 1 cm2 is 100 mm2, nothing is rounded."""
        return self.reached_nl * 100 > most_nl_per_cm2 * self.area_mm2


def nl_per_cm2(volume_nl: int, area_mm2: int) -> int:
    """Return a volume by area, rounded up."""
    return -(-volume_nl * 100 // area_mm2)


def ul(volume_nl: int) -> str:
    """Return a volume for people, in microlitres."""
    return f"{volume_nl / 1000:.3f}".rstrip("0").rstrip(".") + " uL"


def profile_refusals(profile: Profile, *, limits: HardLimits, syringe: Syringe) -> tuple[Refusal, ...]:
    """Return why no shot of `profile` may be given on this console with this syringe; empty when one may."""
    found: list[Refusal] = []
    # One increment more than the dose: the carried remainder may add it to a single shot.
    most_nl = syringe.volume_of(syringe.increments_within(profile.dose_nl)) + syringe.volume_of_one
    if most_nl > limits.shot_nl:
        found.append(
            Refusal("shot_volume", f"the shot of {ul(profile.dose_nl)} may exceed limits.shot_ul {ul(limits.shot_nl)}")
        )
    if profile.dose_nl < syringe.smallest_dose_nl:
        found.append(
            Refusal(
                "smallest_dose",
                f"the dose of {ul(profile.dose_nl)} is under the smallest of syringe {syringe.name}, "
                f"{ul(syringe.smallest_dose_nl)}: raise dose_ul or take a smaller syringe",
            )
        )
    if profile.depth_um > limits.depth_um:
        found.append(
            Refusal("depth", f"depth {profile.depth_um / 1000} mm exceeds limits.depth_mm {limits.depth_um / 1000}")
        )
    if profile.interval_ns < limits.least_interval_ns:
        found.append(
            Refusal(
                "interval",
                f"interval {profile.interval_ns / 1e6:g} ms is under limits.least_interval_ms "
                f"{limits.least_interval_ns / 1e6:g}",
            )
        )
    return tuple(found)


def ingredient_limit(ingredient: Ingredient, weight_g: int | None) -> Micrograms | None:
    """Return the most of an ingredient in a session and in 24 hours, rounded down; None where it has no limit."""
    bounds = [ingredient.most_ug] if ingredient.most_ug is not None else []
    if ingredient.most_ug_per_kg is not None and weight_g is not None:
        bounds.append(Micrograms(ingredient.most_ug_per_kg * weight_g // 1000))
    return min(bounds) if bounds else None


def serum_refusals(serum: Serum, *, weight_g: int | None) -> tuple[Refusal, ...]:
    """Return why no session may start with `serum`: a limit per kilogram needs the patient's weight."""
    return tuple(
        Refusal("weight", f"{ingredient.name} in {serum.name} has a limit per kilogram: give --weight-kg")
        for ingredient in serum.ingredients
        if ingredient.most_ug_per_kg is not None and weight_g is None
    )


def shot_refusals(
    *,
    profile: Profile,
    limits: HardLimits,
    serum: Serum,
    weight_g: int | None,
    booked_nl: Nanolitres,
    booked_shots: int,
    total_nl: Nanolitres,
    planned_shots: int,
    points_left: int,
    before: Before,
    hour_shots: int,
    needle_shots: int,
    regions: Sequence[RegionLoad] = (),
) -> tuple[Refusal, ...]:
    """Return why a next shot may not be given after `booked_nl` in `booked_shots`; empty when it may.

    `total_nl` is what the session would be booked at after it: the plunger's real travel, not the wished dose.
    `before` is what the patient had in the 24 hours before the session: the limits hold for both together. `hour_shots`
    is what the patient had in the last hour, those of the session among them. `planned_shots` is 0 without a plan, of
    which `points_left` have no shot and no other mark yet. `regions` are those of the shots up to this one.
    `needle_shots` were given with the needle that is on the handpiece.
    """
    found: list[Refusal] = []
    for name, most_nl in (("limits.session_ml", limits.session_nl), ("session_volume_ml", profile.session_volume_nl)):
        if total_nl > most_nl:
            found.append(
                Refusal(
                    "session_volume",
                    f"{ul(booked_nl)} given, the next shot would reach {ul(total_nl)}: {name} is {ul(most_nl)}",
                )
            )
    if before.volume_nl + total_nl > limits.patient_day_nl:
        found.append(
            Refusal(
                "patient_day",
                f"{ul(before.volume_nl)} given to this patient in 24 hours before this session, the next shot would "
                f"reach {ul(before.volume_nl + total_nl)}: limits.patient_day_ml is {ul(limits.patient_day_nl)}",
            )
        )
    for name, most in (("limits.session_shots", limits.session_shots), ("session_shots", profile.session_shots)):
        if booked_shots + 1 > most:
            found.append(Refusal("session_shots", f"{booked_shots} shots given: {name} is {most}"))
    if hour_shots + 1 > limits.hour_shots:
        found.append(
            Refusal(
                "hour_shots",
                f"{hour_shots} shots given to this patient within an hour: limits.hour_shots is {limits.hour_shots}",
            )
        )
    if needle_shots + 1 > limits.needle_shots:
        found.append(
            Refusal(
                "needle_shots",
                f"{needle_shots} shots given with this needle: limits.needle_shots is {limits.needle_shots}: "
                "`mesogun change needle`, at a session's start --needle ID",
            )
        )
    if planned_shots and points_left < 1:
        found.append(
            Refusal("points_done", f"all {planned_shots} planned points are treated or skipped: stop the session")
        )
    found += [
        Refusal(
            "region_density",
            f"{ul(one.booked_nl)} given on the {one.area_mm2 / 100:g} cm2 of {one.name}, the next shot would reach "
            f"{ul(nl_per_cm2(one.reached_nl, one.area_mm2))} per cm2: limits.region_ul_per_cm2 is "
            f"{ul(limits.region_nl_per_cm2)}; skip the points that are left there: `mesogun point skip --count N`",
        )
        for one in regions
        if one.exceeds(limits.region_nl_per_cm2)
    ]
    for ingredient in serum.ingredients:
        most_ug = ingredient_limit(ingredient, weight_g)
        earlier_ug = before.mass_of(ingredient)
        reached_ug = earlier_ug + ingredient.mass_in(total_nl)
        if most_ug is not None and reached_ug > most_ug:
            earlier = f", {earlier_ug / 1000:g} mg of it in 24 hours before this session" if earlier_ug else ""
            found.append(
                Refusal(
                    "ingredient",
                    f"{ingredient.name} would reach {reached_ug / 1000:g} mg of at most {most_ug / 1000:g} mg{earlier}",
                )
            )
    return tuple(found)
