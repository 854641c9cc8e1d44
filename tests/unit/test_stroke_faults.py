"""The scan when something goes wrong: gates closed in the same scan, the needle home, and nothing until the Reset."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from device.core.faults import Fault
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Halt,
    Home,
    Homed,
    Load,
    Loaded,
    MagazineEnded,
    Order,
    Ready,
    Reset,
    ShotReport,
)
from device.core.stroke import HOMING_OVERTRAVEL_PERCENT, ScanMode
from device.core.stroke_timeline import Action, stroke_timeline
from tests.support.core import (
    BURST,
    MS,
    PRIME_MAGAZINE,
    SCAN_SPEC,
    SMALL_AXIS,
    STROKE,
    make_magazine,
)
from tests.support.scan_gun import (
    Gun,
    assert_safe_at_home,
    ended,
    faults,
    fire,
    homed_gun,
    loaded_gun,
    press_stop,
)

DEPTH = int(STROKE.depth)
ACTIONS = stroke_timeline(STROKE).actions
WITH_GATES_CLOSED = [
    index
    for index in range(1, len(ACTIONS) - 1)
    if ACTIONS[:index].count(Action.OPEN) == ACTIONS[:index].count(Action.AWAIT)
    and ACTIONS[index - 1 : index + 1] != (Action.AWAIT, Action.OPEN)
]
"""The places of a stroke where a scan finds no gate open: an open one explains either level, its move runs or ended."""


@cache
def strokes() -> tuple[Gun, ...]:
    """Return a gun in its stroke for each action: the action is the next one to come. For copying."""
    gun = loaded_gun()
    gun.press()
    guns: list[Gun] = []
    while gun.state.motion is not None:
        guns += [gun.copy()] * (gun.state.motion.place + 1 - len(guns))
        gun.scan()
    return tuple(guns)


def stroke_at(index: int) -> Gun:
    """Return a gun in its stroke, with the action `index` the next one to come."""
    return strokes()[index].copy()


def lose_permit(gun: Gun) -> None:
    gun.permit_fresh = False
    gun.scan()


def lose_link(gun: Gun) -> None:
    gun.linked = False
    gun.scan()


def halt(gun: Gun) -> None:
    gun.scan(Halt(Fault.PUMP_OVERLOAD))


def lose_contact(gun: Gun) -> None:
    gun.contact = False
    gun.scan()


CAUSES: list[tuple[Callable[[Gun], None], Fault]] = [
    (press_stop, Fault.STOP_PRESSED),
    (lose_permit, Fault.PERMIT_LOST),
    (lose_link, Fault.CONTROLLER_LOST),
    (halt, Fault.PUMP_OVERLOAD),
    (lose_contact, Fault.CONTACT_LOST),
]
cause = pytest.mark.parametrize(("cause", "fault"), CAUSES, ids=[each.__name__ for each, _ in CAUSES])


@cause
@pytest.mark.parametrize("index", range(1, len(ACTIONS) - 1))
def test_at_every_place_of_a_stroke_a_fault_closes_the_gates_and_brings_the_needle_home(
    cause: Callable[[Gun], None], fault: Fault, index: int
) -> None:
    gun = stroke_at(index)
    opened, depth = gun.opened, gun.needle
    cause(gun)
    if fault is Fault.CONTACT_LOST and depth == 0:
        # Out of the skin contact does not matter: the suck-back goes on.
        gun.run(until=lambda: bool(gun.of(MagazineEnded)))
        assert ended(gun).reason is EndReason.COMPLETE
        return
    assert gun.gate == 0
    assert faults(gun) == [fault]
    assert ended(gun).reason is EndReason.FAULT
    (report,) = gun.of(ShotReport)
    assert report.fault == fault
    assert report.opened == opened
    assert_safe_at_home(gun)
    assert gun.opened == opened
    assert gun.state.homed


@cause
def test_a_fault_between_shots_makes_safe_without_a_step(cause: Callable[[Gun], None], fault: Fault) -> None:
    gun = loaded_gun()
    cause(gun)
    if fault is Fault.CONTACT_LOST:
        assert gun.state.mode is ScanMode.READY
        return
    assert faults(gun) == [fault]
    assert ended(gun).reason is EndReason.FAULT
    assert_safe_at_home(gun)
    assert gun.steps == 0


def test_a_trigger_channel_that_disagrees_fires_nothing_and_makes_safe() -> None:
    gun = loaded_gun(trigger_b=True)
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.TRIGGER_CHANNELS_DISAGREE]
    assert_safe_at_home(gun)


@pytest.mark.parametrize(("late_ms", "late"), [(20, False), (21, True)])
def test_a_step_later_than_the_limit_ends_the_shot(late_ms: int, late: bool) -> None:
    gun = loaded_gun()
    gun.press()
    motion = gun.state.motion
    assert motion is not None
    gun.now_ns = motion.base_ns + motion.timeline.due_ns[motion.place] + late_ms * MS
    gun.scan()
    assert faults(gun) == ([Fault.STEP_LATE] if late else [])


def test_a_late_step_is_not_made_up_for_faster_than_the_motor_can_follow() -> None:
    gun = loaded_gun()
    gun.press()
    gun.now_ns += 15 * MS
    stepped: list[int] = []
    while gun.needle < DEPTH:
        before, now_ns = gun.needle, gun.now_ns
        gun.scan()
        if gun.needle != before:
            stepped.append(now_ns)
    gaps = [later - earlier for earlier, later in pairwise(stepped)]
    assert min(gaps) >= SMALL_AXIS.shortest_step_ns


def test_a_fault_holds_until_reset_whatever_else_is_ordered() -> None:
    gun = loaded_gun()
    press_stop(gun)
    gun.stop = False
    gun.wait(100 * MS)
    gun.press()
    gun.release()
    gun.scan(Load(make_magazine()))
    gun.scan(Home())
    assert gun.state.mode is ScanMode.SAFE
    assert gun.steps == 0
    gun.reports.clear()
    gun.scan(Reset())
    assert gun.of(Ready) == [Ready(homed=True)]


def test_a_reset_with_the_stop_still_pressed_is_refused() -> None:
    gun = loaded_gun()
    press_stop(gun)
    gun.reports.clear()
    gun.scan(Reset())
    assert faults(gun) == [Fault.STOP_PRESSED]
    assert gun.state.mode is ScanMode.SAFE


def test_a_reset_during_the_retraction_is_obeyed_when_the_needle_is_home() -> None:
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.needle == DEPTH)
    lose_contact(gun)
    gun.scan(Reset())
    assert gun.state.mode is ScanMode.RETRACT
    assert not gun.of(Ready)
    gun.run(until=lambda: bool(gun.of(Ready)))
    assert gun.needle == 0
    assert gun.of(Ready) == [Ready(homed=True)]


def test_a_halt_in_the_retraction_calls_off_the_reset_before_it() -> None:
    # The Reset was once obeyed after the Halt, and the gun was ready again in spite of it.
    gun = stroke_at(ACTIONS.index(Action.STEP_OUT))
    lose_contact(gun)
    gun.scan(Reset())
    halt(gun)
    assert_safe_at_home(gun)
    assert not gun.of(Ready)


def test_a_stop_at_a_gate_brakes_the_needle_as_one_behind_it() -> None:
    # A step and its gate are due at once: the needle was then taken to stand, and was turned round at full speed.
    gate = ACTIONS.index(Action.OPEN)
    deepest = []
    for index in (gate, gate + 1):
        gun = stroke_at(index)
        assert gun.needle == STROKE.entry_open
        press_stop(gun)
        assert_safe_at_home(gun)
        deepest.append(gun.deepest)
    assert deepest[0] == deepest[1] > STROKE.entry_open  # type: ignore[operator]  # this stroke has an entry


def test_a_load_without_a_permit_is_refused_before_any_gate() -> None:
    # A prime is released in the scan of its load, which once looked at the permit only in the next one.
    gun = homed_gun()
    gun.permit_fresh = False
    gun.scan(Load(PRIME_MAGAZINE))
    assert faults(gun) == [Fault.PERMIT_LOST]
    assert not gun.of(Loaded)
    assert gun.opened == 0
    assert_safe_at_home(gun)


@pytest.mark.parametrize("order", [Home(), Load(make_magazine())], ids=["home", "load"])
def test_an_order_that_crosses_a_stop_on_its_way_is_no_fault_of_its_own(order: Order) -> None:
    gun = homed_gun()
    press_stop(gun)
    gun.scan(order)
    assert faults(gun) == [Fault.STOP_PRESSED]
    assert_safe_at_home(gun)


def test_nothing_stops_a_retraction_not_even_the_stop() -> None:
    gun = loaded_gun()
    gun.press()
    gun.run(until=lambda: gun.needle == DEPTH)
    halt(gun)
    for trouble in (press_stop, lose_permit, lose_link):
        trouble(gun)
    assert_safe_at_home(gun)


# --- needle and home switch ----------------------------------------------------------------------------------------


def test_homing_ends_at_the_switch_and_forgets_the_position_before() -> None:
    gun = Gun(needle=12)
    gun.scan(Reset())
    assert gun.of(Ready) == [Ready(homed=False)]
    gun.run(Home(), until=lambda: bool(gun.of(Homed)))
    assert gun.of(Homed) == [Homed(12)]
    assert (gun.state.position, gun.state.homed, gun.needle) == (0, True, 0)


def test_a_reset_during_the_homing_waits_for_its_end() -> None:
    # It once ended the homing on the spot, with the needle out and nothing that brought it home.
    gun = Gun(needle=12)
    gun.scan(Reset())
    gun.scan(Home())
    gun.wait(3 * MS)
    gun.scan(Reset())
    gun.run(until=lambda: len(gun.of(Ready)) == 2)
    assert gun.of(Homed) == [Homed(12)]
    assert gun.needle == 0
    assert gun.reports[-1] == Ready(homed=True)


@pytest.mark.parametrize("trouble", [lambda gun: None, press_stop, lose_permit], ids=["none", "stop", "permit"])
def test_a_rescue_takes_the_needle_out_of_the_safe_mode_whatever_else_is_wrong(trouble: Callable[[Gun], None]) -> None:
    gun = Gun(needle=12)
    trouble(gun)
    gun.run(Home(rescue=True), until=lambda: bool(gun.of(Homed)))
    assert gun.of(Homed) == [Homed(12)]
    assert_safe_at_home(gun)
    assert gun.state.homed


def test_homing_gives_up_behind_the_axis_travel() -> None:
    gun = Gun(home_works=False)
    gun.scan(Reset())
    gun.run(Home(), until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.NEEDLE_HOME_NOT_FOUND]
    assert gun.steps == SMALL_AXIS.travel_steps * HOMING_OVERTRAVEL_PERCENT // 100
    assert not gun.state.homed
    assert gun.state.mode is ScanMode.SAFE


def test_a_magazine_is_not_taken_before_the_needle_is_homed() -> None:
    gun = Gun()
    gun.scan(Reset())
    gun.scan(Load(make_magazine()))
    assert faults(gun) == [Fault.INTERNAL]
    assert not gun.of(Loaded)


def test_steps_lost_on_the_way_out_are_found_before_the_suck_back_and_searched_for_until_the_needle_is_home() -> None:
    # The suck-back's gate was once opened by the count of steps alone, with the needle still in the skin.
    gun = loaded_gun(steps_that_count=lambda number: not 30 <= number < 36)
    gun.press()
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.NEEDLE_POSITION_LOST]
    assert gun.needle > 0
    assert gun.opened == STROKE.moves - 1
    gun.run(until=lambda: gun.state.motion is None)
    assert gun.needle == 0
    assert gun.state.mode is ScanMode.SAFE
    assert gun.state.homed


@pytest.mark.parametrize("trouble", [press_stop, lose_permit, lose_link, halt], ids=lambda trouble: trouble.__name__)
def test_nothing_ends_the_search_for_a_needle_that_is_still_out(trouble: Callable[[Gun], None]) -> None:
    # A stop once ended the search, and the needle, still in the skin, was called home.
    gun = loaded_gun(steps_that_count=lambda number: not 30 <= number < 36)
    gun.press()
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert gun.needle > 0
    trouble(gun)
    assert_safe_at_home(gun)
    assert gun.state.homed


def test_a_needle_that_stays_at_home_while_the_steps_count_past_the_surface_opens_no_gate() -> None:
    # A jammed needle was once taken to be in the skin by the count of its steps: the dose went into the air.
    gun = loaded_gun(steps_that_count=lambda number: False)
    gun.press()
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.NEEDLE_POSITION_LOST]
    assert gun.steps == SMALL_AXIS.clearance_steps + 1
    gun.settle()
    assert gun.opened == 0
    assert gun.state.mode is ScanMode.SAFE
    assert not gun.state.homed


@pytest.mark.parametrize(("lag_ns", "found"), [(2 * MS, []), (20 * MS, [Fault.NEEDLE_POSITION_LOST])])
def test_the_home_switch_has_its_settling_time_to_close_behind_the_needle(lag_ns: int, found: list[Fault]) -> None:
    gun = loaded_gun(home_lag_ns=lag_ns)
    fire(gun)
    assert faults(gun) == found
    assert ended(gun).opened == STROKE.moves - len(found)
    gun.settle()
    assert gun.needle == 0


def test_steps_lost_in_a_retraction_are_searched_for_too() -> None:
    gun = loaded_gun(steps_that_count=lambda number: number < 22 or number > 26)
    gun.press()
    gun.run(until=lambda: gun.needle == DEPTH)
    press_stop(gun)
    assert_safe_at_home(gun)


def test_a_needle_jammed_in_the_skin_is_reported_and_never_called_homed() -> None:
    gun = loaded_gun(steps_that_count=lambda number: number <= DEPTH)
    gun.press()
    gun.run(until=lambda: bool(gun.of(Faulted)))
    gun.settle()
    assert faults(gun) == [Fault.NEEDLE_POSITION_LOST, Fault.NEEDLE_HOME_NOT_FOUND]
    assert gun.needle == DEPTH
    assert not gun.state.homed
    assert gun.state.mode is ScanMode.SAFE


def test_a_needle_moved_by_hand_while_armed_is_a_fault() -> None:
    gun = loaded_gun()
    gun.needle = 3
    gun.scan()
    assert faults(gun) == [Fault.NEEDLE_POSITION_LOST]
    assert not gun.state.homed


def test_a_phase_line_that_reads_high_before_the_first_move_is_stuck() -> None:
    gun = homed_gun(line_stuck=True)
    gun.scan(Load(make_magazine()))
    assert faults(gun) == [Fault.PHASE_LINE_STUCK]
    assert not gun.of(Loaded)


def test_a_phase_line_that_changes_before_any_gate_was_opened_tells_of_a_stuck_gate() -> None:
    gun = loaded_gun(stuck_gate=1)
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.PUMP_GATE_STUCK]
    assert len(gun.moves) == 1
    assert ended(gun).opened == 0
    assert_safe_at_home(gun)
    assert gun.steps == 0


@pytest.mark.parametrize("index", WITH_GATES_CLOSED)
def test_a_phase_line_that_no_gate_explains_ends_the_stroke_in_the_same_scan(index: int) -> None:
    gun = stroke_at(index)
    opened = gun.opened
    gun.line_stuck = opened % 2 == 0
    gun.scan()
    assert faults(gun) == [Fault.PUMP_GATE_STUCK]
    assert_safe_at_home(gun)
    assert gun.opened == opened


def test_without_a_phase_line_its_level_means_nothing() -> None:
    gun = loaded_gun(spec=replace(SCAN_SPEC, phase_feedback=False), line_stuck=True)
    fire(gun)
    assert ended(gun).reason is EndReason.COMPLETE


def test_a_phase_line_stuck_low_ends_the_shot_at_its_first_phase() -> None:
    gun = loaded_gun(line_stuck=False)
    gun.press()
    gun.run(until=lambda: bool(gun.of(Faulted)))
    assert faults(gun) == [Fault.PHASE_NOT_FINISHED]
    assert gun.opened == 1
    assert_safe_at_home(gun)


def test_a_gate_that_sticks_open_during_a_burst_lets_one_move_pass_and_no_more() -> None:
    # The gate of a finished move stayed open until its action was due: the pump ran the whole magazine at one point.
    gun = loaded_gun(BURST)
    gun.stuck_gate = 2
    fire(gun)
    assert len(gun.moves) <= 2
    assert faults(gun)[0] is Fault.PUMP_GATE_STUCK
