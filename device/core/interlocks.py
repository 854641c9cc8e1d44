"""The interlocks of the scan: what forbids going on, most urgent first.

Pure conditions over the scan's memory, its inputs and the controller's permit. Decides nothing about what follows: a
fault that is returned here is broken off by `core.retreat`, gates first. A needle on its way out is never stopped.
"""

from device.core.faults import Fault
from device.core.magazine import Purpose
from device.core.realtime_messages import Halt, Home, Inputs, Load, Order
from device.core.scan_state import ScanMode, ScanSpec, ScanState
from device.core.stroke_timeline import Action
from device.core.switches import Switches


def interlock(
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
    if state.mode is ScanMode.SAFE or retreating(state):
        return None
    if isinstance(order, Halt):
        return order.fault
    fault = switch_fault(state.switches)
    if fault is not None:
        return fault
    if not linked:
        return Fault.CONTROLLER_LOST
    if state.mode is ScanMode.IDLE and not isinstance(order, Home | Load):
        return None
    if now_ns > permit_until_ns:
        return Fault.PERMIT_LOST
    if state.mode in (ScanMode.READY, ScanMode.STROKE):
        return _loaded_interlock(state, inputs, spec=spec, now_ns=now_ns)
    return None


def retreating(state: ScanState) -> bool:
    """Whether the needle is on its way out because of a fault: nothing may stop that, not even the stop."""
    return state.mode is ScanMode.RETRACT or (state.mode is ScanMode.HOMING and state.fault is not None)


def switch_fault(switches: Switches) -> Fault | None:
    """Return what stop and trigger themselves forbid; None when nothing."""
    if switches.stop_disagrees:
        # Either channel alone counts as the stop at once; that it stays alone is the wiring's fault.
        return Fault.STOP_CHANNELS_DISAGREE
    if switches.stop:
        return Fault.STOP_PRESSED
    if switches.trigger_disagrees:
        return Fault.TRIGGER_CHANNELS_DISAGREE
    return None


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
    overdue_ns = now_ns - motion.due_ns
    if motion.action is Action.AWAIT:
        return Fault.PHASE_NOT_FINISHED if overdue_ns > spec.timing.phase_wait_ns else None
    return Fault.STEP_LATE if overdue_ns > spec.timing.late_limit_ns else None


def _needle_is_elsewhere(state: ScanState, inputs: Inputs, *, spec: ScanSpec, now_ns: int) -> bool:
    """Whether the home switch contradicts the count of steps: lost steps, or a needle that is jammed."""
    motion, loaded = state.motion, state.loaded
    if motion is None or (loaded is not None and loaded.magazine.purpose is Purpose.PRIME):
        # Waiting, or releasing into the air: the needle must be seen at home all along.
        return not inputs.home
    if inputs.home and state.position > spec.axis.clearance_steps:
        return True
    opens_at_home = motion.action is Action.OPEN and state.position <= 0
    return opens_at_home and now_ns >= motion.due_ns and not inputs.home
