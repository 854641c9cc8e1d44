"""A broker and the network to it, in virtual time, with the troubles that brokers and networks have.

Owns both ends of every connection: what is under way arrives in order after a delay, or never; a session ends by a
farewell, by silence (keep-alive) or by a successor of the same name, and then its will is published or not, as MQTT 5
says. Keeps all that it took, in order, for who judges the delivery. Never alters or reorders a message, and never
acknowledges one that it did not keep: at-least-once delivery is then the gateway's alone to lose.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Final, TypeVar

from device.gateway.broker_link import ANSWER_S, QUEUED_MAX, Broker, BrokerLink, BrokerLostError
from device.gateway.publications import Publication
from device.simulation.virtual_time import ProcessLoop, Timer, VirtualTime

T = TypeVar("T")

DELAY_NS: Final = 20_000_000
"""One way of a good mobile link; each message takes half of it to one and a half."""

SESSION_KEEPALIVES: Final = 1.5
"""A broker gives up a client that was silent for so many keep-alives (MQTT 5, 3.1.2.10)."""

CLIENT_KEEPALIVES: Final = 2
"""A client asks after one keep-alive of silence, and gives up after another."""


class Trouble(Enum):
    """What is wrong with the broker, or with the way to it."""

    NONE = auto()
    DOWN = auto()
    """Not there: connections are refused."""
    HALF_OPEN = auto()
    """The way is cut, and nobody is told: what is sent vanishes, both ways."""
    MUTE = auto()
    """Messages arrive and are kept; no answer comes back."""
    REFUSING = auto()
    """Connections are accepted, messages are not."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message as the broker kept it. `duplicate`: the same message, to the byte, had come before."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    duplicate: bool
    now_ns: int


class SimulatedBroker:
    """The broker. Troubles are switched at will and last until `recover`; `random` spreads the delays."""

    def __init__(self, time: VirtualTime, random: Random, *, delay_ns: int = DELAY_NS) -> None:
        self.time = time
        self.received: list[Received] = []
        """Everything that was taken, wills among it."""
        self.retained: dict[str, Received] = {}
        """What a client that subscribes now is given at once."""
        self.trouble = Trouble.NONE
        self.delay_ns = delay_ns
        self._random = random
        self._usual_delay_ns = delay_ns
        self._refused_topics = ""
        self._sessions: dict[str, _Connection] = {}
        self._connections: set[_Connection] = set()
        self._known: set[tuple[str, bytes]] = set()
        self._planned: Timer | None = None

    # Troubles

    def recover(self) -> None:
        """Be well again for whoever connects; a connection that was cut or left unanswered stays so to its end."""
        self._turn(Trouble.NONE)
        self.delay_ns = self._usual_delay_ns

    def go_down(self) -> None:
        """End, as by a crash: no farewell, no will, no retained message survives."""
        self._turn(Trouble.DOWN)
        self.retained.clear()
        for connection in tuple(self._connections):
            connection.end_session(will=False, why="connection reset")

    def cut(self) -> None:
        """Lose the way to all clients: half-open connections."""
        self._turn(Trouble.HALF_OPEN)
        for connection in tuple(self._connections):
            connection.lose_way()

    def fall_mute(self) -> None:
        """Go on taking messages, and answer nothing."""
        self._turn(Trouble.MUTE)
        for connection in tuple(self._connections):
            connection.fall_mute()

    def refuse(self, topics: str = "") -> None:
        """Refuse messages whose topic contains `topics`. Without it all of them, and on a connection where one was
        refused whatever follows, so that a later message is never taken before an earlier one.
        """
        self._turn(Trouble.REFUSING)
        self._refused_topics = topics

    def slow_down(self, delay_ns: int) -> None:
        """Take so long, each way, until `recover`."""
        self.delay_ns = delay_ns

    def restart(self, *, away_ns: int, unanswered_ns: int = 0) -> None:
        """End and come back `away_ns` later. What came in the last `unanswered_ns` is kept, its answers are lost."""
        self.fall_mute()

        def end() -> None:
            self.go_down()
            self._planned = self.time.after(away_ns, self.recover)

        self._planned = self.time.after(unanswered_ns, end)

    def _turn(self, trouble: Trouble) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        self.trouble = trouble
        self._refused_topics = ""

    # What connections ask

    def spread_delay_ns(self) -> int:
        """Return how long the next message takes, one way."""
        return self._random.randrange(self.delay_ns // 2, self.delay_ns * 3 // 2 + 1)

    def began(self, connection: "_Connection") -> None:
        """Note a connection that is being made: troubles from now on befall it."""
        self._connections.add(connection)

    def ended(self, connection: "_Connection") -> None:
        """Forget a connection whose both ends are closed."""
        self._connections.discard(connection)

    def enter(self, connection: "_Connection", client_id: str) -> None:
        """Begin a session; one of the same name gives way, with its will."""
        before = self._sessions.get(client_id)
        if before is not None:
            before.end_session(will=True, why="session taken over")
        self._sessions[client_id] = connection

    def leave(self, connection: "_Connection", client_id: str) -> None:
        """End the session, if it is still this connection's."""
        if self._sessions.get(client_id) is connection:
            del self._sessions[client_id]

    def refuses(self, topic: str) -> bool:
        """Return whether a message to `topic` is refused now."""
        return self.trouble is Trouble.REFUSING and self._refused_topics in topic

    @property
    def refuses_all(self) -> bool:
        """Whether every message is refused."""
        return self.trouble is Trouble.REFUSING and not self._refused_topics

    def take(self, publication: Publication) -> None:
        """Keep a message."""
        known = (publication.topic, publication.payload)
        message = Received(*known, publication.qos, publication.retain, known in self._known, self.time.now_ns)
        self._known.add(known)
        self.received.append(message)
        if publication.retain:
            self.retained[publication.topic] = message


class BrokerClient:
    """One process's way to the broker: `connect` is what the gateway is given."""

    def __init__(self, broker: SimulatedBroker, process: ProcessLoop) -> None:
        self._broker = broker
        self._process = process
        self._connections: set[_Connection] = set()

    @asynccontextmanager
    async def connect(self, broker: Broker, will: Publication) -> AsyncIterator[BrokerLink]:
        """Connect, and disconnect at the end; a `broker_link.Connect`."""
        connection = _Connection(self._broker, self._process, broker, will)
        self._connections.add(connection)
        gracefully = False
        try:
            try:
                async with asyncio.timeout(ANSWER_S):
                    refusal = await connection.open()
            except TimeoutError as error:
                raise BrokerLostError(f"{broker}: Operation timed out") from error
            if refusal:
                raise BrokerLostError(f"{broker}: {refusal}")
            yield connection
            gracefully = True
        finally:
            connection.close(will=not gracefully)
            self._connections.discard(connection)

    def froze(self) -> None:
        """The process stands still: its connections live on and say nothing."""
        for connection in self._connections:
            connection.await_silence()

    def resumed(self) -> None:
        """The process goes on."""
        for connection in self._connections:
            connection.end_silence()

    def died(self) -> None:
        """The process was killed: what it had sent arrives, then the system closes its connections."""
        for connection in tuple(self._connections):
            connection.close(will=True)
        self._connections.clear()


class _Connection:
    """One connection with both its ends. A `BrokerLink` at the client's."""

    def __init__(self, broker: SimulatedBroker, process: ProcessLoop, address: Broker, will: Publication) -> None:
        self._broker = broker
        self._time = broker.time
        self._address = address
        self._will = will
        self._accepted: asyncio.Future[str] = process.create_future()
        self._lost: asyncio.Future[str] = process.create_future()
        self._waiting = 0
        # A process that was just killed may still be on its way to its last wait.
        self._client_open = process.alive
        self._session_open = False
        self._outward = True
        self._back = True
        self._mute = False
        self._refused = False
        self._sent_until_ns = 0
        self._answered_until_ns = 0
        self._heard_ns = broker.time.now_ns
        self._silence: Timer | None = None
        self._given_up: Timer | None = None

    # The client's end

    async def open(self) -> str:
        """Ask for the connection; return why it was refused, empty if it was not. Waits for ever without an answer."""
        self._broker.began(self)
        self._send(self._connect_arrived)
        return await self._accepted

    async def publish(self, publication: Publication) -> None:
        """Send, and for QoS 1 wait for the acknowledgement."""
        if publication.qos == 0:
            self._send(lambda: self._arrived(publication, None))
            return
        if self._waiting >= QUEUED_MAX:
            raise RuntimeError(f"{self._waiting} messages under way; a client's queue takes {QUEUED_MAX}")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        self._send(lambda: self._arrived(publication, answer))
        try:
            async with asyncio.timeout(ANSWER_S):
                await answer
        except TimeoutError as error:
            what = f"{self._address}: {publication.topic} not acknowledged (Operation timed out)"
            raise BrokerLostError(what) from error
        finally:
            self._waiting -= 1

    async def lost(self) -> str:
        """Wait until the connection has ended or a message was refused, and say why."""
        return await asyncio.shield(self._lost)

    def close(self, *, will: bool) -> None:
        """Say farewell, with or without asking for the will, and close. Once only: a dead process says nothing."""
        if not self._client_open:
            return
        self._send(lambda: self.end_session(will=will, why="closed"))
        self._client_open = False
        if self._given_up is not None:
            self._given_up.cancel()
        self._forget_if_over()

    def _tell(self, why: str) -> None:
        """Let the client know that the connection is of no more use."""
        if self._client_open:
            _settle(self._lost, f"{self._address}: {why}")
            _settle(self._accepted, why)

    # The way between

    def lose_way(self) -> None:
        """Let everything vanish from now on, both ways; neither end is told."""
        self._back = False
        if self._outward:
            self._outward = False
            self.await_silence()
        self.fall_mute()

    def fall_mute(self) -> None:
        """Let the answers vanish from now on."""
        self._mute = True
        if self._given_up is None and self._client_open:
            wait_ns = CLIENT_KEEPALIVES * self._keepalive_ns
            self._given_up = self._time.after(wait_ns, lambda: self._tell("connection lost (Keep alive timeout)"))

    def _send(self, arrived: Callable[[], None]) -> None:
        if self._client_open:
            self._sent_until_ns = max(self._sent_until_ns, self._time.now_ns + self._broker.spread_delay_ns())
            self._time.at(self._sent_until_ns, lambda: arrived() if self._outward else None)

    def _answer(self, arrived: Callable[[], object]) -> None:
        if not self._mute:
            self._come_back(arrived)

    def _come_back(self, arrived: Callable[[], object]) -> None:
        self._answered_until_ns = max(self._answered_until_ns, self._time.now_ns + self._broker.spread_delay_ns())
        self._time.at(self._answered_until_ns, lambda: arrived() if self._back and self._client_open else None)

    # The broker's end

    def await_silence(self) -> None:
        """End the session with its will when nothing will have come for long enough; up to now, pings have come."""
        keepalive_ns = self._keepalive_ns
        pinged_ns = self._heard_ns + (self._time.now_ns - self._heard_ns) // keepalive_ns * keepalive_ns
        due_ns = pinged_ns + round(SESSION_KEEPALIVES * keepalive_ns)
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._time.at(due_ns, lambda: self.end_session(will=True, why="connection lost (keep alive)"))

    def end_silence(self) -> None:
        """The client speaks again, if the way to here is open."""
        if self._silence is not None and self._outward:
            self._silence.cancel()
            self._silence = None
            self._heard_ns = self._time.now_ns

    def end_session(self, *, will: bool, why: str) -> None:
        """End the session here, publish the will if asked to, and close the connection."""
        if self._silence is not None:
            self._silence.cancel()
        if self._session_open:
            self._session_open = False
            self._broker.leave(self, self._address.client_id)
            if will:
                self._broker.take(self._will)
        self._come_back(lambda: self._tell(why))
        self._outward = False
        self._forget_if_over()

    def _connect_arrived(self) -> None:
        trouble = self._broker.trouble
        if trouble is Trouble.DOWN:
            self._come_back(lambda: self._tell("[Errno 111] Connection refused"))
            return
        if trouble is Trouble.HALF_OPEN:
            self.lose_way()
            return
        if trouble is Trouble.MUTE:
            self.fall_mute()
        self._broker.began(self)
        self._heard_ns = self._time.now_ns
        self._session_open = True
        self._broker.enter(self, self._address.client_id)
        self._answer(lambda: _settle(self._accepted, ""))

    def _arrived(self, publication: Publication, answer: "asyncio.Future[None] | None") -> None:
        if not self._session_open:
            return
        self._heard_ns = self._time.now_ns
        if self._refused or self._broker.refuses(publication.topic):
            self._refused = self._refused or self._broker.refuses_all
            if answer is not None:
                self._answer(lambda: self._tell("refused a message (Not authorized)"))
            return
        self._broker.take(publication)
        if answer is not None:
            self._answer(lambda: _settle(answer, None))

    def _forget_if_over(self) -> None:
        if not self._client_open and not self._session_open:
            self._broker.ended(self)

    @property
    def _keepalive_ns(self) -> int:
        return self._address.keepalive_s * 1_000_000_000


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    """Give `future` its result, unless it has one or is waited for no more."""
    if not future.done():
        future.set_result(result)
