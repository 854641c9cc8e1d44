"""Consoles for the tests of the machine: one in each state, come there by its events, and a typical event of each kind.

`TYPICAL` holds what a working gun or an operator would say; the magazine of `ARMED`, `FIRING` and `SETTLING` is the
first of the session, a single shot of `MOVES` gated moves.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from device.core.checklist import Checklist, Item
from device.core.console import Console, State
from device.core.effects import (
    Commit,
    Effect,
    Reply,
)
from device.core.events import (
    AlarmSilenceRequested,
    ArmRequested,
    CalibrateRequested,
    ChangeNeedleRequested,
    ChangeSyringeRequested,
    ChangeVialRequested,
    CheckRequested,
    DisarmRequested,
    Event,
    FaultClearRequested,
    FaultOccurred,
    HomeRequested,
    OverrideRequested,
    PauseRequested,
    PlungerAtTop,
    PointRepeatRequested,
    PointSkipRequested,
    PointUndoRequested,
    PositionRead,
    PrimeRequested,
    PumpLoaded,
    PumpProbed,
    RealtimeRestarted,
    RefillDone,
    Request,
    ResumeRequested,
    RollBackRequested,
    SessionStartRequested,
    SessionStopRequested,
    ShutdownRequested,
    Started,
)
from device.core.faults import Fault
from device.core.ledger import Ledger
from device.core.machine import step
from device.core.realtime_messages import (
    EndReason,
    Faulted,
    Homed,
    Loaded,
    MagazineEnded,
    PressIgnored,
    PressRefusal,
    Ready,
    ShotReport,
    StrokeStarted,
)
from device.core.session import Region
from device.core.units import Increments, Nanolitres
from device.core.vial import Vial
from tests.support.core import FORMULARY, SPEC, SYRINGE, make_profile, make_serum

REQUEST = Request(number=1, uid=1000, pid=77, may_override=True)
FILLED = Increments(23_978)
PROFILE = make_profile(require_contact=False)

START_SESSION = SessionStartRequested(
    request=REQUEST,
    session_id="s-1",
    profile=PROFILE,
    profile_sha256="p",
    serum=make_serum(),
    serum_sha256="s",
    syringe=SYRINGE,
    syringe_sha256="y",
    patient="anna",
    weight_g=None,
    regions=(Region("crown", 3), Region("temple", 2)),
)
CHECKLIST = Checklist(
    "standard",
    (
        Item("not-pregnant", "asked: not pregnant", required=True),
        Item("disinfected", "done: scalp disinfected", required=True),
        Item("music", "asked: which music", required=False),
    ),
    aftercare=("Do not wash the hair.",),
)
CALIBRATE = CalibrateRequested(
    REQUEST,
    syringe=SYRINGE,
    syringe_sha256="y",
    measured_nl=SYRINGE.stroke_nl,
    method="weighed",
    expires_ms=1_000_000_000_000_000,
)
HOME_PLUNGER = HomeRequested(REQUEST, plunger=True, patient_detached=True)
PRIME = PrimeRequested(REQUEST, volume_nl=Nanolitres(50_000))
ARM, DISARM = ArmRequested(REQUEST), DisarmRequested(Request(number=2, uid=1000, pid=77))
SKIP, REPEAT, UNDO = PointSkipRequested(REQUEST, points=1), PointRepeatRequested(REQUEST), PointUndoRequested(REQUEST)
STOP_PRESSED = Faulted(Fault.STOP_PRESSED, homed=True, detail=0)
CONTACT_LOST = Faulted(Fault.CONTACT_LOST, homed=True, detail=12)


def shot_report(magazine_id: int = 1, index: int = 0) -> ShotReport:
    return ShotReport(
        magazine_id=magazine_id, index=index, opened=4, done=4, fault=0, released=False, steps_in=360, steps_out=360
    )


def magazine_ended(
    reason: EndReason = EndReason.COMPLETE, *, opened: int = 4, done: int = 4, magazine_id: int = 1
) -> MagazineEnded:
    return MagazineEnded(magazine_id=magazine_id, reason=reason, shots_fired=1, opened=opened, done=done)


def after(console: Console, *events: Event) -> Console:
    return reduce(lambda before, event: step(before, event)[0], events, console)


STARTING = Console(spec=SPEC, ledger=Ledger(), formulary=FORMULARY)
SELF_TEST = after(STARTING, Started())
PROBED = after(SELF_TEST, PumpProbed(None))
"""The pump has answered; the real-time process is asked next."""
EMPTY = after(SELF_TEST, PumpProbed(None), Ready(homed=True))
HOMING = after(EMPTY, HOME_PLUNGER)
UNCALIBRATED = after(HOMING, Homed(4), PlungerAtTop(Increments(0)))
DISARMED = after(UNCALIBRATED, CALIBRATE)
SESSION = after(DISARMED, START_SESSION)
REFILLING = after(SESSION, ARM)
LOADING = after(REFILLING, RefillDone(FILLED))
ARMED = after(LOADING, PumpLoaded(1), Loaded(1))
FIRING = after(ARMED, StrokeStarted(1, 0))
SETTLING = after(FIRING, shot_report(), magazine_ended())
PRIMING = after(SESSION, PRIME, RefillDone(FILLED))
FAULT = after(FIRING, STOP_PRESSED)

CONSOLES = {
    State.STARTING: STARTING,
    State.SELF_TEST: PROBED,
    State.DISARMED: DISARMED,
    State.HOMING: HOMING,
    State.PRIMING: PRIMING,
    State.REFILLING: REFILLING,
    State.SESSION: SESSION,
    State.LOADING: LOADING,
    State.ARMED: ARMED,
    State.FIRING: FIRING,
    State.SETTLING: SETTLING,
    State.FAULT: FAULT,
}

TYPICAL: dict[type[Event], Event] = {
    HomeRequested: HOME_PLUNGER,
    CalibrateRequested: CALIBRATE,
    RollBackRequested: RollBackRequested(REQUEST, reason="the new one is wrong", by="a physician"),
    PrimeRequested: PRIME,
    SessionStartRequested: START_SESSION,
    OverrideRequested: OverrideRequested(REQUEST, "soft.session_ml", reason="as agreed", by="a physician"),
    SessionStopRequested: SessionStopRequested(REQUEST),
    ArmRequested: ARM,
    DisarmRequested: DISARM,
    FaultClearRequested: FaultClearRequested(REQUEST),
    AlarmSilenceRequested: AlarmSilenceRequested(REQUEST),
    PointSkipRequested: SKIP,
    PointRepeatRequested: REPEAT,
    PointUndoRequested: UNDO,
    CheckRequested: CheckRequested(REQUEST, items=("disinfected",), by="a nurse"),
    ChangeVialRequested: ChangeVialRequested(REQUEST, Vial("L-2")),
    ChangeNeedleRequested: ChangeNeedleRequested(REQUEST, "n-2"),
    ChangeSyringeRequested: ChangeSyringeRequested(REQUEST, "", patient_detached=True),
    PauseRequested: PauseRequested(REQUEST),
    ResumeRequested: ResumeRequested(REQUEST),
    Started: Started(),
    PumpProbed: PumpProbed(Increments(0)),
    PumpLoaded: PumpLoaded(1),
    PositionRead: PositionRead(Increments(FILLED - 480 + 46)),
    RefillDone: RefillDone(FILLED),
    PlungerAtTop: PlungerAtTop(Increments(0)),
    FaultOccurred: FaultOccurred(Fault.PUMP_SILENT, "no answer"),
    RealtimeRestarted: RealtimeRestarted(),
    ShutdownRequested: ShutdownRequested(),
    Ready: Ready(homed=True),
    Homed: Homed(3),
    Loaded: Loaded(1),
    StrokeStarted: StrokeStarted(1, 0),
    ShotReport: shot_report(),
    MagazineEnded: magazine_ended(),
    PressIgnored: PressIgnored(PressRefusal.BUSY),
    Faulted: STOP_PRESSED,
}


MOVES = 4
"""Gated moves of a single shot of the profile."""


def records_in(effects: Sequence[Effect]) -> list[Any]:
    return [record for effect in effects if isinstance(effect, Commit) for record in effect.records]


def reply_in(effects: Sequence[Effect]) -> Reply:
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    return reply


def shots_given(console: Console, shots: int) -> Console:
    """Fire `shots` whole shots from an armed console; return it where the next magazine is armed, or none is."""
    for _ in range(shots):
        assert console.magazine is not None
        number = console.magazine.magazine_id
        target = console.magazine.pump_program().moves[-1].target
        given = (StrokeStarted(number, 0), shot_report(number), magazine_ended(magazine_id=number))
        console = after(console, *given, PositionRead(target))
        if console.state is State.LOADING:
            console = after(console, PumpLoaded(number + 1), Loaded(number + 1))
    return console
