"""The regions of `mesogun session start --regions`: from text to the control socket's arguments.

Owns the grammar and its errors; how many points an area has is the controller's business. Exact: a decimal area or
spacing becomes whole mm2 or um, or is refused.
"""

import re
from decimal import Decimal
from typing import Final

from device.core.region_plan import SPACING_UM_LEAST, SPACING_UM_MOST, Grid

_POINTS: Final = re.compile(r"[0-9]{1,4}")
_AREA: Final = re.compile(r"(?P<area>[0-9]{1,4}(?:\.[0-9]{1,2})?)cm2(?:@(?P<spacing>[0-9]{1,2}(?:\.[0-9]{1,3})?)mm)?")
_GRIDS: Final = {"": Grid.SQUARE, "square": Grid.SQUARE, "hex": Grid.HEXAGONAL, "hexagonal": Grid.HEXAGONAL}

FORMS: Final = "write NAME:POINTS or NAME:AREAcm2[@SPACINGmm][:square|:hex], as in front:20,crown:35cm2@15mm:hex"


def parse_regions(text: str) -> list[dict[str, object]]:
    """Return the regions as `session_start` takes them. Raises ValueError with one line that says what to write."""
    return [_region(part) for part in text.split(",")]


def _region(part: str) -> dict[str, object]:
    name, _, size = part.partition(":")
    measure, _, grid = size.partition(":")
    if name and _POINTS.fullmatch(size) and int(size) > 0:
        return {"name": name, "points": int(size)}
    found = _AREA.fullmatch(measure)
    if not name or found is None or grid not in _GRIDS or (":" in size and not grid):
        raise ValueError(f"{part!r}: {FORMS}")
    area_mm2 = int(Decimal(found["area"]) * 100)
    if not area_mm2:
        raise ValueError(f"{part!r}: an area is more than nothing")
    region: dict[str, object] = {"name": name, "area_mm2": area_mm2, "grid": _GRIDS[grid].value}
    if found["spacing"] is not None:
        spacing_um = int(Decimal(found["spacing"]) * 1000)
        if not SPACING_UM_LEAST <= spacing_um <= SPACING_UM_MOST:
            least, most = SPACING_UM_LEAST // 1000, SPACING_UM_MOST // 1000
            raise ValueError(f"{part!r}: allowed is a spacing of {least} to {most} mm")
        region["spacing_um"] = spacing_um
    return region
