"""A session: one patient's treatment with one profile, serum and syringe, over planned regions of the scalp."""

from dataclasses import dataclass

from device.core.checklist import Checklist
from device.core.patient_day import NOTHING_BEFORE, Before
from device.core.profile import Profile
from device.core.region_plan import Grid
from device.core.serum import Serum
from device.core.shot_plan import StrokePlan
from device.core.syringe import Syringe


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the scalp with its planned points. `area_mm2` and `spacing_um` are 0 where the points were counted."""

    name: str
    points: int
    area_mm2: int = 0
    spacing_um: int = 0
    grid: Grid = Grid.SQUARE


@dataclass(frozen=True, slots=True)
class Session:
    """What an open session works with. `patient` is an opaque id; `plan` is what all its shots share.

    `before` is what the patient has had in the 24 hours before it: it counts against this session's limits. It is
    number `course_session` of `course_sessions` in `course`; empty and 0 outside of one. `checklist` is what must be
    confirmed before it is armed, None for nothing.
    """

    session_id: str
    profile: Profile
    serum: Serum
    syringe: Syringe
    patient: str
    weight_g: int | None
    regions: tuple[Region, ...]
    plan: StrokePlan
    before: Before = NOTHING_BEFORE
    course: str = ""
    course_session: int = 0
    course_sessions: int = 0
    checklist: Checklist | None = None

    @property
    def planned_shots(self) -> int:
        """All planned points; 0 when the session has no regions and ends by its limits alone."""
        return sum(region.points for region in self.regions)
