"""The whole grid of states and events of the machine.

It stands here as data, so that a change of the table is a change that somebody reads.
"""

from dataclasses import replace

import pytest

from device.core.console import State
from device.core.effects import (
    Commit,
    Reply,
)
from device.core.events import (
    Event,
)
from device.core.faults import Fault
from device.core.machine import COMMANDS, EVENTS, IGNORED, TABLE, step
from device.core.records import (
    CommandTaken,
    FaultRaised,
)
from tests.support.machine import (
    CONSOLES,
    TYPICAL,
)

SHORT = dict(
    zip(
        State,
        ["start", "test", "disarm", "home", "prime", "refill", "session", "load", "armed", "fire", "settle", "fault"],
        strict=True,
    )
)
"""The states' names in `GRID`, in the order of their numbers."""

# Rows: events. Columns: states. A name: the state that follows. `=`: it stays. `!`: an internal fault. `-`: ignored.
# `x`: a command refused, nothing changed.
GRID = """
event                 start test   disarm  home   prime   refill session load  armed  fire   settle fault
HomeRequested         x     x      home    x      x       x      home    x     x      x      x      x
CalibrateRequested    x     x      =       x      x       x      =       x     x      x      x      x
RollBackRequested     x     x      x       x      x       x      x       x     x      x      x      x
PrimeRequested        x     x      x       x      x       x      refill  x     x      x      x      x
SessionStartRequested x     x      session x      x       x      x       x     x      x      x      x
OverrideRequested     x     x      x       x      x       x      x       x     x      x      x      x
SessionStopRequested  x     x      x       x      x       x      disarm  x     x      x      x      x
ArmRequested          x     x      x       x      x       x      refill  =     =      =      x      x
DisarmRequested       x     x      x       x      x       =      =       =     =      =      =      x
FaultClearRequested   x     x      x       x      x       x      x       x     x      x      x      test
AlarmSilenceRequested x     x      x       x      x       x      x       x     x      x      x      =
PointSkipRequested    x     x      x       x      x       x      =       x     x      x      x      x
PointRepeatRequested  x     x      x       x      x       x      x       x     x      x      x      x
PointUndoRequested    x     x      x       x      x       x      x       x     x      x      x      x
CheckRequested        x     x      x       x      x       x      x       x     x      x      x      x
PauseRequested        x     x      x       x      x       =      =       =     =      =      =      x
ResumeRequested       x     x      x       x      x       x      x       x     x      x      x      x
ChangeVialRequested   x     x      x       x      x       x      =       x     x      x      x      x
ChangeNeedleRequested x     x      x       x      x       x      =       x     x      x      x      x
ChangeSyringeRequested x    x      x       x      x       x      home    x     x      x      x      x
Started               test  !      !       !      !       !      !       !     !      !      !      =
PumpProbed            !     =      -       !      !       !      -       !     !      !      !      -
PumpLoaded            !     !      !       !      =       !      !       =     !      !      !      -
PositionRead          !     =      !       !      session !      !       !     !      !      load   =
RefillDone            !     !      !       !      !       load   !       !     !      !      !      -
PlungerAtTop          !     !      !       disarm !       !      !       !     !      !      !      -
FaultOccurred         fault fault  fault   fault  fault   fault  fault   fault fault  fault  fault  =
RealtimeRestarted     =     =      fault   fault  fault   fault  fault   fault fault  fault  fault  =
ShutdownRequested     =     =      =       =      =       =      =       =     =      =      =      =
Ready                 !     disarm =       !      !       !      =       !     !      !      =      =
Homed                 !     =      !       =      !       !      !       !     !      !      !      =
Loaded                !     !      !       !      =       !      !       armed !      !      !      -
StrokeStarted         !     !      !       !      =       !      !       !     fire   =      !      -
ShotReport            !     !      !       !      =       !      !       !     !      =      !      =
MagazineEnded         !     !      !       !      =       !      !       !     settle settle !      =
PressIgnored          =     =      =       =      =       =      =       =     =      =      =      =
Faulted               fault fault  fault   fault  fault   fault  fault   fault fault  fault  fault  =
"""


def outcome(state: State, kind: type[Event]) -> str:
    """Return what the typical event of `kind` does in `state`, as `GRID` writes it."""
    before = CONSOLES[state]
    console, effects = step(before, TYPICAL[kind])
    if (state, kind) in IGNORED:
        return "-"
    event = TYPICAL[kind]
    replies = [effect for effect in effects if isinstance(effect, Reply)]
    if isinstance(event, COMMANDS) and [each.accepted for each in replies if each.request == event.request] == [False]:
        return "x"
    raised = [record for effect in effects if isinstance(effect, Commit) for record in effect.records]
    if any(isinstance(record, FaultRaised) and record.code == Fault.INTERNAL for record in raised):
        return "!"
    return "=" if console.state is state else SHORT[console.state]


def expected_rows() -> dict[str, list[str]]:
    header, *rows = [line.split() for line in GRID.strip().splitlines()]
    assert header[1:] == list(SHORT.values())
    return {row[0]: row[1:] for row in rows}


def test_the_grid_has_a_row_for_every_event() -> None:
    assert set(expected_rows()) == {kind.__name__ for kind in EVENTS}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_does_in_every_state_what_the_grid_says(kind: type[Event]) -> None:
    assert [outcome(state, kind) for state in State] == expected_rows()[kind.__name__]


def test_a_listed_event_leads_where_the_table_says_or_to_a_fault() -> None:
    # The state diagram in the documents is drawn from these targets.
    for (state, kind), transition in TABLE.items():
        console, _ = step(CONSOLES[state], TYPICAL[kind])
        assert console.state in (*transition.to, State.FAULT), (state, kind)


def test_the_consoles_of_the_grid_are_in_the_states_they_stand_for() -> None:
    assert {state: console.state for state, console in CONSOLES.items()} == {state: state for state in State}
    assert [state.value for state in State] == list(range(12))


@pytest.mark.parametrize(("state", "kind"), sorted(IGNORED, key=str))
def test_what_a_fault_or_a_good_self_test_has_overtaken_changes_nothing(state: State, kind: type[Event]) -> None:
    assert step(CONSOLES[state], TYPICAL[kind]) == (CONSOLES[state], ())


def test_nothing_is_both_listed_and_ignored_and_no_command_is_ignored() -> None:
    assert not IGNORED & set(TABLE)
    assert not [kind for _, kind in IGNORED if kind in COMMANDS]


@pytest.mark.parametrize(
    ("state", "kind"), [(state, kind) for state in State for kind in COMMANDS if (state, kind) not in TABLE]
)
def test_a_refused_command_says_where_it_is_possible_and_is_written_down(state: State, kind: type[Event]) -> None:
    console, effects = step(CONSOLES[state], TYPICAL[kind])
    commit, reply = effects
    assert isinstance(reply, Reply)
    assert not reply.accepted
    possible = ", ".join(other.name.lower() for other in State if (other, kind) in TABLE)
    (reason,) = reply.reasons
    assert reason.startswith(f"not possible in state {state.name.lower()}; possible in: ")
    assert sorted(reason.rpartition(": ")[2].split(", ")) == sorted(possible.split(", "))
    assert isinstance(commit, Commit)
    (record,) = commit.records
    assert isinstance(record, CommandTaken)
    assert (record.uid, record.pid, record.accepted) == (1000, 77, False)
    assert replace(console, ledger=CONSOLES[state].ledger) == CONSOLES[state]
