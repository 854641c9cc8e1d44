"""`mesogun simulate`: whole sessions in virtual time, before a patient is touched.

Owns the command's question and its answer: volume, time, refills, limits reached and outcome for a profile and serum;
with `--faults`, whether every invariant holds whatever goes wrong. The sessions themselves are `device.simulation`'s.
"""

import argparse
import json
import logging
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from device.core.shot_plan import PlanRefused, plan_stroke
from device.service.errors import ServiceError
from device.service.processes import configuration_of
from device.settings import Configuration
from device.simulation.clinic import Treatment
from device.simulation.mishaps import Level
from device.simulation.session import SessionPlan, SessionResult, plan_session, run_session

PROGRESS_S: Final = 1.0
COARSE_STEPS: Final = 10
"""Steps of a stroke with `--coarse`."""
VIOLATIONS_SHOWN: Final = 5
WAITING_A_JOB: Final = 4
"""Sessions handed out ahead for each job: a stop is then a matter of seconds."""

Progress = Callable[[int, int], None]


def simulate(options: argparse.Namespace) -> int:
    """`mesogun simulate`. Raises ServiceError for a name that the configuration has not."""
    configuration = configuration_of(options.config)
    treatment = _treatment(options, configuration)
    if options.coarse:
        configuration = with_coarse_axis(configuration, treatment)
    plans = [
        plan_session(
            seed,
            treatment,
            level=Level(options.faults),
            contents=_contents(configuration, treatment, Level(options.faults)),
            move_ms=options.pace_ms,
        )
        for seed in range(options.seed, options.seed + options.sessions)
    ]
    began_s = time.monotonic()
    results: list[SessionResult] = []
    stopped = False
    progress = _Progress(len(plans))
    try:
        for result in run_sessions(plans, configuration, jobs=options.jobs):
            results.append(result)
            progress.show(results)
    except KeyboardInterrupt:
        stopped = True
    progress.end()
    results.sort(key=lambda result: result.seed)
    took_s = time.monotonic() - began_s
    report = summary(results, treatment, options.faults, took_s=took_s, stopped=stopped)
    report["repeat"] = f"--pace-ms {options.pace_ms}" + (" --coarse" if options.coarse else "")
    sys.stdout.write(json.dumps(report) + "\n" if options.json else as_text(report))
    return 1 if stopped or any(result.violations for result in results) else 0


def run_sessions(plans: list[SessionPlan], configuration: Configuration, *, jobs: int) -> Iterator[SessionResult]:
    """Yield the result of every plan, in no order; `jobs` processes work on them."""
    if jobs == 1:
        logging.disable(logging.CRITICAL)
        try:
            yield from (run_session(plan, configuration) for plan in plans)
        finally:
            logging.disable(logging.NOTSET)
        return
    # Read-only views do not travel between processes; what they show does.
    configuration = replace(
        configuration,
        profiles=dict(configuration.profiles),
        serums=dict(configuration.serums),
        syringes=dict(configuration.syringes),
        files=dict(configuration.files),
        courses=dict(configuration.courses),
        checklists=dict(configuration.checklists),
    )
    # Spawned: a forked process would inherit this one's signal handling and threads.
    context = multiprocessing.get_context("spawn")
    silent = partial(logging.disable, logging.CRITICAL)
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=silent) as pool:
        ahead = iter(plans)
        running: set[Future[SessionResult]] = set()
        try:
            while True:
                for plan in ahead:
                    with _interrupts_held():
                        running.add(pool.submit(run_session, plan, configuration))
                    if len(running) >= jobs * WAITING_A_JOB:
                        break
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C: a process that is spawned meanwhile never gets it, and it is this one alone that ends early."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def with_coarse_axis(configuration: Configuration, treatment: Treatment) -> Configuration:
    """Return the configuration with a needle axis of about `COARSE_STEPS` steps inward: more sessions a second.

    As many more steps as the profile needs to be planned: a coarse needle takes longer to start and to stop.
    """
    device = configuration.device
    profile = configuration.profiles[treatment.profile].value
    syringe = configuration.syringes[treatment.syringe].value
    steps_per_mm = max(2, -(-COARSE_STEPS * 1000 // (profile.depth_um + device.axis.clearance_um)))
    for finer in range(steps_per_mm, device.axis.steps_per_mm):
        coarse = replace(device, axis=replace(device.axis, steps_per_mm=finer))
        try:
            plan_stroke(profile, syringe, coarse)
        except PlanRefused:
            continue
        return replace(configuration, device=coarse)
    return configuration


def _treatment(options: argparse.Namespace, configuration: Configuration) -> Treatment:
    for kind, name, known in (
        ("profile", options.profile, configuration.profiles),
        ("serum", options.serum, configuration.serums),
        ("syringe", options.syringe, configuration.syringes),
    ):
        if name not in known:
            raise ServiceError(f"{kind} {name!r} is not in the configuration; there are: {', '.join(sorted(known))}")
    return Treatment(
        profile=options.profile,
        serum=options.serum,
        syringe=options.syringe,
        points=options.points,
        weight_g=options.weight_g,
    )


def _contents(configuration: Configuration, treatment: Treatment, level: Level) -> tuple[int, ...]:
    """Return where the plunger may stand: full at the start of a session; nearly empty too where mishaps are sought."""
    syringe = configuration.syringes[treatment.syringe].value
    full = (syringe.stroke_increments - syringe.backlash_increments) // 8 * 8
    if level is Level.NONE:
        return (full,)
    dose = syringe.increments_within(configuration.profiles[treatment.profile].value.dose_nl)
    return (full, (dose * 3 // 2 + 7) // 8 * 8, (dose * 5 // 2 + 7) // 8 * 8)


def summary(
    results: list[SessionResult], treatment: Treatment, faults: str, *, took_s: float, stopped: bool
) -> dict[str, Any]:
    """Return what `--json` prints. Volumes in uL, times in s; means over the sessions that were not refused.

    `repeat` are the options, besides the ones named in it, that a repeated session needs.
    """
    treated = [result for result in results if result.outcome != "refused"]
    count = max(1, len(treated))
    return {
        "profile": treatment.profile,
        "serum": treatment.serum,
        "syringe": treatment.syringe,
        "points": treatment.points,
        "faults": faults,
        "sessions": len(results),
        "stopped": stopped,
        "shots_mean": sum(result.shots for result in treated) / count,
        "booked_ul_mean": sum(result.booked_nl for result in treated) / count / 1000,
        "given_ul_mean": sum(result.given_nl for result in treated) / count / 1000,
        "duration_s_mean": sum(result.duration_ms for result in treated) / count / 1000,
        "duration_s_least": min((result.duration_ms for result in treated), default=0) / 1000,
        "duration_s_most": max((result.duration_ms for result in treated), default=0) / 1000,
        "refills_mean": sum(result.refills for result in treated) / count,
        "outcomes": dict(Counter(result.outcome for result in results).most_common()),
        "reasons": dict(Counter(reason for result in results for reason in result.reasons).most_common()),
        "fault_counts": dict(Counter(fault for result in results for fault in result.faults).most_common()),
        "repeat": "",
        "violated": [result.seed for result in results if result.violations],
        "shots_per_s": sum(result.shots for result in results) / max(took_s, 1e-9),
        "took_s": took_s,
        "results": [asdict(result) for result in results],
    }


def as_text(report: dict[str, Any]) -> str:
    """Return the summary for a person."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report["outcomes"].items()) or "none"
    lines = [
        f"{report['sessions']} session{'s' * (report['sessions'] != 1)} of {report['points']} points, "
        f"profile {report['profile']}, serum {report['serum']}, syringe {report['syringe']}, faults {report['faults']}"
        + (" (stopped early)" if report["stopped"] else ""),
        f"outcome     {outcomes}",
    ]
    lines += [f"reason      {reason} ({count} times)" for reason, count in report["reasons"].items()]
    lines += [
        f"shots       {report['shots_mean']:.1f} a session",
        f"volume      {report['booked_ul_mean']:.3f} uL booked, {report['given_ul_mean']:.3f} uL given in the tissue",
        f"time        {_minutes(report['duration_s_mean'])} ({_minutes(report['duration_s_least'])} ... "
        f"{_minutes(report['duration_s_most'])})",
        f"refills     {report['refills_mean']:.1f}",
    ]
    if report["fault_counts"]:
        faults = ", ".join(f"{fault} {count}" for fault, count in report["fault_counts"].items())
        lines.append(f"faults      {faults}")
    lines.append(f"simulated   {report['shots_per_s']:.0f} shots a second, {report['took_s']:.1f} s in all")
    for result in report["results"]:
        lines += _violations(result, report)
    if not report["violated"]:
        lines.append("invariants  held in every session")
    return "\n".join(lines) + "\n"


def _violations(result: dict[str, Any], report: dict[str, Any]) -> list[str]:
    if not result["violations"]:
        return []
    again = (
        f"mesogun simulate --seed {result['seed']} --sessions 1 --faults {report['faults']} "
        f"--profile {report['profile']} --serum {report['serum']} --syringe {report['syringe']} "
        f"--points {report['points']} {report['repeat']}"
    )
    shown = result["violations"][:VIOLATIONS_SHOWN]
    more = len(result["violations"]) - len(shown)
    return [
        "",
        f"BROKEN      seed {result['seed']}: {', '.join(result['mishaps']) or 'nothing had gone wrong'}",
        *(f"            {violation}" for violation in shown),
        *([f"            and {more} more"] if more else []),
        f"repeat      {again}",
        *(f"            {line}" for line in result["trace"].splitlines()),
    ]


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{seconds % 60:04.1f} min"


class _Progress:
    """One line on a terminal's standard error, renewed each second."""

    def __init__(self, sessions: int) -> None:
        self._sessions = sessions
        self._shown_s = time.monotonic()
        self._on = sys.stderr.isatty()

    def show(self, results: list[SessionResult]) -> None:
        """Show how far it has come, if that is due."""
        if self._on and time.monotonic() >= self._shown_s + PROGRESS_S:
            self._shown_s = time.monotonic()
            violated = sum(bool(result.violations) for result in results)
            sys.stderr.write(f"\r{len(results)} of {self._sessions} sessions, {violated} violated an invariant ")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the terminal's line empty."""
        if self._on:
            sys.stderr.write("\r\033[K")
