"""What a patient had in the last 24 hours counts against the next session's limits, whoever ended what and when."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.console import Console, State
from device.core.effects import Reply
from device.core.events import (
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    Request,
    SessionStartRequested,
    SessionStopRequested,
    Started,
)
from device.core.ledger import Ledger, apply
from device.core.limits import ul
from device.core.machine import step
from device.core.patient_day import (
    DAY_MS,
    NOTHING_BEFORE,
    SESSIONS_KEPT_MOST,
    UNKNOWN_MS,
    Before,
    PastSession,
    dated,
    had_before,
    remembered,
)
from device.core.realtime_messages import EndReason, Loaded, Ready
from device.core.records import CommandTaken, SessionEnded, SessionStarted
from device.core.serum import Serum
from device.core.treatment import next_shot_refusals
from device.core.units import Increments, Micrograms, Nanolitres
from tests.support.core import LAW, SPEC, make_ingredient, make_limits, make_serum
from tests.support.machine import (
    ARM,
    DISARM,
    DISARMED,
    FILLED,
    REQUEST,
    SESSION,
    START_SESSION,
    after,
    magazine_ended,
    records_in,
    shots_given,
)

NOON_MS = 1_790_000_000_000
LIDOCAINE = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=600))
"""Sixty microlitres hold all that a patient may have: three shots of the plausible profile."""


def past(patient: str, ended_ms: int, volume_nl: int = 20_000) -> PastSession:
    return PastSession(patient, ended_ms, Nanolitres(volume_nl), (("lidocaine", Micrograms(volume_nl // 100)),))


@pytest.mark.parametrize(
    ("ended_ms", "counts"),
    [
        (NOON_MS - DAY_MS, False),
        (NOON_MS - DAY_MS + 1, True),
        (NOON_MS, True),
        # A clock that was set back, or that nobody has set: it counts.
        (NOON_MS + 3 * DAY_MS, True),
        (UNKNOWN_MS, True),
    ],
)
def test_a_session_counts_for_a_day_from_its_end(ended_ms: int, counts: bool) -> None:
    found = had_before([past("anna", ended_ms)], patient="anna", now_ms=NOON_MS)
    assert found == (Before(Nanolitres(20_000), (("lidocaine", Micrograms(200)),)) if counts else NOTHING_BEFORE)


def test_each_patient_is_counted_alone_and_those_without_an_id_together() -> None:
    sessions = [past("anna", NOON_MS), past("berta", NOON_MS), past("", NOON_MS), past("", NOON_MS)]
    volumes = {name: had_before(sessions, patient=name, now_ms=NOON_MS).volume_nl for name in ("anna", "", "clara")}
    assert volumes == {"anna": 20_000, "": 40_000, "clara": 0}


def test_an_ingredient_is_the_same_in_every_serum_whatever_its_letters() -> None:
    before = Before(
        Nanolitres(1), (("lidocaine", Micrograms(3)), ("dexpanthenol", Micrograms(5)), ("lidocaine", Micrograms(4)))
    )
    assert before.mass_of(replace(make_ingredient(ug_per_ml=1), name="LidoCaine")) == 7


def test_what_ended_at_an_unknown_time_ended_at_the_latest_when_the_next_one_began() -> None:
    known, unknown = past("anna", NOON_MS - 5), past("anna", UNKNOWN_MS)
    assert dated((known, unknown), NOON_MS) == (known, past("anna", NOON_MS))


def test_the_memory_is_bounded_and_keeps_the_latest() -> None:
    sessions: tuple[PastSession, ...] = ()
    for number in range(SESSIONS_KEPT_MOST + 2):
        sessions = remembered(sessions, past("anna", number + 1))
    assert (len(sessions), sessions[0].ended_ms) == (SESSIONS_KEPT_MOST, 3)
    assert remembered(sessions, past("anna", NOON_MS, volume_nl=0)) == sessions
    assert remembered((), past("anna", NOON_MS, volume_nl=1)) == (past("anna", NOON_MS, volume_nl=1),)


# --- through the machine -----------------------------------------------------------------------------------------


def start(*, serum: Serum = LIDOCAINE, patient: str = "anna", needle: str = "", at_ms: int) -> SessionStartRequested:
    request = replace(REQUEST, at_ms=at_ms)
    return replace(START_SESSION, session_id=f"s-{at_ms}", serum=serum, patient=patient, needle=needle, request=request)


def stop(at_ms: int) -> SessionStopRequested:
    return SessionStopRequested(Request(number=9, uid=1000, pid=77, at_ms=at_ms))


def fired(opened: Console, shots: int) -> Console:
    """Return the console after so many shots of its session, disarmed."""
    if not shots:
        return opened
    armed = after(opened, ARM)
    if armed.state is State.REFILLING:
        armed = after(armed, RefillDone(FILLED))
    assert armed.magazine is not None
    number = armed.magazine.magazine_id
    done = shots_given(after(armed, PumpLoaded(number), Loaded(number)), shots)
    return done if done.state is State.SESSION else unloaded(done)


def unloaded(console: Console) -> Console:
    """Disarm, and settle the magazine of which nothing was fired."""
    assert console.magazine is not None
    ended = magazine_ended(EndReason.UNLOADED, opened=0, done=0, magazine_id=console.magazine.magazine_id)
    return after(console, DISARM, replace(ended, shots_fired=0), PositionRead(console.magazine.start))


def treated(shots: int, *, stopped_ms: int) -> Console:
    """Return a console, disarmed and emptied, on which anna had `shots` of lidocaine in a session that was stopped."""
    begun = after(after(SESSION, stop(NOON_MS - 2 * DAY_MS)), start(at_ms=stopped_ms - 1000))
    console = after(fired(begun, shots), stop(stopped_ms))
    assert (console.session, console.state) == (None, State.DISARMED)
    return replace(console, ledger=replace(console.ledger, content=None))


def answer(console: Console, event: SessionStartRequested) -> tuple[Console, Reply]:
    opened, effects = step(console, event)
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    return opened, reply


def test_a_second_session_goes_on_where_the_first_one_left_the_limit() -> None:
    console, reply = answer(treated(2, stopped_ms=NOON_MS), start(at_ms=NOON_MS + 60_000))
    assert reply.accepted
    assert console.session is not None
    assert [bool(next_shot_refusals(console, console.session, more)) for more in range(3)] == [False, True, True]


def test_a_patient_who_has_had_all_of_an_ingredient_gets_no_session_until_a_day_has_passed() -> None:
    console = treated(3, stopped_ms=NOON_MS)
    _, reply = answer(console, start(at_ms=NOON_MS + DAY_MS - 1))
    assert not reply.accepted
    assert reply.reasons == (
        "lidocaine would reach 0.8 mg of at most 0.6 mg, 0.6 mg of it in 24 hours before this session",
    )
    assert answer(console, start(at_ms=NOON_MS + DAY_MS))[1].accepted
    assert answer(console, start(patient="berta", needle="n-2", at_ms=NOON_MS + 1))[1].accepted


def test_the_volume_of_a_day_holds_over_all_serums() -> None:
    console = treated(3, stopped_ms=NOON_MS)
    console = replace(console, spec=replace(SPEC, limits=make_limits(patient_day_nl=79_999)))
    _, reply = answer(console, start(serum=make_serum(), at_ms=NOON_MS + 1))
    assert reply.reasons == (
        f"{ul(60_000)} given to this patient in 24 hours before this session, the next shot would reach 80 uL: "
        "limits.patient_day_ml is 79.999 uL",
    )


def test_the_record_of_a_session_says_what_is_needed_to_count_it_later() -> None:
    console = treated(2, stopped_ms=NOON_MS)
    _, effects = step(console, start(at_ms=NOON_MS + 5))
    (started,) = [record for record in records_in(effects) if isinstance(record, SessionStarted)]
    assert (started.at_ms, started.ingredients, started.ug_per_ml, started.before_nl) == (
        NOON_MS + 5,
        ["lidocaine"],
        [10_000],
        40_000,
    )
    assert console.ledger.past[-1] == PastSession(
        "anna", NOON_MS, Nanolitres(40_000), (("lidocaine", Micrograms(400)),)
    )


def test_a_session_that_a_restart_ended_counts_from_the_start_of_the_next() -> None:
    (started,) = [
        record for record in records_in(step(DISARMED, START_SESSION)[1]) if isinstance(record, SessionStarted)
    ]
    given_some = PastSession("anna", UNKNOWN_MS, Nanolitres(5), ())
    ledger = apply(Ledger(past=(given_some,)), replace(started, at_ms=NOON_MS))
    assert ledger.past == (replace(given_some, ended_ms=NOON_MS),)
    ended = apply(ledger, SessionEnded(session_id="s-1", reason="stopped", shots=0, volume_nl=0, at_ms=NOON_MS + 1))
    assert ended.past == ledger.past


@LAW
@given(
    shots=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30 * 60 * 60 * 1000)), min_size=1, max_size=6),
)
def test_no_order_of_sessions_gives_more_of_an_ingredient_in_any_day_than_its_limit(
    shots: list[tuple[int, int]],
) -> None:
    console, now_ms = treated(0, stopped_ms=NOON_MS), NOON_MS
    doses: list[tuple[int, int]] = []
    for wished, wait_ms in shots:
        now_ms += wait_ms
        opened, reply = answer(console, start(at_ms=now_ms))
        if not reply.accepted:
            continue
        assert opened.session is not None
        session = opened.session
        allowed = sum(not next_shot_refusals(opened, session, more) for more in range(wished))
        doses.append((now_ms, allowed * 200))
        console = after(fired(opened, allowed), stop(now_ms))
        console = replace(console, ledger=replace(console.ledger, content=None))
    for at_ms, _ in doses:
        assert sum(mass for when, mass in doses if at_ms - DAY_MS < when <= at_ms) <= 600


# --- clocks that are wrong at one end ----------------------------------------------------------------------------


def test_a_clock_that_fell_behind_in_a_session_makes_what_it_gave_no_older() -> None:
    begun = after(after(SESSION, stop(NOON_MS - 2 * DAY_MS)), start(at_ms=NOON_MS))
    console = after(fired(begun, 3), stop(NOON_MS - 2 * DAY_MS))
    assert console.ledger.past[-1].ended_ms == NOON_MS
    # The clock was set right again.
    assert not answer(console, start(at_ms=NOON_MS + DAY_MS - 1))[1].accepted
    assert answer(console, start(at_ms=NOON_MS + DAY_MS))[1].accepted


def test_a_session_that_a_restart_ended_at_the_limit_is_over_a_day_after_it_was_first_asked_for() -> None:
    full = fired(after(after(SESSION, stop(NOON_MS - 2 * DAY_MS)), start(at_ms=NOON_MS)), 3)
    fresh = Console(spec=full.spec, ledger=full.ledger, formulary=full.formulary)
    position = full.ledger.position
    assert position is not None
    console = after(fresh, Started(), PumpProbed(Increments(position)), Ready(homed=True))
    assert console.ledger.past[-1].ended_ms == UNKNOWN_MS
    asked_ms = NOON_MS + 5 * DAY_MS
    # A clock that tells nothing dates nothing.
    asked, reply = answer(console, start(at_ms=UNKNOWN_MS))
    assert (reply.accepted, asked.ledger.past[-1].ended_ms) == (False, UNKNOWN_MS)
    asked, reply = answer(console, start(at_ms=asked_ms))
    assert (reply.accepted, asked.ledger.past[-1].ended_ms) == (False, asked_ms)
    assert not answer(asked, start(at_ms=asked_ms + DAY_MS - 1))[1].accepted
    assert answer(asked, start(at_ms=asked_ms + DAY_MS))[1].accepted


def test_another_command_dates_nothing() -> None:
    unknown = Ledger(past=(past("anna", UNKNOWN_MS),))
    assert apply(unknown, CommandTaken("home", 0, 1, accepted=True, reason="", at_ms=NOON_MS)) == unknown
    asked = CommandTaken("session start", 0, 1, accepted=False, reason="no", at_ms=NOON_MS)
    assert apply(unknown, asked).past == (past("anna", NOON_MS),)
