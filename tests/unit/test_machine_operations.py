"""The machine between shots, case by case: self-test, homing, prime, refill, and what a session may begin with."""

from dataclasses import replace

import pytest

from device.core.console import Console, State
from device.core.effects import Commit, HomePlunger, LoadPump, Refill, Reply, Send
from device.core.events import (
    Command,
    HomeRequested,
    PlungerAtTop,
    PositionRead,
    PumpLoaded,
    PumpProbed,
    RefillDone,
    Request,
    SessionStartRequested,
    SessionStopRequested,
)
from device.core.faults import Fault
from device.core.machine import step
from device.core.profile import Mode
from device.core.realtime_messages import EndReason, Home, Homed, Ready, Reset
from device.core.records import (
    CommandTaken,
    FaultRaised,
    PlungerFound,
    PlungerHomed,
    Refilled,
    SessionEnded,
    SessionStarted,
)
from device.core.session import Session
from device.core.shot_plan import plan_stroke
from device.core.units import Increments, Nanolitres
from tests.support.core import SPEC, SYRINGE, make_ingredient, make_profile, make_serum
from tests.support.machine import (
    ARM,
    ARMED,
    DISARM,
    DISARMED,
    FILLED,
    HOMING,
    PRIME,
    PROFILE,
    REFILLING,
    REQUEST,
    SELF_TEST,
    SESSION,
    START_SESSION,
    after,
    records_in,
    reply_in,
    shots_given,
)

NEEDLE_ONLY = HomeRequested(REQUEST, plunger=False, patient_detached=False)
ANNAS = after(shots_given(ARMED, 5), SessionStopRequested(REQUEST))
"""Disarmed; what is left in the syringe was drawn in the session of the patient anna."""


def reasons_against(console: Console, start: SessionStartRequested) -> tuple[str, ...]:
    """Return why `start` is refused; the console and its ledger are unchanged by it."""
    unchanged, effects = step(console, start)
    commit, reply = effects
    assert isinstance(reply, Reply)
    (attempt,) = records_in((commit,))
    assert attempt == CommandTaken("session start", 1000, 77, accepted=False, reason="; ".join(reply.reasons))
    assert not reply.accepted
    assert unchanged == console
    return reply.reasons


# --- self-test ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "initialised"), [(None, False), (Increments(0), True)])
def test_the_pump_says_whether_it_knows_its_place(position: Increments | None, initialised: bool) -> None:
    console, effects = step(SELF_TEST, PumpProbed(position))
    assert (console.initialised, console.probed, effects) == (initialised, True, (Send(Reset()),))


def test_without_any_place_in_the_book_the_pumps_own_is_no_discovery() -> None:
    assert records_in(step(SELF_TEST, PumpProbed(Increments(9_000)))[1]) == []


@pytest.mark.parametrize(("found", "faulty"), [(9_997, False), (9_976, False), (9_975, True), (10_003, False)], ids=str)
def test_a_plunger_deeper_than_it_ever_was_is_a_fault_and_repaying_a_suck_back_is_none(
    found: int, faulty: bool
) -> None:
    ledger = replace(DISARMED.ledger, position=10_000, low_water=9_976)
    console, effects = step(replace(SELF_TEST, ledger=ledger), PumpProbed(Increments(found)))
    discovery, *raised = records_in(effects)
    assert discovery == PlungerFound(expected=10_000, position=found)
    assert console.ledger.position == found
    assert bool(raised) is faulty
    if faulty:
        (fault,) = raised
        assert isinstance(fault, FaultRaised)
        assert (fault.code, fault.detail) == (
            Fault.PUMP_POSITION_MISMATCH,
            f"expected 10000, found {found} increments; nothing was under way, none is booked",
        )
        assert Send(Reset()) not in effects
    else:
        assert effects[-1] == Send(Reset())


def test_a_session_whose_files_have_changed_is_ended_by_the_self_test() -> None:
    restarted = replace(SELF_TEST, ledger=SESSION.ledger)
    console, effects = step(restarted, PumpProbed(Increments(0)))
    (ended,) = records_in(effects)
    assert ended == SessionEnded(session_id="s-1", reason="configuration changed", shots=0, volume_nl=0)
    assert console.ledger.session is None
    assert after(console, Ready(homed=True)).state is State.DISARMED


def test_a_session_whose_files_are_the_same_goes_on_disarmed_after_a_restart() -> None:
    restarted = replace(SELF_TEST, ledger=SESSION.ledger, session=SESSION.session, armed=True)
    console, effects = step(restarted, PumpProbed(Increments(0)))
    assert records_in(effects) == []
    console, effects = step(console, Ready(homed=True))
    assert (console.state, console.armed, effects) == (State.SESSION, False, ())


@pytest.mark.parametrize("homed", [True, False])
def test_the_self_test_learns_from_the_real_time_process_whether_the_needle_is_home(homed: bool) -> None:
    console = after(SELF_TEST, PumpProbed(None), Ready(homed=homed))
    assert (console.ready, console.homed) == (True, homed)


def test_an_uncertain_magazine_of_before_the_restart_is_named_in_its_fault() -> None:
    _, effects = step(replace(SELF_TEST, ledger=ARMED.ledger), PumpProbed(None))
    (raised,) = [record for record in records_in(effects) if isinstance(record, FaultRaised)]
    assert (raised.code, raised.detail) == (Fault.DOSE_UNCERTAIN, "magazine 1 booked at its largest possible dose")


# --- homing ------------------------------------------------------------------------------------------------------


def test_homing_waits_until_the_needle_is_out_after_a_fault() -> None:
    _, effects = step(replace(SESSION, ready=False), NEEDLE_ONLY)
    assert reply_in(effects).reasons == ("the needle is still on its way home: try again",)


def test_homing_the_needle_alone_needs_nobody_detached_and_leaves_the_plunger() -> None:
    console, effects = step(DISARMED, NEEDLE_ONLY)
    commit, send = effects
    assert records_in((commit,)) == [CommandTaken("home", 1000, 77, accepted=True, reason="")]
    assert send == Send(Home())
    assert (console.state, console.homed, console.plunger_wanted) == (State.HOMING, False, False)
    console, effects = step(console, Homed(3))
    assert effects == (Reply(REQUEST, accepted=True, reasons=()),)
    assert (console.state, console.homed) == (State.DISARMED, True)


def test_homing_in_a_session_leads_back_to_it() -> None:
    assert after(SESSION, NEEDLE_ONLY, Homed(3)).state is State.SESSION


def test_the_plunger_is_homed_once_after_the_needle_and_then_known() -> None:
    lost = replace(HOMING, initialised=False)
    console, effects = step(lost, Homed(3))
    assert (console.plunger_wanted, effects) == (False, (HomePlunger(),))
    console, effects = step(console, PlungerAtTop(Increments(4)))
    assert records_in(effects) == [PlungerHomed(position=4)]
    assert (console.initialised, console.ledger.position, console.ledger.low_water) == (True, 4, 4)
    assert console.state is State.DISARMED


# --- what a session may begin with -------------------------------------------------------------------------------


def test_a_session_is_written_down_whole_and_its_plan_kept() -> None:
    start = replace(START_SESSION, weight_g=70_000)
    console, effects = step(DISARMED, start)
    commit, reply = effects
    assert records_in((commit,)) == [
        CommandTaken("session start", 1000, 77, accepted=True, reason=""),
        SessionStarted(
            session_id="s-1",
            profile="point",
            profile_sha256="p",
            serum="mix",
            serum_sha256="s",
            syringe="1ml",
            syringe_sha256="y",
            patient="anna",
            weight_g=70_000,
            regions=["crown", "temple"],
            region_points=[3, 2],
            region_area_mm2=[0, 0],
            region_spacing_um=[0, 0],
            region_grid=["square", "square"],
            formulary_version=3,
            formulary_sha256="f",
        ),
    ]
    assert reply == Reply(REQUEST, accepted=True, reasons=())
    assert console.session == Session(
        session_id="s-1",
        profile=PROFILE,
        serum=start.serum,
        syringe=SYRINGE,
        patient="anna",
        weight_g=70_000,
        regions=start.regions,
        plan=plan_stroke(PROFILE, SYRINGE, SPEC),
    )
    assert (console.state, console.armed, console.pending) == (State.SESSION, False, None)


def test_a_new_session_begins_without_the_last_ones_shot_and_end() -> None:
    assert ANNAS.last_shot is not None
    assert ANNAS.ended is EndReason.COMPLETE
    console = after(ANNAS, replace(START_SESSION, session_id="s-2"))
    assert (console.last_shot, console.ended) == (None, None)


def test_a_syringe_of_another_pump_is_refused() -> None:
    other = replace(SYRINGE, stroke_increments=Increments(3_000))
    assert reasons_against(DISARMED, replace(START_SESSION, syringe=other)) == (
        "the syringe is calibrated for another pump stroke",
    )


def test_a_serum_that_needs_the_weight_is_refused_without_it() -> None:
    serum = make_serum(make_ingredient(ug_per_ml=1, most_ug_per_kg=1_000))
    (reason,) = reasons_against(DISARMED, replace(START_SESSION, serum=serum))
    assert reason == "lidocaine in mix has a limit per kilogram: give --weight-kg"
    assert reply_in(step(DISARMED, replace(START_SESSION, serum=serum, weight_g=70_000))[1]).accepted


def test_foreign_content_and_an_impossible_profile_are_told_together() -> None:
    reasons = reasons_against(
        ANNAS, replace(START_SESSION, patient="bert", needle="n-2", profile=make_profile(depth_um=13_001))
    )
    assert len(reasons) == 2
    assert reasons[0] == (
        "the syringe 1ml holds mix of an earlier session: change syringe, tube and needle, then without a patient "
        "`mesogun home --plunger --patient-detached`"
    )
    assert "limits.depth_mm" in reasons[1]


def test_a_first_shot_that_a_limit_forbids_is_told_in_the_limits_words() -> None:
    serum = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=199))
    (reason,) = reasons_against(DISARMED, replace(START_SESSION, serum=serum))
    assert reason == "lidocaine would reach 0.2 mg of at most 0.199 mg"


def test_patients_without_a_name_are_never_taken_for_the_same() -> None:
    nameless = replace(START_SESSION, patient="")
    drawn = after(DISARMED, nameless, ARM, RefillDone(FILLED), DISARM, PumpLoaded(1), PositionRead(FILLED))
    (reason,) = reasons_against(after(drawn, SessionStopRequested(REQUEST)), replace(nameless, session_id="s-2"))
    assert "of an earlier session" in reason


def test_what_a_pump_without_initialisation_holds_is_emptied_by_its_homing_and_forbids_no_session() -> None:
    _, effects = step(replace(ANNAS, initialised=False), replace(START_SESSION, patient="bert", needle="n-2"))
    assert reply_in(effects).accepted


# --- refill and prime --------------------------------------------------------------------------------------------


def test_what_was_drawn_is_booked_from_where_the_plunger_stood() -> None:
    ledger = replace(REFILLING.ledger, position=1_000, low_water=1_000)
    console, effects = step(replace(REFILLING, ledger=ledger), RefillDone(FILLED))
    refilled = records_in(effects)[0]
    assert refilled == Refilled(from_position=1_000, position=FILLED, volume_nl=957_417)
    assert console.ledger.session is not None
    assert console.ledger.session.drawn_nl == 957_417


def test_a_refill_that_ended_lower_than_it_began_drew_nothing() -> None:
    ledger = replace(REFILLING.ledger, position=20_000, low_water=20_000)
    _, effects = step(replace(REFILLING, ledger=ledger), RefillDone(Increments(19_999)))
    assert records_in(effects)[0] == Refilled(from_position=20_000, position=19_999, volume_nl=0)


def test_a_refill_that_outlives_its_session_is_booked_and_goes_nowhere() -> None:
    console, effects = step(replace(REFILLING, session=None, pending=None), RefillDone(FILLED))
    assert records_in(effects) == [Refilled(from_position=0, position=FILLED, volume_nl=0)]
    assert [type(effect) for effect in effects] == [Commit]
    assert console.state is State.DISARMED


def test_a_prime_from_an_empty_plunger_is_drawn_for_then_committed_and_loaded() -> None:
    console, effects = step(SESSION, PRIME)
    commit, refill = effects
    assert records_in((commit,)) == [CommandTaken("prime", 1000, 77, accepted=True, reason="")]
    assert isinstance(refill, Refill)
    assert (console.state, console.prime_nl, console.pending) == (State.REFILLING, 50_000, REQUEST)
    console, effects = step(console, RefillDone(FILLED))
    commit, load = effects
    _, intent = records_in((commit,))
    assert isinstance(load, LoadPump)
    assert (intent.purpose, intent.magazine_id, intent.session_id, intent.targets) == (
        "prime",
        1,
        "s-1",
        [FILLED - 1_200],
    )
    assert [move.target for move in load.program.moves] == intent.targets
    assert (console.state, console.prime_nl) == (State.PRIMING, 0)


def test_a_prime_that_is_refused_is_written_down_as_refused() -> None:
    # It once was written down as accepted.
    too_much = replace(PRIME, volume_nl=Nanolitres(300_001))
    console, effects = step(SESSION, too_much)
    commit, reply = effects
    assert reply == Reply(REQUEST, accepted=False, reasons=("300.001 uL exceed limits.prime_ul 300 uL",))
    assert records_in((commit,)) == [
        CommandTaken("prime", 1000, 77, accepted=False, reason="300.001 uL exceed limits.prime_ul 300 uL")
    ]
    assert console == SESSION


@pytest.mark.parametrize("command", [ARM, PRIME], ids=["arm", "prime"])
def test_what_an_empty_vial_cannot_give_is_written_down_as_refused(command: Command) -> None:
    # It once was written down as accepted.
    nearly_none = after(DISARMED, replace(START_SESSION, serum=make_serum(vial_nl=10_000)))
    _, effects = step(nearly_none, command)
    (written,) = records_in(effects)
    assert isinstance(written, CommandTaken)
    assert (written.accepted, written.reason) == (False, reply_in(effects).reasons[0])
    assert written.reason.startswith("reservoir: the vial is empty by the book")


def test_bursts_and_magazines_are_planned_before_a_session_begins() -> None:
    burst = make_profile(mode=Mode.BURST, burst_shots=9, require_contact=False)
    (reason,) = reasons_against(DISARMED, replace(START_SESSION, profile=burst))
    assert reason.startswith("burst_shots 9 exceeds the ")


def test_a_command_is_written_down_with_its_sender() -> None:
    _, effects = step(DISARMED, replace(NEEDLE_ONLY, request=Request(number=9, uid=1002, pid=4)))
    (record,) = records_in(effects)
    assert (record.uid, record.pid) == (1002, 4)
