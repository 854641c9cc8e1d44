"""Whatever is wrong is refused in one clear line, and nothing has changed: files, hardware, journal, clients, switches.

Every command here is a process of its own against real files and the real socket. A traceback is always a failure.
"""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import serial

from device.core.records import CommandTaken, FaultRaised, MagazineIntent, SessionStarted
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from device.service.control_client import CommandRefused
from device.service.sim_console import sim_paths
from tests.support.broker import HOST, MosquittoBroker, free_port
from tests.support.console_processes import (
    START_S,
    STOP_S,
    SimulatedConsole,
    command_line,
    journal_records,
    mesogun,
    quick_configuration,
    simulated_console,
    started,
    until,
)
from tests.support.journal import BOOTED, REPOSITORY, by_sql, journal_of
from tests.support.settings import SHIPPED, Draft

REQUEST_BYTES = 8192
JOURNAL_BYTES = 160_000
"""Room for some dozens of records: then the disk counts as full."""

COMMANDS_UNTIL_FULL = 200

ON_A_FULL_DISK = """
import sys
from device.controller.journal import Journal, JournalWriteError
from device.service.cli import main
def full(*_):
    raise JournalWriteError("journal: cannot be written; free disk space")
Journal.append = full
sys.exit(main(sys.argv[1:]))
"""


def head_of(state: Path) -> int:
    with JournalReader.open(state / JOURNAL_NAME) as reader:
        return reader.head().seq


# The configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("dose_ul = 10", "dose_ul = 10\ndoze_ul = 10", "doze_ul: found an unknown key; the nearest key is dose_ul"),
        ("depth_mm = 1.5", "depth_um = 1500", "depth_um: found an unknown key; the key is depth_mm, in millimetres"),
        ("depth_mm = 1.5", 'depth_mm = "1500 um"', 'depth_mm: found the text "1500 um"; allowed is a number of mill'),
        ("entry_percent = 30", "entry_percent = 40", "is 110; the phases must share exactly 100"),
        ("depth_mm = 1.5", "depth_mm = 13.8", "depth_mm: found 13.8; allowed is a number of millimetres, 0.1 to 13"),
    ],
    ids=["unknown key", "unit in the key", "unit in the value", "phase split", "depth beyond the axis"],
)
def test_a_wrong_file_is_one_line_for_the_check_and_for_the_start(
    old: str, new: str, line: str, tmp_path: Path
) -> None:
    draft = Draft(tmp_path / "config")
    draft.replace("formulary/profiles/continuous.toml", old, new)

    for command in (["config", "check"], ["run", "--sim", f"--state={tmp_path / 'state'}"]):
        done = mesogun(*command, f"--config={draft.directory}")
        assert done.code == 1
        said = done.only_line()
        assert said.startswith(f"mesogun {command[0]}: {draft.directory}/formulary/profiles/continuous.toml:")
        assert line in said
    assert not (tmp_path / "state").exists()


# Starting ------------------------------------------------------------------------------------------------------------


def test_an_account_that_this_machine_has_not_overrides_nothing(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "config")
    draft.replace("device.toml", 'override_users = ["root"]', 'override_users = ["no-such-account"]')

    done = mesogun("run", "--sim", f"--config={draft.directory}", f"--state={tmp_path / 'state'}")

    assert done.code == 1
    assert "access.override_users: found 'no-such-account', which is no account of this machine" in done.only_line()


def test_the_shipped_example_on_a_real_console(tmp_path: Path) -> None:
    """Its lines may be wired to anything here: nothing is opened, made or written."""
    done = mesogun("run", f"--config={SHIPPED}", f"--state={tmp_path / 'state'}")

    assert done.code == 1
    said = done.only_line()
    assert said.startswith(f'mesogun run: {SHIPPED}/device.toml: site: found "demo-clinic", the shipped example\'s;')
    assert said.endswith("write this console's own wiring, needle, pump and clinic into the file, then start again")
    assert not (tmp_path / "state").exists()


def test_a_journal_of_the_other_kind_of_console(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "config")
    draft.replace("device.toml", 'site = "demo-clinic"', 'site = "a-clinic"')
    state = tmp_path / "state"
    state.mkdir()
    with journal_of(state / JOURNAL_NAME, BOOTED):
        pass

    done = mesogun("run", f"--config={draft.directory}", f"--state={state}")

    assert done.code == 1
    assert "holds the journal of a simulated console: start with --sim, or choose another --state" in done.only_line()
    assert head_of(state) == 1


def test_a_port_that_another_program_holds(tmp_path: Path) -> None:
    with simulated_console(tmp_path / "state") as console:
        port = tmp_path / "state" / "sim" / "pump"
        with serial.Serial(str(port), exclusive=True):
            done = mesogun(*console.run_command[3:])
        assert done.code == 1
        assert f"pump: {port} is held by another program: stop it first" in done.only_line()
        assert head_of(console.state) == 0


def test_a_place_where_no_socket_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with simulated_console(tmp_path / "state") as console:
        done = mesogun(*console.run_command[3:], f"--socket={tmp_path}/file/x/control.sock")

        assert done.code == 1
        assert f"control socket {tmp_path}/file/x/control.sock: Not a directory; choose --socket" in done.only_line()
        assert head_of(console.state) == 0


def test_a_disk_without_room_for_the_first_record(tmp_path: Path) -> None:
    with simulated_console(tmp_path / "state") as console:
        start = subprocess.run(
            [sys.executable, "-c", ON_A_FULL_DISK, *console.run_command[3:]],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

        assert start.returncode == 1
        (line,) = (each for each in start.stderr.splitlines() if not each.startswith("<"))
        assert line == "mesogun run: journal: cannot be written; free disk space"
        assert head_of(console.state) == 0


@pytest.mark.parametrize("damage", ["a record altered", "a byte flipped", "a record removed"])
def test_a_damaged_journal(damage: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    journal = state / JOURNAL_NAME
    with journal_of(journal, BOOTED, BOOTED, BOOTED):
        pass
    if damage == "a record altered":
        by_sql(journal, "UPDATE record SET body = replace(body, '0.1.0', '0.1.1') WHERE seq = 2")
    elif damage == "a record removed":
        by_sql(journal, "DELETE FROM record WHERE seq = 2")
    else:
        content = bytearray(journal.read_bytes())
        content[content.rindex(b"0.1.0")] ^= 1
        journal.write_bytes(content)
    damaged = journal.read_bytes()

    verified = mesogun("journal", "verify", f"--state={state}")
    with simulated_console(state) as console:
        done = mesogun(*console.run_command[3:])
        assert console.whatever_moves() == (0,) * len(console.whatever_moves())

    assert verified.code == 1
    assert verified.out.startswith("DAMAGED at record ")
    assert done.code == 1
    assert str(journal) in done.only_line()
    assert journal.read_bytes() == damaged


def test_wrong_use_is_exit_code_2() -> None:
    for arguments, message in (
        (["arm", "now"], "unrecognized arguments: now"),
        (["change", "vial", "--lot-expires=31.12.2027"], "'31.12.2027' is no date; write YYYY-MM-DD"),
        (["change", "vial", "--mixed-at=09:40"], "'09:40' is no moment; write \"YYYY-MM-DD HH:MM\""),
        (["session", "summary", "last"], "the following arguments are required: --out"),
        (["change", "vial", "--lot-expires=9999-12-31"], "'9999-12-31': allowed are dates up to 9998"),
        (["change", "vial", "--mixed-at=9999-12-31 23:59"], "allowed are moments from 1971 to 9998"),
        (["prime", "--volume-ul", "-3"], "'-3': allowed are positive microlitres"),
        (["prime", "--volume-ul", "1e5000"], "'1e5000': allowed are positive microlitres"),
        (["prime", "--volume-ul", "1e999999"], "'1e999999' is not a number of microlitres"),
        (["calibrate", "--syringe", "1ml"], "the following arguments are required: --measured-ul, --method"),
        (["session", "start"], "the following arguments are required: --profile, --serum, --syringe"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
    ):
        done = mesogun(*arguments)
        assert done.code == 2
        assert message in done.err.splitlines()[-1]
        assert "Traceback" not in done.err


def test_a_client_without_a_controller(tmp_path: Path) -> None:
    for command in ("status", "arm"):
        done = mesogun(command, f"--state={tmp_path}")
        assert done.code == 1
        assert "control.sock: No such file or directory; is `mesogun run` running" in done.only_line()


@pytest.mark.parametrize("said", [b'{"ok": tr', b"[]\n", b"HTTP/1.1 400 Bad Request\r\n", b"\xff\n"])
def test_an_answer_that_is_none(tmp_path: Path, said: bytes) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(tmp_path / "control.sock"))
        other.listen()
        with started(command_line("arm", f"--state={tmp_path}"), log=tmp_path / "log") as client:
            connection, _ = other.accept()
            with closing(connection):
                connection.recv(REQUEST_BYTES)
                connection.sendall(said)
            assert client.wait(STOP_S) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.endswith("control.sock: no whole answer; `mesogun status` tells what came of the command")


# Standard output -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [1, 200], ids=["less than a buffer", "more than one"])
def test_what_did_not_get_out_does_not_pass_for_done(tmp_path: Path, records: int) -> None:
    with journal_of(tmp_path / JOURNAL_NAME, *[BOOTED] * records):
        pass
    export = command_line("journal", "export", f"--state={tmp_path}")
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(export, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, env=buffered, check=False)

    assert done.returncode == 1
    assert done.stderr == b"mesogun journal: standard output: No space left on device; what it got is not whole\n"


def test_a_reader_that_has_seen_enough_is_told_nothing(tmp_path: Path) -> None:
    with journal_of(tmp_path / JOURNAL_NAME, BOOTED):
        pass
    export = command_line("journal", "export", f"--state={tmp_path}")
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as gone:  # noqa: PTH123 - a descriptor
        done = subprocess.run(export, cwd=REPOSITORY, stdout=gone, stderr=subprocess.PIPE, env=buffered, check=False)

    assert (done.returncode, done.stderr) == (1, b"")


def test_a_simulated_pump_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option in ("--world", "--link"):
        done = mesogun("sim-pump", "--linger=1", f"{option}={tmp_path}/file/x")
        assert done.code == 1
        assert "Not a directory; choose another path" in done.only_line()


def test_an_interrupted_simulation_tells_what_it_has_and_its_processes_nothing() -> None:
    # Whoever runs the tests in the background has them ignore an interrupt, and a program keeps what it finds ignored.
    command = ["env", "--default-signal=INT", *command_line("simulate", "--sessions=500", "--jobs=2", "--points=20")]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def one_is_awake() -> bool:
            maps = (Path(f"/proc/{child}/maps").read_text() for child in children.read_text().split())
            return any("pydantic_core" in each for each in maps)

        until(one_is_awake)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=START_S)

    assert (process.returncode, err) == (1, "")
    assert "(stopped early)" in out.splitlines()[0]


# The gateway's broker ------------------------------------------------------------------------------------------------


def check_gateway_keeps_trying(state: Path, config: Path, broker: str, message: str) -> None:
    """The gateway says once what is wrong and when it tries again, and ends with 0 when told to."""
    log = state / "gateway.log"
    command = command_line("gateway", f"--state={state}", f"--config={config}", f"--broker={broker}")
    with started(command, log=log) as gateway:
        until(lambda: message in log.read_text())
        assert gateway.poll() is None
        gateway.terminate()
        assert gateway.wait(STOP_S) == 0
    assert "Traceback" not in log.read_text()


def test_a_broker_that_is_absent(tmp_path: Path) -> None:
    with journal_of(tmp_path / JOURNAL_NAME, BOOTED):
        broker = f"{HOST}:{free_port()}"
        config = Draft(tmp_path / "config").directory
        message = f"broker {broker}: [Errno 111] Connection refused; next attempt in"
        check_gateway_keeps_trying(tmp_path, config, broker, message)


def test_a_broker_that_refuses_the_password(tmp_path: Path) -> None:
    directory = tmp_path / "broker"
    directory.mkdir()
    password = tmp_path / "password"
    password.write_text("a wrong one\n")
    draft = Draft(tmp_path / "config")
    draft.replace("device.toml", 'username = ""', 'username = "gateway"')
    draft.replace("device.toml", 'password_file = ""', f'password_file = "{password}"')
    broker = MosquittoBroker(directory)
    broker.admit("gateway", "the right one")
    with broker, journal_of(tmp_path / JOURNAL_NAME, BOOTED):
        place = f"{HOST}:{broker.port}"
        message = f"broker {place}: [code:135] Not authorized; next attempt in"
        check_gateway_keeps_trying(tmp_path, draft.directory, place, message)
    assert "a wrong one" not in (tmp_path / "gateway.log").read_text()


def test_a_password_file_that_is_missing(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "config")
    draft.replace("device.toml", 'username = ""', 'username = "gateway"')
    draft.replace("device.toml", 'password_file = ""', f'password_file = "{tmp_path}/none"')

    done = mesogun("gateway", f"--state={tmp_path}", f"--config={draft.directory}")

    assert done.code == 1
    assert f"mqtt.password_file {tmp_path}/none: No such file or directory" in done.only_line()


def test_a_password_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfe\x00")
    draft = Draft(tmp_path / "config")
    draft.replace("device.toml", 'username = ""', 'username = "gateway"')
    draft.replace("device.toml", 'password_file = ""', f'password_file = "{tmp_path}/password"')

    done = mesogun("gateway", f"--state={tmp_path}", f"--config={draft.directory}")

    assert done.code == 1
    assert f"mqtt.password_file {tmp_path}/password: not text in UTF-8" in done.only_line()


# A running controller ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedConsole]:
    """One console for all that must leave it as it was: homed, disarmed, nothing pressed."""
    directory = tmp_path_factory.mktemp("bad-input")
    draft = quick_configuration(directory / "config")
    # A dose that no pump speed delivers in its phases: nothing in the dwell, and the needle may not be slowed.
    shutil.copy(
        draft.directory / "formulary/profiles/continuous.toml", draft.directory / "formulary/profiles/hasty.toml"
    )
    draft.replace("formulary/profiles/hasty.toml", 'name = "continuous"', 'name = "hasty"')
    draft.replace("formulary/profiles/hasty.toml", "dose_ul = 10", "dose_ul = 90")
    draft.replace("formulary/profiles/hasty.toml", "slowest_speed_mm_s = 20", "slowest_speed_mm_s = 50")
    with simulated_console(directory / "state", draft.directory) as found:
        assert found.start() == "disarmed"
        found.ask("home", plunger=True, patient_detached=True)
        found.calibrate()
        yield found


@pytest.fixture
def unchanged(console: SimulatedConsole) -> Iterator[SimulatedConsole]:
    """The console, which must be afterwards as it was: files, state, movements; no record but of refused commands."""
    files = sorted(console.state.rglob("*"))
    records = len(journal_records(console.state))
    rest, state = console.whatever_moves(), console.state_name
    yield console
    assert (console.whatever_moves(), console.state_name) == (rest, state)
    for record in journal_records(console.state)[records:]:
        assert isinstance(record, CommandTaken)
        assert not record.accepted
    assert [file for file in sorted(console.state.rglob("*")) if file.name != "live.draft"] == files


def session_start(profile: str, serum: str, syringe: str) -> list[str]:
    return ["session", "start", f"--profile={profile}", f"--serum={serum}", f"--syringe={syringe}"]


TOLD = (
    "--checklist=standard",
    "--lot=L-1",
    "--lot-expires=2099-12-31",
    f"--mixed-at={datetime.now().astimezone() - timedelta(minutes=5):%Y-%m-%d %H:%M}",
)
"""What is told of a vial of the example with lidocaine."""


def calibrate(syringe: str, measured_ul: str) -> list[str]:
    return ["calibrate", f"--syringe={syringe}", f"--measured-ul={measured_ul}", "--method=weighed"]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (session_start("continuous", "saline", "5ml"), "the dose of 10 uL is under the smallest of syringe 5ml, 30 uL"),
        ([*session_start("continuous", "example-lidocaine", "1ml"), *TOLD], "limit per kilogram: give --weight-kg"),
        (
            [*session_start("continuous", "example-lidocaine", "1ml"), *TOLD[1:], "--weight-kg=70"],
            "example-lidocaine is given with a check-list: give --checklist NAME, or a --course that names one",
        ),
        (
            [*session_start("continuous", "example-lidocaine", "1ml"), *TOLD[:2], TOLD[3], "--weight-kg=70"],
            "example-lidocaine is given by its lot: give --lot LOT --lot-expires YYYY-MM-DD",
        ),
        (
            [*session_start("continuous", "saline", "1ml"), "--checklist=mine"],
            "no check-list named 'mine'; there are: standard",
        ),
        ([*session_start("continuous", "saline", "1ml"), "--patient=p\x1b[2J"], "patient: String should match pattern"),
        (["change", "needle"], "not possible in state disarmed; possible in: session"),
        (session_start("missing", "saline", "1ml"), "no profile named 'missing'; there are: continuous, hasty"),
        (
            [*session_start("continuous", "saline", "1ml"), "--patient=p-17", "--course=weekly"],
            "no course named 'weekly'; there are: fortnightly-and-monthly, four-and-four",
        ),
        (
            [*session_start("continuous", "saline", "1ml"), "--course=weekly-ten"],
            "a course belongs to a patient: give --patient ID, or leave --course out",
        ),
        (
            [*session_start("continuous", "saline", "1ml"), "--anew"],
            "--anew begins a course at session 1: give --course NAME",
        ),
        (
            [*session_start("continuous", "saline", "1ml"), "--override=she travels"],
            "an override needs a reason and a name: --override REASON --by NAME",
        ),
        (["prime"], "not possible in state disarmed; possible in: session"),
        (["arm"], "not possible in state disarmed; possible in: session"),
        (["home", "--plunger"], "never with a patient; confirm with --patient-detached"),
        (
            calibrate("1ml", "979.9"),
            "measured 979.9 uL, but stroke_ul of syringe 1ml is 1000 uL: they may differ by 2 %",
        ),
        (calibrate("9ml", "1000"), "no syringe named '9ml'; there are: 1ml, 3ml, 5ml"),
        ([*calibrate("1ml", "1000"), "--valid-days=367"], "valid_days: Input should be less than or equal to 366"),
    ],
    ids=[
        "smallest dose",
        "weight",
        "no check-list",
        "no lot",
        "unknown check-list",
        "an id that a terminal would obey",
        "no session for a needle",
        "unknown name",
        "no course",
        "nobody's",
        "anew",
        "half an override",
        "prime",
        "arm",
        "plunger",
        "measured",
        "no syringe",
        "for ever",
    ],
)
def test_a_refused_command_is_one_line(unchanged: SimulatedConsole, command: list[str], line: str) -> None:
    done = unchanged.cli(*command)

    assert done.code == 1
    assert line in done.only_line()


def test_a_dose_that_no_speed_delivers_is_refused_phase_by_phase(unchanged: SimulatedConsole) -> None:
    done = unchanged.cli(*session_start("hasty", "saline", "1ml"))

    assert done.code == 1
    assert "Traceback" not in done.err
    assert done.err.splitlines()
    for line in done.err.splitlines():
        assert line.startswith("mesogun session: ")
    assert any(phase in done.err for phase in ("entry", "dwell", "exit"))


def test_a_second_controller_on_the_same_state(unchanged: SimulatedConsole) -> None:
    done = mesogun(*unchanged.run_command[3:])

    assert done.code == 1
    assert f"state directory {unchanged.state}: another controller works there" in done.only_line()


def test_a_second_controller_on_the_same_socket(unchanged: SimulatedConsole, tmp_path: Path) -> None:
    with simulated_console(tmp_path / "other") as other:
        done = mesogun(*other.run_command[3:], f"--socket={unchanged.socket}")

    assert done.code == 1
    assert f"control socket {unchanged.socket}: another controller listens there; stop it first" in done.only_line()
    unchanged.status()


@pytest.mark.parametrize(
    ("request_line", "reason"),
    [
        (b"arm please\n", "not a request: Invalid JSON"),
        (b'{"command": "fire"}\n', "unknown command 'fire'; allowed: status, home, calibrate"),
        (b'{"command": "arm", "force": true}\n', "not a request: force: Extra inputs are not permitted"),
        (b'{"command": "prime", "arguments": {"volume_nl": "100000"}}\n', "prime: volume_nl: Input should be a valid"),
        (b'{"command": "prime", "arguments": {"volume_nl": 1e5}}\n', "prime: volume_nl: Input should be a valid"),
        (b'{"command": "prime", "arguments": {"volume_nl": -1}}\n', "prime: volume_nl: Input should be greater than 0"),
        (b'{"command": "home", "arguments": {"plunger": 1}}\n', "home: plunger: Input should be a valid boolean"),
        (b'{"command": ["arm"]}\n', "not a request: command: Input should be a valid string"),
        (b"\xff\xfe\n", "not a request: Invalid JSON"),
        (b"[" * 4000 + b"\n", "not a request: Invalid JSON"),
        (b"\n", "not a request: Invalid JSON"),
    ],
)
def test_garbage_on_the_socket_is_answered_and_the_connection_lives_on(
    unchanged: SimulatedConsole, request_line: bytes, reason: str
) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(STOP_S)
        connection.connect(str(unchanged.socket))
        with connection.makefile("rwb") as stream:
            stream.write(request_line + b'{"command": "status"}\n')
            stream.flush()
            refused, status = json.loads(stream.readline()), json.loads(stream.readline())

    assert refused["ok"] is False
    assert len(refused["reasons"]) == 1
    assert reason in refused["reasons"][0]
    assert status["result"]["state"] == "disarmed"


def test_a_request_that_is_too_long_ends_its_connection_alone(unchanged: SimulatedConsole) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(STOP_S)
        connection.connect(str(unchanged.socket))
        connection.sendall(b'"' + b"x" * (REQUEST_BYTES + 1))
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline())
            assert stream.readline() == b""

    assert answer == {"ok": False, "reasons": [f"request longer than {REQUEST_BYTES} bytes"]}
    unchanged.status()


def test_a_client_that_hangs_up_at_once_disturbs_nobody(unchanged: SimulatedConsole) -> None:
    for _ in range(40):
        # Of too many at once the controller hangs up first.
        with closing(socket.socket(socket.AF_UNIX)) as connection, suppress(BrokenPipeError):
            connection.connect(str(unchanged.socket))
            connection.sendall(b'{"command": "status"}\n')

    def answers() -> bool:
        try:
            return bool(unchanged.status())
        except CommandRefused as refusal:
            # Those that hung up count until the controller has noticed.
            if refusal.reasons != ["16 clients already"]:
                raise
            return False

    until(answers)


def test_only_the_service_s_user_and_group_reach_the_socket_and_who_commands_is_recorded(
    console: SimulatedConsole,
) -> None:
    assert stat.S_IMODE(console.socket.stat().st_mode) == 0o660

    console.ask("home")

    command = console.records(CommandTaken)[-1]
    assert (command.command, command.uid, command.pid) == ("home", os.geteuid(), os.getpid())
    assert command.accepted


# Switches and disk: faults, and the way out of them ------------------------------------------------------------------


def test_a_trigger_whose_channels_disagree(console: SimulatedConsole) -> None:
    world, lines = console.world, console.lines
    console.start_session()
    world.set_switch(lines.trigger_a, closed=True, now_ns=console.operator.now_ns())
    console.until_state("fault")
    rest = console.whatever_moves()

    assert console.faults == "103"
    assert console.refused("arm") == ["not possible in state fault; possible in: session, loading, armed, firing"]
    assert "103" in console.refused("fault_clear")[0]
    assert (
        "FAULT 103  the trigger's two channels disagree: check the trigger's wiring" in console.cli("fault", "list").out
    )
    assert console.whatever_moves() == rest

    world.set_switch(lines.trigger_a, closed=False, now_ns=console.operator.now_ns())
    until(lambda: console.faults == "103")
    console.ask("fault_clear")
    assert console.state_name == "session"
    console.ask("session_stop")


def test_a_stop_pressed_at_the_start(tmp_path: Path) -> None:
    with simulated_console(tmp_path / "state") as console:
        console.operator.press_stop()
        assert console.start() == "fault"
        assert console.faults == "101"
        assert "FAULT 101  stop pressed: release the stop button" in console.cli("status").out
        assert "FAULT 101  stop pressed" in console.cli("fault", "list").out
        assert console.refused("arm") == ["not possible in state fault; possible in: session, loading, armed, firing"]
        assert "fault 101: stop pressed" in console.cli("fault", "clear").only_line()
        assert console.faults == "101"

        console.operator.release_stop()
        done = console.cli("fault", "clear")
        assert (done.code, done.out) == (0, "cleared; state disarmed\n")
        assert console.cli("fault", "list").out == "no faults\n"


def test_a_pump_whose_port_is_missing_at_the_start(tmp_path: Path) -> None:
    with simulated_console(tmp_path / "state") as console:
        port = sim_paths(console.state).port
        unplugged = port.rename(port.with_name("unplugged"))
        assert console.start() == "fault"
        assert console.faults == "301"
        missing = f"{port} is missing: check the adapter's cable and the port's name in the configuration"
        assert f"pump: {missing}" in console.log()
        assert f"fault 301: the pump does not answer ({missing})" in console.cli("fault", "clear").only_line()
        assert console.faults == "301"

        unplugged.rename(port)
        done = console.cli("fault", "clear")
        assert (done.code, done.out) == (0, "cleared; state disarmed\n")


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs util-linux's prlimit")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with simulated_console(tmp_path / "state", quick_configuration(tmp_path / "config").directory) as console:
        console.start("prlimit", f"--fsize={JOURNAL_BYTES}")
        console.make_ready()
        reasons: list[str] = []
        for _ in range(COMMANDS_UNTIL_FULL):
            reasons = console.refused("home", plunger=True)
            if "402" in reasons[0]:
                break
        console.until_state("fault")

        assert "402 journal_write_failed" in reasons[0]
        assert "cannot be written" in reasons[0]
        assert "402" in console.faults.split(",")
        intents = len(console.records(MagazineIntent))
        assert "402" in console.refused("arm")[0]
        assert console.state_name == "fault"
        # It cannot be cleared away either, while nothing can be written.
        console.refused("fault_clear")
        assert console.state_name == "fault"
        console.controller.send_signal(signal.SIGTERM)
        assert console.controller.wait(STOP_S) == 0
        console.verify()
        assert len(console.records(MagazineIntent)) == intents

        # With room again the console is as it was, and works.
        assert console.start() in ("session", "fault")
        if console.state_name == "fault":
            console.ask("fault_clear")
        assert len(console.records(SessionStarted)) == 1
        console.ask("home")
        console.arm()
        console.shoot(1)
        console.ask("disarm")
        console.until_state("session")
        console.until_settled()
        assert console.booked() == console.given()
        assert [record.code for record in console.records(FaultRaised) if record.code != 402] == []
        console.verify()
