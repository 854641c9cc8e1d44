"""Every planted bug of the catalogue is caught by the tests that it names, and they pass without it.

Takes minutes: deselect it with `-m "not sabotage"`. For one bug alone: `python -m tests.sabotage NAME`.
"""

import pytest

from tests.sabotage.catalogue import BUGS
from tests.sabotage.planted_bug import PlantedBug
from tests.sabotage.run import CONTROL, JOBS, Result, run

pytestmark = [pytest.mark.sabotage, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """The whole catalogue's results, and the control's, by name."""
    return {result.name: result for result in run(BUGS, jobs=JOBS, tell=lambda result: None)}


def test_without_any_bug_the_named_tests_pass(results: dict[str, Result]) -> None:
    assert results[CONTROL].good, results[CONTROL].why


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: PlantedBug, results: dict[str, Result]) -> None:
    assert results[bug.name].good, f"{bug.mistake}: {results[bug.name].why}"
