"""A session is reported in the words, columns and figures that were reviewed."""

from device.service.report_words import COLUMNS
from tests.golden.compared import check_golden
from tests.golden.session_report import GOLDEN, whole_text


def test_an_eventful_session_is_reported_as_reviewed() -> None:
    check_golden(GOLDEN, whole_text())


def test_no_line_is_wider_than_a_page() -> None:
    assert [line for line in whole_text().splitlines() if len(line) > COLUMNS] == []
