"""A simulated clinician: presses the trigger, holds the gun on the skin, watches the light and the needle.

Owns the console's switches and the contact with the skin, and nothing else: knows the gun only as a clinician does,
through the world's light and needle, never through the controller. Every choice comes from the seed; every wait ends
at the treatment's deadline; at the end, whatever happened, the trigger is released and the gun lifted.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from device.core.profile import Mode, TriggerStyle
from drivers.sim.world import World

READY_NS: Final = 60_000_000
"""Lit longer than this is steady: a flash of the status light is shorter (`drivers.gpio.indicators.FLASH_MS`)."""

POLL_S: Final = 0.002
"""How often he looks."""

SKEW_US_MOST: Final = 2_000
"""The two channels of one switch differ by less than this."""

PATIENCE_NS: Final = 600_000_000
"""How long he holds the trigger while the needle stands still at home, before he lets go and tries again."""

_MOVE_MS: Final = (10, 30)
_RELEASE_MS: Final = (20, 40)
_EARLY_HOLD_MS: Final = (10, 25)
_PRESSES_PER_SHOT_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class OperatorReport:
    """What the clinician did and saw; `finished` is False where the deadline or the bound of presses ended it."""

    presses: int
    early_presses: int
    strokes: int
    regions: int
    finished: bool


class _DeadlinePassed(Exception):
    """The treatment's deadline has passed."""


class SimulatedOperator:
    """A clinician on a simulated console.

    `now_ns` stamps what he does and judges the light; it must be the clock of the other processes of the world.
    `skew_us` is the most (0 ... 2000) by which the trigger's two channels may differ in `treat`; `press` and
    `release` move both at once.
    """

    def __init__(
        self, world: World, *, seed: int, now_ns: Callable[[], int] = time.monotonic_ns, skew_us: int = 0
    ) -> None:
        if not 0 <= skew_us <= SKEW_US_MOST:
            raise ValueError(f"skew_us is {skew_us}; allowed are 0 ... {SKEW_US_MOST}")
        self._world = world
        self._lines = world.lines
        self._random = Random(seed)  # noqa: S311 - a reproducible clinician, not a secret
        self._now_ns = now_ns
        self._skew_us = skew_us

    # His hands --------------------------------------------------------------------------------------------------

    def press(self) -> None:
        """Press the trigger: channel A closes to ground, channel B opens."""
        self._channel_a(pressed=True)
        self._channel_b(pressed=True)

    def release(self) -> None:
        """Release the trigger."""
        self._channel_a(pressed=False)
        self._channel_b(pressed=False)

    def press_stop(self) -> None:
        """Press the stop button: both channels open."""
        for line in (self._lines.stop_a, self._lines.stop_b):
            self._world.set_switch(line, closed=False, now_ns=self._now_ns())

    def release_stop(self) -> None:
        """Release the stop button."""
        for line in (self._lines.stop_a, self._lines.stop_b):
            self._world.set_switch(line, closed=True, now_ns=self._now_ns())

    def touch_skin(self) -> None:
        """Put the nosepiece on the skin."""
        self._world.set_on_skin(True, self._now_ns())  # noqa: FBT003 - a setter's only datum

    def lift(self) -> None:
        """Take the nosepiece off the skin."""
        self._world.set_on_skin(False, self._now_ns())  # noqa: FBT003 - a setter's only datum

    def _channel_a(self, *, pressed: bool) -> None:
        self._world.set_switch(self._lines.trigger_a, closed=pressed, now_ns=self._now_ns())

    def _channel_b(self, *, pressed: bool) -> None:
        self._world.set_switch(self._lines.trigger_b, closed=not pressed, now_ns=self._now_ns())

    # His eyes ---------------------------------------------------------------------------------------------------

    def light_is_on(self) -> bool:
        """Return whether the status light is lit at this moment, steady or in a flash."""
        return self._world.level(self._lines.light)

    def is_ready(self) -> bool:
        """Return whether the light has been lit longer than any flash: the gun is ready to fire."""
        return self.light_is_on() and self._now_ns() - self._world.changed_ns(self._lines.light) > READY_NS

    def needle_is_out(self) -> bool:
        """Return whether the needle stands at home."""
        return self._world.needle_steps <= 0

    # A treatment ------------------------------------------------------------------------------------------------

    async def treat(
        self,
        regions: Sequence[tuple[str, int]],
        *,
        mode: Mode,
        trigger: TriggerStyle,
        burst_shots: int = 1,
        shots_seen: Callable[[], int] | None = None,
        early_presses: int = 0,
        deadline_s: float,
    ) -> OperatorReport:
        """Treat each region (its name, its shots of 1 and more) as a clinician would; return what he did.

        Single and burst: one press a point, held until its 1 or `burst_shots` strokes have ended, then on to the
        next point. Continuous: held until the region's strokes are counted. Strokes are counted by `shots_seen`
        (the needle's own strokes if None). Up to `early_presses` times he presses too soon: while the light is
        dark, or, where a release does nothing (`TriggerStyle.PRESS`), again during a running stroke. Ends at
        `deadline_s` of loop time at the latest; cancelling it releases the trigger and lifts the gun too.
        """
        treatment = _Treatment(
            self,
            count=shots_seen if shots_seen is not None else lambda: self._world.strokes,
            mode=mode,
            trigger=trigger,
            burst_shots=burst_shots if mode is Mode.BURST else 1,
            early_presses=early_presses,
            deadline_s=asyncio.get_running_loop().time() + deadline_s,
        )
        finished = False
        try:
            finished = await treatment.run(regions)
        except _DeadlinePassed:
            pass
        finally:
            self.release()
            self.lift()
        return treatment.report(finished=finished)

    async def move_trigger(self, *, pressed: bool) -> None:
        """Press or release the trigger, channel B after A by a seeded skew."""
        self._channel_a(pressed=pressed)
        if self._skew_us:
            await asyncio.sleep(self._random.randrange(self._skew_us) / 1e6)
        self._channel_b(pressed=pressed)

    async def pause(self, least_and_most_ms: tuple[int, int]) -> None:
        """Take a seeded time of that many ms."""
        await asyncio.sleep(self._random.randint(*least_and_most_ms) / 1e3)

    def chooses(self, *, wanted: int, chances: int) -> bool:
        """Decide one of `chances` occasions so that `wanted` of them are taken in the end."""
        return wanted > 0 and self._random.randrange(max(1, chances)) < wanted

    def now_ns(self) -> int:
        """Return his clock's time."""
        return self._now_ns()


class _Treatment:
    """One run of `SimulatedOperator.treat`."""

    def __init__(
        self,
        operator: SimulatedOperator,
        *,
        count: Callable[[], int],
        mode: Mode,
        trigger: TriggerStyle,
        burst_shots: int,
        early_presses: int,
        deadline_s: float,
    ) -> None:
        self._operator = operator
        self._count = count
        self._mode = mode
        self._trigger = trigger
        self._burst_shots = burst_shots
        self._early_wanted = early_presses
        self._deadline_s = deadline_s
        self._strokes_before = count()
        self._presses = 0
        self._early_presses = 0
        self._regions = 0

    def report(self, *, finished: bool) -> OperatorReport:
        """Return the counts so far."""
        strokes = self._count() - self._strokes_before
        return OperatorReport(self._presses, self._early_presses, strokes, self._regions, finished)

    async def run(self, regions: Sequence[tuple[str, int]]) -> bool:
        """Treat the regions in turn; return whether all of them got their strokes."""
        for place, (_name, shots) in enumerate(regions):
            goal = self._count() + shots
            for _ in range(_PRESSES_PER_SHOT_MOST * shots):
                remaining = goal - self._count()
                if remaining <= 0:
                    break
                chances = sum(map(self._presses_for, (remaining, *(later for _name, later in regions[place + 1 :]))))
                await self._one_point(goal, chances)
            if self._count() < goal:
                return False
            self._regions += 1
        return True

    def _presses_for(self, shots: int) -> int:
        return 1 if self._mode is Mode.CONTINUOUS else -(-shots // self._burst_shots)

    async def _one_point(self, goal: int, chances: int) -> None:
        """Go to a point, wait for the light, press, watch, release."""
        operator = self._operator
        if self._mode is not Mode.CONTINUOUS or self._presses == 0:
            operator.lift()
            await operator.pause(_MOVE_MS)
        operator.touch_skin()
        early = operator.chooses(wanted=self._early_wanted - self._early_presses, chances=chances)
        early = await self._wait_until_ready(press_early=early)
        before = self._count()
        wanted = goal if self._mode is Mode.CONTINUOUS else before + self._burst_shots
        await operator.move_trigger(pressed=True)
        self._presses += 1
        if early and self._trigger is TriggerStyle.PRESS and self._mode is not Mode.CONTINUOUS:
            await self._press_during_the_stroke()
        await self._watch_strokes(wanted)
        await operator.move_trigger(pressed=False)
        await operator.pause(_RELEASE_MS)

    async def _wait_until_ready(self, *, press_early: bool) -> bool:
        """Wait for the steady light, pressing once before if asked; return whether that press is still owed."""
        while not self._operator.is_ready():
            if press_early and not self._operator.light_is_on():
                press_early = False
                await self._press_in_vain()
            await self._look_again()
        return press_early

    async def _press_during_the_stroke(self) -> None:
        """Let go once the needle is in, and press again while the stroke runs."""
        patience_ns = self._operator.now_ns() + PATIENCE_NS
        while self._operator.needle_is_out():
            if self._operator.now_ns() > patience_ns:
                return
            await self._look_again()
        await self._operator.move_trigger(pressed=False)
        await self._look_again()
        if not self._operator.needle_is_out():
            await self._press_in_vain()

    async def _press_in_vain(self) -> None:
        await self._operator.move_trigger(pressed=True)
        self._early_presses += 1
        await self._operator.pause(_EARLY_HOLD_MS)
        await self._operator.move_trigger(pressed=False)

    async def _watch_strokes(self, wanted: int) -> None:
        """Hold until `wanted` strokes are counted and the needle is out, or nothing has moved for too long."""
        seen = self._count()
        patience_ns = self._operator.now_ns() + PATIENCE_NS
        while not self._operator.needle_is_out() or self._count() < wanted:
            if self._count() != seen or not self._operator.needle_is_out():
                seen = self._count()
                patience_ns = self._operator.now_ns() + PATIENCE_NS
            elif self._operator.now_ns() > patience_ns:
                return
            await self._look_again()

    async def _look_again(self) -> None:
        if asyncio.get_running_loop().time() > self._deadline_s:
            raise _DeadlinePassed
        await asyncio.sleep(POLL_S)
