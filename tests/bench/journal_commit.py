"""How long the journal's commit takes: the records of one turn between two magazines, durable when it returns.

The floor is the same bytes appended to a bare file in the same directory and made durable by fdatasync. The two take
turns, so that both meet the same disk.
"""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from device.controller.app import wall_clock_ms
from device.controller.journal import Journal
from device.core.journal_chain import append_entry
from device.core.records import Record
from device.journal_file import JOURNAL_NAME
from tests.bench.effort import Effort
from tests.bench.figures import Findings, row
from tests.bench.shipped import shipped_configuration
from tests.bench.treatment import full_turn

BOOT_ID: Final = "bench"
FLOOR: Final = "append and fdatasync"
MEMORY_ONLY: Final = frozenset({"tmpfs", "ramfs"})
PLACES: Final = (Path("/var/tmp"), Path.home(), Path("/tmp"))  # noqa: S108 - a directory of its own is made there


def journal_commit(effort: Effort) -> Findings:
    """Measure `effort.commits` commits of one turn's records."""
    records = full_turn(shipped_configuration()).records
    place, kind = _place()
    with TemporaryDirectory(prefix="mesogun-bench-", dir=place) as name:
        directory = Path(name)
        journal_ns: list[int] = []
        bare_ns: list[int] = []
        with Journal.open(directory / JOURNAL_NAME, boot_id=BOOT_ID, wall_clock_ms=wall_clock_ms) as journal:
            data = _content(journal, records)
            bare = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                for _ in range(effort.commits):
                    began_ns = time.monotonic_ns()
                    journal.append(records)
                    journal_ns.append(time.monotonic_ns() - began_ns)
                    began_ns = time.monotonic_ns()
                    os.write(bare, data)
                    os.fdatasync(bare)
                    bare_ns.append(time.monotonic_ns() - began_ns)
            finally:
                os.close(bare)
    notes = [f"{len(records)} records, {len(data)} bytes, on {kind} in {place}"]
    if kind in MEMORY_ONLY:
        notes.append("no disk was found: a commit to memory says nothing about one")
    return Findings((row("journal commit", journal_ns, FLOOR), row(FLOOR, bare_ns)), tuple(notes))


def _content(journal: Journal, records: tuple[Record, ...]) -> bytes:
    """Return the bytes that the records come to, hashes included."""
    head, content = journal.head, b""
    for record in records:
        entry, made = append_entry(head, record, boot_id=BOOT_ID, ts_ms=wall_clock_ms())
        content += f"{made.seq} {made.boot_id} {made.ts_ms} {made.kind} {made.body}".encode() + made.hash
        head = entry.head
    return content


def _place() -> tuple[Path, str]:
    """Return the first directory that lies on a disk, else the first, and its file system's kind."""
    candidates = [(place, _file_system(place)) for place in PLACES if os.access(place, os.W_OK)]
    return next((found for found in candidates if found[1] not in MEMORY_ONLY), candidates[0])


def _file_system(place: Path) -> str:
    """Return the kind of the file system that `place` lies on, as the kernel's table of mounts has it."""
    resolved = place.resolve()
    found = (Path("/"), "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, mounted, kind, *_ = line.split()
        at = Path(mounted.replace("\\040", " "))
        if resolved.is_relative_to(at) and len(at.parts) >= len(found[0].parts):
            found = (at, kind)
    return found[1]
