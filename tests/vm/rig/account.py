"""What left the needle outside, held against what the journal inside has booked for it, since a moment.

Owns no state of either side; reads the world's ground truth and the guest's journal.
"""

from dataclasses import dataclass
from typing import Self

from device.core.records import MagazineIntent, MagazineSettled, ShotGiven
from tests.vm.rig.console import JOURNAL, VirtualConsole

Row = tuple[str, str]
"""Kind and body of a record."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account of one console since `opened`."""

    console: VirtualConsole
    tissue: int
    air: int
    settled: int

    @classmethod
    def opened(cls, console: VirtualConsole) -> Self:
        """Begin with what was given and booked so far."""
        world = console.world
        return cls(console, world.given_in_tissue, world.given_in_air, len(console.records(MagazineSettled)))

    def given(self) -> int:
        """Return the increments that left the needle."""
        return self.given_in_tissue() + self.given_in_air()

    def given_in_tissue(self) -> int:
        """Return the increments that left the needle under the skin."""
        return self.console.world.given_in_tissue - self.tissue

    def given_in_air(self) -> int:
        """Return the increments that left the needle outside the skin."""
        return self.console.world.given_in_air - self.air

    def booked(self) -> int:
        """Return the increments booked for the patient."""
        settled = self.console.records(MagazineSettled)[self.settled :]
        return sum(record.given for record in settled if record.purpose == "inject")

    def largest_phase(self) -> int:
        """Return the most increments that one move of the last magazine may give."""
        intent = [intent for intent in self.console.records(MagazineIntent) if intent.purpose == "inject"][-1]
        places = [intent.start, *intent.targets]
        return max(before - after for before, after in zip(places, intent.targets, strict=False))

    def check(self) -> None:
        """I2 and I3: booked at least what was given and at most one phase more; nothing in the air; the chain whole."""
        self.console.until_settled()
        assert 0 <= self.booked() - self.given() <= self.largest_phase(), (self.booked(), self.given())
        assert self.given_in_air() == 0
        self.console.verify()


def all_rows(console: VirtualConsole) -> list[Row]:
    """Return every record that the journal shows, in order: what is seen there is committed."""
    return console.machine.records(JOURNAL)


def fire_once_more(console: VirtualConsole) -> None:
    """Home, arm, fire one shot that is delivered whole, and disarm: a loaded magazine is an open intent."""
    shots = len(console.records(ShotGiven))
    console.ask("home")
    console.until_state("session")
    console.arm()
    console.shoot()
    console.ask("disarm")
    console.until_state("session")
    shot = console.records(ShotGiven)[shots]
    assert (shot.outcome, shot.reason) == ("delivered", "")
    console.let_go()
