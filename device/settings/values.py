"""The values that a configuration file may hold, one at a time: quantities with a unit, counts, names, choices.

Owns the check of a single value as TOML gives it, the words that tell a person what is allowed, and the exact
conversion of the units people write (mm, uL, ms) into the whole units used inside (um, nL, ns). Never rounds: a
value that is no whole number of the internal unit is refused, which `Unit.whole` enforces by trapping every inexact
operation. Never sees a binary floating-point number: the files are read with `parse_float=Decimal`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from device.core.units import (
    Micrometres,
    MicrometresPerSecond,
    Nanolitres,
    NanolitresPerCm2,
    NanolitresPerSecond,
    Nanoseconds,
)
from device.settings.problems import shown

_EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation, Overflow])
"""Every value in range times its unit's factor needs fewer than 20 digits; what needs more than 40 is not exact."""

ACCOUNTS_MOST: Final = 32
ACCOUNT_PATTERN: Final = r"[a-z_][a-z0-9_-]{0,31}"
"""As Debian's adduser takes them."""

WRONG_VALUE: Final = "wrong_value"
"""The error type under which `refused` travels through pydantic; its context holds found, allowed and action."""


def refused(found: str, allowed: str, action: str) -> PydanticCustomError:
    """Return the error for a value that is not allowed, in the words of a `Problem`."""
    return PydanticCustomError(
        WRONG_VALUE,
        "found {found}; {allowed}; {action}",
        {"found": found, "allowed": allowed, "action": action},
    )


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as people write it, and how many of the internal unit one of it is.

    `suffix` ends the key (`depth_mm`), `words` stand in messages, `internal` names the smallest difference kept.
    """

    suffix: str
    words: str
    per_unit: int
    internal: str

    def whole(self, value: Decimal) -> int:
        """Return `value` in the internal unit, exactly. Raises ValueError where that is no whole number."""
        try:
            scaled = _EXACT.multiply(value, Decimal(self.per_unit))
            nearest = _EXACT.to_integral_exact(scaled)
        except DecimalException as error:
            raise ValueError(f"{value} {self.words} is not a whole number of {self.internal}") from error
        return int(nearest)

    def written(self, whole: int) -> Decimal:
        """Return `whole` of the internal unit as people write it: the inverse of `whole`."""
        return _EXACT.divide(Decimal(whole), Decimal(self.per_unit))


MILLIMETRES: Final = Unit("mm", "millimetres", 1_000, "micrometres")
MILLIMETRES_PER_S: Final = Unit("mm_s", "millimetres per second", 1_000, "micrometres per second")
MILLIMETRES_PER_S2: Final = Unit("mm_s2", "millimetres per second squared", 1_000, "micrometres per second squared")
MICROLITRES: Final = Unit("ul", "microlitres", 1_000, "nanolitres")
MICROLITRES_PER_S: Final = Unit("ul_s", "microlitres per second", 1_000, "nanolitres per second")
MICROLITRES_PER_CM2: Final = Unit("ul_per_cm2", "microlitres per cm2", 1_000, "nanolitres per cm2")
MILLILITRES: Final = Unit("ml", "millilitres", 1_000_000, "nanolitres")
MILLISECONDS: Final = Unit("ms", "milliseconds", 1_000_000, "nanoseconds")
MICROSECONDS: Final = Unit("us", "microseconds", 1_000, "nanoseconds")
MILLIGRAMS: Final = Unit("mg", "milligrams", 1_000, "micrograms")
MILLIGRAMS_PER_ML: Final = Unit("mg_per_ml", "milligrams per millilitre", 1_000, "micrograms per millilitre")
MILLIGRAMS_PER_KG: Final = Unit("mg_per_kg", "milligrams per kilogram", 1_000, "micrograms per kilogram")


@dataclass(frozen=True, slots=True)
class Value(ABC):
    """What one key may hold. `meaning` is the sentence that editors show beside the key."""

    meaning: str

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What is allowed, in words that continue "allowed is"."""

    @abstractmethod
    def check(self, value: object) -> object:
        """Return the value. Raises the error of `refused` for one that is not allowed."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value, without the description."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"description": f"{self.meaning}: {self.wanted}", **self.schema()}

    def _refused(self, value: object, action: str) -> PydanticCustomError:
        return refused(shown(value), f"allowed is {self.wanted}", action)


@dataclass(frozen=True, slots=True)
class Quantity(Value):
    """A decimal number of `unit` in `least` ... `most`, a whole number of the internal unit."""

    unit: Unit
    least: Decimal
    most: Decimal

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return f"a number of {self.unit.words}, {self.least} to {self.most}"

    def check(self, value: object) -> Decimal:
        """Return the value as it was written, in `unit`."""
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            action = "write the number alone: the key names the unit" if isinstance(value, str) else "write a number"
            raise self._refused(value, action)
        number = Decimal(value)
        if not number.is_finite() or not self.least <= number <= self.most:
            raise self._refused(value, "write a value in this range")
        try:
            self.unit.whole(number)
        except ValueError:
            finest = self.unit.written(1)
            raise refused(
                shown(value),
                f"allowed is a whole number of {self.unit.internal}, that is steps of {finest:f} {self.unit.words}",
                "write it with fewer decimals",
            ) from None
        return number

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema. No multipleOf: validators compute it in binary and would refuse 0.3."""
        return {"type": "number", "minimum": _json_number(self.least), "maximum": _json_number(self.most)}


@dataclass(frozen=True, slots=True)
class Count(Value):
    """A whole number in `least` ... `most`."""

    least: int
    most: int

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return f"a whole number, {self.least} to {self.most}"

    def check(self, value: object) -> int:
        """Return the value."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._refused(value, "write a whole number")
        if not self.least <= value <= self.most:
            raise self._refused(value, "write a value in this range")
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Choice(Value):
    """One of `choices`, all texts or all whole numbers."""

    choices: Sequence[str] | Sequence[int]

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        written = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in self.choices]
        return written[0] if len(written) == 1 else f"one of {', '.join(written)}"

    def check(self, value: object) -> str | int:
        """Return the value."""
        if isinstance(value, str | int) and not isinstance(value, bool) and value in self.choices:
            return value
        raise self._refused(value, "write that" if len(self.choices) == 1 else "write one of these")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"enum": list(self.choices)}


@dataclass(frozen=True, slots=True)
class Text(Value):
    """A text that matches `pattern` as a whole; `described` says so in words."""

    pattern: str
    described: str

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return self.described

    def check(self, value: object) -> str:
        """Return the value."""
        if not isinstance(value, str):
            raise self._refused(value, "write it in quotation marks")
        if re.fullmatch(self.pattern, value) is None:
            raise self._refused(value, "write such a text")
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, slots=True)
class Day(Value):
    """A day of the calendar, without a time."""

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return "a date such as 2026-12-31, without quotation marks"

    def check(self, value: object) -> date:
        """Return the value."""
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self._refused(value, "write such a date")
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema: editors see a TOML date as such a text."""
        return {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}


@dataclass(frozen=True, slots=True)
class AccountNames(Value):
    """Names of this machine's accounts, each once."""

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return f"a list of at most {ACCOUNTS_MOST} different accounts"

    def check(self, value: object) -> list[str]:
        """Return the value."""
        if not isinstance(value, list) or len(value) > ACCOUNTS_MOST:
            raise self._refused(value, 'write such a list, as in ["root"]')
        for name in value:
            if not isinstance(name, str) or re.fullmatch(ACCOUNT_PATTERN, name) is None:
                raise self._refused(name, "write an account's name in quotation marks")
        if len(set(value)) < len(value):
            raise refused("an account twice", f"allowed is {self.wanted}", "write each account once")
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        name = {"type": "string", "pattern": f"^{ACCOUNT_PATTERN}$"}
        return {"type": "array", "items": name, "minItems": 0, "maxItems": ACCOUNTS_MOST, "uniqueItems": True}


@dataclass(frozen=True, slots=True)
class Months(Value):
    """Months of the year by their numbers, each once."""

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return "a list of different months, 1 to 12"

    def check(self, value: object) -> list[int]:
        """Return the value."""
        if not isinstance(value, list):
            raise self._refused(value, "write such a list, as in [9, 10]")
        for month in value:
            if isinstance(month, bool) or not isinstance(month, int) or not 1 <= month <= 12:
                raise self._refused(month, "write the months' numbers")
        if not value or len(set(value)) < len(value):
            raise refused(
                "no month" if not value else "a month twice",
                f"allowed is {self.wanted}",
                "write each month once, or remove the key for any month",
            )
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        month = {"type": "integer", "minimum": 1, "maximum": 12}
        return {"type": "array", "items": month, "minItems": 1, "maxItems": 12, "uniqueItems": True}


@dataclass(frozen=True, slots=True)
class Flag(Value):
    """Yes or no."""

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        return "true or false"

    def check(self, value: object) -> bool:
        """Return the value."""
        if isinstance(value, bool):
            return value
        raise self._refused(value, "write true or false without quotation marks")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"type": "boolean"}


def value_in(metadata: Sequence[object]) -> Value | None:
    """Return what a field's metadata says of its value, None for a field that is a table."""
    return next((item for item in metadata if isinstance(item, Value)), None)


def _json_number(value: Decimal) -> int | float:
    """Return a bound for a JSON Schema, the only place where a number may be binary: no dose is computed from it."""
    return int(value) if value == value.to_integral_value() else float(value)


class SettingsTable(BaseModel):
    """A table of a configuration file: immutable, no unknown keys."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)


def quantity(meaning: str, unit: Unit, least: str, most: str) -> Quantity:
    """Return the quantity whose bounds are written in `unit`."""
    return Quantity(meaning, unit, Decimal(least), Decimal(most))


def topic_name(meaning: str) -> Text:
    """Return a name that can be a file's name and a level of an MQTT topic."""
    return Text(meaning, r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", "a name of 1 to 32 small letters, digits and hyphens")


def micrometres(value: Decimal) -> Micrometres:
    """Convert from mm. Raises ValueError where the result is not whole, as do all conversions here."""
    return Micrometres(MILLIMETRES.whole(value))


def micrometres_per_s(value: Decimal) -> MicrometresPerSecond:
    """Convert from mm/s."""
    return MicrometresPerSecond(MILLIMETRES_PER_S.whole(value))


def nanolitres(value: Decimal, unit: Unit = MICROLITRES) -> Nanolitres:
    """Convert from uL, or from `unit`."""
    return Nanolitres(unit.whole(value))


def nanolitres_per_s(value: Decimal) -> NanolitresPerSecond:
    """Convert from uL/s."""
    return NanolitresPerSecond(MICROLITRES_PER_S.whole(value))


def nanolitres_per_cm2(value: Decimal) -> NanolitresPerCm2:
    """Convert from uL/cm2."""
    return NanolitresPerCm2(MICROLITRES_PER_CM2.whole(value))


def nanoseconds(value: Decimal, unit: Unit = MILLISECONDS) -> Nanoseconds:
    """Convert from ms, or from `unit`."""
    return Nanoseconds(unit.whole(value))
