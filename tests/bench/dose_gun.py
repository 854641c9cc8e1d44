"""Shots of the whole simulated gun through a tube that gives way: planned and given, phase by phase.

Owns the treatment and the measuring, and is the one place of the dose's truth that knows how the virtual gun is used.
Planned is what the journal booked for a shot, given what left the simulated needle until the next shot began.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Self

from device.core.device_spec import SoftLimits
from device.core.profile import Phase
from device.core.realtime_messages import Report, StrokeStarted
from device.core.records import ShotGiven
from device.core.units import NS_PER_S, Increments, Nanolitres, NanolitresPerSecond, Nanoseconds
from device.settings import Configuration
from device.simulation.clinic import Treatment, make_ready, start_session, treat
from device.simulation.gun import VirtualGun
from device.simulation.observer import Observer
from drivers.sim.fluid import FluidSpec, play_pl
from drivers.sim.world import World
from tests.bench.processes import MeasurementBroken
from tests.bench.shipped import SERUM

PLAY_UM: Final = 50
BORES_UM: Final = {"1ml": 4_700, "3ml": 8_660, "5ml": 12_060}
LEFT_OVER_INCREMENTS: Final = 16
"""What the plunger holds at first: not enough for a shot, so the first one follows a refill."""
PRESSES_A_SHOT: Final = 20
"""Presses that come before the interval is over are refused; the clinician presses again."""

PLACES: Final = (Phase.ENTRY, Phase.DWELL, Phase.EXIT)


@dataclass(frozen=True, slots=True)
class Case:
    """A profile with another dose, from one syringe, through one path, on a console with this settling time.

    `compensated` False: no settling, no one-sided refill, no suck-back beyond the play. `fastest_nl_s` None: the
    syringe's own.
    """

    profile: str
    dose_nl: int
    syringe: str
    fluid: FluidSpec
    settle_ns: int
    compensated: bool
    fastest_nl_s: int | None = None

    def configuration(self, shipped: Configuration) -> Configuration:
        """Return the shipped configuration as this case has it; a session may take all that the hard limits allow."""
        profile, syringe = shipped.profiles[self.profile], shipped.syringes[self.syringe]
        limits, pump = shipped.device.limits, shipped.device.pump
        changed_profile = replace(
            profile.value,
            dose_nl=Nanolitres(self.dose_nl),
            session_volume_nl=limits.session_nl,
            session_shots=limits.session_shots,
        )
        changed_syringe = replace(
            syringe.value,
            fastest_nl_s=NanolitresPerSecond(self.fastest_nl_s or syringe.value.fastest_nl_s),
            backlash_increments=syringe.value.backlash_increments if self.compensated else Increments(0),
        )
        settle_ns = Nanoseconds(self.settle_ns if self.compensated else 0)
        return replace(
            shipped,
            device=replace(shipped.device, soft=SoftLimits(), pump=replace(pump, settle_ns=settle_ns)),
            profiles={**shipped.profiles, self.profile: replace(profile, value=changed_profile)},
            syringes={**shipped.syringes, self.syringe: replace(syringe, value=changed_syringe)},
        )

    def path(self, configuration: Configuration) -> FluidSpec:
        """Return the fluid path with this case's syringe; its play is the drive's, whatever the configuration says."""
        stroke_nl = configuration.syringes[self.syringe].value.stroke_nl
        backlash_pl = play_pl(play_um=PLAY_UM, bore_um=BORES_UM[self.syringe])
        return replace(self.fluid, stroke_nl=stroke_nl, backlash_pl=backlash_pl)


@dataclass(frozen=True, slots=True)
class Amounts:
    """Serum in picolitres by where it went."""

    entry_pl: int
    dwell_pl: int
    exit_pl: int
    spilled_pl: int

    @classmethod
    def of(cls, world: World) -> Self:
        """Return what has left so far; the undecided left at the deepest point of a stroke that is over."""
        return cls(world.entry_pl, world.dwell_pl + world.undecided_pl, world.exit_pl, world.spilled_pl)

    def since(self, before: "Amounts") -> "Amounts":
        """Return what has left between `before` and now."""
        return Amounts(
            self.entry_pl - before.entry_pl,
            self.dwell_pl - before.dwell_pl,
            self.exit_pl - before.exit_pl,
            self.spilled_pl - before.spilled_pl,
        )

    @property
    def in_tissue_pl(self) -> int:
        """All that was left under the skin."""
        return self.entry_pl + self.dwell_pl + self.exit_pl


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot: planned, and given."""

    planned: Amounts
    given: Amounts


class _Strokes(Observer):
    """Notes the world's amounts at the beginning of every stroke."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.amounts: list[Amounts] = []

    def reported(self, report: Report, now_ns: int) -> None:
        """Note where the serum went until this stroke began."""
        if isinstance(report, StrokeStarted) and self.world is not None:
            self.amounts.append(Amounts.of(self.world))


def fired(shipped: Configuration, case: Case, *, shots: int) -> list[Shot]:
    """Fire `shots` shots, the first after a refill. Raises MeasurementBroken when the gun does not give them all."""
    configuration = case.configuration(shipped)
    strokes = _Strokes()
    with VirtualGun(
        configuration, content=LEFT_OVER_INCREMENTS, observers=(strokes,), fluid=case.path(configuration)
    ) as gun:
        strokes.world = gun.world
        make_ready(gun)
        session = start_session(gun, Treatment(case.profile, SERUM, case.syringe, shots))
        if not session.accepted:
            raise MeasurementBroken(f"{case.profile} with {case.dose_nl} nl: {'; '.join(session.reasons)}")
        treat(gun, presses_most=PRESSES_A_SHOT * shots)
        gun.run_for(NS_PER_S / 1e6)
        amounts = [*strokes.amounts, Amounts.of(gun.world)]
        booked = [record for record in gun.records() if isinstance(record, ShotGiven)]
    if len(booked) != shots or len(amounts) != shots + 1:
        raise MeasurementBroken(f"{case.profile} with {case.dose_nl} nl: {len(booked)} of {shots} shots were given")
    planned = [Amounts(each.entry_nl * 1000, each.dwell_nl * 1000, each.exit_nl * 1000, 0) for each in booked]
    given = [after.since(before) for before, after in pairwise(amounts)]
    return [Shot(*both) for both in zip(planned, given, strict=True)]
