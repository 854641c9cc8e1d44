"""The gateway against a real Mosquitto, seen by `mosquitto_sub`: every record, in order, through any outage."""

import json
import logging
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.gateway.outbox_cursor import CURSOR_NAME
from device.journal_file import JOURNAL_NAME
from tests.support.broker import HOST, MosquittoBroker, Received, Subscriber, poll, subscriber
from tests.support.gateway import LIVE, ROOT, gateway, settings_for, start_process, write_live
from tests.support.journal import BOOT_ID, SESSION, by_sql, journal_of, open_journal, shot

EVENTS = f"{ROOT}/event/#"
STOP_S = 5.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    directory = tmp_path / "broker"
    directory.mkdir()
    with MosquittoBroker(directory) as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


def numbers(received: list[Received]) -> list[int]:
    return [message.payload["seq"] for message in received]


def first_of_each(received: list[int]) -> list[int]:
    return list(dict.fromkeys(received))


def stored_seq(state: Path) -> int:
    cursor = state / CURSOR_NAME
    return int(json.loads(cursor.read_text())["seq"]) if cursor.exists() else 0


def end(process: subprocess.Popen[str]) -> str:
    """Kill the gateway where it stands and return its log."""
    process.kill()
    _, log = process.communicate(timeout=STOP_S)
    return log


def test_every_record_gives_one_event_in_order(broker: MosquittoBroker, state: Path) -> None:
    with (
        subscriber(broker.port, EVENTS) as events,
        journal_of(state / JOURNAL_NAME, *SESSION),
        gateway(settings_for(state, broker.port)),
    ):
        received = events.until(len(SESSION))

    assert [(message.topic.removeprefix(f"{ROOT}/event/"), message.payload["kind"]) for message in received] == [
        ("audit", "booted"),
        ("session", "session_started"),
        ("audit", "magazine_intent"),
        ("shot", "shot"),
        ("audit", "magazine_settled"),
        ("alarm", "fault_raised"),
        ("session", "session_ended"),
    ]
    assert numbers(received) == [1, 2, 3, 4, 5, 6, 7]
    assert {message.payload["boot_id"] for message in received} == {BOOT_ID}
    assert {message.qos for message in received} == {1}
    assert "Ada" not in str(received)


def test_a_record_appended_while_connected_is_published(broker: MosquittoBroker, state: Path) -> None:
    with (
        subscriber(broker.port, EVENTS) as events,
        open_journal(state / JOURNAL_NAME) as journal,
        gateway(settings_for(state, broker.port)),
    ):
        for number in range(1, 6):
            journal.append([shot(number)])
            assert events.next().payload["shot"] == number


def test_the_journal_may_come_after_the_gateway(broker: MosquittoBroker, state: Path) -> None:
    with subscriber(broker.port, f"{ROOT}/#") as everything, gateway(settings_for(state, broker.port)):
        machine = next_of(everything, "state/machine")
        assert (machine["journal"], machine["journal_code"]) == ("unavailable", 1)
        with journal_of(state / JOURNAL_NAME, shot(1)):
            assert numbers(everything.until(1))[-1] == 1


def test_a_broker_killed_in_mid_stream_misses_nothing(broker: MosquittoBroker, state: Path) -> None:
    with (
        subscriber(broker.port, EVENTS, session="auditor") as events,
        open_journal(state / JOURNAL_NAME) as journal,
        gateway(settings_for(state, broker.port)),
    ):
        broker.save()
        journal.append([shot(number) for number in range(1, 201)])
        received = numbers(events.until(30))
        broker.restart()
        journal.append([shot(number) for number in range(201, 301)])
        # A killed broker loses what it has acknowledged and neither handed on nor saved: nothing of that is under way.
        received += numbers(events.until(300))
        broker.kill()
        journal.append([shot(number) for number in range(301, 321)])
        broker.start()
        received += numbers(events.until(320))

    assert first_of_each(received) == list(range(1, 321))


def test_a_gateway_killed_in_mid_stream_misses_nothing(broker: MosquittoBroker, state: Path) -> None:
    with subscriber(broker.port, EVENTS) as events, open_journal(state / JOURNAL_NAME) as journal:
        for number in range(1, 300, 100):
            journal.append([shot(number) for number in range(number, number + 100)])
        first = start_process(state, broker.port)
        received = numbers(events.until(50))
        end(first)
        journal.append([shot(301)])
        second = start_process(state, broker.port)
        received += numbers(events.until(301))
        end(second)

    assert first_of_each(received) == list(range(1, 302))


def test_a_restarted_gateway_goes_on_from_its_cursor_and_the_will_tells_of_the_gap(
    broker: MosquittoBroker, state: Path
) -> None:
    with (
        subscriber(broker.port, EVENTS) as events,
        subscriber(broker.port, f"{ROOT}/status/#") as status,
        open_journal(state / JOURNAL_NAME) as journal,
    ):
        journal.append([shot(number) for number in range(1, 41)])
        first = start_process(state, broker.port)
        events.until(40)
        poll(lambda: stored_seq(state) == 40)
        log = end(first)
        journal.append([shot(41)])
        second = start_process(state, broker.port)
        assert events.next().payload["seq"] == 41
        second.terminate()
        second.communicate(timeout=STOP_S)
        seen = [status.next().payload[name] for name in ("reason", "online", "reason", "reason")]

    assert "publishing from record 1" in log
    assert seen == ["connected", False, "connected", "stopped"]
    assert second.returncode == 0


def test_a_broker_absent_at_start_is_waited_for(
    broker: MosquittoBroker, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with subscriber(broker.port, EVENTS, session="auditor") as events:
        broker.save()
        broker.kill()
        with journal_of(state / JOURNAL_NAME, *SESSION), gateway(settings_for(state, broker.port)):
            poll(lambda: f"broker {HOST}:{broker.port}: [Errno 111] Connection refused; next attempt in" in caplog.text)
            broker.start()
            assert numbers(events.until(7)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_refused_password_is_said_and_the_records_wait(
    broker: MosquittoBroker, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.admit("auditor", "secret")
    broker.restart()
    with (
        subscriber(broker.port, EVENTS, login=("auditor", "secret")) as events,
        journal_of(state / JOURNAL_NAME, *SESSION),
        gateway(settings_for(state, broker.port, username="gateway", password="unknown")),  # noqa: S106 - this broker's
    ):
        poll(lambda: f"broker {HOST}:{broker.port}: [code:135] Not authorized; next attempt in" in caplog.text)
        broker.admit("gateway", "unknown")
        broker.reload()
        assert numbers(events.until(7)) == [1, 2, 3, 4, 5, 6, 7]

    assert "unknown" not in caplog.text


def test_an_event_that_the_broker_refuses_is_not_taken_for_acknowledged(
    broker: MosquittoBroker, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.restrict("topic read #", "topic write test/#", f"topic write {ROOT}/status/#", f"topic write {ROOT}/state/#")
    broker.restart()
    with (
        subscriber(broker.port, EVENTS) as events,
        journal_of(state / JOURNAL_NAME, *SESSION),
        gateway(settings_for(state, broker.port)),
    ):
        poll(lambda: "refused a message (Not authorized); check this user's rights there" in caplog.text)
        broker.restrict("topic readwrite #")
        broker.reload()
        assert numbers(events.until(7)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_broker_that_never_answers_is_left_and_tried_again(
    state: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.gateway.mqtt.ANSWER_S", 0.1)
    caplog.set_level(logging.WARNING)
    with socket.create_server((HOST, 0)) as deaf:
        port = deaf.getsockname()[1]
        with gateway(settings_for(state, port)):
            for _ in range(3):
                connection, _ = deaf.accept()
                connection.settimeout(STOP_S)
                # The first bytes are the connect; the end comes when the gateway gives up and closes.
                while connection.recv(4096):
                    pass
                connection.close()

    assert "Operation timed out; next attempt in" in caplog.text


def test_a_stopped_gateway_has_published_everything_and_says_that_it_stopped(
    broker: MosquittoBroker, state: Path
) -> None:
    with open_journal(state / JOURNAL_NAME) as journal, subscriber(broker.port, f"{ROOT}/#") as everything:
        with gateway(settings_for(state, broker.port)):
            next_of(everything, "status/connection")
            journal.append([shot(number) for number in range(1, 101)])
        received = everything.until(100)
        status = next_of(everything, "status/connection")

    assert numbers(events_of(received)) == list(range(1, 101))
    assert (status["online"], status["reason"], status["reason_code"]) == (False, "stopped", 1)
    assert stored_seq(state) == 100


def test_a_journal_replaced_by_another_is_published_from_its_beginning(broker: MosquittoBroker, state: Path) -> None:
    journal = state / JOURNAL_NAME
    with subscriber(broker.port, EVENTS) as events, gateway(settings_for(state, broker.port)):
        with journal_of(journal, *(shot(number) for number in range(1, 6))):
            events.until(5)
        other = state / "other"
        other.mkdir()
        with journal_of(other / JOURNAL_NAME, shot(77)):
            pass
        # The old one's log would belong to whatever stands beside it.
        for suffix in ("-wal", "-shm"):
            journal.with_name(journal.name + suffix).unlink(missing_ok=True)
        (other / JOURNAL_NAME).replace(journal)
        assert events.next().payload["shot"] == 77


def test_an_altered_record_is_not_published_and_the_state_says_damaged(
    broker: MosquittoBroker, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with journal_of(state / JOURNAL_NAME, *SESSION):
        pass
    by_sql(state / JOURNAL_NAME, "UPDATE record SET body = replace(body, '19999', '9999') WHERE seq = 4")
    with subscriber(broker.port, f"{ROOT}/#") as everything, gateway(settings_for(state, broker.port)):
        received = [everything.next()]
        while received[-1].payload.get("journal") != "damaged":
            received.append(everything.next())

    assert 4 not in numbers(events_of(received))
    assert caplog.text.count("record 4: altered") == 1


def test_the_states_are_retained_and_flat(broker: MosquittoBroker, state: Path) -> None:
    write_live(state)
    with journal_of(state / JOURNAL_NAME, *SESSION), gateway(settings_for(state, broker.port)):
        with subscriber(broker.port, EVENTS, f"{ROOT}/meta/#", f"{ROOT}/live/#") as first:
            next_of(first, "live/session")
        with subscriber(broker.port, f"{ROOT}/#") as late:
            retained = {name: next_of(late, name, retained=True) for name in ("status/connection", "state/machine")}
            live = next_of(late, "live/session")
    with subscriber(broker.port, f"{ROOT}/meta/device") as later:
        meta = next_of(later, "meta/device", retained=True)

    assert retained["status/connection"]["online"] is True
    machine = retained["state/machine"]
    assert (machine["state"], machine["state_code"], machine["simulated"]) == ("armed", 4, True)
    assert (machine["journal"], machine["session_id"]) == ("ok", "s-0001")
    assert (live["volume_ul"], live["volume_limit_ul"], live["shots"]) == (59.997, 6000.0, 3)
    assert live["ts_ms"] == LIVE["ts_ms"]
    assert (meta["serial"], meta["version"], meta["device"]) == ("MG-0001", "0.1.0", "console-1")
    for message in (machine, live, meta, retained["status/connection"]):
        assert not any(isinstance(value, dict | list) for value in message.values())


def test_a_change_of_state_is_published_and_a_lost_controller_is_unknown(broker: MosquittoBroker, state: Path) -> None:
    with subscriber(broker.port, f"{ROOT}/state/machine") as machine, gateway(settings_for(state, broker.port)):
        assert machine.next().payload["state"] == "unknown"
        write_live(state, state="idle", state_code=1, session_id="")
        assert machine.next().payload["state"] == "idle"
        write_live(state, state="fault", state_code=9, faults="101,403")
        assert machine.next().payload["faults"] == "101,403"
        (state / "live.json").unlink()
        assert machine.next().payload["state_code"] == -1


def next_of(found: Subscriber, name: str, *, retained: bool | None = None) -> dict[str, object]:
    """Return the next message of the topic `name`, passing over others."""
    while True:
        message = found.next()
        if message.topic == f"{ROOT}/{name}" and retained in (None, message.retained):
            return message.payload


def events_of(received: list[Received]) -> list[Received]:
    return [message for message in received if "/event/" in message.topic]
