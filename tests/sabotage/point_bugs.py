"""Planted bugs of the regions: how many points an area has, what a mark may change, how much an area may get."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_PLAN: Final = "device/core/region_plan.py"
_PLANS: Final = "tests/unit/test_region_plan.py"
_POINTS: Final = "tests/unit/test_points.py"

POINT_BUGS: Final = (
    PlantedBug(
        name="hexagonal-points-rounded-up",
        file=_PLAN,
        changes=(("    return isqrt(4 * area_um2**2 // (3", "    return 1 + isqrt(4 * area_um2**2 // (3"),),
        mistake="a fence post: every region gets a point more than its grid has room for",
        breaks="I1",
        caught_by=(f"{_PLANS}::test_no_area_is_planned_denser_than_its_grid_and_none_thinner_by_a_point",),
    ),
    PlantedBug(
        name="magazine-runs-on-behind-a-repeat",
        file=_PLAN,
        changes=(
            ("            left=1 if self.repeating else points - index,\n", "            left=points - index,\n"),
        ),
        mistake="the magazine of a repeat holds the points behind it, and is booked for the one that is repeated",
        breaks="points",
        caught_by=(f"{_POINTS}::test_the_magazine_of_a_repeat_does_not_run_on_behind_it",),
    ),
    PlantedBug(
        name="held-trigger-goes-on-behind-a-repeat",
        file=_PLAN,
        changes=(("fresh=self.repeating or repeated or index == 0", "fresh=self.repeating or index == 0"),),
        mistake="after a repeat a held trigger gives the next point its dose at the same place",
        breaks="points",
        caught_by=(f"{_POINTS}::test_a_repeat_within_a_region_wants_a_fresh_press_before_and_behind_it",),
    ),
    PlantedBug(
        name="marks-taken-before-the-outcome",
        file="device/core/points.py",
        changes=(("if console.ledger.open_intent is not None else ()\n", "if console.session is None else ()\n"),),
        mistake="points are skipped that an unsettled magazine's shots will take",
        breaks="points",
        caught_by=(f"{_POINTS}::test_an_unsettled_magazine_takes_its_points_first",),
    ),
    PlantedBug(
        name="undo-gives-the-shot-back",
        file="device/core/ledger.py",
        changes=(
            (
                "    return replace(ledger, session=replace(ledger.session, progress=progress))\n",
                "    shots = ledger.session.shots - (len(progress.marks) < len(ledger.session.progress.marks))\n"
                "    return replace(ledger, session=replace(ledger.session, progress=progress, shots=shots))\n",
            ),
        ),
        mistake="a mark that is taken back takes back its shot from the book",
        breaks="I1",
        caught_by=(
            f"{_POINTS}::test_what_is_taken_back_is_named_and_no_dose_is",
            f"{_POINTS}::test_no_marks_change_a_dose_or_let_a_shot_pass_a_limit",
        ),
    ),
    PlantedBug(
        name="region-s-volume-forgotten",
        file="device/core/treatment.py",
        changes=(("reached_nl.get(place, booked_nl[place]) + more_nl", "reached_nl.get(place, 0) + more_nl"),),
        mistake="what a region had before counts for nothing: repeats without end",
        breaks="I1",
        caught_by=(
            f"{_POINTS}::test_a_full_region_refuses_its_points_and_the_next_region_is_reached_by_skipping",
            f"{_POINTS}::test_a_repeat_counts_in_its_region_and_is_refused_when_that_is_full",
        ),
    ),
    PlantedBug(
        name="volume-by-area-rounded-down",
        file="device/core/limits.py",
        changes=(
            (
                "self.reached_nl * 100 > most_nl_per_cm2 * self.area_mm2",
                "self.reached_nl * 100 // self.area_mm2 > most_nl_per_cm2",
            ),
        ),
        mistake="rounding lets a region pass its limit",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_a_region_may_reach_its_volume_by_area_and_not_pass_it",),
    ),
)
