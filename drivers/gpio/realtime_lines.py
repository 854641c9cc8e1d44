"""The real-time process's lines: what it senses, and the two gates and the motor that it drives.

Owns the polarity of each line, so that above it there are only meanings (pressed, open, on). Never decides
anything, keeps no time and starts no thread: inputs are plain sampled devices without edge detection, because a
pin library's callbacks come from a thread of its own. Every output takes its safe level at the moment in which it
becomes an output, the pin factory providing (`output_with_state`).
"""

import contextlib
from time import monotonic_ns
from typing import Any, Final

from gpiozero import InputDevice, OutputDevice
from gpiozero.pins import Factory

from device.core.realtime_messages import Inputs, inputs_of
from drivers.ports import LineMap

STEP_HIGH_NS: Final = 2_000
"""Least width of a step pulse: common stepper drivers want 0.1 us (TMC2209) to 1.9 us (DRV8825)."""

STEP_HIGH_READS_MOST: Final = 1_000
"""Bound of the clock readings that fill the pulse; so many take far more than `STEP_HIGH_NS` by themselves."""

_OPEN: Final = False
_CLOSED: Final = True
_MOTOR_ON: Final = False
_MOTOR_OFF: Final = True


class RealtimeLines:
    """The lines of the real-time process on any gpiozero pin factory.

    Construction leaves the gates closed, the motor off and step low, each from its first moment as an output, gates
    first; it raises gpiozero's or the pin library's error, with every line taken so far let go. Methods that touch
    a line raise the pin library's error. `step_high_ns` is the width of a step's pulse; 0 where no real time passes.
    """

    def __init__(self, factory: Factory, lines: LineMap, *, step_high_ns: int = STEP_HIGH_NS) -> None:
        self._step_high_ns = step_high_ns
        with contextlib.ExitStack() as taken:

            def output(line: int, *, high: bool) -> Any:
                # A device per line reserves it; the scan then works on its pin, without the device's layers.
                return taken.enter_context(OutputDevice(line, initial_value=high, pin_factory=factory)).pin

            def sensor(line: int | None, *, pull_up: bool) -> Any:
                if line is None:
                    return None
                return taken.enter_context(InputDevice(line, pull_up=pull_up, pin_factory=factory)).pin

            self._gate_1 = output(lines.gate_1, high=_CLOSED)
            self._gate_2 = output(lines.gate_2, high=_CLOSED)
            self._enable = output(lines.enable, high=_MOTOR_OFF)
            self._step = output(lines.step, high=False)
            self._direction = output(lines.direction, high=False)
            self._trigger_a = sensor(lines.trigger_a, pull_up=True)
            self._trigger_b = sensor(lines.trigger_b, pull_up=True)
            self._stop_a = sensor(lines.stop_a, pull_up=True)
            self._stop_b = sensor(lines.stop_b, pull_up=True)
            self._home = sensor(lines.home, pull_up=True)
            self._contact = sensor(lines.contact, pull_up=True)
            self._phase = sensor(lines.phase, pull_up=False)
            self._devices = taken.pop_all()
        self._closed = False

    def read(self) -> Inputs:
        """Sample every input once, in the order of `Inputs`.

        A contact that is not wired reads touching (nothing requires it), a phase that is not wired reads 0.
        """
        contact, phase = self._contact, self._phase
        return inputs_of(
            (
                not self._trigger_a.state,
                bool(self._trigger_b.state),
                bool(self._stop_a.state),
                bool(self._stop_b.state),
                not self._home.state,
                contact is None or not contact.state,
                phase is not None and bool(phase.state),
            )
        )

    def set_gate(self, number: int, open_: bool) -> None:  # noqa: FBT001 - called as set_gate(1, True) by the scan
        """Open or close gate `number`; raises ValueError for a gate other than 1 and 2."""
        level = _OPEN if open_ else _CLOSED
        if number == 1:
            self._gate_1.state = level
        elif number == 2:
            self._gate_2.state = level
        else:
            raise ValueError(f"gate {number}: there are gates 1 and 2")

    def set_enable(self, on: bool) -> None:  # noqa: FBT001 - a setter's only datum
        """Switch the motor's current on or off."""
        self._enable.state = _MOTOR_ON if on else _MOTOR_OFF

    def set_direction(self, inward: bool) -> None:  # noqa: FBT001 - a setter's only datum
        """Choose the direction of the steps to come: inward is toward the skin."""
        self._direction.state = inward

    def pulse_step(self) -> None:
        """Give one step: high for at least `step_high_ns`, then low.

        The pulse is as wide as promised however fast the machine is: its time runs from a clock reading taken when
        the line is already high.
        """
        step = self._step
        step.state = True
        if self._step_high_ns:
            until_ns = monotonic_ns() + self._step_high_ns
            for _ in range(STEP_HIGH_READS_MOST):
                if monotonic_ns() >= until_ns:
                    break
        step.state = False

    def safe(self) -> None:
        """Close both gates, then switch the motor off, then set step low.

        Goes through all of them even where one fails; then raises the first failure.
        """
        failures: list[Exception] = []
        for pin, level in (
            (self._gate_1, _CLOSED),
            (self._gate_2, _CLOSED),
            (self._enable, _MOTOR_OFF),
            (self._step, False),
        ):
            try:
                pin.state = level
            except Exception as failure:  # noqa: BLE001 - the next line must be made safe whatever this one raised
                failures.append(failure)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Make the lines safe and let them go to their pulls. Closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        with self._devices:
            self.safe()
