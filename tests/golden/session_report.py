"""A session's report as a person reads it: the eventful session of `tests.support.sessions`, in a zone of its own.

Owns which report is golden: one in which each section holds something, the same from a journal that contradicts
itself and is damaged behind the session's beginning, and one of points that were not treated evenly.
"""

from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Final

from device.journal_reader import Verification
from device.service.session_report_text import report_lines
from tests.support.sessions import eventful, report_on, uneven

GOLDEN: Final = Path(__file__).with_name("session_report.txt")
ZONE: Final = timezone(timedelta(hours=1))


def whole_text() -> str:
    """Return the golden text as the code of now makes it."""
    entries = eventful().entries
    bad = next(entry.seq for entry in entries if entry.boot_id == "boot-2")
    damage = Verification(ok=False, records=bad - 1, first_bad_seq=bad, what="altered: its hash does not follow")
    parts = []
    for title, report in (
        ("Everything that a report has a place for", report_on(entries)),
        ("The same journal, damaged where the power came back", report_on(entries[: bad - 1], verification=damage)),
        ("Points skipped, repeated and taken back on a measured region", report_on(uneven().entries)),
    ):
        # A field more in any record is another hash: that is no difference to review.
        undigested = replace(report, proof=replace(report.proof, last_hash=f"(hash of record {report.proof.last_seq})"))
        text = "\n".join(report_lines(undigested, ZONE))
        parts.append(f"{title}\n{'#' * len(title)}\n\n{text}\n")
    return "\n".join(parts)
