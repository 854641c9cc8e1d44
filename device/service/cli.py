"""The command line `mesogun`: parses, dispatches, and turns every expected error into one line and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong use. Imports nothing heavy: each command imports what it needs.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

CONFIG_HELP: Final = "configuration (default: /etc/mesogun, else the shipped one)"
DONE: Final = 0
FAILED: Final = 1

EXAMPLES = """examples:
  mesogun demo                                          see a simulated gun treat a scalp
  mesogun simulate --profile papule --points 80         what a session will give, and how long it takes
  mesogun run --sim --state /tmp/gun                    a simulated console to try the commands on
  mesogun --help; mesogun session start --help          help for each command
  mesogun status --state /tmp/gun
  mesogun home --plunger --patient-detached --state /tmp/gun
  mesogun calibrate --syringe 1ml --measured-ul 998.5 --method "weighed, mean of 10 strokes" --state /tmp/gun
  mesogun session start --profile continuous --serum saline --syringe 1ml --regions front:20,crown:20 --state /tmp/gun
  mesogun prime --volume-ul 100; mesogun arm; mesogun disarm; mesogun session stop
  mesogun point skip; mesogun point repeat; mesogun point undo
  mesogun session check disinfected --by NAME; mesogun session pause; mesogun session resume
  mesogun change vial --lot L-2; mesogun change needle; mesogun change syringe --patient-detached
  mesogun session summary last --out reports; mesogun session verify-summary reports/5f0c2a9d31e84b7a.json
  mesogun alarm silence; mesogun fault list; mesogun fault clear
  mesogun session list; mesogun session report last
  mesogun course list; mesogun course due --patient p-17; mesogun course calendar --course weekly-ten --start 2026-09-07
  mesogun journal verify --state /tmp/gun
"""

REGIONS_HELP: Final = """regions:
  REGION is NAME:POINTS, or NAME:AREAcm2[@SPACINGmm][:square|:hex], from which the points follow, rounded down.
  Spacing 5 to 30 mm, 20 unless written; the points lie on a square grid unless :hex is written (a hexagonal one).
  Only of a region with an area is the volume by area known, and limited (limits.region_ul_per_cm2).

  --regions front:20,crown:20                      20 points each
  --regions front:20,crown:35cm2,temple:12.5cm2@15mm:hex
"""

Command = Callable[[argparse.Namespace], int]


def _weight(text: str) -> int:
    return _whole(text, 1000, "kilograms", "70 or 70.5")


def _volume(text: str) -> int:
    return _whole(text, 1000, "microlitres", "100 or 2.5")


def _whole(text: str, factor: int, unit: str, example: str) -> int:
    try:
        value = Decimal(text) * factor
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit}; write {example}") from error
    if not value.is_finite() or value <= 0 or value != value.to_integral_value():
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are positive {unit} with at most 3 decimals")
    return int(value)


def _regions(text: str) -> list[dict[str, object]]:
    from device.service.region_text import parse_regions  # noqa: PLC0415 - only a session's start needs it

    try:
        return parse_regions(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _broker(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r}: write HOST:PORT, as in localhost:1883")
    return host, int(port)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are whole numbers from 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are whole numbers from 0")
    return int(text)


def _date(text: str) -> date:
    try:
        when = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write YYYY-MM-DD, as in 2026-09-30") from error
    if when.year < 1970:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are dates from 1970 on")
    return when


def _moment(text: str) -> datetime:
    try:
        when = datetime.strptime(text, "%Y-%m-%d %H:%M")  # noqa: DTZ007 - this computer's own time, made so by astimezone
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no moment; write "YYYY-MM-DD HH:MM", as in "2026-09-30 14:05"'
        ) from error
    if when.year < 1971:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are moments from 1971 on")
    return when


def _client_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, metavar="DIR", help="state directory of the controller to talk to")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="its control socket (default: in --state)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _vial_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lot", default="", metavar="LOT", help="the serum's lot")
    parser.add_argument("--lot-expires", type=_date, metavar="YYYY-MM-DD", help="the last day on which it may be given")
    parser.add_argument("--mixed-at", type=_moment, metavar='"YYYY-MM-DD HH:MM"', help="when it was mixed, local time")


def _service_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    parser.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="control socket (default: in --state, or in /run)")
    parser.add_argument("--sim", action="store_true", help="use the simulated console in DIR/sim; started if absent")
    parser.add_argument("--log-json", action="store_true", help="log JSON lines")
    parser.add_argument("--verbose", action="store_true", help="log every event")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="mesogun",
        description="Runtime of a computer-controlled hair mesotherapy gun. Not a certified medical device.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_services(commands)
    _add_treatment(commands)
    _add_courses(commands)
    _add_records(commands)
    _add_formulary(commands)
    _add_simulation(commands)
    return parser


Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def _add_services(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="run the controller and its real-time process")
    _service_options(run)
    run.set_defaults(call="device.service.processes:run")
    gateway = commands.add_parser("gateway", help="run the gateway: publish the journal over MQTT")
    _service_options(gateway)
    gateway.add_argument("--broker", type=_broker, metavar="HOST:PORT", help="broker (default: of device.toml)")
    gateway.add_argument("--cursor", type=Path, metavar="DIR", help="where it remembers its place (default: --state)")
    gateway.set_defaults(call="device.service.processes:gateway")


def _add_treatment(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    status = commands.add_parser("status", help="show the console's state, totals, faults")
    _client_options(status)
    status.set_defaults(call="device.service.treatment_commands:status")

    session = commands.add_parser("session", help="start or stop a session; list them, report one").add_subparsers(
        dest="subcommand", metavar="start|check|pause|resume|stop|list|report|summary|verify-summary", required=True
    )
    start = session.add_parser(
        "start", help="start a session", epilog=REGIONS_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    start.add_argument("--profile", required=True, metavar="NAME", help="how to inject (formulary/profiles)")
    start.add_argument("--serum", required=True, metavar="NAME", help="what is injected (formulary/serums)")
    start.add_argument("--syringe", required=True, metavar="NAME", help="the syringe in the pump (formulary/syringes)")
    start.add_argument("--patient", default="", metavar="ID", help="opaque id; never leaves the device")
    start.add_argument("--weight-kg", type=_weight, metavar="W", dest="weight_g", help="for limits per kilogram")
    start.add_argument("--regions", type=_regions, default=[], metavar="REGION,...", help="planned points: see below")
    start.add_argument("--course", default="", metavar="NAME", help="its next session (formulary/courses)")
    start.add_argument("--anew", action="store_true", help="begin the course again at its first session")
    start.add_argument(
        "--override", default="", metavar="REASON", help="start although a soft limit refuses; stands in the journal"
    )
    start.add_argument("--by", default="", metavar="NAME", help="whose word the override is; both are published")
    start.add_argument("--operator", default="", metavar="NAME", help="who treats; stands in the journal, published")
    start.add_argument("--needle", default="", metavar="ID", help="a new needle; its shots are counted from 0")
    _vial_options(start)
    start.add_argument("--checklist", default="", metavar="NAME", help="what is confirmed first (formulary/checklists)")
    _client_options(start)
    start.set_defaults(call="device.service.treatment_commands:session_start")
    check = session.add_parser("check", help="confirm items of the check-list; without items it is shown")
    check.add_argument("items", nargs="*", metavar="ITEM", help="the items' keys")
    check.add_argument("--by", default="", metavar="NAME", help="who answers for it; stands in the journal, published")
    _client_options(check)
    check.set_defaults(call="device.service.treatment_commands:session_check")
    for name, text in (
        ("pause", "fire and prime nothing until it is resumed"),
        ("resume", "go on with a paused session"),
        ("stop", "stop the session"),
    ):
        simple = session.add_parser(name, help=text)
        _client_options(simple)
        simple.set_defaults(call=f"device.service.treatment_commands:session_{name}")
    _add_session_records(session)

    change = commands.add_parser("change", help="a new vial, needle or syringe in a session").add_subparsers(
        dest="subcommand", metavar="vial|needle|syringe", required=True
    )
    vial = change.add_parser("vial", help="draw from another vial of the same serum")
    _vial_options(vial)
    needle = change.add_parser("needle", help="count a new needle's shots; prime it before arming")
    needle.add_argument("--needle", default="", metavar="ID", help="its id, if it has one")
    syringe = change.add_parser("syringe", help="home the plunger of a new syringe of the same type, without a patient")
    syringe.add_argument("--syringe", default="", metavar="NAME", help="its type, which must be the session's")
    syringe.add_argument("--patient-detached", action="store_true", help="confirm that no patient is attached")
    for name, one in (("vial", vial), ("needle", needle), ("syringe", syringe)):
        _client_options(one)
        one.set_defaults(call=f"device.service.treatment_commands:change_{name}")

    for name, text in (("arm", "authorise shots"), ("disarm", "fire nothing more")):
        simple = commands.add_parser(name, help=text)
        _client_options(simple)
        simple.set_defaults(call=f"device.service.treatment_commands:{name}")

    override = commands.add_parser(
        "override",
        help="go beyond a soft limit for the rest of the session",
        epilog='example:\n  mesogun override soft.session_ml --reason "both temples as agreed" --by "A. Physician"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    override.add_argument("limit", metavar="LIMIT", help="as the refusal names it, such as soft.session_ml")
    override.add_argument("--reason", required=True, metavar="TEXT", help="why; stands in the journal and is published")
    override.add_argument("--by", required=True, metavar="NAME", help="whose word it is; stands in the journal")
    _client_options(override)
    override.set_defaults(call="device.service.treatment_commands:override")

    home = commands.add_parser("home", help="home the needle, and with --plunger the pump's plunger")
    home.add_argument("--plunger", action="store_true", help="home the plunger too: empties the syringe")
    home.add_argument("--patient-detached", action="store_true", help="confirm that no patient is attached")
    _client_options(home)
    home.set_defaults(call="device.service.treatment_commands:home")

    calibrate = commands.add_parser(
        "calibrate",
        help="write down what the pump's full stroke with a syringe gives",
        epilog="how it is measured: docs/calibration.md",
    )
    calibrate.add_argument("--syringe", required=True, metavar="NAME", help="the syringe, by its file")
    calibrate.add_argument(
        "--measured-ul", type=_volume, required=True, dest="measured_nl", metavar="UL", help="volume of a full stroke"
    )
    calibrate.add_argument("--method", required=True, metavar="TEXT", help='such as "weighed, mean of 10 strokes"')
    calibrate.add_argument("--valid-days", type=_positive, default=180, metavar="N", help="default 180, at most 366")
    _client_options(calibrate)
    calibrate.set_defaults(call="device.service.treatment_commands:calibrate")

    prime = commands.add_parser("prime", help="fill needle and tube: releases serum into the air")
    prime.add_argument("--volume-ul", type=_volume, default=100_000, dest="volume_nl", metavar="UL", help="default 100")
    _client_options(prime)
    prime.set_defaults(call="device.service.treatment_commands:prime")

    point = commands.add_parser(
        "point",
        help="skip or repeat planned points, take a mark back",
        description="Mark the session's points while the gun is disarmed. A mark says to which point the next shot "
        "belongs: it changes no dose and no limit.",
        epilog="examples:\n  mesogun disarm; mesogun point skip --count 2; mesogun arm\n"
        "  mesogun point repeat      the last shot gave only a part of its dose: give its point another one\n"
        "  mesogun point undo        the last shot went elsewhere: its point is open again, its dose stays booked",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_subparsers(dest="subcommand", metavar="skip|repeat|undo", required=True)
    skip = point.add_parser("skip", help="pass over the region's next point: it counts as missed")
    skip.add_argument("--count", type=_positive, default=1, metavar="N", help="so many of the region (default 1)")
    repeat = point.add_parser("repeat", help="the next shot goes to the last one's point once more")
    undo = point.add_parser("undo", help="take back the last skip, repeat, or that the last shot counted for its point")
    for name, one in (("skip", skip), ("repeat", repeat), ("undo", undo)):
        _client_options(one)
        one.set_defaults(call=f"device.service.treatment_commands:point_{name}")

    fault = commands.add_parser("fault", help="list or clear faults").add_subparsers(
        dest="subcommand", metavar="list|clear", required=True
    )
    for name, text in (("list", "latched faults and what to do"), ("clear", "clear them and test everything again")):
        simple = fault.add_parser(name, help=text)
        _client_options(simple)
        simple.set_defaults(call=f"device.service.treatment_commands:fault_{name}")

    alarm = commands.add_parser("alarm", help="silence the alarm").add_subparsers(
        dest="subcommand", metavar="silence", required=True
    )
    silence = alarm.add_parser("silence", help="pause its sound for two minutes; a new alarm sounds at once")
    _client_options(silence)
    silence.set_defaults(call="device.service.treatment_commands:alarm_silence")


def _add_session_records(session: "Subparsers[argparse.ArgumentParser]") -> None:
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


def _add_courses(commands: "Subparsers[argparse.ArgumentParser]") -> None:
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
    begun.add_argument("--start", type=_date, metavar="YYYY-MM-DD", help="plan it whole from this day")
    begun.add_argument("--patient", metavar="ID", help="plan what is left after the sessions that were given")
    calendar.add_argument("--out", type=Path, metavar="FILE.ics", help="the file (default: standard output)")
    calendar.add_argument(
        "--with-patient", action="store_true", help="write the id of --patient into the file: whoever reads it sees it"
    )
    for one in (listed, due):
        one.add_argument("--json", action="store_true", help="print one JSON object")
    for one in (due, calendar):
        one.add_argument("--state", type=Path, metavar="DIR", help="state directory (default: /var/lib/mesogun)")
        one.add_argument("--on", type=_date, metavar="YYYY-MM-DD", help="as if today were this day")
    for name, one in (("list", listed), ("due", due), ("calendar", calendar)):
        one.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
        one.set_defaults(call=f"device.service.course_commands:course_{name}")


def _add_records(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    journal = commands.add_parser("journal", help="read the journal").add_subparsers(
        dest="subcommand", metavar="show|verify|export", required=True
    )
    show = journal.add_parser("show", help="show the newest records")
    show.add_argument("--last", type=_positive, default=20, metavar="N", help="how many (default 20)")
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


def _add_formulary(commands: "Subparsers[argparse.ArgumentParser]") -> None:
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
    keygen.add_argument("name", type=_key_name, metavar="NAME", help="the key's name")
    keygen.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where (default: here)")
    sign = formulary.add_parser("sign", help="sign a folder of limits, profiles, serums and syringes")
    verify = formulary.add_parser("verify", help="check signature, digests and date")
    install = formulary.add_parser("install", help="put a signed formulary into force on this console (as root)")
    for one in (sign, verify, install):
        one.add_argument("directory", type=Path, metavar="DIR", help="the formulary")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key")
    sign.add_argument("--author", required=True, metavar="NAME", help="who answers for it")
    sign.add_argument("--version", type=_positive, metavar="N", help="default: one more than it was")
    sign.add_argument("--valid-days", type=_positive, default=365, metavar="N", help="default 365, at most 3653")
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
    _client_options(roll_back)
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


def _key_name(text: str) -> str:
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are 1 to 32 small letters, digits and hyphens")
    return text


def _add_simulation(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    pump = commands.add_parser("sim-pump", help="run a simulated pump on a pty; prints the pty")
    pump.add_argument("--dialect", choices=("cavro", "dt"), default="cavro")
    pump.add_argument("--baud", type=int, choices=(9600, 19200, 38400), default=38400)
    pump.add_argument("--link", type=Path, metavar="PATH", help="make a link to the pty at PATH")
    pump.add_argument("--world", type=Path, metavar="PATH", help="the simulated world to move fluid in (a file)")
    pump.add_argument("--linger", type=_positive, metavar="SECONDS", help="end when nobody used the pty for so long")
    pump.set_defaults(call="device.service.processes:sim_pump")

    simulate = commands.add_parser(
        "simulate",
        help="whole sessions in virtual time: volume, time, refills, limits, outcome",
        description="Simulate whole sessions in virtual time with the code that runs on the Pi. Exit code 1 when an "
        "invariant was broken.",
        epilog="examples:\n"
        "  mesogun simulate --profile point-by-point --serum saline --points 120\n"
        "  mesogun simulate --profile papule --serum example-lidocaine --weight-kg 70 --points 80 --json\n"
        "  mesogun simulate --seed 1 --sessions 1000 --faults high --points 3 --coarse --jobs 4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    simulate.add_argument("--seed", type=_count, default=0, metavar="S", help="first seed; each session has the next")
    simulate.add_argument("--sessions", type=_positive, default=1, metavar="N", help="how many (default 1)")
    simulate.add_argument("--profile", default="point-by-point", metavar="NAME", help="default point-by-point")
    simulate.add_argument("--serum", default="saline", metavar="NAME", help="default saline")
    simulate.add_argument("--syringe", default="1ml", metavar="NAME", help="default 1ml")
    simulate.add_argument("--points", type=_positive, default=40, metavar="N", help="points to treat (default 40)")
    simulate.add_argument("--weight-kg", type=_weight, metavar="W", dest="weight_g", help="for limits per kilogram")
    simulate.add_argument(
        "--pace-ms", type=_count, default=1000, metavar="MS", help="from point to point, default 1000"
    )
    simulate.add_argument("--faults", choices=("none", "low", "high"), default="none", help="what goes wrong")
    simulate.add_argument("--coarse", action="store_true", help="a needle axis of ten steps a stroke: faster")
    simulate.add_argument("--jobs", type=_positive, default=1, metavar="J", help="processes to use (default 1)")
    simulate.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    simulate.add_argument("--json", action="store_true", help="print one JSON object")
    simulate.set_defaults(call="device.service.simulate:simulate")

    demo = commands.add_parser(
        "demo", help="a simulated gun treats a scalp, through the code that runs on the Pi",
        epilog="examples:\n  mesogun demo\n  mesogun demo --shots 120 --profile nappage --seed 7 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    demo.add_argument("--shots", type=_positive, default=60, metavar="N", help="points to treat, over three regions")
    demo.add_argument("--profile", default="continuous", metavar="NAME", help="default continuous")
    demo.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the simulated clinician")
    demo.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    demo.add_argument("--state", type=Path, metavar="DIR", help="keep the state here (default: a temporary directory)")
    demo.add_argument("--broker", type=_broker, metavar="HOST:PORT", help="use this broker (default: start one)")
    demo.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    demo.set_defaults(call="device.service.demo:demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Wrong use raises SystemExit(2), as argparse does."""
    options = build_parser().parse_args(arguments)
    module, _, function = options.call.partition(":")
    # One command's imports must not weigh on another's: `status` answers in a tenth of the demo's import time.
    from importlib import import_module  # noqa: PLC0415 - see above

    from device.service.errors import EXPECTED  # noqa: PLC0415 - see above

    try:
        code: int = getattr(import_module(module), function)(options)
    except EXPECTED as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"mesogun {options.command}: {line}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"mesogun {options.command}: interrupted\n")
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        return FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
