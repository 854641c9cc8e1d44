"""Turns a checked command into the machine's event: the files that it names are looked up, nothing is decided."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from device.controller.commands import (
    Arguments,
    CalibrateArguments,
    ChangeNeedleArguments,
    ChangeSyringeArguments,
    CheckArguments,
    CommandRefused,
    HomeArguments,
    OverrideArguments,
    PointSkipArguments,
    PrimeArguments,
    RollBackArguments,
    SessionStartArguments,
    VialArguments,
)
from device.core.checklist import Checklist
from device.core.events import (
    AlarmSilenceRequested,
    ArmRequested,
    CalibrateRequested,
    ChangeNeedleRequested,
    ChangeSyringeRequested,
    ChangeVialRequested,
    CheckRequested,
    Command,
    DisarmRequested,
    FaultClearRequested,
    HomeRequested,
    OverrideRequested,
    PauseRequested,
    PointRepeatRequested,
    PointSkipRequested,
    PointUndoRequested,
    PrimeRequested,
    Request,
    ResumeRequested,
    RollBackRequested,
    SessionStartRequested,
    SessionStopRequested,
)
from device.core.patient_day import DAY_MS
from device.core.units import Nanolitres
from device.core.vial import Vial
from device.settings import Configuration, Loaded

_PLAIN: Final[dict[str, Callable[[Request], Command]]] = {
    "session_pause": PauseRequested,
    "session_resume": ResumeRequested,
    "session_stop": SessionStopRequested,
    "arm": ArmRequested,
    "disarm": DisarmRequested,
    "alarm_silence": AlarmSilenceRequested,
    "fault_clear": FaultClearRequested,
    "point_repeat": PointRepeatRequested,
    "point_undo": PointUndoRequested,
}
"""The commands without arguments."""


def event_of(command: str, arguments: Arguments, request: Request, configuration: Configuration) -> Command:
    """Return the event of a checked command. Raises CommandRefused for a file that the configuration has not."""
    match command, arguments:
        case "home", HomeArguments():
            return HomeRequested(request, arguments.plunger, arguments.patient_detached)
        case "calibrate", CalibrateArguments():
            return _calibration(arguments, request, configuration)
        case "formulary_roll_back", RollBackArguments():
            return RollBackRequested(request, arguments.reason, arguments.by)
        case "prime", PrimeArguments():
            return PrimeRequested(request, Nanolitres(arguments.volume_nl))
        case "session_start", SessionStartArguments():
            return _session_start(arguments, request, configuration)
        case "override", OverrideArguments():
            return OverrideRequested(request, arguments.limit, arguments.reason, arguments.by)
        case "point_skip", PointSkipArguments():
            return PointSkipRequested(request, arguments.count)
        case "session_check", CheckArguments():
            return CheckRequested(request, tuple(arguments.items), arguments.by)
        case "change_vial", VialArguments():
            return ChangeVialRequested(request, _vial(arguments, request))
        case "change_needle", ChangeNeedleArguments():
            return ChangeNeedleRequested(request, arguments.needle)
        case "change_syringe", ChangeSyringeArguments():
            return ChangeSyringeRequested(request, arguments.syringe, arguments.patient_detached)
        case _:
            return _PLAIN[command](request)


def _calibration(arguments: CalibrateArguments, request: Request, configuration: Configuration) -> CalibrateRequested:
    syringe = _named(configuration.syringes, "syringe", arguments.syringe)
    return CalibrateRequested(
        request=request,
        syringe=syringe.value,
        syringe_sha256=syringe.sha256,
        measured_nl=Nanolitres(arguments.measured_nl),
        method=arguments.method,
        expires_ms=request.at_ms + arguments.valid_days * DAY_MS,
    )


def _session_start(
    arguments: SessionStartArguments, request: Request, configuration: Configuration
) -> SessionStartRequested:
    profile = _named(configuration.profiles, "profile", arguments.profile)
    serum = _named(configuration.serums, "serum", arguments.serum)
    syringe = _named(configuration.syringes, "syringe", arguments.syringe)
    course = _named(configuration.courses, "course", arguments.course) if arguments.course else None
    checklist = _checklist(
        configuration, arguments.checklist, of_course=course.value.checklist if course is not None else ""
    )
    return SessionStartRequested(
        request=request,
        session_id=uuid.uuid4().hex[:16],
        profile=profile.value,
        profile_sha256=profile.sha256,
        serum=serum.value,
        serum_sha256=serum.sha256,
        syringe=syringe.value,
        syringe_sha256=syringe.sha256,
        patient=arguments.patient,
        weight_g=arguments.weight_g,
        regions=tuple(region.to_region() for region in arguments.regions),
        course=course.value if course is not None else None,
        course_sha256=course.sha256 if course is not None else "",
        anew=arguments.anew,
        override_reason=arguments.override_reason,
        override_by=arguments.override_by,
        checklist=checklist.value if checklist is not None else None,
        checklist_sha256=checklist.sha256 if checklist is not None else "",
        operator=arguments.operator,
        vial=_vial(arguments, request),
        needle=arguments.needle,
    )


def _checklist(configuration: Configuration, asked: str, *, of_course: str) -> Loaded[Checklist] | None:
    """Return the check-list that was asked for, else the course's. Raises CommandRefused for another than that."""
    if asked and of_course and asked != of_course:
        raise CommandRefused(f"the course's check-list is {of_course}: leave --checklist out, or name that one")
    name = asked or of_course
    return _named(configuration.checklists, "check-list", name) if name else None


def _vial(arguments: VialArguments, request: Request) -> Vial:
    return Vial(arguments.lot, arguments.lot_expires_ms, arguments.mixed_ms, told_ms=request.at_ms)


def _named(files: Mapping[str, Loaded[Any]], kind: str, name: str) -> Loaded[Any]:
    loaded = files.get(name)
    if loaded is None:
        raise CommandRefused(f"no {kind} named {name!r}; there are: {', '.join(sorted(files))}")
    return loaded
