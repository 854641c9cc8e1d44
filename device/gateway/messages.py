"""Every message that leaves the console: its fields, its topic, its codes.

Owns the outside form as pydantic models, one flat JSON object a message, the unit last in each name, a numeric code
beside each enumerated string; the documents for consumers (AsyncAPI) are generated from here. Builds nothing and does
no I/O: `publications` does the one, `mqtt` the other. No patient identity has a field here, and `extra="forbid"` keeps
one from slipping in. A code never changes its meaning; the schema's number counts up when a field does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from device.core.journal_chain import TS_MS_MAX
from device.core.magazine import Outcome, Purpose
from device.core.profile import Mode
from device.core.records import MarkWord

PriorityName = Literal["low", "medium", "high"]
ConnectionReason = Literal["connected", "stopped", "lost"]
JournalState = Literal["ok", "unavailable", "damaged"]
AlarmPriority = Literal["unknown", "none", "low", "medium", "high"]
NextAction = Literal[
    "none",
    "arm",
    "press",
    "wait",
    "clear_fault",
    "skip_points",
    "stop_session",
    "override",
    "resume_session",
    "confirm_checklist",
    "prime",
    "change_needle",
    "home",
]


class Message(BaseModel):
    """What all messages share. `seq` is an event's own number; elsewhere the last record the broker acknowledged.

    `boot_id` and `seq` together name an event: a consumer drops what it has seen. `session_id` is opaque, empty
    outside a session. `ts` is `ts_ms` as text, UTC; order is by `seq`, never by time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_number: Literal[1] = Field(default=1, alias="schema")
    ts: str
    ts_ms: int = Field(ge=0, le=TS_MS_MAX)
    boot_id: str
    seq: int = Field(ge=0)
    session_id: str


class BootedEvent(Message):
    """The controller started; the digest covers every configuration file it read."""

    kind: Literal["booted"] = "booted"
    kind_code: Literal[1] = 1
    version: str
    configuration_sha256: str
    simulated: bool


class CommandEvent(Message):
    """A command from the control socket. `command` is its first word alone: an argument might name a patient."""

    kind: Literal["command"] = "command"
    kind_code: Literal[2] = 2
    command: str
    uid: int
    pid: int
    accepted: bool
    reason: str
    at_ms: int


class SessionStartedEvent(Message):
    """A session began. Lists are comma-joined: `regions` with `region_points`, `ingredients` with `ug_per_ml`.

    Weight null if not given; `before_ul` is what the patient had in the 24 hours before.
    """

    kind: Literal["session_started"] = "session_started"
    kind_code: Literal[3] = 3
    profile: str
    profile_sha256: str
    serum: str
    serum_sha256: str
    syringe: str
    syringe_sha256: str
    weight_g: int | None
    regions: str
    region_points: str
    at_ms: int
    ingredients: str
    ug_per_ml: str
    before_ul: float
    formulary_version: int
    formulary_sha256: str
    course: str
    course_sha256: str
    course_session: int
    course_sessions: int
    utc_offset_s: int
    region_area_mm2: str
    region_spacing_mm: str
    region_grid: str
    checklist: str
    checklist_sha256: str
    operator: str
    lot: str
    lot_expires_ms: int
    mixed_ms: int
    needle: str


class SessionEndedEvent(Message):
    """A session ended, with its booked totals."""

    kind: Literal["session_ended"] = "session_ended"
    kind_code: Literal[4] = 4
    reason: str
    shots: int
    volume_ul: float
    at_ms: int


class MagazineIntentEvent(Message):
    """What may now be given, written before anything was loaded. Lists are comma-joined; positions in increments."""

    kind: Literal["magazine_intent"] = "magazine_intent"
    kind_code: Literal[5] = 5
    magazine_id: int
    purpose: Purpose
    purpose_code: int
    region: str
    first_shot: int
    stroke_ul: float
    stroke_increments: int
    start: int
    low_water: int
    carry_before: int
    moves_per_shot: int
    phases: str
    targets: str
    doses_ul: str
    carries: str


class ShotEvent(Message):
    """One shot's outcome: booked volumes by phase, depth, and the real-time process's own times (-1 unknown)."""

    kind: Literal["shot"] = "shot"
    kind_code: Literal[6] = 6
    magazine_id: int
    shot: int
    region: str
    outcome: Outcome
    outcome_code: int
    reason: str
    mode: Mode
    mode_code: int
    planned_ul: float
    booked_ul: float
    entry_ul: float
    dwell_ul: float
    exit_ul: float
    depth_mm: float
    press_to_step_us: int
    step_late_us_p50: int
    step_late_us_p99: int
    step_late_us_max: int
    entry_us: int
    dwell_us: int
    exit_us: int
    stroke_us: int


class MagazineSettledEvent(Message):
    """An intent closed: the plunger's position and what was given; `certain` is false when the most was booked."""

    kind: Literal["magazine_settled"] = "magazine_settled"
    kind_code: Literal[7] = 7
    magazine_id: int
    purpose: Purpose
    purpose_code: int
    reason: str
    position: int
    low_water: int
    given: int
    given_ul: float
    shots: int
    carry: int
    certain: bool
    at_ms: int


class RefilledEvent(Message):
    """The plunger drew from the vial."""

    kind: Literal["refilled"] = "refilled"
    kind_code: Literal[8] = 8
    from_position: int
    position: int
    volume_ul: float


class PlungerHomedEvent(Message):
    """The plunger was driven to the top without a patient."""

    kind: Literal["plunger_homed"] = "plunger_homed"
    kind_code: Literal[9] = 9
    position: int


class PlungerFoundEvent(Message):
    """At a self-test the plunger stood elsewhere than booked; the open session drew so much by it."""

    kind: Literal["plunger_found"] = "plunger_found"
    kind_code: Literal[12] = 12
    expected: int
    position: int
    volume_ul: float


class SyringeCalibratedEvent(Message):
    """The pump's full stroke with a syringe was measured; it holds until `expires_ms`, for the file of that digest."""

    kind: Literal["syringe_calibrated"] = "syringe_calibrated"
    kind_code: Literal[14] = 14
    syringe: str
    syringe_sha256: str
    stroke_ul: float
    measured_ul: float
    method: str
    at_ms: int
    expires_ms: int


class FormularyTakenEvent(Message):
    """A signed formulary came into force: a newer one at a start, or another by the word of `by` (`rolled_back`)."""

    kind: Literal["formulary_taken"] = "formulary_taken"
    kind_code: Literal[15] = 15
    version: int
    sha256: str
    author: str
    signed_by: str
    signed_ms: int
    expires_ms: int
    rolled_back: bool
    reason: str
    by: str
    uid: int


class PressRefusedEvent(Message):
    """The trigger was pressed and nothing fired; `reason` says why, `presses` how often since the last such event."""

    kind: Literal["press_refused"] = "press_refused"
    kind_code: Literal[13] = 13
    reason: str
    presses: int


class FaultRaisedEvent(Message):
    """A fault occurred; `code` is its number in the catalogue and `name` its name there."""

    kind: Literal["fault_raised"] = "fault_raised"
    kind_code: Literal[10] = 10
    code: int
    name: str
    priority: PriorityName
    priority_code: int
    latched: bool
    detail: str


class FaultsClearedEvent(Message):
    """An operator cleared all latched faults; `codes` is comma-joined."""

    kind: Literal["faults_cleared"] = "faults_cleared"
    kind_code: Literal[11] = 11
    codes: str
    uid: int


class LimitOverriddenEvent(Message):
    """A soft limit was overridden: its code, why and by whom, and what it went beyond."""

    kind: Literal["limit_overridden"] = "limit_overridden"
    kind_code: Literal[16] = 16
    limit: str
    reason: str
    by: str
    uid: int
    figure: str


class PointMarkedEvent(Message):
    """An operator marked `points` points of a region, from number `point` on, or took the last mark back; no dose."""

    kind: Literal["point_marked"] = "point_marked"
    kind_code: Literal[17] = 17
    region: str
    point: int
    points: int
    mark: MarkWord
    mark_code: int
    uid: int


class ItemCheckedEvent(Message):
    """An item of the session's check-list was confirmed by `by`; `text` is what the operator was shown."""

    kind: Literal["item_checked"] = "item_checked"
    kind_code: Literal[18] = 18
    checklist: str
    item: str
    text: str
    by: str
    uid: int


class SessionPausedEvent(Message):
    """A session was paused: by the `operator`, or by a `restart` of the controller."""

    kind: Literal["session_paused"] = "session_paused"
    kind_code: Literal[19] = 19
    reason: str


class SessionResumedEvent(Message):
    """A paused session goes on."""

    kind: Literal["session_resumed"] = "session_resumed"
    kind_code: Literal[20] = 20


class VialChangedEvent(Message):
    """The session draws from another vial of the same serum; from the one before it `before_ul` were drawn."""

    kind: Literal["vial_changed"] = "vial_changed"
    kind_code: Literal[21] = 21
    lot: str
    lot_expires_ms: int
    mixed_ms: int
    before_ul: float
    at_ms: int


class NeedleChangedEvent(Message):
    """The session goes on with a new needle; the one before it gave so many `shots`."""

    kind: Literal["needle_changed"] = "needle_changed"
    kind_code: Literal[22] = 22
    needle: str
    shots: int


class SyringeChangedEvent(Message):
    """The session goes on with a new syringe of the same type."""

    kind: Literal["syringe_changed"] = "syringe_changed"
    kind_code: Literal[23] = 23
    syringe: str


class ConsoleKeyMadeEvent(Message):
    """The console signs its sessions' summaries with this key from now on: the copy to check them by elsewhere."""

    kind: Literal["console_key_made"] = "console_key_made"
    kind_code: Literal[24] = 24
    public_key: str
    sha256: str


class ConnectionStatus(Message):
    """Whether the console is connected; the broker itself publishes the `lost` one (last will)."""

    online: bool
    reason: ConnectionReason
    reason_code: int


class DeviceMeta(Message):
    """Which console this is, and whether it only plays one."""

    site: str
    device: str
    serial: str
    version: str
    simulated: bool


class MachineState(Message):
    """What the controller is doing. `faults` are the numbers of those standing, comma-joined.

    `alarm_priority` is how urgently they are signalled; `alarm_escalated`: more urgently than they begin, because
    nobody answered. `alarm_silenced_ms` is how long the sound still pauses, counted from `ts_ms`.
    """

    state: str
    state_code: int
    faults: str
    alarm_priority: AlarmPriority
    alarm_priority_code: int
    alarm_escalated: bool
    alarm_silenced: bool
    alarm_silenced_ms: int
    simulated: bool
    journal: JournalState
    journal_code: int


class LiveSession(Message):
    """The session's progress; only the newest value matters, and one may be lost.

    `shots_left` may still be given before a limit forbids one: `first_limit`, its code. The next shot belongs to point
    `point` of the `region_points` of `region`, 0 when there is none; `point_repeat`: it had its shot already.
    """

    state: str
    state_code: int
    profile: str
    region: str
    shots: int
    shots_planned: int
    shots_left: int
    first_limit: str
    volume_ul: float
    volume_limit_ul: float
    point: int
    region_points: int
    point_repeat: bool
    points_given: int
    points_missed: int
    points_doubled: int
    next_action: NextAction
    next_action_code: int


class LiveValues(BaseModel):
    """What the controller last wrote to `live.json`. Further fields of a newer controller are let pass unread."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    ts_ms: int = Field(ge=0, le=TS_MS_MAX)
    boot_id: str
    state: str
    state_code: int
    session_id: str
    profile: str
    region: str
    shots: int
    shots_planned: int
    shots_left: int
    first_limit: str
    volume_nl: int
    volume_limit_nl: int
    faults: str
    alarm_priority: AlarmPriority
    alarm_escalated: bool
    alarm_silenced_ms: int = Field(ge=0)
    simulated: bool
    version: str
    serial: str
    point: int = 0
    region_points: int = 0
    point_repeat: bool = False
    points_given: int = 0
    points_missed: int = 0
    points_doubled: int = 0
    next_action: NextAction = "none"

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return the values in `content`. Raises ValueError (pydantic's) for anything else."""
        return cls.model_validate_json(content)


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic of the tree: which messages it carries, and how."""

    messages: tuple[type[Message], ...]
    qos: Literal[0, 1]
    retain: bool


CHANNELS: Final[Mapping[str, Channel]] = {
    "status/connection": Channel((ConnectionStatus,), qos=1, retain=True),
    "meta/device": Channel((DeviceMeta,), qos=1, retain=True),
    "state/machine": Channel((MachineState,), qos=1, retain=True),
    "live/session": Channel((LiveSession,), qos=0, retain=False),
    "event/shot": Channel((ShotEvent,), qos=1, retain=False),
    "event/session": Channel(
        (SessionStartedEvent, SessionPausedEvent, SessionResumedEvent, SessionEndedEvent), qos=1, retain=False
    ),
    "event/alarm": Channel((FaultRaisedEvent, FaultsClearedEvent), qos=1, retain=False),
    "event/audit": Channel(
        (
            BootedEvent,
            CommandEvent,
            MagazineIntentEvent,
            MagazineSettledEvent,
            RefilledEvent,
            PlungerHomedEvent,
            PlungerFoundEvent,
            SyringeCalibratedEvent,
            FormularyTakenEvent,
            PressRefusedEvent,
            LimitOverriddenEvent,
            PointMarkedEvent,
            ItemCheckedEvent,
            VialChangedEvent,
            NeedleChangedEvent,
            SyringeChangedEvent,
            ConsoleKeyMadeEvent,
        ),
        qos=1,
        retain=False,
    ),
}
"""The whole topic tree, under `mesogun/v1/<site>/<device>/`."""

EVENTS: Final[Mapping[str, type[Message]]] = {
    message.model_fields["kind"].default: message
    for name, channel in CHANNELS.items()
    if name.startswith("event/")
    for message in channel.messages
}
"""The event of each kind of record."""
