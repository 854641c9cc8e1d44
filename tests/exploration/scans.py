"""The real-time process of an explored state: the shipped scan and the shipped writer of its outputs, without a clock.

Owns the choice of time. A scan is made `AT_ONCE` (nothing has become due), `DUE` (the next action's deadline),
`LATER` (at rest: every lock-out, discrepancy and interval is over) or `TOO_LATE` (beyond the limit that the action
has). After it every time in the state is counted from that scan again, and what has run out is levelled, so that a
state has no clock and the same situation is the same state whenever it comes. Limits are compared by the shipped
code alone: these four moments lie on either side of each of its comparisons.
"""

from collections.abc import Iterable
from dataclasses import fields, replace
from enum import IntEnum
from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple, Protocol

from device.core.realtime_messages import Inputs, Order, Report, inputs_of
from device.core.stroke import Outputs, Scan, ScanMode, ScanSpec, ScanState, initial_state
from device.core.stroke_timeline import Action
from device.realtime.process import OutputWriter
from tests.exploration.gun import SCAN_SPEC
from tests.exploration.numbering import Table

NOW_NS: Final = 1_000_000_000_000
"""When every scan is made."""
LATER_NS: Final = 10_000_000_000
"""More than twice every interval of the explored profiles: no interval is running after it."""
_TIMING: Final = SCAN_SPEC.timing


class Moment(IntEnum):
    """When a scan is made."""

    AT_ONCE = 0
    DUE = 1
    LATER = 2
    TOO_LATE = 3


class Scanner(Protocol):
    """What `device.core.stroke.scan` is."""

    def __call__(
        self,
        state: ScanState,
        inputs: Inputs,
        order: Order | None,
        *,
        spec: ScanSpec,
        now_ns: int,
        permit_until_ns: int,
        linked: bool,
    ) -> Scan:
        """Run one scan."""


class Scanned(NamedTuple):
    """What a scan gave: the state's number, the outputs, the reports without their measured times."""

    scan: int
    outputs: Outputs
    reports: tuple[int, ...]


class Driven(NamedTuple):
    """The lines as the real-time process drives them: gates 1 and 2 open, motor on, direction inward."""

    gate_1: bool
    gate_2: bool
    enable: bool
    inward: bool | None


AT_PULLS: Final = Driven(gate_1=False, gate_2=False, enable=False, inward=None)


class Written(NamedTuple):
    """What writing some outputs did: the lines afterwards, the needle's step, whether both gates were ever open."""

    lines: Driven
    step: int
    both_open: bool


@cache
def written(lines: Driven, outputs: Outputs) -> Written:
    """Have the shipped writer bring `lines`, which it wrote before, to `outputs`."""
    recorder = _Lines(lines)
    writer = OutputWriter(recorder)
    recorder.now = lines
    writer._gate = 1 if lines.gate_1 else 2 if lines.gate_2 else 0
    writer._enable, writer._inward = lines.enable, lines.inward
    writer.write(outputs)
    return Written(recorder.now, recorder.step, recorder.both_open)


class _Lines:
    """The lines under the writer."""

    def __init__(self, lines: Driven) -> None:
        self.now = lines
        self.step = 0
        self.both_open = False

    def read(self) -> Inputs:
        raise NotImplementedError("the writer reads nothing")

    def set_gate(self, number: int, open_: bool) -> None:
        self.now = self.now._replace(**{f"gate_{number}": open_})
        self.both_open = self.both_open or (self.now.gate_1 and self.now.gate_2)

    def set_enable(self, on: bool) -> None:
        self.now = self.now._replace(enable=on)

    def set_direction(self, inward: bool) -> None:
        self.now = self.now._replace(inward=inward)

    def pulse_step(self) -> None:
        if self.now.enable:
            self.step = 1 if self.now.inward else -1

    def safe(self) -> None:
        self.now = AT_PULLS

    def close(self) -> None:
        self.safe()


class Scans:
    """The table of scan states; asks the scan each different question once.

    Orders and reports are numbers in `messages`, inputs bits; `scanner` is the shipped scan.
    """

    def __init__(self, messages: Table[Any], scanner: Scanner) -> None:
        self._messages = messages
        self._scanner = scanner
        self._table: Table[ScanState] = Table()
        self._answers: dict[tuple[int, int, int, int, bool, bool], Scanned] = {}
        self._moments: list[tuple[Moment, ...]] = []
        self._inputs = [inputs_of(levels) for levels in product(*((False, True),) * 7)]
        self.first = self._table.of(initial_state())

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, number: int) -> ScanState:
        return self._table[number]

    def moments(self, number: int) -> tuple[Moment, ...]:
        """Return when the next scan can be made; `TOO_LATE` only where a limit is compared."""
        while len(self._moments) <= number:
            self._moments.append(tuple(_moments(self._table[len(self._moments)])))
        return self._moments[number]

    def scan(self, number: int, inputs: int, order: int, moment: Moment, *, permit: bool, linked: bool) -> Scanned:
        """Make one scan; `inputs` in bits, the first input highest. `permit`: whether it holds at that moment."""
        key = (number, inputs, order, int(moment), permit, linked)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = self._scan(number, inputs, order, moment, permit=permit, linked=linked)
        return found

    def _scan(self, number: int, inputs: int, order: int, moment: Moment, *, permit: bool, linked: bool) -> Scanned:
        before = self._table[number]
        now_ns = NOW_NS + _passed_ns(before, moment)
        result = self._scanner(
            before,
            self._inputs[inputs],
            self._messages[order] if order >= 0 else None,
            spec=SCAN_SPEC,
            now_ns=now_ns,
            permit_until_ns=now_ns + _TIMING.permit_ns if permit else now_ns - 1,
            linked=linked,
        )
        after = self._table.of(_levelled(result.state, now_ns))
        return Scanned(after, result.outputs, tuple(self._messages.of(_unmeasured(told)) for told in result.reports))


def _moments(state: ScanState) -> Iterable[Moment]:
    yield Moment.AT_ONCE
    if state.motion is None:
        yield Moment.LATER
        return
    if state.motion.due_ns > NOW_NS:
        yield Moment.DUE
    if state.mode is ScanMode.STROKE:
        yield Moment.TOO_LATE


def _passed_ns(state: ScanState, moment: Moment) -> int:
    motion = state.motion
    if moment is Moment.AT_ONCE:
        return 0
    if motion is None:
        return LATER_NS
    due_ns = max(0, motion.due_ns - NOW_NS)
    if moment is Moment.DUE:
        return due_ns
    return due_ns + 1 + (_TIMING.phase_wait_ns if motion.action is Action.AWAIT else _TIMING.late_limit_ns)


def _levelled(state: ScanState, now_ns: int) -> ScanState:
    """Count every time from `NOW_NS`; level those that are over, and those that are only measured.

    An interval between two shots counts as begun just now until a scan is made `LATER`: strokes take less.
    """
    earlier_ns = now_ns - NOW_NS
    switches, motion = state.switches, state.motion

    def since(changed_ns: int, limit_ns: int) -> int:
        return max(changed_ns - earlier_ns, NOW_NS - limit_ns)

    settled = replace(
        switches,
        changed_ns=since(switches.changed_ns, _TIMING.lockout_ns),
        trigger_differs_since_ns=_differs(switches.trigger_differs_since_ns, earlier_ns),
        stop_differs_since_ns=_differs(switches.stop_differs_since_ns, earlier_ns),
    )
    if settled == switches:
        settled = switches
    if motion is not None:
        motion = motion._replace(
            base_ns=motion.base_ns - earlier_ns, started_ns=NOW_NS, marks=(NOW_NS,) * len(motion.marks)
        )
    recent = state.last_start_ns > now_ns - LATER_NS // 2
    return state._replace(switches=settled, motion=motion, last_start_ns=NOW_NS if recent else NOW_NS - LATER_NS)


def _differs(since_ns: int, earlier_ns: int) -> int:
    return -1 if since_ns < 0 else max(since_ns - earlier_ns, NOW_NS - _TIMING.discrepancy_ns - 1)


@cache
def _unmeasured(report: Report) -> Report:
    measured: dict[str, Any] = {field.name: -1 for field in fields(report) if field.name.endswith("_ns")}
    return replace(report, **measured) if measured else report
