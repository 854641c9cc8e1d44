"""The invariants, judged by the truth: what left the needle, what is durable, which lines are low.

Each function looks at one kind of happening and returns what it broke, in words. None of them asks a part what it
believes, except to compare that with the truth.
"""

from typing import Final, NamedTuple

from device.core.faults import Fault
from device.core.records import FaultRaised, MagazineIntent, MagazineSettled, Record
from device.core.settlement import POSITION_TOLERANCE
from device.core.stroke import ScanMode
from tests.exploration.parts import GATE_1, GATE_2, Account, Room
from tests.exploration.pump import Plunge
from tests.exploration.scans import Driven
from tests.exploration.tables import ConsoleFacts, IntentFacts, ScanFacts, intent_facts

SKIN_STEPS: Final = 0
"""The needle's position at the skin's surface: deeper is in tissue."""

_STUCK_GATES: Final = GATE_1 | GATE_2


class Poured(NamedTuple):
    """What plunger movements did to the account."""

    account: Account
    broken: tuple[str, ...]


def poured(
    account: Account, plunges: tuple[Plunge, ...], *, intent: IntentFacts, room: Room, undisturbed: bool, waste: bool
) -> Poured:
    """Judge what left the needle. `waste`: the plunger is homed with no patient; it empties the syringe."""
    given, drawn = account.given, account.drawn
    broken: list[str] = []
    for before, after, needle_side in plunges:
        if not needle_side:
            continue
        if after > before:
            drawn += after - before
            # A gate that sticks low begins the move behind it, whatever that is: no process can stop that one.
            if room.needle > 0 and not room.troubles & _STUCK_GATES:
                broken.append(f"I9: {after - before} increments are drawn back with the needle at step {room.needle}")
            continue
        repaid = min(drawn, before - after)
        drawn -= repaid
        fluid = before - after - repaid
        if fluid == 0 or waste:
            continue
        given += fluid
        if intent.magazine < 0:
            broken.append(f"I1: {fluid} increments are given and no durable intent covers them")
            continue
        if intent.magazine != account.loaded:
            broken.append(f"I1: the intent of magazine {intent.magazine} is open, given is magazine {account.loaded}")
        if given > intent.authorised or after < intent.lowest:
            broken.append(f"I1: {given} increments are given, {intent.authorised} are authorised")
        if undisturbed and intent.primes is (room.needle > SKIN_STEPS):
            broken.append(f"I3: fluid with the needle at step {room.needle}")
    if waste:
        drawn = 0
    return Poured(account._replace(given=given, drawn=drawn), tuple(broken))


def recorded(account: Account, records: tuple[Record, ...], *, intent: IntentFacts) -> Poured:
    """Judge records that are durable from now on; `intent` is the one that was open before."""
    broken: list[str] = []
    for record in records:
        if isinstance(record, MagazineIntent):
            if intent.magazine >= 0:
                broken.append(f"a second intent is written while magazine {intent.magazine} is open")
            intent = intent_facts(record, latched=intent.latched)
        elif isinstance(record, MagazineSettled):
            broken += _settled(record, account.given, intent)
            account = account._replace(given=0)
            intent = intent_facts(None, latched=intent.latched)
        elif isinstance(record, FaultRaised) and not account.disturbed:
            broken.append(f"fault {record.code} {record.name} in a run in which nothing went wrong")
    return Poured(account, tuple(broken))


def _settled(record: MagazineSettled, given: int, intent: IntentFacts) -> list[str]:
    if record.magazine_id != intent.magazine:
        return [f"magazine {record.magazine_id} is settled, open is {intent.magazine}"]
    if record.given < given:
        return [f"I2: {record.given} increments are booked, {given} were given"]
    most = POSITION_TOLERANCE if record.certain else intent.authorised
    if record.given - given > most:
        return [f"I2: {record.given} increments are booked, only {given} were given"]
    return []


def noted(records: tuple[Record, ...]) -> tuple[str, ...]:
    """Return what breaks nothing and ought to be looked at: a part that believes that another has lost track."""
    return tuple(
        f"internal fault ({record.detail})"
        for record in records
        if isinstance(record, FaultRaised) and record.fault is Fault.INTERNAL
    )


def armed(console: ConsoleFacts) -> tuple[str, ...]:
    """Judge a console: a latched fault and an arming exclude each other."""
    return ("I6: armed with a latched fault",) if console.latched and console.armed else ()


def loading(account: Account, magazine: int, *, intent: IntentFacts, what: str) -> tuple[str, ...]:
    """Judge that a key is put in: `what`, for `magazine`."""
    broken = []
    if intent.magazine != magazine:
        broken.append(f"{what} of magazine {magazine} without its durable intent")
    if intent.latched:
        broken.append(f"I6: {what} of magazine {magazine} with a latched fault")
    if not account.allowed:
        broken.append(f"I6: {what} of magazine {magazine} that no operator asked for")
    return tuple(broken)


def scanned(
    before: Driven,
    after: Driven,
    scan: ScanFacts,
    *,
    both_open: bool,
    room: Room,
    account: Account,
    intent: IntentFacts,
    permit: bool,
    linked: bool,
    depth: int,
) -> tuple[str, ...]:
    """Judge the lines after a scan."""
    broken = []
    if both_open:
        broken.append("both gates are open")
    if (after.gate_1 or after.gate_2) and scan.mode is not ScanMode.STROKE:
        broken.append(f"a gate is open in mode {scan.mode.value}")
    if (after.gate_1 and not before.gate_1) or (after.gate_2 and not before.gate_2):
        if scan.magazine != intent.magazine:
            broken.append(f"a gate opens for magazine {scan.magazine}, the durable intent is {intent.magazine}")
        if account.loaded != scan.magazine:
            broken.append(f"a gate opens for magazine {scan.magazine}, the pump was loaded with {account.loaded}")
        if not permit or not linked or room.stop:
            broken.append(f"I5: a gate opens: permit {permit}, linked {linked}, stop {room.stop}")
        if account.quiet:
            broken.append("I5: a gate opens after a fault, and no operator has armed since")
    if room.needle > depth:
        broken.append(f"the needle is at step {room.needle}, the stroke's depth is {depth}")
    return tuple(broken)


def started(account: Account, *, most_of_a_press: int, bound_to_trigger: bool, trigger: bool) -> tuple[str, ...]:
    """Judge that an injecting stroke begins; `account` counts it already."""
    broken = []
    if account.press_shots > most_of_a_press:
        broken.append(f"I4: shot {account.press_shots} of one press")
    if bound_to_trigger and not trigger:
        broken.append("I4: a shot begins with the trigger released")
    return tuple(broken)


def begun(account: Account, *, stuck: bool) -> tuple[str, ...]:
    """Judge that the pump passes a gate and begins a move."""
    return ("I5: the pump begins a phase after a fault",) if account.quiet and not stuck else ()
