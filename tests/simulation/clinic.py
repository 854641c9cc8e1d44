"""What a clinician does with the virtual gun: prepares it, starts a session, treats points, recovers after a fault."""

from dataclasses import replace
from functools import cache
from typing import Final

from device.core.console import State
from device.core.events import ArmRequested, FaultClearRequested, HomeRequested, SessionStartRequested
from device.core.faults import Fault
from device.core.profile import Mode
from device.core.session import Region
from device.core.units import Nanolitres
from device.settings import Configuration, load_configuration
from tests.support.gun import CONFIG, Answer, VirtualGun

SERUM: Final = "saline"
SYRINGE: Final = "1ml"
PROFILES: Final = ("continuous", "nappage", "papule", "point-by-point", "saline-test")
PATIENCE_MS: Final = 400
"""How long he holds the trigger while no stroke ends, before he lets go and tries again."""
NEED_RESTART: Final = {Fault.JOURNAL_WRITE_FAILED, Fault.QUEUE_FULL, Fault.INTERNAL}
"""Faults whose action is a restart of the service, where clearing does not help."""
ROUNDS_MOST: Final = 12
"""Times he tries to get a faulted gun going again before he calls service."""


@cache
def shipped(*, vial_nl: int) -> Configuration:
    """Return the shipped configuration with a vial that holds only so much."""
    configuration = load_configuration(CONFIG)
    serums = dict(configuration.serums)
    serum = serums[SERUM]
    serums[SERUM] = replace(serum, value=replace(serum.value, vial_nl=Nanolitres(vial_nl)))
    return replace(configuration, serums=serums)


def make_ready(gun: VirtualGun) -> None:
    """Wait for the self-test and home the needle."""
    assert gun.run_until(lambda: gun.state is State.DISARMED and gun.console.ready, within_ms=2000), gun.state
    answer = gun.ask(lambda request: HomeRequested(request, plunger=False, patient_detached=False))
    assert answer.accepted, answer


def start_session(gun: VirtualGun, profile: str, points: int) -> Answer:
    """Start a session of one region."""
    files = gun.configuration
    chosen, serum, syringe = files.profiles[profile], files.serums[SERUM], files.syringes[SYRINGE]
    return gun.ask(
        lambda request: SessionStartRequested(
            request=request,
            session_id="s-0001",
            profile=chosen.value,
            profile_sha256=chosen.sha256,
            serum=serum.value,
            serum_sha256=serum.sha256,
            syringe=syringe.value,
            syringe_sha256=syringe.sha256,
            patient="anonymous",
            weight_g=None,
            regions=(Region("crown", points),),
        )
    )


def wait_armed(gun: VirtualGun) -> bool:
    """Wait until the gun is ready to fire; False when it will not be."""
    gun.run_until(lambda: gun.state is State.ARMED or not gun.console.armed or not gun.alive, within_ms=10_000)
    return gun.state is State.ARMED and gun.alive


def treat_one_point(gun: VirtualGun) -> None:
    """Put the gun on, press, hold until the shot or the magazine is over, release, lift."""
    gun.hands.touch_skin()
    gun.run_for(15)
    gun.hands.press()
    if gun.console.session is not None and gun.console.session.profile.mode is Mode.CONTINUOUS:
        _watch_strokes(gun)
    else:
        gun.run_until(lambda: gun.state is not State.ARMED or not gun.alive, within_ms=40)
        gun.run_until(lambda: gun.state is not State.FIRING or not gun.alive, within_ms=4000)
    gun.hands.release()
    gun.run_for(30)
    gun.hands.lift()


def _watch_strokes(gun: VirtualGun) -> None:
    """Hold on while strokes end one after another and the gun is armed."""
    seen = -1

    def another_or_over() -> bool:
        return gun.world.strokes != seen or not gun.console.armed or not gun.alive

    while gun.world.strokes != seen and gun.console.armed and gun.alive:
        seen = gun.world.strokes
        gun.run_until(another_or_over, within_ms=PATIENCE_MS)


def treat(gun: VirtualGun, *, presses_most: int) -> Answer:
    """Arm and treat until the session's points are done or nothing more happens; returns the arming's answer."""
    answer = gun.ask(ArmRequested)
    for _ in range(presses_most):
        if not wait_armed(gun):
            break
        treat_one_point(gun)
    return answer


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
