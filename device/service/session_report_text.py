"""How a session's report is shown: plain text of 100 columns for people, one JSON object for programs.

Owns form alone; every figure is `session_report`'s. Times are given in UTC and in a time zone that is an argument,
volumes in microlitres to the nanolitre. What a record held and no line here has a place for is shown by its name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import tzinfo
from typing import Any, Final

from device.core.records import SessionStarted
from device.journal_reader import utc_text
from device.service.report_words import (
    COLUMNS,
    counted,
    decimal,
    has_text,
    heading,
    in_mg,
    in_ul,
    item,
    local,
    printable,
    row_of,
    utc,
    utc_and_local,
    wrapped,
)
from device.service.session_records import SessionSummary
from device.service.session_report import (
    Boot,
    CalibrationNote,
    FaultNote,
    FormularyNote,
    OtherNote,
    PlungerNote,
    RegionRow,
    SessionReport,
    ShotNote,
    UncertainMagazine,
)

DIGEST: Final = 16
"""Digits shown of a file's digest: enough to tell two files apart; --json has them all."""

SECTIONS: Final = (
    (("item_checked",), "Check-list"),
    (("session_paused", "session_resumed"), "Pauses"),
    (("vial_changed", "needle_changed", "syringe_changed"), "Changes"),
    (("limit_overridden",), "Overridden limits"),
)
"""Kinds of record with a heading of their own: an auditor is told when there were none, too."""

_STARTED_SHOWN: Final = frozenset(
    {
        "session_id", "profile", "profile_sha256", "serum", "serum_sha256", "syringe", "syringe_sha256", "patient",
        "weight_g", "regions", "region_points", "at_ms", "ingredients", "ug_per_ml", "before_nl",
        "formulary_version", "formulary_sha256", "region_area_mm2", "region_spacing_um", "region_grid",
        "operator", "lot", "lot_expires_ms", "mixed_ms", "checklist",
        "checklist_sha256",
    }
)  # fmt: skip


def report_json(report: SessionReport, zone: tzinfo | None) -> dict[str, Any]:
    """Return the report as one JSON object; beside each time in ms since 1970 it stands as text, in UTC and local."""
    found = {"ok": report.good, **asdict(report)}
    dated: dict[str, Any] = _with_texts(found, zone)
    return dated


def list_json(sessions: Sequence[SessionSummary], zone: tzinfo | None, problem: str) -> dict[str, Any]:
    """Return the list as one JSON object."""
    dated = [_with_texts(asdict(session), zone) for session in sessions]
    return {"ok": not problem, "sessions": dated, "problem": problem}


def _with_texts(value: Any, zone: tzinfo | None) -> Any:
    if isinstance(value, list | tuple):
        return [_with_texts(one, zone) for one in value]
    if not isinstance(value, dict):
        return value
    dated: dict[str, Any] = {}
    for name, one in value.items():
        dated[name] = _with_texts(one, zone)
        if name.endswith("_ms") and isinstance(one, int) and has_text(one):
            stem = name.removesuffix("_ms")
            dated[f"{stem}_utc"], dated[f"{stem}_local"] = utc_text(one), local(one, zone)
    return dated


def list_lines(sessions: Sequence[SessionSummary], zone: tzinfo | None) -> list[str]:
    """Return the list for people, the latest session last."""
    if not sessions:
        return ["no session"]
    lines = [
        f"{'session':<17} {'started (local)':<26} {'patient':<13} {'profile':<15} {'shots':>5} {'booked uL':>11}  end"
    ]
    for one in sessions:
        marks = [
            *([f"{one.partial} partial"] if one.partial else []),
            *([f"{one.uncertain} uncertain"] if one.uncertain else []),
            *([counted(one.faults, "fault")] if one.faults else []),
            *(["simulated"] if one.simulated else []),
        ]
        lines.append(
            f"{one.session_id:<17} {local(one.started_ms, zone):<26} {printable(one.patient) or '-':<13} "
            f"{one.profile:<15} {one.shots:>5} {in_ul(one.booked_nl):>11}  {one.end}"
            + (f" ({', '.join(marks)})" if marks else "")
        )
    return lines


def report_lines(report: SessionReport, zone: tzinfo | None) -> list[str]:
    """Return the report for people. What is wrong stands first and last."""
    alarm = [line for problem in report.problems for line in wrapped("!!! ", problem)]
    sections = [
        _header(report, zone),
        alarm,
        _given(report),
        _shots(report),
        _evenness(report),
        _hands(report),
        _gun(report),
        *(_others(report)),
        _proof(report),
        alarm,
    ]
    lines: list[str] = []
    for section in sections:
        if section:
            lines += [*([""] if lines else []), *section]
    return lines


def _header(report: SessionReport, zone: tzinfo | None) -> list[str]:
    started = report.started
    vial = _vial(started.lot, started.lot_expires_ms, started.mixed_ms)
    title = f"Session {started.session_id}"
    mark = "SIMULATED: no patient was treated" if report.simulated else ""
    weight = f", {decimal(started.weight_g, 1000)} kg" if started.weight_g is not None else ", weight not given"
    ended = "no record" if report.ended_ms is None else utc_and_local(report.ended_ms, zone)
    lines = [
        f"{title}{mark:>{COLUMNS - len(title)}}",
        "=" * COLUMNS,
        *row_of("started", utc_and_local(report.started_ms, zone)),
        *row_of("ended", ended),
        *row_of("end", report.end + _lasted(report)),
        *row_of("patient", (started.patient or "without an id") + weight),
        *row_of("profile", f"{started.profile}, sha256 {started.profile_sha256[:DIGEST]}"),
        *row_of("serum", f"{started.serum}, sha256 {started.serum_sha256[:DIGEST]}"),
        *row_of("syringe", f"{started.syringe}, sha256 {started.syringe_sha256[:DIGEST]}"),
        *(row_of("operator", started.operator) if started.operator else []),
        *(row_of("vial", vial) if vial else []),
    ]
    if started.checklist:
        lines += row_of("check-list", f"{started.checklist}, sha256 {started.checklist_sha256[:DIGEST]}")
    if started.formulary_version:
        digest = f"sha256 {started.formulary_sha256[:DIGEST]}"
        lines += row_of("formulary", f"version {started.formulary_version}, {digest}, when the session began")
    lines += [line for one in report.formularies for line in row_of("", _formulary(one))]
    lines += [line for one in report.calibrations for line in row_of("calibration", _calibration(one))]
    if not report.calibrations:
        lines += row_of("calibration", "none of this syringe in the journal")
    lines += [line for number, boot in enumerate(report.boots) for line in _boot(boot, restarted=number > 0)]
    further = {field.name: getattr(started, field.name) for field in fields(SessionStarted)}
    shown = {name: value for name, value in further.items() if name not in _STARTED_SHOWN and value not in _EMPTY}
    lines += [line for name, value in shown.items() for line in row_of(name, str(value))]
    return lines


def _vial(lot: str, expires_ms: int, mixed_ms: int) -> str:
    """Return what was told of a vial; empty where nothing was."""
    told = (
        f"lot {lot}" if lot else "",
        f"not to be given from {utc(expires_ms)} on" if expires_ms else "",
        f"mixed {utc(mixed_ms)}" if mixed_ms else "",
    )
    return ", ".join(filter(None, told))


_EMPTY: Final[tuple[object, ...]] = ("", None, [], 0)


def _lasted(report: SessionReport) -> str:
    if report.ended_ms is None or report.ended_ms < report.started_ms:
        return ""
    minutes, seconds = divmod((report.ended_ms - report.started_ms) // 1000, 60)
    return f", after {minutes} min {seconds} s"


def _calibration(one: CalibrationNote) -> str:
    return (
        f"{in_ul(one.measured_nl)} uL measured on {utc(one.at_ms)} ({one.method}); the file says "
        f"{in_ul(one.stroke_nl)} uL; expires {utc(one.expires_ms)}; record {one.seq}"
    )


def _formulary(one: FormularyNote) -> str:
    how = f"by {one.author}, signed by {one.signed_by}"
    if one.rolled_back:
        how += f"; ROLLED BACK by {one.by} (uid {one.uid}): {one.reason}"
    return f"version {one.version} taken {utc(one.at_ms)}: {how}; expires {utc(one.expires_ms)}; record {one.seq}"


def _boot(boot: Boot, *, restarted: bool) -> list[str]:
    text = (
        f"{boot.version}, configuration {boot.configuration_sha256[:DIGEST]}, "
        f"boot {boot.boot_id} of {utc(boot.at_ms)}, record {boot.seq}"
    )
    if not restarted:
        return row_of("software", text)
    was = f"magazine {boot.open_magazine} was loaded" if boot.open_magazine else "nothing was loaded"
    return row_of("RESTARTED", f"{text}; {was} (by hand, after a crash or a power cut: no record says which)")


def _given(report: SessionReport) -> list[str]:
    volumes = report.volumes
    points = sum(report.started.region_points)
    lines = [
        *heading("What was given"),
        *row_of(
            "booked",
            f"{in_ul(volumes.booked_nl)} uL in {counted(report.shots, 'shot')}; {points or 'no'} points planned",
        ),
        *row_of("planned", f"{in_ul(volumes.planned_nl)} uL for these shots"),
        *row_of(
            "by phase",
            f"entry {in_ul(volumes.entry_nl)} uL, dwell {in_ul(volumes.dwell_nl)} uL, exit {in_ul(volumes.exit_nl)} uL",
        ),
        *row_of(
            "elsewhere",
            f"primed {in_ul(volumes.primed_nl)} uL into the air, drawn {in_ul(volumes.drawn_nl)} uL",
        ),
        *row_of("before", f"{in_ul(report.before_nl)} uL to this patient in the 24 h before the session"),
    ]
    if volumes.uncertain_nl:
        lines += row_of(
            "uncertain", f"{in_ul(volumes.uncertain_nl)} uL of the booked are the most that can have been given"
        )
    if report.open_magazine:
        most = f"up to {in_ul(volumes.open_most_nl)} uL more may have been given, or still be"
        lines += row_of("OPEN", f"magazine {report.open_magazine} has no outcome here: {most}")
    for one in report.ingredients:
        lines += row_of(
            "ingredient",
            f"{one.name}, {decimal(one.concentration_ug_per_ml, 1000)} mg/mL: {in_mg(one.session_ug)} mg in this "
            f"session, {in_mg(one.before_ug)} mg in the 24 h before, {in_mg(one.session_ug + one.before_ug)} mg "
            "together",
        )
    if not report.ingredients:
        lines += row_of("ingredient", "none in the record of the session's start")
    return lines


_TABLE: Final = "{:<18} {:>6} {:>9} {:>7} {:>9}  {:>10} {:>10} {:>10} {:>10}"


def _shots(report: SessionReport) -> list[str]:
    heads = ("region", "points", "delivered", "partial", "uncertain", "booked uL", "entry uL", "dwell uL", "exit uL")
    total = RegionRow(
        region="all",
        points=sum(report.started.region_points),
        delivered=sum(row.delivered for row in report.regions),
        partial=sum(row.partial for row in report.regions),
        uncertain=sum(row.uncertain for row in report.regions),
        booked_nl=report.volumes.booked_nl,
        entry_nl=report.volumes.entry_nl,
        dwell_nl=report.volumes.dwell_nl,
        exit_nl=report.volumes.exit_nl,
    )
    lines = [*heading("Shots"), _TABLE.format(*heads)]
    lines += [
        _TABLE.format(
            row.region[:18] or "-",
            "-" if row.points is None else row.points,
            row.delivered,
            row.partial,
            row.uncertain,
            *map(in_ul, (row.booked_nl, row.entry_nl, row.dwell_nl, row.exit_nl)),
        )
        for row in (*report.regions, total)
    ]
    lines += [line for one in report.not_delivered for line in _shot(one)]
    return lines


_EVENNESS: Final = "{:<18} {:>6} {:>6} {:>6} {:>7} {:>6}  {:>9} {:>10}  {}"

_MARKS: Final = {
    "skipped": "skipped",
    "repeat": "to be given once more",
    "shot_undone": "its shot does not count for it",
    "skip_undone": "skip taken back",
    "repeat_undone": "repeat taken back",
}


def _evenness(report: SessionReport) -> list[str]:
    """Return how evenly the planned points were treated, and what was said of them; empty without a plan."""
    if not report.evenness:
        return []
    lines = [
        *heading("Evenness"),
        _EVENNESS.format("region", "points", "given", "missed", "doubled", "open", "area cm2", "uL/cm2", "grid"),
    ]
    for row in report.evenness:
        area, density, grid = "-", "-", "-"
        if row.nl_per_cm2 is not None:
            area, density = f"{row.area_mm2 / 100:.2f}", in_ul(row.nl_per_cm2)
            grid = f"{row.grid}, {decimal(row.spacing_um, 1000)} mm"
        counts = (row.points, row.given, row.missed, row.doubled, row.open)
        lines.append(_EVENNESS.format(row.region[:18], *counts, area, density, grid))
    for row in report.evenness:
        if row.partial:
            lines += row_of(
                "partial", f"{row.region}, point {', '.join(map(str, row.partial))}: not all of the dose for certain"
            )
    if report.uncounted:
        lines += row_of("uncounted", f"{counted(report.uncounted, 'shot')} booked, which count for no point")
    for one in report.marks:
        points = f"point {one.point}" if one.points == 1 else f"points {one.point} to {one.point + one.points - 1}"
        text = f"{points} of {one.region}: {_MARKS.get(one.mark, one.mark)}, by uid {one.uid}"
        lines += item(one.seq, one.at_ms, text)
    return lines


def _shot(one: ShotNote) -> list[str]:
    region = f" ({one.region})" if one.region else ""
    depth = f", needle {one.depth_um / 1000:.3f} mm deep" if one.depth_um >= 0 else ""
    phases = f"entry {in_ul(one.entry_nl)}, dwell {in_ul(one.dwell_nl)}, exit {in_ul(one.exit_nl)}"
    booked = f"booked {in_ul(one.booked_nl)} of {in_ul(one.planned_nl)} uL ({phases})"
    text = f"shot {one.shot}{region} {one.outcome}: {one.reason or 'no reason'}; {booked}{depth}"
    return item(one.seq, one.at_ms, text)


def _hands(report: SessionReport) -> list[str]:
    """Return what people did: commands, and presses that fired nothing."""
    lines = heading("Commands")
    for one in report.commands:
        answer = "accepted" if one.accepted else f"REFUSED: {one.reason}"
        lines += item(one.seq, one.at_ms, f"{one.command} by uid {one.uid} (pid {one.pid}): {answer}")
    if not report.commands:
        lines.append("none")
    presses = ", ".join(f"{one.presses} {one.reason}" for one in report.refused_presses)
    return [*lines, *row_of("presses", f"refused: {presses or 'none'}")]


def _gun(report: SessionReport) -> list[str]:
    """Return what the gun did and met: faults, doubts, refills, timings."""
    met = [
        *((fault.seq, fault.at_ms, _fault(fault)) for fault in report.faults),
        *((one.seq, one.at_ms, _magazine(one)) for one in report.uncertain_magazines),
        *((one.seq, one.at_ms, _plunger(one)) for one in report.plunger),
    ]
    lines = heading("Faults and doubts")
    lines += [line for note in sorted(met) for line in item(*note)] or ["none"]
    lines += ["", *heading("Refills")]
    for refill in report.refills:
        way = f"from increment {refill.from_position} to {refill.position}"
        lines += item(refill.seq, refill.at_ms, f"{in_ul(refill.volume_nl)} uL drawn, {way}")
    if not report.refills:
        lines.append("none")
    return [*lines, "", *_timings(report)]


def _fault(fault: FaultNote) -> str:
    if not fault.latched:
        cleared = "does not latch"
    elif fault.cleared_ms is None:
        cleared = "NOT CLEARED in this session"
    else:
        cleared = f"cleared {utc(fault.cleared_ms)} by uid {fault.cleared_by_uid}"
    detail = f" ({fault.detail})" if fault.detail else ""
    return f"fault {fault.code}, {fault.priority}: {fault.title}{detail}; {cleared}"


def _magazine(one: UncertainMagazine) -> str:
    return (
        f"magazine {one.magazine_id} ({one.purpose}) settled as UNCERTAIN: {one.reason}; booked at the most, "
        f"{in_ul(one.given_nl)} uL in {counted(one.shots, 'shot')}"
    )


def _plunger(one: PlungerNote) -> str:
    if one.expected is None:
        return f"plunger homed to increment {one.position}: what it held is waste"
    return f"plunger found at increment {one.position}, booked at {one.expected}"


def _timings(report: SessionReport) -> list[str]:
    timings = report.timings
    if timings.stroke_us_max < 0:
        return [*heading("Timings"), "no shot was measured"]
    first_step = (
        f"p50 {timings.press_to_step_us_p50} us, p99 {timings.press_to_step_us_p99} us, at most "
        f"{timings.press_to_step_us_max} us after {counted(timings.presses, 'press', 'presses')}"
    )
    late = (
        f"p50 {timings.step_late_us_p50} us (median shot), p99 {timings.step_late_us_p99} us (worst shot), at most "
        f"{timings.step_late_us_max} us"
    )
    return [
        *heading("Timings"),
        *row_of("first step", first_step if timings.presses else "no press was measured"),
        *row_of("steps late", late if timings.step_late_us_max >= 0 else "no step was measured"),
        *row_of(
            "strokes",
            f"{timings.stroke_us_min / 1000:.1f} to {timings.stroke_us_max / 1000:.1f} ms, "
            f"{timings.depth_um_min / 1000:.3f} to {timings.depth_um_max / 1000:.3f} mm deep",
        ),
    ]


def _others(report: SessionReport) -> list[list[str]]:
    sections = []
    for kinds, title in SECTIONS:
        found = [one for one in report.others if one.kind in kinds]
        sections.append([*heading(title), *(_other_lines(found) or ["none"])])
    headed = {kind for kinds, _ in SECTIONS for kind in kinds}
    others = [one for one in report.others if one.kind not in headed]
    if others:
        sections.append([*heading("Other records"), *_other_lines(others)])
    return sections


def _other_lines(others: Iterable[OtherNote]) -> list[str]:
    lines: list[str] = []
    for one in others:
        values = " ".join(f"{name}={value}" for name, value in one.fields.items() if value not in ("", None, []))
        lines += item(one.seq, one.at_ms, f"{one.kind} {values}")
    return lines


def _proof(report: SessionReport) -> list[str]:
    proof = report.proof
    if proof.damage:
        chain = f"only the first {proof.records} records of the journal are good"
    else:
        chain = f"whole: all {proof.records} records of the journal, each checked against the one before it"
    agree = "the shots' records, the ledger and the record of the end agree"
    if report.ended_ms is None:
        agree = "the shots' records and the ledger agree; no record of the end"
    if report.problems:
        agree = "SEE THE PROBLEMS"
    return [
        *heading("Proof"),
        *row_of("chain", chain),
        *row_of("session", f"records {proof.first_seq} to {proof.last_seq}"),
        *row_of("hash", proof.last_hash),
        *row_of("", f"of record {proof.last_seq}, boot {proof.last_boot_id}: it covers every record from the first on"),
        *row_of("totals", agree),
    ]
