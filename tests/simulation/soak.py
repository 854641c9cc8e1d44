"""`python -m tests.simulation.soak`: the large sizes of the simulation, with progress and a report.

Sessions with mishaps over many seeds, every end of the crash sweep, and the large exploration. Exit code 1 when an
invariant was broken anywhere; the report says which seed or end, and how to see it again.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import Final, TypeVar

from device.simulation.mishaps import Level
from device.simulation.session import SessionResult, run_session
from tests.simulation.crash_sweep import End, ends, violations_after
from tests.simulation.test_sessions import COARSE, VIAL_NL, planned
from tests.support.clinic import PROFILES, shipped

PROGRESS_S: Final = 5.0
CHUNK: Final = 16

T = TypeVar("T")
R = TypeVar("R")


def played(seed: int) -> SessionResult:
    """Play one seed: every tenth with little going wrong, every fourth at the shipped step resolution."""
    level = Level.LOW if seed % 10 == 0 else Level.HIGH
    return run_session(planned(seed, level), shipped(vial_nl=VIAL_NL, steps_per_mm=None if seed % 4 == 0 else COARSE))


def ended(end: End) -> tuple[str, list[str]]:
    """Try one end of the crash sweep."""
    return str(end), violations_after(end)


def over(jobs: int, call: Callable[[T], R], work: Iterator[T], total: int, what: str) -> Iterator[R]:
    """Yield `call` of everything in `work`, from `jobs` processes, with a line of progress every few seconds."""
    began_s = shown_s = time.monotonic()
    context = get_context("spawn")
    done = 0
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=partial(logging.disable, logging.CRITICAL)) as pool:
        while chunk := list(islice(work, jobs * CHUNK)):
            for result in pool.map(call, chunk):
                done += 1
                yield result
            if time.monotonic() - shown_s > PROGRESS_S:
                shown_s = time.monotonic()
                rate = done / (shown_s - began_s)
                left_s = (total - done) / rate
                sys.stderr.write(f"{what}: {done} of {total}, {rate:.1f}/s, {left_s / 60:.1f} min left\n")


def soak_sessions(seeds: range, jobs: int) -> bool:
    """Play the seeds; print the report; return whether all held."""
    outcomes: Counter[str] = Counter()
    mishaps: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    broken: list[SessionResult] = []
    shots = 0
    for result in over(jobs, played, iter(seeds), len(seeds), "sessions"):
        outcomes[result.outcome] += 1
        mishaps.update(mishap.split(" at ")[0] for mishap in result.mishaps)
        faults.update(result.faults)
        shots += result.shots
        if result.violations:
            broken.append(result)
            sys.stderr.write(f"seed {result.seed}: {result.violations[0]}\n")
    print(f"sessions    {sum(outcomes.values())}, {shots} shots, {sum(mishaps.values())} mishaps")
    print("outcomes   ", ", ".join(f"{name} {count}" for name, count in outcomes.most_common()))
    print("mishaps    ", ", ".join(f"{name} {count}" for name, count in mishaps.most_common()))
    print("faults     ", ", ".join(f"{name} {count}" for name, count in faults.most_common()))
    for result in broken:
        print(f"BROKEN      seed {result.seed}, {result.profile}: {', '.join(result.mishaps)}")
        print("\n".join(f"            {violation}" for violation in result.violations[:5]))
        print(f"repeat      python -m tests.simulation.soak --first {result.seed} --seeds 1 --no-crashes")
        print(result.trace)
    return not broken


def soak_crashes(jobs: int) -> bool:
    """Try every end of every profile; print the report; return whether all held."""
    all_ends = [end for profile in PROFILES for end in ends(profile)]
    broken = [(end, found) for end, found in over(jobs, ended, iter(all_ends), len(all_ends), "crashes") if found]
    print(f"crashes     {len(all_ends)} ends of {len(PROFILES)} profiles, {len(broken)} broken")
    for end, found in broken:
        print(f"BROKEN      {end}: {found[0]}")
    return not broken


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2000, help="sessions to play (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--no-crashes", action="store_true", help="leave the crash sweep out")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    held = soak_sessions(range(options.first, options.first + options.seeds), options.jobs)
    if not options.no_crashes:
        held = soak_crashes(options.jobs) and held
    print("invariants  held" if held else "invariants  BROKEN")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
