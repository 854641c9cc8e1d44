"""What the controller makes seen and heard of its faults, in virtual time, and the command that silences it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from device.controller.alarm_signal import ALARM_LIGHTS, BURSTS, AlarmSignal
from device.controller.loop import LIGHTS
from device.core.console import State
from device.core.effects import Commit, Reply, SilenceAlarm
from device.core.events import AlarmSilenceRequested, Request
from device.core.faults import Fault, Priority
from device.core.machine import step
from device.core.records import CommandTaken
from device.service.treatment_commands import _alarm_words
from drivers.ports import Light, Sound
from tests.support.console import VirtualLoop, run_virtually, virtual_loop
from tests.support.machine import CONSOLES

HIGH, HIGH_TOO, MEDIUM = int(Fault.STOP_PRESSED), int(Fault.PUMP_SILENT), int(Fault.STEP_LATE)
SILENCE = AlarmSilenceRequested(Request(number=9, uid=1001, pid=78))


class Stage:
    """The signal in virtual time; `seen` and `heard` are what its indicators were told, with the second."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.seen: list[tuple[float, Light]] = []
        self.heard: list[tuple[float, Sound | None]] = []
        self.changes = 0
        self.signal = AlarmSignal(self, changed=self._changed)
        self._began_s = loop.time()

    def light(self, light: Light) -> None:
        if not self.seen or self.seen[-1][1] is not light:
            self.seen.append((self._now_s(), light))

    def sound(self, sound: Sound) -> None:
        self.heard.append((self._now_s(), sound))

    def hush(self) -> None:
        self.heard.append((self._now_s(), None))

    def close(self) -> None: ...

    def _changed(self) -> None:
        self.changes += 1

    def _now_s(self) -> float:
        return round(self.loop.time() - self._began_s, 3)

    def during(self, duration_s: float, *acts: Callable[[], Any]) -> None:
        """Do `acts` and let that time pass."""

        async def work() -> None:
            for act in acts:
                act()
            over = self.loop.create_future()
            self.loop.call_later(duration_s, over.set_result, None)
            await over

        run_virtually(self.loop, work())

    def follow(self, *faults: int) -> Callable[[], None]:
        state = State.FAULT if faults else State.SESSION
        return lambda: self.signal.follow(LIGHTS[state], faults)

    def values(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.during(0, lambda: found.update(self.signal.values()))
        return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    with virtual_loop() as loop:
        stage = Stage(loop)
        yield stage
        stage.signal.close()


# --- what is seen and heard --------------------------------------------------------------------------------------


def test_a_burst_begins_when_the_loop_is_next_free_and_never_in_front_of_what_made_safe(stage: Stage) -> None:
    stage.during(1, stage.follow(HIGH), lambda: stage.heard.append((-1, Sound.DONE)))
    assert stage.heard == [(-1, Sound.DONE), (0, Sound.ALARM_HIGH)]


def test_bursts_repeat_until_the_fault_is_cleared_and_then_nothing_is_left_to_sound(stage: Stage) -> None:
    stage.during(25, stage.follow(HIGH))
    stage.during(100, stage.follow())
    assert stage.heard == [(0, Sound.ALARM_HIGH), (10, Sound.ALARM_HIGH), (20, Sound.ALARM_HIGH), (25, None)]
    assert stage.seen == [(0, Light.ALARM_HIGH), (25, Light.SLOW)]
    assert not [timer for timer in stage.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


def test_told_the_same_again_and_again_the_signal_is_not_disturbed(stage: Stage) -> None:
    for _ in range(9):
        stage.during(1, stage.follow(MEDIUM))
    assert stage.heard == [(0, Sound.ALARM_MEDIUM)]
    assert stage.seen == [(0, Light.ALARM_MEDIUM)]


def test_the_light_is_the_alarm_s_whatever_the_state(stage: Stage) -> None:
    # Also while everything is tested again: a fault from before the start still holds.
    stage.during(1, lambda: stage.signal.follow(LIGHTS[State.SELF_TEST], (MEDIUM,)))
    stage.during(1, lambda: stage.signal.follow(LIGHTS[State.FAULT], (MEDIUM,)))
    stage.during(1, lambda: stage.signal.follow(Light.ON, (MEDIUM,)))
    assert stage.seen == [(0, Light.ALARM_MEDIUM)]


def test_two_faults_in_one_breath_sound_once(stage: Stage) -> None:
    stage.during(1, stage.follow(HIGH), stage.follow(HIGH, MEDIUM))
    assert stage.heard == [(0, Sound.ALARM_HIGH)]


def test_a_fault_that_does_not_latch_sounds_once_and_leaves_the_state_s_light(stage: Stage) -> None:
    stage.during(100, stage.follow(), lambda: stage.signal.once(Priority.MEDIUM))
    assert stage.heard == [(0, Sound.ALARM_MEDIUM)]
    assert stage.seen == [(0, Light.SLOW)]


def test_a_medium_alarm_that_nobody_answers_flashes_sounds_and_is_told_as_high(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.during(61, stage.follow(MEDIUM))
    assert stage.seen == [(0, Light.ALARM_MEDIUM), (60, Light.ALARM_HIGH)]
    assert stage.heard[-1:] == [(60, Sound.ALARM_HIGH)]
    assert stage.values() == {"alarm_priority": "high", "alarm_escalated": True, "alarm_silenced_ms": 0}
    assert stage.changes == 1
    assert [record.getMessage() for record in caplog.records] == ["nobody answered the alarm: it is high now"]


def test_silence_stops_a_running_burst_at_once_leaves_the_light_and_ends_by_itself(stage: Stage) -> None:
    stage.during(1, stage.follow(HIGH))
    stage.during(0.5, stage.signal.silence)
    assert stage.values() == {"alarm_priority": "high", "alarm_escalated": False, "alarm_silenced_ms": 119_500}
    stage.during(130)
    assert stage.heard == [(0, Sound.ALARM_HIGH), (1, None), (121, Sound.ALARM_HIGH), (131, Sound.ALARM_HIGH)]
    assert stage.seen == [(0, Light.ALARM_HIGH)]
    assert stage.values()["alarm_silenced_ms"] == 0
    assert stage.changes == 2


def test_a_silence_in_the_same_breath_as_the_fault_lets_nothing_sound(stage: Stage) -> None:
    stage.during(5, stage.follow(HIGH), stage.signal.silence)
    assert stage.heard == [(0, None)]


def test_a_new_alarm_sounds_through_the_silence(stage: Stage) -> None:
    stage.during(1, stage.follow(HIGH), stage.signal.silence)
    stage.during(1, stage.follow(HIGH, HIGH_TOO))
    assert stage.heard[-1] == (1, Sound.ALARM_HIGH)


def test_closed_it_leaves_no_timer(stage: Stage) -> None:
    stage.during(1, stage.follow(HIGH))
    stage.during(1_000, stage.signal.close)
    assert stage.heard == [(0, Sound.ALARM_HIGH)]


def test_without_an_alarm_there_is_none_to_tell_and_no_clock_is_asked() -> None:
    with virtual_loop() as loop:
        values = Stage(loop).signal.values()
    assert values == {"alarm_priority": "none", "alarm_escalated": False, "alarm_silenced_ms": 0}


def test_every_priority_has_a_light_and_a_burst_of_its_own() -> None:
    assert len(set(ALARM_LIGHTS.values())) == len(set(BURSTS.values())) == len(Priority)


# --- the command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_an_alarm_can_be_silenced_in_every_state_that_has_one(state: State) -> None:
    console = CONSOLES[state]
    console = replace(console, ledger=replace(console.ledger, faults=(101,)))
    silent, effects = step(console, SILENCE)
    taken = CommandTaken(command="alarm silence", uid=1001, pid=78, accepted=True, reason="")
    assert effects == (SilenceAlarm(), Commit((taken,)), Reply(SILENCE.request, accepted=True, reasons=()))
    assert silent == console


@pytest.mark.parametrize("state", [state for state in State if state is not State.FAULT])
def test_without_an_alarm_silencing_is_refused_with_one_line(state: State) -> None:
    _, effects = step(CONSOLES[state], SILENCE)
    taken = CommandTaken(command="alarm silence", uid=1001, pid=78, accepted=False, reason="no alarm is active")
    assert effects == (Commit((taken,)), Reply(SILENCE.request, accepted=False, reasons=("no alarm is active",)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("high", False, 0), "high, sounding"),
        (("high", True, 0), "high: nobody answered it, sounding"),
        (("medium", False, 119_001), "medium, silent for 120 s"),
    ],
)
def test_status_says_how_urgent_the_alarm_is_and_for_how_long_it_is_silent(
    values: tuple[str, bool, int], words: str
) -> None:
    assert (
        _alarm_words(dict(zip(("alarm_priority", "alarm_escalated", "alarm_silenced_ms"), values, strict=True)))
        == words
    )
