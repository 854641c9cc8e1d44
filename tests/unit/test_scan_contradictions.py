"""The scan where things contradict each other: two channels, its memory, an order out of turn, a pump that is late."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from device.core.faults import Fault
from device.core.realtime_messages import (
    Faulted,
    Halt,
    Home,
    Inputs,
    Load,
    Order,
    Ready,
    Reset,
    ShotReport,
    Unload,
)
from device.core.stroke import ScanMode, ScanState, scan
from device.core.stroke_timeline import Action
from device.core.units import Steps
from tests.support.core import MS, STROKE, TIMING, make_magazine
from tests.support.scan_gun import Gun, assert_safe_at_home, faults, fire, homed_gun, loaded_gun

# --- the stop's two channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(True, False), (False, True)], ids=["a", "b"])
def test_a_stop_that_stays_on_one_channel_stops_at_once_and_is_told_as_a_broken_wire_when_it_is_cleared(
    a: bool, b: bool
) -> None:
    # It once was told as a pressed stop for ever: the operator would look for a button that nobody pressed.
    gun = loaded_gun()
    gun.press()
    gun.wait(10 * MS)
    gun.stop, gun.stop_b = a, b
    gun.scan()
    assert (faults(gun), gun.gate) == ([Fault.STOP_PRESSED], 0)
    assert_safe_at_home(gun)
    gun.wait(TIMING.discrepancy_ns + MS)
    gun.scan(Reset())
    assert faults(gun) == [Fault.STOP_PRESSED, Fault.STOP_CHANNELS_DISAGREE]
    assert gun.state.mode is ScanMode.SAFE
    gun.stop = gun.stop_b = False
    gun.scan()
    gun.scan(Reset())
    assert gun.of(Ready) == [Ready(homed=True)]


def test_a_stop_whose_channels_close_one_after_the_other_is_a_pressed_stop() -> None:
    gun = loaded_gun()
    gun.stop, gun.stop_b = True, False
    gun.scan()
    gun.wait(TIMING.discrepancy_ns - 5 * MS)
    gun.stop_b = True
    gun.wait(2 * TIMING.discrepancy_ns)
    gun.scan(Reset())
    assert faults(gun) == [Fault.STOP_PRESSED, Fault.STOP_PRESSED]


# --- its own memory ----------------------------------------------------------------------------------------------


def firing_gun() -> Gun:
    """Return a gun whose needle is in the skin with a gate open."""
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.gate == 1 and gun.needle > 8)
    return gun


def contradicting(kind: str) -> Gun:
    """Return a gun whose scan remembers what cannot be."""
    gun = loaded_gun() if kind == "a magazine that is none" else firing_gun()
    # Nothing is taken for unchanged: a whole scan looks at it.
    motion = gun.state.motion._replace(clear=None) if gun.state.motion is not None else None
    gun.state = gun.state._replace(motion=motion)
    if kind == "a stroke without a way":
        gun.state = gun.state._replace(motion=None)
    elif kind == "a magazine that waits under way":
        gun.state = gun.state._replace(mode=ScanMode.READY)
    else:
        gun.state = gun.state._replace(loaded=None)
    return gun


@pytest.mark.parametrize(
    "kind",
    [
        "a stroke of no magazine",
        "a stroke without a way",
        "a magazine that waits under way",
        "a magazine that is none",
    ],
)
def test_a_memory_that_contradicts_itself_closes_the_gates_and_brings_the_needle_home(kind: str) -> None:
    gun = contradicting(kind)
    result = gun.scan()
    assert result.outputs.gate == 0
    assert faults(gun) == [Fault.INTERNAL]
    assert_safe_at_home(gun)


# --- orders out of turn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [Home(), Load(make_magazine())], ids=["home", "load"])
def test_work_ordered_before_the_first_reset_is_a_fault_and_moves_nothing(order: Order) -> None:
    gun = Gun()
    result = gun.scan(order)
    assert gun.reports == [Faulted(Fault.INTERNAL, homed=False, detail=0)]
    assert (gun.state.mode, gun.state.motion, gun.state.loaded) == (ScanMode.SAFE, None, None)
    assert (result.outputs.enable, result.outputs.step, result.outputs.gate) == (False, 0, 0)


@pytest.mark.parametrize("order", [Unload(), Halt(Fault.PUMP_SILENT)], ids=["unload", "halt"])
def test_what_asks_for_nothing_to_move_is_no_fault_before_the_first_reset(order: Order) -> None:
    gun = Gun()
    gun.scan(order)
    assert (gun.reports, gun.state.mode) == ([], ScanMode.SAFE)


@pytest.mark.parametrize(
    "order",
    [Reset(), Home(), Home(rescue=True), Load(make_magazine(magazine_id=2))],
    ids=["reset", "home", "rescue", "load"],
)
def test_an_order_that_a_loaded_magazine_does_not_allow_ends_it_safely(order: Order) -> None:
    gun = loaded_gun()
    gun.scan(order)
    assert faults(gun) == [Fault.INTERNAL]
    assert_safe_at_home(gun)


@pytest.mark.parametrize(
    "order",
    [Reset(), Home(), Home(rescue=True), Load(make_magazine(magazine_id=2))],
    ids=["reset", "home", "rescue", "load"],
)
def test_an_order_that_a_stroke_does_not_allow_brings_the_needle_home(order: Order) -> None:
    gun = firing_gun()
    gun.scan(order)
    assert (faults(gun), gun.gate) == ([Fault.INTERNAL], 0)
    assert_safe_at_home(gun)


def test_an_unload_with_nothing_loaded_has_crossed_the_magazines_own_end() -> None:
    gun = homed_gun()
    before: ScanState = gun.state
    gun.scan(Unload())
    assert (gun.state, gun.reports) == (before, [])


# --- the permit --------------------------------------------------------------------------------------------------


def test_an_idle_gun_needs_no_permit_until_it_is_to_move() -> None:
    gun = homed_gun()
    gun.permit_fresh = False
    gun.wait(20 * MS)
    assert (faults(gun), gun.state.mode) == ([], ScanMode.IDLE)
    gun.scan(Home())
    assert faults(gun) == [Fault.PERMIT_LOST]
    assert_safe_at_home(gun)


@pytest.mark.parametrize(("left_ns", "lost"), [(0, False), (-1, True)])
def test_a_permit_holds_to_its_last_nanosecond(left_ns: int, lost: bool) -> None:
    gun = firing_gun()
    assert gun.state.motion is not None
    inputs = Inputs(trigger_a=True, trigger_b=True, stop_a=False, stop_b=False, home=False, contact=True, phase=False)
    result = scan(
        gun.state,
        inputs,
        None,
        spec=gun.spec,
        now_ns=gun.now_ns,
        permit_until_ns=gun.now_ns + left_ns,
        linked=True,
    )
    found = [report.fault for report in result.reports if isinstance(report, Faulted)]
    assert found == ([Fault.PERMIT_LOST] if lost else [])
    assert (result.outputs.gate == 0) is lost


@pytest.mark.parametrize(("beyond_ns", "lost"), [(0, False), (1, True)])
def test_a_phase_is_waited_for_to_the_last_nanosecond_of_its_time(beyond_ns: int, lost: bool) -> None:
    gun = loaded_gun(move_ns=None)
    gun.press()
    gun.run(until=lambda: gun.state.motion is not None and gun.state.motion.action is Action.AWAIT)
    assert gun.state.motion is not None
    gun.now_ns = gun.state.motion.due_ns + TIMING.phase_wait_ns + beyond_ns
    gun.scan()
    assert faults(gun) == ([Fault.PHASE_NOT_FINISHED] if lost else [])


def stop(gun: Gun) -> None:
    gun.stop = True


def lose_the_permit(gun: Gun) -> None:
    gun.permit_fresh = False


def lose_the_link(gun: Gun) -> None:
    gun.linked = False


@pytest.mark.parametrize(
    ("cause", "fault"),
    [(stop, Fault.STOP_PRESSED), (lose_the_permit, Fault.PERMIT_LOST), (lose_the_link, Fault.CONTROLLER_LOST)],
)
def test_a_homing_that_was_ordered_in_peace_ends_like_any_motion(cause: Callable[[Gun], None], fault: Fault) -> None:
    gun = Gun(needle=30)
    gun.scan(Reset())
    gun.scan(Home())
    gun.wait(20 * MS)
    steps = gun.steps
    cause(gun)
    gun.wait(20 * MS)
    assert (faults(gun), gun.state.mode, gun.steps) == ([fault], ScanMode.SAFE, steps)


def test_a_gate_right_behind_the_home_switch_opens_though_the_switch_has_let_go() -> None:
    gun = loaded_gun(make_magazine(stroke=replace(STROKE, entry_open=Steps(1))))
    fire(gun)
    assert faults(gun) == []
    assert gun.moves[0].opened_at == 1


# --- a pump that makes the needle wait ---------------------------------------------------------------------------


def test_a_needle_that_had_to_wait_on_its_way_out_starts_again_from_rest() -> None:
    gun = loaded_gun(move_ns=150 * MS)
    outward: list[tuple[int, int]] = []
    gun.press()
    while not gun.of(ShotReport):
        at_ns, result = gun.now_ns, gun.scan()
        if result.outputs.step == -1:
            outward.append((at_ns, result.outputs.gate))
    # At `exit_done`, 13 of the 20 steps out, the needle stands until the pump has ended the phase, its gate open.
    waited = STROKE.depth - 7
    assert [gate for _, gate in outward] == [1] * waited + [0] * 7
    begun_ns = outward[waited][0]
    assert begun_ns - outward[waited - 1][0] > 50 * MS
    # From rest step number k lies at sqrt(2 k / a), at 10 000 steps/s2: no step behind the wait is ahead of that.
    for number, (at_ns, _) in enumerate(outward[waited:], start=1):
        since_first_ns = at_ns - begun_ns + 14_142_135
        assert since_first_ns >= (2 * number / 10_000) ** 0.5 * 1e9 - 1_000
    (report,) = gun.of(ShotReport)
    assert (report.opened, report.done, report.fault) == (4, 4, 0)


def test_a_needle_that_had_not_to_wait_keeps_its_speed_on_its_way_out() -> None:
    gun = loaded_gun()
    steps_ns: list[int] = []
    gun.press()
    while not gun.of(ShotReport):
        at_ns, result = gun.now_ns, gun.scan()
        if result.outputs.step == -1:
            steps_ns.append(at_ns)
    gaps = [later - earlier for earlier, later in pairwise(steps_ns)]
    # 300 steps/s, the ramps of 4 steps apart.
    assert all(abs(gap - 3_333_333) < 2_000 for gap in gaps[4:-4])
