"""The vial: which lot of the serum it is, until when that may be given, and for how long after it was mixed.

Owns what must be told of a vial, and why nothing is drawn, primed or fired any more. What was drawn from a vial ages
with it: the syringe's content is as old as the oldest vial that it came from, until it is emptied. Pure: the wall clock
is an argument. A clock that fell behind makes nothing younger: it is at least as late as when a vial was told or mixed.
"""

from dataclasses import dataclass
from typing import Final

from device.core.limits import Refusal
from device.core.patient_hour import HOUR_MS
from device.core.serum import Serum

UNTOLD_MS: Final = 0
"""The wall clock's moment of what nobody told."""

ANOTHER: Final = "take another vial, in a session with `mesogun change vial`"
EMPTY: Final = (
    "what is in the syringe came from it: empty it, without a patient `mesogun home --plunger --patient-detached`"
)


@dataclass(frozen=True, slots=True)
class Vial:
    """What the operator told of a vial, at `told_ms`. At `expires_ms` its lot may not be given any more.

    All are the wall clock's, `UNTOLD_MS` where nothing was said.
    """

    lot: str = ""
    expires_ms: int = UNTOLD_MS
    mixed_ms: int = UNTOLD_MS
    told_ms: int = UNTOLD_MS

    def ends(self, serum: Serum, now_ms: int) -> tuple[str, ...]:
        """Return in words what of its time has passed at `now_ms`; empty while it may be given."""
        now_ms = max(now_ms, self.told_ms, self.mixed_ms)
        found = []
        if self.expires_ms != UNTOLD_MS and now_ms >= self.expires_ms:
            found.append(f"lot {self.lot or 'without a number'} of {serum.name} has expired")
        if serum.use_within_ms and self.mixed_ms != UNTOLD_MS and now_ms >= self.mixed_ms + serum.use_within_ms:
            found.append(f"{serum.name} was mixed {serum.use_within_ms // HOUR_MS} h ago or more")
        return tuple(found)


UNTOLD: Final = Vial()
"""A vial of which nothing was said."""


def told_refusals(vial: Vial, serum: Serum, *, now_ms: int) -> tuple[Refusal, ...]:
    """Return why no session may take this vial now; empty when it may."""
    found = []
    if serum.lot_required and (not vial.lot or vial.expires_ms == UNTOLD_MS):
        found.append(f"{serum.name} is given by its lot: give --lot LOT --lot-expires YYYY-MM-DD")
    if serum.use_within_ms and vial.mixed_ms == UNTOLD_MS:
        hours = serum.use_within_ms // HOUR_MS
        found.append(f'{serum.name} holds for {hours} h after mixing: give --mixed-at "YYYY-MM-DD HH:MM"')
    if vial.mixed_ms > now_ms:
        found.append("--mixed-at lies in the future: correct it, or the computer's clock")
        # Nothing has passed of a time that has not begun.
        return tuple(Refusal("vial", reason) for reason in found)
    found += [f"{ended}: {ANOTHER}" for ended in vial.ends(serum, now_ms)]
    return tuple(Refusal("vial", reason) for reason in found)


def age_refusals(vial: Vial, drawn: Vial | None, serum: Serum, *, now_ms: int) -> tuple[Refusal, ...]:
    """Return why nothing more may be given from `vial` and of what was `drawn`; empty when it may."""
    found = [f"{ended}: {ANOTHER}" for ended in vial.ends(serum, now_ms)]
    if drawn is not None:
        found += [f"{ended}: {EMPTY}" for ended in drawn.ends(serum, now_ms)]
    return tuple(Refusal("vial", reason) for reason in found)


def drawn_together(content: Vial | None, vial: Vial) -> Vial:
    """Return what a syringe with `content` holds after drawing from `vial`: of each time the one that ends first."""
    if content is None:
        return vial
    by_expiry = sorted((one for one in (content, vial) if one.expires_ms != UNTOLD_MS), key=lambda one: one.expires_ms)
    mixed = [one.mixed_ms for one in (content, vial) if one.mixed_ms != UNTOLD_MS]
    first = by_expiry[0] if by_expiry else vial
    return Vial(
        lot=first.lot,
        expires_ms=first.expires_ms,
        mixed_ms=min(mixed, default=UNTOLD_MS),
        told_ms=max(content.told_ms, vial.told_ms),
    )
