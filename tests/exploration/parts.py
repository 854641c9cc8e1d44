"""The parts of an explored state, each a plain tuple of numbers and levels.

Numbers point into `tables`; -1 is none. Owns only the form: what may follow is `world`'s, what must hold
is `checks`'.
"""

from enum import IntEnum
from typing import NamedTuple

from tests.exploration.pump_calls import Driver
from tests.exploration.scans import Driven

NONE = -1


class Life(IntEnum):
    """How a process is. `GONE`: lost, noticed, not started again yet; `STARTING`: started, not yet announced."""

    RUNNING = 0
    FROZEN = 1
    DEAD = 2
    GONE = 3
    STARTING = 4


# What is broken and stays broken until somebody repairs it. Plain bits: they are asked for at every transition.
GATE_1, GATE_2, PHASE, HOME, CABLE, DISK = (1 << bit for bit in range(6))
TROUBLES = {
    GATE_1: "gate 1 sticks open",
    GATE_2: "gate 2 sticks open",
    PHASE: "the phase line sticks",
    HOME: "the home switch breaks",
    CABLE: "the pump's cable comes off",
    DISK: "the disk is full",
}


class Controller(NamedTuple):
    """The controller: volatile but for `durable`, the ledger that the journal's records fold to.

    `urgent` is a failure in front of `queue`; `effects` are still to be carried out; `unwritten` are records that an
    earlier commit could not write; `background` is a refill or homing under way.
    """

    life: Life
    console: int
    durable: int
    unwritten: int
    queue: tuple[int, ...]
    urgent: int
    effects: tuple[int, ...]
    background: int
    driver: Driver


class Realtime(NamedTuple):
    """The real-time process, its lines and its link: `orders` not yet received, `reports` not yet taken.

    `seen` are the inputs of its last scan, in bits.
    """

    life: Life
    scan: int
    lines: Driven
    orders: tuple[int, ...]
    reports: tuple[int, ...]
    linked: bool
    permit: bool
    seen: int


class Room(NamedTuple):
    """The world around: needle in steps, what hands do, the pump's phase line, what is broken."""

    needle: int
    trigger: bool
    stop: bool
    touching: bool
    phase: bool
    troubles: int


class Account(NamedTuple):
    """What nobody in the gun knows: budgets that are left, and the truth that the invariants are judged by.

    `given`: increments out of the needle under the open intent; `drawn`: drawn back and not repaid. `loaded`: the
    magazine whose program last reached the pump. `allowed`: an operator's command to arm or prime is in force.
    `press_shots`: shots since the trigger was last pressed. `quiet`: something went wrong since the last such command,
    so that nothing may begin.
    """

    faults: int
    presses: int
    commands: int
    acts: int
    disturbed: bool
    given: int
    drawn: int
    loaded: int
    allowed: bool
    press_shots: int
    quiet: bool


class State(NamedTuple):
    """A whole explored state: one number for each part."""

    controller: int
    realtime: int
    pump: int
    room: int
    account: int


class Kind(IntEnum):
    """Who makes a transition: the gun itself, the operator, or the fault that is tried."""

    GUN = 0
    OPERATOR = 1
    FAULT = 2
