"""The load under which the timing is measured again: processors burnt, a gateway catching up, status asked in a loop.

Owns the load's processes and what tells that they did work meanwhile. All of them run at nice 0 under the ordinary
scheduler, but for the console that is asked for its status: its controller and its real-time process, at rest, have
SCHED_FIFO as on any gun. Every process ends with the block; each loop also ends by itself once this process is gone,
whatever became of it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.controller.app import wall_clock_ms
from device.controller.journal import APPEND_RECORDS_MAX, Journal
from device.gateway.outbox_cursor import CURSOR_NAME, CursorFile
from device.journal_file import JOURNAL_NAME
from device.service.broker import BrokerUnavailableError, start_broker
from device.settings import Configuration
from tests.bench.gun import running_gun
from tests.bench.processes import CLI, MeasurementBroken, child, python, until
from tests.bench.treatment import full_turn

BURNERS: Final = 2
BURN: Final = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"

RECORDS: Final = 30_000
"""More than a gateway publishes in one turn: 2000 to 2500 a second were seen on an idle machine."""

CATCH_UP_S: Final = 10
"""One turn of the gateway; then it begins again at the journal's first record."""

CONFIGURING_S: Final = 30.0

# `$PPID` stays that of the shell's first parent: the loop ends with the benchmark whatever became of it.
_REPEAT: Final = """\
trap 'kill "$!"; wait "$!"; exit 0' TERM
while kill -0 "$PPID" 2>/dev/null; do {turn} & wait "$!" && echo done; done
"""


@dataclass(frozen=True, slots=True)
class Burden:
    """A running load."""

    directory: Path
    broker: str

    def notes(self) -> tuple[str, ...]:
        """Return what the load has done so far, one line each. Raises MeasurementBroken where a part did nothing."""
        asked = (self.directory / "status.log").read_text().count("done")
        turns = (self.directory / "gateway.log").read_text().count(": connected")
        published = CursorFile(self.directory / CURSOR_NAME).load()
        if not asked or not turns:
            raise MeasurementBroken(f"no load: {asked} answers to status, {turns} connections of the gateway")
        if published is not None and published.seq >= RECORDS:
            raise MeasurementBroken(f"the gateway has caught up with all {RECORDS} records: the load was not the whole")
        return (
            f"load: {BURNERS} burners at nice 0; {asked} runs of mesogun status; a gateway catching up with"
            f" {RECORDS} records at {self.broker}, from the first again every {CATCH_UP_S} s ({turns} times);"
            " the controller and real-time process that status asks, at rest",
        )


@contextmanager
def burden(directory: Path, configuration: Configuration) -> Iterator[Burden]:
    """Load the machine for the block; `directory` is the load's own. Raises MeasurementBroken, SimConsoleError."""
    long_journal(directory / JOURNAL_NAME, configuration)
    gun_directory, broker_directory = directory / "gun", directory / "broker"
    gun_directory.mkdir()
    broker_directory.mkdir()
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(start_broker(broker_directory))
        except BrokerUnavailableError as error:
            raise MeasurementBroken(f"no load: {error}") from error
        gun = stack.enter_context(running_gun(gun_directory, configuration))
        gateway = [*python(*CLI), "gateway", f"--config={configuration.directory}", f"--state={directory}"]
        gateway += [f"--broker={broker.host}:{broker.port}"]
        catch_up = f'rm -f "{directory / CURSOR_NAME}"; timeout {CATCH_UP_S} "$@"'
        stack.enter_context(child(_repeated(catch_up, gateway), log=directory / "gateway.log"))
        status = [*python(*CLI), "status", f"--socket={gun.socket}"]
        stack.enter_context(child(_repeated('"$@" >/dev/null', status), log=directory / "status.log"))
        for _ in range(BURNERS):
            stack.enter_context(child(python("-c", BURN), log=directory / "burner.log"))
        cursor = directory / CURSOR_NAME
        until(cursor.exists, "the gateway's first acknowledged record", within_s=CONFIGURING_S)
        yield Burden(directory, broker.kind)


def long_journal(path: Path, configuration: Configuration) -> None:
    """Write a journal of `RECORDS` records or a few more, each like a treatment's. Raises JournalWriteError."""
    records = full_turn(configuration).records
    many = records * (APPEND_RECORDS_MAX // len(records))
    with Journal.open(path, boot_id=f"bench-{os.getpid()}", wall_clock_ms=wall_clock_ms) as journal:
        while journal.head.seq < RECORDS:
            journal.append(many)


def _repeated(turn: str, command: list[str]) -> list[str]:
    """Return a shell that repeats `turn`, which runs its arguments `command`, and ends the running one with itself."""
    return ["sh", "-c", _REPEAT.format(turn=turn), "repeat", *command]
