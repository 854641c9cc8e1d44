"""Support for tests of the simulated console: its wiring, a virtual clock, and gpiozero factories to compare.

A `Bench` is one gpiozero pin factory with hands and eyes on its lines: it moves inputs from outside and records
every output level in order. Three benches exist: the simulated console, gpiozero's own mock, and gpiozero's LGPIO
factory on `Chip`, which stands in for the C library at the one place where there is no hardware.
"""

import asyncio
import selectors
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest
from gpiozero.pins import Factory
from gpiozero.pins.mock import MockFactory, MockPin

from drivers.gpio.pin_factory import open_lgpio_factory
from drivers.ports import LineMap
from drivers.sim.pins import SimPinFactory
from drivers.sim.world import CONSOLE, World

CONTACT, PHASE = 21, 20
LINES = LineMap(
    trigger_a=5,
    trigger_b=6,
    stop_a=13,
    stop_b=19,
    home=26,
    contact=CONTACT,
    phase=PHASE,
    step=17,
    direction=27,
    enable=22,
    gate_1=23,
    gate_2=24,
    light=12,
    buzzer=16,
)
PULLED_UP = (5, 6, 13, 19, 26, 21, 22, 23, 24)
STEPS_PER_MM = 100
CLEARANCE_STEPS = 50

T = TypeVar("T")


def make_world(path: Path | None = None, *, lines: LineMap = LINES) -> World:
    return World.create(path, lines=lines, steps_per_mm=STEPS_PER_MM, clearance_steps=CLEARANCE_STEPS)


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: moves the virtual clock to where the wait would have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000_000_000

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("the virtual loop waits for something that can never come")
            self.now_ns += max(0, round(timeout * 1e9))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which hours pass at once; `now_ns` is the clock for everybody in it."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_ns / 1e9

    def now_ns(self) -> int:
        return self._jumping.now_ns


@contextmanager
def virtual_loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        loop.close()


def run_virtually(loop: VirtualLoop, work: Coroutine[Any, Any, T]) -> T:
    return loop.run_until_complete(work)


@dataclass(frozen=True)
class Bench:
    """One pin factory; `move` sets an input from outside, `edges` are the output levels written, in order."""

    factory: Factory
    move: Callable[[int, bool], object]
    level: Callable[[int], bool]
    edges: list[tuple[int, bool]]


@contextmanager
def sim_bench() -> Iterator[Bench]:
    world = make_world()
    edges: list[tuple[int, bool]] = []
    factory = SimPinFactory(world, on_edge=lambda line, level, now_ns: edges.append((line, level)))
    yield Bench(
        factory, lambda line, level: world.drive(line, level, pid=CONSOLE, now_ns=factory.now_ns()), world.level, edges
    )
    factory.close()
    world.close()


@contextmanager
def mock_bench() -> Iterator[Bench]:
    edges: list[tuple[int, bool]] = []

    class RecordingPin(MockPin):  # type: ignore[misc]  # gpiozero ships no types
        def _change_state(self, value: bool) -> bool:
            changed = bool(super()._change_state(value))
            if changed and self.function == "output":
                edges.append((int(self.info.name.removeprefix("GPIO")), value))
            return changed

    factory = MockFactory(pin_class=RecordingPin)

    def move(line: int, level: bool) -> None:
        pin = factory.pin(line)
        pin.drive_high() if level else pin.drive_low()

    yield Bench(factory, move, lambda line: bool(factory.pin(line).state), edges)
    factory.close()


class Chip(ModuleType):
    """The lgpio module with the console's 28 lines behind it: a claimed output takes its level, as from the kernel."""

    BOTH_EDGES, RISING_EDGE, FALLING_EDGE = 3, 1, 2
    SET_PULL_NONE, SET_PULL_UP, SET_PULL_DOWN = 1 << 7, 1 << 5, 1 << 6
    _OUT = 1 << 1

    class error(Exception):  # noqa: N801 - lgpio's own name
        pass

    def __init__(self, *, refuses: str | None = None, label: str = "pinctrl-bcm2711") -> None:
        super().__init__("lgpio")
        self.label = label
        self.levels = [line in PULLED_UP for line in range(28)]
        self.modes = [0] * 28
        self.edges: list[tuple[int, bool]] = []
        self.refuses = refuses

    def gpiochip_open(self, chip: int) -> int:
        if self.refuses is not None:
            raise self.error(self.refuses)
        return 1

    def gpiochip_close(self, handle: int) -> int:
        return 0

    def gpio_get_chip_info(self, handle: int) -> list[int | str]:
        return [0, 54, "gpiochip0", self.label]

    def gpio_claim_input(self, handle: int, line: int, flags: int = 0) -> int:
        self.modes[line] = flags
        if flags & (self.SET_PULL_UP | self.SET_PULL_DOWN):
            self.levels[line] = bool(flags & self.SET_PULL_UP)
        return 0

    def gpio_claim_output(self, handle: int, line: int, level: int = 0, flags: int = 0) -> int:
        self.modes[line] = flags | self._OUT
        return self.gpio_write(handle, line, level)

    def gpio_claim_alert(self, handle: int, line: int, edges: int, flags: int = 0) -> int:
        return 0

    def gpio_set_debounce_micros(self, handle: int, line: int, micros: int) -> int:
        return 0

    def callback(self, handle: int, line: int, edges: int, call: object) -> "Chip":
        return self

    def cancel(self) -> None:
        return None

    def gpio_free(self, handle: int, line: int) -> int:
        return 0

    def gpio_get_mode(self, handle: int, line: int) -> int:
        return self.modes[line]

    def gpio_read(self, handle: int, line: int) -> int:
        return int(self.levels[line])

    def gpio_write(self, handle: int, line: int, level: int) -> int:
        if self.levels[line] != bool(level):
            self.edges.append((line, bool(level)))
        self.levels[line] = bool(level)
        return 0


@contextmanager
def lgpio_module(chip: ModuleType | None, *, revision: int | None = 0xC03114) -> Iterator[None]:
    """Let `import lgpio` find `chip` (None: no such package) on a Pi 4B, or on no Pi (`revision` None)."""
    from gpiozero import PinUnknownPi
    from gpiozero.pins import local

    def board_revision() -> int:
        if revision is None:
            raise PinUnknownPi("unable to locate Pi revision")
        return revision

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "lgpio", chip)
        patch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
        patch.setattr(local, "get_pi_revision", board_revision)
        patch.setenv("LG_WD", "")
        try:
            yield
        finally:
            sys.modules.pop("gpiozero.pins.lgpio", None)
            local.LocalPiFactory.pins.clear()
            local.LocalPiFactory._reservations.clear()


@contextmanager
def lgpio_bench(chip: Chip, runtime_dir: Path) -> Iterator[Bench]:
    with lgpio_module(chip):
        factory = open_lgpio_factory(runtime_dir)

        def move(line: int, level: bool) -> None:
            chip.levels[line] = level

        yield Bench(factory, move, lambda line: chip.levels[line], chip.edges)
        factory.close()
