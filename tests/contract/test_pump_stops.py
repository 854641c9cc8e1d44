"""Stopping the pump: a `T` that it does not obey at once is sent again, and a valve left at the vial is turned back."""

import asyncio

import pytest

from device.core.faults import Fault
from device.core.units import Increments
from drivers.ports import DriverError, PumpStatus
from drivers.pump.cavro import STOPS_MOST, ExchangeCut
from drivers.sim.pump_mechanics import PumpMechanics, Valve
from tests.support.pump import FILLED, Rig, ready_rig, run_virtual, shot_program


def deaf_for(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the pump finish what it does at the first so many `T`, as in the middle of a valve change."""
    obeyed = PumpMechanics.terminate
    heard = 0

    def terminate(pump: PumpMechanics) -> None:
        nonlocal heard
        heard += 1
        if heard > times:
            obeyed(pump)

    monkeypatch.setattr(PumpMechanics, "terminate", terminate)


def valve_of(rig: Rig) -> Valve:
    return rig.firmware.valve


def test_a_t_that_the_pump_does_not_obey_is_sent_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        deaf_for(3, monkeypatch)
        await rig.pump.terminate()
        assert await rig.pump.status() == PumpStatus(ready=True, error=0)
        rig.bench.gates[1] = rig.bench.gates[2] = True
        await rig.whisper("R")
        await rig.pass_time(1)
        assert rig.bench.needle_travel == 0

    run_virtual(main())


def test_a_pump_that_never_obeys_t_is_an_error_and_not_a_stopped_pump(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.load(shot_program())
        deaf_for(STOPS_MOST, monkeypatch)
        with pytest.raises(DriverError, match="still busy") as refusal:
            await rig.pump.terminate()
        assert refusal.value.fault is Fault.PUMP_ERROR

    run_virtual(main())


def test_a_valve_that_stood_at_the_needle_is_turned_back_after_a_refill_that_was_cut_off() -> None:
    async def main() -> None:
        rig = await ready_rig()
        await rig.pump.refill(Increments(FILLED + 100), overshoot=Increments(100))
        assert valve_of(rig) is Valve.NEEDLE
        refill = asyncio.create_task(rig.pump.refill(Increments(20_000), overshoot=Increments(100)))
        await rig.until(lambda: rig.firmware.position > FILLED + 300)
        await rig.pump.terminate()
        with pytest.raises(ExchangeCut):
            await refill
        assert valve_of(rig) is Valve.VIAL
        rig.bench.forget()
        await rig.pump.load(shot_program(await rig.pump.position()))
        await rig.let_pass(4)
        assert rig.bench.dispensed == 480

    run_virtual(main())
