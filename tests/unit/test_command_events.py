"""Every command that may be asked becomes an event of the machine; none is forgotten between the two."""

from pathlib import Path
from typing import Any

import pytest

from device.controller.command_events import event_of
from device.controller.commands import COMMANDS, CommandRefused
from device.core.events import Request, SessionStartRequested
from device.core.machine import COMMANDS as MACHINE_COMMANDS
from device.settings import Configuration, load_configuration
from tests.support.settings import SHIPPED

REQUEST = Request(number=1, uid=1000, pid=77, at_ms=1_772_600_000_000)
START = {"profile": "papule", "serum": "saline", "syringe": "1ml"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "prime": {"volume_nl": 1_000},
    "calibrate": {"syringe": "1ml", "measured_nl": 1_000_000, "method": "weighed"},
    "formulary_roll_back": {"reason": "too deep", "by": "a physician"},
    "session_start": START,
    "override": {"limit": "soft.session_ml", "reason": "as agreed", "by": "a physician"},
    "session_check": {"items": ["disinfected"], "by": "a nurse"},
}
"""What a command cannot do without."""


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return load_configuration(Path(SHIPPED))


def test_every_command_of_the_socket_is_one_of_the_machines_and_the_other_way_round(
    configuration: Configuration,
) -> None:
    events = {
        type(event_of(name, model.model_validate(ARGUMENTS.get(name, {})), REQUEST, configuration))
        for name, model in COMMANDS.items()
        if name != "status"
    }
    assert events == set(MACHINE_COMMANDS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"profile": "papules"}, "no profile named 'papules'; there are: continuous, nappage, "),
        ({"course": "weekly"}, "no course named 'weekly'; there are: "),
        ({"checklist": "none"}, "no check-list named 'none'; there are: standard"),
    ],
)
def test_a_file_that_is_not_there_is_refused_with_those_that_are(
    configuration: Configuration, changed: dict[str, str], said: str
) -> None:
    arguments = COMMANDS["session_start"].model_validate(START | changed)
    with pytest.raises(CommandRefused) as refusal:
        event_of("session_start", arguments, REQUEST, configuration)
    assert str(refusal.value).startswith(said)


def test_two_sessions_never_have_one_id(configuration: Configuration) -> None:
    arguments = COMMANDS["session_start"].model_validate(START)
    events = [event_of("session_start", arguments, REQUEST, configuration) for _ in range(2)]
    ids = [event.session_id for event in events if isinstance(event, SessionStartRequested)]
    assert len(set(ids)) == 2
