"""How outcomes are booked: the open intent settled, each shot's record with its volumes, the session's end.

Volumes are differences of running totals, so that over a session they add up exactly to the plunger's travel.
"""

from dataclasses import replace

from device.core.console import Console
from device.core.magazine import Purpose
from device.core.profile import Phase
from device.core.realtime_messages import (
    ShotReport,
)
from device.core.records import RECOVERED, MagazineIntent, MagazineSettled, Record, SessionEnded, ShotGiven
from device.core.settlement import Settlement, ShotSettlement, settle
from device.core.steps import book
from device.core.units import Increments, Nanolitres, Steps, depth_of, volume_of


def settled(
    console: Console, intent: MagazineIntent, position: Increments | None
) -> tuple[Console, list[Record], bool]:
    """Settle the open intent; return the console with the outcome booked, the records, and whether it is certain."""
    result = settle(intent, position=position, seen=console.seen)
    records: list[Record] = []
    base = console.ledger.session.increments if console.ledger.session is not None else 0
    is_prime = intent.purpose_of is Purpose.PRIME
    if not is_prime:
        records += _shot_records(console, intent, result, base)
    given_nl = _volume(intent, base + result.given) - _volume(intent, base)
    fired = sum(_took_place(shot, console.reports) for shot in result.shots)
    records.append(
        MagazineSettled(
            magazine_id=intent.magazine_id,
            purpose=intent.purpose,
            session_id=intent.session_id,
            reason=console.ended.name.lower() if console.ended is not None else RECOVERED,
            position=result.position,
            low_water=result.low_water,
            given=result.given,
            given_nl=given_nl,
            shots=0 if is_prime else fired,
            carry=result.carry,
            certain=result.certain,
            at_ms=console.now_ms,
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


def _volume(intent: MagazineIntent, increments: int) -> int:
    return volume_of(
        Increments(increments),
        stroke_nl=Nanolitres(intent.stroke_nl),
        stroke_increments=Increments(intent.stroke_increments),
    )


def _took_place(shot: ShotSettlement, reports: tuple[ShotReport, ...]) -> bool:
    return shot.touched or any(report.index == shot.index for report in reports)


def _shot_records(console: Console, intent: MagazineIntent, result: Settlement, base: int) -> list[Record]:
    """One record for every shot that took place, volumes as differences of running totals so that they add up."""
    session = console.session
    by_index = {report.index: report for report in console.reports}
    records: list[Record] = []
    given = base
    for shot in result.shots:
        volumes: dict[Phase, int] = {}
        for phase, part in shot.given.items():
            volumes[phase] = _volume(intent, given + part) - _volume(intent, given)
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
        return RECOVERED
    if report.released:
        return "released"
    return f"fault {report.fault}" if report.fault else ""


def _depth(console: Console, report: ShotReport | None) -> int:
    if report is None:
        return -1
    axis = console.spec.axis
    return max(0, depth_of(Steps(report.steps_in), steps_per_mm=axis.steps_per_mm) - axis.clearance_um)


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
    # -1, which was not measured, stays -1: the division rounds down.
    return {name: getattr(report, source) // 1000 for name, source in names.items()}


def session_ended(console: Console, reason: str, *, at_ms: int) -> tuple[Console, SessionEnded]:
    """Return the console without its session, and the record that ends it at `at_ms` of the wall clock, 0 unknown."""
    totals = console.ledger.session
    record = SessionEnded(
        session_id=totals.started.session_id if totals is not None else "",
        reason=reason,
        shots=totals.shots if totals is not None else 0,
        volume_nl=totals.volume_nl if totals is not None else 0,
        at_ms=at_ms,
    )
    return replace(book(console, record), session=None), record
