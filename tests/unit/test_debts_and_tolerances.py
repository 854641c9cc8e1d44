"""What is no dose: the plunger's debt of a suck-back, and what its encoder cannot tell; in plain numbers."""

from dataclasses import replace

import pytest

from device.core.booking import settled
from device.core.magazine import Outcome
from device.core.records import ShotGiven
from device.core.settlement import Seen, settle
from device.core.units import Increments
from tests.support.core import make_intent
from tests.support.machine import SESSION


def test_a_suck_back_is_a_debt_of_the_plunger_and_no_dose() -> None:
    console, records, _ = settled(replace(SESSION, seen=Seen(opened=8, done=8)), make_intent(), Increments(9_040))
    assert sum(record.booked_nl for record in records if isinstance(record, ShotGiven)) == 40_000
    assert (console.ledger.position, console.ledger.low_water) == (9_040, 9_016)


@pytest.mark.parametrize(
    ("position", "outcome", "given"),
    [
        (9_502, Outcome.DELIVERED, 476),
        (9_498, Outcome.DELIVERED, 476),
        (9_503, Outcome.PARTIAL, 475),
        (9_497, Outcome.UNCERTAIN, 481),
    ],
)
def test_three_increments_beside_the_target_is_not_there(position: int, outcome: Outcome, given: int) -> None:
    # Two increments are 0.08 uL of a 1 mL syringe: what its encoder cannot tell. Where the plunger did not come to its
    # target it may stand so much deeper than it reads, and that is booked.
    intent = make_intent(
        moves_per_shot=1, phases=["entry"], targets=[9_500], doses_nl=[20_000], carries=[6], start=9_976
    )
    result = settle(intent, position=Increments(position), seen=Seen(opened=1, done=0))
    (shot,) = result.shots
    assert (shot.outcome, result.given) == (outcome, given)


def test_an_excess_that_no_shot_explains_makes_the_last_one_a_shot_that_took_place() -> None:
    # The second shot was to give nothing; the plunger is read 496 increments deeper than any target.
    intent = make_intent(targets=[9_880, 9_592, 9_496, 9_520, 9_496, 9_496, 9_496, 9_520])
    result = settle(intent, position=Increments(9_000), seen=None)
    assert [shot.total for shot in result.shots] == [480, 498]
    assert result.shots[-1].touched
    assert not result.certain
