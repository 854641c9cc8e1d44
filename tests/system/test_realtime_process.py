"""The real-time process by itself: what ends its controller does not end it, and journald understands its lines."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from device.realtime.link import HeartbeatPage, open_pair
from tests.support.console_processes import START_S, STOP_S, kill, until
from tests.support.journal import REPOSITORY


def test_one_that_has_just_started_ends_by_its_link_and_by_no_signal(tmp_path: Path) -> None:
    """A controller that starts one to take the needle out may be stopped, or struck by its watchdog, that very moment.

    The signals go to the whole control group.
    """
    ours, theirs = open_pair()
    page = HeartbeatPage.create()
    lock = tmp_path / "realtime.lock"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "device.realtime", f"--link={theirs.fileno()}", f"--page={page}"),
            *(f"--pins=sim:{tmp_path / 'world'}", f"--lock={lock}"),
        ],
        cwd=REPOSITORY,
        pass_fds=(theirs.fileno(), page),
        stderr=subprocess.PIPE,
    )
    theirs.close()
    os.close(page)
    try:
        until(lock.exists, within_s=START_S)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
            process.send_signal(number)
        ours.close()
        _, said = process.communicate(timeout=STOP_S)
    finally:
        kill(process)
    assert process.returncode == 1
    assert said == b"<3>device.realtime: the controller closed the link before configuring\n"
