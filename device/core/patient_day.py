"""What a patient has had in earlier sessions of the last 24 hours: counted against the same limits as the open one.

Owns the window and the sum. Pure: the wall clock is an argument, and only ever compared with stamps of the same
clock. A stamp that is missing or lies in the future counts as just now: a clock set back can delay a session, and never
allows one. All sessions without a patient's id count as one patient's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from device.core.serum import Ingredient
from device.core.units import Micrograms, Nanolitres

DAY_MS: Final = 24 * 60 * 60 * 1000

SESSIONS_KEPT_MOST: Final = 500
"""Sessions that the ledger remembers: several times what one console can give in a day."""

UNKNOWN_MS: Final = 0
"""The stamp of what happened at an unknown time."""


@dataclass(frozen=True, slots=True)
class PastSession:
    """What an ended session gave its patient, by the book. `masses` are (ingredient, micrograms), rounded up.

    `ended_ms` is the wall clock at its end, `UNKNOWN_MS` where the console could not tell: no dose came after it.
    """

    patient: str
    ended_ms: int
    volume_nl: Nanolitres
    masses: tuple[tuple[str, Micrograms], ...]


@dataclass(frozen=True, slots=True)
class Before:
    """What a patient has had in the 24 hours before a session."""

    volume_nl: Nanolitres
    masses: tuple[tuple[str, Micrograms], ...]

    def mass_of(self, ingredient: Ingredient) -> Micrograms:
        """Return how much of `ingredient`, which goes by its name whatever its letters' case."""
        return Micrograms(sum(mass_ug for name, mass_ug in self.masses if name == ingredient_key(ingredient.name)))


NOTHING_BEFORE: Final = Before(Nanolitres(0), ())


def ingredient_key(name: str) -> str:
    """Return what makes two serums' ingredients the same one."""
    return name.casefold()


def had_before(past: Iterable[PastSession], *, patient: str, now_ms: int) -> Before:
    """Return what `patient` had in sessions that ended less than 24 hours before `now_ms`."""
    counted = [
        session
        for session in past
        if session.patient == patient and (session.ended_ms == UNKNOWN_MS or now_ms - session.ended_ms < DAY_MS)
    ]
    return Before(
        volume_nl=Nanolitres(sum(session.volume_nl for session in counted)),
        masses=tuple(mass for session in counted for mass in session.masses),
    )


def remembered(past: tuple[PastSession, ...], session: PastSession) -> tuple[PastSession, ...]:
    """Return `past` with `session`, unless that gave nothing; beyond `SESSIONS_KEPT_MOST` without the oldest."""
    return (*past, session)[-SESSIONS_KEPT_MOST:] if session.volume_nl > 0 else past


def dated(past: tuple[PastSession, ...], now_ms: int) -> tuple[PastSession, ...]:
    """Return `past` with what ended at an unknown time as ended now, at the latest moment that it can have been."""
    return tuple(
        PastSession(session.patient, now_ms, session.volume_nl, session.masses)
        if session.ended_ms == UNKNOWN_MS
        else session
        for session in past
    )
