"""`mesogun session summary` and `verify-summary`: what leaves the console with a patient's file, signed by the console.

The summary is the session's report from the journal, whose whole chain is checked first; only a session that has ended
and about which the journal does not contradict itself is signed. A signature proves that this console's key signed
these bytes: which key that is stands in its journal, or is told by whoever has a copy of that.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from device.core.journal_chain import Entry
from device.core.records import ConsoleKeyMade
from device.journal_file import JournalUnavailableError
from device.service.control_client import STANDARD_STATE
from device.service.errors import ServiceError
from device.service.record_commands import open_journal
from device.service.session_fold import report_of
from device.service.session_records import SessionSearch, record_of
from device.service.session_report_text import report_json
from device.service.treatment_commands import show
from device.settings import ConfigurationError
from device.settings.bundle import write_whole
from device.settings.console_key import (
    KEY_NAME,
    SIGNATURE_SUFFIX,
    digest_of,
    is_signed,
    public_half,
    read_key,
    read_signature,
    signature_text,
)

LOCAL: Final = None
"""The computer's own time zone."""

SUMMARY_BYTES_MOST: Final = 64 * 1024 * 1024
"""Far more than the longest session's summary; a larger file is none."""


def session_summary(options: argparse.Namespace) -> int:
    """`mesogun session summary`: the signature is written last, so that no broken-off summary looks signed."""
    search = SessionSearch(options.session)
    with open_journal(options) as reader:
        try:
            verification = reader.verify(search.take)
        except JournalUnavailableError as error:
            raise ServiceError(str(error)) from error
    found = search.found()
    report = report_of(found, verification)
    if report.problems:
        raise ServiceError("\n".join((*report.problems, "nothing that the journal does not prove is signed")))
    if report.ended_ms is None:
        raise ServiceError(f"session {report.started.session_id} has not ended: `mesogun session stop` first")
    state: Path = options.state or STANDARD_STATE
    try:
        seed = read_key(state / KEY_NAME)
    except ConfigurationError as error:
        raise ServiceError(f"{error}; only the service's user may read it: sudo -u mesogun mesogun ...") from error
    key = {"public_key": public_half(seed), "sha256": digest_of(public_half(seed))}
    content = json.dumps({"signed_with": key, **report_json(report, LOCAL)}, indent=1).encode() + b"\n"
    path: Path = options.out / f"{report.started.session_id}.json"
    signature = path.with_name(path.name + SIGNATURE_SUFFIX)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        signature.unlink(missing_ok=True)
        write_whole(path, content, mode=0o640)
        write_whole(signature, signature_text(seed, content).encode(), mode=0o640)
    except OSError as error:
        raise ServiceError(f"{options.out}: {error.strerror}; choose another --out") from error
    result = {"summary": str(path), "signature": str(signature), "key_sha256": key["sha256"]}
    return show(options, result, f"{path}: the summary\n{signature}: its signature, by the key {key['sha256']}")


def verify_summary(options: argparse.Namespace) -> int:
    """`mesogun session verify-summary`: exit code 1 for a summary that was altered, or signed by no known key."""
    path: Path = options.file
    try:
        with path.open("rb") as stream:
            content = stream.read(SUMMARY_BYTES_MOST)
        by = read_signature(path.with_name(path.name + SIGNATURE_SUFFIX))
    except OSError as error:
        raise ServiceError(f"{path}: {error.strerror}") from error
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error
    if not is_signed(content, by):
        raise ServiceError(f"{path} was altered since it was signed, or is not what the signature is of")
    digest = digest_of(by.public_key)
    known = {options.public_key: "the key that was named"} if options.public_key else _keys_in_journal(options)
    if by.public_key not in known:
        raise ServiceError(f"{path} is signed by the key {digest}, which is no key of this console")
    session = json.loads(content)["started"]["session_id"]
    result: dict[str, Any] = {"session_id": session, "key_sha256": digest}
    return show(options, result, f"session {session}: as it was signed, by {known[by.public_key]}, {digest}")


def _keys_in_journal(options: argparse.Namespace) -> dict[str, str]:
    """Return the console's public keys and where they stand. Raises ServiceError for a journal that is damaged."""
    keys: dict[str, str] = {}

    def take(entry: Entry) -> None:
        record = record_of(entry)
        if isinstance(record, ConsoleKeyMade):
            keys[record.public_key] = f"the console's key of record {entry.seq}"

    with open_journal(options) as reader:
        try:
            verification = reader.verify(take)
        except JournalUnavailableError as error:
            raise ServiceError(str(error)) from error
    if not verification.ok:
        raise ServiceError(f"the journal is DAMAGED: {verification.what}; name the key by --public-key")
    return keys
