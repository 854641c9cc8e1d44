"""The controller's state machine: one table over (state, event), pure.

`step(console, event)` returns the next console and the effects to carry out in order. Every pair is listed in
`TABLE`, or is explicitly ignored (`IGNORED`), or is a command that is refused with the states that allow it, or is a
fault. Rules it lives by: the intent is committed before the load; outcomes before the next intent; a fault's safety
acts come before its record; nothing moves by itself after a start.
"""

from collections.abc import Callable
from typing import Any, get_args

from device.core.console import Console, State
from device.core.events import (
    ArmRequested,
    Command,
    DisarmRequested,
    Event,
    FaultClearRequested,
    FaultOccurred,
    Happening,
    HomeRequested,
    PlungerAtTop,
    PositionRead,
    PrimeRequested,
    PumpLoaded,
    PumpProbed,
    RealtimeRestarted,
    RefillDone,
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
    press_ignored,
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
    fault,
    fault_clear,
    fault_homed,
    fault_occurred,
    fault_position_read,
    fault_ready,
    faulted,
    realtime_ready,
    restarted,
    shutdown,
)
from device.core.steps import Step, refused

COMMANDS: tuple[type[Command], ...] = get_args(Command)
EVENTS: tuple[type[Event], ...] = (*COMMANDS, *get_args(Happening), *get_args(Report))


def step(console: Console, event: Event) -> Step:
    """Return the next console and its effects. Total: defined for every state and event, never raises on them."""
    handler = TABLE.get((console.state, type(event)))
    if handler is not None:
        return handler(console, event)
    if (console.state, type(event)) in IGNORED:
        return console, ()
    if isinstance(event, COMMANDS):
        return refused(console, event, _why_not_now(console, type(event)))
    return fault(console, Fault.INTERNAL, f"unexpected {type(event).__name__} in state {console.state.name.lower()}")


def _why_not_now(console: Console, command: type[Command]) -> tuple[str, ...]:
    allowed = ", ".join(state.name.lower() for state, kind in TABLE if kind is command)
    return (f"not possible in state {console.state.name.lower()}; possible in: {allowed}",)


Handler = Callable[[Console, Any], Step]
_EVERY = tuple(State)

TABLE: dict[tuple[State, type[Event]], Handler] = {
    (State.STARTING, Started): started,
    (State.SELF_TEST, Ready): test_ready,
    (State.SELF_TEST, PumpProbed): test_probed,
    (State.DISARMED, HomeRequested): home,
    (State.DISARMED, SessionStartRequested): session_start,
    (State.HOMING, Homed): needle_homed,
    (State.HOMING, PlungerAtTop): plunger_at_top,
    (State.SESSION, HomeRequested): home,
    (State.SESSION, PrimeRequested): prime,
    (State.SESSION, SessionStopRequested): session_stop,
    (State.SESSION, ArmRequested): arm,
    (State.REFILLING, RefillDone): refill_done,
    (State.PRIMING, PumpLoaded): pump_loaded,
    (State.PRIMING, Loaded): unchanged,
    (State.PRIMING, StrokeStarted): unchanged,
    (State.PRIMING, ShotReport): unchanged,
    (State.PRIMING, MagazineEnded): magazine_ended,
    (State.PRIMING, PositionRead): position_read,
    (State.LOADING, PumpLoaded): pump_loaded,
    (State.LOADING, Loaded): magazine_loaded,
    (State.ARMED, StrokeStarted): stroke_started,
    (State.ARMED, MagazineEnded): magazine_ended,
    (State.FIRING, StrokeStarted): stroke_started,
    (State.FIRING, ShotReport): shot_reported,
    (State.FIRING, MagazineEnded): magazine_ended,
    (State.SETTLING, PositionRead): position_read,
    (State.FAULT, FaultClearRequested): fault_clear,
    (State.FAULT, PositionRead): fault_position_read,
    (State.FAULT, ShotReport): shot_reported,
    (State.FAULT, MagazineEnded): magazine_ended,
    (State.FAULT, Ready): fault_ready,
    (State.FAULT, Homed): fault_homed,
    **{(state, ArmRequested): already_armed for state in (State.LOADING, State.ARMED, State.FIRING)},
    **{
        (state, DisarmRequested): disarm
        for state in (State.SESSION, State.REFILLING, State.LOADING, State.ARMED, State.FIRING, State.SETTLING)
    },
    **{(state, Ready): realtime_ready for state in (State.SETTLING, State.SESSION, State.DISARMED)},
    **{(state, PressIgnored): press_ignored for state in _EVERY},
    **{(state, Faulted): faulted for state in _EVERY},
    **{(state, FaultOccurred): fault_occurred for state in _EVERY},
    **{(state, RealtimeRestarted): restarted for state in _EVERY},
    **{(state, ShutdownRequested): shutdown for state in _EVERY},
}

# Results of operations that a fault has overtaken: the fault's own read-back says what came of them.
IGNORED: frozenset[tuple[State, type[Event]]] = frozenset(
    [
        (State.FAULT, PumpProbed),
        (State.FAULT, PumpLoaded),
        (State.FAULT, RefillDone),
        (State.FAULT, PlungerAtTop),
        (State.FAULT, Loaded),
        (State.FAULT, StrokeStarted),
    ]
)
