"""The commands of the control socket: the allow-list, what each takes, and the check of a request.

Owns the arguments' names and ranges, in the units used inside. Never looks into the configuration or the console: a
checked command becomes an event in `command_events`, and the machine answers it.
"""

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from device.core.journal_chain import TS_MS_MAX
from device.core.region_plan import (
    AREA_MM2_MOST,
    POINTS_MOST,
    SPACING_UM,
    SPACING_UM_LEAST,
    SPACING_UM_MOST,
    Grid,
    points_in,
)
from device.core.session import Region
from device.core.units import Micrometres

LINE: Final = r"^[^\x00-\x1f\x7f]+$"
"""One line of text: no control character."""


class Arguments(BaseModel):
    """The arguments of a command without any; base of the others. Unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HomeArguments(Arguments):
    """`home`."""

    plunger: bool = False
    patient_detached: bool = False


class PrimeArguments(Arguments):
    """`prime`: the volume in nanolitres."""

    volume_nl: int = Field(gt=0, le=10_000_000)


class CalibrateArguments(Arguments):
    """`calibrate`: what the pump's full stroke gave, in nanolitres, how it was measured, and for how long it holds."""

    syringe: str = Field(min_length=1, max_length=80)
    measured_nl: int = Field(gt=0, le=100_000_000)
    method: str = Field(min_length=1, max_length=120, pattern=LINE)
    valid_days: int = Field(default=180, ge=1, le=366)


class OverrideArguments(Arguments):
    """`override`: which soft limit gives way, why, and whose word that is."""

    limit: str = Field(min_length=1, max_length=40, pattern=LINE)
    reason: str = Field(min_length=1, max_length=200, pattern=LINE)
    by: str = Field(min_length=1, max_length=80, pattern=LINE)


class RollBackArguments(Arguments):
    """`formulary_roll_back`: why an older formulary is taken, and whose word that is."""

    reason: str = Field(min_length=1, max_length=200, pattern=LINE)
    by: str = Field(min_length=1, max_length=80, pattern=LINE)


class PointSkipArguments(Arguments):
    """`point_skip`: how many points."""

    count: int = Field(default=1, ge=1, le=POINTS_MOST)


class RegionArguments(Arguments):
    """One region of a session's plan: its points, or its area with the spacing and grid from which they follow."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    points: int | None = Field(default=None, ge=1, le=POINTS_MOST)
    area_mm2: int | None = Field(default=None, ge=1, le=AREA_MM2_MOST)
    spacing_um: int = Field(default=SPACING_UM, ge=SPACING_UM_LEAST, le=SPACING_UM_MOST)
    grid: Literal["square", "hexagonal"] = "square"

    @model_validator(mode="after")
    def _has_points(self) -> Self:
        if (self.points is None) == (self.area_mm2 is None):
            raise ValueError(f"region {self.name} needs either points or an area")
        points = self.to_region().points
        if not 1 <= points <= POINTS_MOST:
            raise ValueError(f"region {self.name} would have {points} points; allowed are 1 to {POINTS_MOST}")
        return self

    def to_region(self) -> Region:
        """Return the core's region."""
        if self.area_mm2 is None:
            return Region(self.name, self.points or 0)
        grid = Grid(self.grid)
        points = points_in(self.area_mm2, Micrometres(self.spacing_um), grid)
        return Region(self.name, points, self.area_mm2, self.spacing_um, grid)


class VialArguments(Arguments):
    """`change_vial`, and what a session's start tells of its vial: 0 for a moment that nobody told."""

    lot: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    lot_expires_ms: int = Field(default=0, ge=0, le=TS_MS_MAX)
    mixed_ms: int = Field(default=0, ge=0, le=TS_MS_MAX)


class SessionStartArguments(VialArguments):
    """`session_start`: names of configured files; the weight in grams; opaque patient id; a soft limit's override."""

    profile: str = Field(min_length=1, max_length=80)
    serum: str = Field(min_length=1, max_length=80)
    syringe: str = Field(min_length=1, max_length=80)
    patient: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    weight_g: int | None = Field(default=None, ge=1_000, le=400_000)
    regions: list[RegionArguments] = Field(default_factory=list, max_length=40)
    course: str = Field(default="", max_length=80)
    anew: bool = False
    override_reason: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    override_by: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    checklist: str = Field(default="", max_length=80)
    operator: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    needle: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        names = [region.name for region in self.regions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"region {twice[0]} is planned twice: give each a name of its own")
        return self


class ChangeNeedleArguments(Arguments):
    """`change_needle`: the new one's id, empty where it has none."""

    needle: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")


class ChangeSyringeArguments(Arguments):
    """`change_syringe`: its type, which must be the session's, and that no patient is attached."""

    syringe: str = Field(default="", max_length=80)
    patient_detached: bool = False


class CheckArguments(Arguments):
    """`session_check`: items of the session's check-list, by their keys, and who confirms them."""

    items: list[str] = Field(min_length=1, max_length=40)
    by: str = Field(min_length=1, max_length=80, pattern=LINE)


COMMANDS: Final[dict[str, type[Arguments]]] = {
    "status": Arguments,
    "home": HomeArguments,
    "calibrate": CalibrateArguments,
    "formulary_roll_back": RollBackArguments,
    "prime": PrimeArguments,
    "session_start": SessionStartArguments,
    "override": OverrideArguments,
    "session_check": CheckArguments,
    "change_vial": VialArguments,
    "change_needle": ChangeNeedleArguments,
    "change_syringe": ChangeSyringeArguments,
    "session_pause": Arguments,
    "session_resume": Arguments,
    "session_stop": Arguments,
    "arm": Arguments,
    "disarm": Arguments,
    "fault_clear": Arguments,
    "alarm_silence": Arguments,
    "point_skip": PointSkipArguments,
    "point_repeat": Arguments,
    "point_undo": Arguments,
}
"""The allow-list."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    command: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class CommandRefused(Exception):
    """A command cannot be taken; `reasons` are for the person who gave it."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def parse(line: bytes) -> tuple[str, Arguments]:
    """Return the command and its checked arguments. Raises CommandRefused, saying what was found and allowed."""
    try:
        request = _Request.model_validate_json(line)
    except ValidationError as error:
        raise CommandRefused(f"not a request: {_first(error)}") from error
    model = COMMANDS.get(request.command)
    if model is None:
        raise CommandRefused(f"unknown command {request.command!r}; allowed: {', '.join(COMMANDS)}")
    try:
        return request.command, model.model_validate(request.arguments)
    except ValidationError as error:
        raise CommandRefused(f"{request.command}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
