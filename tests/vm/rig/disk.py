"""A disk with a volatile cache: what its guest has not flushed is lost when its power is cut, as on a real one.

Owns the image and the server of it (`nbdkit` with a write-back cache of its own), one at a time. The image holds an
ext4 made on the host; the guest lays everything that it writes on it (`guest/init`). Never flushes by itself: only the
guest's own flushes reach the image, and a cut drops the rest.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.vm.rig.cache import RigError
from tests.vm.rig.shell import run

SIZE_MB: Final = 160
"""Room for what is installed and for the journals of a test run."""

CACHE_MOST: Final = "1G"
"""More than the image: the cache never writes anything back for want of room."""

SERVED_S: Final = 20.0
LOOK_S: Final = 0.01


class Disk:
    """An empty ext4 in `directory`, which is made. Served from `switch_on` until `cut_power`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._image = directory / "disk.img"
        self.socket = directory / "nbd"
        self._log = directory / "nbdkit.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._image.touch()
        os.truncate(self._image, SIZE_MB * 1024 * 1024)
        # No blocks kept for root: the disk is full for everybody at once.
        run(["mkfs.ext4", "-q", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._image])

    def switch_on(self) -> None:
        """Serve the image with an empty cache. Raises RigError where the server does not come."""
        self.socket.unlink(missing_ok=True)
        guard = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
        serve = ["nbdkit", "--foreground", f"--unix={self.socket}", "--filter=cache", "file", f"file={self._image}"]
        cached = ["cache=writeback", f"cache-max-size={CACHE_MOST}"]
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [*guard, *serve, *cached],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self._image.parent)},
            )
        deadline_s = time.monotonic() + SERVED_S
        while not self.socket.exists():
            if self._server.poll() is not None or time.monotonic() > deadline_s:
                raise RigError(f"nbdkit does not serve the disk: {self._log.read_text().strip()}")
            time.sleep(LOOK_S)  # between two looks at a server that gives no sign by itself

    def kill(self) -> None:
        """Kill the server where it stands, with all that its cache holds. Allowed from any thread."""
        server = self._server
        if server is not None:
            server.kill()

    def cut_power(self) -> None:
        """End the server at once. Allowed when it is not served."""
        self.kill()
        if self._server is not None:
            self._server.wait()
            self._server = None
