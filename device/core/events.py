"""What can happen to the controller: commands, results of its own effects, and reports of the real-time process."""

from dataclasses import dataclass
from typing import TypeAlias

from device.core.checklist import Checklist
from device.core.course import Course
from device.core.faults import Fault
from device.core.profile import Profile
from device.core.realtime_messages import Report
from device.core.serum import Serum
from device.core.session import Region
from device.core.syringe import Syringe
from device.core.units import Increments, Nanolitres
from device.core.vial import UNTOLD, Vial


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked over the control socket: `number` finds the connection to answer, `uid`, `pid` are the peer's.

    `at_ms` is the wall clock then, in ms since 1970; 0 where nobody can tell. `utc_offset_s` is how far the console's
    own time was ahead of UTC. `may_override` is whether soft limits give way to that user's word.
    """

    number: int
    uid: int
    pid: int
    at_ms: int = 0
    utc_offset_s: int = 0
    may_override: bool = False


@dataclass(frozen=True, slots=True)
class HomeRequested:
    """Home the needle; with `plunger` the pump's plunger too, which empties the syringe."""

    request: Request
    plunger: bool
    patient_detached: bool


@dataclass(frozen=True, slots=True)
class CalibrateRequested:
    """Write down what the pump's full stroke with a syringe was measured to give; it holds until `expires_ms`."""

    request: Request
    syringe: Syringe
    syringe_sha256: str
    measured_nl: Nanolitres
    method: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class PrimeRequested:
    """Release serum into the air to fill needle and tube; the operator holds the needle over a swab."""

    request: Request
    volume_nl: Nanolitres


@dataclass(frozen=True, slots=True)
class RollBackRequested:
    """Take the formulary that was found although it is no newer than the last one; `by` answers for `reason`."""

    request: Request
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class SessionStartRequested:
    """Begin a session with already loaded and checked files; digests are of their content.

    `anew`: as the first one of its course, wherever the patient stands in it. The override holds for soft limits.
    """

    request: Request
    session_id: str
    profile: Profile
    profile_sha256: str
    serum: Serum
    serum_sha256: str
    syringe: Syringe
    syringe_sha256: str
    patient: str
    weight_g: int | None
    regions: tuple[Region, ...]
    course: Course | None = None
    course_sha256: str = ""
    anew: bool = False
    override_reason: str = ""
    override_by: str = ""
    checklist: Checklist | None = None
    checklist_sha256: str = ""
    operator: str = ""
    vial: Vial = UNTOLD
    needle: str = ""


@dataclass(frozen=True, slots=True)
class CheckRequested:
    """Confirm items of the session's check-list; `by` answers for it."""

    request: Request
    items: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Pause the session: what is loaded is unloaded, and nothing is primed or armed until it is resumed."""

    request: Request


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Go on with a paused session; arming is another command."""

    request: Request


@dataclass(frozen=True, slots=True)
class ChangeVialRequested:
    """Draw from another vial of the session's serum from now on."""

    request: Request
    vial: Vial


@dataclass(frozen=True, slots=True)
class ChangeNeedleRequested:
    """A new needle is on the handpiece; its id may be left out."""

    request: Request
    needle: str


@dataclass(frozen=True, slots=True)
class ChangeSyringeRequested:
    """A new syringe of the session's type is in the pump: home its plunger; `syringe` is empty or that type's name."""

    request: Request
    syringe: str
    patient_detached: bool


@dataclass(frozen=True, slots=True)
class OverrideRequested:
    """Go beyond a soft limit for the rest of the session; `by` answers for `reason`."""

    request: Request
    limit: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class SessionStopRequested:
    """End the session."""

    request: Request


@dataclass(frozen=True, slots=True)
class ArmRequested:
    """Authorise magazines until disarmed, faulted, or all points are treated."""

    request: Request


@dataclass(frozen=True, slots=True)
class DisarmRequested:
    """Fire nothing more."""

    request: Request


@dataclass(frozen=True, slots=True)
class PointSkipRequested:
    """Pass over the next `points` points of the region: they count as missed."""

    request: Request
    points: int


@dataclass(frozen=True, slots=True)
class PointRepeatRequested:
    """Let the next shot belong to the last one's point once more."""

    request: Request


@dataclass(frozen=True, slots=True)
class PointUndoRequested:
    """Take back the last mark: a skip, a repeat, or that the last shot counted for a point. Never a dose."""

    request: Request


@dataclass(frozen=True, slots=True)
class FaultClearRequested:
    """Clear the latched faults and test everything again."""

    request: Request


@dataclass(frozen=True, slots=True)
class AlarmSilenceRequested:
    """Pause the alarm's sound for a bounded time; its light goes on, and a new alarm sounds at once."""

    request: Request


Command: TypeAlias = (
    HomeRequested
    | CalibrateRequested
    | RollBackRequested
    | PrimeRequested
    | SessionStartRequested
    | OverrideRequested
    | SessionStopRequested
    | ArmRequested
    | DisarmRequested
    | FaultClearRequested
    | AlarmSilenceRequested
    | PointSkipRequested
    | PointRepeatRequested
    | PointUndoRequested
    | CheckRequested
    | PauseRequested
    | ResumeRequested
    | ChangeVialRequested
    | ChangeNeedleRequested
    | ChangeSyringeRequested
)


@dataclass(frozen=True, slots=True)
class Started:
    """The process is up; the journal is verified and its ledger known."""


@dataclass(frozen=True, slots=True)
class PumpProbed:
    """The pump answers, is terminated and idle; `position` is None when it has lost its initialisation."""

    position: Increments | None


@dataclass(frozen=True, slots=True)
class PumpLoaded:
    """The pump holds the magazine's program and waits at its first gate."""

    magazine_id: int


@dataclass(frozen=True, slots=True)
class PositionRead:
    """The pump is idle; its plunger stands at `position`, None when it cannot say. `at_ms` is the wall clock then."""

    position: Increments | None
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class RefillDone:
    """The plunger has drawn from the vial."""

    position: Increments


@dataclass(frozen=True, slots=True)
class PlungerAtTop:
    """The pump is initialised."""

    position: Increments


@dataclass(frozen=True, slots=True)
class FaultOccurred:
    """An effect, a driver or the supervision found a fault."""

    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class RealtimeRestarted:
    """A killed real-time process runs again; its needle position is unknown."""


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """SIGTERM or SIGINT: make safe, settle, end."""


Happening: TypeAlias = (
    Started
    | PumpProbed
    | PumpLoaded
    | PositionRead
    | RefillDone
    | PlungerAtTop
    | FaultOccurred
    | RealtimeRestarted
    | ShutdownRequested
)

Event: TypeAlias = Command | Happening | Report
