"""What a clinician does with the simulated gun: prepares it, starts a session, treats points, recovers after a fault.

Knows the gun as people do: by its commands, its answers and what it shows. Every wait ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from device.core.console import State
from device.core.events import (
    ArmRequested,
    CalibrateRequested,
    CheckRequested,
    Command,
    FaultClearRequested,
    HomeRequested,
    PointRepeatRequested,
    PointSkipRequested,
    PointUndoRequested,
    Request,
    ResumeRequested,
    SessionStartRequested,
)
from device.core.faults import Fault
from device.core.patient_day import DAY_MS
from device.core.profile import Mode
from device.core.session import Region
from device.core.vial import Vial
from device.simulation.controller_process import Answer
from device.simulation.gun import VirtualGun

PATIENCE_MS: Final = 400
"""How long he holds the trigger while no stroke ends, before he lets go and tries again."""
MARKS: Final = ("skip", "repeat", "undo")
NEED_RESTART: Final = {Fault.JOURNAL_WRITE_FAILED, Fault.QUEUE_FULL, Fault.INTERNAL}
"""Faults whose action is a restart of the service, where clearing does not help."""
ROUNDS_MOST: Final = 12
"""Times he tries to get a faulted gun going again before he calls service."""
READY_MS: Final = 3000
TOUCH_MS: Final = 15
"""From the touch to the press, of quick hands."""
RELEASE_MS: Final = 30
"""From the release to the lift."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What the physician has ordered, by the names of the configuration's files."""

    profile: str
    serum: str
    syringe: str
    points: int
    patient: str = "anonymous"
    weight_g: int | None = None


def make_ready(gun: VirtualGun) -> None:
    """Wait for the self-test and home the needle."""
    if not gun.run_until(lambda: gun.state is State.DISARMED and gun.console.ready, within_ms=READY_MS):
        raise RuntimeError(f"the gun is not ready: {gun.state.name}")
    answer = gun.ask(lambda request: HomeRequested(request, plunger=False, patient_detached=False))
    if not answer.accepted:
        raise RuntimeError(f"the needle is not homed: {answer.reasons}")


def start_session(gun: VirtualGun, treatment: Treatment, *, session_id: str = "s-0001") -> Answer:
    """Calibrate the syringe, start a session of one region, and confirm its check-list if it has one."""
    files = gun.configuration
    chosen, serum = files.profiles[treatment.profile], files.serums[treatment.serum]
    checklist = next(iter(files.checklists.values())) if serum.value.checklist_required else None
    syringe = files.syringes[treatment.syringe]
    gun.ask(
        lambda request: CalibrateRequested(
            request=request,
            syringe=syringe.value,
            syringe_sha256=syringe.sha256,
            measured_nl=syringe.value.stroke_nl,
            method="the simulated pump's own figures",
            expires_ms=request.at_ms + DAY_MS,
        )
    )
    answer = gun.ask(
        lambda request: SessionStartRequested(
            request=request,
            session_id=session_id,
            profile=chosen.value,
            profile_sha256=chosen.sha256,
            serum=serum.value,
            serum_sha256=serum.sha256,
            syringe=syringe.value,
            syringe_sha256=syringe.sha256,
            patient=treatment.patient,
            weight_g=treatment.weight_g,
            regions=(Region("crown", treatment.points),),
            operator="the simulated clinician",
            vial=Vial("simulated", request.at_ms + DAY_MS, mixed_ms=request.at_ms, told_ms=request.at_ms),
            checklist=checklist.value if checklist is not None else None,
            checklist_sha256=checklist.sha256 if checklist is not None else "",
        )
    )
    if answer.accepted and checklist is not None:
        items = tuple(item.key for item in checklist.value.items)
        return gun.ask(lambda request: CheckRequested(request, items, by="the simulated clinician"))
    return answer


def wait_armed(gun: VirtualGun) -> bool:
    """Wait until the gun is ready to fire; False when it will not be."""
    gun.run_until(lambda: gun.state is State.ARMED or not gun.console.armed or not gun.alive, within_ms=10_000)
    return gun.state is State.ARMED and gun.alive


def treat_one_point(gun: VirtualGun, *, move_ms: float = 0) -> None:
    """Go to the point, put the gun on, press, hold until the shot or the magazine is over, release, lift."""
    gun.run_for(move_ms)
    gun.hands.touch_skin()
    gun.run_for(TOUCH_MS)
    gun.hands.press()
    if gun.console.session is not None and gun.console.session.profile.mode is Mode.CONTINUOUS:
        _watch_strokes(gun)
    else:
        gun.run_until(lambda: gun.state is not State.ARMED or not gun.alive, within_ms=40)
        gun.run_until(lambda: gun.state is not State.FIRING or not gun.alive, within_ms=4000)
    gun.hands.release()
    gun.run_for(RELEASE_MS)
    gun.hands.lift()


def _watch_strokes(gun: VirtualGun) -> None:
    """Hold on while strokes end one after another and the gun is armed."""
    seen = -1

    def another_or_over() -> bool:
        return gun.world.strokes != seen or not gun.console.armed or not gun.alive

    while gun.world.strokes != seen and gun.console.armed and gun.alive:
        seen = gun.world.strokes
        gun.run_until(another_or_over, within_ms=PATIENCE_MS)


def arm(gun: VirtualGun) -> Answer:
    """Arm; a session that a restart has paused is resumed first."""
    totals = gun.console.ledger.session
    if totals is not None and totals.paused:
        gun.ask(ResumeRequested)
    return gun.ask(ArmRequested)


def treat(gun: VirtualGun, *, presses_most: int, move_ms: float = 0) -> Answer:
    """Arm and treat until the session's points are done or nothing more happens; returns the arming's answer.

    `move_ms` is what the way from one point to the next takes.
    """
    answer = arm(gun)
    for _ in range(presses_most):
        if not wait_armed(gun):
            break
        treat_one_point(gun, move_ms=move_ms)
    return answer


def mark(gun: VirtualGun, what: str) -> Answer:
    """Say something of the points, of `MARKS`; refused where it makes no sense."""
    commands: dict[str, Callable[[Request], Command]] = {
        "skip": lambda request: PointSkipRequested(request, points=1),
        "repeat": PointRepeatRequested,
        "undo": PointUndoRequested,
    }
    return gun.ask(commands[what])


def recover(gun: VirtualGun) -> bool:
    """Take the gun off the patient, clear the faults, home what has lost its place; True when it is fit again."""
    gun.hands.release()
    gun.hands.release_stop()
    gun.hands.lift()
    gun.run_for(60)
    plunger = False
    for _ in range(ROUNDS_MOST):
        gun.run_until(lambda: gun.console.ready or gun.state is State.FAULT, within_ms=700)
        if gun.state is State.FAULT:
            plunger = plunger or Fault.PUMP_OVERLOAD in latched(gun)
            if not gun.ask(FaultClearRequested, within_ms=3000).accepted and latched(gun) & NEED_RESTART:
                gun.kill_controller()
                gun.restart_controller()
        elif gun.state in (State.DISARMED, State.SESSION):
            plunger = plunger or not gun.console.initialised
            if gun.console.homed and not plunger:
                return True
            plunger = not _home(gun, plunger=plunger) and plunger
        else:
            gun.run_for(200)
    return False


def _home(gun: VirtualGun, *, plunger: bool) -> bool:
    return gun.ask(lambda request: HomeRequested(request, plunger=plunger, patient_detached=plunger)).accepted


def latched(gun: VirtualGun) -> set[Fault]:
    """Return the faults that hold."""
    return {Fault(code) for code in gun.console.ledger.faults}
