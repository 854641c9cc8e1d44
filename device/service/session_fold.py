"""From one session's records to its report: a pure fold, and the comparison with what the journal says elsewhere.

Owns the sums and the contradictions. Volumes are added up from the shots' own records and then held against the places
where they stand again: the magazines' outcomes, the ledger's fold, the plunger's travel, the record of the session's
end. Each difference is a problem, said in words. A record without a section of its own, of a kind that may not have
existed when this was written, is kept whole in `others`.
"""

from collections import Counter
from typing import Final

from device.core.journal_chain import Entry
from device.core.ledger import Ledger, SessionTotals, apply
from device.core.limits import nl_per_cm2
from device.core.magazine import Outcome, Purpose
from device.core.patient_day import had_before
from device.core.records import (
    Booted,
    CommandTaken,
    FaultRaised,
    FaultsCleared,
    FormularyTaken,
    MagazineIntent,
    MagazineSettled,
    PlungerFound,
    PlungerHomed,
    PointMarked,
    PressRefused,
    Record,
    Refilled,
    SessionEnded,
    SessionStarted,
    ShotGiven,
    SyringeCalibrated,
)
from device.core.region_plan import NO_PLAN
from device.core.serum import Ingredient
from device.core.units import Increments, Nanolitres, volume_of
from device.journal_reader import Verification
from device.service.session_notes import (
    boot_note,
    cleared,
    fault_note,
    formulary_note,
    shot_note,
    timings_of,
    uncertain_magazine,
)
from device.service.session_records import SessionRecords, record_of
from device.service.session_report import (
    Boot,
    CalibrationNote,
    CommandNote,
    EvennessRow,
    FaultNote,
    FormularyNote,
    IngredientNote,
    MarkNote,
    OtherNote,
    PlungerNote,
    Proof,
    RefillNote,
    RefusedPresses,
    RegionRow,
    SessionReport,
    Volumes,
)

UNREADABLE: Final = "not readable: the journal is damaged before it"
OPEN: Final = "open"
SUCCEEDED: Final = "no record of its end: the next session began"


def report_of(found: SessionRecords, verification: Verification) -> SessionReport:
    """Return the report of a session that was found while the journal was checked with this result."""
    fold = _Fold(found)
    for entry in found.entries:
        fold.take(entry)
    started, last = found.started, found.entries[-1]
    started_ms = started.at_ms or fold.started_entry.ts_ms
    before = had_before(found.before.past, patient=started.patient, now_ms=started_ms)
    volumes = fold.volumes()
    ended = fold.ended[1] if fold.ended is not None else None
    problems = _damage(verification)
    if verification.ok or fold.ended is not None:
        # A session that the damage cut off ends anywhere: half an outcome is then no contradiction of its own.
        problems += fold.problems()
    if started.at_ms and before.volume_nl != started.before_nl:
        problems.append(
            f"the session's start says {started.before_nl} nl in the 24 h before it, the records before it "
            f"{before.volume_nl} nl"
        )
    return SessionReport(
        started=started,
        started_ms=started_ms,
        ended_ms=None if fold.ended is None else fold.ended[1].at_ms or fold.ended[0].ts_ms,
        end=ended.reason if ended is not None else _end(found, verification),
        simulated=any(boot.simulated for boot in fold.boots),
        boots=tuple(fold.boots),
        formularies=tuple(fold.formularies),
        calibrations=tuple(fold.calibrations),
        ingredients=tuple(
            IngredientNote(
                name=ingredient.name,
                concentration_ug_per_ml=ingredient.concentration_ug_per_ml,
                session_ug=ingredient.mass_in(Nanolitres(volumes.booked_nl)),
                before_ug=before.mass_of(ingredient),
            )
            for ingredient in _ingredients(started)
        ),
        before_nl=before.volume_nl,
        shots=len(fold.shots),
        volumes=volumes,
        regions=fold.regions(),
        evenness=fold.evenness(),
        marks=tuple(fold.marks),
        uncounted=fold.uncounted(),
        not_delivered=tuple(
            shot_note(entry, shot) for entry, shot in fold.shots if shot.outcome != Outcome.DELIVERED.value
        ),
        uncertain_magazines=tuple(uncertain_magazine(entry, one) for entry, one in fold.settled if not one.certain),
        open_magazine=fold.open_intent.magazine_id if fold.open_intent is not None else 0,
        refused_presses=tuple(RefusedPresses(reason, count) for reason, count in sorted(fold.presses.items())),
        faults=tuple(fold.faults),
        commands=tuple(fold.commands),
        refills=tuple(fold.refills),
        plunger=tuple(fold.plunger),
        others=tuple(fold.others),
        timings=timings_of([shot for _, shot in fold.shots]),
        proof=Proof(
            records=verification.records,
            damage=verification.what,
            damaged_seq=verification.first_bad_seq,
            first_seq=found.entries[0].seq,
            last_seq=last.seq,
            last_boot_id=last.boot_id,
            last_hash=last.hash.hex(),
        ),
        problems=tuple(problems),
    )


def _ingredients(started: SessionStarted) -> tuple[Ingredient, ...]:
    return tuple(
        Ingredient(name, ug_per_ml, None, None)
        for name, ug_per_ml in zip(started.ingredients, started.ug_per_ml, strict=True)
    )


def _damage(verification: Verification) -> list[str]:
    if verification.ok:
        return []
    where = "" if verification.first_bad_seq is None else f" at record {verification.first_bad_seq}"
    return [f"the journal is DAMAGED{where}: {verification.what}; what stands behind it is not shown"]


def _end(found: SessionRecords, verification: Verification) -> str:
    if found.succeeded:
        return SUCCEEDED
    return OPEN if verification.ok else UNREADABLE


class _Fold:
    """Sorts a session's records into their sections, and keeps the ledger beside them for the comparison."""

    def __init__(self, found: SessionRecords) -> None:
        self._session_id = found.started.session_id
        self._syringe_sha256 = found.started.syringe_sha256
        self._points = tuple(zip(found.started.regions, found.started.region_points, strict=True))
        self._ledger: Ledger = found.before
        self._totals: SessionTotals | None = None
        self._foreign: list[str] = []
        self._strokes: set[tuple[int, int]] = set()
        self.started_entry = found.entries[0]
        self.ended: tuple[Entry, SessionEnded] | None = None
        self.boots: list[Boot] = []
        self.formularies: list[FormularyNote] = []
        self.calibrations: list[CalibrationNote] = []
        self.shots: list[tuple[Entry, ShotGiven]] = []
        self.settled: list[tuple[Entry, MagazineSettled]] = []
        self.marks: list[MarkNote] = []
        self.presses: Counter[str] = Counter()
        self.faults: list[FaultNote] = []
        self.commands: list[CommandNote] = []
        self.refills: list[RefillNote] = []
        self.plunger: list[PlungerNote] = []
        self.others: list[OtherNote] = []
        for entry in (found.boot, found.formulary, found.calibration):
            if entry is not None:
                self._sort(entry, record_of(entry))

    @property
    def open_intent(self) -> MagazineIntent | None:
        """The magazine without an outcome."""
        return self._ledger.open_intent

    def take(self, entry: Entry) -> None:
        """Take the session's next record."""
        record = record_of(entry)
        self._sort(entry, record)
        if record is None:
            return
        if isinstance(record, ShotGiven | MagazineIntent | MagazineSettled) and record.session_id != self._session_id:
            self._foreign.append(f"record {entry.seq} ({entry.kind}) is of session {record.session_id}")
        if self._ledger.session is not None:
            self._totals = self._ledger.session
        self._ledger = apply(self._ledger, record)
        if self._ledger.session is not None:
            self._totals = self._ledger.session

    def _sort_standing(self, entry: Entry, record: Record | None) -> bool:
        """Take what was in force: software, formulary, calibration. Return whether it was one of them."""
        match record:
            case Booted():
                self.boots.append(boot_note(entry, record, self._ledger.open_intent))
            case FormularyTaken():
                self.formularies.append(formulary_note(entry, record))
            case SyringeCalibrated() if record.syringe_sha256 == self._syringe_sha256:
                self.calibrations.append(
                    CalibrationNote(
                        entry.seq, entry.ts_ms, record.stroke_nl, record.measured_nl, record.method, record.expires_ms
                    )
                )  # fmt: skip
            case _:
                return False
        return True

    def _sort(self, entry: Entry, record: Record | None) -> None:
        seq, at_ms = entry.seq, entry.ts_ms
        match record:
            case SessionStarted():
                self.started_entry = entry
            case SessionEnded():
                self.ended = (entry, record)
            case MagazineIntent():
                self._strokes.add((record.stroke_nl, record.stroke_increments))
            case ShotGiven():
                self.shots.append((entry, record))
            case MagazineSettled():
                self.settled.append((entry, record))
            case PointMarked():
                self.marks.append(
                    MarkNote(seq, at_ms, record.region, record.point, record.points, record.mark, record.uid)
                )
            case PressRefused():
                self.presses[record.reason] += 1
            case CommandTaken():
                self.commands.append(
                    CommandNote(
                        seq, at_ms, record.command, record.uid, record.pid, accepted=record.accepted,
                        reason=record.reason,
                    )
                )  # fmt: skip
            case FaultRaised():
                self.faults.append(fault_note(entry, record))
            case FaultsCleared():
                self.faults = [cleared(fault, entry, record) for fault in self.faults]
            case Refilled():
                self.refills.append(RefillNote(seq, at_ms, record.from_position, record.position, record.volume_nl))
            case PlungerHomed() | PlungerFound():
                expected, drawn_nl = (
                    (record.expected, record.volume_nl) if isinstance(record, PlungerFound) else (None, 0)
                )
                self.plunger.append(PlungerNote(seq, at_ms, record.position, expected, drawn_nl))
            case _ if not self._sort_standing(entry, record):
                self.others.append(OtherNote(seq, at_ms, entry.kind, dict(entry.body)))

    def volumes(self) -> Volumes:
        """Return the sums over the shots' own records, and what went elsewhere."""
        shots = [shot for _, shot in self.shots]
        return Volumes(
            planned_nl=sum(shot.planned_nl for shot in shots),
            booked_nl=sum(shot.booked_nl for shot in shots),
            entry_nl=sum(shot.entry_nl for shot in shots),
            dwell_nl=sum(shot.dwell_nl for shot in shots),
            exit_nl=sum(shot.exit_nl for shot in shots),
            uncertain_nl=sum(shot.booked_nl for shot in shots if shot.outcome == Outcome.UNCERTAIN.value),
            open_most_nl=_most_of(self.open_intent),
            primed_nl=sum(one.given_nl for _, one in self.settled if one.purpose == Purpose.PRIME.value),
            drawn_nl=sum(one.volume_nl for one in self.refills) + sum(one.volume_nl for one in self.plunger),
        )

    def regions(self) -> tuple[RegionRow, ...]:
        """Return a row for each planned region in its order, and behind them one for each that was not planned."""
        rows = {name: RegionRow(name, points) for name, points in self._points}
        for _, shot in self.shots:
            row = rows.get(shot.region, RegionRow(shot.region, None))
            rows[shot.region] = row.with_shot(shot)
        return tuple(rows.values())

    def evenness(self) -> tuple[EvennessRow, ...]:
        """Return what became of the planned points, region by region."""
        if self._totals is None:
            return ()
        started, booked_nl = self._totals.started, self._totals.region_nl
        known = len(started.region_area_mm2) == len(started.regions)
        rows = []
        for place, tally in enumerate(self._totals.progress.tallies()):
            area_mm2 = started.region_area_mm2[place] if known else 0
            rows.append(
                EvennessRow(
                    region=started.regions[place],
                    points=tally.planned,
                    given=tally.given,
                    missed=tally.missed,
                    doubled=tally.doubled,
                    open=tally.planned - tally.given - tally.missed,
                    partial=tally.partial,
                    area_mm2=area_mm2,
                    spacing_um=started.region_spacing_um[place] if area_mm2 else 0,
                    grid=started.region_grid[place] if area_mm2 else "",
                    nl_per_cm2=nl_per_cm2(booked_nl[place], area_mm2) if area_mm2 else None,
                )
            )
        return tuple(rows)

    def uncounted(self) -> int:
        """Return how many shots count for no point of the plan; 0 without one."""
        progress = self._totals.progress if self._totals is not None else NO_PLAN
        return len(self.shots) - progress.given if progress.points else 0

    def problems(self) -> list[str]:
        """Return each place where the session's records contradict each other, in words."""
        return [*self._foreign, *self._shot_problems(), *self._magazine_problems(), *self._total_problems()]

    def _shot_problems(self) -> list[str]:
        return [
            f"record {entry.seq}: shot {shot.shot} is booked at {shot.booked_nl} nl, its phases add up to {phases} nl"
            for entry, shot in self.shots
            if (phases := shot.entry_nl + shot.dwell_nl + shot.exit_nl) != shot.booked_nl
        ]

    def _magazine_problems(self) -> list[str]:
        by_magazine: dict[int, list[ShotGiven]] = {}
        for _, shot in self.shots:
            by_magazine.setdefault(shot.magazine_id, []).append(shot)
        found = []
        for entry, one in self.settled:
            if one.purpose == Purpose.PRIME.value:
                continue
            shots = by_magazine.pop(one.magazine_id, [])
            given_nl = sum(shot.booked_nl for shot in shots)
            if (len(shots), given_nl) != (one.shots, one.given_nl):
                found.append(
                    f"record {entry.seq}: magazine {one.magazine_id} is settled with {_sum(one.shots, one.given_nl)}, "
                    f"its shots' records come to {_sum(len(shots), given_nl)}"
                )
        found += [
            f"magazine {number} has no outcome; its shots' records come to "
            f"{_sum(len(shots), sum(shot.booked_nl for shot in shots))}"
            for number, shots in by_magazine.items()
        ]
        return found

    def _total_problems(self) -> list[str]:
        volumes, totals = self.volumes(), self._totals
        mine = (len(self.shots), volumes.booked_nl)
        found = []
        if totals is not None:
            if (totals.shots, totals.volume_nl) != mine:
                found.append(f"the ledger has {_sum(totals.shots, totals.volume_nl)}, the shots' records {_sum(*mine)}")
            drawn_nl = totals.drawn_nl + totals.earlier_vials_nl
            if (totals.primed_nl, drawn_nl) != (volumes.primed_nl, volumes.drawn_nl):
                found.append(
                    f"the ledger has {totals.primed_nl} nl primed and {drawn_nl} nl drawn, the records "
                    f"{volumes.primed_nl} nl and {volumes.drawn_nl} nl"
                )
            found += self._travel_problems(totals)
            found += self._region_problems(totals)
        if self.ended is not None:
            entry, ended = self.ended
            if (ended.shots, ended.volume_nl) != mine:
                found.append(
                    f"record {entry.seq}: the session's end says {_sum(ended.shots, ended.volume_nl)}, the shots' "
                    f"records {_sum(*mine)}"
                )
        return found

    def _region_problems(self, totals: SessionTotals) -> list[str]:
        """Hold each planned region's volume in the ledger, which the limit by area reads, against its shots."""
        by_shots = {row.region: row.booked_nl for row in self.regions()}
        return [
            f"the ledger has {booked_nl} nl in region {region}, the shots' records {by_shots[region]} nl"
            for region, booked_nl in zip(totals.started.regions, totals.region_nl, strict=True)
            if booked_nl != by_shots[region]
        ]

    def _travel_problems(self, totals: SessionTotals) -> list[str]:
        """Hold the volume against the plunger's travel, where one syringe served the whole session."""
        if len(self._strokes) != 1:
            return []
        ((stroke_nl, stroke_increments),) = self._strokes
        travel_nl = volume_of(
            Increments(totals.increments),
            stroke_nl=Nanolitres(stroke_nl),
            stroke_increments=Increments(stroke_increments),
        )
        if travel_nl == totals.volume_nl:
            return []
        return [
            f"the plunger went {totals.increments} increments, {travel_nl} nl, for the {totals.volume_nl} nl that are "
            "booked"
        ]


def _sum(shots: int, volume_nl: int) -> str:
    return f"{shots} shot{'' if shots == 1 else 's'} and {volume_nl} nl"


def _most_of(intent: MagazineIntent | None) -> int:
    """Return what an open magazine may have given, or may still give; nothing for a prime."""
    if intent is None or intent.purpose_of is Purpose.PRIME:
        return 0
    return volume_of(
        Increments(max(0, intent.low_water - min(intent.targets, default=intent.low_water))),
        stroke_nl=Nanolitres(intent.stroke_nl),
        stroke_increments=Increments(intent.stroke_increments),
    )
