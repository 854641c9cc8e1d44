"""Rewrites the golden trace: `python -m tests.golden.update`. Review the difference like code."""

from tests.golden.trace import GOLDEN, whole_text

if __name__ == "__main__":
    GOLDEN.write_text(whole_text(), encoding="utf-8")
    print(f"{GOLDEN} written: review its difference")
