"""The planner: profile + syringe + console -> the stroke, then magazines of shots with absolute plunger targets.

Owns how a dose is fitted into the time a phase has. Where the pump cannot deliver a phase in its time, the planner
slows the needle or lengthens the dwell as far as the profile allows, or refuses and says which phase and by how
much. It never moves dose from one phase to another, and never lets the sum of the planned increments exceed the sum
of the doses: the rounding remainder is carried from shot to shot. Each phase's move ends so early that the tube has
drained before the needle leaves the phase, and a suck-back goes beyond the drive's play by its volume.
"""

from collections.abc import Callable
from dataclasses import dataclass

from device.core.device_spec import DeviceSpec
from device.core.kinematics import NeedleTravel, plunger_move_ns
from device.core.limits import Refusal, profile_refusals, ul
from device.core.magazine import Magazine, PhaseMove, PlannedShot, Purpose, StrokeProgram
from device.core.profile import Mode, Phase, Profile, TriggerStyle
from device.core.syringe import Syringe
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    MicrometresPerSecond,
    Nanolitres,
    NanolitresPerSecond,
    Nanoseconds,
    Steps,
)

SLOWEST_PLUNGER = HalfIncrementsPerSecond(5)
"""The least top speed the pump's V takes."""

LONGEST_MOVE_TEXT = 15
"""Most characters of one gated move in the pump's program: `V6000H1A24000J1`."""

FARTHEST_SUCK_BACK_NL = Nanolitres(10_000)
"""The most that the plunger's drive goes back after a shot, its play included; the pump's driver has its own bound."""

PROGRAM_FRAME_TEXT = 3
"""Characters around the moves: `J0` and `R`."""


class PlanRefused(Exception):
    """A plan is impossible or not allowed; `reasons` holds every reason found."""

    def __init__(self, reasons: tuple[Refusal, ...]) -> None:
        super().__init__("; ".join(reason.message for reason in reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class StrokePlan:
    """What all shots of a session share: the stroke, the phases with a dose, and the plunger's top speed in each."""

    stroke: StrokeProgram
    phases: tuple[Phase, ...]
    speeds: tuple[HalfIncrementsPerSecond, ...]
    suck_back: Increments
    most_shots: int
    """How many shots one magazine can hold: the pump's buffer and `limits.magazine_shots`."""


def _ms(time_ns: int) -> str:
    """Return a time for people, rounded up to the microsecond: what is too long never reads like what is allowed."""
    return f"{-(-time_ns // 1000) / 1000:.3f}"


def shot_increments(dose_nl: Nanolitres, carry: int, syringe: Syringe) -> tuple[Increments, int]:
    """Return a shot's whole increments and the remainder carried on, in 1/stroke_nl of an increment.

    Exact over any number of shots: the increments of n shots are floor(n x dose) with no drift.
    """
    whole, rest = divmod(dose_nl * syringe.stroke_increments + carry, syringe.stroke_nl)
    return Increments(whole), rest


def split_increments(total: Increments, profile: Profile) -> dict[Phase, Increments]:
    """Split a shot's increments over its phases by the profile's shares; the sum is `total` exactly."""
    entry = total * profile.entry_percent // 100
    dwell = total * (profile.entry_percent + profile.dwell_percent) // 100 - entry
    parts = {Phase.ENTRY: entry, Phase.DWELL: dwell, Phase.EXIT: total - entry - dwell}
    return {phase: Increments(parts[phase]) for phase in parts if profile.percent(phase) > 0}


def plan_stroke(profile: Profile, syringe: Syringe, spec: DeviceSpec) -> StrokePlan:
    """Plan what every shot of a session shares. Raises PlanRefused with every reason."""
    reasons = list(profile_refusals(profile, limits=spec.limits, syringe=syringe))
    if profile.depth_um + spec.axis.clearance_um > spec.axis.travel_um:
        # The timings below would be those of a stroke the axis cannot make.
        raise PlanRefused(tuple(reasons))
    fitting = _PhaseFitting(profile=profile, syringe=syringe, spec=spec)
    reasons += fitting.suck_back_refusals()
    reasons += fitting.content_refusals()
    reasons += fitting.window_refusals()
    if reasons and reasons[-1].code == "depth_window":
        raise PlanRefused(tuple(reasons))
    entry_speed = fitting.fit_needle(Phase.ENTRY, profile.entry_speed_um_s)
    exit_speed = fitting.fit_needle(Phase.EXIT, profile.exit_speed_um_s)
    dwell_ns = fitting.fit_dwell()
    plan = fitting.stroke_plan(entry_speed, exit_speed, dwell_ns)
    reasons += fitting.refusals
    if plan.most_shots < 1:
        reasons.append(Refusal("program", "one shot does not fit into the pump's program buffer"))
    if profile.mode is Mode.BURST and profile.burst_shots > plan.most_shots:
        reasons.append(
            Refusal("burst", f"burst_shots {profile.burst_shots} exceeds the {plan.most_shots} shots of a magazine")
        )
    if profile.mode is not Mode.SINGLE and profile.interval_ns < fitting.stroke_ns(entry_speed, exit_speed, dwell_ns):
        needed = _ms(fitting.stroke_ns(entry_speed, exit_speed, dwell_ns))
        reasons.append(
            Refusal("interval", f"a stroke takes {needed} ms: interval {profile.interval_ns / 1e6:g} ms is too short")
        )
    if reasons:
        raise PlanRefused(tuple(reasons))
    return plan


@dataclass
class _PhaseFitting:
    """Fits each phase's dose into its time; collects a refusal for each phase that does not fit."""

    profile: Profile
    syringe: Syringe
    spec: DeviceSpec

    def __post_init__(self) -> None:
        self.refusals: list[Refusal] = []
        axis, profile = self.spec.axis, self.profile
        self.depth = axis.steps_to(profile.depth_um)
        self.entry_open = axis.steps_to(profile.entry_from_um) + 1
        self.exit_done = axis.steps_to(profile.exit_until_um) + 1
        whole, rest = shot_increments(profile.dose_nl, 0, self.syringe)
        # The largest shot that the carried remainder can make, split: each phase may get one increment more.
        largest = split_increments(Increments(whole + (1 if rest else 0)), profile)
        wished = self.syringe.increments_within(profile.suck_back_nl)
        # Without the drive's play on top, a suck-back smaller than the play would not reach the fluid at all.
        self.suck_back = Increments(wished + self.syringe.backlash_increments if wished else 0)
        self.travels = {phase: Increments(part + 1) for phase, part in largest.items()}
        first = next(iter(self.travels))
        self.travels[first] = Increments(self.travels[first] + self.suck_back)
        self.top_speed = self._top_speed()
        self.speeds: dict[Phase, HalfIncrementsPerSecond] = {}

    def window_refusals(self) -> tuple[Refusal, ...]:
        """Return the phases whose depth window is not even one motor step wide."""
        windows = ((Phase.ENTRY, self.entry_open, "entry_from_mm"), (Phase.EXIT, self.exit_done, "exit_until_mm"))
        return tuple(
            Refusal(
                "depth_window",
                f"phase {phase.value}: between {key} and depth_mm {self.profile.depth_um / 1000} there is not one "
                f"motor step of 1/{self.spec.axis.steps_per_mm} mm: lower {key}",
            )
            for phase, edge, key in windows
            if phase in self.travels and edge >= self.depth
        )

    def suck_back_refusals(self) -> tuple[Refusal, ...]:
        """Return why the plunger may not go back so far."""
        way_nl = self.syringe.volume_of(self.suck_back)
        if way_nl <= FARTHEST_SUCK_BACK_NL:
            return ()
        return (
            Refusal(
                "suck_back",
                f"suck_back_ul with the play of syringe {self.syringe.name} takes {ul(way_nl)} of plunger travel; the "
                f"most is {ul(FARTHEST_SUCK_BACK_NL)}: lower suck_back_ul or take a smaller syringe",
            ),
        )

    def content_refusals(self) -> tuple[Refusal, ...]:
        """Return why not even a full syringe holds what one press gives, with what a suck-back still owes."""
        shots, syringe = self.profile.burst_shots if self.profile.mode is Mode.BURST else 1, self.syringe
        most = syringe.stroke_increments - syringe.backlash_increments - self.suck_back
        # What n shots take depends on the remainder that is carried into them.
        wanted = Increments(syringe.increments_within(Nanolitres(shots * self.profile.dose_nl)) + 1)
        if wanted <= most:
            return ()
        needs, holds = ul(syringe.volume_of(wanted)), ul(syringe.volume_of(Increments(max(0, most))))
        return (
            Refusal(
                "syringe_volume",
                f"one press gives up to {needs}, a full syringe {syringe.name} {holds}: lower the dose or the shots of "
                "a burst, or take a larger syringe",
            ),
        )

    def _top_speed(self) -> HalfIncrementsPerSecond:
        """Return the plunger's top speed within the flow limits of syringe and console, rounded down."""
        pump = self.spec.pump
        flow = NanolitresPerSecond(min(self.syringe.fastest_nl_s, self.spec.limits.fastest_nl_s))
        by_flow = flow * pump.stroke_half_increments // self.syringe.stroke_nl
        return HalfIncrementsPerSecond(max(SLOWEST_PLUNGER, min(by_flow, pump.fastest_speed)))

    def _needed_ns(self, phase: Phase, top_speed: HalfIncrementsPerSecond) -> int:
        """Return the time that a phase with a dose takes: until the plunger moves, its move, and the tube's drain."""
        pump = self.spec.pump
        move_ns = plunger_move_ns(self.travels[phase], pump=pump, top_speed=top_speed)
        return pump.gate_latency_ns + move_ns + pump.settle_ns

    def _window_ns(self, phase: Phase, speed: MicrometresPerSecond) -> int:
        """Return the time that the needle at `speed` spends inside the depth window of the entry or exit phase.

        Outward from the first step, with which the gate opens.
        """
        travel = self._travel(speed)
        if phase is Phase.ENTRY:
            return travel.total_ns - travel.time_at(self.entry_open)
        return travel.time_at(self.depth - self.exit_done) - travel.time_at(1)

    def _travel(self, speed: MicrometresPerSecond) -> NeedleTravel:
        axis = self.spec.axis
        return NeedleTravel(
            steps=self.depth,
            steps_per_mm=axis.steps_per_mm,
            speed_um_s=MicrometresPerSecond(min(speed, axis.fastest_um_s)),
            acceleration_um_s2=axis.acceleration_um_s2,
        )

    def fit_needle(self, phase: Phase, wished: MicrometresPerSecond) -> MicrometresPerSecond:
        """Return the fastest needle speed up to `wished` at which the dose fits; note a refusal if none does."""
        wished = MicrometresPerSecond(min(wished, self.spec.axis.fastest_um_s))
        if phase not in self.travels:
            return wished
        needed = self._needed_ns(phase, self.top_speed)
        slowest = min(self.profile.slowest_speed_um_s, wished)
        speed = largest(slowest, wished, lambda value: self._window_ns(phase, MicrometresPerSecond(value)) >= needed)
        if speed is None:
            self._refuse(phase, needed, self._window_ns(phase, MicrometresPerSecond(slowest)), "slowest_speed_mm_s")
            return MicrometresPerSecond(slowest)
        self.speeds[phase] = self._gentlest(phase, self._window_ns(phase, MicrometresPerSecond(speed)))
        return MicrometresPerSecond(speed)

    def fit_dwell(self) -> Nanoseconds:
        """Return the dwell, lengthened for its dose as far as allowed; note a refusal if that is too short."""
        if Phase.DWELL not in self.travels:
            return self.profile.dwell_ns
        needed = self._needed_ns(Phase.DWELL, self.top_speed)
        dwell_ns = Nanoseconds(max(self.profile.dwell_ns, min(needed, self.profile.longest_dwell_ns)))
        if dwell_ns < needed:
            self._refuse(Phase.DWELL, needed, dwell_ns, "longest_dwell_ms")
            return dwell_ns
        self.speeds[Phase.DWELL] = self._gentlest(Phase.DWELL, dwell_ns)
        return dwell_ns

    def _gentlest(self, phase: Phase, window_ns: int) -> HalfIncrementsPerSecond:
        """Return the slowest plunger speed that fits the window: the dose is spread over the whole phase."""
        slowness = largest(
            -self.top_speed,
            -SLOWEST_PLUNGER,
            lambda value: self._needed_ns(phase, HalfIncrementsPerSecond(-value)) <= window_ns,
        )
        return HalfIncrementsPerSecond(-slowness if slowness is not None else self.top_speed)

    def _refuse(self, phase: Phase, needed_ns: int, window_ns: int, key: str) -> None:
        dose = ul(self.syringe.volume_of(self.travels[phase]))
        self.refusals.append(
            Refusal(
                "phase_time",
                f"phase {phase.value}: {dose} take the pump {needed_ns / 1e6:.1f} ms, the phase has "
                f"{window_ns / 1e6:.1f} ms ({(needed_ns - window_ns) / 1e6:.1f} ms too short): lower its share or "
                f"the dose, or change {key}",
            )
        )

    def stroke_ns(self, entry: MicrometresPerSecond, exit_: MicrometresPerSecond, dwell_ns: Nanoseconds) -> int:
        """Return the planned time of a whole stroke, without the suck-back."""
        return self._travel(entry).total_ns + dwell_ns + self._travel(exit_).total_ns

    def stroke_plan(
        self, entry: MicrometresPerSecond, exit_: MicrometresPerSecond, dwell_ns: Nanoseconds
    ) -> StrokePlan:
        """Return the plan at these speeds."""
        pump = self.spec.pump
        phases = tuple(self.travels)
        speeds = {phase: self.speeds.get(phase, self.top_speed) for phase in phases}
        suck_back_ns: Nanoseconds | None = None
        if self.suck_back:
            phases = (*phases, Phase.SUCK_BACK)
            speeds[Phase.SUCK_BACK] = self.top_speed
            suck_back_ns = Nanoseconds(
                pump.gate_latency_ns + plunger_move_ns(self.suck_back, pump=pump, top_speed=self.top_speed)
            )
        stroke = StrokeProgram(
            depth=self.depth,
            steps_per_mm=self.spec.axis.steps_per_mm,
            entry_speed_um_s=entry,
            exit_speed_um_s=exit_,
            acceleration_um_s2=self.spec.axis.acceleration_um_s2,
            dwell_ns=dwell_ns,
            entry_open=Steps(self.entry_open) if Phase.ENTRY in self.travels else None,
            dwell_dose=Phase.DWELL in self.travels,
            exit_done=Steps(self.exit_done) if Phase.EXIT in self.travels else None,
            suck_back_ns=suck_back_ns,
            prime_ns=None,
        )
        by_buffer = (pump.program_bytes - PROGRAM_FRAME_TEXT) // (LONGEST_MOVE_TEXT * max(1, len(phases)))
        return StrokePlan(
            stroke=stroke,
            phases=phases,
            speeds=tuple(speeds[phase] for phase in phases),
            suck_back=self.suck_back,
            most_shots=min(by_buffer, self.spec.limits.magazine_shots),
        )


def largest(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest value in low ... high for which `fits`, given that it fits everything below; None if none."""
    if not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True)
class Plunger:
    """Where the plunger stands: `position`, the lowest it has been (`low_water`), and the carried remainder."""

    position: Increments
    low_water: Increments
    carry: int


def plan_shots(
    *, plan: StrokePlan, profile: Profile, syringe: Syringe, plunger: Plunger, most: int
) -> tuple[PlannedShot, ...]:
    """Return up to `most` shots that the plunger's content can give, with absolute targets.

    Empty when the content is not enough for one: refill first. The first move repays an earlier suck-back.
    """
    shots: list[PlannedShot] = []
    given_to, carry = plunger.low_water, plunger.carry
    for _ in range(most):
        total, carry_after = shot_increments(profile.dose_nl, carry, syringe)
        if given_to < total:
            break
        moves: list[PhaseMove] = []
        parts = split_increments(total, profile)
        for phase, speed in zip(plan.phases, plan.speeds, strict=True):
            if phase is Phase.SUCK_BACK:
                target = Increments(given_to + plan.suck_back)
            else:
                given_to = Increments(given_to - parts[phase])
                target = given_to
            moves.append(PhaseMove(phase=phase, target=target, top_speed=speed))
        carry = carry_after
        shots.append(PlannedShot(dose_nl=profile.dose_nl, moves=tuple(moves), carry_after=carry))
    return tuple(shots)


def plan_prime(
    *, volume_nl: Nanolitres, syringe: Syringe, spec: DeviceSpec, plunger: Plunger, magazine_id: int, session_id: str
) -> Magazine | None:
    """Return a prime of at most `volume_nl` through the needle into the air; None when the plunger holds too little.

    Raises PlanRefused above limits.prime_ul or when it would last longer than limits.prime_ms.
    """
    limits, pump = spec.limits, spec.pump
    travel = syringe.increments_within(volume_nl)
    speed = HalfIncrementsPerSecond(min(pump.refill_speed, pump.fastest_speed))
    duration_ns = plunger_move_ns(Increments(travel + plunger.position - plunger.low_water), pump=pump, top_speed=speed)
    reasons: list[Refusal] = []
    if volume_nl > limits.prime_nl:
        reasons.append(Refusal("prime_volume", f"{ul(volume_nl)} exceed limits.prime_ul {ul(limits.prime_nl)}"))
    if travel < 1:
        reasons.append(Refusal("prime_volume", f"{ul(volume_nl)} are less than one plunger increment"))
    if duration_ns > limits.prime_ns:
        reasons.append(
            Refusal("prime_time", f"it would take {_ms(duration_ns)} ms of limits.prime_ms {limits.prime_ns / 1e6:.0f}")
        )
    if reasons:
        raise PlanRefused(tuple(reasons))
    if plunger.low_water < travel:
        return None
    move = PhaseMove(phase=Phase.ENTRY, target=Increments(plunger.low_water - travel), top_speed=speed)
    axis = spec.axis
    stroke = StrokeProgram(
        depth=Steps(0),
        steps_per_mm=axis.steps_per_mm,
        entry_speed_um_s=axis.homing_um_s,
        exit_speed_um_s=axis.homing_um_s,
        acceleration_um_s2=axis.acceleration_um_s2,
        dwell_ns=Nanoseconds(0),
        entry_open=None,
        dwell_dose=False,
        exit_done=None,
        suck_back_ns=None,
        prime_ns=Nanoseconds(pump.gate_latency_ns + duration_ns),
    )
    return Magazine(
        magazine_id=magazine_id,
        purpose=Purpose.PRIME,
        session_id=session_id,
        first_shot=0,
        region="",
        stroke_nl=syringe.stroke_nl,
        start=plunger.position,
        low_water=plunger.low_water,
        carry_before=plunger.carry,
        shots=(PlannedShot(dose_nl=volume_nl, moves=(move,), carry_after=plunger.carry),),
        mode=Mode.SINGLE,
        trigger=TriggerStyle.PRESS,
        interval_ns=Nanoseconds(0),
        fresh_press=False,
        require_contact=False,
        stroke=stroke,
    )
