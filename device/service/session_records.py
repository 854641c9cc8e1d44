"""Which records are a session's: the search behind `mesogun session list` and `mesogun session report`.

Owns where a session begins (with the command that started it) and ends, and what stood in the journal before it that
it cannot be read without: the ledger, the start of the controller, the syringe's calibration. Takes each record once,
in order, as the journal's check hands it over, and keeps one session at a time: the journal may be as long as it
likes. Pure: it never opens a file. A kind of record that it does not know belongs to the session around it.
"""

from dataclasses import dataclass, replace
from typing import Final

from device.core.calibration import KEPT_MOST
from device.core.journal_chain import Entry
from device.core.ledger import Ledger, apply
from device.core.records import (
    KINDS,
    START_COMMAND,
    Booted,
    CommandTaken,
    FaultRaised,
    FormularyTaken,
    Record,
    SessionEnded,
    SessionStarted,
    ShotGiven,
    SyringeCalibrated,
)
from device.service.errors import ServiceError

LAST: Final = "last"
"""Stands for the session that began last."""


NAMED_MOST: Final = 5
"""Sessions that are named when the beginning of an id fits more than one."""

COMMITTED_WITH_START_MOST: Final = 64
"""Records between the accepted command and the session's start: they are committed in one transaction with both."""


class NoSuchSession(ServiceError):
    """No session, or more than one, goes by the id that was asked for."""


def record_of(entry: Entry) -> Record | None:
    """Return the entry's record; None for a kind that this software does not know."""
    return entry.record() if entry.kind in KINDS else None


@dataclass(frozen=True, slots=True)
class SessionRecords:
    """One session as the journal holds it.

    `before` is the ledger in front of the first of `entries`; `boot` the controller's start and `formulary` the bundle
    that were in force then, `calibration` the syringe's. `succeeded`: the next session began without a record of this
    one's end.
    """

    started: SessionStarted
    before: Ledger
    boot: Entry | None
    formulary: Entry | None
    calibration: Entry | None
    entries: tuple[Entry, ...]
    succeeded: bool


class SessionSearch:
    """Finds the session whose id is, or alone begins with, `wanted`; or the `last` one."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._ledger = Ledger()
        self._boot: Entry | None = None
        self._formulary: Entry | None = None
        self._calibrations: dict[str, Entry] = {}
        # What was committed together with a session's start, from its command on, and the ledger in front of that.
        self._starting: list[Entry] = []
        self._before = self._ledger
        self._open: SessionRecords | None = None
        self._entries: list[Entry] = []
        self._found: SessionRecords | None = None
        self._exact = 0
        self._fitting: list[str] = []
        self._fitting_count = 0

    def take(self, entry: Entry) -> None:
        """Take the journal's next record."""
        record = record_of(entry)
        match record:
            case SessionStarted():
                self._close(succeeded=True)
                self._begin(entry, record)
            case CommandTaken() if record.accepted and record.command == START_COMMAND:
                self._starting, self._before = [entry], self._ledger
            case _ if self._starting:
                self._starting.append(entry)
        if self._open is not None and not isinstance(record, SessionStarted):
            self._entries.append(entry)
        if record is None:
            return
        self._ledger = apply(self._ledger, record)
        match record:
            case Booted():
                self._boot = entry
            case FormularyTaken():
                self._formulary = entry
            case SyringeCalibrated():
                self._calibrations.pop(record.syringe_sha256, None)
                self._calibrations[record.syringe_sha256] = entry
                if len(self._calibrations) > KEPT_MOST:
                    del self._calibrations[next(iter(self._calibrations))]
            case SessionEnded():
                self._close(succeeded=False)
        if len(self._starting) > COMMITTED_WITH_START_MOST:
            self._starting = []

    def found(self) -> SessionRecords:
        """Return the session. Raises NoSuchSession, with one line that says what to do."""
        self._close(succeeded=False)
        if self._found is not None and (self._exact == 1 or self._fitting_count == 1 or self._wanted == LAST):
            return self._found
        if self._wanted == LAST:
            raise NoSuchSession("the journal holds no session")
        if self._fitting_count == 0:
            raise NoSuchSession(f"no session's id begins with {self._wanted!r}; `mesogun session list` shows them")
        names = ", ".join(self._fitting) + (", ..." if self._fitting_count > NAMED_MOST else "")
        raise NoSuchSession(
            f"{self._fitting_count} sessions' ids begin with {self._wanted!r}: {names}; write more of it"
        )

    def _begin(self, entry: Entry, started: SessionStarted) -> None:
        prefix, before = self._starting, self._before if self._starting else self._ledger
        self._starting = []
        if not self._is_wanted(started.session_id):
            return
        self._entries = [*prefix, entry]
        self._open = SessionRecords(
            started=started,
            before=before,
            boot=self._boot,
            formulary=self._formulary,
            calibration=self._calibrations.get(started.syringe_sha256),
            entries=(),
            succeeded=False,
        )

    def _is_wanted(self, session_id: str) -> bool:
        """Count the ids that fit, and say whether this one's records are to be kept: the exact one's before others'."""
        if self._wanted == LAST:
            return True
        if not session_id.startswith(self._wanted):
            return False
        self._fitting_count += 1
        self._fitting = [*self._fitting, session_id][:NAMED_MOST]
        if session_id == self._wanted:
            self._exact += 1
            return True
        return self._fitting_count == 1

    def _close(self, *, succeeded: bool) -> None:
        if self._open is not None:
            self._found = replace(self._open, entries=tuple(self._entries), succeeded=succeeded)
        self._open, self._entries = None, []


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """One line of the list. `ended_ms` is None, and `end` says why, while there is no record of the end."""

    session_id: str
    patient: str
    profile: str
    serum: str
    syringe: str
    simulated: bool
    started_ms: int
    ended_ms: int | None
    end: str
    shots: int
    partial: int
    uncertain: int
    booked_nl: int
    faults: int


class SessionList:
    """Every session of the journal in short, or one patient's."""

    def __init__(self, patient: str | None = None) -> None:
        self._patient = patient
        self._simulated = False
        self._open: SessionSummary | None = None
        self._sessions: list[SessionSummary] = []

    @property
    def sessions(self) -> tuple[SessionSummary, ...]:
        """The sessions so far, in their order."""
        return (*self._sessions, *((self._open,) if self._open is not None else ()))

    def take(self, entry: Entry) -> None:
        """Take the journal's next record."""
        record = record_of(entry)
        if isinstance(record, Booted):
            self._simulated = record.simulated
        if isinstance(record, SessionStarted):
            if self._open is not None:
                self._sessions.append(replace(self._open, end="no record of its end"))
            wanted = self._patient is None or record.patient == self._patient
            self._open = _summary(entry, record, simulated=self._simulated) if wanted else None
            return
        if self._open is None:
            return
        self._open = _with(self._open, record, entry)
        if isinstance(record, SessionEnded):
            self._sessions.append(self._open)
            self._open = None


def _summary(entry: Entry, started: SessionStarted, *, simulated: bool) -> SessionSummary:
    return SessionSummary(
        session_id=started.session_id,
        patient=started.patient,
        profile=started.profile,
        serum=started.serum,
        syringe=started.syringe,
        simulated=simulated,
        started_ms=started.at_ms or entry.ts_ms,
        ended_ms=None,
        end="open",
        shots=0,
        partial=0,
        uncertain=0,
        booked_nl=0,
        faults=0,
    )


def _with(summary: SessionSummary, record: Record | None, entry: Entry) -> SessionSummary:
    match record:
        case ShotGiven():
            return replace(
                summary,
                shots=summary.shots + 1,
                partial=summary.partial + (record.outcome == "partial"),
                uncertain=summary.uncertain + (record.outcome == "uncertain"),
                booked_nl=summary.booked_nl + record.booked_nl,
            )
        case FaultRaised():
            return replace(summary, faults=summary.faults + 1)
        case SessionEnded():
            return replace(summary, ended_ms=record.at_ms or entry.ts_ms, end=record.reason)
        case _:
            return summary
