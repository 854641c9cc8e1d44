"""The way home: how the scan breaks off, turns round, and looks for a home switch.

Owns the order of a broken-off stroke: the gates are closed by the scan that breaks off (no outputs open one outside a
stroke), then the needle goes out the quickest way, never deeper than the stroke. Ends in the safe mode.

The way home is built in that scan, so an open gate is closed when it is: some 15 ms later, for the longest stroke on a
Raspberry Pi 4 (`device_spec.PREPARED_STEP_NS`). No other move can begin meanwhile: the one behind the open gate counts
as begun since it was opened, and the next waits for the other gate. Built in the scan after, it would leave a needle
that runs inward at full speed with no plan, for one scan and in every part that looks at a motion.
"""

from device.core.faults import Fault
from device.core.interlocks import retreating
from device.core.realtime_messages import EndReason, Faulted, Inputs, Report
from device.core.scan_shots import magazine_ended, shot_report
from device.core.scan_state import Motion, ScanMode, ScanSpec, ScanState, motion_along
from device.core.stroke_timeline import Action, Timeline, retract_timeline, without_dose
from device.core.units import NS_PER_S, Steps

HOMING_OVERTRAVEL_PERCENT = 120
"""Homing gives up after this share of the axis' travel: the switch must have come by then."""


def break_off(
    state: ScanState, fault: Fault, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> ScanState:
    """Close the gates and go home the quickest way; report the fault and what was running."""
    motion, loaded = state.motion, state.loaded
    if state.mode is ScanMode.SAFE or retreating(state):
        reports.append(Faulted(fault, homed=state.homed, detail=state.position))
        return state
    working = state.mode in (ScanMode.STROKE, ScanMode.READY)
    if loaded is not None:
        if motion is not None:
            reports.append(shot_report(loaded, motion, now_ns=now_ns, fault=fault))
        reports.append(magazine_ended(loaded, EndReason.FAULT))
    homed = state.homed and fault is not Fault.NEEDLE_POSITION_LOST
    reports.append(Faulted(fault, homed=homed, detail=state.position))
    state = state._replace(loaded=None, fault=fault, homed=homed, reset_pending=False)
    if working and state.position > 0 and motion is not None:
        return state._replace(mode=ScanMode.RETRACT, motion=retraction(state, motion, spec=spec, now_ns=now_ns))
    if working and not inputs.home:
        # By its count the needle is home, by the switch it is not: look for the switch, so that it does not stay out.
        return start_homing(state, spec=spec, now_ns=now_ns)
    return state._replace(mode=ScanMode.SAFE, motion=None)


def retraction(state: ScanState, motion: Motion, *, spec: ScanSpec, now_ns: int) -> Motion:
    """Return the motion that takes the needle out from where it is; without the dose that was still to come."""
    timeline, index = motion.timeline, motion.place
    if motion.steps_out and timeline.actions[index] in (Action.STEP_OUT, Action.END):
        return motion_along(without_dose(timeline, index=index), now_ns)
    axis = spec.axis
    inward = [place for place, action in enumerate(timeline.actions) if action is Action.STEP_IN]
    done = motion.steps_in
    gap_ns = timeline.due_ns[inward[done]] - timeline.due_ns[inward[done - 1]] if 0 < done < len(inward) else 0
    retract = retract_timeline(
        position=Steps(state.position),
        depth=Steps(max(state.position, len(inward))),
        inward_speed_steps_s=NS_PER_S // gap_ns if gap_ns > 0 else 0,
        steps_per_mm=axis.steps_per_mm,
        outward_speed_um_s=axis.fastest_um_s,
        acceleration_um_s2=axis.acceleration_um_s2,
    )
    return motion_along(retract, now_ns)


def start_homing(state: ScanState, *, spec: ScanSpec, now_ns: int) -> ScanState:
    """Go out slowly until the home switch comes."""
    return state._replace(mode=ScanMode.HOMING, homed=False, motion=motion_along(_homing_timeline(spec), now_ns))


def _homing_timeline(spec: ScanSpec) -> Timeline:
    axis = spec.axis
    most = axis.travel_steps * HOMING_OVERTRAVEL_PERCENT // 100
    step_ns = 1000 * NS_PER_S // (axis.homing_um_s * axis.steps_per_mm)
    # A range and a repeat, no loop: bound by the travel alone, this is the longest of all timelines.
    due_ns = tuple(range(0, (most + 1) * step_ns, step_ns))
    return Timeline(due_ns=due_ns, actions=(*(Action.STEP_OUT,) * most, Action.END))
