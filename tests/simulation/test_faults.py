"""Whatever breaks, whenever: the gun is safe within 50 ms, books at least what it gave, and can be used again.

Each seed is one treatment in which one or two troubles strike at a random moment. A seed that fails is reproduced by
`pytest tests/simulation/test_faults.py -k seed17`; `MESOGUN_SEEDS=2000` runs more of them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import pytest

from device.core.console import State
from device.core.ledger import Ledger, apply
from device.core.records import MagazineSettled, ShotGiven
from device.core.settlement import POSITION_TOLERANCE
from tests.simulation.clinic import PROFILES, latched, make_ready, recover, shipped, start_session, treat
from tests.simulation.invariants import Watch
from tests.support.gun import START_NS, VirtualGun

SEEDS: Final = int(os.environ.get("MESOGUN_SEEDS", "60"))
POINTS: Final = 2
VIAL_NL: Final = 160_000
CONTENTS: Final = (600, 800, 1600)
"""The least of them makes a refill come between the shots, and under a trouble."""
ARMED_MS: Final = 110
"""When the gun is armed for the first time, about: the earliest trouble strikes while it is being loaded."""
LATEST_MS: Final = 1200
TREATMENTS_MOST: Final = 5
PRESSES_MOST: Final = 12
SETTLE_MS: Final = 450
"""How long the gun is left alone after the last trouble: longer than the longest freeze."""
RESTART_MS: Final = 400
"""The service manager's pause before it starts the controller again."""


@dataclass
class Scene:
    """A treatment in which something is to go wrong."""

    gun: VirtualGun
    watch: Watch
    random: Random

    def stop(self) -> None:
        self.gun.hands.press_stop()
        self.watch.danger("stop pressed")

    def tap_stop(self) -> None:
        self.stop()
        self.later(self.random.randint(1, 40), self.gun.hands.release_stop)

    def lift(self) -> None:
        self.gun.hands.lift()
        if self.gun.world.needle_steps > 0:
            self.watch.danger("contact lost")

    def one_channel(self, line: int, closed: bool) -> None:
        self.gun.world.set_switch(line, closed=closed, now_ns=self.gun.time.now_ns)

    def full_disk(self) -> None:
        self.gun.controller.disk_full = True

    def full_disk_for_a_moment(self) -> None:
        controller = self.gun.controller
        controller.disk_full = True
        self.later(self.random.randint(5, 200), lambda: setattr(controller, "disk_full", False))

    def later(self, ms: int, call: Callable[[], None]) -> None:
        self.gun.time.at(self.gun.time.now_ns + ms * 1_000_000, call)

    def late_answer(self) -> None:
        troubles = self.gun.pump.firmware.troubles
        troubles.delay_answers += 1
        troubles.delay_ns = self.random.randint(20, 260) * 1_000_000

    def lose_increments(self) -> None:
        self.gun.pump.firmware.troubles.lose_increments = self.random.randint(1, 40)
        self.stop()

    def drop_frames(self) -> None:
        self.gun.pump.firmware.troubles.drop_frames += self.random.randint(1, 6)

    def drop_answers(self) -> None:
        self.gun.pump.firmware.troubles.drop_answers += self.random.randint(1, 6)

    def flip(self) -> None:
        troubles = self.gun.pump.firmware.troubles
        troubles.flip_answers, troubles.flip_bit = 1, self.random.randrange(80)

    def overload(self) -> None:
        self.gun.pump.firmware.troubles.overloads += 1

    def stick_gate(self) -> None:
        name = self.random.choice(("trouble_gate_1_stuck", "trouble_gate_2_stuck"))
        setattr(self.gun.world, name, 1)

    def stick_phase(self) -> None:
        self.gun.world.trouble_phase_stuck = 1

    def jam(self) -> None:
        self.gun.world.trouble_needle_jammed = 1

    def break_home(self) -> None:
        self.gun.world.trouble_home_broken = 1

    def trigger_disagrees(self) -> None:
        lines = self.gun.configuration.lines
        closed = not self.gun.world.level(lines.trigger_b)
        self.one_channel(lines.trigger_b, not closed)

    def stop_disagrees(self) -> None:
        self.one_channel(self.gun.configuration.lines.stop_b, False)
        self.watch.danger("one stop channel open")

    def hang_controller(self) -> None:
        self.gun.freeze_controller(self.random.randint(60, 400))

    def hang_realtime(self) -> None:
        self.gun.freeze_realtime(self.random.randint(60, 400))

    def crash_controller(self) -> None:
        self.gun.kill_controller()

    def crash_realtime(self) -> None:
        self.gun.kill_realtime()

    def release(self) -> None:
        self.gun.hands.release()

    def repair(self) -> None:
        """Service has been: every lasting trouble is mended."""
        world, troubles = self.gun.world, self.gun.pump.firmware.troubles
        world.trouble_gate_1_stuck = world.trouble_gate_2_stuck = world.trouble_phase_stuck = 0
        world.trouble_needle_jammed = world.trouble_home_broken = 0
        world.set_switch(world.lines.home, closed=world.needle_steps <= 0, now_ns=self.gun.time.now_ns)
        troubles.lose_increments = troubles.overloads = troubles.drop_frames = troubles.drop_answers = 0
        self.gun.controller.disk_full = False


TROUBLES: Final[dict[str, Callable[[Scene], None]]] = {
    "stop": Scene.stop,
    "tap_stop": Scene.tap_stop,
    "lift": Scene.lift,
    "release": Scene.release,
    "trigger_disagrees": Scene.trigger_disagrees,
    "stop_disagrees": Scene.stop_disagrees,
    "drop_frames": Scene.drop_frames,
    "drop_answers": Scene.drop_answers,
    "late_answer": Scene.late_answer,
    "flip": Scene.flip,
    "overload": Scene.overload,
    "lose_increments": Scene.lose_increments,
    "stick_gate": Scene.stick_gate,
    "stick_phase": Scene.stick_phase,
    "jam": Scene.jam,
    "break_home": Scene.break_home,
    "hang_controller": Scene.hang_controller,
    "crash_controller": Scene.crash_controller,
    "hang_realtime": Scene.hang_realtime,
    "crash_realtime": Scene.crash_realtime,
    "full_disk": Scene.full_disk,
    "full_disk_for_a_moment": Scene.full_disk_for_a_moment,
}


def settled(gun: VirtualGun) -> list[MagazineSettled]:
    return [record for record in gun.records() if isinstance(record, MagazineSettled)]


def check_the_book(gun: VirtualGun, watch: Watch) -> None:
    """I2: booked is at least what was given, and at most one phase more; exactly that when nothing was uncertain.

    Two things are booked the larger way though certain: a move that ended within the encoder's resolution of its
    target is complete; and a plunger just above a shot's end may come from above, or from a suck-back that had begun.
    The next shot repays the second, unless the plunger was homed in between.
    """
    outcomes = settled(gun)
    booked, given = sum(outcome.given for outcome in outcomes), gun.given - watch.wasted
    assert booked >= given, f"I2: {given} increments given, {booked} booked"
    uncertain = sum(not outcome.certain for outcome in outcomes)
    ledger = Ledger()
    for record in gun.records():
        ledger = apply(ledger, record)
    owed = (ledger.position or 0) - ledger.low_water if not watch.wasted else watch.phases_largest
    slack = owed + uncertain * watch.phases_largest + len(outcomes) * POSITION_TOLERANCE
    assert booked - given <= slack, f"I2: {given} increments given, {booked} booked"
    assert ledger == gun.console.ledger, "the durable book differs from the controller's"


@dataclass(frozen=True)
class Plan:
    """What a seed decides: the treatment, and which troubles strike when."""

    seed: int
    profile: str
    content: int
    names: tuple[str, ...]
    at_ms: tuple[float, ...]

    def __str__(self) -> str:
        when = ", ".join(f"{name} at {ms:.3f} ms" for name, ms in zip(self.names, self.at_ms, strict=True))
        return f"seed {self.seed}: {self.profile}, content {self.content}, {when}"


def plan_of(seed: int) -> Plan:
    random = Random(seed)
    names = tuple(random.sample(list(TROUBLES), random.choice((1, 1, 2))))
    at_ms = tuple(random.uniform(ARMED_MS, LATEST_MS) for _ in names)
    return Plan(seed, random.choice(PROFILES), random.choice(CONTENTS), names, at_ms)


def run(directory: Path, plan: Plan) -> None:
    """One treatment with its troubles; fails with what was violated."""
    configuration = shipped(vial_nl=VIAL_NL)
    with VirtualGun(directory, content=plan.content, configuration=configuration, seed=plan.seed, jitter=True) as gun:
        watch = Watch(gun, undisturbed=False)
        scene = Scene(gun, watch, Random(plan.seed))
        make_ready(gun)
        assert start_session(gun, plan.profile, POINTS).accepted
        for name, ms in zip(plan.names, plan.at_ms, strict=True):
            gun.time.at(START_NS + round(ms * 1e6), lambda name=name: TROUBLES[name](scene))  # type: ignore[misc]
        refused: tuple[str, ...] = ()
        for _ in range(TREATMENTS_MOST):
            refused = treat(gun, presses_most=PRESSES_MOST).reasons
            gun.run_for(max(SETTLE_MS, SETTLE_MS + max(plan.at_ms) - (gun.time.now_ns - START_NS) / 1e6))
            scene.repair()
            if not gun.alive:
                gun.run_for(RESTART_MS)
                gun.restart_controller()
            fit = recover(gun)
            watch.verdict()
            assert fit, f"not fit again: {gun.state.name}, latched {latched(gun)}"
            assert not latched(gun)
            if gun.state is State.SESSION:
                check_the_book(gun, watch)
            totals = gun.console.ledger.session
            if totals is None or totals.shots >= POINTS:
                break
        assert gun.console.ledger.session is None or gun.console.ledger.session.shots == POINTS or refused
        shots = [record.shot for record in gun.records() if isinstance(record, ShotGiven)]
        assert len(shots) == len(set(shots)) <= POINTS, f"shots doubled: {shots}"
        watch.verdict()


@pytest.mark.parametrize("seed", range(SEEDS), ids=lambda seed: f"seed{seed}")
def test_the_gun_stays_safe_and_its_book_true(tmp_path: Path, seed: int) -> None:
    plan = plan_of(seed)
    try:
        run(tmp_path, plan)
    except AssertionError as failure:
        pytest.fail(f"{plan}\n{failure}", pytrace=False)
