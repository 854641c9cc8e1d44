"""A simulated session is a function of its seed: byte for byte, and whatever the simulation leaves out."""

import pytest

from device.simulation.clinic import make_ready, start_session, treat
from device.simulation.gun import VirtualGun
from device.simulation.mishaps import Level
from device.simulation.session import plan_session, run_session
from device.simulation.trace import Fingerprint
from tests.support.clinic import PROFILES, saline, shipped

POINTS = 3
CONTENTS = (600, 800, 1600)


@pytest.mark.parametrize("seed", range(6))
def test_the_same_seed_gives_the_same_edges_bytes_and_records(seed: int) -> None:
    configuration = shipped(vial_nl=160_000)
    plan = plan_session(seed, saline(PROFILES[seed % len(PROFILES)], 2), level=Level.HIGH, contents=CONTENTS)
    first, second = run_session(plan, configuration), run_session(plan, configuration)
    assert first == second
    other = plan_session(seed + 100, plan.treatment, level=Level.HIGH, contents=CONTENTS)
    assert run_session(other, configuration).fingerprint != first.fingerprint


@pytest.mark.parametrize("profile", PROFILES)
def test_leaving_out_cycles_that_can_change_nothing_changes_nothing(profile: str) -> None:
    prints = set()
    for leave_out in (True, False):
        fingerprint = Fingerprint()
        with VirtualGun(shipped(), content=800, leave_out=leave_out) as gun:
            make_ready(gun)
            start_session(gun, saline(profile, POINTS))
            gun.audience.add(fingerprint)
            treat(gun, presses_most=4 * POINTS)
            assert gun.world.strokes == POINTS
        prints.add(fingerprint.hexdigest())
    assert len(prints) == 1
