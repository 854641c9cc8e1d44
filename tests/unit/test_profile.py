"""A profile: what no device could make sense of is refused, with the last value that is allowed beside it."""

from typing import Any

import pytest

from device.core.profile import Mode, Phase
from tests.support.core import MS, make_profile


@pytest.mark.parametrize(
    ("allowed", "refused", "message"),
    [
        ({"entry_percent": 20}, {"entry_percent": 21}, "is 101; the phases must share exactly 100"),
        ({"exit_percent": 20}, {"exit_percent": 19}, "is 99; the phases must share exactly 100"),
        (
            {"entry_percent": 0, "dwell_percent": 80},
            {"entry_percent": -1, "dwell_percent": 81},
            "the phases must share exactly 100",
        ),
        (
            {"dwell_percent": 0, "exit_percent": 80},
            {"dwell_percent": -1, "exit_percent": 81},
            "the phases must share exactly 100",
        ),
        (
            {"exit_percent": 0, "dwell_percent": 80},
            {"exit_percent": -1, "dwell_percent": 81},
            "the phases must share exactly 100",
        ),
        ({"entry_from_um": 0}, {"entry_from_um": -1}, "entry_from_mm must lie in 0 ... depth_mm; found -0.001 mm"),
        ({"entry_from_um": 3_999}, {"entry_from_um": 4_000}, "entry_from_mm must lie in 0 ... depth_mm; found 4.0 mm"),
        ({"exit_until_um": 0}, {"exit_until_um": -1}, "exit_until_mm must lie in 0 ... depth_mm; found -0.001 mm"),
        ({"exit_until_um": 3_999}, {"exit_until_um": 4_000}, "exit_until_mm must lie in 0 ... depth_mm; found 4.0 mm"),
        ({"slowest_speed_um_s": 1}, {"slowest_speed_um_s": 0}, "slowest_speed_mm_s must be above 0"),
        (
            {"slowest_speed_um_s": 30_000, "entry_speed_um_s": 30_000},
            {"slowest_speed_um_s": 30_001, "entry_speed_um_s": 30_000},
            "at most entry_speed_mm_s and exit_speed_mm_s",
        ),
        (
            {"slowest_speed_um_s": 30_000, "exit_speed_um_s": 30_000},
            {"slowest_speed_um_s": 30_001, "exit_speed_um_s": 30_000},
            "at most entry_speed_mm_s and exit_speed_mm_s",
        ),
        ({"dwell_ns": 0}, {"dwell_ns": -1}, "longest_dwell_ms must be at least dwell_ms"),
        ({"longest_dwell_ns": 50 * MS}, {"longest_dwell_ns": 50 * MS - 1}, "longest_dwell_ms must be at least dwell"),
        (
            {"mode": Mode.BURST, "burst_shots": 2},
            {"mode": Mode.BURST, "burst_shots": 1},
            "burst_shots must be 2 or more in mode 'burst'",
        ),
    ],
)
def test_each_field_may_reach_its_bound_and_not_pass_it(
    allowed: dict[str, Any], refused: dict[str, Any], message: str
) -> None:
    make_profile(**allowed)
    with pytest.raises(ValueError, match=message):
        make_profile(**refused)


@pytest.mark.parametrize("mode", [Mode.SINGLE, Mode.CONTINUOUS])
def test_only_a_burst_has_a_number_of_shots(mode: Mode) -> None:
    assert make_profile(mode=mode, burst_shots=0).burst_shots == 0


def test_each_phase_has_its_own_share_and_the_suck_back_none() -> None:
    profile = make_profile(entry_percent=10, dwell_percent=60, exit_percent=30)
    assert [profile.percent(phase) for phase in Phase] == [10, 60, 30, 0]
