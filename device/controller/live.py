"""What is true right now, for people and dashboards: one flat object, on the control socket and in `live.json`.

Owns the snapshot's keys. The gateway reads the file and can reach nothing else of the controller; it lies in the
runtime directory (memory on the Pi, so that it wears no card) and is replaced whole, at most five times a second.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from device.core.checklist import open_items
from device.core.console import Console, State
from device.core.faults import CATALOGUE, Fault
from device.core.limits import nl_per_cm2
from device.core.operations import not_homed
from device.core.region_plan import NO_PLAN
from device.core.session_care import held_back, not_cared_for, paused, too_old
from device.core.soft_limits import NAMES as SOFT_NAMES
from device.core.treatment import next_shot_refusals, progress_of, shots_left
from device.core.units import Nanolitres
from device.core.upkeep import unusable_formulary
from device.realtime.lateness import most_us

log = logging.getLogger(__name__)

PERIOD_S: Final = 0.2
"""Shortest time between two versions of the file."""

REFRESH_S: Final = 5.0
"""A file older than 15 s counts as stale: it is written anew at this pace even when nothing changes."""


def snapshot(console: Console) -> dict[str, Any]:
    """Return the flat state of the console: whole numbers with their unit in the name, no patient."""
    session, totals, shot = console.session, console.ledger.session, console.last_shot
    limit_nl = console.spec.limits.session_nl
    if session is not None:
        limit_nl = Nanolitres(min(limit_nl, session.profile.session_volume_nl))
    shots = totals.shots if totals is not None else 0
    return {
        "state": console.state.name.lower(),
        "state_code": int(console.state),
        "armed": console.armed,
        "homed": console.homed,
        "plunger_homed": console.initialised,
        "faults": ",".join(str(code) for code in console.ledger.faults),
        "formulary_version": console.formulary.version,
        "session_id": session.session_id if session is not None else "",
        "profile": session.profile.name if session is not None else "",
        "serum": session.serum.name if session is not None else "",
        "syringe": session.syringe.name if session is not None else "",
        "course": session.course if session is not None else "",
        "course_session": session.course_session if session is not None else 0,
        "course_sessions": session.course_sessions if session is not None else 0,
        **_guidance(console),
        **_checklist(console),
        "needle": console.ledger.needle.needle,
        "needle_shots": console.ledger.needle.shots,
        "needle_shots_limit": console.spec.limits.needle_shots,
        "vial_drawn_nl": totals.drawn_nl if totals is not None else 0,
        "paused": totals is not None and totals.paused,
        "operator": totals.started.operator if totals is not None else "",
        "lot": totals.vial.lot if totals is not None else "",
        "lot_expires_ms": totals.vial.expires_ms if totals is not None else 0,
        "mixed_ms": totals.vial.mixed_ms if totals is not None else 0,
        "shots": shots,
        "shots_planned": session.planned_shots if session is not None else 0,
        **_still_allowed(console),
        "volume_nl": totals.volume_nl if totals is not None else 0,
        "volume_limit_nl": limit_nl,
        "primed_nl": totals.primed_nl if totals is not None else 0,
        "plunger_increments": console.ledger.position if console.ledger.position is not None else -1,
        "uncertain": console.ledger.open_intent is not None,
        "last_shot": shot.shot if shot is not None else 0,
        "last_outcome": shot.outcome if shot is not None else "",
        "last_booked_nl": shot.booked_nl if shot is not None else 0,
        "last_late_us_p99": shot.step_late_us_p99 if shot is not None else -1,
    }


def fault_list(console: Console) -> list[dict[str, Any]]:
    """Return the latched faults with their meaning and the operator's action."""
    return [
        {
            "code": code,
            "name": Fault(code).name.lower(),
            "title": CATALOGUE[Fault(code)].title,
            "action": CATALOGUE[Fault(code)].action,
            "priority": CATALOGUE[Fault(code)].priority.value,
        }
        for code in console.ledger.faults
    ]


def refusals(console: Console, at_ms: int) -> list[str]:
    """Return why the next shot would be refused at this wall clock; without a session what the formulary forbids."""
    unusable = [reason.message for reason in unusable_formulary(console, at_ms)]
    if console.session is None:
        return unusable
    unmet = (*too_old(console, at_ms), *not_cared_for(console), *next_shot_refusals(console, console.session))
    return [*unusable, *held_back(console), *not_homed(console), *(reason.message for reason in unmet)]


def ended_session(console: Console) -> dict[str, Any]:
    """Return what is told at a session's end, of the console in which it was still open: its totals, its aftercare."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return {}
    return {
        "session_id": session.session_id,
        "shots": totals.shots,
        "volume_nl": totals.volume_nl,
        "primed_nl": totals.primed_nl,
        "aftercare": list(session.checklist.aftercare) if session.checklist is not None else [],
    }


def checklist_items(console: Console) -> list[dict[str, Any]]:
    """Return the session's check-list, item by item, and whether each is confirmed; none without one."""
    session, totals = console.session, console.ledger.session
    if session is None or session.checklist is None or totals is None:
        return []
    return [
        {"key": item.key, "text": item.text, "required": item.required, "checked": item.key in totals.checked}
        for item in session.checklist.items
    ]


def _checklist(console: Console) -> dict[str, Any]:
    """Return the check-list's name and its open items' keys, comma-joined."""
    session, totals = console.session, console.ledger.session
    if session is None or session.checklist is None or totals is None:
        return {"checklist": "", "checklist_open": ""}
    still_open = open_items(session.checklist, totals.checked)
    return {"checklist": session.checklist.name, "checklist_open": ",".join(item.key for item in still_open)}


def _guidance(console: Console) -> dict[str, Any]:
    """Return where the next shot belongs, what the points have come to, and what the operator does next."""
    session = console.session
    progress = progress_of(console, session) if session is not None else NO_PLAN
    place, tallies = progress.place(), progress.tallies()
    return {
        "region": session.regions[place.region].name if session is not None and place is not None else "",
        "region_points": place.points if place is not None else 0,
        "region_left": place.left if place is not None else 0,
        "point": place.point if place is not None else 0,
        "point_repeat": place.repeat if place is not None else False,
        "points_given": sum(tally.given for tally in tallies),
        "points_missed": sum(tally.missed for tally in tallies),
        "points_doubled": sum(tally.doubled for tally in tallies),
        "points_partial": sum(len(tally.partial) for tally in tallies),
        "next_action": next_action(console),
    }


def next_action(console: Console) -> str:
    """Return what the operator does next, in a word that programs may rely on; `none` without a session."""
    if console.ledger.faults:
        return "clear_fault"
    if console.session is None:
        return "none"
    if console.state in (State.ARMED, State.FIRING):
        return "press"
    if console.state is not State.SESSION:
        return "wait"
    against = {reason.code for reason in next_shot_refusals(console, console.session)}
    if against:
        return _way_on(against)
    if paused(console):
        return "resume_session"
    if held_back(console) or not_homed(console):
        return "home"
    unmet = [reason.code for reason in not_cared_for(console)]
    return "arm" if not unmet else "prime" if unmet == ["prime"] else "confirm_checklist"


def _way_on(against: set[str]) -> str:
    """Return what an operator does about the limits that the next shot would exceed."""
    if against == {"region_density"}:
        return "skip_points"
    if against == {"needle_shots"}:
        return "change_needle"
    return "override" if against <= set(SOFT_NAMES) else "stop_session"


def region_list(console: Console) -> list[dict[str, Any]]:
    """Return how evenly each planned region was treated; `nl_per_cm2` is -1 where its area is not known."""
    session, totals = console.session, console.ledger.session
    if session is None or totals is None:
        return []
    return [
        {
            "region": region.name,
            "points": tally.planned,
            "given": tally.given,
            "missed": tally.missed,
            "doubled": tally.doubled,
            "partial_points": list(tally.partial),
            "booked_nl": booked_nl,
            "area_mm2": region.area_mm2,
            "spacing_um": region.spacing_um,
            "grid": region.grid.value if region.area_mm2 else "",
            "nl_per_cm2": nl_per_cm2(booked_nl, region.area_mm2) if region.area_mm2 else -1,
        }
        for region, tally, booked_nl in zip(session.regions, totals.progress.tallies(), totals.region_nl, strict=True)
    ]


def _still_allowed(console: Console) -> dict[str, Any]:
    """Return how many shots the session may still give, and which limit comes first; none without a session."""
    if console.session is None:
        return {"shots_left": 0, "first_limit": "", "first_limit_reached": ""}
    left, limit = shots_left(console, console.session)
    return {"shots_left": left, "first_limit": limit.code, "first_limit_reached": limit.message}


def step_lateness(counts: Sequence[int]) -> dict[str, Any]:
    """Return how late the present real-time process gave its steps: upper bounds in us, -1 where it gave none."""
    return {
        "steps": sum(counts),
        "us_p50_most": most_us(counts, 0.5),
        "us_p999_most": most_us(counts, 0.999),
        "us_max_most": most_us(counts, 1.0),
        "counts": list(counts),
    }


class LiveFile:
    """Writes the snapshot with `stamp()`'s keys (boot, time, serial, version, alarm) while it runs."""

    def __init__(self, path: Path, *, current: Callable[[], Console], stamp: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._current = current
        self._stamp = stamp
        self._changed = asyncio.Event()
        self._failed = False

    def changed(self) -> None:
        """Tell that there is something new to write."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._write()
            self._changed.clear()
            await asyncio.sleep(PERIOD_S)
            # Not wait_for: on Python 3.11 it can swallow the cancellation that ends this task.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._changed.wait()

    def _write(self) -> None:
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text(json.dumps({**self._stamp(), **snapshot(self._current())}))
            os.replace(draft, self._path)  # noqa: PTH105 - the call whose atomicity is meant
        except OSError as error:
            if not self._failed:
                log.warning("live values cannot be written: %s", error)
            self._failed = True
        else:
            self._failed = False

    def remove(self) -> None:
        """Remove the file: nothing is live any more."""
        self._path.unlink(missing_ok=True)
