"""The commands that read: the journal and the configuration. They change nothing and need no running controller."""

import argparse
import json
import sys
from pathlib import Path

from device.core.journal_chain import Entry
from device.journal_file import JOURNAL_NAME, JournalDamagedError, JournalUnavailableError
from device.journal_reader import JournalReader, utc_text
from device.service.control_client import STANDARD_STATE
from device.service.errors import ServiceError
from device.service.formulary_commands import in_words, unusable
from device.service.report_words import printable
from device.settings import FORMULARY, ConfigurationError, find_configuration_directory, load_configuration
from device.settings.bundle import TRUSTED, verified

PAGE = 500


def open_journal(options: argparse.Namespace) -> JournalReader:
    """Open the journal in --state. Raises ServiceError, in one line, when it cannot be read."""
    state: Path = options.state or STANDARD_STATE
    try:
        return JournalReader.open(state / JOURNAL_NAME)
    except (JournalDamagedError, JournalUnavailableError) as error:
        raise ServiceError(str(error)) from error


def _line(entry: Entry, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"seq": entry.seq, "ts_ms": entry.ts_ms, "kind": entry.kind, "body": entry.body})
    body = " ".join(f"{key}={value}" for key, value in entry.body.items() if value not in ("", None, []))
    return f"{entry.seq:>6}  {utc_text(entry.ts_ms)}  {entry.kind:<16} {printable(body)}"


def journal_show(options: argparse.Namespace) -> int:
    """`mesogun journal show`."""
    with open_journal(options) as reader:
        try:
            after = max(0, reader.head().seq - options.last)
            while entries := reader.entries(after, PAGE):
                for entry in entries:
                    sys.stdout.write(_line(entry, as_json=options.json) + "\n")
                after = entries[-1].seq
        except (JournalDamagedError, JournalUnavailableError) as error:
            raise ServiceError(str(error)) from error
    return 0


def journal_verify(options: argparse.Namespace) -> int:
    """`mesogun journal verify`: exit code 1 for a journal that is not what was written."""
    with open_journal(options) as reader:
        try:
            verification = reader.verify()
        except JournalUnavailableError as error:
            raise ServiceError(str(error)) from error
    if options.json:
        result = {
            "ok": verification.ok,
            "records": verification.records,
            "first_bad_seq": verification.first_bad_seq,
            "what": verification.what,
        }
        sys.stdout.write(json.dumps(result) + "\n")
    elif verification.ok:
        sys.stdout.write(f"{verification.records} records, chain complete\n")
    else:
        sys.stdout.write(f"DAMAGED at record {verification.first_bad_seq}: {verification.what}\n")
    return 0 if verification.ok else 1


def journal_export(options: argparse.Namespace) -> int:
    """`mesogun journal export`."""
    with open_journal(options) as reader:
        try:
            for line in reader.export(options.format):
                sys.stdout.write(line + "\n")
        except (JournalDamagedError, JournalUnavailableError) as error:
            raise ServiceError(str(error)) from error
    return 0


def config_check(options: argparse.Namespace) -> int:
    """`mesogun config check`."""
    try:
        configuration = load_configuration(find_configuration_directory(options.config))
    except ConfigurationError as error:
        if options.json:
            sys.stdout.write(json.dumps({"ok": False, "problems": [str(problem) for problem in error.problems]}) + "\n")
        raise ServiceError(str(error)) from error
    formulary = verified(
        configuration.directory / FORMULARY,
        configuration.files,
        trusted=configuration.directory / TRUSTED,
        simulated=False,
    )
    problem = unusable(formulary)
    result = {
        "ok": True,
        "formulary_version": formulary.version,
        "formulary_problem": problem,
        "directory": str(configuration.directory),
        "profiles": sorted(configuration.profiles),
        "serums": sorted(configuration.serums),
        "syringes": sorted(configuration.syringes),
        "courses": sorted(configuration.courses),
        "checklists": sorted(configuration.checklists),
        "sha256": configuration.sha256,
    }
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        kinds = ("profiles", "serums", "syringes", "courses", "checklists")
        counts = ", ".join(f"{len(getattr(configuration, kind))} {kind}" for kind in kinds)
        sys.stdout.write(f"{configuration.directory}: good ({counts})\n")
        signed = f"nothing will be released: {problem}" if problem else in_words(formulary)
        sys.stdout.write(f"formulary: {signed}\n")
    return 0
