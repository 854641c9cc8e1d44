"""The one table of a run, as Markdown and as JSON, in a directory: each figure beside its floors and how to repeat it.

Owns the files and their form. Never measures or judges.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import FIGURES, Findings, times, written

MARKDOWN: Final = "bench.md"
JSON: Final = "bench.json"
NONE: Final = "-"

Results = Mapping[str, Findings | str]
"""By benchmark: what it found, or why it could not be carried out."""


def repeat(name: str) -> str:
    """Return the command that measures one benchmark again."""
    return f'make bench BENCH="{name}"'


def as_json(machine: Mapping[str, str], results: Results) -> dict[str, Any]:
    """Return a run as plain JSON values."""
    found = {
        name: {"broken": result} if isinstance(result, str) else result.as_json() | {"repeat": repeat(name)}
        for name, result in results.items()
    }
    return {"machine": dict(machine), "benchmarks": found}


def as_markdown(machine: Mapping[str, str], results: Results) -> str:
    """Return a run as one Markdown table, the machine before it and the notes behind."""
    lines = ["# Timings", "", *(f"- {name}: {value}" for name, value in machine.items()), ""]
    head = ("benchmark", "figure", "n", *FIGURES, "times its floor (" + " / ".join(FIGURES) + ")", "repeat")
    lines += [_row(*head), "|---|---|--:" + "|--:" * len(FIGURES) + "|---|---|"]
    notes: list[str] = []
    for name, result in results.items():
        if isinstance(result, str):
            lines.append(_row(name, f"broken: {result}", *(NONE for _ in (*FIGURES, "n")), "", _code(repeat(name))))
            continue
        for each in result.rows:
            parts = {part: written(value, each.unit) for part, value in each.spread.parts().items()}
            lines.append(
                _row(
                    name,
                    each.name,
                    str(each.spread.count),
                    *(parts.get(part, NONE) for part in FIGURES),
                    "; ".join(_against(result.ratios(each, floor), floor) for floor in each.floors),
                    _code(repeat(name)),
                )
            )
        notes += [f"- {name}: {note}" for note in result.notes]
    return "\n".join([*lines, "", *notes]) + "\n"


def write(directory: Path, machine: Mapping[str, str], results: Results) -> None:
    """Write both files into `directory`, which is made. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKDOWN).write_text(as_markdown(machine, results), encoding="utf-8")
    (directory / JSON).write_text(json.dumps(as_json(machine, results), indent=1) + "\n", encoding="utf-8")


def _against(ratios: Mapping[str, float], floor: str) -> str:
    cells = " / ".join(times(ratios[part]) if part in ratios else NONE for part in FIGURES)
    return f"{cells} of {floor}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`"
