"""Frames and answers lost or late on a real pty, before arming and while firing: every dose is given once.

The troubles are the pump's: it does not hear a frame, loses an answer it has acted upon, or answers after the driver
has asked again. The world counts what left the needle; more than was booked, or a shot twice, fails. Of what a fault
broke off the encoder's resolution more is booked.
"""

from collections.abc import Iterator
from random import Random

import pytest

from device.core.records import FaultRaised, MagazineSettled, ShotGiven
from device.core.settlement import POSITION_TOLERANCE
from tests.support.console_processes import LATE, SimulatedConsole, quick_configuration, simulated_console, until

SHOT_INCREMENTS = 240
ROUNDS = 4
SHOTS = 3
DELAY_MS = 150


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedConsole]:
    directory = tmp_path_factory.mktemp("exactly-once")
    with simulated_console(directory / "state", quick_configuration(directory / "config").directory) as found:
        found.start()
        yield found


def trouble(console: SimulatedConsole, kind: str) -> None:
    """Ask the pump for one more trouble of this kind."""
    world = console.world
    if kind == "lost frame":
        world.trouble_drop_frames += 1
    elif kind == "lost answer":
        world.trouble_drop_answers += 1
    else:
        world.trouble_delay_ms = DELAY_MS
        world.trouble_delay_answers += 1


@pytest.mark.parametrize("kind", ["lost frame", "lost answer", "late answer"])
def test_every_shot_is_given_once_whatever_the_line_loses(console: SimulatedConsole, kind: str) -> None:
    random = Random(kind)
    console.make_ready(regions={"front": ROUNDS * SHOTS})
    given, booked, shots = console.given(), console.booked(), len(console.records(ShotGiven))
    faults, settled = len(console.records(FaultRaised)), len(console.records(MagazineSettled))

    while (left := ROUNDS * SHOTS - int(console.status()["shots"])) > 0:
        if random.random() < 0.5:
            trouble(console, kind)
        console.ask("arm")
        fire(console, kind, random, strokes=min(SHOTS, left))
        console.until_settled()
        raised = console.records(FaultRaised)[faults:]
        assert {record.code for record in raised} <= LATE
        if console.faults:
            console.ask("fault_clear")

    console.until_state("session")
    console.until_settled()
    fresh = console.records(ShotGiven)[shots:]
    if not console.records(FaultRaised)[faults:]:
        assert [shot.outcome for shot in fresh] == ["delivered"] * ROUNDS * SHOTS
        assert console.given() - given == ROUNDS * SHOTS * SHOT_INCREMENTS
    assert [shot.shot for shot in fresh] == list(range(1, ROUNDS * SHOTS + 1))
    broken_off = sum(record.reason == "fault" for record in console.records(MagazineSettled)[settled:])
    assert 0 <= console.booked() - booked - (console.given() - given) <= broken_off * POSITION_TOLERANCE
    assert console.given() - given <= ROUNDS * SHOTS * SHOT_INCREMENTS
    assert console.spilled() == 0
    console.verify()
    console.ask("session_stop")


def fire(console: SimulatedConsole, kind: str, random: Random, *, strokes: int) -> None:
    """Hold the trigger for some strokes with troubles at random moments, let go, and disarm."""
    goal = console.world.strokes + strokes
    moments = iter(sorted(random.uniform(0, 0.4) for _ in range(2)))
    due = next(moments)
    console.press()
    began_ns = console.operator.now_ns()

    def fired() -> bool:
        nonlocal due
        if (console.operator.now_ns() - began_ns) / 1e9 > due:
            trouble(console, kind)
            due = next(moments, float("inf"))
        return console.turned_round(goal) or console.motor_off()

    until(fired, look_s=0.001)
    console.let_go()
    until(lambda: console.state_name in ("armed", "session", "fault"))
    if console.state_name == "armed":
        console.ask("disarm")
    until(lambda: console.state_name in ("session", "fault"))
