"""Records to write, and a journal to write them to, for the tests of the journal and of the gateway."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

from hypothesis import strategies as st

from device.controller.journal import Journal
from device.core.magazine import Outcome, Purpose
from device.core.profile import Mode, Phase
from device.core.records import (
    KINDS,
    Booted,
    FaultRaised,
    MagazineIntent,
    MagazineSettled,
    MarkWord,
    Record,
    SessionEnded,
    SessionStarted,
    ShotGiven,
)

REPOSITORY = Path(__file__).resolve().parents[2]

BOOT_ID = "0d9e2f5c-boot"
NOBODY = 65534

BOOTED = Booted(version="0.1.0", configuration_sha256="ab" * 32, simulated=True)

STARTED = SessionStarted(
    session_id="s-0001",
    profile="nappage",
    profile_sha256="01" * 32,
    serum="saline",
    serum_sha256="02" * 32,
    syringe="5ml",
    syringe_sha256="03" * 32,
    patient="Ada Example",
    weight_g=62_500,
    regions=["crown", "temple-left"],
    region_points=[12, 8],
)

INTENT = MagazineIntent(
    magazine_id=1,
    purpose="inject",
    session_id="s-0001",
    region="crown",
    first_shot=1,
    stroke_nl=1_000_000,
    stroke_increments=24_000,
    start=24_000,
    low_water=24_000,
    carry_before=0,
    moves_per_shot=3,
    phases=["entry", "dwell", "exit"],
    targets=[23_970, 23_910, 23_880],
    doses_nl=[20_000],
    carries=[7],
)

SHOT = ShotGiven(
    session_id="s-0001",
    magazine_id=1,
    shot=1,
    region="crown",
    outcome="delivered",
    reason="",
    mode="single",
    planned_nl=20_000,
    booked_nl=19_999,
    entry_nl=4_000,
    dwell_nl=12_000,
    exit_nl=3_999,
    depth_um=6_005,
    press_to_step_us=900,
    step_late_us_p50=50,
    step_late_us_p99=100,
    step_late_us_max=200,
    entry_us=150_000,
    dwell_us=50_000,
    exit_us=150_000,
    stroke_us=400_000,
)

SETTLED = MagazineSettled(
    magazine_id=1,
    purpose="inject",
    session_id="s-0001",
    reason="",
    position=23_880,
    low_water=23_880,
    given=120,
    given_nl=19_999,
    shots=1,
    carry=7,
    certain=True,
)

RAISED = FaultRaised(
    code=101, name="stop_pressed", priority="high", latched=True, detail="stop pressed", session_id="s-0001"
)

ENDED = SessionEnded(session_id="s-0001", reason="done", shots=1, volume_nl=19_999)

SESSION: tuple[Record, ...] = (BOOTED, STARTED, INTENT, SHOT, SETTLED, RAISED, ENDED)


def shot(number: int) -> ShotGiven:
    """Return a shot that is told from the others by its number."""
    return replace(SHOT, shot=number)


def wall_clock_ms() -> int:
    """Stand at one moment: 2026-03-04T05:06:07.089Z."""
    return 1_772_600_767_089


def open_journal(path: Path) -> Journal:
    """Open or make the journal at `path`."""
    return Journal.open(path, boot_id=BOOT_ID, wall_clock_ms=wall_clock_ms)


@contextmanager
def journal_of(path: Path, *records: Record) -> Iterator[Journal]:
    """Hold a journal open to which `records` were appended one by one."""
    with open_journal(path) as journal:
        for record in records:
            journal.append([record])
        yield journal


def by_sql(path: Path, *statements: str) -> None:
    """Alter the journal's file as no program of ours does."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def become_nobody() -> None:
    """Become a user whom file permissions bind, in a process started by a test that may itself be run by root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


ENUMERATED = {
    "purpose": [member.value for member in Purpose],
    "outcome": [member.value for member in Outcome],
    "mode": [member.value for member in Mode],
    "priority": ["high", "medium", "low"],
    "mark": [word.value for word in MarkWord],
}


def records() -> st.SearchStrategy[Record]:
    """Return any record: every kind, any whole number and text, the enumerated strings among their values."""
    return st.one_of([_records_of(kind) for kind in KINDS.values()])


def _records_of(kind: type[Record]) -> st.SearchStrategy[Record]:
    fields: dict[str, st.SearchStrategy[Any]] = {
        name: st.sampled_from(values) for name, values in ENUMERATED.items() if name in kind.__annotations__
    }
    if "phases" in kind.__annotations__:
        fields["phases"] = st.lists(st.sampled_from([phase.value for phase in Phase]))
    for name, hint in get_type_hints(kind).items():
        if hint is int:
            fields[name] = st.integers(min_value=-(2**40), max_value=2**40)
    return st.builds(kind, **fields)
