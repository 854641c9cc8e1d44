"""From the press to the first step: the truth as the world stamps it, and what the real-time process says of itself.

The press is made by this process at a random phase of the scan, as switches are: channel A, then B, and it counts from
B. Its stamp is read just before the world changes and once more just after; the process's own figure is an upper bound
and must not be below the time from the later stamp. Both clocks are CLOCK_MONOTONIC.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from device.core.magazine import StrokeProgram
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import Load, Loaded, MagazineEnded, ShotReport
from device.core.units import Nanoseconds
from device.realtime.scheduling import sleep_until
from device.settings import Configuration
from drivers.sim.world import World
from tests.bench.effort import Effort
from tests.bench.figures import Findings, row
from tests.bench.processes import MeasurementBroken
from tests.bench.realtime_process import RealtimeProcess, realtime_process
from tests.bench.shipped import realtime_magazine, shipped_configuration

SEED: Final = 1
ATTEMPTS_PER_PRESS: Final = 3
FIRST_STEP_NS: Final = 1_000_000_000
"""How long the first step is waited for."""

STEP_EDGES: Final = 2
"""Edges of one step: with more of them the needle's stamp is a later step's."""

SETTLE_NS: Final = 3_000_000
"""From a report to the earliest press: this process has done its own work by then."""

PERIOD: Final = "armed scan period"


@dataclass(frozen=True, slots=True)
class Press:
    """One press: the stamps around its write, the first step's, and the latency that the process reported."""

    before_ns: int
    after_ns: int
    step_ns: int
    reported_ns: int


def trigger_latency(effort: Effort) -> Findings:
    """Measure `effort.presses` presses. Raises MeasurementBroken."""
    configuration = shipped_configuration()
    with (
        TemporaryDirectory(prefix="mesogun-bench-") as directory,
        realtime_process(Path(directory), configuration) as realtime,
    ):
        presses, missed = presses_of(realtime, configuration, wanted=effort.presses)
    true_ns = [press.step_ns - press.before_ns for press in presses]
    reported_ns = [press.reported_ns for press in presses]
    below = sum(press.reported_ns < press.step_ns - press.after_ns for press in presses)
    notes = [f"reported below the truth: {below} of {len(presses)} presses (an upper bound has none)"]
    if missed:
        notes.append(f"{missed} more presses are not counted: this process looked too late to time their first step")
    rows = (
        row("press to first step", true_ns, PERIOD),
        row("the same, as reported", reported_ns, "press to first step", PERIOD),
        row(PERIOD, [configuration.device.timing.armed_scan_ns]),
    )
    return Findings(rows, tuple(notes))


def presses_of(
    realtime: RealtimeProcess,
    configuration: Configuration,
    *,
    wanted: int,
    stroke: StrokeProgram | None = None,
    seed: int = SEED,
) -> tuple[list[Press], int]:
    """Return `wanted` presses whose first step's time is known, and how many more there were.

    `stroke`: another than the profile's. Raises MeasurementBroken.
    """
    random = Random(seed)
    timing = configuration.device.timing
    realtime.world.set_on_skin(True, time.monotonic_ns())
    presses: list[Press] = []
    for attempt in range(1, ATTEMPTS_PER_PRESS * wanted + 1):
        magazine = realtime_magazine(
            configuration, magazine_id=attempt, shots=1, mode=Mode.SINGLE, trigger=TriggerStyle.PRESS
        )
        # Without an interval the next press may follow as soon as the switches allow.
        changed = replace(magazine, interval_ns=Nanoseconds(0), stroke=stroke or magazine.stroke)
        realtime.order(Load(changed))
        realtime.report(Loaded)
        phase_ns = random.randrange(timing.armed_scan_ns)
        press = _press(realtime, at_ns=time.monotonic_ns() + SETTLE_NS + phase_ns, spin_ns=timing.spin_ns)
        if press is not None:
            presses.append(press)
        if len(presses) == wanted:
            return presses, attempt - wanted
        # The release counts after the lock-out of the press, the next press after that of the release.
        set_trigger(realtime.world, pressed=False)
        sleep_until(time.monotonic_ns() + 2 * timing.lockout_ns, spin_ns=0)
    raise MeasurementBroken(f"of {ATTEMPTS_PER_PRESS * wanted} presses only {len(presses)} were seen in time")


def _press(realtime: RealtimeProcess, *, at_ns: int, spin_ns: int) -> Press | None:
    """Press at `at_ns` and wait for the shot's end; None when the first step's time could not be told."""
    world, step = realtime.world, realtime.world.lines.step
    edges = world.edges(step)
    sleep_until(at_ns, spin_ns=spin_ns)
    before_ns, after_ns = set_trigger(world, pressed=True)
    step_ns = first_step(world, edges=edges)
    report = realtime.report(ShotReport)
    realtime.report(MagazineEnded)
    return None if step_ns is None else Press(before_ns, after_ns, step_ns, report.press_to_step_ns)


def first_step(world: World, *, edges: int) -> int | None:
    """Return when the needle made its first step, watching without a pause; None when that cannot be told any more.

    Seen too late, the needle's stamp is a later step's: then the direction line's edge is taken, which comes a few
    microseconds before the first step and stays the newest until the needle turns. Raises MeasurementBroken when
    there is no step.
    """
    step, direction = world.lines.step, world.lines.direction
    deadline_ns = time.monotonic_ns() + FIRST_STEP_NS
    while world.edges(step) < edges + STEP_EDGES:
        if time.monotonic_ns() > deadline_ns:
            raise MeasurementBroken(f"a press was not followed by a step within {FIRST_STEP_NS // 1_000_000} ms")
    step_ns, direction_ns = world.needle_changed_ns, world.changed_ns(direction)
    if world.edges(step) == edges + STEP_EDGES:
        return step_ns
    return direction_ns if world.level(direction) else None


def set_trigger(world: World, *, pressed: bool) -> tuple[int, int]:
    """Move both channels, A first; return the clock just before and just after B moved."""
    lines = world.lines
    world.set_switch(lines.trigger_a, closed=pressed, now_ns=time.monotonic_ns())
    before_ns = time.monotonic_ns()
    world.set_switch(lines.trigger_b, closed=not pressed, now_ns=before_ns)
    return before_ns, time.monotonic_ns()
