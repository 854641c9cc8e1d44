"""The trial of the step rate: 99 of 100 cycles in time, whatever one of them met."""

from itertools import count

import pytest

from device.realtime.trial import CYCLES, PERIOD_NS_MOST, steps_kept
from tests.support.core import MS


class Machine:
    """Every cycle takes `work_ns`; each waking comes late by what `late_ns` says for its number."""

    def __init__(self, work_ns: int, late_ns: dict[int, int], *, moves_in: int = 0) -> None:
        self.now_ns = 7 * MS
        self.cycles = 0
        self._moves_in = moves_in
        self._work_ns, self._late_ns = work_ns, late_ns
        self._wakings = count()

    def clock(self) -> int:
        return self.now_ns

    def sleep_until(self, due_ns: int) -> None:
        self.now_ns = max(self.now_ns, due_ns) + self._late_ns.get(next(self._wakings), 0)

    def cycle(self) -> bool:
        self.cycles += 1
        self.now_ns += self._work_ns
        return self.cycles != self._moves_in

    def kept(self, period_ns: int) -> int:
        return steps_kept(self.cycle, period_ns=period_ns, now_ns=self.clock, sleep_until=self.sleep_until)


@pytest.mark.parametrize(("work_ns", "kept"), [(100_000, 10_000), (250_000, 4_000), (333_333, 3_000)])
def test_a_machine_keeps_what_its_cycle_leaves_room_for(work_ns: int, kept: int) -> None:
    machine = Machine(work_ns, {})
    assert machine.kept(400_000) == kept
    assert machine.cycles == CYCLES


def test_two_stalls_in_a_trial_are_let_pass_and_three_are_not() -> None:
    assert Machine(100_000, {5: 20 * MS, 90: 20 * MS}).kept(400_000) == 10_000
    assert Machine(100_000, {5: 20 * MS, 90: 20 * MS, 91: 20 * MS}).kept(400_000) < 60


def test_a_machine_slower_than_the_pace_is_still_told_its_own_rate() -> None:
    # Due again at once after each: the wait for the one before is in the figure, and is at most one period.
    assert 1_000_000_000 // 1_400_000 <= Machine(1_000_000, {}).kept(400_000) <= 1_000


def test_a_needle_that_begins_to_move_is_never_paced_by_the_trial() -> None:
    machine = Machine(100_000, {}, moves_in=3)
    began_ns = machine.now_ns
    assert machine.kept(400_000) == 0
    assert machine.cycles == 3
    assert machine.now_ns == began_ns + 3 * 400_000 + 100_000


def test_a_slow_axis_is_not_tried_at_its_own_pace() -> None:
    machine = Machine(100_000, {})
    began_ns = machine.now_ns
    assert machine.kept(20 * MS) == 10_000
    assert machine.now_ns - began_ns == CYCLES * PERIOD_NS_MOST + 100_000
