"""How magazines come and go: authorise the next one, refill for it, settle it, book it.

The part of the machine (`machine`) that handles doses. Every function takes the console and returns the next console
with the effects in their order; an intent is always committed in front of the load it announces.
"""

from dataclasses import replace

from device.core.console import Console, State
from device.core.effects import Commit, Effect, Exit, LoadPump, Refill, Reply, SoundDone
from device.core.ledger import apply, booked_nl
from device.core.limits import Refusal, shot_refusals
from device.core.magazine import Magazine, Purpose
from device.core.profile import Mode, Phase
from device.core.realtime_messages import EndReason, ShotReport
from device.core.records import CommandTaken, MagazineIntent, MagazineSettled, Record, SessionEnded, ShotGiven
from device.core.session import Session
from device.core.settlement import Settlement, ShotSettlement, settle
from device.core.shot_plan import Plunger, plan_shots
from device.core.syringe import Syringe
from device.core.units import Increments, Nanolitres, Nanoseconds, depth_of

Step = tuple[Console, tuple[Effect, ...]]


def book(console: Console, *records: Record) -> Console:
    """Return the console with `records` in its ledger; the caller commits the same records."""
    ledger = console.ledger
    for record in records:
        ledger = apply(ledger, record)
    return replace(console, ledger=ledger)


def command_record(name: str, uid: int, pid: int, reasons: tuple[str, ...] = ()) -> CommandTaken:
    """Return the audit record of a command; refused when there are reasons."""
    return CommandTaken(command=name, uid=uid, pid=pid, accepted=not reasons, reason="; ".join(reasons))


def back(console: Console, *effects: Effect) -> Step:
    """End an operation: to the session or to disarmed; answers whoever waits, and exits if that was asked."""
    if console.pending is not None:
        effects = (*effects, Reply(console.pending, accepted=True, reasons=()))
    if console.stopping:
        effects = (*effects, Exit())
    state = State.SESSION if console.session is not None else State.DISARMED
    return replace(console, state=state, pending=None, armed=False), effects


def plunger_of(console: Console) -> Plunger:
    """Return where the plunger stands by the ledger."""
    ledger = console.ledger
    return Plunger(
        position=Increments(ledger.position or 0), low_water=Increments(ledger.low_water), carry=ledger.carry
    )


def next_shot_refusals(console: Console, session: Session) -> tuple[Refusal, ...]:
    """Return every reason against the session's next shot."""
    totals = console.ledger.session
    return shot_refusals(
        profile=session.profile,
        limits=console.spec.limits,
        serum=session.serum,
        weight_g=session.weight_g,
        booked_nl=booked_nl(console.ledger),
        booked_shots=totals.shots if totals is not None else 0,
        dose_nl=session.profile.dose_nl,
        planned_shots=session.planned_shots,
    )


def allowed_shots(console: Console, session: Session, most: int) -> int:
    """Return how many shots in a row, up to `most`, no limit forbids."""
    totals = console.ledger.session
    shots = totals.shots if totals is not None else 0
    for count in range(most):
        refusals = shot_refusals(
            profile=session.profile,
            limits=console.spec.limits,
            serum=session.serum,
            weight_g=session.weight_g,
            booked_nl=Nanolitres(booked_nl(console.ledger) + count * session.profile.dose_nl),
            booked_shots=shots + count,
            dose_nl=session.profile.dose_nl,
            planned_shots=session.planned_shots,
        )
        if refusals:
            return count
    return most


def magazine_size(session: Session, points_left: int) -> int:
    """Return how many shots the next magazine should hold: by the mode, and never beyond the region."""
    by_mode = {Mode.SINGLE: 1, Mode.BURST: session.profile.burst_shots, Mode.CONTINUOUS: session.plan.most_shots}
    most = min(by_mode[session.profile.mode], session.plan.most_shots)
    return min(most, points_left) if points_left else most


def next_magazine(console: Console, *records: Record) -> Step:
    """Authorise, commit and load the next magazine; or refill for it; or stop when no shot is allowed any more.

    `records` are committed in the same transaction: the outcome of the last magazine and the intent of the next.
    """
    session = console.session
    if session is None or not console.armed or console.stopping:
        return back(console, *_commit(records))
    refusals = next_shot_refusals(console, session)
    if refusals:
        return back(console, *_commit(records), SoundDone())
    totals = console.ledger.session
    shots_done = totals.shots if totals is not None else 0
    region, points_left, entered = session.region_after(shots_done)
    most = allowed_shots(console, session, magazine_size(session, points_left))
    shots = plan_shots(
        plan=session.plan,
        profile=session.profile,
        syringe=session.syringe,
        plunger=plunger_of(console),
        most=most,
    )
    if not shots or (session.profile.mode is Mode.BURST and len(shots) < most):
        return refill(console, session, *records)
    fresh = entered or console.ended is not EndReason.COMPLETE
    plunger = plunger_of(console)
    magazine = Magazine(
        magazine_id=console.ledger.magazines + 1,
        purpose=Purpose.INJECT,
        session_id=session.session_id,
        first_shot=shots_done + 1,
        region=region,
        start=plunger.position,
        low_water=plunger.low_water,
        carry_before=plunger.carry,
        shots=shots,
        mode=session.profile.mode,
        trigger=session.profile.trigger,
        interval_ns=Nanoseconds(session.profile.interval_ns),
        fresh_press=fresh,
        require_contact=session.profile.require_contact,
        stroke=session.plan.stroke,
    )
    return load(replace(console, state=State.LOADING), magazine, *records)


def _commit(records: tuple[Record, ...]) -> tuple[Effect, ...]:
    return (Commit(records),) if records else ()


def load(console: Console, magazine: Magazine, *records: Record) -> Step:
    """Commit the intent (after `records`), then load the pump."""
    intent = intent_of(magazine)
    console = replace(book(console, intent), magazine=magazine, reports=(), seen=None)
    return console, (Commit((*records, intent)), LoadPump(magazine.pump_program()))


def intent_of(magazine: Magazine) -> MagazineIntent:
    """Return the record that announces a magazine."""
    moves = [move for shot in magazine.shots for move in shot.moves]
    return MagazineIntent(
        magazine_id=magazine.magazine_id,
        purpose=magazine.purpose.value,
        session_id=magazine.session_id,
        region=magazine.region,
        first_shot=magazine.first_shot,
        start=magazine.start,
        low_water=magazine.low_water,
        carry_before=magazine.carry_before,
        moves_per_shot=len(magazine.shots[0].moves),
        phases=[move.phase.value for move in moves],
        targets=[move.target for move in moves],
        doses_nl=[shot.dose_nl for shot in magazine.shots],
        carries=[shot.carry_after for shot in magazine.shots],
    )


def refill_target(console: Console, session: Session) -> Increments:
    """Return to where the plunger can draw: the full stroke, or what is left in the vial."""
    syringe, totals = session.syringe, console.ledger.session
    drawn_nl = totals.drawn_nl if totals is not None else 0
    left = syringe.increments_within(Nanolitres(max(0, session.serum.vial_nl - drawn_nl)))
    full = syringe.stroke_increments - syringe.backlash_increments
    return Increments(min(full, (console.ledger.position or 0) + left))


def refill(console: Console, session: Session, *records: Record) -> Step:
    """Draw from the vial; refuse when it holds too little for what is wanted."""
    target = refill_target(console, session)
    wanted_nl = console.prime_nl or session.profile.dose_nl
    owed = (console.ledger.position or 0) - console.ledger.low_water
    if target - owed < session.syringe.increments_within(Nanolitres(wanted_nl)) + 1:
        reason = "reservoir: the vial is empty by the book; stop the session and start one with a new vial"
        console, effects = back(replace(console, pending=None, prime_nl=0))
        answer = refuse(replace(console), reason, *records)
        return console, (*answer, *effects)
    console = replace(console, state=State.REFILLING, ended=None)
    return console, (*_commit(records), Refill(target=target, overshoot=session.syringe.backlash_increments))


def refuse(console: Console, reason: str, *records: Record) -> tuple[Effect, ...]:
    """Return the effects that commit `records` and answer the waiting command with `reason`."""
    answer: tuple[Effect, ...] = ()
    if console.pending is not None:
        answer = (Reply(console.pending, accepted=False, reasons=(reason,)),)
    return (*_commit(records), *answer)


def settled(
    console: Console, intent: MagazineIntent, position: Increments | None
) -> tuple[Console, list[Record], bool]:
    """Settle the open intent; return the console with the outcome booked, the records, and whether it is certain."""
    result = settle(intent, position=position, seen=console.seen)
    records: list[Record] = []
    base = console.ledger.session.increments if console.ledger.session is not None else 0
    syringe = console.session.syringe if console.session is not None else None
    is_prime = intent.purpose_of is Purpose.PRIME
    if not is_prime:
        records += _shot_records(console, intent, result, base)
    given_nl = _volume(syringe, base + result.given) - _volume(syringe, base)
    fired = sum(_took_place(shot, console.reports) for shot in result.shots)
    records.append(
        MagazineSettled(
            magazine_id=intent.magazine_id,
            purpose=intent.purpose,
            session_id=intent.session_id,
            reason=console.ended.name.lower() if console.ended is not None else "recovered",
            position=result.position,
            low_water=result.low_water,
            given=result.given,
            given_nl=given_nl,
            shots=0 if is_prime else fired,
            carry=result.carry,
            certain=result.certain,
        )
    )
    shots = [record for record in records if isinstance(record, ShotGiven)]
    console = replace(
        book(console, *records),
        magazine=None,
        reports=(),
        seen=None,
        last_shot=shots[-1] if shots else console.last_shot,
    )
    return console, records, result.certain


def _volume(syringe: Syringe | None, increments: int) -> int:
    return 0 if syringe is None else syringe.volume_of(Increments(increments))


def _took_place(shot: ShotSettlement, reports: tuple[ShotReport, ...]) -> bool:
    return shot.touched or any(report.index == shot.index for report in reports)


def _shot_records(console: Console, intent: MagazineIntent, result: Settlement, base: int) -> list[Record]:
    """One record for every shot that took place, volumes as differences of running totals so that they add up."""
    session = console.session
    syringe = session.syringe if session is not None else None
    by_index = {report.index: report for report in console.reports}
    records: list[Record] = []
    given = base
    for shot in result.shots:
        volumes: dict[Phase, int] = {}
        for phase, part in shot.given.items():
            volumes[phase] = _volume(syringe, given + part) - _volume(syringe, given)
            given += part
        if not _took_place(shot, console.reports):
            continue
        report = by_index.get(shot.index)
        records.append(
            ShotGiven(
                session_id=intent.session_id,
                magazine_id=intent.magazine_id,
                shot=intent.first_shot + shot.index,
                region=intent.region,
                outcome=shot.outcome.value,
                reason=_shot_reason(report),
                mode=session.profile.mode.value if session is not None else "",
                planned_nl=intent.doses_nl[shot.index],
                booked_nl=sum(volumes.values()),
                entry_nl=volumes.get(Phase.ENTRY, 0),
                dwell_nl=volumes.get(Phase.DWELL, 0),
                exit_nl=volumes.get(Phase.EXIT, 0),
                depth_um=_depth(console, report),
                **_timings(report),
            )
        )
    return records


def _shot_reason(report: ShotReport | None) -> str:
    if report is None:
        return "recovered"
    if report.released:
        return "released"
    return f"fault {report.fault}" if report.fault else ""


def _depth(console: Console, report: ShotReport | None) -> int:
    if report is None:
        return -1
    axis = console.spec.axis
    return max(0, depth_of(report.steps_in, steps_per_mm=axis.steps_per_mm) - axis.clearance_um)  # type: ignore[arg-type]


def _timings(report: ShotReport | None) -> dict[str, int]:
    names = {
        "press_to_step_us": "press_to_step_ns",
        "step_late_us_p50": "late_ns_p50",
        "step_late_us_p99": "late_ns_p99",
        "step_late_us_max": "late_ns_max",
        "entry_us": "entry_ns",
        "dwell_us": "dwell_ns",
        "exit_us": "exit_ns",
        "stroke_us": "stroke_ns",
    }
    if report is None:
        return dict.fromkeys(names, -1)
    values = {name: getattr(report, source) for name, source in names.items()}
    return {name: value if value < 0 else value // 1000 for name, value in values.items()}


def session_ended(console: Console, reason: str) -> tuple[Console, SessionEnded]:
    """Return the console without its session, and the record that ends it."""
    totals = console.ledger.session
    record = SessionEnded(
        session_id=totals.started.session_id if totals is not None else "",
        reason=reason,
        shots=totals.shots if totals is not None else 0,
        volume_nl=totals.volume_nl if totals is not None else 0,
    )
    return replace(book(console, record), session=None), record
