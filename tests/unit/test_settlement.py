"""Settlement: whatever really happened, what is booked is never less, and at most one phase more."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from device.core.magazine import Outcome
from device.core.profile import Phase
from device.core.records import MagazineIntent
from device.core.settlement import POSITION_TOLERANCE, Seen, Settlement, settle
from device.core.units import Increments
from tests.support.core import LAW, make_intent


class History(NamedTuple):
    """What really happened: `complete` moves and a part of the next, ending at `position`."""

    intent: MagazineIntent
    complete: int
    position: int
    given: int
    """Increments that left the needle for good: how far the plunger is below its lowest place before."""


@st.composite
def intents(draw: st.DrawFn) -> MagazineIntent:
    """Magazines of any phases, with or without suck-back, with or without a debt to repay."""
    phases = draw(st.sampled_from([["entry"], ["entry", "dwell"], ["dwell", "exit"], ["entry", "dwell", "exit"]]))
    suck_back = draw(st.sampled_from([0, 3, 24, 60]))
    shots = draw(st.integers(1, 5))
    low_water = draw(st.integers(8_000, 20_000))
    start = low_water + draw(st.sampled_from([0, suck_back]))
    targets: list[int] = []
    low = low_water
    for _ in range(shots):
        for _phase in phases:
            low -= draw(st.integers(0, 400))
            targets.append(low)
        if suck_back:
            targets.append(low + suck_back)
    per_shot = [*phases, *(["suck_back"] if suck_back else [])]
    return make_intent(
        start=start,
        low_water=low_water,
        moves_per_shot=len(per_shot),
        phases=per_shot * shots,
        targets=targets,
        doses_nl=[20_000] * shots,
        carries=[10 + shot for shot in range(shots)],
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    intent = draw(intents())
    places = [intent.start, *intent.targets]
    complete = draw(st.integers(0, len(intent.targets)))
    position = places[complete]
    if complete < len(intent.targets):
        low, high = sorted((places[complete], places[complete + 1]))
        position = draw(st.integers(low, high))
    lowest = min(intent.low_water, position, *intent.targets[:complete], intent.low_water)
    return History(intent, complete, position, intent.low_water - lowest)


def one_phase(intent: MagazineIntent) -> int:
    """Return the most that one move of the magazine can give, or draw back: a place may be passed both ways."""
    return max(abs(before - after) for before, after in pairwise([intent.low_water, *intent.targets]))


def by_gates(intent: MagazineIntent, opened: int) -> int:
    """Return the most that `opened` gates let through."""
    return intent.low_water - min([intent.low_water, *intent.targets[:opened]])


def told_apart(intent: MagazineIntent) -> bool:
    """Return whether no move is so short that the encoder cannot tell its end from its start."""
    places = [intent.start, *intent.targets]
    return min(abs(before - after) for before, after in pairwise(places)) > 2 * POSITION_TOLERANCE


def assert_true(result: Settlement, history: History, *, error: int = 0, missed: int = 0) -> None:
    """Compare with what happened: booked is enough, exactly so when certain, and too much is never made up.

    Exact is what the encoder can tell: a place within its resolution of a target is the target, and a move that did not
    come to its target is booked deeper by it. `error` is that of the reading, `missed` may be booked too little.
    """
    unsure = POSITION_TOLERANCE + abs(error)
    most = unsure if result.certain else one_phase(history.intent) + unsure + POSITION_TOLERANCE
    assert history.given - missed <= result.given <= history.given + most
    drawn_back = history.position - (history.intent.low_water - history.given)
    repaid = result.position - result.low_water
    assert 0 <= repaid <= drawn_back + unsure + POSITION_TOLERANCE
    if result.certain:
        assert repaid >= drawn_back - unsure
    if told_apart(history.intent) and Phase.SUCK_BACK.value not in history.intent.phases:
        assert result.certain, "without a suck-back no place comes twice"


@LAW
@given(history=histories(), slack=st.tuples(st.integers(0, 1), st.integers(0, 1)))
def test_booked_is_never_less_than_given_and_at_most_one_phase_more(history: History, slack: tuple[int, int]) -> None:
    intent, moves = history.intent, len(history.intent.targets)
    seen = Seen(opened=min(moves, history.complete + 1), done=max(0, history.complete - slack[0]))
    result = settle(intent, position=Increments(history.position), seen=seen)
    assert_true(result, history)


ERRORS = st.integers(-POSITION_TOLERANCE, POSITION_TOLERANCE)


@LAW
@given(history=histories(), error=ERRORS)
def test_booked_is_never_less_than_given_however_the_encoder_errs(history: History, error: int) -> None:
    seen = Seen(opened=min(len(history.intent.targets), history.complete + 1), done=history.complete)
    result = settle(history.intent, position=Increments(history.position + error), seen=seen)
    assert_true(result, history, error=error)
    if told_apart(history.intent):
        # Over a refill the next shot gives by so much more than is booked of it; it must be in the book by now.
        drawn_back = history.position - (history.intent.low_water - history.given)
        assert result.position - result.low_water - drawn_back <= result.given - history.given


@LAW
@given(intent=intents(), error=ERRORS, data=st.data())
def test_where_only_whole_moves_were_let_through_nothing_comes_of_an_error_of_the_encoder(
    intent: MagazineIntent, error: int, data: st.DataObject
) -> None:
    # Unfired, released in between, or complete: no shot that never was, nothing booked beyond it, and nothing owed.
    assume(told_apart(intent))
    complete = data.draw(st.integers(0, len(intent.targets)))
    places, seen = [intent.start, *intent.targets], Seen(opened=complete, done=complete)
    read = settle(intent, position=Increments(places[complete] + error), seen=seen)
    assert read == settle(intent, position=Increments(places[complete]), seen=seen)
    assert (read.certain, read.position) == (True, places[complete])


@LAW
@given(history=histories(), error=ERRORS)
def test_a_move_that_a_stuck_gate_let_begin_is_booked_like_any_other(history: History, error: int) -> None:
    # Gates were opened for the complete moves only; a part of the next one has gone as well. Of its first increments
    # the encoder cannot tell that they were: the next absolute target takes them in.
    result = settle(
        history.intent,
        position=Increments(history.position + error),
        seen=Seen(opened=history.complete, done=history.complete),
    )
    assert_true(result, history, error=error, missed=POSITION_TOLERANCE + abs(error))


@pytest.mark.parametrize(("read", "given"), [(9_976, 0), (9_977, 0), (9_975, 3)])
def test_after_a_restart_a_magazine_is_unfired_unless_its_plunger_reads_deeper(read: int, given: int) -> None:
    # Nobody is left who counted gates: what the encoder reads below the start may have been given.
    intent = make_intent(start=9_976)
    result = settle(intent, position=Increments(read), seen=None)
    assert (result.given, result.shots[0].touched, result.certain) == (given, given > 0, True)


def test_a_move_behind_a_gate_that_sticks_is_told_from_an_error_of_the_encoder_by_the_third_increment() -> None:
    # The second shot's entry, from 9 520, where the first one's suck-back of 24 ended: it gives from 9 495 on.
    intent = make_intent(targets=[9_880, 9_592, 9_496, 9_496, 9_400, 9_112, 9_016, 9_016])
    seen = Seen(opened=4, done=4)
    at_rest, moving = (settle(intent, position=Increments(9_496 - deeper), seen=seen) for deeper in (2, 3))
    assert (at_rest.given, at_rest.position, at_rest.shots[1].touched) == (480, 9_496, False)
    assert (moving.given, moving.position, moving.shots[1].touched) == (480 + 3 + 2, 9_493, True)


@LAW
@given(history=histories(), beyond=st.integers(0, 100), lost=st.booleans())
def test_counts_beyond_the_magazine_are_taken_as_all_of_it(history: History, beyond: int, lost: bool) -> None:
    # They once raised an error in the middle of settling.
    moves = len(history.intent.targets)
    position = None if lost else Increments(history.position)
    counted = Seen(opened=moves + beyond, done=moves + beyond)
    assert settle(history.intent, position=position, seen=counted) == settle(
        history.intent, position=position, seen=Seen(opened=moves, done=moves)
    )


@LAW
@given(history=histories())
def test_after_a_restart_the_position_alone_books_no_less_and_at_most_one_phase_more(history: History) -> None:
    assert_true(settle(history.intent, position=Increments(history.position), seen=None), history)


@LAW
@given(history=histories())
def test_without_a_position_all_that_the_gates_let_through_and_a_stuck_one_may_have_is_booked_as_uncertain(
    history: History,
) -> None:
    seen = Seen(opened=min(len(history.intent.targets), history.complete + 1), done=history.complete)
    result = settle(history.intent, position=None, seen=seen)
    assert not result.certain
    assert result.given == by_gates(history.intent, min(seen.opened + 1, len(history.intent.targets)))
    assert result.given >= history.given
    assert all(shot.outcome is Outcome.UNCERTAIN for shot in result.shots)


@LAW
@given(intent=intents())
def test_knowing_nothing_at_all_books_the_whole_magazine(intent: MagazineIntent) -> None:
    result = settle(intent, position=None, seen=None)
    assert not result.certain
    assert result.given == by_gates(intent, len(intent.targets))


@LAW
@given(history=histories(), depth=st.integers(POSITION_TOLERANCE + 1, 400))
def test_a_plunger_deeper_than_any_gate_allowed_is_uncertain_and_books_all_of_it(history: History, depth: int) -> None:
    intent = history.intent
    position = min([intent.low_water, *intent.targets]) - depth
    result = settle(intent, position=Increments(position), seen=None)
    assert not result.certain
    assert result.given == intent.low_water - position + POSITION_TOLERANCE


@LAW
@given(history=histories(), position=st.integers(0, 24_000))
def test_an_unexplained_position_never_books_less_than_the_gates_let_through(history: History, position: int) -> None:
    intent = history.intent
    seen = Seen(opened=min(len(intent.targets), history.complete + 1), done=history.complete)
    result = settle(intent, position=Increments(position), seen=seen)
    if not result.certain:
        assert result.given >= by_gates(intent, seen.opened)
        assert result.given >= intent.low_water - position


@LAW
@given(history=histories(), lost=st.booleans())
def test_the_shots_add_up_to_the_magazine_and_settling_again_changes_nothing(history: History, lost: bool) -> None:
    position = None if lost else Increments(history.position)
    result = settle(history.intent, position=position, seen=None)
    assert sum(shot.total for shot in result.shots) == result.given
    if result.certain:
        # Booked may be two increments more than the next shot is planned from: what the encoder cannot tell.
        assert 0 <= result.low_water - (history.intent.low_water - result.given) <= POSITION_TOLERANCE
    assert all(part >= 0 for shot in result.shots for part in shot.given.values())
    assert settle(history.intent, position=position, seen=None) == result


def test_a_complete_magazine_is_delivered_phase_by_phase() -> None:
    intent = make_intent()
    result = settle(intent, position=Increments(9_040), seen=Seen(opened=8, done=8))
    assert result.certain
    assert [shot.outcome for shot in result.shots] == [Outcome.DELIVERED, Outcome.DELIVERED]
    assert [shot.given for shot in result.shots] == [{Phase.ENTRY: 96, Phase.DWELL: 288, Phase.EXIT: 96}] * 2
    assert (result.position, result.low_water, result.given, result.carry) == (9_040, 9_016, 960, 7)


def test_a_magazine_that_never_fired_gives_nothing_and_keeps_the_carried_remainder() -> None:
    intent = make_intent()
    result = settle(intent, position=Increments(intent.start), seen=Seen(opened=0, done=0))
    assert result.certain
    assert (result.given, result.carry, result.low_water) == (0, intent.carry_before, intent.low_water)
    assert not any(shot.touched for shot in result.shots)


def test_repaying_a_suck_back_gives_nothing_until_the_old_low_water_is_passed() -> None:
    intent = make_intent()
    in_debt = settle(intent, position=Increments(9_980), seen=Seen(opened=1, done=0))
    beyond = settle(intent, position=Increments(9_970), seen=Seen(opened=1, done=0))
    # Booked is what the encoder cannot exclude: two increments deeper.
    assert (in_debt.given, beyond.given) == (0, 8)
    assert beyond.shots[0].touched


@pytest.mark.parametrize(
    ("seen", "given", "certain"),
    [
        (None, 480, False),
        (Seen(opened=3, done=2), 480, False),
        (Seen(opened=4, done=3), 480, True),
        (Seen(opened=2, done=2), 468, True),
    ],
)
def test_a_place_passed_twice_because_of_the_suck_back_books_the_most_that_can_have_been(
    seen: Seen | None, given: int, certain: bool
) -> None:
    # 9 510 is on the way down in the first shot's exit, and on the way back of the suck-back behind it. One move more
    # than the gates were opened for can have begun: only with two gates the suck-back, the fourth move, cannot.
    result = settle(make_intent(), position=Increments(9_510), seen=seen)
    assert (result.given, result.certain) == (given, certain)
    assert [shot.outcome is Outcome.UNCERTAIN for shot in result.shots] == [not certain] * 2


def test_a_suck_back_that_may_not_have_happened_is_not_repaid_by_the_next_shot() -> None:
    # Repaid, it would give the 14 increments between here and the exit's end on top of the next dose.
    doubtful = settle(make_intent(), position=Increments(9_510), seen=None)
    assert (doubtful.position, doubtful.low_water) == (9_510, 9_510)
    sure = settle(make_intent(), position=Increments(9_510), seen=Seen(opened=4, done=3))
    # Nor what the encoder cannot tell of one that did: a refill keeps the debt, and the next shot repays it unbooked.
    assert (sure.position, sure.low_water) == (9_508, 9_496)


@pytest.mark.parametrize(("read", "owed"), [(9_498, 0), (9_499, 1), (9_509, 11), (9_518, 20), (9_522, 24)])
def test_of_a_suck_back_that_was_broken_off_only_what_was_surely_drawn_is_repaid(read: int, owed: int) -> None:
    # It goes from 9 496 to 9 520. The encoder may read two increments too many, and near its end takes it for complete.
    broken_off = settle(make_intent(), position=Increments(read), seen=Seen(opened=4, done=3))
    assert (broken_off.position - broken_off.low_water, broken_off.given, broken_off.certain) == (owed, 480, True)
    assert abs(broken_off.position - read) <= POSITION_TOLERANCE


def test_an_earlier_suck_back_stays_owed_however_the_magazine_ended() -> None:
    # 9 985 is above the low water mark of before: nothing of the first dose has been given yet.
    result = settle(make_intent(), position=Increments(9_985), seen=None)
    assert (result.given, result.low_water, result.certain) == (0, 9_976, True)


def test_a_partial_shot_is_told_apart_and_leaves_the_carried_remainder_of_the_last_whole_one() -> None:
    intent = make_intent()
    result = settle(intent, position=Increments(9_300), seen=Seen(opened=6, done=5))
    assert [shot.outcome for shot in result.shots] == [Outcome.DELIVERED, Outcome.PARTIAL]
    # Two of the dwell's are what the encoder cannot tell.
    assert result.shots[1].given == {Phase.ENTRY: 96, Phase.DWELL: 102, Phase.EXIT: 0}
    assert result.carry == 6


@pytest.mark.parametrize(
    ("offset", "certain"), [(-POSITION_TOLERANCE - 1, False), (-POSITION_TOLERANCE, True), (POSITION_TOLERANCE, True)]
)
def test_the_read_back_may_differ_from_the_last_target_by_the_encoders_resolution(offset: int, certain: bool) -> None:
    intent = make_intent(
        moves_per_shot=1, phases=["entry"], targets=[9_500], doses_nl=[20_000], carries=[6], start=9_976
    )
    result: Settlement = settle(intent, position=Increments(9_500 + offset), seen=Seen(opened=1, done=1))
    assert result.certain is certain


def test_a_shot_whose_gates_never_opened_did_not_take_place() -> None:
    result = settle(make_intent(), position=Increments(9_520), seen=Seen(opened=4, done=4))
    assert [shot.touched for shot in result.shots] == [True, False]
    assert [shot.outcome for shot in result.shots] == [Outcome.DELIVERED, Outcome.PARTIAL]
    assert (result.given, result.carry, result.low_water) == (480, 6, 9_496)


def test_of_two_courses_that_gave_the_same_a_shot_is_rather_counted_than_forgotten() -> None:
    nothing_in_the_second = make_intent(
        moves_per_shot=1, phases=["entry", "entry"], targets=[9_500, 9_500], start=9_976, carries=[6, 7]
    )
    result = settle(nothing_in_the_second, position=Increments(9_500), seen=None)
    assert [shot.touched for shot in result.shots] == [True, True]


@pytest.mark.parametrize(
    ("seen", "position", "given"),
    [
        # Two gates less than the plunger's place needs: it came by the exit, lower than where it stands now.
        (Seen(opened=0, done=0), 9_520, 480),
        # More ends than the plunger's place allows: what was reported is booked.
        (Seen(opened=3, done=3), 9_700, 480),
        # Nothing fits: it stands above where it began.
        (Seen(opened=2, done=1), 10_050, 384),
    ],
)
def test_where_counts_and_position_contradict_each_other_the_most_of_both_is_booked(
    seen: Seen, position: int, given: int
) -> None:
    result = settle(make_intent(), position=Increments(position), seen=seen)
    assert not result.certain
    assert (result.given, result.low_water, result.position) == (given, position, position)


@pytest.mark.parametrize(("deeper", "booked"), [(-1, [120, 121]), (1, [120, 123]), (50, [120, 172])])
def test_what_the_plunger_went_beyond_every_target_is_booked_on_the_end_of_the_last_shot(
    deeper: int, booked: list[int]
) -> None:
    intent = make_intent(
        moves_per_shot=2, phases=["entry", "exit"] * 2, targets=[9_900, 9_856, 9_800, 9_736], start=9_976
    )
    # No gate was seen open, so that not even the first unit beyond the last target is explained.
    result = settle(intent, position=Increments(9_736 - deeper), seen=Seen(opened=0, done=0))
    assert [shot.total for shot in result.shots] == booked
    beyond = deeper + POSITION_TOLERANCE
    assert result.shots[1].given == {Phase.ENTRY: 56, Phase.EXIT: 64 + beyond}
    assert all(shot.touched and shot.outcome is Outcome.UNCERTAIN for shot in result.shots)
    assert (result.given, result.low_water) == (240 + beyond, 9_736 - deeper)


@pytest.mark.parametrize(("opened", "expected"), [(0, 10_000), (1, 9_880), (3, 9_496), (4, 9_520), (8, 9_040)])
def test_without_a_position_the_plunger_is_expected_where_the_last_open_gate_let_it_go(
    opened: int, expected: int
) -> None:
    result = settle(make_intent(), position=None, seen=Seen(opened=opened, done=0))
    assert (result.position, result.low_water) == (expected, expected)


@pytest.mark.parametrize(("distance", "certain"), [(2, True), (3, False)])
def test_above_its_start_the_plunger_is_explained_within_the_encoders_resolution_only(
    distance: int, certain: bool
) -> None:
    result = settle(make_intent(), position=Increments(10_000 + distance), seen=Seen(opened=0, done=0))
    assert (result.certain, result.given) == (certain, 0)


def test_an_excess_makes_a_shot_of_one_that_was_to_give_nothing() -> None:
    intent = make_intent(
        moves_per_shot=1, phases=["entry", "entry"], targets=[9_500, 9_500], start=9_976, carries=[6, 7]
    )
    result = settle(intent, position=Increments(9_450), seen=Seen(opened=0, done=0))
    assert [(shot.total, shot.touched) for shot in result.shots] == [(476, True), (52, True)]


def test_a_move_that_only_repays_gives_nothing_and_the_next_one_what_is_below_the_old_low_water() -> None:
    intent = make_intent(
        moves_per_shot=2, phases=["entry", "exit"], targets=[9_990, 9_950], doses_nl=[1_000], carries=[6]
    )
    result = settle(intent, position=Increments(9_950), seen=Seen(opened=2, done=2))
    assert (result.shots[0].given, result.given) == ({Phase.ENTRY: 0, Phase.EXIT: 26}, 26)
    assert result.certain


def test_more_ends_than_gates_are_no_reason_to_doubt_a_position_that_the_gates_explain() -> None:
    assert settle(make_intent(), position=Increments(9_880), seen=Seen(opened=1, done=3)).certain
    whole = settle(make_intent(), position=Increments(9_040), seen=Seen(opened=9, done=12))
    assert (whole.certain, whole.given) == (True, 960)


def test_a_plunger_read_back_above_the_top_of_its_stroke_books_no_more_than_the_syringe_held() -> None:
    intent = make_intent(moves_per_shot=1, phases=["entry"], targets=[0], start=480, low_water=480, doses_nl=[20_000])
    result = settle(intent, position=Increments(-30), seen=None)
    assert (result.given, result.low_water, result.certain) == (480, 0, False)
