"""`mesogun session list` and `mesogun session report`: what the auditor asks the journal, months later.

They change nothing and need no running controller. The whole chain is checked, and the answer made of the very records
that were checked, in one pass. Of a damaged journal they show what stands before the damage, because that is as well
proven as ever and the one record of what a patient had; the damage is said first and last, and the exit code is 1. The
same for a session whose records contradict each other.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable

from device.core.journal_chain import Entry
from device.journal_file import DAMAGE_ACTION, JournalUnavailableError
from device.journal_reader import Verification
from device.service.errors import ServiceError
from device.service.record_commands import open_journal
from device.service.session_fold import report_of
from device.service.session_records import NoSuchSession, SessionList, SessionSearch
from device.service.session_report_text import list_json, list_lines, report_json, report_lines

LOCAL = None
"""The computer's own time zone."""


def session_list(options: argparse.Namespace) -> int:
    """`mesogun session list`."""
    sessions = SessionList(options.patient)
    problem = _damage(_checked(options, sessions.take))
    if options.json:
        _print([json.dumps(list_json(sessions.sessions, LOCAL, problem))])
    else:
        _print(list_lines(sessions.sessions, LOCAL))
    if problem:
        raise ServiceError(problem)
    return 0


def session_report(options: argparse.Namespace) -> int:
    """`mesogun session report`: exit code 1 for a journal that is not what was written, or contradicts itself."""
    search = SessionSearch(options.session)
    verification = _checked(options, search.take)
    try:
        found = search.found()
    except NoSuchSession as error:
        damage = _damage(verification)
        raise ServiceError(f"{error}; {damage}" if damage else str(error)) from error
    report = report_of(found, verification)
    _print([json.dumps(report_json(report, LOCAL))] if options.json else report_lines(report, LOCAL))
    if report.problems:
        raise ServiceError("\n".join(report.problems))
    return 0


def _checked(options: argparse.Namespace, take: Callable[[Entry], None]) -> Verification:
    with open_journal(options) as reader:
        try:
            return reader.verify(take)
        except JournalUnavailableError as error:
            raise ServiceError(str(error)) from error


def _damage(verification: Verification) -> str:
    if verification.ok:
        return ""
    where = "" if verification.first_bad_seq is None else f" at record {verification.first_bad_seq}"
    return f"the journal is DAMAGED{where}: {verification.what}; {DAMAGE_ACTION}"


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(line + "\n" for line in lines)
