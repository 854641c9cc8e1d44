"""The journal as the outbox: every record is published until it is acknowledged, in order, none skipped.

Owns the place reached and its cursor. Never writes the journal and never passes over a record it cannot publish: it
stops there, says so, and tries again. The cursor moves only over an unbroken run of acknowledged records.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from device.core.journal_chain import Entry, Head
from device.gateway.broker_link import IN_FLIGHT_MAX, BrokerLink
from device.gateway.messages import JournalState
from device.gateway.outbox_cursor import Cursor, resume_after
from device.gateway.publications import DeviceAddress, Publication, event_of, publication
from device.journal_file import JournalDamagedError, JournalUnavailableError
from device.journal_reader import JournalReader

POLL_S: Final = 0.05
"""How often the journal is looked at: a new record is under way within 50 ms. A look asks only for the file's version
where nothing has changed; see `LOOK_WHOLE_S`."""

LOOK_WHOLE_S: Final = 1.0
"""The journal is read all the same this often, so that no record ever hangs on the version alone."""

JOURNAL_RETRY_S: Final = 1.0
"""How long a journal that could not be read is left alone."""

CURSOR_STORE_S: Final = 1.0
"""The cursor is stored at most this often: two synchronisations of the card; a crash repeats a second's records."""

_NOWHERE: Final = Head(0, b"")

_log = logging.getLogger("mesogun.gateway")


class JournalReplacedError(Exception):
    """Another file has taken the journal's name; publishing begins anew from the cursor, if that still fits."""


@dataclass(slots=True)
class Outbox:
    """What is to be published, and how far the broker has acknowledged it. Outlives connections.

    `now_s` is a monotonic clock of the same pace as the event loop's.
    """

    journal: Path
    cursor: Cursor
    address: DeviceAddress
    now_s: Callable[[], float]
    acknowledged: Head = _NOWHERE
    journal_state: JournalState = "unavailable"
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: JournalReader | None = None
    _file: tuple[int, int] = (0, 0)
    _sent: int = 0
    _exhausted: int | None = None
    """The journal's version of which every record was made ready; None while that is not so or not known."""
    _look_at_s: float = 0.0
    _retry_at_s: float = 0.0
    _complaint: str = ""
    _stored: Head = _NOWHERE
    _stored_at_s: float = 0.0

    async def pump(self, link: BrokerLink) -> None:
        """Publish records for as long as `link` holds. Raises `BrokerLostError` or `JournalReplacedError`.

        The first record goes alone: a broker that refuses it must not be given the ones after it. Only where a
        broker refuses some records and takes others may a later one arrive before an earlier; all of them are then
        repeated in order.
        """
        unacknowledged: deque[tuple[Entry, asyncio.Task[None]]] = deque()
        self._sent = self.acknowledged.seq
        self._exhausted = None
        window = 1
        try:
            while True:
                room = window - len(unacknowledged)
                # At least half the window at once: one look at the journal for several records.
                ready = self._next(room) if room > window // 2 else []
                for entry, message in ready:
                    unacknowledged.append((entry, asyncio.create_task(link.publish(message))))
                if unacknowledged:
                    await asyncio.wait({unacknowledged[0][1]}, timeout=POLL_S)
                    if self._take_acknowledgements(unacknowledged):
                        window = IN_FLIGHT_MAX
                else:
                    if self.journal_state == "ok":
                        self._idle.set()
                    await asyncio.sleep(POLL_S)
                self._store_cursor_when_due()
        finally:
            publishes = [task for _, task in unacknowledged]
            for task in publishes:
                task.cancel()
            await asyncio.gather(*publishes, return_exceptions=True)
            self.store_cursor()

    async def drained(self) -> None:
        """Return once a look at the journal, made after this call, has found every record acknowledged."""
        self._idle.clear()
        await self._idle.wait()

    def store_cursor(self) -> None:
        """Store the cursor if it has moved; a failure is logged and costs only repeats."""
        if self.acknowledged == self._stored:
            return
        self._stored_at_s = self.now_s()
        try:
            self.cursor.store(self.acknowledged)
        except OSError as error:
            _log.warning("cursor %s: cannot be stored (%s)", self.cursor.path, error.strerror)
        else:
            self._stored = self.acknowledged

    def close(self) -> None:
        """Store the cursor and release the journal."""
        self.store_cursor()
        self._close_journal()

    def _take_acknowledgements(self, unacknowledged: deque[tuple[Entry, asyncio.Task[None]]]) -> bool:
        """Move over the acknowledged records at the front; return whether there were any."""
        before = self.acknowledged
        while unacknowledged and unacknowledged[0][1].done():
            entry, task = unacknowledged[0]
            task.result()
            unacknowledged.popleft()
            self.acknowledged = entry.head
        return self.acknowledged != before

    def _store_cursor_when_due(self) -> None:
        if self.now_s() >= self._stored_at_s + CURSOR_STORE_S:
            self.store_cursor()

    def _next(self, limit: int) -> list[tuple[Entry, Publication]]:
        """Return up to `limit` records to publish; none while the journal cannot be read or published."""
        now_s = self.now_s()
        if now_s < self._retry_at_s:
            return []
        ready: list[tuple[Entry, Publication]] = []
        try:
            journal = self._open_journal()
            version = journal.version()
            if version is not None and version == self._exhausted and now_s < self._look_at_s:
                return []
            for entry in journal.entries(self._sent, limit):
                # One by one: what was made ready before an error is published.
                ready.append((entry, publication(self.address, event_of(entry))))
                self._sent = entry.seq
        except JournalUnavailableError as error:
            self._leave_alone("unavailable", str(error))
        except JournalDamagedError as error:
            self._leave_alone("damaged", str(error))
        except ValueError as error:
            what = " ".join(str(error).split())
            self._leave_alone("damaged", f"journal {self.journal}, record {self._sent + 1}: no message for it ({what})")
        else:
            self.journal_state = "ok"
            self._complaint = ""
            self._exhausted = version if len(ready) < limit else None
            self._look_at_s = now_s + LOOK_WHOLE_S
        return ready

    def _leave_alone(self, state: JournalState, complaint: str) -> None:
        self.journal_state = state
        self._exhausted = None
        self._retry_at_s = self.now_s() + JOURNAL_RETRY_S
        if complaint != self._complaint:
            _log.error("%s", complaint)
        self._complaint = complaint

    def _open_journal(self) -> JournalReader:
        if self._reader is not None:
            if self._file == _identity(self.journal):
                return self._reader
            self._close_journal()
            raise JournalReplacedError(f"journal {self.journal}: the file was replaced")
        file = _identity(self.journal)
        reader = JournalReader.open(self.journal)
        try:
            self._sent = resume_after(self.cursor.load(), reader)
            reached = reader.hash_at(self._sent)
        except BaseException:
            reader.close()
            raise
        self.acknowledged = self._stored = Head(self._sent, reached or b"")
        self._reader, self._file = reader, file
        _log.info("journal %s: publishing from record %d", self.journal, self._sent + 1)
        return reader

    def _close_journal(self) -> None:
        self._exhausted = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _identity(path: Path) -> tuple[int, int]:
    """Return which file has the name now, zeros if none has."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
