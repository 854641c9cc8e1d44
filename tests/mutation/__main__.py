"""`python -m tests.mutation [MODULE ...]`: mutates one module after another with mutmut and lists the survivors.

Owns the working copy (`--work`: made anew for each module, kept at the end for `mutmut show`) and mutmut's settings in
it; the working tree is never changed. Not part of `make test`: hours. mutmut is no requirement of the project: install
`MUTMUT` beside it first. What survives is killed by a test or argued in docs/mutation-testing.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.mutation.modules import MODULES

MUTMUT: Final = "mutmut==3.8.1"
ROOT: Final = Path(__file__).resolve().parents[2]
TEST_S: Final = 20
NICE: Final = 10
_TREES: Final = ("device", "drivers", "tests", "config", "docs", "systemd")
_FILES: Final = ("pyproject.toml", "README.md")
_VERDICTS: Final = {1: "killed", 3: "killed", 0: "survived", 5: "no tests", 33: "no tests"}
_TIMEOUTS: Final = (-24, 24, 36, 152, 255)
"""mutmut's exit codes (`mutmut.stats`, version 3.8): a mutant that hangs is noticed by the suite's own time-out."""


def prepare(work: Path, module: str) -> None:
    """Make the working copy anew and configure mutmut for `module` alone."""
    # What mutmut remembers of another module would keep it from mutating this one.
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for tree in _TREES:
        shutil.copytree(ROOT / tree, work / tree, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in _FILES:
        shutil.copy2(ROOT / name, work / name)
    lines = ["[tool.mutmut]", 'source_paths = ["device", "drivers"]', f'only_mutate = ["{module}"]']
    arguments = ["-q", "-p", "no:cacheprovider", "--hypothesis-seed=20", "-o", f"timeout={TEST_S}"]
    lines += [f"pytest_add_cli_args = {json.dumps(arguments)}"]
    lines += [f"pytest_add_cli_args_test_selection = {json.dumps(MODULES[module])}"]
    lines += [f"also_copy = {json.dumps([*_TREES[2:], *_FILES])}", "use_git_change_detection = false"]
    with (work / "pyproject.toml").open("a") as file:
        file.write("\n" + "\n".join(lines) + "\n")


def mutate(work: Path, module: str, jobs: int) -> int:
    """Run mutmut over `module`; return its exit code."""
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["nice", f"-n{NICE}", sys.executable, "-m", "mutmut", "run", f"--max-children={jobs}"]
    with (work / "mutmut.log").open("w") as log:
        return subprocess.run(command, cwd=work, env=environment, stdout=log, stderr=log, check=False).returncode


def verdicts(work: Path, module: str) -> dict[str, str]:
    """Return each mutant's verdict by its name."""
    found = json.loads((work / "mutants" / f"{module}.meta").read_text())["exit_code_by_key"]
    return {
        name: "timeout" if code in _TIMEOUTS else _VERDICTS.get(code, f"code {code}") for name, code in found.items()
    }


def difference(work: Path, mutant: str) -> str:
    """Return what the mutant changes."""
    command = [sys.executable, "-m", "mutmut", "show", mutant]
    shown = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False).stdout
    changed = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(changed)


def report(work: Path, module: str) -> Iterable[str]:
    """Yield a line of figures, then the mutants that were not killed."""
    found = verdicts(work, module)
    counts = Counter(found.values())
    rest = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()) if verdict != "killed")
    yield f"{module}: {len(found)} mutants, {counts['killed']} killed{', ' + rest if rest else ''}"
    for mutant, verdict in found.items():
        if verdict != "killed":
            yield f"  {verdict}: {mutant}\n{difference(work, mutant)}"


def main(arguments: Sequence[str]) -> int:
    """Run from the command line; 0 when every module could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="mutate modules, list survivors")
    parser.add_argument("modules", metavar="MODULE", nargs="*", help="such as settlement or device/core/limits.py")
    parser.add_argument("--work", type=Path, default=ROOT / "var" / "mutation", help="working copy (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (%(default)s)")
    options = parser.parse_args(arguments)
    if find_spec("mutmut") is None:
        parser.error(f"mutmut is missing: {sys.executable} -m pip install {MUTMUT}")
    wanted = [module for module in MODULES if not options.modules or _names(module) & set(options.modules)]
    if len(wanted) < len(options.modules):
        parser.error("no such module; there are: " + " ".join(Path(module).stem for module in MODULES))
    failed = False
    for module in wanted:
        prepare(options.work, module)
        if mutate(options.work, module, options.jobs):
            failed = True
            print(f"{module}: mutmut failed, see {options.work / 'mutmut.log'}", flush=True)
            continue
        print("\n".join(report(options.work, module)), flush=True)
    return 1 if failed else 0


def _names(module: str) -> set[str]:
    return {module, Path(module).stem}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
