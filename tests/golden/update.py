"""Rewrites the golden texts: `python -m tests.golden.update`. Review the difference like code."""

from types import ModuleType
from typing import Final

from tests.golden import limits, session_report, trace

GOLDEN_TEXTS: Final[tuple[ModuleType, ...]] = (trace, limits, session_report)
"""Each has its file, `GOLDEN`, and `whole_text()`."""

if __name__ == "__main__":
    for module in GOLDEN_TEXTS:
        module.GOLDEN.write_text(module.whole_text(), encoding="utf-8")
        print(f"{module.GOLDEN} written: review its difference")
