"""The commands a clinician's assistant or an engineer gives to a running controller, and how its answers are shown.

Only the control socket and the standard library: `status` must be quick on a Pi.
"""

import argparse
import json
import sys
from datetime import date, datetime, time, timedelta
from typing import Any

from device.service.control_client import CommandRefused, ControllerAbsent, ask, socket_path
from device.service.errors import ServiceError


def asked(options: argparse.Namespace, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give the running controller a command and return its result. Raises ServiceError with every reason."""
    path = socket_path(state=options.state, socket_argument=options.socket)
    try:
        return ask(path, command, arguments)
    except ControllerAbsent as error:
        raise ServiceError(str(error)) from error
    except CommandRefused as refused:
        if options.json:
            _print(json.dumps({"ok": False, "reasons": refused.reasons}))
        raise ServiceError("\n".join(refused.reasons)) from refused


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def show(options: argparse.Namespace, result: dict[str, Any], text: str) -> int:
    """Print a result, as JSON where that was asked for; returns the exit code."""
    _print(json.dumps({"ok": True, **result}) if options.json else text)
    return 0


def status(options: argparse.Namespace) -> int:
    """`mesogun status`."""
    result = asked(options, "status")
    if options.json:
        return show(options, result, "")
    lines = [
        (
            f"state      {result['state']}{' (armed)' if result['armed'] else ''}{_paused(result)}"
            f"{'   SIMULATED' if result['simulated'] else ''}"
        ),
        f"needle     {'homed' if result['homed'] else 'not homed: mesogun home'}",
        f"plunger    {'homed' if result['plunger_homed'] else 'not homed: mesogun home --plunger --patient-detached'}",
    ]
    if result["session_id"]:
        lines += [
            (
                f"session    {result['session_id']}  profile {result['profile']}, serum {result['serum']}, "
                f"syringe {result['syringe']}"
            ),
            *([f"course     {_course_words(result)}"] if result["course"] else []),
            *_checklist_lines(result),
            *_vial_lines(result),
            f"needle use {_needle_words(result)}",
            f"shots      {result['shots']}",
            f"next       {_next_words(result)}",
            *map(_region_words, result["regions"]),
            f"left       {result['shots_left']} shots until a limit: {result['first_limit_reached']}",
            (
                f"volume     {result['volume_nl'] / 1000:.1f} uL of at most {result['volume_limit_nl'] / 1000:.0f} uL, "
                f"primed {result['primed_nl'] / 1000:.1f} uL"
            ),
        ]
    kept = result["steps_per_s_kept"]
    lines.append(
        f"pace       {f'{kept} steps/s kept' if kept else 'not tried'}, {result['steps_per_s_asked']} may be asked for"
    )
    late = result["step_late"]
    if late["steps"]:
        lines.append(
            f"steps      {late['steps']}, half of them less than {late['us_p50_most']} us late, 99.9 % less than "
            f"{late['us_p999_most']} us, all less than {late['us_max_most']} us"
        )
    lines += [f"next shot  refused: {reason}" for reason in result["refusals"]]
    if result["alarm_priority"] != "none":
        lines.append(f"ALARM      {_alarm_words(result)}")
    lines += _fault_lines(result["fault_list"])
    return show(options, result, "\n".join(lines))


_NEXT = {
    "arm": "mesogun arm",
    "press": "press the trigger",
    "wait": "wait",
    "clear_fault": "see the fault below",
    "skip_points": "too much for the region's area: mesogun point skip --count N",
    "stop_session": "mesogun session stop",
    "override": "a soft limit is reached: mesogun override LIMIT --reason TEXT --by NAME, or mesogun session stop",
    "resume_session": "mesogun session resume",
    "confirm_checklist": "mesogun session check",
    "prime": "mesogun prime",
    "change_needle": "mesogun change needle",
    "home": "needle or plunger are not homed: mesogun home, or mesogun home --plunger --patient-detached",
}


def _next_words(result: dict[str, Any]) -> str:
    again = " once more" if result["point_repeat"] else ""
    point = f"point {result['point']} of {result['region_points']} in {result['region']}{again}: "
    return (point if result["region"] else "") + _NEXT[result["next_action"]]


def _region_words(region: dict[str, Any]) -> str:
    partial = f" (partial: {', '.join(map(str, region['partial_points']))})" if region["partial_points"] else ""
    density = f", {region['nl_per_cm2'] / 1000:.1f} uL/cm2" if region["nl_per_cm2"] >= 0 else ""
    return (
        f"region     {region['region']}: {region['given']} of {region['points']} points given{partial}, "
        f"{region['missed']} missed, {region['doubled']} doubled; {region['booked_nl'] / 1000:.1f} uL{density}"
    )


def _paused(result: dict[str, Any]) -> str:
    return "  PAUSED: mesogun session resume" if result["paused"] else ""


def _checklist_lines(result: dict[str, Any]) -> list[str]:
    if not result["checklist"]:
        return []
    still_open = ", ".join(result["checklist_open"].split(",")) if result["checklist_open"] else ""
    return [f"check-list {result['checklist']}, {f'OPEN: {still_open}' if still_open else 'all confirmed'}"]


def _vial_lines(result: dict[str, Any]) -> list[str]:
    told = (
        f"lot {result['lot']}" if result["lot"] else "",
        f"until {_local(result['lot_expires_ms'])}" if result["lot_expires_ms"] else "",
        f"mixed {_local(result['mixed_ms'])}" if result["mixed_ms"] else "",
    )
    operator = [f"operator   {result['operator']}"] if result["operator"] else []
    return operator + ([f"vial       {', '.join(filter(None, told))}"] if any(told) else [])


def _needle_words(result: dict[str, Any]) -> str:
    named = f"{result['needle']}, " if result["needle"] else ""
    return f"{named}{result['needle_shots']} shots of at most {result['needle_shots_limit']}"


def _local(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


def _course_words(result: dict[str, Any]) -> str:
    return f"{result['course']}, session {result['course_session']} of {result['course_sessions']}"


def _alarm_words(result: dict[str, Any]) -> str:
    escalated = ": nobody answered it" if result["alarm_escalated"] else ""
    silent_s = -(-result["alarm_silenced_ms"] // 1000)
    return f"{result['alarm_priority']}{escalated}, " + (f"silent for {silent_s} s" if silent_s else "sounding")


def _fault_lines(faults: list[dict[str, Any]]) -> list[str]:
    return [f"FAULT {fault['code']}  {fault['title']}: {fault['action']}" for fault in faults]


def fault_list(options: argparse.Namespace) -> int:
    """`mesogun fault list`."""
    faults = asked(options, "status")["fault_list"]
    return show(options, {"faults": faults}, "\n".join(_fault_lines(faults)) or "no faults")


def fault_clear(options: argparse.Namespace) -> int:
    """`mesogun fault clear`."""
    result = asked(options, "fault_clear")
    return show(options, result, f"cleared; state {result['state']}")


def alarm_silence(options: argparse.Namespace) -> int:
    """`mesogun alarm silence`."""
    result = asked(options, "alarm_silence")
    return show(options, result, f"alarm {_alarm_words(result)}; what to do: mesogun fault list")


def session_start(options: argparse.Namespace) -> int:
    """`mesogun session start`."""
    arguments = {
        "profile": options.profile,
        "serum": options.serum,
        "syringe": options.syringe,
        "patient": options.patient,
        "weight_g": options.weight_g,
        "regions": options.regions,
        "course": options.course,
        "anew": options.anew,
        "override_reason": options.override,
        "override_by": options.by,
        "checklist": options.checklist,
        "operator": options.operator,
        "needle": options.needle,
        **_vial(options),
    }
    result = asked(options, "session_start", arguments)
    course = f" ({_course_words(result)})" if result["course"] else ""
    following = "mesogun session check, mesogun prime" if result["checklist_open"] else "mesogun prime"
    text = f"session {result['session_id']}{course} started; next: {following}, then mesogun arm"
    return show(options, result, text)


def override(options: argparse.Namespace) -> int:
    """`mesogun override`."""
    arguments = {"limit": options.limit, "reason": options.reason, "by": options.by}
    result = asked(options, "override", arguments)
    return show(options, result, f"{options.limit} holds no more in this session; next: mesogun arm")


def _vial(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is told of the vial, in the wall clock's milliseconds; a lot may be given on its last day."""
    last_day: date | None = options.lot_expires
    expires_ms = 0 if last_day is None else _ms(datetime.combine(last_day + timedelta(days=1), time()))
    return {
        "lot": options.lot,
        "lot_expires_ms": expires_ms,
        "mixed_ms": 0 if options.mixed_at is None else _ms(options.mixed_at),
    }


def _ms(local: datetime) -> int:
    """Return a moment of this computer's own time in milliseconds since 1970."""
    return int(local.astimezone().timestamp()) * 1000


def session_check(options: argparse.Namespace) -> int:
    """`mesogun session check`: without items it shows the list; with some it confirms them."""
    if options.items:
        if not options.by.strip():
            raise ServiceError("an item is confirmed by a person: give --by NAME")
        asked(options, "session_check", {"items": options.items, "by": options.by.strip()})
    items = asked(options, "status")["checklist_items"]
    return show(options, {"items": items}, "\n".join(map(_item_line, items)) or "no check-list in this session")


def _item_line(item: dict[str, Any]) -> str:
    mark = "done" if item["checked"] else "OPEN" if item["required"] else "open"
    return f"{mark}  {item['key']:<20} {item['text']}{'' if item['required'] else ' (not required)'}"


def change_vial(options: argparse.Namespace) -> int:
    """`mesogun change vial`."""
    return show(options, asked(options, "change_vial", _vial(options)), "the session draws from the new vial")


def change_needle(options: argparse.Namespace) -> int:
    """`mesogun change needle`."""
    result = asked(options, "change_needle", {"needle": options.needle})
    return show(options, result, "a new needle; next: mesogun prime, then mesogun arm")


def change_syringe(options: argparse.Namespace) -> int:
    """`mesogun change syringe`."""
    arguments = {"syringe": options.syringe, "patient_detached": options.patient_detached}
    result = asked(options, "change_syringe", arguments)
    return show(options, result, "a new syringe, its plunger homed; next: mesogun prime, then mesogun arm")


def session_pause(options: argparse.Namespace) -> int:
    """`mesogun session pause`."""
    return show(options, asked(options, "session_pause"), "paused; to go on: mesogun session resume, mesogun arm")


def session_resume(options: argparse.Namespace) -> int:
    """`mesogun session resume`."""
    result = asked(options, "session_resume")
    return show(options, result, f"resumed; next: {_next_words(result)}")


def session_stop(options: argparse.Namespace) -> int:
    """`mesogun session stop`."""
    result = asked(options, "session_stop")
    ended = result["ended"]
    lines = [
        f"session {ended['session_id']} stopped: {ended['shots']} shots, {ended['volume_nl'] / 1000:.1f} uL given, "
        f"{ended['primed_nl'] / 1000:.1f} uL primed",
        *(["aftercare:"] if ended["aftercare"] else []),
        *(f"  {line}" for line in ended["aftercare"]),
    ]
    return show(options, result, "\n".join(lines))


def arm(options: argparse.Namespace) -> int:
    """`mesogun arm`."""
    return show(options, asked(options, "arm"), "armed")


def disarm(options: argparse.Namespace) -> int:
    """`mesogun disarm`."""
    return show(options, asked(options, "disarm"), "disarmed")


def point_skip(options: argparse.Namespace) -> int:
    """`mesogun point skip`."""
    result = asked(options, "point_skip", {"count": options.count})
    points = "a point" if options.count == 1 else f"{options.count} points"
    return show(options, result, f"skipped {points}; next: {_next_words(result)}")


def point_repeat(options: argparse.Namespace) -> int:
    """`mesogun point repeat`."""
    result = asked(options, "point_repeat")
    return show(options, result, f"next: {_next_words(result)}")


def point_undo(options: argparse.Namespace) -> int:
    """`mesogun point undo`."""
    result = asked(options, "point_undo")
    return show(options, result, f"the last mark is taken back, no dose is; next: {_next_words(result)}")


def home(options: argparse.Namespace) -> int:
    """`mesogun home`."""
    arguments = {"plunger": options.plunger, "patient_detached": options.patient_detached}
    result = asked(options, "home", arguments)
    return show(options, result, "needle and plunger homed" if options.plunger else "needle homed")


def calibrate(options: argparse.Namespace) -> int:
    """`mesogun calibrate`."""
    arguments = {
        "syringe": options.syringe,
        "measured_nl": options.measured_nl,
        "method": options.method,
        "valid_days": options.valid_days,
    }
    result = asked(options, "calibrate", arguments)
    return show(options, result, f"syringe {options.syringe} is calibrated for {options.valid_days} days")


def prime(options: argparse.Namespace) -> int:
    """`mesogun prime`."""
    result = asked(options, "prime", {"volume_nl": options.volume_nl})
    return show(options, result, f"primed {options.volume_nl / 1000:g} uL")
