"""What a fault test measured, kept as JSON under `var/vm` beside the parts that it ran with; decides nothing."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.vm.rig.build import DIRECTORY
from tests.vm.rig.cache import say
from tests.vm.rig.package import CHECKOUT


def write_result(name: str, *, fault: str, survived: Sequence[dict[str, Any]], of: int, **more: Any) -> None:
    """Write `name`.json and say "N of N"; each moment that was survived is one flat line of figures."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {"fault": fault, "commit": commit, "survived": len(survived), "of": of, **more, "moments": survived}
    (DIRECTORY / f"{name}.json").write_text(json.dumps(result, indent=1, default=str) + "\n")
    say(f"{fault}: {len(survived)} of {of}")
