"""I7 over a gateway's whole life: whatever befalls broker, way, gateway and journal, each record comes, in order."""

import asyncio
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from device.controller.journal import Journal
from device.core.journal_chain import Entry
from device.core.records import Record
from device.gateway.live_file import LIVE_NAME, STALE_S
from device.gateway.messages import Message
from device.gateway.outbox import Outbox
from device.gateway.outbox_cursor import CURSOR_NAME, DRAFT_SUFFIX, CursorFile
from device.gateway.publications import DeviceAddress, event_of, publication
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from device.simulation.broker import Received, SimulatedBroker
from device.simulation.delivery import delivery_violations
from device.simulation.gateway_process import GatewayProcess, StoreMoment
from device.simulation.virtual_time import START_NS, VirtualTime
from tests.support.gateway import write_live
from tests.support.journal import INTENT, RAISED, SESSION, SHOT, journal_of

ADDRESS = DeviceAddress("clinic", "console-1")
STATUS = ADDRESS.topic("status/connection")
MACHINE = ADDRESS.topic("state/machine")
SECOND_NS = 1_000_000_000
RECOVERED_WITHIN_S = 200
"""The longest wait between two attempts (60 s), one attempt without an answer, and the backlog, twice over."""


class Console:
    """A journal that is written, the gateway beside it, and its broker; the controller's part is played by the test."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = Random(seed)
        self.time = VirtualTime()
        self.broker = SimulatedBroker(self.time, Random(seed + 1))
        self.directory = directory
        self.state = directory / "state"
        self.cursor = CursorFile(directory / CURSOR_NAME)
        self.state.mkdir()
        self.journals: list[list[Entry]] = []
        self.boots = 0
        self.journal = self.open_journal()
        self.gateway = GatewayProcess(
            self.time,
            self.broker,
            journal=self.state / JOURNAL_NAME,
            cursor_dir=directory,
            runtime_dir=directory,
            address=ADDRESS,
            wall_clock_ms=self.wall_clock_ms,
            random=Random(seed + 2),
        )
        self.gateway.start()

    def wall_clock_ms(self) -> int:
        return 1_772_600_767_089 + (self.time.now_ns - START_NS) // 1_000_000

    def open_journal(self) -> Journal:
        self.boots += 1
        journal = Journal.open(
            self.state / JOURNAL_NAME, boot_id=f"boot-{self.boots}", wall_clock_ms=self.wall_clock_ms
        )
        self.journals.append(list(journal.entries(0, 1000)) if journal.head.seq else [])
        return journal

    def append(self, records: int) -> None:
        """Append so many records, shots and others."""
        kinds: tuple[Record, ...] = (SHOT, RAISED, INTENT)
        self.journals[-1] += self.journal.append([self.random.choice(kinds) for _ in range(records)])

    def append_shot_and_alarm(self) -> None:
        self.journals[-1] += self.journal.append([SHOT, RAISED])

    def replace_journal(self, *, by_an_older_copy: bool) -> None:
        """Put another journal in its place: an empty one, or one brought back from a copy made now."""
        if by_an_older_copy:
            older = self.directory / "older.db"
            self.journal.close()
            shutil.copyfile(self.state / JOURNAL_NAME, older)
            self.journal = self.open_journal()
            self.journals.pop()
            self.append(5)
            self.journal.close()
        else:
            older = None
            self.journal.close()
        for name in (JOURNAL_NAME, f"{JOURNAL_NAME}-wal", f"{JOURNAL_NAME}-shm"):
            (self.state / name).unlink(missing_ok=True)
        if older is not None:
            older.replace(self.state / JOURNAL_NAME)
        self.journal = self.open_journal()

    def run_for(self, seconds: float) -> None:
        self.time.run_to(self.time.now_ns + round(seconds * SECOND_NS))

    def run_until(self, holds: Callable[[], bool], *, within_s: float) -> bool:
        deadline_ns = self.time.now_ns + round(within_s * SECOND_NS)
        while not holds() and self.time.now_ns < deadline_ns:
            self.run_for(0.1)
        return holds()

    def stored_seq(self) -> int:
        head = self.cursor.load()
        return head.seq if head is not None else 0

    def events(self) -> list[int]:
        return [json.loads(got.payload)["seq"] for got in self.broker.received if "/event/" in got.topic]

    def caught_up(self) -> bool:
        head = self.cursor.load()
        return head == self.journal.head or (head is None and self.journal.head.seq == 0)

    def is_well(self) -> bool:
        return self.gateway.alive and self.caught_up() and self.connection() == "connected"

    def recover(self) -> None:
        """Make everything well again and wait until the gateway has caught up.

        A stop, or a kill that was to come with the next store, may still end it once each.
        """
        if self.gateway.frozen:
            self.gateway.resume()
        self.broker.recover()
        for _ in range(3):
            if not self.gateway.alive:
                self.gateway.start()
            self.run_until(lambda: self.is_well() or not self.gateway.alive, within_s=RECOVERED_WITHIN_S)

    def violations(self, *, in_order_at_first: bool = True) -> list[str]:
        received = self.broker.received
        return delivery_violations(self.journals, received, ADDRESS, in_order_at_first=in_order_at_first)

    def bodies(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(got.payload) for got in self.broker.received if got.topic == ADDRESS.topic(name)]

    def statuses(self) -> list[str]:
        """Return every connection status that was published, wills among them."""
        return [body["reason"] for body in self.bodies("status/connection")]

    def connection(self) -> str:
        status = self.broker.retained.get(STATUS)
        return "" if status is None else str(json.loads(status.payload)["reason"])


@contextmanager
def console(directory: Path, seed: int = 1) -> Iterator[Console]:
    made = Console(directory, seed)
    try:
        yield made
    finally:
        made.gateway.close()
        made.journal.close()


# A gateway's life, at random.


def befall(gun: Console, *, refuse_some: bool) -> None:
    """Let one thing happen, of those that can happen now."""
    random, broker, gateway = gun.random, gun.broker, gun.gateway
    troubles: list[Callable[[], object]] = [
        broker.recover,
        broker.recover,
        broker.go_down,
        broker.cut,
        broker.fall_mute,
        *[lambda: broker.refuse("event/shot" if refuse_some else "")] * (5 if refuse_some else 1),
        lambda: broker.slow_down(random.randrange(50_000_000, 4 * SECOND_NS)),
        lambda: broker.restart(away_ns=random.randrange(5 * SECOND_NS), unanswered_ns=random.randrange(SECOND_NS // 2)),
    ]
    if gateway.frozen:
        troubles += [gateway.resume, gateway.resume, gateway.kill]
    elif gateway.alive:
        troubles += [gateway.kill, gateway.kill, gateway.freeze, gateway.stop]
        troubles += [lambda: gateway.kill_in_store(random.choice(list(StoreMoment)))] * 2
    else:
        troubles += [gateway.start] * 5
    random.choice(troubles)()
    if random.random() < 0.05:
        gun.replace_journal(by_an_older_copy=random.random() < 0.5)


def live(gun: Console, *, refuse_some: bool = False) -> None:
    """Write records while things befall, then let everything be well.

    Half of the time the gateway may first connect again: a trouble that meets nothing under way does little.
    """
    random = gun.random
    for _ in range(random.randrange(3, 12)):
        if random.random() < 0.5:
            gun.broker.recover()
            if not gun.gateway.alive:
                gun.gateway.start()
            gun.run_until(gun.is_well, within_s=60)
        gun.append(random.choice([0, 1, 1, 2, 5, 30]))
        gun.run_for(random.choice([0.0, 0.1, 0.1, 1.0]) * random.random())
        befall(gun, refuse_some=refuse_some)
        gun.run_for(random.choice([0.1, 2.0, 10.0, 20.0]) * random.random())
    gun.append(3)
    gun.recover()


@pytest.mark.parametrize("seed", range(100))
def test_every_record_comes_in_order_whatever_befalls(tmp_path: Path, seed: int) -> None:
    with console(tmp_path, seed) as gun:
        live(gun)

        assert gun.violations() == []
        assert gun.is_well()


@pytest.mark.parametrize("seed", range(100, 125))
def test_every_record_comes_and_is_repeated_in_order_where_only_some_are_refused(tmp_path: Path, seed: int) -> None:
    with console(tmp_path, seed) as gun:
        live(gun, refuse_some=True)

        assert gun.violations(in_order_at_first=False) == []
        assert gun.is_well()


def test_the_same_seed_gives_the_same_messages_at_the_same_nanoseconds(tmp_path: Path) -> None:
    lives: list[list[Received]] = [[], []]
    for number in (0, 1):
        for seed in range(3):
            directory = tmp_path / f"{number}-{seed}"
            directory.mkdir()
            with console(directory, seed) as gun:
                live(gun)
                lives[number] += gun.broker.received

    assert lives[0] == lives[1]
    assert any(message.duplicate for message in lives[0])


# The judge can find against a gateway.


class EagerOutbox(Outbox):
    """An outbox with a mistake: its cursor moves over what was sent."""

    def _take_acknowledgements(self, unacknowledged: deque[tuple[Entry, asyncio.Task[None]]]) -> bool:
        moved = super()._take_acknowledgements(unacknowledged)
        if unacknowledged:
            self.acknowledged = unacknowledged[-1][0].head
        return moved


def test_a_cursor_that_moves_before_the_acknowledgement_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.gateway.process.Outbox", EagerOutbox)
    with console(tmp_path) as gun:
        gun.run_for(1)
        gun.broker.cut()
        gun.append(1)
        gun.run_for(2)
        gun.gateway.kill()
        gun.recover()

        assert gun.is_well()
        assert gun.violations() == ["record 1 of boot-1 never came"]


def test_lives_at_random_find_the_eager_cursor_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.gateway.process.Outbox", EagerOutbox)
    guilty = []
    for seed in range(12):
        directory = tmp_path / str(seed)
        directory.mkdir()
        with console(directory, seed) as gun:
            live(gun)
            guilty += gun.violations()

    assert any("never came" in violation for violation in guilty)


@pytest.fixture
def delivered(tmp_path: Path) -> tuple[list[Entry], list[Received]]:
    """Return a journal of seven records and what a faultless delivery of them is."""
    with journal_of(tmp_path / JOURNAL_NAME, *SESSION) as journal:
        entries = list(journal.entries(0, 100))
    messages = [publication(ADDRESS, event_of(entry)) for entry in entries]
    return entries, [
        Received(message.topic, message.payload, qos=1, retained=False, duplicate=False, now_ns=1)
        for message in messages
    ]


def test_a_faultless_delivery_and_one_with_repeats_in_order_are_let_pass(
    delivered: tuple[list[Entry], list[Received]],
) -> None:
    entries, received = delivered

    assert delivery_violations([entries], received, ADDRESS) == []
    assert delivery_violations([entries], received[:5] + received[3:], ADDRESS) == []


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda right: right[:-1], "record 7 of 0d9e2f5c-boot never came"),
        (lambda right: right[:2] + right[3:], "record 3 of 0d9e2f5c-boot never came"),
        (lambda right: [right[1], right[0], *right[2:]], "record 2 of 0d9e2f5c-boot came first before record 1"),
        (lambda right: [*right, right[0]], "record 7 of 0d9e2f5c-boot came last before record 1"),
        (lambda right: [replace(right[0], topic=right[3].topic), *right], "came as something else"),
        (lambda right: [replace(right[0], payload=right[0].payload.replace(b"true", b"false")), *right], "came as"),
        (lambda right: [replace(right[0], retained=True), *right], "came as something else"),
        (
            lambda right: [*right, replace(right[6], payload=right[6].payload.replace(b'"seq":7', b'"seq":8'))],
            "record 8 of 0d9e2f5c-boot came and is in no journal",
        ),
    ],
)
def test_each_kind_of_false_delivery_is_found(
    delivered: tuple[list[Entry], list[Received]], wrong: Callable[[list[Received]], list[Received]], found: str
) -> None:
    entries, received = delivered

    violations = delivery_violations([entries], wrong(received), ADDRESS)

    assert any(found in violation for violation in violations)


def test_of_a_replaced_journal_an_unbroken_beginning_is_enough(delivered: tuple[list[Entry], list[Received]]) -> None:
    entries, received = delivered

    assert delivery_violations([entries, []], received[:4], ADDRESS) == []
    assert delivery_violations([entries, []], [], ADDRESS) == []
    assert delivery_violations([entries, []], received[1:4], ADDRESS) == ["record 1 of 0d9e2f5c-boot never came"]


# One trouble at a time.


def at_work(gun: Console) -> None:
    """Let the gateway publish five records and store its cursor."""
    gun.append(5)
    gun.run_for(3)
    assert gun.events() == [1, 2, 3, 4, 5]
    assert gun.stored_seq() == 5


def test_a_killed_gateway_says_nothing_more_and_the_broker_publishes_its_will(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.gateway.kill()
        gun.append(5)
        gun.run_for(30)

        assert gun.events() == [1, 2, 3, 4, 5]
        assert gun.connection() == "lost"
        assert json.loads(gun.broker.retained[MACHINE].payload)["journal"] == "ok"


def test_what_a_killed_gateway_had_sent_still_comes_and_is_repeated_by_the_next(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.broker.slow_down(SECOND_NS)
        gun.append(3)
        gun.run_for(0.1)
        gun.gateway.kill()
        gun.run_for(5)
        assert gun.events()[5:] == [6, 7, 8]
        gun.recover()

        assert gun.events()[5:] == [6, 7, 8, 6, 7, 8]
        assert gun.violations() == []


@pytest.mark.parametrize(
    ("moment", "stored", "draft"),
    [(StoreMoment.BEFORE, 5, False), (StoreMoment.DRAFT, 5, True), (StoreMoment.AFTER, 6, False)],
)
def test_a_gateway_killed_while_it_stores_leaves_the_old_cursor_or_the_new(
    tmp_path: Path, moment: StoreMoment, stored: int, draft: bool
) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.gateway.kill_in_store(moment)
        gun.append(3)
        gun.run_for(3)

        assert not gun.gateway.alive
        assert gun.stored_seq() == stored
        assert (tmp_path / (CURSOR_NAME + DRAFT_SUFFIX)).exists() == draft
        gun.recover()
        assert gun.events() == [1, 2, 3, 4, 5, 6, 7, 8, *range(stored + 1, 9)]
        assert gun.stored_seq() == 8


def test_a_stopped_gateway_flushes_and_says_so(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        gun.run_for(1)
        gun.append(40)
        gun.gateway.stop()
        gun.run_for(2.1)

        assert not gun.gateway.alive
        assert gun.connection() == "stopped"
        assert gun.stored_seq() == 40
        assert gun.violations() == []


def test_a_frozen_gateway_is_given_up_by_the_broker_and_comes_back(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.gateway.freeze()
        gun.append(5)
        gun.run_for(7)
        assert gun.connection() == "connected"
        gun.run_for(16)
        assert gun.connection() == "lost"
        gun.gateway.resume()
        gun.run_for(5)

        assert gun.connection() == "connected"
        assert gun.violations() == []


def test_a_short_freeze_costs_nothing(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.gateway.freeze()
        gun.append(5)
        gun.run_for(5)
        gun.gateway.resume()
        gun.run_for(40)

        assert gun.events() == list(range(1, 11))
        assert "lost" not in gun.statuses()


def test_a_half_open_connection_is_given_up_and_its_will_does_not_outlast_the_next_one(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.broker.cut()
        gun.append(5)
        gun.run_for(5)
        gun.broker.recover()
        gun.run_for(3)
        assert gun.events() == [1, 2, 3, 4, 5]
        gun.run_for(60)

        assert gun.events() == list(range(1, 11))
        assert gun.statuses() == ["connected", "lost", "connected"]


def test_messages_taken_but_not_acknowledged_are_repeated(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.broker.restart(away_ns=SECOND_NS, unanswered_ns=SECOND_NS // 2)
        gun.append(2)
        gun.run_for(10)

        assert gun.events()[5:] == [6, 7, 6, 7]
        assert gun.violations() == []


def test_a_refused_record_is_not_passed_over_and_is_not_asked_for_again_in_haste(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.broker.refuse("event/shot")
        gun.append_shot_and_alarm()
        gun.run_for(120)
        # Both were under way together, and on each later connection the refused one goes alone.
        assert gun.events() == [1, 2, 3, 4, 5, 7]
        assert gun.stored_seq() == 5
        assert 3 <= gun.statuses().count("connected") <= 12
        gun.recover()

        assert gun.events() == [1, 2, 3, 4, 5, 7, 6, 7]
        assert gun.stored_seq() == 7


def test_a_broker_slower_than_an_answer_may_be_costs_repeats_and_no_record(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        gun.broker.slow_down(8 * SECOND_NS)
        gun.append(5)
        gun.run_for(100)
        assert gun.stored_seq() == 5
        gun.recover()

        assert gun.events()[5:] == [6, 7, 8, 9, 10, 6, 7, 8, 9, 10]
        assert gun.violations() == []
        assert gun.is_well()


def test_live_values_go_by_the_virtual_clocks(tmp_path: Path) -> None:
    with console(tmp_path) as gun:
        for shots in (3, 4):
            write_live(tmp_path, shots=shots)
            stamp_s = gun.wall_clock_ms() / 1000
            os.utime(tmp_path / LIVE_NAME, (stamp_s, stamp_s))
            gun.run_for(1)
        assert [body["shots"] for body in gun.bodies("live/session")] == [3, 4]
        assert gun.bodies("state/machine")[-1]["state"] == "armed"
        gun.run_for(STALE_S + 1)

        assert gun.bodies("state/machine")[-1]["state"] == "unknown"


# How the journal is looked at.


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of the records after which the journal was read, as it goes on."""
    after_each: list[int] = []
    look = JournalReader.entries

    def counted(reader: JournalReader, after: int, limit: int) -> tuple[Entry, ...]:
        found = look(reader, after, limit)
        after_each.append(after)
        return found

    monkeypatch.setattr(JournalReader, "entries", counted)
    return after_each


def test_a_journal_at_rest_is_read_once_a_second_and_a_new_record_is_found_at_once(
    tmp_path: Path, looks: list[int]
) -> None:
    with console(tmp_path) as gun:
        at_work(gun)
        looks.clear()
        gun.run_for(20)
        assert 19 <= len(looks) <= 21
        gun.append(1)
        gun.run_for(0.1)

        assert gun.events() == [1, 2, 3, 4, 5, 6]


def test_a_record_committed_beside_a_look_is_found_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = JournalReader.entries

    def beside_a_writer(reader: JournalReader, after: int, limit: int) -> tuple[Entry, ...]:
        found = look(reader, after, limit)
        if after == 5 and gun.journal.head.seq == 5:
            gun.append(1)
        return found

    with console(tmp_path) as gun:
        at_work(gun)
        monkeypatch.setattr(JournalReader, "entries", beside_a_writer)
        assert gun.run_until(lambda: gun.journal.head.seq == 6, within_s=2)
        gun.run_for(0.1)

        assert gun.events() == [1, 2, 3, 4, 5, 6]


def test_a_record_without_a_message_is_not_passed_over_and_the_state_says_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_message_for_the_seventh(entry: Entry) -> Message:
        if entry.seq == 7:
            raise ValueError("unheard of")
        return event_of(entry)

    with console(tmp_path) as gun:
        at_work(gun)
        with monkeypatch.context() as patched:
            patched.setattr("device.gateway.outbox.event_of", no_message_for_the_seventh)
            gun.append(5)
            gun.run_for(20)
            assert gun.events() == [1, 2, 3, 4, 5, 6]
            assert gun.bodies("state/machine")[-1]["journal"] == "damaged"
            assert caplog.text.count("record 7: no message for it (unheard of)") == 1
        gun.run_for(2)

        assert gun.events() == list(range(1, 11))
        assert gun.bodies("state/machine")[-1]["journal"] == "ok"
