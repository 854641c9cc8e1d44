"""The controller's whole memory: one frozen value that the machine turns into the next one."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from device.core.device_spec import DeviceSpec
from device.core.events import Request
from device.core.formulary import UNSIGNED, Formulary
from device.core.ledger import Ledger
from device.core.magazine import Magazine
from device.core.patient_day import UNKNOWN_MS
from device.core.realtime_messages import EndReason, ShotReport
from device.core.records import ShotGiven
from device.core.session import Session
from device.core.settlement import Seen


class State(IntEnum):
    """The controller's states; the numbers are published (`state_code`) and never change meaning."""

    STARTING = 0
    SELF_TEST = 1
    DISARMED = 2
    HOMING = 3
    PRIMING = 4
    REFILLING = 5
    SESSION = 6
    LOADING = 7
    ARMED = 8
    FIRING = 9
    SETTLING = 10
    FAULT = 11


@dataclass(frozen=True, slots=True)
class PressRun:
    """Refused presses in a row with one reason: how many stand in the journal (`told`), how many do not yet."""

    session_id: str = ""
    reason: str = ""
    told: int = 0
    untold: int = 0


NO_PRESSES: Final = PressRun()


@dataclass(frozen=True, slots=True)
class Console:
    """All that the machine knows.

    `now_ms` is the wall clock as an event told it last. `formulary` is the one found at start. `session` is the open
    one with its plan; `ready` that the real-time process is out of its safe mode; `homed` and `initialised` that needle
    and plunger know where they are; `probed` that this self-test has asked the pump. `armed`
    is the operator's wish: load the next magazine when one is done. `magazine` is the loaded one, `reports` and `seen`
    what came of it so far, `ended` why the last one ended. `prime_nl` is what to prime after a refill, 0 if the refill
    is for shots. `plunger_wanted`: home the plunger after the needle. `pending` is the command to be answered when the
    running operation ends. `stopping`: end the process as soon as nothing is under way. `presses` is the run of refused
    presses that is going on.
    """

    spec: DeviceSpec
    ledger: Ledger
    now_ms: int = UNKNOWN_MS
    formulary: Formulary = UNSIGNED
    session: Session | None = None
    state: State = State.STARTING
    ready: bool = False
    homed: bool = False
    initialised: bool = False
    probed: bool = False
    armed: bool = False
    magazine: Magazine | None = None
    reports: tuple[ShotReport, ...] = ()
    seen: Seen | None = None
    ended: EndReason | None = None
    prime_nl: int = 0
    plunger_wanted: bool = False
    pending: Request | None = None
    stopping: bool = False
    last_shot: ShotGiven | None = None
    presses: PressRun = NO_PRESSES
