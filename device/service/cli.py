"""The command line `mesogun`: parses, dispatches, and turns every expected error into one line and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong use. Imports nothing heavy: each command imports what it needs.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from device.service.argument_words import broker, count, positive, weight_g
from device.service.cli_records import CONFIG_HELP, Subparsers, add_courses, add_formulary, add_records
from device.service.cli_treatment import add_treatment

DONE: Final = 0
FAILED: Final = 1

UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What the system says of standard output where that goes to a file on a full or failing disk."""

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

Command = Callable[[argparse.Namespace], int]


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
    add_treatment(commands)
    add_courses(commands)
    add_records(commands)
    add_formulary(commands)
    _add_simulation(commands)
    return parser


def _add_services(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="run the controller and its real-time process")
    _service_options(run)
    run.set_defaults(call="device.service.processes:run")
    gateway = commands.add_parser("gateway", help="run the gateway: publish the journal over MQTT")
    _service_options(gateway)
    gateway.add_argument("--broker", type=broker, metavar="HOST:PORT", help="broker (default: of device.toml)")
    gateway.add_argument("--cursor", type=Path, metavar="DIR", help="where it remembers its place (default: --state)")
    gateway.set_defaults(call="device.service.processes:gateway")


def _add_simulation(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    pump = commands.add_parser("sim-pump", help="run a simulated pump on a pty; prints the pty")
    pump.add_argument("--dialect", choices=("cavro", "dt"), default="cavro")
    pump.add_argument("--baud", type=int, choices=(9600, 19200, 38400), default=38400)
    pump.add_argument("--link", type=Path, metavar="PATH", help="make a link to the pty at PATH")
    pump.add_argument("--world", type=Path, metavar="PATH", help="the simulated world to move fluid in (a file)")
    pump.add_argument("--linger", type=positive, metavar="SECONDS", help="end when nobody used the pty for so long")
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
    simulate.add_argument("--seed", type=count, default=0, metavar="S", help="first seed; each session has the next")
    simulate.add_argument("--sessions", type=positive, default=1, metavar="N", help="how many (default 1)")
    simulate.add_argument("--profile", default="point-by-point", metavar="NAME", help="default point-by-point")
    simulate.add_argument("--serum", default="saline", metavar="NAME", help="default saline")
    simulate.add_argument("--syringe", default="1ml", metavar="NAME", help="default 1ml")
    simulate.add_argument("--points", type=positive, default=40, metavar="N", help="points to treat (default 40)")
    simulate.add_argument("--weight-kg", type=weight_g, metavar="W", dest="weight_g", help="for limits per kilogram")
    simulate.add_argument("--pace-ms", type=count, default=1000, metavar="MS", help="from point to point, default 1000")
    simulate.add_argument("--faults", choices=("none", "low", "high"), default="none", help="what goes wrong")
    simulate.add_argument("--coarse", action="store_true", help="a needle axis of ten steps a stroke: faster")
    simulate.add_argument("--jobs", type=positive, default=1, metavar="J", help="processes to use (default 1)")
    simulate.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    simulate.add_argument("--json", action="store_true", help="print one JSON object")
    simulate.set_defaults(call="device.service.simulate:simulate")

    demo = commands.add_parser(
        "demo", help="a simulated gun treats a scalp, through the code that runs on the Pi",
        epilog="examples:\n  mesogun demo\n  mesogun demo --shots 120 --profile nappage --seed 7 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    demo.add_argument("--shots", type=positive, default=60, metavar="N", help="points to treat, over three regions")
    demo.add_argument("--profile", default="continuous", metavar="NAME", help="default continuous")
    demo.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the simulated clinician")
    demo.add_argument("--config", type=Path, metavar="DIR", help=CONFIG_HELP)
    demo.add_argument("--state", type=Path, metavar="DIR", help="keep the state here (default: a temporary directory)")
    demo.add_argument("--broker", type=broker, metavar="HOST:PORT", help="use this broker (default: start one)")
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
        # Now, and not at the interpreter's end: what did not get out must not pass for done.
        sys.stdout.flush()
    except EXPECTED as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"mesogun {options.command}: {line}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"mesogun {options.command}: interrupted\n")
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        _give_up_output()
        return FAILED
    except OSError as error:
        if error.filename is not None or error.errno not in UNWRITABLE:
            raise
        _give_up_output()
        sys.stderr.write(f"mesogun {options.command}: standard output: {error.strerror}; what it got is not whole\n")
        return FAILED
    return code


def _give_up_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not try it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
