"""A syringe in the pump: its calibrated volume per stroke, its smallest dose and its fastest flow."""

from dataclasses import dataclass

from device.core.units import Increments, Nanolitres, NanolitresPerSecond, increments_within, volume_of


@dataclass(frozen=True, slots=True)
class Syringe:
    """One syringe type on the pump.

    `stroke_nl` is the calibrated volume of the pump's full stroke of `stroke_increments`. Doses under
    `smallest_dose_nl` are refused: backlash and bore tolerance would be too large a part of them.
    `backlash_increments` is how far a refill overshoots so that every dose approaches from one side.
    """

    name: str
    stroke_nl: Nanolitres
    stroke_increments: Increments
    smallest_dose_nl: Nanolitres
    fastest_nl_s: NanolitresPerSecond
    backlash_increments: Increments

    def increments_within(self, volume_nl: Nanolitres) -> Increments:
        """Return the most whole increments within `volume_nl`."""
        return increments_within(volume_nl, stroke_nl=self.stroke_nl, stroke_increments=self.stroke_increments)

    def volume_of(self, increments: Increments) -> Nanolitres:
        """Return the volume of `increments`, rounded up."""
        return volume_of(increments, stroke_nl=self.stroke_nl, stroke_increments=self.stroke_increments)

    @property
    def volume_of_one(self) -> Nanolitres:
        """The volume of one increment, rounded up."""
        return self.volume_of(Increments(1))
