"""A configuration is taken whole and exactly, or refused whole with one line for each thing that is wrong."""

import hashlib
import os
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.settings import Configuration, ConfigurationError, find_configuration_directory, load_configuration
from device.settings.loading import STANDARD_DIRECTORIES
from device.settings.problems import Problem, line_of, shown
from device.settings.reading import FILE_BYTES_MOST, FILES_MOST
from device.settings.values import (
    MICROLITRES,
    MICROSECONDS,
    MILLIGRAMS_PER_KG,
    MILLILITRES,
    MILLIMETRES,
    MILLISECONDS,
    Unit,
    quantity,
)
from tests.support.settings import CHECKOUT, SHIPPED, Draft

DEVICE = "device.toml"
LIMITS = "formulary/limits.toml"
NAPPAGE = "formulary/profiles/nappage.toml"
PAPULE = "formulary/profiles/papule.toml"
BURST = "formulary/profiles/saline-test.toml"
LIDOCAINE = "formulary/serums/example-lidocaine.toml"
SALINE = "formulary/serums/saline.toml"
SYRINGE = "formulary/syringes/1ml.toml"


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path / "mesogun")


@pytest.fixture(scope="module")
def shipped() -> Configuration:
    return load_configuration(SHIPPED)


def test_every_problem_of_every_file_is_told_at_once_in_the_order_of_files_and_lines(draft: Draft) -> None:
    draft.replace(DEVICE, "slope = 14", "slope = 21")
    draft.replace(NAPPAGE, "depth_mm = 2", "depth_mm = -2")
    draft.replace(NAPPAGE, "dose_ul = 10", 'dose_ul = "10"')
    draft.replace(PAPULE, "exit_percent = 0", "exit_percent = 10")
    draft.replace(LIDOCAINE, "vial_ml = 10", "vial_l = 0.01")
    (draft.directory / SYRINGE).write_bytes(b"# 1\n# \xff\n")
    assert [problem.split(": ")[0:2] for problem in draft.problems()] == [
        [draft.place(DEVICE, "slope"), "pump.slope"],
        [draft.place(NAPPAGE, "depth_mm"), "depth_mm"],
        [draft.place(NAPPAGE, "dose_ul"), "dose_ul"],
        [draft.place(PAPULE, "entry_percent"), "entry_percent"],
        [draft.place(LIDOCAINE, "vial_l"), "vial_l"],
        [
            "formulary/syringes/1ml.toml:2",
            "found the byte 0xff, which is not UTF-8; allowed is text in UTF-8; save the file as UTF-8",
        ],
    ]


def test_a_missing_device_file_is_told_beside_the_other_files_problems(draft: Draft) -> None:
    (draft.directory / DEVICE).unlink()
    draft.replace(NAPPAGE, "depth_mm = 2", "depth_mm = 0")
    assert draft.problems() == [
        "device.toml: found no such file; required is a readable file; add it or name another directory",
        (
            f"{draft.place(NAPPAGE, 'depth_mm')}: depth_mm: found 0; allowed is a number of millimetres, 0.1 to 13; "
            "write a value in this range"
        ),
    ]


@pytest.mark.parametrize(
    "folder",
    ["formulary/checklists", "formulary/courses", "formulary/profiles", "formulary/serums", "formulary/syringes"],
)
def test_a_kind_of_file_of_which_there_is_none_is_a_problem(draft: Draft, folder: str) -> None:
    shutil.rmtree(draft.directory / folder)
    assert draft.problems() == [
        f"{folder}: found 0 files *.toml; required is at least one and at most {FILES_MOST}; add or remove files"
    ]


def test_a_folder_of_more_files_than_the_bound_is_refused(draft: Draft) -> None:
    for number in range(FILES_MOST):
        (draft.directory / "formulary/syringes" / f"extra-{number}.toml").touch()
    assert draft.problems() == [
        (
            f"formulary/syringes: found {FILES_MOST + 3} files *.toml; required is at least one and at most "
            f"{FILES_MOST}; add or remove files"
        )
    ]


def test_a_file_longer_than_the_bound_is_refused_unread(draft: Draft) -> None:
    (draft.directory / SYRINGE).write_text("#" * (FILE_BYTES_MOST + 1))
    assert draft.problems() == [
        f"{SYRINGE}: found a longer file; allowed is at most {FILE_BYTES_MOST} bytes; shorten it"
    ]


def test_something_that_is_no_file_is_refused_and_never_waited_for(draft: Draft) -> None:
    (draft.directory / SYRINGE).unlink()
    os.mkfifo(draft.directory / SYRINGE)
    (draft.directory / SALINE).unlink()
    (draft.directory / SALINE).mkdir()
    assert draft.problems() == [
        f"{file}: found something that is no file; required is a file; replace it by a file"
        for file in (SALINE, SYRINGE)
    ]


def test_a_file_that_cannot_be_opened_says_why(draft: Draft) -> None:
    (draft.directory / SYRINGE).unlink()
    (draft.directory / SYRINGE).symlink_to(draft.directory / SYRINGE)
    assert draft.problems() == [
        (
            f"{SYRINGE}: found it unreadable (Too many levels of symbolic links); required is a readable file; "
            "check its owner and mode"
        )
    ]


def test_a_folder_that_cannot_be_looked_into_says_why(draft: Draft) -> None:
    folder = draft.directory / "formulary/syringes"
    shutil.rmtree(folder)
    folder.symlink_to(folder)
    (problem,) = [problem for problem in draft.problems() if problem.startswith("formulary/syringes: ")]
    assert problem == (
        "formulary/syringes: found it unreadable (Too many levels of symbolic links); required is a readable "
        "directory; check its owner and mode"
    )


def test_a_profile_that_needs_contact_is_refused_on_a_console_without_the_line(draft: Draft) -> None:
    draft.replace(DEVICE, "contact = 21", "")
    problems = draft.problems()
    assert len(problems) == 5
    assert problems[1] == (
        f"{draft.place(NAPPAGE, 'require_contact')}: require_contact: found true; device.toml has no lines.contact; "
        "wire the contact line and add it there"
    )


def test_an_ingredient_listed_twice_is_refused_because_each_would_be_limited_alone(draft: Draft) -> None:
    with (draft.directory / LIDOCAINE).open("a") as file:
        file.write('[[ingredients]]\nname = "Lidocaine Hydrochloride"\nconcentration_mg_per_ml = 5\nmost_mg = 300\n')
        file.write('limit_by = "a clinic"\nlimit_source = "the label"\n')
    assert draft.problems() == [
        (
            f"{LIDOCAINE}: found lidocaine hydrochloride listed more than once; allowed is one entry for each "
            "ingredient; write one entry with its whole concentration"
        )
    ]


def test_a_syringe_must_hold_more_than_its_smallest_dose(draft: Draft) -> None:
    draft.replace(SYRINGE, "stroke_ul = 1000", "stroke_ul = 10")
    draft.replace(SYRINGE, "smallest_dose_ul = 5", "smallest_dose_ul = 9.1")
    assert draft.problems() == [
        f"{draft.place(SYRINGE, 'smallest_dose_ul')}: smallest_dose_ul: found smallest_dose_ul 9.1, backlash_ul 0.9, "
        "stroke_ul 10; smallest_dose_ul and backlash_ul must together be less than stroke_ul; correct these values"
    ]


def test_a_console_without_contact_and_phase_lines_is_taken(draft: Draft) -> None:
    draft.replace(DEVICE, "contact = 21", "")
    draft.replace(DEVICE, "phase = 20", "")
    draft.replace(DEVICE, "phase_feedback = true", "phase_feedback = false")
    for profile in (draft.directory / "formulary/profiles").iterdir():
        draft.replace(f"formulary/profiles/{profile.name}", "require_contact = true", "require_contact = false")
    lines = load_configuration(draft.directory).lines
    assert (lines.contact, lines.phase, lines.home) == (None, None, 26)


def test_what_people_write_arrives_in_whole_units(shipped: Configuration) -> None:
    device, profile = shipped.device, shipped.profiles["nappage"].value
    assert (device.axis.clearance_um, device.axis.acceleration_um_s2) == (500, 4_000_000)
    assert (device.limits.shot_nl, device.limits.session_nl, device.limits.fastest_nl_s) == (
        100_000,
        6_000_000,
        400_000,
    )
    assert (device.timing.permit_ns, device.timing.armed_scan_ns) == (30_000_000, 500_000)
    assert (profile.depth_um, profile.dose_nl, profile.suck_back_nl) == (2_000, 10_000, 500)
    assert (profile.session_volume_nl, profile.entry_speed_um_s) == (3_000_000, 40_000)
    lidocaine = shipped.serums["example-lidocaine"].value.ingredients[0]
    assert (lidocaine.concentration_ug_per_ml, lidocaine.most_ug, lidocaine.most_ug_per_kg) == (10_000, 300_000, 4_500)


def test_the_backlash_is_rounded_up_to_whole_increments_of_the_consoles_pump(draft: Draft) -> None:
    fine = load_configuration(draft.directory).syringes["1ml"].value
    draft.replace(DEVICE, "stroke_increments = 24000", "stroke_increments = 3000")
    coarse = load_configuration(draft.directory).syringes["1ml"].value
    # 0.9 uL of 1000 uL: 21.6 of 24000 increments, 2.7 of 3000.
    assert (fine.backlash_increments, coarse.backlash_increments) == (22, 3)


def test_the_brokers_password_file_is_a_path_or_none(draft: Draft, shipped: Configuration) -> None:
    assert shipped.mqtt.password_file is None
    draft.replace(DEVICE, 'username = ""', 'username = "console-1"')
    draft.replace(DEVICE, 'password_file = ""', 'password_file = "/etc/mesogun/mqtt-password"')
    assert load_configuration(draft.directory).mqtt.password_file == Path("/etc/mesogun/mqtt-password")


def test_a_loaded_configuration_cannot_be_changed(shipped: Configuration) -> None:
    with pytest.raises(TypeError):
        del shipped.profiles["nappage"]  # type: ignore[attr-defined] # that it is refused is what is tested
    with pytest.raises(AttributeError):
        shipped.device.site = "elsewhere"  # type: ignore[misc] # that it is refused is what is tested


def test_the_digest_is_the_same_for_the_same_files_and_another_for_any_other_byte(
    draft: Draft, shipped: Configuration, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(draft.directory, again)
    for file in sorted(again.rglob("*.toml"), reverse=True):
        # The directory now lists its files in another order.
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    assert load_configuration(again).sha256 == load_configuration(draft.directory).sha256 == shipped.sha256
    with (again / SYRINGE).open("a") as file_:
        file_.write("\n")
    changed = load_configuration(again)
    assert changed.sha256 != shipped.sha256
    assert changed.syringes["1ml"].sha256 != shipped.syringes["1ml"].sha256
    assert changed.syringes["3ml"].sha256 == shipped.syringes["3ml"].sha256


def test_the_digest_is_that_of_the_sorted_lines_of_sha256sum(shipped: Configuration) -> None:
    found = [SHIPPED / "device.toml", SHIPPED / LIMITS, *SHIPPED.glob("formulary/*/*.toml")]
    names = sorted(path.relative_to(SHIPPED).as_posix() for path in found)
    lines = [f"{hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert shipped.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_profile_may_use_all_that_the_console_allows(draft: Draft) -> None:
    for key, value, most in (
        ("depth_mm", "2", "13"),
        ("dose_ul", "10", "100"),
        ("interval_ms", "250", "100"),
        ("session_volume_ml", "3", "6"),
        ("session_shots", "200", "300"),
        ("entry_speed_mm_s", "40", "60"),
    ):
        draft.replace(NAPPAGE, f"{key} = {value}", f"{key} = {most}")
    assert load_configuration(draft.directory).profiles["nappage"].value.depth_um == 13_000


def test_a_file_renamed_with_its_name_changes_the_digest(draft: Draft, shipped: Configuration) -> None:
    draft.replace(SYRINGE, 'name = "1ml"', 'name = "one-ml"')
    (draft.directory / SYRINGE).rename(draft.directory / "formulary/syringes/one-ml.toml")
    renamed = load_configuration(draft.directory)
    assert sorted(renamed.syringes) == ["3ml", "5ml", "one-ml"]
    assert renamed.sha256 != shipped.sha256


def test_files_that_are_not_toml_are_left_alone(draft: Draft, shipped: Configuration) -> None:
    (draft.directory / "formulary/profiles/nappage.toml~").write_text("an editor's copy")
    (draft.directory / "README").write_text("notes")
    assert load_configuration(draft.directory).sha256 == shipped.sha256


def test_the_argument_goes_before_the_environment_and_both_before_the_standard_places(tmp_path: Path) -> None:
    argument, variable, standard = (tmp_path / name for name in ("argument", "variable", "standard"))
    for directory in (argument, variable, standard):
        directory.mkdir()
    environment = {"MESOGUN_CONFIG": str(variable)}
    places = [tmp_path / "absent", standard]
    assert find_configuration_directory(argument, environment=environment, standard=places) == argument
    assert find_configuration_directory(None, environment=environment, standard=places) == variable
    assert find_configuration_directory(None, environment={}, standard=places) == standard
    assert find_configuration_directory(None, environment={"MESOGUN_CONFIG": ""}, standard=places) == standard


def test_a_directory_that_was_named_is_never_passed_over(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    for argument, environment in ((absent, {}), (None, {"MESOGUN_CONFIG": str(absent)})):
        with pytest.raises(ConfigurationError) as refusal:
            find_configuration_directory(argument, environment=environment, standard=[SHIPPED])
        assert str(refusal.value) == (
            f"{absent}: found no configuration directory; looked in {absent}; "
            "name one that exists by --config or MESOGUN_CONFIG"
        )


def test_a_configuration_found_nowhere_lists_where_it_was_looked_for(tmp_path: Path) -> None:
    places = [tmp_path / "etc", tmp_path / "share"]
    with pytest.raises(ConfigurationError, match=f"looked in {places[0]}, {places[1]};"):
        find_configuration_directory(None, environment={}, standard=places)


def test_the_standard_places_end_with_the_checkouts_own_configuration() -> None:
    assert STANDARD_DIRECTORIES[0] == Path("/etc/mesogun")
    assert STANDARD_DIRECTORIES[-1] == CHECKOUT / "config"


def test_a_problem_stays_one_line_whatever_the_file_holds(draft: Draft) -> None:
    draft.replace(NAPPAGE, 'mode = "continuous"', r'mode = "a\nb\u001b[31m' + "c" * 100 + '"')
    (problem,) = draft.problems()
    assert problem.startswith(f'{draft.place(NAPPAGE, "mode")}: mode: found the text "a?b?[31mccc')
    assert len(problem) < 200


def test_a_line_is_only_given_where_it_is_certain() -> None:
    text = '[pump]\nnote = """\nslope = 3\n"""\nslope = 99\nport = "x"\n[[a]]\nk = 1\n[[a]]\n"k" = 2\n'
    assert line_of(text, ("pump", "slope")) is None
    assert line_of(text, ("pump", "port")) == 6
    assert line_of(text, ("a", 1)) == 9
    assert line_of(text, ("a", 1, "k")) == 10
    assert line_of(text, ("slope",)) is None


def test_a_problem_without_a_key_or_line_names_the_file() -> None:
    problem = Problem(Path("device.toml"), None, "", "nothing", "required is a file", "add it")
    assert str(problem) == "device.toml: found nothing; required is a file; add it"
    assert shown(None) == "None"


UNITS = st.sampled_from([MILLIMETRES, MICROLITRES, MILLILITRES, MILLISECONDS, MICROSECONDS, MILLIGRAMS_PER_KG])


@given(unit=UNITS, whole=st.integers(0, 10**15))
def test_every_whole_number_of_the_internal_unit_can_be_written_and_comes_back(unit: Unit, whole: int) -> None:
    assert unit.whole(Decimal(f"{unit.written(whole):f}")) == whole


@given(unit=UNITS, number=st.decimals(0, 10**6, allow_nan=False, allow_infinity=False))
def test_a_number_is_converted_exactly_or_refused(unit: Unit, number: Decimal) -> None:
    numerator, denominator = number.as_integer_ratio()
    if numerator * unit.per_unit % denominator:
        with pytest.raises(ValueError, match="is not a whole number of"):
            unit.whole(number)
    else:
        assert unit.whole(number) == numerator * unit.per_unit // denominator


@given(unit=UNITS, whole=st.integers(0, 10**9), places=st.integers(1, 20))
def test_a_remainder_however_small_is_never_rounded_away(unit: Unit, whole: int, places: int) -> None:
    digits = len(str(unit.per_unit)) - 1
    written = f"{unit.written(whole):.{digits}f}{'0' * (places - 1)}1"
    with pytest.raises(ValueError, match="is not a whole number of"):
        unit.whole(Decimal(written))


@given(whole=st.integers(100, 13_000), zeros=st.integers(0, 30))
def test_zeros_at_the_end_change_nothing(whole: int, zeros: int) -> None:
    rule = quantity("depth", MILLIMETRES, "0.1", "13")
    written = f"{Decimal(whole) / 1000:.3f}{'0' * zeros}"
    assert MILLIMETRES.whole(rule.check(Decimal(written))) == whole
