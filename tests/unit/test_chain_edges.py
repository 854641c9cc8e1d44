"""The hash chain at its bounds: what just fits, what an entry holds, and the words and number of what does not."""

import pytest

from device.core.journal_chain import (
    BODY_BYTES_MAX,
    TS_MS_MAX,
    ChainBrokenError,
    Row,
    append_entry,
    canonical_json,
    check_row,
    entry_hash,
    genesis,
)
from device.core.records import SessionEnded, to_body
from tests.support.journal import ENDED

START = genesis(b"sixteen byte id.")


def an_end(reason: str) -> SessionEnded:
    return SessionEnded(session_id="s-1", reason=reason, shots=0, volume_nl=0)


def test_a_body_may_be_as_long_as_allowed_and_no_byte_longer() -> None:
    room = BODY_BYTES_MAX - len(canonical_json(to_body(an_end(""))))
    entry, row = append_entry(START, an_end("x" * room), boot_id="b", ts_ms=0)
    assert len(row.body) == BODY_BYTES_MAX
    assert check_row(START, row) == entry
    with pytest.raises(ValueError, match=f"takes {BODY_BYTES_MAX + 1} bytes"):
        append_entry(START, an_end("x" * (room + 1)), boot_id="b", ts_ms=0)


@pytest.mark.parametrize("boot_id", ["x" * 64, "!", "~"])
@pytest.mark.parametrize("ts_ms", [0, TS_MS_MAX])
def test_an_entry_tells_its_boot_and_time_to_the_ends_of_their_ranges(boot_id: str, ts_ms: int) -> None:
    entry, row = append_entry(START, ENDED, boot_id=boot_id, ts_ms=ts_ms)
    assert (entry.seq, entry.boot_id, entry.ts_ms, entry.kind) == (1, boot_id, ts_ms, "session_ended")
    assert check_row(START, row) == entry
    assert entry.head.hash == row.hash


def test_a_break_tells_its_record_and_what_was_found() -> None:
    digest = entry_hash(START.hash, seq=1, boot_id="b", ts_ms=0, kind="session_ended", body="[]")
    with pytest.raises(ChainBrokenError) as broken:
        check_row(START, Row(1, "b", 0, "session_ended", "[]", digest))
    assert (broken.value.seq, broken.value.what) == (1, "undecodable: the body is not a JSON object")
    assert str(broken.value) == "record 1: undecodable: the body is not a JSON object"


def test_what_has_no_exact_form_is_named() -> None:
    with pytest.raises(ValueError, match=r"^0\.1 \(float\) has no exact JSON form$"):
        canonical_json(0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^a JSON object's names are strings$"):
        canonical_json({1: "one"})  # type: ignore[dict-item]
