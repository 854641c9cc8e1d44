"""One shot is, byte for byte, edge for edge and record for record, the shot that was reviewed."""

from difflib import unified_diff

import pytest

from tests.golden.trace import GOLDEN, whole_text


def test_a_shot_leaves_the_reviewed_trace() -> None:
    reviewed, now = GOLDEN.read_text(encoding="utf-8"), whole_text()
    if reviewed != now:
        difference = "\n".join(unified_diff(reviewed.splitlines(), now.splitlines(), "reviewed", "now", lineterm=""))
        pytest.fail(f"{difference}\n`python -m tests.golden.update` rewrites it, for review", pytrace=False)
