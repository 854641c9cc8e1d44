"""A stroke as one ordered list of actions with due times: what the scan walks along.

Order is the safety here, time only the pace: an action is never done before the one in front of it, so a gate opens
at its needle position however late the process runs, and the needle never leaves a phase's depth before the pump has
reported the phase's end. Built when a magazine is loaded or a stroke is broken off, never during one.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from device.core.kinematics import NeedleTravel
from device.core.magazine import StrokeProgram
from device.core.units import MicrometresPerSecond, MicrometresPerSecond2, Steps

HOME_SETTLING_NS = 2_000_000
"""From the last step to the moment when the home switch must have closed: the needle's mechanics and the switch."""


class Action(IntEnum):
    """What happens at a due time."""

    STEP_IN = 1
    STEP_OUT = 2
    OPEN = 3
    """Open the next gate in turn: the pump begins the next loaded move."""
    AWAIT = 4
    """Go on when the pump reports the running move's end; then close the gate."""
    END = 5


@dataclass(frozen=True, slots=True)
class Timeline:
    """Actions and when they are due, in ns from the start; equally long; the last action is END."""

    due_ns: tuple[int, ...]
    actions: tuple[Action, ...]


@dataclass
class _Writer:
    due_ns: list[int]
    actions: list[Action]

    def add(self, due_ns: int, action: Action) -> None:
        self.due_ns.append(due_ns)
        self.actions.append(action)

    def timeline(self) -> Timeline:
        return Timeline(due_ns=tuple(self.due_ns), actions=tuple(self.actions))


def _travel(program: StrokeProgram, speed: MicrometresPerSecond) -> NeedleTravel:
    return NeedleTravel(
        steps=program.depth,
        steps_per_mm=program.steps_per_mm,
        speed_um_s=speed,
        acceleration_um_s2=program.acceleration_um_s2,
    )


@lru_cache(maxsize=4)
def stroke_timeline(program: StrokeProgram) -> Timeline:
    """Return the timeline of one shot; the first step inward is due at 0.

    All magazines of a session share it, so it is kept: building it takes longer than anything else in a load.
    """
    writer = _Writer([], [])
    if program.prime_ns is not None:
        writer.add(0, Action.OPEN)
        writer.add(program.prime_ns, Action.AWAIT)
        writer.add(program.prime_ns, Action.END)
        return writer.timeline()
    inward = _travel(program, program.entry_speed_um_s)
    lead_ns = inward.time_at(1)
    for step, ns in enumerate(inward.times(), start=1):
        writer.add(ns - lead_ns, Action.STEP_IN)
        if step == program.entry_open:
            writer.add(ns - lead_ns, Action.OPEN)
    bottom_ns = inward.total_ns - lead_ns
    if program.entry_open is not None:
        writer.add(bottom_ns, Action.AWAIT)
    if program.dwell_dose:
        writer.add(bottom_ns, Action.OPEN)
    bottom_ns += program.dwell_ns
    if program.dwell_dose:
        writer.add(bottom_ns, Action.AWAIT)
    if program.exit_done is not None:
        writer.add(bottom_ns, Action.OPEN)
    outward = _travel(program, program.exit_speed_um_s)
    # The first step comes with the gate: what runs before the needle moves is no dose of the way out.
    lead_ns = outward.time_at(1)
    for step, ns in enumerate(outward.times(), start=1):
        writer.add(bottom_ns + ns - lead_ns, Action.STEP_OUT)
        if program.depth - step == program.exit_done:
            writer.add(bottom_ns + ns - lead_ns, Action.AWAIT)
    home_ns = bottom_ns + outward.total_ns - lead_ns + HOME_SETTLING_NS
    if program.suck_back_ns is not None:
        writer.add(home_ns, Action.OPEN)
        home_ns += program.suck_back_ns
        writer.add(home_ns, Action.AWAIT)
    writer.add(home_ns, Action.END)
    return writer.timeline()


def without_dose(timeline: Timeline, *, index: int) -> Timeline:
    """Return the rest of `timeline` from `index` without its gates, the dwell skipped, beginning at 0."""
    kept = [
        (due_ns, action)
        for due_ns, action in zip(timeline.due_ns[index:], timeline.actions[index:], strict=True)
        if action not in (Action.OPEN, Action.AWAIT)
    ]
    # The END of a suck-back lies after the needle's own end: what is left begins with its first step.
    base_ns = kept[0][0]
    return Timeline(due_ns=tuple(due_ns - base_ns for due_ns, _ in kept), actions=tuple(action for _, action in kept))


def resumed_outward(
    timeline: Timeline,
    *,
    index: int,
    steps_per_mm: int,
    speed_um_s: MicrometresPerSecond,
    acceleration_um_s2: MicrometresPerSecond2,
) -> Timeline:
    """Return the rest of `timeline` from `index`, a step outward, for a needle that had to stop: from rest, at 0.

    What follows the last step keeps its distance from it.
    """
    rest = timeline.actions[index:]
    outward = NeedleTravel(
        steps=Steps(rest.count(Action.STEP_OUT)),
        steps_per_mm=steps_per_mm,
        speed_um_s=speed_um_s,
        acceleration_um_s2=acceleration_um_s2,
    )
    last_step = len(timeline.actions) - 1 - timeline.actions[::-1].index(Action.STEP_OUT)
    writer = _Writer([], [])
    taken = 0
    taken_ns = (0, *outward.times())
    for place, action in enumerate(rest, start=index):
        taken += action is Action.STEP_OUT
        behind_ns = max(0, timeline.due_ns[place] - timeline.due_ns[last_step])
        writer.add(taken_ns[taken] + (behind_ns if taken == outward.steps else 0), action)
    return writer.timeline()


def retract_timeline(
    *,
    position: Steps,
    depth: Steps,
    inward_speed_steps_s: int,
    steps_per_mm: int,
    outward_speed_um_s: MicrometresPerSecond,
    acceleration_um_s2: MicrometresPerSecond2,
) -> Timeline:
    """Return the quickest way home from `position`: brake from the inward speed, then straight out.

    The braking never goes deeper than `depth`, the stroke's own: a stroke can stop there from any of its speeds.
    """
    writer = _Writer([], [])
    steps_s2 = acceleration_um_s2 * steps_per_mm // 1000
    braking = min(inward_speed_steps_s**2 // (2 * steps_s2), max(0, depth - position))
    turn_ns = 0
    if braking:
        # The second half of a travel of twice the braking way that just reaches the speed to brake from.
        brake = NeedleTravel(
            steps=Steps(2 * braking),
            steps_per_mm=steps_per_mm,
            speed_um_s=MicrometresPerSecond(inward_speed_steps_s * 2000 // steps_per_mm),
            acceleration_um_s2=acceleration_um_s2,
        )
        fastest_ns = brake.time_at(braking)
        for ns in brake.times()[braking:]:
            writer.add(ns - fastest_ns, Action.STEP_IN)
        turn_ns = brake.total_ns - fastest_ns
    outward = NeedleTravel(
        steps=Steps(position + braking),
        steps_per_mm=steps_per_mm,
        speed_um_s=outward_speed_um_s,
        acceleration_um_s2=acceleration_um_s2,
    )
    for ns in outward.times():
        writer.add(turn_ns + ns, Action.STEP_OUT)
    writer.add(turn_ns + outward.total_ns + HOME_SETTLING_NS, Action.END)
    return writer.timeline()
