"""A session's report as a value: every figure of `mesogun session report`, named with its unit.

Owns what a report says; `session_fold` makes it from the journal's records and `session_report_text` shows it. What no
record says is None, 0 of a count, or -1 of a timing that was not measured. `*_ms` are milliseconds since 1970 of the
console's wall clock, `seq` a record's number in the journal.
"""

from dataclasses import dataclass, replace

from device.core.magazine import Outcome
from device.core.records import Json, SessionStarted, ShotGiven


@dataclass(frozen=True, slots=True)
class Boot:
    """A start of the controller. `open_magazine`: what was loaded when the one before it ended, 0 for nothing."""

    seq: int
    at_ms: int
    boot_id: str
    version: str
    configuration_sha256: str
    simulated: bool
    open_magazine: int = 0


@dataclass(frozen=True, slots=True)
class CalibrationNote:
    """A measurement of the session's syringe."""

    seq: int
    at_ms: int
    stroke_nl: int
    measured_nl: int
    method: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class FormularyNote:
    """A signed bundle came into force; an older one by `by`'s word, for `reason`, if it was rolled back to."""

    seq: int
    at_ms: int
    version: int
    sha256: str
    author: str
    signed_by: str
    expires_ms: int
    rolled_back: bool
    reason: str
    by: str
    uid: int


@dataclass(frozen=True, slots=True)
class IngredientNote:
    """What was in the serum, and what of it the patient had by the book, in this session and in the 24 h before it."""

    name: str
    concentration_ug_per_ml: int
    session_ug: int
    before_ug: int


@dataclass(frozen=True, slots=True)
class Volumes:
    """Sums over shots, and what went elsewhere than into the patient.

    `planned_nl` is that of the shots that took place. `uncertain_nl` is the part of `booked_nl` that was booked as the
    most for want of certainty. `open_most_nl` is what a magazine without an outcome may give beyond `booked_nl`.
    """

    planned_nl: int
    booked_nl: int
    entry_nl: int
    dwell_nl: int
    exit_nl: int
    uncertain_nl: int
    open_most_nl: int
    primed_nl: int
    drawn_nl: int


@dataclass(frozen=True, slots=True)
class RegionRow:
    """One region's shots by outcome, and their volumes. `points` is None for shots outside of the planned regions."""

    region: str
    points: int | None
    delivered: int = 0
    partial: int = 0
    uncertain: int = 0
    planned_nl: int = 0
    booked_nl: int = 0
    entry_nl: int = 0
    dwell_nl: int = 0
    exit_nl: int = 0

    @property
    def shots(self) -> int:
        """All of them."""
        return self.delivered + self.partial + self.uncertain

    def with_shot(self, shot: ShotGiven) -> "RegionRow":
        """Return the row with one shot more."""
        return replace(
            self,
            delivered=self.delivered + (shot.outcome == Outcome.DELIVERED.value),
            partial=self.partial + (shot.outcome == Outcome.PARTIAL.value),
            uncertain=self.uncertain + (shot.outcome == Outcome.UNCERTAIN.value),
            planned_nl=self.planned_nl + shot.planned_nl,
            booked_nl=self.booked_nl + shot.booked_nl,
            entry_nl=self.entry_nl + shot.entry_nl,
            dwell_nl=self.dwell_nl + shot.dwell_nl,
            exit_nl=self.exit_nl + shot.exit_nl,
        )


@dataclass(frozen=True, slots=True)
class EvennessRow:
    """What became of a planned region's points. `partial` are given points that no shot gave all of its
    dose for certain.

    `open` have no mark. `nl_per_cm2` is None, and area and spacing 0, where the points were counted by hand.
    """

    region: str
    points: int
    given: int
    missed: int
    doubled: int
    open: int
    partial: tuple[int, ...]
    area_mm2: int
    spacing_um: int
    grid: str
    nl_per_cm2: int | None


@dataclass(frozen=True, slots=True)
class MarkNote:
    """An operator marked `points` points from `point` on, or took back the last mark: see `records.MarkWord`."""

    seq: int
    at_ms: int
    region: str
    point: int
    points: int
    mark: str
    uid: int


@dataclass(frozen=True, slots=True)
class ShotNote:
    """A shot that was not simply delivered."""

    seq: int
    at_ms: int
    shot: int
    region: str
    outcome: str
    reason: str
    planned_nl: int
    booked_nl: int
    entry_nl: int
    dwell_nl: int
    exit_nl: int
    depth_um: int


@dataclass(frozen=True, slots=True)
class RefusedPresses:
    """How often a trigger press fired nothing for one reason."""

    reason: str
    presses: int


@dataclass(frozen=True, slots=True)
class CommandNote:
    """A command, by whom, and what came of it."""

    seq: int
    at_ms: int
    command: str
    uid: int
    pid: int
    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class FaultNote:
    """A fault. `cleared_ms` and `cleared_by_uid` are None where nobody cleared it in this session."""

    seq: int
    at_ms: int
    code: int
    title: str
    priority: str
    latched: bool
    detail: str
    cleared_ms: int | None = None
    cleared_by_uid: int | None = None


@dataclass(frozen=True, slots=True)
class UncertainMagazine:
    """A magazine booked at the most that it can have given."""

    seq: int
    at_ms: int
    magazine_id: int
    purpose: str
    reason: str
    given_nl: int
    shots: int


@dataclass(frozen=True, slots=True)
class RefillNote:
    """The plunger drew from the vial; positions in increments."""

    seq: int
    at_ms: int
    from_position: int
    position: int
    volume_nl: int


@dataclass(frozen=True, slots=True)
class PlungerNote:
    """The plunger was homed, or found at `position` and not, as booked, at `expected`; in increments.

    `volume_nl` is what the session drew by that.
    """

    seq: int
    at_ms: int
    position: int
    expected: int | None
    volume_nl: int = 0


@dataclass(frozen=True, slots=True)
class OtherNote:
    """A record of a kind that has no section of its own."""

    seq: int
    at_ms: int
    kind: str
    fields: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Timings:
    """Over the shots that were measured; -1 where none was.

    `step_late_us_p50` is the median shot's median, `step_late_us_p99` the worst shot's 99th percentile.
    """

    presses: int
    press_to_step_us_p50: int
    press_to_step_us_p99: int
    press_to_step_us_max: int
    step_late_us_p50: int
    step_late_us_p99: int
    step_late_us_max: int
    stroke_us_min: int
    stroke_us_max: int
    depth_um_min: int
    depth_um_max: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What was checked, and what to compare with a copy of the journal that is kept elsewhere.

    `records` are good, counted from the journal's first; `damage` is empty, or what is wrong with the next one. The
    hash of the session's last record covers every record up to it.
    """

    records: int
    damage: str
    damaged_seq: int | None
    first_seq: int
    last_seq: int
    last_boot_id: str
    last_hash: str


@dataclass(frozen=True, slots=True)
class SessionReport:
    """The whole report. Times in ms since 1970; `ended_ms` is None where no record ends the session.

    `uncounted` shots count for no point: their marks were taken back, or no point was planned for them.
    """

    started: SessionStarted
    started_ms: int
    ended_ms: int | None
    end: str
    simulated: bool
    boots: tuple[Boot, ...]
    formularies: tuple[FormularyNote, ...]
    calibrations: tuple[CalibrationNote, ...]
    ingredients: tuple[IngredientNote, ...]
    before_nl: int
    shots: int
    volumes: Volumes
    regions: tuple[RegionRow, ...]
    evenness: tuple[EvennessRow, ...]
    marks: tuple[MarkNote, ...]
    uncounted: int
    not_delivered: tuple[ShotNote, ...]
    uncertain_magazines: tuple[UncertainMagazine, ...]
    open_magazine: int
    refused_presses: tuple[RefusedPresses, ...]
    faults: tuple[FaultNote, ...]
    commands: tuple[CommandNote, ...]
    refills: tuple[RefillNote, ...]
    plunger: tuple[PlungerNote, ...]
    others: tuple[OtherNote, ...]
    timings: Timings
    proof: Proof
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether the journal is whole and agrees with itself about this session."""
        return not self.problems
