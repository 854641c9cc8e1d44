"""The alarm: how the latched faults are signalled, as a function of the faults and the time. Pure.

Rules it lives by, after IEC 60601-1-8: the most urgent fault is signalled and a newer, lesser one never masks it; its
burst of sound is repeated until the fault is cleared; a person may pause the sound, for a bounded time and only for the
faults that stand then; a medium fault that nobody answers becomes high. Time is the monotonic clock's and an argument.
Decides nothing about what moves: no safety act depends on an alarm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from device.core.faults import CATALOGUE, Fault, Priority
from device.core.units import NS_PER_S

REPEAT_NS: Final = {
    Priority.HIGH: 10 * NS_PER_S,
    Priority.MEDIUM: 15 * NS_PER_S,
    Priority.LOW: 30 * NS_PER_S,
}
"""From the begin of a burst to the next one's. IEC 60601-1-8 wants 2.5 to 15 s of rest between two bursts of a high
alarm, 2.5 to 30 s for a medium one, more than 15 s for a low one; the bursts themselves take at most 4 s."""

SILENCE_NS: Final = 120 * NS_PER_S
"""How long a person may pause the sound at a time: two minutes, the longest pause that infusion pumps are allowed."""

UNANSWERED_NS: Final = 60 * NS_PER_S
"""A medium alarm asks for a prompt answer: after four bursts that were neither silenced nor cleared it is high."""

_URGENCY: Final = {None: 0, Priority.LOW: 1, Priority.MEDIUM: 2, Priority.HIGH: 3}


@dataclass(frozen=True, slots=True)
class Raised:
    """A latched fault that is signalled.

    `waits_since_ns`: since when nobody has answered it, in the future while the sound is paused. `escalated`: it has
    waited too long and is high until it is cleared.
    """

    fault: Fault
    waits_since_ns: int
    escalated: bool = False

    @property
    def priority(self) -> Priority:
        """Return how urgent it is by now."""
        return Priority.HIGH if self.escalated else CATALOGUE[self.fault].priority

    def escalates_ns(self) -> int | None:
        """Return when it becomes high if nobody answers it; None for what never does, or has."""
        return self.waits_since_ns + UNANSWERED_NS if self.priority is Priority.MEDIUM else None


@dataclass(frozen=True, slots=True)
class Alarms:
    """All that is signalled. `silent_until_ns` and `burst_ns`, when the next burst is due: None where there is none."""

    raised: tuple[Raised, ...] = ()
    silent_until_ns: int | None = None
    burst_ns: int | None = None

    @property
    def priority(self) -> Priority | None:
        """Return the most urgent one's priority; None without an alarm."""
        return _most_urgent(self.raised) if self.raised else None

    @property
    def escalated(self) -> bool:
        """Return whether an alarm is high because nobody answered it."""
        return any(each.escalated for each in self.raised)

    @property
    def turns_ns(self) -> int | None:
        """Return when `turn` is next to be asked though no fault comes or goes; None without an alarm."""
        times = [self.silent_until_ns, self.burst_ns, *(each.escalates_ns() for each in self.raised)]
        return min((time_ns for time_ns in times if time_ns is not None), default=None)

    def silent_ns(self, now_ns: int) -> int:
        """Return for how long the sound is still paused; 0 when it is not."""
        return 0 if self.silent_until_ns is None else max(0, self.silent_until_ns - now_ns)


NO_ALARM: Final = Alarms()


def _most_urgent(raised: Sequence[Raised]) -> Priority:
    return max((each.priority for each in raised), key=_URGENCY.__getitem__)


def turn(alarms: Alarms, faults: Sequence[Fault], now_ns: int) -> tuple[Alarms, Priority | None]:
    """Return the alarms for these latched faults at `now_ns`, and the burst to sound now; None when it is not time."""
    if not faults:
        return NO_ALARM, None
    before = {each.fault: each for each in alarms.raised}
    new = [fault for fault in faults if fault not in before]
    silent_until_ns = alarms.silent_until_ns
    # What a person has not heard of yet may not be silenced by what he has.
    resumed = silent_until_ns is not None and (bool(new) or now_ns >= silent_until_ns)
    silent = silent_until_ns is not None and not resumed
    raised = []
    for fault in faults:
        each = before.get(fault, Raised(fault, now_ns))
        if resumed:
            each = replace(each, waits_since_ns=min(each.waits_since_ns, now_ns))
        escalates_ns = each.escalates_ns()
        raised.append(replace(each, escalated=True) if escalates_ns is not None and now_ns >= escalates_ns else each)
    if silent:
        return Alarms(tuple(raised), silent_until_ns), None
    priority, burst_ns = _most_urgent(raised), alarms.burst_ns
    louder = _URGENCY[priority] > _URGENCY[alarms.priority]
    if burst_ns is not None and now_ns < burst_ns and not louder:
        return Alarms(tuple(raised), burst_ns=burst_ns), None
    return Alarms(tuple(raised), burst_ns=now_ns + REPEAT_NS[priority]), priority


def silenced(alarms: Alarms, now_ns: int) -> Alarms:
    """Return the alarms with their sound paused from now on, which answers every one; unchanged without an alarm."""
    if not alarms.raised:
        return alarms
    until_ns = now_ns + SILENCE_NS
    return Alarms(tuple(replace(each, waits_since_ns=until_ns) for each in alarms.raised), until_ns)
