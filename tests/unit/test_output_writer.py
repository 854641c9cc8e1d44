"""The output writer: gates close before anything else and open after everything else, and nothing is written twice."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from device.core.realtime_messages import Inputs
from device.core.stroke import Outputs
from device.realtime.process import OutputWriter
from tests.support.core import LAW

REST = Outputs(enable=False, step=0, gate=0)


@dataclass
class WrittenLines:
    """Lines that remember what was written, in order."""

    written: list[str] = field(default_factory=list)

    def read(self) -> Inputs:
        raise NotImplementedError("the writer only writes")

    def set_gate(self, number: int, open_: bool) -> None:
        self.written.append(f"gate {number} {'open' if open_ else 'closed'}")

    def set_enable(self, on: bool) -> None:
        self.written.append(f"enable {'on' if on else 'off'}")

    def set_direction(self, inward: bool) -> None:
        self.written.append(f"direction {'in' if inward else 'out'}")

    def pulse_step(self) -> None:
        self.written.append("step")

    def safe(self) -> None:
        self.written.append("safe")

    def close(self) -> None:
        self.written.append("close")


def written(*outputs: Outputs) -> list[str]:
    """Return what the last of `outputs` made the writer write."""
    lines = WrittenLines()
    writer = OutputWriter(lines)
    for before in outputs[:-1]:
        writer.write(before)
    lines.written.clear()
    writer.write(outputs[-1])
    return lines.written


def test_the_writer_begins_by_making_the_lines_safe() -> None:
    lines = WrittenLines()
    OutputWriter(lines)
    assert lines.written == ["safe"]


def test_a_gate_opens_after_the_step_that_reaches_its_depth() -> None:
    expected = ["enable on", "direction in", "step", "gate 1 open"]
    assert written(Outputs(enable=True, step=1, gate=1)) == expected


def test_a_gate_closes_before_the_needle_moves_or_the_motor_changes() -> None:
    opened = Outputs(enable=True, step=0, gate=2)
    assert written(opened, Outputs(enable=False, step=-1, gate=0)) == [
        "gate 2 closed",
        "enable off",
        "direction out",
        "step",
    ]


def test_one_gate_closes_before_the_other_opens() -> None:
    first, second = Outputs(enable=True, step=0, gate=1), Outputs(enable=True, step=1, gate=2)
    assert written(first, second) == ["gate 1 closed", "direction in", "step", "gate 2 open"]


def test_nothing_is_written_when_nothing_changes() -> None:
    opened = Outputs(enable=True, step=0, gate=1)
    assert written(REST) == []
    assert written(opened, opened) == []
    assert written(Outputs(enable=True, step=1, gate=0), Outputs(enable=True, step=1, gate=0)) == ["step"]


outputs_ = st.builds(Outputs, enable=st.booleans(), step=st.sampled_from([-1, 0, 1]), gate=st.sampled_from([0, 1, 2]))


@LAW
@given(sequence=st.lists(outputs_, min_size=1, max_size=30))
def test_closings_come_first_openings_last_and_never_two_gates_are_open(sequence: list[Outputs]) -> None:
    lines = WrittenLines()
    writer = OutputWriter(lines)
    gates: set[int] = set()
    for outputs in sequence:
        lines.written.clear()
        writer.write(outputs)
        places = dict.fromkeys(("closed", "open"), -1)
        for place, entry in enumerate(lines.written):
            kind, *rest = entry.split()
            if kind == "gate":
                places[rest[1]] = place
                gates = gates | {int(rest[0])} if rest[1] == "open" else gates - {int(rest[0])}
        assert places["closed"] in (-1, 0)
        assert places["open"] in (-1, len(lines.written) - 1)
        assert gates == ({outputs.gate} if outputs.gate else set())
        assert lines.written.count("step") == abs(outputs.step)
