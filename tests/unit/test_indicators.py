"""The light and the buzzer follow their patterns in virtual time, and never raise."""

import logging
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from gpiozero import OutputDevice

from drivers.gpio.indicators import FLASH_MS, LIGHT_PERIODS_MS, SOUNDS_MS, Indicators
from drivers.ports import Light, Sound
from drivers.sim.operator import READY_NS
from drivers.sim.pins import SimPinFactory
from tests.support.console import LINES, VirtualLoop, make_world, run_virtually, virtual_loop


class Stage:
    """Indicators on a simulated console in virtual time, and what their two lines did: (ms, line, level)."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.world = make_world()
        self.changes: list[tuple[int, int, bool]] = []
        self.began_ns = loop.now_ns()
        self.factory = SimPinFactory(self.world, now_ns=loop.now_ns, on_edge=self._record)
        self.indicators = Indicators(self.factory, LINES)

    def _record(self, line: int, level: bool, now_ns: int) -> None:
        self.changes.append((round((now_ns - self.began_ns) / 1e6), line, level))

    def during(self, duration_ms: int, *acts: Callable[[], None]) -> list[tuple[int, int, bool]]:
        """Do `acts` and let that time pass; return the changes."""

        async def work() -> None:
            for act in acts:
                act()
            over = self.loop.create_future()
            self.loop.call_later(duration_ms / 1000, over.set_result, None)
            await over

        self.changes.clear()
        self.began_ns = self.loop.now_ns()
        run_virtually(self.loop, work())
        return list(self.changes)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with virtual_loop() as loop:
        stage = Stage(loop)
        yield stage
        stage.indicators.close()
        stage.factory.close()
        stage.world.close()


def test_on_and_off_are_steady(stage: Stage) -> None:
    assert stage.during(5_000, lambda: stage.indicators.light(Light.ON)) == [(0, LINES.light, True)]
    assert stage.during(5_000, lambda: stage.indicators.light(Light.OFF)) == [(0, LINES.light, False)]


@pytest.mark.parametrize(("light", "period_ms"), [(Light.SLOW, 2_000), (Light.FAST, 200)])
def test_a_flashing_light_flashes_at_its_rate(stage: Stage, light: Light, period_ms: int) -> None:
    changes = stage.during(10 * period_ms - 1, lambda: stage.indicators.light(light))
    lit = [at_ms for at_ms, _line, level in changes if level]
    dark = [at_ms for at_ms, _line, level in changes if not level]
    assert len(lit) == 10
    assert all(abs(later - earlier - period_ms) <= 1 for earlier, later in pairwise(lit))
    assert all(abs(end - begin - FLASH_MS) <= 1 for begin, end in zip(lit, dark, strict=True))


def test_no_flash_can_be_taken_for_a_steady_light() -> None:
    flash_ns = FLASH_MS * 1_000_000
    assert flash_ns < READY_NS
    assert all(period_ms - FLASH_MS > FLASH_MS for period_ms in LIGHT_PERIODS_MS.values())


def test_the_same_light_told_again_does_not_disturb_its_pattern(stage: Stage) -> None:
    def again_and_again() -> None:
        for place in range(20):
            stage.loop.call_later(place * 0.07, stage.indicators.light, Light.FAST)

    changes = stage.during(1_990, again_and_again)
    assert len([change for change in changes if change[2]]) == 10


def test_a_new_light_ends_the_old_pattern(stage: Stage) -> None:
    stage.during(1_010, lambda: stage.indicators.light(Light.FAST))
    assert stage.during(3_000, lambda: stage.indicators.light(Light.OFF)) == [(0, LINES.light, False)]


@pytest.mark.parametrize("sound", list(Sound))
def test_a_sound_plays_its_pattern_once(stage: Stage, sound: Sound) -> None:
    changes = stage.during(10_000, lambda: stage.indicators.sound(sound))
    assert [line for _at, line, _level in changes] == [LINES.buzzer] * len(changes)
    assert [level for _at, _line, level in changes] == [place % 2 == 0 for place in range(len(changes))]
    durations_ms = [later[0] - earlier[0] for earlier, later in pairwise(changes)]
    assert len(durations_ms) == len(SOUNDS_MS[sound])
    assert all(abs(was - wanted) <= 1 for was, wanted in zip(durations_ms, SOUNDS_MS[sound], strict=True))


@pytest.mark.parametrize(
    ("sound", "pulses"),
    [
        (Sound.ALARM_HIGH, [10]),
        (Sound.ALARM_MEDIUM, [3]),
        (Sound.ALARM_LOW, [1, 2]),
        (Sound.REFUSED, [2]),
        (Sound.DONE, [1]),
    ],
)
def test_each_sound_has_its_number_of_pulses(sound: Sound, pulses: list[int]) -> None:
    assert len(SOUNDS_MS) == len(Sound)
    assert len(SOUNDS_MS[sound][::2]) in pulses


def test_a_sound_cuts_off_the_one_before(stage: Stage) -> None:
    stage.during(200, lambda: stage.indicators.sound(Sound.ALARM_HIGH))
    changes = stage.during(10_000, lambda: stage.indicators.sound(Sound.DONE))
    assert [level for _at, _line, level in changes][-2:] == [True, False]
    assert changes[-1][0] <= SOUNDS_MS[Sound.DONE][0] + 1


def test_light_and_sound_do_not_disturb_each_other(stage: Stage) -> None:
    changes = stage.during(
        1_000, lambda: stage.indicators.light(Light.ON), lambda: stage.indicators.sound(Sound.REFUSED)
    )
    assert [level for _at, line, level in changes if line == LINES.light] == [True]
    assert len([change for change in changes if change[1] == LINES.buzzer]) == 4


def test_closing_switches_both_off_for_good(stage: Stage) -> None:
    stage.during(10, lambda: stage.indicators.light(Light.FAST), lambda: stage.indicators.sound(Sound.ALARM_HIGH))
    stage.indicators.close()
    stage.indicators.close()
    assert not stage.world.level(LINES.light)
    assert not stage.world.level(LINES.buzzer)
    assert stage.world.owners() == set()
    assert stage.during(5_000) == []


def test_a_lamp_that_fails_is_logged_once_and_never_raises(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.factory.pin(LINES.light).function = "input"
    with caplog.at_level(logging.ERROR):
        stage.during(1_000, lambda: stage.indicators.light(Light.FAST), lambda: stage.indicators.sound(Sound.DONE))
        stage.during(1_000, lambda: stage.indicators.light(Light.ON))
    assert [record.getMessage() for record in caplog.records] == [
        (
            "the status light does not work, the gun goes on without it: "
            "cannot set state of pin SimPin(GPIO12): it is an input"
        )
    ]
    assert stage.world.edges(LINES.buzzer) == 2


def test_a_lamp_that_cannot_be_had_is_logged_and_the_buzzer_works(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.indicators.close()
    with OutputDevice(LINES.light, pin_factory=stage.factory):
        second = Indicators(stage.factory, LINES)
        stage.during(1_000, lambda: second.light(Light.ON), lambda: second.sound(Sound.DONE))
        second.close()
    assert ["status light" in record.getMessage() for record in caplog.records] == [True]
    assert stage.world.edges(LINES.buzzer) == 2


def test_a_pattern_without_an_event_loop_is_logged_and_does_not_raise(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.indicators.sound(Sound.DONE)
    stage.indicators.light(Light.ON)
    assert stage.world.level(LINES.light)
    assert ["no running event loop" in record.getMessage() for record in caplog.records] == [True]
