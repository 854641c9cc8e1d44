"""A real Mosquitto on loopback, and real `mosquitto_sub` clients of it, for tests; each an own process.

Ready means that it accepts connections; every wait has a deadline. Stopped at the end of a `with` block.
"""

import json
import os
import pwd
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

HOST: Final = "127.0.0.1"
READY_S: Final = 10.0
STOP_S: Final = 5.0
READY_TOPIC: Final = "test/ready"

MOSQUITTO: Final = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "mosquitto"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with closing(socket.create_server((HOST, 0))) as server:
        port: int = server.getsockname()[1]
        return port


def poll(condition: Callable[[], bool], *, within_s: float = READY_S) -> None:
    """Return once `condition` holds, looking every 10 ms. Raises TimeoutError when it does not in time."""
    deadline_s = time.monotonic() + within_s
    tick = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"still not so after {within_s} s")
        tick.wait(0.01)


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something accepts connections at `port`."""

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the broker ended with code {process.returncode}")
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            return False
        return True

    poll(listens)


class MosquittoBroker:
    """Mosquitto with persistence, a TCP and a websockets listener; keeps its ports over a restart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.websocket_port = free_port()
        self._options = ["allow_anonymous true"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def admit(self, username: str, password: str) -> None:
        """Admit this user; from the next start on only such users. Seen by a running broker after `reload`."""
        file = self._directory / "passwords"
        file.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", str(file), username, password], check=True, capture_output=True)
        self._options = ["allow_anonymous false", f"password_file {file}"]

    def restrict(self, *rules: str) -> None:
        """From the next start on admit only what `rules` (lines of an ACL file) allow."""
        file = self._directory / "acl"
        file.touch(mode=0o600)
        file.write_text("\n".join(rules) + "\n")
        self._options = ["allow_anonymous true", f"acl_file {file}"]

    def allow_everything(self) -> None:
        """From the next start on admit everyone to everything."""
        self._options = ["allow_anonymous true"]

    def start(self) -> None:
        """Start and wait until both listeners accept connections."""
        configuration = self._directory / "mosquitto.conf"
        lines = [
            # Mosquitto gives up root for a user who may not write here.
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",
            f"listener {self.port} {HOST}",
            f"listener {self.websocket_port} {HOST}",
            "protocol websockets",
            # Sent to subscribers before it is acknowledged, so that a kill loses nothing that was acknowledged.
            "max_inflight_messages 0",
            "persistence true",
            f"persistence_location {self._directory}/",
            "set_tcp_nodelay true",
            "log_dest none",
            *self._options,
        ]
        configuration.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        wait_until_it_listens(self.port, self._process)
        wait_until_it_listens(self.websocket_port, self._process)

    def save(self) -> None:
        """Have sessions and subscriptions written to disk, as a kill would otherwise lose them."""
        if self._process is None:
            raise RuntimeError("the broker is not running")
        saved = self._directory / "mosquitto.db"
        saved.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        poll(saved.exists)

    def reload(self) -> None:
        """Have the running broker read its files again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Kill it where it stands (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def restart(self) -> None:
        """Kill and start again on the same ports."""
        self.kill()
        self.start()


@dataclass(frozen=True, slots=True)
class Received:
    """One message as `mosquitto_sub` printed it."""

    topic: str
    payload: dict[str, Any]
    retained: bool
    qos: int


class Subscriber:
    """A `mosquitto_sub -q 1` process; reconnects by itself when its broker comes back."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def next(self, *, within_s: float = 10.0) -> Received:
        """Return the next message. Raises `queue.Empty` when none comes in time."""
        message = json.loads(self._lines.get(timeout=within_s))
        payload = json.loads(message["payload"])
        return Received(message["topic"], payload, retained=bool(message["retain"]), qos=message["qos"])

    def until(self, seq: int, *, within_s: float = 15.0) -> list[Received]:
        """Return the events up to and with the first one of number `seq`."""
        received = [self.next(within_s=within_s)]
        while received[-1].payload["seq"] != seq or "/event/" not in received[-1].topic:
            received.append(self.next(within_s=within_s))
        return received

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(STOP_S)
        self._reader.join(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                if json.loads(line)["topic"] == READY_TOPIC:
                    self.ready.set()
                else:
                    self._lines.put(line)


@contextmanager
def subscriber(
    port: int, *topics: str, session: str = "", login: tuple[str, str] | None = None
) -> Iterator[Subscriber]:
    """Run a subscriber of `topics` until the block ends; with `session` the broker keeps what it misses.

    Ready when a message of its own has come back.
    """
    connection = ["-V", "5", "-h", HOST, "-p", str(port), "-q", "1"]
    if login is not None:
        connection += ["-u", login[0], "-P", login[1]]
    command = ["mosquitto_sub", *connection, "-F", "%j", "-t", READY_TOPIC]
    for topic in topics:
        command += ["-t", topic]
    # Without it the broker holds back what exceeds 20 unacknowledged messages, and a killed broker loses that.
    command += ["-D", "connect", "receive-maximum", "65535"]
    if session:
        command += ["-i", session, "-c", "-x", "3600"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = Subscriber(process)
    try:
        ready = ["mosquitto_pub", *connection, "-r", "-t", READY_TOPIC, "-m", "{}"]
        subprocess.run(ready, check=True, timeout=READY_S)
        if not found.ready.wait(READY_S):
            raise TimeoutError(f"mosquitto_sub has not subscribed at {HOST}:{port} after {READY_S} s")
        yield found
    finally:
        found.close()
