"""The simulated pump: real bytes in, real bytes out, a plunger that takes its time.

Owns what a Cavro pump says: frames and repeats, acknowledgements and reports, and the faults of the line that a test
asks for; what it does is `pump_mechanics`'. Time is an argument; the caller says when it is, and `next_event_ns` tells
when to call again. Shares with the drivers the codecs alone, never the session or the planner. Where the manual leaves
room it takes the side that hurts a careless host: `ready` is always set outside answers to `Q`, a repeated frame is
acknowledged without data, a killed program stays for the next `R`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from drivers.pump.cavro_codec import Answer, Command, command_reader
from drivers.pump.dt_codec import DtAnswer, DtCommand, dt_command_reader
from drivers.sim.pump_commands import (
    INITIALISES,
    INVALID_COMMAND,
    INVALID_OPERAND,
    MOVES,
    OVERFLOW,
    CommandString,
    RefusedString,
    parse_string,
)
from drivers.sim.pump_mechanics import MOVING_LOOK_NS, STROKES, Fluid, PumpMechanics, Surroundings, Troubles, Valve

__all__ = ["IDENTITY", "STROKES", "Dialect", "Fluid", "PumpFirmware", "Surroundings", "Troubles", "Valve"]

IDENTITY: Final = "mesogun simulated XCalibur"
TURN_ROUND_NS: Final = 2_000_000
ANSWERS_MOST: Final = 64


class Dialect(Enum):
    """A protocol that the pump answers to."""

    CAVRO = "cavro"
    DT = "dt"


class PumpFirmware:
    """One pump at `address` (1..15), just switched on: not initialised, valve unknown, plunger at `position` (N0).

    `operand_error_at_once` False: a bad operand is acknowledged without error and shows at the next `Q`. `fluid`: the
    path that `surroundings` carry behind the needle's side of the valve; None where they are rigid. `told_of_gates`:
    `advance` is called soon after a gate moved, so that a pump that is halted at a closed one has no event of its own.
    `look_ns`: how often a running move is followed; its fluid goes where the needle is then. `encoder`: what it
    reads of the plunger at a place, which `?4` reports; None where it reads the truth.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        dialects: Iterable[Dialect] = (Dialect.CAVRO, Dialect.DT),
        address: int = 1,
        position: int = 0,
        troubles: Troubles | None = None,
        operand_error_at_once: bool = True,
        fluid: Fluid | None = None,
        told_of_gates: bool = False,
        look_ns: int = MOVING_LOOK_NS,
        encoder: Callable[[int], int] | None = None,
    ) -> None:
        self._surroundings = surroundings
        self._encoder = encoder
        self._told_of_gates = told_of_gates
        self._look_ns = look_ns
        self._dialects = frozenset(dialects)
        self._address = address
        self._operand_error_at_once = operand_error_at_once
        self._answers: deque[tuple[int, bytes]] = deque(maxlen=ANSWERS_MOST)
        self._fluid = fluid
        self._mechanics = PumpMechanics(
            surroundings,
            troubles or Troubles(),
            position=position,
            fluid=fluid,
            told_of_gates=told_of_gates,
            look_ns=look_ns,
        )
        self._oem = command_reader()
        self._dt = dt_command_reader()
        self._oem_only = Dialect.DT not in self._dialects
        self._last_sequence: int | None = None

    @property
    def position(self) -> int:
        """Where the plunger really is, in increments of the present scale."""
        return self._mechanics.position

    @property
    def valve(self) -> Valve:
        """Where the valve really is."""
        return self._mechanics.valve

    @property
    def error(self) -> int:
        """The error of the next answer."""
        return self._mechanics.error

    @property
    def busy(self) -> bool:
        """Whether a program runs, halted at a gate or not."""
        return self._mechanics.busy

    @property
    def troubles(self) -> Troubles:
        """What goes wrong next; may be changed and replaced at any time."""
        return self._mechanics.troubles

    @troubles.setter
    def troubles(self, troubles: Troubles) -> None:
        self._mechanics.troubles = troubles

    def power_cycle(self, now_ns: int) -> None:
        """Switch off and on: all is forgotten but where the plunger is."""
        before = self._mechanics
        before.run_until(now_ns)
        self._mechanics = PumpMechanics(
            self._surroundings,
            before.troubles,
            position=before.coarse_position,
            fluid=self._fluid,
            told_of_gates=self._told_of_gates,
            look_ns=self._look_ns,
        )
        self._oem.clear()
        self._dt.clear()
        self._oem_only = Dialect.DT not in self._dialects
        self._last_sequence = None
        self._answers.clear()
        self._surroundings.set_phase(False, now_ns)  # noqa: FBT003 - the level after power-on

    # Bytes and time

    def receive(self, data: bytes, now_ns: int) -> None:
        """Take bytes that arrived at `now_ns`."""
        self._mechanics.run_until(now_ns)
        if Dialect.CAVRO in self._dialects:
            for command in self._oem.feed(data):
                if command.address == self._address and not self._drops_frame():
                    self._oem_only = True
                    self._take_oem(command, now_ns)
        if not self._oem_only:
            for dt_command in self._dt.feed(data):
                if dt_command.address == self._address and not self._drops_frame():
                    self._take_dt(dt_command, now_ns)

    def advance(self, now_ns: int) -> bytes:
        """Let time pass until `now_ns` and return the bytes that the pump has begun to answer by then."""
        self._mechanics.run_until(now_ns)
        due = bytearray()
        while self._answers and self._answers[0][0] <= now_ns:
            due += self._answers.popleft()[1]
        return bytes(due)

    def next_event_ns(self, now_ns: int) -> int | None:
        """Return when `advance` should be called next; None: not before new bytes."""
        answer_ns = self._answers[0][0] if self._answers else None
        events = [event for event in (answer_ns, self._mechanics.next_event_ns(now_ns)) if event is not None]
        return max(now_ns, min(events)) if events else None

    def _drops_frame(self) -> bool:
        if self.troubles.drop_frames > 0:
            self.troubles.drop_frames -= 1
            return True
        return False

    def _take_oem(self, command: Command, now_ns: int) -> None:
        is_repeat = command.repeat and command.sequence == self._last_sequence
        self._last_sequence = command.sequence
        if is_repeat:
            ready, error, data = True, self._mechanics.error, ""
        else:
            ready, error, data = self._carry_out(command.data, now_ns)
        self._answer(Answer(ready, error, data).to_bytes(), now_ns)

    def _take_dt(self, command: DtCommand, now_ns: int) -> None:
        ready, error, data = self._carry_out(command.data, now_ns)
        self._answer(DtAnswer(ready, error, data).to_bytes(), now_ns)

    def _answer(self, frame: bytes, now_ns: int) -> None:
        troubles = self.troubles
        due_ns = now_ns + TURN_ROUND_NS
        if troubles.drop_answers > 0:
            troubles.drop_answers -= 1
            return
        if troubles.delay_answers > 0:
            troubles.delay_answers -= 1
            due_ns += troubles.delay_ns
        if troubles.flip_answers > 0:
            troubles.flip_answers -= 1
            bit = troubles.flip_bit % (8 * len(frame))
            flipped = bytearray(frame)
            flipped[bit // 8] ^= 1 << bit % 8
            frame = bytes(flipped)
        if self._answers:
            due_ns = max(due_ns, self._answers[-1][0])  # a pump answers in order
        self._answers.append((due_ns, frame))

    # What the words mean

    def _carry_out(self, text: str, now_ns: int) -> tuple[bool, int, str]:
        """Carry out what may come at any time; return (ready, error, data) of the answer."""
        data = ""
        if text == "Q":
            return not self._mechanics.busy, self._mechanics.error, ""
        if text == "T":
            self._mechanics.terminate()
        elif text == "&" or text.startswith("?"):
            report = self._report(text)
            if report is None:
                return True, INVALID_COMMAND, ""
            data = report
        elif text == "R":
            self._mechanics.resume()
        elif self._mechanics.busy:
            self._mechanics.passing_error = OVERFLOW
        else:
            return True, self._take_string(text, now_ns), ""
        return True, self._mechanics.error, data

    def _report(self, text: str) -> str | None:
        if text == "?4":
            return str(self._read_back())
        number = {
            "?": self._mechanics.commanded,
            "?10": 0 if self._mechanics.buffer_empty else 1,
            "?13": 0 if self._surroundings.gate_low(1) else 1,
            "?14": 0 if self._surroundings.gate_low(2) else 1,
        }.get(text)
        if text == "&":
            return IDENTITY
        return None if number is None else str(number)

    def _read_back(self) -> int:
        mechanics = self._mechanics
        if self._encoder is None:
            return mechanics.position
        return min(mechanics.stroke, max(0, self._encoder(mechanics.position)))

    def _take_string(self, text: str, now_ns: int) -> int:
        """Put `text` into the buffer, in place of what was there, and return the error of the acknowledgement."""
        self._mechanics.passing_error = 0
        try:
            string = parse_string(text, stroke=self._mechanics.stroke)
        except RefusedString as refused:
            self._mechanics.passing_error = refused.error
            late = refused.error == INVALID_OPERAND and not self._operand_error_at_once
            return self._mechanics.lasting_error if late else self._mechanics.error
        if self._mechanics.lasting_error and self._moves_before_initialising(string):
            return self._mechanics.lasting_error
        self._mechanics.take(string, now_ns)
        return self._mechanics.error

    @staticmethod
    def _moves_before_initialising(string: CommandString) -> bool:
        for instruction in string.instructions:
            if instruction.letter in INITIALISES:
                return False
            if instruction.letter in MOVES:
                return True
        return False
