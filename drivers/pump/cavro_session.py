"""One host's side of the Cavro OEM conversation, without I/O: what to send, until when to wait, what was answered.

Owns the sequence number, the repeat rule, every deadline and the rule that a late answer is never taken for the
answer to something newer. Never reads a clock or a port: time and bytes come in, a `Step` goes out.

Answers carry no number, so the session works from two facts: a pump answers in order, and an answer's shape (no data,
a number, a text) tells what was asked. After any silence the session is *in doubt*: before the next request it waits
until the line is quiet and asks `&`; only the pump's identity, which nothing else brings, ends the doubt, and by then
every older answer has passed. A command is repeated with its own number, so that the pump runs it once; a query and
`T`, which may run twice, are sent again as new.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from drivers.pump.cavro_codec import SEQUENCE_MOST, Answer, Command, answer_reader

ANSWER_NS: Final = 100_000_000
"""Silence after the last byte sent that counts as no answer (manual 733085-B, repeat rule)."""
QUIET_NS: Final = 10_000_000
"""Silence that ends draining: twice the pump's turn-round of at most 5 ms."""
DRAIN_NS_MOST: Final = 100_000_000
"""Longest draining: a line that is never quiet is noise, not an answer."""
TRIES_MOST: Final = 4
"""Frames sent for one request, and frames sent to end a doubt. Below 7, so that no number comes round in between."""
_BITS_PER_BYTE: Final = 10


class Kind(Enum):
    """What a request is; decides the answer's shape and how it is sent again."""

    COMMAND = "command"  # runs once; answered without data; repeated with its own number
    STATUS = "status"  # `Q`: answered without data
    NUMBER = "number"  # a report answered with digits
    IDENTITY = "identity"  # `&`: answered with text
    STOP = "stop"  # `T`: goes out without ending a doubt first; leaves the doubt


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask of the pump."""

    text: str
    kind: Kind


STATUS: Final = Request("Q", Kind.STATUS)
IDENTITY: Final = Request("&", Kind.IDENTITY)
STOP: Final = Request("T", Kind.STOP)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: `send` bytes, call `time_passed` at `deadline_ns`; or the exchange ended, with `answer` or
    `failure` (a sentence).
    """

    send: bytes = b""
    deadline_ns: int | None = None
    answer: Answer | None = None
    failure: str | None = None


class SessionMisuse(Exception):
    """The session was asked for what its rules forbid: two exchanges at once, or a command before the first `Q`."""


class _State(Enum):
    IDLE = "idle"
    DRAINING = "draining"
    ASKING = "asking"
    WAITING = "waiting"


def fits(kind: Kind, answer: Answer) -> bool:
    """Return whether `answer` has the shape of an answer to `kind`.

    A report that the pump refuses (errors 2 and 3) comes without data.
    """
    if kind is Kind.NUMBER:
        return answer.data.removeprefix("-").isdigit() or (not answer.data and answer.error in (2, 3))
    if kind is Kind.IDENTITY:
        return bool(answer.data) and not answer.data.removeprefix("-").isdigit()
    return not answer.data


class CavroSession:
    """The conversation with the pump at `address` (1..15) over a line of `baud`."""

    def __init__(self, *, address: int, baud: int) -> None:
        self._address = address
        self._byte_ns = -(-_BITS_PER_BYTE * 1_000_000_000 // baud)
        self._reader = answer_reader()
        self._state = _State.IDLE
        self._request = STATUS  # the running exchange's, or the last one's
        self._sequence = 0
        self._tries = 0
        self._asked = 0
        self._deadline_ns = 0
        self._drain_until_ns = 0
        self._sent_until_ns = 0
        self._heard_ns = 0
        self._abandoned = False
        self._in_doubt = True  # whoever spoke before may still be answered
        self._status_seen = False

    @property
    def in_doubt(self) -> bool:
        """Whether an answer to something older may still come."""
        return self._in_doubt

    def begin(self, request: Request, now_ns: int) -> Step:
        """Start an exchange. Raises SessionMisuse while one runs, or for a command before the first answered `Q`."""
        if self._state is not _State.IDLE:
            raise SessionMisuse(f"{request.text!r} was asked for while an exchange runs")
        if request.kind is Kind.COMMAND and not self._status_seen:
            raise SessionMisuse(f"{request.text!r} was asked for before the first Q was answered")
        self._request = request
        self._tries = self._asked = 0
        if request.kind is Kind.STOP:
            # T waits for no proof, only for the frame on the wire and its answer to be out of the way.
            busy_ns = max(self._sent_until_ns, self._heard_ns)
            if self._abandoned and now_ns < busy_ns + QUIET_NS:
                return self._drain(busy_ns, now_ns)
            return self._send_request(request, now_ns)
        return self._drain(now_ns, now_ns) if self._in_doubt else self._send_request(request, now_ns)

    def abandon(self) -> None:
        """Give up the running exchange, if there is one: its answer may still come."""
        if self._state is not _State.IDLE:
            self._in_doubt = self._abandoned = True
            self._state = _State.IDLE

    def bytes_received(self, data: bytes, now_ns: int) -> Step:
        """Take bytes from the line."""
        self._heard_ns = now_ns
        if self._state is _State.DRAINING:
            return self._drain_on(now_ns)
        for answer in self._reader.feed(data):
            if self._state is _State.ASKING and fits(Kind.IDENTITY, answer):
                self._in_doubt = self._abandoned = False
                return self._send_request(self._request, now_ns)
            if self._state is _State.WAITING and fits(self._request.kind, answer):
                return self._completed(answer)
        return self._waiting()

    def time_passed(self, now_ns: int) -> Step:
        """Take the time. Before the deadline this only repeats the deadline."""
        if self._state is _State.IDLE or now_ns < self._deadline_ns:
            return self._waiting()
        if self._state is _State.DRAINING:
            return self._drained(now_ns)
        self._in_doubt = True
        request = self._request
        if self._state is _State.ASKING:
            return self._drain(now_ns, now_ns) if self._asked < TRIES_MOST else self._failed("&")
        if self._tries >= TRIES_MOST:
            return self._failed(request.text)
        if request.kind is Kind.COMMAND:
            # Asking anything in between would change the pump's last number, and the repeat would run a second time.
            return self._send(request.text, now_ns, repeat=True)
        if request.kind is Kind.STOP:
            return self._send_request(request, now_ns)
        return self._drain(now_ns, now_ns)

    def _waiting(self) -> Step:
        return Step() if self._state is _State.IDLE else Step(deadline_ns=self._deadline_ns)

    def _completed(self, answer: Answer) -> Step:
        if self._request.kind is Kind.STATUS:
            self._status_seen = True
        self._state = _State.IDLE
        return Step(answer=answer)

    def _failed(self, text: str) -> Step:
        shown = text if len(text) <= 16 else f"{text[:16]}..."
        self._state = _State.IDLE
        return Step(failure=f"no answer to {shown} after {TRIES_MOST} tries")

    def _drain(self, quiet_from_ns: int, now_ns: int) -> Step:
        self._state = _State.DRAINING
        self._drain_until_ns = max(now_ns, self._sent_until_ns) + DRAIN_NS_MOST
        self._deadline_ns = max(quiet_from_ns, self._sent_until_ns) + QUIET_NS
        return Step(deadline_ns=self._deadline_ns)

    def _drain_on(self, now_ns: int) -> Step:
        self._deadline_ns = min(max(now_ns, self._sent_until_ns) + QUIET_NS, self._drain_until_ns)
        return self.time_passed(now_ns)

    def _drained(self, now_ns: int) -> Step:
        self._reader.clear()
        request = self._request
        if request.kind is Kind.STOP:
            return self._send_request(request, now_ns)
        self._asked += 1
        self._next_sequence()
        self._state = _State.ASKING
        return self._send(IDENTITY.text, now_ns, repeat=False)

    def _send_request(self, request: Request, now_ns: int) -> Step:
        self._state = _State.WAITING
        self._next_sequence()
        return self._send(request.text, now_ns, repeat=False)

    def _next_sequence(self) -> None:
        self._sequence = self._sequence % SEQUENCE_MOST + 1

    def _send(self, text: str, now_ns: int, *, repeat: bool) -> Step:
        if self._state is _State.WAITING:
            self._tries += 1
        frame = Command(self._address, self._sequence, repeat, text).to_bytes()
        self._sent_until_ns = max(now_ns, self._sent_until_ns) + len(frame) * self._byte_ns
        self._deadline_ns = self._sent_until_ns + ANSWER_NS
        return Step(send=frame, deadline_ns=self._deadline_ns)
