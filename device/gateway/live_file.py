"""The controller's live values, as the gateway sees them: the newest, or none.

Owns the look at `live.json`, which the controller replaces as a whole. Never waits and never queues: only the newest
value matters. Damaged content is skipped and said once; values that stop changing become none, so that a dead
controller is not shown as a working one.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from device.gateway.messages import LiveValues

LIVE_NAME: Final = "live.json"
"""The file's name in the runtime directory."""

LIVE_BYTES_MAX: Final = 16_384
"""Some 500 bytes are written; a larger file is not the controller's."""

STALE_S: Final = 15.0
"""The controller writes at least every 10 s; after this without a change it is not heard."""

_log = logging.getLogger("mesogun.gateway")


@dataclass(slots=True)
class LiveFile:
    """The file at `path`, looked at as often as `look` is called. Blocking for as long as a small file takes."""

    path: Path
    values: LiveValues | None = None
    changes: int = 0
    """How often new values were found."""
    _mark: tuple[int, int, int] = (0, 0, 0)
    _changed_s: float = 0.0
    _complained: bool = False

    def look(self, *, now_s: float, wall_s: float) -> None:
        """Take what is new; `now_s` is monotonic, `wall_s` the wall clock (only for a file found at first sight)."""
        try:
            found = self.path.stat()
        except OSError:
            self.values = None
            self._mark = (0, 0, 0)
            return
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if mark != self._mark:
            # A file left by an earlier boot must not look fresh because it is new to us.
            age_s = max(0.0, wall_s - found.st_mtime) if self._mark == (0, 0, 0) else 0.0
            self._mark = mark
            self._changed_s = now_s - age_s
            self._read()
        if now_s - self._changed_s > STALE_S:
            self.values = None

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                values = LiveValues.from_json(file.read(LIVE_BYTES_MAX))
        except (OSError, ValidationError) as error:
            if not self._complained:
                _log.warning("live values %s: skipped (%s)", self.path, _first_line(error))
            self._complained = True
            return
        self._complained = False
        self.values = values
        self.changes += 1


def _first_line(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")
