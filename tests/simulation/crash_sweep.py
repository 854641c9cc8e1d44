"""A reference session that is ended at every place where it touches the world, and what its books say afterwards.

The places are all that the controller does outside itself: each frame to the pump, each order to the real-time
process, each answer and each append to the journal; an append is also cut in the middle and just behind. After each
end: restart, recover, judge, and treat on to the last point.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from device.core.events import PrimeRequested
from device.core.units import Nanolitres
from device.simulation.clinic import latched, make_ready, recover, start_session, treat
from device.simulation.disk import Cut
from device.simulation.gun import VirtualGun
from device.simulation.oracles import Watch, check_the_book
from tests.support.clinic import saline, shipped

POINTS: Final = 3
CONTENT: Final = 2400
"""A prime, a shot and a half: the second shot is refilled for."""
PRIME: Final = Nanolitres(50_000)
VIAL_NL: Final = 400_000
STEPS_PER_MM: Final = 10
PRESSES_MOST: Final = 12
RESTART_MS: Final = 400
ROUNDS_MOST: Final = 4

ENDS: Final[dict[str, Callable[[VirtualGun], None]]] = {
    "kill": VirtualGun.kill_controller,
    "power": VirtualGun.cut_power,
}


@dataclass(frozen=True)
class End:
    """One end of the reference session: at a place (`kill`, `power`) or in an append (a Cut's name)."""

    profile: str
    how: str
    number: int

    def __str__(self) -> str:
        return f"{self.profile}-{self.how}-{self.number}"


def reference(profile: str) -> tuple[int, int]:
    """Return how many places and appends the undisturbed session has."""
    with _gun() as gun:
        watch = Watch(gun, undisturbed=True)
        _begin(gun, profile)
        _go_on(gun)
        assert watch.violations == []
        assert _shots(gun) == POINTS
        return gun.passed, gun.disk.appends


def ends(profile: str) -> Iterator[End]:
    """Yield every end of the session."""
    places, appends = reference(profile)
    for how in ENDS:
        yield from (End(profile, how, place) for place in range(places))
    for cut in Cut:
        yield from (End(profile, cut.value, append) for append in range(appends))


def violations_after(end: End) -> list[str]:
    """End the reference session there, recover, treat on; return what was violated."""
    with _gun() as gun:
        watch = Watch(gun, undisturbed=False)
        if end.how in ENDS:
            gun.ends_at = (end.number, lambda: ENDS[end.how](gun))
        else:
            gun.disk.cut_at(end.number, Cut(end.how))
        found: list[str] = []
        started = False
        for _ in range(ROUNDS_MOST):
            if not started:
                started = _begin(gun, end.profile)
            if started:
                _go_on(gun)
            if gun.alive:
                break
            gun.run_for(RESTART_MS)
            gun.restart_controller()
            if not recover(gun) or latched(gun):
                found.append(f"not fit again: {gun.state.name}, latched {sorted(latched(gun))}")
            found += check_the_book(gun, watch)
            started = started or gun.console.ledger.session is not None
        found += check_the_book(gun, watch)
        if _shots(gun) != POINTS:
            found.append(f"{_shots(gun)} of {POINTS} shots given in the end")
        return watch.violations + found


def _gun() -> VirtualGun:
    return VirtualGun(shipped(vial_nl=VIAL_NL, steps_per_mm=STEPS_PER_MM), content=CONTENT)


def _begin(gun: VirtualGun, profile: str) -> bool:
    """Make ready, start the session, prime; False where the controller died in between, or refuses."""
    try:
        make_ready(gun)
    except RuntimeError:
        return False
    if not start_session(gun, saline(profile, POINTS)).accepted:
        return False
    gun.ask(lambda request: PrimeRequested(request, PRIME))
    return True


def _go_on(gun: VirtualGun) -> None:
    """Treat until all points are done, or the controller is dead."""
    for _ in range(ROUNDS_MOST):
        if not gun.alive or _shots(gun) >= POINTS:
            return
        treat(gun, presses_most=PRESSES_MOST)


def _shots(gun: VirtualGun) -> int:
    totals = gun.console.ledger.session
    return totals.shots if totals is not None else 0
