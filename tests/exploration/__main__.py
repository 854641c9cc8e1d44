"""`python -m tests.exploration`: explore the composed machines at the size that is asked for; 1 when anything broke."""

import argparse
import logging
import sys
from typing import Final

from tests.exploration.gun import PLANS
from tests.exploration.search import Search
from tests.exploration.tables import Budget, Tables

MOST_STATES: Final = 3_000_000


def main() -> int:
    """Run what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.exploration", description=__doc__)
    parser.add_argument("--profile", choices=[*PLANS, "all"], default="all")
    parser.add_argument("--shots", type=int, default=2)
    parser.add_argument("--faults", type=int, default=1, choices=(0, 1, 2))
    parser.add_argument("--acts", type=int, default=1, help="disarmings and shutdowns")
    parser.add_argument("--commands", type=int, default=2, help="armings or primes")
    parser.add_argument("--presses", type=int, default=None, help="of the trigger; by default one more than shots")
    parser.add_argument("--most", type=int, default=MOST_STATES, metavar="STATES")
    parser.add_argument("--fine", action="store_true", help="more stages in each move of the pump")
    parser.add_argument("--restless", action="store_true", help="press and release also far from any shot")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    broken = False
    for name in PLANS if options.profile == "all" else [options.profile]:
        budget = Budget(
            shots=options.shots,
            faults=options.faults,
            presses=options.presses if options.presses is not None else options.shots + 1,
            commands=options.commands,
            acts=options.acts,
            restless=options.restless,
        )
        tables = Tables(PLANS[name], budget, fine=options.fine)
        search = Search(tables, most_states=options.most, progress=lambda line: print(f"  {line}", file=sys.stderr))
        found = search.run()
        print(f"{name}: {budget}")
        print("\n".join(f"  {line}" for line in found.lines()), flush=True)
        broken = broken or bool(found.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
