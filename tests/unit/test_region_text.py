"""The regions of a session's start: the grammar, what the controller makes of it, and what a restart finds again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from device.controller.commands import CommandRefused, SessionStartArguments, parse
from device.controller.recovery import restored_regions
from device.core.region_plan import Grid
from device.core.session import Region
from device.service.cli import build_parser
from device.service.region_text import parse_regions
from tests.support.journal import STARTED


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        ("front:20,crown:5", [Region("front", 20), Region("crown", 5)]),
        ("crown:35cm2", [Region("crown", 8, 3500, 20_000)]),
        ("crown:35cm2:square", [Region("crown", 8, 3500, 20_000)]),
        ("temple:12cm2@15mm:hex", [Region("temple", 6, 1200, 15_000, Grid.HEXAGONAL)]),
        ("temple:12.25cm2@7.5mm:hexagonal", [Region("temple", 25, 1225, 7_500, Grid.HEXAGONAL)]),
        ("a:1,b:4cm2@5mm", [Region("a", 1), Region("b", 16, 400, 5_000)]),
    ],
)
def test_a_region_is_written_by_its_points_or_by_its_area(text: str, regions: list[Region]) -> None:
    found = SessionStartArguments.model_validate(
        {"profile": "p", "serum": "s", "syringe": "y", "regions": parse_regions(text)}
    )
    assert [region.to_region() for region in found.regions] == regions


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'': write NAME:POINTS or NAME:AREAcm2[@SPACINGmm][:square|:hex]"),
        ("front", "'front': write NAME:POINTS"),
        (":20", "':20': write NAME:POINTS"),
        (":20cm2", "':20cm2': write NAME:POINTS"),
        ("front:0", "'front:0': write NAME:POINTS"),
        ("front:20,crown:", "'crown:': write NAME:POINTS"),
        ("front:20:hex", "'front:20:hex': write NAME:POINTS"),
        ("front:35cm", "'front:35cm': write NAME:POINTS"),
        ("front:35cm2:round", "'front:35cm2:round': write NAME:POINTS"),
        ("front:35cm2:", "'front:35cm2:': write NAME:POINTS"),
        ("front:35cm2@15", "'front:35cm2@15': write NAME:POINTS"),
        ("front:-3cm2", "'front:-3cm2': write NAME:POINTS"),
        ("front:0.001cm2", "'front:0.001cm2': write NAME:POINTS"),
        ("front:0cm2", "'front:0cm2': an area is more than nothing"),
        ("front:35cm2@4.9mm", "'front:35cm2@4.9mm': allowed is a spacing of 5 to 30 mm"),
        ("front:35cm2@31mm", "'front:35cm2@31mm': allowed is a spacing of 5 to 30 mm"),
    ],
)
def test_a_wrong_region_is_told_in_one_line(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        parse_regions(text)
    assert str(refused.value).startswith(told)
    arguments = ["session", "start", "--profile=p", "--serum=s", "--syringe=y", f"--regions={text}"]
    with pytest.raises(SystemExit):
        build_parser().parse_args(arguments)
    assert told in capsys.readouterr().err


def test_the_grammar_stands_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["session", "start", "--help"])
    shown = capsys.readouterr().out
    assert "NAME:AREAcm2[@SPACINGmm][:square|:hex]" in shown
    example = next(line for line in shown.splitlines() if "15mm" in line).split()[1]
    assert [region["name"] for region in parse_regions(example)] == ["front", "crown", "temple"]


@pytest.mark.parametrize(
    ("regions", "told"),
    [
        ([{"name": "crown"}], "region crown needs either points or an area"),
        ([{"name": "crown", "points": 3, "area_mm2": 400}], "region crown needs either points or an area"),
        ([{"name": "crown", "area_mm2": 399}], "region crown would have 0 points; allowed are 1 to 1000"),
        (
            [{"name": "crown", "area_mm2": 100_000, "spacing_um": 5_000}],
            "region crown would have 4000 points; allowed are 1 to 1000",
        ),
        ([{"name": "crown", "points": 3}, {"name": "crown", "points": 1}], "region crown is planned twice"),
        ([{"name": "crown", "area_mm2": 400, "spacing_um": 4_999}], "greater than or equal to 5000"),
        ([{"name": "crown", "area_mm2": 400, "grid": "round"}], "'square' or 'hexagonal'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(regions: list[dict[str, Any]], told: str) -> None:
    arguments = {"profile": "p", "serum": "s", "syringe": "y", "regions": regions}
    with pytest.raises(CommandRefused) as refused:
        parse(json.dumps({"command": "session_start", "arguments": arguments}).encode())
    (reason,) = refused.value.reasons
    assert told in reason


@pytest.mark.parametrize("count", [0, -1, 1001, "2"])
def test_a_skip_of_no_or_too_many_points_is_no_request(count: object) -> None:
    with pytest.raises(CommandRefused, match="point_skip: count"):
        parse(json.dumps({"command": "point_skip", "arguments": {"count": count}}).encode())


def test_a_restart_finds_the_regions_with_their_areas_and_an_older_record_s_without() -> None:
    regions = (Region("crown", 12, 4800, 20_000), Region("temple-left", 8))
    started = replace(
        STARTED,
        region_area_mm2=[4800, 0],
        region_spacing_um=[20_000, 0],
        region_grid=["square", "square"],
    )
    assert restored_regions(started) == regions
    assert restored_regions(STARTED) == (Region("crown", 12), Region("temple-left", 8))
