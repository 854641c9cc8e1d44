"""What the demo shows: bars for regions and session, dose against limits, the last shot, alarms.

On a terminal a live picture by rich; into a pipe, or with `--json`, a plain line whenever something was reached, on
stderr so that stdout stays for the result.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class DemoView(Protocol):
    """Where the demo shows its progress."""

    def say(self, text: str) -> None:
        """Show what is being done."""

    def update(self, status: dict[str, Any], regions: Sequence[tuple[str, int]]) -> None:
        """Show the console's newest state."""

    def summary(self, figures: dict[str, Any], *, good: bool) -> None:
        """Show the end."""


def region_progress(status: dict[str, Any], regions: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Return (name, done, points) of every region from the session's shots."""
    left = int(status.get("shots", 0))
    progress = []
    for name, points in regions:
        done = min(points, left)
        left -= done
        progress.append((name, done, points))
    return progress


def summary_lines(figures: dict[str, Any], *, good: bool) -> list[str]:
    """Return the summary for people."""
    return [
        f"shots       {figures['shots_delivered']} of {figures['shots_planned']} delivered, "
        f"{figures['shots_refused']} presses refused, {figures['shots_per_minute']:g} a minute while treating",
        f"volume      planned {figures['volume_planned_ul']:.3f} uL, booked {figures['volume_booked_ul']:.3f} uL, "
        f"truth {figures['volume_delivered_ul']:.3f} uL, spilled {figures['volume_spilled_ul']:.3f} uL",
        f"journal     {figures['records']} records, {'chain complete' if figures['journal_ok'] else 'DAMAGED'}, "
        f"{figures['records_published']} acknowledged by the broker ({figures['broker']})",
        f"timing      press to first step p50 {figures['trigger_latency_us_p50']} us, "
        f"p99 {figures['trigger_latency_us_p99']} us; step lateness p99 {figures['step_late_us_p99']} us",
        "result      " + ("truth, book and plan agree" if good else "truth, book and plan DIFFER: see the journal"),
    ]


class PlainView:
    """Lines on stderr."""

    def __init__(self) -> None:
        self._reached: tuple[Any, ...] = ()

    def say(self, text: str) -> None:
        """Print the line."""
        sys.stderr.write(text + "\n")

    def update(self, status: dict[str, Any], regions: Sequence[tuple[str, int]]) -> None:
        """Print when a region is done or a fault comes."""
        done = tuple(name for name, given, points in region_progress(status, regions) if given == points)
        reached = (done, status.get("faults", ""))
        if reached != self._reached:
            self._reached = reached
            faults = f"; FAULT {status['faults']}" if status.get("faults") else ""
            self.say(
                f"shots {status['shots']}/{status['shots_planned']}, regions done: {', '.join(done) or '-'}{faults}"
            )

    def summary(self, figures: dict[str, Any], *, good: bool) -> None:
        """Print the summary."""
        for line in summary_lines(figures, good=good):
            self.say(line)


class TerminalView:
    """A live picture."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._said = ""

    def say(self, text: str) -> None:
        """Show the line above the picture."""
        self._said = text
        self._live.console.print(text, style="dim")

    def update(self, status: dict[str, Any], regions: Sequence[tuple[str, int]]) -> None:
        """Draw the picture."""
        self._live.update(picture(status, regions))

    def summary(self, figures: dict[str, Any], *, good: bool) -> None:
        """Print the summary under the picture."""
        for line in summary_lines(figures, good=good):
            self._live.console.print(line, style="bold green" if good else "bold red", highlight=False)


def picture(status: dict[str, Any], regions: Sequence[tuple[str, int]]) -> Group:
    """Return the picture of one moment."""
    table = Table.grid(padding=(0, 2))
    for name, done, points in region_progress(status, regions):
        table.add_row(name, ProgressBar(total=points, completed=done, width=40), f"{done}/{points} points")
    table.add_row(
        "session",
        ProgressBar(total=max(1, status["shots_planned"]), completed=status["shots"], width=40),
        f"{status['shots']}/{status['shots_planned']} shots",
    )
    table.add_row(
        "dose",
        ProgressBar(total=status["volume_limit_nl"], completed=status["volume_nl"], width=40),
        f"{status['volume_nl'] / 1000:.1f} of at most {status['volume_limit_nl'] / 1000:.0f} uL",
    )
    shot = "-"
    if status["last_shot"]:
        shot = (
            f"no. {status['last_shot']}: {status['last_outcome']}, {status['last_booked_nl'] / 1000:.2f} uL, "
            f"steps late p99 {status['last_late_us_p99']} us"
        )
    alarms = Text("none", style="green")
    if status["fault_list"]:
        alarms = Text(
            "; ".join(f"{fault['code']} {fault['title']}" for fault in status["fault_list"]), style="bold red"
        )
    table.add_row("last shot", shot)
    table.add_row("alarms", alarms)
    return Group(Text(f"{status['state']}   SIMULATED", style="bold"), table)


@contextlib.contextmanager
def open_view(*, as_json: bool) -> Iterator[DemoView]:
    """Open the view that fits where the output goes."""
    if as_json or not sys.stdout.isatty():
        yield PlainView()
        return
    with Live(console=Terminal(), refresh_per_second=10, transient=False) as live:
        yield TerminalView(live)
