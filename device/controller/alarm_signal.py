"""What the clinician sees and hears: the state's light, and over it the alarm with its repeated bursts.

Owns the alarm's state (`core.alarms`, pure) and the one timer that moves it on, by the event loop's monotonic clock.
Nothing waits for it and it waits for nothing: a burst begins when the loop is next free, behind the order that makes
safe and never behind pump or disk. After `close` no timer is left.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from device.core.alarms import NO_ALARM, silenced, turn
from device.core.faults import Fault, Priority
from drivers.ports import IndicatorsPort, Light, Sound

log = logging.getLogger(__name__)

ALARM_LIGHTS: Final = {
    Priority.HIGH: Light.ALARM_HIGH,
    Priority.MEDIUM: Light.ALARM_MEDIUM,
    Priority.LOW: Light.ALARM_LOW,
}

BURSTS: Final = {
    Priority.HIGH: Sound.ALARM_HIGH,
    Priority.MEDIUM: Sound.ALARM_MEDIUM,
    Priority.LOW: Sound.ALARM_LOW,
}


class AlarmSignal:
    """Signals the latched faults. `changed` is called when time alone changed what `values` says."""

    def __init__(self, indicators: IndicatorsPort, *, changed: Callable[[], None]) -> None:
        self._indicators = indicators
        self._changed = changed
        self._alarms = NO_ALARM
        self._faults: tuple[int, ...] = ()
        self._light = Light.OFF
        self._timer: asyncio.TimerHandle | None = None
        self._burst: asyncio.Handle | None = None

    def follow(self, light: Light, faults: tuple[int, ...]) -> None:
        """Show the state's `light`, and the alarm of these latched `faults` instead if there is one."""
        self._light = light
        if faults != self._faults:
            self._faults = faults
            self._turn()
        self._show()

    def silence(self) -> None:
        """Pause the sound for a bounded time; the light goes on."""
        self._alarms = silenced(self._alarms, _now_ns())
        self._hush()
        self._set_timer()
        self._changed()

    def once(self, priority: Priority) -> None:
        """Sound one burst for what is over already."""
        self._indicators.sound(BURSTS[priority])

    def values(self) -> dict[str, Any]:
        """Return what `status` and the live file say of the alarm; `alarm_silenced_ms` is how long it still pauses."""
        priority = self._alarms.priority
        silent_ns = self._alarms.silent_ns(_now_ns()) if priority is not None else 0
        return {
            "alarm_priority": priority.value if priority is not None else "none",
            "alarm_escalated": self._alarms.escalated,
            "alarm_silenced_ms": -(-silent_ns // 1_000_000),
        }

    def close(self) -> None:
        """Signal nothing more; light and buzzer are left as they are."""
        for handle in (self._timer, self._burst):
            if handle is not None:
                handle.cancel()
        self._timer = self._burst = None

    def _show(self) -> None:
        priority = self._alarms.priority
        self._indicators.light(self._light if priority is None else ALARM_LIGHTS[priority])

    def _turn(self) -> None:
        before = self._alarms
        self._alarms, burst = turn(before, [Fault(code) for code in self._faults], _now_ns())
        if burst is not None:
            # Not now: in front of it the order that makes safe is sent.
            self._burst = asyncio.get_running_loop().call_soon(self._indicators.sound, BURSTS[burst])
        elif before.raised and not self._alarms.raised:
            self._hush()
        if self._alarms.escalated and not before.escalated:
            log.error("nobody answered the alarm: it is high now")
        self._set_timer()

    def _hush(self) -> None:
        if self._burst is not None:
            self._burst.cancel()
        self._indicators.hush()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        turns_ns = self._alarms.turns_ns
        loop = asyncio.get_running_loop()
        self._timer = None if turns_ns is None else loop.call_at(turns_ns / 1e9, self._time_has_come)

    def _time_has_come(self) -> None:
        before = (self._alarms.priority, self._alarms.silent_until_ns)
        self._turn()
        self._show()
        if (self._alarms.priority, self._alarms.silent_until_ns) != before:
            self._changed()


def _now_ns() -> int:
    """Return the loop's monotonic clock."""
    return round(asyncio.get_running_loop().time() * 1e9)
