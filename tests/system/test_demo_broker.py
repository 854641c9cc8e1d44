"""The demo's own broker, of both kinds: the gateway publishes to it, and an independent client receives."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.journal_file import JOURNAL_NAME
from device.service import broker as demo
from device.service.broker import BrokerUnavailableError, Kind, start_broker
from tests.support.broker import poll, subscriber
from tests.support.gateway import ROOT, gateway, settings_for
from tests.support.journal import REPOSITORY, SESSION, journal_of

KINDS: tuple[Kind, ...] = ("mosquitto", "iotcore")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    found = tmp_path / "broker"
    found.mkdir()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_gateway_s_events_arrive_by_way_of(kind: Kind, directory: Path, tmp_path: Path) -> None:
    with start_broker(directory, kind=kind) as broker:
        assert (broker.kind, broker.host) == (kind, "127.0.0.1")
        with (
            subscriber(broker.port, f"{ROOT}/event/#") as events,
            journal_of(tmp_path / JOURNAL_NAME, *SESSION),
            gateway(settings_for(tmp_path, broker.port)),
        ):
            received = events.until(len(SESSION))

    assert [message.payload["seq"] for message in received] == [1, 2, 3, 4, 5, 6, 7]
    assert broker.process.poll() is not None
    broker.stop()


def test_mosquitto_is_preferred(directory: Path) -> None:
    with start_broker(directory) as broker:
        assert broker.kind == "mosquitto"


def test_iotcore_serves_where_mosquitto_is_absent(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_mosquitto_path", lambda: None)

    with start_broker(directory) as broker:
        assert broker.kind == "iotcore"


def test_with_neither_installed_one_line_says_what_to_install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_mosquitto_path", lambda: None)
    monkeypatch.setattr(demo, "find_spec", lambda name: None)

    with pytest.raises(BrokerUnavailableError, match="apt install mosquitto"):
        start_broker(directory)


def test_a_broker_that_ends_at_once_is_told_with_its_log(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_MOSQUITTO_CONFIGURATION", "nonsense here\n")

    with pytest.raises(BrokerUnavailableError, match=r"mosquitto ended with code \d+; see .*broker\.log"):
        start_broker(directory, kind="mosquitto")

    assert "nonsense" in (directory / "broker.log").read_text()


CHILD = """
import sys
from pathlib import Path
from device.service.broker import start_broker
broker = start_broker(Path(sys.argv[1]), kind=sys.argv[2])
print(broker.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux's setpriv")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_parent_takes_its_broker_along(kind: Kind, directory: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory), kind],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        if parent.stdout is None:
            raise RuntimeError("no pipe")
        child = Path("/proc") / parent.stdout.readline().strip()
        assert child.exists()
        parent.kill()

    poll(lambda: not child.exists() or " Z " in (child / "stat").read_text())
