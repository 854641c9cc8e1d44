"""`python -m device.gateway`: the gateway by itself, for a bench and for the tests; the service uses `mesogun gateway`.

Owns nothing but the arguments and the signals: SIGTERM and SIGINT stop it cleanly. The password comes from a file,
never from the command line, where every user of the machine could read it.
"""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from device.gateway.process import GatewaySettings, run_gateway


def settings_from(arguments: argparse.Namespace) -> GatewaySettings:
    """Return the settings. Raises ValueError for a bad broker or name, OSError for an unreadable password file."""
    host, _, port = arguments.broker.rpartition(":")
    password = arguments.password_file.read_text().strip() if arguments.password_file is not None else ""
    return GatewaySettings(
        site=arguments.site,
        device=arguments.device,
        host=host,
        port=int(port),
        username=arguments.username,
        password=password,
        state_dir=arguments.state,
        runtime_dir=arguments.runtime,
        keepalive_s=arguments.keepalive,
        cursor_dir=arguments.cursor,
    )


async def run_until_signalled(settings: GatewaySettings) -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run_gateway(settings, stop=stop)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m device.gateway")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the directory of the journal")
    parser.add_argument("--runtime", type=Path, required=True, metavar="DIR", help="the directory of live.json")
    parser.add_argument("--cursor", type=Path, metavar="DIR", help="the directory of the cursor (default: --state)")
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--site", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--username", default="")
    parser.add_argument("--password-file", type=Path, metavar="FILE")
    parser.add_argument("--keepalive", type=int, default=15, metavar="SECONDS")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        settings = settings_from(arguments)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    asyncio.run(run_until_signalled(settings))


if __name__ == "__main__":
    main()
