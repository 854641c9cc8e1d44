"""Planted bugs of trigger and stop: which press counts, and what it may fire."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_SWITCHES: Final = "device/core/switches.py"
_SHOTS: Final = "device/core/scan_shots.py"

_TESTS_OF_SWITCHES: Final = "tests/unit/test_switches.py"
_TESTS: Final = "tests/unit/test_stroke.py"

TRIGGER_BUGS: Final = (
    PlantedBug(
        name="no-lock-out",
        file=_SWITCHES,
        changes=(
            ("    if both != pressed and now_ns - changed_ns >= timing.lockout_ns:\n", "    if both != pressed:\n"),
        ),
        mistake="a bouncing contact is a second press",
        breaks="I4",
        caught_by=(f"{_TESTS_OF_SWITCHES}::test_a_release_counts_only_when_the_lock_out_is_over",),
    ),
    PlantedBug(
        name="press-on-one-channel",
        file=_SWITCHES,
        changes=(
            ("    both = inputs.trigger_a and inputs.trigger_b\n", "    both = inputs.trigger_a or inputs.trigger_b\n"),
        ),
        mistake="one broken wire of the trigger fires",
        breaks="I4",
        caught_by=(f"{_TESTS_OF_SWITCHES}::test_one_channel_alone_is_no_press",),
    ),
    PlantedBug(
        name="stop-channel-b-ignored",
        file=_SWITCHES,
        changes=(("    stop = inputs.stop_a or inputs.stop_b\n", "    stop = inputs.stop_a\n"),),
        mistake="only one contact of the stop button is looked at",
        breaks="I5",
        caught_by=(f"{_TESTS_OF_SWITCHES}::test_either_stop_channel_stops_at_once",),
    ),
    PlantedBug(
        name="channels-may-differ-for-ever",
        file=_SWITCHES,
        changes=(("        stop_disagrees=0 <= stop_since < now_ns - timing.discrepancy_ns,\n", ""),),
        mistake="a stop button with one broken contact is never found",
        breaks="I5",
        caught_by=(
            f"{_TESTS_OF_SWITCHES}::test_channels_disagree_when_they_differ_for_longer_than_the_discrepancy_time",
        ),
    ),
    PlantedBug(
        name="disagreement-taken-for-settled",
        file=_SWITCHES,
        changes=(("    return agree and known and switches.at_rest\n", "    return known and switches.at_rest\n"),),
        mistake="the short way looks at one channel of each switch: the other one may differ for ever",
        breaks="I5",
        caught_by=("tests/unit/test_switch_channels.py::test_a_channel_that_differs_alone_is_found",),
    ),
    PlantedBug(
        name="held-trigger-fires-again",
        file=_SHOTS,
        changes=(("auto=loaded.magazine.mode is not Mode.SINGLE)", "auto=state.switches.pressed)"),),
        mistake="a trigger that is still held fires the next single shot",
        breaks="I4",
        caught_by=(f"{_TESTS}::test_a_held_trigger_never_fires_a_second_single_shot",),
    ),
    PlantedBug(
        name="refused-press-fires-later",
        file=_SHOTS,
        changes=(("    return state._replace(press_spent=True)\n", "    return state\n"),),
        mistake="a press that was refused fires when the next magazine is loaded",
        breaks="I4",
        caught_by=(f"{_TESTS}::test_a_refused_press_that_stays_held_fires_nothing_later_but_a_new_press_does",),
    ),
    PlantedBug(
        name="fresh-press-not-wanted",
        file=_SHOTS,
        changes=((" and pressed and not magazine.fresh_press,", " and pressed,"),),
        mistake="after a fault or in a new region a trigger that is still held fires at once",
        breaks="I4",
        caught_by=(
            "tests/unit/test_stroke_endings.py"
            "::test_a_trigger_held_from_the_last_magazine_fires_nothing_where_a_fresh_press_is_wanted",
        ),
    ),
    PlantedBug(
        name="interval-skipped",
        file=_SHOTS,
        changes=(
            (
                "    if loaded.auto or now_ns < state.last_start_ns + loaded.magazine.interval_ns:\n",
                "    if loaded.auto:\n",
            ),
        ),
        mistake="presses fire as fast as they come",
        breaks="I1",
        caught_by=(f"{_TESTS}::test_presses_during_a_stroke_and_before_the_interval_fire_nothing_and_say_so",),
    ),
    PlantedBug(
        name="one-shot-more-than-loaded",
        file=_SHOTS,
        changes=(
            ("    if loaded.fired >= loaded.magazine.shots:\n", "    if loaded.fired > loaded.magazine.shots:\n"),
        ),
        mistake="a fence post: the magazine is fired once more than it has shots",
        breaks="I4",
        caught_by=(f"{_TESTS}::test_a_burst_fires_all_its_shots_at_their_interval",),
    ),
    PlantedBug(
        name="burst-goes-on-after-the-release",
        file=_SHOTS,
        changes=(
            (
                "    if bound_to_trigger and not state.switches.pressed:\n",
                "    if bound_to_trigger and state.position:\n",
            ),
        ),
        mistake="shots go on although the trigger was let go",
        breaks="I4",
        caught_by=(f"{_TESTS}::test_a_continuous_trigger_fires_while_it_is_held_and_not_after_the_release",),
    ),
    PlantedBug(
        name="release-ignored-in-hold-mode",
        file=_SHOTS,
        changes=(
            (
                "    return loaded.magazine.trigger is TriggerStyle.HOLD and not state.switches.pressed\n",
                "    return False\n",
            ),
        ),
        mistake="letting go does not end the dose",
        breaks="I4",
        caught_by=(
            f"{_TESTS}::test_a_release_before_any_gate_turns_the_needle_round_and_gives_nothing",
            f"{_TESTS}::test_a_release_ends_the_running_phase_whole_and_opens_no_other",
        ),
    ),
    PlantedBug(
        name="unload-ignored-in-a-burst",
        file=_SHOTS,
        changes=(("    if loaded.unload:\n", "    if loaded.unload and loaded.magazine.mode is Mode.SINGLE:\n"),),
        mistake="a disarmed burst is fired to its end",
        breaks="I4",
        caught_by=(f"{_TESTS}::test_unload_completes_the_running_shot_and_fires_no_other",),
    ),
    PlantedBug(
        name="fires-without-contact",
        file=_SHOTS,
        changes=(
            (
                "    if loaded.magazine.require_contact and not inputs.contact:\n        return PressRefusal.NO_"
                "CONTACT\n",
                "",
            ),
        ),
        mistake="a press in the air fires",
        breaks="I3",
        caught_by=(f"{_TESTS}::test_a_press_without_contact_fires_nothing_and_says_so",),
    ),
)
