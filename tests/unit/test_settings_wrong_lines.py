"""Every wrong line of a file gives exactly one line: where, what was found, what is allowed, what to do."""

from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.support.settings import Draft

DEVICE = "device.toml"
NAPPAGE = "formulary/profiles/nappage.toml"
LIMITS = "formulary/limits.toml"
BURST = "formulary/profiles/saline-test.toml"
LIDOCAINE = "formulary/serums/example-lidocaine.toml"
SALINE = "formulary/serums/saline.toml"
SYRINGE = "formulary/syringes/1ml.toml"
CHECKLIST = "formulary/checklists/standard.toml"
COURSE = "formulary/courses/four-and-four.toml"
WEEKLY = "formulary/courses/weekly-ten.toml"


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path / "mesogun")


EDITED = ("", "")
"""The problem stands on the (last) line that the edit wrote."""


def wrong(what: str, edit: tuple[str, str, str], place: tuple[str, str] | None, expected: str) -> ParameterSet:
    """One wrong line of one file, where the problem is told (file and start of the line), and what is told."""
    return pytest.param(edit, place, expected, id=what.replace(" ", "-"))


WRONG_LINES = [
    wrong(
        "a number out of range",
        (NAPPAGE, "depth_mm = 2", "depth_mm = 14"),
        EDITED,
        "depth_mm: found 14; allowed is a number of millimetres, 0.1 to 13; write a value in this range",
    ),
    wrong(
        "a number that is no number",
        (DEVICE, "permit_ms = 30", "permit_ms = nan"),
        EDITED,
        "timing.permit_ms: found NaN; allowed is a number of milliseconds, 5 to 40; write a value in this range",
    ),
    wrong(
        "a length finer than a micrometre",
        (NAPPAGE, "depth_mm = 2", "depth_mm = 2.0001"),
        EDITED,
        "depth_mm: found 2.0001; allowed is a whole number of micrometres, that is steps of 0.001 millimetres; "
        "write it with fewer decimals",
    ),
    wrong(
        "a volume that is not whole only in its 30th digit",
        (NAPPAGE, "dose_ul = 10", "dose_ul = 10.0000000000000000000000000001"),
        EDITED,
        "dose_ul: found 10.0000000000000000000000000001; allowed is a whole number of nanolitres, that is steps "
        "of 0.001 microlitres; write it with fewer decimals",
    ),
    wrong(
        "a number with its unit in the text",
        (NAPPAGE, "depth_mm = 2", 'depth_mm = "2 mm"'),
        EDITED,
        'depth_mm: found the text "2 mm"; allowed is a number of millimetres, 0.1 to 13; write the number alone: '
        "the key names the unit",
    ),
    wrong(
        "true where a number belongs",
        (NAPPAGE, "depth_mm = 2", "depth_mm = true"),
        EDITED,
        "depth_mm: found true; allowed is a number of millimetres, 0.1 to 13; write a number",
    ),
    wrong(
        "a list where a number belongs",
        (NAPPAGE, "depth_mm = 2", "depth_mm = [2]"),
        EDITED,
        "depth_mm: found a list; allowed is a number of millimetres, 0.1 to 13; write a number",
    ),
    wrong(
        "a date where a count belongs",
        (NAPPAGE, "session_shots = 200", "session_shots = 2026-01-31"),
        EDITED,
        "session_shots: found the date or time 2026-01-31; allowed is a whole number, 1 to 2000; write a whole number",
    ),
    wrong(
        "a fraction of a shot",
        (NAPPAGE, "session_shots = 200", "session_shots = 200.0"),
        EDITED,
        "session_shots: found 200.0; allowed is a whole number, 1 to 2000; write a whole number",
    ),
    wrong(
        "too many shots",
        (NAPPAGE, "session_shots = 200", "session_shots = 2001"),
        EDITED,
        "session_shots: found 2001; allowed is a whole number, 1 to 2000; write a value in this range",
    ),
    wrong(
        "a choice that does not exist",
        (NAPPAGE, 'mode = "continuous"', 'mode = "contnuous"'),
        EDITED,
        'mode: found the text "contnuous"; allowed is one of "single", "burst", "continuous"; write one of these',
    ),
    wrong(
        "true where a baud rate belongs",
        (DEVICE, "baud = 38400", "baud = true"),
        EDITED,
        "pump.baud: found true; allowed is one of 9600, 38400; write one of these",
    ),
    wrong(
        "a pump that has no driver",
        (DEVICE, 'dialect = "cavro"', 'dialect = "peristaltic"'),
        EDITED,
        'pump.dialect: found the text "peristaltic"; allowed is "cavro"; write that',
    ),
    wrong(
        "yes where true belongs",
        (NAPPAGE, "require_contact = true", 'require_contact = "yes"'),
        EDITED,
        'require_contact: found the text "yes"; allowed is true or false; write true or false without quotation marks',
    ),
    wrong(
        "a number where a text belongs",
        (DEVICE, 'host = "localhost"', "host = 127"),
        EDITED,
        "mqtt.host: found 127; allowed is a host name or address; write it in quotation marks",
    ),
    wrong(
        "a site that cannot be a topic",
        (DEVICE, 'site = "demo-clinic"', 'site = "demo/+"'),
        EDITED,
        'site: found the text "demo/+"; allowed is a name of 1 to 32 small letters, digits and hyphens; write '
        "such a text",
    ),
    wrong(
        "a known key with another unit",
        (NAPPAGE, "depth_mm = 2", "depth_um = 2000"),
        EDITED,
        "depth_um: found an unknown key; the key is depth_mm, in millimetres; rename it and convert its value",
    ),
    wrong(
        "a known key with a compound unit",
        (LIMITS, "fastest_ul_s = 400", "fastest_ml_per_min = 24"),
        EDITED,
        "fastest_ml_per_min: found an unknown key; the key is fastest_ul_s, in microlitres per second; "
        "rename it and convert its value",
    ),
    wrong(
        "a known key without its unit",
        (SYRINGE, "stroke_ul = 1000", "stroke = 1000"),
        EDITED,
        "stroke: found an unknown key; the key is stroke_ul, in microlitres; rename it and convert its value",
    ),
    wrong(
        "a misspelt key",
        (NAPPAGE, "interval_ms = 250", "intervall_ms = 250"),
        EDITED,
        "intervall_ms: found an unknown key; the nearest key is interval_ms; did you mean interval_ms?",
    ),
    wrong(
        "a misspelt table",
        (DEVICE, "[timing]", "[timings]"),
        EDITED,
        "timings: found an unknown key; the nearest key is timing; did you mean timing?",
    ),
    wrong(
        "an invented key",
        (SYRINGE, 'name = "1ml"', 'name = "1ml"\ncolour = "blue"'),
        EDITED,
        "colour: found an unknown key; the keys here are name, stroke_ul, smallest_dose_ul, fastest_ul_s, "
        "backlash_ul; remove it",
    ),
    wrong(
        "a missing key",
        (NAPPAGE, "depth_mm = 2", ""),
        None,
        'depth_mm: found nothing; required is a number of millimetres, 0.1 to 13; add "depth_mm = ..."',
    ),
    wrong(
        "a key missing in a table",
        (SALINE, "concentration_mg_per_ml = 9", ""),
        (SALINE, "[[ing"),
        "ingredients[1].concentration_mg_per_ml: found nothing; required is a number of milligrams per "
        'millilitre, 0.001 to 1000; add "concentration_mg_per_ml = ..."',
    ),
    wrong(
        "a name that is not the file's",
        (NAPPAGE, 'name = "nappage"', 'name = "napage"'),
        EDITED,
        'name: found the text "napage"; required is "nappage", as the file is called; rename the file or correct '
        "the name",
    ),
    wrong(
        "phases that share more than the dose",
        (NAPPAGE, "dwell_percent = 20", "dwell_percent = 30"),
        (NAPPAGE, "entry_percent"),
        "entry_percent: found entry_percent 40, dwell_percent 30, exit_percent 40; entry_percent + dwell_percent "
        "+ exit_percent is 110; the phases must share exactly 100; correct these values",
    ),
    wrong(
        "a burst of one",
        (BURST, "burst_shots = 3", "burst_shots = 1"),
        EDITED,
        "burst_shots: found burst_shots 1, mode the text \"burst\"; burst_shots must be 2 or more in mode 'burst'; "
        "correct these values",
    ),
    wrong(
        "burst shots without a burst",
        (NAPPAGE, "burst_shots = 1", "burst_shots = 2"),
        EDITED,
        'burst_shots: found burst_shots 2, mode the text "continuous"; burst_shots must be 1 unless mode is '
        "'burst'; correct these values",
    ),
    wrong(
        "a profile deeper than the console",
        (LIMITS, "depth_mm = 13", "depth_mm = 5.9"),
        ("formulary/profiles/point-by-point.toml", "depth_mm"),
        "depth_mm: found 6; allowed is at most 5.9, the depth_mm of limits.toml; write a value within it",
    ),
    wrong(
        "a needle that cannot travel as deep as the limit",
        (DEVICE, "travel_mm = 14", "travel_mm = 13"),
        (DEVICE, "clearance_mm"),
        "needle.clearance_mm: found needle.clearance_mm 0.5, needle.travel_mm 13; limits.depth_mm 13 + "
        "needle.clearance_mm must be at most needle.travel_mm; correct these values",
    ),
    wrong(
        "more motor steps than one scan can prepare",
        (DEVICE, "steps_per_mm = 80", "steps_per_mm = 445"),
        EDITED,
        "needle.steps_per_mm: found needle.steps_per_mm 445, needle.clearance_mm 0.5, timing.silence_ms 30; at "
        "needle.steps_per_mm the stroke to limits.depth_mm 13 + needle.clearance_mm has 6007 steps; at most 6000 can "
        "be prepared within timing.silence_ms: take a coarser microstep or a lower limits.depth_mm; correct these "
        "values",
    ),
    wrong(
        "a profile faster than the guns' repetition",
        (NAPPAGE, "interval_ms = 250", "interval_ms = 99.5"),
        EDITED,
        "interval_ms: found 99.5; allowed is at least 100, the least_interval_ms of limits.toml; write a "
        "value within it",
    ),
    wrong(
        "a dose above the console's limit",
        (NAPPAGE, "dose_ul = 10", "dose_ul = 100.001"),
        EDITED,
        "dose_ul: found 100.001; allowed is at most 100, the shot_ul of limits.toml; write a value within it",
    ),
    wrong(
        "a session above the console's limit",
        (NAPPAGE, "session_volume_ml = 3", "session_volume_ml = 6.5"),
        EDITED,
        "session_volume_ml: found 6.5; allowed is at most 6, the session_ml of limits.toml; write a value within it",
    ),
    wrong(
        "more shots than the console's limit",
        (NAPPAGE, "session_shots = 200", "session_shots = 301"),
        EDITED,
        "session_shots: found 301; allowed is at most 300, the session_shots of limits.toml; write a value within it",
    ),
    wrong(
        "a burst longer than a magazine",
        (BURST, "burst_shots = 3", "burst_shots = 9"),
        EDITED,
        "burst_shots: found 9; allowed is at most 8, the magazine_shots of limits.toml; write a value within it",
    ),
    wrong(
        "a needle faster than its motor",
        (NAPPAGE, "exit_speed_mm_s = 40", "exit_speed_mm_s = 61"),
        EDITED,
        "exit_speed_mm_s: found 61; allowed is at most 60, the needle.fastest_mm_s of device.toml; write a value "
        "within it",
    ),
    wrong(
        "a syringe faster than the console",
        (SYRINGE, "fastest_ul_s = 200", "fastest_ul_s = 401"),
        EDITED,
        "fastest_ul_s: found 401; allowed is at most 400, the fastest_ul_s of limits.toml; write a value within it",
    ),
    wrong(
        "two names for one line",
        (DEVICE, "trigger_b = 6", "trigger_b = 5"),
        (DEVICE, "trigger_a"),
        "lines.trigger_a: found trigger_a 5, trigger_b 5; trigger_a and trigger_b must be two different lines; "
        "correct these values",
    ),
    wrong(
        "a line that is the serial port",
        (DEVICE, "buzzer = 16", "buzzer = 15"),
        EDITED,
        'lines.buzzer: found lines.buzzer 15, pump.port the text "/dev/serial0"; lines.buzzer must be neither 14 '
        "nor 15: they are the serial port of pump.port; correct these values",
    ),
    wrong(
        "phase feedback without its line",
        (DEVICE, "phase = 20", ""),
        (DEVICE, "phase_feedback"),
        "pump.phase_feedback: found pump.phase_feedback true; pump.phase_feedback must be false where lines.phase"
        " is not given; correct these values",
    ),
    wrong(
        "increments of one pump with the speeds of another",
        (DEVICE, "stroke_increments = 24000", "stroke_increments = 48000"),
        EDITED,
        "pump.stroke_increments: found stroke_increments 48000, stroke_half_increments 6000; stroke_increments "
        "must be 3000 (N0) or 24000 (N1) with this stroke_half_increments; correct these values",
    ),
    wrong(
        "a refill faster than the pump",
        (DEVICE, "fastest_speed = 6000", "fastest_speed = 1400"),
        (DEVICE, "start_speed"),
        "pump.start_speed: found start_speed 900, refill_speed 1500, fastest_speed 1400; start_speed and "
        "refill_speed must be at most fastest_speed; correct these values",
    ),
    wrong(
        "a scan that never sleeps",
        (DEVICE, "armed_scan_us = 500", "armed_scan_us = 80"),
        (DEVICE, "spin_us"),
        "timing.spin_us: found spin_us 80, armed_scan_us 80; spin_us must be less than armed_scan_us; correct "
        "these values",
    ),
    wrong(
        "a password without an account",
        (DEVICE, 'password_file = ""', 'password_file = "/etc/mesogun/mqtt-password"'),
        (DEVICE, "username"),
        'mqtt.username: found username the text "", password_file the text "/etc/mesogun/mqtt-password"; username'
        " must be given where password_file is; correct these values",
    ),
    wrong(
        "an ingredient whose limit was forgotten",
        (SALINE, 'no_limit_reason = "isotonic: what limits it is the volume of the session"', ""),
        (SALINE, "[[ing"),
        "ingredients[1]: found sodium chloride with no limit; required is most_mg or most_mg_per_kg or both, or "
        "else no_limit_reason; add one of these keys",
    ),
    wrong(
        "a limit that nobody has set",
        (LIDOCAINE, 'limit_source = "product label of plain lidocaine"', ""),
        (LIDOCAINE, "[[ingredients]]"),
        "ingredients[1]: found lidocaine hydrochloride with a limit of nobody; required with a limit are limit_by and "
        "limit_source, and without one neither; say who set it and where it comes from",
    ),
    wrong(
        "an ingredient with a limit and none",
        (LIDOCAINE, "most_mg = 300", 'no_limit_reason = "?"'),
        (LIDOCAINE, "[[ing"),
        "ingredients[1]: found lidocaine hydrochloride with a limit and no_limit_reason; required is most_mg or "
        "most_mg_per_kg or both, or else no_limit_reason; remove what is not true",
    ),
    wrong(
        "a course of a check-list that is not there",
        (COURSE, 'checklist = "standard"', 'checklist = "standart"'),
        EDITED,
        'checklist: found the text "standart"; allowed is one of the check-lists: standard; write the name of one of '
        "these, or add the file",
    ),
    wrong(
        "a check-list's item twice",
        (CHECKLIST, 'key = "not-pregnant"', 'key = "no-bleeding"'),
        None,
        "found no-bleeding as the key of more than one item; allowed is one item for each key; give each item a key of "
        "its own",
    ),
    wrong(
        "an item by a sentence",
        (CHECKLIST, 'key = "no-bleeding"', 'key = "No bleeding"'),
        EDITED,
        'items[1].key: found the text "No bleeding"; allowed is a name of 1 to 32 small letters, digits and hyphens; '
        "write such a text",
    ),
    wrong(
        "an item of two lines",
        (CHECKLIST, 'text = "asked: not pregnant"', 'text = "asked:\\nnot pregnant"'),
        EDITED,
        'items[2].text: found the text "asked:?not pregnant"; allowed is one line of text; write such a text',
    ),
    wrong(
        "a serum that does not say whether it needs a check-list",
        (SALINE, "checklist_required = false", ""),
        None,
        'checklist_required: found nothing; required is true or false; add "checklist_required = ..."',
    ),
    wrong(
        "a serum that holds for no hour",
        (LIDOCAINE, "use_within_hours = 4", "use_within_hours = 0"),
        EDITED,
        "use_within_hours: found 0; allowed is a whole number, 1 to 720; write a value in this range",
    ),
    wrong(
        "a serum that holds for minutes",
        (LIDOCAINE, "use_within_hours = 4", "use_within_minutes = 30"),
        EDITED,
        "use_within_minutes: found an unknown key; the nearest key is use_within_hours; did you mean use_within_hours?",
    ),
    wrong(
        "a least gap above the target",
        (WEEKLY, "least_days = 7", "least_days = 8"),
        EDITED,
        "blocks[1].least_days: found least_days 8, target_days 7, greatest_days 10; least_days must be at most "
        "target_days, and target_days at most greatest_days; correct these values",
    ),
    wrong(
        "a greatest gap under the target",
        (WEEKLY, "greatest_days = 10", "greatest_days = 6"),
        (WEEKLY, "least_days"),
        "blocks[1].least_days: found least_days 7, target_days 7, greatest_days 6; least_days must be at most "
        "target_days, and target_days at most greatest_days; correct these values",
    ),
    wrong(
        "a gap of no days",
        (WEEKLY, "least_days = 7", "least_days = 0"),
        EDITED,
        "blocks[1].least_days: found 0; allowed is a whole number, 1 to 366; write a value in this range",
    ),
    wrong(
        "a gap of a fraction of a day",
        (WEEKLY, "target_days = 7", "target_days = 7.5"),
        EDITED,
        "blocks[1].target_days: found 7.5; allowed is a whole number, 1 to 366; write a whole number",
    ),
    wrong(
        "a gap in another unit",
        (WEEKLY, "target_days = 7", "target_weeks = 1"),
        EDITED,
        "blocks[1].target_weeks: found an unknown key; the nearest key is target_days; did you mean target_days?",
    ),
    wrong(
        "a month that does not exist",
        (COURSE, "seasons = [4, 5, 9, 10]", "seasons = [4, 5, 13]"),
        EDITED,
        "blocks[1].seasons: found 13; allowed is a list of different months, 1 to 12; write the months' numbers",
    ),
    wrong(
        "a month by its name",
        (COURSE, "seasons = [4, 5, 9, 10]", 'seasons = "September"'),
        EDITED,
        'blocks[1].seasons: found the text "September"; allowed is a list of different months, 1 to 12; write such a '
        "list, as in [9, 10]",
    ),
    wrong(
        "a month twice",
        (COURSE, "seasons = [4, 5, 9, 10]", "seasons = [4, 4]"),
        EDITED,
        "blocks[1].seasons: found a month twice; allowed is a list of different months, 1 to 12; write each month once,"
        " or remove the key for any month",
    ),
    wrong(
        "no month",
        (COURSE, "seasons = [4, 5, 9, 10]", "seasons = []"),
        EDITED,
        "blocks[1].seasons: found no month; allowed is a list of different months, 1 to 12; write each month once, or "
        "remove the key for any month",
    ),
    wrong(
        "true for a month",
        (COURSE, "seasons = [4, 5, 9, 10]", "seasons = [true]"),
        EDITED,
        "blocks[1].seasons: found true; allowed is a list of different months, 1 to 12; write the months' numbers",
    ),
    wrong(
        "a course of which the file has another name",
        (WEEKLY, 'name = "weekly-ten"', 'name = "weekly-11"'),
        EDITED,
        'name: found the text "weekly-11"; required is "weekly-ten", as the file is called; rename the file or '
        "correct the name",
    ),
    wrong(
        "a table where a list of tables belongs",
        (SALINE, "[[ingredients]]", "[ingredients]"),
        EDITED,
        "ingredients: found a table; allowed is a list of tables; write [[ingredients]]",
    ),
    wrong(
        "text that is not TOML",
        (NAPPAGE, "dose_ul = 10", "dose_ul = 10 uL"),
        EDITED,
        "found text that is not TOML (Expected newline or end of document after a statement); allowed is TOML: "
        'key = value, texts in "quotation marks", [tables]; correct this',
    ),
    wrong(
        "a key given twice",
        (NAPPAGE, "dose_ul = 10", "dose_ul = 10\ndose_ul = 20"),
        EDITED,
        "found text that is not TOML (Cannot overwrite a value); allowed is TOML: key = value, texts in "
        '"quotation marks", [tables]; correct this',
    ),
    wrong(
        "a number too long to read",
        (NAPPAGE, "dose_ul = 10", f"dose_ul = {'1' * 5000}"),
        None,
        'found a number too long or tables too deep to read; allowed is TOML: key = value, texts in "quotation '
        'marks", [tables]; correct this',
    ),
    wrong(
        "an exponent too large to read",
        (NAPPAGE, "dose_ul = 10", "dose_ul = 1e99999999999999999999"),
        None,
        'found a number too long or tables too deep to read; allowed is TOML: key = value, texts in "quotation '
        'marks", [tables]; correct this',
    ),
    wrong(
        "tables too deep to read",
        (NAPPAGE, "dose_ul = 10", f"dose_ul = {'[' * 3000}"),
        None,
        'found a number too long or tables too deep to read; allowed is TOML: key = value, texts in "quotation '
        'marks", [tables]; correct this',
    ),
    wrong(
        "an exponent that would take a gigabyte to write out",
        (NAPPAGE, "dose_ul = 10", "dose_ul = 1e-999999999"),
        EDITED,
        "dose_ul: found 1E-999999999; allowed is a number of microlitres, 0.1 to 500; write a value in this range",
    ),
]


@pytest.mark.parametrize(("edit", "place", "expected"), WRONG_LINES)
def test_one_wrong_line_gives_one_line_that_says_where_and_what_is_allowed(
    draft: Draft, edit: tuple[str, str, str], place: tuple[str, str] | None, expected: str
) -> None:
    file, old, new = edit
    line = draft.replace(file, old, new) + new.count("\n")
    where = f"{file}:{line}" if place == EDITED else file if place is None else draft.place(*place)
    assert draft.problems() == [f"{where}: {expected}"]
