"""A gateway to test: in a thread of its own loop, or as the process it is in service."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from device.gateway.live_file import LIVE_NAME
from device.gateway.process import BackOff, GatewaySettings, run_gateway
from tests.support.broker import HOST
from tests.support.journal import REPOSITORY

SITE = "demo-clinic"
DEVICE = "console-1"
ROOT = f"mesogun/v1/{SITE}/{DEVICE}"
STOP_S = 5.0

LIVE: dict[str, Any] = {
    "ts_ms": 1_772_600_767_089,
    "boot_id": "0d9e2f5c-boot",
    "state": "armed",
    "state_code": 4,
    "session_id": "s-0001",
    "profile": "nappage",
    "region": "crown",
    "shots": 3,
    "shots_planned": 20,
    "shots_left": 17,
    "first_limit": "points_done",
    "volume_nl": 59_997,
    "volume_limit_nl": 6_000_000,
    "faults": "",
    "alarm_priority": "none",
    "alarm_escalated": False,
    "alarm_silenced_ms": 0,
    "simulated": True,
    "version": "0.1.0",
    "serial": "MG-0001",
}


def settings_for(directory: Path, port: int, *, username: str = "", password: str = "") -> GatewaySettings:
    """Return settings with everything in `directory`."""
    return GatewaySettings(
        site=SITE,
        device=DEVICE,
        host=HOST,
        port=port,
        username=username,
        password=password,
        state_dir=directory,
        runtime_dir=directory,
        keepalive_s=5,
    )


@contextmanager
def gateway(settings: GatewaySettings) -> Iterator[None]:
    """Run a gateway with short waits between its attempts, until the block ends; it must then stop in time."""
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        started.append((asyncio.get_running_loop(), stop))
        ready.set()
        await run_gateway(settings, stop=stop, back_off=BackOff(Random(1), first_s=0.05, last_s=0.2))

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        ready.wait(STOP_S)
        yield
    finally:
        loop, stop = started[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_S)
        if thread.is_alive():
            raise TimeoutError(f"the gateway has not stopped after {STOP_S} s")


def start_process(directory: Path, port: int) -> subprocess.Popen[str]:
    """Start the gateway as a process; its log goes to standard error."""
    options = {"state": directory, "socket": directory / "control.sock", "broker": f"{HOST}:{port}"}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "device.service.cli", "gateway", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )


def write_live(directory: Path, **changed: object) -> None:
    """Replace the live values as the controller does."""
    draft = directory / "live.json.new"
    draft.write_text(json.dumps(LIVE | changed))
    draft.replace(directory / LIVE_NAME)
