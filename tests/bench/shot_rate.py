"""How many shots a minute come out of the needle with the trigger held, through all the real processes.

Over one region of the profile `continuous`, so with the changes of magazine that a region has: settle, commit, load.
The ceiling is the profile's interval; nothing may be faster. Strokes are timed by the needle's own stamps. Processor
time is each process's own over the treatment, the waiting between strokes with it, shared out among the shots.
"""

import asyncio
import contextlib
import itertools
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from device.core.profile import Profile
from device.core.units import NS_PER_S
from device.service.broker import BrokerUnavailableError
from drivers.sim.operator import SimulatedOperator
from drivers.sim.world import World
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Unit, row
from tests.bench.gun import running_gateway, running_gun
from tests.bench.processes import MeasurementBroken, cpu_ns_of
from tests.bench.shipped import profile_of, shipped_configuration

REGION: Final = "crown"
SEED: Final = 1
START_S: Final = 20.0
SECONDS_A_SHOT: Final = 2.0
"""Bound of the treatment's time for each shot: several times the interval and its share of a magazine's change."""

LOOK_S: Final = 0.001
MILLI_A_MINUTE: Final = 60 * NS_PER_S * 1000
CEILING: Final = "the profile's ceiling"
INTERVAL: Final = "the profile's interval"


def shot_rate(effort: Effort) -> Findings:
    """Measure a region of `effort.shots` points. Raises MeasurementBroken, CommandRefused."""
    configuration = shipped_configuration()
    profile = profile_of(configuration)
    interval_ns = profile.interval_ns
    notes = [f"{effort.shots} shots in one region, changes of magazine included"]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="mesogun-bench-")))
        gun = stack.enter_context(running_gun(directory, configuration))
        pids = {"controller": gun.pid, "real-time process": gun.realtime_pid}
        try:
            pids["gateway"] = stack.enter_context(running_gateway(directory, configuration)).pid
        except BrokerUnavailableError as error:
            notes.append(f"gateway: not measured ({error})")
        gun.begin_session(region=REGION, points=effort.shots)
        gun.command("arm")
        before_ns = {process: cpu_ns_of(pid) for process, pid in pids.items()}
        starts_ns = asyncio.run(_treat(gun.pump.world, profile, shots=effort.shots))
        used_ns = {process: cpu_ns_of(pid) - before_ns[process] for process, pid in pids.items()}
        faults = gun.command("status")["faults"]
    if faults:
        raise MeasurementBroken(f"the treatment ended by fault {faults} after {len(starts_ns)} of {effort.shots} shots")
    if len(starts_ns) != effort.shots:
        raise MeasurementBroken(f"{len(starts_ns)} strokes were seen of {effort.shots}")
    between_ns = [after - before for before, after in itertools.pairwise(starts_ns)]
    rate = MILLI_A_MINUTE * len(between_ns) // (starts_ns[-1] - starts_ns[0])
    rows = (
        row("shots a minute", [rate], CEILING, unit=Unit.MILLISHOTS_PER_MINUTE),
        row(CEILING, [MILLI_A_MINUTE // interval_ns], unit=Unit.MILLISHOTS_PER_MINUTE),
        row("start of a stroke to the next", between_ns, INTERVAL),
        row(INTERVAL, [interval_ns]),
        *(row(f"processor time a shot: {process}", [ns // effort.shots]) for process, ns in used_ns.items()),
    )
    return Findings(rows, tuple(notes))


async def _treat(world: World, profile: Profile, *, shots: int) -> list[int]:
    """Treat the region as a clinician who holds the trigger; return when each stroke that he saw started."""
    operator = SimulatedOperator(world, seed=SEED)
    starts_ns: list[int] = []
    watching = asyncio.create_task(_watch(world, starts_ns))
    try:
        await operator.treat(
            [(REGION, shots)],
            mode=profile.mode,
            trigger=profile.trigger,
            deadline_s=START_S + SECONDS_A_SHOT * shots,
        )
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return starts_ns


async def _watch(world: World, starts_ns: list[int]) -> None:
    """Note the needle's stamp whenever it is seen to have left home; ends by being cancelled."""
    was_out = False
    while True:
        is_out = world.needle_steps > 0
        if is_out and not was_out:
            starts_ns.append(world.needle_changed_ns)
        was_out = is_out
        await asyncio.sleep(LOOK_S)
