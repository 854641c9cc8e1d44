"""The hash chain: what it accepts, and that no altered, missing or reordered row passes."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.journal_chain import (
    BODY_BYTES_MAX,
    TS_MS_MAX,
    ChainBrokenError,
    Entry,
    Head,
    Row,
    append_entry,
    canonical_json,
    check_row,
    check_rows,
    entry_hash,
    genesis,
)
from device.core.records import FaultsCleared, Record, to_body
from tests.support.journal import ENDED, SESSION, SHOT, records

START = genesis(b"sixteen byte id.")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=12,
)


def chain(written: list[Record] | tuple[Record, ...], *, start: Head = START) -> tuple[list[Entry], list[Row]]:
    entries, rows = [], []
    head = start
    for number, record in enumerate(written):
        entry, row = append_entry(head, record, boot_id="boot-1", ts_ms=1000 + number)
        head = entry.head
        entries.append(entry)
        rows.append(row)
    return entries, rows


@given(json_values)
def test_canonical_json_is_ascii_and_reads_back_as_the_same_value(value: None) -> None:
    text = canonical_json(value)

    assert text.isascii()
    assert json.loads(text) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_does_not_depend_on_the_order_of_names(value: dict[str, int]) -> None:
    assert canonical_json({**value}) == canonical_json(dict(reversed(value.items())))


@pytest.mark.parametrize("inexact", [0.5, float("nan"), [1, 2.0], {"a": {"b": 1e3}}, b"bytes", {1: 2}])
def test_a_value_with_no_exact_json_form_is_refused(inexact: None) -> None:
    with pytest.raises(ValueError, match=r"exact JSON form|names are strings"):
        canonical_json(inexact)


def test_the_genesis_needs_a_whole_device_id() -> None:
    with pytest.raises(ValueError, match="15 bytes; it must have 16"):
        genesis(bytes(15))


@given(st.lists(records(), max_size=6))
def test_what_is_appended_checks_and_reads_back_as_the_same_records(written: list[Record]) -> None:
    entries, rows = chain(written)

    assert list(check_rows(START, rows)) == entries
    assert [entry.record() for entry in entries] == written
    assert [entry.seq for entry in entries] == list(range(1, len(written) + 1))


def test_the_hash_covers_the_hash_before_and_one_canonical_object() -> None:
    _, (row,) = chain([ENDED])
    whole = '{"body":' + row.body + ',"boot_id":"boot-1","kind":"session_ended","seq":1,"ts_ms":1000}'

    assert row.body == canonical_json(to_body(ENDED))
    assert whole == json.dumps(json.loads(whole), sort_keys=True, separators=(",", ":"))
    assert row.hash == hashlib.sha256(START.hash + whole.encode()).digest()


@given(index=st.integers(0, len(SESSION) - 1), data=st.data())
def test_a_row_altered_in_any_column_is_refused_with_its_number(index: int, data: st.DataObject) -> None:
    _, rows = chain(SESSION)
    row = rows[index]
    altered = data.draw(
        st.one_of(
            st.text(max_size=8).map(lambda text: replace(row, boot_id=text)),
            st.integers(-5, TS_MS_MAX + 5).map(lambda ts_ms: replace(row, ts_ms=ts_ms)),
            st.sampled_from(["shot", "refilled", "nonsense", ""]).map(lambda kind: replace(row, kind=kind)),
            st.integers(0, len(row.body) - 1).map(
                lambda at: replace(row, body=row.body[:at] + chr(ord(row.body[at]) ^ 1) + row.body[at + 1 :])
            ),
            st.binary(max_size=33).map(lambda digest: replace(row, hash=digest)),
        ).filter(lambda other: other != row)
    )
    rows[index] = altered

    with pytest.raises(ChainBrokenError) as broken:
        list(check_rows(START, rows))

    assert broken.value.seq == row.seq


@given(gone=st.integers(0, len(SESSION) - 2))
def test_a_missing_row_is_named(gone: int) -> None:
    _, rows = chain(SESSION)
    del rows[gone]

    with pytest.raises(
        ChainBrokenError, match=f"record {gone + 1}: missing: the next record in the file is {gone + 2}"
    ):
        list(check_rows(START, rows))


@given(st.permutations(range(len(SESSION))).filter(lambda order: list(order) != sorted(order)))
def test_rows_in_another_order_are_refused_even_when_renumbered(order: list[int]) -> None:
    _, rows = chain(SESSION)
    shuffled = [replace(rows[place], seq=number + 1) for number, place in enumerate(order)]
    first_moved = next(number for number, place in enumerate(order) if number != place)

    with pytest.raises(ChainBrokenError) as broken:
        list(check_rows(START, shuffled))

    assert broken.value.seq == first_moved + 1


def test_another_spelling_of_the_same_body_is_refused() -> None:
    _, (row,) = chain([SHOT])

    with pytest.raises(ChainBrokenError, match="record 1: altered"):
        check_row(START, replace(row, body=row.body.replace(":", ": ")))


def test_a_chain_of_another_device_is_refused() -> None:
    _, rows = chain(SESSION, start=genesis(b"another device's"))

    with pytest.raises(ChainBrokenError, match="record 1: altered"):
        list(check_rows(START, rows))


@pytest.mark.parametrize(
    ("kind", "body", "what"),
    [
        ("session_ended", "[]", "not a JSON object"),
        ("session_ended", "{", "undecodable"),
        ("session_ended", '{"shots":1.5}', "1.5 is not a whole number"),
        ("session_ended", '{"shots":1}', "missing"),
        ("session_ended", '{"extra":1}', r"unknown fields \['extra'\]"),
        ("unheard_of", "{}", "unknown record kind 'unheard_of': a newer version"),
    ],
)
def test_a_record_that_this_software_cannot_decode_is_refused_though_its_hash_holds(
    kind: str, body: str, what: str
) -> None:
    digest = entry_hash(START.hash, seq=1, boot_id="b", ts_ms=0, kind=kind, body=body)

    with pytest.raises(ChainBrokenError, match=what):
        check_row(START, Row(1, "b", 0, kind, body, digest))


@pytest.mark.parametrize("boot_id", ["", "with space", "x" * 65, "tab\t", "Ümlaut"])
def test_a_boot_id_that_is_no_plain_word_is_refused(boot_id: str) -> None:
    with pytest.raises(ValueError, match="boot_id"):
        append_entry(START, ENDED, boot_id=boot_id, ts_ms=0)


@pytest.mark.parametrize("ts_ms", [-1, TS_MS_MAX + 1])
def test_a_time_outside_the_calendar_is_refused(ts_ms: int) -> None:
    with pytest.raises(ValueError, match="the years 1970 to 9999"):
        append_entry(START, ENDED, boot_id="b", ts_ms=ts_ms)


def test_a_body_too_large_for_any_real_record_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {BODY_BYTES_MAX}"):
        append_entry(START, FaultsCleared(codes=[101] * 20_000, uid=0), boot_id="b", ts_ms=0)
