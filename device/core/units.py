"""Whole-number units: volume in nanolitres, depth in micrometres, time in nanoseconds.

Owns the unit types and every conversion between them. No floating-point number enters a dose, a depth or a
deadline; each conversion states its rounding, and a volume is always rounded toward less fluid. mypy keeps the
types apart: a depth passed as a volume does not type-check.
"""

from typing import Final, NewType

Nanolitres = NewType("Nanolitres", int)
Micrometres = NewType("Micrometres", int)
Nanoseconds = NewType("Nanoseconds", int)
Increments = NewType("Increments", int)
"""Plunger position or travel in the pump's own smallest unit; 0 is the plunger at the top (syringe empty)."""
Steps = NewType("Steps", int)
"""Needle position or travel in motor steps; 0 is the home switch, positive is toward the skin."""
MicrometresPerSecond = NewType("MicrometresPerSecond", int)
MicrometresPerSecond2 = NewType("MicrometresPerSecond2", int)
NanolitresPerSecond = NewType("NanolitresPerSecond", int)
NanolitresPerCm2 = NewType("NanolitresPerCm2", int)
HalfIncrementsPerSecond = NewType("HalfIncrementsPerSecond", int)
"""Plunger speed as the pump's v, V and c commands take it."""
Micrograms = NewType("Micrograms", int)

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


def increments_within(volume_nl: Nanolitres, *, stroke_nl: Nanolitres, stroke_increments: Increments) -> Increments:
    """Return the most whole increments whose volume does not exceed `volume_nl` (rounded toward less fluid)."""
    return Increments(volume_nl * stroke_increments // stroke_nl)


def volume_of(increments: Increments, *, stroke_nl: Nanolitres, stroke_increments: Increments) -> Nanolitres:
    """Return the volume of `increments`, rounded up: what is booked is never less than what moved."""
    return Nanolitres(-(-increments * stroke_nl // stroke_increments))


def steps_within(distance_um: Micrometres, *, steps_per_mm: int) -> Steps:
    """Return the most whole steps within `distance_um`: rounded toward the shallower needle."""
    return Steps(distance_um * steps_per_mm // 1000)


def depth_of(steps: Steps, *, steps_per_mm: int) -> Micrometres:
    """Return the travel of `steps`, rounded to the nearest micrometre (for people; never a limit's input)."""
    return Micrometres((steps * 2000 + steps_per_mm) // (2 * steps_per_mm))
