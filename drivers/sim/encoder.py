"""The encoder on the simulated plunger: what `?4` reads, which is not quite where the plunger stands.

Owns the error of a reading: up to `most` increments to either side, drawn anew whenever the plunger has moved, and the
same for as long as it stands. Moves nothing, and is asked by the firmware alone: the truth stays in `pump_mechanics`.
"""

from random import Random


class Encoder:
    """An encoder that misses the plunger's place by at most `most` increments, as `random` decides."""

    def __init__(self, random: Random, *, most: int) -> None:
        self._random = random
        self._most = most
        self._place = -1
        self._error = 0

    def read(self, place: int) -> int:
        """Return what is read of a plunger that stands at `place`."""
        if place != self._place:
            self._place = place
            self._error = self._random.randint(-self._most, self._most)
        return place + self._error
