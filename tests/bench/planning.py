"""How long the pure core takes to plan: a session's stroke, a full magazine, and the machine's turn between two.

The floor is `json.dumps` of the next magazine's intent: work that the turn cannot do without, in C.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Final

from device.core.machine import step
from device.core.records import to_body
from device.core.shot_plan import plan_shots, plan_stroke
from device.core.treatment import plunger_of
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
    return Findings((*rows, row(FLOOR, _times(lambda: json.dumps(body), effort.plans))))


def _times(call: Callable[[], Any], count: int) -> list[int]:
    times_ns = []
    for _ in range(count):
        began_ns = time.monotonic_ns()
        call()
        times_ns.append(time.monotonic_ns() - began_ns)
    return times_ns
