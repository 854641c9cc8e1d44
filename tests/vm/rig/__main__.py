"""`python -m tests.vm.rig [build]`: a virtual console to try by hand; with `build`, only build its parts.

Every line typed is a command in the guest, as root, but for the words of `HANDS`, which are the clinician's.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.vm.rig.build import build
from tests.vm.rig.cache import RigError, say
from tests.vm.rig.console import VirtualConsole

HANDS: Final = ("press", "release", "touch_skin", "lift", "press_stop", "release_stop")
HINT: Final = f"""\
commands of the guest, such as: mesogun status; journalctl -u mesogun; gpioinfo; systemctl restart mesogun
the clinician: {", ".join(HANDS)}
the end: Ctrl-D
"""


def try_by_hand() -> None:
    """Start a console and carry out what is typed until the input ends."""
    with tempfile.TemporaryDirectory(prefix="console.") as directory:
        console = VirtualConsole(build(), Path(directory) / "run")
        try:
            say("the guest starts, which takes about a minute")
            console.boot()
            console.install()
            sys.stdout.write(HINT)
            while True:  # an interactive loop: ends with the input
                sys.stdout.write("# ")
                sys.stdout.flush()
                line = sys.stdin.readline()
                if not line:
                    return
                if line.strip() in HANDS:
                    getattr(console.operator, line.strip())()
                    continue
                done = console.machine.run("sh", "-c", line)
                sys.stdout.write(done.out + done.err)
        finally:
            console.close()


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["build"]:
            say(f"all parts are in {build().kernel.parents[1]}")
        else:
            try_by_hand()
    except RigError as error:
        sys.exit(f"vm: {error}")
