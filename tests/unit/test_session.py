"""A session's regions: how many points they have together."""

from dataclasses import replace

import pytest

from device.core.session import Session
from tests.support.machine import SESSION

assert SESSION.session is not None
TWO_REGIONS = SESSION.session
"""Three points on the crown, then two on the temple."""
NO_REGIONS = replace(TWO_REGIONS, regions=())


@pytest.mark.parametrize(("session", "points"), [(TWO_REGIONS, 5), (NO_REGIONS, 0)], ids=["regions", "none"])
def test_the_planned_shots_are_all_points_of_all_regions(session: Session, points: int) -> None:
    assert session.planned_shots == points
