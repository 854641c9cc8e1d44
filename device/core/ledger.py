"""The ledger: what the journal's records add up to. A pure fold; the same at run time and after a restart.

Nothing else in the controller keeps a total: limits read them here, the demo and `status` show them from here.
"""

from dataclasses import dataclass, replace
from typing import Final

from device.core.calibration import Calibration, kept
from device.core.course import CoursePast, day_of
from device.core.course import remembered as course_remembered
from device.core.formulary import TakenFormulary
from device.core.magazine import Outcome, Purpose
from device.core.patient_day import UNKNOWN_MS, PastSession, dated, ingredient_key, remembered
from device.core.patient_hour import Run, with_shots
from device.core.patient_hour import dated as runs_dated
from device.core.records import (
    RECOVERED,
    START_COMMAND,
    CommandTaken,
    ConsoleKeyMade,
    FaultRaised,
    FaultsCleared,
    FormularyTaken,
    ItemChecked,
    LimitOverridden,
    MagazineIntent,
    MagazineSettled,
    MarkWord,
    NeedleChanged,
    PlungerFound,
    PlungerHomed,
    PointMarked,
    Record,
    Refilled,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    ShotGiven,
    SyringeCalibrated,
    SyringeChanged,
    VialChanged,
)
from device.core.region_plan import NO_PLAN, Progress
from device.core.serum import mass_in
from device.core.settlement import POSITION_TOLERANCE
from device.core.units import Nanolitres
from device.core.vial import UNTOLD, Vial, drawn_together


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """The open session's record and its booked totals. `drawn_nl` is what was drawn from its vial, `overridden` the
    soft limits that hold no more.

    `progress` is how far the planned points are, `region_nl` what is booked in each region, in the plan's order.
    `checked` are the confirmed items of its check-list. `vial` is what was told of the one that it draws from.
    `paused`: nothing is primed or armed until somebody resumes it. `earlier_vials_nl` was drawn from vials before that.
    """

    started: SessionStarted
    shots: int = 0
    increments: int = 0
    volume_nl: int = 0
    drawn_nl: int = 0
    primed_nl: int = 0
    overridden: tuple[str, ...] = ()
    progress: Progress = NO_PLAN
    region_nl: tuple[int, ...] = ()
    checked: tuple[str, ...] = ()
    vial: Vial = UNTOLD
    paused: bool = False
    earlier_vials_nl: int = 0


NEEDLES_KEPT_MOST: Final = 500
"""Used needles that the ledger remembers by their ids: several times what one console can wear in a day."""


@dataclass(frozen=True, slots=True)
class Needle:
    """The needle on the handpiece: its id, empty where none was told, its shots, and in whom it was.

    `used`: it was in a patient, or may have been: where nobody told how a magazine ended, it may have been in without
    a shot that is booked.
    """

    needle: str = ""
    shots: int = 0
    patient: str = ""
    used: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals after all records so far.

    `position`, `low_water` and `carry` are the plunger's after the last settled magazine, refill or homing; None and
    0 before the first. `content` is the session that what is in the syringe was drawn for; None when it was emptied.
    `play_open`: the plunger was last found drawn up, so that the drive's play is open by an unknown part. `open_intent`
    has no outcome yet. `faults` are the latched ones that nobody cleared. `past` are the ended sessions that gave
    something, the latest last. `calibrations` hold one for each syringe that was measured, `courses` how far each
    patient has come in each course. `formulary` came into force last. `drawn` is the age of what is in the syringe.
    `needle` is the one on the handpiece, whatever session it was put on in, `needles` are used ones that were on it.
    `unprimed`: needle or syringe are new and were not primed yet; `unhomed`: the syringe is new, or drew without a
    session, and its plunger was not homed. Both outlast the session.
    `console_key` is the public half of the key that signs summaries.
    """

    session: SessionTotals | None = None
    open_intent: MagazineIntent | None = None
    position: int | None = None
    low_water: int = 0
    carry: int = 0
    content: SessionStarted | None = None
    play_open: bool = False
    magazines: int = 0
    faults: tuple[int, ...] = ()
    past: tuple[PastSession, ...] = ()
    runs: tuple[Run, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    formulary: TakenFormulary | None = None
    courses: tuple[CoursePast, ...] = ()
    drawn: Vial | None = None
    needle: Needle = Needle()
    needles: tuple[Needle, ...] = ()
    unprimed: bool = False
    unhomed: bool = False
    console_key: str = ""


def apply(ledger: Ledger, record: Record) -> Ledger:
    """Return the ledger after `record`."""
    match record:
        case SessionStarted():
            return _started(ledger, record)
        case SessionEnded():
            return _ended(ledger, record)
        case LimitOverridden() if ledger.session is not None:
            over = (*ledger.session.overridden, record.limit)
            return replace(ledger, session=replace(ledger.session, overridden=over))
        case MagazineIntent():
            return replace(ledger, open_intent=record, magazines=max(ledger.magazines, record.magazine_id))
        case MagazineSettled():
            return _settled(ledger, record)
        case ShotGiven() | PointMarked():
            return _marked(ledger, record)
        case Refilled() | PlungerHomed() | PlungerFound():
            return _moved(ledger, record)
        case SyringeCalibrated():
            latest = Calibration(record.syringe_sha256, record.at_ms, record.expires_ms)
            return replace(ledger, calibrations=kept(ledger.calibrations, latest))
        case FormularyTaken():
            return replace(ledger, formulary=TakenFormulary(record.version, record.sha256))
        case FaultRaised() if record.latched:
            return replace(ledger, faults=(*(code for code in ledger.faults if code != record.code), record.code))
        case FaultsCleared():
            return replace(ledger, faults=())
        case CommandTaken() if record.command == START_COMMAND:
            # Refused or not: what ended at an unknown time had ended by then, and is over a day later.
            return _dated(ledger, record.at_ms)
        case _:
            return _looked_after(ledger, record)


def _moved(ledger: Ledger, record: Refilled | PlungerHomed | PlungerFound) -> Ledger:
    """Take where the plunger went without giving anything to the patient."""
    match record:
        case Refilled():
            # What was sucked back into the needle is still missing there after a refill.
            owed = (ledger.position - ledger.low_water) if ledger.position is not None else 0
            session, place = ledger.session, record.position
            if session is not None:
                ledger = replace(_drawn(ledger, session, record.volume_nl), content=session.started)
            return replace(ledger, position=place, low_water=place - owed, play_open=False)
        case PlungerHomed():
            return _homed(ledger, record)
        case _:
            if record.position < record.expected:
                # It moved toward the needle: that repaid of a suck-back what it went.
                return replace(ledger, position=record.position, low_water=min(ledger.low_water, record.position))
            return _drew_untold(ledger, record)


def _drew_untold(ledger: Ledger, record: PlungerFound) -> Ledger:
    low_water = record.position - max(0, record.expected - ledger.low_water)
    ledger = replace(ledger, position=record.position, low_water=low_water, play_open=True)
    session = ledger.session
    if session is None:
        # Nobody knows from where, nor whether it was serum or air.
        return replace(ledger, unhomed=True)
    # A refill that was broken off: what it drew is as if the end of it had been told.
    return replace(_drawn(ledger, session, record.volume_nl), content=ledger.content or session.started)


def _drawn(ledger: Ledger, session: SessionTotals, volume_nl: int) -> Ledger:
    """Book what the session drew from its vial: what is in the syringe is as old as that from now on."""
    session = replace(session, drawn_nl=session.drawn_nl + volume_nl)
    return replace(ledger, session=session, drawn=drawn_together(ledger.drawn, session.vial))


def _opened(record: SessionStarted) -> SessionTotals:
    # A negative number of points is no plan that this software writes.
    points = tuple(max(0, points) for points in record.region_points)
    return SessionTotals(record, progress=Progress(points), region_nl=(0,) * len(record.regions))


def _marked(ledger: Ledger, record: ShotGiven | PointMarked) -> Ledger:
    """Say what became of the plan's points: a shot counts for the next one, or an operator marks some."""
    if ledger.session is None:
        return ledger
    progress = ledger.session.progress
    if isinstance(record, ShotGiven):
        progress = progress.shot(whole=record.outcome == Outcome.DELIVERED.value)
    elif record.mark == MarkWord.SKIPPED:
        progress = progress.skipped(record.points)
    elif record.mark == MarkWord.REPEAT:
        progress = progress.repeated()
    else:
        progress = progress.undone()
    return replace(ledger, session=replace(ledger.session, progress=progress))


def _started(ledger: Ledger, record: SessionStarted) -> Ledger:
    vial = Vial(record.lot, record.lot_expires_ms, record.mixed_ms, told_ms=record.at_ms)
    new_needle = record.needle not in ("", ledger.needle.needle)
    ledger = _put_on(ledger, record.needle) if new_needle else ledger
    return replace(
        _dated(ledger, record.at_ms),
        session=replace(_opened(record), vial=vial),
        carry=0,
        unprimed=ledger.unprimed or new_needle,
    )


def needle_called(ledger: Ledger, name: str) -> Needle:
    """Return the needle of that id, with what was given with it before; a new one where none is known by it."""
    return next((one for one in (ledger.needle, *ledger.needles) if name and one.needle == name), Needle(name))


def _put_on(ledger: Ledger, name: str) -> Ledger:
    off = ledger.needle
    others = tuple(one for one in ledger.needles if one.needle not in (name, off.needle))
    used = (*others, off) if off.needle and off.used else others
    return replace(ledger, needle=needle_called(ledger, name), needles=used[-NEEDLES_KEPT_MOST:])


def _dated(ledger: Ledger, at_ms: int) -> Ledger:
    return replace(ledger, past=dated(ledger.past, at_ms), runs=runs_dated(ledger.runs, at_ms))


def _homed(ledger: Ledger, record: PlungerHomed) -> Ledger:
    place = record.position
    return replace(ledger, unhomed=False, content=None, drawn=None, position=place, low_water=place, play_open=False)


def _looked_after(ledger: Ledger, record: Record) -> Ledger:
    """Return the ledger after what is no dose and no fault: the console's key, or what belongs to the open session."""
    if isinstance(record, ConsoleKeyMade):
        return replace(ledger, console_key=record.public_key)
    session = ledger.session
    if session is None:
        return ledger
    match record:
        case ItemChecked():
            others = (item for item in session.checked if item != record.item)
            session = replace(session, checked=(*others, record.item))
        case SessionPaused() | SessionResumed():
            session = replace(session, paused=isinstance(record, SessionPaused))
        case VialChanged():
            vial = Vial(record.lot, record.lot_expires_ms, record.mixed_ms, told_ms=record.at_ms)
            earlier_nl = session.earlier_vials_nl + session.drawn_nl
            session = replace(session, vial=vial, drawn_nl=0, earlier_vials_nl=earlier_nl)
        case NeedleChanged():
            return replace(_put_on(ledger, record.needle), unprimed=True)
        case SyringeChanged():
            return replace(ledger, unprimed=True, unhomed=True)
        case _:
            return ledger
    return replace(ledger, session=session)


def _ended(ledger: Ledger, record: SessionEnded) -> Ledger:
    """Keep what the session gave, for the limits of its patient's next 24 hours and for their course."""
    if ledger.session is None:
        return ledger
    started, volume_nl = ledger.session.started, Nanolitres(ledger.session.volume_nl)
    # A clock that stood behind at either end has often been set right at the other: the later is nearer.
    ended_ms = max(started.at_ms, record.at_ms)
    given = PastSession(
        patient=started.patient,
        ended_ms=ended_ms if record.at_ms != UNKNOWN_MS else UNKNOWN_MS,
        volume_nl=volume_nl,
        masses=tuple(
            (ingredient_key(name), mass_in(volume_nl, ug_per_ml))
            for name, ug_per_ml in zip(started.ingredients, started.ug_per_ml, strict=True)
        ),
    )
    courses = ledger.courses
    if started.course and volume_nl > 0:
        day = day_of(ended_ms, started.utc_offset_s)
        reached = CoursePast(started.patient, started.course, started.course_session, day)
        courses = course_remembered(courses, reached)
    return replace(ledger, session=None, courses=courses, past=remembered(ledger.past, given))


def _settled(ledger: Ledger, record: MagazineSettled) -> Ledger:
    session = ledger.session
    if session is not None and record.purpose == Purpose.PRIME.value:
        unprimed = ledger.unprimed and (record.reason != "complete" or record.given_nl <= 0)
        ledger = replace(ledger, unprimed=unprimed)
        session = replace(session, primed_nl=session.primed_nl + record.given_nl)
    elif session is not None:
        session = replace(
            session,
            shots=session.shots + record.shots,
            increments=session.increments + record.given,
            volume_nl=session.volume_nl + record.given_nl,
            region_nl=_region_nl(session, ledger.open_intent, record.given_nl),
        )
        patient, at_ms = session.started.patient, record.at_ms
        ledger = replace(ledger, runs=with_shots(ledger.runs, patient=patient, at_ms=at_ms, shots=record.shots))
    # A magazine of which nothing moved, a prime that was broken off before its gate, takes up no play.
    came_down = ledger.position is None or record.position < ledger.position - POSITION_TOLERANCE
    needle = ledger.needle
    was_in = record.shots > 0 or record.reason == RECOVERED
    if session is not None and record.purpose != Purpose.PRIME.value and was_in:
        shots = needle.shots + record.shots
        needle = replace(needle, shots=shots, used=True, patient=session.started.patient)
    return replace(
        ledger,
        session=session,
        needle=needle,
        open_intent=None,
        position=record.position,
        low_water=record.low_water,
        carry=record.carry,
        play_open=ledger.play_open and not came_down,
    )


def _region_nl(session: SessionTotals, intent: MagazineIntent | None, given_nl: int) -> tuple[int, ...]:
    """Book a magazine's volume in its region: every magazine ends with its region."""
    region = intent.region if intent is not None else ""
    return tuple(
        booked_nl + (given_nl if name == region else 0)
        for name, booked_nl in zip(session.started.regions, session.region_nl, strict=True)
    )
