"""The state diagram in the documentation is the machine's own table."""

from device.core.console import State
from device.service.state_diagram import DOCUMENT, diagram, with_diagram


def test_the_committed_diagram_is_what_the_table_gives() -> None:
    text = DOCUMENT.read_text()
    assert with_diagram(text) == text, "run `make diagram` and review the change"


def test_every_state_stands_in_the_diagram_or_is_reached_from_everywhere() -> None:
    drawn = diagram()
    assert [state.name for state in State if state.name not in drawn] == []
