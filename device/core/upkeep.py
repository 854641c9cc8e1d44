"""What is written down between treatments: a syringe's calibration, and the formulary that came into force."""

from dataclasses import replace

from device.core.calibration import measurement_refusals
from device.core.console import Console
from device.core.effects import Commit, Effect, Reply
from device.core.events import CalibrateRequested, RollBackRequested
from device.core.formulary import Formulary, formulary_refusals, is_newer, is_roll_back
from device.core.limits import Refusal
from device.core.records import FormularyTaken, Record, SyringeCalibrated
from device.core.steps import Step, book, refused, taken


def formulary_step(console: Console) -> Step:
    """Take the formulary that was found at start, if it is good and newer than the last one."""
    if not is_newer(console.formulary, console.ledger.formulary):
        return console, ()
    record = _record_of(console.formulary)
    return book(console, record), (Commit((record,)),)


def roll_back(console: Console, event: RollBackRequested) -> Step:
    """Take a formulary that is no newer, and write down by whose word; refuse what needs no word, or is not good."""
    found = console.formulary
    if not is_roll_back(found, console.ledger.formulary):
        in_force = f"formulary version {found.version} is in force already"
        return refused(console, event, (f"formulary: {found.problem}" if found.problem else in_force,))
    record = replace(_record_of(found), rolled_back=True, reason=event.reason, by=event.by, uid=event.request.uid)
    return _written(console, event, record)


def _record_of(formulary: Formulary) -> FormularyTaken:
    return FormularyTaken(
        version=formulary.version,
        sha256=formulary.sha256,
        author=formulary.author,
        signed_by=formulary.signed_by,
        signed_ms=formulary.signed_ms,
        expires_ms=formulary.expires_ms,
    )


def unusable_formulary(console: Console, at_ms: int) -> tuple[Refusal, ...]:
    """Return why nothing may be released under the formulary that was found, at this time of the wall clock."""
    return formulary_refusals(console.formulary, console.ledger.formulary, now_ms=at_ms)


def calibrate(console: Console, event: CalibrateRequested) -> Step:
    """Write down a syringe's calibration, or refuse a measurement that is none."""
    at_ms = event.request.at_ms
    if why := measurement_refusals(event.syringe, event.measured_nl, at_ms=at_ms, expires_ms=event.expires_ms):
        return refused(console, event, why)
    record = SyringeCalibrated(
        syringe=event.syringe.name,
        syringe_sha256=event.syringe_sha256,
        stroke_nl=event.syringe.stroke_nl,
        measured_nl=event.measured_nl,
        method=event.method,
        at_ms=at_ms,
        expires_ms=event.expires_ms,
    )
    return _written(console, event, record)


def _written(console: Console, event: CalibrateRequested | RollBackRequested, record: Record) -> Step:
    effects: tuple[Effect, ...] = (Commit((taken(event), record)), Reply(event.request, accepted=True, reasons=()))
    return book(console, record), effects
