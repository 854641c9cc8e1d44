"""The controller's loop: effects in their order, what a failing one drops, and records that wait for a failing journal.

The loop is the real one; pump, real-time process, journal and indicators are small objects that do what a port says
and write down in `Bench.done` what was asked of them, in one order.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from device.controller.journal import APPEND_RECORDS_MAX, Journal, JournalWriteError
from device.controller.journal_writer import JournalWriter
from device.controller.loop import LIGHTS, LONGEST_EFFECT_S, PUMP_WITHOUT_POSITION, QUEUE_EVENTS, ControllerLoop
from device.core.console import Console, State
from device.core.events import (
    AlarmSilenceRequested,
    Event,
    FaultClearRequested,
    FaultOccurred,
    PositionRead,
    RealtimeRestarted,
    RefillDone,
    Request,
    ShutdownRequested,
    Started,
)
from device.core.faults import Fault
from device.core.journal_chain import Entry
from device.core.magazine import PumpProgram
from device.core.realtime_messages import (
    EndReason,
    Halt,
    Homed,
    Order,
    PressIgnored,
    PressRefusal,
    Ready,
    Unload,
)
from device.core.records import (
    CommandTaken,
    FaultRaised,
    FaultsCleared,
    FormularyTaken,
    MagazineIntent,
    PlungerHomed,
    PressRefused,
    Record,
)
from device.core.units import Increments
from drivers.ports import NOTHING_OWED, DriverError, GateLevels, Light, PumpStatus, Sound
from tests.support.console import run_virtually, virtual_loop
from tests.support.machine import (
    ARM,
    ARMED,
    CONTACT_LOST,
    DISARM,
    FILLED,
    FIRING,
    HOMING,
    REFILLING,
    REQUEST,
    SESSION,
    SETTLING,
    STARTING,
    STOP_PRESSED,
    magazine_ended,
)

GIVEN = PositionRead(Increments(FILLED - 434))
BUSY, EARLY, LIFTED = (
    PressIgnored(reason) for reason in (PressRefusal.BUSY, PressRefusal.TOO_EARLY, PressRefusal.NO_CONTACT)
)
DEADLINE_S = 5
"""A loop that has not ended by then hangs."""


@dataclass
class Bench:
    """All four ports and the listeners. `fails` names calls that raise; `full` counts the appends still to fail."""

    done: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)
    full: int = 0
    appends: list[tuple[Record, ...]] = field(default_factory=list)
    written: list[Record] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    answers: list[tuple[int, bool, tuple[str, ...]]] = field(default_factory=list)
    consoles: list[Console] = field(default_factory=list)
    plunger_at: Increments = FILLED
    busy: int = 0
    gates_open: tuple[bool, bool] = (False, False)
    pump_error: int = 0

    def _call(self, name: str) -> None:
        self.done.append(name)
        if name in self.fails:
            raise self.fails[name]

    def send(self, order: Order) -> None:
        self._call(type(order).__name__)
        self.orders.append(order)

    async def append(self, records: Sequence[Record]) -> None:
        self._call("append")
        self.appends.append(tuple(records))
        if self.full:
            self.full -= 1
            raise JournalWriteError("the disk is full")
        self.written += records

    def light(self, light: Light) -> None:
        pass

    def sound(self, sound: Sound) -> None:
        self._call(sound.value)

    def hush(self) -> None:
        self._call("hush")

    async def connect(self) -> str:
        self._call("connect")
        return "a pump of the test"

    async def status(self) -> PumpStatus:
        self.busy -= 1
        return PumpStatus(ready=self.busy < 0, error=self.pump_error)

    async def position(self) -> Increments:
        self._call("position")
        return self.plunger_at

    async def gates(self) -> GateLevels:
        return GateLevels(*self.gates_open)

    async def load(self, program: PumpProgram) -> None:
        self._call("load")

    async def terminate(self) -> None:
        self._call("terminate")

    async def refill(self, target: Increments, *, overshoot: Increments, owed: Increments = NOTHING_OWED) -> Increments:
        return await self._until_cancelled("refill")

    async def home_plunger(self) -> Increments:
        self._call("home_plunger")
        return Increments(0)

    async def _until_cancelled(self, name: str) -> Increments:
        self._call(name)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._call(f"{name} cancelled")
            raise
        return Increments(0)

    async def close(self) -> None:
        self._call("pump closed")


class Lamps:
    """The indicators: the bench's, with the one name that both it and the pump have for another thing."""

    def __init__(self, bench: Bench) -> None:
        self.light = bench.light
        self.sound = bench.sound
        self.hush = bench.hush

    def close(self) -> None:
        pass


def loop_of(console: Console, bench: Bench) -> ControllerLoop:
    def answered(request: Request, accepted: bool, reasons: tuple[str, ...]) -> None:
        bench.answers.append((request.number, accepted, reasons))

    return ControllerLoop(
        console,
        pump=bench,
        realtime=bench,
        journal=bench,
        indicators=Lamps(bench),
        answered=answered,
        changed=bench.consoles.append,
        wall_clock_ms=lambda: 0,
    )


async def let_run() -> None:
    """Let the loop handle what is queued: with these ports nothing of it waits for anything but its turn."""
    for _ in range(20):
        await asyncio.sleep(0)


def play(console: Console, bench: Bench, *events: Event) -> Console:
    """Give the events to a running loop one by one; return the console after all of it."""
    return play_on(loop_of(console, bench), *events)


def play_on(loop: ControllerLoop, *events: Event) -> Console:
    """Give the events to that loop, not yet running, one by one; return the console after all of it."""

    async def run() -> Console:
        running = asyncio.create_task(loop.run())
        for event in events:
            loop.post(event)
            await let_run()
        running.cancel()
        await asyncio.wait([running])
        assert len(asyncio.all_tasks()) == 1
        return loop.console

    return asyncio.run(run())


def refused_presses(records: Sequence[Record]) -> list[str]:
    return [record.reason for record in records if isinstance(record, PressRefused) for _ in range(record.presses)]


# --- the journal -------------------------------------------------------------------------------------------------


def test_records_that_could_not_be_written_stand_in_front_of_the_next_ones_in_their_order() -> None:
    bench = Bench(full=3, plunger_at=Increments(0))
    console = play(SESSION, bench, BUSY, EARLY, LIFTED, FaultClearRequested(REQUEST))
    assert [len(records) for records in bench.appends] == [1, 3, 4, 6]
    assert refused_presses(bench.written) == ["busy", "too_early", "no_contact"]
    # The journal's own fault is among them: who reads it later sees why they are so late.
    assert isinstance(bench.written[1], FaultRaised)
    assert bench.written[1].code == Fault.JOURNAL_WRITE_FAILED
    assert [type(record) for record in bench.written[4:]] == [CommandTaken, FaultsCleared]
    assert console.state is State.SELF_TEST


def test_what_is_written_is_not_written_again() -> None:
    bench = Bench(full=1)
    play(SESSION, bench, BUSY, EARLY, LIFTED)
    assert refused_presses(bench.written) == ["busy", "too_early", "no_contact"]
    assert [len(records) for records in bench.appends] == [1, 3, 1]


def ended(console: Console, bench: Bench, *events: Event) -> None:
    """Give the events to a loop, and then its end."""

    async def run() -> None:
        loop = loop_of(console, bench)
        for event in (*events, ShutdownRequested()):
            loop.post(event)
        await asyncio.wait_for(loop.run(), DEADLINE_S)

    asyncio.run(run())


@pytest.mark.parametrize("full", [2, 3])
def test_what_could_not_be_written_is_tried_once_more_at_the_end(full: int) -> None:
    # Freed space and a restart, and the fault with all that waited was gone.
    bench = Bench(full=full)
    ended(SESSION, bench, BUSY, EARLY)
    assert [len(records) for records in bench.appends] == [1, 3, 3]
    assert [type(record) for record in bench.written] == (
        [PressRefused, FaultRaised, PressRefused] if full == 2 else []
    )


def test_an_end_with_everything_written_writes_nothing() -> None:
    bench = Bench()
    ended(SESSION, bench, BUSY)
    assert [len(records) for records in bench.appends] == [1]


def test_the_journals_own_fault_is_left_out_where_no_append_would_take_it() -> None:
    bench = Bench(full=1)
    loop = loop_of(SESSION, bench)
    loop._unwritten = (*(PressRefused("", "busy", presses=1) for _ in range(APPEND_RECORDS_MAX - 1)),)
    play_on(loop, BUSY)
    assert [len(records) for records in bench.appends] == [APPEND_RECORDS_MAX]
    assert len(loop._unwritten) == APPEND_RECORDS_MAX


def test_a_journal_that_fails_latches_its_fault_and_makes_safe_without_it() -> None:
    bench = Bench(full=1_000)
    console = play(SESSION, bench, BUSY)
    assert console.ledger.faults == (Fault.JOURNAL_WRITE_FAILED,)
    assert bench.done == ["refused", "append", "Halt", "terminate", "alarm_high"]
    assert bench.orders == [Halt(Fault.JOURNAL_WRITE_FAILED)]


def test_without_its_committed_intent_nothing_is_loaded() -> None:
    bench = Bench(full=1_000)
    console = play(SETTLING, bench, GIVEN)
    assert any(isinstance(record, MagazineIntent) for record in bench.appends[0])
    assert "load" not in bench.done
    assert console.state is State.FAULT


def test_more_unwritten_records_than_an_append_takes_are_a_fault_that_no_clearing_ends() -> None:
    bench = Bench(full=APPEND_RECORDS_MAX)
    # Of one reason alone they would be counted in few records.
    presses = [BUSY, LIFTED] * (APPEND_RECORDS_MAX // 2)
    # The disk has room again behind them, but the journal can no longer be made whole.
    console = play(SESSION, bench, *presses, EARLY, FaultClearRequested(REQUEST), LIFTED)
    assert max(len(records) for records in bench.appends) == APPEND_RECORDS_MAX
    assert bench.written == []
    assert console.ledger.faults == (Fault.JOURNAL_WRITE_FAILED,)
    assert console.state is State.FAULT
    ((_, accepted, reasons),) = bench.answers
    assert not accepted
    assert "journal" in reasons[0]


def test_the_loop_stays_free_while_the_disk_takes_its_time_and_the_load_waits_for_it() -> None:
    disk = threading.Event()

    class SlowJournal(Journal):
        def append(self, records: Sequence[Record]) -> tuple[Entry, ...]:
            assert disk.wait(DEADLINE_S)
            bench.written += records
            return ()

    bench = Bench()

    async def run() -> None:
        writer = JournalWriter(SlowJournal.__new__(SlowJournal))
        bench.append = writer.append  # type: ignore[method-assign]
        loop = loop_of(SETTLING, bench)
        handling = asyncio.create_task(loop.handle(GIVEN))
        await let_run()
        # Here the loop goes on with other things, and the pump has nothing yet.
        assert bench.done == []
        disk.set()
        await asyncio.wait_for(handling, DEADLINE_S)
        writer.close()

    asyncio.run(run())
    assert bench.done == ["load"]
    assert any(isinstance(record, MagazineIntent) for record in bench.written)


# --- effects -----------------------------------------------------------------------------------------------------


def test_a_failing_effect_drops_those_behind_it_and_answers_the_command_among_them() -> None:
    bench = Bench(full=1)
    play(ARMED, bench, DISARM)
    assert bench.orders[0] == Unload()
    ((number, accepted, reasons),) = bench.answers
    assert (number, accepted) == (DISARM.request.number, False)
    assert reasons[0].startswith("fault 402 journal_write_failed: the disk is full")


def test_a_drivers_fault_comes_in_front_of_everything_that_waits() -> None:
    bench = Bench(fails={"load": DriverError(Fault.PUMP_GATE_STUCK, "gate 1")})

    async def run() -> None:
        loop = loop_of(REFILLING, bench)
        for event in (RefillDone(FILLED), BUSY, ShutdownRequested()):
            loop.post(event)
        # The fault asks where the plunger stands; the shutdown behind it ends the loop.
        await asyncio.wait_for(loop.run(), DEADLINE_S)

    asyncio.run(run())
    place = bench.done.index("load")
    assert bench.done[place + 1 : place + 4] == ["Halt", "terminate", "append"]
    ((_, accepted, reasons),) = bench.answers
    assert not accepted
    assert "fault 304" in reasons[0]


def test_an_error_that_nobody_foresaw_is_an_internal_fault() -> None:
    bench = Bench(fails={"load": RuntimeError("no such thing")})
    console = play(REFILLING, bench, RefillDone(FILLED))
    assert console.ledger.faults == (Fault.INTERNAL,)
    assert "terminate" in bench.done


def test_a_pump_that_cannot_be_terminated_does_not_keep_the_fault_from_the_journal() -> None:
    bench = Bench(fails={"terminate": DriverError(Fault.PUMP_SILENT, "no answer")})
    console = play(SESSION, bench, STOP_PRESSED)
    assert console.ledger.faults == (Fault.STOP_PRESSED,)
    assert len(bench.written) == 1


def test_a_full_queue_becomes_one_fault() -> None:
    bench = Bench()

    async def run() -> Console:
        loop = loop_of(SESSION, bench)
        for _ in range(QUEUE_EVENTS + 1):
            loop.post(BUSY)
        loop.post(ShutdownRequested())
        await asyncio.wait_for(loop.run(), DEADLINE_S)
        return loop.console

    console = asyncio.run(run())
    assert console.ledger.faults == (Fault.QUEUE_FULL,)
    assert refused_presses(bench.written) == []
    assert bench.orders == [Halt(Fault.QUEUE_FULL)]


def test_a_full_queue_answers_the_commands_it_drops_and_keeps_what_nobody_says_again() -> None:
    # A client waited for ever; an end and a needle that was being taken out were forgotten.
    bench = Bench()

    async def run() -> Console:
        loop = loop_of(SESSION, bench)
        events: list[Event] = [ARM, RealtimeRestarted(), ShutdownRequested(), *[BUSY] * (QUEUE_EVENTS - 2)]
        for event in events:
            loop.post(event)
        await asyncio.wait_for(loop.run(), DEADLINE_S)
        return loop.console

    console = asyncio.run(run())
    assert console.ledger.faults == (Fault.QUEUE_FULL,)
    assert (console.stopping, console.homed) == (True, False)
    assert bench.answers == [(ARM.request.number, False, ("fault 504 queue_full: 256 events waiting",))]


def test_a_loop_gets_on_while_it_waits_for_events_and_for_effects_that_may_still_end() -> None:
    bench, found = Bench(), list[bool]()

    async def slow(records: Sequence[Record]) -> None:
        await asyncio.sleep(LONGEST_EFFECT_S + 2)

    async def run() -> None:
        loop = loop_of(SESSION, bench)
        bench.append = slow  # type: ignore[method-assign]
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(1_000)
        found.append(loop.gets_on())
        loop.post(BUSY)
        for wait_s in (LONGEST_EFFECT_S - 1, 2, 2):
            await asyncio.sleep(wait_s)
            found.append(loop.gets_on())
        running.cancel()
        await asyncio.wait([running])

    with virtual_loop() as loop:
        run_virtually(loop, run())
    assert found == [True, True, False, True]


def test_as_many_events_as_the_queue_holds_are_all_handled() -> None:
    bench = Bench()

    async def run() -> None:
        loop = loop_of(SESSION, bench)
        for _ in range(QUEUE_EVENTS - 1):
            loop.post(BUSY)
        loop.post(ShutdownRequested())
        await asyncio.wait_for(loop.run(), DEADLINE_S)

    asyncio.run(run())
    assert len(refused_presses(bench.written)) == QUEUE_EVENTS - 1


# --- the alarm ---------------------------------------------------------------------------------------------------


def test_a_latched_fault_is_heard_behind_the_order_that_makes_safe() -> None:
    bench = Bench()
    play(FIRING, bench, FaultOccurred(Fault.STEP_LATE, "late"))
    assert bench.done.index("Halt") < bench.done.index("alarm_medium")
    assert bench.done.count("alarm_medium") == 1


def test_a_fault_from_before_the_start_is_heard_from_the_start() -> None:
    bench = Bench()
    play(replace(STARTING, ledger=replace(STARTING.ledger, faults=(101,))), bench, Started())
    assert bench.done.count("alarm_high") == 1


def test_a_fault_that_does_not_latch_is_heard_once() -> None:
    bench = Bench()
    play(FIRING, bench, magazine_ended(EndReason.FAULT, opened=2, done=1), CONTACT_LOST)
    assert bench.done.count("alarm_medium") == 1


def test_silencing_hushes_is_written_down_and_answered() -> None:
    bench = Bench()
    play(SESSION, bench, STOP_PRESSED, AlarmSilenceRequested(REQUEST))
    assert bench.done[-2:] == ["hush", "append"]
    assert bench.answers == [(REQUEST.number, True, ())]
    assert isinstance(bench.written[-1], CommandTaken)


def test_the_alarm_of_a_full_disk_can_be_silenced_though_that_cannot_be_written_down() -> None:
    bench = Bench(full=1_000)
    play(SESSION, bench, BUSY, AlarmSilenceRequested(REQUEST))
    assert bench.done[-2:] == ["hush", "append"]
    ((_, accepted, reasons),) = bench.answers
    assert not accepted
    assert "402" in reasons[0]


# --- the pump ----------------------------------------------------------------------------------------------------


def test_a_refill_under_way_is_ended_before_the_pump_is_terminated() -> None:
    bench = Bench()
    console = play(SESSION, bench, ARM, STOP_PRESSED)
    assert console.state is State.FAULT
    assert [name for name in bench.done if "refill" in name or name == "terminate"] == [
        "refill",
        "refill cancelled",
        "terminate",
    ]


def test_the_loop_leaves_no_refill_behind_when_it_ends() -> None:
    bench = Bench()
    play(SESSION, bench, ARM)
    assert bench.done[-1] == "refill cancelled"


def test_a_refill_that_fails_is_its_fault() -> None:
    bench = Bench(fails={"refill": DriverError(Fault.PUMP_OVERLOAD, "error 9")})
    console = play(SESSION, bench, ARM)
    assert console.ledger.faults == (Fault.PUMP_OVERLOAD,)


def test_a_plunger_homed_in_the_background_reaches_the_machine() -> None:
    bench = Bench()
    console = play(HOMING, bench, Homed(4))
    assert bench.written == [PlungerHomed(position=0)]
    assert (console.state, console.ledger.position) == (State.DISARMED, 0)


def test_after_a_whole_magazine_the_pump_is_waited_for_and_never_terminated() -> None:
    bench = Bench(busy=2)

    async def run() -> None:
        loop = loop_of(FIRING, bench)
        await asyncio.wait_for(loop.handle(magazine_ended()), DEADLINE_S)

    asyncio.run(run())
    assert bench.done == ["position"]


def test_a_position_that_cannot_be_read_in_a_fault_is_an_unknown_one() -> None:
    bench = Bench(fails={"position": DriverError(Fault.PUMP_SILENT, "no answer")})
    console = play(FIRING, bench, STOP_PRESSED)
    # What may have been given stays open for the self-test to settle.
    assert console.ledger.open_intent is not None
    assert console.ledger.faults == (Fault.STOP_PRESSED,)


def test_a_position_that_cannot_be_read_after_lost_contact_is_an_uncertain_dose() -> None:
    bench = Bench(fails={"position": DriverError(Fault.PUMP_SILENT, "no answer")})
    console = play(FIRING, bench, magazine_ended(EndReason.FAULT, opened=2, done=1), CONTACT_LOST)
    assert console.ledger.open_intent is None
    assert console.ledger.faults == (Fault.DOSE_UNCERTAIN,)


@pytest.mark.parametrize(
    ("gates", "said"), [((True, False), "gate 1 "), ((False, True), "gate 2 "), ((True, True), "gate 1 and 2 ")]
)
def test_a_gate_that_the_pump_reads_as_open_at_rest_fails_the_self_test(gates: tuple[bool, bool], said: str) -> None:
    bench = Bench(gates_open=gates)
    console = play(STARTING, bench, Started())
    assert console.ledger.faults == (Fault.PUMP_GATE_STUCK,)
    formulary, raised = bench.written
    assert isinstance(formulary, FormularyTaken)
    assert isinstance(raised, FaultRaised)
    assert said in raised.detail


@pytest.mark.parametrize("error", PUMP_WITHOUT_POSITION)
def test_a_pump_that_was_not_homed_since_power_up_has_no_position(error: int) -> None:
    bench = Bench(pump_error=error)
    console = play(STARTING, bench, Started(), Ready(homed=True))
    assert (console.state, console.initialised) == (State.DISARMED, False)
    assert "position" not in bench.done


def test_every_state_has_a_light_and_steady_light_means_that_a_press_fires() -> None:
    assert set(LIGHTS) == set(State)
    assert {state for state, light in LIGHTS.items() if light is Light.ON} == {State.ARMED, State.FIRING}
