"""The long-running commands: `run`, `gateway`, `sim-pump`. Checks what is given, then hands over to the process."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from device.logging_setup import set_up_logging
from device.service.control_client import STANDARD_STATE, socket_path
from device.service.errors import ServiceError
from device.settings import Configuration, ConfigurationError, find_configuration_directory, load_configuration


def configuration_of(argument: Path | None) -> Configuration:
    """Return the configuration. Raises ServiceError with one line a problem."""
    try:
        return load_configuration(find_configuration_directory(argument))
    except ConfigurationError as error:
        raise ServiceError(str(error)) from error


def state_of(options: argparse.Namespace) -> Path:
    """Return the state directory of a command."""
    state: Path | None = options.state
    return (state or STANDARD_STATE).absolute()


def socket_of(options: argparse.Namespace) -> Path:
    """Return the control socket of a command."""
    return socket_path(state=options.state, socket_argument=options.socket).absolute()


def run(options: argparse.Namespace) -> int:
    """`mesogun run`."""
    from device.controller.app import RunOptions, Simulation, StartRefused, run_controller  # noqa: PLC0415 - heavy

    set_up_logging(as_json=options.log_json, verbose=options.verbose)
    configuration = configuration_of(options.config)
    state = state_of(options)
    simulation = None
    if options.sim:
        from device.service.sim_console import sim_paths  # noqa: PLC0415 - on the Pi no simulator is ever imported

        paths = sim_paths(state)
        _start_sim_console(state, configuration)
        simulation = Simulation(world=paths.world, port=paths.port)
    try:
        run_controller(RunOptions(configuration, state, socket_of(options), simulation))
    except StartRefused as error:
        raise ServiceError(str(error)) from error
    return 0


def _start_sim_console(state: Path, configuration: Configuration) -> None:
    from device.service import sim_console  # noqa: PLC0415 - on the Pi no simulator is ever imported

    paths = sim_console.sim_paths(state)
    if sim_console.is_running(paths):
        return
    try:
        sim_console.create_world(paths, configuration).close()
        sim_console.start_pump(paths, baud=configuration.serial.baud, linger_s=sim_console.LINGER_S)
    except (sim_console.SimConsoleError, OSError) as error:
        raise ServiceError(f"simulated console: {error}") from error


def gateway(options: argparse.Namespace) -> int:
    """`mesogun gateway`."""
    from device.gateway.process import GatewaySettings, run_gateway  # noqa: PLC0415 - heavy

    set_up_logging(as_json=options.log_json, verbose=options.verbose)
    configuration = configuration_of(options.config)
    mqtt = configuration.mqtt
    host, port = options.broker or (mqtt.host, mqtt.port)
    settings = GatewaySettings(
        site=configuration.device.site,
        device=configuration.device.device,
        host=host,
        port=port,
        username=mqtt.username,
        password=_password(mqtt.password_file),
        state_dir=state_of(options),
        runtime_dir=socket_of(options).parent,
        keepalive_s=mqtt.keepalive_s,
        cursor_dir=options.cursor,
    )

    async def until_told() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_gateway(settings, stop=stop)

    asyncio.run(until_told())
    return 0


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ServiceError(f"mqtt.password_file {path}: {error.strerror}; the gateway's user must read it") from error
    except UnicodeDecodeError as error:
        raise ServiceError(f"mqtt.password_file {path}: not text in UTF-8; write the password alone") from error


def sim_pump(options: argparse.Namespace) -> int:
    """`mesogun sim-pump`."""
    from device.service.sim_console import SimConsoleError, hold_lock  # noqa: PLC0415 - see run
    from drivers.sim.pump_firmware import Dialect  # noqa: PLC0415 - see run
    from drivers.sim.pump_process import SimPumpError, run_sim_pump  # noqa: PLC0415 - see run
    from drivers.sim.world import WorldError  # noqa: PLC0415 - see run

    lock = None
    try:
        if options.world is not None:
            lock = hold_lock(options.world.parent / "lock")
        run_sim_pump(
            dialects=(Dialect(options.dialect),),
            baud=options.baud,
            link=options.link,
            world=options.world,
            linger_s=options.linger,
        )
    except (SimConsoleError, SimPumpError, WorldError) as error:
        raise ServiceError(str(error)) from error
    except OSError as error:
        raise ServiceError(f"{error.filename or 'simulated pump'}: {error.strerror}; choose another path") from error
    finally:
        if lock is not None:
            os.close(lock)
    return 0
