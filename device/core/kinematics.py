"""When a step or a plunger move happens: trapezoids in whole numbers.

Owns the two time laws of the gun, that of the needle's steps and that of the pump's plunger. Needle times are
rounded to the nearest earlier nanosecond; plunger times are rounded up, for they are upper bounds that the planner
builds on. The simulated pump integrates its motion by itself, so an error here shows as a late phase.
"""

from dataclasses import dataclass
from math import isqrt

from device.core.device_spec import PumpSpec
from device.core.units import (
    NS_PER_S,
    HalfIncrementsPerSecond,
    Increments,
    MicrometresPerSecond,
    MicrometresPerSecond2,
    Nanoseconds,
    Steps,
)


@dataclass(frozen=True, slots=True)
class NeedleTravel:
    """A needle travel of `steps` steps, at rest at both ends, with symmetric constant acceleration.

    `speed_um_s` is reached only if the travel is long enough; else the profile is a triangle.
    """

    steps: Steps
    steps_per_mm: int
    speed_um_s: MicrometresPerSecond
    acceleration_um_s2: MicrometresPerSecond2

    @property
    def ramp_steps(self) -> int:
        """Steps of one ramp: v squared over 2 a, at most half the travel."""
        full = self.speed_um_s**2 * self.steps_per_mm // (2 * self.acceleration_um_s2 * 1000)
        return min(full, self.steps // 2)

    @property
    def total_ns(self) -> Nanoseconds:
        """Duration from rest to rest."""
        cruise_steps = self.steps - 2 * self.ramp_steps
        return Nanoseconds(2 * self._ramp_ns(self.ramp_steps) + self._cruise_ns(cruise_steps))

    def time_at(self, step: int) -> Nanoseconds:
        """Return when the needle has gone `step` steps (0 ... steps), from rest at 0 ns."""
        ramp = self.ramp_steps
        if step <= ramp:
            return self._ramp_ns(step)
        if step <= self.steps - ramp:
            return Nanoseconds(self._ramp_ns(ramp) + self._cruise_ns(step - ramp))
        return Nanoseconds(self.total_ns - self._ramp_ns(self.steps - step))

    def times(self) -> list[Nanoseconds]:
        """Return `time_at` of every step from the first to the last, for a fraction of what asking for each costs."""
        ramp = self.ramp_steps
        cruise = self.steps - 2 * ramp
        rising = [self._ramp_ns(step) for step in range(ramp + 1)]
        # The one middle step of a triangle has a law of its own; of more there are many, and theirs is plain.
        middle_ns = self._cruise_ns if cruise < 2 else self._nominal_ns
        cruising = [Nanoseconds(rising[ramp] + middle_ns(step)) for step in range(1, cruise + 1)]
        total_ns = self.total_ns
        return [*rising[1:], *cruising, *(Nanoseconds(total_ns - ns) for ns in reversed(rising[:ramp]))]

    def _ramp_ns(self, steps: int) -> Nanoseconds:
        steps_s2 = self.acceleration_um_s2 * self.steps_per_mm
        return Nanoseconds(isqrt(2 * steps * 1000 * NS_PER_S**2 // steps_s2))

    def _nominal_ns(self, steps: int) -> Nanoseconds:
        return Nanoseconds(steps * 1000 * NS_PER_S // (self.speed_um_s * self.steps_per_mm))

    def _cruise_ns(self, steps: int) -> Nanoseconds:
        nominal_ns = self._nominal_ns(steps)
        if self.ramp_steps * 2 >= self.steps - 1:
            # A triangle may not reach its nominal speed: a middle step lasts as long as the last of the ramp.
            reached_ns = steps * (self._ramp_ns(self.ramp_steps + 1) - self._ramp_ns(self.ramp_steps))
            return Nanoseconds(max(nominal_ns, reached_ns))
        return nominal_ns


def plunger_move_ns(travel: Increments, *, pump: PumpSpec, top_speed: HalfIncrementsPerSecond) -> Nanoseconds:
    """Return an upper bound of the time of a plunger move of `travel` increments with top speed `top_speed`.

    The law of the XCalibur manual: start at v (or V when lower), slope L x 2500 half-increments/s2 up to V, down to
    the cut-off c, stop.
    """
    start, top, cutoff = (
        speed * pump.stroke_increments // pump.stroke_half_increments
        for speed in (min(pump.start_speed, top_speed), top_speed, min(pump.cutoff_speed, top_speed))
    )
    slope = pump.slope * 2500 * pump.stroke_increments // pump.stroke_half_increments
    ramps = (2 * top**2 - start**2 - cutoff**2) // (2 * slope)
    if ramps <= travel:
        ns = (2 * top - start - cutoff) * NS_PER_S // slope + (travel - ramps) * NS_PER_S // top
    else:
        slow, fast = sorted((start, cutoff))
        peak = isqrt((2 * slope * travel + start**2 + cutoff**2) // 2) + 1
        if peak <= fast:
            # Too short for both ramps: one of them alone, from or to the lower speed.
            ns = (isqrt(slow**2 + 2 * slope * travel) + 1 - slow) * NS_PER_S // slope
        else:
            ns = (2 * peak - start - cutoff) * NS_PER_S // slope
    return Nanoseconds(ns + 2)
