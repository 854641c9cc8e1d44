"""The simulated pump's inside: valve, plunger, command buffer and interpreter, in a time that is handed in.

Owns what moves and when, and the errors that movement brings. Knows no frame and no answer: `pump_firmware` speaks.
Every turn of its loop moves the clock on or ends, so that no string, not even an endless loop, can hold it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from drivers.sim.plunger import HALF_INCREMENT, PlungerMove, Speeds
from drivers.sim.pump_commands import INVALID_OPERAND, CommandString, Instruction

STROKE_HALF_INCREMENTS: Final = 6000
STROKES: Final = (3000, 24000)
"""Increments per stroke in N0 and N1."""
INSTRUCTION_NS: Final = 50_000
"""What the interpreter spends on one instruction; bounds what an endless loop can do in a given time."""
GRAIN_NS: Final = 1_000_000
"""Longest plunger movement reported as one: fluid goes where the needle is at that moment."""
MOVING_LOOK_NS: Final = 500_000
GATE_LOOK_NS: Final = 400_000
"""How often a halted pump looks at its gate."""
VALVE_NS: Final = 100_000_000
INITIALISING_TOP_SPEED: Final = 2000
LOOPS_MOST: Final = 10
POWER_ON_SPEEDS: Final = Speeds(start=900, top=1400, cutoff=900, slope=14)
INVALID_SEQUENCE: Final = 4
INITIALISING_FAILED: Final = 1
NOT_INITIALISED: Final = 7
OVERLOAD: Final = 9
NOT_ALLOWED: Final = 11
NEED_HOMING: Final = frozenset({INITIALISING_FAILED, NOT_INITIALISED, OVERLOAD, 10})
"""Errors that last until the plunger is initialised."""


class Surroundings(Protocol):
    """What the pump touches."""

    def gate_low(self, number: int) -> bool:
        """Return whether TTL input `number` (1 or 2) is low."""

    def set_phase(self, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Set TTL output 1."""

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        """Take note of a small plunger movement, in increments; decreasing dispenses."""


class Fluid(Protocol):
    """The fluid path behind the needle's side of the valve, where it is more than rigid (`fluid.FluidPath`).

    It hears of the plunger's movements through the surroundings.
    """

    @property
    def overloaded(self) -> bool:
        """Whether the pressure is more than the drive can push against."""

    def use_scale(self, increments: int) -> None:
        """Count positions in `increments` of the full stroke from now on."""

    def flow_until(self, now_ns: int) -> None:
        """Let fluid flow until `now_ns`."""

    def next_event_ns(self, now_ns: int) -> int | None:
        """Return when `flow_until` should be called next; None: the fluid is at rest."""


@dataclass(slots=True)
class Troubles:
    """What goes wrong next; each count falls as it happens. Times in ns, positions in increments."""

    drop_frames: int = 0
    drop_answers: int = 0
    delay_answers: int = 0
    delay_ns: int = 0
    overloads: int = 0
    lose_increments: int = 0
    flip_answers: int = 0
    flip_bit: int = 13
    """Which bit of the answer is flipped, counted from its first byte's lowest bit, modulo its length."""


class Valve(Enum):
    """Where the valve connects the syringe; unknown until the pump is initialised."""

    UNKNOWN = "?"
    VIAL = "I"
    NEEDLE = "O"
    BYPASS = "B"


@dataclass(slots=True)
class _Buffer:
    """The command buffer: what is left of the string begins at `place`."""

    instructions: tuple[Instruction, ...] = ()
    place: int = 0
    running: bool = False
    loops: list[tuple[int, int]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return self.place >= len(self.instructions) and not self.running

    def clear(self) -> None:
        self.instructions, self.place, self.running = (), 0, False
        self.loops.clear()


@dataclass(slots=True)
class _Travel:
    """A plunger move under way."""

    move: PlungerMove
    start: int
    target: int
    initialises: bool
    stalls_after: int | None
    reported: int = 0


class PumpMechanics:
    """One pump just switched on: not initialised, valve unknown, plunger at `position` in coarse increments."""

    def __init__(
        self,
        surroundings: Surroundings,
        troubles: Troubles,
        *,
        position: int,
        fluid: Fluid | None = None,
        told_of_gates: bool = False,
        look_ns: int = MOVING_LOOK_NS,
    ) -> None:
        self._told_of_gates = told_of_gates
        self._look_ns = look_ns
        self._grain_ns = max(GRAIN_NS, look_ns)
        self.troubles = troubles
        self.position = position
        self.commanded = position
        self.scale = 0
        self.valve = Valve.UNKNOWN
        self.lasting_error = NOT_INITIALISED
        self.passing_error = 0
        self._surroundings = surroundings
        self._fluid = fluid
        if fluid is not None:
            fluid.use_scale(self.stroke)
        self._speeds = POWER_ON_SPEEDS
        self._buffer = _Buffer()
        self._travel: _Travel | None = None
        self._wait_until_ns: int | None = None
        self._halt: int | None = None
        self._clock_ns = 0

    @property
    def stroke(self) -> int:
        """Increments of the full stroke in the present scale."""
        return STROKES[self.scale]

    @property
    def coarse_position(self) -> int:
        """The plunger's position in coarse increments, rounded down."""
        return self.position * STROKES[0] // self.stroke

    @property
    def busy(self) -> bool:
        """Whether a program runs, halted at a gate or not."""
        return self._buffer.running

    @property
    def buffer_empty(self) -> bool:
        """Whether nothing is left that `R` could run."""
        return self._buffer.empty

    @property
    def error(self) -> int:
        """The error bits of the next answer."""
        return self.passing_error or self.lasting_error

    def next_event_ns(self, now_ns: int) -> int | None:
        """Return when `run_until` should be called next; None: nothing is under way."""
        own_ns = self._next_own_event_ns(now_ns)
        fluid_ns = None if self._fluid is None else self._fluid.next_event_ns(now_ns)
        if own_ns is None or fluid_ns is None:
            return fluid_ns if own_ns is None else own_ns
        return min(own_ns, fluid_ns)

    def _next_own_event_ns(self, now_ns: int) -> int | None:
        if self._travel is not None:
            return min(now_ns + self._look_ns, max(now_ns + 1, self._travel.move.ends_ns))
        if self._wait_until_ns is not None:
            return self._wait_until_ns
        if self._halt is not None:
            asleep = self._told_of_gates and self._halt and not self._surroundings.gate_low(self._halt)
            return None if asleep else now_ns + GATE_LOOK_NS
        return self._clock_ns + INSTRUCTION_NS if self._buffer.running else None

    def take(self, string: CommandString, now_ns: int) -> None:
        """Put `string` into the buffer in place of what was there, and begin it where it says so."""
        self._buffer = _Buffer(string.instructions, running=string.runs)
        self._clock_ns = now_ns

    def terminate(self) -> None:
        """Stop at once; the instruction under way is given up, the rest of the string stays for `R`."""
        self.passing_error = 0
        travel, self._travel = self._travel, None
        self._wait_until_ns = self._halt = None
        self._buffer.running = False
        if travel is not None:
            away = 1 if travel.target > travel.start else -1
            self.commanded = self.position + away * self.troubles.lose_increments

    def resume(self) -> None:
        """Let a halted program pass, or run what is left in the buffer."""
        if self._halt is not None:
            self._halt = None
        elif not self._buffer.empty:
            self._buffer.running = True

    def run_until(self, now_ns: int) -> None:
        """Let time pass until `now_ns`."""
        self._run_program_until(now_ns)
        if self._fluid is not None:
            self._fluid.flow_until(now_ns)

    def _run_program_until(self, now_ns: int) -> None:
        while self._clock_ns < now_ns:  # every turn moves the clock on, or ends
            if not self._buffer.running:
                self._clock_ns = now_ns
            elif self._travel is not None:
                self._travel_on(self._travel, min(now_ns, self._clock_ns + self._grain_ns), now_ns)
            elif self._wait_until_ns is not None:
                self._clock_ns = min(now_ns, self._wait_until_ns)
                if self._clock_ns >= self._wait_until_ns:
                    self._wait_until_ns = None
            elif self._halt is not None:
                self._clock_ns = now_ns  # the gate was not seen earlier
                if self._halt and self._surroundings.gate_low(self._halt):
                    self._halt = None
            elif now_ns - self._clock_ns < INSTRUCTION_NS:
                return
            else:
                self._clock_ns += INSTRUCTION_NS
                self._next_instruction()

    def _travel_on(self, travel: _Travel, until_ns: int, now_ns: int) -> None:
        away = 1 if travel.target > travel.start else -1
        travelled = travel.move.travelled(until_ns)
        stalled = travel.stalls_after is not None and travelled >= travel.stalls_after
        if stalled and travel.stalls_after is not None:
            travelled = travel.stalls_after
        if travelled != travel.reported:
            before, self.position = self.position, travel.start + away * travelled
            travel.reported = travelled
            self._surroundings.plunger_moved(
                before, self.position, needle_side=self.valve is not Valve.VIAL, now_ns=min(until_ns, now_ns)
            )
            stalled = stalled or self._is_held_up(away)
        self._clock_ns = travel.move.now_ns if travel.move.done else until_ns
        if stalled:
            self._abort(INITIALISING_FAILED if travel.initialises else OVERLOAD)
        elif travel.move.done:
            self._travel = None
            if travel.initialises:
                self.lasting_error = 0
                self.commanded = self.position

    def _is_held_up(self, away: int) -> bool:
        """Whether the plunger stalls against the pressure that it has just raised."""
        dispensing = away < 0 and self.valve is Valve.NEEDLE
        return dispensing and self._fluid is not None and self._fluid.overloaded

    def _abort(self, error: int) -> None:
        self._travel = None
        self._buffer.clear()
        if error in NEED_HOMING:
            self.lasting_error = error
        else:
            self.passing_error = error

    def _next_instruction(self) -> None:
        buffer = self._buffer
        if buffer.place >= len(buffer.instructions):
            buffer.clear()
            return
        instruction = buffer.instructions[buffer.place]
        buffer.place += 1
        letter, operand = instruction.letter, instruction.operand
        match letter:
            case "A":
                self._move_to(operand)
            case "P":
                self._move_to(self.position + operand)
            case "D":
                self._move_to(self.position - operand)
            case "Z" | "Y":
                self._initialise()
            case "z":
                self.lasting_error = 0
                self.valve = Valve.NEEDLE
            case "I" | "O" | "B":
                self._turn_valve(Valve(letter))
            case "M":
                self._wait_until_ns = self._clock_ns + operand * 1_000_000
            case "H":
                self._halt = operand
            case "J":
                self._surroundings.set_phase(bool(operand & 1), self._clock_ns)
            case "g" | "G":
                self._loop(letter, operand)
            case _:
                self._set(letter, operand)

    def _set(self, letter: str, operand: int) -> None:
        speeds = self._speeds
        match letter:
            case "v":
                self._speeds = Speeds(operand, speeds.top, speeds.cutoff, speeds.slope)
            case "V":
                self._speeds = Speeds(speeds.start, operand, speeds.cutoff, speeds.slope)
            case "c":
                self._speeds = Speeds(speeds.start, speeds.top, operand, speeds.slope)
            case "L":
                self._speeds = Speeds(speeds.start, speeds.top, speeds.cutoff, operand)
            case "N" if operand != self.scale:
                self.position = self.position * STROKES[operand] // self.stroke
                self.commanded = self.position
                self.scale = operand
                if self._fluid is not None:
                    self._fluid.use_scale(self.stroke)
            case _:
                pass  # K: the pump's own compensation; its host here turns the plunger itself

    def _move_to(self, target: int) -> None:
        if not 0 <= target <= self.stroke:
            self._abort(INVALID_OPERAND)
        elif self.valve in (Valve.BYPASS, Valve.UNKNOWN):
            self._abort(NOT_ALLOWED)
        else:
            stalls_after = None
            if self.troubles.overloads > 0:
                self.troubles.overloads -= 1
                stalls_after = abs(target - self.position) // 2
            self._travel_to(target, self._speeds, initialises=False, stalls_after=stalls_after)

    def _initialise(self) -> None:
        self.valve = Valve.NEEDLE
        self.lasting_error = NOT_INITIALISED
        speeds = Speeds(self._speeds.start, INITIALISING_TOP_SPEED, self._speeds.cutoff, self._speeds.slope)
        self._travel_to(0, speeds, initialises=True, stalls_after=None)

    def _travel_to(self, target: int, speeds: Speeds, *, initialises: bool, stalls_after: int | None) -> None:
        unit = STROKE_HALF_INCREMENTS * HALF_INCREMENT // self.stroke
        move = PlungerMove(abs(target - self.position), unit=unit, speeds=speeds, began_ns=self._clock_ns)
        self._travel = _Travel(move, self.position, target, initialises, stalls_after)
        self.commanded = target

    def _turn_valve(self, valve: Valve) -> None:
        if valve is not self.valve:
            self.valve = valve
            self._wait_until_ns = self._clock_ns + VALVE_NS

    def _loop(self, letter: str, operand: int) -> None:
        loops, place = self._buffer.loops, self._buffer.place
        if letter == "g":
            if len(loops) >= LOOPS_MOST:
                self._abort(INVALID_SEQUENCE)
            else:
                loops.append((place, 0))
        elif not loops:
            self._abort(INVALID_SEQUENCE)
        else:
            start, done = loops.pop()
            if operand == 0 or done + 1 < operand:
                loops.append((start, done + 1))
                self._buffer.place = start
