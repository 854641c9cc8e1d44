"""How many shots a patient had within the last hour: a count that no stopping and starting of sessions begins anew.

Owns the window. Pure: the wall clock is an argument. A time that is unknown or lies in the future counts as now. Shots
are kept in runs of at most a minute, each dated by its last shot: one counts up to a minute longer than an hour.
"""

from dataclasses import dataclass, replace
from typing import Final

from device.core.patient_day import UNKNOWN_MS

HOUR_MS: Final = 60 * 60 * 1000
RUN_MS: Final = 60 * 1000
RUNS_KEPT_MOST: Final = 256
"""Several times the minutes of an hour: what is left out is over."""


@dataclass(frozen=True, slots=True)
class Run:
    """Shots given to a patient from `first_ms` to `last_ms`; both `UNKNOWN_MS` where no clock tells."""

    patient: str
    first_ms: int
    last_ms: int
    shots: int


def shots_within_hour(runs: tuple[Run, ...], *, patient: str, now_ms: int) -> int:
    """Return how many shots `patient` had less than an hour before `now_ms`; all of them where that is unknown."""
    return sum(
        run.shots
        for run in runs
        if run.patient == patient
        and (UNKNOWN_MS in (run.last_ms, now_ms) or now_ms - run.last_ms < HOUR_MS)
    )  # fmt: skip


def with_shots(runs: tuple[Run, ...], *, patient: str, at_ms: int, shots: int) -> tuple[Run, ...]:
    """Return `runs` with `shots` given at `at_ms`; what was given at an unknown time before is dated by it."""
    runs = dated(runs, at_ms)
    if shots <= 0:
        return runs
    last = runs[-1] if runs else None
    if last is not None and last.patient == patient and 0 <= at_ms - last.first_ms < RUN_MS:
        return (*runs[:-1], replace(last, last_ms=max(last.last_ms, at_ms), shots=last.shots + shots))
    return (*runs, Run(patient, at_ms, at_ms, shots))[-RUNS_KEPT_MOST:]


def dated(runs: tuple[Run, ...], now_ms: int) -> tuple[Run, ...]:
    """Return `runs` with what was given at an unknown time as given now, the latest moment that it can have been."""
    if now_ms == UNKNOWN_MS:
        return runs
    return tuple(replace(run, first_ms=now_ms, last_ms=now_ms) if run.last_ms == UNKNOWN_MS else run for run in runs)
