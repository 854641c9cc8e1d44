"""The ports: what the controller and the real-time process ask of the hardware, and how it may fail.

Only Protocols and outcome types. Concrete drivers import this module and the core; nothing here names one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from device.core.faults import Fault
from device.core.magazine import PumpProgram
from device.core.realtime_messages import Inputs
from device.core.units import Increments

NOTHING_OWED: Final = Increments(0)
"""No suck-back that the next shot repays."""

__all__ = [
    "DriverError",
    "GateLevels",
    "IndicatorsPort",
    "Inputs",
    "Light",
    "LineMap",
    "PumpPort",
    "PumpStatus",
    "Sound",
]


class DriverError(Exception):
    """A driver could not do what was asked; `fault` is what the operator is told."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value} {fault.name.lower()}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class PumpStatus:
    """The answer to a status query: `ready` is no move and no program under way; `error` is its number or 0."""

    ready: bool
    error: int


@dataclass(frozen=True, slots=True)
class GateLevels:
    """The pump's own reading of its two gate inputs; True is low, which lets a halted program pass."""

    gate_1_open: bool
    gate_2_open: bool


class PumpPort(Protocol):
    """A dosing pump with two gate inputs. Every method raises `DriverError` where it cannot be certain.

    No method retries a relative move; all positions are absolute. One call at a time, except `terminate`, which
    cuts in.
    """

    async def connect(self) -> str:
        """Open the line, get one status query answered, stop whatever program is loaded; return the identity."""

    async def status(self) -> PumpStatus:
        """Return the pump's status (with the Cavro only `Q` tells readiness)."""

    async def position(self) -> Increments:
        """Return what the plunger's encoder reads: where it stands, to `settlement.POSITION_TOLERANCE`."""

    async def gates(self) -> GateLevels:
        """Return both gate inputs as the pump sees them."""

    async def load(self, program: PumpProgram) -> None:
        """Load and start `program`, which halts at its first gate.

        Checks first, in this order: the program against the driver's own hard ceiling (`PUMP_CEILING`), the pump
        ready and without error, both gates closed (`PUMP_GATE_STUCK`), the plunger read at `program.start` to its
        encoder's resolution (`PUMP_POSITION_MISMATCH`). Nothing is sent when a check fails. After it the pump is busy
        at the first gate.
        """

    async def terminate(self) -> None:
        """Stop any move and program at once. Increments may be lost: read `position` afterwards."""

    async def refill(self, target: Increments, *, overshoot: Increments, owed: Increments = NOTHING_OWED) -> Increments:
        """Draw from the vial to `target`; valve ends at the needle.

        `target - owed` is approached from above by `overshoot`; from there it draws by `owed`, the suck-back that the
        next shot repays: so the drive's play lies as the suck-back left it, and is repaid by the same way.
        Returns `target`, which is the position reached. Cancelling it leaves the pump to be `terminate`d by the caller.
        """

    async def home_plunger(self) -> Increments:
        """Initialise: drives the plunger to the top. Never with a patient attached. Returns the position (0)."""

    async def close(self) -> None:
        """Release the line."""


class Light(Enum):
    """What the status light shows; `ON` is a promise: a press fires now."""

    OFF = "off"
    SLOW = "slow"
    ON = "on"
    ALARM_LOW = "alarm_low"
    ALARM_MEDIUM = "alarm_medium"
    ALARM_HIGH = "alarm_high"


class Sound(Enum):
    """What the buzzer plays once, in order of rank."""

    REFUSED = "refused"
    DONE = "done"
    REGION = "region"
    ALARM_LOW = "alarm_low"
    ALARM_MEDIUM = "alarm_medium"
    ALARM_HIGH = "alarm_high"


class IndicatorsPort(Protocol):
    """The clinician's light and sound. Never raises: a broken lamp stops no safety action."""

    def light(self, light: Light) -> None:
        """Show `light` until told otherwise."""

    def sound(self, sound: Sound) -> None:
        """Play `sound` once, cutting off an earlier one; not an alarm's burst of a higher rank, which plays on."""

    def hush(self) -> None:
        """End what is being played."""

    def close(self) -> None:
        """Switch both off and release the lines."""


@dataclass(frozen=True, slots=True)
class LineMap:
    """BCM numbers of the console's lines; None where a line is not wired (contact and phase only)."""

    trigger_a: int
    trigger_b: int
    stop_a: int
    stop_b: int
    home: int
    contact: int | None
    phase: int | None
    step: int
    direction: int
    enable: int
    gate_1: int
    gate_2: int
    light: int
    buzzer: int

    def as_numbers(self) -> Mapping[str, int | None]:
        """Return the lines by name."""
        return {name: getattr(self, name) for name in self.__slots__}
