"""How many shots a second the simulation makes of the whole gun, and where its time goes.

Processor time of one core, for the full stack: codec, driver, journal, both machines, lines, firmware, world; with the
observers that every simulated session has. Once at the shipped step resolution, once with about ten steps a stroke.
The floor is an event of the virtual clock at which nothing is done.
"""

import cProfile
import pstats
import time
from collections import Counter
from typing import Final

from device.service.simulate import with_coarse_axis
from device.settings import Configuration
from device.simulation.clinic import Treatment, make_ready, start_session, treat
from device.simulation.gun import VirtualGun
from device.simulation.oracles import Watch
from device.simulation.virtual_time import VirtualTime
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Row, row
from tests.bench.shipped import SYRINGE, shipped_configuration

PROFILES: Final = ("continuous", "nappage", "saline-test", "papule", "point-by-point")
PROFILED: Final = "continuous"
SERUM: Final = "saline"
CONTENT: Final = 22_400
EVENTS: Final = 20_000
FLOOR: Final = "an event of the virtual clock"
SHARE_LEAST: Final = 0.03

PARTS: Final = (
    ("device/core/", "the scan and the machine"),
    ("device/realtime/", "the cycle around the scan"),
    ("drivers/gpio/", "the lines"),
    ("gpiozero", "the lines"),
    ("drivers/sim/pins", "the lines"),
    ("drivers/sim/world", "the world"),
    ("drivers/sim/pump", "the pump's firmware"),
    ("drivers/sim/plunger", "the pump's firmware"),
    ("drivers/pump/", "the pump's driver and codec"),
    ("device/controller/", "the controller and its journal"),
    ("sqlite", "the controller and its journal"),
    ("json", "the controller and its journal"),
    ("device/simulation/oracles", "the oracles"),
    ("device/simulation/", "the simulation's clock and processes"),
    ("heapq", "the simulation's clock and processes"),
    ("asyncio", "asyncio"),
)
"""Which part of the gun a function is counted to, by the first text that its place contains."""


def simulation_rate(effort: Effort) -> Findings:
    """Measure `effort.simulated_shots` shots of each profile."""
    configuration = shipped_configuration()
    rows: list[Row] = []
    notes: list[str] = []
    for profile in PROFILES:
        for name, axis in (("", configuration), (", coarse", with_coarse_axis(configuration, _treatment(profile, 1)))):
            shot_ns, steps = _per_shot(axis, profile, effort.simulated_shots)
            rows.append(row(f"{profile}{name}: a shot", [shot_ns], FLOOR))
            notes.append(f"{profile}{name}: {1_000_000_000 / shot_ns:.0f} shots a second, {steps} steps a stroke")
    rows.append(row(FLOOR, _floor_ns()))
    coarse = with_coarse_axis(configuration, _treatment(PROFILED, 1))
    for name, axis in ((PROFILED, configuration), (f"{PROFILED}, coarse", coarse)):
        notes.append(f"where the time of {name} goes: {_where(axis, effort.simulated_shots)}")
    return Findings(tuple(rows), tuple(notes))


def _treatment(profile: str, points: int) -> Treatment:
    return Treatment(profile, SERUM, SYRINGE, points)


def _treated(configuration: Configuration, profile: str, shots: int, profiler: cProfile.Profile | None) -> float:
    """Treat at most `shots` points; return the processor time of a shot, from the arming to the last one, in ns."""
    with VirtualGun(configuration, content=CONTENT) as gun:
        Watch(gun, undisturbed=True)
        make_ready(gun)
        answer = start_session(gun, _treatment(profile, shots))
        if not answer.accepted:
            raise ValueError(f"{profile}: {answer.reasons}")
        before_ns = time.process_time_ns()
        if profiler is not None:
            profiler.enable()
        treat(gun, presses_most=2 * shots)
        if profiler is not None:
            profiler.disable()
        # The profile's own limit may end the session before its last point.
        return (time.process_time_ns() - before_ns) / gun.world.strokes


def _per_shot(configuration: Configuration, profile: str, shots: int) -> tuple[int, int]:
    axis = configuration.device.axis
    steps = 2 * axis.steps_to(configuration.profiles[profile].value.depth_um)
    return round(min(_treated(configuration, profile, shots, None) for _ in range(2))), steps


def _floor_ns() -> list[int]:
    clock = VirtualTime()
    for place in range(EVENTS):
        clock.after(place, int)
    before_ns = time.process_time_ns()
    clock.run_to(clock.now_ns + EVENTS)
    return [(time.process_time_ns() - before_ns) // EVENTS]


def _where(configuration: Configuration, shots: int) -> str:
    """Return the parts of the gun by their own share of the time, as the profiler counts it."""
    profiler = cProfile.Profile()
    _treated(configuration, PROFILED, shots, profiler)
    own: Counter[str] = Counter()
    for (file, _line, function), (_calls, _primitive, own_s, _all_s, _callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        place = f"{file} {function}"
        own[next((part for text, part in PARTS if text in place), "Python's built-in functions and the rest")] += own_s
    whole = sum(own.values())
    shares = [f"{part} {own_s / whole:.0%}" for part, own_s in own.most_common() if own_s / whole >= SHARE_LEAST]
    return ", ".join(shares)
