"""The shots of a loaded magazine, as the scan starts, counts and reports them.

Each loaded shot is started at most once: `fired` only grows, and what ends a magazine takes it out of the state. A
press is answered by a stroke or by a refusal, never by both and never by nothing.
"""

from device.core.faults import Fault
from device.core.magazine import Purpose, RealtimeMagazine
from device.core.profile import Mode, TriggerStyle
from device.core.realtime_messages import (
    EndReason,
    Inputs,
    Loaded,
    MagazineEnded,
    PressIgnored,
    PressRefusal,
    Report,
    ShotReport,
    StrokeStarted,
)
from device.core.scan_state import LoadedMagazine, Motion, ScanMode, ScanState, motion_along
from device.core.stroke_timeline import stroke_timeline


def take_magazine(state: ScanState, magazine: RealtimeMagazine, *, now_ns: int, reports: list[Report]) -> ScanState:
    """Take the magazine in: ready for the trigger; a prime starts at once."""
    pressed = state.switches.pressed and not state.press_spent
    loaded = LoadedMagazine(
        magazine=magazine,
        timeline=stroke_timeline(magazine.stroke),
        fired=0,
        opened=0,
        done=0,
        auto=magazine.mode is Mode.CONTINUOUS and pressed and not magazine.fresh_press,
        unload=False,
    )
    reports.append(Loaded(magazine.magazine_id))
    state = state._replace(mode=ScanMode.READY, loaded=loaded)
    return _start(state, loaded, now_ns=now_ns, reports=reports) if magazine.purpose is Purpose.PRIME else state


def press(state: ScanState, inputs: Inputs, *, now_ns: int, reports: list[Report]) -> ScanState:
    """Answer a press: a stroke, or a refusal that is reported and spends the press."""
    loaded = state.loaded
    refusal = _press_refusal(state, inputs, now_ns=now_ns)
    if refusal is None and loaded is not None:
        return _start(state, loaded, now_ns=now_ns, reports=reports)
    reports.append(PressIgnored(refusal if refusal is not None else PressRefusal.NOT_ARMED))
    return state._replace(press_spent=True)


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


def repeat(state: ScanState, inputs: Inputs, *, now_ns: int, reports: list[Report]) -> ScanState:
    """Between shots of a burst or of a held trigger: start the next one when it is time; or end."""
    loaded = state.loaded
    if loaded is None or not loaded.auto:
        return state
    magazine = loaded.magazine
    bound_to_trigger = magazine.mode is Mode.CONTINUOUS or magazine.trigger is TriggerStyle.HOLD
    if bound_to_trigger and not state.switches.pressed:
        return end_magazine(state, loaded, EndReason.RELEASED, reports)
    if now_ns < state.last_start_ns + magazine.interval_ns:
        return state
    if magazine.require_contact and not inputs.contact:
        # A held trigger says that he still wants to; a burst that nothing is held for must not wait for the next touch.
        return state if bound_to_trigger else end_magazine(state, loaded, EndReason.RELEASED, reports)
    return _start(state, loaded, now_ns=now_ns, reports=reports)


def _start(state: ScanState, loaded: LoadedMagazine, *, now_ns: int, reports: list[Report]) -> ScanState:
    reports.append(StrokeStarted(loaded.magazine.magazine_id, loaded.fired))
    return state._replace(
        mode=ScanMode.STROKE,
        loaded=loaded._replace(fired=loaded.fired + 1),
        motion=motion_along(loaded.timeline, now_ns),
        last_start_ns=now_ns if loaded.magazine.purpose is Purpose.INJECT else state.last_start_ns,
    )


def released(state: ScanState) -> bool:
    """Whether the operator has let go of a trigger that ends the running shot."""
    loaded = state.loaded
    if state.mode is not ScanMode.STROKE or loaded is None or loaded.magazine.purpose is Purpose.PRIME:
        return False
    return loaded.magazine.trigger is TriggerStyle.HOLD and not state.switches.pressed


def end_shot(
    state: ScanState, loaded: LoadedMagazine, motion: Motion, *, now_ns: int, reports: list[Report]
) -> ScanState:
    """The needle is home after a shot: report it; go on with the magazine, or end it."""
    reports.append(shot_report(loaded, motion, now_ns=now_ns, fault=None))
    state = state._replace(mode=ScanMode.READY, motion=None)
    if motion.cancelled:
        return end_magazine(state, loaded, EndReason.RELEASED, reports)
    if loaded.fired >= loaded.magazine.shots:
        return end_magazine(state, loaded, EndReason.COMPLETE, reports)
    if loaded.unload:
        return end_magazine(state, loaded, EndReason.UNLOADED, reports)
    return state._replace(loaded=loaded._replace(auto=loaded.magazine.mode is not Mode.SINGLE))


def shot_report(loaded: LoadedMagazine, motion: Motion, *, now_ns: int, fault: Fault | None) -> ShotReport:
    """Return what was seen of the running shot; `fault` is what broke it off."""
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


def end_magazine(state: ScanState, loaded: LoadedMagazine, reason: EndReason, reports: list[Report]) -> ScanState:
    """Report the magazine's end and forget it: idle."""
    reports.append(magazine_ended(loaded, reason))
    return state._replace(mode=ScanMode.IDLE, loaded=None, motion=None)


def magazine_ended(loaded: LoadedMagazine, reason: EndReason) -> MagazineEnded:
    """Return the report of the magazine's end."""
    return MagazineEnded(
        magazine_id=loaded.magazine.magazine_id,
        reason=reason,
        shots_fired=loaded.fired,
        opened=loaded.opened,
        done=loaded.done,
    )
