"""The composed gun: controller, real-time process, pump and room as one state, and all that may happen next.

The parts are the shipped ones, each asked through its table: `machines` (the controller's machine, the loop's commit),
`scans` (the scan, the writer of its outputs), `pump_calls` (the loop's effects on the pump, the driver, its session,
bytes), `pump` (the simulated firmware), `gun` (planner, ceiling). This composition is the tests' own: who gets which
message, what dies with whom, what an operator may do, which single faults are tried. Every transition is atomic: one
event taken, one effect carried out, one scan, one stage of the pump's move, one act, one fault.

Time. A state has no clock. Where the product compares times, the scan is made on either side of the comparison
(`scans.Moment`), so that every outcome is tried: lateness, permit, lock-out, interval, phase wait. Processes and pump
are else as slow as they like against each other, so that every interleaving of the real gun is one here; `pace` names
the few durations without which interleavings came up that no gun can have. Clocks that nothing reads any more are
levelled after each transition.

Left out: a refill and a homing of the plunger are one step each; a magazine's measured times; torn messages, wrong
answers of the pump, frozen disks, damaged journals and what more the other tests are for.
"""

from collections.abc import Iterator

from tests.exploration.hands import fault_moves, operator_moves
from tests.exploration.needle_and_plunger import pump_moves, realtime_moves
from tests.exploration.processes import controller_moves, only_move
from tests.exploration.tables import Move, Tables, View


def moves_from(tables: Tables, view: View) -> Iterator[Move]:
    """Yield everything that can happen next."""
    only = only_move(tables, view)
    if only is not None:
        yield only
        return
    yield from controller_moves(tables, view)
    yield from realtime_moves(tables, view)
    yield from pump_moves(tables, view)
    yield from operator_moves(tables, view)
    yield from fault_moves(tables, view)
