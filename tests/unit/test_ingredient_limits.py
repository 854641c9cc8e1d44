"""An ingredient's limit is a whole number of micrograms, rounded down: no fraction decides over a dose."""

from device.core.limits import ingredient_limit
from tests.support.core import make_ingredient


def test_a_limit_per_kilogram_is_whole_micrograms_rounded_down() -> None:
    limit = ingredient_limit(make_ingredient(ug_per_ml=1, most_ug_per_kg=4_501), 60_001)
    assert limit == 270_064
    assert isinstance(limit, int)
