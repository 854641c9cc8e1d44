"""Step, gate and press of the shipped real-time process, idle and under load, beside cyclictest and a loop in C.

All in one run and by turns, so that they meet the same machine: in every round the shipped process fires strokes and
answers presses, the C loop does the same edges and presses, and cyclictest sleeps at the armed scan's period. What is
measured rests while another has its turn. First all rounds idle, then as many under `burden`.
"""

import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from device.core.magazine import StrokeProgram
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import Load, Loaded, MagazineEnded
from device.core.stroke_timeline import stroke_timeline
from device.core.units import Nanoseconds, Steps
from device.realtime.scheduling import sleep_until
from device.service.sim_console import create_world, sim_paths
from device.settings import Configuration
from tests.bench.burden import burden
from tests.bench.c_loop import answering_presses, compiled, edges_of, ready_world, strokes
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Row, row, times
from tests.bench.noted_realtime import Notes, read_notes
from tests.bench.processes import as_instrument
from tests.bench.realtime_process import RealtimeProcess, realtime_process
from tests.bench.shipped import realtime_magazine, shipped_configuration
from tests.bench.step_lateness import cyclictest_ns
from tests.bench.trigger_latency import first_step, presses_of, set_trigger

STROKES: Final = 20
"""Of one round: in ten rounds 1200 edges of gates, enough for a 99.9th percentile."""

PRESSES: Final = 100
"""Of one round; as above."""

SHORT_STEPS: Final = Steps(40)
"""The depth of a stroke that is only pressed for: the first step is as that of any other."""

CYCLICTEST_S: Final = 2
PAUSE_NS: Final = 20_000_000
"""Between two strokes: at home, the next one due."""

SETTLE_NS: Final = 3_000_000
BRACKET_NS_MOST: Final = 100_000
"""A press whose two stamps lie farther apart was interrupted in the making: nobody knows when it was."""

OURS: Final = "real-time process"
C_LOOP: Final = "C loop"
CYCLICTEST: Final = "cyclictest"
IDLE: Final = "idle"
LOADED: Final = "under load"


@dataclass(frozen=True, slots=True)
class Rig:
    """What all rounds share. `program` is the C loop, or why there is none."""

    directory: Path
    configuration: Configuration
    program: Path | str
    stroke: StrokeProgram


class Samples:
    """Lateness in ns by figure (step, gate, press, wake-up), condition and who was measured."""

    def __init__(self) -> None:
        self.late_ns: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.notes: dict[str, None] = {}
        self.unknown = 0

    def rows(self) -> tuple[Row, ...]:
        """Return a row for each, set against those that did the same in the same condition."""
        return tuple(
            row(_name(*key), late_ns, *(_name(*floor) for floor in _floors(*key) if self.late_ns.get(floor)))
            for key, late_ns in self.late_ns.items()
            if late_ns
        )


def _name(figure: str, condition: str, who: str) -> str:
    return f"{figure}, {condition}: {who}"


def _floors(figure: str, condition: str, who: str) -> list[tuple[str, str, str]]:
    if who != OURS:
        return []
    return [(figure, condition, C_LOOP), ("wake-up", condition, CYCLICTEST)]


def timing(effort: Effort) -> Findings:
    """Measure `effort.timing_rounds` rounds idle and as many under load. Raises MeasurementBroken."""
    configuration = shipped_configuration()
    samples = Samples()
    with TemporaryDirectory(prefix="mesogun-bench-") as name:
        directory = Path(name)
        rig = Rig(directory, configuration, compiled(directory), _stroke(configuration))
        if isinstance(rig.program, str):
            samples.notes[f"{C_LOOP}: {rig.program}"] = None
        for number in range(effort.timing_rounds):
            _round(rig, samples, IDLE, number)
        (directory / "burden").mkdir()
        with burden(directory / "burden", configuration) as running:
            for number in range(effort.timing_rounds):
                _round(rig, samples, LOADED, number)
            notes = running.notes()
    findings = Findings(samples.rows())
    period_ns = configuration.device.timing.armed_scan_ns
    return replace(findings, notes=(*notes, *samples.notes, *_unknown(samples), *aims(findings, period_ns=period_ns)))


def _unknown(samples: Samples) -> list[str]:
    if not samples.unknown:
        return []
    return [f"{samples.unknown} presses are not counted: interrupted in the making, or looked at too late"]


def aims(findings: Findings, *, period_ns: int) -> list[str]:
    """Return what became of the aims under load, one line each; nothing where the samples do not tell."""
    figures = {each.name: each.spread.parts().get("p99.9") for each in findings.rows}
    step = figures.get(_name("step", LOADED, OURS))
    press = figures.get(_name("press to first step", LOADED, OURS))
    floor = figures.get(_name("wake-up", LOADED, CYCLICTEST))
    if step is None or press is None or not floor:
        return []
    bound_ns = step + period_ns
    return [
        f"step p99.9 under load is {times(step / floor)} of cyclictest's; the aim is at most x 2",
        f"press to first step p99.9 under load is {press / 1000:.1f} us; the aim is at most the step's and one scan"
        f" period, {bound_ns / 1000:.1f} us",
    ]


def _stroke(configuration: Configuration) -> StrokeProgram:
    return realtime_magazine(configuration, magazine_id=1, shots=1, mode=Mode.SINGLE, trigger=TriggerStyle.PRESS).stroke


def _round(rig: Rig, samples: Samples, condition: str, number: int) -> None:
    """Take every part's turn once."""
    directory = rig.directory / f"{condition.replace(' ', '-')}-{number}"
    directory.mkdir()
    notes = _shipped_turn(rig, samples, condition, directory, seed=number)
    samples.late_ns["step", condition, OURS] += notes.steps_ns
    samples.late_ns["gate", condition, OURS] += notes.gates_ns
    if isinstance(rig.program, Path):
        _c_turn(rig, rig.program, samples, condition, directory, seed=number)
    period_us = rig.configuration.device.timing.armed_scan_ns // 1000
    slept_ns = cyclictest_ns(CYCLICTEST_S, period_us=period_us)
    if isinstance(slept_ns, str):
        samples.notes[slept_ns] = None
    else:
        samples.late_ns["wake-up", condition, CYCLICTEST] += slept_ns


def _shipped_turn(rig: Rig, samples: Samples, condition: str, directory: Path, *, seed: int) -> Notes:
    """Let the shipped process fire strokes and answer presses; return its notes of the strokes."""
    configuration, notes = rig.configuration, directory / "notes.json"
    program = ("-m", "tests.bench.noted_realtime", f"--notes={notes}")
    with realtime_process(directory, configuration, program=program) as realtime:
        _fire(rig, realtime)
        short = replace(
            rig.stroke, depth=SHORT_STEPS, entry_open=None, dwell_dose=False, dwell_ns=Nanoseconds(0), exit_done=None
        )
        with as_instrument():
            presses, missed = presses_of(realtime, configuration, wanted=PRESSES, stroke=short, seed=seed)
    known = [press for press in presses if press.after_ns - press.before_ns <= BRACKET_NS_MOST]
    samples.unknown += missed + len(presses) - len(known)
    samples.late_ns["press to first step", condition, OURS] += [press.step_ns - press.before_ns for press in known]
    return read_notes(notes, strokes=STROKES, steps=2 * rig.stroke.depth)


def _fire(rig: Rig, realtime: RealtimeProcess) -> None:
    """Hold the trigger until a magazine of `STROKES` strokes is fired, one close behind the other."""
    magazine = realtime_magazine(
        rig.configuration, magazine_id=1, shots=STROKES, mode=Mode.CONTINUOUS, trigger=TriggerStyle.HOLD
    )
    realtime.world.set_on_skin(True, time.monotonic_ns())
    realtime.order(Load(replace(magazine, interval_ns=_interval_ns(rig))))
    realtime.report(Loaded)
    with as_instrument():
        set_trigger(realtime.world, pressed=True)
        realtime.report(MagazineEnded)
        set_trigger(realtime.world, pressed=False)
        sleep_until(time.monotonic_ns() + 2 * rig.configuration.device.timing.lockout_ns, spin_ns=0)


def _interval_ns(rig: Rig) -> Nanoseconds:
    return Nanoseconds(stroke_timeline(rig.stroke).due_ns[-1] + PAUSE_NS)


def _c_turn(rig: Rig, program: Path, samples: Samples, condition: str, directory: Path, *, seed: int) -> None:
    """Let the C loop write the same edges, and answer as many presses."""
    configuration, place = rig.configuration, directory / "c"
    place.mkdir()
    paths = sim_paths(place)
    world = create_world(paths, configuration)
    with ExitStack() as stack:
        stack.callback(world.close)
        ready_world(world)
        edges = edges_of(stroke_timeline(rig.stroke), configuration.lines, shots=STROKES, interval_ns=_interval_ns(rig))
        late = strokes(program, paths.world, configuration, edges)
        samples.late_ns["step", condition, C_LOOP] += late.steps
        samples.late_ns["gate", condition, C_LOOP] += late.gates
        stack.enter_context(answering_presses(program, paths.world, configuration, log=place / "log"))
        stack.enter_context(as_instrument())
        random = Random(seed)
        late_ns = samples.late_ns["press to first step", condition, C_LOOP]
        for _ in range(PRESSES):
            phase_ns = random.randrange(configuration.device.timing.armed_scan_ns)
            edges_before = world.edges(world.lines.step)
            sleep_until(time.monotonic_ns() + SETTLE_NS + phase_ns, spin_ns=configuration.device.timing.spin_ns)
            before_ns, after_ns = set_trigger(world, pressed=True)
            step_ns = first_step(world, edges=edges_before)
            if step_ns is None or after_ns - before_ns > BRACKET_NS_MOST:
                samples.unknown += 1
            else:
                late_ns.append(step_ns - before_ns)
            set_trigger(world, pressed=False)
            first_step(world, edges=world.edges(world.lines.step))
