"""One shot is, byte for byte, edge for edge and record for record, the shot that was reviewed."""

from tests.golden.compared import check_golden
from tests.golden.trace import GOLDEN, whole_text


def test_a_shot_leaves_the_reviewed_trace() -> None:
    check_golden(GOLDEN, whole_text())
