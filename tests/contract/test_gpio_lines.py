"""The same gpiozero devices behave alike on the simulated console, on gpiozero's mock and on gpiozero's LGPIO."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import pytest
from gpiozero import (
    LED,
    Buzzer,
    DigitalInputDevice,
    DigitalOutputDevice,
    GPIOPinInUse,
    InputDevice,
    OutputDevice,
    PinFixedPull,
    PinInvalidBounce,
    PinInvalidEdges,
    PinInvalidFunction,
    PinInvalidPin,
    PinInvalidPull,
    PinPWMUnsupported,
    PinSetInput,
)

from drivers.gpio.pin_factory import PinFactoryError, open_lgpio_factory, why_lines_stay_driven
from drivers.gpio.realtime_lines import STEP_HIGH_NS, RealtimeLines
from drivers.ports import Inputs
from drivers.sim.pins import SimPinFactory
from drivers.sim.world import CONSOLE
from tests.support.console import LINES, Bench, Chip, lgpio_bench, lgpio_module, make_world, mock_bench, sim_bench

FREE = 4
"""A line that the console does not use."""

ALL_FALSE = Inputs(trigger_a=False, trigger_b=False, stop_a=False, stop_b=False, home=False, contact=False, phase=False)
INACTIVE = {"trigger_a": True, "trigger_b": False, "stop_a": False, "stop_b": False, "home": True, "contact": True}


@pytest.fixture(params=["sim", "mock", "lgpio"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    benches: dict[str, Callable[[], AbstractContextManager[Bench]]] = {
        "sim": sim_bench,
        "mock": mock_bench,
        "lgpio": lambda: lgpio_bench(Chip(), tmp_path),
    }
    with benches[request.param]() as bench:
        yield bench


def settle_inputs(bench: Bench) -> None:
    """Put every sensor line to the level that means no."""
    for name, level in INACTIVE.items():
        bench.move(getattr(LINES, name), level)


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("on", [True, False])
def test_an_output_begins_at_its_initial_value_and_shows_no_other(bench: Bench, active_high: bool, on: bool) -> None:
    with OutputDevice(LINES.gate_1, active_high=active_high, initial_value=on, pin_factory=bench.factory) as device:
        assert bench.level(LINES.gate_1) is (on is active_high)
        assert {level for line, level in bench.edges if line == LINES.gate_1} <= {on is active_high}
        assert device.value == on


def test_an_output_reads_back_what_was_written(bench: Bench) -> None:
    with DigitalOutputDevice(FREE, pin_factory=bench.factory) as device:
        for on in (True, False, False, True):
            device.value = on
            assert device.value == on
            assert bench.level(FREE) is on
        device.toggle()
        assert not bench.level(FREE)
    assert bench.edges[:3] == [(FREE, True), (FREE, False), (FREE, True)]


@pytest.mark.parametrize("pull_up", [True, False])
def test_an_input_left_alone_reads_its_pull_as_inactive(bench: Bench, pull_up: bool) -> None:
    with InputDevice(FREE, pull_up=pull_up, pin_factory=bench.factory) as device:
        assert device.pull_up is pull_up
        assert bool(device.pin.state) is pull_up
        assert not device.is_active


def test_an_input_follows_the_line(bench: Bench) -> None:
    with InputDevice(LINES.trigger_a, pull_up=True, pin_factory=bench.factory) as device:
        for level in (False, True, False):
            bench.move(LINES.trigger_a, level)
            assert device.is_active is not level


def test_led_buzzer_and_button_work(bench: Bench) -> None:
    with (
        LED(LINES.light, pin_factory=bench.factory) as led,
        Buzzer(LINES.buzzer, pin_factory=bench.factory) as buzzer,
        DigitalInputDevice(LINES.home, pull_up=True, bounce_time=0.001, pin_factory=bench.factory) as switch,
    ):
        led.on()
        buzzer.on()
        bench.move(LINES.home, False)
        assert (bench.level(LINES.light), bench.level(LINES.buzzer), switch.is_active) == (True, True, True)
        assert switch.pin.edges == "both"
        assert switch.pin.bounce == 0.001
        led.off()
        assert not led.is_lit


def test_a_line_belongs_to_one_device_until_it_is_closed(bench: Bench) -> None:
    first = LED(LINES.light, pin_factory=bench.factory)
    with pytest.raises(GPIOPinInUse):
        LED(LINES.light, pin_factory=bench.factory)
    first.close()
    first.close()
    assert first.closed
    with InputDevice(LINES.light, pull_up=False, pin_factory=bench.factory) as second:
        assert second.pin.function == "input"


def test_an_input_cannot_be_written_nor_a_pin_misused(bench: Bench) -> None:
    pin = bench.factory.pin(FREE)
    assert pin is bench.factory.pin(f"GPIO{FREE}")
    pin.function = "input"
    with pytest.raises(PinSetInput):
        pin.state = True
    with pytest.raises(PinInvalidPull):
        pin.pull = "sideways"
    with pytest.raises(PinInvalidFunction):
        pin.function = "teapot"
    with pytest.raises(PinInvalidPin):
        bench.factory.pin("GPIO99")
    with pytest.raises(PinInvalidPin):
        bench.factory.pin("5V")
    pin.function = "output"
    with pytest.raises(PinFixedPull):
        pin.pull = "up"
    pin.close()
    assert pin.function == "input"


# The real-time lines --------------------------------------------------------------------------------------------


def test_the_realtime_lines_begin_safe_and_show_no_other_level(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        safe = {LINES.gate_1: True, LINES.gate_2: True, LINES.enable: True, LINES.step: False, LINES.direction: False}
        assert {line: bench.level(line) for line in safe} == safe
        assert all(safe[line] is level for line, level in bench.edges)
    finally:
        lines.close()


@pytest.mark.parametrize("name", [field.name for field in fields(Inputs)])
def test_each_input_means_what_the_wiring_says(bench: Bench, name: str) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        settle_inputs(bench)
        assert lines.read() == ALL_FALSE
        bench.move(getattr(LINES, name), not INACTIVE.get(name, False))
        assert lines.read() == replace(ALL_FALSE, **{name: True})
    finally:
        lines.close()


def test_a_broken_wire_reads_as_stopped_and_as_a_disagreeing_trigger(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        settle_inputs(bench)
        for line in (LINES.trigger_b, LINES.stop_a, LINES.stop_b):
            bench.move(line, True)
        inputs = lines.read()
        assert (inputs.trigger_a, inputs.trigger_b, inputs.stop_a, inputs.stop_b) == (False, True, True, True)
    finally:
        lines.close()


def test_lines_that_are_not_wired_read_as_touching_and_as_level_0(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, replace(LINES, contact=None, phase=None))
    try:
        assert (lines.read().contact, lines.read().phase) == (True, False)
    finally:
        lines.close()


def test_gates_motor_and_direction_follow_their_setters(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        for number, line in ((1, LINES.gate_1), (2, LINES.gate_2)):
            lines.set_gate(number, True)
            assert not bench.level(line)
            lines.set_gate(number, False)
            assert bench.level(line)
        lines.set_enable(True)
        lines.set_direction(True)
        assert (bench.level(LINES.enable), bench.level(LINES.direction)) == (False, True)
        lines.set_enable(False)
        lines.set_direction(False)
        assert (bench.level(LINES.enable), bench.level(LINES.direction)) == (True, False)
        with pytest.raises(ValueError, match="gate 3: there are gates 1 and 2"):
            lines.set_gate(3, True)
    finally:
        lines.close()


def test_a_step_is_one_pulse(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        bench.edges.clear()
        lines.pulse_step()
        lines.pulse_step()
        assert bench.edges == [(LINES.step, True), (LINES.step, False)] * 2
    finally:
        lines.close()


def test_safe_closes_the_gates_before_it_switches_the_motor_off(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        lines.set_enable(True)
        lines.set_gate(2, True)
        lines.set_gate(1, True)
        bench.factory.pin(LINES.step).state = True
        bench.edges.clear()
        lines.safe()
        assert bench.edges == [
            (LINES.gate_1, True),
            (LINES.gate_2, True),
            (LINES.enable, True),
            (LINES.step, False),
        ]
    finally:
        lines.close()


def test_safe_reaches_every_line_even_when_the_first_one_fails(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    try:
        lines.set_gate(2, True)
        lines.set_enable(True)
        bench.factory.pin(LINES.gate_1).function = "input"
        with pytest.raises(PinSetInput):
            lines.safe()
        assert (bench.level(LINES.gate_2), bench.level(LINES.enable)) == (True, True)
    finally:
        bench.factory.pin(LINES.gate_1).function = "output"
        lines.close()


def test_closing_leaves_the_lines_safe_and_free(bench: Bench) -> None:
    lines = RealtimeLines(bench.factory, LINES)
    lines.set_gate(1, True)
    lines.set_enable(True)
    lines.close()
    lines.close()
    assert (bench.level(LINES.gate_1), bench.level(LINES.enable)) == (True, True)
    RealtimeLines(bench.factory, LINES).close()


def test_a_failed_construction_lets_go_of_every_line(bench: Bench) -> None:
    with InputDevice(LINES.home, pull_up=True, pin_factory=bench.factory):
        with pytest.raises(GPIOPinInUse):
            RealtimeLines(bench.factory, LINES)
        with OutputDevice(LINES.gate_1, initial_value=True, pin_factory=bench.factory):
            pass
    RealtimeLines(bench.factory, LINES).close()


# What only the simulated console does -----------------------------------------------------------------------------


def test_a_step_pulse_is_wide_enough_for_the_stepper_driver() -> None:
    world, times_ns = make_world(), []
    factory = SimPinFactory(world, on_edge=lambda line, level, now_ns: times_ns.append(now_ns))
    lines = RealtimeLines(factory, LINES)
    times_ns.clear()
    for _ in range(100):
        lines.pulse_step()
    widths_ns = [low - high for high, low in zip(times_ns[::2], times_ns[1::2], strict=True)]
    assert len(widths_ns) == 100
    assert min(widths_ns) >= STEP_HIGH_NS
    lines.close()
    factory.close()
    world.close()


def test_a_pull_against_the_consoles_resistor_is_refused() -> None:
    with sim_bench() as bench:
        with pytest.raises(PinFixedPull, match="pull-up resistor on the console"):
            InputDevice(LINES.trigger_a, pull_up=False, pin_factory=bench.factory)
        with InputDevice(LINES.trigger_a, pull_up=None, active_state=False, pin_factory=bench.factory) as trigger:
            assert not trigger.is_active
        with pytest.raises(PinPWMUnsupported):
            bench.factory.pin(FREE).frequency = 100


def test_a_pin_does_not_disturb_who_else_drives_the_line() -> None:
    world = make_world()
    world.drive(LINES.stop_a, True, pid=CONSOLE, now_ns=1)
    factory = SimPinFactory(world)
    with InputDevice(LINES.stop_a, pull_up=True, pin_factory=factory) as stop:
        world.drive(LINES.stop_a, False, pid=CONSOLE, now_ns=2)
        assert stop.is_active
    assert world.owner(LINES.stop_a) == CONSOLE
    assert not world.level(LINES.stop_a)
    factory.close()
    world.close()


def test_outputs_are_entered_under_this_process_until_the_factory_is_closed() -> None:
    world = make_world()
    factory = SimPinFactory(world)
    with OutputDevice(LINES.gate_1, initial_value=False, pin_factory=factory):
        assert world.owners() == {os.getpid()}
        factory.close()
        assert world.owners() == set()
        assert world.level(LINES.gate_1)
    world.close()


def test_events_come_when_the_factory_is_polled() -> None:
    with sim_bench() as bench:
        seen: list[str] = []
        with DigitalInputDevice(LINES.trigger_a, pull_up=True, pin_factory=bench.factory) as trigger:
            trigger.when_activated = lambda: seen.append("pressed")
            trigger.when_deactivated = lambda: seen.append("released")
            bench.move(LINES.trigger_a, False)
            assert seen == []
            bench.factory.poll()
            bench.factory.poll()
            bench.move(LINES.trigger_a, True)
            bench.factory.poll()
            assert seen == ["pressed", "released"]
            assert trigger.inactive_time >= 0


@pytest.mark.parametrize(("edges", "heard"), [("both", [0, 1]), ("falling", [0]), ("rising", [1]), ("none", [])])
def test_a_pin_tells_each_wanted_edge_once(edges: str, heard: list[int]) -> None:
    with sim_bench() as bench:
        levels: list[int] = []
        pin = bench.factory.pin(LINES.trigger_a)
        pin.edges = edges
        pin.when_changed = lambda _ticks, level: levels.append(level)
        for level in (False, True):
            bench.move(LINES.trigger_a, level)
            for _ in range(3):
                bench.factory.poll()
        assert levels == heard
        pin.when_changed = None
        bench.move(LINES.trigger_a, False)
        bench.factory.poll()
        assert levels == heard
        with pytest.raises(PinInvalidEdges):
            pin.edges = "diagonal"
        with pytest.raises(PinInvalidBounce):
            pin.bounce = -1


# The real pin library ---------------------------------------------------------------------------------------------


def test_gpiozeros_own_lgpio_pin_would_open_the_gates_for_a_moment(tmp_path: Path) -> None:
    """Why the factory corrects it; when this fails, gpiozero has been corrected and the correction may go."""
    with lgpio_bench(Chip(), tmp_path) as bench:
        from gpiozero.pins.lgpio import LGPIOPin

        bench.factory.pin_class = LGPIOPin
        RealtimeLines(bench.factory, LINES).close()
        assert (LINES.gate_1, False) in bench.edges


def test_lgpio_keeps_its_files_in_the_runtime_directory(tmp_path: Path) -> None:
    with lgpio_bench(Chip(), tmp_path):
        assert os.environ["LG_WD"] == str(tmp_path)


@pytest.mark.parametrize("module", [None, ModuleType("lgpio")])
def test_a_missing_or_empty_lgpio_names_the_extra_to_install(tmp_path: Path, module: ModuleType | None) -> None:
    with lgpio_module(module), pytest.raises(PinFactoryError, match=r"pip install 'mesogun\[pi\]'"):
        open_lgpio_factory(tmp_path)


def test_a_computer_that_is_no_pi_is_told_so(tmp_path: Path) -> None:
    with lgpio_module(Chip(), revision=None), pytest.raises(PinFactoryError, match="mesogun run --sim"):
        open_lgpio_factory(tmp_path)


def test_a_missing_runtime_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(PinFactoryError, match="none: the runtime directory must exist"):
        open_lgpio_factory(tmp_path / "none")


@pytest.mark.parametrize(
    ("devices", "mode", "line"),
    [((), 0o600, "no .*/gpiochip device"), (("gpiochip0",), 0o000, "group gpio"), (("gpiochip0",), 0o600, "busy")],
)
def test_a_device_that_does_not_open_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: tuple[str, ...], mode: int, line: str
) -> None:
    allowed = os.access
    monkeypatch.setattr("drivers.gpio.pin_factory._DEVICES", tmp_path)
    # root may open everything: the mode decides here, as it does for the service's user.
    monkeypatch.setattr(
        os, "access", lambda path, how: path.stat().st_mode & 0o600 and allowed(path, how) if path.exists() else False
    )
    for device in devices:
        (tmp_path / device).touch(mode=mode)
    with lgpio_module(Chip(refuses="busy")), pytest.raises(PinFactoryError, match=line) as raised:
        open_lgpio_factory(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("label", "module"), [("pinctrl-bcm2711", "pinctrl_bcm2835"), ("pinctrl-rp1", "pinctrl_rp1")])
@pytest.mark.parametrize("kept", ["Y", "1", "N", "0", None])
def test_a_kernel_that_goes_on_driving_a_dead_process_lines_is_told_with_what_to_write(
    tmp_path: Path, label: str, module: str, kept: str | None
) -> None:
    # A Pi 5's kernel has the module of the earlier boards, too: what that one is told does not concern its header.
    for name, value in (("pinctrl_bcm2835", "Y"), ("pinctrl_rp1", "Y"), (module, kept)):
        parameters = tmp_path / name / "parameters"
        parameters.mkdir(parents=True, exist_ok=True)
        (parameters / "persist_gpio_outputs").write_text(f"{value}\n")
        if value is None:
            (parameters / "persist_gpio_outputs").unlink()
    with lgpio_bench(Chip(label=label), tmp_path) as bench:
        said = why_lines_stay_driven(bench.factory, tmp_path)
    if kept in ("Y", "1"):
        assert said is not None
        assert said.startswith(f"{tmp_path}/{module}/parameters/persist_gpio_outputs: found {kept};")
        assert "write dtparam=strict_gpiod into /boot/firmware/config.txt" in said
        assert "\n" not in said
    else:
        assert said is None
