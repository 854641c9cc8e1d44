"""What is in the simulated syringe and tube: serum, and bubbles in the order in which they will reach the needle.

Owns only the contents, in whole picolitres of what they would fill at the pressure of the room; pressure, flow and
time are `fluid`'s. Nothing is made or lost here: what goes in at one end comes out at the other, or is still inside.
Air in the syringe lies at its top, under the valve, so it leaves before any serum does.
"""

from typing import Final

PLUGS_MOST: Final = 9
"""Alternating plugs of serum and air that the tube tells apart; beyond that the two bubbles nearest the pump join."""


class Contents:
    """The contents of a syringe with `syringe_pl` of serum and of a tube that serum fills, `tube_pl`."""

    __slots__ = ("_plugs", "syringe_air_pl", "syringe_serum_pl", "tube_air_pl", "tube_pl")

    def __init__(self, *, syringe_pl: int, tube_pl: int) -> None:
        self.syringe_serum_pl = syringe_pl
        self.syringe_air_pl = 0
        self.tube_pl = tube_pl
        """All that the tube holds, with its air."""
        self.tube_air_pl = 0
        self._plugs: list[tuple[bool, int]] = [(False, tube_pl)] if tube_pl else []

    @property
    def air_pl(self) -> int:
        """The air between plunger and needle."""
        return self.tube_air_pl + self.syringe_air_pl

    @property
    def tube_serum_pl(self) -> int:
        """The serum in the tube."""
        return self.tube_pl - self.tube_air_pl

    @property
    def plugs(self) -> int:
        """How many plugs of serum and air the tube tells apart."""
        return len(self._plugs)

    # The syringe

    def draw(self, serum_pl: int, air_pl: int) -> None:
        """Take serum and air into the syringe, from the vial."""
        self.syringe_serum_pl += serum_pl
        self.syringe_air_pl += air_pl

    def expel(self, volume_pl: int) -> tuple[int, int]:
        """Take `volume_pl` out of the syringe, air first; return (serum, air), less where it holds less."""
        air_pl = min(volume_pl, self.syringe_air_pl)
        serum_pl = min(volume_pl - air_pl, self.syringe_serum_pl)
        self.syringe_air_pl -= air_pl
        self.syringe_serum_pl -= serum_pl
        return serum_pl, air_pl

    # The tube

    def push(self, volume_pl: int) -> int:
        """Move `volume_pl` from the syringe into the tube; return how much it was, less where it held less."""
        serum_pl, air_pl = self.expel(volume_pl)
        self._append(True, air_pl)  # noqa: FBT003 - the plug's kind
        self._append(False, serum_pl)  # noqa: FBT003 - as above
        return serum_pl + air_pl

    def pull(self, volume_pl: int) -> int:
        """Move `volume_pl` from the tube's end at the pump back into the syringe; return how much it was."""
        left_pl = volume_pl
        while left_pl and self._plugs:  # every turn takes a whole plug, or ends
            is_air, plug_pl = self._plugs.pop()
            taken_pl = min(plug_pl, left_pl)
            if taken_pl < plug_pl:
                self._plugs.append((is_air, plug_pl - taken_pl))
            self._count(is_air, -taken_pl)
            self.draw(0 if is_air else taken_pl, taken_pl if is_air else 0)
            left_pl -= taken_pl
        return volume_pl - left_pl

    def release(self, volume_pl: int) -> tuple[int, int]:
        """Take `volume_pl` out at the tube's end at the needle; return (serum, air)."""
        plugs = self._plugs
        if len(plugs) == 1 and not plugs[0][0] and plugs[0][1] > volume_pl:
            # Serum alone, as nearly always.
            plugs[0] = (False, plugs[0][1] - volume_pl)
            self.tube_pl -= volume_pl
            return volume_pl, 0
        released = [0, 0]
        left_pl = volume_pl
        while left_pl and plugs:  # every turn takes a whole plug, or ends
            is_air, plug_pl = plugs[0]
            taken_pl = min(plug_pl, left_pl)
            if taken_pl == plug_pl:
                plugs.pop(0)
            else:
                plugs[0] = (is_air, plug_pl - taken_pl)
            self._count(is_air, -taken_pl)
            released[is_air] += taken_pl
            left_pl -= taken_pl
        return released[0], released[1]

    def let_air_in(self, volume_pl: int) -> int:
        """Put a bubble into the tube's end at the pump, in the place of serum; return the serum that it drove out."""
        place_pl = min(volume_pl, self._plugs[-1][1]) if self._plugs and not self._plugs[-1][0] else 0
        if place_pl:
            _, plug_pl = self._plugs.pop()
            self._count(False, -place_pl)  # noqa: FBT003 - the plug's kind
            if plug_pl > place_pl:
                self._plugs.append((False, plug_pl - place_pl))
            self._append(True, place_pl)  # noqa: FBT003 - as above
        return place_pl

    def _append(self, is_air: bool, volume_pl: int) -> None:  # noqa: FBT001 - the plug's kind
        if not volume_pl:
            return
        plugs = self._plugs
        if plugs and plugs[-1][0] is is_air:
            plugs[-1] = (is_air, plugs[-1][1] + volume_pl)
        else:
            plugs.append((is_air, volume_pl))
            if len(plugs) > PLUGS_MOST:
                self._join()
        self._count(is_air, volume_pl)

    def _join(self) -> None:
        """Let the last plug change places with the one before it: it joins its like, and neighbours still alternate."""
        plugs = self._plugs
        is_air, last_pl = plugs.pop()
        other = plugs.pop()
        plugs[-1] = (is_air, plugs[-1][1] + last_pl)
        plugs.append(other)

    def _count(self, is_air: bool, volume_pl: int) -> None:  # noqa: FBT001 - the plug's kind
        self.tube_pl += volume_pl
        if is_air:
            self.tube_air_pl += volume_pl
