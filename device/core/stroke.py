"""The scan: the real-time process's state machine, one pure function like a PLC's cycle.

`scan(state, inputs, ...)` decides everything that happens at trigger, needle and gates. It never reads a clock or
blocks, and opens a gate only with a magazine, a fresh permit and the needle where the timeline wants it. Rules it
lives by: each loaded shot fires once; whatever goes wrong closes the gates first and retracts; a fault holds until
the controller's Reset. Order within a scan: switches, safety, order, motion.
"""

from dataclasses import dataclass, replace
from enum import Enum

from device.core.device_spec import AxisSpec, Timing
from device.core.faults import Fault
from device.core.magazine import Purpose, RealtimeMagazine
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Halt,
    Home,
    Homed,
    Inputs,
    Load,
    Loaded,
    MagazineEnded,
    Order,
    PressIgnored,
    PressRefusal,
    Ready,
    Report,
    Reset,
    ShotReport,
    StrokeStarted,
    Unload,
)
from device.core.stroke_timeline import (
    Action,
    Timeline,
    resumed_outward,
    retract_timeline,
    stroke_timeline,
    without_dose,
)
from device.core.switches import Switches, update_switches
from device.core.units import NS_PER_S, Steps

HOMING_OVERTRAVEL_PERCENT = 120
"""Homing gives up after this share of the axis' travel: the switch must have come by then."""


class ScanMode(Enum):
    """SAFE holds gates closed and motor off until Reset; RETRACT leads there; the rest is work."""

    SAFE = "safe"
    IDLE = "idle"
    HOMING = "homing"
    READY = "ready"
    STROKE = "stroke"
    RETRACT = "retract"


@dataclass(frozen=True, slots=True)
class ScanSpec:
    """What the scan knows of the console. `phase_feedback`: the pump's phase line is wired."""

    axis: AxisSpec
    timing: Timing
    phase_feedback: bool


@dataclass(frozen=True, slots=True)
class LoadedMagazine:
    """A loaded magazine: what is fired of it, and how many gated moves were opened and reported done."""

    magazine: RealtimeMagazine
    timeline: Timeline
    fired: int
    opened: int
    done: int
    auto: bool
    """The next shot starts by itself at its interval: inside a burst, or while the trigger is held in continuous."""
    unload: bool


@dataclass(frozen=True, slots=True)
class Motion:
    """A running timeline. `marks` are (opened, done) times of this shot's moves."""

    timeline: Timeline
    index: int
    base_ns: int
    started_ns: int
    gate: int
    steps_in: int
    steps_out: int
    cancelled: bool
    marks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScanState:
    """Everything the scan remembers.

    `fault` is why it is retracting or safe; None after a Reset. A Reset that comes while the needle is still on its
    way home is `reset_pending`. A press that was refused is spent until it is released: it fires nothing later.
    """

    mode: ScanMode
    position: int
    homed: bool
    switches: Switches
    loaded: LoadedMagazine | None
    motion: Motion | None
    fault: Fault | None
    last_start_ns: int
    reset_pending: bool
    press_spent: bool


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the lines shall be after this scan. `step` is +1 in, -1 out, 0 none; `gate` is the open one, 0 none."""

    enable: bool
    step: int
    gate: int


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan's result. `step_due_ns` is the deadline of the step in `outputs`; `wake_ns` when to scan again."""

    state: ScanState
    outputs: Outputs
    reports: tuple[Report, ...]
    wake_ns: int
    step_due_ns: int = -1


def initial_state() -> ScanState:
    """Return the state at start: safe, position unknown."""
    return ScanState(
        mode=ScanMode.SAFE,
        position=0,
        homed=False,
        switches=Switches(),
        loaded=None,
        motion=None,
        fault=None,
        last_start_ns=-NS_PER_S,
        reset_pending=False,
        press_spent=False,
    )


def scan(
    state: ScanState,
    inputs: Inputs,
    order: Order | None,
    *,
    spec: ScanSpec,
    now_ns: int,
    permit_until_ns: int,
    linked: bool,
) -> Scan:
    """Run one scan. `permit_until_ns` is the controller's heartbeat; `linked` is False once its end is closed."""
    reports: list[Report] = []
    switches = update_switches(state.switches, inputs, timing=spec.timing, now_ns=now_ns)
    if switches is not state.switches:
        state = replace(state, switches=switches, press_spent=state.press_spent and switches.pressed)
    state = _gate_closed_at_end(state, inputs, spec=spec)
    if order is None and state.reset_pending and state.mode in (ScanMode.SAFE, ScanMode.IDLE):
        order = Reset()
    fault = _interlock(state, inputs, order, spec=spec, now_ns=now_ns, permit_until_ns=permit_until_ns, linked=linked)
    if fault is not None:
        state = _break_off(state, fault, inputs, spec=spec, now_ns=now_ns, reports=reports)
    elif order is not None:
        state = _obey(state, order, inputs, spec=spec, now_ns=now_ns, reports=reports)
    if switches.pressed_now:
        state = _press(state, inputs, now_ns=now_ns, reports=reports)
    elif state.mode is ScanMode.READY:
        state = _repeat(state, inputs, now_ns=now_ns, reports=reports)
    if state.motion is not None:
        return _move(state, inputs, spec=spec, now_ns=now_ns, reports=reports)
    return _rest(state, spec=spec, now_ns=now_ns, reports=reports)


def _gate_closed_at_end(state: ScanState, inputs: Inputs, *, spec: ScanSpec) -> ScanState:
    """Close the gate in the scan that sees the pump's end of the move: from then on any further end is a stuck gate."""
    motion, loaded = state.motion, state.loaded
    if motion is None or loaded is None or motion.gate == 0 or not spec.phase_feedback:
        return state
    if inputs.phase != (loaded.opened % 2 == 1):
        return state
    return replace(state, motion=replace(motion, gate=0))


def _interlock(
    state: ScanState,
    inputs: Inputs,
    order: Order | None,
    *,
    spec: ScanSpec,
    now_ns: int,
    permit_until_ns: int,
    linked: bool,
) -> Fault | None:
    """Return the first condition that forbids going on, most urgent first; None when there is none."""
    if state.mode is ScanMode.SAFE or _retreating(state):
        return None
    if isinstance(order, Halt):
        return order.fault
    if state.switches.stop:
        return Fault.STOP_PRESSED
    if state.switches.stop_disagrees:
        return Fault.STOP_CHANNELS_DISAGREE
    if state.switches.trigger_disagrees:
        return Fault.TRIGGER_CHANNELS_DISAGREE
    if not linked:
        return Fault.CONTROLLER_LOST
    if state.mode is ScanMode.IDLE and not isinstance(order, Home | Load):
        return None
    if now_ns > permit_until_ns:
        return Fault.PERMIT_LOST
    if state.mode in (ScanMode.READY, ScanMode.STROKE):
        return _loaded_interlock(state, inputs, spec=spec, now_ns=now_ns)
    return None


def _retreating(state: ScanState) -> bool:
    """Whether the needle is on its way out because of a fault: nothing may stop that, not even the stop."""
    return state.mode is ScanMode.RETRACT or (state.mode is ScanMode.HOMING and state.fault is not None)


def _loaded_interlock(state: ScanState, inputs: Inputs, *, spec: ScanSpec, now_ns: int) -> Fault | None:
    """Return what forbids going on with a loaded magazine: needle, pump, contact and lateness, in this order."""
    motion, loaded = state.motion, state.loaded
    if loaded is None or (motion is None) is not (state.mode is ScanMode.READY):
        return Fault.INTERNAL
    if _needle_is_elsewhere(state, inputs, spec=spec, now_ns=now_ns):
        return Fault.NEEDLE_POSITION_LOST
    gate_closed = motion is None or motion.gate == 0
    if spec.phase_feedback and gate_closed and inputs.phase != (loaded.opened % 2 == 1):
        # The pump ended a move that no gate of ours let begin.
        return Fault.PUMP_GATE_STUCK
    if motion is None:
        return None
    if loaded.magazine.require_contact and not inputs.contact and state.position > 0:
        return Fault.CONTACT_LOST
    overdue_ns = now_ns - _due_ns(motion)
    if motion.timeline.actions[motion.index] is Action.AWAIT:
        return Fault.PHASE_NOT_FINISHED if overdue_ns > spec.timing.phase_wait_ns else None
    return Fault.STEP_LATE if overdue_ns > spec.timing.late_limit_ns else None


def _due_ns(motion: Motion) -> int:
    return motion.base_ns + motion.timeline.due_ns[motion.index]


def _needle_is_elsewhere(state: ScanState, inputs: Inputs, *, spec: ScanSpec, now_ns: int) -> bool:
    """Whether the home switch contradicts the count of steps: lost steps, or a needle that is jammed."""
    motion, loaded = state.motion, state.loaded
    if motion is None or (loaded is not None and loaded.magazine.purpose is Purpose.PRIME):
        # Waiting, or releasing into the air: the needle must be seen at home all along.
        return not inputs.home
    if inputs.home and state.position > spec.axis.clearance_steps:
        return True
    opens_at_home = motion.timeline.actions[motion.index] is Action.OPEN and state.position <= 0
    return opens_at_home and now_ns >= _due_ns(motion) and not inputs.home


def _obey(
    state: ScanState, order: Order, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> ScanState:
    match order:
        case Reset() if state.mode in (ScanMode.SAFE, ScanMode.IDLE):
            return _reset(state, reports)
        case Reset() if state.mode in (ScanMode.RETRACT, ScanMode.HOMING):
            return replace(state, reset_pending=True)
        case Home(rescue=True) if state.mode in (ScanMode.SAFE, ScanMode.IDLE):
            state = replace(state, fault=Fault.REALTIME_LOST)
            return _start_homing(state, spec=spec, now_ns=now_ns)
        case Home() if state.mode is ScanMode.IDLE:
            return _start_homing(state, spec=spec, now_ns=now_ns)
        case Load(magazine) if state.mode is ScanMode.IDLE and state.homed:
            return _load(state, magazine, inputs, spec=spec, now_ns=now_ns, reports=reports)
        case Unload() if state.loaded is not None and state.mode is ScanMode.READY:
            return _end_magazine(state, EndReason.UNLOADED, reports)
        case Unload() if state.loaded is not None and state.mode is ScanMode.STROKE:
            return replace(state, loaded=replace(state.loaded, unload=True))
        case Halt():
            # All is safe already, or on its way; a Reset from before this Halt no longer counts.
            return replace(state, reset_pending=False)
        case Unload():
            # The magazine has just ended by itself.
            return state
        case Home() | Load() if state.fault is not None:
            # It crossed the report of a fault on the way: the controller will know by now.
            return state
        case _:
            # An order that the controller must not have given now: one of the two has lost track.
            return _break_off(state, Fault.INTERNAL, inputs, spec=spec, now_ns=now_ns, reports=reports)


def _reset(state: ScanState, reports: list[Report]) -> ScanState:
    switches = state.switches
    state = replace(state, reset_pending=False)
    fault = None
    if switches.stop:
        fault = Fault.STOP_PRESSED
    elif switches.stop_disagrees:
        fault = Fault.STOP_CHANNELS_DISAGREE
    elif switches.trigger_disagrees:
        fault = Fault.TRIGGER_CHANNELS_DISAGREE
    if fault is not None:
        reports.append(Faulted(fault, homed=state.homed, detail=0))
        return replace(state, mode=ScanMode.SAFE, fault=fault)
    reports.append(Ready(homed=state.homed))
    return replace(state, mode=ScanMode.IDLE, fault=None)


def _homing_timeline(spec: ScanSpec) -> Timeline:
    axis = spec.axis
    most = axis.travel_steps * HOMING_OVERTRAVEL_PERCENT // 100
    step_ns = 1000 * NS_PER_S // (axis.homing_um_s * axis.steps_per_mm)
    due_ns = tuple(step * step_ns for step in range(most + 1))
    return Timeline(due_ns=due_ns, actions=(*(Action.STEP_OUT for _ in range(most)), Action.END))


def _start_homing(state: ScanState, *, spec: ScanSpec, now_ns: int) -> ScanState:
    motion = _motion(_homing_timeline(spec), now_ns)
    return replace(state, mode=ScanMode.HOMING, homed=False, motion=motion)


def _motion(timeline: Timeline, now_ns: int) -> Motion:
    return Motion(
        timeline=timeline,
        index=0,
        base_ns=now_ns,
        started_ns=now_ns,
        gate=0,
        steps_in=0,
        steps_out=0,
        cancelled=False,
        marks=(),
    )


def _load(
    state: ScanState, magazine: RealtimeMagazine, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> ScanState:
    if spec.phase_feedback and inputs.phase:
        # The pump's program begins with its phase output at 0: a line that reads 1 cannot report an end.
        return _break_off(state, Fault.PHASE_LINE_STUCK, inputs, spec=spec, now_ns=now_ns, reports=reports)
    if not inputs.home:
        return _break_off(state, Fault.NEEDLE_POSITION_LOST, inputs, spec=spec, now_ns=now_ns, reports=reports)
    pressed = state.switches.pressed and not state.press_spent
    held = magazine.mode is Mode.CONTINUOUS and pressed and not magazine.fresh_press
    loaded = LoadedMagazine(
        magazine=magazine,
        timeline=stroke_timeline(magazine.stroke),
        fired=0,
        opened=0,
        done=0,
        auto=held,
        unload=False,
    )
    reports.append(Loaded(magazine.magazine_id))
    state = replace(state, mode=ScanMode.READY, loaded=loaded)
    return _start(state, now_ns=now_ns, reports=reports) if magazine.purpose is Purpose.PRIME else state


def _press(state: ScanState, inputs: Inputs, *, now_ns: int, reports: list[Report]) -> ScanState:
    refusal = _press_refusal(state, inputs, now_ns=now_ns)
    if refusal is None:
        return _start(state, now_ns=now_ns, reports=reports)
    reports.append(PressIgnored(refusal))
    return replace(state, press_spent=True)


def _press_refusal(state: ScanState, inputs: Inputs, *, now_ns: int) -> PressRefusal | None:
    loaded = state.loaded
    if state.mode is not ScanMode.READY or loaded is None:
        busy = state.mode in (ScanMode.STROKE, ScanMode.RETRACT)
        return PressRefusal.BUSY if busy else PressRefusal.NOT_ARMED
    if loaded.magazine.require_contact and not inputs.contact:
        return PressRefusal.NO_CONTACT
    if loaded.auto or now_ns < state.last_start_ns + loaded.magazine.interval_ns:
        return PressRefusal.TOO_EARLY
    return None


def _repeat(state: ScanState, inputs: Inputs, *, now_ns: int, reports: list[Report]) -> ScanState:
    """Between shots of a burst or of a held trigger: start the next one when it is time and the gun touches; or end."""
    loaded = state.loaded
    if loaded is None or not loaded.auto:
        return state
    magazine = loaded.magazine
    bound_to_trigger = magazine.mode is Mode.CONTINUOUS or magazine.trigger is TriggerStyle.HOLD
    if bound_to_trigger and not state.switches.pressed:
        return _end_magazine(state, EndReason.RELEASED, reports)
    lifted = magazine.require_contact and not inputs.contact
    if lifted or now_ns < state.last_start_ns + magazine.interval_ns:
        return state
    return _start(state, now_ns=now_ns, reports=reports)


def _start(state: ScanState, *, now_ns: int, reports: list[Report]) -> ScanState:
    loaded = state.loaded
    if loaded is None:
        return state
    reports.append(StrokeStarted(loaded.magazine.magazine_id, loaded.fired))
    return replace(
        state,
        mode=ScanMode.STROKE,
        loaded=replace(loaded, fired=loaded.fired + 1),
        motion=_motion(loaded.timeline, now_ns),
        last_start_ns=now_ns if loaded.magazine.purpose is Purpose.INJECT else state.last_start_ns,
    )


def _break_off(
    state: ScanState, fault: Fault, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> ScanState:
    """Close the gates and go home the quickest way; report the fault and what was running."""
    motion = state.motion
    if state.mode is ScanMode.SAFE or _retreating(state):
        reports.append(Faulted(fault, homed=state.homed, detail=state.position))
        return state
    if motion is not None and state.mode is ScanMode.STROKE:
        reports.append(_shot_report(state, motion, now_ns=now_ns, fault=fault))
    working = state.mode in (ScanMode.STROKE, ScanMode.READY)
    if state.loaded is not None:
        state = _end_magazine(state, EndReason.FAULT, reports, keep_motion=True)
    homed = state.homed and fault is not Fault.NEEDLE_POSITION_LOST
    reports.append(Faulted(fault, homed=homed, detail=state.position))
    state = replace(state, fault=fault, homed=homed, reset_pending=False)
    if working and state.position > 0 and motion is not None:
        return replace(state, mode=ScanMode.RETRACT, motion=_retraction(state, motion, spec=spec, now_ns=now_ns))
    if working and not inputs.home:
        # By its count the needle is home, by the switch it is not: look for the switch, so that it does not stay out.
        return replace(state, mode=ScanMode.HOMING, homed=False, motion=_motion(_homing_timeline(spec), now_ns))
    return replace(state, mode=ScanMode.SAFE, motion=None)


def _retraction(state: ScanState, motion: Motion, *, spec: ScanSpec, now_ns: int) -> Motion:
    timeline, index = motion.timeline, motion.index
    if motion.steps_out and timeline.actions[index] in (Action.STEP_OUT, Action.END):
        return _motion(without_dose(timeline, index=index), now_ns)
    axis = spec.axis
    inward = [place for place, action in enumerate(timeline.actions) if action is Action.STEP_IN]
    done = motion.steps_in
    gap_ns = timeline.due_ns[inward[done]] - timeline.due_ns[inward[done - 1]] if 0 < done < len(inward) else 0
    retraction = retract_timeline(
        position=Steps(state.position),
        depth=Steps(max(state.position, len(inward))),
        inward_speed_steps_s=NS_PER_S // gap_ns if gap_ns > 0 else 0,
        steps_per_mm=axis.steps_per_mm,
        outward_speed_um_s=axis.fastest_um_s,
        acceleration_um_s2=axis.acceleration_um_s2,
    )
    return _motion(retraction, now_ns)


def _move(state: ScanState, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]) -> Scan:
    """Do what is due of the running timeline: at most one step, and the gate actions in front of or behind it."""
    motion = state.motion
    timing = spec.timing
    while motion is not None:
        if state.mode is ScanMode.HOMING and inputs.home:
            return _arrive(state, motion, inputs, spec=spec, now_ns=now_ns, reports=reports)
        due_ns = _due_ns(motion)
        action = motion.timeline.actions[motion.index]
        if action is Action.OPEN and _ends_here(state, motion):
            motion = replace(
                motion,
                timeline=without_dose(motion.timeline, index=motion.index),
                index=0,
                base_ns=now_ns,
                cancelled=True,
            )
            continue
        if _cancels_before_dose(state, motion):
            motion = replace(
                _retraction(state, motion, spec=spec, now_ns=now_ns),
                cancelled=True,
                started_ns=motion.started_ns,
                steps_in=motion.steps_in,
                steps_out=motion.steps_out,
            )
            continue
        if now_ns < due_ns:
            wake_ns = min(due_ns, now_ns + timing.armed_scan_ns)
            return _moving(_with(state, motion), wake_ns, reports)
        if action is Action.OPEN and state.loaded is not None:
            loaded = replace(state.loaded, opened=state.loaded.opened + 1)
            gate = 1 + (loaded.opened - 1) % 2
            motion = replace(motion, gate=gate, index=motion.index + 1, marks=(*motion.marks, now_ns))
            state = replace(state, loaded=loaded)
        elif action is Action.AWAIT and state.loaded is not None:
            if spec.phase_feedback and inputs.phase != (state.loaded.opened % 2 == 1):
                return _moving(_with(state, motion), now_ns + timing.armed_scan_ns, reports)
            loaded = replace(state.loaded, done=state.loaded.done + 1)
            state = replace(state, loaded=loaded)
            # Whatever the needle waited is added to the rest of the timeline.
            motion = replace(
                motion,
                gate=0,
                index=motion.index + 1,
                base_ns=motion.base_ns + now_ns - due_ns,
                marks=(*motion.marks, now_ns),
            )
            if now_ns - due_ns > spec.axis.shortest_step_ns:
                motion = _started_again(loaded, motion, spec=spec, now_ns=now_ns)
        elif action is Action.END:
            return _arrive(state, motion, inputs, spec=spec, now_ns=now_ns, reports=reports)
        else:
            return _step(state, motion, action, due_ns, spec=spec, now_ns=now_ns, reports=reports)
    return _rest(state, spec=spec, now_ns=now_ns, reports=reports)


def _started_again(loaded: LoadedMagazine, motion: Motion, *, spec: ScanSpec, now_ns: int) -> Motion:
    """After a wait on the way out the needle stands: it must not be asked for its full speed with the next step."""
    if not motion.steps_out or motion.timeline.actions[motion.index] is not Action.STEP_OUT:
        return motion
    timeline = resumed_outward(
        motion.timeline,
        index=motion.index,
        steps_per_mm=spec.axis.steps_per_mm,
        speed_um_s=loaded.magazine.stroke.exit_speed_um_s,
        acceleration_um_s2=spec.axis.acceleration_um_s2,
    )
    return replace(motion, timeline=timeline, index=0, base_ns=now_ns)


def _ends_here(state: ScanState, motion: Motion) -> bool:
    """Whether the operator's release ends the dose before the gate that is next."""
    return bool(motion.marks) and _released(state)


def _cancels_before_dose(state: ScanState, motion: Motion) -> bool:
    """Whether the operator let go before any gate of this shot was opened: the needle turns round at once."""
    return not motion.marks and not motion.cancelled and state.mode is ScanMode.STROKE and _released(state)


def _released(state: ScanState) -> bool:
    loaded = state.loaded
    if state.mode is not ScanMode.STROKE or loaded is None or loaded.magazine.purpose is Purpose.PRIME:
        return False
    return loaded.magazine.trigger is TriggerStyle.HOLD and not state.switches.pressed


def _step(
    state: ScanState, motion: Motion, action: Action, due_ns: int, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> Scan:
    inward = action is Action.STEP_IN
    index = motion.index + 1
    base_ns = motion.base_ns
    if motion.timeline.actions[index] in (Action.STEP_IN, Action.STEP_OUT):
        # After a late step the motor must not be asked to catch up faster than it can follow.
        earliest_ns = now_ns + spec.axis.shortest_step_ns
        base_ns += max(0, earliest_ns - base_ns - motion.timeline.due_ns[index])
    # Built outright: `replace` would cost more than all the rest of a scan with a step.
    motion = Motion(
        timeline=motion.timeline,
        index=index,
        base_ns=base_ns,
        started_ns=motion.started_ns,
        gate=motion.gate,
        steps_in=motion.steps_in + inward,
        steps_out=motion.steps_out + (not inward),
        cancelled=motion.cancelled,
        marks=motion.marks,
    )
    state = ScanState(
        mode=state.mode,
        position=state.position + (1 if inward else -1),
        homed=state.homed,
        switches=state.switches,
        loaded=state.loaded,
        motion=motion,
        fault=state.fault,
        last_start_ns=state.last_start_ns,
        reset_pending=state.reset_pending,
        press_spent=state.press_spent,
    )
    wake_ns = min(base_ns + motion.timeline.due_ns[index], now_ns + spec.timing.armed_scan_ns)
    outputs = Outputs(enable=True, step=1 if inward else -1, gate=motion.gate)
    return Scan(state=state, outputs=outputs, reports=tuple(reports), wake_ns=wake_ns, step_due_ns=due_ns)


def _with(state: ScanState, motion: Motion) -> ScanState:
    return state if motion is state.motion else replace(state, motion=motion)


def _moving(state: ScanState, wake_ns: int, reports: list[Report]) -> Scan:
    gate = state.motion.gate if state.motion is not None else 0
    return Scan(state=state, outputs=Outputs(enable=True, step=0, gate=gate), reports=tuple(reports), wake_ns=wake_ns)


def _arrive(
    state: ScanState, motion: Motion, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> Scan:
    """The timeline is at its end: the needle must be at its home switch."""
    if state.mode is ScanMode.HOMING:
        state = _homing_ended(state, motion, inputs, reports)
    elif state.mode is ScanMode.RETRACT:
        if inputs.home:
            state = replace(state, mode=ScanMode.SAFE, motion=None, position=0)
        else:
            # Steps were lost: go on slowly until the switch comes, so that no needle stays out.
            state = replace(state, mode=ScanMode.HOMING, homed=False, motion=_motion(_homing_timeline(spec), now_ns))
    elif not inputs.home:
        state = _break_off(state, Fault.NEEDLE_POSITION_LOST, inputs, spec=spec, now_ns=now_ns, reports=reports)
    else:
        state = _shot_ended(state, motion, now_ns=now_ns, reports=reports)
    return _rest(state, spec=spec, now_ns=now_ns, reports=reports)


def _homing_ended(state: ScanState, motion: Motion, inputs: Inputs, reports: list[Report]) -> ScanState:
    state = replace(state, motion=None)
    if not inputs.home:
        reports.append(Faulted(Fault.NEEDLE_HOME_NOT_FOUND, homed=False, detail=motion.steps_out))
        return replace(state, mode=ScanMode.SAFE, fault=Fault.NEEDLE_HOME_NOT_FOUND)
    if state.fault is not None:
        # This was a rescue, or the search after a broken-off stroke; the fault still holds.
        if state.fault is Fault.REALTIME_LOST:
            reports.append(Homed(motion.steps_out))
        return replace(state, mode=ScanMode.SAFE, position=0, homed=True)
    reports.append(Homed(motion.steps_out))
    return replace(state, mode=ScanMode.IDLE, position=0, homed=True)


def _shot_ended(state: ScanState, motion: Motion, *, now_ns: int, reports: list[Report]) -> ScanState:
    loaded = state.loaded
    if loaded is None:
        return replace(state, mode=ScanMode.IDLE, motion=None)
    reports.append(_shot_report(state, motion, now_ns=now_ns, fault=None))
    state = replace(state, mode=ScanMode.READY, motion=None)
    if motion.cancelled:
        return _end_magazine(state, EndReason.RELEASED, reports)
    if loaded.fired >= loaded.magazine.shots:
        return _end_magazine(state, EndReason.COMPLETE, reports)
    if loaded.unload:
        return _end_magazine(state, EndReason.UNLOADED, reports)
    return replace(state, loaded=replace(loaded, auto=loaded.magazine.mode is not Mode.SINGLE))


def _shot_report(state: ScanState, motion: Motion, *, now_ns: int, fault: Fault | None) -> ShotReport:
    loaded = state.loaded
    if loaded is None:
        raise ValueError("a shot report needs its magazine")
    stroke = loaded.magazine.stroke
    durations = [done - opened for opened, done in zip(motion.marks[::2], motion.marks[1::2], strict=False)]
    named = {"entry_ns": -1, "dwell_ns": -1, "exit_ns": -1}
    wanted = ((stroke.entry_open, "entry_ns"), (stroke.dwell_dose or None, "dwell_ns"), (stroke.exit_done, "exit_ns"))
    names = [name for part, name in wanted if part is not None]
    named.update(zip(names, durations, strict=False))
    return ShotReport(
        magazine_id=loaded.magazine.magazine_id,
        index=loaded.fired - 1,
        opened=loaded.opened,
        done=loaded.done,
        fault=0 if fault is None else int(fault),
        released=motion.cancelled,
        steps_in=motion.steps_in,
        steps_out=motion.steps_out,
        stroke_ns=now_ns - motion.started_ns,
        **named,
    )


def _end_magazine(
    state: ScanState, reason: EndReason, reports: list[Report], *, keep_motion: bool = False
) -> ScanState:
    loaded = state.loaded
    if loaded is None:
        return state
    reports.append(
        MagazineEnded(
            magazine_id=loaded.magazine.magazine_id,
            reason=reason,
            shots_fired=loaded.fired,
            opened=loaded.opened,
            done=loaded.done,
        )
    )
    if keep_motion:
        return replace(state, loaded=None)
    return replace(state, mode=ScanMode.IDLE, loaded=None, motion=None)


def _rest(state: ScanState, *, spec: ScanSpec, now_ns: int, reports: list[Report]) -> Scan:
    """Nothing moves in this scan: gates closed; the motor holds while the position is known and work may follow."""
    timing = spec.timing
    if state.motion is not None:
        wake_ns = now_ns
    else:
        wake_ns = now_ns + (timing.armed_scan_ns if state.mode is ScanMode.READY else timing.idle_scan_ns)
    enable = state.motion is not None or (state.homed and state.mode in (ScanMode.IDLE, ScanMode.READY))
    return Scan(state=state, outputs=Outputs(enable=enable, step=0, gate=0), reports=tuple(reports), wake_ns=wake_ns)
