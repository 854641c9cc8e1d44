"""The machine in the middle of a treatment: a full magazine has been fired, its position is about to be read.

Owns the events that lead there, given to the product's own machine; times nothing. The magazine and the records of the
other benchmarks come from here, so that they are as large as a treatment's.
"""

from dataclasses import dataclass
from functools import reduce

from device.core.console import Console
from device.core.effects import Commit, Refill
from device.core.events import (
    ArmRequested,
    CalibrateRequested,
    Event,
    HomeRequested,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    Request,
    SessionStartRequested,
    Started,
)
from device.core.ledger import Ledger
from device.core.machine import step
from device.core.magazine import Magazine
from device.core.realtime_messages import EndReason, Homed, Loaded, MagazineEnded, Ready, ShotReport, StrokeStarted
from device.core.records import MagazineIntent, Record
from device.core.session import Region
from device.core.units import Increments
from device.settings import Configuration
from device.simulation.controller_process import SIMULATED_FORMULARY
from tests.bench.processes import MeasurementBroken
from tests.bench.shipped import PROFILE, SERUM, SYRINGE

REQUEST = Request(number=1, uid=1000, pid=1)
POINTS = 100


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn from a fired magazine to the next: the console and event before it, and what the machine answers."""

    console: Console
    event: PositionRead
    fired: Magazine
    records: tuple[Record, ...]
    """What one commit makes durable: the outcome of the fired magazine and the intent of the next."""
    intent: MagazineIntent


def full_turn(configuration: Configuration) -> Turn:
    """Return the turn between two full magazines of the measured profile. Raises MeasurementBroken."""
    console = _after(
        Console(spec=configuration.device, ledger=Ledger(), formulary=SIMULATED_FORMULARY),
        Started(),
        PumpProbed(None),
        Ready(homed=True),
        HomeRequested(REQUEST, plunger=True, patient_detached=True),
        Homed(0),
        PlungerAtTop(Increments(0)),
        _calibration(configuration),
        _session(configuration),
    )
    console, effects = step(console, ArmRequested(REQUEST))
    target = next((effect.target for effect in effects if isinstance(effect, Refill)), None)
    if target is None:
        raise MeasurementBroken(f"the machine does not refill: state {console.state.name.lower()}")
    console = _after(console, RefillDone(target))
    magazine = console.magazine
    if magazine is None:
        raise MeasurementBroken(f"the machine loads no magazine: state {console.state.name.lower()}")
    console = _after(console, *_firing(magazine))
    event = PositionRead(magazine.shots[-1].moves[-1].target)
    _, effects = step(console, event)
    records = next(effect.records for effect in effects if isinstance(effect, Commit))
    intent = next(record for record in records if isinstance(record, MagazineIntent))
    return Turn(console, event, magazine, records, intent)


def _after(console: Console, *events: Event) -> Console:
    return reduce(lambda before, event: step(before, event)[0], events, console)


def _calibration(configuration: Configuration) -> CalibrateRequested:
    syringe = configuration.syringes[SYRINGE]
    return CalibrateRequested(
        request=REQUEST,
        syringe=syringe.value,
        syringe_sha256=syringe.sha256,
        measured_nl=syringe.value.stroke_nl,
        method="bench",
        expires_ms=1,
    )


def _session(configuration: Configuration) -> SessionStartRequested:
    profile = configuration.profiles[PROFILE]
    serum = configuration.serums[SERUM]
    syringe = configuration.syringes[SYRINGE]
    return SessionStartRequested(
        request=REQUEST,
        session_id="0123456789abcdef",
        profile=profile.value,
        profile_sha256=profile.sha256,
        serum=serum.value,
        serum_sha256=serum.sha256,
        syringe=syringe.value,
        syringe_sha256=syringe.sha256,
        patient="bench",
        weight_g=None,
        regions=(Region("crown", POINTS),),
    )


def _firing(magazine: Magazine) -> list[Event]:
    """Return what the machine is told while `magazine` is loaded and fired."""
    stroke, number = magazine.stroke, magazine.magazine_id
    events: list[Event] = [PumpLoaded(number), Loaded(number)]
    for index in range(len(magazine.shots)):
        opened = (index + 1) * stroke.moves
        report = ShotReport(
            magazine_id=number,
            index=index,
            opened=opened,
            done=opened,
            fault=0,
            released=False,
            steps_in=stroke.depth,
            steps_out=stroke.depth,
        )
        events += [StrokeStarted(number, index), report]
    moves = len(magazine.shots) * stroke.moves
    ended = MagazineEnded(number, EndReason.COMPLETE, shots_fired=len(magazine.shots), opened=moves, done=moves)
    return [*events, ended]
