"""The simulated console obeys its physics, and the simulated clinician treats on it as asked."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.profile import Mode, TriggerStyle
from drivers.sim.operator import OperatorReport, SimulatedOperator
from drivers.sim.world import CONSOLE, END_STOP_STEPS, LINE_COUNT, World, WorldError
from tests.support.console import (
    CLEARANCE_STEPS,
    CONTACT,
    LINES,
    PHASE,
    STEPS_PER_MM,
    make_world,
    run_virtually,
    virtual_loop,
)

PID = 4321


@pytest.fixture
def world() -> Iterator[World]:
    world = make_world()
    yield world
    world.close()


def step(world: World, count: int, *, inward: bool, now_ns: int = 1) -> None:
    world.drive(LINES.direction, inward, pid=PID, now_ns=now_ns)
    for _ in range(count):
        world.drive(LINES.step, True, pid=PID, now_ns=now_ns)
        world.drive(LINES.step, False, pid=PID, now_ns=now_ns)


def motor_on(world: World) -> None:
    world.drive(LINES.enable, False, pid=PID, now_ns=1)


# At rest and on disk --------------------------------------------------------------------------------------------


def test_at_rest_nothing_is_pressed_the_needle_is_home_and_no_process_drives_a_line(world: World) -> None:
    high = {name for name, line in LINES.as_numbers().items() if line is not None and world.level(line)}
    assert high == {"trigger_a", "contact", "enable", "gate_1", "gate_2"}
    assert world.owners() == set()
    assert (world.needle_steps, world.on_skin, world.in_tissue) == (0, False, False)
    assert (world.steps_per_mm, world.clearance_steps, world.lines) == (STEPS_PER_MM, CLEARANCE_STEPS, LINES)


def test_an_attached_world_is_the_same_world(tmp_path: Path) -> None:
    lines = replace(LINES, contact=None, phase=None)
    first = make_world(tmp_path / "world", lines=lines)
    second = World.attach(tmp_path / "world")
    assert second.lines == lines
    first.drive(lines.gate_2, False, pid=PID, now_ns=77)
    second.trouble_drop_frames = 3
    assert (second.gate_low(2), second.changed_ns(lines.gate_2), second.owners()) == (True, 77, {PID})
    assert first.trouble_drop_frames == 3
    first.close()
    first.close()
    assert second.gate_low(2)
    second.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no simulated world here"),
        (b"", "not a simulated world"),
        (b"x" * 4096, "not a simulated world"),
    ],
)
def test_what_is_not_a_world_is_refused_in_one_line(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "world"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorldError, match=reason) as raised:
        World.attach(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_directory_is_no_world(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="no simulated world here"):
        World.attach(tmp_path)


@pytest.mark.parametrize("damage", ["other layout", "cut short"])
def test_a_world_of_another_version_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "world"
    make_world(path).close()
    content = bytearray(path.read_bytes())
    if damage == "other layout":
        content[8] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-8])
    with pytest.raises(WorldError, match="another version"):
        World.attach(path)


def test_a_world_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot be made"):
        make_world(tmp_path / "none" / "world")
    (tmp_path / "taken").mkdir()
    with pytest.raises(WorldError, match="cannot be made"):
        make_world(tmp_path / "taken")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (replace(LINES, gate_2=LINES.gate_1), "gate_1 and gate_2 are both BCM 23"),
        (replace(LINES, step=LINE_COUNT), "step is BCM 28"),
        (replace(LINES, contact=-1), "contact is BCM -1"),
    ],
)
def test_a_wiring_that_cannot_be_is_refused(lines: object, reason: str) -> None:
    with pytest.raises(WorldError, match=reason):
        make_world(lines=lines)  # type: ignore[arg-type]  # parametrize hands on objects


def test_readings_cannot_be_written(world: World) -> None:
    with pytest.raises(AttributeError):
        world.needle_steps = 5  # type: ignore[misc]


# Lines ----------------------------------------------------------------------------------------------------------

FREE_LINES = st.sampled_from([0, 1, 2, 3, 4, 25])
ACTS = st.lists(
    st.tuples(st.sampled_from(["drive", "release", "pull", "die"]), FREE_LINES, st.booleans(), st.sampled_from([7, 8]))
)


@given(ACTS)
def test_a_line_has_its_drivers_level_or_else_its_pull_and_counts_its_changes(
    acts: list[tuple[str, int, bool, int]],
) -> None:
    world = make_world()
    pull = dict.fromkeys(range(LINE_COUNT), False)
    drive: dict[int, tuple[int, bool]] = {}
    edges = dict.fromkeys(range(LINE_COUNT), 0)
    changed = dict.fromkeys(range(LINE_COUNT), 0)
    for now_ns, (act, line, level, pid) in enumerate(acts, start=1):
        before = {each: world.level(each) for each in range(LINE_COUNT)}
        match act:
            case "drive":
                world.drive(line, level, pid=pid, now_ns=now_ns)
                drive[line] = (pid, level)
            case "release":
                world.release(line, now_ns)
                drive.pop(line, None)
            case "pull":
                world.set_pull(line, level, now_ns)
                pull[line] = level
            case "die":
                world.release_all_of(pid, now_ns)
                drive = {each: by for each, by in drive.items() if by[0] != pid}
        for each in before.keys() & {0, 1, 2, 3, 4, 25}:
            expected = drive[each][1] if each in drive else pull[each]
            assert world.level(each) is expected
            if expected is not before[each]:
                edges[each] += 1
                changed[each] = now_ns
            assert (world.edges(each), world.changed_ns(each)) == (edges[each], changed[each])
    assert world.owners() == {by[0] for by in drive.values()}
    world.close()


def test_the_operators_and_the_pumps_lines_belong_to_the_console(world: World) -> None:
    operator = SimulatedOperator(world, seed=1, now_ns=lambda: 9)
    operator.press()
    operator.touch_skin()
    world.set_phase(True, 9)
    assert (world.level(LINES.trigger_a), world.level(LINES.trigger_b)) == (False, True)
    assert (world.level(CONTACT), world.level(PHASE)) == (False, True)
    assert world.owners() == set()
    world.release_all_of(PID, 10)
    assert world.level(PHASE)
    operator.press_stop()
    assert (world.level(LINES.stop_a), world.level(LINES.stop_b)) == (True, True)
    operator.release_stop()
    operator.release()
    operator.lift()
    assert {line: world.level(line) for line in (LINES.stop_a, LINES.stop_b, LINES.trigger_a, LINES.trigger_b)} == {
        LINES.stop_a: False,
        LINES.stop_b: False,
        LINES.trigger_a: True,
        LINES.trigger_b: False,
    }
    assert world.level(CONTACT)
    assert world.owner(LINES.stop_a) == CONSOLE


def test_a_console_without_contact_and_phase_lines_works(tmp_path: Path) -> None:
    world = make_world(lines=replace(LINES, contact=None, phase=None))
    world.set_on_skin(True, 1)
    world.set_phase(True, 1)
    assert world.on_skin
    world.close()


def test_gates_and_phase_can_be_stuck(world: World) -> None:
    assert not world.gate_low(1)
    world.trouble_gate_1_stuck = 1
    assert (world.gate_low(1), world.gate_low(2)) == (True, False)
    world.trouble_gate_2_stuck = 1
    assert world.gate_low(2)
    world.trouble_phase_stuck = 1
    world.set_phase(True, 1)
    assert not world.level(PHASE)


# Needle ---------------------------------------------------------------------------------------------------------

MOVES = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 80)), max_size=12)


@given(MOVES)
def test_the_needle_moves_by_its_rising_step_edges_alone(moves: list[tuple[bool, bool, int]]) -> None:
    world = make_world()
    position = deepest = strokes = stroke_deepest = 0
    for on, inward, count in moves:
        world.drive(LINES.enable, not on, pid=PID, now_ns=1)
        step(world, count, inward=inward)
        for _ in range(count if on else 0):
            before, position = position, position + 1 if inward else max(END_STOP_STEPS, position - 1)
            deepest = max(deepest, position)
            stroke_deepest = position if (before, position) == (0, 1) else max(stroke_deepest, position)
            if (before, position) == (1, 0):
                strokes += stroke_deepest > CLEARANCE_STEPS
                stroke_deepest = 0
        assert (world.needle_steps, world.deepest_steps, world.strokes) == (position, deepest, strokes)
        assert world.level(LINES.home) is (position > 0)
    world.close()


def test_the_needle_is_stamped_when_it_moves_and_not_when_it_cannot(world: World) -> None:
    motor_on(world)
    step(world, 5, inward=True, now_ns=10)
    assert (world.needle_changed_ns, world.changed_ns(LINES.home)) == (10, 10)
    step(world, 7, inward=False, now_ns=20)
    assert (world.needle_steps, world.needle_changed_ns) == (END_STOP_STEPS, 20)
    step(world, 1, inward=False, now_ns=30)
    assert (world.needle_steps, world.needle_changed_ns) == (END_STOP_STEPS, 20)


def test_a_jammed_needle_stays_and_a_broken_home_switch_reads_away(world: World) -> None:
    motor_on(world)
    world.trouble_needle_jammed = 1
    step(world, 5, inward=True)
    assert world.needle_steps == 0
    world.trouble_needle_jammed = 0
    world.trouble_home_broken = 1
    step(world, 5, inward=True)
    step(world, 7, inward=False)
    assert (world.needle_steps, world.level(LINES.home)) == (END_STOP_STEPS, True)


@pytest.mark.parametrize(("every", "steps", "arrived"), [(1, 6, 0), (2, 6, 3), (5, 14, 12), (100, 50, 50)])
def test_every_so_many_steps_one_can_be_lost(world: World, every: int, steps: int, arrived: int) -> None:
    motor_on(world)
    world.trouble_lose_every_steps = every
    step(world, steps, inward=True)
    assert world.needle_steps == arrived
    world.trouble_lose_every_steps = 0
    step(world, 3, inward=True)
    assert world.needle_steps == arrived + 3


def test_as_many_steps_as_asked_for_are_lost_and_no_more(world: World) -> None:
    motor_on(world)
    world.trouble_lose_steps = 2
    step(world, 10, inward=True)
    assert world.needle_steps == 8
    world.trouble_lose_steps = 5
    step(world, 2, inward=False)
    step(world, 3, inward=True)
    assert world.needle_steps == 10


def test_a_stroke_counts_only_when_it_passed_the_skins_surface(world: World) -> None:
    motor_on(world)
    for depth, strokes in ((CLEARANCE_STEPS, 0), (CLEARANCE_STEPS + 1, 1), (3, 1)):
        step(world, depth, inward=True)
        assert world.stroke_deepest_steps == depth
        step(world, depth, inward=False)
        assert world.strokes == strokes


@pytest.mark.parametrize(
    ("on_skin", "depth", "in_tissue"),
    [(True, CLEARANCE_STEPS, False), (True, CLEARANCE_STEPS + 1, True), (False, CLEARANCE_STEPS + 1, False)],
)
def test_the_tip_is_in_tissue_only_under_the_skin(world: World, on_skin: bool, depth: int, in_tissue: bool) -> None:
    motor_on(world)
    world.set_on_skin(on_skin, 1)
    step(world, depth, inward=True)
    assert world.in_tissue is in_tissue


# Fluid ----------------------------------------------------------------------------------------------------------

PLUNGER = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from(["vial", "air", "tissue"]), st.booleans()), max_size=30
)


@given(PLUNGER)
def test_every_increment_ends_up_in_exactly_one_place(moves: list[tuple[int, str, bool]]) -> None:
    world = make_world()
    motor_on(world)
    step(world, CLEARANCE_STEPS + 1, inward=True)
    position = 250
    at_needle = drawn = most_in_tissue = 0
    for target, place, _ in moves:
        world.set_on_skin(place == "tissue", 1)
        world.plunger_moved(position, target, needle_side=place != "vial", now_ns=5)
        if place != "vial":
            at_needle += max(0, position - target)
            drawn += max(0, target - position)
            most_in_tissue += max(0, position - target) if place == "tissue" else 0
        position = target
    given_out = world.given_in_tissue + world.given_in_air
    assert given_out == at_needle - drawn + world.drawn_back
    assert 0 <= world.drawn_back <= drawn
    assert 0 <= world.given_in_tissue <= most_in_tissue
    assert position == 250 - given_out + world.drawn_back + world.from_vial - world.to_vial
    assert world.last_fluid_ns == (5 if given_out else 0)
    world.close()


def test_what_was_drawn_back_is_repaid_before_anything_is_given(world: World) -> None:
    world.plunger_moved(100, 110, needle_side=True, now_ns=1)
    assert world.drawn_back == 10
    world.plunger_moved(110, 102, needle_side=True, now_ns=2)
    assert (world.drawn_back, world.given_in_air, world.last_fluid_ns) == (2, 0, 0)
    world.plunger_moved(102, 95, needle_side=True, now_ns=3)
    assert (world.drawn_back, world.given_in_air, world.given_in_tissue, world.last_fluid_ns) == (0, 5, 0, 3)


def test_the_vial_takes_and_gives(world: World) -> None:
    world.plunger_moved(0, 300, needle_side=False, now_ns=1)
    world.plunger_moved(300, 290, needle_side=False, now_ns=2)
    assert (world.from_vial, world.to_vial, world.given_in_air, world.drawn_back) == (300, 10, 0, 0)


# The clinician --------------------------------------------------------------------------------------------------

STROKE_MS = 60
DEPTH = CLEARANCE_STEPS + 10


class Gun:
    """A gun without rules of its own: fires `shots` strokes a press (None: while held) when its light is on."""

    def __init__(self, world: World, *, shots: int | None, works: bool = True) -> None:
        self.world = world
        self.shots = shots
        self.works = works
        self.refused = 0
        self.channels_apart = False

    def light(self, on: bool) -> None:
        self.world.drive(LINES.light, on, pid=PID, now_ns=self.now_ns())

    def now_ns(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    def pressed(self) -> bool:
        a, b = not self.world.level(LINES.trigger_a), self.world.level(LINES.trigger_b)
        self.channels_apart |= a != b
        return a and b

    async def passed(self, duration_ms: int) -> None:
        """Let time pass in the virtual loop, watching the trigger; a press in it is refused."""
        loop, was = asyncio.get_running_loop(), self.pressed()
        for _ in range(duration_ms):
            tick = loop.create_future()
            loop.call_later(0.001, tick.set_result, None)
            await tick
            self.refused += self.pressed() and not was
            was = self.pressed()

    async def run(self) -> None:
        motor_on(self.world)
        while True:
            # Flashes first: whoever takes one for the steady light presses too early.
            for on, duration_ms in ((False, 40), (True, 40), (False, 160), (True, 40), (False, 40)):
                self.light(on)
                await self.passed(duration_ms)
            self.light(True)
            refused = self.refused
            while not (self.works and self.pressed()):
                await self.passed(1)
            self.refused = refused
            self.light(False)
            await self.fire()

    async def fire(self) -> None:
        given = 0
        while given < self.shots if self.shots is not None else self.pressed():
            step(self.world, DEPTH, inward=True, now_ns=self.now_ns())
            await self.passed(STROKE_MS)
            step(self.world, DEPTH, inward=False, now_ns=self.now_ns())
            given += 1
            await self.passed(8)


def treated(
    *, mode: Mode = Mode.SINGLE, shots: int | None = 1, works: bool = True, seed: int = 1, skew_us: int = 0, **more: int
) -> tuple[OperatorReport, Gun, World]:
    """Let the clinician treat two regions, of 6 and 4 shots, with a gun, in virtual time."""
    world = make_world()
    gun = Gun(world, shots=shots, works=works)
    with virtual_loop() as loop:
        operator = SimulatedOperator(world, seed=seed, now_ns=loop.now_ns, skew_us=skew_us)

        async def work() -> OperatorReport:
            running = asyncio.ensure_future(gun.run())
            try:
                return await operator.treat(
                    [("crown", 6), ("front", 4)],
                    mode=mode,
                    trigger=TriggerStyle.PRESS,
                    burst_shots=more.get("burst_shots", 1),
                    early_presses=more.get("early_presses", 0),
                    deadline_s=more.get("deadline_ms", 60_000) / 1000,
                )
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        return run_virtually(loop, work()), gun, world


def test_one_press_a_point_gives_every_point_its_shot() -> None:
    report, gun, world = treated()
    assert report == OperatorReport(presses=10, early_presses=0, strokes=10, regions=2, finished=True)
    assert (world.strokes, gun.refused, gun.channels_apart) == (10, 0, False)
    world.close()


def test_a_burst_is_held_until_its_strokes_have_ended() -> None:
    report, gun, world = treated(mode=Mode.BURST, shots=2, burst_shots=2)
    assert report == OperatorReport(presses=5, early_presses=0, strokes=10, regions=2, finished=True)
    assert gun.refused == 0
    world.close()


def test_a_continuous_press_is_held_until_the_regions_strokes_are_counted() -> None:
    report, _gun, world = treated(mode=Mode.CONTINUOUS, shots=None)
    assert report == OperatorReport(presses=2, early_presses=0, strokes=10, regions=2, finished=True)
    world.close()


@pytest.mark.parametrize("seed", range(5))
def test_early_presses_are_made_and_give_nothing(seed: int) -> None:
    report, gun, world = treated(seed=seed, early_presses=4)
    assert (report.strokes, report.presses, report.finished) == (10, 10, True)
    assert 1 <= report.early_presses <= 4
    assert gun.refused == report.early_presses
    world.close()


def test_the_same_seed_is_the_same_clinician() -> None:
    reports = []
    for _ in range(2):
        report, _gun, world = treated(seed=7, skew_us=1_900, early_presses=3)
        reports.append((report, world.changed_ns(LINES.trigger_a), world.changed_ns(LINES.trigger_b)))
        world.close()
    assert reports[0] == reports[1]


def test_the_channels_may_differ_for_less_than_two_milliseconds() -> None:
    report, gun, world = treated(skew_us=1_900)
    assert report.finished
    assert gun.channels_apart
    assert 0 < world.changed_ns(LINES.trigger_b) - world.changed_ns(LINES.trigger_a) < 2_000_000
    world.close()
    with pytest.raises(ValueError, match="skew_us is 2001"):
        SimulatedOperator(world, seed=1, skew_us=2_001)


def test_a_gun_that_does_not_fire_ends_at_the_bound_of_presses() -> None:
    report, _gun, world = treated(works=False)
    assert (report.strokes, report.regions, report.finished) == (0, 0, False)
    assert report.presses == 30
    world.close()


@pytest.mark.parametrize("deadline_ms", [500, 600, 700])
def test_the_deadline_ends_a_treatment_with_the_trigger_released_and_the_gun_lifted(deadline_ms: int) -> None:
    """Held for strokes without end from about 0.4 s on: the deadline falls into the hold."""
    report, _gun, world = treated(mode=Mode.CONTINUOUS, shots=None, deadline_ms=deadline_ms)
    assert (report.presses, report.regions, report.finished) == (1, 0, False)
    assert 0 < report.strokes < 6
    assert (world.level(LINES.trigger_a), world.level(LINES.trigger_b), world.on_skin) == (True, False, False)
    world.close()


def test_a_flashing_light_is_not_taken_for_ready(world: World) -> None:
    now_ns = 1_000_000_000
    operator = SimulatedOperator(world, seed=1, now_ns=lambda: now_ns)
    assert not operator.is_ready()
    world.drive(LINES.light, True, pid=PID, now_ns=now_ns)
    for since_ms, ready in ((0, False), (40, False), (60, False), (61, True)):
        now_ns = 1_000_000_000 + since_ms * 1_000_000
        assert operator.is_ready() is ready
    world.drive(LINES.light, False, pid=PID, now_ns=now_ns)
    assert not operator.is_ready()
