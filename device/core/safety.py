"""Handlers for what goes wrong, and for the end: make safe first, then record, signal, and find out what was given."""

from dataclasses import replace

from device.core.booking import settled
from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    Exit,
    Note,
    ProbePump,
    ReadPosition,
    Reply,
    Send,
    SilenceAlarm,
    SoundAlarm,
    TerminatePump,
)
from device.core.events import (
    AlarmSilenceRequested,
    FaultClearRequested,
    FaultOccurred,
    PositionRead,
    RealtimeRestarted,
    ShutdownRequested,
)
from device.core.faults import CATALOGUE, Fault
from device.core.realtime_messages import (
    Faulted,
    Halt,
    Homed,
    Ready,
    Reset,
    Unload,
)
from device.core.records import (
    FaultRaised,
    FaultsCleared,
)
from device.core.steps import Step, book, given_up, prepend, refused, taken

SHUTTING_DOWN = "the gun is shutting down"
"""What a command is told that the end has overtaken."""


def uncertain(magazine_id: int, event: PositionRead) -> tuple[Fault, str]:
    """Return the fault and the words for what is not certain: the position is lost, or fits no course, or several."""
    if event.position is None:
        return Fault.DOSE_UNCERTAIN, f"magazine {magazine_id}: the plunger's position is lost; the most is booked"
    return (
        Fault.PUMP_POSITION_MISMATCH,
        f"magazine {magazine_id}: the plunger stands at {event.position}, from which it cannot be told what was given",
    )


def fault(console: Console, occurred: Fault, detail: str, *, halt: bool = True) -> Step:
    """Make safe, then record, signal, and find out what was given. A fault that does not latch ends in the session."""
    if console.state is State.FAULT and occurred.value in console.ledger.faults:
        done = console.stopping and console.ledger.open_intent is None
        return console, (Exit(),) if done else ()
    meaning = CATALOGUE[occurred]
    latched = meaning.latched or console.state is State.FAULT or console.ledger.open_intent is None
    record = FaultRaised(
        code=occurred.value,
        name=occurred.name.lower(),
        priority=meaning.priority.value,
        latched=latched,
        detail=detail,
        session_id=console.session.session_id if console.session is not None else "",
    )
    safety: list[Effect] = [Send(Halt(occurred))] if halt else []
    if console.state not in (State.STARTING, State.SELF_TEST):
        safety.append(TerminatePump())
    if not latched:
        safety.append(Send(Reset()))
    # The journal itself has just failed: not tried again at once, but told with whatever can be written next.
    after: list[Effect] = [Note(record) if occurred is Fault.JOURNAL_WRITE_FAILED else Commit((record,))]
    if not latched:
        # It is over when it is told. A latched one is signalled for as long as the ledger holds it.
        after.append(SoundAlarm(meaning.priority))
    if console.pending is not None:
        reason = f"fault {occurred.value}: {meaning.title} ({detail}); {meaning.action}"
        after.append(Reply(console.pending, accepted=False, reasons=(reason,)))
    if console.ledger.open_intent is not None and console.state is not State.SELF_TEST:
        after.append(ReadPosition(complete=False))
    elif console.stopping:
        after.append(Exit())
    state = State.FAULT if latched else State.SETTLING
    console = replace(
        book(console, record),
        state=state,
        armed=False,
        pending=None,
        prime_nl=0,
        plunger_wanted=False,
    )
    return console, (*safety, *after)


def faulted(console: Console, event: Faulted) -> Step:
    """The real-time process has made itself safe already."""
    console = replace(console, ready=False, homed=event.homed)
    return fault(console, event.fault, f"needle at step {event.detail}", halt=False)


def fault_occurred(console: Console, event: FaultOccurred) -> Step:
    """An effect, a driver or the supervision found a fault; a lost real-time process cannot be halted."""
    lost = event.fault is Fault.REALTIME_LOST
    console = replace(console, ready=False, homed=console.homed and not lost)
    return fault(console, event.fault, event.detail, halt=not lost)


def fault_position_read(console: Console, event: PositionRead) -> Step:
    """Settle in a fault: with a position at once; without one only the self-test after the clearing can."""
    intent = console.ledger.open_intent
    effects: tuple[Effect, ...] = ()
    if intent is not None and event.position is not None:
        console, records, certain = settled(console, intent, event.position)
        effects = (Commit(tuple(records)),)
        if not certain:
            return prepend(effects, fault(console, *uncertain(intent.magazine_id, event)))
    return console, (*effects, Exit()) if console.stopping else effects


def fault_clear(console: Console, event: FaultClearRequested) -> Step:
    """Clear the latched faults; the self-test decides whether they are gone."""
    cleared = FaultsCleared(codes=list(console.ledger.faults), uid=event.request.uid)
    console = replace(book(console, cleared), state=State.SELF_TEST, probed=False, pending=event.request)
    return console, (Commit((taken(event), cleared)), ProbePump())


def alarm_silence(console: Console, event: AlarmSilenceRequested) -> Step:
    """Pause the alarm's sound; the record comes after, so that a full disk's own alarm can be silenced as well."""
    if not console.ledger.faults:
        return refused(console, event, ("no alarm is active",))
    return console, (SilenceAlarm(), Commit((taken(event),)), Reply(event.request, accepted=True, reasons=()))


def realtime_ready(console: Console, event: Ready) -> Step:
    """The real-time process is out of its safe mode again after a fault that does not latch."""
    return replace(console, ready=True, homed=event.homed), ()


def fault_homed(console: Console, event: Homed) -> Step:
    """The needle is out."""
    return replace(console, homed=True), ()


def restarted(console: Console, event: RealtimeRestarted) -> Step:
    """A new real-time process: its supervision has told it to take the needle out, in front of all that it obeys."""
    console = replace(console, ready=False, homed=False)
    if console.state is State.SELF_TEST and console.probed:
        # The test's own Reset may be lost with the old one: the test begins again, and its answer counts.
        return replace(console, probed=False), (ProbePump(),)
    if console.state is State.SELF_TEST:
        # Obeyed when the needle is out.
        return console, (Send(Reset()),)
    if console.state in (State.STARTING, State.FAULT):
        return console, ()
    # The loss was cleared before this process was there: it was tested in front of its rescue, which ends in safe mode.
    return fault(console, Fault.REALTIME_LOST, "tested before it was restarted: test again", halt=False)


def shutdown(console: Console, event: ShutdownRequested) -> Step:
    """End now if nothing is under way; else when it is done."""
    console = replace(console, stopping=True, armed=False)
    if console.state in (State.ARMED, State.FIRING):
        return console, (Send(Unload()),)
    if console.state in (State.REFILLING, State.LOADING):
        return given_up(console, SHUTTING_DOWN)
    busy = (State.HOMING, State.PRIMING, State.SETTLING)
    return console, () if console.state in busy else (Exit(),)
