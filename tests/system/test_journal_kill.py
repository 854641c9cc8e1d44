"""The journal in real trouble: its writer killed, its disk full. What was acknowledged is there; the chain holds."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from device.core.records import ShotGiven
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from tests.support.journal import REPOSITORY, open_journal

DEADLINE_S = 30.0

WRITE_WITHOUT_END = """
import sys
from pathlib import Path
from tests.support.journal import open_journal, shot
with open_journal(Path(sys.argv[1])) as journal:
    batch = int(sys.argv[2])
    while True:
        first = journal.head.seq + 1
        for entry in journal.append([shot(seq) for seq in range(first, first + batch)]):
            print(entry.seq, flush=True)
"""

WRITE_UNTIL_REFUSED = """
import resource
import sys
from pathlib import Path
from device.controller.journal import JournalWriteError
from device.journal_reader import JournalReader
from tests.support.journal import open_journal, shot
path = Path(sys.argv[1])
filler = path.with_name("filler")
if sys.argv[2] == "limited":
    # Python ignores SIGXFSZ, so that a write beyond fails with EFBIG instead of ending the process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
else:
    filler.write_bytes(bytes(40_000))
with open_journal(path) as journal:
    try:
        while True:
            first = journal.head.seq + 1
            journal.append([shot(seq) for seq in range(first, first + 3)])
    except JournalWriteError as error:
        print(journal.head.seq)
        print(error)
    filler.unlink(missing_ok=True)
    try:
        journal.append([shot(journal.head.seq + 1)])
        print("written again", journal.head.seq)
    except JournalWriteError as error:
        print(error)
with JournalReader.open(path) as reader:
    print(reader.verify())
"""


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def shots_in(path: Path) -> list[int]:
    """Open (which checks all of it) and return the shots' numbers."""
    with open_journal(path) as journal:
        last = journal.head.seq
    found: list[int] = []
    with JournalReader.open(path) as reader:
        while len(found) < last:
            records = [entry.record() for entry in reader.entries(len(found), 500)]
            found += [record.shot for record in records if isinstance(record, ShotGiven)]
    return found


@pytest.mark.parametrize("batch", [1, 7])
def test_what_was_acknowledged_before_a_kill_is_there_and_nothing_is_half_written(tmp_path: Path, batch: int) -> None:
    path = tmp_path / JOURNAL_NAME
    acknowledged = 0
    for lines in (1, 150):
        with subprocess.Popen(
            command(WRITE_WITHOUT_END, path, batch), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        ) as writer:
            if writer.stdout is None:
                raise RuntimeError("no pipe")
            for _ in range(lines):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])

        shots = shots_in(path)
        assert len(shots) >= acknowledged
        assert shots == list(range(1, len(shots) + 1))
        assert len(shots) % batch == 0


def test_a_file_that_may_not_grow_is_said_and_the_journal_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    done = subprocess.run(
        command(WRITE_UNTIL_REFUSED, path, "limited"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    acknowledged, refusal, again, verification = done.stdout.splitlines()

    assert "cannot be written (disk I/O error); free disk space or replace the card" in refusal
    assert "an earlier failure; restart the controller" in again
    assert f"Verification(ok=True, records={acknowledged}," in verification
    assert shots_in(path) == list(range(1, int(acknowledged) + 1))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting a small disk needs root")
def test_a_full_disk_is_said_and_the_journal_goes_on_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    inside = 'mount -t tmpfs -o size=300k none "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside, "sh", str(tmp_path), *command(WRITE_UNTIL_REFUSED, path, "small disk")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    acknowledged, refusal, again, verification = done.stdout.splitlines()

    assert "cannot be written (database or disk is full)" in refusal
    assert again == f"written again {int(acknowledged) + 1}"
    assert f"Verification(ok=True, records={int(acknowledged) + 1}," in verification
