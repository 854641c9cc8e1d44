"""One connection to the broker: the only module that knows aiomqtt.

Owns connecting (MQTT 5, last will, TCP_NODELAY), publishing and noticing the end; a new client for every connection.
Never subscribes: the console takes no command from the network. Never retries: `process` does, from its cursor.
Acknowledged means that the broker answered with success; a refusal ends the connection, so it cannot pass for one.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from device.gateway.broker_link import ANSWER_S, IN_FLIGHT_MAX, QUEUED_MAX, Broker, BrokerLostError
from device.gateway.publications import Publication

CLOSE_S: Final = 0.5
"""How long a farewell may take: less than a stopped service is given."""

_log = logging.getLogger("mesogun.gateway")


class _Client(aiomqtt.Client):
    """aiomqtt's client, told apart where it treats a refused message as a published one."""

    def __init__(self, broker: Broker, will: Publication) -> None:
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username or None,
            password=broker.password or None,
            identifier=broker.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(will.topic, will.payload, qos=will.qos, retain=will.retain),
            timeout=ANSWER_S,
            keepalive=broker.keepalive_s,
            max_queued_incoming_messages=1,
            max_queued_outgoing_messages=QUEUED_MAX,
            max_inflight_messages=IN_FLIGHT_MAX,
            # Nagle's algorithm and the peer's delayed acknowledgement together cost 40 ms a batch.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self.pending_calls_threshold = QUEUED_MAX
        self.refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if not reason_code.is_failure:
            super()._on_publish(client, userdata, mid, reason_code, properties)
        elif not self.refused.done():
            self.refused.set_result(str(reason_code))

    def drop(self) -> None:
        """Leave so that the broker publishes the will; also closes the socket of a connect that was not answered."""
        reason = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
        self._client.disconnect(reason)


class _Link:
    """A live connection: the `BrokerLink` of one client."""

    def __init__(self, client: _Client, name: str) -> None:
        self._client = client
        self._name = name

    async def publish(self, publication: Publication) -> None:
        """Send, and for QoS 1 wait for the acknowledgement."""
        try:
            await self._client.publish(
                publication.topic, publication.payload, qos=publication.qos, retain=publication.retain
            )
        except aiomqtt.MqttError as error:
            raise BrokerLostError(f"{self._name}: {publication.topic} not acknowledged ({_one_line(error)})") from error

    async def lost(self) -> str:
        """Wait until the connection has ended or a message was refused, and say why."""
        disconnected = asyncio.create_task(self._until_disconnected())
        try:
            await asyncio.wait({disconnected, self._client.refused}, return_when=asyncio.FIRST_COMPLETED)
            if disconnected.done():
                return f"{self._name}: connection lost ({disconnected.result()})"
            return f"{self._name}: refused a message ({self._client.refused.result()}); check this user's rights there"
        finally:
            disconnected.cancel()

    async def _until_disconnected(self) -> str:
        try:
            # No subscription, so no message: the iterator's end is the connection's.
            async for _ in self._client.messages:
                pass
        except aiomqtt.MqttError as error:
            return _one_line(error.__cause__ or error)
        return "closed"


@asynccontextmanager
async def connect(broker: Broker, will: Publication) -> AsyncIterator[_Link]:
    """Connect, and disconnect at the end; a `broker_link.Connect`."""
    client = _Client(broker, will)
    with _dead_socket_errors_counted():
        try:
            await client.__aenter__()
        except aiomqtt.MqttError as error:
            client.drop()
            raise BrokerLostError(f"{broker}: {_one_line(error)}") from error
        try:
            yield _Link(client, str(broker))
        except BaseException:
            client.drop()
            raise
        finally:
            with suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await client.__aexit__(None, None, None)


@contextmanager
def _dead_socket_errors_counted() -> Iterator[None]:
    """Count, instead of printing, what the event loop reports when paho registers a socket that has just closed.

    The connection's end is noticed by other means; the loop's own handler keeps every other report.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    dead_sockets = 0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal dead_sockets
        error = context.get("exception")
        if _is_dead_socket(error):
            dead_sockets += 1
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        if dead_sockets:
            _log.debug("%d late uses of a closed socket ignored", dead_sockets)


def _is_dead_socket(error: object) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.EBADF
    return isinstance(error, ValueError) and "Invalid file descriptor" in str(error)


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
