"""Who looks on: every event of the simulated gun, at the moment it happens."""

from collections.abc import Callable, Sequence

from device.core.console import Console, State
from device.core.realtime_messages import Order, Report
from device.core.records import Record
from device.core.stroke import Scan, ScanState


class Observer:
    """Sees everything that happens to the gun, at the moment it happens. Override what you want to see.

    An observer never raises: it is called from the middle of product code. It notes what it finds.
    """

    def edge(self, line: int, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """A process changed an output line other than that of the steps."""

    def step_edge(self, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """A process changed the line of the steps."""

    def level(self, line: int, now_ns: int) -> None:
        """A line other than that of the steps has another level, whoever changed it."""

    def scanned(self, before: ScanState, result: Scan, now_ns: int) -> None:
        """The real-time process made a scan and wrote its outputs."""

    def plunger(self, before: int, after: int, needle_side: bool, now_ns: int) -> None:  # noqa: FBT001 - a fact
        """The plunger is about to move by a little."""

    def phase(self, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """The pump sets its phase output."""

    def sent(self, data: bytes, now_ns: int) -> None:
        """The host sends to the pump."""

    def received(self, data: bytes, now_ns: int) -> None:
        """The host has received from the pump."""

    def recorded(self, records: Sequence[Record], now_ns: int) -> None:
        """The journal has made these records durable."""

    def changed(self, before: State, console: Console, now_ns: int) -> None:
        """The controller has handled an event."""

    def ordered(self, order: Order, now_ns: int) -> None:
        """The real-time process takes an order."""

    def reported(self, report: Report, now_ns: int) -> None:
        """The real-time process makes a report."""

    def lost(self, what: str, now_ns: int) -> None:
        """A process was killed or frozen, or the power was cut."""


class Audience:
    """The observers of one gun: for each event the methods of those who want to see it, in the order they came."""

    def __init__(self) -> None:
        self.edge: tuple[Callable[[int, bool, int], None], ...] = ()
        self.step_edge: tuple[Callable[[bool, int], None], ...] = ()
        self.level: tuple[Callable[[int, int], None], ...] = ()
        self.scanned: tuple[Callable[[ScanState, Scan, int], None], ...] = ()
        self.plunger: tuple[Callable[[int, int, bool, int], None], ...] = ()
        self.phase: tuple[Callable[[bool, int], None], ...] = ()
        self.sent: tuple[Callable[[bytes, int], None], ...] = ()
        self.received: tuple[Callable[[bytes, int], None], ...] = ()
        self.recorded: tuple[Callable[[Sequence[Record], int], None], ...] = ()
        self.changed: tuple[Callable[[State, Console, int], None], ...] = ()
        self.ordered: tuple[Callable[[Order, int], None], ...] = ()
        self.reported: tuple[Callable[[Report, int], None], ...] = ()
        self.lost: tuple[Callable[[str, int], None], ...] = ()

    def add(self, *observers: Observer) -> None:
        """Let them look on from now on."""
        for observer in observers:
            for event in vars(self):
                if getattr(type(observer), event) is not getattr(Observer, event):
                    setattr(self, event, (*getattr(self, event), getattr(observer, event)))

    def leave(self) -> None:
        """Let nobody look on any more."""
        for event in vars(self):
            setattr(self, event, ())
