"""Handlers of what an operator does between shots: start and self-test, home, prime, refill, session."""

from dataclasses import replace

from device.core.booking import session_ended, settled
from device.core.checklist import missing_checklist
from device.core.console import Console, State
from device.core.course import Course, CoursePast, course_refusals, day_of, next_session, past_of
from device.core.effects import (
    Commit,
    Effect,
    HomePlunger,
    ProbePump,
    Send,
)
from device.core.events import (
    HomeRequested,
    PlungerAtTop,
    PrimeRequested,
    PumpProbed,
    RefillDone,
    SessionStartRequested,
    SessionStopRequested,
    Started,
)
from device.core.faults import Fault
from device.core.ledger import Ledger, needle_called
from device.core.limits import Refusal, serum_refusals
from device.core.overriding import overridden_at_start
from device.core.patient_day import UNKNOWN_MS, had_before
from device.core.realtime_messages import (
    Home,
    Homed,
    Ready,
    Reset,
)
from device.core.records import (
    PlungerFound,
    PlungerHomed,
    Record,
    Refilled,
    SessionStarted,
)
from device.core.safety import fault
from device.core.session import Session
from device.core.session_care import held_back, paused_by_restart, too_old
from device.core.settlement import reads_as
from device.core.shot_plan import PlanRefused, plan_prime, plan_stroke
from device.core.steps import Step, back, book, prepend, refused, taken
from device.core.treatment import load, next_magazine, next_shot_refusals, plunger_of, refill, refuse
from device.core.units import Increments, Nanolitres
from device.core.upkeep import formulary_step, unusable_formulary
from device.core.vial import told_refusals

EMPTIES_SYRINGE = (
    "homing the plunger empties the syringe through the needle: never with a patient; confirm with --patient-detached"
)


def started(console: Console, event: Started) -> Step:
    """Begin the self-test with the pump: whatever program it still holds is terminated before anything else.

    A session that an earlier controller had open is paused. A fault that came first leaves the test to its clearing.
    """
    console, effects = formulary_step(console)
    console, pausing = paused_by_restart(console)
    if console.state is State.FAULT:
        return console, (*effects, *pausing)
    return replace(console, state=State.SELF_TEST, probed=False), (*effects, *pausing, ProbePump())


def test_probed(console: Console, event: PumpProbed) -> Step:
    """Settle what was open, compare the plunger with the book; then the real-time process is tested."""
    console = replace(console, initialised=event.position is not None, probed=True)
    records: list[Record] = []
    intent = console.ledger.open_intent
    found: tuple[Fault, str] | None = None
    if intent is not None:
        console, records, certain = settled(console, intent, event.position)
        if not certain:
            found = (Fault.DOSE_UNCERTAIN, f"magazine {intent.magazine_id} booked at its largest possible dose")
    elif event.position is not None and console.ledger.position is not None:
        expected = console.ledger.position
        if not reads_as(event.position, expected):
            record = _found(console, expected, event.position)
            records.append(record)
            if event.position < console.ledger.low_water:
                # By a hand, or a homing that was broken off with the patient detached: no dose that somebody had.
                told = f"expected {expected}, found {event.position} increments; nothing was under way, none is booked"
                found = (Fault.PUMP_POSITION_MISMATCH, told)
            console = book(console, record)
    if console.session is None and console.ledger.session is not None:
        console, ended = session_ended(console, "configuration changed", at_ms=UNKNOWN_MS)
        records.append(ended)
    effects: tuple[Effect, ...] = (Commit(tuple(records)),) if records else ()
    if found is not None:
        return prepend(effects, fault(console, *found))
    return console, (*effects, Send(Reset()))


def _found(console: Console, expected: int, position: int) -> PlungerFound:
    """Return the record of a plunger that stands elsewhere: what it drew in a session came from that one's vial."""
    drawn = Increments(max(0, position - expected))
    volume_nl = console.session.syringe.volume_of(drawn) if console.session is not None else 0
    return PlungerFound(expected=expected, position=position, volume_nl=volume_nl)


def test_ready(console: Console, event: Ready) -> Step:
    """Both keys are tested: go on, unless a latched fault from before the start still holds."""
    console = replace(console, ready=True, homed=event.homed)
    if not console.probed:
        # The answer to an earlier Reset: this test's own comes after the pump's.
        return console, ()
    return (replace(console, state=State.FAULT), ()) if console.ledger.faults else back(console)


def home(console: Console, event: HomeRequested) -> Step:
    """Home the needle; the plunger after it, if it was asked for and no patient is attached."""
    if not console.ready:
        return refused(console, event, ("the needle is still on its way home: try again",))
    if event.plunger and not event.patient_detached:
        return refused(console, event, (EMPTIES_SYRINGE,))
    console = replace(console, state=State.HOMING, pending=event.request, plunger_wanted=event.plunger, homed=False)
    return console, (Commit((taken(event),)), Send(Home()))


def needle_homed(console: Console, event: Homed) -> Step:
    """Go on to the plunger, or end."""
    console = replace(console, homed=True)
    if console.plunger_wanted:
        return replace(console, plunger_wanted=False), (HomePlunger(),)
    return back(console)


def plunger_at_top(console: Console, event: PlungerAtTop) -> Step:
    """Book the empty syringe and end."""
    record = PlungerHomed(position=event.position)
    return prepend((Commit((record,)),), back(replace(book(console, record), initialised=True)))


def not_fit(console: Console, at_ms: int) -> tuple[str, ...]:
    """Return what keeps the console from giving anything at this time of the wall clock, all at once."""
    reasons = [reason.message for reason in (*unusable_formulary(console, at_ms), *too_old(console, at_ms))]
    if console.session is None:
        reasons.append("no session is open")
    reasons += held_back(console)
    if console.ledger.open_intent is not None:
        reasons.append("the last magazine is not settled yet")
    if not console.ready:
        reasons.append("the needle is still on its way home: try again")
    return (*reasons, *not_homed(console))


def not_homed(console: Console) -> tuple[str, ...]:
    """Return which of needle and plunger do not know where they are."""
    reasons = []
    if not console.homed:
        reasons.append("the needle is not homed: `mesogun home`")
    if not console.initialised or console.ledger.position is None:
        reasons.append("the plunger is not homed: without a patient `mesogun home --plunger --patient-detached`")
    return tuple(reasons)


def prime(console: Console, event: PrimeRequested) -> Step:
    """Release serum into the air, if the console is fit for it."""
    session, reasons = console.session, not_fit(console, event.request.at_ms)
    if session is None or reasons:
        return refused(console, event, reasons)
    console = replace(console, pending=event.request, prime_nl=event.volume_nl)
    return prime_now(console, session, taken(event))


def prime_now(console: Console, session: Session, *records: Record) -> Step:
    """Load the prime, refill for it, or refuse it with every reason."""
    try:
        magazine = plan_prime(
            volume_nl=Nanolitres(console.prime_nl),
            syringe=session.syringe,
            spec=console.spec,
            plunger=plunger_of(console),
            magazine_id=console.ledger.magazines + 1,
            session_id=session.session_id,
        )
    except PlanRefused as error:
        effects = refuse(console, tuple(reason.message for reason in error.reasons), *records)
        return prepend(effects, back(replace(console, pending=None, prime_nl=0)))
    if magazine is None:
        return refill(console, session, console.prime_nl, *records)
    return load(replace(console, state=State.PRIMING, prime_nl=0), magazine, *records)


def refill_done(console: Console, event: RefillDone) -> Step:
    """Book what was drawn and go on with what it was drawn for."""
    before = console.ledger.position or 0
    session = console.session
    drawn = Increments(max(0, event.position - before))
    record = Refilled(
        from_position=before,
        position=event.position,
        volume_nl=session.syringe.volume_of(drawn) if session is not None else 0,
    )
    console = book(console, record)
    if session is not None and console.prime_nl:
        return prime_now(console, session, record)
    return next_magazine(console, record)


def _content_refusals(console: Console, event: SessionStartRequested) -> tuple[Refusal, ...]:
    """Return why what is in the syringe and tube must not go into this patient; empty when it may, or it is empty."""
    content = console.ledger.content
    if content is None or not console.initialised:
        return ()
    same_patient = content.patient == event.patient != ""
    if same_patient and (content.serum_sha256, content.syringe_sha256) == (event.serum_sha256, event.syringe_sha256):
        return ()
    return (
        Refusal(
            "content",
            f"the syringe {content.syringe} holds {content.serum} of an earlier session: change syringe, tube and "
            "needle, then without a patient `mesogun home --plunger --patient-detached`",
        ),
    )


def needle_refusals(ledger: Ledger, name: str, *, patient: str) -> tuple[Refusal, ...]:
    """Return why the needle of that id, the one that is on for none, must not go into `patient`; empty when it may."""
    needle = needle_called(ledger, name) if name else ledger.needle
    if not needle.used or patient == needle.patient != "":
        return ()
    who = "another patient" if needle.patient else "a patient without a name"
    which = f"needle {name}" if name else "the needle"
    told = f"{which} was used on {who}: put a new one on, and give it an id of its own by --needle ID"
    return (Refusal("needle", told),)


def _course_past(console: Console, course: Course, event: SessionStartRequested) -> CoursePast | None:
    """Return how far the patient has come in `course`."""
    return past_of(console.ledger.courses, patient=event.patient, course=course.name)


def _course_refusals(console: Console, event: SessionStartRequested) -> tuple[Refusal, ...]:
    """Return why the course's next session must not start today; empty when it may, or it belongs to no course."""
    if event.course is None:
        return (Refusal("course", "--anew begins a course at session 1: give --course NAME"),) if event.anew else ()
    return course_refusals(
        event.course,
        _course_past(console, event.course, event),
        patient=event.patient,
        today=day_of(event.request.at_ms, event.request.utc_offset_s),
        anew=event.anew,
    )


def session_start(console: Console, event: SessionStartRequested) -> Step:
    """Plan the session's stroke and refuse with every reason at once, or open it."""
    still_refused, overridden = overridden_at_start(event, _course_refusals(console, event))
    reasons = [
        *unusable_formulary(console, event.request.at_ms),
        *serum_refusals(event.serum, weight_g=event.weight_g),
        *missing_checklist(event.serum, event.checklist),
        *told_refusals(event.vial, event.serum, now_ms=event.request.at_ms),
        *_content_refusals(console, event),
        *needle_refusals(console.ledger, event.needle, patient=event.patient),
        *still_refused,
    ]
    try:
        plan = plan_stroke(event.profile, event.syringe, console.spec)
    except PlanRefused as error:
        reasons += error.reasons
        return refused(console, event, tuple(reason.message for reason in reasons))
    if event.syringe.stroke_increments != console.spec.pump.stroke_increments:
        return refused(console, event, ("the syringe is calibrated for another pump stroke",))
    session = Session(
        session_id=event.session_id,
        profile=event.profile,
        serum=event.serum,
        syringe=event.syringe,
        patient=event.patient,
        weight_g=event.weight_g,
        regions=event.regions,
        plan=plan,
        before=had_before(console.ledger.past, patient=event.patient, now_ms=event.request.at_ms),
        checklist=event.checklist,
    )
    if (course := event.course) is not None:
        number = next_session(course, _course_past(console, course, event), anew=event.anew)
        session = replace(session, course=course.name, course_session=number, course_sessions=course.sessions)
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
        at_ms=event.request.at_ms,
        ingredients=[ingredient.name for ingredient in event.serum.ingredients],
        ug_per_ml=[ingredient.concentration_ug_per_ml for ingredient in event.serum.ingredients],
        before_nl=session.before.volume_nl,
        formulary_version=console.formulary.version,
        formulary_sha256=console.formulary.sha256,
        course=session.course,
        course_sha256=event.course_sha256,
        course_session=session.course_session,
        course_sessions=session.course_sessions,
        utc_offset_s=event.request.utc_offset_s,
        region_area_mm2=[region.area_mm2 for region in event.regions],
        region_spacing_um=[region.spacing_um for region in event.regions],
        region_grid=[region.grid.value for region in event.regions],
        checklist=event.checklist.name if event.checklist is not None else "",
        checklist_sha256=event.checklist_sha256,
        operator=event.operator,
        lot=event.vial.lot,
        lot_expires_ms=event.vial.expires_ms,
        mixed_ms=event.vial.mixed_ms,
        needle=event.needle,
    )
    if reasons:
        return refused(console, event, tuple(reason.message for reason in reasons))
    opened = replace(book(console, started, *overridden), session=session, last_shot=None, ended=None)
    # A soft limit refuses the arming, and is overridden by its own name: the start's word is about a course's gap.
    if hard := [reason.message for reason in next_shot_refusals(opened, session) if not reason.figure]:
        return refused(console, event, tuple(hard))
    records = (taken(event), started, *overridden)
    return prepend((Commit(records),), back(replace(opened, pending=event.request)))


def session_stop(console: Console, event: SessionStopRequested) -> Step:
    """End the session with its totals."""
    console, ended = session_ended(console, "stopped", at_ms=event.request.at_ms)
    return prepend((Commit((taken(event), ended)),), back(replace(console, pending=event.request)))
