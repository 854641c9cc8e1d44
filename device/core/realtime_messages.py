"""What passes between the controller and the real-time process, and what the scan reads: plain frozen values.

Orders go to the real-time process, reports come back; `device.realtime.link` packs them into fixed-size messages.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import TypeAlias

from device.core.faults import Fault
from device.core.magazine import RealtimeMagazine


@dataclass(frozen=True, slots=True)
class Inputs:
    """One reading of the real-time inputs, as meanings: True is pressed, home, touching, level 1."""

    trigger_a: bool
    trigger_b: bool
    stop_a: bool
    stop_b: bool
    home: bool
    contact: bool
    phase: bool


_EVERY_INPUTS = {levels: Inputs(*levels) for levels in product((False, True), repeat=7)}


def inputs_of(levels: tuple[bool, bool, bool, bool, bool, bool, bool]) -> Inputs:
    """Return the one object that stands for these levels, in the order of `Inputs`: equal readings are the same."""
    return _EVERY_INPUTS[levels]


@dataclass(frozen=True, slots=True)
class Reset:
    """Leave the safe mode if nothing forbids it; answered by `Ready` or `Faulted`."""


@dataclass(frozen=True, slots=True)
class Home:
    """Retract slowly until the home switch; answered by `Homed` or `Faulted`.

    As a `rescue` it is taken even in the safe mode, needs no permit, and nothing stops it: a real-time process was
    lost, and its successor takes the needle out. The process is in its safe mode again after it.
    """

    rescue: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Take a magazine; answered by `Loaded` or `Faulted`. A prime is released at once, a stroke by the trigger."""

    magazine: RealtimeMagazine


@dataclass(frozen=True, slots=True)
class Unload:
    """Fire nothing more (a running shot is completed); answered by `MagazineEnded`."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Close the gates, retract and be safe at once; `fault` is why."""

    fault: Fault


Order: TypeAlias = Reset | Home | Load | Unload | Halt


class EndReason(IntEnum):
    """Why a magazine ended."""

    COMPLETE = 0
    RELEASED = 1
    UNLOADED = 2
    FAULT = 3


class PressRefusal(IntEnum):
    """Why a press of the trigger fired nothing."""

    NOT_ARMED = 1
    BUSY = 2
    TOO_EARLY = 3
    NO_CONTACT = 4


@dataclass(frozen=True, slots=True)
class Ready:
    """The real-time process is out of its safe mode; `homed` says whether the needle's position is known."""

    homed: bool


@dataclass(frozen=True, slots=True)
class Homed:
    """The needle is at its home switch after `steps` steps."""

    steps: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The magazine is accepted and waits for the trigger (or, as a prime, is being released)."""

    magazine_id: int


@dataclass(frozen=True, slots=True)
class StrokeStarted:
    """The trigger fired shot `index` (from 0) of the magazine."""

    magazine_id: int
    index: int


@dataclass(frozen=True, slots=True)
class ShotReport:
    """What the real-time process saw of one shot.

    `opened` and `done` count gated moves over the whole magazine: gates opened, ends reported by the pump's phase
    line. `fault` is 0 or what broke the shot off. Times in ns, -1 where there is none: `press_to_step_ns` is an upper
    bound, counted from the scan before the one that saw the press; `late_ns_*` are step latenesses; `entry_ns`,
    `dwell_ns`, `exit_ns` run from a gate's opening to the reported end of its phase.
    """

    magazine_id: int
    index: int
    opened: int
    done: int
    fault: int
    released: bool
    steps_in: int
    steps_out: int
    press_to_step_ns: int = -1
    late_ns_p50: int = -1
    late_ns_p99: int = -1
    late_ns_max: int = -1
    entry_ns: int = -1
    dwell_ns: int = -1
    exit_ns: int = -1
    stroke_ns: int = -1


@dataclass(frozen=True, slots=True)
class MagazineEnded:
    """Nothing more of this magazine will be fired; `opened` and `done` as in `ShotReport`."""

    magazine_id: int
    reason: EndReason
    shots_fired: int
    opened: int
    done: int


@dataclass(frozen=True, slots=True)
class PressIgnored:
    """The trigger was pressed and nothing fired."""

    reason: PressRefusal


@dataclass(frozen=True, slots=True)
class Faulted:
    """The real-time process is, or is going, into its safe mode because of `fault`."""

    fault: Fault
    homed: bool
    detail: int


Report: TypeAlias = Ready | Homed | Loaded | StrokeStarted | ShotReport | MagazineEnded | PressIgnored | Faulted
