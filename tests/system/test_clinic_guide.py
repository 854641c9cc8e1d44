"""The clinic's guide, word for word: every command of docs/clinic.md, on a simulated console.

What differs from a clinic: the places of configuration and state, no sudo, and the hands on service and trigger.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.core.records import FormularyTaken, ShotGiven
from tests.support.console_processes import SimulatedConsole, command_line, simulated_console, until
from tests.support.journal import REPOSITORY
from tests.support.settings import Draft

GUIDE = REPOSITORY / "docs/clinic.md"
SHOTS = 2


def commands() -> list[str]:
    """Return the guide's commands in their order."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


class Clinic:
    """An empty folder, and a console as it came from the package."""

    def __init__(self, place: Path, console: SimulatedConsole, configuration: Path) -> None:
        self.folder = place / "desk"
        self.folder.mkdir()
        self.console = console
        self.configuration = configuration

    def do(self, line: str) -> str:
        """Carry out a command of the guide and return what it printed."""
        line = line.removeprefix("sudo ")
        line = line.replace("/opt/mesogun/.venv/share/mesogun/config", str(REPOSITORY / "config"))
        line = line.replace("/etc/mesogun", str(self.configuration))
        program, *arguments = shlex.split(line)
        if line == "systemctl restart mesogun":
            return self.console.start()
        if program != "mesogun":
            assert program in ("cp", "rm"), line
            subprocess.run([program, *arguments], cwd=self.folder, check=True)
            return ""
        done = subprocess.run(
            [*command_line(*arguments), *self.places(arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        if arguments[0] == "arm":
            self.treat()
        return done.stdout

    def places(self, arguments: list[str]) -> list[str]:
        """Return the options that say where this console is: those that the command has."""
        asked = subprocess.run(
            [*command_line(*(word for word in arguments[:2] if not word.startswith("-"))), "--help"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        wanted = {"--state": self.console.state, "--config": self.configuration}
        return [f"{option}={value}" for option, value in wanted.items() if f"{option} " in asked]

    def treat(self) -> None:
        shots = len(self.console.records(ShotGiven)) + SHOTS
        for _ in range(SHOTS):
            self.console.shoot(1)
        until(lambda: len(self.console.records(ShotGiven)) >= shots)


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    configuration = Draft(tmp_path / "config").directory
    with simulated_console(tmp_path / "state", configuration) as console:
        yield Clinic(tmp_path, console, configuration)


def test_the_guide_leads_from_an_empty_folder_to_a_session_and_its_report(clinic: Clinic) -> None:
    said = {line: clinic.do(line) for line in commands()}

    assert clinic.console.records(FormularyTaken)[-1].signed_by == "pharmacy"
    report = said["mesogun session report last"]
    assert "p-0017" in report
    assert len(clinic.console.records(ShotGiven)) == SHOTS
    assert "chain complete" in said["mesogun journal verify"]
    assert "session 2 of 8" in said["mesogun course due --patient p-0017"]
    assert (clinic.folder / "next.ics").read_text().startswith("BEGIN:VCALENDAR")
