"""The committed JSON Schemas are those of the models, and they describe the shipped files key by key."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from device.service.config_schema import generate_schemas, schema_text, write_schemas
from tests.support.settings import SHIPPED

COMMITTED = SHIPPED / "schema"
KINDS = {
    "checklist": "formulary/checklists/*.toml",
    "course": "formulary/courses/*.toml",
    "device": "device.toml",
    "limits": "formulary/limits.toml",
    "profile": "formulary/profiles/*.toml",
    "serum": "formulary/serums/*.toml",
    "syringe": "formulary/syringes/*.toml",
}
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "integer": (int,),
    "string": (str,),
    "boolean": (bool,),
}


def mismatches(value: object, schema: dict[str, Any], whole: dict[str, Any], place: str = "") -> list[str]:
    """List where `value` does not fit the part of JSON Schema that the generated schemas use."""
    if reference := schema.get("$ref"):
        return mismatches(value, whole["$defs"][reference.removeprefix("#/$defs/")], whole, place)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{place}: not in the choices"]
    if schema["type"] == "object":
        if not isinstance(value, dict):
            return [f"{place}: no table"]
        known = schema["properties"]
        wrong = [f"{place}.{key}: unknown" for key in value if key not in known]
        wrong += [f"{place}.{key}: missing" for key in schema.get("required", ()) if key not in value]
        for key in value.keys() & known.keys():
            wrong += mismatches(value[key], known[key], whole, f"{place}.{key}")
        return wrong
    if schema["type"] == "array":
        if not isinstance(value, list) or not schema["minItems"] <= len(value) <= schema["maxItems"]:
            return [f"{place}: no such list"]
        return [text for each in value for text in mismatches(each, schema["items"], whole, f"{place}[]")]
    if not isinstance(value, JSON_TYPES[schema["type"]]) or isinstance(value, bool) != (schema["type"] == "boolean"):
        return [f"{place}: wrong type"]
    if isinstance(value, str):
        return [] if re.search(schema["pattern"], value) else [f"{place}: pattern"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [] if schema["minimum"] <= value <= schema["maximum"] else [f"{place}: range"]
    return []


@pytest.mark.parametrize("kind", KINDS)
def test_the_committed_schema_is_the_generated_one(kind: str) -> None:
    committed = (COMMITTED / f"{kind}.schema.json").read_text()
    assert committed == schema_text(generate_schemas()[kind]), "run: python -m device.service.config_schema"


def test_no_other_schema_is_committed() -> None:
    assert {path.name for path in COMMITTED.iterdir()} == {f"{kind}.schema.json" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_file_fits_its_schema(kind: str) -> None:
    schema = json.loads((COMMITTED / f"{kind}.schema.json").read_text())
    files = sorted(SHIPPED.glob(KINDS[kind]))
    assert files
    for path in files:
        assert mismatches(tomllib.loads(path.read_text()), schema, schema) == [], path


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("depth_um", 2000, ".depth_um: unknown"),
        ("depth_mm", "2 mm", ".depth_mm: wrong type"),
        ("depth_mm", 14, ".depth_mm: range"),
        ("mode", "singel", ".mode: not in the choices"),
        ("name", "Nappage", ".name: pattern"),
        ("require_contact", 1, ".require_contact: wrong type"),
    ],
)
def test_the_schema_refuses_what_the_models_refuse(key: str, value: object, expected: str) -> None:
    schema = generate_schemas()["profile"]
    profile = tomllib.loads((SHIPPED / "formulary/profiles" / "nappage.toml").read_text())
    assert mismatches({**profile, key: value}, schema, schema) == [expected]


def test_every_key_of_every_schema_tells_its_meaning_and_no_default_is_null() -> None:
    for kind, schema in generate_schemas().items():
        for table in (schema, *schema.get("$defs", {}).values()):
            for key, value in table["properties"].items():
                assert "$ref" in value or "items" in value or len(value["description"]) > 10, (kind, key)
                assert "default" not in value, (kind, key)


def test_the_schemas_are_written_where_one_says(tmp_path: Path) -> None:
    paths = write_schemas(tmp_path / "schema")
    assert [path.name for path in paths] == [f"{kind}.schema.json" for kind in KINDS]
    assert all(path.read_bytes() == (COMMITTED / path.name).read_bytes() for path in paths)
