"""The catalogue of planted bugs: every one must make its tests fail.

Owns nothing but the order: the bugs stand beside their like, by the part of the gun that they are in.
"""

from typing import Final

from tests.sabotage.alarm_bugs import ALARM_BUGS
from tests.sabotage.limit_bugs import LIMIT_BUGS
from tests.sabotage.machine_bugs import MACHINE_BUGS
from tests.sabotage.planted_bug import PlantedBug
from tests.sabotage.point_bugs import POINT_BUGS
from tests.sabotage.process_bugs import PROCESS_BUGS
from tests.sabotage.pump_bugs import PUMP_BUGS
from tests.sabotage.record_bugs import RECORD_BUGS
from tests.sabotage.session_bugs import SESSION_BUGS
from tests.sabotage.stroke_bugs import STROKE_BUGS
from tests.sabotage.trigger_bugs import TRIGGER_BUGS

BUGS: Final[tuple[PlantedBug, ...]] = (
    *TRIGGER_BUGS,
    *STROKE_BUGS,
    *LIMIT_BUGS,
    *POINT_BUGS,
    *MACHINE_BUGS,
    *ALARM_BUGS,
    *SESSION_BUGS,
    *RECORD_BUGS,
    *PUMP_BUGS,
    *PROCESS_BUGS,
)
