"""The command line's part for files: the journal, courses, the configuration, the formulary."""

import argparse
from pathlib import Path
from typing import Final

from device.service.argument_words import day, key_name, positive

CONFIG_HELP: Final = "configuration (default: /etc/mesogun, else the shipped one)"

Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def client_options(parser: argparse.ArgumentParser) -> None:
    """Add which controller to talk to, and how to show its answer."""
    parser.add_argument("--state", type=Path, metavar="DIR", help="state directory of the controller to talk to")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="its control socket (default: in --state)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_session_records(session: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add what the journal tells of sessions."""
    listing = session.add_parser(
        "list",
        help="list the journal's sessions",
        epilog="examples:\n  mesogun session list\n  mesogun session list --patient p-0017 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listing.add_argument("--patient", metavar="ID", help="only this patient's")
    report = session.add_parser(
        "report",
        help="what was given, on whose command, and the proof that nothing was altered",
        description="Report one session from the journal, whose whole chain is checked first; no controller need run. "
        "Exit code 1 when the journal is damaged, or contradicts itself about the session.",
        epilog="examples:\n"
        "  mesogun session report last\n"
        "  mesogun session report 5f0c --state /tmp/gun\n"
        "  mesogun session report 5f0c2a9d31e84b7a --json > session.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    summary = session.add_parser("summary", help="write the report of an ended session, signed by the console")
    summary.add_argument("--out", type=Path, required=True, metavar="DIR", help="where; it holds the patient's id")
    for one in (report, summary):
        one.add_argument("session", metavar="ID", help="the session's id, enough of its beginning, or: last")
    verify = session.add_parser("verify-summary", help="check a summary's signature and whose key it is by")
    verify.add_argument("file", type=Path, metavar="FILE.json", help="the summary; its signature lies beside it")
    verify.add_argument("--public-key", metavar="BASE64", help="the console's key (default: those of its journal)")
    for name, one in (("session_summary", summary), ("verify_summary", verify)):
        one.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
        one.add_argument("--json", action="store_true", help="print one JSON object")
        one.set_defaults(call=f"device.service.summary_commands:{name}")
    for name, one in (("list", listing), ("report", report)):
        one.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
        one.add_argument("--json", action="store_true", help="print one JSON object")
        one.set_defaults(call=f"device.service.session_commands:session_{name}")


def add_courses(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add what belongs to courses."""
    course = commands.add_parser("course", help="list courses, tell what is due, plan").add_subparsers(
        dest="subcommand", metavar="list|due|calendar", required=True
    )
    listed = course.add_parser("list", help="show the courses with their sessions and gaps")
    due = course.add_parser("due", help="show what a patient was given and when the next session is due")
    due.add_argument("--patient", required=True, metavar="ID", help="the id by which sessions were started")
    due.add_argument("--course", metavar="NAME", help="this course only (default: all that were begun)")
    calendar = course.add_parser("calendar", help="write the sessions to come as a calendar file (.ics)")
    calendar.add_argument("--course", required=True, metavar="NAME", help="the course (formulary/courses)")
    begun = calendar.add_mutually_exclusive_group(required=True)
    begun.add_argument("--start", type=day, metavar="YYYY-MM-DD", help="plan it whole from this day")
    begun.add_argument("--patient", metavar="ID", help="plan what is left after the sessions that were given")
    calendar.add_argument("--out", type=Path, metavar="FILE.ics", help="the file (default: standard output)")
    calendar.add_argument(
        "--with-patient", action="store_true", help="write the id of --patient into the file: whoever reads it sees it"
    )
    for one in (listed, due):
        one.add_argument("--json", action="store_true", help="print one JSON object")
    for one in (due, calendar):
        one.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
        one.add_argument("--on", type=day, metavar="YYYY-MM-DD", help="as if today were this day")
    for name, one in (("list", listed), ("due", due), ("calendar", calendar)):
        one.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
        one.set_defaults(call=f"device.service.course_commands:course_{name}")


def add_records(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the journal and the check of the configuration."""
    journal = commands.add_parser("journal", help="read the journal").add_subparsers(
        dest="subcommand", metavar="show|verify|export", required=True
    )
    show = journal.add_parser("show", help="show the newest records")
    show.add_argument("--last", type=positive, default=20, metavar="N", help="how many (default 20)")
    verify = journal.add_parser("verify", help="check the whole hash chain")
    export = journal.add_parser("export", help="write every record to standard output")
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    for name, one in (("show", show), ("verify", verify), ("export", export)):
        one.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
        one.set_defaults(call=f"device.service.record_commands:journal_{name}")
    for one in (show, verify):
        one.add_argument("--json", action="store_true", help="print JSON")

    config = commands.add_parser("config", help="check the configuration").add_subparsers(
        dest="subcommand", metavar="check", required=True
    )
    check = config.add_parser("check", help="read every file and say every problem, one a line")
    check.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(call="device.service.record_commands:config_check")


def add_formulary(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add what a pharmacist does, and what a console took."""
    formulary = commands.add_parser(
        "formulary",
        help="sign, verify and install what may be given",
        epilog="examples:\n"
        "  mesogun formulary keygen pharmacy --out keys\n"
        '  mesogun formulary sign formulary --key keys/pharmacy.key --author "A. Pharmacist"\n'
        "  mesogun formulary verify formulary --trusted keys\n"
        "  mesogun formulary diff /etc/mesogun/formulary formulary\n"
        "  sudo mesogun formulary install formulary\n"
        "  mesogun formulary history",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_subparsers(dest="subcommand", metavar="keygen|sign|verify|install|diff|history|roll-back", required=True)

    keygen = formulary.add_parser("keygen", help="make a key: a private file to sign with, a public one to trust")
    keygen.add_argument("name", type=key_name, metavar="NAME", help="the key's name")
    keygen.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where (default: here)")
    sign = formulary.add_parser("sign", help="sign a folder of limits, profiles, serums and syringes")
    verify = formulary.add_parser("verify", help="check signature, digests and date")
    install = formulary.add_parser("install", help="put a signed formulary into force on this console (as root)")
    for one in (sign, verify, install):
        one.add_argument("directory", type=Path, metavar="DIR", help="the formulary")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key")
    sign.add_argument("--author", required=True, metavar="NAME", help="who answers for it")
    sign.add_argument("--version", type=positive, metavar="N", help="default: one more than it was")
    sign.add_argument("--valid-days", type=positive, default=365, metavar="N", help="default 365, at most 3653")
    for one in (verify, install):
        one.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
        one.add_argument("--trusted", type=Path, metavar="DIR", help="trusted keys (default: of the configuration)")
        one.add_argument("--simulated", action="store_true", help="for a simulated console: its keys count too")
    install.add_argument("--roll-back", action="store_true", help="install an older version than the one in force")
    diff = formulary.add_parser("diff", help="what changes from one formulary to another")
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    history = formulary.add_parser("history", help="which formularies this console took, when, by whose word")
    history.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
    roll_back = formulary.add_parser("roll-back", help="take the older formulary that the controller has found")
    roll_back.add_argument("--reason", required=True, metavar="TEXT", help="why; stands in the journal")
    roll_back.add_argument("--by", required=True, metavar="NAME", help="whose word it is; stands in the journal")
    client_options(roll_back)
    for name, one in (
        ("keygen", keygen),
        ("sign_formulary", sign),
        ("verify", verify),
        ("install", install),
        ("diff", diff),
        ("history", history),
        ("roll_back", roll_back),
    ):
        if one is not roll_back:
            one.add_argument("--json", action="store_true", help="print one JSON object")
        one.set_defaults(call=f"device.service.formulary_commands:{name}")
