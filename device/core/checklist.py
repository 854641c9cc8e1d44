"""A check-list: what is asked and done before a session's first shot, and what the patient is told at its end.

Owns what is still open and why that keeps the gun from being armed. It keeps nothing else from being done: serum is
drawn and the needle primed while the questions are asked. What was confirmed, and by whom, stands in the journal.
"""

from collections.abc import Collection
from dataclasses import dataclass

from device.core.limits import Refusal
from device.core.serum import Serum


@dataclass(frozen=True, slots=True)
class Item:
    """One question or act: `key` for commands and records, `text` for the operator."""

    key: str
    text: str
    required: bool


@dataclass(frozen=True, slots=True)
class Checklist:
    """The items in their order, and the aftercare that the patient is told, in lines."""

    name: str
    items: tuple[Item, ...]
    aftercare: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that a key means one item."""
        keys = [item.key for item in self.items]
        if len(set(keys)) < len(keys):
            raise ValueError("key must be another one in each of the items")


def open_items(checklist: Checklist | None, checked: Collection[str]) -> tuple[Item, ...]:
    """Return the required items that nobody has confirmed yet."""
    if checklist is None:
        return ()
    return tuple(item for item in checklist.items if item.required and item.key not in checked)


def checklist_refusals(checklist: Checklist | None, checked: Collection[str]) -> tuple[Refusal, ...]:
    """Return why the gun must not be armed yet; empty when everything required is confirmed."""
    return tuple(
        Refusal("checklist", f"check-list: {item.text}: confirm with `mesogun session check {item.key} --by NAME`")
        for item in open_items(checklist, checked)
    )


def missing_checklist(serum: Serum, checklist: Checklist | None) -> tuple[Refusal, ...]:
    """Return why no session with `serum` may start without a check-list; empty when it may, or has one."""
    if checklist is not None or not serum.checklist_required:
        return ()
    return (
        Refusal(
            "checklist",
            f"{serum.name} is given with a check-list: give --checklist NAME, or a --course that names one",
        ),
    )


def check_refusals(checklist: Checklist | None, items: Collection[str]) -> tuple[str, ...]:
    """Return why `items` cannot be confirmed; empty when they can."""
    if checklist is None:
        return ("the session has no check-list: nothing is to be confirmed",)
    known = [item.key for item in checklist.items]
    return tuple(
        f"check-list {checklist.name} has no item {key!r}; it has: {', '.join(known)}"
        for key in items
        if key not in known
    )
