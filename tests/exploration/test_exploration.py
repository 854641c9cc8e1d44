"""The composed machines explored at their small size, and the search itself: it finds what is planted.

The large size is `python -m tests.exploration`.
"""

from dataclasses import replace
from typing import Any

import pytest

from device.core.console import Console
from device.core.effects import Commit, Effect
from device.core.events import Event, FaultClearRequested, PositionRead
from device.core.machine import step
from device.core.realtime_messages import Inputs, Order, inputs_of
from device.core.records import MagazineIntent
from device.core.stroke import Scan, ScanState, scan
from device.core.units import Increments
from tests.exploration.gun import PLANS
from tests.exploration.search import Found, Search
from tests.exploration.tables import Budget, Tables

MOST_STATES = 400_000


def explore(plan: str, budget: Budget, **replaced: Any) -> Found:
    return Search(Tables(PLANS[plan], budget, **replaced), most_states=MOST_STATES).run()


def verdict(found: Found) -> str:
    return "\n".join(found.lines())


ONE_SHOT = Budget(shots=1, faults=1, presses=1, commands=1, acts=0)
NO_PRESS = Budget(shots=1, faults=1, presses=0, commands=1, acts=0)
TWO_SHOTS = Budget(shots=2, faults=0, presses=2, commands=1, acts=0)

KNOWN = frozenset({"internal fault (needle at step 0)"})
"""A magazine that reaches a new real-time process, because a slow commit held up the word of the old one's loss, is
taken for a lost track: it is not fired, and the console is in a fault in any case."""


@pytest.mark.parametrize("plan", ["press", "tap"])
def test_no_single_fault_at_any_step_of_one_shot_breaks_an_invariant(plan: str) -> None:
    found = explore(plan, ONE_SHOT)
    assert found.complete, verdict(found)
    assert not found.broken, verdict(found)
    assert set(found.noted) <= KNOWN, verdict(found)
    assert found.by_kind["fault"] > 5_000


@pytest.mark.parametrize("plan", ["press", "hold", "continuous", "burst"])
def test_two_shots_in_which_nothing_goes_wrong_keep_every_invariant(plan: str) -> None:
    found = explore(plan, TWO_SHOTS)
    assert found.complete, verdict(found)
    assert not found.broken, verdict(found)
    assert not found.noted, verdict(found)


# The search itself: each of these breaks one part on purpose, and the search says how it comes to harm.


def scan_without_permit(state: ScanState, inputs: Inputs, order: Order | None, **now: Any) -> Scan:
    return scan(state, inputs, order, **{**now, "permit_until_ns": now["now_ns"]})


def scan_without_stop(state: ScanState, inputs: Inputs, order: Order | None, **now: Any) -> Scan:
    released = inputs_of((inputs.trigger_a, inputs.trigger_b, False, False, inputs.home, inputs.contact, inputs.phase))
    return scan(state, released, order, **now)


def scan_without_release(state: ScanState, inputs: Inputs, order: Order | None, **now: Any) -> Scan:
    if state.switches.pressed:
        inputs = inputs_of((True, True, inputs.stop_a, inputs.stop_b, inputs.home, inputs.contact, inputs.phase))
    return scan(state, inputs, order, **now)


def scan_that_opens_early(state: ScanState, inputs: Inputs, order: Order | None, **now: Any) -> Scan:
    result = scan(state, inputs, order, **now)
    gate = result.outputs.gate or int(result.state.loaded is not None)
    return result._replace(outputs=result.outputs._replace(gate=gate))


def never_writes_intents(console: Console, event: Event) -> tuple[Console, tuple[Effect, ...]]:
    after, effects = step(console, event)
    return after, tuple(effect for effect in effects if not isinstance(effect, Commit) or not announces(effect))


def announces(commit: Commit) -> bool:
    return any(isinstance(record, MagazineIntent) for record in commit.records)


def believes_in_less(console: Console, event: Event) -> tuple[Console, tuple[Effect, ...]]:
    if isinstance(event, PositionRead) and event.position is not None:
        event = replace(event, position=Increments(event.position + 5))
    return step(console, event)


def never_clears(console: Console, event: Event) -> tuple[Console, tuple[Effect, ...]]:
    return (console, ()) if isinstance(event, FaultClearRequested) else step(console, event)


def goes_on_after_a_fault(console: Console, event: Event) -> tuple[Console, tuple[Effect, ...]]:
    after, effects = step(console, event)
    return replace(after, armed=after.armed or console.armed), effects


@pytest.mark.parametrize(
    ("plan", "budget", "replaced", "broken"),
    [
        ("press", ONE_SHOT, {"scanner": scan_without_permit}, "I5: a gate opens: permit False"),
        ("press", ONE_SHOT, {"scanner": scan_without_stop}, "I5: a gate opens: permit True, linked True, stop True"),
        ("continuous", TWO_SHOTS, {"scanner": scan_without_release}, "I4: a shot begins with the trigger released"),
        ("press", TWO_SHOTS, {"scanner": scan_that_opens_early}, "a gate is open in mode ready"),
        ("press", TWO_SHOTS, {"machine": never_writes_intents}, "key 1 of magazine 1 without its durable intent"),
        ("press", ONE_SHOT, {"machine": believes_in_less}, "I2: "),
        ("press", ONE_SHOT, {"machine": goes_on_after_a_fault}, "I6: armed with a latched fault"),
        ("prime", NO_PRESS, {"machine": never_clears}, "no way back to a console at rest"),
    ],
)
def test_what_is_planted_is_found_with_a_readable_path(
    plan: str, budget: Budget, replaced: dict[str, Any], broken: str
) -> None:
    found = explore(plan, budget, **replaced)
    assert any(broken in what for what in found.broken), verdict(found)
    assert 0 < len(found.path) < 60, verdict(found)
