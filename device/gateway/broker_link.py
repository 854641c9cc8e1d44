"""What the gateway asks of a way to a broker, whoever provides it (`mqtt`, in service).

Owns the contract: where the broker is, what a connection does, how its end is told, and the bounds that both sides
count on. Does no I/O and knows no library. Never says that a message arrived: only that it was acknowledged.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from device.gateway.publications import Publication

ANSWER_S: Final = 10.0
"""How long the broker may take to answer a connect or an acknowledged publish; a mobile link's worst, doubled."""

IN_FLIGHT_MAX: Final = 20
"""QoS 1 messages under way at once: Mosquitto's own default, and 16 times the throughput of one by one."""

QUEUED_MAX: Final = 64
"""In flight and waiting together: the outbox's window and the few retained states beside it."""


class BrokerLostError(Exception):
    """The connection ended, could not be made, or the broker refused a message; the text says which, in one line."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and who we are there. An empty `username` is none."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    client_id: str
    keepalive_s: int

    def __str__(self) -> str:
        """Return host and port."""
        return f"broker {self.host}:{self.port}"


class BrokerLink(Protocol):
    """A live connection."""

    async def publish(self, publication: Publication) -> None:
        """Send, and for QoS 1 wait until the broker has acknowledged. Raises `BrokerLostError` after `ANSWER_S`.

        A drop of the connection is not noticed here but by `lost`: race the two. A refused message is not noticed
        here either, and never counts as acknowledged. An error does not mean that the message did not arrive.
        """

    async def lost(self) -> str:
        """Return, in one line, why the connection ended or which message was refused; waits until then."""


class Connect(Protocol):
    """The way to a broker."""

    def __call__(self, broker: Broker, will: Publication, /) -> AbstractAsyncContextManager[BrokerLink]:
        """Connect, and disconnect at the end. `will` is what the broker publishes if we end without saying so.

        Raises `BrokerLostError` when the broker is absent, refuses, or does not answer within `ANSWER_S`.
        """
