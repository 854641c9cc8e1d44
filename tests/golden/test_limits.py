"""The limits are where they were reviewed, and refuse in the words that were reviewed; none is left out."""

from dataclasses import fields

from device.core.device_spec import HardLimits
from tests.golden.compared import check_golden
from tests.golden.limits import GOLDEN, fields_shown, whole_text


def test_every_limit_allows_its_last_and_refuses_its_first_as_reviewed() -> None:
    check_golden(GOLDEN, whole_text())


def test_every_hard_limit_of_the_console_has_a_row() -> None:
    assert {field.name for field in fields(HardLimits)} - fields_shown() == set()
