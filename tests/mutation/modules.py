"""Which modules are mutated, in order of what an error in them costs, and the tests that stand for each.

The tests are a module's own and its neighbours': quick ones, because they run once for nearly every mutant.
"""

from collections.abc import Mapping
from typing import Final

_SCAN: Final = (
    "tests/unit/test_stroke.py",
    "tests/unit/test_stroke_faults.py",
    "tests/unit/test_stroke_endings.py",
    "tests/unit/test_stroke_resume.py",
    "tests/unit/test_stroke_timeline.py",
    "tests/unit/test_stroke_walks.py",
    "tests/unit/test_scan_contradictions.py",
    "tests/unit/test_retreat.py",
    "tests/unit/test_scan_reports.py",
    "tests/unit/test_scan_motion_exact.py",
)
_MACHINE: Final = (
    "tests/unit/test_machine_sessions.py",
    "tests/unit/test_machine_faults.py",
    "tests/unit/test_machine_grid.py",
    "tests/unit/test_machine_walks.py",
    "tests/unit/test_whole_session.py",
    "tests/unit/test_booking.py",
    "tests/unit/test_machine_firing.py",
    "tests/unit/test_machine_operations.py",
    "tests/unit/test_machine_safety.py",
    "tests/unit/test_machine_treatment.py",
    "tests/unit/test_machine_steps.py",
)
_CLINIC: Final = (
    "tests/unit/test_patient_day.py",
    "tests/unit/test_calibration.py",
    "tests/unit/test_console_wiring.py",
)
_CARE: Final = (
    "tests/unit/test_checklist.py",
    "tests/unit/test_vial.py",
    "tests/unit/test_pause.py",
    "tests/unit/test_changes.py",
    "tests/unit/test_needles.py",
)
_COURSE: Final = ("tests/unit/test_course.py", "tests/unit/test_course_sessions.py")
_FORMULARY: Final = ("tests/unit/test_formulary.py", "tests/unit/test_machine_sessions.py")
_SOFT: Final = ("tests/unit/test_soft_limits.py", "tests/unit/test_course_sessions.py")
_REGIONS: Final = ("tests/unit/test_region_plan.py", "tests/unit/test_points.py")
_PUMP: Final = (
    "tests/unit/test_cavro_program.py",
    "tests/contract/test_pump_port.py",
    "tests/contract/test_pump_stops.py",
)

_SESSION: Final = (
    *_CARE,
    *_CLINIC,
    *_COURSE,
    *_SOFT,
    *_REGIONS,
    "tests/unit/test_patient_hour.py",
    "tests/unit/test_broken_refill.py",
    "tests/unit/test_presses.py",
    "tests/unit/test_alarms.py",
    "tests/unit/test_alarm_signal.py",
)

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "device/core/settlement.py": ("tests/unit/test_settlement.py", "tests/unit/test_debts_and_tolerances.py"),
    "drivers/pump/cavro_session.py": ("tests/unit/test_cavro_session.py",),
    "device/core/switches.py": ("tests/unit/test_switches.py", "tests/unit/test_switch_channels.py"),
    "device/core/ledger.py": ("tests/unit/test_ledger.py", *_SESSION, *_MACHINE),
    "device/core/limits.py": (
        "tests/unit/test_limits.py",
        "tests/unit/test_ingredient_limits.py",
        "tests/unit/test_patient_day.py",
        "tests/unit/test_needles.py",
        "tests/golden/test_limits.py",
    ),
    "device/core/patient_day.py": _CLINIC,
    "device/core/patient_hour.py": ("tests/unit/test_patient_hour.py",),
    "device/core/soft_limits.py": _SOFT,
    "device/core/overriding.py": _SOFT,
    "device/core/formulary.py": _FORMULARY,
    "device/core/upkeep.py": (*_FORMULARY, "tests/unit/test_calibration.py"),
    "device/core/calibration.py": _CLINIC,
    "device/core/course.py": _COURSE,
    "device/core/checklist.py": _CARE,
    "device/core/vial.py": _CARE,
    "device/core/session_care.py": _CARE,
    "device/core/changes.py": _CARE,
    "device/core/journal_chain.py": ("tests/unit/test_journal_chain.py", "tests/unit/test_chain_edges.py"),
    "device/core/shot_plan.py": (
        "tests/unit/test_shot_plan.py",
        "tests/unit/test_shot_plan_fitting.py",
        "tests/unit/test_plan_exact.py",
    ),
    "device/core/region_plan.py": _REGIONS,
    "device/core/points.py": _REGIONS,
    "device/core/treatment.py": (*_SESSION, *_MACHINE),
    "device/core/firing.py": (*_SESSION, *_MACHINE),
    "device/core/presses.py": ("tests/unit/test_presses.py", *_MACHINE),
    "device/core/booking.py": ("tests/unit/test_ledger.py", *_SESSION, *_MACHINE),
    "device/core/safety.py": (*_SESSION, *_MACHINE),
    "device/core/alarms.py": ("tests/unit/test_alarms.py", *_MACHINE),
    "device/core/interlocks.py": _SCAN,
    "device/core/retreat.py": _SCAN,
    "device/core/scan_shots.py": _SCAN,
    "device/core/scan_motion.py": _SCAN,
    "device/core/stroke.py": _SCAN,
    "drivers/pump/cavro_codec.py": ("tests/unit/test_cavro_codec.py", "tests/unit/test_codec_edges.py"),
    "drivers/pump/cavro_program.py": _PUMP,
    "device/core/stroke_timeline.py": _SCAN,
    "device/core/kinematics.py": ("tests/unit/test_kinematics.py",),
    "device/core/operations.py": (*_SESSION, *_MACHINE),
    "device/core/steps.py": _MACHINE,
    "device/core/machine.py": _MACHINE,
    "device/core/records.py": ("tests/unit/test_records.py",),
    "device/core/units.py": ("tests/unit/test_units.py",),
    "device/core/magazine.py": _MACHINE,
    "device/core/profile.py": ("tests/unit/test_profile.py",),
    "device/core/serum.py": ("tests/unit/test_limits.py",),
    "device/core/session.py": ("tests/unit/test_session.py",),
    "device/core/syringe.py": ("tests/unit/test_units.py", "tests/unit/test_shot_plan.py"),
}
