"""What was given and what was booked, held against each other: invariants I2 and I3 on the virtual console.

Owns the comparison of the world's fluid with the journal's records since a session began. Asks the guest only to read.
"""

from dataclasses import dataclass
from typing import Self

from device.core.records import MagazineIntent, MagazineSettled, SessionStarted, ShotGiven
from device.core.settlement import POSITION_TOLERANCE
from tests.vm.rig.console import JOURNAL, VirtualConsole

Row = tuple[str, str]
"""Kind and body of a record."""


@dataclass
class Books:
    """The session that is open, and what the world had received before it."""

    console: VirtualConsole
    session_id: str
    tissue: int
    air: int
    drawn_back: int
    """What had been drawn back at the needle's tip and not been repaid yet when the session began."""

    @classmethod
    def opened(cls, console: VirtualConsole) -> Self:
        """Begin to count; the session is open and nothing of it is given yet but the prime."""
        session = console.records(SessionStarted)[-1].session_id
        world = console.world
        return cls(console, session, world.given_in_tissue, world.given_in_air, world.drawn_back)

    def given(self) -> int:
        """Return the increments that left the needle, in tissue and in air."""
        world = self.console.world
        return world.given_in_tissue - self.tissue + self.spilled()

    def spilled(self) -> int:
        """Return the increments that left the needle outside the skin."""
        return self.console.world.given_in_air - self.air

    def settled(self) -> list[MagazineSettled]:
        """Return the outcomes of the session's magazines, primes apart."""
        found = self.console.records(MagazineSettled)
        return [record for record in found if (record.session_id, record.purpose) == (self.session_id, "inject")]

    def largest_phase(self) -> int:
        """Return the most increments that one move of the session's magazines may give."""
        largest = 0
        for intent in self.console.records(MagazineIntent):
            if (intent.session_id, intent.purpose) == (self.session_id, "inject"):
                places = [intent.start, *intent.targets]
                largest = max(largest, *(before - after for before, after in zip(places, intent.targets, strict=False)))
        return largest

    def check(self, *, certain: bool = True, phases: int = 1) -> None:
        """Check the balance, and that the journal is whole."""
        self.check_balance(certain=certain, phases=phases)
        self.console.verify()

    def check_balance(self, *, certain: bool = True, phases: int = 1, unrepaid: bool = False) -> None:
        """Check I2: booked at least what was given, and the same, to the encoder's resolution, where all is certain,
        else at most `phases` more; and I3: nothing in the air.

        `certain`: whether the last outcome must be. `unrepaid`: the session before ended in doubt, so what was drawn
        back in it may not be repaid by this one's first shot, which gives so much less.
        """
        self.console.until_settled()
        settled = self.settled()
        booked, given = sum(record.given for record in settled), self.given()
        assert not certain or settled[-1].certain
        sure = all(record.certain for record in settled)
        # By the encoder's resolution what was broken off is booked deeper than it was read.
        unsure = max(1, sum(record.reason != "complete" for record in settled)) * POSITION_TOLERANCE
        most = unsure if sure else phases * self.largest_phase() + unsure
        most += self.drawn_back if unrepaid else 0
        assert 0 <= booked - given <= most, f"booked {booked}, given {given} increments; certain: {sure}"
        assert self.spilled() == 0, f"{self.spilled()} increments in the air"


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
