"""The Cavro OEM pump behind `PumpPort`: loads gated programs of absolute targets, and is certain or says so.

Owns the order of checks before bytes leave and the words sent to the pump. Never plans, never sends a relative move,
never sends a bare `R` (it would resume a killed program), never touches a gate line. The hard ceiling is
`cavro_program`'s, frames and repeats are `cavro_session`'s; time is the event loop's alone, so that a simulation can
run it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from device.core.device_spec import PumpSpec
from device.core.faults import Fault
from device.core.magazine import PumpProgram
from device.core.settlement import reads_as
from device.core.units import NS_PER_S, HalfIncrementsPerSecond, Increments, Nanoseconds
from drivers.ports import NOTHING_OWED, DriverError, GateLevels, PumpStatus
from drivers.pump.cavro_codec import Answer, error_meaning
from drivers.pump.cavro_program import (
    PumpCeiling,
    above_ceiling,
    check_ceiling,
    check_position,
    program_length,
    program_text,
)
from drivers.pump.cavro_session import IDENTITY, STATUS, STOP, CavroSession, Kind, Request, Step
from drivers.pump.serial_line import Line

__all__ = [
    "CavroPump",
    "ExchangeCut",
    "PumpCeiling",
    "check_ceiling",
    "longest_move_ns",
    "program_length",
    "program_text",
]

SLOPE_UNIT: Final = 2500
"""Half-increments/s2 per unit of `L`."""
NEED_HOMING: Final = frozenset({1, 7, 9, 10})
"""Errors that stay until the plunger is homed: no reason to refuse anything but moves."""
POLL_S: Final = 0.02
POLLS_MOST: Final = 10_000
STOP_POLL_S: Final = 0.01
STOPS_MOST: Final = 30
"""`T` and the question whether it worked, 10 ms apart: the slowest valve change ends within this."""
VALVE_NS: Final = Nanoseconds(2 * NS_PER_S)
SETTING_NS: Final = Nanoseconds(1 * NS_PER_S)
HOMING_NS: Final = Nanoseconds(60 * NS_PER_S)
"""Full stroke at the slowest initialisation speed, and once more."""


class ExchangeCut(DriverError):
    """`terminate` cut this call off; what it was doing is settled by `position`."""

    def __init__(self) -> None:
        super().__init__(Fault.PUMP_SILENT, "cut off by terminate")


def longest_move_ns(increments: Increments, speed: HalfIncrementsPerSecond, spec: PumpSpec) -> Nanoseconds:
    """Return a time within which a sound pump has moved `increments` at top speed `speed`: twice the planned time.

    Planned: the way at top speed, plus one ramp up and one down at the pump's slope; rounded up.
    """
    way = -(-increments * spec.stroke_half_increments // spec.stroke_increments)
    even_ns = -(-way * NS_PER_S // speed)
    ramps_ns = -(-2 * speed * NS_PER_S // (spec.slope * SLOPE_UNIT))
    return Nanoseconds(2 * (even_ns + ramps_ns))


class CavroPump:
    """A Cavro XCalibur or XLP 6000 at `address` (1..15) on `line`.

    Raises ValueError for a `spec` that is neither the fine nor the coarse scale of such a pump.
    """

    def __init__(self, line: Line, *, address: int, spec: PumpSpec, ceiling: PumpCeiling) -> None:
        if spec.stroke_increments == 4 * spec.stroke_half_increments:
            self._scale = 1
        elif 2 * spec.stroke_increments == spec.stroke_half_increments:
            self._scale = 0
        else:
            raise ValueError(
                f"pump.stroke_increments must be 4 times (fine) or half (coarse) of pump.stroke_half_increments "
                f"({spec.stroke_half_increments}); found {spec.stroke_increments}"
            )
        self._line = line
        self._address = address
        self._spec = spec
        self._ceiling = ceiling
        self._session: CavroSession | None = None
        self._pending: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._line_failure = "not connected"
        self._turn = 0
        self._busy_turn: int | None = None
        self._terminating = asyncio.Lock()
        self._valve_at_needle = False

    async def connect(self) -> str:
        """Open the line, get `Q` answered, stop whatever is loaded, set scale and speeds; return the identity.

        Errors that only homing cures (1, 7, 9, 10) raise nothing here: `status` tells them, so that a pump in
        overload can still be connected to and homed.
        """
        with self._call() as turn:
            self._drop_line("not connected")
            self._line.open(self._bytes_received, self._line_lost)
            self._session = CavroSession(address=self._address, baud=self._line.baud)
            self._valve_at_needle = False
            try:
                return await self._take_over(turn)
            except BaseException:
                # Half connected is not connected: the port goes free and the next connect starts afresh.
                self._drop_line("not connected")
                raise

    async def status(self) -> PumpStatus:
        """Return the answer to `Q`."""
        with self._call() as turn:
            answer = await self._exchange(STATUS, turn)
            return PumpStatus(ready=answer.ready, error=answer.error)

    async def position(self) -> Increments:
        """Return what the plunger's encoder reads (`?4`). Raises DriverError where the pump has lost it (1, 7)."""
        with self._call() as turn:
            return await self._position(turn)

    async def gates(self) -> GateLevels:
        """Return both gate inputs as the pump sees them (`?13`, `?14`: 0 is low)."""
        with self._call() as turn:
            return await self._gates(turn)

    async def load(self, program: PumpProgram) -> None:
        """Load and start `program`; see `PumpPort.load`.

        When this raises anything else than a failed check, the program may be in the pump: `terminate`, then read
        `position`. The first load after `connect`, homing or a refill that was cut off turns the valve to the needle.
        """
        check_ceiling(program, spec=self._spec, ceiling=self._ceiling)
        with self._call() as turn:
            await self._check_ready(turn)
            gates = await self._gates(turn)
            if gates.gate_1_open or gates.gate_2_open:
                raise DriverError(
                    Fault.PUMP_GATE_STUCK,
                    f"before loading, gate 1 is {_word(gates.gate_1_open)}, gate 2 is {_word(gates.gate_2_open)}",
                )
            position = await self._position(turn)
            if not reads_as(position, program.start):
                raise DriverError(
                    Fault.PUMP_POSITION_MISMATCH, f"the plunger is at {position}, the program starts at {program.start}"
                )
            if not self._valve_at_needle:
                await self._command("OR", turn)
                await self._until_ready(VALVE_NS, turn)
                self._valve_at_needle = True
            await self._command(program_text(program), turn)
            answer = await self._exchange(STATUS, turn)
            _raise_on(answer)
            if answer.ready:
                raise DriverError(Fault.PUMP_ERROR, "the pump does not wait at the first gate after loading")

    async def terminate(self) -> None:
        """Stop any move and program at once, cutting off a running call (it raises `ExchangeCut`).

        Returns when the pump has said that it is ready and that its buffer is empty, so that nothing is left for a
        later `R` to resume. Raises DriverError where it cannot be certain.
        """
        async with self._terminating:
            self._cut_in()
            with self._call() as turn:
                await self._stop(turn)

    async def refill(self, target: Increments, *, overshoot: Increments, owed: Increments = NOTHING_OWED) -> Increments:
        """Draw from the vial to `target`; see `PumpPort.refill`. One string, in which the valve comes first."""
        low = Increments(target - owed)
        top = Increments(low + overshoot)
        for place in (target, low, top):
            check_position(place, self._spec)
        if min(overshoot, owed) < 0:
            raise above_ceiling(f"overshoot and owed must be 0 or more; found {overshoot} and {owed}")
        with self._call() as turn:
            await self._check_ready(turn)
            start = await self._position(turn)
            speed = self._spec.refill_speed
            way = Increments(abs(top - start) + overshoot + owed)
            self._valve_at_needle = False
            back = f"A{target}" if owed else ""
            await self._command(f"V{speed}IA{top}A{low}{back}OR", turn)
            await self._until_ready(
                Nanoseconds(longest_move_ns(way, speed, self._spec) + 2 * VALVE_NS + SETTING_NS), turn
            )
            self._valve_at_needle = True
            return await self._verified(target, turn)

    async def home_plunger(self) -> Increments:
        """Initialise with `Z`, at full force; sets scale and speeds again first, as the pump may have lost power.

        The manual names no variant that empties toward the vial: whatever is in the syringe leaves through the needle.
        """
        with self._call() as turn:
            if not (await self._exchange(STATUS, turn)).ready:
                raise DriverError(Fault.PUMP_ERROR, "the pump is busy: terminate first")
            await self._configure(turn)
            self._valve_at_needle = False
            await self._command("ZR", turn, tolerated=NEED_HOMING)
            await self._until_ready(HOMING_NS, turn, tolerated=NEED_HOMING)
            _raise_on(await self._exchange(STATUS, turn))
            return await self._verified(Increments(0), turn)

    async def close(self) -> None:
        """Release the line. A running call raises DriverError."""
        self._turn += 1
        self._drop_line("closed")

    # Steps of the calls above

    async def _take_over(self, turn: int) -> str:
        status = await self._exchange(STATUS, turn)
        identity = (await self._exchange(IDENTITY, turn)).data
        if not status.ready or await self._report("?10", turn) != 0:
            await self._stop(turn)
        await self._configure(turn)
        return identity

    async def _stop(self, turn: int) -> None:
        for _ in range(STOPS_MOST):
            await self._exchange(STOP, turn)
            if (await self._exchange(STATUS, turn)).ready:
                break
            await asyncio.sleep(STOP_POLL_S)
        else:
            raise DriverError(Fault.PUMP_ERROR, f"the pump is still busy after {STOPS_MOST} T")
        # T keeps the rest of the string for a later R. A string of its own takes that string's place.
        await self._command("J0R", turn, tolerated=NEED_HOMING)
        await self._until_ready(SETTING_NS, turn, tolerated=NEED_HOMING)
        if await self._report("?10", turn) != 0:
            raise DriverError(Fault.PUMP_ERROR, "the pump keeps a killed program in its buffer: switch it off and on")

    async def _configure(self, turn: int) -> None:
        spec = self._spec
        speeds = f"v{spec.start_speed}V{spec.fastest_speed}c{spec.cutoff_speed}L{spec.slope}R"
        for text in (f"N{self._scale}R", speeds):
            await self._command(text, turn, tolerated=NEED_HOMING)
            await self._until_ready(SETTING_NS, turn, tolerated=NEED_HOMING)

    async def _check_ready(self, turn: int) -> None:
        answer = await self._exchange(STATUS, turn)
        _raise_on(answer)
        if not answer.ready:
            raise DriverError(Fault.PUMP_ERROR, "the pump is busy: terminate first")

    async def _gates(self, turn: int) -> GateLevels:
        gate_1 = await self._report("?13", turn)
        gate_2 = await self._report("?14", turn)
        return GateLevels(gate_1_open=gate_1 == 0, gate_2_open=gate_2 == 0)

    async def _position(self, turn: int) -> Increments:
        answer = await self._exchange(Request("?4", Kind.NUMBER), turn)
        if answer.error in (1, 7):
            _raise_on(answer)
        return Increments(_number("?4", answer))

    async def _verified(self, target: Increments, turn: int) -> Increments:
        """Return `target`, where a move has ended, if the encoder has nothing against it.

        Not what was read: its error would be taken for serum that is there, and given beyond the book.
        """
        position = await self._position(turn)
        if not reads_as(position, target):
            raise DriverError(Fault.PUMP_POSITION_MISMATCH, f"the plunger is at {position}, expected at {target}")
        return target

    async def _report(self, text: str, turn: int) -> int:
        return _number(text, await self._exchange(Request(text, Kind.NUMBER), turn))

    async def _command(self, text: str, turn: int, *, tolerated: frozenset[int] = frozenset()) -> None:
        _raise_on(await self._exchange(Request(text, Kind.COMMAND), turn), tolerated=tolerated)

    async def _until_ready(self, most_ns: Nanoseconds, turn: int, *, tolerated: frozenset[int] = frozenset()) -> None:
        deadline_s = asyncio.get_running_loop().time() + most_ns / NS_PER_S
        for _ in range(POLLS_MOST):
            answer = await self._exchange(STATUS, turn)
            _raise_on(answer, tolerated=tolerated)
            if answer.ready:
                return
            if asyncio.get_running_loop().time() >= deadline_s:
                break
            await asyncio.sleep(POLL_S)
        raise DriverError(Fault.PUMP_ERROR, f"the pump is still busy after {most_ns // 1_000_000} ms")

    # The session on the line

    @contextmanager
    def _call(self) -> Iterator[int]:
        """Hold the pump for one call and yield its turn. Raises DriverError (`INTERNAL`) while another runs."""
        if self._busy_turn == self._turn:
            raise DriverError(Fault.INTERNAL, "the pump was asked for two things at once")
        turn = self._busy_turn = self._turn
        try:
            yield turn
        finally:
            if self._busy_turn == turn:
                self._busy_turn = None

    def _cut_in(self) -> None:
        """End the running call's turn: it raises `ExchangeCut` at once, or at its next exchange."""
        self._turn += 1
        self._end_exchange(ExchangeCut())

    async def _exchange(self, request: Request, turn: int) -> Answer:
        if turn != self._turn:
            raise ExchangeCut
        if self._session is None:
            raise DriverError(Fault.PUMP_SILENT, self._line_failure)
        pending: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending = pending
        try:
            self._carry_out(self._session.begin(request, self._now_ns()))
            return await pending
        finally:
            if self._pending is pending:
                self._end_exchange(None)

    def _end_exchange(self, error: DriverError | None) -> None:
        """Forget the running exchange, if there is one; whoever awaits it gets `error`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._session is not None:
            self._session.abandon()
        pending, self._pending = self._pending, None
        if pending is not None and error is not None and not pending.done():
            pending.set_exception(error)

    def _carry_out(self, step: Step) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if step.deadline_ns is not None:
            self._timer = asyncio.get_running_loop().call_at(step.deadline_ns / NS_PER_S, self._time_passed)
        pending = self._pending
        if pending is not None and not pending.done():
            if step.answer is not None:
                pending.set_result(step.answer)
            elif step.failure is not None:
                pending.set_exception(DriverError(Fault.PUMP_SILENT, step.failure))
        if step.send:
            self._line.write(step.send)  # last: a write that fails ends the exchange

    def _time_passed(self) -> None:
        self._timer = None
        if self._session is not None:
            self._carry_out(self._session.time_passed(self._now_ns()))

    def _bytes_received(self, data: bytes) -> None:
        if self._session is not None:
            self._carry_out(self._session.bytes_received(data, self._now_ns()))

    def _line_lost(self, reason: str) -> None:
        self._end_exchange(DriverError(Fault.PUMP_SILENT, reason))
        self._session = None
        self._line_failure = reason

    def _drop_line(self, reason: str) -> None:
        self._line_lost(reason)
        self._line.close()

    @staticmethod
    def _now_ns() -> int:
        return round(asyncio.get_running_loop().time() * NS_PER_S)


def _word(is_open: bool) -> str:  # noqa: FBT001 - the one fact it words
    return "open" if is_open else "closed"


def _number(text: str, answer: Answer) -> int:
    if not answer.data:
        raise DriverError(
            Fault.PUMP_ERROR, f"the pump refused {text}: error {answer.error}, {error_meaning(answer.error)}"
        )
    return int(answer.data)


def _raise_on(answer: Answer, *, tolerated: frozenset[int] = frozenset()) -> None:
    """Raise DriverError for the error in `answer`, unless it is 0 or tolerated."""
    if answer.error == 0 or answer.error in tolerated:
        return
    fault = {7: Fault.PUMP_NOT_INITIALISED, 9: Fault.PUMP_OVERLOAD}.get(answer.error, Fault.PUMP_ERROR)
    raise DriverError(fault, f"the pump reports error {answer.error}, {error_meaning(answer.error)}")
