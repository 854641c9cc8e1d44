"""What came of a magazine, from absolute plunger positions and what the real-time process saw.

Pure and repeatable: settling twice gives the same answer. Of all histories that fit what is known, the one that gave
the most is booked; when none fits, or the position is unknown, the most that can have been given is booked and the
result is uncertain.
"""

from dataclasses import dataclass, replace

from device.core.magazine import Outcome
from device.core.profile import Phase
from device.core.records import MagazineIntent
from device.core.units import Increments

POSITION_TOLERANCE = 2
"""Increments by which the read-back may differ from a target that was reached: the encoder's own resolution."""


@dataclass(frozen=True, slots=True)
class ShotSettlement:
    """One shot's increments by phase, whether any of its moves ran, and what it comes to."""

    index: int
    given: dict[Phase, Increments]
    outcome: Outcome
    touched: bool

    @property
    def total(self) -> Increments:
        """All increments given in this shot."""
        return Increments(sum(self.given.values()))


@dataclass(frozen=True, slots=True)
class Settlement:
    """A whole magazine settled: the plunger's place afterwards, the carried remainder, and each shot."""

    position: Increments
    low_water: Increments
    carry: int
    given: Increments
    certain: bool
    shots: tuple[ShotSettlement, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the real-time process counted over the magazine: gates opened, ends of moves reported."""

    opened: int
    done: int


def settle(intent: MagazineIntent, *, position: Increments | None, seen: Seen | None) -> Settlement:
    """Settle `intent`. `position` is the pump's read-back, None if it is lost; `seen` is None after a restart."""
    targets = intent.targets
    most = len(targets) if seen is None else min(seen.opened, len(targets))
    fewest = 0 if seen is None else min(seen.done, most)
    lows = _low_waters(intent)
    # A gate that sticks open lets the pump begin one move that was never asked for; the next one waits again.
    beyond = min(most + 1, len(targets))
    worst = lows[beyond if position is None else most]
    if position is not None:
        best = _most_given(intent, position, fewest, beyond)
        if best is not None:
            return _settlement(intent, complete=best[0], end=best[1], position=position, certain=True)
        # What was seen and where the plunger stands contradict each other: the most of both is booked, not believed.
        ruled_out = _most_given(intent, position, 0, len(targets))
        worst = min(worst, position, worst if ruled_out is None else ruled_out[1])
    return _settlement(
        intent,
        complete=most,
        end=Increments(max(0, worst)),
        position=position if position is not None else Increments(targets[most - 1] if most else intent.start),
        certain=False,
    )


def _low_waters(intent: MagazineIntent) -> list[int]:
    """Return the lowest plunger position after 0, 1, ... moves."""
    lows = [intent.low_water]
    for target in intent.targets:
        lows.append(min(lows[-1], target))
    return lows


def _most_given(intent: MagazineIntent, position: Increments, fewest: int, most: int) -> tuple[int, Increments] | None:
    """Return (complete moves, lowest position) of the fitting history that gave the most; None if none fits."""
    places = [intent.start, *intent.targets]
    lows = _low_waters(intent)
    found: list[tuple[int, int]] = []
    for complete in range(fewest, most + 1):
        if abs(position - places[complete]) <= POSITION_TOLERANCE:
            found.append((lows[complete], complete))
        if complete < most:
            low, high = sorted((places[complete], places[complete + 1]))
            if low < position < high:
                found.append((min(lows[complete], int(position)), complete))
    if not found:
        return None
    # The lowest plunger gave the most; among equals more moves are complete.
    low, complete = min(found, key=lambda item: (item[0], -item[1]))
    return complete, Increments(low)


def _settlement(
    intent: MagazineIntent, *, complete: int, end: Increments, position: Increments, certain: bool
) -> Settlement:
    low = intent.low_water
    carry = intent.carry_before
    shots: list[ShotSettlement] = []
    per_shot = intent.moves_per_shot
    for index in range(len(intent.doses_nl)):
        given: dict[Phase, Increments] = {}
        dosing_done = True
        for move in range(index * per_shot, (index + 1) * per_shot):
            phase = Phase(intent.phases[move])
            if phase is Phase.SUCK_BACK:
                continue
            reached = max(intent.targets[move], end)
            given[phase] = Increments(max(0, low - reached))
            low = min(low, reached)
            dosing_done = dosing_done and reached <= intent.targets[move]
        touched = complete > index * per_shot or any(given.values())
        if dosing_done:
            carry = intent.carries[index]
        outcome = Outcome.DELIVERED if dosing_done else Outcome.PARTIAL
        shots.append(
            ShotSettlement(index=index, given=given, outcome=outcome if certain else Outcome.UNCERTAIN, touched=touched)
        )
    total = Increments(intent.low_water - end)
    if (beyond := total - sum(shot.total for shot in shots)) > 0:
        # The plunger is deeper than any target, so every shot was given; the excess is booked on the last one's end.
        last = shots[-1]
        phase = next(reversed(last.given))
        shots[-1] = replace(last, given={**last.given, phase: Increments(last.given[phase] + beyond)}, touched=True)
    return Settlement(
        position=position,
        low_water=end,
        carry=carry,
        given=total,
        certain=certain,
        shots=tuple(shots),
    )
