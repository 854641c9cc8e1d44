"""A transition in words, for the path to a broken invariant."""

from enum import Enum
from typing import Any, Final

from device.core.effects import Commit, LoadPump, Send
from device.core.realtime_messages import Faulted, Load, MagazineEnded
from tests.exploration.parts import NONE, TROUBLES
from tests.exploration.scans import Moment
from tests.exploration.tables import Tables

_EVENTS: Final = ("controller takes", "operator")
_WHEN: Final = {
    Moment.AT_ONCE: "at once",
    Moment.DUE: "when its action is due",
    Moment.LATER: "later, every wait over",
    Moment.TOO_LATE: "too late",
}


def words_of(tables: Tables, words: tuple[Any, ...]) -> str:
    """Return one line."""
    match words:
        case ("scan", moment, order):
            taken = "" if order == NONE else f", takes {_message(tables.messages[order])}"
            return f"real-time: scan {_WHEN[moment]}{taken}"
        case ("pump", pump):
            look = tables.pumps.look(pump)
            doing = "moving" if look.moving else f"halted at gate {look.halted_at}" if look.halted_at else "at rest"
            return f"pump: {doing if look.busy or look.moving else 'idle'} at {look.position}, error {look.error}"
        case (str() as what, int() as number) if what in _EVENTS:
            return f"{what.replace('takes', 'takes:')} {_message(tables.messages[number])}"
        case ("breaks", trouble):
            return TROUBLES[trouble]
        case ("repairs", trouble):
            return f"repaired: {TROUBLES[trouble]}"
        case (str() as what, int() as number):
            return f"controller {what}: {_effect(tables.effect(number))}"
        case _:
            return " ".join(str(word) for word in words)


def _message(message: Any) -> str:
    match message:
        case Load(magazine):
            return f"Load {magazine.magazine_id}"
        case MagazineEnded():
            return f"MagazineEnded {message.reason.name.lower()}, opened {message.opened}, done {message.done}"
        case Faulted(fault):
            return f"Faulted {fault.name.lower()}"
    facts = {
        name: getattr(message, name)
        for name in ("fault", "magazine_id", "index", "position", "homed", "rescue", "plunger", "reason")
        if hasattr(message, name)
    }
    shown = ", ".join(f"{name} {value.name if isinstance(value, Enum) else value}" for name, value in facts.items())
    return f"{type(message).__name__} {shown}".strip()


def _effect(effect: Any) -> str:
    match effect:
        case Commit(records):
            return "Commit " + ", ".join(type(record).__name__ for record in records)
        case Send(order):
            return f"Send {_message(order)}"
        case LoadPump(program):
            return f"LoadPump {program.magazine_id}"
        case _:
            return str(effect)
