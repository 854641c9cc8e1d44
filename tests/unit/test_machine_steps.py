"""What the machine's handlers share, and the two keys' parts of one magazine."""

from dataclasses import fields, replace

from device.core.effects import Commit
from device.core.events import Started
from device.core.magazine import Magazine, PumpProgram, RealtimeMagazine
from device.core.operations import not_fit
from device.core.records import CommandTaken, PlungerFound
from device.core.steps import commit, turned_down
from tests.support.machine import ARMED, DISARMED, STARTING, after

TAKEN = CommandTaken("arm", 1000, 77, accepted=True, reason="")
FOUND = PlungerFound(expected=10, position=12)


def test_nothing_is_committed_where_there_is_nothing_to_commit() -> None:
    assert commit(()) == ()
    assert commit((FOUND,)) == (Commit((FOUND,)),)


def test_a_command_that_is_turned_down_is_written_down_so_and_what_stands_beside_it_stays() -> None:
    refused = replace(TAKEN, accepted=False, reason="the needle is out; the syringe is empty")
    assert turned_down((FOUND, TAKEN), ("the needle is out", "the syringe is empty")) == (FOUND, refused)


def test_a_start_trusts_no_earlier_answer_of_the_pump() -> None:
    assert after(replace(STARTING, probed=True), Started()).probed is False


def test_without_a_session_that_alone_is_said_of_a_console_that_is_fit() -> None:
    assert not_fit(replace(DISARMED, homed=True, ready=True), 0) == ("no session is open",)


def test_both_keys_are_told_the_same_magazine() -> None:
    magazine = ARMED.magazine
    assert isinstance(magazine, Magazine)
    program, stroke = magazine.pump_program(), magazine.realtime_magazine()
    shared = {field.name for field in fields(Magazine)}
    for part in (program, stroke):
        for field in fields(part):
            if field.name in shared - {"shots"}:
                assert getattr(part, field.name) == getattr(magazine, field.name), field.name
    assert isinstance(program, PumpProgram)
    assert program.moves == tuple(move for shot in magazine.shots for move in shot.moves)
    assert isinstance(stroke, RealtimeMagazine)
    assert stroke.shots == len(magazine.shots)
