"""The command line's part for a running controller: state, session, points, alarms, faults."""

import argparse
from typing import Final

from device.service.argument_words import last_day, moment, positive, regions, volume_nl, weight_g
from device.service.cli_records import Subparsers, add_session_records, client_options

REGIONS_HELP: Final = """regions:
  REGION is NAME:POINTS, or NAME:AREAcm2[@SPACINGmm][:square|:hex], from which the points follow, rounded down.
  Spacing 5 to 30 mm, 20 unless written; the points lie on a square grid unless :hex is written (a hexagonal one).
  Only of a region with an area is the volume by area known, and limited (limits.region_ul_per_cm2).

  --regions front:20,crown:20                      20 points each
  --regions front:20,crown:35cm2,temple:12.5cm2@15mm:hex
"""


def _vial_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lot", default="", metavar="LOT", help="the serum's lot")
    parser.add_argument(
        "--lot-expires", type=last_day, metavar="YYYY-MM-DD", help="the last day on which it may be given"
    )
    parser.add_argument("--mixed-at", type=moment, metavar='"YYYY-MM-DD HH:MM"', help="when it was mixed, local time")


def add_treatment(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add what is said to a running controller."""
    status = commands.add_parser("status", help="show the console's state, totals, faults")
    client_options(status)
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
    start.add_argument("--weight-kg", type=weight_g, metavar="W", dest="weight_g", help="for limits per kilogram")
    start.add_argument("--regions", type=regions, default=[], metavar="REGION,...", help="planned points: see below")
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
    client_options(start)
    start.set_defaults(call="device.service.treatment_commands:session_start")
    check = session.add_parser("check", help="confirm items of the check-list; without items it is shown")
    check.add_argument("items", nargs="*", metavar="ITEM", help="the items' keys")
    check.add_argument("--by", default="", metavar="NAME", help="who answers for it; stands in the journal, published")
    client_options(check)
    check.set_defaults(call="device.service.treatment_commands:session_check")
    for name, text in (
        ("pause", "fire and prime nothing until it is resumed"),
        ("resume", "go on with a paused session"),
        ("stop", "stop the session"),
    ):
        simple = session.add_parser(name, help=text)
        client_options(simple)
        simple.set_defaults(call=f"device.service.treatment_commands:session_{name}")
    add_session_records(session)

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
        client_options(one)
        one.set_defaults(call=f"device.service.treatment_commands:change_{name}")

    for name, text in (("arm", "authorise shots"), ("disarm", "fire nothing more")):
        simple = commands.add_parser(name, help=text)
        client_options(simple)
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
    client_options(override)
    override.set_defaults(call="device.service.treatment_commands:override")

    home = commands.add_parser("home", help="home the needle, and with --plunger the pump's plunger")
    home.add_argument("--plunger", action="store_true", help="home the plunger too: empties the syringe")
    home.add_argument("--patient-detached", action="store_true", help="confirm that no patient is attached")
    client_options(home)
    home.set_defaults(call="device.service.treatment_commands:home")

    calibrate = commands.add_parser(
        "calibrate",
        help="write down what the pump's full stroke with a syringe gives",
        epilog="how it is measured: docs/calibration.md",
    )
    calibrate.add_argument("--syringe", required=True, metavar="NAME", help="the syringe, by its file")
    calibrate.add_argument(
        "--measured-ul",
        type=volume_nl,
        required=True,
        dest="measured_nl",
        metavar="UL",
        help="volume of a full stroke",
    )
    calibrate.add_argument("--method", required=True, metavar="TEXT", help='such as "weighed, mean of 10 strokes"')
    calibrate.add_argument("--valid-days", type=positive, default=180, metavar="N", help="default 180, at most 366")
    client_options(calibrate)
    calibrate.set_defaults(call="device.service.treatment_commands:calibrate")

    prime = commands.add_parser("prime", help="fill needle and tube: releases serum into the air")
    prime.add_argument(
        "--volume-ul", type=volume_nl, default=100_000, dest="volume_nl", metavar="UL", help="default 100"
    )
    client_options(prime)
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
    skip.add_argument("--count", type=positive, default=1, metavar="N", help="so many of the region (default 1)")
    repeat = point.add_parser("repeat", help="the next shot goes to the last one's point once more")
    undo = point.add_parser("undo", help="take back the last skip, repeat, or that the last shot counted for its point")
    for name, one in (("skip", skip), ("repeat", repeat), ("undo", undo)):
        client_options(one)
        one.set_defaults(call=f"device.service.treatment_commands:point_{name}")

    fault = commands.add_parser("fault", help="list or clear faults").add_subparsers(
        dest="subcommand", metavar="list|clear", required=True
    )
    for name, text in (("list", "latched faults and what to do"), ("clear", "clear them and test everything again")):
        simple = fault.add_parser(name, help=text)
        client_options(simple)
        simple.set_defaults(call=f"device.service.treatment_commands:fault_{name}")

    alarm = commands.add_parser("alarm", help="silence the alarm").add_subparsers(
        dest="subcommand", metavar="silence", required=True
    )
    silence = alarm.add_parser("silence", help="pause its sound for two minutes; a new alarm sounds at once")
    client_options(silence)
    silence.set_defaults(call="device.service.treatment_commands:alarm_silence")
