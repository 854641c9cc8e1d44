"""The journal's records: everything that the ledger, the auditor and the dashboards are told.

Owns the record types and their JSON bodies (whole numbers with the unit in the name, no nesting but a list where a
magazine needs one). Sequence number, time, boot and hashes are the journal's, not the record's. A type's name and
its fields never change meaning; fields are only added, with a default.
"""

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import ClassVar, Final, TypeAlias

from device.core.faults import Fault
from device.core.magazine import Purpose

START_COMMAND: Final = "session start"
"""What `CommandTaken` calls the command that starts a session."""

RECOVERED: Final = "recovered"
"""The reason of a magazine, or a shot, of whose end nobody told: it was settled from the plunger's position."""

NEWER: Final = "a newer version of this software wrote it: install that one again"
"""What is most likely where a record's hash holds and this version cannot read it."""

Json: TypeAlias = str | int | bool | list["Json"] | dict[str, "Json"] | None


@dataclass(frozen=True, slots=True)
class Booted:
    """The controller started. `configuration_sha256` covers every file it read."""

    KIND: ClassVar[str] = "booted"
    version: str
    configuration_sha256: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class CommandTaken:
    """A command from the control socket, by whom, and whether it was accepted; `reason` is empty or why not.

    `at_ms` is the wall clock, 0 unknown.
    """

    KIND: ClassVar[str] = "command"
    command: str
    uid: int
    pid: int
    accepted: bool
    reason: str
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A session began. The digests cover the files' content, so that a change in them is seen after a restart.

    `at_ms` is the wall clock, 0 unknown. `ingredients` and `ug_per_ml` say what is in the serum, in the same order.
    `before_nl` is what the patient had in the 24 hours before. `formulary_*` is the signed bundle that it began under.
    `course_session` is its number of `course_sessions` in the course, 0 outside of one; `utc_offset_s` is how far the
    console's own time was ahead of UTC. `region_area_mm2` and `region_spacing_um` are 0 for a region whose points were
    counted by hand. `checklist` is empty where there was none; what was not told of operator, vial and needle is empty
    or 0.
    """

    KIND: ClassVar[str] = "session_started"
    session_id: str
    profile: str
    profile_sha256: str
    serum: str
    serum_sha256: str
    syringe: str
    syringe_sha256: str
    patient: str
    weight_g: int | None
    regions: list[str]
    region_points: list[int]
    at_ms: int = 0
    ingredients: list[str] = field(default_factory=list)
    ug_per_ml: list[int] = field(default_factory=list)
    before_nl: int = 0
    formulary_version: int = 0
    formulary_sha256: str = ""
    course: str = ""
    course_sha256: str = ""
    course_session: int = 0
    course_sessions: int = 0
    utc_offset_s: int = 0
    region_area_mm2: list[int] = field(default_factory=list)
    region_spacing_um: list[int] = field(default_factory=list)
    region_grid: list[str] = field(default_factory=list)
    checklist: str = ""
    checklist_sha256: str = ""
    operator: str = ""
    lot: str = ""
    lot_expires_ms: int = 0
    mixed_ms: int = 0
    needle: str = ""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session ended, with its booked totals. `at_ms` is the wall clock, 0 unknown."""

    KIND: ClassVar[str] = "session_ended"
    session_id: str
    reason: str
    shots: int
    volume_nl: int
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class MagazineIntent:
    """Written before anything is loaded: what may now be given, as absolute plunger targets.

    `phases` and `targets` run over all shots' moves, `moves_per_shot` each; `doses_nl` and `carries` are per shot.
    `stroke_nl` and `stroke_increments` are the syringe's calibration, so that the record says its volumes by itself.
    """

    KIND: ClassVar[str] = "magazine_intent"
    magazine_id: int
    purpose: str
    session_id: str
    region: str
    first_shot: int
    stroke_nl: int
    stroke_increments: int
    start: int
    low_water: int
    carry_before: int
    moves_per_shot: int
    phases: list[str]
    targets: list[int]
    doses_nl: list[int]
    carries: list[int]

    @property
    def purpose_of(self) -> Purpose:
        """Return the purpose as its enumeration."""
        return Purpose(self.purpose)


@dataclass(frozen=True, slots=True)
class ShotGiven:
    """One shot's outcome. Volumes are what is booked; `*_us` timings are the real-time process's own, -1 unknown.

    `press_to_step_us`: upper bound from the trigger press (counted from the scan before the one that saw it) to the
    first step. `step_late_us_*`: how late steps were against their deadlines.
    """

    KIND: ClassVar[str] = "shot"
    session_id: str
    magazine_id: int
    shot: int
    region: str
    outcome: str
    reason: str
    mode: str
    planned_nl: int
    booked_nl: int
    entry_nl: int
    dwell_nl: int
    exit_nl: int
    depth_um: int
    press_to_step_us: int
    step_late_us_p50: int
    step_late_us_p99: int
    step_late_us_max: int
    entry_us: int
    dwell_us: int
    exit_us: int
    stroke_us: int


@dataclass(frozen=True, slots=True)
class MagazineSettled:
    """Closes an intent: where the plunger stands, how far the session is booked, what remainder is carried.

    `given` is in increments for this magazine; `certain` is False when the most was booked for want of a position
    (`position` is then the last intent's worst case). `at_ms` is the wall clock, 0 unknown.
    """

    KIND: ClassVar[str] = "magazine_settled"
    magazine_id: int
    purpose: str
    session_id: str
    reason: str
    position: int
    low_water: int
    given: int
    given_nl: int
    shots: int
    carry: int
    certain: bool
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Refilled:
    """The plunger drew from the vial (valve to the vial, nothing given)."""

    KIND: ClassVar[str] = "refilled"
    from_position: int
    position: int
    volume_nl: int


@dataclass(frozen=True, slots=True)
class PlungerHomed:
    """The plunger was driven to the top without a patient; what it expelled is waste."""

    KIND: ClassVar[str] = "plunger_homed"
    position: int


@dataclass(frozen=True, slots=True)
class PlungerFound:
    """At a self-test the plunger stood elsewhere than booked (an interrupted refill, or moved by hand).

    `volume_nl` is what the open session drew by it, 0 where the plunger stood lower or no session was open.
    """

    KIND: ClassVar[str] = "plunger_found"
    expected: int
    position: int
    volume_nl: int = 0


@dataclass(frozen=True, slots=True)
class SyringeCalibrated:
    """The pump's full stroke with a syringe was measured, by `method`; it holds until `expires_ms` of the wall clock.

    `syringe_sha256` is the digest of the file that it holds for, `stroke_nl` what that says.
    """

    KIND: ClassVar[str] = "syringe_calibrated"
    syringe: str
    syringe_sha256: str
    stroke_nl: int
    measured_nl: int
    method: str
    at_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class FormularyTaken:
    """A signed bundle came into force. `sha256` is its manifest's; `signed_by` the trusted key's name.

    `rolled_back`: it is no newer than the one before, and was taken for `reason`, by `by`'s word, given by user `uid`.
    """

    KIND: ClassVar[str] = "formulary_taken"
    version: int
    sha256: str
    author: str
    signed_by: str
    signed_ms: int
    expires_ms: int
    rolled_back: bool = False
    reason: str = ""
    by: str = ""
    uid: int = 0


@dataclass(frozen=True, slots=True)
class PressRefused:
    """The trigger was pressed and nothing fired; `reason` says why. One record can stand for several `presses`."""

    KIND: ClassVar[str] = "press_refused"
    session_id: str
    reason: str
    presses: int = 1


@dataclass(frozen=True, slots=True)
class FaultRaised:
    """A fault occurred; `code` stands in the catalogue."""

    KIND: ClassVar[str] = "fault_raised"
    code: int
    name: str
    priority: str
    latched: bool
    detail: str
    session_id: str

    @property
    def fault(self) -> Fault:
        """Return the fault as its enumeration."""
        return Fault(self.code)


@dataclass(frozen=True, slots=True)
class FaultsCleared:
    """An operator cleared all latched faults; `codes` are those."""

    KIND: ClassVar[str] = "faults_cleared"
    codes: list[int]
    uid: int


@dataclass(frozen=True, slots=True)
class LimitOverridden:
    """A soft limit was overridden, by whom and why; `figure` says what it went beyond, `limit` is its code."""

    KIND: ClassVar[str] = "limit_overridden"
    session_id: str
    limit: str
    reason: str
    by: str
    uid: int
    figure: str


class MarkWord(StrEnum):
    """What an operator said of a point."""

    SKIPPED = "skipped"
    REPEAT = "repeat"
    SHOT_UNDONE = "shot_undone"
    SKIP_UNDONE = "skip_undone"
    REPEAT_UNDONE = "repeat_undone"


@dataclass(frozen=True, slots=True)
class PointMarked:
    """An operator marked `points` points of a region, from number `point` on, or took back the last mark: by whom.

    No dose is changed by it: `shot_undone` says that the last shot does not count for its point.
    """

    KIND: ClassVar[str] = "point_marked"
    session_id: str
    region: str
    point: int
    points: int
    mark: str
    uid: int


@dataclass(frozen=True, slots=True)
class ItemChecked:
    """An item of the session's check-list was confirmed, by whom; `text` is what the operator was shown."""

    KIND: ClassVar[str] = "item_checked"
    session_id: str
    checklist: str
    item: str
    text: str
    by: str
    uid: int


@dataclass(frozen=True, slots=True)
class SessionPaused:
    """A session was paused; `reason` is `operator`, or `restart` where the controller that had it open has ended."""

    KIND: ClassVar[str] = "session_paused"
    session_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """A paused session goes on."""

    KIND: ClassVar[str] = "session_resumed"
    session_id: str


@dataclass(frozen=True, slots=True)
class VialChanged:
    """The session draws from another vial of the same serum; from the one before it `before_nl` were drawn.

    What was not told is empty or 0. `at_ms` is the wall clock.
    """

    KIND: ClassVar[str] = "vial_changed"
    session_id: str
    lot: str
    lot_expires_ms: int
    mixed_ms: int
    before_nl: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class NeedleChanged:
    """The session goes on with a new needle; the one before it gave so many `shots`. `needle` is its id, if told."""

    KIND: ClassVar[str] = "needle_changed"
    session_id: str
    needle: str
    shots: int


@dataclass(frozen=True, slots=True)
class SyringeChanged:
    """The session goes on with a new syringe of the same type; a homing of its plunger follows."""

    KIND: ClassVar[str] = "syringe_changed"
    session_id: str
    syringe: str


@dataclass(frozen=True, slots=True)
class ConsoleKeyMade:
    """The console signs its sessions' summaries with this key from now on: Ed25519, in base64, and its SHA-256."""

    KIND: ClassVar[str] = "console_key_made"
    public_key: str
    sha256: str


Record: TypeAlias = (
    Booted
    | CommandTaken
    | SessionStarted
    | SessionEnded
    | MagazineIntent
    | ShotGiven
    | MagazineSettled
    | Refilled
    | PlungerHomed
    | PlungerFound
    | SyringeCalibrated
    | FormularyTaken
    | PressRefused
    | FaultRaised
    | FaultsCleared
    | LimitOverridden
    | PointMarked
    | ItemChecked
    | SessionPaused
    | SessionResumed
    | VialChanged
    | NeedleChanged
    | SyringeChanged
    | ConsoleKeyMade
)

KINDS: dict[str, type[Record]] = {
    kind.KIND: kind
    for kind in (
        Booted,
        CommandTaken,
        SessionStarted,
        SessionEnded,
        MagazineIntent,
        ShotGiven,
        MagazineSettled,
        Refilled,
        PlungerHomed,
        PlungerFound,
        SyringeCalibrated,
        FormularyTaken,
        PressRefused,
        FaultRaised,
        FaultsCleared,
        LimitOverridden,
        PointMarked,
        ItemChecked,
        SessionPaused,
        SessionResumed,
        VialChanged,
        NeedleChanged,
        SyringeChanged,
        ConsoleKeyMade,
    )
}


def to_body(record: Record) -> dict[str, Json]:
    """Return the record's JSON body."""
    return asdict(record)


def from_body(kind: str, body: dict[str, Json]) -> Record:
    """Rebuild a record. Raises ValueError for an unknown kind, a missing or an unknown field."""
    record_type = KINDS.get(kind)
    if record_type is None:
        raise ValueError(f"unknown record kind {kind!r}: {NEWER}")
    names = {field.name for field in fields(record_type)}
    if unknown := sorted(set(body) - names):
        raise ValueError(f"record {kind!r} has unknown fields {unknown}: {NEWER}")
    try:
        return record_type(**body)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"record {kind!r}: {error}") from error
