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
"""Increments by which a reading may miss the place where the plunger stands: the resolution of its encoder."""


def reads_as(position: int, place: int) -> bool:
    """Return whether a plunger that is read at `position` may stand at `place`."""
    return abs(position - place) <= POSITION_TOLERANCE


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

    `low_water`: the lowest place up to which the plunger has surely given; `position` lies above it by what it was
    surely drawn back, which the next shot repays. Where it reached a target that is its place, and not what was read.
    `given` may reach deeper than `low_water`: when `certain` is False, or by what the encoder cannot tell of a move
    that was broken off.
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
    fitting = _fitting(intent, position, fewest, beyond, seen)
    if fitting:
        # The lowest plunger gave the most; among equals more moves are complete.
        likely = min(fitting, key=lambda history: (history.low, -history.complete))
        highest = max(history.low for history in fitting)
        certain = highest - likely.low <= POSITION_TOLERANCE
        low_water = likely.low if certain else min(highest, position)
        return _settlement(
            intent,
            complete=likely.complete,
            end=Increments(min(history.deepest for history in fitting)),
            position=Increments(max(low_water, min(history.place for history in fitting))),
            low_water=Increments(low_water),
            certain=certain,
        )
    # What was seen and where the plunger stands contradict each other: the most of both is booked, not believed.
    ruled_out = _fitting(intent, position, 0, len(targets), None)
    deepest = min(_low_waters(intent)[most], position - POSITION_TOLERANCE, *(history.deepest for history in ruled_out))
    return _settlement(
        intent,
        complete=most,
        end=Increments(max(0, deepest)),
        position=position,
        low_water=Increments(max(0, position)),
        certain=False,
    )


def _low_waters(intent: MagazineIntent) -> list[int]:
    """Return the lowest plunger position after 0, 1, ... moves."""
    lows = [intent.low_water]
    for target in intent.targets:
        lows.append(min(lows[-1], target))
    return lows


@dataclass(frozen=True, slots=True)
class _History:
    """One course of a magazine: `complete` moves, the plunger's lowest position, and its place.

    In the middle of a move the encoder leaves it open by its resolution where that is: `deepest` is the lowest position
    that it cannot exclude, which is booked, and `place` the one above `low` up to which it was surely drawn.
    """

    complete: int
    low: int
    deepest: int
    place: int


def _fitting(intent: MagazineIntent, position: Increments, fewest: int, most: int, seen: Seen | None) -> list[_History]:
    """Return every history that fits the position, with `fewest` to `most` moves complete."""
    places = [intent.start, *intent.targets]
    lows = _low_waters(intent)
    found: list[_History] = []
    for complete in range(fewest, most + 1):
        if reads_as(position, places[complete]):
            found.append(_History(complete, lows[complete], lows[complete], places[complete]))
        if complete < most:
            low, high = sorted((places[complete], places[complete + 1]))
            if low < position < high + _margin(complete, seen):
                reached, deepest = (
                    min(lows[complete], max(lows[complete + 1], place))
                    for place in (position, position - POSITION_TOLERANCE)
                )
                place = max(reached, position - POSITION_TOLERANCE)
                found.append(_History(complete, reached, deepest, place))
    return found


def _margin(move: int, seen: Seen | None) -> int:
    """Return by how much a reading may lie above the way of `move`, counted from 0, for it to be under way there.

    Behind a gate that was opened, by the encoder's resolution. A gate that sticks is believed from where no error of
    the encoder explains the reading: else every second disarming would book a shot that never was. After a restart
    nothing tells the two apart, and the reading is taken as it is.
    """
    if seen is None:
        return 0
    return POSITION_TOLERANCE if move < seen.opened else -POSITION_TOLERANCE


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
