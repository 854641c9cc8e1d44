"""A profile: how to inject. Owns the description of one kind of shot and its own consistency.

A profile never knows a device, a syringe or a serum; what a given console can deliver is the planner's business
(`shot_plan`). Immutable: a running session keeps the profile it started with.
"""

from dataclasses import dataclass
from enum import Enum

from device.core.units import Micrometres, MicrometresPerSecond, Nanolitres, Nanoseconds


class Mode(Enum):
    """How many shots one press gives."""

    SINGLE = "single"
    BURST = "burst"
    CONTINUOUS = "continuous"


class TriggerStyle(Enum):
    """What a release does: nothing (`press`), or end the shot's further phases and retract (`hold`)."""

    PRESS = "press"
    HOLD = "hold"


class Phase(Enum):
    """The parts of a shot in their order. `suck_back` follows the exit with the needle out and gives nothing."""

    ENTRY = "entry"
    DWELL = "dwell"
    EXIT = "exit"
    SUCK_BACK = "suck_back"


@dataclass(frozen=True, slots=True)
class Profile:
    """How to inject; every length from the skin's surface, positive into the skin.

    `entry_percent + dwell_percent + exit_percent` is 100. `entry_from_um` is the depth at which the entry dose may
    begin and `exit_until_um` the depth by which the exit dose must have ended: between them and the skin nothing
    is released. `slowest_speed_um_s` and `longest_dwell_ns` are how far the planner may slow the needle and
    lengthen the dwell to fit the dose; equal to the wished value they forbid it.

    Raises ValueError, naming the field, for a value that no device could make sense of.
    """

    name: str
    mode: Mode
    trigger: TriggerStyle
    burst_shots: int
    interval_ns: Nanoseconds
    depth_um: Micrometres
    entry_speed_um_s: MicrometresPerSecond
    exit_speed_um_s: MicrometresPerSecond
    slowest_speed_um_s: MicrometresPerSecond
    dwell_ns: Nanoseconds
    longest_dwell_ns: Nanoseconds
    entry_from_um: Micrometres
    exit_until_um: Micrometres
    dose_nl: Nanolitres
    entry_percent: int
    dwell_percent: int
    exit_percent: int
    suck_back_nl: Nanolitres
    require_contact: bool
    session_volume_nl: Nanolitres
    session_shots: int

    def __post_init__(self) -> None:
        """Check what holds for a profile on any device."""
        split = self.entry_percent + self.dwell_percent + self.exit_percent
        if split != 100 or min(self.entry_percent, self.dwell_percent, self.exit_percent) < 0:
            raise ValueError(
                f"entry_percent + dwell_percent + exit_percent is {split}; the phases must share exactly 100"
            )
        if not 0 <= self.entry_from_um < self.depth_um:
            raise ValueError(f"entry_from_mm must lie in 0 ... depth_mm; found {self.entry_from_um / 1000} mm")
        if not 0 <= self.exit_until_um < self.depth_um:
            raise ValueError(f"exit_until_mm must lie in 0 ... depth_mm; found {self.exit_until_um / 1000} mm")
        if not 0 < self.slowest_speed_um_s <= min(self.entry_speed_um_s, self.exit_speed_um_s):
            raise ValueError("slowest_speed_mm_s must be above 0 and at most entry_speed_mm_s and exit_speed_mm_s")
        if not 0 <= self.dwell_ns <= self.longest_dwell_ns:
            raise ValueError("longest_dwell_ms must be at least dwell_ms")
        if self.mode is Mode.BURST and self.burst_shots < 2:
            raise ValueError("burst_shots must be 2 or more in mode 'burst'")

    def percent(self, phase: Phase) -> int:
        """Return the share of the dose in `phase`; 0 for the suck-back."""
        return {
            Phase.ENTRY: self.entry_percent,
            Phase.DWELL: self.dwell_percent,
            Phase.EXIT: self.exit_percent,
            Phase.SUCK_BACK: 0,
        }[phase]
