"""A session: one patient's treatment with one profile, serum and syringe, over planned regions of the scalp."""

from dataclasses import dataclass

from device.core.checklist import Checklist
from device.core.patient_day import NOTHING_BEFORE, Before
from device.core.profile import Profile
from device.core.serum import Serum
from device.core.shot_plan import StrokePlan
from device.core.syringe import Syringe


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the scalp with its planned points."""

    name: str
    points: int


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

    def region_after(self, shots: int) -> tuple[str, int, bool]:
        """Return the region of the next shot after `shots`: its name, its points left, whether it is just entered.

        Without regions: an empty name, 0, and True for the very first shot.
        """
        before = 0
        for region in self.regions:
            if shots < before + region.points:
                return region.name, before + region.points - shots, shots == before
            before += region.points
        return "", 0, shots == 0
