"""A magazine: the shots that are authorised and loaded at one time, and what came of them.

Owns the description that is written to the journal before anything is loaded, the split of it into the pump's part
(absolute plunger targets: key 1) and the real-time process's part (the stroke: key 2), and the settlement of a
magazine from absolute positions. Nothing here is relative: settling twice gives the same answer.
"""

from dataclasses import dataclass
from enum import Enum

from device.core.profile import Mode, Phase, TriggerStyle
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    MicrometresPerSecond,
    MicrometresPerSecond2,
    Nanolitres,
    Nanoseconds,
    Steps,
)


class Purpose(Enum):
    """Why serum moves: into the patient, or through the needle into the air to fill it."""

    INJECT = "inject"
    PRIME = "prime"


class Outcome(Enum):
    """What came of a shot: all of it, a known part of it, or not known (booked at its most)."""

    DELIVERED = "delivered"
    PARTIAL = "partial"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class PhaseMove:
    """One gated plunger move: to the absolute `target`, at the pump's `top_speed`."""

    phase: Phase
    target: Increments
    top_speed: HalfIncrementsPerSecond


@dataclass(frozen=True, slots=True)
class PlannedShot:
    """One shot's plunger moves, its planned dose, and the rounding remainder after it (see `shot_plan.Carry`)."""

    dose_nl: Nanolitres
    moves: tuple[PhaseMove, ...]
    carry_after: int


@dataclass(frozen=True, slots=True)
class StrokeProgram:
    """The needle's part of a shot, with the places where gates open.

    Inward to `depth` steps, dwell, outward to home. `entry_open`: inward position at which the entry gate opens; the
    entry dose ends before the dwell begins. `exit_done`: outward position by which the exit dose has ended. None: that
    phase has no dose. `dwell_dose`: whether the dwell has a dose of its own. `suck_back_ns`: time for the suck-back at
    home. A prime has `depth` 0 and `prime_ns`, the time of its one move, released at home.
    """

    depth: Steps
    steps_per_mm: int
    entry_speed_um_s: MicrometresPerSecond
    exit_speed_um_s: MicrometresPerSecond
    acceleration_um_s2: MicrometresPerSecond2
    dwell_ns: Nanoseconds
    entry_open: Steps | None
    dwell_dose: bool
    exit_done: Steps | None
    suck_back_ns: Nanoseconds | None
    prime_ns: Nanoseconds | None

    @property
    def moves(self) -> int:
        """How many gated moves one shot has."""
        parts = (self.entry_open, self.dwell_dose or None, self.exit_done, self.suck_back_ns, self.prime_ns)
        return sum(part is not None for part in parts)


@dataclass(frozen=True, slots=True)
class RealtimeMagazine:
    """Key 2's part: what the real-time process needs to fire `shots` strokes."""

    magazine_id: int
    shots: int
    purpose: Purpose
    mode: Mode
    trigger: TriggerStyle
    interval_ns: Nanoseconds
    fresh_press: bool
    require_contact: bool
    stroke: StrokeProgram


@dataclass(frozen=True, slots=True)
class PumpProgram:
    """Key 1's part: gated absolute moves in order, from plunger position `start`.

    `purpose` and `stroke_nl` (the syringe's calibrated volume per stroke) are what the pump driver needs to hold the
    program to the console's ceiling in volume.

    Gates alternate over the whole program, beginning with gate 1; the phase line is 0 before the first move and
    changes its level after every move.
    """

    magazine_id: int
    purpose: Purpose
    stroke_nl: Nanolitres
    start: Increments
    moves: tuple[PhaseMove, ...]


@dataclass(frozen=True, slots=True)
class Magazine:
    """1..n authorised shots of one session (or one prime), from plunger position `start`.

    `low_water` is the plunger's lowest position before this magazine: it lies under `start` by a
    suck-back that this magazine's first move repays.
    """

    magazine_id: int
    purpose: Purpose
    session_id: str
    first_shot: int
    region: str
    stroke_nl: Nanolitres
    start: Increments
    low_water: Increments
    carry_before: int
    shots: tuple[PlannedShot, ...]
    mode: Mode
    trigger: TriggerStyle
    interval_ns: Nanoseconds
    fresh_press: bool
    require_contact: bool
    stroke: StrokeProgram

    def pump_program(self) -> PumpProgram:
        """Return key 1's part."""
        moves = tuple(move for shot in self.shots for move in shot.moves)
        return PumpProgram(
            magazine_id=self.magazine_id,
            purpose=self.purpose,
            stroke_nl=self.stroke_nl,
            start=self.start,
            moves=moves,
        )

    def realtime_magazine(self) -> RealtimeMagazine:
        """Return key 2's part."""
        return RealtimeMagazine(
            magazine_id=self.magazine_id,
            shots=len(self.shots),
            purpose=self.purpose,
            mode=self.mode,
            trigger=self.trigger,
            interval_ns=self.interval_ns,
            fresh_press=self.fresh_press,
            require_contact=self.require_contact,
            stroke=self.stroke,
        )
