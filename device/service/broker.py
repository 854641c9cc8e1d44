"""A broker of one's own, for the demo: Debian's Mosquitto where it is installed, else the one in the iotcore wheel.

Owns a child process on a free port of the loopback interface, open to every user of this computer and to nobody else;
never a clinic's broker. The child ends with `stop`, and with its parent where the system allows it. iotcore keeps no
retained message over a restart, Mosquitto does.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, Self

HOST: Final = "127.0.0.1"
READY_S: Final = 10.0
"""A broker on a busy Pi is ready in 2 s; iotcore's imports are the slowest part."""

STOP_S: Final = 3.0
"""How long a broker may take to write its state before it is killed."""

POLL_S: Final = 0.05
PAYLOAD_BYTES_MAX: Final = 262_144
"""Four times the largest record's body."""

Kind = Literal["mosquitto", "iotcore"]

# rumqttd cannot be stopped from within its process, so it gets one of its own, as Mosquitto does.
_IOTCORE_SCRIPT: Final = "import sys; from iotcore import Broker; Broker(config_path=sys.argv[1]).run_forever()"

_MOSQUITTO_CONFIGURATION: Final = """\
user {user}
listener {port} {host}
allow_anonymous true
set_tcp_nodelay true
persistence true
persistence_location {directory}/
log_dest stderr
log_type error
log_type warning
"""

# rumqttd's form: a [v5] listener alone, as the gateway speaks MQTT 5. Every number is one that rumqttd requires.
_IOTCORE_CONFIGURATION: Final = """\
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload_bytes_max}
max_inflight_count = 100
dynamic_filters = true
"""


class BrokerUnavailableError(Exception):
    """No broker could be started; the text says what to install or look at."""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that accepts connections at `host`:`port` until `stop`."""

    host: str
    port: int
    kind: Kind
    process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the broker; returns when it has ended. May be called twice."""
        _end(self.process)


def start_broker(directory: Path, *, kind: Kind | None = None) -> RunningBroker:
    """Start a broker that keeps its files in `directory` (must exist), and wait until it accepts connections.

    `kind` None means Mosquitto where it is found, else iotcore. Call it from a thread that outlives the broker (the
    kernel takes a thread's end for the parent's). Raises `BrokerUnavailableError` when none is
    installed, or when it has ended or does not listen within `READY_S`; OSError when `directory` cannot be written.
    """
    chosen = kind if kind is not None else _installed_kind()
    port = _free_port()
    command = _mosquitto(directory, port) if chosen == "mosquitto" else _iotcore(directory, port)
    with (directory / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            _ending_with_parent(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
        )
    broker = RunningBroker(HOST, port, chosen, process)
    try:
        _wait_until_it_listens(broker, directory / "broker.log")
    except BaseException:
        broker.stop()
        raise
    return broker


def _installed_kind() -> Kind:
    if _mosquitto_path() is not None:
        return "mosquitto"
    if find_spec("iotcore") is not None:
        return "iotcore"
    raise BrokerUnavailableError("no broker is installed: `apt install mosquitto`, or `pip install mesogun[demo]`")


def _mosquitto_path() -> str | None:
    # Debian keeps it where only root's PATH looks.
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))


def _mosquitto(directory: Path, port: int) -> list[str]:
    program = _mosquitto_path()
    if program is None:
        raise BrokerUnavailableError("mosquitto is not installed: `apt install mosquitto`")
    # Started by root, Mosquitto would become a user who may not write to the directory.
    user = pwd.getpwuid(os.geteuid()).pw_name
    content = _MOSQUITTO_CONFIGURATION.format(user=user, host=HOST, port=port, directory=directory)
    return [program, "-c", str(_configuration(directory / "mosquitto.conf", content))]


def _iotcore(directory: Path, port: int) -> list[str]:
    if find_spec("iotcore") is None:
        raise BrokerUnavailableError("iotcore is not installed: `pip install mesogun[demo]`")
    content = _IOTCORE_CONFIGURATION.format(host=HOST, port=port, payload_bytes_max=PAYLOAD_BYTES_MAX)
    # -P: a directory named iotcore where the demo is started must not be taken for the package.
    return [sys.executable, "-P", "-c", _IOTCORE_SCRIPT, str(_configuration(directory / "iotcore.toml", content))]


def _configuration(file: Path, content: str) -> Path:
    file.write_text(content)
    return file.resolve()


def _ending_with_parent(command: list[str]) -> list[str]:
    """Return `command` so that the kernel ends it when this process is killed, where util-linux is installed."""
    setpriv = shutil.which("setpriv")
    return command if setpriv is None else [setpriv, "--pdeathsig", "TERM", *command]


def _free_port() -> int:
    """Return a port that was free a moment ago; taken since, the broker ends at once and its log says why."""
    with closing(socket.create_server((HOST, 0))) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_until_it_listens(broker: RunningBroker, log: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    tick = threading.Event()
    while time.monotonic() < deadline_s:
        if broker.process.poll() is not None:
            raise BrokerUnavailableError(f"{broker.kind} ended with code {broker.process.returncode}; see {log}")
        try:
            socket.create_connection((broker.host, broker.port), timeout=1.0).close()
        except OSError:
            tick.wait(POLL_S)
        else:
            return
    raise BrokerUnavailableError(
        f"{broker.kind} does not listen at port {broker.port} after {READY_S:.0f} s; see {log}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
