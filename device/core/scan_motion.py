"""The scan's motion: what is due of the running timeline, one step a scan at most.

An action is never done before the one in front of it, however late the process runs (`core.stroke_timeline`). A gate
is open from its OPEN until the scan that sees the pump's end of the move, and in no scan that does not move.
"""

from device.core.device_spec import Timing
from device.core.faults import Fault
from device.core.realtime_messages import Faulted, Homed, Inputs, Report
from device.core.retreat import break_off, retraction, start_homing
from device.core.scan_shots import end_shot, released
from device.core.scan_state import LoadedMagazine, Motion, Outputs, Scan, ScanMode, ScanSpec, ScanState
from device.core.stroke_timeline import Action, resumed_outward, without_dose
from device.core.switches import is_settled

_STEPS = (Action.STEP_IN, Action.STEP_OUT)

# Every combination once: a scan hands out one of these instead of building its own.
_MOVING = {(step, gate): Outputs(enable=True, step=step, gate=gate) for step in (-1, 0, 1) for gate in (0, 1, 2)}
_AT_REST = {enable: Outputs(enable=enable, step=0, gate=0) for enable in (False, True)}


def close_gate_at_end(state: ScanState, inputs: Inputs, *, spec: ScanSpec) -> ScanState:
    """Close the gate in the scan that sees the pump's end of the move: from then on any further end is a stuck gate."""
    motion, loaded = state.motion, state.loaded
    if motion is None or loaded is None or motion.gate == 0 or not spec.phase_feedback:
        return state
    if inputs.phase != (loaded.opened % 2 == 1):
        return state
    return state._replace(motion=motion._replace(gate=0))


def stride(state: ScanState, motion: Motion, *, home: bool, spec: ScanSpec, now_ns: int) -> Scan | None:
    """Do the next plain step of a needle under way, or wait for it; None where a whole scan has to decide.

    Only for inputs that are `motion.clear` and a scan with nothing else to look at: the same result as the whole scan,
    in a fraction of its time. `home` is the home switch.
    """
    # Read outright, here and below: this is done for every step, and each call would cost a part of it.
    timeline, place = motion.timeline, motion.place
    action = timeline.actions[place]
    late_ns = now_ns - motion.base_ns - timeline.due_ns[place]
    if (
        action not in _STEPS
        or late_ns > spec.timing.late_limit_ns
        or (home and state.position > spec.axis.clearance_steps)
    ):
        return None
    if late_ns < 0:
        return _waiting(state, motion, min(now_ns - late_ns, now_ns + spec.timing.armed_scan_ns), ())
    return _step(state, motion, action, spec=spec, now_ns=now_ns, reports=())


def move(
    state: ScanState, before: Motion, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> Scan:
    """Do what is due of the running timeline `before`: one step at most, and the gate actions around it."""
    motion, timing = before, spec.timing
    while True:  # ends: every turn is one action nearer to the timeline's end, or turns the needle round for good
        if state.mode is ScanMode.HOMING and inputs.home:
            return _arrive(state, motion, inputs, spec=spec, now_ns=now_ns, reports=reports)
        due_ns = motion.due_ns
        action = motion.action
        if action is Action.OPEN and motion.marks and released(state):
            # The operator's release ends the dose before the gate that is next.
            timeline = without_dose(motion.timeline, index=motion.place)
            motion = motion._replace(timeline=timeline, place=0, base_ns=now_ns, cancelled=True, clear=None)
            continue
        if not motion.marks and not motion.cancelled and released(state):
            # He let go before any gate of this shot was opened: the needle turns round at once.
            motion = retraction(state, motion, spec=spec, now_ns=now_ns)._replace(
                cancelled=True, started_ns=motion.started_ns, steps_in=motion.steps_in, steps_out=motion.steps_out
            )
            continue
        if action in _STEPS and motion is before:
            motion = _cleared(state, motion, inputs)
        if now_ns < due_ns:
            return _waiting(state, motion, min(due_ns, now_ns + timing.armed_scan_ns), tuple(reports))
        if action is Action.OPEN and state.loaded is not None:
            loaded = state.loaded._replace(opened=state.loaded.opened + 1)
            gate = 1 + (loaded.opened - 1) % 2
            motion = motion._replace(gate=gate, place=motion.place + 1, marks=(*motion.marks, now_ns), clear=None)
            state = state._replace(loaded=loaded)
        elif action is Action.AWAIT and state.loaded is not None:
            if spec.phase_feedback and inputs.phase != (state.loaded.opened % 2 == 1):
                return _waiting(state, motion, now_ns + timing.armed_scan_ns, tuple(reports))
            loaded = state.loaded._replace(done=state.loaded.done + 1)
            state = state._replace(loaded=loaded)
            # Whatever the needle waited is added to the rest of the timeline.
            motion = motion._replace(
                gate=0,
                place=motion.place + 1,
                base_ns=motion.base_ns + now_ns - due_ns,
                marks=(*motion.marks, now_ns),
                clear=None,
            )
            if now_ns - due_ns > spec.axis.shortest_step_ns:
                motion = _started_again(loaded, motion, spec=spec, now_ns=now_ns)
        elif action is Action.END:
            return _arrive(state, motion, inputs, spec=spec, now_ns=now_ns, reports=reports)
        else:
            return _step(state, motion, action, spec=spec, now_ns=now_ns, reports=tuple(reports))


def _cleared(state: ScanState, motion: Motion, inputs: Inputs) -> Motion:
    """Note that with these inputs nothing was to be done but the next step, if that holds for the steps to come too."""
    under_way = state.position > 0 or state.mode is ScanMode.HOMING
    if motion.clear is inputs or not under_way or not is_settled(state.switches, inputs):
        return motion
    return motion._replace(clear=inputs)


def _started_again(loaded: LoadedMagazine, motion: Motion, *, spec: ScanSpec, now_ns: int) -> Motion:
    """After a wait on the way out the needle stands: it must not be asked for its full speed with the next step."""
    if not motion.steps_out or motion.action is not Action.STEP_OUT:
        return motion
    timeline = resumed_outward(
        motion.timeline,
        index=motion.place,
        steps_per_mm=spec.axis.steps_per_mm,
        speed_um_s=loaded.magazine.stroke.exit_speed_um_s,
        acceleration_um_s2=spec.axis.acceleration_um_s2,
    )
    return motion._replace(timeline=timeline, place=0, base_ns=now_ns)


def _step(
    state: ScanState, motion: Motion, action: Action, *, spec: ScanSpec, now_ns: int, reports: tuple[Report, ...]
) -> Scan:
    inward = action is Action.STEP_IN
    timeline, place, base_ns, started_ns, gate, steps_in, steps_out, cancelled, marks, clear = motion
    step_due_ns = base_ns + timeline.due_ns[place]
    place += 1
    if timeline.actions[place] in _STEPS:
        # After a late step the motor must not be asked to catch up faster than it can follow.
        missing_ns = now_ns + spec.axis.shortest_step_ns - base_ns - timeline.due_ns[place]
        if missing_ns > 0:
            base_ns += missing_ns
    # Built outright here and below: `_replace` would cost more than all the rest of a scan with a step.
    after = Motion(
        timeline,
        place,
        base_ns,
        started_ns,
        gate,
        steps_in + inward,
        steps_out + (not inward),
        cancelled,
        marks,
        clear,
    )
    mode, position, homed, switches, loaded, _, fault, last_start_ns, reset_pending, press_spent = state
    position += 1 if inward else -1
    state = ScanState(mode, position, homed, switches, loaded, after, fault, last_start_ns, reset_pending, press_spent)
    wake_ns, scan_ns = base_ns + timeline.due_ns[place], now_ns + spec.timing.armed_scan_ns
    wake_ns = scan_ns if scan_ns < wake_ns else wake_ns  # noqa: FURB136 - min() costs more than the comparison
    return Scan(state, _MOVING[1 if inward else -1, gate], reports, wake_ns, step_due_ns)


def _waiting(state: ScanState, motion: Motion, wake_ns: int, reports: tuple[Report, ...]) -> Scan:
    if motion is not state.motion:
        state = state._replace(motion=motion)
    return Scan(state, _MOVING[0, motion.gate], reports, wake_ns)


def _arrive(
    state: ScanState, motion: Motion, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> Scan:
    """The timeline is at its end: the needle must be at its home switch."""
    if state.mode is ScanMode.HOMING:
        state = _homing_ended(state, motion, inputs, reports)
    elif state.mode is ScanMode.RETRACT:
        if inputs.home:
            state = state._replace(mode=ScanMode.SAFE, motion=None, position=0)
        else:
            # Steps were lost: go on slowly until the switch comes, so that no needle stays out.
            state = start_homing(state, spec=spec, now_ns=now_ns)
    elif state.loaded is None or not inputs.home:
        state = break_off(state, Fault.NEEDLE_POSITION_LOST, inputs, spec=spec, now_ns=now_ns, reports=reports)
    else:
        state = end_shot(state, state.loaded, motion, now_ns=now_ns, reports=reports)
    return rest(state, timing=spec.timing, now_ns=now_ns, reports=reports)


def _homing_ended(state: ScanState, motion: Motion, inputs: Inputs, reports: list[Report]) -> ScanState:
    state = state._replace(motion=None)
    if not inputs.home:
        reports.append(Faulted(Fault.NEEDLE_HOME_NOT_FOUND, homed=False, detail=motion.steps_out))
        return state._replace(mode=ScanMode.SAFE, fault=Fault.NEEDLE_HOME_NOT_FOUND)
    if state.fault is not None:
        # This was a rescue, or the search after a broken-off stroke; the fault still holds.
        if state.fault is Fault.REALTIME_LOST:
            reports.append(Homed(motion.steps_out))
        return state._replace(mode=ScanMode.SAFE, position=0, homed=True)
    reports.append(Homed(motion.steps_out))
    return state._replace(mode=ScanMode.IDLE, position=0, homed=True)


def rest(state: ScanState, *, timing: Timing, now_ns: int, reports: list[Report]) -> Scan:
    """Nothing moves in this scan: gates closed; the motor holds while the position is known and work may follow."""
    if state.motion is not None:
        wake_ns = now_ns
    else:
        # By the clock, not by this scan: what one wakes too late is not added to the way to the next.
        period_ns = timing.armed_scan_ns if state.mode is ScanMode.READY else timing.idle_scan_ns
        wake_ns = now_ns + period_ns - now_ns % period_ns
    enable = state.motion is not None or (state.homed and state.mode in (ScanMode.IDLE, ScanMode.READY))
    return Scan(state, _AT_REST[enable], tuple(reports), wake_ns)
