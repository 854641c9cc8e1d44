"""A serum: what is injected, with its ingredients and the limits a clinic sets on them."""

from dataclasses import dataclass

from device.core.units import Micrograms, Nanolitres


def mass_in(volume_nl: Nanolitres, ug_per_ml: int) -> Micrograms:
    """Return the mass of a concentration in `volume_nl`, rounded up."""
    return Micrograms(-(-volume_nl * ug_per_ml // 1_000_000))


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One ingredient: concentration in micrograms per millilitre; limits per session, None where there is none."""

    name: str
    concentration_ug_per_ml: int
    most_ug: Micrograms | None
    most_ug_per_kg: Micrograms | None

    def mass_in(self, volume_nl: Nanolitres) -> Micrograms:
        """Return the mass in `volume_nl`, rounded up: a limit never sees less than is there."""
        return mass_in(volume_nl, self.concentration_ug_per_ml)


@dataclass(frozen=True, slots=True)
class Serum:
    """What is in the vial, and how much of it.

    `checklist_required`: no session gives it without a check-list; `lot_required`: nor without its lot and when that
    expires. `use_within_ms` is how long after mixing it may be given, 0 for as long as its lot.
    """

    name: str
    ingredients: tuple[Ingredient, ...]
    vial_nl: Nanolitres
    checklist_required: bool = False
    lot_required: bool = False
    use_within_ms: int = 0
