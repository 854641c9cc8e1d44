"""Everything that passes the gun's lines, as text for a person and as a fingerprint for a comparison.

Owns the form of a trace: one line an event in order of time, steps in one direction with nothing in between as one.
Digests and random numbers are left out of the text. The fingerprint of two runs of one seed is the same.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from hashlib import blake2b
from operator import itemgetter
from struct import Struct
from textwrap import wrap
from typing import Final

from device.core.console import Console, State
from device.core.realtime_messages import Load, Order, Report
from device.core.records import Record, to_body
from device.core.stroke import Scan, ScanState
from device.simulation.observer import Observer
from device.simulation.virtual_time import START_NS
from drivers.ports import LineMap
from drivers.pump.cavro_codec import answer_reader, command_reader

WIDTH: Final = 160
REPORT_FIELDS: Final = 5
"""The first fields of a report say what happened; the rest are its times, which the shot's record repeats."""
LEGEND: Final = """\
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
    """Writes down what it sees, from `begin` to the end; of more than `most` events the last ones."""

    def __init__(self, lines: LineMap, *, most: int | None = None) -> None:
        numbers = lines.as_numbers()
        self._names = {line: name for name, line in numbers.items() if line is not None}
        self._answers = answer_reader()
        self._commands = command_reader()
        self._seen: deque[tuple[int, str, str | tuple[int, int]]] = deque(maxlen=most)
        self._on = False

    def begin(self) -> None:
        """Write down from now on."""
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
        """Write down what a hand does."""
        self._add(now_ns, "hand", what)

    def edge(self, line: int, level: bool, now_ns: int) -> None:
        name = self._names[line]
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

    def lost(self, what: str, now_ns: int) -> None:
        self._add(now_ns, "fate", what)

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


_EVENT: Final = Struct("<qq")


class Fingerprint(Observer):
    """One number for all that happened: every edge, byte, record, plunger movement and death, with its time."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def hexdigest(self) -> str:
        """Return it as it stands."""
        return self._hash.hexdigest()

    def edge(self, line: int, level: bool, now_ns: int) -> None:
        self._hash.update(_EVENT.pack(now_ns, line << 1 | level))

    def step_edge(self, level: bool, now_ns: int) -> None:
        self._hash.update(_EVENT.pack(now_ns, level - 2))

    def plunger(self, before: int, after: int, needle_side: bool, now_ns: int) -> None:
        self._hash.update(_EVENT.pack(now_ns, after << 1 | needle_side))

    def sent(self, data: bytes, now_ns: int) -> None:
        self._hash.update(_EVENT.pack(now_ns, len(data)) + data)

    def received(self, data: bytes, now_ns: int) -> None:
        self._hash.update(_EVENT.pack(now_ns, -len(data)) + data)

    def recorded(self, records: Sequence[Record], now_ns: int) -> None:
        for record in records:
            body = json.dumps(to_body(record), sort_keys=True)
            self._hash.update(_EVENT.pack(now_ns, len(body)) + body.encode())

    def lost(self, what: str, now_ns: int) -> None:
        self._hash.update(_EVENT.pack(now_ns, 0) + what.encode())
