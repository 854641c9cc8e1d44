"""The emulated machine: QEMU with the built parts, its channels to the guest, its end.

Owns the process and its run directory: console log, QMP socket, control channel, wires, serial port. Software
emulation, so that it runs wherever the tests run. The guest's clock counts its instructions, one a nanosecond, and
goes with the host's only while the guest has nothing to do: a host that is busy with something else makes the guest
slower, never late by its own clock. QEMU is killed by the kernel when the test that started it dies.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.vm.rig.build import Parts
from tests.vm.rig.cache import RigError

BOOT_S: Final = 240.0
"""Bound of the start until the guest's agent answers: 20 s alone on two cores, several times that beside other work."""

ANSWER_S: Final = 120.0
POWER_OFF_S: Final = 120.0
LOOK_S: Final = 0.02
CONSOLE_SHOWN: Final = 3000
PULSE_S: Final = 0.02
"""How often QEMU's main loop is woken: with a clock of instructions QEMU 7.2 at times misses the alarm by which an idle
guest's clock goes on, and then stands still until anything else happens."""

SOCKET_PATH_MOST: Final = 100
"""The kernel's bound is 108 bytes."""


def until(condition: Callable[[], bool], *, within_s: float, what: str, look_s: float = LOOK_S) -> None:
    """Return as soon as `condition` holds; raises TimeoutError that says what did not come."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {within_s:g} s")
        time.sleep(look_s)  # between two looks at a machine that gives no sign by itself


def go_before_others(thread: int) -> None:
    """Let a thread (0: this one), and none that it starts, go before the host's ordinary work, where that is allowed.

    For the few that answer the guest and else sleep: while the guest waits for the world its clock goes on.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(thread, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended in the guest."""

    code: int
    out: str
    err: str

    def checked(self) -> str:
        """Return the output of a command that succeeded."""
        assert self.code == 0, f"exit code {self.code}:\n{self.out}\n{self.err}"
        return self.out


class Machine:
    """A running virtual machine. A context manager: power is cut at the end where it still runs."""

    def __init__(self, parts: Parts, directory: Path, *, memory_mb: int = 512, disk: Path | None = None) -> None:
        """Switch the machine on; its sockets lie in `directory`, which is made. `disk`: the socket of a served one."""
        directory.mkdir(parents=True)
        if len(str(directory)) > SOCKET_PATH_MOST - 12:
            raise RigError(f"{directory}: too long a path for sockets; choose a shorter TMPDIR")
        self.directory = directory
        self._number = 0
        self._received = b""
        self._control: socket.socket | None = None
        self._started_s = time.monotonic()
        with (directory / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(parts, memory_mb, disk), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._ended = threading.Event()
        self._pulse = threading.Thread(target=self._keep_going, name="pulse", daemon=True)
        self._pulse.start()

    def _command(self, parts: Parts, memory_mb: int, data: Path | None) -> list[str]:
        place = self.directory

        def channel(name: str, number: int) -> list[str]:
            socket_options = f"socket,id={name},path={place / name},server=on,wait=off"
            return [
                "-chardev",
                socket_options,
                "-device",
                f"virtserialport,nr={number},chardev={name},name=mesogun.{name}",
            ]

        def disk(image: Path) -> list[str]:
            return ["-drive", f"file={image},format=raw,if=virtio,readonly=on"]

        guard = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
        return [
            *guard,
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-accel", "tcg,tb-size=256", "-icount", "shift=0,sleep=on", "-cpu", "max", "-m", f"{memory_mb}M"),
            *("-kernel", str(parts.kernel), "-initrd", str(parts.initramfs)),
            *(
                "-append",
                "console=ttyS0 panic=-1 loglevel=4 rdinit=/init systemd.show_status=no"
                " mitigations=off cryptomgr.notests init_on_alloc=0 audit=0",
            ),
            *disk(parts.root),
            *disk(parts.layer),
            *(["-drive", f"file=nbd+unix:///?socket={data},format=raw,if=virtio"] if data is not None else []),
            *("-serial", f"file:{place / 'console.log'}"),
            *("-chardev", f"socket,id=pump,path={self.serial_socket},server=on,wait=off", "-serial", "chardev:pump"),
            *("-chardev", f"socket,id=usb,path={self.usb_socket},server=on,wait=off", "-device", "qemu-xhci"),
            *("-device", "usb-serial,chardev=usb"),
            *("-device", "virtio-serial-pci"),
            *channel("control", 1),
            *channel("wires", 2),
            *("-qmp", f"unix:{place / 'qmp'},server=on,wait=off"),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()

    @property
    def serial_socket(self) -> Path:
        """Where the guest's `/dev/ttyS1` can be reached."""
        return self.directory / "serial"

    @property
    def usb_socket(self) -> Path:
        """Where a plug of the guest's USB can be reached: an FTDI adapter is plugged in for as long as one is there."""
        return self.directory / "usb"

    @property
    def age_s(self) -> float:
        """Seconds since it was switched on."""
        return time.monotonic() - self._started_s

    def console(self) -> str:
        """Return what the guest's kernel and first program have written."""
        log = self.directory / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    # Channels ---------------------------------------------------------------------------------------------------

    def connect(self, name: str) -> socket.socket:
        """Return a connection to the channel `name`; QEMU makes a socket's file slightly before it listens."""
        deadline_s = time.monotonic() + ANSWER_S
        while True:  # ends with the deadline
            self.check_runs()
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(self.directory / name))
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(LOOK_S)
            else:
                return connection

    def check_runs(self) -> None:
        """Raise RigError, with the end of what it wrote, where QEMU has ended."""
        if self._process.poll() is not None:
            said = (self.directory / "qemu.log").read_text(errors="replace")
            raise RigError(f"QEMU ended with {self._process.returncode}: {said.strip()}\n{self._console_end()}")

    def _console_end(self) -> str:
        return f"the end of {self.directory / 'console.log'}:\n{self.console()[-CONSOLE_SHOWN:]}"

    def await_agent(self) -> None:
        """Wait until the guest's agent answers. Raises RigError, with the end of the console, when it does not."""
        self._control = self.connect("control")
        # A channel takes bytes before the guest has opened it: the question waits there for the agent.
        try:
            self._request({"do": "hello"}, within_s=BOOT_S)
        except TimeoutError as error:
            raise RigError(f"the guest did not start within {BOOT_S:g} s; {self._console_end()}") from error

    def _request(self, request: dict[str, Any], *, within_s: float) -> dict[str, Any]:
        control = self._control
        if control is None:
            raise RigError("the guest's agent is not connected")
        self._number += 1
        control.settimeout(within_s)
        control.sendall(json.dumps({"id": self._number, **request}).encode() + b"\n")
        deadline_s = time.monotonic() + within_s
        while True:  # ends with the deadline; answers to requests that were given up are passed over
            while b"\n" not in self._received:
                control.settimeout(max(0.001, deadline_s - time.monotonic()))
                data = control.recv(65536)
                if not data:
                    self.check_runs()
                    raise RigError(f"the control channel ended; {self._console_end()}")
                self._received += data
            line, self._received = self._received.split(b"\n", maxsplit=1)
            answer: dict[str, Any] = json.loads(line)
            if answer["id"] == self._number:
                break
        if "error" in answer:
            raise OSError(answer["error"])
        return answer

    def _keep_going(self) -> None:
        """Wake QEMU's main loop again and again, by a question to its monitor."""
        with contextlib.suppress(OSError, RigError), self.connect("qmp") as monitor:
            lines = monitor.makefile("rwb")
            lines.readline()  # the greeting: by now the processor has a thread of its own, and this concerns the other
            go_before_others(self._process.pid)
            for execute in itertools.chain(["qmp_capabilities"], itertools.repeat("query-status")):
                lines.write(json.dumps({"execute": execute}).encode() + b"\n")
                lines.flush()
                if self._ended.wait(PULSE_S) or not lines.readline():
                    return

    # What the host asks of the guest ----------------------------------------------------------------------------

    def run(self, *command: str, within_s: float = ANSWER_S, text: str = "") -> Done:
        """Run a command in the guest, as root, to its end."""
        request = {"do": "run", "command": command, "input": text, "within_s": within_s}
        answer = self._request(request, within_s=within_s + ANSWER_S)
        return Done(answer["code"], answer["out"], answer["err"])

    def shell(self, script: str, *, within_s: float = ANSWER_S) -> str:
        """Run a shell script in the guest that must succeed, and return its output."""
        return self.run("sh", "-ec", script, within_s=within_s).checked()

    def write(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file in the guest."""
        encoded = base64.b64encode(content).decode()
        self._request({"do": "write", "path": path, "content": encoded, "mode": mode}, within_s=ANSWER_S)

    def read(self, path: str) -> bytes:
        """Return a file of the guest."""
        return base64.b64decode(self._request({"do": "read", "path": path}, within_s=ANSWER_S)["content"])

    def records(self, path: str) -> list[tuple[str, str]]:
        """Return kind and body of every record in the journal at `path`."""
        answer = self._request({"do": "records", "path": path}, within_s=ANSWER_S)
        return [(kind, body) for kind, body in answer["records"]]

    def ask(self, path: str, request: dict[str, Any], *, within_s: float = ANSWER_S) -> dict[str, Any]:
        """Send one JSON line to a Unix socket in the guest and return the line that it answers."""
        answer = self._request({"do": "ask", "path": path, "request": request, "within_s": within_s}, within_s=within_s)
        result: dict[str, Any] = json.loads(answer["line"])
        return result

    # The end ----------------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """Shut the guest down as `systemctl poweroff` does, and wait for its end."""
        self.run("systemctl", "--no-block", "poweroff")
        self._process.wait(POWER_OFF_S)

    def kill(self) -> None:
        """Kill the machine where it stands. Allowed from any thread, and when it has ended already."""
        if self._process.poll() is None:
            self._process.kill()

    def cut_power(self) -> None:
        """End the machine at once. Allowed when it has ended already."""
        self.kill()
        self._process.wait()
        self._ended.set()
        self._pulse.join()
        if self._control is not None:
            self._control.close()
            self._control = None
