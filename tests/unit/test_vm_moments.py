"""The moments of a sweep on the virtual console: spread over the stroke, the same for a seed, and read from edges."""

from collections import Counter

from tests.support.console import LINES
from tests.vm.rig.moments import KINDS, Place, choose, place_at
from tests.vm.rig.wires import Edge

LENGTH_NS = 1_000_000


def test_each_kind_of_blow_meets_every_equal_slice_of_the_stroke_once() -> None:
    blows = choose(7, moments=10, length_ns=LENGTH_NS)
    assert blows == choose(7, moments=10, length_ns=LENGTH_NS) != choose(8, moments=10, length_ns=LENGTH_NS)
    for process, signal in KINDS:
        mine = [blow.delay_ns for blow in blows if (blow.process, blow.signal) == (process, signal)]
        assert sorted(delay_ns * 10 // LENGTH_NS for delay_ns in mine) == list(range(10))


def test_a_round_has_one_blow_of_each_kind() -> None:
    """So a controller never restarts its real-time process more often than it does at most."""
    blows = choose(7, moments=10, length_ns=LENGTH_NS)
    for start in range(0, len(blows), len(KINDS)):
        kinds = Counter((blow.process, blow.signal) for blow in blows[start : start + len(KINDS)])
        assert kinds == Counter(KINDS)


def test_a_place_is_read_from_the_edges_up_to_its_time() -> None:
    edges = [
        Edge(10, LINES.direction, level=True),
        Edge(10, LINES.step, level=True),
        Edge(11, LINES.step, level=False),
        Edge(20, LINES.gate_1, level=False),
        Edge(21, LINES.step, level=True),
        Edge(25, LINES.gate_1, level=True),
        Edge(30, LINES.gate_2, level=False),
        Edge(35, LINES.gate_2, level=True),
        Edge(40, LINES.direction, level=False),
        Edge(40, LINES.step, level=True),
        Edge(50, LINES.step, level=True),
        Edge(60, LINES.gate_2, level=False),
    ]
    places = [place_at(edges, LINES, at_ns, depth=2) for at_ns in (15, 20, 30, 45, 55, 60)]
    assert places == [
        Place(1, inward=True, gate=0, phase="entry"),
        Place(1, inward=True, gate=1, phase="entry"),
        Place(2, inward=True, gate=2, phase="dwell"),
        Place(1, inward=False, gate=0, phase="exit"),
        Place(0, inward=False, gate=0, phase="home"),
        Place(0, inward=False, gate=2, phase="suck-back"),
    ]
