"""The command strings of the simulated pump: text to instructions.

Owns the letters, their operands' ranges and whether a string runs at once. Executes nothing; `pump_firmware` does.
Ranges: Tecan Cavro XCalibur operating manual 733085-B, chapter 3.
"""

import re
from dataclasses import dataclass
from typing import Final

INVALID_COMMAND: Final = 2
INVALID_OPERAND: Final = 3
OVERFLOW: Final = 15
BUFFER_CHARACTERS: Final = 255

_WORD: Final = re.compile(r"([A-Za-z])(\d{0,6})")
_NO_OPERAND: Final = frozenset("gIOBz")
_RANGES: Final[dict[str, tuple[int, int, int | None]]] = {
    # letter: least, most, default (None: an operand is needed)
    "Z": (0, 40, 0),
    "Y": (0, 40, 0),
    "N": (0, 1, 0),
    "v": (50, 1000, None),
    "V": (5, 6000, None),
    "c": (50, 2700, None),
    "L": (1, 20, None),
    "K": (0, 800, None),
    "M": (0, 30_000, None),
    "H": (0, 2, 0),
    "J": (0, 7, None),
    "G": (0, 30_000, 0),
}
_ON_THE_STROKE: Final = frozenset("APD")
MOVES: Final = frozenset("APDIOB")
"""What an uninitialised pump refuses."""
INITIALISES: Final = frozenset("ZYz")


class RefusedString(Exception):
    """The pump does not take the string; `error` is the number that it answers with."""

    def __init__(self, error: int) -> None:
        super().__init__(f"error {error}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Instruction:
    """One letter with its operand (0 where it takes none)."""

    letter: str
    operand: int


@dataclass(frozen=True, slots=True)
class CommandString:
    """A string taken into the buffer; `runs` where it ended in `R`."""

    instructions: tuple[Instruction, ...]
    runs: bool


def parse_string(text: str, *, stroke: int) -> CommandString:
    """Return the instructions of `text`; positions reach to `stroke`. Raises RefusedString."""
    if len(text) > BUFFER_CHARACTERS:
        raise RefusedString(OVERFLOW)
    runs = text.endswith("R")
    body = text[:-1] if runs else text
    instructions: list[Instruction] = []
    place = 0
    while place < len(body):
        word = _WORD.match(body, place)
        if word is None:
            raise RefusedString(INVALID_COMMAND)
        instructions.append(_instruction(word[1], word[2], stroke=stroke))
        place = word.end()
    if not instructions:
        raise RefusedString(INVALID_COMMAND)
    return CommandString(tuple(instructions), runs)


def _instruction(letter: str, digits: str, *, stroke: int) -> Instruction:
    if letter in _NO_OPERAND:
        if digits:
            raise RefusedString(INVALID_OPERAND)
        return Instruction(letter, 0)
    least, most, default = (0, stroke, None) if letter in _ON_THE_STROKE else _RANGES.get(letter, (1, 0, None))
    if least > most:
        raise RefusedString(INVALID_COMMAND)
    operand = int(digits) if digits else default
    if operand is None or not least <= operand <= most:
        raise RefusedString(INVALID_OPERAND)
    return Instruction(letter, operand)
