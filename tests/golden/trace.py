"""One shot as text: everything that passes the gun's lines, in order of time, for a person to review.

Owns the two treatments that are traced; the form is `device.simulation.trace`'s.
"""

from pathlib import Path
from typing import Final

from device.core.console import State
from device.core.events import ArmRequested
from device.simulation.clinic import Treatment, make_ready, start_session, wait_armed
from device.simulation.gun import VirtualGun
from device.simulation.trace import LEGEND, Trace
from tests.support.clinic import shipped

GOLDEN: Final = Path(__file__).with_name("one_shot.txt")
CONTENT: Final = 8000
HEADER: Final = f"""\
The merged trace of one shot. Times in us of virtual time since the gun was switched on.
{LEGEND}"""


def trace_of(*, profile: str, points: int) -> str:
    """Return the trace from arming to the end of `points` shots given with one press."""
    with VirtualGun(shipped(), content=CONTENT) as gun:
        trace = Trace(gun.configuration.lines)
        make_ready(gun)
        answer = start_session(gun, Treatment(profile, "saline", "1ml", points))
        if not answer.accepted:
            raise RuntimeError(f"no session with {profile}: {answer.reasons}")
        gun.hands.touch_skin()
        gun.audience.add(trace)
        trace.begin()
        trace.note("arm", gun.time.now_ns)
        gun.ask(ArmRequested)
        wait_armed(gun)
        gun.run_for(20)
        trace.note("press", gun.time.now_ns)
        gun.hands.press()
        gun.run_until(lambda: gun.state is State.SESSION, within_ms=5000)
        trace.note("release", gun.time.now_ns)
        gun.hands.release()
        gun.run_for(10)
        return trace.text()


def whole_text() -> str:
    """Return the golden text as the code of now makes it."""
    parts = [HEADER]
    for title, profile, points in (
        ("One shot of point-by-point", "point-by-point", 1),
        ("One press of continuous: a magazine of two shots", "continuous", 2),
    ):
        parts.append(f"\n{title}\n{'-' * len(title)}\n{trace_of(profile=profile, points=points)}")
    return "".join(parts)
