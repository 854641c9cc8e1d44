"""The real GPIO: gpiozero on lgpio, made on purpose and never by gpiozero's own search for a pin library.

Owns the choice of the pin library, one correction to it, and the question whether this kernel lets go of what a dead
process drove. Imports lgpio only when asked: the package is an extra,
absent where only the simulator runs, and its import starts a thread and writes a file. Never falls back: what
cannot be opened is one `PinFactoryError` that says what to do.
"""

import os
from pathlib import Path
from typing import Any, Final

from gpiozero import GPIOZeroError, PinUnknownPi
from gpiozero.pins import Factory

# The library's names that composition roots need, so that gpiozero itself is imported by drivers alone.
__all__ = ["Factory", "GPIOZeroError", "PinFactoryError", "open_lgpio_factory", "why_lines_stay_driven"]

_DEVICES: Final = Path("/dev")
_MODULES: Final = Path("/sys/module")
_RP1_LABEL: Final = "pinctrl-rp1"
"""What the chip of a Raspberry Pi 5's header calls itself; that of every earlier board is driven by pinctrl_bcm2835."""


class PinFactoryError(Exception):
    """The GPIO lines cannot be had; one line that says why and what to do next."""


def open_lgpio_factory(runtime_dir: Path) -> Factory:
    """Return gpiozero's LGPIOFactory for this Raspberry Pi; lgpio keeps its files in `runtime_dir`.

    Sets the environment variable LG_WD, which lgpio reads when it is imported. Raises PinFactoryError where the
    directory, the package, the board or the device is missing or may not be used.
    """
    if not os.access(runtime_dir, os.W_OK | os.X_OK):
        raise PinFactoryError(
            f"{runtime_dir}: the runtime directory must exist and be writable (lgpio keeps files there)"
        )
    os.environ["LG_WD"] = str(runtime_dir)
    try:
        import lgpio  # noqa: PLC0415 - see the module's docstring
        from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin  # noqa: PLC0415 - imports lgpio
    except (ImportError, AttributeError) as error:
        # AttributeError: the empty lgpio 0.0.0.2 that pip takes where no wheel fits.
        raise PinFactoryError(
            "the package lgpio (0.2.2 or later) is not installed: pip install 'mesogun[pi]', "
            "or on Raspberry Pi OS: sudo apt install python3-lgpio"
        ) from error
    try:
        factory = LGPIOFactory()
    except PinUnknownPi as error:
        raise PinFactoryError(
            "this is not a Raspberry Pi, or /proc hides it (systemd: leave ProcSubset unset); "
            "`mesogun run --sim` runs a simulated console"
        ) from error
    except lgpio.error as error:
        raise PinFactoryError(_why_no_device(str(error))) from error
    factory.pin_class = _pin_with_safe_start(lgpio, LGPIOPin)
    return factory


def why_lines_stay_driven(factory: Factory, modules: Path = _MODULES) -> str | None:
    """Return the one line that says that this kernel goes on driving a dead process' lines; None where it does not.

    `factory` is one of `open_lgpio_factory`. The parameter: raspberrypi/linux#6150. A Raspberry Pi's own kernel sets it
    unless told otherwise; both modules may be there, and one of them has the header.
    """
    import lgpio  # noqa: PLC0415 - see the module's docstring

    label = lgpio.gpio_get_chip_info(factory._handle)[3]  # noqa: SLF001 - no public one
    module = "pinctrl_rp1" if label == _RP1_LABEL else "pinctrl_bcm2835"
    parameter = modules / module / "parameters" / "persist_gpio_outputs"
    try:
        found = parameter.read_text().strip()
    except OSError:
        # Neither a kernel of Raspberry Pi nor one that knows the parameter: nothing can be told from here.
        return None
    if found not in ("Y", "1"):
        return None
    return (
        f"{parameter}: found {found}; a line whose process has died, a gate's too, stays as it was; "
        "write dtparam=strict_gpiod into /boot/firmware/config.txt and restart the computer"
    )


def _why_no_device(reason: str) -> str:
    """Return the line for a GPIO device that did not open: missing, not allowed, or lgpio's own `reason`."""
    devices = sorted(_DEVICES.glob("gpiochip*"))
    if not devices:
        return f"no {_DEVICES}/gpiochip device: is this a Raspberry Pi, and does the service allow char-gpiochip?"
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        return f"{devices[0]}: permission denied; add the user to the group gpio and log in again"
    return f"{devices[0]}: {reason}"


def _pin_with_safe_start(lgpio: Any, pin_class: Any) -> Any:
    """Return gpiozero's LGPIOPin, corrected: an output has its level from the moment in which it is one.

    gpiozero 2.0.1 first claims the line as an output, which lgpio does with level low, and writes the level
    afterwards. On this console low opens a gate and switches the motor on.
    """

    class SafeStartPin(pin_class):  # type: ignore[misc]  # gpiozero ships no types
        def output_with_state(self, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
            lgpio.gpio_claim_output(self.factory._handle, self._number, int(state))  # noqa: SLF001 - no public one

    return SafeStartPin
