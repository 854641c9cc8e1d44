"""The journal's thread: appends block on the card, the controller's event loop must not.

Owns the one thread that writes while the controller runs; the loop stays free for the permit meanwhile.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from device.controller.journal import Journal
from device.core.records import Record


class JournalWriter:
    """Appends to `journal` in a thread of its own, one append at a time."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    async def append(self, records: Sequence[Record]) -> None:
        """Make the records durable, all or none. Raises JournalWriteError when it cannot."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.append, records)

    def close(self) -> None:
        """Wait for a running append and end the thread."""
        self._thread.shutdown()
