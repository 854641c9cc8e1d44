"""The journal's hash chain: canonical bytes, hashes, and the check of a run of records.

Owns what makes an altered, missing or reordered record visible: each record's hash covers the hash before it and the
canonical JSON of the record. Pure: it never reads a file or a clock; `device.journal_file` and
`device.controller.journal` bring the rows. The chain proves that nothing was altered by accident or by hand; it holds
no secret, so it is no signature: whoever can rewrite the whole file can rewrite the whole chain.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from device.core.records import Json, Record, from_body, to_body

GENESIS_PREFIX: Final = b"mesogun journal 1\x00"
"""Keeps the genesis hash apart from every record's hash, and one format of the chain from the next."""

DEVICE_ID_BYTES: Final = 16
HASH_BYTES: Final = 32

TS_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: beyond it a time has no ISO 8601 form of four-digit years."""

BODY_BYTES_MAX: Final = 65_536
"""A full magazine's intent takes under 4 KiB; a larger body is a mistake and must not fill the card."""

BOOT_ID_CHARACTERS_MAX: Final = 64

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a whole number")


_DECODER: Final = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)


class ChainBrokenError(Exception):
    """The chain does not hold at record `seq`; `what` is what was found, in one line."""

    def __init__(self, seq: int, what: str) -> None:
        super().__init__(f"record {seq}: {what}")
        self.seq = seq
        self.what = what


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands: the last record's number and hash; number 0 with the genesis hash when there is none."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as the journal holds it. `ts_ms` is the wall clock, recorded only: `seq` alone is the order."""

    seq: int
    boot_id: str
    ts_ms: int
    kind: str
    body: dict[str, Json]
    hash: bytes

    def record(self) -> Record:
        """Return the record. Raises ValueError for an unknown kind, a missing or an unknown field."""
        return from_body(self.kind, self.body)

    @property
    def head(self) -> Head:
        """Return where the chain stands after this entry."""
        return Head(self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the journal's file, unchecked: `body` and `hash` are what the file says."""

    seq: int
    boot_id: str
    ts_ms: int
    kind: str
    body: str
    hash: bytes


def genesis(device_id: bytes) -> Head:
    """Return the head of an empty chain. Raises ValueError unless `device_id` has `DEVICE_ID_BYTES` bytes."""
    if len(device_id) != DEVICE_ID_BYTES:
        raise ValueError(f"the device id has {len(device_id)} bytes; it must have {DEVICE_ID_BYTES}")
    return Head(0, hashlib.sha256(GENESIS_PREFIX + device_id).digest())


def canonical_json(value: Json) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces, ASCII only (others escaped), no fractions.

    Raises ValueError for a float or for anything that JSON has no form for: 0.1 has more than one spelling, and a
    volume is a whole number here.
    """
    _refuse_inexact(value)
    return _ENCODER.encode(value)


def entry_hash(previous: bytes, *, seq: int, boot_id: str, ts_ms: int, kind: str, body: str) -> bytes:
    """Return SHA-256 of `previous` followed by the canonical JSON of the other five as one object.

    `body` is already canonical JSON and stands in it unquoted; the writer made it so, and a reader takes it as the
    file has it: any other spelling gives another hash.
    """
    names = f'"boot_id":{_ENCODER.encode(boot_id)},"kind":{_ENCODER.encode(kind)},"seq":{seq},"ts_ms":{ts_ms}'
    return hashlib.sha256(previous + f'{{"body":{body},{names}}}'.encode()).digest()


def append_entry(head: Head, record: Record, *, boot_id: str, ts_ms: int) -> tuple[Entry, Row]:
    """Return the entry that follows `head`, and the row that holds it.

    Raises ValueError for a `boot_id` or `ts_ms` out of range, and for a body that is inexact, is over
    `BODY_BYTES_MAX`, or would not read back as the same record.
    """
    check_boot_id(boot_id)
    _check_ts_ms(ts_ms)
    kind = record.KIND
    text = canonical_json(to_body(record))
    if len(text) > BODY_BYTES_MAX:
        raise ValueError(f"record {kind!r} takes {len(text)} bytes; at most {BODY_BYTES_MAX} are allowed")
    seq = head.seq + 1
    digest = entry_hash(head.hash, seq=seq, boot_id=boot_id, ts_ms=ts_ms, kind=kind, body=text)
    row = Row(seq, boot_id, ts_ms, kind, text, digest)
    return _decode(row), row


def check_row(head: Head, row: Row) -> Entry:
    """Return the entry that `row` holds, if it follows `head`. Raises `ChainBrokenError` saying why it does not."""
    if row.seq != head.seq + 1:
        raise ChainBrokenError(head.seq + 1, f"missing: the next record in the file is {row.seq}")
    digest = entry_hash(head.hash, seq=row.seq, boot_id=row.boot_id, ts_ms=row.ts_ms, kind=row.kind, body=row.body)
    if digest != row.hash:
        raise ChainBrokenError(row.seq, "altered: its hash does not follow from its content and the record before it")
    try:
        return _decode(row)
    except ValueError as error:
        raise ChainBrokenError(row.seq, f"undecodable: {error}") from error


def check_rows(head: Head, rows: Iterable[Row]) -> Iterator[Entry]:
    """Yield the entries of `rows`, which must follow `head` without a gap. Raises `ChainBrokenError` at the first
    row that does not.
    """
    for row in rows:
        entry = check_row(head, row)
        head = entry.head
        yield entry


def check_boot_id(boot_id: str) -> None:
    """Raise ValueError unless `boot_id` is 1 to `BOOT_ID_CHARACTERS_MAX` printable ASCII characters, no space."""
    if not 1 <= len(boot_id) <= BOOT_ID_CHARACTERS_MAX or not all("!" <= character <= "~" for character in boot_id):
        raise ValueError(
            f"boot_id {boot_id!r} must be 1 ... {BOOT_ID_CHARACTERS_MAX} printable ASCII characters without spaces"
        )


def _check_ts_ms(ts_ms: int) -> None:
    if not 0 <= ts_ms <= TS_MS_MAX:
        raise ValueError(f"ts_ms {ts_ms} is outside 0 ... {TS_MS_MAX} (the years 1970 to 9999)")


def _decode(row: Row) -> Entry:
    """Return the entry in `row`. Raises ValueError when the body is no JSON object or no known record's."""
    body = _DECODER.decode(row.body)
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - what the text says, not an argument's type
    entry = Entry(row.seq, row.boot_id, row.ts_ms, row.kind, body, row.hash)
    entry.record()
    return entry


def _refuse_inexact(value: object) -> None:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a JSON object's names are strings")
        for part in value.values():
            _refuse_inexact(part)
    elif isinstance(value, list):
        for part in value:
            _refuse_inexact(part)
    elif not (value is None or isinstance(value, str | int)):
        raise ValueError(f"{value!r} ({type(value).__name__}) has no exact JSON form")
