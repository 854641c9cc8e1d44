"""The gateway as a process of the simulated console: the shipped one, alive and mortal on the virtual clock.

Owns its lives: started, told to stop, killed, frozen, started again; and what a SIGKILL leaves behind, to the byte:
sent messages on their way, and the cursor's file as it stood, old, new or with a draft beside it. Never replaces a
part of the gateway; only its clocks, its connection and the last step of its cursor's way to the disk are handed in.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from random import Random
from typing import Final

from device.core.journal_chain import Head
from device.gateway.outbox_cursor import CURSOR_NAME, DRAFT_SUFFIX, CursorFile
from device.gateway.process import BackOff, GatewaySettings, Surroundings, run_gateway
from device.gateway.publications import DeviceAddress
from device.journal_file import JOURNAL_NAME
from device.simulation.broker import BrokerClient, SimulatedBroker
from device.simulation.virtual_time import ProcessLoop, VirtualTime

KEEPALIVE_S: Final = 15
"""As shipped in config/device.toml."""

HALF_A_DRAFT: Final = b'{"version":1,"seq":4'


class StoreMoment(Enum):
    """Where, in storing its cursor, a process is killed."""

    BEFORE = auto()
    """Nothing of the new cursor is on the disk."""
    DRAFT = auto()
    """Half of it is, under the draft's name."""
    AFTER = auto()
    """All of it is, under its own; the process did not get to know."""


class GatewayProcess:
    """The gateway of one console, through all its lives; not started yet.

    `journal` is the journal's file, named as in service; `cursor_dir` the gateway's own directory; `runtime_dir` holds
    the live values, whose file must carry a modification time of `wall_clock_ms`. `random` draws the waits between
    attempts. Call `close` at the end.
    """

    def __init__(
        self,
        time: VirtualTime,
        broker: SimulatedBroker,
        *,
        journal: Path,
        cursor_dir: Path,
        runtime_dir: Path,
        address: DeviceAddress,
        wall_clock_ms: Callable[[], int],
        random: Random,
    ) -> None:
        if journal.name != JOURNAL_NAME:
            raise ValueError(f"journal {journal}: the gateway looks for {JOURNAL_NAME}")
        self.settings = GatewaySettings(
            site=address.site,
            device=address.device,
            host="simulated",
            port=1883,
            username="",
            password="",
            state_dir=journal.parent,
            runtime_dir=runtime_dir,
            keepalive_s=KEEPALIVE_S,
            cursor_dir=cursor_dir,
        )
        self.lives = 0
        self._time = time
        self._broker = broker
        self._wall_clock_ms = wall_clock_ms
        self._random = random
        self._life: _Life | None = None

    @property
    def alive(self) -> bool:
        """Whether there is a process: frozen ones count, killed and stopped ones do not."""
        return self._life is not None and self._life.loop.alive and not self._life.ended

    @property
    def frozen(self) -> bool:
        """Whether there is one that stands still."""
        return self.alive and not self._the_living.loop.is_running()

    def start(self) -> None:
        """Start a process. Raises RuntimeError while there is one."""
        if self.alive:
            raise RuntimeError("the gateway runs already")
        self.close()
        loop = ProcessLoop(self._time)
        self._life = _Life(loop, BrokerClient(self._broker, loop), self._time)
        surroundings = Surroundings(
            connect=self._life.client.connect,
            cursor=self._life.cursor,
            now_s=loop.time,
            wall_clock_ms=self._wall_clock_ms,
        )
        back_off = BackOff(self._random)
        self._life.main = loop.create_task(
            run_gateway(self.settings, stop=self._life.stop, back_off=back_off, surroundings=surroundings)
        )
        self.lives += 1

    def stop(self) -> None:
        """SIGTERM: the gateway flushes, says farewell and ends by itself."""
        self._the_living.stop.set()

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._the_living.die()

    def kill_in_store(self, moment: StoreMoment) -> None:
        """SIGKILL, when the cursor is next stored."""
        self._the_living.fatal_store = moment

    def freeze(self) -> None:
        """SIGSTOP."""
        self._the_living.loop.freeze()
        self._the_living.client.froze()

    def resume(self) -> None:
        """SIGCONT."""
        self._the_living.client.resumed()
        self._the_living.loop.resume()

    def close(self) -> None:
        """Kill the process, if there is one, and take it apart. Raises what it had ended with, if with an error."""
        life, self._life = self._life, None
        if life is not None:
            life.bury()

    @property
    def _the_living(self) -> "_Life":
        if self._life is None or not self.alive:
            raise RuntimeError("the gateway does not run")
        return self._life


class _Life:
    """One process, from its start to its end."""

    def __init__(self, loop: ProcessLoop, client: BrokerClient, time: VirtualTime) -> None:
        self.loop = loop
        self.client = client
        self.stop = asyncio.Event()
        self.main: asyncio.Task[None] | None = None
        self.fatal_store: StoreMoment | None = None
        self._time = time
        self._buried = False

    @property
    def ended(self) -> bool:
        """Whether the process has come to its end by itself."""
        return self.main is not None and self.main.done()

    def cursor(self, path: Path) -> "_MortalCursor":
        """Return the cursor at `path`, which this process can store only while it lives."""
        return _MortalCursor(CursorFile(path), self)

    def die(self) -> None:
        """End here; whatever of the process still runs to its next wait can do nothing any more."""
        self.loop.kill()
        self.client.died()
        # Not now: this may be called from within the process.
        self._time.at(self._time.now_ns, self.bury)

    def bury(self) -> None:
        """Release the process's files without a moment passing."""
        if self._buried:
            return
        self._buried = True
        if self.loop.alive:
            self.loop.kill()
            self.client.died()
        self.loop.bury()
        main = self.main
        if main is not None and main.done() and not main.cancelled():
            main.result()


@dataclass(frozen=True, slots=True)
class _MortalCursor:
    """The shipped cursor's file, and the moments in which a process may be killed there."""

    file: CursorFile
    life: _Life

    @property
    def path(self) -> Path:
        """Return where it lies."""
        return self.file.path

    def load(self) -> Head | None:
        """Return what is stored."""
        return self.file.load()

    def store(self, acknowledged: Head) -> None:
        """Store, unless the process is dead or dies here."""
        life = self.life
        if not life.loop.alive:
            return
        if life.fatal_store is StoreMoment.DRAFT:
            self.path.with_name(CURSOR_NAME + DRAFT_SUFFIX).write_bytes(HALF_A_DRAFT)
        elif life.fatal_store is not StoreMoment.BEFORE:
            self.file.store(acknowledged)
        if life.fatal_store is not None:
            life.die()
