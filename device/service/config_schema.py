"""The JSON Schemas of the configuration files, for editors that complete and check while one types.

Owns nothing but the form: keys, meanings and ranges come from the models that check the files at start, so the two
cannot differ; a test compares the committed schemas with these. A schema holds one file at a time: rules between
keys and between files are checked by `device.settings` alone. Run as a module it writes `config/schema`.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from device.settings.device_file import DeviceFile
from device.settings.formulary import ChecklistFile, CourseFile, LimitsFile, ProfileFile, SerumFile, SyringeFile
from device.settings.values import SettingsTable

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MODELS: Final[Mapping[str, type[SettingsTable]]] = {
    "checklist": ChecklistFile,
    "course": CourseFile,
    "device": DeviceFile,
    "limits": LimitsFile,
    "profile": ProfileFile,
    "serum": SerumFile,
    "syringe": SyringeFile,
}


def generate_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each kind of file, by kind."""
    return {
        kind: {"$schema": DIALECT, "title": f"mesogun {kind} file", **_trimmed(model.model_json_schema())}
        for kind, model in MODELS.items()
    }


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return the text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(directory: Path) -> tuple[Path, ...]:
    """Write `<kind>.schema.json` of each kind into `directory` and return the paths. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, schema in generate_schemas().items():
        path = directory / f"{kind}.schema.json"
        path.write_text(schema_text(schema), encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def _trimmed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without defaults of null, which TOML cannot say, and titles that only repeat the key."""
    return {
        key: _trimmed(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if not (key == "default" and value is None) and not (key == "title" and isinstance(value, str))
    }


def main() -> None:
    """Write the schemas into the directory named on the command line."""
    parser = argparse.ArgumentParser(description="write the JSON Schemas of the configuration files")
    parser.add_argument("directory", type=Path, nargs="?", default=Path("config/schema"))
    for path in write_schemas(parser.parse_args().directory):
        print(path)


if __name__ == "__main__":
    main()
