"""Sessions to report on: records by hand, as the journal's entries, with a chain of their own.

Owns one eventful session (`EVENTFUL`), in which everything happens that a report has a place for. A magazine's records
are made from the increments that it gave, so that they agree with each other unless a test makes them disagree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from device.core.journal_chain import DEVICE_ID_BYTES, Entry, Head, canonical_json, entry_hash, genesis
from device.core.magazine import Outcome
from device.core.records import (
    Booted,
    CommandTaken,
    FaultRaised,
    FaultsCleared,
    FormularyTaken,
    ItemChecked,
    Json,
    LimitOverridden,
    MagazineIntent,
    MagazineSettled,
    NeedleChanged,
    PlungerFound,
    PlungerHomed,
    PointMarked,
    PressRefused,
    Record,
    Refilled,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    ShotGiven,
    SyringeCalibrated,
    VialChanged,
    to_body,
)
from device.journal_reader import Verification
from device.service.session_fold import report_of
from device.service.session_records import SessionSearch
from device.service.session_report import SessionReport

START_MS: Final = 1_772_600_767_089
"""2026-03-04T05:06:07.089Z."""

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
STROKE_NL: Final = 1_000_000
STROKE_INCREMENTS: Final = 24_000
DOSE_NL: Final = 20_000
WHOLE: Final = (96, 288, 96)
"""A shot's increments by phase: 480 are 20 uL."""

SESSION_ID: Final = "5f0c2a9d31e84b7a"

BOOTED = Booted(version="0.1.0", configuration_sha256="ab" * 32, simulated=True)
STARTED = SessionStarted(
    session_id=SESSION_ID,
    profile="point-by-point",
    profile_sha256="01" * 32,
    serum="lidocaine-biotin",
    serum_sha256="02" * 32,
    syringe="1ml",
    syringe_sha256="03" * 32,
    patient="p-0017",
    weight_g=62_500,
    regions=["crown", "temple-left"],
    region_points=[4, 3],
    at_ms=START_MS + 2 * HOUR_MS,
    ingredients=["Lidocaine", "biotin"],
    ug_per_ml=[10_000, 333],
    before_nl=20_000,
    formulary_version=3,
    formulary_sha256="04" * 32,
    checklist="standard",
    checklist_sha256="05" * 32,
    operator="nurse-b",
    lot="L-2231",
    lot_expires_ms=START_MS + 90 * 24 * HOUR_MS,
    mixed_ms=START_MS + HOUR_MS,
)
TAKEN = FormularyTaken(
    version=3,
    sha256="04" * 32,
    author="a pharmacist",
    signed_by="pharmacy",
    signed_ms=START_MS - 24 * HOUR_MS,
    expires_ms=START_MS + 90 * 24 * HOUR_MS,
    rolled_back=True,
    reason="version 4 has a wrong depth",
    by="a physician",
    uid=1001,
)
CALIBRATED = SyringeCalibrated(
    syringe="1ml",
    syringe_sha256="03" * 32,
    stroke_nl=STROKE_NL,
    measured_nl=998_500,
    method="weighed, mean of 10 strokes",
    at_ms=START_MS,
    expires_ms=START_MS + 180 * 24 * HOUR_MS,
)


def command(name: str, *, uid: int = 1000, reason: str = "") -> CommandTaken:
    """Return a command of `uid`, refused where there is a reason."""
    return CommandTaken(command=name, uid=uid, pid=4321, accepted=not reason, reason=reason)


def fault(code: int, name: str, *, priority: str = "high", latched: bool = True, detail: str = "") -> FaultRaised:
    """Return a fault in the eventful session."""
    return FaultRaised(code, name, priority, latched, detail, SESSION_ID)


def volume_nl(increments: int) -> int:
    """Return the volume of `increments`, rounded up, as the book does."""
    return -(-increments * STROKE_NL // STROKE_INCREMENTS)


def intent(
    number: int, first_shot: int, *, shots: int, region: str = "crown", purpose: str = "inject"
) -> MagazineIntent:
    """Return the announcement of a magazine of whole shots, from the top of the stroke."""
    top, targets = 23_978, []
    for part in WHOLE * shots:
        top -= part
        targets.append(top)
    return MagazineIntent(
        magazine_id=number,
        purpose=purpose,
        session_id=SESSION_ID,
        region=region,
        first_shot=first_shot,
        stroke_nl=STROKE_NL,
        stroke_increments=STROKE_INCREMENTS,
        start=23_978,
        low_water=23_978,
        carry_before=0,
        moves_per_shot=3,
        phases=["entry", "dwell", "exit"] * shots,
        targets=targets,
        doses_nl=[DOSE_NL] * shots,
        carries=[0] * shots,
    )


def outcome(
    announced: MagazineIntent,
    *given: tuple[int, int, int],
    reason: str = "",
    ended: str = "complete",
    certain: bool = True,
) -> list[Record]:
    """Return the shots and the settlement of `announced`, which gave so many increments by phase in each shot."""
    records: list[Record] = []
    for index, phases in enumerate(given):
        whole = Outcome.DELIVERED if sum(phases) == sum(WHOLE) else Outcome.PARTIAL
        entry_nl, dwell_nl, exit_nl = map(volume_nl, phases)
        measured = reason != "recovered"
        records.append(
            ShotGiven(
                session_id=announced.session_id,
                magazine_id=announced.magazine_id,
                shot=announced.first_shot + index,
                region=announced.region,
                outcome=(whole if certain else Outcome.UNCERTAIN).value,
                reason=reason,
                mode="single",
                planned_nl=DOSE_NL,
                booked_nl=entry_nl + dwell_nl + exit_nl,
                entry_nl=entry_nl,
                dwell_nl=dwell_nl,
                exit_nl=exit_nl,
                depth_um=4_000 if measured else -1,
                press_to_step_us=500 + 10 * announced.magazine_id if measured and not index else -1,
                step_late_us_p50=40 + announced.first_shot if measured else -1,
                step_late_us_p99=90 + announced.first_shot if measured else -1,
                step_late_us_max=210 + announced.first_shot if measured else -1,
                entry_us=170_000 if measured else -1,
                dwell_us=80_000 if measured else -1,
                exit_us=170_000 if measured else -1,
                stroke_us=421_000 + announced.first_shot if measured else -1,
            )
        )
    total = sum(map(sum, given))
    records.append(
        MagazineSettled(
            magazine_id=announced.magazine_id,
            purpose=announced.purpose,
            session_id=announced.session_id,
            reason=ended,
            position=23_978 - total,
            low_water=23_978 - total,
            given=total,
            given_nl=volume_nl(total),
            shots=0 if announced.purpose == "prime" else len(given),
            carry=0,
            certain=certain,
        )
    )
    return records


def prime(number: int, *, increments: int) -> list[Record]:
    """Return a prime of so many increments."""
    announced = intent(number, 0, shots=1, region="", purpose="prime")
    settled = outcome(announced, (increments, 0, 0))[-1]
    return [announced, settled]


class Unknown:
    """A record of a kind that this software does not have."""

    def __init__(self, kind: str, **fields: Json) -> None:
        self.kind = kind
        self.fields = fields


class Chain:
    """Makes entries of records: one boot's, a second after each other, until told otherwise."""

    def __init__(self) -> None:
        self._head: Head = genesis(bytes(DEVICE_ID_BYTES))
        self._boot_id = "boot-1"
        self._ts_ms = START_MS
        self.entries: list[Entry] = []

    def add(self, *records: Record | Unknown) -> "Chain":
        """Append records."""
        for record in records:
            kind, body = (record.kind, record.fields) if isinstance(record, Unknown) else (record.KIND, to_body(record))
            seq = self._head.seq + 1
            digest = entry_hash(
                self._head.hash, seq=seq, boot_id=self._boot_id, ts_ms=self._ts_ms, kind=kind, body=canonical_json(body)
            )
            self.entries.append(Entry(seq, self._boot_id, self._ts_ms, kind, body, digest))
            self._head = Head(seq, digest)
            self._ts_ms += 1_000
        return self

    def later(self, ms: int) -> "Chain":
        """Let time pass."""
        self._ts_ms += ms
        return self

    def boot(self, boot_id: str, record: Booted = BOOTED) -> "Chain":
        """Start the controller anew."""
        self._boot_id = boot_id
        return self.add(record)


WHOLE_JOURNAL = Verification(ok=True, records=0, first_bad_seq=None, what="")


def report_on(
    entries: Sequence[Entry], wanted: str = "last", *, verification: Verification = WHOLE_JOURNAL
) -> SessionReport:
    """Return the report of the session in a journal of `entries`, which is whole unless said otherwise."""
    search = SessionSearch(wanted)
    for entry in entries:
        search.take(entry)
    if verification.ok:
        verification = replace(verification, records=len(entries))
    return report_of(search.found(), verification)


def without(records: Iterable[Record], kind: type[Record]) -> list[Record]:
    """Return the records that are not of `kind`."""
    return [record for record in records if not isinstance(record, kind)]


def eventful() -> Chain:
    """Return a journal with an earlier session of the same patient, and behind it the one in which all happens."""
    chain = Chain().boot("boot-1").add(TAKEN, command("calibrate", uid=1001), CALIBRATED)
    earlier = replace(STARTED, session_id="17e2b0c4d5f60718", at_ms=START_MS, before_nl=0, regions=[], region_points=[])
    first = replace(intent(1, 1, shots=1, region=""), session_id=earlier.session_id)
    chain.add(command("session start"), earlier, first, *outcome(first, WHOLE), command("session stop"))
    chain.add(SessionEnded(earlier.session_id, "stopped", 1, DOSE_NL, START_MS + 20_000))
    chain.later(2 * HOUR_MS - 10_000)
    chain.add(command("session start"), STARTED)
    chain.add(
        command("session check"),
        ItemChecked(SESSION_ID, "standard", "disinfected", "done: scalp disinfected", by="nurse-b", uid=1000),
    )
    chain.add(command("arm", reason="the plunger is not homed: without a patient `mesogun home --plunger "
                      "--patient-detached`; the needle is not homed: `mesogun home`"))  # fmt: skip
    chain.add(command("home"), PlungerHomed(position=0), command("prime"), Refilled(0, 23_978, 999_084))
    chain.add(*prime(2, increments=1200), PressRefused(SESSION_ID, "not_armed"), command("arm"))
    pair = intent(3, 1, shots=2)
    chain.add(pair, *outcome(pair, WHOLE, WHOLE))
    released = intent(4, 3, shots=1)
    chain.add(released, *outcome(released, (96, 131, 0), reason="released", ended="released"))
    chain.add(PressRefused(SESSION_ID, "no_contact"), PressRefused(SESSION_ID, "no_contact"))
    chain.add(
        LimitOverridden(
            SESSION_ID, "soft.session_ml", "second opinion taken", by="dr-b", uid=1001, figure="30 uL given"
        )
    )
    lifted = intent(5, 4, shots=1)
    chain.add(
        lifted,
        fault(104, "contact_lost", priority="medium", latched=False, detail="needle at step 132"),
        *outcome(lifted, (96, 0, 0), reason="fault 104", ended="fault"),
    )
    chain.later(3 * MINUTE_MS)
    chain.add(command("arm"), fault(101, "stop_pressed", detail="needle at step 0"))
    chain.later(MINUTE_MS)
    chain.add(command("fault clear", uid=1001), FaultsCleared([101], 1001), command("arm"))
    cut = intent(6, 5, shots=1, region="temple-left")
    chain.add(cut).later(9 * MINUTE_MS).boot("boot-2")
    chain.add(SessionPaused(SESSION_ID, "restart"))
    chain.add(*outcome(cut, WHOLE, reason="recovered", ended="recovered", certain=False))
    chain.add(fault(403, "dose_uncertain", detail="magazine 6 booked at its largest possible dose"))
    chain.add(command("fault clear"), FaultsCleared([403], 1000), PlungerFound(expected=23_498, position=23_490))
    chain.add(Unknown("course_noted", course="alopecia-4", number=2, remarks=""))
    last = intent(7, 6, shots=1, region="temple-left")
    chain.add(command("session resume"), SessionResumed(SESSION_ID))
    chain.add(
        command("change vial"),
        VialChanged(SESSION_ID, "L-2232", START_MS + 90 * 24 * HOUR_MS, START_MS + 2 * HOUR_MS, 999_084, START_MS),
    )
    chain.add(command("change needle"), NeedleChanged(SESSION_ID, "n-2", shots=5))
    chain.add(command("arm"), last, *outcome(last, WHOLE), command("session stop"))
    end = SessionEnded(SESSION_ID, "stopped", 6, 93_459, START_MS + 2 * HOUR_MS + 15 * MINUTE_MS)
    return chain.add(end).later(MINUTE_MS).add(command("status", uid=33))


def marked(mark: str, point: int, *, region: str = "crown", points: int = 1) -> PointMarked:
    """Return what an operator said of points."""
    return PointMarked(SESSION_ID, region, point, points, mark, uid=1000)


def uneven() -> Chain:
    """Return a journal with a session on measured regions, in which points were skipped, repeated and taken back."""
    started = replace(
        STARTED,
        regions=["crown", "temple"],
        region_points=[6, 3],
        before_nl=0,
        region_area_mm2=[1200, 0],
        region_spacing_um=[15_000, 0],
        region_grid=["hexagonal", "square"],
    )
    chain = Chain().boot("boot-1").later(2 * HOUR_MS - 1_000).add(command("session start"), started)
    pair, part, again = intent(1, 1, shots=2), intent(2, 3, shots=1), intent(3, 4, shots=1)
    chain.add(pair, *outcome(pair, WHOLE, WHOLE), part, *outcome(part, (96, 24, 0), reason="released"))
    chain.add(command("point repeat"), marked("repeat", 3), again, *outcome(again, WHOLE))
    chain.add(marked("skipped", 4, points=3), marked("skip_undone", 4, points=3), marked("skipped", 4, points=2))
    miss, part = intent(4, 5, shots=1), intent(5, 6, shots=1)
    chain.add(miss, *outcome(miss, WHOLE), marked("shot_undone", 6), part, *outcome(part, (96, 24, 0)))
    temple = intent(6, 7, shots=1, region="temple")
    chain.add(temple, *outcome(temple, WHOLE), marked("repeat", 1, region="temple"))
    chain.add(marked("repeat_undone", 1, region="temple"), command("session stop"))
    return chain.add(SessionEnded(SESSION_ID, "stopped", 7, 110_000, STARTED.at_ms + MINUTE_MS))
