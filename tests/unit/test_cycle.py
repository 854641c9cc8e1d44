"""The real-time cycle: it outlives its controller until the needle is safe, and beats in every turn."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from device.core.faults import Fault
from device.core.realtime_messages import Faulted, Home, Homed, Inputs, Order, Ready, Report, Reset
from device.realtime.link import Configure
from device.realtime.process import Cycle
from tests.support.console import LINES
from tests.support.core import MS, SCAN_SPEC

CYCLES_MOST = 5_000


@dataclass
class Gun:
    """The lines and the controller's end at once; the needle begins at step 6, and time goes on by itself."""

    linked: bool = True
    permit_until_ns: int = 1 << 62
    needle: int = 6
    now_ns: int = 1_000 * MS
    inward: bool = False
    orders: deque[Order | Configure] = field(default_factory=deque)
    reports: list[Report] = field(default_factory=list)
    beats: list[tuple[int, int]] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)

    @property
    def page(self) -> "Gun":
        return self

    def clock(self) -> int:
        return self.now_ns

    def beat(self, now_ns: int, position: int) -> None:
        self.beats.append((now_ns, position))

    def add_lateness(self, late_ns: Sequence[int]) -> None:
        self.late_ns += late_ns

    def receive(self) -> Order | Configure | None:
        return self.orders.popleft() if self.orders else None

    def send(self, report: Report) -> None:
        self.reports.append(report)

    def read(self) -> Inputs:
        home = self.needle <= 0
        return Inputs(
            trigger_a=False, trigger_b=False, stop_a=False, stop_b=False, home=home, contact=True, phase=False
        )

    def set_gate(self, number: int, open_: bool) -> None:
        raise AssertionError("nothing here opens a gate")

    def set_enable(self, on: bool) -> None:
        pass

    def set_direction(self, inward: bool) -> None:
        self.inward = inward

    def pulse_step(self) -> None:
        self.needle += 1 if self.inward else -1

    def safe(self) -> None:
        pass

    def close(self) -> None:
        pass


def begun() -> tuple[Gun, Cycle]:
    gun = Gun()
    return gun, Cycle(gun, gun, SCAN_SPEC, now_ns=gun.clock)


def turn(gun: Gun, cycle: Cycle, order: Order | Configure | None = None) -> None:
    if order is not None:
        gun.orders.append(order)
    result = cycle.run()
    gun.now_ns = max(result.wake_ns, gun.now_ns + 1)


def test_every_turn_beats_with_its_own_time_and_the_needles_place() -> None:
    gun, cycle = begun()
    expected: list[tuple[int, int]] = []
    for order in (Reset(), Home(), None, None, None):
        began_ns = gun.now_ns
        turn(gun, cycle, order)
        expected.append((began_ns, cycle.state.position))
    assert gun.beats == expected
    # A step outward has been made of a needle whose place is counted from where it began.
    assert gun.beats[-1][1] == -1
    assert [type(report) for report in gun.reports] == [Ready]


def test_a_lost_controller_does_not_end_it_before_the_needle_is_out() -> None:
    gun, cycle = begun()
    for order in (Reset(), Home(), None):
        turn(gun, cycle, order)
    assert 0 < gun.needle < 6
    gun.linked = False
    for _ in range(CYCLES_MOST):
        if not cycle.goes_on:
            break
        turn(gun, cycle)
    assert not cycle.goes_on
    assert [report.fault for report in gun.reports if isinstance(report, Faulted)] == [Fault.CONTROLLER_LOST]


def test_a_rescue_goes_on_to_the_home_switch_without_its_controller() -> None:
    gun, cycle = begun()
    turn(gun, cycle, Home(rescue=True))
    gun.linked = False
    gun.permit_until_ns = 0
    for _ in range(CYCLES_MOST):
        if not cycle.goes_on:
            break
        turn(gun, cycle)
    assert gun.needle == 0
    assert [type(report) for report in gun.reports] == [Homed]


def test_a_second_configuration_is_an_error() -> None:
    gun, cycle = begun()
    gun.orders.append(Configure(LINES, SCAN_SPEC))
    with pytest.raises(ConnectionError, match="configured twice"):
        cycle.run()
