"""How every golden text is compared and rewritten: as a whole, with its difference for a person to review."""

from difflib import unified_diff
from pathlib import Path

import pytest


def check_golden(golden: Path, now: str) -> None:
    """Fail, with the difference, unless the reviewed text is what the code of now makes."""
    reviewed = golden.read_text(encoding="utf-8")
    if reviewed != now:
        difference = "\n".join(unified_diff(reviewed.splitlines(), now.splitlines(), "reviewed", "now", lineterm=""))
        pytest.fail(f"{difference}\n`make golden` rewrites it, for review", pytrace=False)
