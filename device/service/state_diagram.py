"""Writes the controller's state diagram into docs/ARCHITECTURE.md, drawn from the machine's own table.

`python -m device.service.state_diagram` rewrites it; a test holds the committed text to what the table gives.
"""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

from device.core.console import State
from device.core.machine import TABLE

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "ARCHITECTURE.md"
BEGIN: Final = "<!-- state diagram: begin (made by `make diagram`) -->"
END: Final = "<!-- state diagram: end -->"


def diagram() -> str:
    """Return the Mermaid text: one arrow for each pair of states, labelled with the events that lead there.

    Left out, as they would be arrows everywhere: staying in a state, and the way into FAULT.
    """
    arrows: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (state, event), transition in TABLE.items():
        everywhere = sum(kind is event for _, kind in TABLE) == len(State)
        for target in transition.to:
            if target not in (state, State.FAULT) and not everywhere:
                arrows[state, target].append(event.__name__)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.STARTING.name}"]
    for (state, target), events in sorted(arrows.items()):
        lines.append(f"    {state.name} --> {target.name}: {', '.join(sorted(events))}")
    return "\n".join([*lines, "```"])


def with_diagram(text: str) -> str:
    """Return the document with the diagram between its marks. Raises ValueError when a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{diagram()}\n{END}{after}"


def main() -> int:
    """Rewrite the document."""
    DOCUMENT.write_text(with_diagram(DOCUMENT.read_text()))
    sys.stdout.write(f"{DOCUMENT.name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
