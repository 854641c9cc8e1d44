"""What is around the product fails while it treats: lines' permission, wall clock, disk space, gateway.

After each: nothing moved by itself, the books are settled, and the next shot is given.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from random import Random
from typing import Any, Final

import pytest

from device.core.records import FaultRaised, MagazineIntent, ShotGiven
from device.service.control_client import CommandRefused
from tests.vm.rig.books import Books, all_rows, fire_once_more
from tests.vm.rig.cache import say
from tests.vm.rig.console import PROGRAM, STATE, VirtualConsole
from tests.vm.rig.machine import until
from tests.vm.rig.results import write_result

pytestmark = pytest.mark.timeout(3600)

POINTS: Final = 10
SETTLED_S: Final = 240.0
CHIP: Final = "/dev/gpiochip0"
UNIT: Final = "mesogun.service"
GATEWAY: Final = "mesogun-gateway.service"
FILLER: Final = "/var/lib/filler"
FILLS: Final = 3
"""The file system finds its last free blocks only when it has written down the others."""

BACKLOG: Final = 600
"""Records that wait for the broker at least."""

GATEWAY_KILLS: Final = 3
EVENTS: Final = "/run/events.jsonl"


@contextmanager
def timed(name: str, fault: str) -> Iterator[dict[str, Any]]:
    """Write down what a fault took, and whether it was survived."""
    started_s = time.monotonic()
    figures: dict[str, Any] = {}
    survived: list[dict[str, Any]] = []
    try:
        yield figures
        figures["seconds"] = round(time.monotonic() - started_s)
        survived.append(figures)
    finally:
        write_result(name, fault=fault, survived=survived, of=1)


def check_at_rest(console: VirtualConsole, since: int, given: int, books: Books) -> None:
    """No step, no open gate and no fluid since the edge of that number."""
    lines = console.lines
    edges = console.edges_since(since)
    assert not [edge for edge in edges if edge.line == lines.step and edge.level]
    assert not [edge for edge in edges if edge.line in (lines.gate_1, lines.gate_2) and not edge.level]
    assert books.given() == given


def test_without_the_lines_permission_the_controller_says_so_and_moves_nothing(console: VirtualConsole) -> None:
    machine = console.machine
    console.make_ready(points=POINTS)
    books = Books.opened(console)
    with timed("permission", "the lines' permission taken away") as figures:
        machine.shell(f"chown root:root {CHIP}; chmod 600 {CHIP}")
        try:
            # Who has the lines open keeps them: the session goes on.
            console.arm()
            console.shoot()
            console.ask("disarm")
            console.until_state("session")
            given, since = books.given(), len(console.wires.edges)
            assert given > 0
            restarted = machine.run("systemctl", "restart", UNIT, within_s=600)
            assert restarted.code != 0
            until(lambda: console.unit_property(UNIT, "ActiveState") == "failed", within_s=600, what="a unit given up")
            check_at_rest(console, since, given, books)
            assert console.motor_off()
            said = [line for line in console.log(UNIT).splitlines() if CHIP in line]
        finally:
            machine.shell(f"chown root:gpio {CHIP}; chmod 660 {CHIP}; systemctl reset-failed {UNIT}")
        assert said
        figures["said"] = said[-1]
        assert "Traceback" not in console.log(UNIT)
        console.start(UNIT)
        console.until_state("session")
        check_at_rest(console, since, given, books)
        books.check(certain=False)
        fire_once_more(console)
        books.check(certain=False)


@pytest.mark.parametrize("hours", [-6, 6])
def test_a_wall_clock_that_is_set_changes_nothing_but_the_records_stamps(console: VirtualConsole, hours: int) -> None:
    machine = console.machine
    console.make_ready(points=POINTS)
    books = Books.opened(console)
    name = "clock-back" if hours < 0 else "clock-forward"
    with timed(name, f"the wall clock set by {hours} h in a session") as figures:
        before, faults = len(all_rows(console)), len(console.records(FaultRaised))
        shots = len(console.records(ShotGiven))
        console.arm()
        console.shoot()
        machine.shell(f"date --set '{hours:+d} hours'")
        console.shoot()
        console.press_until_dosing()
        machine.shell(f"date --set '{hours:+d} hours'")
        until(lambda: len(console.records(ShotGiven)) == shots + 3, within_s=SETTLED_S, what="the third shot")
        console.operator.release()
        console.until_state("armed")
        console.shoot()
        console.ask("disarm")
        console.until_state("session")
        console.let_go()
        given = console.records(ShotGiven)[shots:]
        assert [(shot.outcome, shot.reason) for shot in given] == [("delivered", "")] * 4
        assert len(console.records(FaultRaised)) == faults
        books.check(certain=False)
        exported = machine.run(PROGRAM, "journal", "export", "--state", STATE).checked()
        entries = [json.loads(line) for line in exported.splitlines()][before:]
        stamps = [entry["ts_ms"] for entry in entries]
        jumps = [round((later - sooner) / 3_600_000) for sooner, later in pairwise(stamps)]
        assert [jump for jump in jumps if jump] == [hours, hours]
        assert [entry["seq"] for entry in entries] == list(range(entries[0]["seq"], entries[-1]["seq"] + 1))
        assert console.unit_property(UNIT, "NRestarts") == "0"
        figures["shots"] = len(given)
    fire_once_more(console)
    books.check(certain=False)


# The disk's space ---------------------------------------------------------------------------------------------------


def fill(console: VirtualConsole) -> None:
    """Take all of the disk's space."""
    more = f"cat /dev/zero >>{FILLER} 2>/dev/null || true; sync"
    console.machine.shell("\n".join([more] * FILLS), within_s=600)
    assert int(console.machine.shell("stat -f -c %a /var/lib")) == 0


def free(console: VirtualConsole) -> None:
    console.machine.shell(f"rm -f {FILLER}; sync")


def test_with_a_full_disk_nothing_is_armed_and_nothing_given(disk_console: VirtualConsole) -> None:
    console = disk_console
    console.make_ready(points=POINTS)
    books = Books.opened(console)
    with timed("disk-full-before", "the disk full before arming") as figures:
        try:
            fill(console)
            console.operator.touch_skin()
            since, given = len(console.wires.edges), books.given()
            with pytest.raises(CommandRefused) as refused:
                console.ask("arm")
            figures["said"] = str(refused.value)
            console.until_state("fault")
            assert console.faults == "402"
            console.operator.press()
            assert console.state == "fault"
            console.operator.release()
            check_at_rest(console, since, given, books)
        finally:
            free(console)
        console.let_go()
        console.ask("fault_clear")
        console.until_state("session")
        books.check(certain=False)
        fire_once_more(console)
        books.check(certain=False)


def test_a_disk_that_is_full_when_a_shot_has_been_given_loses_none_of_it(disk_console: VirtualConsole) -> None:
    console = disk_console
    console.make_ready(points=POINTS)
    books = Books.opened(console)
    with timed("disk-full-armed", "the disk full while armed; then the service restarted") as figures:
        console.arm()
        intents = [intent for intent in console.records(MagazineIntent) if intent.purpose == "inject"]
        try:
            fill(console)
            # Its intent was committed before it was loaded: this one shot may be given, and no other.
            console.shoot()
            console.until_state("fault")
            assert console.faults == "402"
            given, since = books.given(), len(console.wires.edges)
            assert 0 < given <= intents[-1].start - min(intents[-1].targets)
            console.operator.press()
            console.machine.run("systemctl", "restart", UNIT, within_s=600)
            console.operator.release()
            check_at_rest(console, since, given, books)
            figures["state_after_restart"] = console.state
        finally:
            free(console)
        console.let_go()
        console.machine.shell(f"systemctl reset-failed {UNIT}")
        console.start(UNIT)
        console.until_state("session", "fault")
        figures["state"], figures["faults"] = console.state, console.faults
        if console.state == "fault":
            console.ask("fault_clear")
            console.until_state("session")
        books.check(certain=False)
        fire_once_more(console)
        books.check(certain=False)


# The gateway --------------------------------------------------------------------------------------------------------


@contextmanager
def broker(console: VirtualConsole) -> Iterator[None]:
    """Run a real Mosquitto in the guest, and a subscriber that writes every event down."""
    machine = console.machine
    machine.write("/run/broker.conf", b"listener 1883 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    machine.shell("systemd-run --quiet --unit=broker mosquitto -c /run/broker.conf")
    listens = "mosquitto_pub -h 127.0.0.1 -p 1883 -t test/ready -m {}"
    until(lambda: machine.run("sh", "-c", listens).code == 0, within_s=60, what="a broker", look_s=0.2)
    machine.shell(
        f"systemd-run --quiet --unit=events -p StandardOutput=truncate:{EVENTS}"
        " stdbuf -oL mosquitto_sub -h 127.0.0.1 -V 5 -q 1 -F %j -t mesogun/v1/+/+/event/# -t test/ready"
    )
    subscribed = f"mosquitto_pub -h 127.0.0.1 -p 1883 -q 1 -t test/ready -m {{}}; test -s {EVENTS}"
    until(lambda: machine.run("sh", "-c", subscribed).code == 0, within_s=60, what="a subscriber", look_s=0.2)
    try:
        yield
    except BaseException:
        say(console.log(GATEWAY))
        raise
    finally:
        machine.run("systemctl", "stop", GATEWAY)
        machine.run("systemctl", "stop", "events", "broker")


def events(console: VirtualConsole) -> list[dict[str, Any]]:
    """Return the payload of every event that the subscriber received, in the order in which it did."""
    messages = [json.loads(line) for line in console.machine.read(EVENTS).splitlines(keepends=False) if line]
    return [json.loads(message["payload"]) for message in messages if "/event/" in message["topic"]]


def event_count(console: VirtualConsole) -> int:
    """Return how many messages the subscriber has received."""
    return int(console.machine.shell(f"wc -l <{EVENTS}"))


def make_backlog(console: VirtualConsole) -> None:
    """Have so many records that catching up takes a while: each needless command is one."""
    for _ in range(max(0, BACKLOG - len(all_rows(console)))):
        with suppress(CommandRefused):
            console.ask("disarm")
    assert len(all_rows(console)) >= BACKLOG


def test_a_gateway_killed_while_it_catches_up_leaves_no_gap(console: VirtualConsole) -> None:
    machine, random = console.machine, Random(1)
    console.make_ready(points=POINTS)
    books = Books.opened(console)
    machine.run("systemctl", "stop", GATEWAY)
    make_backlog(console)
    with timed("gateway-killed", "the gateway killed while it catches up") as figures, broker(console):
        machine.shell("rm -f /var/lib/mesogun-gateway/*")
        head = len(all_rows(console))
        figures["killed_at"] = []
        console.start(GATEWAY)
        for _ in range(GATEWAY_KILLS):
            # After so many more events, in the middle of what is still to come.
            wanted = event_count(console) + random.randrange(5, 60)
            until(lambda: event_count(console) >= wanted, within_s=SETTLED_S, what=f"{wanted} events")  # noqa: B023
            machine.run("systemctl", "kill", "--signal=KILL", GATEWAY).checked()
            figures["killed_at"].append(max(event["seq"] for event in events(console)))
            assert max(event["seq"] for event in events(console)) < head, "killed too late: it had caught up"
        # The gun does not depend on it: meanwhile it gives a shot.
        fire_once_more(console)
        head = len(all_rows(console))
        until(
            lambda: max(event["seq"] for event in events(console)) >= head,
            within_s=SETTLED_S,
            what="all records at the broker",
            look_s=0.5,
        )
        received = events(console)
        assert list(dict.fromkeys(event["seq"] for event in received))[:head] == list(range(1, head + 1))
        # A repeat says what it said the first time, under the same id.
        first: dict[tuple[str, int], dict[str, Any]] = {}
        for event in received:
            assert first.setdefault((event["boot_id"], event["seq"]), event) == event
        assert len({seq for _, seq in first}) == len(first)
        assert machine.run("systemctl", "is-active", UNIT).code == 0
        assert int(console.unit_property(GATEWAY, "NRestarts")) == GATEWAY_KILLS
        figures |= {"records": head, "received": len(received)}
        say(f"the gateway: {figures}")
    books.check(certain=False)
