"""The shipped files: every key explained beside it, every medical number an example with its source."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from device.core.profile import Mode, TriggerStyle
from device.core.shot_plan import plan_stroke
from device.settings import EXAMPLE_SITE, Configuration, load_configuration
from device.settings.device_file import DeviceFile
from device.settings.formulary import ChecklistFile, CourseFile, LimitsFile, ProfileFile, SerumFile, SyringeFile
from device.settings.problems import Location
from device.settings.values import Count, Quantity, SettingsTable, value_in
from tests.support.settings import SHIPPED

MODELS: dict[str, type[SettingsTable]] = {
    "device.toml": DeviceFile,
    "formulary/checklists": ChecklistFile,
    "formulary/courses": CourseFile,
    "formulary/limits.toml": LimitsFile,
    "formulary/profiles": ProfileFile,
    "formulary/serums": SerumFile,
    "formulary/syringes": SyringeFile,
}
GENERATED = ("formulary/formulary.toml", "trusted")
"""Made by a command, not by a person with an editor."""
FILES = sorted(path for path in SHIPPED.rglob("*.toml") if not str(path.relative_to(SHIPPED)).startswith(GENERATED))
ALL_FILES = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SHIPPED)) for path in FILES])


@pytest.fixture(scope="module")
def shipped() -> Configuration:
    return load_configuration(SHIPPED)


def keys_with_comments(path: Path) -> Iterator[tuple[Location, str]]:
    """Yield each key's place with the comment lines directly above it."""
    table: Location = ()
    comment = ""
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            comment += f"{line.removeprefix('# ')} "
        elif header := re.fullmatch(r"\[+(\w+)\]+", line):
            table, comment = (header[1],), ""
        elif assignment := re.match(r"(\w+) = ", line):
            yield (*table, assignment[1]), comment
            comment = ""
        else:
            comment = ""


def rule_of(path: Path, place: Location) -> object:
    name = path.relative_to(SHIPPED)
    model: type[SettingsTable] = MODELS.get(str(name)) or MODELS[str(name.parent)]
    fields = model.model_fields
    for table in place[:-1]:
        annotation = fields[str(table)].annotation
        # A table is the annotation itself; of an array of tables it is the argument of the list.
        inner = next(iter(get_args(annotation)), annotation)
        if not (isinstance(inner, type) and issubclass(inner, SettingsTable)):
            raise TypeError(f"{place} is in no table")
        fields = inner.model_fields
    return value_in(fields[str(place[-1])].metadata)


def test_the_files_that_are_promised_are_there(shipped: Configuration) -> None:
    assert sorted(shipped.profiles) == ["continuous", "nappage", "papule", "point-by-point", "saline-test"]
    assert sorted(shipped.serums) == ["example-lidocaine", "saline"]
    assert sorted(shipped.syringes) == ["1ml", "3ml", "5ml"]
    assert sorted(shipped.checklists) == ["standard"]
    assert sorted(shipped.courses) == [
        "fortnightly-and-monthly",
        "four-and-four",
        "pilot-study-seven",
        "weekly-six-and-monthly",
        "weekly-ten",
    ]
    # By this name a real console knows the example, and refuses to start with it.
    assert (shipped.device.site, shipped.device.device) == (EXAMPLE_SITE, "console-1")


@ALL_FILES
def test_every_key_is_explained_right_above_it(path: Path) -> None:
    explained = list(keys_with_comments(path))
    assert explained
    assert [place for place, comment in explained if len(comment) < 15] == []


@ALL_FILES
def test_the_range_beside_a_number_is_the_range_that_is_enforced(path: Path) -> None:
    for place, comment in keys_with_comments(path):
        rule = rule_of(path, place)
        if isinstance(rule, Quantity | Count):
            assert f"{rule.least} to {rule.most}" in comment, place


@ALL_FILES
def test_every_file_names_its_schema_for_the_editor(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("#:schema ")
    assert (path.parent / first.removeprefix("#:schema ")).is_file()


@pytest.mark.parametrize("key", ["depth_mm", "dose_ul", "session_volume_ml", "session_shots"])
def test_a_medical_number_has_its_source_beside_it(key: str) -> None:
    for path in (SHIPPED / "formulary/profiles").glob("*.toml"):
        if path.stem != "saline-test":
            (comment,) = (comment for place, comment in keys_with_comments(path) if place == (key,))
            assert "Published" in comment or "PubMed" in comment, path


@pytest.mark.parametrize("key", ["sessions", "target_days", "least_days", "greatest_days", "seasons"])
def test_a_courses_number_says_where_it_comes_from_or_that_it_is_an_example(key: str) -> None:
    for path in (SHIPPED / "formulary/courses").glob("*.toml"):
        for place, comment in keys_with_comments(path):
            if place == ("blocks", key):
                assert re.search("page|abstract|study|same weeks?|an example", comment), (path, comment)


def test_the_course_of_four_and_four_has_the_published_gaps(shipped: Configuration) -> None:
    course = shipped.courses["four-and-four"].value
    assert [(block.sessions, block.target_days, block.greatest_days) for block in course.blocks] == [
        (4, 7, 11),
        (4, 5, 22),
    ]
    assert course.blocks[0].seasons == (4, 5, 9, 10)


def test_the_lidocaine_example_has_the_labels_limits_and_says_that_it_is_no_advice(shipped: Configuration) -> None:
    (lidocaine,) = shipped.serums["example-lidocaine"].value.ingredients
    assert (lidocaine.most_ug, lidocaine.most_ug_per_kg) == (300_000, 4_500)
    text = shipped.serums["example-lidocaine"].path.read_text()
    assert "never a recommended mix" in text
    assert text.count("Product label") == 2


def test_no_serum_ships_an_ingredient_without_a_published_limit(shipped: Configuration) -> None:
    names = {each.name for serum in shipped.serums.values() for each in serum.value.ingredients}
    assert names == {"sodium chloride", "lidocaine hydrochloride"}


def test_every_profile_for_patients_needs_skin_contact(shipped: Configuration) -> None:
    assert {name for name, profile in shipped.profiles.items() if not profile.value.require_contact} == set()


def test_the_profiles_cover_every_mode_and_every_trigger(shipped: Configuration) -> None:
    assert {profile.value.mode for profile in shipped.profiles.values()} == set(Mode)
    assert {profile.value.trigger for profile in shipped.profiles.values()} == set(TriggerStyle)


def test_every_profile_can_be_dosed_with_a_shipped_syringe(shipped: Configuration) -> None:
    least = min(syringe.value.smallest_dose_nl for syringe in shipped.syringes.values())
    assert {name for name, profile in shipped.profiles.items() if profile.value.dose_nl < least} == set()


def test_a_syringes_backlash_is_about_a_fifth_of_its_smallest_dose_or_less(shipped: Configuration) -> None:
    for loaded in shipped.syringes.values():
        syringe = loaded.value
        assert syringe.volume_of(syringe.backlash_increments) * 4 <= syringe.smallest_dose_nl


@pytest.mark.parametrize("name", ["continuous", "nappage", "papule", "point-by-point", "saline-test"])
def test_the_planner_accepts_every_shipped_profile_with_the_1_ml_syringe(shipped: Configuration, name: str) -> None:
    plan = plan_stroke(shipped.profiles[name].value, shipped.syringes["1ml"].value, shipped.device)
    assert plan.most_shots >= 1
