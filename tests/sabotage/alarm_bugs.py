"""Planted bugs of the alarms and of the presses that fire nothing: what is not heard, not seen, or not written down."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_ALARMS: Final = "device/core/alarms.py"
_PRESSES: Final = "device/core/presses.py"
_INDICATORS: Final = "drivers/gpio/indicators.py"
_SIGNAL: Final = "device/controller/alarm_signal.py"

_TESTS_OF_ALARMS: Final = "tests/unit/test_alarms.py"
_TESTS_OF_PRESSES: Final = "tests/unit/test_presses.py"
_TESTS_OF_INDICATORS: Final = "tests/unit/test_indicators.py"
_TESTS_OF_THE_SIGNAL: Final = "tests/unit/test_alarm_signal.py"

ALARM_BUGS: Final = (
    PlantedBug(
        name="silence-that-never-ends",
        file=_ALARMS,
        changes=(("(bool(new) or now_ns >= silent_until_ns)", "bool(new)"),),
        mistake="a silenced alarm is never heard again, whatever becomes of its fault",
        breaks="alarm",
        caught_by=(f"{_TESTS_OF_ALARMS}::test_silence_pauses_the_sound_and_ends_by_itself",),
    ),
    PlantedBug(
        name="silence-that-a-new-alarm-does-not-end",
        file=_ALARMS,
        changes=(("(bool(new) or now_ns >= silent_until_ns)", "now_ns >= silent_until_ns"),),
        mistake="who silences one alarm silences the next one as well, which nobody has heard of",
        breaks="alarm",
        caught_by=(f"{_TESTS_OF_ALARMS}::test_a_new_alarm_ends_the_silence_at_once",),
    ),
    PlantedBug(
        name="newest-alarm-masks-a-higher-one",
        file=_ALARMS,
        changes=(
            (
                "    return max((each.priority for each in raised), key=_URGENCY.__getitem__)\n",
                "    return raised[-1].priority\n",
            ),
        ),
        mistake="the newest fault is signalled, not the most urgent one",
        breaks="alarm",
        caught_by=(
            f"{_TESTS_OF_ALARMS}::test_a_newer_lesser_alarm_neither_masks_the_higher_one_nor_shifts_its_bursts",
        ),
    ),
    PlantedBug(
        name="alarm-that-never-escalates",
        file=_ALARMS,
        changes=(
            (
                "        return self.waits_since_ns + UNANSWERED_NS if self.priority is Priority.MEDIUM else None\n",
                "        return None\n",
            ),
        ),
        mistake="a medium alarm stays medium however long nobody answers it",
        breaks="alarm",
        caught_by=(
            f"{_TESTS_OF_ALARMS}::test_a_medium_alarm_that_nobody_answers_becomes_high_and_stays_so_until_it_is_cleared",
        ),
    ),
    PlantedBug(
        name="refused-press-cuts-off-an-alarm",
        file=_INDICATORS,
        changes=(("        if self._buzzer.in_pattern and rank < self._rank:\n            return\n", ""),),
        mistake="a hammered trigger beeps over the burst of a high alarm, again and again",
        breaks="alarm",
        caught_by=(f"{_TESTS_OF_INDICATORS}::test_nothing_lesser_cuts_off_an_alarm_s_burst",),
    ),
    PlantedBug(
        name="low-alarm-lit-steadily",
        file=_INDICATORS,
        changes=(("    Light.ALARM_LOW: (FLASH_MS, 160, FLASH_MS, 3_760),\n", "    Light.ALARM_LOW: (3_999, 1),\n"),),
        mistake="a low alarm is lit as the standard wants it: it looks as if a press fired",
        breaks="light",
        caught_by=(f"{_TESTS_OF_INDICATORS}::test_no_flash_can_be_taken_for_a_steady_light",),
    ),
    PlantedBug(
        name="second-fault-takes-back-the-first-burst",
        file=_SIGNAL,
        changes=(
            (
                "        elif before.raised and not self._alarms.raised:\n",
                "        elif before.raised:\n",
            ),
        ),
        mistake="a second fault in the same breath hushes the first one's burst before it began",
        breaks="alarm",
        caught_by=(f"{_TESTS_OF_THE_SIGNAL}::test_two_faults_in_one_breath_sound_once",),
    ),
    PlantedBug(
        name="presses-not-told-at-the-end-of-a-run",
        file=_PRESSES,
        changes=(
            (
                "    if (session_id, reason) != (run.session_id, run.reason):\n        records += _told(run)\n",
                "    if (session_id, reason) != (run.session_id, run.reason):\n",
            ),
        ),
        mistake="presses that were held back are forgotten when the next one has another reason",
        breaks="record",
        caught_by=(f"{_TESTS_OF_PRESSES}::test_no_press_is_lost_and_none_is_told_twice",),
    ),
)
