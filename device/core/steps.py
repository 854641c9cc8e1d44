"""What the machine's handlers share: a step's form, booking, answering, and the way back from an operation."""

from dataclasses import replace

from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    Exit,
    Reply,
)
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
    FaultClearRequested,
    HomeRequested,
    OverrideRequested,
    PauseRequested,
    PointRepeatRequested,
    PointSkipRequested,
    PointUndoRequested,
    PrimeRequested,
    Request,
    ResumeRequested,
    RollBackRequested,
    SessionStartRequested,
    SessionStopRequested,
)
from device.core.ledger import apply
from device.core.records import (
    START_COMMAND,
    CommandTaken,
    Record,
)

Step = tuple[Console, tuple[Effect, ...]]


COMMAND_NAMES: dict[type[Command], str] = {
    HomeRequested: "home",
    CalibrateRequested: "calibrate",
    RollBackRequested: "formulary roll-back",
    PrimeRequested: "prime",
    SessionStartRequested: START_COMMAND,
    OverrideRequested: "override",
    SessionStopRequested: "session stop",
    ArmRequested: "arm",
    DisarmRequested: "disarm",
    FaultClearRequested: "fault clear",
    AlarmSilenceRequested: "alarm silence",
    PointSkipRequested: "point skip",
    PointRepeatRequested: "point repeat",
    PointUndoRequested: "point undo",
    CheckRequested: "session check",
    PauseRequested: "session pause",
    ResumeRequested: "session resume",
    ChangeVialRequested: "change vial",
    ChangeNeedleRequested: "change needle",
    ChangeSyringeRequested: "change syringe",
}


def book(console: Console, *records: Record) -> Console:
    """Return the console with `records` in its ledger; the caller commits the same records."""
    ledger = console.ledger
    for record in records:
        ledger = apply(ledger, record)
    return replace(console, ledger=ledger)


def command_record(name: str, request: Request, reasons: tuple[str, ...] = ()) -> CommandTaken:
    """Return the audit record of a command; refused when there are reasons."""
    return CommandTaken(
        command=name,
        uid=request.uid,
        pid=request.pid,
        accepted=not reasons,
        reason="; ".join(reasons),
        at_ms=request.at_ms,
    )


def commit(records: tuple[Record, ...]) -> tuple[Effect, ...]:
    """Return the effects that commit `records`; none when there are none."""
    return (Commit(records),) if records else ()


def prepend(effects: tuple[Effect, ...], result: Step) -> Step:
    """Return `result` with `effects` in front of its own."""
    return result[0], (*effects, *result[1])


def back(console: Console, *effects: Effect) -> Step:
    """End an operation: to the session or to disarmed; answers whoever waits, and exits if that was asked."""
    if console.pending is not None:
        effects = (*effects, Reply(console.pending, accepted=True, reasons=()))
    if console.stopping:
        effects = (*effects, Exit())
    state = State.SESSION if console.session is not None else State.DISARMED
    return replace(console, state=state, pending=None, armed=False), effects


def given_up(console: Console, reason: str) -> Step:
    """Give up what is being loaded or drawn for, and tell who waits for it why."""
    answer = (Reply(console.pending, accepted=False, reasons=(reason,)),) if console.pending is not None else ()
    return replace(console, armed=False, prime_nl=0, pending=None), answer


def refused(console: Console, event: Command, reasons: tuple[str, ...]) -> Step:
    """Refuse a command with every reason; the journal keeps the attempt."""
    request = event.request
    record = command_record(COMMAND_NAMES[type(event)], request, reasons)
    return book(console, record), (Commit((record,)), Reply(request, accepted=False, reasons=reasons))


def turned_down(records: tuple[Record, ...], reasons: tuple[str, ...]) -> tuple[Record, ...]:
    """Return `records` with a command among them as refused: its sender is told `reasons` in the same step."""
    return tuple(
        replace(record, accepted=False, reason="; ".join(reasons)) if isinstance(record, CommandTaken) else record
        for record in records
    )


def taken(event: Command) -> Record:
    """Return the audit record of an accepted command."""
    return command_record(COMMAND_NAMES[type(event)], event.request)
