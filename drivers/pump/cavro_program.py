"""A gated program as the pump takes it, and the hard ceiling that it is held to just before it leaves.

Owns the command string and the bounds. Knows nothing of the planner, and shares no code with it: two independent
checks have to be wrong before too much is given. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from device.core.device_spec import HardLimits, PumpSpec
from device.core.faults import Fault
from device.core.magazine import PhaseMove, PumpProgram, Purpose
from device.core.profile import Phase
from device.core.units import HalfIncrementsPerSecond, Increments, Nanolitres
from drivers.ports import DriverError

TOP_SPEED_LEAST: Final = 5
TOP_SPEED_MOST: Final = 6000
"""The range of `V` (manual 733085-B)."""

_PHASE_ORDER: Final = {phase: order for order, phase in enumerate(Phase)}


SUCK_BACK_NL_MOST: Final = Nanolitres(10_000)
"""More than any tube of 15 cm needs; above it a program is a mistake."""


@dataclass(frozen=True, slots=True)
class PumpCeiling:
    """What no program may exceed on this console, whatever the planner says. Volumes in nl, all at least 0.

    `shot_nl_most`: given by one shot (a run of moves whose phases come in order). `program_nl_most`: given by one
    program. `prime_nl_most`: given by a prime. `suck_back_nl_most`: drawn back after a shot; the first shot of a
    program may give as much more, because it may repay a suck-back that this program does not show.
    """

    shot_nl_most: Nanolitres
    program_nl_most: Nanolitres
    prime_nl_most: Nanolitres
    suck_back_nl_most: Nanolitres

    @classmethod
    def of(cls, limits: HardLimits) -> Self:
        """Return the console's hard limits as the driver holds every program to them, independent of the planner."""
        return cls(
            shot_nl_most=limits.shot_nl,
            program_nl_most=Nanolitres(limits.shot_nl * limits.magazine_shots),
            prime_nl_most=limits.prime_nl,
            suck_back_nl_most=SUCK_BACK_NL_MOST,
        )

    def in_increments(self, program: PumpProgram, spec: PumpSpec) -> "_Bounds":
        """Return the bounds for `program`, by its syringe's calibration, rounded toward less fluid."""
        if program.stroke_nl <= 0:
            raise above_ceiling(f"the syringe's stroke is {program.stroke_nl} nl")
        shot_nl, program_nl = self.shot_nl_most, self.program_nl_most
        if program.purpose is Purpose.PRIME:
            shot_nl = program_nl = self.prime_nl_most

        def whole(volume_nl: Nanolitres) -> int:
            return volume_nl * spec.stroke_increments // program.stroke_nl

        return _Bounds(shot=whole(shot_nl), program=whole(program_nl), suck_back=whole(self.suck_back_nl_most))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The ceiling in the increments of one syringe."""

    shot: int
    program: int
    suck_back: int


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
    bounds = ceiling.in_increments(program, spec)
    allowed_repay = bounds.suck_back
    place = lowest = shot_top = program.start
    last = -1
    for number, move in enumerate(program.moves, start=1):
        check_position(move.target, spec)
        if not TOP_SPEED_LEAST <= move.top_speed <= min(spec.fastest_speed, TOP_SPEED_MOST):
            raise above_ceiling(f"move {number} has top speed {move.top_speed}; fastest is {spec.fastest_speed}")
        order = _PHASE_ORDER[move.phase]
        if order <= last:
            shot_top, allowed_repay = lowest, 0
        last = order
        _check_direction(number, move, place=place, lowest=lowest, bounds=bounds)
        place, lowest = move.target, min(lowest, move.target)
        if shot_top - lowest > bounds.shot + allowed_repay:
            raise above_ceiling(
                f"move {number} brings its shot to {shot_top - lowest} increments; "
                f"the most is {bounds.shot + allowed_repay}"
            )
    most = bounds.program + bounds.suck_back
    if program.start - lowest > most:
        raise above_ceiling(f"the program gives {program.start - lowest} increments; the most is {most}")


def _check_direction(number: int, move: PhaseMove, *, place: Increments, lowest: Increments, bounds: _Bounds) -> None:
    if move.phase is Phase.SUCK_BACK:
        if not place <= move.target <= lowest + bounds.suck_back:
            raise above_ceiling(
                f"move {number}, a suck-back, goes from {place} to {move.target}; "
                f"the most above {lowest} is {bounds.suck_back}"
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
