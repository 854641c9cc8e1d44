"""A planted bug: an exact old text, the new text, and the tests that must fail for it.

Owns the description and its application to a text. Never touches the working tree: `tree` plants bugs in copies. A
change whose old text does not occur exactly once raises `StaleBug`, so that the catalogue follows the code.
"""

from dataclasses import dataclass


class StaleBug(Exception):
    """The code has moved on: a change of this planted bug no longer has exactly one place."""


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """One mistake that a person could have made.

    `changes` are (old, new) texts in `file`, relative to the repository. `mistake` says in one line what was got
    wrong, `breaks` the invariant (I1 ... I9) or rule. `caught_by` are pytest selections, one of which must fail.
    `in_child` is for a bug that acts in a process which the tests start: their own never imports the module.
    """

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    mistake: str
    breaks: str
    caught_by: tuple[str, ...]
    in_child: bool = False

    @property
    def module(self) -> str:
        """The dotted name of the module in `file`."""
        return self.file.removesuffix(".py").replace("/", ".")

    def planted_in(self, text: str) -> str:
        """Return `text` with the bug in it. Raises StaleBug."""
        for old, new in self.changes:
            found = text.count(old)
            if found != 1:
                raise StaleBug(f"{self.name}: in {self.file} this occurs {found} times, not once:\n{old}")
            text = text.replace(old, new)
        return text
