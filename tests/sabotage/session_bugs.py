"""Planted bugs of what surrounds the shots of a session: check-list, vial, pause, changes, summary."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_CARE: Final = "device/core/session_care.py"
_FIRING: Final = "device/core/firing.py"
_LEDGER: Final = "device/core/ledger.py"
_VIAL: Final = "device/core/vial.py"
_CHECKLISTS: Final = "tests/unit/test_checklist.py"
_VIALS: Final = "tests/unit/test_vial.py"
_PAUSES: Final = "tests/unit/test_pause.py"
_CHANGES: Final = "tests/unit/test_changes.py"

SESSION_BUGS: Final = (
    PlantedBug(
        name="check-list-shown-and-not-held",
        file="device/core/checklist.py",
        changes=(("if item.required and item.key not in checked)", "if item.key == checked)"),),
        mistake="the check-list is shown, and the gun armed whatever is open in it",
        breaks="check-list",
        caught_by=(f"{_CHECKLISTS}::test_the_gun_is_not_armed_until_every_required_item_is_confirmed",),
    ),
    PlantedBug(
        name="half-a-command-confirmed",
        file=_CARE,
        changes=(("checklist is None or check_refusals(checklist, event.items):", "checklist is None:"),),
        mistake="a misspelt item is passed over, and the others of the command count",
        breaks="audit",
        caught_by=(
            f"{_CHECKLISTS}::test_an_unknown_item_is_refused_with_those_there_are_and_nothing_of_the_command_counts",
        ),
    ),
    PlantedBug(
        name="vial-younger-by-a-clock-set-back",
        file=_VIAL,
        changes=(("        now_ms = max(now_ms, self.told_ms, self.mixed_ms)\n", ""),),
        mistake="a clock that fell behind lets an expired lot be given again",
        breaks="vial",
        caught_by=(f"{_VIALS}::test_a_clock_that_fell_behind_makes_nothing_younger",),
    ),
    PlantedBug(
        name="syringe-young-by-a-new-vial",
        file=_LEDGER,
        changes=(("drawn=drawn_together(ledger.drawn, session.vial))", "drawn=session.vial)"),),
        mistake="what was drawn first is as young as what was drawn last",
        breaks="vial",
        caught_by=(f"{_VIALS}::test_what_is_drawn_on_top_of_something_old_is_as_old",),
    ),
    PlantedBug(
        name="restart-without-a-pause",
        file="device/core/operations.py",
        changes=(("    console, pausing = paused_by_restart(console)\n", "    pausing = ()\n"),),
        mistake="a session that a power cut interrupted is armed again as if nothing had been",
        breaks="pause",
        caught_by=(f"{_PAUSES}::test_a_restart_leaves_an_open_session_paused_and_says_so",),
    ),
    PlantedBug(
        name="pause-with-a-loaded-gun",
        file=_CARE,
        changes=(("    if console.state in (State.ARMED, State.FIRING):\n", "    if console.armed is None:\n"),),
        mistake="a pause leaves the loaded magazine in the gun: the next press fires it",
        breaks="pause",
        caught_by=(f"{_PAUSES}::test_a_pause_unloads_what_is_loaded_and_lets_the_running_shot_end",),
    ),
    PlantedBug(
        name="pause-taken-back-by-arming",
        file=_FIRING,
        changes=(("    if why := paused(console):\n", "    if why := paused(console)[1:]:\n"),),
        mistake="an arming in the midst of the loading takes the pause back",
        breaks="pause",
        caught_by=(f"{_PAUSES}::test_a_pause_gives_up_what_is_being_prepared_and_tells_who_waits_for_it",),
    ),
    PlantedBug(
        name="needle-for-ever",
        file="device/core/limits.py",
        changes=(("    if needle_shots + 1 > limits.needle_shots:\n", "    if needle_shots > limits.needle_shots:\n"),),
        mistake="a fence post: one shot more than the needle may give",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_a_needle_gives_so_many_shots_and_no_more",),
    ),
    PlantedBug(
        name="new-needle-fired-unprimed",
        file=_LEDGER,
        changes=(
            ("return replace(_put_on(ledger, record.needle), unprimed=True)", "return _put_on(ledger, record.needle)"),
        ),
        mistake="the first shots of a new needle are air, and booked as serum",
        breaks="dose",
        caught_by=(f"{_CHANGES}::test_a_new_needle_counts_its_shots_anew_and_wants_a_prime",),
    ),
    PlantedBug(
        name="new-vial-as-empty-as-the-old",
        file=_LEDGER,
        changes=(("vial=vial, drawn_nl=0, earlier", "vial=vial, earlier"),),
        mistake="what the old vial gave counts against the new one",
        breaks="vial",
        caught_by=(f"{_CHANGES}::test_a_new_vial_is_full_and_the_plan_goes_on",),
    ),
    PlantedBug(
        name="summary-by-any-key",
        file="device/service/summary_commands.py",
        changes=(("    if by.public_key not in known:\n", "    if not by.public_key:\n"),),
        mistake="whoever has a key of his own can sign a summary that counts",
        breaks="audit",
        caught_by=("tests/unit/test_summary.py::test_another_consoles_summary_is_not_taken_for_this_ones",),
    ),
)
