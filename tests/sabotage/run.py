"""Runs the catalogue: plants each bug in a copy, runs its tests there, and demands that one of them fails.

Owns what counts as caught: pytest ends with failed tests, one of them failed by itself (not by a broken import or
collection), and every module of the project was the copy's. The same tests must pass without any bug (the control).
Every test process has a deadline; a bug that hangs is not caught.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tests.sabotage.catalogue import BUGS
from tests.sabotage.planted_bug import PlantedBug, StaleBug
from tests.sabotage.tree import Copies, copies
from tests.sabotage.witness import WITNESS

TEST_S: Final = 30
"""Longest time of one test; the named ones take far less."""
BUG_S: Final = 90.0
CONTROL_S: Final = 300.0
JOBS: Final = 2
HYPOTHESIS_SEED: Final = 20
"""Fixed: whether a law finds a planted bug must not depend on the day."""
CONTROL: Final = "(control)"
_TESTS_PASSED, _TESTS_FAILED = 0, 1


class Verdict(Enum):
    """What came of one run."""

    CAUGHT = "caught"
    CLEAN = "clean"
    MISSED = "NOT CAUGHT"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Result:
    """One bug's verdict (or the control's), why, and how long its tests took."""

    name: str
    verdict: Verdict
    why: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it went as it must."""
        return self.verdict in (Verdict.CAUGHT, Verdict.CLEAN)


def selected(bugs: Iterable[PlantedBug]) -> list[str]:
    """Return the tests of all `bugs`, each once."""
    return sorted({selection for bug in bugs for selection in bug.caught_by})


def control(bugs: Iterable[PlantedBug], trees: Copies) -> Result:
    """Run the tests of all `bugs` without any: a test that fails anyway catches nothing."""
    selections = selected(bugs)
    began_s = time.monotonic()
    with trees.copy(None) as place:
        code, witnessed, output = _pytest(place, selections, CONTROL_S)
    seconds = time.monotonic() - began_s
    if code == _TESTS_PASSED and not witnessed["foreign"]:
        return Result(CONTROL, Verdict.CLEAN, f"{len(selections)} selections pass", seconds)
    why = _wrong_code(witnessed, None) or f"the tests fail without any bug:\n{output}"
    return Result(CONTROL, Verdict.ERROR, why, seconds)


def sabotage(bug: PlantedBug, trees: Copies) -> Result:
    """Plant `bug` and run its tests."""
    began_s = time.monotonic()
    try:
        with trees.copy(bug) as place:
            code, witnessed, output = _pytest(place, bug.caught_by, BUG_S)
    except StaleBug as stale:
        return Result(bug.name, Verdict.ERROR, str(stale), time.monotonic() - began_s)
    verdict, why = _judge(bug, code, witnessed, output)
    return Result(bug.name, verdict, why, time.monotonic() - began_s)


def _judge(bug: PlantedBug, code: int | None, witnessed: dict[str, Any], output: str) -> tuple[Verdict, str]:
    if code is None:
        return Verdict.MISSED, f"its tests hang: no end within {BUG_S:g} s"
    if code not in (_TESTS_PASSED, _TESTS_FAILED) or witnessed["uncollected"]:
        return Verdict.ERROR, f"pytest ended with code {code}, which is no verdict of tests:\n{output}"
    if wrong := _wrong_code(witnessed, bug):
        return Verdict.ERROR, f"{wrong} (pytest ended with code {code})\n{output}"
    if code == _TESTS_PASSED:
        return Verdict.MISSED, "all pass: " + " ".join(bug.caught_by)
    if not witnessed["failures"]:
        return Verdict.ERROR, f"pytest ended with code {code}, and no test failed:\n{output}"
    failure = witnessed["failures"][0]
    if failure["broken_code"]:
        return Verdict.ERROR, f"the new text is no working code: {failure['error']} in {failure['test']}\n{output}"
    return Verdict.CAUGHT, f"{failure['test']} ({failure['error']})"


def _wrong_code(witnessed: dict[str, Any], bug: PlantedBug | None) -> str:
    """Return why the tests did not test the copy's code; empty if they did."""
    if witnessed["foreign"]:
        return "not imported from the copy: " + ", ".join(witnessed["foreign"])
    if bug is not None and not bug.in_child and bug.module not in witnessed["imported"]:
        return f"its tests never import {bug.module}"
    return ""


def _pytest(place: Path, selections: Sequence[str], most_s: float) -> tuple[int | None, dict[str, Any], str]:
    """Run `selections` in the copy at `place`; return the exit code (None: hung), the witness, the last lines."""
    witness = place.with_suffix(".json")  # beside the copy: a file in it may be a link to another copy's
    # Byte code is written whatever the caller's environment says: without it pytest rewrites its plugins each time.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTEST", "PYTHON"))}
    environment = {**kept, "PYTHONPATH": str(place), WITNESS: str(witness)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=short"]
    command += ["-p", "tests.sabotage.witness", "-p", "no:cacheprovider", "-o", f"timeout={TEST_S}"]
    command += [f"--hypothesis-seed={HYPOTHESIS_SEED}", f"--basetemp={place / 't'}", *selections]
    try:
        ended = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=most_s, check=False
        )
    except subprocess.TimeoutExpired:
        return None, {}, ""
    witnessed: dict[str, Any] = {"imported": [], "foreign": [], "failures": [], "uncollected": []}
    if witness.exists():
        witnessed = json.loads(witness.read_text())
    last_lines = "\n".join((ended.stdout + ended.stderr).splitlines()[-25:])
    return ended.returncode, witnessed, last_lines


def run(bugs: Sequence[PlantedBug], *, jobs: int, tell: Callable[[Result], None]) -> list[Result]:
    """Run the control and all `bugs`, `jobs` at a time; `tell` gets each result as it comes."""
    with copies() as trees, ThreadPoolExecutor(max_workers=jobs) as pool:
        # Leaves the byte code of every test in the clean tree, and so in every copy.
        _pytest(trees.clean, ["--collect-only", *selected(bugs)], CONTROL_S)
        running = [pool.submit(control, bugs, trees), *(pool.submit(sabotage, bug, trees) for bug in bugs)]
        results = []
        for future in running:
            results.append(future.result())
            tell(results[-1])
        return results


def table(results: Iterable[Result]) -> Iterator[str]:
    """Yield the lines of the closing table."""
    for result in results:
        yield f"{result.verdict.value:<10}  {result.seconds:5.1f} s  {result.name:<40}  {result.why.splitlines()[0]}"


def main(arguments: Sequence[str]) -> int:
    """Run from the command line; 0 when every bug was caught and the control was clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description="plant bugs; the tests must fail")
    parser.add_argument("names", metavar="NAME", nargs="*", help="run these bugs only")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many at a time (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the catalogue and run nothing")
    options = parser.parse_args(arguments)
    by_name = {bug.name: bug for bug in BUGS}
    if unknown := [name for name in options.names if name not in by_name]:
        parser.error(f"no planted bug named {', '.join(unknown)}: see --list")
    bugs = [by_name[name] for name in options.names] or list(BUGS)
    if options.list:
        for bug in bugs:
            print(f"{bug.name:<40}  {bug.breaks:<12}  {bug.mistake}")
        return 0
    began_s = time.monotonic()

    def tell(result: Result) -> None:
        print(f"{result.verdict.value:<10}  {result.seconds:5.1f} s  {result.name}", flush=True)
        if not result.good:
            print(result.why, flush=True)

    results = run(bugs, jobs=options.jobs, tell=tell)
    print(f"\n{len(bugs)} planted bugs in {time.monotonic() - began_s:.0f} s")
    print("\n".join(table(results)))
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
