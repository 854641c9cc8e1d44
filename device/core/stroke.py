"""The scan: the real-time process's state machine, one pure function like a PLC's cycle.

`scan(state, inputs, ...)` decides everything that happens at trigger, needle and gates. It never reads a clock or
blocks, and opens a gate only with a magazine, a fresh permit and the needle where the timeline wants it. Rules it
lives by: each loaded shot fires once; whatever goes wrong closes the gates first and retracts; a fault holds until
the controller's Reset. Order within a scan: switches, safety (`interlocks`, `retreat`), order, shots (`scan_shots`),
motion (`scan_motion`).
"""

from device.core.faults import Fault
from device.core.interlocks import interlock, switch_fault
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Halt,
    Home,
    Inputs,
    Load,
    Order,
    Ready,
    Report,
    Reset,
    Unload,
)
from device.core.retreat import HOMING_OVERTRAVEL_PERCENT, break_off, start_homing
from device.core.scan_motion import close_gate_at_end, move, rest, stride
from device.core.scan_shots import end_magazine, press, repeat, take_magazine
from device.core.scan_state import (
    LoadedMagazine,
    Motion,
    Outputs,
    Scan,
    ScanMode,
    ScanSpec,
    ScanState,
    initial_state,
    scan_spec,
)
from device.core.switches import update_switches

__all__ = [
    "HOMING_OVERTRAVEL_PERCENT",
    "LoadedMagazine",
    "Motion",
    "Outputs",
    "Scan",
    "ScanMode",
    "ScanSpec",
    "ScanState",
    "initial_state",
    "scan",
    "scan_spec",
]


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
    """Run one scan. `permit_until_ns` is the controller's heartbeat; `linked` is False once its end is closed.

    Inputs that are the very object of the scan before (`realtime_messages.inputs_of` gives one object for each
    reading) let a needle under way take its next step without looking at everything anew.
    """
    motion = state.motion
    if motion is not None and motion.clear is inputs and order is None and linked and now_ns <= permit_until_ns:
        result = stride(state, motion, home=inputs.home, spec=spec, now_ns=now_ns)
        if result is not None:
            return result
    reports: list[Report] = []
    switches = update_switches(state.switches, inputs, timing=spec.timing, now_ns=now_ns)
    if switches is not state.switches:
        state = state._replace(switches=switches, press_spent=state.press_spent and switches.pressed)
    state = close_gate_at_end(state, inputs, spec=spec)
    if order is None and state.reset_pending and state.mode in (ScanMode.SAFE, ScanMode.IDLE):
        order = Reset()
    fault = interlock(state, inputs, order, spec=spec, now_ns=now_ns, permit_until_ns=permit_until_ns, linked=linked)
    if fault is not None:
        state = break_off(state, fault, inputs, spec=spec, now_ns=now_ns, reports=reports)
    elif order is not None:
        state = _obey(state, order, inputs, spec=spec, now_ns=now_ns, reports=reports)
    if switches.pressed_now:
        state = press(state, inputs, now_ns=now_ns, reports=reports)
    elif state.mode is ScanMode.READY:
        state = repeat(state, inputs, now_ns=now_ns, reports=reports)
    if state.motion is not None:
        return move(state, state.motion, inputs, spec=spec, now_ns=now_ns, reports=reports)
    return rest(state, timing=spec.timing, now_ns=now_ns, reports=reports)


def _obey(
    state: ScanState, order: Order, inputs: Inputs, *, spec: ScanSpec, now_ns: int, reports: list[Report]
) -> ScanState:
    match order:
        case Reset() if state.mode in (ScanMode.SAFE, ScanMode.IDLE):
            return _reset(state, reports)
        case Reset() if state.mode in (ScanMode.RETRACT, ScanMode.HOMING):
            return state._replace(reset_pending=True)
        case Home(rescue=True) if state.mode in (ScanMode.SAFE, ScanMode.IDLE):
            return start_homing(state._replace(fault=Fault.REALTIME_LOST), spec=spec, now_ns=now_ns)
        case Home() if state.mode is ScanMode.IDLE:
            return start_homing(state, spec=spec, now_ns=now_ns)
        case Load(magazine) if state.mode is ScanMode.IDLE and state.homed:
            refusal = _load_refusal(inputs, spec=spec)
            if refusal is not None:
                return break_off(state, refusal, inputs, spec=spec, now_ns=now_ns, reports=reports)
            return take_magazine(state, magazine, now_ns=now_ns, reports=reports)
        case Unload() if state.loaded is not None and state.mode is ScanMode.READY:
            return end_magazine(state, state.loaded, EndReason.UNLOADED, reports)
        case Unload() if state.loaded is not None and state.mode is ScanMode.STROKE:
            return state._replace(loaded=state.loaded._replace(unload=True))
        case Halt():
            # All is safe already, or on its way; a Reset from before this Halt no longer counts.
            return state._replace(reset_pending=False)
        case Unload():
            # The magazine has just ended by itself.
            return state
        case Home() | Load() if state.fault is not None:
            # It crossed the report of a fault on the way: the controller will know by now.
            return state
        case _:
            # An order that the controller must not have given now: one of the two has lost track.
            return break_off(state, Fault.INTERNAL, inputs, spec=spec, now_ns=now_ns, reports=reports)


def _reset(state: ScanState, reports: list[Report]) -> ScanState:
    state = state._replace(reset_pending=False)
    fault = switch_fault(state.switches)
    if fault is not None:
        reports.append(Faulted(fault, homed=state.homed, detail=0))
        return state._replace(mode=ScanMode.SAFE, fault=fault)
    reports.append(Ready(homed=state.homed))
    return state._replace(mode=ScanMode.IDLE, fault=None)


def _load_refusal(inputs: Inputs, *, spec: ScanSpec) -> Fault | None:
    if spec.phase_feedback and inputs.phase:
        # The pump's program begins with its phase output at 0: a line that reads 1 cannot report an end.
        return Fault.PHASE_LINE_STUCK
    return None if inputs.home else Fault.NEEDLE_POSITION_LOST
