"""One shot as text: everything that passes the gun's lines, in order of time, for a person to review.

Owns the form of the golden trace, and the two treatments that are traced. Steps in one direction with nothing in
between are one line; every other event has its own. Digests and random numbers are left out.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from operator import itemgetter
from pathlib import Path
from textwrap import wrap
from typing import Final

from device.core.console import Console, State
from device.core.events import ArmRequested
from device.core.realtime_messages import Load, Order, Report
from device.core.records import Record, to_body
from device.core.stroke import Scan, ScanState
from drivers.ports import LineMap
from drivers.pump.cavro_codec import answer_reader, command_reader
from tests.simulation.clinic import make_ready, start_session, wait_armed
from tests.support.gun import START_NS, Observer, VirtualGun

GOLDEN: Final = Path(__file__).with_name("one_shot.txt")
CONTENT: Final = 8000
WIDTH: Final = 160
REPORT_FIELDS: Final = 5
"""The first fields of a report say what happened; the rest are its times, which the shot's record repeats."""
HEADER: Final = """\
The merged trace of one shot. Times in us of virtual time since the gun was switched on.
host / pump   bytes on the serial line, and what they say (a frame's time is when its last byte is handed over)
line          an output of the console's computer, as its meaning; phase: the pump's own output
needle        steps with nothing else between them: from position -> to position, and when the last one was
order / tells the link to and from the real-time process; journal: records made durable; state: the controller's
"""

_MEANINGS: Final = {
    "gate_1": ("open", "closed"),
    "gate_2": ("open", "closed"),
    "enable": ("motor on", "motor off"),
    "direction": ("outward", "inward"),
    "light": ("off", "on"),
    "buzzer": ("off", "on"),
}
"""What the low and the high level of an output mean."""


class Trace(Observer):
    """Writes down what it sees, from `begin` to the end."""

    def __init__(self, lines: LineMap) -> None:
        numbers = lines.as_numbers()
        self._names = {line: name for name, line in numbers.items() if line is not None}
        self._answers = answer_reader()
        self._commands = command_reader()
        self._seen: list[tuple[int, str, str | tuple[int, int]]] = []
        self._on = False

    def begin(self) -> None:
        self._on = True

    def text(self) -> str:
        """Return the trace in order of time: the pump's own events are known up to 0.5 ms after they happened."""
        rows: list[str] = []
        steps: list[tuple[int, int, int]] = []
        for now_ns, who, what in sorted(self._seen, key=itemgetter(0)):
            if isinstance(what, tuple):
                if steps and (steps[-1][2] > steps[-1][1]) != (what[1] > what[0]):
                    rows += _stepped(steps)
                steps.append((now_ns, *what))
            else:
                rows += _stepped(steps)
                rows += _row(now_ns, who, what)
        rows += _stepped(steps)
        return "\n".join(rows) + "\n"

    def note(self, what: str, now_ns: int) -> None:
        self._add(now_ns, "hand", what)

    def edge(self, line: int, level: bool, now_ns: int) -> None:
        name = self._names[line]
        if name != "step":
            self._add(now_ns, "line", f"{name} {_MEANINGS[name][level]}")

    def scanned(self, before: ScanState, result: Scan, now_ns: int) -> None:
        if result.outputs.step:
            self._add(now_ns, "needle", (before.position, result.state.position))

    def phase(self, level: bool, now_ns: int) -> None:
        self._add(now_ns, "line", f"phase {int(level)}")

    def sent(self, data: bytes, now_ns: int) -> None:
        for frame in self._commands.feed(data):
            again = " again" if frame.repeat else ""
            self._add(now_ns, "host", f"{data.hex(' '):<30}  {frame.data}  number {frame.sequence}{again}")

    def received(self, data: bytes, now_ns: int) -> None:
        for answer in self._answers.feed(data):
            what = "ready" if answer.ready else "busy"
            error = f" error {answer.error}" if answer.error else ""
            self._add(now_ns, "pump", f"{answer.to_bytes().hex(' '):<30}  {answer.data or what + error}")

    def recorded(self, records: Sequence[Record], now_ns: int) -> None:
        for record in records:
            body = {key: value for key, value in to_body(record).items() if not key.endswith("_sha256")}
            self._add(now_ns, "journal", f"{record.KIND} {json.dumps(body, sort_keys=True)}")

    def changed(self, before: State, console: Console, now_ns: int) -> None:
        if console.state is not before:
            self._add(now_ns, "state", f"{before.name.lower()} -> {console.state.name.lower()}")

    def ordered(self, order: Order, now_ns: int) -> None:
        what = (
            f" magazine {order.magazine.magazine_id}, shots {order.magazine.shots}" if isinstance(order, Load) else ""
        )
        self._add(now_ns, "order", f"{type(order).__name__}{what}")

    def reported(self, report: Report, now_ns: int) -> None:
        named = (f"{field.name} {_plain(getattr(report, field.name))}" for field in fields(report)[:REPORT_FIELDS])
        self._add(now_ns, "tells", f"{type(report).__name__} {', '.join(named)}")

    def _add(self, now_ns: int, who: str, what: str | tuple[int, int]) -> None:
        if self._on:
            self._seen.append((now_ns, who, what))


def _stepped(steps: list[tuple[int, int, int]]) -> list[str]:
    """Return the row of a run of steps, and empty the run."""
    if not steps:
        return []
    (first_ns, start, _), (last_ns, _, end) = steps[0], steps[-1]
    count, way = len(steps), "in" if end > start else "out"
    last = f", last at {_us(last_ns)}" if count > 1 else ""
    steps.clear()
    return _row(first_ns, "needle", f"{count} step{'s' * (count > 1)} {way}, {start} -> {end}{last}")


def _row(now_ns: int, who: str, what: str) -> list[str]:
    start = f"{_us(now_ns):>8}  {who:<7}  "
    return wrap(
        what, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False,
        drop_whitespace=True,
    )  # fmt: skip


def _plain(value: object) -> object:
    return value.name.lower() if isinstance(value, Enum) else value


def _us(now_ns: int) -> str:
    return str((now_ns - START_NS) // 1000)


def trace_of(directory: Path, *, profile: str, points: int) -> str:
    """Return the trace from arming to the end of `points` shots given with one press."""
    with VirtualGun(directory, content=CONTENT) as gun:
        trace = Trace(gun.configuration.lines)
        make_ready(gun)
        answer = start_session(gun, profile, points)
        if not answer.accepted:
            raise RuntimeError(f"no session with {profile}: {answer.reasons}")
        gun.hands.touch_skin()
        gun.observers.append(trace)
        trace.begin()
        trace.note("arm", gun.time.now_ns)
        gun.ask(ArmRequested)
        wait_armed(gun)
        gun.run_for(20)
        trace.note("press", gun.time.now_ns)
        gun.hands.press()
        gun.run_until(lambda: gun.state is State.SESSION, within_ms=5000)
        trace.note("release", gun.time.now_ns)
        gun.hands.release()
        gun.run_for(10)
        return trace.text()


def whole_text() -> str:
    """Return the golden text as the code of now makes it."""
    parts = [HEADER]
    for title, profile, points in (
        ("One shot of point-by-point", "point-by-point", 1),
        ("One press of continuous: a magazine of two shots", "continuous", 2),
    ):
        with tempfile.TemporaryDirectory() as directory:
            parts.append(f"\n{title}\n{'-' * len(title)}\n{trace_of(Path(directory), profile=profile, points=points)}")
    return "".join(parts)
