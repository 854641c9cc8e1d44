"""What one console is: its needle axis, its pump, its hard limits and its timings.

Plain numbers from `config/device.toml`, already checked for type and unit by `device.settings`; the
rules between them are checked here so that a specification built by hand is held to them too.
"""

from dataclasses import dataclass
from typing import Final

from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    Micrometres,
    MicrometresPerSecond,
    MicrometresPerSecond2,
    Nanolitres,
    NanolitresPerCm2,
    NanolitresPerSecond,
    Nanoseconds,
    Steps,
    steps_within,
)


@dataclass(frozen=True, slots=True)
class AxisSpec:
    """The needle axis. `clearance_um` is the needle's way from home to the skin's surface in the nosepiece."""

    steps_per_mm: int
    clearance_um: Micrometres
    travel_um: Micrometres
    fastest_um_s: MicrometresPerSecond
    acceleration_um_s2: MicrometresPerSecond2
    homing_um_s: MicrometresPerSecond

    def steps_to(self, depth_um: Micrometres) -> Steps:
        """Return the position of the needle tip at `depth_um` below the skin, rounded to the shallower step."""
        return steps_within(Micrometres(self.clearance_um + depth_um), steps_per_mm=self.steps_per_mm)

    @property
    def clearance_steps(self) -> Steps:
        """The position of the needle tip at the skin's surface."""
        return self.steps_to(Micrometres(0))

    @property
    def travel_steps(self) -> Steps:
        """The farthest position the axis can reach."""
        return steps_within(self.travel_um, steps_per_mm=self.steps_per_mm)

    @property
    def shortest_step_ns(self) -> Nanoseconds:
        """The least time between two steps: that of the fastest speed, rounded up."""
        return Nanoseconds(-(-1_000_000_000_000 // (self.fastest_um_s * self.steps_per_mm)))


AT_ONCE = Nanoseconds(0)
"""A rigid tube's fluid needs no time to settle."""


@dataclass(frozen=True, slots=True)
class PumpSpec:
    """The pump's plunger drive. Speeds in half-increments/s as its v, V and c take them.

    `stroke_half_increments` is the full stroke in those speed units (6000 for an XCalibur: 3000 increments),
    `stroke_increments` the full stroke in position units (24000 in fine positioning, `N1`).
    `slope` is the pump's L: acceleration in units of 2500 half-increments/s2.
    `gate_latency_ns` is the longest time from a gate line going low to the plunger's first movement, `settle_ns` the
    time after a move's end in which what the tube has stored leaves the needle.
    `phase_feedback` says whether the pump's output 1 is wired back to the real-time process; without it a phase's
    end is only assumed from time, a weaker mode.
    """

    stroke_increments: Increments
    stroke_half_increments: int
    start_speed: HalfIncrementsPerSecond
    fastest_speed: HalfIncrementsPerSecond
    cutoff_speed: HalfIncrementsPerSecond
    slope: int
    refill_speed: HalfIncrementsPerSecond
    program_bytes: int
    gate_latency_ns: Nanoseconds
    phase_feedback: bool
    settle_ns: Nanoseconds = AT_ONCE


@dataclass(frozen=True, slots=True)
class HardLimits:
    """What no profile, serum or operator may exceed on this console."""

    shot_nl: Nanolitres
    session_nl: Nanolitres
    patient_day_nl: Nanolitres
    session_shots: int
    hour_shots: int
    least_interval_ns: Nanoseconds
    fastest_nl_s: NanolitresPerSecond
    depth_um: Micrometres
    magazine_shots: int
    prime_nl: Nanolitres
    prime_ns: Nanoseconds
    region_nl_per_cm2: NanolitresPerCm2
    needle_shots: int


@dataclass(frozen=True, slots=True)
class SoftLimits:
    """What may be exceeded by somebody's word, and by nobody's beyond `HardLimits`; None where there is none."""

    shot_nl: Nanolitres | None = None
    session_nl: Nanolitres | None = None
    patient_day_nl: Nanolitres | None = None
    session_shots: int | None = None
    hour_shots: int | None = None
    region_nl_per_cm2: NanolitresPerCm2 | None = None
    least_interval_ns: Nanoseconds | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines of the supervision and the scan.

    `permit_ns`: how long the controller's permit lasts without renewal. `silence_ns`: how long the real-time
    process may be silent before it is killed. `discrepancy_ns`: how long two channels of one switch may differ.
    `lockout_ns`: how long a released trigger must stay released before it can press again. `late_limit_ns`: a step
    later than this ends the shot. `phase_wait_ns`: how long the needle waits for a phase that should have ended.
    """

    permit_ns: Nanoseconds
    silence_ns: Nanoseconds
    discrepancy_ns: Nanoseconds
    lockout_ns: Nanoseconds
    late_limit_ns: Nanoseconds
    phase_wait_ns: Nanoseconds
    idle_scan_ns: Nanoseconds
    armed_scan_ns: Nanoseconds
    spin_ns: Nanoseconds


PREPARED_STEP_NS: Final = 5_000
"""How long a step of the longest stroke, in and out, may take to be prepared within one scan.

The scan builds a timeline when a stroke is loaded, released or broken off, and does nothing else meanwhile: past
`Timing.silence_ns` the real-time process is killed, so that bounds the steps; with the shipped 30 ms they are 6000.
`make bench BENCH="planning"` measured 0.9 us a step for a load, 0.7 for a release and 0.6 for a break-off on a virtual
machine of an AMD EPYC. A Raspberry Pi 4 is taken for four times slower; a quarter is left for the rest of the scan.
"""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One console."""

    site: str
    device: str
    axis: AxisSpec
    pump: PumpSpec
    limits: HardLimits
    timing: Timing
    soft: SoftLimits = SoftLimits()

    def __post_init__(self) -> None:
        """Check the rules between the parts; raises ValueError naming them."""
        if self.limits.depth_um + self.axis.clearance_um > self.axis.travel_um:
            depth_mm = f"{self.limits.depth_um / 1000:g}"
            raise ValueError(f"limits.depth_mm {depth_mm} + needle.clearance_mm must be at most needle.travel_mm")
        if self.timing.permit_ns > 40_000_000 or self.timing.silence_ns > 40_000_000:
            # 50 ms to a safe gun (invariant I5) less one scan and the needle's braking.
            raise ValueError("timing.permit_ms and timing.silence_ms must be at most 40 ms")
        steps, most = self.axis.steps_to(self.limits.depth_um), self.timing.silence_ns // PREPARED_STEP_NS
        if steps > most:
            depth_mm = f"{self.limits.depth_um / 1000:g}"
            raise ValueError(
                f"at needle.steps_per_mm the stroke to limits.depth_mm {depth_mm} + needle.clearance_mm has {steps} "
                f"steps; at most {most} can be prepared within timing.silence_ms: take a coarser microstep or a lower "
                "limits.depth_mm"
            )
