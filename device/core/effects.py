"""What the controller's machine wants done, in order. A failed effect drops those behind it and raises a fault."""

from dataclasses import dataclass
from typing import TypeAlias

from device.core.events import Request
from device.core.faults import Priority
from device.core.magazine import PumpProgram
from device.core.realtime_messages import Order
from device.core.records import Record
from device.core.units import Increments


@dataclass(frozen=True, slots=True)
class Commit:
    """Make records durable, all or none, before anything behind this effect is done."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Keep a record for the next commit, or for the end: of a journal that cannot be written just now."""

    record: Record


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a command; `reasons` is empty when it was accepted."""

    request: Request
    accepted: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Give the real-time process an order."""

    order: Order


@dataclass(frozen=True, slots=True)
class ProbePump:
    """Connect to the pump, stop what it holds, read its position; gives `PumpProbed`."""


@dataclass(frozen=True, slots=True)
class LoadPump:
    """Load a program; gives `PumpLoaded`."""

    program: PumpProgram


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """Wait for the pump's end (`complete`), or terminate its program; then read: gives `PositionRead`."""

    complete: bool


@dataclass(frozen=True, slots=True)
class TerminatePump:
    """Stop the plunger at once; a pump that cannot be reached is logged, not reported (the caller is in a fault)."""


@dataclass(frozen=True, slots=True)
class Refill:
    """Draw from the vial in the background; gives `RefillDone`. `owed`: the suck-back that the next shot repays."""

    target: Increments
    overshoot: Increments
    owed: Increments


@dataclass(frozen=True, slots=True)
class HomePlunger:
    """Initialise the pump in the background; gives `PlungerAtTop`."""


@dataclass(frozen=True, slots=True)
class SoundAlarm:
    """Signal once a fault that does not latch. What is latched is signalled by `core.alarms` until it is cleared."""

    priority: Priority


@dataclass(frozen=True, slots=True)
class SilenceAlarm:
    """Pause the alarm's sound for a bounded time (`core.alarms`)."""


@dataclass(frozen=True, slots=True)
class SoundRefusal:
    """Tell the clinician that a press fired nothing."""


@dataclass(frozen=True, slots=True)
class SoundDone:
    """Tell the clinician that all points are treated."""


@dataclass(frozen=True, slots=True)
class SoundRegion:
    """Tell the clinician that a region is done and the next one begins."""


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process; everything is safe and settled."""


Effect: TypeAlias = (
    Commit
    | Note
    | Reply
    | Send
    | ProbePump
    | LoadPump
    | ReadPosition
    | TerminatePump
    | Refill
    | HomePlunger
    | SoundAlarm
    | SilenceAlarm
    | SoundRefusal
    | SoundDone
    | SoundRegion
    | Exit
)
