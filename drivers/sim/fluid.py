"""The fluid between plunger and needle: a drive with play, a tube that gives way, a needle that resists.

Owns pressure and flow; the contents are `tube`'s, the places where fluid leaves the world's. In a time that is handed
in, in whole picolitres, pascals and microseconds; the same calls give the same picolitres. Conservation is exact: what
was drawn is in the syringe, in the tube, or has left. The motion: stored volume = compliance x pressure, pressure over
that of the place = laminar x flow + entrance x flow squared (water through a short needle is between the two). Each
step of at most `STEP_US` solves that for the pressure at its end (implicit Euler), one square root: stable at any
compliance, never more out than was stored, and late by no more than half a step.
"""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Final, Protocol

from drivers.sim.tube import Contents

STEP_US: Final = 500
GRAIN_NS: Final = 1_000_000
"""Longest plunger movement that is handed in as one (`pump_mechanics.GRAIN_NS`): older time has flowed before it."""
DRAINED_PA: Final = 20
"""Under this the tube counts as at rest: 0.2 nl at 10 nl/kPa, two thousandths of a percent of a shot of 10 uL."""
LOOK_NS: Final = 1_000_000
"""How often to look while it drains with the plunger at rest: the needle goes a few steps meanwhile."""
HELD_LOOK_NS: Final = 2_000_000
"""How often to look while fluid is held or hardly moves: by tissue around the tip, by a clogged needle."""
HARDLY: Final = 1024
"""A flow that takes less than this part of what is stored in one step hardly moves."""
ROOM_PA: Final = 101_325
EMPTIEST_PA: Final = 90_000
"""Least pressure under the room's: a liquid drawn harder boils, so the volume comes from the tip at once."""
COARSE: Final = 3000
"""Increments of the full stroke of a pump that has just been switched on."""


def play_pl(*, play_um: int, bore_um: int) -> int:
    """Return the volume that `play_um` of play in the drive swallows in a syringe of `bore_um`, rounded down."""
    return 355 * bore_um * bore_um * play_um // (4 * 113 * 1000)


@dataclass(frozen=True, slots=True)
class FluidSpec:
    """One fluid path.

    `stroke_nl`: the syringe's full stroke. `compliance_pl_per_kpa`: what tube, syringe and small bubbles take in.
    `laminar_pa_s_per_ul` and `entrance_mpa_s2_per_ul2`: the needle's two resistances. `tissue_pa`: what stands against
    the flow under the skin. `backlash_pl`: the drive's play. `stall_pa`: the pressure that stops the plunger.
    `tube_pl`: what the tube holds.
    """

    stroke_nl: int
    compliance_pl_per_kpa: int
    laminar_pa_s_per_ul: int
    entrance_mpa_s2_per_ul2: int
    tissue_pa: int
    backlash_pl: int
    stall_pa: int
    tube_pl: int


FLUID_30G: Final = FluidSpec(
    stroke_nl=1_000_000,
    # 15 cm of polyethylene tube give way by about 1 nl/kPa, half a microlitre of bubbles by 5, the syringe's seal by
    # a few more: rounded up.
    compliance_pl_per_kpa=10_000,
    # Water through 4 mm of 30G: 18, 44, 127 kPa at 50, 100, 200 uL/s.
    laminar_pa_s_per_ul=265,
    entrance_mpa_s2_per_ul2=1_850,
    # A slow subcutaneous flow meets a few kilopascals.
    tissue_pa=2_000,
    backlash_pl=play_pl(play_um=50, bore_um=4_700),
    # The pressure up to which pumps of this kind are specified, 100 psi.
    stall_pa=690_000,
    # 15 cm of 0.8 mm bore.
    tube_pl=75_000_000,
)
"""A 1 mL syringe on a 15 cm tube with a 30G needle; the compliance is estimated, not measured."""

FLUID_32G: Final = replace(FLUID_30G, laminar_pa_s_per_ul=1_187, entrance_mpa_s2_per_ul2=9_070)
"""The same with a 32G needle: 82, 209, 600 kPa at 50, 100, 200 uL/s."""

FLUID_RIGID: Final = replace(
    FLUID_30G,
    compliance_pl_per_kpa=0,
    laminar_pa_s_per_ul=0,
    entrance_mpa_s2_per_ul2=0,
    tissue_pa=0,
    backlash_pl=0,
)
"""The fluid leaves with the plunger, as without a fluid path, but is told by phase and in picolitres."""


class Outlet(Protocol):
    """What is around the needle's tip and the vial, and what a trouble does to the path."""

    @property
    def in_tissue(self) -> bool:
        """Whether the tip is under the skin."""

    @property
    def vial_nl(self) -> int:
        """All serum that was ever put under the pump; 0: the vial never runs empty."""

    @property
    def trouble_clogged_percent(self) -> int:
        """By how much the needle's resistance is raised."""

    @property
    def trouble_air_nl(self) -> int:
        """All air that must have got into the tube since the world was made."""

    def fluid_left(self, serum_pl: int, bubbles_pl: int, *, in_tissue: bool, now_ns: int) -> bool:
        """Take note of what has left the needle; return whether to look again although nothing flows."""

    def fluid_changed(self, fluid: "FluidPath") -> None:
        """Take note of how the tube stands."""

    def vial_changed(self, fluid: "FluidPath") -> None:
        """Take note of how the vial stands."""


class FluidPath:
    """The path of one pump; the plunger stands at `position` coarse increments over serum, the tube is full of it."""

    def __init__(self, spec: FluidSpec, outlet: Outlet, *, position: int) -> None:
        self.spec = spec
        self.stroke_pl = spec.stroke_nl * 1000
        self.scale = COARSE
        """Increments of the full stroke, as the plunger's positions are counted at present."""
        self.contents = Contents(syringe_pl=self._volume_pl(position), tube_pl=spec.tube_pl)
        self.stored_pl = 0
        """What the tube holds over its rest, negative after a draw."""
        self.pressure_pa = 0
        """Over the room's."""
        self.drawn_back_pl = 0
        """The gap at the tip: the air or tissue fluid there lies open to the outside and leaves before any serum."""
        self.play_pl = 0
        """The play that the next dispensing has to take up; all of it after a draw."""
        self.from_vial_pl = 0
        self.to_vial_pl = 0
        self.vial_air_pl = 0
        """Air drawn from an empty vial."""
        self.leaked_pl = 0
        """Serum driven out of the tube by air that got in."""
        self._outlet = outlet
        self._clock_ns = 0
        self._moving = False
        """The last step let something flow, and the next one will."""
        self._undecided = False
        self._air_taken_nl = 0
        self._factors = ((-1, -1), 0, 0)
        """The needle's factors in `_through_needle`, and for which compliance and clogging they hold."""

    # The plunger

    def use_scale(self, increments: int) -> None:
        """Count positions in `increments` of the full stroke from now on."""
        self.scale = increments

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        """Let one small movement of the drive, over at most `GRAIN_NS` until `now_ns`, push or draw; then flow."""
        if now_ns - self._clock_ns > GRAIN_NS:
            self.flow_until(now_ns - GRAIN_NS)
        motor_pl = self._volume_pl(from_position) - self._volume_pl(to_position)
        # With no play to take up a dispensing reaches the plunger whole, as nearly always.
        dispensed_pl = motor_pl if motor_pl >= 0 and not self.play_pl else self._past_the_play(motor_pl)
        if not needle_side:
            self._exchange_with_vial(dispensed_pl)
        elif dispensed_pl > 0:
            self.stored_pl += self.contents.push(dispensed_pl)
        elif dispensed_pl < 0:
            self.stored_pl -= self.contents.pull(-dispensed_pl)
        self._moving = True
        self.flow_until(now_ns)

    @property
    def overloaded(self) -> bool:
        """Whether the pressure is more than the drive can push against."""
        return self.pressure_pa >= self.spec.stall_pa

    def _volume_pl(self, position: int) -> int:
        """Return the volume under `position`, rounded down: over any way the differences add up exactly."""
        return position * self.stroke_pl // self.scale

    def _past_the_play(self, motor_pl: int) -> int:
        """Return how much of the motor's movement reaches the plunger; friction holds it inside the play."""
        if motor_pl >= 0:
            taken_pl = min(motor_pl, self.play_pl)
            self.play_pl -= taken_pl
            return motor_pl - taken_pl
        taken_pl = min(-motor_pl, self.spec.backlash_pl - self.play_pl)
        self.play_pl += taken_pl
        return motor_pl + taken_pl

    def _exchange_with_vial(self, dispensed_pl: int) -> None:
        if dispensed_pl >= 0:
            serum_pl, air_pl = self.contents.expel(dispensed_pl)
            self.to_vial_pl += serum_pl
            self.vial_air_pl -= air_pl
        else:
            self._draw_from_vial(-dispensed_pl)
        self._outlet.vial_changed(self)

    def _draw_from_vial(self, drawn_pl: int) -> None:
        vial_nl = self._outlet.vial_nl
        serum_pl = drawn_pl
        if vial_nl:
            serum_pl = min(drawn_pl, max(0, vial_nl * 1000 - self.from_vial_pl + self.to_vial_pl))
        self.from_vial_pl += serum_pl
        self.vial_air_pl += drawn_pl - serum_pl
        self.contents.draw(serum_pl, drawn_pl - serum_pl)

    # Time

    def next_event_ns(self, now_ns: int) -> int | None:
        """Return when `flow_until` should be called next; None: drained, and nothing moves."""
        if self._moving:
            return now_ns + LOOK_NS
        return now_ns + HELD_LOOK_NS if self._undecided or self._holds() else None

    def flow_until(self, now_ns: int) -> None:
        """Let fluid flow until `now_ns`, in whole microseconds; the rest of one is left for the next call."""
        step_us = (now_ns - self._clock_ns) // 1000
        if step_us <= 0:
            return
        self._clock_ns += step_us * 1000
        if self._outlet.trouble_air_nl > self._air_taken_nl:
            self._take_air()
        if self._moving or self._holds():
            while step_us > 0:  # every turn takes a step's time away, or ends
                # Where fluid hardly moves, one long step says the same as many.
                one_us = min(step_us, STEP_US) if self._moving else step_us
                self._flow(one_us)
                step_us -= one_us
            self._outlet.fluid_changed(self)
        elif self._undecided:
            self._undecided = self._outlet.fluid_left(0, 0, in_tissue=self._outlet.in_tissue, now_ns=now_ns)

    def _holds(self) -> bool:
        return not -DRAINED_PA < self.pressure_pa < DRAINED_PA

    def _compliance(self) -> int:
        """Return the compliance in pl/kPa, with that of the air: so that at this pressure Boyle's law holds."""
        air_pl = self.contents.air_pl
        if not air_pl:
            return self.spec.compliance_pl_per_kpa
        return self.spec.compliance_pl_per_kpa + air_pl * 1000 // (ROOM_PA + max(-EMPTIEST_PA, self.pressure_pa))

    def _flow(self, step_us: int) -> None:
        """Let fluid flow for one step: outward against the tissue, inward from the air; tissue gives none back."""
        compliance, in_tissue, stored_pl = self._compliance(), self._outlet.in_tissue, self.stored_pl
        over = stored_pl * 1000 - (compliance * self.spec.tissue_pa if in_tissue else 0)
        left_pl = 0
        if over > 0:
            left_pl = self._through_needle(over, compliance, step_us)
            self._let_out(left_pl, in_tissue=in_tissue)
        elif stored_pl < 0 and not in_tissue:
            left_pl = self._through_needle(-stored_pl * 1000, compliance, step_us)
            left_pl = max(left_pl, -stored_pl - compliance * EMPTIEST_PA // 1000)
            self.stored_pl += left_pl
            self.drawn_back_pl += left_pl
        self.pressure_pa = self.stored_pl * 1000 // compliance if compliance else 0
        self._moving = self._holds() and left_pl * HARDLY > abs(stored_pl)

    def _through_needle(self, over: int, compliance: int, step_us: int) -> int:
        """Return the volume in pl that flows in one step from an excess of `over` / 1000 pl, rounded down.

        It is the root of: (over - 1000 volume) / compliance = laminar x flow + entrance x flow squared, with
        flow = volume / step, in Pa and pl/us.
        """
        clogged = self._outlet.trouble_clogged_percent
        if self._factors[0] != (compliance, clogged):
            spec = self.spec
            laminar = compliance * spec.laminar_pa_s_per_ul * (100 + clogged) // 100
            entrance = compliance * spec.entrance_mpa_s2_per_ul2 * (100 + clogged) // 100
            self._factors = ((compliance, clogged), laminar, entrance)
        _, laminar, square = self._factors
        linear = 1000 * step_us * (laminar + 1000 * step_us)
        constant = 1000 * step_us * step_us * over
        if not square:
            return constant // linear
        return (isqrt(linear * linear + 4 * square * constant) - linear) // (2 * square)

    def _let_out(self, volume_pl: int, *, in_tissue: bool) -> None:
        repaid_pl = 0
        if self.drawn_back_pl:
            repaid_pl = min(volume_pl, self.drawn_back_pl)
            self.drawn_back_pl -= repaid_pl
        serum_pl, bubbles_pl = self.contents.release(volume_pl - repaid_pl)
        self.stored_pl -= repaid_pl + serum_pl + bubbles_pl
        if serum_pl or bubbles_pl:
            now_ns = self._clock_ns
            self._undecided = self._outlet.fluid_left(serum_pl, bubbles_pl, in_tissue=in_tissue, now_ns=now_ns)

    def _take_air(self) -> None:
        asked_nl = self._outlet.trouble_air_nl
        self.leaked_pl += self.contents.let_air_in((asked_nl - self._air_taken_nl) * 1000)
        self._air_taken_nl = asked_nl
