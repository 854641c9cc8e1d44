"""The simulated fluid path: nothing is lost, flow follows pressure, the drive has play and the tube gives way."""

from dataclasses import dataclass, field, replace
from math import exp, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.fluid import (
    DRAINED_PA,
    FLUID_30G,
    FLUID_32G,
    FLUID_RIGID,
    GRAIN_NS,
    STEP_US,
    FluidPath,
    FluidSpec,
    play_pl,
)
from drivers.sim.tube import PLUGS_MOST

MS = 1_000_000
FULL = 24_000
POSITION = 3_000
"""Coarse increments: the syringe is full."""
UL = 1_000_000


@dataclass
class Place:
    """Where a path ends in a test; keeps what left, in the tissue and in the air."""

    in_tissue: bool = False
    vial_nl: int = 0
    trouble_clogged_percent: int = 0
    trouble_air_nl: int = 0
    left: list[tuple[int, bool, int]] = field(default_factory=list)
    bubbles_pl: int = 0

    def fluid_left(self, serum_pl: int, bubbles_pl: int, *, in_tissue: bool, now_ns: int) -> bool:
        self.bubbles_pl += bubbles_pl
        if serum_pl:
            self.left.append((serum_pl, in_tissue, now_ns))
        return False

    def fluid_changed(self, fluid: FluidPath) -> None:
        """Nothing to keep."""

    def vial_changed(self, fluid: FluidPath) -> None:
        """Nothing to keep."""

    @property
    def serum_pl(self) -> int:
        return sum(volume_pl for volume_pl, _, _ in self.left)


class Pushed:
    """A path with a drive that a test moves."""

    def __init__(self, spec: FluidSpec = FLUID_30G, place: Place | None = None, *, position: int = POSITION) -> None:
        self.place = place or Place()
        self.path = FluidPath(spec, self.place, position=position)
        self.path.use_scale(FULL)
        self.position = position * FULL // POSITION
        self.now_ns = 0

    def move(self, increments: int, *, needle_side: bool = True) -> None:
        """Move the drive at once; positive dispenses."""
        self.now_ns += GRAIN_NS
        before, self.position = self.position, self.position - increments
        self.path.plunger_moved(before, self.position, needle_side=needle_side, now_ns=self.now_ns)

    def push_steadily(self, ul_per_s: int, ms: int) -> None:
        """Dispense so much with a 1 mL syringe, of which 24 increments are a microlitre."""
        began = self.position
        for elapsed_ms in range(1, ms + 1):
            self.move(self.position - began + ul_per_s * 24 * elapsed_ms // 1000)

    def wait(self, ns: int) -> None:
        end_ns = self.now_ns + ns
        while self.now_ns < end_ns:
            event_ns = self.path.next_event_ns(self.now_ns)
            self.now_ns = end_ns if event_ns is None else min(end_ns, event_ns)
            self.path.flow_until(self.now_ns)


# --- conservation -----------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("needle"), st.integers(-300, 900)),
        st.tuples(st.just("vial"), st.integers(-3000, 600)),
        st.tuples(st.just("wait"), st.integers(1, 40_000_000)),
        st.tuples(st.just("tissue"), st.integers(0, 1)),
        st.tuples(st.just("clogged"), st.sampled_from([0, 200, 100_000])),
        st.tuples(st.just("air"), st.integers(0, 3_000)),
    ),
    max_size=40,
)
SPECS = st.builds(
    FluidSpec,
    stroke_nl=st.integers(900_000, 5_500_000),
    compliance_pl_per_kpa=st.sampled_from([0, 700, 10_000, 60_000]),
    laminar_pa_s_per_ul=st.integers(0, 3_000),
    entrance_mpa_s2_per_ul2=st.integers(0, 20_000),
    tissue_pa=st.integers(0, 6_000),
    backlash_pl=st.integers(0, 6 * UL),
    stall_pa=st.just(690_000),
    tube_pl=st.integers(20 * UL, 80 * UL),
)


@given(SPECS, ACTIONS, st.integers(0, 5_000))
def test_what_was_drawn_is_in_the_syringe_in_the_tube_or_has_left_to_the_picolitre(
    spec: FluidSpec, actions: list[tuple[str, int]], vial_ul: int
) -> None:
    pushed = Pushed(spec, Place(vial_nl=vial_ul * 1000), position=1_500)
    path, place, contents = pushed.path, pushed.place, pushed.path.contents
    began_pl = contents.syringe_serum_pl + contents.tube_serum_pl
    air_in_pl = 0
    for what, amount in actions:
        match what:
            case "needle" | "vial":
                by = min(amount, pushed.position) if amount > 0 else max(amount, pushed.position - FULL)
                pushed.move(by, needle_side=what == "needle")
            case "wait":
                pushed.wait(amount)
            case "tissue":
                place.in_tissue = amount != 0
            case "clogged":
                place.trouble_clogged_percent = amount
            case _:
                place.trouble_air_nl += amount
        serum_pl = contents.syringe_serum_pl + contents.tube_serum_pl
        drawn_pl = path.from_vial_pl - path.to_vial_pl
        assert began_pl + drawn_pl == serum_pl + place.serum_pl + path.leaked_pl
        air_in_pl = path.vial_air_pl + path.leaked_pl
        assert air_in_pl == contents.air_pl + place.bubbles_pl
        assert contents.tube_pl == spec.tube_pl + path.stored_pl - path.drawn_back_pl
        assert 0 <= path.play_pl <= spec.backlash_pl
        assert min(contents.syringe_serum_pl, contents.tube_serum_pl, contents.air_pl, path.drawn_back_pl) >= 0


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_a_rigid_path_gives_what_the_plunger_moves_and_at_once(moves: list[int]) -> None:
    pushed = Pushed(FLUID_RIGID)
    for increments in moves:
        pushed.move(increments)
        assert pushed.path.stored_pl == 0
    whole = sum(moves)
    assert whole * 1_000_000_000 // FULL <= pushed.place.serum_pl <= -(-whole * 1_000_000_000 // FULL)


# --- flow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "ul_per_s", "kpa"),
    [
        (FLUID_30G, 50, 18),
        (FLUID_30G, 100, 44),
        (FLUID_30G, 200, 127),
        (FLUID_32G, 50, 82),
        (FLUID_32G, 100, 209),
        (FLUID_32G, 200, 600),
    ],
)
def test_a_steady_flow_needs_the_pressure_that_water_needs_through_four_millimetres_of_needle(
    spec: FluidSpec, ul_per_s: int, kpa: int
) -> None:
    pushed = Pushed(replace(spec, backlash_pl=0))
    pushed.push_steadily(ul_per_s, ms=400)
    assert isclose(pushed.path.pressure_pa, kpa * 1000, rel_tol=0.07)


def test_a_tube_without_entrance_loss_drains_as_the_exponential_says() -> None:
    spec = replace(FLUID_30G, entrance_mpa_s2_per_ul2=0, backlash_pl=0)
    pushed = Pushed(spec)
    pushed.move(24)
    began_pl = pushed.path.stored_pl
    tau_us = spec.compliance_pl_per_kpa * spec.laminar_pa_s_per_ul // 1000
    for elapsed_us in range(STEP_US, 10 * STEP_US, STEP_US):
        pushed.now_ns += STEP_US * 1000
        pushed.path.flow_until(pushed.now_ns)
        late_us = elapsed_us - STEP_US
        assert began_pl * exp(-elapsed_us / tau_us) <= pushed.path.stored_pl <= began_pl * exp(-late_us / tau_us) * 1.01


def test_fluid_lags_the_plunger_and_drips_after_it_has_stopped() -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0))
    for _ in range(20):
        pushed.move(3)
    stopped_ns = pushed.now_ns
    assert pushed.path.stored_pl > UL // 4
    pushed.wait(100 * MS)
    dripped_pl = sum(volume_pl for volume_pl, _, now_ns in pushed.place.left if now_ns > stopped_ns)
    assert dripped_pl > UL // 4
    assert abs(pushed.path.pressure_pa) < DRAINED_PA


def test_a_drained_path_has_no_more_events_and_a_full_one_has() -> None:
    pushed = Pushed()
    assert pushed.path.next_event_ns(0) is None
    pushed.move(24)
    assert pushed.path.next_event_ns(pushed.now_ns) == pushed.now_ns + MS
    pushed.wait(100 * MS)
    assert pushed.path.next_event_ns(pushed.now_ns) is None


def test_tissue_holds_what_its_pressure_holds_and_lets_it_drip_when_the_tip_leaves() -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0), Place(in_tissue=True))
    pushed.move(48)
    pushed.wait(200 * MS)
    held_pl = FLUID_30G.compliance_pl_per_kpa * FLUID_30G.tissue_pa // 1000
    assert held_pl <= pushed.path.stored_pl <= held_pl + UL // 1000
    assert pushed.path.next_event_ns(pushed.now_ns) is not None
    pushed.place.in_tissue = False
    pushed.wait(100 * MS)
    spilled_pl = sum(volume_pl for volume_pl, in_tissue, _ in pushed.place.left if not in_tissue)
    assert isclose(spilled_pl, held_pl, rel_tol=0.02)


def test_tissue_gives_nothing_back_into_the_needle_and_air_does() -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0), Place(in_tissue=True))
    pushed.move(-12)
    pushed.wait(50 * MS)
    assert (pushed.path.drawn_back_pl, pushed.path.stored_pl) == (0, -UL // 2)
    pushed.place.in_tissue = False
    pushed.wait(100 * MS)
    assert isclose(pushed.path.drawn_back_pl, UL // 2, rel_tol=0.01)


def test_what_was_drawn_back_is_repaid_before_any_serum_leaves() -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0))
    pushed.move(-12)
    pushed.wait(100 * MS)
    pushed.move(12)
    pushed.wait(100 * MS)
    assert pushed.place.serum_pl < UL // 500
    pushed.move(24)
    pushed.wait(100 * MS)
    assert isclose(pushed.place.serum_pl, UL, rel_tol=0.005)


# --- the drive --------------------------------------------------------------------------------------------------


def test_fifty_micrometres_of_play_are_nine_tenths_of_a_microlitre_with_one_millilitre() -> None:
    assert play_pl(play_um=50, bore_um=4_700) == 867_472
    assert 8_000_000 < play_pl(play_um=50, bore_um=14_400) < 8_200_000


@given(st.lists(st.integers(-400, 400), max_size=40))
def test_a_turn_moves_no_fluid_until_the_play_is_taken_up_and_the_way_back_ends_where_it_began(
    turns: list[int],
) -> None:
    spec = replace(FLUID_RIGID, backlash_pl=FLUID_30G.backlash_pl)
    pushed = Pushed(spec, position=1_500)
    pushed.move(48)
    given_pl = pushed.place.serum_pl
    lowest = pushed.position
    for increments in turns:
        pushed.move(increments)
        # However it turned about: at the lowest point so far the plunger is where its motor is.
        lowest = min(lowest, pushed.position)
        pushed.move(pushed.position - lowest)
        assert pushed.path.play_pl == 0
    assert pushed.place.serum_pl - given_pl == (12_000 - 48) * 1_000_000_000 // FULL - lowest * 1_000_000_000 // FULL


def test_a_draw_smaller_than_the_play_reaches_no_fluid() -> None:
    pushed = Pushed()
    pushed.move(-20)
    pushed.wait(50 * MS)
    assert (pushed.path.drawn_back_pl, pushed.path.stored_pl) == (0, 0)
    assert pushed.path.play_pl > 0


def test_a_clogged_needle_raises_the_pressure_until_the_drive_stalls() -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0))
    pushed.place.trouble_clogged_percent = 1_000_000
    moved = 0
    while not pushed.path.overloaded:
        pushed.move(3)
        moved += 3
        assert moved < 24 * 10, "7 uL bring 10 nl/kPa to 690 kPa"
    assert moved > 24 * 6


# --- vial and air -----------------------------------------------------------------------------------------------


def test_an_empty_vial_gives_air_which_is_no_serum_and_leaves_first() -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0, tube_pl=0), Place(vial_nl=3_000), position=0)
    pushed.position = 0
    pushed.move(-120, needle_side=False)
    path = pushed.path
    assert (path.from_vial_pl, path.vial_air_pl) == (3 * UL, 2 * UL)
    for _ in range(120):
        pushed.move(1)
        pushed.wait(20 * MS)
    pushed.wait(500 * MS)
    assert (pushed.place.bubbles_pl, path.contents.air_pl) == (2 * UL, 0)
    assert isclose(pushed.place.serum_pl, 3 * UL, rel_tol=0.001)


def test_a_bubble_in_the_tube_delays_the_flow_until_priming_has_driven_it_out() -> None:
    def stored_after_a_push(pushed: Pushed) -> int:
        for _ in range(10):
            pushed.move(5)
        stored_pl = pushed.path.stored_pl
        pushed.wait(1000 * MS)
        return stored_pl

    pushed = Pushed(replace(FLUID_30G, backlash_pl=0))
    usual_pl = stored_after_a_push(pushed)
    pushed.place.trouble_air_nl = 20_000
    pushed.wait(5 * MS)
    pushed.move(1)
    pushed.wait(100 * MS)
    assert stored_after_a_push(pushed) > 2 * usual_pl
    for _ in range(100 * 24):
        pushed.move(1)
    pushed.wait(1000 * MS)
    assert pushed.path.contents.air_pl == 0
    assert isclose(stored_after_a_push(pushed), usual_pl, rel_tol=0.05)


@pytest.mark.parametrize("rounds", [5, 40])
def test_many_bubbles_stay_countable(rounds: int) -> None:
    pushed = Pushed(replace(FLUID_30G, backlash_pl=0), Place(vial_nl=1))
    pushed.position = 12_000
    for _ in range(rounds):
        pushed.move(-24, needle_side=False)
        pushed.move(48)
    pushed.wait(1000 * MS)
    contents = pushed.path.contents
    assert contents.air_pl + pushed.place.bubbles_pl == pushed.path.vial_air_pl > 0
    assert contents.plugs <= PLUGS_MOST
