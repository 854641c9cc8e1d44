"""Marks on the machine: they say where the next shot belongs, are written down, and change no dose and no limit."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controller.live import next_action, refusals, region_list, snapshot
from device.core.console import Console, State
from device.core.device_spec import SoftLimits
from device.core.effects import Commit, Refill, Reply, SoundDone, SoundRegion
from device.core.events import (
    ChangeNeedleRequested,
    Command,
    Event,
    PauseRequested,
    PointSkipRequested,
    PositionRead,
    PumpLoaded,
    RefillDone,
)
from device.core.ledger import SessionTotals, apply
from device.core.machine import step
from device.core.profile import Mode
from device.core.realtime_messages import EndReason, Loaded, StrokeStarted
from device.core.records import CommandTaken, PointMarked, Record
from device.core.region_plan import Tally
from device.core.session import Region
from device.core.treatment import magazine_size, next_shot_refusals, shots_left
from device.core.units import Increments, Nanoseconds
from tests.support.core import LAW, MS, SPEC, make_limits
from tests.support.machine import (
    ARM,
    ARMED,
    CHECKLIST,
    CONSOLES,
    DISARM,
    DISARMED,
    FILLED,
    LOADING,
    PROFILE,
    REPEAT,
    REQUEST,
    SESSION,
    SETTLING,
    SKIP,
    START_SESSION,
    UNDO,
    after,
    magazine_ended,
    records_in,
    reply_in,
    shot_report,
    shots_given,
)

READY = after(ARMED, DISARM, magazine_ended(EndReason.UNLOADED, opened=0, done=0), PositionRead(FILLED))
"""Disarmed in the session, the syringe filled, no shot given yet."""


def totals(console: Console) -> SessionTotals:
    assert console.ledger.session is not None
    return console.ledger.session


def armed(console: Console) -> Console:
    """Arm; refill where it is wanted; return the console with both keys in."""
    console = fed(*step(console, ARM))
    assert console.state is State.LOADING, console.state
    return loaded(console)


def fed(console: Console, effects: tuple[Any, ...]) -> Console:
    """Give the console what it draws for."""
    for effect in effects:
        if isinstance(effect, Refill):
            return after(console, RefillDone(effect.target))
    return console


def loaded(console: Console) -> Console:
    assert console.magazine is not None
    return after(console, PumpLoaded(console.magazine.magazine_id), Loaded(console.magazine.magazine_id))


def disarmed(console: Console) -> Console:
    """Take out what is loaded."""
    if console.state is State.SESSION:
        return console
    assert console.magazine is not None
    ended = magazine_ended(EndReason.UNLOADED, opened=0, done=0, magazine_id=console.magazine.magazine_id)
    return after(console, DISARM, ended, PositionRead(console.magazine.start))


def treated(shots: int) -> Console:
    """Return the session, disarmed, after so many whole shots."""
    return disarmed(shots_given(ARMED, shots))


def refusal(console: Console, command: Command) -> str:
    """Give a command that must be refused, and return the one reason."""
    after_, effects = step(console, command)
    assert after_ == replace(console, ledger=after_.ledger) == console
    (record,) = records_in(effects)
    assert isinstance(record, CommandTaken)
    reply = reply_in(effects)
    assert not reply.accepted
    (reason,) = reply.reasons
    return reason


def test_the_console_of_these_tests_is_disarmed_in_its_session() -> None:
    assert (READY.state, READY.armed, totals(READY).shots) == (State.SESSION, False, 0)


# --- the commands ---------------------------------------------------------------------------------------------------


def test_a_skip_is_written_down_and_the_next_shot_goes_behind_it() -> None:
    console, effects = step(READY, PointSkipRequested(REQUEST, points=2))
    assert effects == (
        Commit(
            (
                CommandTaken("point skip", uid=1000, pid=77, accepted=True, reason=""),
                PointMarked("s-1", "crown", point=1, points=2, mark="skipped", uid=1000),
            )
        ),
        Reply(REQUEST, accepted=True, reasons=()),
    )
    console = armed(console)
    assert console.magazine is not None
    assert (console.magazine.region, console.magazine.first_shot) == ("crown", 1)
    console = shots_given(console, 1)
    assert console.magazine is not None
    assert (console.magazine.region, console.magazine.first_shot) == ("temple", 2)


def test_a_repeat_is_given_to_the_last_point_by_a_fresh_press_alone() -> None:
    continuous = replace(PROFILE, mode=Mode.CONTINUOUS, interval_ns=Nanoseconds(2_000 * MS))
    console = after(DISARMED, replace(START_SESSION, profile=continuous), ARM, RefillDone(FILLED))
    console = shots_given_to(loaded(console), 3)
    assert console.magazine is not None
    assert console.magazine.region == "temple"

    console, effects = step(disarmed(console), REPEAT)

    assert records_in(effects)[1] == PointMarked("s-1", "crown", point=3, points=1, mark="repeat", uid=1000)
    console = armed(console)
    assert console.magazine is not None
    assert (console.magazine.region, len(console.magazine.shots), console.magazine.fresh_press) == ("crown", 1, True)
    console = shots_given_to(console, 1)
    assert console.magazine is not None
    assert (console.magazine.region, len(console.magazine.shots), console.magazine.fresh_press) == ("temple", 2, True)
    assert totals(console).progress.tallies()[0] == Tally(3, 3, 0, 1, ())


def shots_given_to(console: Console, shots: int) -> Console:
    """Fire a whole magazine of `shots` shots, and load the next one."""
    magazine = console.magazine
    assert magazine is not None
    assert len(magazine.shots) == shots
    number, moves = magazine.magazine_id, len(magazine.pump_program().moves)
    reports = [event for index in range(shots) for event in (StrokeStarted(number, index), shot_report(number, index))]
    ended = magazine_ended(opened=moves, done=moves, magazine_id=number)
    console = after(console, *reports, ended, PositionRead(magazine.pump_program().moves[-1].target))
    return loaded(console) if console.state is State.LOADING else console


def test_the_magazine_of_a_repeat_does_not_run_on_behind_it() -> None:
    console = treated(1)
    assert console.session is not None
    continuous = replace(console.session, profile=replace(console.session.profile, mode=Mode.CONTINUOUS))
    console = replace(console, session=replace(continuous, plan=replace(continuous.plan, most_shots=8)))
    sizes = []
    for each in (console, after(console, REPEAT)):
        magazine = after(each, ARM).magazine
        assert magazine is not None
        sizes.append((magazine.region, len(magazine.shots)))
    assert sizes == [("crown", 2), ("crown", 1)]


def test_a_repeat_within_a_region_wants_a_fresh_press_before_and_behind_it() -> None:
    console = armed(after(treated(1), REPEAT))
    assert console.magazine is not None
    assert (console.magazine.region, console.magazine.fresh_press) == ("crown", True)
    console = shots_given(console, 1)
    assert console.magazine is not None
    assert console.magazine.fresh_press
    console = shots_given(console, 1)
    assert console.magazine is not None
    assert not console.magazine.fresh_press


@pytest.mark.parametrize(
    ("before", "mark", "point", "points"),
    [
        (treated(1), "shot_undone", 1, 1),
        (after(READY, PointSkipRequested(REQUEST, 3)), "skip_undone", 1, 3),
        (after(treated(2), REPEAT), "repeat_undone", 2, 1),
    ],
)
def test_what_is_taken_back_is_named_and_no_dose_is(before: Console, mark: str, point: int, points: int) -> None:
    console, effects = step(before, UNDO)
    assert records_in(effects)[1] == PointMarked("s-1", "crown", point, points, mark, uid=1000)
    now, then = totals(console), totals(before)
    assert now == replace(then, progress=now.progress)
    assert now.progress == then.progress.undone()


def test_a_point_whose_shot_was_taken_back_is_given_again_and_both_shots_are_booked() -> None:
    console = shots_given(armed(after(treated(5), UNDO)), 1)
    assert (totals(console).shots, totals(console).volume_nl) == (6, 120_000)
    assert totals(console).progress.tallies() == (Tally(3, 3, 0, 0, ()), Tally(2, 2, 0, 0, ()))
    assert reply_in(step(console, ARM)[1]).reasons == ("all 5 planned points are treated or skipped: stop the session",)


@pytest.mark.parametrize(
    ("console", "command", "reason"),
    [
        (READY, PointSkipRequested(REQUEST, 4), "crown has 3 points left: skip 1 to 3"),
        (treated(2), PointSkipRequested(REQUEST, 2), "crown has 1 point left: skip 1 to 1"),
        (treated(1), PointSkipRequested(REQUEST, 3), "crown has 2 points left: skip 1 to 2"),
        (READY, PointSkipRequested(REQUEST, 0), "crown has 3 points left: skip 1 to 3"),
        (treated(5), SKIP, "all 5 planned points are treated or skipped"),
        (after(treated(1), REPEAT), SKIP, "a repeat waits for its shot: give it, or `mesogun point undo`"),
        (after(treated(1), REPEAT), REPEAT, "a repeat waits for its shot: give it, or `mesogun point undo`"),
        (READY, REPEAT, "the last mark is no shot: there is no point to repeat"),
        (after(treated(1), SKIP), REPEAT, "the last mark is no shot: there is no point to repeat"),
        (READY, UNDO, "there is no mark to take back"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_marked(console: Console, command: Command, reason: str) -> None:
    assert refusal(console, command) == reason


@pytest.mark.parametrize("command", [SKIP, REPEAT, UNDO])
def test_without_planned_points_there_is_nothing_to_mark(command: Command) -> None:
    unplanned = after(DISARMED, replace(START_SESSION, regions=()))
    assert refusal(unplanned, command) == "the session has no planned points: start it with --regions"
    lost = replace(SESSION, ledger=replace(SESSION.ledger, session=None))
    assert refusal(lost, command) == "the session has no planned points: start it with --regions"


@pytest.mark.parametrize("command", [SKIP, REPEAT, UNDO])
def test_an_unsettled_magazine_takes_its_points_first(command: Command) -> None:
    unsettled = replace(SESSION, ledger=LOADING.ledger)
    assert refusal(unsettled, command) == "the last magazine is not settled yet"


@pytest.mark.parametrize("command", [SKIP, REPEAT, UNDO])
@pytest.mark.parametrize("state", [state for state in State if state is not State.SESSION])
def test_what_is_loaded_is_never_marked(state: State, command: Command) -> None:
    reason = refusal(CONSOLES[state], command)
    assert reason == f"not possible in state {state.name.lower()}; possible in: session"


# --- what a shot does to its point ----------------------------------------------------------------------------------


def test_a_partial_shot_counts_for_its_point_and_is_listed() -> None:
    released = replace(shot_report(), opened=1, done=1, released=True)
    ended = magazine_ended(EndReason.RELEASED, opened=1, done=1)
    assert ARMED.magazine is not None
    place = PositionRead(ARMED.magazine.pump_program().moves[0].target)
    console = after(ARMED, StrokeStarted(1, 0), released, ended, place)
    assert totals(console).progress.tallies()[0] == Tally(3, 1, 0, 0, (1,))
    assert snapshot(console)["points_partial"] == 1


def test_a_shot_of_unknown_outcome_counts_for_its_point_and_is_listed() -> None:
    console = after(SETTLING, PositionRead(None))
    assert console.state is State.FAULT
    assert totals(console).progress.tallies()[0] == Tally(3, 1, 0, 0, (1,))
    assert totals(console).region_nl == (totals(console).volume_nl, 0)


# --- sound and light ------------------------------------------------------------------------------------------------


def ends_of_magazines(console: Console, shots: int) -> list[tuple[Any, ...]]:
    """Fire so many single shots; return the effects of each one's settlement."""
    found = []
    for _ in range(shots):
        assert console.magazine is not None
        number = console.magazine.magazine_id
        console = after(console, StrokeStarted(number, 0), shot_report(number), magazine_ended(magazine_id=number))
        console, effects = step(console, PositionRead(console.magazine.pump_program().moves[-1].target))  # type: ignore[union-attr]
        found.append(effects)
        if console.state is State.LOADING:
            console = loaded(console)
    return found


def test_the_next_region_is_told_by_sound_once_behind_the_load_and_the_end_by_another() -> None:
    effects = ends_of_magazines(ARMED, 5)
    heard = [[type(each) for each in one if isinstance(each, SoundRegion | SoundDone)] for one in effects]
    assert heard == [[], [], [SoundRegion], [], [SoundDone]]
    assert effects[2][-1] == SoundRegion()


def test_a_region_that_ends_in_a_refill_is_told_once() -> None:
    console = after(shots_given(ARMED, 2), StrokeStarted(3, 0), shot_report(3), magazine_ended(magazine_id=3))
    magazine, intent = console.magazine, console.ledger.open_intent
    assert magazine is not None
    assert intent is not None
    # The same shot from far below: what is left does not hold another one.
    lower = magazine.start - 500
    low = replace(
        intent, start=intent.start - lower, low_water=0 + 500, targets=[target - lower for target in intent.targets]
    )
    ledger = replace(console.ledger, open_intent=low, position=500, low_water=500)
    console, effects = step(replace(console, ledger=ledger), PositionRead(Increments(low.targets[-1])))
    assert (console.state, effects[-1]) == (State.REFILLING, SoundRegion())
    console, effects = step(console, RefillDone(FILLED))
    assert console.state is State.LOADING
    assert SoundRegion() not in effects


def test_a_region_ended_by_disarming_is_not_told_by_sound() -> None:
    console = shots_given(ARMED, 2)
    assert console.magazine is not None
    number, end = console.magazine.magazine_id, console.magazine.pump_program().moves[-1].target
    console = after(console, StrokeStarted(number, 0), shot_report(number), DISARM, magazine_ended(magazine_id=number))
    console, effects = step(console, PositionRead(end))
    assert console.state is State.SESSION
    assert SoundRegion() not in effects


# --- guidance -------------------------------------------------------------------------------------------------------


def test_the_operator_is_told_region_point_and_what_is_next() -> None:
    shown = snapshot(shots_given(ARMED, 1))
    assert (shown["region"], shown["point"], shown["region_points"], shown["region_left"]) == ("crown", 2, 3, 2)
    assert (shown["points_given"], shown["points_missed"], shown["points_doubled"]) == (1, 0, 0)
    shown = snapshot(after(treated(3), REPEAT))
    assert (shown["region"], shown["point"], shown["point_repeat"]) == ("crown", 3, True)
    shown = snapshot(after(treated(4), SKIP))
    assert (shown["region"], shown["point"], shown["points_missed"], shown["next_action"]) == ("", 0, 1, "stop_session")


@pytest.mark.parametrize(
    ("console", "action"),
    [
        (DISARMED, "none"),
        (SESSION, "arm"),
        (LOADING, "wait"),
        (ARMED, "press"),
        (CONSOLES[State.FIRING], "press"),
        (CONSOLES[State.FAULT], "clear_fault"),
        (treated(5), "stop_session"),
        (replace(treated(1), spec=replace(SPEC, soft=SoftLimits(session_shots=1))), "override"),
        (replace(treated(5), spec=replace(SPEC, soft=SoftLimits(session_shots=1))), "stop_session"),
        (replace(treated(1), spec=replace(SPEC, limits=replace(SPEC.limits, needle_shots=1))), "change_needle"),
        (after(SESSION, PauseRequested(REQUEST)), "resume_session"),
        (after(SESSION, ChangeNeedleRequested(REQUEST, "n-2")), "prime"),
        (replace(SESSION, homed=False), "home"),
        (after(replace(SESSION, initialised=False), ChangeNeedleRequested(REQUEST, "n-2")), "home"),
        (after(DISARMED, replace(START_SESSION, checklist=CHECKLIST)), "confirm_checklist"),
    ],
)
def test_the_next_action_follows_the_state(console: Console, action: str) -> None:
    assert next_action(console) == action


def test_what_arming_refuses_status_tells_before() -> None:
    lost = replace(SESSION, homed=False, initialised=False)
    reasons = reply_in(step(lost, ARM)[1]).reasons
    assert len(reasons) == 2
    assert refusals(lost, 0) == list(reasons)


def test_evenness_is_told_region_by_region_with_the_volume_by_area_where_it_is_known() -> None:
    opened = measured(limit_nl_per_cm2=40_000)
    console = shots_given(armed(after(opened, SKIP)), 2)
    crown, temple = region_list(console)
    assert (crown["region"], crown["points"], crown["given"], crown["missed"]) == ("crown", 5, 2, 1)
    assert (crown["booked_nl"], crown["area_mm2"], crown["nl_per_cm2"]) == (40_000, 400, 10_000)
    assert (temple["nl_per_cm2"], temple["grid"], temple["partial_points"]) == (-1, "", [])
    assert region_list(DISARMED) == []


# --- limits ---------------------------------------------------------------------------------------------------------


def measured(*, limit_nl_per_cm2: int, area_mm2: int = 400) -> Console:
    """Return a session on a measured crown of five points and a temple of two."""
    console = replace(DISARMED, spec=replace(SPEC, limits=make_limits(region_nl_per_cm2=limit_nl_per_cm2)))
    return after(console, replace(START_SESSION, regions=(Region("crown", 5, area_mm2, 9_000), Region("temple", 2))))


def test_a_full_region_refuses_its_points_and_the_next_region_is_reached_by_skipping() -> None:
    console = shots_given(armed(measured(limit_nl_per_cm2=10_000)), 2)
    assert (console.state, next_action(console)) == (State.SESSION, "skip_points")
    (reason,) = reply_in(step(console, ARM)[1]).reasons
    assert reason.startswith("40 uL given on the 4 cm2 of crown, the next shot would reach 15 uL per cm2")
    console = shots_given(armed(after(console, PointSkipRequested(REQUEST, 3))), 1)
    assert totals(console).region_nl == (40_000, 20_000)


def test_a_repeat_counts_in_its_region_and_is_refused_when_that_is_full() -> None:
    console = disarmed(shots_given(armed(measured(limit_nl_per_cm2=25_000)), 5))
    assert console.session is not None
    assert next_shot_refusals(console, console.session) == ()
    console = after(console, REPEAT)
    (reason,) = reply_in(step(console, ARM)[1]).reasons
    assert "100 uL given on the 4 cm2 of crown" in reason
    assert next_shot_refusals(after(console, UNDO), console.session) == ()  # type: ignore[arg-type]


def test_without_totals_a_region_s_volume_counts_from_nothing() -> None:
    console = measured(limit_nl_per_cm2=4_999)
    assert console.session is None
    opened = measured(limit_nl_per_cm2=5_000)
    assert opened.session is not None
    unrecorded = replace(opened, ledger=replace(opened.ledger, session=None))
    assert next_shot_refusals(unrecorded, opened.session) == ()
    assert [one.code for one in next_shot_refusals(unrecorded, opened.session, 1)] == ["region_density"]


def test_a_measured_region_behind_counts_only_when_its_shots_come() -> None:
    console = replace(DISARMED, spec=replace(SPEC, limits=make_limits(region_nl_per_cm2=1)))
    regions = (Region("crown", 2), Region("temple", 2, 100, 5_000))
    console = after(console, replace(START_SESSION, regions=regions))
    assert console.session is not None
    left, limit = shots_left(console, console.session)
    assert (left, limit.code) == (2, "region_density")


@LAW
@given(st.integers(1_000, 40_000), st.integers(0, 3), st.booleans(), st.integers(0, 2))
def test_the_shots_that_are_left_before_a_region_is_full_are_those_before_the_first_refusal(
    limit: int, skipped: int, again: bool, shots: int
) -> None:
    console = measured(limit_nl_per_cm2=40_000)
    console = disarmed(shots_given(armed(console), shots)) if shots else console
    console = after(console, PointSkipRequested(REQUEST, skipped), *((REPEAT,) if again else ()))
    console = replace(console, spec=replace(SPEC, limits=make_limits(region_nl_per_cm2=limit)))
    session = console.session
    assert session is not None
    left, first = shots_left(console, session)
    refused = [bool(next_shot_refusals(console, session, more)) for more in range(left + 3)]
    assert refused == [False] * left + [True] * 3
    assert first == next_shot_refusals(console, session, left)[0]


def test_a_magazine_holds_no_more_than_its_region_takes() -> None:
    console = measured(limit_nl_per_cm2=10_000)
    assert console.session is not None
    profile = replace(PROFILE, mode=Mode.CONTINUOUS, interval_ns=Nanoseconds(2_000 * MS))
    console = replace(console, session=replace(console.session, profile=profile))
    assert magazine_size(console.session, 5) > 2  # type: ignore[arg-type]
    console = fed(*step(console, ARM))
    assert console.magazine is not None
    assert len(console.magazine.shots) == 2


# --- laws -----------------------------------------------------------------------------------------------------------


class Walk:
    """A console that is walked, and all that it writes down."""

    def __init__(self, limit_nl_per_cm2: int) -> None:
        self.limits = make_limits(region_nl_per_cm2=limit_nl_per_cm2, session_shots=6)
        self.console = replace(DISARMED, spec=replace(SPEC, limits=self.limits))
        self.written: list[Record] = []
        self.shots = 0
        crown, temple = (Region("crown", 3, 400, 10_000), Region("temple", 2, 300, 10_000))
        self.do(replace(START_SESSION, regions=(crown, temple)))

    def do(self, *events: Event) -> None:
        for event in events:
            self.console, effects = step(self.console, event)
            self.written += records_in(effects)

    def fire(self) -> None:
        """Arm, where that is allowed, and give one whole shot."""
        if self.console.state is State.SESSION:
            self.do(ARM)
        if self.console.state is State.REFILLING:
            self.do(RefillDone(FILLED))
        magazine = self.console.magazine
        if magazine is None:
            return
        number = magazine.magazine_id
        if self.console.state is State.LOADING:
            self.do(PumpLoaded(number), Loaded(number))
        self.do(StrokeStarted(number, 0), shot_report(number), magazine_ended(magazine_id=number))
        self.do(PositionRead(magazine.pump_program().moves[-1].target))
        self.shots += 1

    def put_away(self) -> None:
        """Disarm and take out what is loaded."""
        magazine = self.console.magazine
        if magazine is None:
            return
        number = magazine.magazine_id
        if self.console.state is State.LOADING:
            self.do(PumpLoaded(number), Loaded(number))
        self.do(DISARM, magazine_ended(EndReason.UNLOADED, opened=0, done=0, magazine_id=number))
        self.do(PositionRead(magazine.start))


@LAW
@given(
    st.lists(st.one_of(st.just("shot"), st.sampled_from([REPEAT, UNDO]), st.integers(1, 3)), max_size=14),
    st.integers(5_000, 40_000),
)
def test_no_marks_change_a_dose_or_let_a_shot_pass_a_limit(walk: list[Any], limit: int) -> None:
    gun = Walk(limit)
    for act in walk:
        if act == "shot":
            gun.fire()
        else:
            gun.put_away()
            unmarked = totals(gun.console)
            gun.do(PointSkipRequested(REQUEST, act) if isinstance(act, int) else act)
            assert totals(gun.console) == replace(unmarked, progress=totals(gun.console).progress)
        booked = totals(gun.console)
        assert (booked.shots, booked.volume_nl) == (gun.shots, gun.shots * 20_000)
        assert gun.shots <= gun.limits.session_shots
        assert sum(booked.region_nl) == booked.volume_nl
        for booked_nl, area_mm2 in zip(booked.region_nl, (400, 300), strict=True):
            assert booked_nl * 100 <= limit * area_mm2
    # A restart folds what was written to the same ledger.
    assert reduce(apply, gun.written, DISARMED.ledger) == gun.console.ledger
