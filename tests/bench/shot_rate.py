"""How many shots a minute come out of the needle with the trigger held, through all the real processes.

Over one region of the profile `continuous`, as shipped and on the quickest console that is planned (`brisk`), so with
the changes of magazine that a region has: settle, commit, load. The ceiling is the profile's interval; nothing may be
faster. Strokes are timed by the needle's own stamps. Processor time is each process's own over the treatment, the
waiting between strokes with it, shared out among the shots.
"""

import asyncio
import contextlib
import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from device.core.profile import Profile
from device.core.shot_plan import plan_stroke
from device.core.stroke_timeline import stroke_timeline
from device.core.units import NS_PER_S
from device.service.broker import BrokerUnavailableError
from device.settings import Configuration
from drivers.sim.operator import SimulatedOperator
from drivers.sim.world import World
from tests.bench.brisk import brisk_configuration
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Row, Unit, row
from tests.bench.gun import running_gateway, running_gun
from tests.bench.processes import MeasurementBroken, as_instrument, cpu_ns_of
from tests.bench.shipped import profile_of, shipped_configuration, syringe_of

REGION: Final = "crown"
SEED: Final = 1
START_S: Final = 20.0
SECONDS_A_SHOT: Final = 2.0
"""Bound of the treatment's time for each shot: several times the interval and its share of a magazine's change."""

LOOK_S: Final = 0.001
MILLI_A_MINUTE: Final = 60 * NS_PER_S * 1000
CEILING: Final = "the profile's ceiling"
INTERVAL: Final = "the profile's interval"


@dataclass(frozen=True, slots=True)
class Treatment:
    """A treatment that was given: when its strokes started, and the processor time it took, by process, in ns."""

    starts_ns: list[int]
    used_ns: dict[str, int]
    notes: tuple[str, ...]

    @property
    def between_ns(self) -> list[int]:
        """From each stroke's start to the next one's."""
        return [after - before for before, after in itertools.pairwise(self.starts_ns)]

    @property
    def rate(self) -> int:
        """Shots in a thousand minutes."""
        return MILLI_A_MINUTE * (len(self.starts_ns) - 1) // (self.starts_ns[-1] - self.starts_ns[0])


def shot_rate(effort: Effort) -> Findings:
    """Measure regions of `effort.shots` points. Raises MeasurementBroken, CommandRefused."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="mesogun-bench-")))
        shipped = shipped_configuration()
        brisk = brisk_configuration(directory / "config")
        (directory / "shipped").mkdir()
        (directory / "brisk").mkdir()
        given = _treated(directory / "shipped", shipped, shots=effort.shots)
        quick = _treated(directory / "brisk", brisk, shots=effort.shots)
    notes = [f"{effort.shots} shots in one region, changes of magazine included", *given.notes]
    notes += [_anatomy(name, each) for name, each in (("shipped", shipped), ("brisk", brisk))]
    rows = [
        *_rows("", shipped, given),
        *(row(f"processor time a shot: {process}", [ns // effort.shots]) for process, ns in given.used_ns.items()),
        *_rows(", brisk", brisk, quick),
    ]
    return Findings(tuple(rows), tuple(notes))


def _rows(kind: str, configuration: Configuration, given: Treatment) -> list[Row]:
    interval_ns = profile_of(configuration).interval_ns
    ceiling, interval = f"{CEILING}{kind}", f"{INTERVAL}{kind}"
    return [
        row(f"shots a minute{kind}", [given.rate], ceiling, unit=Unit.MILLISHOTS_PER_MINUTE),
        row(ceiling, [MILLI_A_MINUTE // interval_ns], unit=Unit.MILLISHOTS_PER_MINUTE),
        row(f"start of a stroke to the next{kind}", given.between_ns, interval),
        row(interval, [interval_ns]),
    ]


def _anatomy(name: str, configuration: Configuration) -> str:
    """Return what bounds the rate on this console, as planned."""
    plan = plan_stroke(profile_of(configuration), syringe_of(configuration), configuration.device)
    stroke_ms = stroke_timeline(plan.stroke).due_ns[-1] / 1e6
    interval_ms = profile_of(configuration).interval_ns / 1e6
    return f"{name}: stroke {stroke_ms:.0f} ms, interval {interval_ms:.0f} ms, {plan.most_shots} shots a magazine"


def _treated(directory: Path, configuration: Configuration, *, shots: int) -> Treatment:
    """Treat a region of `shots` points on a console of its own. Raises MeasurementBroken, CommandRefused."""
    notes = []
    with ExitStack() as stack:
        gun = stack.enter_context(running_gun(directory, configuration))
        pids = {"controller": gun.pid, "real-time process": gun.realtime_pid}
        try:
            pids["gateway"] = stack.enter_context(running_gateway(directory, configuration)).pid
        except BrokerUnavailableError as error:
            notes.append(f"gateway: not measured ({error})")
        gun.begin_session(region=REGION, points=shots)
        gun.command("arm")
        before_ns = {process: cpu_ns_of(pid) for process, pid in pids.items()}
        with as_instrument():
            starts_ns = asyncio.run(_treat(gun.pump.world, profile_of(configuration), shots=shots))
        used_ns = {process: cpu_ns_of(pid) - before_ns[process] for process, pid in pids.items()}
        faults = gun.command("status")["faults"]
    if faults:
        raise MeasurementBroken(f"the treatment ended by fault {faults} after {len(starts_ns)} of {shots} shots")
    if len(starts_ns) != shots:
        raise MeasurementBroken(f"{len(starts_ns)} strokes were seen of {shots}")
    return Treatment(starts_ns, used_ns, tuple(notes))


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
