"""The control socket: JSON lines on a Unix socket, for the command line on this machine.

Owns the listening socket, its permissions and the peer's credentials (`SO_PEERCRED`, recorded with each command). One
request a line, one answer a line, in order: `{"command": NAME, "arguments": {...}}` -> `{"ok": true, "result": {...}}`
or `{"ok": false, "reasons": [...]}`. Anything else is answered with one reason and changes nothing. Never decides: a
command becomes an event, its answer comes from the machine.
"""

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from device.controller.commands import Arguments, CommandRefused, parse

log = logging.getLogger(__name__)

REQUEST_BYTES: Final = 8192
"""Bound of one request line."""

MOST_CONNECTIONS: Final = 16
IDLE_DEADLINE_S: Final = 30.0
"""A client that asks nothing for so long, or does not read its answer, is let go: it must not keep others out."""

ANSWER_DEADLINE_S: Final = 60.0
"""How long a command may take: a refill and a prime of the largest syringe take about half of it."""

SOCKET_MODE: Final = 0o660
"""The service's user and group; nobody else may give commands."""


class SocketInUse(Exception):
    """The control socket's path cannot be taken: one clear line why."""


Take = Callable[[str, Arguments, int, int], Awaitable[dict[str, Any]]]
"""Carries out (command, arguments, uid, pid) and returns the result, or raises CommandRefused."""


class ControlSocket:
    """Serves the control socket until closed."""

    def __init__(self, path: Path, take: Take) -> None:
        self._path = path
        self._take = take
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. A socket left by a dead process is replaced; raises SocketInUse for a live one or a bad path."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_socket():
                if await self._answers():
                    raise SocketInUse(f"control socket {self._path}: another controller listens there; stop it first")
                self._path.unlink()
            self._server = await asyncio.start_unix_server(self._connected, self._path, limit=REQUEST_BYTES)
            self._path.chmod(SOCKET_MODE)
        except OSError as error:
            raise SocketInUse(f"control socket {self._path}: {error.strerror or error}; choose --socket") from error

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MOST_CONNECTIONS:
            writer.write(json.dumps({"ok": False, "reasons": [f"{MOST_CONNECTIONS} clients already"]}).encode() + b"\n")
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except ConnectionError:
            # The client went away before its answer: the command was taken all the same and stands in the journal.
            log.info("a client of the control socket closed before its answer")
        except TimeoutError:
            log.info("a client of the control socket was idle for %g s: let go", IDLE_DEADLINE_S)
        finally:
            self._connections.discard(task)
            # Not close: that would wait for a client which does not read.
            if task.cancelling():
                writer.transport.abort()
            else:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid, pid = _peer(writer)
        while True:
            try:
                async with asyncio.timeout(IDLE_DEADLINE_S):
                    line = await reader.readline()
            except ValueError:
                await _answer(writer, {"ok": False, "reasons": [f"request longer than {REQUEST_BYTES} bytes"]})
                return
            if not line:
                return
            try:
                command, arguments = parse(line)
                async with asyncio.timeout(ANSWER_DEADLINE_S):
                    result = await self._take(command, arguments, uid, pid)
                answer: dict[str, Any] = {"ok": True, "result": result}
            except CommandRefused as refused:
                answer = {"ok": False, "reasons": list(refused.reasons)}
            except TimeoutError:
                answer = {"ok": False, "reasons": [f"no outcome within {ANSWER_DEADLINE_S:g} s: see `mesogun status`"]}
            await _answer(writer, answer)

    async def close(self) -> None:
        """Stop listening, drop the clients, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()
        self._server = None
        self._path.unlink(missing_ok=True)


async def _answer(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    async with asyncio.timeout(IDLE_DEADLINE_S):
        await writer.drain()


def _peer(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Return the peer's (uid, pid) as the kernel knows them."""
    connection = writer.get_extra_info("socket")
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid, pid
