"""A treatment on the real kernel's GPIO device, a real serial port and under real systemd, counted edge by edge."""

import os

import pytest

from device.core.profile import Profile
from device.core.records import FaultRaised, MagazineSettled, SessionEnded, ShotGiven
from device.core.units import Micrometres
from device.settings import load_configuration
from tests.vm.rig.console import PROFILE, VirtualConsole
from tests.vm.rig.machine import until
from tests.vm.rig.strokes import Stroke, read_motion

pytestmark = pytest.mark.timeout(3600)

SHOTS = int(os.environ.get("MESOGUN_VM_SHOTS", "5"))
"""`make vm-test` asks for 60."""


@pytest.fixture(scope="module")
def profile(console: VirtualConsole) -> Profile:
    return load_configuration(console.configuration).profiles[PROFILE].value


def check_strokes(console: VirtualConsole, profile: Profile, strokes: list[Stroke], shots: list[ShotGiven]) -> None:
    """Hold each stroke that the trace saw against its shot in the journal, exactly."""
    axis = load_configuration(console.configuration).device.axis
    assert len(strokes) == len(shots)
    for stroke, shot in zip(strokes, shots, strict=True):
        depth = axis.steps_to(Micrometres(shot.depth_um))
        assert (shot.outcome, shot.reason) == ("delivered", "")
        assert (stroke.steps_in, stroke.steps_out, stroke.deepest) == (depth, depth, depth), shot
        entry, dwell, leaving, suck_back = stroke.openings
        # Two gates in turn, each move behind the needle position that the profile gives it.
        assert [opening.gate for opening in stroke.openings] == [1, 2, 1, 2]
        assert entry.inward
        assert axis.steps_to(profile.entry_from_um) <= entry.opened_at <= entry.closed_at <= depth
        assert dwell.opened_at == dwell.closed_at == depth
        assert not leaving.inward
        assert depth > leaving.opened_at >= leaving.closed_at >= axis.steps_to(profile.exit_until_um)
        assert suck_back.opened_at == suck_back.closed_at == 0


def test_a_session_is_given_counted_and_booked_to_the_last_step_and_increment(
    console: VirtualConsole, profile: Profile
) -> None:
    world = console.world
    console.make_ready(points=SHOTS)
    before_shots = len(console.records(ShotGiven))
    before_faults = len(console.records(FaultRaised))
    before_edges = len(console.wires.edges)
    tissue, air, motor_off = world.given_in_tissue, world.given_in_air, console.motor_off()
    console.arm()
    for _ in range(SHOTS):
        console.shoot()
        assert console.faults == ""
    console.let_go()
    console.until_state("session")
    console.ask("session_stop")

    shots = console.records(ShotGiven)[before_shots:]
    assert len(shots) == SHOTS
    assert console.records(FaultRaised)[before_faults:] == []
    motion = read_motion(console.edges_since(before_edges), console.lines, motor_off=motor_off)
    assert motion.widths_ok
    assert (motion.before, motion.homing_steps) == ([], 0)
    check_strokes(console, profile, motion.strokes, shots)

    # The pump outside received exactly what the journal inside has booked, all of it in tissue.
    session_id = shots[0].session_id
    settled = [record for record in console.records(MagazineSettled) if record.session_id == session_id]
    given = [record for record in settled if record.purpose == "inject"]
    assert all(record.certain for record in settled)
    assert sum(record.given for record in given) == world.given_in_tissue - tissue
    assert world.given_in_air == air
    assert sum(shot.booked_nl for shot in shots) == SHOTS * profile.dose_nl
    ended = console.records(SessionEnded)[-1]
    assert (ended.session_id, ended.shots, ended.volume_nl) == (session_id, SHOTS, SHOTS * profile.dose_nl)
    console.verify()


def test_no_output_leaves_its_safe_level_when_the_service_stops_or_starts(console: VirtualConsole) -> None:
    console.make_ready(points=1)
    before = len(console.wires.edges)
    console.machine.run("systemctl", "restart", "mesogun.service", within_s=600).checked()
    console.until_state("session")

    lines = console.lines
    edges = console.edges_since(before)
    taken = {line: [edge.level for edge in edges if edge.line == line] for line in console.wires.outputs}
    # Closed is high. A line claimed low first, and set afterwards, would be seen low here.
    assert taken[lines.gate_1]
    assert set(taken[lines.gate_1]) | set(taken[lines.gate_2]) == {True}
    assert set(taken[lines.step]) == {False}
    # The motor is off (high) from the first moment, and on only when the new process has looked at its needle.
    first_traced = next(edge for edge in edges if edge.line == lines.enable and edge.traced)
    assert first_traced.level


STOCK_PIN = """
import os, sys
os.environ["LG_WD"] = "/run"
from gpiozero import OutputDevice
from gpiozero.pins.lgpio import LGPIOFactory
OutputDevice(4, initial_value=True, pin_factory=LGPIOFactory())
"""


def test_the_trace_sees_the_glitch_of_an_output_that_is_not_corrected(console: VirtualConsole) -> None:
    """The negative control of the test above: gpiozero's own pin, claimed for a high output, is low first."""
    before = len(console.wires.edges)
    console.machine.run("/opt/mesogun/.venv/bin/python", "-c", STOCK_PIN).checked()
    until(lambda: any(edge.line == 4 and edge.level for edge in console.edges_since(before)), within_s=60, what="edges")
    assert [edge.level for edge in console.edges_since(before) if edge.line == 4][:2] == [False, True]
