"""A world that carries a fluid path tells where every picolitre went: in by entry, dwell and exit, or outside."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pump.cavro_codec import Command, answer_reader
from drivers.sim.fluid import FLUID_30G, FLUID_RIGID, FluidPath, FluidSpec
from drivers.sim.given import RESTING_NS
from drivers.sim.pump_firmware import PumpFirmware
from drivers.sim.world import World
from tests.support.console import CLEARANCE_STEPS, LINES, make_world

MS = 1_000_000
PID = 4321
UL = 1_000_000
COARSE_PL = 1_000_000_000 // 3_000 + 1
"""The most that one coarse increment of a 1 mL syringe is."""


@dataclass
class Witness:
    seen: list[tuple[int, bool, int, bool, int]] = field(default_factory=list)

    def fluid_left(self, volume_pl: int, *, in_tissue: bool, needle_steps: int, inward: bool, now_ns: int) -> None:
        self.seen.append((volume_pl, in_tissue, needle_steps, inward, now_ns))


class Needle:
    """A needle and a rigid drive that a test moves by hand; every action takes a millisecond."""

    def __init__(self, world: World, spec: FluidSpec = FLUID_RIGID) -> None:
        self.world = world
        self.witness = Witness()
        self.path: FluidPath = world.carry_fluid(spec, position=3_000, witness=self.witness)
        self.position = 3_000
        self.now_ns = 0
        world.drive(LINES.enable, False, pid=PID, now_ns=0)
        world.set_on_skin(True, 0)

    def steps(self, count: int) -> None:
        """Step inward, or outward where negative."""
        self.world.drive(LINES.direction, count > 0, pid=PID, now_ns=self.now_ns)
        for _ in range(abs(count)):
            self.now_ns += MS
            for level in (True, False):
                self.world.drive(LINES.step, level, pid=PID, now_ns=self.now_ns)

    def push(self, increments: int) -> None:
        self.now_ns += MS
        self.position -= increments
        self.world.plunger_moved(
            self.position + increments, self.position, needle_side=self.position >= 0, now_ns=self.now_ns
        )

    def rest(self, ns: int) -> None:
        end_ns = self.now_ns + ns
        while self.now_ns < end_ns:
            event_ns = self.path.next_event_ns(self.now_ns)
            self.now_ns = end_ns if event_ns is None else min(end_ns, event_ns)
            self.path.flow_until(self.now_ns)

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Coarse increments by entry, dwell, exit, outside."""
        world = self.world
        pls = (world.entry_pl, world.dwell_pl, world.exit_pl, world.spilled_pl)
        return tuple(round(volume_pl * 3 / UL) for volume_pl in pls)  # type: ignore[return-value]  # four


@pytest.fixture
def world() -> Iterator[World]:
    world = make_world()
    yield world
    world.close()


@pytest.fixture
def needle(world: World) -> Needle:
    return Needle(world)


def test_a_stroke_gives_each_phase_what_left_during_its_motion(needle: Needle) -> None:
    needle.push(1)
    needle.steps(CLEARANCE_STEPS + 5)
    needle.push(2)
    needle.steps(3)
    needle.push(3)
    needle.steps(2)
    needle.push(7)
    needle.steps(-1)
    needle.push(11)
    needle.steps(-8)
    needle.push(13)
    needle.steps(-CLEARANCE_STEPS - 1)
    needle.push(17)
    assert needle.places == (5, 7, 24, 18)
    assert needle.world.undecided_pl == 0
    assert needle.world.strokes == 1


def test_what_left_at_the_deepest_point_so_far_is_undecided_until_the_needle_says(needle: Needle) -> None:
    needle.steps(CLEARANCE_STEPS + 5)
    needle.push(2)
    assert 0 < needle.world.undecided_pl <= 2 * COARSE_PL
    needle.steps(1)
    needle.rest(3 * MS)
    assert needle.places == (2, 0, 0, 0)


def test_a_needle_that_rests_stands_at_its_depth(needle: Needle) -> None:
    needle.steps(CLEARANCE_STEPS + 5)
    needle.push(2)
    needle.rest(RESTING_NS - 3 * MS)
    assert needle.world.undecided_pl > 0
    needle.rest(6 * MS)
    assert (needle.places, needle.world.undecided_pl) == ((0, 2, 0, 0), 0)
    assert needle.path.next_event_ns(needle.now_ns) is None


def test_off_the_skin_everything_is_spilled(needle: Needle) -> None:
    needle.world.set_on_skin(False, 1)
    needle.steps(CLEARANCE_STEPS + 5)
    needle.push(9)
    assert needle.places == (0, 0, 0, 9)


def test_a_witness_sees_every_amount_where_and_when_it_left(needle: Needle) -> None:
    needle.push(3)
    needle.steps(CLEARANCE_STEPS + 1)
    needle.push(6)
    needle.steps(-1)
    needle.push(9)
    assert needle.witness.seen == [
        (UL, False, 0, False, 1 * MS),
        (2 * UL, True, CLEARANCE_STEPS + 1, True, (CLEARANCE_STEPS + 3) * MS),
        (3 * UL, False, CLEARANCE_STEPS, False, (CLEARANCE_STEPS + 5) * MS),
    ]


@given(st.lists(st.tuples(st.sampled_from(["steps", "push", "rest"]), st.integers(-30, 30)), max_size=40))
def test_the_places_add_up_to_what_left_and_the_increments_are_rounded_down_from_them(
    actions: list[tuple[str, int]],
) -> None:
    world = make_world()
    needle = Needle(world, replace(FLUID_30G, backlash_pl=0))
    for what, amount in actions:
        match what:
            case "steps":
                needle.steps(amount)
            case "push":
                needle.push(min(amount, needle.position) if needle.position - amount <= 3_000 else 0)
            case _:
                needle.rest(abs(amount) * MS)
    in_tissue_pl = world.entry_pl + world.dwell_pl + world.exit_pl + world.undecided_pl
    seen = needle.witness.seen
    assert in_tissue_pl == sum(volume_pl for volume_pl, in_tissue, *_ in seen if in_tissue)
    assert world.spilled_pl == sum(volume_pl for volume_pl, in_tissue, *_ in seen if not in_tissue)
    assert (world.given_in_tissue, world.given_in_air) == (
        in_tissue_pl * 3 // UL,
        world.spilled_pl * 3 // UL,
    )
    assert world.stored_pl == needle.path.stored_pl
    world.close()


def test_another_process_reads_the_same_truth(tmp_path: Path) -> None:
    first = make_world(tmp_path / "world")
    second = World.attach(tmp_path / "world")
    needle = Needle(first)
    needle.push(30)
    assert (second.spilled_pl, second.given_in_air) == (10 * UL, 30)
    second.close()
    first.close()


# --- with the pump ----------------------------------------------------------------------------------------------


class Pumping:
    """The simulated pump on a world with a fluid path; it is called when it asks to be."""

    def __init__(self, world: World, spec: FluidSpec = FLUID_30G) -> None:
        self.world = world
        self.path = world.carry_fluid(spec, position=2_000)
        self.pump = PumpFirmware(world, position=2_000, fluid=self.path)
        self.now_ns = 0
        self.sequence = 0
        for text in ("N1R", "zR"):
            self.say(text)

    def say(self, text: str) -> tuple[int, str]:
        """Return the answer's error and data."""
        self.sequence = self.sequence % 7 + 1
        self.pump.receive(Command(1, self.sequence, False, text).to_bytes(), self.now_ns)
        self.now_ns += 3 * MS
        (answer,) = answer_reader().feed(self.pump.advance(self.now_ns))
        return answer.error, answer.data

    def pass_time(self, ns: int) -> int:
        """Return how often the pump asked to be called."""
        end_ns = self.now_ns + ns
        events = 0
        while True:  # ends with the time, of which every turn takes some
            event_ns = self.pump.next_event_ns(self.now_ns)
            if event_ns is None or event_ns > end_ns:
                self.now_ns = end_ns
                return events
            self.now_ns = max(event_ns, self.now_ns + 1)
            self.pump.advance(self.now_ns)
            events += 1


def test_the_pump_asks_to_be_called_while_the_tube_drains_and_then_no_more(world: World) -> None:
    pumping = Pumping(world)
    pumping.say("V600D240R")
    pumping.pass_time(102 * MS)
    assert pumping.say("Q") == (0, "")
    assert not pumping.pump.busy
    stored_pl = world.stored_pl
    assert stored_pl > UL // 100
    assert pumping.pass_time(200 * MS) > 5
    assert pumping.pump.next_event_ns(pumping.now_ns) is None
    assert world.stored_pl < stored_pl // 50
    assert world.spilled_pl + world.stored_pl == 10 * UL


def test_a_clogged_needle_ends_a_move_with_an_overload(world: World) -> None:
    pumping = Pumping(world)
    world.trouble_clogged_percent = 1_000_000
    pumping.say("V600D480R")
    pumping.pass_time(400 * MS)
    assert pumping.say("Q")[0] == 9
    assert pumping.pump.position > 16_000 - 480
    assert pumping.say("D24R")[0] == 9
    world.trouble_clogged_percent = 0
    pumping.pass_time(500 * MS)
    assert world.spilled_pl == (16_000 - pumping.pump.position) * UL // 24 - world.stored_pl


def test_initialising_against_a_clogged_needle_fails(world: World) -> None:
    pumping = Pumping(world)
    world.trouble_clogged_percent = 1_000_000
    pumping.say("ZR")
    pumping.pass_time(2_000 * MS)
    assert pumping.say("Q")[0] == 1


def test_a_refill_that_overshoots_by_the_play_leaves_the_drive_ready_to_give(world: World) -> None:
    pumping = Pumping(world, replace(FLUID_30G, compliance_pl_per_kpa=0, tissue_pa=0))
    pumping.say("V2000IA16822A16800OR")
    pumping.pass_time(1_000 * MS)
    assert (pumping.path.play_pl, pumping.pump.position) == (0, 16_800)
    assert world.from_vial - world.to_vial == 800
    pumping.say("A16680R")
    pumping.pass_time(500 * MS)
    assert world.spilled_pl == 5 * UL


def test_without_the_overshoot_the_play_is_missing_from_the_next_dose(world: World) -> None:
    pumping = Pumping(world, replace(FLUID_30G, compliance_pl_per_kpa=0, tissue_pa=0))
    pumping.say("V2000IA16800OR")
    pumping.pass_time(1_000 * MS)
    pumping.say("A16680R")
    pumping.pass_time(500 * MS)
    assert world.spilled_pl == 5 * UL - FLUID_30G.backlash_pl


@pytest.mark.parametrize("play_pl", [0, UL // 4, FLUID_30G.backlash_pl, 2 * UL])
def test_a_refill_that_ends_from_below_leaves_a_suck_back_to_be_repaid_exactly_whatever_the_play(
    world: World, play_pl: int
) -> None:
    # A refill that ended from above took up the play, and the repayment went into the patient on top of the dose.
    pumping = Pumping(world, replace(FLUID_30G, compliance_pl_per_kpa=0, tissue_pa=0, backlash_pl=play_pl))
    suck_back = 12 + 22
    pumping.say(f"V2000A15000A{15_000 + suck_back}R")
    pumping.pass_time(1_000 * MS)
    spilled_pl = world.spilled_pl
    low = 16_800 - suck_back
    pumping.say(f"V2000IA{low + 50}A{low}A16800OR")
    pumping.pass_time(1_000 * MS)
    pumping.say(f"A{low - 120}R")
    pumping.pass_time(1_000 * MS)
    assert abs(world.spilled_pl - spilled_pl - 5 * UL) <= 1


def test_a_pump_switched_off_and_on_keeps_its_fluid(world: World) -> None:
    pumping = Pumping(world)
    pumping.say("V600D240R")
    pumping.pass_time(50 * MS)
    pumping.pump.power_cycle(pumping.now_ns)
    stored_pl, spilled_pl = world.stored_pl, world.spilled_pl
    assert stored_pl > 0
    pumping.pass_time(200 * MS)
    assert world.spilled_pl - spilled_pl == stored_pl - world.stored_pl > 0
    assert pumping.path.scale == 3_000
