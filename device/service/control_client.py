"""The client of the control socket: one request, one answer. Standard library only, so that `status` is quick."""

import json
import os
import socket
from pathlib import Path
from typing import Any, Final

ANSWER_DEADLINE_S: Final = 65.0
"""A little more than the controller gives itself."""

SOCKET_VARIABLE: Final = "MESOGUN_SOCKET"
STANDARD_SOCKET: Final = Path("/run/mesogun/control.sock")
STANDARD_STATE: Final = Path("/var/lib/mesogun")


class ControllerAbsent(Exception):
    """Nobody answers on the control socket: one line that says what to do."""


class CommandRefused(Exception):
    """The controller refused; `reasons` are all of them."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def socket_path(*, state: Path | None, socket_argument: Path | None) -> Path:
    """Return the control socket: the argument, else beside the given state, else $MESOGUN_SOCKET, else the standard."""
    if socket_argument is not None:
        return socket_argument
    if state is not None:
        return state / "control.sock"
    return Path(os.environ.get(SOCKET_VARIABLE, str(STANDARD_SOCKET)))


def ask(path: Path, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send a command and return its result. Raises CommandRefused or ControllerAbsent."""
    request = json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_DEADLINE_S)
            connection.connect(str(path))
            connection.sendall(request)
            line = connection.makefile("rb").readline()
    except TimeoutError as error:
        raise ControllerAbsent(f"{path}: no answer within {ANSWER_DEADLINE_S:g} s; see the service's log") from error
    except OSError as error:
        raise ControllerAbsent(
            f"{path}: {error.strerror or error}; is `mesogun run` running, and may you use its socket?"
        ) from error
    if not line:
        raise ControllerAbsent(f"{path}: the controller closed the connection; see its log")
    return _result_of(path, line)


def _result_of(path: Path, line: bytes) -> dict[str, Any]:
    """Return what an answer says. Raises as `ask` does: one that was cut off says nothing of the command."""
    try:
        answer = json.loads(line)
        if not answer["ok"]:
            raise CommandRefused([str(reason) for reason in answer["reasons"]])
        result: dict[str, Any] = answer["result"]
    except (ValueError, TypeError, LookupError) as error:
        raise ControllerAbsent(f"{path}: no whole answer; `mesogun status` tells what came of the command") from error
    return result
