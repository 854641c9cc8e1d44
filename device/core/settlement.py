"""What came of a magazine, from absolute plunger positions and what the real-time process saw.

Pure and repeatable: settling twice gives the same answer. Of all histories that fit what is known, the one that gave
the most is booked; the result is certain when they all gave the same. When none fits, or the position is unknown, the
most that can have been given is booked and the result is uncertain. The next shot repays only what was drawn back in
every history: what may never have been given is booked, and never made up.
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
    """A whole magazine settled: the plunger's place afterwards, the carried remainder, and each shot.

    `low_water`: the lowest place up to which the plunger has surely given; `position` lies above it by what the next
    shot has to repay. `given` may reach deeper when `certain` is False.
    """

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
    # A gate that sticks open lets the pump begin one move that was never asked for; the next one waits again.
    beyond = min(most + 1, len(targets))
    if position is None:
        place = Increments(targets[most - 1] if most else intent.start)
        end = Increments(_low_waters(intent)[beyond])
        return _settlement(intent, complete=most, end=end, position=place, low_water=place, certain=False)
    fitting = _fitting(intent, position, fewest, beyond)
    if fitting:
        # The lowest plunger gave the most; among equals more moves are complete.
        low, complete = min(fitting, key=lambda history: (history[0], -history[1]))
        highest, _ = max(fitting)
        certain = highest - low <= POSITION_TOLERANCE
        return _settlement(
            intent,
            complete=complete,
            end=Increments(low),
            position=position,
            low_water=Increments(low if certain else min(highest, position)),
            certain=certain,
        )
    # What was seen and where the plunger stands contradict each other: the most of both is booked, not believed.
    ruled_out = _fitting(intent, position, 0, len(targets))
    end = Increments(max(0, min(_low_waters(intent)[most], position, *(low for low, _ in ruled_out))))
    low_water = Increments(max(0, position))
    return _settlement(intent, complete=most, end=end, position=position, low_water=low_water, certain=False)


def _low_waters(intent: MagazineIntent) -> list[int]:
    """Return the lowest plunger position after 0, 1, ... moves."""
    lows = [intent.low_water]
    for target in intent.targets:
        lows.append(min(lows[-1], target))
    return lows


def _fitting(intent: MagazineIntent, position: Increments, fewest: int, most: int) -> list[tuple[int, int]]:
    """Return every history that fits the position: its lowest plunger position, and how many moves it completed."""
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
    return found


def _settlement(
    intent: MagazineIntent,
    *,
    complete: int,
    end: Increments,
    position: Increments,
    low_water: Increments,
    certain: bool,
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
        low_water=low_water,
        carry=carry,
        given=total,
        certain=certain,
        shots=tuple(shots),
    )
