"""The control socket: JSON lines on a Unix socket, for the command line on this machine.

Owns the listening socket, its permissions, the allow-list of commands and the peer's credentials (`SO_PEERCRED`,
recorded with each command). One request a line, one answer a line, in order: `{"command": NAME, "arguments": {...}}`
-> `{"ok": true, "result": {...}}` or `{"ok": false, "reasons": [...]}`. Anything else is answered with one reason and
changes nothing. Never decides: a command becomes an event, its answer comes from the machine.
"""

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from device.core.journal_chain import TS_MS_MAX
from device.core.region_plan import (
    AREA_MM2_MOST,
    POINTS_MOST,
    SPACING_UM,
    SPACING_UM_LEAST,
    SPACING_UM_MOST,
    Grid,
    points_in,
)
from device.core.session import Region
from device.core.units import Micrometres

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


LINE: Final = r"^[^\x00-\x1f\x7f]+$"
"""One line of text: no control character."""


class Arguments(BaseModel):
    """The arguments of a command without any; base of the others. Unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class HomeArguments(Arguments):
    """`home`."""

    plunger: bool = False
    patient_detached: bool = False


class PrimeArguments(Arguments):
    """`prime`: the volume in nanolitres."""

    volume_nl: int = Field(gt=0, le=10_000_000)


class CalibrateArguments(Arguments):
    """`calibrate`: what the pump's full stroke gave, in nanolitres, how it was measured, and for how long it holds."""

    syringe: str = Field(min_length=1, max_length=80)
    measured_nl: int = Field(gt=0, le=100_000_000)
    method: str = Field(min_length=1, max_length=120, pattern=LINE)
    valid_days: int = Field(default=180, ge=1, le=366)


class OverrideArguments(Arguments):
    """`override`: which soft limit gives way, why, and whose word that is."""

    limit: str = Field(min_length=1, max_length=40, pattern=LINE)
    reason: str = Field(min_length=1, max_length=200, pattern=LINE)
    by: str = Field(min_length=1, max_length=80, pattern=LINE)


class RollBackArguments(Arguments):
    """`formulary_roll_back`: why an older formulary is taken, and whose word that is."""

    reason: str = Field(min_length=1, max_length=200, pattern=LINE)
    by: str = Field(min_length=1, max_length=80, pattern=LINE)


class PointSkipArguments(Arguments):
    """`point_skip`: how many points."""

    count: int = Field(default=1, ge=1, le=POINTS_MOST)


class RegionArguments(Arguments):
    """One region of a session's plan: its points, or its area with the spacing and grid from which they follow."""

    name: str = Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    points: int | None = Field(default=None, ge=1, le=POINTS_MOST)
    area_mm2: int | None = Field(default=None, ge=1, le=AREA_MM2_MOST)
    spacing_um: int = Field(default=SPACING_UM, ge=SPACING_UM_LEAST, le=SPACING_UM_MOST)
    grid: Literal["square", "hexagonal"] = "square"

    @model_validator(mode="after")
    def _has_points(self) -> Self:
        if (self.points is None) == (self.area_mm2 is None):
            raise ValueError(f"region {self.name} needs either points or an area")
        points = self.to_region().points
        if not 1 <= points <= POINTS_MOST:
            raise ValueError(f"region {self.name} would have {points} points; allowed are 1 to {POINTS_MOST}")
        return self

    def to_region(self) -> Region:
        """Return the core's region."""
        if self.area_mm2 is None:
            return Region(self.name, self.points or 0)
        grid = Grid(self.grid)
        points = points_in(self.area_mm2, Micrometres(self.spacing_um), grid)
        return Region(self.name, points, self.area_mm2, self.spacing_um, grid)


class VialArguments(Arguments):
    """`change_vial`, and what a session's start tells of its vial: 0 for a moment that nobody told."""

    lot: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    lot_expires_ms: int = Field(default=0, ge=0, le=TS_MS_MAX)
    mixed_ms: int = Field(default=0, ge=0, le=TS_MS_MAX)


class SessionStartArguments(VialArguments):
    """`session_start`: names of configured files; the weight in grams; opaque patient id; a soft limit's override."""

    profile: str = Field(min_length=1, max_length=80)
    serum: str = Field(min_length=1, max_length=80)
    syringe: str = Field(min_length=1, max_length=80)
    patient: str = Field(default="", max_length=80)
    weight_g: int | None = Field(default=None, ge=1_000, le=400_000)
    regions: list[RegionArguments] = Field(default_factory=list, max_length=40)
    course: str = Field(default="", max_length=80)
    anew: bool = False
    override_reason: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    override_by: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    checklist: str = Field(default="", max_length=80)
    operator: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    needle: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        names = [region.name for region in self.regions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"region {twice[0]} is planned twice: give each a name of its own")
        return self


class ChangeNeedleArguments(Arguments):
    """`change_needle`: the new one's id, empty where it has none."""

    needle: str = Field(default="", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")


class ChangeSyringeArguments(Arguments):
    """`change_syringe`: its type, which must be the session's, and that no patient is attached."""

    syringe: str = Field(default="", max_length=80)
    patient_detached: bool = False


class CheckArguments(Arguments):
    """`session_check`: items of the session's check-list, by their keys, and who confirms them."""

    items: list[str] = Field(min_length=1, max_length=40)
    by: str = Field(min_length=1, max_length=80, pattern=LINE)


COMMANDS: Final[dict[str, type[Arguments]]] = {
    "status": Arguments,
    "home": HomeArguments,
    "calibrate": CalibrateArguments,
    "formulary_roll_back": RollBackArguments,
    "prime": PrimeArguments,
    "session_start": SessionStartArguments,
    "override": OverrideArguments,
    "session_check": CheckArguments,
    "change_vial": VialArguments,
    "change_needle": ChangeNeedleArguments,
    "change_syringe": ChangeSyringeArguments,
    "session_pause": Arguments,
    "session_resume": Arguments,
    "session_stop": Arguments,
    "arm": Arguments,
    "disarm": Arguments,
    "fault_clear": Arguments,
    "alarm_silence": Arguments,
    "point_skip": PointSkipArguments,
    "point_repeat": Arguments,
    "point_undo": Arguments,
}
"""The allow-list."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    command: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class CommandRefused(Exception):
    """A command cannot be taken; `reasons` are for the person who gave it."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class SocketInUse(Exception):
    """The control socket's path cannot be taken: one clear line why."""


Take = Callable[[str, Arguments, int, int], Awaitable[dict[str, Any]]]
"""Carries out (command, arguments, uid, pid) and returns the result, or raises CommandRefused."""


def parse(line: bytes) -> tuple[str, Arguments]:
    """Return the command and its checked arguments. Raises CommandRefused, saying what was found and allowed."""
    try:
        request = _Request.model_validate_json(line)
    except ValidationError as error:
        raise CommandRefused(f"not a request: {_first(error)}") from error
    model = COMMANDS.get(request.command)
    if model is None:
        raise CommandRefused(f"unknown command {request.command!r}; allowed: {', '.join(COMMANDS)}")
    try:
        return request.command, model.model_validate(request.arguments)
    except ValidationError as error:
        raise CommandRefused(f"{request.command}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


class ControlSocket:
    """Serves the control socket until closed."""

    def __init__(self, path: Path, take: Take) -> None:
        self._path = path
        self._take = take
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. A socket left by a dead process is replaced; raises SocketInUse for a live one or a bad path."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_socket():
            if await self._answers():
                raise SocketInUse(f"control socket {self._path}: another controller listens there; stop it first")
            self._path.unlink()
        try:
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
