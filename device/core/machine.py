"""The controller's state machine: one table over (state, event), pure.

`step(console, event)` returns the next console and the effects to carry out in order. Every pair is listed in
`TABLE`, or is explicitly ignored (`IGNORED`), or is a command that is refused with the states that allow it, or is a
fault. Rules it lives by: the intent is committed before the load; outcomes before the next intent; a fault's safety
acts come before its record; nothing moves by itself after a start.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast, get_args

from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    Exit,
    HomePlunger,
    ProbePump,
    ReadPosition,
    Reply,
    Send,
    SoundAlarm,
    SoundRefusal,
    TerminatePump,
)
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
from device.core.faults import CATALOGUE, Fault
from device.core.limits import serum_refusals
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Halt,
    Home,
    Homed,
    Load,
    Loaded,
    MagazineEnded,
    PressIgnored,
    Ready,
    Report,
    Reset,
    ShotReport,
    StrokeStarted,
    Unload,
)
from device.core.records import (
    FaultRaised,
    FaultsCleared,
    PlungerFound,
    PlungerHomed,
    PressRefused,
    Record,
    Refilled,
    SessionStarted,
)
from device.core.session import Session
from device.core.settlement import POSITION_TOLERANCE, Seen
from device.core.shot_plan import PlanRefused, plan_prime, plan_stroke
from device.core.treatment import (
    Step,
    back,
    book,
    command_record,
    load,
    next_magazine,
    next_shot_refusals,
    plunger_of,
    refill,
    session_ended,
    settled,
)
from device.core.units import Nanolitres

COMMANDS: tuple[type[Command], ...] = get_args(Command)
EVENTS: tuple[type[Event], ...] = (*COMMANDS, *get_args(Happening), *get_args(Report))

COMMAND_NAMES: dict[type[Command], str] = {
    HomeRequested: "home",
    PrimeRequested: "prime",
    SessionStartRequested: "session start",
    SessionStopRequested: "session stop",
    ArmRequested: "arm",
    DisarmRequested: "disarm",
    FaultClearRequested: "fault clear",
}


EMPTIES_SYRINGE = (
    "homing the plunger empties the syringe through the needle: never with a patient; confirm with --patient-detached"
)


def step(console: Console, event: Event) -> Step:
    """Return the next console and its effects. Total: defined for every state and event, never raises on them."""
    handler = TABLE.get((console.state, type(event)))
    if handler is not None:
        return handler(console, event)
    if (console.state, type(event)) in IGNORED:
        return console, ()
    if isinstance(event, COMMANDS):
        return _refused(console, event, _why_not_now(console, type(event)))
    return fault(console, Fault.INTERNAL, f"unexpected {type(event).__name__} in state {console.state.name.lower()}")


def _why_not_now(console: Console, command: type[Command]) -> tuple[str, ...]:
    allowed = ", ".join(state.name.lower() for state, kind in TABLE if kind is command)
    return (f"not possible in state {console.state.name.lower()}; possible in: {allowed}",)


def _refused(console: Console, event: Command, reasons: tuple[str, ...]) -> Step:
    request = event.request
    record = command_record(COMMAND_NAMES[type(event)], request.uid, request.pid, reasons)
    return book(console, record), (Commit((record,)), Reply(request, accepted=False, reasons=reasons))


def _taken(event: Command) -> Record:
    return command_record(COMMAND_NAMES[type(event)], event.request.uid, event.request.pid)


# --- start and self-test ---------------------------------------------------------------------------------------


def _started(console: Console, event: Started) -> Step:
    return replace(console, state=State.SELF_TEST), (Send(Reset()),)


def _test_ready(console: Console, event: Ready) -> Step:
    return replace(console, ready=True, homed=event.homed), (ProbePump(),)


def _test_probed(console: Console, event: PumpProbed) -> Step:
    """The last part of the self-test: settle what was open, compare the plunger with the book, go on or to fault."""
    console = replace(console, initialised=event.position is not None)
    records: list[Record] = []
    intent = console.ledger.open_intent
    found: tuple[Fault, str] | None = None
    if intent is not None:
        console, records, certain = settled(console, intent, event.position)
        if not certain:
            found = (Fault.DOSE_UNCERTAIN, f"magazine {intent.magazine_id} booked at its largest possible dose")
    elif event.position is not None and console.ledger.position is not None:
        expected = console.ledger.position
        if abs(event.position - expected) > POSITION_TOLERANCE:
            record = PlungerFound(expected=expected, position=event.position)
            records.append(record)
            if event.position < console.ledger.low_water:
                found = (Fault.PUMP_POSITION_MISMATCH, f"expected {expected}, found {event.position} increments")
            console = book(console, record)
    if console.session is None and console.ledger.session is not None:
        console, ended = session_ended(console, "configuration changed")
        records.append(ended)
    effects: tuple[Effect, ...] = (Commit(tuple(records)),) if records else ()
    if found is not None:
        console, more = fault(console, *found)
        return console, (*effects, *more)
    if console.ledger.faults:
        return _still_faulty(console, effects)
    return _prepend(effects, back(console))


def _still_faulty(console: Console, effects: tuple[Effect, ...]) -> Step:
    """A latched fault from before the start holds until the operator clears it."""
    return replace(console, state=State.FAULT, pending=None), effects


def _prepend(effects: tuple[Effect, ...], result: Step) -> Step:
    return result[0], (*effects, *result[1])


# --- home, prime, refill ---------------------------------------------------------------------------------------


def _home(console: Console, event: HomeRequested) -> Step:
    if not console.ready:
        return _refused(console, event, ("the needle is still on its way home: try again",))
    if event.plunger and not event.patient_detached:
        return _refused(console, event, (EMPTIES_SYRINGE,))
    console = replace(console, state=State.HOMING, pending=event.request, plunger_wanted=event.plunger, homed=False)
    return console, (Commit((_taken(event),)), Send(Home()))


def _homed(console: Console, event: Homed) -> Step:
    console = replace(console, homed=True)
    if console.plunger_wanted:
        return replace(console, plunger_wanted=False), (HomePlunger(),)
    return back(console)


def _plunger_at_top(console: Console, event: PlungerAtTop) -> Step:
    record = PlungerHomed(position=event.position)
    return _prepend((Commit((record,)),), back(replace(book(console, record), initialised=True)))


def _not_fit(console: Console) -> tuple[str, ...]:
    """Return what keeps the console from giving anything, all at once."""
    reasons = []
    if not console.ready:
        reasons.append("the needle is still on its way home: try again")
    if not console.homed:
        reasons.append("the needle is not homed: `mesogun home`")
    if not console.initialised or console.ledger.position is None:
        reasons.append("the plunger is not homed: without a patient `mesogun home --plunger --patient-detached`")
    return tuple(reasons)


def _prime(console: Console, event: PrimeRequested) -> Step:
    reasons = _not_fit(console)
    if reasons:
        return _refused(console, event, reasons)
    console = replace(console, pending=event.request, prime_nl=event.volume_nl)
    return _prime_now(console, _taken(event))


def _prime_now(console: Console, *records: Record) -> Step:
    session = console.session
    if session is None:
        return back(console)
    try:
        magazine = plan_prime(
            volume_nl=Nanolitres(console.prime_nl),
            syringe=session.syringe,
            spec=console.spec,
            plunger=plunger_of(console),
            magazine_id=console.ledger.magazines + 1,
            session_id=session.session_id,
        )
    except PlanRefused as refused:
        reasons = tuple(reason.message for reason in refused.reasons)
        effects = (Reply(console.pending, accepted=False, reasons=reasons),) if console.pending else ()
        return _prepend((Commit(records), *effects), back(replace(console, pending=None, prime_nl=0)))
    if magazine is None:
        return refill(console, session, *records)
    return load(replace(console, state=State.PRIMING, prime_nl=0), magazine, *records)


def _refilled(console: Console, event: RefillDone) -> Step:
    before = console.ledger.position or 0
    syringe = console.session.syringe if console.session is not None else None
    drawn = max(0, event.position - before)
    record = Refilled(
        from_position=before,
        position=event.position,
        volume_nl=syringe.volume_of(drawn) if syringe is not None else 0,  # type: ignore[arg-type]
    )
    console = book(console, record)
    if console.stopping:
        return _prepend((Commit((record,)),), back(console))
    if console.prime_nl:
        return _prime_now(console, record)
    return next_magazine(console, record)


# --- session ---------------------------------------------------------------------------------------------------


def _session_start(console: Console, event: SessionStartRequested) -> Step:
    reasons = list(serum_refusals(event.serum, weight_g=event.weight_g))
    try:
        plan = plan_stroke(event.profile, event.syringe, console.spec)
    except PlanRefused as refused:
        reasons += refused.reasons
        return _refused(console, event, tuple(reason.message for reason in reasons))
    if event.syringe.stroke_increments != console.spec.pump.stroke_increments:
        return _refused(console, event, ("the syringe is calibrated for another pump stroke",))
    session = Session(
        session_id=event.session_id,
        profile=event.profile,
        serum=event.serum,
        syringe=event.syringe,
        patient=event.patient,
        weight_g=event.weight_g,
        regions=event.regions,
        plan=plan,
    )
    started = SessionStarted(
        session_id=event.session_id,
        profile=event.profile.name,
        profile_sha256=event.profile_sha256,
        serum=event.serum.name,
        serum_sha256=event.serum_sha256,
        syringe=event.syringe.name,
        syringe_sha256=event.syringe_sha256,
        patient=event.patient,
        weight_g=event.weight_g,
        regions=[region.name for region in event.regions],
        region_points=[region.points for region in event.regions],
    )
    if reasons:
        return _refused(console, event, tuple(reason.message for reason in reasons))
    console = replace(book(console, started), session=session, last_shot=None, ended=None)
    if first := next_shot_refusals(console, session):
        console, _ = session_ended(console, "refused")
        return _refused(console, event, tuple(reason.message for reason in first))
    return _prepend((Commit((_taken(event), started)),), back(replace(console, pending=event.request)))


def _session_stop(console: Console, event: SessionStopRequested) -> Step:
    console, ended = session_ended(console, "stopped")
    return _prepend((Commit((_taken(event), ended)),), back(replace(console, pending=event.request)))


# --- arm, fire, settle -----------------------------------------------------------------------------------------


def _arm(console: Console, event: ArmRequested) -> Step:
    session = console.session
    if session is None:
        return _refused(console, event, ("no session is open",))
    refusals = tuple(reason.message for reason in next_shot_refusals(console, session))
    reasons = (*_not_fit(console), *refusals)
    if reasons:
        return _refused(console, event, reasons)
    console = replace(console, armed=True, pending=event.request, ended=None)
    return next_magazine(console, _taken(event))


def _already_armed(console: Console, event: ArmRequested) -> Step:
    return console, (Commit((_taken(event),)), Reply(event.request, accepted=True, reasons=()))


def _disarm(console: Console, event: DisarmRequested) -> Step:
    """Fire nothing more: unload what is loaded; what is still being loaded is unloaded when it arrives."""
    effects: tuple[Effect, ...] = (Commit((_taken(event),)), Reply(event.request, accepted=True, reasons=()))
    if console.state in (State.ARMED, State.FIRING):
        effects = (Send(Unload()), *effects)
    return replace(console, armed=False), effects


def _pump_loaded(console: Console, event: PumpLoaded) -> Step:
    if console.magazine is None or event.magazine_id != console.magazine.magazine_id:
        return fault(console, Fault.INTERNAL, "the pump was loaded with another magazine")
    return console, (Send(Load(console.magazine.realtime_magazine())),)


def _loaded(console: Console, event: Loaded) -> Step:
    effects: tuple[Effect, ...] = ()
    if console.pending is not None:
        effects = (Reply(console.pending, accepted=True, reasons=()),)
    if not console.armed or console.stopping:
        effects = (Send(Unload()), *effects)
    return replace(console, state=State.ARMED, pending=None), effects


def _stroke_started(console: Console, event: StrokeStarted) -> Step:
    return replace(console, state=State.FIRING), ()


def _same(console: Console, event: Any) -> Step:
    return console, ()


def _shot_reported(console: Console, event: ShotReport) -> Step:
    return replace(console, reports=(*console.reports, event)), ()


def _magazine_ended(console: Console, event: MagazineEnded) -> Step:
    """Ask the pump where it stands. After a fault the fault's own handling asks: its report follows this one."""
    console = replace(console, seen=Seen(opened=event.opened, done=event.done), ended=event.reason)
    if event.reason is EndReason.FAULT or console.state is State.FAULT:
        return console, ()
    if console.state is not State.PRIMING:
        console = replace(console, state=State.SETTLING)
    return console, (ReadPosition(complete=event.reason is EndReason.COMPLETE),)


def _position_read(console: Console, event: PositionRead) -> Step:
    """Settle and book; go on with the next magazine, or stop if the dose is not certain."""
    intent = console.ledger.open_intent
    if intent is None:
        return back(console)
    priming = console.state is State.PRIMING
    console, records, certain = settled(console, intent, event.position)
    if not certain:
        console, effects = fault(console, *_uncertain(intent.magazine_id, event))
        return console, (Commit(tuple(records)), *effects)
    if priming:
        return _prepend((Commit(tuple(records)),), back(console))
    return next_magazine(console, *records)


def _uncertain(magazine_id: int, event: PositionRead) -> tuple[Fault, str]:
    if event.position is None:
        return Fault.DOSE_UNCERTAIN, f"magazine {magazine_id}: the plunger's position is lost; the most is booked"
    return (
        Fault.PUMP_POSITION_MISMATCH,
        f"magazine {magazine_id}: the plunger stands at {event.position}, which no course of it explains",
    )


def _press_ignored(console: Console, event: PressIgnored) -> Step:
    session_id = console.session.session_id if console.session is not None else ""
    record = PressRefused(session_id=session_id, reason=event.reason.name.lower())
    return book(console, record), (SoundRefusal(), Commit((record,)))


# --- faults and the end ----------------------------------------------------------------------------------------


def _faulted(console: Console, event: Faulted) -> Step:
    """The real-time process has made itself safe already."""
    console = replace(console, ready=False, homed=event.homed)
    return fault(console, event.fault, f"needle at step {event.detail}", halt=False)


def _fault_occurred(console: Console, event: FaultOccurred) -> Step:
    lost = event.fault is Fault.REALTIME_LOST
    console = replace(console, ready=False, homed=console.homed and not lost)
    return fault(console, event.fault, event.detail, halt=not lost)


def fault(console: Console, occurred: Fault, detail: str, *, halt: bool = True) -> Step:
    """Make safe, then record, signal, and find out what was given. A fault that does not latch ends in the session."""
    if console.state is State.FAULT and occurred.value in console.ledger.faults:
        return console, ()
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
    after: list[Effect] = [SoundAlarm(meaning.priority)]
    if occurred is not Fault.JOURNAL_WRITE_FAILED:
        after.insert(0, Commit((record,)))
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


def _fault_position_read(console: Console, event: PositionRead) -> Step:
    """Settle in a fault: with a position at once; without one only the self-test after the clearing can."""
    intent = console.ledger.open_intent
    effects: tuple[Effect, ...] = ()
    if intent is not None and event.position is not None:
        console, records, certain = settled(console, intent, event.position)
        effects = (Commit(tuple(records)),)
        if not certain:
            return _prepend(effects, fault(console, *_uncertain(intent.magazine_id, event)))
    return console, (*effects, Exit()) if console.stopping else effects


def _fault_clear(console: Console, event: FaultClearRequested) -> Step:
    cleared = FaultsCleared(codes=list(console.ledger.faults), uid=event.request.uid)
    console = replace(book(console, cleared), state=State.SELF_TEST, pending=event.request)
    return console, (Commit((_taken(event), cleared)), Send(Reset()))


def _ready(console: Console, event: Ready) -> Step:
    return replace(console, ready=True, homed=event.homed), ()


def _fault_ready(console: Console, event: Ready) -> Step:
    """A restarted real-time process: take the needle out, the one motion that is always safe."""
    return replace(console, ready=True, homed=event.homed), () if event.homed else (Send(Home()),)


def _fault_homed(console: Console, event: Homed) -> Step:
    return replace(console, homed=True), ()


def _restarted(console: Console, event: RealtimeRestarted) -> Step:
    return replace(console, ready=False, homed=False), (Send(Reset()),)


def _shutdown(console: Console, event: ShutdownRequested) -> Step:
    """End now if nothing is under way; else when it is done."""
    console = replace(console, stopping=True, armed=False)
    if console.state in (State.ARMED, State.FIRING):
        return console, (Send(Unload()),)
    busy = (State.HOMING, State.PRIMING, State.REFILLING, State.LOADING, State.SETTLING)
    return console, () if console.state in busy else (Exit(),)


Handler = Callable[[Console, Any], Step]
_EVERY = tuple(State)

TABLE: dict[tuple[State, type[Event]], Handler] = {
    (State.STARTING, Started): _started,
    (State.SELF_TEST, Ready): _test_ready,
    (State.SELF_TEST, PumpProbed): _test_probed,
    (State.DISARMED, HomeRequested): _home,
    (State.DISARMED, SessionStartRequested): _session_start,
    (State.HOMING, Homed): _homed,
    (State.HOMING, PlungerAtTop): _plunger_at_top,
    (State.SESSION, HomeRequested): _home,
    (State.SESSION, PrimeRequested): _prime,
    (State.SESSION, SessionStopRequested): _session_stop,
    (State.SESSION, ArmRequested): _arm,
    (State.REFILLING, RefillDone): _refilled,
    (State.PRIMING, PumpLoaded): _pump_loaded,
    (State.PRIMING, Loaded): _same,
    (State.PRIMING, StrokeStarted): _same,
    (State.PRIMING, ShotReport): _same,
    (State.PRIMING, MagazineEnded): _magazine_ended,
    (State.PRIMING, PositionRead): _position_read,
    (State.LOADING, PumpLoaded): _pump_loaded,
    (State.LOADING, Loaded): _loaded,
    (State.ARMED, StrokeStarted): _stroke_started,
    (State.ARMED, MagazineEnded): _magazine_ended,
    (State.FIRING, StrokeStarted): _stroke_started,
    (State.FIRING, ShotReport): _shot_reported,
    (State.FIRING, MagazineEnded): _magazine_ended,
    (State.SETTLING, PositionRead): _position_read,
    (State.FAULT, FaultClearRequested): _fault_clear,
    (State.FAULT, PositionRead): _fault_position_read,
    (State.FAULT, ShotReport): _shot_reported,
    (State.FAULT, MagazineEnded): _magazine_ended,
    (State.FAULT, Ready): _fault_ready,
    (State.FAULT, Homed): _fault_homed,
    **{(state, ArmRequested): _already_armed for state in (State.LOADING, State.ARMED, State.FIRING)},
    **{
        (state, DisarmRequested): _disarm
        for state in (State.SESSION, State.REFILLING, State.LOADING, State.ARMED, State.FIRING, State.SETTLING)
    },
    **{(state, Ready): _ready for state in (State.SETTLING, State.SESSION, State.DISARMED)},
    **{(state, PressIgnored): _press_ignored for state in _EVERY},
    **{(state, Faulted): _faulted for state in _EVERY},
    **{(state, FaultOccurred): _fault_occurred for state in _EVERY},
    **{(state, RealtimeRestarted): _restarted for state in _EVERY},
    **{(state, ShutdownRequested): _shutdown for state in _EVERY},
}

IGNORED: frozenset[tuple[State, type[Event]]] = frozenset(
    # Results of operations that a fault has overtaken: the fault's own read-back says what came of them.
    cast("list[tuple[State, type[Event]]]", [
        (State.FAULT, kind)
        for kind in (PumpProbed, PumpLoaded, RefillDone, PlungerAtTop, Loaded, StrokeStarted)
    ])
)  # fmt: skip
