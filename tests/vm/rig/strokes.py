"""The needle's strokes and the gates' openings, read from the edges that the kernel's trace saw.

Knows no plan, report or journal: what it says can be held against them. Counts rising step edges by the level of the
direction line, while the motor is on; the needle stands at home when the reading begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from drivers.ports import LineMap
from tests.vm.rig.wires import Edge


@dataclass(frozen=True, slots=True)
class Opening:
    """One time in which a gate was open: the needle's positions at its two edges, and the way it went last."""

    gate: int
    opened_at: int
    closed_at: int
    inward: bool


@dataclass(slots=True)
class Stroke:
    """One way in and out, with the gates that were opened from its first step until the next stroke's."""

    steps_in: int = 0
    steps_out: int = 0
    deepest: int = 0
    openings: list[Opening] = field(default_factory=list)


@dataclass(slots=True)
class Motion:
    """All that moved: the strokes in their order, and what was opened before the first of them (a prime)."""

    strokes: list[Stroke] = field(default_factory=list)
    before: list[Opening] = field(default_factory=list)
    homing_steps: int = 0
    """Outward steps that belong to no stroke."""
    widths_ok: bool = True
    """Every rising step edge was followed by a falling one before the next."""


def read_motion(edges: Iterable[Edge], lines: LineMap, *, motor_off: bool) -> Motion:
    """Return what moved; `motor_off` before the first edge. Raises ValueError for edges out of the order of time."""
    motion = Motion()
    levels = {lines.enable: motor_off, lines.direction: False, lines.step: False}
    opened: dict[int, tuple[int, bool]] = {}
    gates = {lines.gate_1: 1, lines.gate_2: 2}
    position = 0
    last_ns = 0
    for edge in edges:
        if edge.at_ns < last_ns and edge.traced:
            raise ValueError(f"the trace is not in order at {edge}")
        last_ns = max(last_ns, edge.at_ns) if edge.traced else last_ns
        if edge.line == lines.step:
            motion.widths_ok &= not (edge.level and levels[lines.step])
            if edge.level and not levels[lines.enable]:
                position = _step(motion, position, inward=levels[lines.direction])
        if edge.line in levels:
            levels[edge.line] = edge.level
        elif edge.line in gates:
            gate = gates[edge.line]
            if not edge.level and gate not in opened:
                opened[gate] = (position, levels[lines.direction])
            elif edge.level and gate in opened:
                at, inward = opened.pop(gate)
                openings = motion.strokes[-1].openings if motion.strokes else motion.before
                openings.append(Opening(gate, at, position, inward))
    if opened:
        raise ValueError(f"gates that were not closed: {sorted(opened)}")
    return motion


def _step(motion: Motion, position: int, *, inward: bool) -> int:
    """Count one step and return where the needle is then."""
    if inward:
        if position == 0:
            motion.strokes.append(Stroke())
        stroke = motion.strokes[-1]
        stroke.steps_in += 1
        stroke.deepest = max(stroke.deepest, position + 1)
        return position + 1
    if position == 0:
        motion.homing_steps += 1
        return 0
    motion.strokes[-1].steps_out += 1
    return position - 1
