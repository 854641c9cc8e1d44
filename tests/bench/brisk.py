"""The quickest console that the shipped planner accepts for three phases: shallow strokes, one close behind the other.

Owns what it changes of the shipped configuration and why; for the rate of shots alone, no setting for a patient.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from device.settings import Configuration, load_configuration
from tests.bench.processes import MeasurementBroken
from tests.bench.shipped import PROFILE
from tests.support.settings import Draft

LIMITS: Final = {
    # The shipped 100 ms alone would hold the rate under 600: no time would be left for a change of magazine.
    "least_interval_ms": "50",
}
DEVICE: Final = {
    # The simulated tube is rigid, so nothing drains after a stop; each of three phases would wait this long.
    "settle_ms": "0",
    "clearance_mm": "0.3",
    "acceleration_mm_s2": "8000",
}
PROFILE_KEYS: Final = {
    "interval_ms": "69",
    "depth_mm": "0.7",
    "entry_speed_mm_s": "60",
    "exit_speed_mm_s": "60",
    "slowest_speed_mm_s": "10",
    "dwell_ms": "0",
    "entry_from_mm": "0.1",
    "exit_until_mm": "0.1",
    # The smallest that the syringe allows.
    "dose_ul": "5",
}


def brisk_configuration(directory: Path) -> Configuration:
    """Write the configuration to `directory`, which must not exist, and return it. Raises ConfigurationError."""
    draft = Draft(directory)
    profile = f"formulary/profiles/{PROFILE}.toml"
    for file, changed in (("device.toml", DEVICE), ("formulary/limits.toml", LIMITS), (profile, PROFILE_KEYS)):
        path = directory / file
        path.write_text(with_values(path.read_text(encoding="utf-8"), changed), encoding="utf-8")
    draft.sign()
    return load_configuration(directory)


def with_values(text: str, changed: Mapping[str, str]) -> str:
    """Return a configuration file's `text` with other values. Raises MeasurementBroken for a key it has not."""
    missing = set(changed)
    lines = []
    for line in text.splitlines():
        key = line.partition(" = ")[0]
        missing.discard(key)
        lines.append(f"{key} = {changed[key]}" if key in changed else line)
    if missing:
        raise MeasurementBroken(f"the configuration has no {', '.join(sorted(missing))}")
    return "\n".join(lines) + "\n"
