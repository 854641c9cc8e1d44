"""The invariants of the gun, judged by the ground truth while it happens.

Sees the plunger, the needle, the gates and the journal directly, never what a part says of itself; knows the plan
only from the durable intent. Collects violations instead of raising, because it is called from the middle of product
code. I1, I4, I5, I6, I9 and the rules of the gates hold in every run, I3 strictly in undisturbed ones; I2 is judged
by `check_the_book` whenever the gun is at rest, I7 by `delivery` at the end.
"""

from collections.abc import Sequence

from device.core.console import Console, State
from device.core.ledger import Ledger, apply
from device.core.limits import ingredient_limit
from device.core.magazine import Purpose
from device.core.profile import Mode, Phase, TriggerStyle
from device.core.realtime_messages import Faulted, Load, Order, Report, StrokeStarted
from device.core.records import RECOVERED, MagazineIntent, MagazineSettled, Record, SessionStarted, ShotGiven
from device.core.session import Session
from device.core.settlement import POSITION_TOLERANCE
from device.core.stroke import Scan, ScanMode, ScanState
from device.core.units import Increments
from device.simulation.gun import VirtualGun
from device.simulation.observer import Observer
from device.simulation.pump_unit import COARSE

SAFE_WITHIN_NS = 50_000_000
"""I5."""


class Watch(Observer):
    """Judges one gun's whole life. `undisturbed`: nothing was done to it, so that no drop may miss its place."""

    def __init__(self, gun: VirtualGun, *, undisturbed: bool) -> None:
        self._gun = gun
        self._undisturbed = undisturbed
        self.violations: list[str] = []
        self._intent: MagazineIntent | None = None
        self._intent_ns = 0
        self._opened = 0
        self._loads = 0
        self._shot_given = 0
        self._magazine_given = 0
        self._session_given = 0
        self._patient_given = self._strokes = 0
        """Over all sessions: a run has one patient, and is over within the hour."""
        self._clock_ran_ahead = False
        self._shot_most = self._session_most = self._lowest_target = 0
        lines = gun.configuration.lines
        self._trigger = (lines.trigger_a, lines.trigger_b)
        self._pressed = False
        self._shots_of_press = 0
        self._unsafe_load = -1
        self.phases_largest = 0
        """Increments of the largest single move that was ever authorised."""
        self.magazines_largest = 0
        """Increments of the largest magazine that was ever authorised."""
        self.given = 0
        """Increments pushed out of syringe and tube for a magazine: what the book must hold at least."""
        self._booked_ahead = 0
        """Increments that an uncertain outcome has booked and that may still come."""
        self._doubts: dict[int, int] = {}
        """Increments by which the book may hold more than was given, by magazine."""
        self._gate_stuck = False
        """Whether anything was given while a gate stuck."""
        self._drawn_back = 0
        """What the next movement toward the needle repays before it gives: a suck-back's draw, and open play."""
        self._play = 0
        """The drive's play that is open, in increments: all of it after a draw."""
        self.wasted = 0
        """Increments given while the plunger was homed: no dose, and in no book."""
        gun.audience.add(self)

    def _violated(self, what: str) -> None:
        self.violations.append(f"{(self._gun.time.now_ns) / 1e6:.3f} ms: {what}")

    # Fluid

    def plunger(self, before: int, after: int, needle_side: bool, now_ns: int) -> None:
        gun = self._gun
        given = self._displaced(before, after, needle_side=needle_side)
        gate_sticks = gun.world.trouble_gate_1_stuck or gun.world.trouble_gate_2_stuck
        if needle_side and after > before and gun.world.needle_steps > 0 and not (gun.pump.is_homing or gate_sticks):
            self._violated(f"I9: suck-back with the needle at step {gun.world.needle_steps}")
        if given <= 0:
            return
        self._gate_stuck = self._gate_stuck or bool(gate_sticks)
        if gun.pump.is_homing:
            self.wasted += given
            return
        self.given += given
        intent = self._intent
        if intent is None:
            # The pump did not answer when an outcome was booked at its worst, and moves on within that.
            self._booked_ahead -= given
            if self._booked_ahead < 0:
                self._violated(f"{given} increments given without an open intent")
            return
        self._shot_given += given
        self._magazine_given += given
        if after < self._lowest_target:
            self._violated(f"the plunger at {after} has passed the last authorised target {self._lowest_target}")
        # A move that was broken off so near to its target that it reads as complete is completed by the next shot.
        unread = POSITION_TOLERANCE + gun.encoder_error
        if self._magazine_given > intent.low_water - self._lowest_target + unread:
            self._violated(f"I1: {self._magazine_given} increments, the intent is {intent.low_water} to {after}")
        if intent.purpose_of is Purpose.INJECT:
            self._session_given += given
            self._patient_given += given
            self._check_limits()
            if self._undisturbed:
                self._check_place(intent)

    def _displaced(self, before: int, after: int, *, needle_side: bool) -> int:
        """Return what this movement pushed toward the needle, less what it had drawn back from there before.

        With the valve at the vial nothing is pushed there, but the play opens and closes as anywhere.
        """
        play = self._play
        if after > before:
            self._play = min(self._gun.pump.play, play + after - before)
            self._drawn_back += after - before if needle_side else self._play - play
            return 0
        self._play = max(0, play - (before - after))
        repaid = min(before - after if needle_side else play - self._play, self._drawn_back)
        self._drawn_back -= repaid
        return before - after - repaid if needle_side else 0

    def _check_limits(self) -> None:
        if self._shot_given > self._shot_most:
            self._violated(f"I1: {self._shot_given} increments in one shot")
        if self._session_given > self._session_most:
            self._violated(f"I1: {self._session_given} increments in one session")
        session = self._gun.console.session
        if session is None:
            return
        self._check_patient(session)
        for ingredient in session.serum.ingredients:
            most_ug = ingredient_limit(ingredient, session.weight_g)
            given_nl = session.syringe.volume_of(Increments(self._counted(session)))
            if most_ug is not None and ingredient.mass_in(given_nl) > most_ug:
                self._violated(f"I1: {ingredient.mass_in(given_nl)} ug of {ingredient.name}")

    def _counted(self, session: Session) -> int:
        """Return the increments that a limit of 24 hours counts: a clock that ran ahead forgets earlier sessions."""
        self._clock_ran_ahead = self._clock_ran_ahead or self._gun.wall_clock_step_ms > 0
        return self._session_given if self._clock_ran_ahead else self._patient_given

    def _check_patient(self, session: Session) -> None:
        limits = self._gun.configuration.device.limits
        given_nl = session.syringe.volume_of(Increments(self._counted(session)))
        if given_nl > limits.patient_day_nl:
            self._violated(f"I1: {given_nl} nl for one patient in 24 hours")
        if self._strokes > limits.hour_shots and not self._clock_ran_ahead:
            self._violated(f"I1: {self._strokes} shots for one patient in an hour")

    def _take_limits(self) -> None:
        """Note what the open session may be given, in whole increments."""
        session = self._gun.console.session
        if session is not None:
            limits, syringe = self._gun.configuration.device.limits, session.syringe
            self._shot_most = syringe.increments_within(limits.shot_nl)
            most_nl = min(limits.session_nl, session.profile.session_volume_nl)
            self._session_most = syringe.increments_within(most_nl)

    def _check_place(self, intent: MagazineIntent) -> None:
        gun, session = self._gun, self._gun.console.session
        if not gun.world.in_tissue:
            self._violated("I3: fluid while the needle is out of the skin")
        if session is None or self._opened == 0:
            self._violated("I3: fluid before a gate was opened")
            return
        profile, axis, steps = session.profile, gun.configuration.device.axis, gun.world.needle_steps
        phase = Phase(intent.phases[self._opened - 1])
        depth_um = steps * 1000 // axis.steps_per_mm - axis.clearance_um
        least_um = {
            Phase.ENTRY: profile.entry_from_um,
            Phase.DWELL: profile.depth_um - 1000 // axis.steps_per_mm,
            Phase.EXIT: profile.exit_until_um,
        }[phase]
        if depth_um <= least_um:
            self._violated(f"I3: {phase.value} fluid at {depth_um} um, not deeper than {least_um}")

    # Gates, needle, presses

    def edge(self, line: int, level: bool, now_ns: int) -> None:
        world, lines = self._gun.world, self._gun.configuration.lines
        if level or line not in (lines.gate_1, lines.gate_2):
            return
        if not world.level(lines.gate_1) and not world.level(lines.gate_2):
            self._violated("both gates are open")
        # A pump that was reset or has stopped with an error holds none any more, and is not known to yet.
        stopped = self._gun.pump.reset_ns >= self._intent_ns or self._gun.pump.firmware.error != 0
        if self._intent is None or not (self._gun.pump.firmware.busy or stopped):
            self._violated("a gate opens without a loaded program")
        if self._unsafe_load == self._loads:
            self._violated("I5: a gate opens after a fault, with no new load")
        self._opened += 1

    def scanned(self, before: ScanState, result: Scan, now_ns: int) -> None:
        if result.outputs.gate and result.state.mode is not ScanMode.STROKE:
            self._violated(f"gate {result.outputs.gate} is open in mode {result.state.mode.value}")
        if result.outputs.step <= 0:
            return
        session, steps = self._gun.console.session, self._gun.world.needle_steps
        if session is not None and steps > session.plan.stroke.depth:
            self._violated(f"the needle is at step {steps}, the stroke's depth is {session.plan.stroke.depth}")

    def reported(self, report: Report, now_ns: int) -> None:
        if isinstance(report, StrokeStarted):
            self._shot_given = 0
            self._check_press()
        elif isinstance(report, Faulted):
            self.danger(report.fault.name.lower())

    def _check_press(self) -> None:
        """I4: presses are taken from the wires, not from the scan's own idea of them."""
        session, intent = self._gun.console.session, self._intent
        if session is None or intent is None or intent.purpose_of is Purpose.PRIME:
            return
        profile = session.profile
        self._shots_of_press += 1
        self._strokes += 1
        most = {Mode.SINGLE: 1, Mode.BURST: profile.burst_shots}.get(profile.mode)
        if most is not None and self._shots_of_press > most:
            self._violated(f"I4: shot {self._shots_of_press} of one press")
        if (profile.mode is Mode.CONTINUOUS or profile.trigger is TriggerStyle.HOLD) and not self._pressed:
            self._violated("I4: a shot begins with the trigger released")

    def level(self, line: int, now_ns: int) -> None:
        world, (line_a, line_b) = self._gun.world, self._trigger
        if line in self._trigger:
            pressed = not world.level(line_a) and world.level(line_b)
            if pressed and not self._pressed:
                self._shots_of_press = 0
            self._pressed = pressed

    # The order of things

    def ordered(self, order: Order, now_ns: int) -> None:
        if isinstance(order, Load):
            self._loads += 1
            realtime = self._gun.realtime
            # A real-time process that is in a fault itself takes none; the two crossed on the link.
            if self._gun.console.ledger.faults and realtime is not None and realtime.state.fault is None:
                self._violated(f"I6: a magazine is loaded while faults {self._gun.console.ledger.faults} are latched")

    def recorded(self, records: Sequence[Record], now_ns: int) -> None:
        for record in records:
            if isinstance(record, MagazineIntent):
                self._intent, self._opened, self._shot_given, self._magazine_given = record, 0, 0, 0
                self._intent_ns = now_ns
                self._lowest_target = min(record.targets)
                self._take_limits()
                places = [record.start, *record.targets]
                moves = (abs(a - b) for a, b in zip(places, record.targets, strict=False))
                self.phases_largest = max(self.phases_largest, *moves)
                self.magazines_largest = max(self.magazines_largest, record.start - min(places))
            elif isinstance(record, MagazineSettled):
                self._intent = None
                self._booked_ahead = 0 if record.certain else record.given - self._magazine_given
                self._doubts[record.magazine_id] = self._doubt(record)
            elif isinstance(record, SessionStarted):
                self._session_given = 0

    def doubt(self, outcomes: Sequence[MagazineSettled]) -> int:
        """Return by how many increments these outcomes may be booked too high, also one whose writer ended with it."""
        for outcome in outcomes:
            self._doubts.setdefault(outcome.magazine_id, self._doubt(outcome))
        return sum(self._doubts.values())

    @property
    def missed(self) -> int:
        """Increments that may be booked too little, until the next shot: the first ones behind a gate that sticks.

        They cannot be told from an error of the encoder.
        """
        return POSITION_TOLERANCE + self._gun.encoder_error if self._gate_stuck else 0

    def _doubt(self, outcome: MagazineSettled) -> int:
        """Return by how many increments an outcome may be booked too high: uncertain, one phase.

        Three where the pump has lost its power: the one that ended with it, as the phase line fell; the one whose gate
        was opened for it; and one for a gate that may have stuck. The whole magazine where besides the controller had
        died, so that nobody was left who knew. Certain, the resolution of the encoder, by which a move that was broken
        off is booked deeper than it was read, and its error, by which it may have been read too deep.
        """
        if outcome.certain:
            return POSITION_TOLERANCE + self._gun.encoder_error
        if outcome.reason == RECOVERED:
            return self.magazines_largest
        return self.phases_largest * (3 if self._gun.pump.reset_ns >= self._intent_ns else 1)

    # I5

    def changed(self, before: State, console: Console, now_ns: int) -> None:
        if console.state is State.FAULT and before is not State.FAULT:
            self.danger("fault state")

    def lost(self, what: str, now_ns: int) -> None:
        self.danger(what)

    def danger(self, what: str) -> None:
        """From now on 50 ms may pass until the gun is safe."""
        self._look_at(self._gun.time.now_ns + SAFE_WITHIN_NS, what, self._loads)

    def _look_at(self, at_ns: int, what: str, loads: int) -> None:
        self._gun.time.at(at_ns, lambda: self._must_be_safe(what, loads))

    def _must_be_safe(self, what: str, loads: int) -> None:
        if loads != self._loads:
            # Loaded anew since.
            return
        # While both processes are out of action none is left that could act for the other; its time counts from then.
        since_ns = self._gun.time.now_ns if self._gun.helpless else self._gun.helpless_until_ns
        if since_ns + SAFE_WITHIN_NS > self._gun.time.now_ns:
            self._look_at(since_ns + SAFE_WITHIN_NS, what, loads)
            return
        self._unsafe_load = loads
        world, lines = self._gun.world, self._gun.configuration.lines
        if not (world.level(lines.gate_1) and world.level(lines.gate_2)):
            self._violated(f"I5: a gate is open 50 ms after: {what}")
        disabled, inward = world.level(lines.enable), world.level(lines.direction)
        if world.needle_steps > 0 and not disabled and inward:
            self._violated(f"I5: the needle neither retracts nor is off 50 ms after: {what}")


def check_the_book(gun: VirtualGun, watch: Watch) -> list[str]:
    """Return what contradicts I2: booked is at least what was given, and at most one phase more; empty when it holds.

    Exactly what was given when nothing was uncertain, but for a move that ended within the encoder's resolution of its
    target, which is complete, and for one that was broken off, which is booked deeper by that. Behind a gate that
    sticks the first increments may be booked with the next shot.
    """
    records = gun.records()
    outcomes = [record for record in records if isinstance(record, MagazineSettled)]
    booked, given = sum(outcome.given for outcome in outcomes), watch.given
    ledger = Ledger()
    for record in records:
        ledger = apply(ledger, record)
    found = []
    # A pump that was switched off finds its place again in coarse increments.
    if gun.given > watch.given + watch.wasted + 1 + (COARSE if gun.pump.reset_ns >= 0 else 0):
        found.append(f"I2: {gun.given} increments left the needle, the plunger pushed {watch.given + watch.wasted}")
    doubt = watch.doubt(outcomes)
    if booked < given - watch.missed:
        found.append(f"I2: {given} increments given, {booked} booked")
    elif booked - given > doubt:
        found.append(f"I2: {given} increments given, {booked} booked, {doubt} may be too much")
    if ledger != gun.console.ledger:
        found.append("the durable book differs from the controller's")
    shots = [(record.session_id, record.shot) for record in records if isinstance(record, ShotGiven)]
    if len(shots) != len(set(shots)):
        found.append(f"shots doubled: {shots}")
    return found
