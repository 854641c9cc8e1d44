"""Whatever breaks, whenever: the gun is safe within 50 ms, books at least what it gave, and can be used again.

Each seed is one session in which up to four mishaps strike at random moments. A seed that fails is shown by
`mesogun simulate --seed S --faults high`, and by `pytest tests/simulation/test_sessions.py -k seed17`.
"""

import os
from dataclasses import replace
from typing import Final

import pytest

from device.simulation.mishaps import Level
from device.simulation.session import SessionPlan, plan_session, run_session
from tests.support.clinic import PROFILES, saline, shipped

SEEDS: Final = int(os.environ.get("MESOGUN_SEEDS", "300"))
LIMITED_SEEDS: Final = 60
POINTS: Final = 2
VIAL_NL: Final = 160_000
CONTENTS: Final = (600, 800, 1600)
"""The least of them makes a refill come between the shots, and under a mishap."""
COARSE: Final = 20
"""Motor steps for a millimetre in every other seed: fewer steps, more sessions."""

FOUND: Final = {
    (
        "high",
        39,
    ): "the pump lost its power while it was loaded: all of a magazine was booked of which no gate was opened",
    ("high", 1742): "a refill was broken off while it drew: the play stayed open, and the next shot gave less by it",
    ("high", 1139): "lifted between two shots of a burst: it waited for the next touch, with nothing pressed",
}
"""Seeds that once showed a fault of the gun, and which."""


def planned(seed: int, level: Level) -> SessionPlan:
    return plan_session(seed, saline(PROFILES[seed % len(PROFILES)], POINTS), level=level, contents=CONTENTS)


def play(seed: int, level: Level, *, steps_per_mm: int | None = None) -> None:
    plan = planned(seed, level)
    result = run_session(plan, shipped(vial_nl=VIAL_NL, steps_per_mm=steps_per_mm))
    if result.violations:
        pytest.fail(f"{plan}\n" + "\n".join(result.violations[:10]) + f"\n{result.trace}", pytrace=False)


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed{seed}")
def test_the_gun_stays_safe_and_its_book_true(seed: int) -> None:
    level = Level.LOW if seed % 3 == 0 else Level.HIGH
    play(seed, level, steps_per_mm=COARSE if seed % 2 else None)


@pytest.mark.parametrize(("level", "seed"), FOUND)
def test_a_fault_that_a_seed_once_showed_stays_away(level: str, seed: int) -> None:
    play(seed, Level(level), steps_per_mm=COARSE)


@pytest.mark.parametrize("seed", range(LIMITED_SEEDS), ids=lambda seed: f"seed{seed}")
def test_no_patient_gets_past_a_limit_whatever_breaks_in_two_sessions(seed: int) -> None:
    plan = replace(planned(seed, Level.HIGH), sessions=2)
    dose_nl = shipped().profiles[plan.treatment.profile].value.dose_nl
    # Three shots are within the one limit or the other, of the four and more that are asked for.
    limit = {"hour": 3} if seed % 2 else {"day_nl": 3 * dose_nl + dose_nl // 2}
    result = run_session(plan, shipped(steps_per_mm=COARSE, **limit))
    assert result.violations == []
    clock_ran_ahead = any("clock" in mishap for mishap in result.mishaps)
    if "hour" in limit and not clock_ran_ahead:
        assert result.shots <= limit["hour"]
