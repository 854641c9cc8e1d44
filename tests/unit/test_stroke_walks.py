"""The scan under anything at all: whatever is ordered, pressed, lost or jammed, its bounds and its modes hold."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from device.core.faults import Fault
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import (
    Faulted,
    Halt,
    Home,
    Homed,
    Load,
    Reset,
    StrokeStarted,
    Unload,
)
from device.core.stroke import HOMING_OVERTRAVEL_PERCENT
from device.core.stroke_timeline import stroke_timeline
from tests.support.core import (
    MS,
    PRIME_MAGAZINE,
    SMALL_AXIS,
    STROKE,
    make_magazine,
)
from tests.support.scan_gun import homed_gun, loaded_gun

DEPTH = int(STROKE.depth)
ACTIONS = len(stroke_timeline(STROKE).actions)


magazines = st.builds(
    make_magazine,
    shots=st.integers(1, 3),
    mode=st.sampled_from(Mode),
    trigger=st.sampled_from(TriggerStyle),
    fresh_press=st.booleans(),
    require_contact=st.booleans(),
    interval_ns=st.sampled_from([0, 50 * MS, 200 * MS]),
    stroke=st.builds(
        replace,
        st.just(STROKE),
        entry_open=st.sampled_from([None, 8]),
        dwell_dose=st.booleans(),
        exit_done=st.sampled_from([None, 7]),
        suck_back_ns=st.sampled_from([None, 10 * MS]),
    ),
)
orders = st.one_of(
    st.just(Reset()),
    st.just(Home()),
    st.just(Unload()),
    st.builds(Halt, st.sampled_from(Fault)),
    magazines.map(Load),
    st.just(Load(PRIME_MAGAZINE)),
)
switches = st.sampled_from(["trigger", "stop", "contact", "linked", "permit_fresh", "home_works", "line_stuck"])
acts = st.one_of(
    orders,
    st.sampled_from([1, 5, 25, 60, 250]),
    st.tuples(switches, st.booleans()),
    st.just(("trigger", True)),
    st.just(25),
)


@settings(max_examples=80, deadline=None)
@given(acts=st.lists(acts, max_size=25), jams=st.sets(st.integers(1, 400), max_size=20))
def test_whatever_is_ordered_and_happens_the_scan_goes_on_within_its_bounds(acts: list[Any], jams: set[int]) -> None:
    gun = homed_gun(steps_that_count=lambda number: number not in jams)
    farthest = SMALL_AXIS.travel_steps * HOMING_OVERTRAVEL_PERCENT // 100
    for act in acts:
        if isinstance(act, tuple):
            setattr(gun, *act)
        elif isinstance(act, int):
            gun.wait(act * MS)
        else:
            gun.scan(act)
        assert gun.deepest <= DEPTH
        homings = 1 + sum(isinstance(report, Faulted | Homed) for report in gun.reports)
        assert -farthest * homings <= gun.state.position <= DEPTH
        if gun.state.loaded is not None:
            assert gun.state.loaded.done <= gun.state.loaded.opened <= gun.state.loaded.done + 1
            assert gun.state.loaded.fired <= gun.state.loaded.magazine.shots


@settings(max_examples=25, deadline=None)
@given(
    magazine=magazines,
    holds=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=6),
)
def test_presses_and_releases_fire_what_the_mode_allows(magazine: Any, holds: list[tuple[int, int]]) -> None:
    gun = loaded_gun(magazine)
    for held_ms, free_ms in holds:
        started_before = len(gun.of(StrokeStarted))
        gun.press()
        gun.wait(held_ms * MS)
        gun.release()
        gun.wait(25 * MS)
        if gun.state.switches.pressed:
            continue
        started = len(gun.of(StrokeStarted))
        gun.wait(free_ms * MS)
        if magazine.mode is Mode.SINGLE:
            assert len(gun.of(StrokeStarted)) - started_before <= 1
        if magazine.mode is Mode.CONTINUOUS or magazine.trigger is TriggerStyle.HOLD:
            assert len(gun.of(StrokeStarted)) == started
    assert len(gun.of(StrokeStarted)) <= magazine.shots
