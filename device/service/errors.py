"""The errors a person is expected to meet: each is one line on stderr and exit code 1, never a traceback.

Kept apart and light: modules that are not loaded cannot have raised, so their errors are found by name only when the
module is there.
"""


class ServiceError(Exception):
    """Base of what commands refuse: its text is the one line (or the lines) that the person reads."""


EXPECTED: tuple[type[Exception], ...] = (ServiceError,)
