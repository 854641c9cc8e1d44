"""A pytest plugin: writes down which code was really tested, and how it failed.

Owns the witness file (`WITNESS`), read by `run`. A failure counts only when every module of the project came from the
copy under test, not from an installation, and when a test failed, not its collection or its import.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

WITNESS: Final = "MESOGUN_SABOTAGE_WITNESS"
"""The environment variable that names the witness file."""

PROJECT: Final = ("device", "drivers", "tests")
_BROKEN_CODE: Final = (NameError, ImportError, SyntaxError)
"""What a patch raises that is no program any more: it proves nothing about the tests."""

_failures: list[dict[str, Any]] = []
_uncollected: list[str] = []


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note what could not be collected."""
    if report.failed:
        _uncollected.append(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    """Note a failed test with the error that failed it."""
    report = yield
    if report.failed and call.excinfo is not None:
        _failures.append(
            {
                "test": item.nodeid,
                "when": report.when,
                "error": call.excinfo.typename,
                "broken_code": issubclass(call.excinfo.type, _BROKEN_CODE),
            }
        )
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the witness file."""
    root = Path.cwd().resolve()
    files = {
        name: str(Path(file).resolve())
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in PROJECT and (file := getattr(module, "__file__", None)) is not None
    }
    foreign = sorted(name for name, file in files.items() if not Path(file).is_relative_to(root))
    witnessed = {"imported": sorted(files), "foreign": foreign, "failures": _failures, "uncollected": _uncollected}
    Path(os.environ[WITNESS]).write_text(json.dumps(witnessed))
