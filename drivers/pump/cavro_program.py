"""A gated program as the pump takes it, and the hard ceiling that it is held to just before it leaves.

Owns the command string and the bounds. Knows nothing of the planner, and shares no code with it: two independent
checks have to be wrong before too much is given. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from device.core.device_spec import PumpSpec
from device.core.faults import Fault
from device.core.magazine import PhaseMove, PumpProgram
from device.core.profile import Phase
from device.core.units import HalfIncrementsPerSecond, Increments
from drivers.ports import DriverError

TOP_SPEED_LEAST: Final = 5
TOP_SPEED_MOST: Final = 6000
"""The range of `V` (manual 733085-B)."""

_PHASE_ORDER: Final = {phase: order for order, phase in enumerate(Phase)}


@dataclass(frozen=True, slots=True)
class PumpCeiling:
    """What no program may exceed on this console, whatever the planner says. All in increments, all at least 0.

    `shot_increments_most`: given by one shot (a run of moves whose phases come in order). `program_increments_most`:
    given by one program. `suck_back_increments_most`: drawn back after a shot; the first shot of a program may give
    as much more, because it may repay a suck-back that this program does not show.
    """

    shot_increments_most: Increments
    program_increments_most: Increments
    suck_back_increments_most: Increments


def program_text(program: PumpProgram) -> str:
    """Return the command string of `program`: phase line 0, then each move behind its gate, gates 1, 2, 1, ..."""
    return _text(program.moves)


def program_length(moves: Sequence[PhaseMove]) -> int:
    """Return the length of the command string for `moves`, in characters; at most `PumpSpec.program_bytes` fit."""
    return len(_text(moves))


def _text(moves: Sequence[PhaseMove]) -> str:
    words = ["J0"]
    speed: HalfIncrementsPerSecond | None = None
    for index, move in enumerate(moves):
        if move.top_speed != speed:
            words.append(f"V{move.top_speed}")
            speed = move.top_speed
        words.append(f"H{index % 2 + 1}A{move.target}J{(index + 1) % 2}")
    return "".join(words) + "R"


def check_ceiling(program: PumpProgram, *, spec: PumpSpec, ceiling: PumpCeiling) -> None:
    """Raise DriverError (`PUMP_CEILING`) unless `program` keeps every bound of `spec` and `ceiling`."""
    if not program.moves:
        raise above_ceiling("the program has no moves")
    if (length := program_length(program.moves)) > spec.program_bytes:
        raise above_ceiling(f"the program has {length} characters; the pump holds {spec.program_bytes}")
    check_position(program.start, spec)
    allowed_repay = ceiling.suck_back_increments_most
    place = lowest = shot_top = program.start
    last = -1
    for number, move in enumerate(program.moves, start=1):
        check_position(move.target, spec)
        if not TOP_SPEED_LEAST <= move.top_speed <= min(spec.fastest_speed, TOP_SPEED_MOST):
            raise above_ceiling(f"move {number} has top speed {move.top_speed}; fastest is {spec.fastest_speed}")
        order = _PHASE_ORDER[move.phase]
        if order <= last:
            shot_top, allowed_repay = lowest, Increments(0)
        last = order
        _check_direction(number, move, place=place, lowest=lowest, ceiling=ceiling)
        place, lowest = move.target, min(lowest, move.target)
        if shot_top - lowest > ceiling.shot_increments_most + allowed_repay:
            raise above_ceiling(
                f"move {number} brings its shot to {shot_top - lowest} increments; "
                f"the most is {ceiling.shot_increments_most + allowed_repay}"
            )
    most = ceiling.program_increments_most + ceiling.suck_back_increments_most
    if program.start - lowest > most:
        raise above_ceiling(f"the program gives {program.start - lowest} increments; the most is {most}")


def _check_direction(
    number: int, move: PhaseMove, *, place: Increments, lowest: Increments, ceiling: PumpCeiling
) -> None:
    if move.phase is Phase.SUCK_BACK:
        if not place <= move.target <= lowest + ceiling.suck_back_increments_most:
            raise above_ceiling(
                f"move {number}, a suck-back, goes from {place} to {move.target}; "
                f"the most above {lowest} is {ceiling.suck_back_increments_most}"
            )
    elif move.target > place:
        raise above_ceiling(f"move {number} draws back ({place} to {move.target}) in phase {move.phase.value}")


def check_position(position: Increments, spec: PumpSpec) -> None:
    """Raise DriverError (`PUMP_CEILING`) unless `position` lies on the stroke."""
    if not 0 <= position <= spec.stroke_increments:
        raise above_ceiling(f"position {position} is outside 0..{spec.stroke_increments}")


def above_ceiling(detail: str) -> DriverError:
    """Return the refusal to send something."""
    return DriverError(Fault.PUMP_CEILING, detail)
