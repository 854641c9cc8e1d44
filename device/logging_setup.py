"""Logs of every mesogun process: one line each on stderr, with journald's priority in front, or as JSON.

Owns the format only. Libraries below warning stay silent; a traceback is shown for what nobody foresaw.
"""

import json
import logging
import sys
from typing import Final

_PRIORITIES: Final = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
"""sd-daemon(3): what journald understands in front of a line."""


def _priority(level: int) -> int:
    return next((number for floor, number in _PRIORITIES.items() if level >= floor), 7)


class PriorityFormatter(logging.Formatter):
    """`<6>device.controller.app: text`; without the priority on a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__("%(name)s: %(message)s")
        self._terminal = terminal

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a multi-line text gets its priority on every line, as journald reads lines."""
        text = super().format(record)
        if self._terminal:
            return text
        prefix = f"<{_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in text.splitlines())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `priority`, `logger`, `message`, `ts_ms` and, where there is one, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "ts_ms": int(record.created * 1000),
            "priority": _priority(record.levelno),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up_logging(*, as_json: bool, verbose: bool) -> None:
    """Log to stderr. Call once, at the start of a process."""
    handler = logging.StreamHandler(sys.stderr)
    terminal = sys.stderr.isatty()
    handler.setFormatter(JsonFormatter() if as_json else PriorityFormatter(terminal=terminal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("device", "drivers", "mesogun"):
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
