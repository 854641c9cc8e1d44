"""What a starting controller takes over: the ledger from the journal and the open session.

The same for a real console and a simulated one. Changes nothing: what an open magazine came to is the machine's
business, in its self-test.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from device.controller.journal import Journal
from device.core.ledger import Ledger, apply
from device.core.patient_day import PastSession, had_before
from device.core.records import Booted, SessionStarted
from device.core.region_plan import Grid
from device.core.session import Region, Session
from device.core.shot_plan import PlanRefused, plan_stroke
from device.core.units import Increments
from device.settings import Configuration, Loaded

log = logging.getLogger(__name__)

JOURNAL_PAGE: Final = 500
"""Entries read at a time while the ledger is computed at start."""


class OtherKindError(Exception):
    """The journal is of a simulated console and this one is real, or the other way round: one line that says so."""


def fold_journal(journal: Journal, *, simulated: bool) -> Ledger:
    """Fold the journal. Raises OtherKindError when it belongs to a console of the other kind."""
    ledger, after = Ledger(), 0
    while entries := journal.entries(after, JOURNAL_PAGE):
        for entry in entries:
            record = entry.record()
            if isinstance(record, Booted) and record.simulated != simulated:
                kind, option = ("simulated", "with") if record.simulated else ("real", "without")
                raise OtherKindError(
                    f"this state directory holds the journal of a {kind} console: start {option} --sim, "
                    "or choose another --state"
                )
            ledger = apply(ledger, record)
        after = entries[-1].seq
    return ledger


def restored_session(ledger: Ledger, configuration: Configuration) -> Session | None:
    """Return the session that was open when the last controller ended, if its files are unchanged; else None."""
    if ledger.session is None:
        return None
    booked = ledger.session
    started = booked.started
    files: tuple[tuple[Mapping[str, Loaded[Any]], str, str], ...] = (
        (configuration.profiles, started.profile, started.profile_sha256),
        (configuration.serums, started.serum, started.serum_sha256),
        (configuration.syringes, started.syringe, started.syringe_sha256),
    )
    if started.checklist:
        files = (*files, (configuration.checklists, started.checklist, started.checklist_sha256))
    found = [loaded for files_by_name, name, _ in files if (loaded := files_by_name.get(name)) is not None]
    if [loaded.sha256 for loaded in found] != [digest for _, _, digest in files]:
        log.warning("session %s is not continued: its files have changed", started.session_id)
        return None
    if configuration.syringes[started.syringe].value.volume_of(Increments(booked.increments)) != booked.volume_nl:
        # What was given is booked in the pump's increments: on another scale the limits would see another volume.
        log.warning("session %s is not continued: the pump's scale has changed", started.session_id)
        return None
    return _session(started, ledger.past, configuration)


def _session(started: SessionStarted, past: tuple[PastSession, ...], configuration: Configuration) -> Session | None:
    profile = configuration.profiles[started.profile].value
    syringe = configuration.syringes[started.syringe].value
    try:
        plan = plan_stroke(profile, syringe, configuration.device)
    except PlanRefused as refused:
        log.warning("session %s is not continued: %s", started.session_id, refused)
        return None
    return Session(
        session_id=started.session_id,
        profile=profile,
        serum=configuration.serums[started.serum].value,
        syringe=syringe,
        patient=started.patient,
        weight_g=started.weight_g,
        regions=restored_regions(started),
        plan=plan,
        before=had_before(past, patient=started.patient, now_ms=started.at_ms),
        course=started.course,
        course_session=started.course_session,
        course_sessions=started.course_sessions,
        checklist=configuration.checklists[started.checklist].value if started.checklist else None,
    )


def restored_regions(started: SessionStarted) -> tuple[Region, ...]:
    """Return the planned regions of a session's record; an older one says nothing of areas."""
    counted = tuple(Region(name, points) for name, points in zip(started.regions, started.region_points, strict=True))
    if len(started.region_area_mm2) != len(counted):
        return counted
    areas = zip(counted, started.region_area_mm2, started.region_spacing_um, started.region_grid, strict=True)
    return tuple(
        Region(region.name, region.points, area_mm2, spacing_um, Grid(grid))
        for region, area_mm2, spacing_um, grid in areas
    )
