"""The catalogue follows the code: each planted bug has its place, is still a program, and names tests that exist."""

import ast
from collections import Counter
from typing import Any

import pytest

from tests.sabotage.catalogue import BUGS
from tests.sabotage.planted_bug import PlantedBug, StaleBug
from tests.sabotage.run import Verdict, _judge
from tests.sabotage.tree import ROOT

EXAMPLE = PlantedBug(
    name="example",
    file="device/core/units.py",
    changes=(("one", "two"), ("three", "four")),
    mistake="",
    breaks="",
    caught_by=("tests/unit/test_units.py",),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_has_exactly_one_place_and_leaves_a_program(bug: PlantedBug) -> None:
    text = (ROOT / bug.file).read_text()
    planted = bug.planted_in(text)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_says_what_it_is_and_names_tests_that_exist(bug: PlantedBug) -> None:
    assert bug.mistake
    assert bug.breaks
    assert bug.caught_by
    for selection in bug.caught_by:
        file, _, test = selection.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text() if test else (ROOT / file).is_file()


def test_no_two_planted_bugs_have_one_name() -> None:
    assert [name for name, times in Counter(bug.name for bug in BUGS).items() if times > 1] == []


@pytest.mark.parametrize("text", ["one one three", "three", "one"])
def test_a_change_without_exactly_one_place_is_an_error_of_the_catalogue(text: str) -> None:
    with pytest.raises(StaleBug, match="not once"):
        EXAMPLE.planted_in(text)
    assert EXAMPLE.planted_in("one three") == "two four"


def witnessed(**changes: Any) -> dict[str, Any]:
    failure = {"test": "test_it", "when": "call", "error": "AssertionError", "broken_code": False}
    return {"imported": ["device.core.units"], "foreign": [], "uncollected": [], "failures": [failure], **changes}


@pytest.mark.parametrize(
    ("code", "seen", "verdict"),
    [
        (1, witnessed(), Verdict.CAUGHT),
        (0, witnessed(failures=[]), Verdict.MISSED),
        (None, {}, Verdict.MISSED),
        (2, witnessed(), Verdict.ERROR),
        (5, witnessed(failures=[]), Verdict.ERROR),
        (1, witnessed(uncollected=["tests/unit/test_units.py"]), Verdict.ERROR),
        (1, witnessed(foreign=["device.core.units"]), Verdict.ERROR),
        (1, witnessed(imported=["device.core.limits"]), Verdict.ERROR),
        (
            1,
            witnessed(failures=[{"test": "t", "when": "call", "error": "NameError", "broken_code": True}]),
            Verdict.ERROR,
        ),
    ],
)
def test_only_a_test_that_failed_by_itself_on_the_planted_code_is_a_catch(
    code: int | None, seen: dict[str, Any], verdict: Verdict
) -> None:
    assert _judge(EXAMPLE, code, seen, "output")[0] is verdict
