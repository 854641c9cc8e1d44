"""A controller that ends anywhere, in any of its acts, loses no dose, doubles none and can be used again."""

import pytest

from device.simulation.disk import Cut
from tests.simulation.crash_sweep import ENDS, End, ends, reference, violations_after

PROFILES = ("point-by-point", "continuous")
EVERY = 3
"""Of the places, which share is tried for each way to end; the places differ from one way to the next."""


def swept(profile: str, how: str) -> list[End]:
    """Return what is tried here: every append, and every third place; `make soak` tries all."""
    found = [end for end in ends(profile) if end.how == how]
    return found if how in {cut.value for cut in Cut} else found[list(ENDS).index(how) :: EVERY]


@pytest.mark.parametrize("how", [*ENDS, *(cut.value for cut in Cut)])
@pytest.mark.parametrize("profile", PROFILES)
def test_wherever_the_controller_ends_its_book_is_true_and_it_treats_on(profile: str, how: str) -> None:
    tried = swept(profile, how)
    assert len(tried) >= 5
    failed = {str(end): found for end in tried if (found := violations_after(end))}
    assert failed == {}


def test_the_reference_session_touches_the_world_often_enough_to_be_one() -> None:
    places, appends = reference("point-by-point")
    assert places > 100
    assert appends >= 8
