"""The light and the buzzer follow their patterns in virtual time, and never raise."""

import logging
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from gpiozero import OutputDevice

from device.controller.alarm_signal import BURSTS
from device.core.alarms import REPEAT_NS
from device.core.faults import Priority
from drivers.gpio.indicators import FLASH_MS, LIGHTS_MS, SOUNDS_MS, Indicators
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


@pytest.mark.parametrize(
    ("light", "flashes", "period_ms"),
    [(Light.SLOW, 1, 3_000), (Light.ALARM_LOW, 2, 4_000), (Light.ALARM_MEDIUM, 2, 1_600), (Light.ALARM_HIGH, 1, 500)],
)
def test_a_flashing_light_flashes_at_its_rate(stage: Stage, light: Light, flashes: int, period_ms: int) -> None:
    changes = stage.during(10 * period_ms - 1, lambda: stage.indicators.light(light))
    lit = [at_ms for at_ms, _line, level in changes if level]
    dark = [at_ms for at_ms, _line, level in changes if not level]
    assert len(lit) == 10 * flashes
    groups = lit[::flashes]
    assert all(abs(later - earlier - period_ms) <= 1 for earlier, later in pairwise(groups))
    assert all(abs(end - begin - FLASH_MS) <= 1 for begin, end in zip(lit, dark, strict=True))


def test_no_flash_can_be_taken_for_a_steady_light() -> None:
    flash_ns = FLASH_MS * 1_000_000
    assert flash_ns < READY_NS
    for durations_ms in LIGHTS_MS.values():
        assert set(durations_ms[::2]) == {FLASH_MS}
        assert min(durations_ms[1::2]) > FLASH_MS
    assert set(LIGHTS_MS) == set(Light) - {Light.ON, Light.OFF}


@pytest.mark.parametrize(
    ("light", "slowest_hz", "fastest_hz"),
    [(Light.ALARM_HIGH, 1.4, 2.8), (Light.ALARM_MEDIUM, 0.4, 0.8), (Light.SLOW, 0.1, 0.4), (Light.ALARM_LOW, 0.1, 0.4)],
)
def test_alarms_flash_at_the_standard_s_rates_and_nothing_else_does(
    light: Light, slowest_hz: float, fastest_hz: float
) -> None:
    assert slowest_hz <= 1_000 / sum(LIGHTS_MS[light]) < fastest_hz


@pytest.mark.parametrize(
    ("priority", "shortest_s", "longest_s"),
    [(Priority.HIGH, 2.5, 15), (Priority.MEDIUM, 2.5, 30), (Priority.LOW, 15, 60)],
)
def test_between_two_bursts_lies_as_long_as_the_standard_wants(
    priority: Priority, shortest_s: float, longest_s: float
) -> None:
    rest_s = REPEAT_NS[priority] / 1e9 - sum(SOUNDS_MS[BURSTS[priority]]) / 1e3
    assert shortest_s < rest_s <= longest_s


def test_the_same_light_told_again_does_not_disturb_its_pattern(stage: Stage) -> None:
    def again_and_again() -> None:
        for place in range(20):
            stage.loop.call_later(place * 0.07, stage.indicators.light, Light.ALARM_HIGH)

    changes = stage.during(4_990, again_and_again)
    assert len([change for change in changes if change[2]]) == 10


def test_a_new_light_ends_the_old_pattern(stage: Stage) -> None:
    stage.during(1_010, lambda: stage.indicators.light(Light.ALARM_HIGH))
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
        (Sound.REGION, [1]),
    ],
)
def test_each_sound_has_its_number_of_pulses(sound: Sound, pulses: list[int]) -> None:
    assert len(SOUNDS_MS) == len(Sound)
    assert len(SOUNDS_MS[sound][::2]) in pulses


def test_the_next_region_sounds_longer_than_anything_else_and_alone() -> None:
    pulses = [pulse for sound, durations in SOUNDS_MS.items() if sound is not Sound.REGION for pulse in durations[::2]]
    assert SOUNDS_MS[Sound.REGION][0] > max(pulses)


@pytest.mark.parametrize(
    ("first", "then"),
    [(Sound.REFUSED, Sound.DONE), (Sound.DONE, Sound.REFUSED), (Sound.ALARM_MEDIUM, Sound.ALARM_HIGH)],
)
def test_a_sound_cuts_off_a_lesser_one_before(stage: Stage, first: Sound, then: Sound) -> None:
    stage.during(50, lambda: stage.indicators.sound(first))
    changes = stage.during(10_000, lambda: stage.indicators.sound(then))
    assert changes[-1][0] <= sum(SOUNDS_MS[then]) + 1


@pytest.mark.parametrize("lesser", [Sound.REFUSED, Sound.DONE, Sound.REGION, Sound.ALARM_LOW, Sound.ALARM_MEDIUM])
def test_nothing_lesser_cuts_off_an_alarm_s_burst(stage: Stage, lesser: Sound) -> None:
    undisturbed = stage.during(10_000, lambda: stage.indicators.sound(Sound.ALARM_HIGH))

    def hammer() -> None:
        stage.indicators.sound(Sound.ALARM_HIGH)
        for place in range(30):
            stage.loop.call_later(0.05 + place * 0.1, stage.indicators.sound, lesser)

    assert stage.during(10_000, hammer) == undisturbed
    # The burst is over: it takes no precedence any more.
    assert len(stage.during(10_000, lambda: stage.indicators.sound(lesser))) == len(SOUNDS_MS[lesser]) + 1


def test_hushed_the_buzzer_is_silent_at_once(stage: Stage) -> None:
    stage.during(50, lambda: stage.indicators.sound(Sound.ALARM_HIGH))
    assert stage.during(10_000, stage.indicators.hush) == [(0, LINES.buzzer, False)]
    assert stage.during(10_000, stage.indicators.hush) == []
    assert stage.during(10_000, lambda: stage.indicators.sound(Sound.DONE)) != []


def test_light_and_sound_do_not_disturb_each_other(stage: Stage) -> None:
    changes = stage.during(
        1_000, lambda: stage.indicators.light(Light.ON), lambda: stage.indicators.sound(Sound.REFUSED)
    )
    assert [level for _at, line, level in changes if line == LINES.light] == [True]
    assert len([change for change in changes if change[1] == LINES.buzzer]) == 4


def test_closing_switches_both_off_for_good(stage: Stage) -> None:
    stage.during(10, lambda: stage.indicators.light(Light.ALARM_HIGH), lambda: stage.indicators.sound(Sound.ALARM_HIGH))
    stage.indicators.close()
    stage.indicators.close()
    assert not stage.world.level(LINES.light)
    assert not stage.world.level(LINES.buzzer)
    assert stage.world.owners() == set()
    assert stage.during(5_000) == []


def test_a_lamp_that_fails_is_logged_once_and_never_raises(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.factory.pin(LINES.light).function = "input"
    with caplog.at_level(logging.ERROR):
        stage.during(
            1_000, lambda: stage.indicators.light(Light.ALARM_HIGH), lambda: stage.indicators.sound(Sound.DONE)
        )
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
