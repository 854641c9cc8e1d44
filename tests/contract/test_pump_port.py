"""What every pump driver promises: certain outcomes over a line that loses, delays and damages what it carries.

In virtual time over a line in memory; `tests/system/test_pump_line.py` runs the same driver over a pty.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.core.faults import Fault
from device.core.magazine import PumpProgram, Purpose
from device.core.profile import Phase
from device.core.units import Increments
from drivers.ports import DriverError, GateLevels, PumpPort, PumpStatus
from drivers.pump.cavro import CavroPump, ExchangeCut, program_text
from drivers.pump.cavro_codec import Command, command_reader
from drivers.sim.pump_firmware import IDENTITY, Troubles, Valve
from tests.support.pump import (
    CEILING,
    FILLED,
    SPEC,
    STROKE_NL,
    Rig,
    make_rig,
    move,
    ready_rig,
    run_virtual,
    shot_program,
)

LATE_NS = 150_000_000


async def fault_of(call: Awaitable[object]) -> Fault:
    with pytest.raises(DriverError) as caught:
        await call
    return caught.value.fault


async def given_once(rig: Rig) -> None:
    """Let the loaded shot pass and check that it was given exactly once."""
    await rig.let_pass(4)
    assert (rig.bench.dispensed, rig.bench.needle_travel) == (480, 504)
    await rig.until(lambda: not rig.firmware.busy)
    assert await rig.pump.position() == FILLED - 456 == rig.firmware.position


def test_the_driver_is_a_pump_port() -> None:
    port: PumpPort = make_rig().pump
    assert isinstance(port, CavroPump)


def test_connecting_tells_the_identity_and_sets_scale_and_speeds() -> None:
    async def main() -> None:
        rig = make_rig()
        assert await rig.pump.connect() == IDENTITY
        assert [word for word in rig.words() if word not in ("Q", "&", "?10")] == ["N1R", "v900V5800c900L20R"]
        assert await rig.pump.status() == PumpStatus(ready=True, error=7)

    run_virtual(main())


def test_nothing_but_queries_leaves_before_the_first_answered_q() -> None:
    async def main() -> None:
        rig = make_rig(troubles=Troubles(drop_answers=100))
        assert await fault_of(rig.pump.connect()) is Fault.PUMP_SILENT
        assert set(rig.words()) == {"&"}

    run_virtual(main())


def test_connecting_stops_a_program_that_an_earlier_controller_left_at_its_gate() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        await rig.pump.close()
        successor = CavroPump(rig.line, address=1, spec=SPEC, ceiling=CEILING)
        await successor.connect()
        assert not rig.firmware.busy
        rig.bench.gates[1] = True
        await rig.pass_time(1)
        assert rig.bench.needle_travel == 0
        assert await successor.position() == FILLED

    run_virtual(main())


def test_a_pump_in_overload_can_be_connected_to_and_homed() -> None:
    async def main() -> None:
        rig = await ready_rig()
        rig.troubles.overloads = 1
        assert await fault_of(rig.pump.refill(Increments(13_000), overshoot=Increments(0))) is Fault.PUMP_OVERLOAD
        await rig.pump.close()
        await rig.pump.connect()
        assert await rig.pump.status() == PumpStatus(ready=True, error=9)
        assert await rig.pump.home_plunger() == 0
        assert await rig.pump.status() == PumpStatus(ready=True, error=0)

    run_virtual(main())


def test_a_loaded_program_waits_at_its_first_gate_and_is_given_once() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        assert await rig.pump.status() == PumpStatus(ready=False, error=0)
        await rig.pass_time(5)
        assert rig.bench.needle_travel == 0
        await given_once(rig)

    run_virtual(main())


async def load_spoilt(rig: Rig, troubles: Troubles) -> None:
    """Load a shot; `troubles` begin at the very frame that carries the program."""
    write = rig.line.write

    def spoiling(data: bytes) -> None:
        if b"H1" in data and not programs_sent(rig):
            rig.firmware.troubles = replace(troubles)
        write(data)

    rig.line.write = spoiling  # type: ignore[method-assign]  # the wire itself, not the driver, is what is disturbed
    await rig.pump.load(shot_program())


def programs_sent(rig: Rig) -> list[Command]:
    frames = command_reader().feed(b"".join(rig.line.sent))
    return [frame for frame in frames if "H1" in frame.data]


@pytest.mark.parametrize(
    ("troubles", "frames"),
    [
        (Troubles(drop_frames=1), 2),
        (Troubles(drop_frames=3), 4),
        (Troubles(drop_answers=1), 2),
        (Troubles(drop_answers=3), 4),
        (Troubles(flip_answers=1), 2),
        (Troubles(delay_answers=1, delay_ns=LATE_NS), 2),
        (Troubles(delay_answers=2, delay_ns=LATE_NS), 2),
    ],
    ids=["frame lost", "three frames lost", "answer lost", "three lost", "bit flipped", "answer late", "both late"],
)
def test_a_program_whose_frame_or_answer_was_spoilt_is_given_exactly_once(troubles: Troubles, frames: int) -> None:
    async def main() -> None:
        rig = await ready_rig()
        await load_spoilt(rig, troubles)
        sent = programs_sent(rig)
        assert len({frame.sequence for frame in sent}) == 1
        assert [frame.repeat for frame in sent] == [False] + [True] * (frames - 1)
        await given_once(rig)

    run_virtual(main())


def test_a_program_whose_every_answer_is_lost_is_reported_silent_and_settled_by_position() -> None:
    async def main() -> None:
        rig = await ready_rig()
        with pytest.raises(DriverError, match="no answer to"):
            await load_spoilt(rig, Troubles(drop_answers=4))
        assert not (await rig.pump.status()).ready  # it is in the pump: this is why the caller terminates
        await rig.pump.terminate()
        assert not rig.firmware.busy
        rig.bench.gates[1] = True
        await rig.pass_time(1)
        assert await rig.pump.position() == FILLED

    run_virtual(main())


@pytest.mark.parametrize("gate", [1, 2])
def test_an_open_gate_refuses_a_load(gate: int) -> None:
    async def main() -> None:
        rig = await ready_rig()
        rig.bench.gates[gate] = True
        assert await rig.pump.gates() == GateLevels(gate_1_open=gate == 1, gate_2_open=gate == 2)
        assert await fault_of(rig.pump.load(shot_program())) is Fault.PUMP_GATE_STUCK
        assert programs_sent(rig) == []

    run_virtual(main())


@pytest.mark.parametrize("beside", [-3, 3])
def test_a_program_from_another_position_is_refused(beside: int) -> None:
    async def main() -> None:
        rig = await ready_rig()
        assert await fault_of(rig.pump.load(shot_program(FILLED + beside))) is Fault.PUMP_POSITION_MISMATCH
        assert programs_sent(rig) == []

    run_virtual(main())


@pytest.mark.parametrize("beside", [-2, -1, 1, 2])
def test_a_program_from_where_the_plunger_may_stand_by_its_encoder_is_loaded_and_ends_at_its_own_targets(
    beside: int,
) -> None:
    async def main() -> None:
        rig = await ready_rig()
        program = shot_program(FILLED + beside)
        await rig.pump.load(program)
        await rig.let_pass(len(program.moves))
        assert rig.firmware.position == program.moves[-1].target

    run_virtual(main())


def test_a_program_above_the_ceiling_sends_nothing_at_all() -> None:
    async def main() -> None:
        rig = await ready_rig()
        too_much = PumpProgram(
            magazine_id=1, purpose=Purpose.INJECT, stroke_nl=STROKE_NL, start=FILLED, moves=(move(Phase.DWELL, 100),)
        )
        assert await fault_of(rig.pump.load(too_much)) is Fault.PUMP_CEILING
        assert rig.line.sent == []

    run_virtual(main())


def test_a_busy_pump_refuses_a_load() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        with pytest.raises(DriverError, match="busy: terminate first"):
            await rig.pump.load(shot_program())

    run_virtual(main())


def test_a_pump_that_lost_its_power_refuses_a_load_and_has_no_position() -> None:
    async def main() -> None:
        rig = await ready_rig()
        rig.firmware.power_cycle(round(asyncio.get_running_loop().time() * 1e9))
        assert await fault_of(rig.pump.load(shot_program())) is Fault.PUMP_NOT_INITIALISED
        assert await fault_of(rig.pump.position()) is Fault.PUMP_NOT_INITIALISED
        await rig.pump.home_plunger()
        assert await rig.pump.refill(FILLED, overshoot=Increments(100)) == FILLED
        assert "N1R" in rig.words()

    run_virtual(main())


@pytest.mark.parametrize("at_once", [True, False], ids=["in the acknowledgement", "at the next Q"])
def test_an_operand_that_the_pump_refuses_is_told_wherever_the_pump_tells_it(at_once: bool) -> None:
    async def main() -> None:
        rig = await ready_rig(operand_error_at_once=at_once)
        await rig.whisper("N0IA3000OR")  # a pump that has fallen back to 3000 increments takes no 3010
        moves = (move(Phase.DWELL, 2990), move(Phase.SUCK_BACK, 3010))
        with pytest.raises(DriverError, match="error 3, invalid operand") as caught:
            await rig.pump.load(
                PumpProgram(
                    magazine_id=1, purpose=Purpose.INJECT, stroke_nl=STROKE_NL, start=Increments(3000), moves=moves
                )
            )
        assert caught.value.fault is Fault.PUMP_ERROR
        assert not rig.firmware.busy

    run_virtual(main())


def test_an_overload_in_a_shot_is_told_by_the_status_with_the_position_it_stopped_at() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        rig.troubles.overloads = 1
        rig.bench.gates[1] = True
        await rig.until(lambda: not rig.firmware.busy)
        assert await rig.pump.status() == PumpStatus(ready=True, error=9)
        assert await rig.pump.position() == FILLED - 80 == rig.firmware.position

    run_virtual(main())


def test_terminate_stops_a_move_and_leaves_nothing_for_a_later_r() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        rig.bench.gates[1] = rig.bench.gates[2] = True
        await rig.until(lambda: rig.bench.dispensed >= 50)
        began_s = asyncio.get_running_loop().time()
        await rig.pump.terminate()
        assert asyncio.get_running_loop().time() - began_s < 0.05
        assert 50 <= rig.bench.dispensed < 480
        assert await rig.pump.position() == FILLED - rig.bench.dispensed == rig.firmware.position
        rig.line.write(Command(1, 7, False, "R").to_bytes())
        await rig.pass_time(1)
        assert await rig.pump.position() == FILLED - rig.bench.dispensed

    run_virtual(main())


def test_terminate_reads_back_the_truth_where_increments_were_lost() -> None:
    async def main() -> None:
        rig = await ready_rig()
        rig.troubles.lose_increments = 5
        await rig.pump.load(shot_program())
        rig.bench.gates[1] = True
        await rig.until(lambda: rig.bench.dispensed >= 50)
        await rig.pump.terminate()
        assert await rig.pump.position() == rig.firmware.position == FILLED - rig.bench.dispensed

    run_virtual(main())


def test_terminate_cuts_off_a_refill_which_then_sends_nothing_more() -> None:
    async def main() -> None:
        rig = await ready_rig()
        refill = asyncio.create_task(rig.pump.refill(Increments(20_000), overshoot=Increments(100)))
        await rig.until(lambda: rig.firmware.position > FILLED + 100)
        await rig.pump.terminate()
        sent = len(rig.line.sent)
        with pytest.raises(ExchangeCut):
            await refill
        assert len(rig.line.sent) == sent
        assert FILLED + 100 < await rig.pump.position() < 20_000
        assert rig.firmware.valve is Valve.VIAL

    run_virtual(main())


def test_the_load_after_a_refill_that_was_cut_off_turns_the_valve_to_the_needle_first() -> None:
    async def main() -> None:
        rig = await ready_rig()
        refill = asyncio.create_task(rig.pump.refill(Increments(20_000), overshoot=Increments(100)))
        await rig.until(lambda: rig.firmware.position > FILLED + 100)
        await rig.pump.terminate()
        with pytest.raises(ExchangeCut):
            await refill
        start = await rig.pump.position()
        await rig.pump.load(shot_program(start))
        assert rig.firmware.valve is Valve.NEEDLE
        await rig.let_pass(4)
        assert rig.bench.dispensed == 480

    run_virtual(main())


def test_terminate_works_while_a_load_is_on_the_wire() -> None:
    async def main() -> None:
        rig = await ready_rig()
        load = asyncio.create_task(rig.pump.load(shot_program()))
        await rig.until(lambda: bool(programs_sent(rig)))
        await rig.pump.terminate()
        with pytest.raises(ExchangeCut):
            await load
        assert not rig.firmware.busy
        rig.bench.gates[1] = rig.bench.gates[2] = True
        await rig.pass_time(1)
        assert (rig.bench.needle_travel, await rig.pump.position()) == (0, FILLED)

    run_virtual(main())


def test_two_terminates_at_once_both_end_well() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        await asyncio.gather(rig.pump.terminate(), rig.pump.terminate())
        assert await rig.pump.status() == PumpStatus(ready=True, error=0)

    run_virtual(main())


@pytest.mark.parametrize(
    "troubles",
    [Troubles(drop_frames=2), Troubles(drop_answers=2), Troubles(delay_answers=2, delay_ns=LATE_NS)],
    ids=["frames lost", "answers lost", "answers late"],
)
def test_terminate_gets_through_a_line_that_loses_and_delays(troubles: Troubles) -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        rig.firmware.troubles = troubles
        await rig.pump.terminate()
        assert not rig.firmware.busy

    run_virtual(main())


def test_terminate_raises_where_the_pump_stays_silent() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        rig.troubles.drop_frames = 10_000
        began_s = asyncio.get_running_loop().time()
        assert await fault_of(rig.pump.terminate()) is Fault.PUMP_SILENT
        assert asyncio.get_running_loop().time() - began_s < 0.5

    run_virtual(main())


def test_a_refill_draws_from_the_vial_only_and_approaches_from_above() -> None:
    async def main() -> None:
        rig = await ready_rig()
        assert await rig.pump.refill(Increments(14_000), overshoot=Increments(200)) == 14_000
        assert (rig.bench.needle_travel, rig.bench.drawn_from_vial) == (0, 2200)
        assert max(after for _, after, _, _ in rig.bench.movements) == 14_200
        assert rig.firmware.valve is Valve.NEEDLE

    run_virtual(main())


@pytest.mark.parametrize("error", [-2, -1, 1, 2])
def test_a_refill_and_a_homing_end_where_they_were_sent_and_not_where_the_encoder_reads_them(error: int) -> None:
    async def main() -> None:
        rig = await ready_rig(encoder=lambda place: place + error)
        assert await rig.pump.refill(Increments(14_000), overshoot=Increments(200)) == 14_000 == rig.firmware.position
        assert await rig.pump.position() == 14_000 + error
        assert await rig.pump.home_plunger() == 0 == rig.firmware.position

    run_virtual(main())


@pytest.mark.parametrize("error", [-3, 3])
def test_a_refill_that_the_encoder_reads_elsewhere_is_no_refill(error: int) -> None:
    async def main() -> None:
        rig = await ready_rig(encoder=lambda place: place + error)
        with pytest.raises(DriverError, match=f"the plunger is at {14_000 + error}, expected at 14000") as caught:
            await rig.pump.refill(Increments(14_000), overshoot=Increments(200))
        assert caught.value.fault is Fault.PUMP_POSITION_MISMATCH

    run_virtual(main())


def test_a_refill_with_a_suck_back_owed_comes_to_its_end_from_below_by_as_much() -> None:
    async def main() -> None:
        rig = await ready_rig()
        assert await rig.pump.refill(Increments(14_000), overshoot=Increments(200), owed=Increments(46)) == 14_000
        places = [after for _, after, _, _ in rig.bench.movements]
        assert max(places) == 13_954 + 200
        assert min(places[places.index(max(places)) :]) == 13_954
        assert rig.bench.needle_travel == 0

    run_virtual(main())


@pytest.mark.parametrize(
    ("target", "overshoot", "owed"), [(24_000, 1, 0), (-1, 5, 0), (100, -1, 0), (100, 1, 101), (100, 1, -1)]
)
def test_a_refill_beyond_the_stroke_sends_nothing(target: int, overshoot: int, owed: int) -> None:
    async def main() -> None:
        rig = await ready_rig()
        call = rig.pump.refill(Increments(target), overshoot=Increments(overshoot), owed=Increments(owed))
        assert await fault_of(call) is Fault.PUMP_CEILING
        assert rig.line.sent == []

    run_virtual(main())


def test_a_cancelled_call_leaves_the_pump_usable() -> None:
    async def main() -> None:
        rig = await ready_rig()
        refill = asyncio.create_task(rig.pump.refill(Increments(20_000), overshoot=Increments(0)))
        await rig.until(lambda: rig.firmware.position > FILLED + 100)
        refill.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refill
        await rig.pump.terminate()
        assert await rig.pump.position() == rig.firmware.position

    run_virtual(main())


def test_two_calls_at_once_are_refused() -> None:
    async def main() -> None:
        rig = await ready_rig()
        first = asyncio.create_task(rig.pump.position())
        await asyncio.sleep(0)
        assert await fault_of(rig.pump.status()) is Fault.INTERNAL
        assert await first == FILLED

    run_virtual(main())


def test_an_unplugged_line_ends_the_running_call_and_every_later_one_until_connected_again() -> None:
    async def main() -> None:
        rig = await ready_rig()
        call = asyncio.create_task(rig.pump.position())
        await asyncio.sleep(0)
        rig.line.unplug()
        assert await fault_of(call) is Fault.PUMP_SILENT
        with pytest.raises(DriverError, match="the test pulled the cable"):
            await rig.pump.status()
        await rig.pump.connect()
        assert await rig.pump.position() == FILLED

    run_virtual(main())


def test_a_closed_pump_says_so() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.close()
        with pytest.raises(DriverError, match="closed"):
            await rig.pump.status()

    run_virtual(main())


def program_of(speeds: list[int]) -> PumpProgram:
    """Return a program with one move of 10 increments at each of `speeds`."""
    moves = tuple(move(Phase.DWELL, FILLED - 10 * number, speed) for number, speed in enumerate(speeds, start=1))
    return PumpProgram(magazine_id=1, purpose=Purpose.INJECT, stroke_nl=STROKE_NL, start=FILLED, moves=moves)


def test_a_program_of_255_characters_loads_and_one_of_256_does_not_leave() -> None:
    async def main() -> None:
        rig = await ready_rig()
        # J0 and R, ten characters a move, and five or four more where the speed changes to one of four or three digits.
        fits = program_of([*range(5001, 5013), *range(901, 904), *[903] * 3])
        above = program_of([*range(5001, 5014), *range(901, 903), *[902] * 3])
        assert (len(program_text(fits)), len(program_text(above))) == (255, 256)
        await rig.pump.load(fits)
        await rig.pump.terminate()
        rig.line.sent.clear()
        assert await fault_of(rig.pump.load(above)) is Fault.PUMP_CEILING
        assert rig.line.sent == []

    run_virtual(main())


async def terminated(rig: Rig) -> None:
    """Terminate as the controller does: again, while answers from the disturbed time still come."""
    for _ in range(2):
        with suppress(DriverError):
            await rig.pump.terminate()
            return
    await rig.pump.terminate()


troubles_any = st.builds(
    Troubles,
    drop_frames=st.integers(0, 5),
    drop_answers=st.integers(0, 5),
    delay_answers=st.integers(0, 4),
    delay_ns=st.integers(0, 450_000_000),
    flip_answers=st.integers(0, 2),
    flip_bit=st.integers(0, 39),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), troubles_any), max_size=3))
def test_whatever_the_line_does_no_move_runs_twice_and_read_back_is_the_truth(
    disturbances: list[tuple[int, Troubles]],
) -> None:
    async def main() -> None:
        rig = await ready_rig()
        write, written, waiting = rig.line.write, 0, sorted(disturbances, key=lambda pair: pair[0])

        def disturbing(data: bytes) -> None:
            nonlocal written
            written += 1
            if waiting and written > waiting[0][0]:
                rig.firmware.troubles = replace(waiting.pop(0)[1])
            write(data)

        rig.line.write = disturbing  # type: ignore[method-assign]  # the wire itself is what is disturbed
        loaded = True
        try:
            await rig.pump.load(shot_program())
        except DriverError:
            loaded = False
        assert rig.bench.needle_travel == 0
        if loaded:
            await rig.let_pass(2)
        rig.firmware.troubles = Troubles()
        waiting.clear()
        await terminated(rig)
        assert not rig.firmware.busy
        rig.bench.gates.update({1: True, 2: True})
        await rig.pass_time(1)
        assert await rig.pump.position() == rig.firmware.position == FILLED - rig.bench.dispensed
        assert rig.bench.dispensed == (320 if loaded else 0)
        await rig.pump.close()

    run_virtual(main())
