"""The simulated console's lines as gpiozero pins: the same devices run on them as on a Raspberry Pi.

Owns nothing but the pins' function and internal pull; levels live in the `World`, which several processes share.
Starts no thread and delivers no edge by itself: a level is sampled when it is read, and `SimPinFactory.poll` calls
gpiozero's event handlers in the caller's thread. A line that this process drives is entered under its pid, so that
the keeper can let it go when the process dies. gpiozero's own checks (a pin used twice, writing an input) stay.
"""

import os
import time
from collections.abc import Callable
from types import MethodType
from typing import Any, Final
from weakref import WeakMethod

from gpiozero import PinFixedPull, PinInvalidBounce, PinInvalidEdges, PinInvalidFunction, PinInvalidPin, PinInvalidPull
from gpiozero import PinSetInput as PinIsInput
from gpiozero.pins import Factory, Pin
from gpiozero.pins.pi import PiBoardInfo

from drivers.sim.world import World

BOARD_REVISION: Final = 0xC03114
"""The board that the simulated console pretends to be: a Raspberry Pi 4B, whose header carries BCM 0 ... 27."""

_PULLS: Final = {"up": True, "down": False, "floating": None}
_EDGES: Final = ("none", "rising", "falling", "both")

EdgeObserver = Callable[[int, bool, int], None]
"""Called with line, level and time (ns) after each level change that this process made."""


class SimPin(Pin):  # type: ignore[misc]  # gpiozero ships no types
    """One line of the simulated console as a gpiozero pin; digital only.

    Raises gpiozero's own errors: PinSetInput for writing an input, PinFixedPull for an internal pull against the
    console's own resistor, PinInvalidFunction, PinInvalidPull, PinInvalidEdges and PinInvalidBounce.
    """

    def __init__(self, factory: "SimPinFactory", info: Any) -> None:
        super().__init__()
        self._info = info
        self._line = int(info.name.removeprefix("GPIO"))
        self._world = factory.world
        self._now_ns = factory.now_ns
        self._on_edge = factory.on_edge
        self._output = False
        self._pid = 0
        self._pull = "floating"
        self._bounce_s: float | None = None
        self._edges = "both"
        self._edges_seen = self._world.edges(self._line)
        self._when_changed: Callable[[], Callable[[int, int], None] | None] | None = None

    def __repr__(self) -> str:
        return f"SimPin({self._info.name})"

    def close(self) -> None:
        """Let the line go to its pull and forget the event handler. Closing twice is allowed."""
        self._when_changed = None
        self._pull = "floating"
        self._set_function("input")

    def output_with_state(self, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
        """Take the line as an output that has `state` from its first moment."""
        self._output = True
        self._pid = os.getpid()
        self._set_state(state)

    def _get_info(self) -> Any:
        return self._info

    def _get_function(self) -> str:
        return "output" if self._output else "input"

    def _set_function(self, value: str) -> None:
        if value == "output":
            self.output_with_state(self._world.level(self._line))
        elif value != "input":
            raise PinInvalidFunction(f"function of {self!r} must be input or output, not {value!r}")
        elif self._output:
            self._output = False
            before = self._world.level(self._line)
            self._world.release(self._line, self._now_ns())
            self._tell(before=before)

    def _get_state(self) -> bool:
        return self._world.level(self._line)

    def _set_state(self, value: float) -> None:
        if not self._output:
            raise PinIsInput(f"cannot set state of pin {self!r}: it is an input")
        now_ns = self._now_ns()
        level = value != 0
        if self._world.drive(self._line, level, pid=self._pid, now_ns=now_ns) and self._on_edge is not None:
            self._on_edge(self._line, level, now_ns)

    # Straight to the methods: gpiozero's own property goes through two more calls, at every step edge.
    state = property(_get_state, _set_state)

    def _tell(self, *, before: bool) -> None:
        level = self._world.level(self._line)
        if self._on_edge is not None and level is not before:
            self._on_edge(self._line, level, self._world.changed_ns(self._line))

    def _get_pull(self) -> str:
        return self._pull

    def _set_pull(self, value: str) -> None:
        if self._output:
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        if value not in _PULLS:
            raise PinInvalidPull(f"pull of {self!r} must be up, down or floating, not {value!r}")
        up, board = _PULLS[value], self._world.board_pull(self._line)
        if board is None and up is not None:
            self._world.set_pull(self._line, up, self._now_ns())
        elif board is not None and up is not None and up is not board:
            resistor = "up" if board else "down"
            raise PinFixedPull(
                f"{self!r} has a pull-{resistor} resistor on the console; pull {value!r} works against it"
            )
        self._pull = value

    def _get_bounce(self) -> float | None:
        return self._bounce_s

    def _set_bounce(self, value: float | None) -> None:
        """Accept a bounce time; the simulated switches do not bounce."""
        if value is not None and value < 0:
            raise PinInvalidBounce(f"bounce of {self!r} must be None or 0 and more, not {value!r}")
        self._bounce_s = value

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        if value not in _EDGES:
            raise PinInvalidEdges(f"edges of {self!r} must be one of {', '.join(_EDGES)}, not {value!r}")
        self._edges = value

    def _get_when_changed(self) -> Callable[[int, int], None] | None:
        return None if self._when_changed is None else self._when_changed()

    def _set_when_changed(self, value: Callable[[int, int], None] | None) -> None:
        # A bound method is held weakly, as gpiozero's own pins do: a forgotten device must be able to close itself.
        self._edges_seen = self._world.edges(self._line)
        if value is None:
            self._when_changed = None
        elif isinstance(value, MethodType):
            self._when_changed = WeakMethod(value)
        else:
            self._when_changed = lambda: value

    def call_when_changed(self) -> None:
        """Call the event handler if the line has had a wanted edge since the last call."""
        handler = self._get_when_changed()
        if handler is None:
            return
        edges = self._world.edges(self._line)
        if edges == self._edges_seen:
            return
        self._edges_seen = edges
        level = self._world.level(self._line)
        if self._edges in ("both", "rising" if level else "falling"):
            handler(self._world.changed_ns(self._line), int(level))


class SimPinFactory(Factory):  # type: ignore[misc]  # gpiozero ships no types
    """gpiozero pins on a simulated console.

    `now_ns` is the clock that stamps this process's changes; `on_edge` is told of each of them.
    """

    def __init__(
        self, world: World, *, now_ns: Callable[[], int] = time.monotonic_ns, on_edge: EdgeObserver | None = None
    ) -> None:
        super().__init__()
        self.world = world
        self.now_ns = now_ns
        self.on_edge = on_edge
        self._board_info = PiBoardInfo.from_revision(BOARD_REVISION)
        self._pins: dict[int, SimPin] = {}

    def close(self) -> None:
        """Let every line that this factory drives go to its pull. The world stays open."""
        for pin in self._pins.values():
            pin.close()

    def pin(self, name: int | str) -> SimPin:
        """Return the pin of that name (17, "GPIO17", "BOARD11"); raises PinInvalidPin for any other name."""
        for _header, info in self.board_info.find_pin(name):
            if not info.name.startswith("GPIO"):
                break
            line = int(info.name.removeprefix("GPIO"))
            if line not in self._pins:
                self._pins[line] = SimPin(self, info)
            return self._pins[line]
        raise PinInvalidPin(f"{name} is not a GPIO of the simulated console")

    def poll(self) -> None:
        """Call, in this thread, the event handlers of the pins whose level has changed since the last poll."""
        for pin in tuple(self._pins.values()):
            pin.call_when_changed()

    def ticks(self) -> int:
        """Return the factory's clock, in ns."""
        return self.now_ns()

    def ticks_diff(self, later: int, earlier: int) -> float:
        """Return the seconds between two `ticks`."""
        return (later - earlier) / 1e9

    def _get_board_info(self) -> Any:
        return self._board_info
