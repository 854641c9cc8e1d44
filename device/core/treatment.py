"""How magazines come: authorise the next one, refill for it, load it, or stop when a limit is reached.

Every function takes the console and returns the next console with the effects in their order; an intent is always
committed in front of the load it announces.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    LoadPump,
    Refill,
    Reply,
    SoundDone,
    SoundRefusal,
)
from device.core.limits import Refusal, RegionLoad, shot_refusals
from device.core.magazine import Magazine, PlannedShot, Purpose
from device.core.patient_hour import shots_within_hour
from device.core.profile import Mode
from device.core.realtime_messages import (
    EndReason,
)
from device.core.records import MagazineIntent, Record
from device.core.region_plan import Place, Progress
from device.core.session import Session
from device.core.session_care import too_old
from device.core.settlement import Seen
from device.core.shot_plan import Plunger, plan_shots, shot_increments
from device.core.soft_limits import soft_refusals
from device.core.steps import Step, back, book, commit, prepend, turned_down
from device.core.units import Increments, Nanolitres, Nanoseconds
from device.core.upkeep import unusable_formulary


def plunger_of(console: Console) -> Plunger:
    """Return where the plunger stands by the ledger."""
    ledger = console.ledger
    return Plunger(
        position=Increments(ledger.position or 0), low_water=Increments(ledger.low_water), carry=ledger.carry
    )


def suck_back_owed(console: Console) -> Increments:
    """Return how far the plunger was drawn back and the next shot repays it; 0 or more.

    A plunger that the book has below what it gave owes no draw. Settlement writes no such book any more, journals that
    were written before it did hold some: what is missing the next shot gives less, because its targets are absolute.
    """
    return Increments(max(0, (console.ledger.position or 0) - console.ledger.low_water))


def next_shot_refusals(console: Console, session: Session, after: int = 0) -> tuple[Refusal, ...]:
    """Return every reason against the session's next shot, or against the one `after` so many more."""
    totals, syringe, profile = console.ledger.session, session.syringe, session.profile
    shots, increments = (totals.shots, totals.increments) if totals is not None else (0, 0)
    given, more = (
        # The remainder is carried: so many shots take what one shot of so many doses would.
        shot_increments(Nanolitres(count * profile.dose_nl), console.ledger.carry, syringe)[0]
        for count in (after, after + 1)
    )
    total_nl = syringe.volume_of(Increments(increments + more))
    hour_shots = shots_within_hour(console.ledger.runs, patient=session.patient, now_ms=console.now_ms) + after
    regions = _region_loads(console, session, after + 1)
    hard = shot_refusals(
        profile=profile,
        limits=console.spec.limits,
        serum=session.serum,
        weight_g=session.weight_g,
        booked_nl=syringe.volume_of(Increments(increments + given)),
        booked_shots=shots + after,
        total_nl=total_nl,
        planned_shots=session.planned_shots,
        points_left=progress_of(console, session).left - after,
        before=session.before,
        hour_shots=hour_shots,
        needle_shots=console.ledger.needle.shots + after,
        regions=regions,
    )
    return hard + soft_refusals(
        console.spec.soft,
        overridden=totals.overridden if totals is not None else (),
        profile=profile,
        booked_shots=shots + after,
        total_nl=total_nl,
        before=session.before,
        hour_shots=hour_shots,
        regions=regions,
    )


def progress_of(console: Console, session: Session) -> Progress:
    """Return how far the session's planned points are."""
    totals = console.ledger.session
    return totals.progress if totals is not None else Progress(tuple(region.points for region in session.regions))


def next_place(console: Console, session: Session) -> Place | None:
    """Return where the next shot belongs; None without a plan, or when no point is left."""
    return progress_of(console, session).place()


def _region_loads(console: Console, session: Session, shots: int) -> tuple[RegionLoad, ...]:
    """Return the regions of known area that the next `shots` shots belong to, with what they then have."""
    if not any(region.area_mm2 for region in session.regions):
        return ()
    totals = console.ledger.session
    booked_nl = totals.region_nl if totals is not None else (0,) * len(session.regions)
    booked = totals.increments if totals is not None else 0

    def volume_nl(count: int) -> int:
        doses = Nanolitres(count * session.profile.dose_nl)
        more = shot_increments(doses, console.ledger.carry, session.syringe)[0]
        return session.syringe.volume_of(Increments(booked + more))

    reached_nl: dict[int, int] = {}
    done = 0
    for place, ahead in progress_of(console, session).ahead():
        count = min(ahead, shots - done)
        more_nl = volume_nl(done + count) - volume_nl(done)
        reached_nl[place] = reached_nl.get(place, booked_nl[place]) + more_nl
        done += count
        if done == shots:
            break
    return tuple(
        RegionLoad(session.regions[place].name, session.regions[place].area_mm2, booked_nl[place], nl)
        for place, nl in reached_nl.items()
        if session.regions[place].area_mm2
    )


def shots_left(console: Console, session: Session) -> tuple[int, Refusal]:
    """Return how many shots the session may still give, and the first reason against the one behind them."""
    # No total falls by a shot: what is refused once is refused ever after. The profile's own count ends every session.
    counts = range(session.profile.session_shots)
    left = bisect_left(counts, 1, key=lambda more: min(1, len(next_shot_refusals(console, session, more))))
    return left, next_shot_refusals(console, session, left)[0]


def allowed_shots(console: Console, session: Session, most: int) -> int:
    """Return how many shots in a row, up to `most`, no limit forbids."""
    return min(most, shots_left(console, session)[0])


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
        return back(console, *commit(records))
    # A vial or the formulary may have aged since the arming: the clock is that of the last magazine's outcome.
    aged = (*too_old(console, console.now_ms), *unusable_formulary(console, console.now_ms))
    if aged or next_shot_refusals(console, session):
        return back(console, *commit(records), SoundDone())
    place = next_place(console, session)
    shots, fewest = _next_shots(console, session)
    if not _holds_enough(console, shots, fewest):
        return refill(console, session, fewest * session.profile.dose_nl, *records)
    fresh = console.ended is not EndReason.COMPLETE or (place is not None and place.fresh)
    plunger = plunger_of(console)
    magazine = Magazine(
        magazine_id=console.ledger.magazines + 1,
        purpose=Purpose.INJECT,
        session_id=session.session_id,
        first_shot=_shots_done(console) + 1,
        region=session.regions[place.region].name if place is not None else "",
        stroke_nl=session.syringe.stroke_nl,
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


def _shots_done(console: Console) -> int:
    return console.ledger.session.shots if console.ledger.session is not None else 0


def _next_shots(console: Console, session: Session) -> tuple[tuple[PlannedShot, ...], int]:
    """Return the next magazine's shots as far as the syringe holds them, and how many it must have at least."""
    place = next_place(console, session)
    most = allowed_shots(console, session, magazine_size(session, place.left if place is not None else 0))
    shots = plan_shots(
        plan=session.plan,
        profile=session.profile,
        syringe=session.syringe,
        plunger=plunger_of(console),
        most=most,
    )
    # A burst is given whole or not at all; a continuous magazine may be short.
    return shots, most if session.profile.mode is Mode.BURST else 1


def _holds_enough(console: Console, shots: Sequence[PlannedShot], fewest: int) -> bool:
    # With the drive's play open the next shot would give less by it: a refill comes to its target from above.
    return len(shots) >= fewest and not console.ledger.play_open


def vial_refusals(console: Console, session: Session) -> tuple[str, ...]:
    """Return why the next magazine, which no limit forbids, cannot be drawn for; empty when it can, or need not be."""
    shots, fewest = _next_shots(console, session)
    if _holds_enough(console, shots, fewest):
        return ()
    return _vial_refusals(console, session, fewest * session.profile.dose_nl)


def _vial_refusals(console: Console, session: Session, wanted_nl: int) -> tuple[str, ...]:
    target = refill_target(console, session)
    if target - suck_back_owed(console) < session.syringe.increments_within(Nanolitres(wanted_nl)) + 1:
        return ("reservoir: the vial is empty by the book: take another one with `mesogun change vial`",)
    return ()


def load(console: Console, magazine: Magazine, *records: Record) -> Step:
    """Commit the intent (after `records`), then load the pump."""
    intent = intent_of(magazine, console.spec.pump.stroke_increments)
    # Until the real-time process is sent its part it can have opened no gate.
    console = replace(book(console, intent), magazine=magazine, reports=(), seen=Seen(opened=0, done=0), ended=None)
    return console, (Commit((*records, intent)), LoadPump(magazine.pump_program()))


def intent_of(magazine: Magazine, stroke_increments: int) -> MagazineIntent:
    """Return the record that announces a magazine."""
    moves = [move for shot in magazine.shots for move in shot.moves]
    return MagazineIntent(
        magazine_id=magazine.magazine_id,
        purpose=magazine.purpose.value,
        session_id=magazine.session_id,
        region=magazine.region,
        first_shot=magazine.first_shot,
        stroke_nl=magazine.stroke_nl,
        stroke_increments=stroke_increments,
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


def refill(console: Console, session: Session, wanted_nl: int, *records: Record) -> Step:
    """Draw from the vial for `wanted_nl`; refuse when it holds too little for that."""
    if reasons := _vial_refusals(console, session, wanted_nl):
        refusal = (*refuse(console, reasons, *records), SoundRefusal())
        return prepend(refusal, back(replace(console, pending=None, prime_nl=0)))
    drawn = Refill(
        refill_target(console, session),
        overshoot=session.syringe.backlash_increments,
        owed=suck_back_owed(console),
    )
    return replace(console, state=State.REFILLING, ended=None), (*commit(records), drawn)


def refuse(console: Console, reasons: tuple[str, ...], *records: Record) -> tuple[Effect, ...]:
    """Return the effects that commit `records` and answer the waiting command, if there is one, with `reasons`."""
    if console.pending is None:
        return commit(records)
    answer = Reply(console.pending, accepted=False, reasons=reasons)
    return (*commit(turned_down(records, reasons)), answer)
