"""The controller's state machine: one table over (state, event), pure.

`step(console, event)` returns the next console and the effects to carry out in order. Every pair is listed in
`TABLE`, or is explicitly ignored (`IGNORED`), or is a command that is refused with the states that allow it, or is a
fault. Rules it lives by: the intent is committed before the load; outcomes before the next intent; a fault's safety
acts come before its record; nothing moves by itself after a start.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

from device.core.changes import change_needle, change_syringe, change_vial
from device.core.console import Console, State
from device.core.events import (
    AlarmSilenceRequested,
    ArmRequested,
    CalibrateRequested,
    ChangeNeedleRequested,
    ChangeSyringeRequested,
    ChangeVialRequested,
    CheckRequested,
    Command,
    DisarmRequested,
    Event,
    FaultClearRequested,
    FaultOccurred,
    Happening,
    HomeRequested,
    OverrideRequested,
    PauseRequested,
    PlungerAtTop,
    PointRepeatRequested,
    PointSkipRequested,
    PointUndoRequested,
    PositionRead,
    PrimeRequested,
    PumpLoaded,
    PumpProbed,
    RealtimeRestarted,
    RefillDone,
    ResumeRequested,
    RollBackRequested,
    SessionStartRequested,
    SessionStopRequested,
    ShutdownRequested,
    Started,
)
from device.core.faults import Fault
from device.core.firing import (
    already_armed,
    arm,
    disarm,
    magazine_ended,
    magazine_loaded,
    position_read,
    pump_loaded,
    shot_reported,
    stroke_started,
    unchanged,
)
from device.core.operations import (
    home,
    needle_homed,
    plunger_at_top,
    prime,
    refill_done,
    session_start,
    session_stop,
    started,
    test_probed,
    test_ready,
)
from device.core.overriding import override
from device.core.patient_day import UNKNOWN_MS
from device.core.points import point_repeat, point_skip, point_undo
from device.core.presses import press_ignored, with_untold
from device.core.realtime_messages import (
    Faulted,
    Homed,
    Loaded,
    MagazineEnded,
    PressIgnored,
    Ready,
    Report,
    ShotReport,
    StrokeStarted,
)
from device.core.safety import (
    alarm_silence,
    fault,
    fault_clear,
    fault_homed,
    fault_occurred,
    fault_position_read,
    faulted,
    realtime_ready,
    restarted,
    shutdown,
)
from device.core.session_care import check, pause, resume
from device.core.steps import Step, refused
from device.core.upkeep import calibrate, roll_back

COMMANDS: tuple[type[Command], ...] = get_args(Command)
EVENTS: tuple[type[Event], ...] = (*COMMANDS, *get_args(Happening), *get_args(Report))


def step(console: Console, event: Event) -> Step:
    """Return the next console and its effects. Total: defined for every state and event, never raises on them."""
    return with_untold(console, _step(_at(console, event), event))


def _at(console: Console, event: Event) -> Console:
    """Return `console` with the wall clock that `event` tells, if it tells one."""
    at_ms = UNKNOWN_MS
    if isinstance(event, COMMANDS):
        at_ms = event.request.at_ms
    elif isinstance(event, PositionRead):
        at_ms = event.at_ms
    return replace(console, now_ms=at_ms) if at_ms != UNKNOWN_MS else console


def _step(console: Console, event: Event) -> Step:
    transition = TABLE.get((console.state, type(event)))
    if transition is not None:
        return transition.handler(console, event)
    if (console.state, type(event)) in IGNORED:
        return console, ()
    if isinstance(event, COMMANDS):
        return refused(console, event, _why_not_now(console, type(event)))
    return fault(console, Fault.INTERNAL, f"unexpected {type(event).__name__} in state {console.state.name.lower()}")


def _why_not_now(console: Console, command: type[Command]) -> tuple[str, ...]:
    allowed = ", ".join(state.name.lower() for state, kind in TABLE if kind is command)
    return (f"not possible in state {console.state.name.lower()}; possible in: {allowed}",)


Handler = Callable[[Console, Any], Step]


@dataclass(frozen=True, slots=True)
class Transition:
    """What handles an event in a state, and the states it can lead to (besides FAULT, which everything can)."""

    handler: Handler
    to: tuple[State, ...]


def _on(handler: Handler, *to: State) -> Transition:
    return Transition(handler, to)


_EVERY = tuple(State)
_DISARMING = (State.SESSION, State.REFILLING, State.LOADING, State.ARMED, State.FIRING, State.SETTLING)
"""Where the operator can say that nothing more shall be fired."""

_LOADED = (State.LOADING, State.REFILLING, State.SESSION)
"""Where asking for the next magazine can lead: it is loaded, drawn for, or a limit is reached."""

TABLE: dict[tuple[State, type[Event]], Transition] = {
    (State.STARTING, Started): _on(started, State.SELF_TEST),
    (State.SELF_TEST, PumpProbed): _on(test_probed, State.SELF_TEST),
    (State.SELF_TEST, Ready): _on(test_ready, State.DISARMED, State.SESSION, State.SELF_TEST),
    (State.SELF_TEST, Homed): _on(fault_homed, State.SELF_TEST),
    (State.SELF_TEST, PositionRead): _on(fault_position_read, State.SELF_TEST),
    (State.DISARMED, HomeRequested): _on(home, State.HOMING, State.DISARMED),
    (State.DISARMED, CalibrateRequested): _on(calibrate, State.DISARMED),
    (State.DISARMED, RollBackRequested): _on(roll_back, State.DISARMED),
    (State.DISARMED, SessionStartRequested): _on(session_start, State.SESSION, State.DISARMED),
    (State.HOMING, Homed): _on(needle_homed, State.HOMING, State.DISARMED, State.SESSION),
    (State.HOMING, PlungerAtTop): _on(plunger_at_top, State.DISARMED, State.SESSION),
    (State.SESSION, HomeRequested): _on(home, State.HOMING, State.SESSION),
    (State.SESSION, CalibrateRequested): _on(calibrate, State.SESSION),
    (State.SESSION, RollBackRequested): _on(roll_back, State.SESSION),
    (State.SESSION, CheckRequested): _on(check, State.SESSION),
    (State.SESSION, ResumeRequested): _on(resume, State.SESSION),
    (State.SESSION, ChangeVialRequested): _on(change_vial, State.SESSION),
    (State.SESSION, ChangeNeedleRequested): _on(change_needle, State.SESSION),
    (State.SESSION, ChangeSyringeRequested): _on(change_syringe, State.HOMING, State.SESSION),
    (State.SESSION, PrimeRequested): _on(prime, State.PRIMING, State.REFILLING, State.SESSION),
    (State.SESSION, OverrideRequested): _on(override, State.SESSION),
    (State.SESSION, SessionStopRequested): _on(session_stop, State.DISARMED),
    (State.SESSION, ArmRequested): _on(arm, *_LOADED),
    (State.SESSION, PointSkipRequested): _on(point_skip, State.SESSION),
    (State.SESSION, PointRepeatRequested): _on(point_repeat, State.SESSION),
    (State.SESSION, PointUndoRequested): _on(point_undo, State.SESSION),
    (State.REFILLING, RefillDone): _on(refill_done, State.PRIMING, *_LOADED),
    (State.PRIMING, PumpLoaded): _on(pump_loaded, State.PRIMING),
    (State.PRIMING, Loaded): _on(unchanged, State.PRIMING),
    (State.PRIMING, StrokeStarted): _on(unchanged, State.PRIMING),
    (State.PRIMING, ShotReport): _on(unchanged, State.PRIMING),
    (State.PRIMING, MagazineEnded): _on(magazine_ended, State.PRIMING),
    (State.PRIMING, PositionRead): _on(position_read, State.SESSION),
    (State.LOADING, PumpLoaded): _on(pump_loaded, State.LOADING, State.SETTLING),
    (State.LOADING, Loaded): _on(magazine_loaded, State.ARMED),
    (State.ARMED, StrokeStarted): _on(stroke_started, State.FIRING),
    (State.ARMED, MagazineEnded): _on(magazine_ended, State.SETTLING, State.ARMED),
    (State.FIRING, StrokeStarted): _on(stroke_started, State.FIRING),
    (State.FIRING, ShotReport): _on(shot_reported, State.FIRING),
    (State.FIRING, MagazineEnded): _on(magazine_ended, State.SETTLING, State.FIRING),
    (State.SETTLING, PositionRead): _on(position_read, *_LOADED),
    (State.FAULT, Started): _on(started, State.FAULT),
    (State.FAULT, FaultClearRequested): _on(fault_clear, State.SELF_TEST),
    (State.FAULT, PositionRead): _on(fault_position_read, State.FAULT),
    (State.FAULT, ShotReport): _on(shot_reported, State.FAULT),
    (State.FAULT, MagazineEnded): _on(magazine_ended, State.FAULT),
    (State.FAULT, Ready): _on(realtime_ready, State.FAULT),
    (State.FAULT, Homed): _on(fault_homed, State.FAULT),
    **{(state, ArmRequested): _on(already_armed, state) for state in (State.LOADING, State.ARMED, State.FIRING)},
    **{(state, DisarmRequested): _on(disarm, state) for state in _DISARMING},
    **{(state, PauseRequested): _on(pause, state) for state in _DISARMING},
    **{(state, Ready): _on(realtime_ready, state) for state in (State.SETTLING, State.SESSION, State.DISARMED)},
    **{(state, AlarmSilenceRequested): _on(alarm_silence, state) for state in _EVERY},
    **{(state, PressIgnored): _on(press_ignored, state) for state in _EVERY},
    # A fault that does not latch ends in the session, once it is known what was given.
    **{(state, Faulted): _on(faulted, State.FAULT, State.SETTLING) for state in _EVERY},
    **{(state, FaultOccurred): _on(fault_occurred, State.FAULT, State.SETTLING) for state in _EVERY},
    **{(state, RealtimeRestarted): _on(restarted, state) for state in _EVERY},
    **{(state, ShutdownRequested): _on(shutdown, state) for state in _EVERY},
}

# Results of operations that a fault has overtaken (the fault's own read-back says what came of them), and the answer to
# a second self-test when the first was good.
IGNORED: frozenset[tuple[State, type[Event]]] = frozenset(
    [
        (State.FAULT, PumpProbed),
        (State.FAULT, PumpLoaded),
        (State.FAULT, RefillDone),
        (State.FAULT, PlungerAtTop),
        (State.FAULT, Loaded),
        (State.FAULT, StrokeStarted),
        (State.DISARMED, PumpProbed),
        (State.SESSION, PumpProbed),
    ]
)
