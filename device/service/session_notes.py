"""A journal's record as the note that a session's report has of it: leaf conversions, without a state.

Adds nothing but words for people (a fault's title beside its number). What belongs to the session, and what it sums up
to, is `session_fold`'s.
"""

from collections.abc import Sequence
from dataclasses import replace

from device.core.faults import CATALOGUE, Fault
from device.core.journal_chain import Entry
from device.core.records import (
    Booted,
    FaultRaised,
    FaultsCleared,
    FormularyTaken,
    MagazineIntent,
    MagazineSettled,
    ShotGiven,
)
from device.service.percentile import percentile
from device.service.session_report import (
    Boot,
    FaultNote,
    FormularyNote,
    ShotNote,
    Timings,
    UncertainMagazine,
)


def boot_note(entry: Entry, record: Booted, open_intent: MagazineIntent | None) -> Boot:
    """Return a start of the controller, with the magazine that was open then."""
    return Boot(
        seq=entry.seq,
        at_ms=entry.ts_ms,
        boot_id=entry.boot_id,
        version=record.version,
        configuration_sha256=record.configuration_sha256,
        simulated=record.simulated,
        open_magazine=open_intent.magazine_id if open_intent is not None else 0,
    )


def formulary_note(entry: Entry, record: FormularyTaken) -> FormularyNote:
    """Return the formulary that was taken."""
    return FormularyNote(
        seq=entry.seq,
        at_ms=entry.ts_ms,
        version=record.version,
        sha256=record.sha256,
        author=record.author,
        signed_by=record.signed_by,
        expires_ms=record.expires_ms,
        rolled_back=record.rolled_back,
        reason=record.reason,
        by=record.by,
        uid=record.uid,
    )


def shot_note(entry: Entry, shot: ShotGiven) -> ShotNote:
    """Return one shot with its reason in words."""
    return ShotNote(
        seq=entry.seq,
        at_ms=entry.ts_ms,
        shot=shot.shot,
        region=shot.region,
        outcome=shot.outcome,
        reason=_shot_reason(shot.reason),
        planned_nl=shot.planned_nl,
        booked_nl=shot.booked_nl,
        entry_nl=shot.entry_nl,
        dwell_nl=shot.dwell_nl,
        exit_nl=shot.exit_nl,
        depth_um=shot.depth_um,
    )


def _shot_reason(reason: str) -> str:
    """Return a shot's reason with its fault's title beside the number."""
    word, _, number = reason.partition(" ")
    title = _title(int(number)) if word == "fault" and number.isdigit() else ""
    return f"{reason}: {title}" if title else reason


def _title(code: int) -> str:
    """Return what a person is told of a fault; empty for a number that this software does not know."""
    try:
        return CATALOGUE[Fault(code)].title
    except ValueError:
        return ""


def fault_note(entry: Entry, record: FaultRaised) -> FaultNote:
    """Return a fault with its title; with its name for a number that this software does not know."""
    return FaultNote(
        seq=entry.seq,
        at_ms=entry.ts_ms,
        code=record.code,
        title=_title(record.code) or record.name,
        priority=record.priority,
        latched=record.latched,
        detail=record.detail,
    )


def cleared(fault: FaultNote, entry: Entry, record: FaultsCleared) -> FaultNote:
    """Return the fault as it stands after this clearing: with when and by whom, if it was among the cleared."""
    if not fault.latched or fault.cleared_ms is not None or fault.code not in record.codes:
        return fault
    return replace(fault, cleared_ms=entry.ts_ms, cleared_by_uid=record.uid)


def uncertain_magazine(entry: Entry, record: MagazineSettled) -> UncertainMagazine:
    """Return a magazine that was settled without certainty."""
    return UncertainMagazine(
        seq=entry.seq,
        at_ms=entry.ts_ms,
        magazine_id=record.magazine_id,
        purpose=record.purpose,
        reason=record.reason,
        given_nl=record.given_nl,
        shots=record.shots,
    )


def timings_of(shots: Sequence[ShotGiven]) -> Timings:
    """Return the measurements of the shots together; a measurement that was not taken (-1) is left out."""

    def measured(name: str) -> list[int]:
        return sorted(value for shot in shots if (value := getattr(shot, name)) >= 0)

    presses = measured("press_to_step_us")
    strokes, depths = measured("stroke_us"), measured("depth_um")
    return Timings(
        presses=len(presses),
        press_to_step_us_p50=percentile(presses, 50),
        press_to_step_us_p99=percentile(presses, 99),
        press_to_step_us_max=percentile(presses, 100),
        step_late_us_p50=percentile(measured("step_late_us_p50"), 50),
        step_late_us_p99=percentile(measured("step_late_us_p99"), 100),
        step_late_us_max=percentile(measured("step_late_us_max"), 100),
        stroke_us_min=percentile(strokes, 0),
        stroke_us_max=percentile(strokes, 100),
        depth_um_min=percentile(depths, 0),
        depth_um_max=percentile(depths, 100),
    )
