"""Equal values, one small number: what makes a composed state of many big parts a short tuple that can be compared.

Owns the canonical key of a value. The key is the whole value, not a digest of it: two states are the same state only
if every part of them is equal, so no collision can hide one.
"""

import dataclasses
from collections import deque
from collections.abc import Hashable, Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_PLAIN = (str, int, bool, bytes, type(None), float)


class Numbers(Generic[T]):
    """A table of different values. `constants` are compared by identity: big, shared, and never changed."""

    def __init__(self, *constants: object) -> None:
        self._values: list[T] = []
        self._numbers: dict[Hashable, int] = {}
        self._constants = {id(constant): constant for constant in constants}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int) -> T:
        return self._values[number]

    def of(self, value: T, content: Any = None) -> int:
        """Return the number of `value`, a new one if no equal one has one yet; `content`: what of it counts."""
        key = self._key(value if content is None else content)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._values)
            self._values.append(value)
        return number

    def _key(self, value: Any) -> Hashable:
        if isinstance(value, _PLAIN):
            return value
        if id(value) in self._constants:
            return ("constant", id(value))
        if isinstance(value, Enum):
            return value
        if isinstance(value, tuple | list | deque):
            return (type(value).__name__, *(self._key(item) for item in value))
        if isinstance(value, Mapping):
            return (type(value).__name__, *((self._key(name), self._key(item)) for name, item in value.items()))
        if dataclasses.is_dataclass(value):
            names = (field.name for field in dataclasses.fields(value))
            return (type(value).__name__, *(self._key(getattr(value, name)) for name in names))
        if hasattr(value, "__dict__") or hasattr(value, "__slots__"):
            return (type(value).__name__, *((name, self._key(getattr(value, name))) for name in _attributes(value)))
        raise TypeError(f"{type(value).__name__} has no canonical key")


def _attributes(value: Any) -> list[str]:
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    return sorted({*getattr(value, "__dict__", {}), *slots})


class Table(Generic[T]):
    """As `Numbers`, for values that are their own key."""

    def __init__(self) -> None:
        self._values: list[T] = []
        self._numbers: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int) -> T:
        return self._values[number]

    def of(self, value: T) -> int:
        """Return the number of `value`, a new one if no equal value has one yet."""
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self._values)
            self._values.append(value)
        return number
