"""Start of the real-time process, by the controller only: `python -m device.realtime --link FD --page FD --pins NAME`.

The composition root of this process: the one place here that names concrete drivers. `--pins sim:PATH` takes the
simulated console at PATH, `--pins lgpio:DIR` the Pi's lines with DIR as the library's working directory. Ignores the
signals that end the controller: a stroke must not be left half done.
"""

import argparse
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

from device.logging_setup import set_up_logging
from device.realtime.link import HeartbeatPage, LinkError, RealtimeEnd
from device.realtime.process import receive_configuration, run
from device.realtime.scheduling import become_realtime, sleep_until, take_isolated_core
from drivers.gpio.pin_factory import Factory, GPIOZeroError, PinFactoryError, open_lgpio_factory
from drivers.gpio.realtime_lines import RealtimeLines

log = logging.getLogger("device.realtime")
"""By its name: what runs as a program is called `__main__`."""

IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGABRT)
"""What systemd gives to the whole control group at a stop and, as WatchdogSignal=, when the controller is silent; and
the terminal's. Only the closed link ends this process, when the needle is out."""

CONFIGURATION_DEADLINE_NS = 10_000_000_000
LOCK_DEADLINE_NS = 5_000_000_000
"""How long a real-time process of an earlier controller may still be busy taking its needle out."""

PRIORITY = 50
"""SCHED_FIFO priority: above the controller's, below the kernel's interrupt threads (50 shares with them by turns)."""


def open_factory(pins: str) -> Factory:
    """Return the pin factory named by `--pins`. Raises ValueError for an unknown name."""
    kind, _, place = pins.partition(":")
    if kind == "sim":
        from drivers.sim.pins import SimPinFactory  # noqa: PLC0415 - on the Pi no simulator is ever imported
        from drivers.sim.world import World, WorldError  # noqa: PLC0415 - as above

        try:
            return SimPinFactory(World.attach(Path(place)))
        except WorldError as error:
            raise ValueError(str(error)) from error
    if kind == "lgpio":
        try:
            return open_lgpio_factory(Path(place))
        except PinFactoryError as error:
            raise ValueError(str(error)) from error
    raise ValueError(f"unknown pins {pins!r}: sim:PATH or lgpio:DIR")


def wait_for_lines(path: Path, *, deadline_ns: int) -> int:
    """Return the descriptor of the lock that goes with the lines: two processes must never drive one needle.

    Raises TimeoutError when another one keeps it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    while time.monotonic_ns() < deadline_ns:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep_until(time.monotonic_ns() + 5_000_000, spin_ns=0)
        else:
            return descriptor
    os.close(descriptor)
    raise TimeoutError(f"{path}: another real-time process drives the lines; end it first")


def main() -> int:
    """Run the process; returns its exit code."""
    # First of all: one that is to take a needle out is not to die of what ended its controller while it starts.
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="python -m device.realtime", description=__doc__)
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--page", type=int, required=True)
    parser.add_argument("--pins", required=True)
    parser.add_argument("--lock", type=Path, required=True)
    options = parser.parse_args()
    set_up_logging(as_json=False, verbose=False)
    page = HeartbeatPage(options.page)
    os.close(options.page)
    end = RealtimeEnd(socket.socket(fileno=options.link), page)
    try:
        lock = wait_for_lines(options.lock, deadline_ns=time.monotonic_ns() + LOCK_DEADLINE_NS)
        configuration = receive_configuration(end, deadline_ns=time.monotonic_ns() + CONFIGURATION_DEADLINE_NS)
        lines = RealtimeLines(open_factory(options.pins), configuration.lines)
        core = take_isolated_core()
        if core is not None:
            log.info("on core %d, which is kept free of others", core)
        for refused in become_realtime(priority=PRIORITY, lock_memory=True):
            log.warning("not granted: %s", refused)
        run(end, lines, configuration.spec)
        os.close(lock)
    except (OSError, ValueError, LinkError, TimeoutError, GPIOZeroError) as error:
        log.error("%s", error)  # noqa: TRY400 - one line for the operator, no traceback
        return 1
    finally:
        end.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
