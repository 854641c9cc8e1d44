"""The numbered faults: what each means, how it is signalled, whether it latches, what the operator does.

Numbers never change meaning; a withdrawn fault's number is not given out again. Groups: 1xx operator's controls,
2xx needle and timing, 3xx pump, 4xx record and dose, 5xx processes. Priorities after IEC 60601-1-8.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum


class Priority(Enum):
    """Alarm priority after IEC 60601-1-8."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Fault(IntEnum):
    """A fault's number; its meaning and the operator's action stand in `CATALOGUE`."""

    STOP_PRESSED = 101
    STOP_CHANNELS_DISAGREE = 102
    TRIGGER_CHANNELS_DISAGREE = 103
    CONTACT_LOST = 104
    NEEDLE_HOME_NOT_FOUND = 201
    NEEDLE_POSITION_LOST = 202
    STEP_LATE = 203
    PHASE_NOT_FINISHED = 204
    PHASE_LINE_STUCK = 205
    PUMP_SILENT = 301
    PUMP_ERROR = 302
    PUMP_OVERLOAD = 303
    PUMP_GATE_STUCK = 304
    PUMP_NOT_INITIALISED = 305
    PUMP_POSITION_MISMATCH = 306
    PUMP_CEILING = 307
    JOURNAL_DAMAGED = 401
    JOURNAL_WRITE_FAILED = 402
    DOSE_UNCERTAIN = 403
    CONTROLLER_LOST = 501
    PERMIT_LOST = 502
    REALTIME_LOST = 503
    QUEUE_FULL = 504
    INTERNAL = 505


@dataclass(frozen=True, slots=True)
class FaultMeaning:
    """What a person is told of a fault. A latched fault holds until the operator clears it."""

    title: str
    action: str
    priority: Priority
    latched: bool = True


CATALOGUE: dict[Fault, FaultMeaning] = {
    Fault.STOP_PRESSED: FaultMeaning(
        "stop pressed", "release the stop button, check the patient, then clear the fault", Priority.HIGH
    ),
    Fault.STOP_CHANNELS_DISAGREE: FaultMeaning(
        "the stop's two channels disagree",
        "check the stop button's wiring; do not use the gun",
        Priority.HIGH,
    ),
    Fault.TRIGGER_CHANNELS_DISAGREE: FaultMeaning(
        "the trigger's two channels disagree", "check the trigger's wiring; do not use the gun", Priority.HIGH
    ),
    Fault.CONTACT_LOST: FaultMeaning(
        "skin contact lost during a shot",
        "place the gun flat on the scalp and arm again",
        Priority.MEDIUM,
        latched=False,
    ),
    Fault.NEEDLE_HOME_NOT_FOUND: FaultMeaning(
        "needle home switch not found",
        "look for a jammed needle or a broken home switch, then home",
        Priority.HIGH,
    ),
    Fault.NEEDLE_POSITION_LOST: FaultMeaning(
        "the needle was not home after a stroke",
        "lift the gun, look for a bent or jammed needle, then home",
        Priority.HIGH,
    ),
    Fault.STEP_LATE: FaultMeaning(
        "a needle step came too late",
        "check the load of the computer (`mesogun status`), then home",
        Priority.MEDIUM,
    ),
    Fault.PHASE_NOT_FINISHED: FaultMeaning(
        "the pump did not finish a phase in time",
        "look for a blocked needle or tube, then clear",
        Priority.HIGH,
    ),
    Fault.PHASE_LINE_STUCK: FaultMeaning(
        "the pump's phase line does not follow its program", "check the wire of pump output 1", Priority.HIGH
    ),
    Fault.PUMP_SILENT: FaultMeaning(
        "the pump does not answer", "check the pump's power and serial cable, then clear", Priority.HIGH
    ),
    Fault.PUMP_ERROR: FaultMeaning("the pump reports an error", "see the error's number, then clear", Priority.HIGH),
    Fault.PUMP_OVERLOAD: FaultMeaning(
        "pump overload (occlusion)",
        "replace the needle, check tube and valve, home the plunger without a patient",
        Priority.HIGH,
    ),
    Fault.PUMP_GATE_STUCK: FaultMeaning(
        "a pump gate line is stuck open",
        "check the gate wires and their pull-ups; do not use the gun",
        Priority.HIGH,
    ),
    Fault.PUMP_NOT_INITIALISED: FaultMeaning(
        "the pump has lost its position", "without a patient: `mesogun home --plunger`", Priority.MEDIUM
    ),
    Fault.PUMP_POSITION_MISMATCH: FaultMeaning(
        "the plunger is not where the dose should have left it",
        "check needle, tube and syringe; clearing books the larger dose",
        Priority.HIGH,
    ),
    Fault.PUMP_CEILING: FaultMeaning(
        "the pump driver refused a program above the device's hard ceiling",
        "report this: planner and driver differ",
        Priority.HIGH,
    ),
    Fault.JOURNAL_DAMAGED: FaultMeaning(
        "the journal is damaged", "keep the file, run `mesogun journal verify`, call service", Priority.HIGH
    ),
    Fault.JOURNAL_WRITE_FAILED: FaultMeaning(
        "the journal cannot be written",
        "free disk space, then clear; if that does not help, restart, or replace the card",
        Priority.HIGH,
    ),
    Fault.DOSE_UNCERTAIN: FaultMeaning(
        "it is not known how much the last shot gave",
        "clearing accepts the largest possible dose as given",
        Priority.HIGH,
    ),
    Fault.CONTROLLER_LOST: FaultMeaning(
        "the controller ended during operation", "restart the service; look at its log", Priority.HIGH
    ),
    Fault.PERMIT_LOST: FaultMeaning(
        "the controller's permit ran out",
        "check the load of the computer, then clear and home",
        Priority.HIGH,
    ),
    Fault.REALTIME_LOST: FaultMeaning(
        "the real-time process stopped answering",
        "lift the gun; wait until it is restarted, then clear",
        Priority.HIGH,
    ),
    Fault.QUEUE_FULL: FaultMeaning("events came faster than they were handled", "restart the service", Priority.HIGH),
    Fault.INTERNAL: FaultMeaning("an internal error", "restart the service and report the log", Priority.HIGH),
}
