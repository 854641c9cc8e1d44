"""A check-list: nothing is armed until everything required is confirmed, by name, and a restart forgets none of it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controller.live import checklist_items, refusals, snapshot
from device.controller.recovery import restored_session
from device.core.checklist import Checklist, Item, checklist_refusals, missing_checklist, open_items
from device.core.console import Console, State
from device.core.effects import Reply
from device.core.events import CheckRequested
from device.core.ledger import Ledger, apply
from device.core.machine import step
from device.core.realtime_messages import PressIgnored, PressRefusal
from device.core.records import CommandTaken, ItemChecked, PressRefused, SessionStarted
from device.settings import load_configuration
from tests.support.core import LAW, make_serum
from tests.support.journal import STARTED
from tests.support.machine import (
    ARM,
    CHECKLIST,
    DISARMED,
    PRIME,
    REQUEST,
    SESSION,
    START_SESSION,
    after,
    records_in,
    reply_in,
)
from tests.support.settings import SHIPPED

WITH_LIST = replace(START_SESSION, checklist=CHECKLIST, checklist_sha256="c")
LISTED = after(DISARMED, WITH_LIST)
PREGNANT = "check-list: asked: not pregnant: confirm with `mesogun session check not-pregnant --by NAME`"
DISINFECTED = "check-list: done: scalp disinfected: confirm with `mesogun session check disinfected --by NAME`"


def checking(*items: str, by: str = "a nurse") -> CheckRequested:
    return CheckRequested(REQUEST, items, by)


def why_not_armed(console: Console) -> tuple[str, ...]:
    return reply_in(step(console, ARM)[1]).reasons


def test_the_gun_is_not_armed_until_every_required_item_is_confirmed() -> None:
    assert why_not_armed(LISTED) == (PREGNANT, DISINFECTED)
    half = after(LISTED, checking("disinfected"))
    assert why_not_armed(half) == (PREGNANT,)
    assert after(half, checking("not-pregnant"), ARM).state is State.REFILLING


def test_the_check_list_keeps_from_arming_alone() -> None:
    assert after(LISTED, PRIME).state is State.REFILLING


@given(order=st.lists(st.sampled_from([item.key for item in CHECKLIST.items]), max_size=6), together=st.booleans())
@LAW
def test_only_what_is_required_counts_in_whatever_order_and_company_it_is_confirmed(
    order: Sequence[str], together: bool
) -> None:
    asked = [checking(*order)] if together and order else [checking(item) for item in order]
    console = after(LISTED, *asked)
    armed = after(console, ARM).state is State.REFILLING
    assert armed is ({"not-pregnant", "disinfected"} <= set(order))
    assert console.ledger.session is not None
    assert set(console.ledger.session.checked) == set(order)


def test_each_item_is_a_record_of_what_was_shown_and_who_said_so() -> None:
    _, effects = step(LISTED, checking("disinfected", "music"))
    command, first, second = records_in(effects)
    assert command == CommandTaken("session check", 1000, 77, accepted=True, reason="")
    assert first == ItemChecked("s-1", "standard", "disinfected", "done: scalp disinfected", "a nurse", 1000)
    assert second.item == "music"
    assert reply_in(effects) == Reply(REQUEST, accepted=True, reasons=())


def test_an_unknown_item_is_refused_with_those_there_are_and_nothing_of_the_command_counts() -> None:
    console, effects = step(LISTED, checking("disinfected", "vaccinated"))
    assert reply_in(effects).reasons == (
        "check-list standard has no item 'vaccinated'; it has: not-pregnant, disinfected, music",
    )
    assert console.ledger.session == LISTED.ledger.session


def test_without_a_check_list_there_is_nothing_to_confirm_and_nothing_to_wait_for() -> None:
    _, effects = step(SESSION, checking("disinfected"))
    assert reply_in(effects).reasons == ("the session has no check-list: nothing is to be confirmed",)
    assert after(SESSION, ARM).state is State.REFILLING


def test_a_serum_that_needs_a_check_list_starts_no_session_without_one() -> None:
    serum = replace(make_serum(), checklist_required=True)
    _, effects = step(DISARMED, replace(START_SESSION, serum=serum))
    assert reply_in(effects).reasons == (
        "mix is given with a check-list: give --checklist NAME, or a --course that names one",
    )
    assert after(DISARMED, replace(WITH_LIST, serum=serum)).state is State.SESSION
    assert missing_checklist(make_serum(), None) == ()


def test_a_press_in_front_of_an_open_check_list_says_so() -> None:
    (record,) = records_in(step(LISTED, PressIgnored(PressRefusal.NOT_ARMED))[1])
    assert isinstance(record, PressRefused)
    assert (
        record.reason.endswith(f"; {PREGNANT}; {DISINFECTED}") or record.reason == f"unfit: {PREGNANT}; {DISINFECTED}"
    )


def test_status_shows_the_list_what_is_open_and_why_nothing_is_armed() -> None:
    half = after(LISTED, checking("disinfected", "music"))
    shown = snapshot(half)
    assert (shown["checklist"], shown["checklist_open"]) == ("standard", "not-pregnant")
    assert [(item["key"], item["checked"]) for item in checklist_items(half)] == [
        ("not-pregnant", False),
        ("disinfected", True),
        ("music", True),
    ]
    assert PREGNANT in refusals(half, 0)
    assert (snapshot(SESSION)["checklist"], snapshot(SESSION)["checklist_open"], checklist_items(SESSION)) == (
        "",
        "",
        [],
    )


def test_the_next_session_begins_with_nothing_confirmed() -> None:
    ledger = after(LISTED, checking("disinfected")).ledger
    (started,) = (one for one in records_in(step(DISARMED, WITH_LIST)[1]) if isinstance(one, SessionStarted))
    assert (started.checklist, started.checklist_sha256) == ("standard", "c")
    again = apply(ledger, started)
    assert again.session is not None
    assert again.session.checked == ()


def test_a_record_of_no_session_confirms_nothing() -> None:
    record = ItemChecked("s-1", "standard", "disinfected", "done", "a nurse", 1000)
    assert apply(Ledger(), record) == Ledger()


def test_a_key_means_one_item() -> None:
    item = Item("disinfected", "done", required=True)
    with pytest.raises(ValueError, match="key must be another one"):
        Checklist("twice", (item, item), ())


def test_no_check_list_has_nothing_open() -> None:
    assert open_items(None, ()) == ()
    assert checklist_refusals(None, ()) == ()


def test_a_restored_session_has_its_check_list_and_is_dropped_if_that_was_changed() -> None:
    configuration = load_configuration(SHIPPED)
    profile, serum = configuration.profiles["nappage"], configuration.serums["saline"]
    syringe, checklist = configuration.syringes["1ml"], configuration.checklists["standard"]
    started = replace(
        STARTED,
        profile="nappage",
        profile_sha256=profile.sha256,
        serum="saline",
        serum_sha256=serum.sha256,
        syringe="1ml",
        syringe_sha256=syringe.sha256,
        checklist="standard",
        checklist_sha256=checklist.sha256,
    )
    session = restored_session(apply(Ledger(), started), configuration)
    assert session is not None
    assert session.checklist == checklist.value
    altered = replace(started, checklist_sha256="0" * 64)
    assert restored_session(apply(Ledger(), altered), configuration) is None
