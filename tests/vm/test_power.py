"""The power is cut while shots are given, and comes back: no committed record is lost, books settled, nothing resumed.

The guest's disk has a volatile cache, as a card has: what was not flushed is gone. The pump has a supply of its own and
keeps its plunger; the needle stays where it stood. The last test is the negative control: a journal that is written
without its flushes loses records that were seen, and these checks find that out.
"""

import os
import threading
import time
from dataclasses import dataclass
from itertools import takewhile
from random import Random
from typing import Any, Final

import pytest

from device.core.records import FaultRaised, MagazineIntent, MagazineSettled
from device.service.control_client import ControllerAbsent
from tests.vm.rig.books import Books, Row, all_rows, fire_once_more
from tests.vm.rig.cache import RigError, say
from tests.vm.rig.console import VirtualConsole
from tests.vm.rig.machine import until
from tests.vm.rig.results import write_result

pytestmark = pytest.mark.timeout(7200)

CUTS: Final = int(os.environ.get("MESOGUN_VM_CUTS", "2"))
"""`make vm-test CUTS=20` is the long form."""

SEED: Final = int(os.environ.get("MESOGUN_VM_SEED", "0")) or time.time_ns() % 1_000_000
CONTROL_CUTS_MOST: Final = 4
"""Without flushes a cut loses all of the last seconds: one should do."""

POINTS: Final = 10
WINDOW_S: Final = (0.0, 12.0)
"""The cut comes so long after the gun was armed: three to four shots."""

STROKE_S: Final = 120.0
PHASE_NS: Final = 3_000_000_000

CHANGE: Final = (
    "sed -i 's/synchronous = {before}/synchronous = {after}/' {file};"
    # The package brings it compiled, and Python is told not to look whether that is still true.
    " rm -f $(dirname {file})/__pycache__/journal.*; sync; systemctl restart mesogun"
)
JOURNAL_MODULE: Final = "/opt/mesogun/.venv/lib/python3.11/site-packages/device/controller/journal.py"


@dataclass(frozen=True, slots=True)
class Cut:
    """What the outside knew in the moment in which the power went."""

    at_s: float
    """Since the gun was armed."""
    held: bool
    """Whether the clinician still holds trigger and gun when the power comes back."""
    seen: list[Row]
    """Records that the journal showed before: they were committed."""
    strokes_begun: int
    needle_steps: int
    gate_open: bool


class Hands:
    """Fires shot after shot until the power is gone, and looks at the journal between them."""

    def __init__(self, console: VirtualConsole) -> None:
        self._console = console
        self._dark = threading.Event()
        self.seen: list[Row] = []

    def fire_until_cut(self, after_s: float) -> None:
        """Arm, and fire until the power goes, `after_s` later."""
        console = self._console
        console.arm()
        self.seen = all_rows(console)
        timer = threading.Timer(after_s, self._cut)
        timer.start()
        try:
            while not self._dark.is_set():  # ends with the timer
                self._shoot()
        except (RigError, OSError, ControllerAbsent):
            if not self._dark.is_set():
                raise
        finally:
            timer.join()

    def _cut(self) -> None:
        self._dark.set()
        self._console.kill_machine()

    def _shoot(self) -> None:
        console, world = self._console, self._console.world
        strokes, shots = world.strokes, console.status["shots"]
        console.operator.press()
        until(
            lambda: world.strokes > strokes or console.motor_off() or self._dark.is_set(),
            within_s=STROKE_S,
            what="a stroke",
        )
        if self._dark.is_set():
            return  # the trigger is still held
        console.operator.release()
        until(
            lambda: bool(console.faults) or (console.status["shots"] > shots and console.state == "armed"),
            within_s=STROKE_S,
            what="a shot",
        )
        self.seen = all_rows(console)
        if console.faults:
            self._dark.wait(STROKE_S)  # nothing is fired in a fault: the power goes in it


def strokes_begun(console: VirtualConsole, since: int) -> int:
    """Return how often the needle began to go in, by the edges alone."""
    lines = console.lines
    inward, position, begun = console.world.level(lines.direction), 0, 0
    for edge in console.edges_since(since):
        if edge.line == lines.direction:
            inward = edge.level
        elif edge.line == lines.step and edge.level:
            begun += inward and position == 0
            position = position + 1 if inward else max(0, position - 1)
    return begun


def fluid_rests(console: VirtualConsole) -> bool:
    """Whether nothing has left the needle for longer than any phase takes."""
    return time.monotonic_ns() - console.world.last_fluid_ns > PHASE_NS


def cut_in_a_session(console: VirtualConsole, random: Random) -> Cut:
    """Fire shots and cut the power at a random moment; return what was known then."""
    at_s, held = random.uniform(*WINDOW_S), random.random() < 0.5
    since = len(console.wires.edges)
    hands = Hands(console)
    hands.fire_until_cut(at_s)
    gate_open = not console.gates_closed()
    console.cut_power()
    begun = strokes_begun(console, since)
    # The pump has its own supply: what its running phase still moves, it moves now.
    until(lambda: fluid_rests(console), within_s=STROKE_S, what="fluid at rest")
    if not held:
        console.let_go()
    return Cut(at_s, held, hands.seen, begun, console.world.needle_steps, gate_open)


def what_is_lost(console: VirtualConsole, cut: Cut, magazines_before: int) -> str:
    """Return what of that which was committed before the cut is not in the journal after it; empty for nothing."""
    rows = all_rows(console)
    kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(rows, cut.seen, strict=False)))
    if kept < len(cut.seen):
        return f"{len(cut.seen)} records were seen before the cut, the first {kept} of them are there after it"
    magazines = inject_intents(console) - magazines_before
    if magazines < cut.strokes_begun:
        return f"{cut.strokes_begun} strokes were begun, {magazines} intents are there"
    return ""


def inject_intents(console: VirtualConsole) -> int:
    """Return how many magazines for the patient the journal has."""
    return sum(intent.purpose == "inject" for intent in console.records(MagazineIntent))


def check_that_nothing_moved(console: VirtualConsole, cut: Cut, given: int, books: Books) -> None:
    """Nothing moves by itself: no step, no gate and no fluid since the power came back, whatever is still pressed."""
    lines, world = console.lines, console.world
    high = {edge.line for edge in console.edges_since(0) if edge.level}
    low = {edge.line for edge in console.edges_since(0) if not edge.level}
    assert lines.step not in high
    assert not {lines.gate_1, lines.gate_2} & low
    assert lines.enable not in low
    assert world.needle_steps == cut.needle_steps
    assert books.given() == given


def survive(console: VirtualConsole, random: Random, number: int) -> dict[str, Any]:
    """One cut in a session of its own, and everything that must hold after it; return its figures."""
    console.make_ready(points=POINTS)
    books, magazines = Books.opened(console), inject_intents(console)
    faults_before = len(console.records(FaultRaised))
    cut = cut_in_a_session(console, random)
    given = books.given()
    started_s = time.monotonic()
    console.switch_on()
    boot_s = console.boot()
    faults = {fault.code for fault in console.records(FaultRaised)[faults_before:]}
    # A fault that was latched when the power went is latched when it comes back (I6); else it is a session.
    console.until_state("fault" if faults else "session")
    assert not console.status["armed"]

    assert what_is_lost(console, cut, magazines) == ""
    check_that_nothing_moved(console, cut, given, books)
    console.let_go()
    if faults:
        console.ask("fault_clear")
        console.until_state("session")
    books.check(certain=False)
    settled = console.records(MagazineSettled)[-1]
    fire_once_more(console)
    books.check(certain=False)
    figures = {
        "cut": number,
        "after_s": round(cut.at_s, 2),
        "needle_steps": cut.needle_steps,
        "gate_open": cut.gate_open,
        "held": cut.held,
        "strokes_begun": cut.strokes_begun,
        "seen": len(cut.seen),
        "given": given,
        "settled": settled.reason,
        "certain": settled.certain,
        "faults": sorted(faults),
        "boot_s": round(boot_s),
        "seconds": round(time.monotonic() - started_s),
    }
    say("power cut " + " ".join(f"{name}={value}" for name, value in figures.items()))
    return figures


def test_a_power_cut_loses_nothing_that_was_committed_and_nothing_resumes(disk_console: VirtualConsole) -> None:
    random = Random(SEED)
    say(f"{CUTS} power cuts, seed {SEED}")
    done: list[dict[str, Any]] = []
    try:
        done.extend(survive(disk_console, random, number) for number in range(1, CUTS + 1))
    finally:
        write_result("power-cut", fault="power cut", survived=done, of=CUTS, seed=SEED)
    assert len(done) == CUTS


def test_a_journal_without_its_flushes_is_found_out(disk_console: VirtualConsole) -> None:
    """The negative control: with SQLite's `synchronous = NORMAL` a cut loses records that had been seen."""
    console, random = disk_console, Random(SEED)
    console.machine.shell(CHANGE.format(before="FULL", after="NORMAL", file=JOURNAL_MODULE), within_s=600)
    lost = ""
    cuts = 0
    while not lost and cuts < CONTROL_CUTS_MOST:
        console.make_ready(points=POINTS)
        magazines = inject_intents(console)
        cut = cut_in_a_session(console, random)
        cuts += 1
        console.switch_on()
        console.boot()
        lost = what_is_lost(console, cut, magazines)
        say(f"negative control, cut {cuts} after {cut.at_s:.1f} s: {lost or 'nothing lost'}")
        console.let_go()
    console.machine.shell(CHANGE.format(before="NORMAL", after="FULL", file=JOURNAL_MODULE), within_s=600)
    write_result(
        "power-cut-control",
        fault="a journal without its flushes, found out",
        survived=[{"cuts": cuts, "lost": lost}] if lost else [],
        of=1,
        seed=SEED,
    )
    assert lost
