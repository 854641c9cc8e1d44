"""The few durations that count between the parts of an explored gun; everything else may be as slow as it likes.

A scan comes every 2 ms at least. Nothing that lasts longer than that ends before the real-time process, if it runs,
has received every order and seen every input: not a stage of a plunger's move, not a call of the pump over its serial
line. A real-time process that does not scan for so long is a fault of its own, and is tried as one. A new one is
announced within 5 ms of its first scan: nothing but scans, events and orders fits in between.
"""

from device.core.effects import Effect, TerminatePump
from tests.exploration.parts import GATE_1, GATE_2, HOME, NONE, Life
from tests.exploration.scans import Moment, written
from tests.exploration.tables import Tables, View

SCANNING = (Life.RUNNING, Life.STARTING)


def gates_of(view: View) -> tuple[bool, bool]:
    """Return the gates as the pump sees them."""
    lines, troubles = view.realtime.lines, view.room.troubles
    if troubles:
        return (lines.gate_1 or troubles & GATE_1 != 0, lines.gate_2 or troubles & GATE_2 != 0)
    return (lines.gate_1, lines.gate_2)


def inputs_of(view: View) -> int:
    """Return what the real-time process reads, in bits, the first input highest."""
    room = view.room
    bits = 0b1100000 * room.trigger | 0b0011000 * room.stop | 0b10 * room.touching | room.phase
    return bits | 0b100 if room.needle <= 0 and not room.troubles & HOME else bits


def linked(view: View) -> bool:
    """Return whether the real-time process finds its link open: the link's end is read behind the last order."""
    realtime = view.realtime
    return realtime.linked and (view.controller.life is not Life.DEAD or bool(realtime.orders))


def is_settled(tables: Tables, view: View) -> bool:
    """Whether another scan now would change nothing, or nobody scans."""
    if view.realtime.life is not Life.RUNNING:
        return True
    return not view.realtime.orders and _is_idle(tables, view, inputs_of(view))


def time_can_pass(tables: Tables, view: View) -> bool:
    """Whether the next scan may be one that is far off: scans in between, with the same inputs, would change nothing.

    What is new since the last scan, an input or an order, may have come just before that one.
    """
    realtime = view.realtime
    if realtime.life is not Life.RUNNING:
        return False
    return realtime.seen == NONE or _is_idle(tables, view, realtime.seen)


def _is_idle(tables: Tables, view: View, inputs: int) -> bool:
    realtime = view.realtime
    result = tables.scans.scan(realtime.scan, inputs, NONE, Moment.AT_ONCE, permit=realtime.permit, linked=linked(view))
    if result.scan != realtime.scan or result.reports:
        return False
    return written(realtime.lines, result.outputs).lines == realtime.lines


def call_can_end(tables: Tables, view: View, effect: Effect) -> bool:
    """Whether a call of the pump can be over by now. All but the shortest outlast the silence of a frozen process."""
    if view.realtime.life is Life.FROZEN:
        return isinstance(effect, TerminatePump)
    return not is_about_to_be_announced(tables, view) and is_settled(tables, view)


def is_about_to_be_announced(tables: Tables, view: View) -> bool:
    """Whether a new real-time process has made its first scans and the controller has not noted it yet."""
    return view.realtime.life is Life.STARTING and view.realtime.scan != tables.scans.first
