"""Planted bugs of the limits and the plan: what may be given, and how a dose becomes increments."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_LIMITS: Final = "device/core/limits.py"
_PLAN: Final = "device/core/shot_plan.py"
_TREATMENT: Final = "device/core/treatment.py"
_WHOLE: Final = "tests/unit/test_whole_session.py"

_DAY: Final = "device/core/patient_day.py"
_DAYS: Final = "tests/unit/test_patient_day.py"

_CALIBRATION: Final = "device/core/calibration.py"
_CALIBRATIONS: Final = "tests/unit/test_calibration.py"

_FORMULARY: Final = "device/core/formulary.py"
_FORMULARIES: Final = "tests/unit/test_formulary.py"
_BUNDLE: Final = "device/settings/bundle.py"
_BUNDLES: Final = "tests/unit/test_bundle.py"

_COURSE: Final = "device/core/course.py"
_COURSES: Final = "tests/unit/test_course.py"
_COURSE_SESSIONS: Final = "tests/unit/test_course_sessions.py"

_HOURS: Final = "tests/unit/test_patient_hour.py"
_SOFT: Final = "tests/unit/test_soft_limits.py"
_NEVER: Final = "tests/unit/test_never_past_a_limit.py"

LIMIT_BUGS: Final = (
    PlantedBug(
        name="one-needle-for-two-patients",
        file="device/core/operations.py",
        changes=(("        *needle_refusals(console.ledger, event.needle, patient=event.patient),\n", ""),),
        mistake="the next patient's session starts with the needle of the last one",
        breaks="needle",
        caught_by=("tests/unit/test_changes.py::test_a_needle_that_was_used_on_a_patient_is_refused_for_another",),
    ),
    PlantedBug(
        name="a-gaps-word-lifts-soft-limits",
        file="device/core/operations.py",
        changes=(
            (
                "    records = (taken(event), started, *overridden)\n",
                "    lifted = overridden_at_start(event, next_shot_refusals(opened, session))[1]\n"
                "    opened, overridden = book(opened, *lifted), (*overridden, *lifted)\n"
                "    records = (taken(event), started, *overridden)\n",
            ),
        ),
        mistake="a reason for an early session goes beyond every soft limit as well",
        breaks="audit",
        caught_by=(f"{_SOFT}::test_a_word_about_a_courses_gap_lifts_no_soft_limit",),
    ),
    PlantedBug(
        name="hour-begins-anew-with-a-session",
        file="device/core/ledger.py",
        changes=(
            ("        _dated(ledger, record.at_ms),\n", "        _dated(ledger, record.at_ms),\n        runs=(),\n"),
        ),
        mistake="stopping and starting a session gives the patient a new hour",
        breaks="I1",
        caught_by=(f"{_HOURS}::test_a_new_session_begins_no_new_hour", _NEVER),
    ),
    PlantedBug(
        name="hour-forgotten-by-a-clock-set-back",
        file="device/core/patient_hour.py",
        changes=(("now_ms - run.last_ms < HOUR_MS)", "0 <= now_ms - run.last_ms < HOUR_MS)"),),
        mistake="shots that were given in the future by the clock are taken for old ones",
        breaks="I1",
        caught_by=(f"{_HOURS}::test_what_lies_in_the_future_or_nowhere_counts",),
    ),
    PlantedBug(
        name="override-by-anybody",
        file="device/core/overriding.py",
        changes=(("    if not event.request.may_override:\n        reasons.append(MAY_NOT)\n", ""),),
        mistake="whoever may use the control socket goes beyond a soft limit",
        breaks="audit",
        caught_by=(f"{_SOFT}::test_an_account_that_may_not_override_is_refused_and_recorded",),
    ),
    PlantedBug(
        name="override-of-a-hard-limit",
        file=_TREATMENT,
        changes=(("    return hard + soft", "    return (() if totals and totals.overridden else hard) + soft"),),
        mistake="who goes beyond a soft limit goes beyond the hard one behind it",
        breaks="I1",
        caught_by=(f"{_SOFT}::test_beyond_a_soft_limit_the_hard_one_holds", _NEVER),
    ),
    PlantedBug(
        name="override-outlives-its-session",
        file="device/core/ledger.py",
        changes=(
            (
                "    return SessionTotals(record, progress=",
                '    return SessionTotals(record, overridden=("soft.session_ml",), progress=',
            ),
        ),
        mistake="an override holds for the next patient as well",
        breaks="audit",
        caught_by=(f"{_SOFT}::test_an_override_ends_with_its_session",),
    ),
    PlantedBug(
        name="unsigned-formulary-primes",
        file="device/core/operations.py",
        changes=(("(*unusable_formulary(console, at_ms), *too_old(console, at_ms))", "too_old(console, at_ms)"),),
        mistake="the signature is asked for at the session's start and at no other way to fluid",
        breaks="I8",
        caught_by=(f"{_FORMULARIES}::test_no_path_to_fluid_leads_past_an_unsigned_formulary",),
    ),
    PlantedBug(
        name="formulary-that-ends-while-armed",
        file="device/core/treatment.py",
        changes=((", *unusable_formulary(console, console.now_ms))", ",)"),),
        mistake="a gun once armed goes on under a formulary that has expired since",
        breaks="I8",
        caught_by=(f"{_FORMULARIES}::test_a_gun_that_is_armed_when_the_formulary_ends_is_given_no_other_magazine",),
    ),
    PlantedBug(
        name="expired-formulary",
        file=_FORMULARY,
        changes=(("if max(now_ms, formulary.signed_ms) >= formulary", "if now_ms > 2 * formulary"),),
        mistake="a formulary holds for ever",
        breaks="I8",
        caught_by=(f"{_FORMULARIES}::test_why_nothing_is_released",),
    ),
    PlantedBug(
        name="older-formulary-taken-silently",
        file=_FORMULARY,
        changes=(("(taken is None or formulary.version > taken.version)", "bool(formulary.version)"),),
        mistake="a start with last year's formulary takes it without anybody's word",
        breaks="I8",
        caught_by=(f"{_FORMULARIES}::test_what_is_bad_or_older_is_not_taken_at_the_start",),
    ),
    PlantedBug(
        name="file-altered-after-the-signing",
        file=_BUNDLE,
        changes=(("        if signed[path] != files[path]:\n", "        if not files[path]:\n"),),
        mistake="the manifest's signature is checked and its digests are not",
        breaks="I8",
        caught_by=(f"{_BUNDLES}::test_what_was_tampered_with_is_told_in_one_line",),
    ),
    PlantedBug(
        name="key-of-the-demo-on-a-real-console",
        file=_BUNDLE,
        changes=(("    if key.simulated_only and not simulated:\n", "    if not key:\n"),),
        mistake="the key that everybody has signs for real consoles",
        breaks="I8",
        caught_by=(f"{_BUNDLES}::test_the_shipped_formulary_is_signed_for_simulated_consoles_and_for_no_other",),
    ),
    PlantedBug(
        name="too-early-let-through",
        file=_COURSE,
        changes=(("    if found.earliest is not None and gap < found.earliest - past.day:\n", "    if gap < 0:\n"),),
        mistake="a course's next session starts the day after the last one",
        breaks="course",
        caught_by=(f"{_COURSES}::test_too_early_is_refused_with_the_day_that_it_waits_for",),
    ),
    PlantedBug(
        name="lapsed-course-goes-on",
        file=_COURSE,
        changes=(
            (
                "Verdict.LATE if gap <= block.greatest_days else Verdict.LAPSED",
                "Verdict.LATE if gap else Verdict.LAPSED",
            ),
        ),
        mistake="a course that has lapsed is only late, and goes on without anybody's word",
        breaks="course",
        caught_by=(f"{_COURSES}::test_a_lapsed_course_is_named_with_what_it_means",),
    ),
    PlantedBug(
        name="due-by-a-clock-that-fell-behind",
        file=_COURSE,
        changes=(("    gap = max(0, today - past.day)\n", "    gap = abs(today - past.day)\n"),),
        mistake="a clock that stands a week in the past makes the next session due at once",
        breaks="course",
        caught_by=(f"{_COURSES}::test_a_clock_that_fell_behind_makes_no_session_due",),
    ),
    PlantedBug(
        name="new-round-at-once",
        file=_COURSE,
        changes=(("    least = course.block_of(past.given).least_days\n", "    least = 0\n"),),
        mistake="whoever asks for a new round need not wait for the next session's day",
        breaks="course",
        caught_by=(f"{_COURSES}::test_a_lapsed_course_may_begin_anew_and_none_may_to_get_round_its_least_gap",),
    ),
    PlantedBug(
        name="override-without-a-name",
        file="device/core/overriding.py",
        changes=(("    if not reason or not by:\n", "    if not reason:\n"),),
        mistake="a soft limit is overridden by nobody",
        breaks="audit",
        caught_by=(f"{_COURSE_SESSIONS}::test_half_an_override_is_none",),
    ),
    PlantedBug(
        name="override-of-every-limit",
        file="device/core/overriding.py",
        changes=(("    return tuple(one for one in refusals if not one.figure), tuple(", "    return (), tuple("),),
        mistake="an override lifts what is not soft as well",
        breaks="course",
        caught_by=(f"{_COURSE_SESSIONS}::test_an_override_of_a_course_overrides_no_hard_limit",),
    ),
    PlantedBug(
        name="expired-calibration-arms",
        file=_CALIBRATION,
        changes=(("    elif max(now_ms, found.at_ms) >= found.expires_ms:\n", "    elif found.expires_ms == 0:\n"),),
        mistake="a calibration holds for ever",
        breaks="I8",
        caught_by=(f"{_CALIBRATIONS}::test_the_gun_is_armed_until_the_calibration_expires",),
    ),
    PlantedBug(
        name="calibration-of-another-file",
        file=_CALIBRATION,
        changes=(("if one.syringe_sha256 == syringe_sha256), None)", "if syringe_sha256), None)"),),
        mistake="any syringe's calibration arms the gun with every other",
        breaks="I8",
        caught_by=(f"{_CALIBRATIONS}::test_a_syringe_whose_file_has_changed_must_be_measured_again",),
    ),
    PlantedBug(
        name="restarted-session-arms-uncalibrated",
        file="device/core/firing.py",
        changes=(("(*_uncalibrated(console, event), *not_cared_for(console))", "not_cared_for(console)"),),
        mistake="the calibration is asked for at the session's start and never again",
        breaks="I8",
        caught_by=(f"{_CALIBRATIONS}::test_a_session_that_goes_on_after_a_restart_is_not_armed_without_a_calibration",),
    ),
    PlantedBug(
        name="yesterday-forgotten-by-a-clock-set-back",
        file=_DAY,
        changes=(("now_ms - session.ended_ms < DAY_MS)", "0 <= now_ms - session.ended_ms < DAY_MS)"),),
        mistake="a session that ended in the future by the clock is taken for one long past",
        breaks="I1",
        caught_by=(f"{_DAYS}::test_a_session_counts_for_a_day_from_its_end",),
    ),
    PlantedBug(
        name="session-of-unknown-end-forgotten",
        file=_DAY,
        changes=(("(session.ended_ms == UNKNOWN_MS or now_ms", "(session.ended_ms != UNKNOWN_MS and now_ms"),),
        mistake="what a session gave that a restart had ended counts for nobody",
        breaks="I1",
        caught_by=(f"{_DAYS}::test_a_session_counts_for_a_day_from_its_end",),
    ),
    PlantedBug(
        name="second-session-begins-at-nothing",
        file=_LIMITS,
        changes=(("reached_ug = earlier_ug + ingredient", "reached_ug = ingredient"),),
        mistake="stop and start again: the patient gets the whole limit of an ingredient once more",
        breaks="I1",
        caught_by=(f"{_DAYS}::test_no_order_of_sessions_gives_more_of_an_ingredient_in_any_day_than_its_limit",),
    ),
    PlantedBug(
        name="day-volume-without-the-session-before",
        file=_LIMITS,
        changes=(
            (
                "    if before.volume_nl + total_nl > limits.patient_day_nl:\n",
                "    if total_nl > limits.patient_day_nl:\n",
            ),
        ),
        mistake="the volume of a day is held by each session alone",
        breaks="I1",
        caught_by=(f"{_DAYS}::test_the_volume_of_a_day_holds_over_all_serums",),
    ),
    PlantedBug(
        name="ended-session-not-kept",
        file="device/core/ledger.py",
        changes=(("past=remembered(ledger.past, given))", "past=ledger.past)"),),
        mistake="the ledger forgets a session when it ends",
        breaks="I1",
        caught_by=(f"{_DAYS}::test_a_second_session_goes_on_where_the_first_one_left_the_limit",),
    ),
    PlantedBug(
        name="play-left-open",
        file=_TREATMENT,
        changes=(("return len(shots) >= fewest and not console.ledger.play_open", "return len(shots) >= fewest"),),
        mistake="a shot is given with the drive's play open, less than its dose, and booked whole",
        breaks="I2",
        caught_by=(
            "tests/unit/test_machine_treatment.py"
            "::test_a_plunger_that_was_left_drawn_up_comes_to_its_place_from_above_before_it_gives",
        ),
    ),
    PlantedBug(
        name="consoles-session-volume-skipped",
        file=_LIMITS,
        changes=(
            ('(("limits.session_ml", limits.session_nl), ("session_volume_ml"', '(("session_volume_ml"'),
            ("profile.session_volume_nl)):\n        if total_nl", "profile.session_volume_nl),):\n        if total_nl"),
        ),
        mistake="only the profile's own volume ends a session, not the console's",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_the_session_ends_at_the_profiles_volume_and_at_the_consoles",),
    ),
    PlantedBug(
        name="session-volume-without-the-next-shot",
        file=_LIMITS,
        changes=(("        if total_nl > most_nl:\n", "        if booked_nl > most_nl:\n"),),
        mistake="the limit is looked at after the shot that passes it",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_the_session_ends_at_the_profiles_volume_and_at_the_consoles",),
    ),
    PlantedBug(
        name="one-shot-too-many",
        file=_LIMITS,
        changes=(("        if booked_shots + 1 > most:\n", "        if booked_shots > most:\n"),),
        mistake="a fence post: one shot more than the session may have",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_the_session_ends_at_the_profiles_shots_and_at_the_consoles",),
    ),
    PlantedBug(
        name="points-never-done",
        file=_LIMITS,
        changes=(("    if planned_shots and points_left < 1:\n", "    if booked_shots < 0:\n"),),
        mistake="a session goes on after its last planned point",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_no_shot_beyond_the_planned_points",),
    ),
    PlantedBug(
        name="ingredient-limit-skipped",
        file=_LIMITS,
        changes=(("if most_ug is not None and reached_ug > most_ug:", "if most_ug == 0:"),),
        mistake="an anaesthetic's most is shown and not held",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_an_ingredient_may_reach_its_limit_and_not_pass_it",),
    ),
    PlantedBug(
        name="larger-of-two-ingredient-limits",
        file=_LIMITS,
        changes=(("return min(bounds) if bounds else None", "return max(bounds) if bounds else None"),),
        mistake="of an absolute limit and one per kilogram the larger holds",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_the_smaller_of_two_limits_of_an_ingredient_holds",),
    ),
    PlantedBug(
        name="weight-not-asked-for",
        file=_LIMITS,
        changes=(
            ("        if ingredient.most_ug_per_kg is not None and weight_g is None\n", "        if weight_g == 0\n"),
        ),
        mistake="without the patient's weight a limit per kilogram silently does not exist",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_a_limit_per_kilogram_needs_the_weight_before_the_session_starts",),
    ),
    PlantedBug(
        name="shot-volume-limit-skipped",
        file=_LIMITS,
        changes=(("    if most_nl > limits.shot_nl:\n", "    if most_nl > limits.session_nl:\n"),),
        mistake="a single shot may be as large as a session",
        breaks="I1",
        caught_by=(
            "tests/unit/test_limits.py::test_the_shot_limit_counts_the_increment_that_the_carried_remainder_may_add",
        ),
    ),
    PlantedBug(
        name="shot-limit-without-the-carry",
        file=_LIMITS,
        changes=(
            ("increments_within(profile.dose_nl)) + syringe.volume_of_one", "increments_within(profile.dose_nl))"),
        ),
        mistake="the increment that the carried remainder adds puts a shot over the limit",
        breaks="I1",
        caught_by=(
            "tests/unit/test_limits.py::test_the_shot_limit_counts_the_increment_that_the_carried_remainder_may_add",
        ),
    ),
    PlantedBug(
        name="depth-limit-skipped",
        file=_LIMITS,
        changes=(("    if profile.depth_um > limits.depth_um:\n", "    if profile.depth_um < 0:\n"),),
        mistake="a profile may go deeper than the console allows",
        breaks="I3",
        caught_by=("tests/unit/test_limits.py::test_a_profile_may_reach_a_limit_and_not_pass_it",),
    ),
    PlantedBug(
        name="mass-rounded-down",
        file="device/core/serum.py",
        changes=(
            ("Micrograms(-(-volume_nl * ug_per_ml // 1_000_000))", "Micrograms(volume_nl * ug_per_ml // 1_000_000)"),
        ),
        mistake="a limit sees less of an ingredient than is there",
        breaks="I1",
        caught_by=("tests/unit/test_limits.py::test_the_mass_in_a_volume_is_rounded_up_by_less_than_a_microgram",),
    ),
    PlantedBug(
        name="increments-rounded-by-float",
        file="device/core/units.py",
        changes=(
            (
                "return Increments(volume_nl * stroke_increments // stroke_nl)",
                "return Increments(round(volume_nl * stroke_increments / stroke_nl))",
            ),
        ),
        mistake="a volume becomes the nearest increment and not the one within it: half of all doses are too large",
        breaks="I1",
        caught_by=("tests/unit/test_units.py::test_increments_never_hold_more_than_the_volume_and_one_more_would",),
    ),
    PlantedBug(
        name="shot-rounded-up",
        file=_PLAN,
        changes=(("    return Increments(whole), rest\n", "    return Increments(whole + (1 if rest else 0)), 0\n"),),
        mistake="each shot is rounded up to a whole increment: a session gives more than the sum of its doses",
        breaks="I1",
        caught_by=(
            "tests/unit/test_shot_plan.py::test_any_number_of_shots_sums_to_the_whole_increments_of_all_their_doses",
        ),
    ),
    PlantedBug(
        name="carry-dropped",
        file=_PLAN,
        changes=(
            (
                "divmod(dose_nl * syringe.stroke_increments + carry, syringe.stroke_nl)",
                "divmod(dose_nl * syringe.stroke_increments, syringe.stroke_nl)",
            ),
        ),
        mistake="the remainder of each shot is thrown away: a session gives less than it says",
        breaks="dose",
        caught_by=(
            "tests/unit/test_shot_plan.py::test_any_number_of_shots_sums_to_the_whole_increments_of_all_their_doses",
        ),
    ),
    PlantedBug(
        name="carry-lost-between-magazines",
        file=_TREATMENT,
        changes=(
            (
                "low_water=Increments(ledger.low_water), carry=ledger.carry\n",
                "low_water=Increments(ledger.low_water), carry=0\n",
            ),
        ),
        mistake="the remainder is carried inside a magazine and lost between two",
        breaks="dose",
        caught_by=(f"{_WHOLE}::test_a_session_gives_the_sum_of_its_doses_to_the_increment",),
    ),
    PlantedBug(
        name="limits-of-the-first-shot-only",
        file=_TREATMENT,
        changes=(
            (
                "    return min(most, shots_left(console, session)[0])\n",
                "    return most if shots_left(console, session)[0] else 0\n",
            ),
        ),
        mistake="only a magazine's first shot is held to the limits, the others pass them",
        breaks="I1",
        caught_by=(f"{_WHOLE}::test_no_magazine_reaches_beyond_a_limit_of_the_session",),
    ),
    PlantedBug(
        name="magazine-beyond-its-region",
        file=_TREATMENT,
        changes=(("    return min(most, points_left) if points_left else most\n", "    return most\n"),),
        mistake="a held trigger goes on into the next region without a fresh press",
        breaks="I4",
        caught_by=(f"{_WHOLE}::test_no_magazine_reaches_beyond_its_region_and_the_next_region_wants_a_fresh_press",),
    ),
    PlantedBug(
        name="prime-limit-skipped",
        file=_PLAN,
        changes=(("    if volume_nl > limits.prime_nl:\n", "    if volume_nl < 0:\n"),),
        mistake="any volume may be primed: through a needle that is in a patient it is a dose without limit",
        breaks="I1",
        caught_by=("tests/unit/test_shot_plan.py::test_a_prime_keeps_its_limit_and_moves_at_least_one_increment",),
    ),
    PlantedBug(
        name="dose-moved-to-another-phase",
        file=_PLAN,
        changes=(
            (
                "    dwell = total * (profile.entry_percent + profile.dwell_percent) // 100 - entry\n",
                "    dwell = total * profile.dwell_percent // 100\n",
            ),
        ),
        mistake="each phase is rounded by itself: what is left over is all given on the way out",
        breaks="dose",
        caught_by=(
            "tests/unit/test_shot_plan.py"
            "::test_phases_share_a_shot_exactly_and_within_one_increment_of_their_percentage",
        ),
    ),
    PlantedBug(
        name="plunger-drawn-beyond-the-vial",
        file=_TREATMENT,
        changes=(("Nanolitres(max(0, session.serum.vial_nl - drawn_nl))", "Nanolitres(session.serum.vial_nl)"),),
        mistake="each refill may draw the whole vial again: the second one draws air",
        breaks="I1",
        caught_by=("tests/unit/test_machine_walks.py", "tests/unit/test_machine_sessions.py"),
    ),
    PlantedBug(
        name="driver-ceiling-of-a-session",
        file="drivers/pump/cavro_program.py",
        changes=(("shot_nl_most=limits.shot_nl,", "shot_nl_most=limits.session_nl,"),),
        mistake="the driver's independent ceiling for a shot is set to that of a session",
        breaks="I1",
        caught_by=("tests/unit/test_console_wiring.py::test_the_drivers_ceiling_is_the_consoles_own_limits",),
    ),
)
