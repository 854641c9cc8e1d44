"""How long the pure core takes to plan: a session's stroke, a full magazine, and the machine's turn between two.

And how long the scan takes over a timeline, in which it is silent: of the longest stroke of the shipped axis, and of
the longest that any axis may have (`device_spec.PREPARED_STEP_NS`). The floor is `json.dumps` of the next magazine's
intent: work that the turn cannot do without, in C.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from device.core.device_spec import PREPARED_STEP_NS, DeviceSpec
from device.core.machine import step
from device.core.magazine import StrokeProgram
from device.core.records import to_body
from device.core.retreat import retraction
from device.core.scan_state import initial_state, motion_along, scan_spec
from device.core.shot_plan import plan_shots, plan_stroke
from device.core.stroke_timeline import stroke_timeline, without_dose
from device.core.treatment import plunger_of
from device.core.units import Steps
from tests.bench.effort import Effort
from tests.bench.figures import Findings, row
from tests.bench.shipped import profile_of, shipped_configuration, syringe_of
from tests.bench.treatment import full_turn

FLOOR: Final = "json.dumps(intent)"


def planning(effort: Effort) -> Findings:
    """Measure `effort.plans` calls of each."""
    configuration = shipped_configuration()
    profile, syringe, spec = profile_of(configuration), syringe_of(configuration), configuration.device
    turn = full_turn(configuration)
    plan = plan_stroke(profile, syringe, spec)
    plunger = plunger_of(turn.console)
    body = to_body(turn.intent)
    calls: dict[str, Callable[[], Any]] = {
        "plan_stroke (once a session)": lambda: plan_stroke(profile, syringe, spec),
        f"plan_shots ({plan.most_shots} shots)": lambda: plan_shots(
            plan=plan, profile=profile, syringe=syringe, plunger=plunger, most=plan.most_shots
        ),
        "machine.step to the next magazine": lambda: step(turn.console, turn.event),
    }
    rows = [row(name, _times(call, effort.plans), FLOOR) for name, call in calls.items()]
    longest = spec.axis.steps_to(spec.limits.depth_um), Steps(spec.timing.silence_ns // PREPARED_STEP_NS)
    for steps in longest:
        for name, call in _timelines(replace(plan.stroke, depth=steps), spec).items():
            rows.append(row(f"{name}, {steps} steps", _times(call, effort.plans // 10), FLOOR))
    return Findings((*rows, row(FLOOR, _times(lambda: json.dumps(body), effort.plans))))


def _timelines(stroke: StrokeProgram, spec: DeviceSpec) -> dict[str, Callable[[], Any]]:
    """Return what builds a timeline: a load, a release as the stroke begins, a stroke broken off near its depth."""
    timeline, deepest = stroke_timeline(stroke), stroke.depth - 1
    # In front of it lie the steps so far and the entry's gate.
    motion = motion_along(timeline, 0)._replace(place=deepest + 1, steps_in=deepest)
    state = initial_state()._replace(position=deepest, motion=motion)
    return {
        "timeline of a load": lambda: stroke_timeline.__wrapped__(stroke),
        "timeline of a release": lambda: without_dose(timeline, index=0),
        "timeline of a break-off": lambda: retraction(state, motion, spec=scan_spec(spec), now_ns=0),
    }


def _times(call: Callable[[], Any], count: int) -> list[int]:
    times_ns = []
    for _ in range(count):
        began_ns = time.monotonic_ns()
        call()
        times_ns.append(time.monotonic_ns() - began_ns)
    return times_ns
