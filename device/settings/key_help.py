"""What to tell a person about a key or value that a model refused.

Owns the translation of pydantic's errors into `Problem`s: the line, the near name for a misspelt key, the right key
for one with another unit. Never decides that something is wrong: the models have. Every error gives one problem.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from device.settings.problems import Document, Location, Problem, shown
from device.settings.values import WRONG_VALUE, Quantity, value_in

_NAMED_KEY: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")


def problems_of(error: ValidationError, model: type[BaseModel], document: Document) -> Iterator[Problem]:
    """Yield one problem for each thing that is wrong with `document`.

    A key that is only written differently (`depth_um`) is one problem, not an unknown key and a missing one.
    """
    details = error.errors(include_url=False)
    meant = {
        (*location[:-1], name)
        for location in (detail["loc"] for detail in details if detail["type"] == "extra_forbidden")
        if (name := _meant(str(location[-1]), _table_at(model, location[:-1]))) is not None
    }
    for detail in details:
        if detail["type"] != "missing" or detail["loc"] not in meant:
            yield _problem_of(detail, model, document)


def contradiction(error: ValueError, document: Document, table: Location = ()) -> Problem:
    """Return the problem for a rule between keys of `table`; the error's text names them, the first gives the line."""
    named: dict[Location, str] = {}
    for match in _NAMED_KEY.finditer(str(error)):
        location = (*table, *match[0].split("."))
        value = document.at(location)
        if value is not None and not isinstance(value, dict | list):
            named.setdefault(location, f"{match[0]} {shown(value)}")
    first = next(iter(named), table)
    found = ", ".join(named.values()) or "a contradiction"
    return document.problem(first, found=found, allowed=str(error), action="correct these values")


def _problem_of(detail: ErrorDetails, model: type[BaseModel], document: Document) -> Problem:
    location: Location = detail["loc"]
    match detail["type"]:
        case "missing":
            return _missing(location, model, document)
        case "extra_forbidden":
            return _unknown(location, _table_at(model, location[:-1]), document)
        case kind if kind == WRONG_VALUE:
            words = detail["ctx"]
            return document.problem(location, found=words["found"], allowed=words["allowed"], action=words["action"])
        case "value_error":
            return contradiction(detail["ctx"]["error"], document, location)
        case "model_type":
            name = ".".join(part for part in location if isinstance(part, str))
            return document.problem(
                location, found=shown(detail["input"]), allowed="allowed is a table", action=f"write [{name}]"
            )
        case "list_type" | "too_short" | "too_long" as kind:
            given = detail["input"]
            found = f"{len(given)} entries" if isinstance(given, list) else shown(given)
            least, most = detail.get("ctx", {}).get("min_length"), detail.get("ctx", {}).get("max_length")
            bound = {"too_short": f", at least {least}", "too_long": f", at most {most}"}.get(kind, "")
            return document.problem(
                location, found=found, allowed=f"allowed is a list of tables{bound}", action=f"write [[{location[-1]}]]"
            )
        case _:
            return document.problem(
                location, found=shown(detail["input"]), allowed=detail["msg"], action="correct the value"
            )


def _missing(location: Location, model: type[BaseModel], document: Document) -> Problem:
    key = str(location[-1])
    field = _table_at(model, location[:-1])[key]
    value = value_in(field.metadata)
    if value is not None:
        wanted, action = value.wanted, f'add "{key} = ..."'
    else:
        wanted, action = "a table", f"add [[{key}]]" if get_origin(field.annotation) is list else f"add [{key}]"
    # The line is that of the table in which the key is missing.
    return document.problem(
        location, found="nothing", allowed=f"required is {wanted}", action=action, line_at=location[:-1]
    )


def _unknown(location: Location, known: Mapping[str, FieldInfo], document: Document) -> Problem:
    key = str(location[-1])
    found = "an unknown key"
    name = _meant(key, known)
    if name is None:
        return document.problem(
            location, found=found, allowed=f"the keys here are {', '.join(known)}", action="remove it"
        )
    if name == _same_quantity(key, known):
        value = value_in(known[name].metadata)
        unit = f", in {value.unit.words}" if isinstance(value, Quantity) else ""
        return document.problem(
            location, found=found, allowed=f"the key is {name}{unit}", action="rename it and convert its value"
        )
    return document.problem(location, found=found, allowed=f"the nearest key is {name}", action=f"did you mean {name}?")


def _meant(key: str, known: Mapping[str, FieldInfo]) -> str | None:
    """Return the known key that was probably meant by `key`, None where there is no such."""
    near = get_close_matches(key, known, n=1)
    return _same_quantity(key, known) or (near[0] if near else None)


def _same_quantity(key: str, known: Mapping[str, FieldInfo]) -> str | None:
    """Return the known quantity of which `key` is the name with another unit, or with none."""
    for name, field in known.items():
        value = value_in(field.metadata)
        if isinstance(value, Quantity):
            stem = name.removesuffix(f"_{value.unit.suffix}")
            if key == stem or (key.startswith(f"{stem}_") and _is_unit(key.removeprefix(f"{stem}_"))):
                return name
    return None


def _is_unit(suffix: str) -> bool:
    """Say whether `suffix` is written like a unit: `um`, `nl`, `mm_s`, `mg_per_ml`."""
    length, volume, duration, mass = "nm|um|mm|cm|m|in", "nl|ul|ml|l", "ns|us|ms|s|min|sec", "ng|ug|mg|g|kg"
    one = f"(?:{length}|{volume}|{duration}|{mass})"
    return re.fullmatch(f"{one}(?:_(?:per_)?{one}2?)?", suffix) is not None


def _table_at(model: type[BaseModel], location: Sequence[str | int]) -> Mapping[str, FieldInfo]:
    """Return the fields of the table at `location` of a file of `model`."""
    table = model
    for part in location:
        if isinstance(part, str):
            annotation = table.model_fields[part].annotation
            # A table is the annotation itself; of an array of tables, `list[Table]`, it is the argument.
            inner = next(iter(get_args(annotation)), annotation)
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                table = inner
    return table.model_fields
