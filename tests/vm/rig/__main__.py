"""`python -m tests.vm.rig`: build all parts of the virtual console that are not built yet."""

import sys

from tests.vm.rig.build import build
from tests.vm.rig.cache import RigError, say

if __name__ == "__main__":
    try:
        say(str(build()))
    except RigError as error:
        sys.exit(f"vm: {error}")
