"""The clinician's light and buzzer: steady, flashing and sounding by the event loop's timers.

Owns the two lines and their patterns. Never raises and never blocks: a lamp or buzzer that fails is logged once and
then left alone, because no safety action may depend on it. Starts no thread (gpiozero's `blink` would). A lit time
longer than one flash means `Light.ON` and nothing else: this is how one knows at a glance that the gun is ready.
"""

import asyncio
import logging
from collections.abc import Callable
from itertools import chain, cycle
from typing import Any, Final

from gpiozero import LED, Buzzer
from gpiozero.pins import Factory

from drivers.ports import Light, LineMap, Sound

_logger = logging.getLogger(__name__)

FLASH_MS: Final = 40
"""Lit time of every flash. IEC 60601-1-8 lights an alarm for 20 to 60 % of the time, and a low one steadily: that would
be taken for `Light.ON` by whoever looks while it is lit. So the rate alone is the standard's."""

LIGHTS_MS: Final[dict[Light, tuple[int, ...]]] = {
    # On, off, on, ... in ms, for ever. High: 2 Hz, of 1.4 to 2.8; medium: a pair at 0.625 Hz, of 0.4 to 0.8.
    # A pair is an alarm, a single flash at less than any alarm's rate is the gun at work.
    Light.SLOW: (FLASH_MS, 2_960),
    Light.ALARM_LOW: (FLASH_MS, 160, FLASH_MS, 3_760),
    Light.ALARM_MEDIUM: (FLASH_MS, 160, FLASH_MS, 1_360),
    Light.ALARM_HIGH: (FLASH_MS, 460),
}

SOUNDS_MS: Final[dict[Sound, tuple[int, ...]]] = {
    # On, off, on, ... in ms. Alarms after IEC 60601-1-8: number, width and spacing of the pulses of a burst.
    # High: twice five pulses, 3 + 2, of 75 to 200 ms; medium: three of 125 to 250 ms; low: one or two of those.
    Sound.ALARM_HIGH: (150, 100, 150, 100, 150, 350, 150, 100, 150, 700, 150, 100, 150, 100, 150, 350, 150, 100, 150),
    Sound.ALARM_MEDIUM: (200, 200, 200, 200, 200),
    Sound.ALARM_LOW: (200, 200, 200),
    Sound.REFUSED: (60, 80, 60),
    Sound.DONE: (60,),
    # One long pulse: no alarm has a single one, and one or two short ones say other things.
    Sound.REGION: (300,),
}

_RANKS: Final = {Sound.ALARM_LOW: 1, Sound.ALARM_MEDIUM: 2, Sound.ALARM_HIGH: 3}
"""The bursts that nothing lesser cuts off: a hammered trigger must not mask an alarm."""


class _Blinker:
    """One on/off device that follows a pattern of durations in ms, beginning with on."""

    def __init__(self, name: str, make_device: Callable[[], Any]) -> None:
        self._name = name
        self._device: Any = None
        self._failed = False
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._device = make_device()
        except Exception as failure:  # noqa: BLE001 - a lamp that cannot be had must not stop the gun's safety
            self._fail(failure)

    @property
    def in_pattern(self) -> bool:
        """Whether a pattern is under way."""
        return self._timer is not None

    def steady(self, *, on: bool) -> None:
        """End the pattern and stay on or off."""
        self._cancel()
        self._write(on=on)

    def pattern(self, durations_ms: tuple[int, ...], *, forever: bool) -> None:
        """Begin the pattern anew; it ends off unless it goes on forever."""
        self._cancel()
        durations = cycle(durations_ms) if forever else chain(durations_ms)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as failure:
            self._fail(failure)
            return
        on = True

        def turn() -> None:
            nonlocal on
            duration_ms = next(durations, None)
            self._write(on=on and duration_ms is not None)
            self._timer = None if duration_ms is None else loop.call_later(duration_ms / 1000, turn)
            on = not on

        turn()

    def close(self) -> None:
        """Switch off and release the line."""
        self.steady(on=False)
        device, self._device = self._device, None
        if device is not None:
            try:
                device.close()
            except Exception as failure:  # noqa: BLE001 - see __init__
                self._fail(failure)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self, *, on: bool) -> None:
        if self._device is None:
            return
        try:
            self._device.value = on
        except Exception as failure:  # noqa: BLE001 - see __init__
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        if not self._failed:
            self._failed = True
            _logger.error("the %s does not work, the gun goes on without it: %s", self._name, failure)


class Indicators:
    """The status light and the buzzer; implements `drivers.ports.IndicatorsPort`.

    Patterns need a running event loop and use nothing of it but `call_later`.
    """

    def __init__(self, factory: Factory, lines: LineMap) -> None:
        self._lamp = _Blinker("status light", lambda: LED(lines.light, pin_factory=factory))
        self._buzzer = _Blinker("buzzer", lambda: Buzzer(lines.buzzer, pin_factory=factory))
        self._light = Light.OFF
        self._rank = 0

    def light(self, light: Light) -> None:
        """Show `light` until told otherwise; telling the same again does not disturb its pattern."""
        if light is self._light:
            return
        self._light = light
        durations_ms = LIGHTS_MS.get(light)
        if durations_ms is None:
            self._lamp.steady(on=light is Light.ON)
        else:
            self._lamp.pattern(durations_ms, forever=True)

    def sound(self, sound: Sound) -> None:
        """Play `sound` once, cutting off an earlier one; not an alarm's burst of a higher rank, which plays on."""
        rank = _RANKS.get(sound, 0)
        if self._buzzer.in_pattern and rank < self._rank:
            return
        self._rank = rank
        self._buzzer.pattern(SOUNDS_MS[sound], forever=False)

    def hush(self) -> None:
        """End what is being played."""
        self._buzzer.steady(on=False)

    def close(self) -> None:
        """Switch both off and release the lines. Closing twice is allowed."""
        self._light = Light.OFF
        self._lamp.close()
        self._buzzer.close()
