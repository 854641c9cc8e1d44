"""`mesogun demo`: a simulated clinician treats a scalp in real time, through the processes that run on the Pi.

Owns the order of the show: broker, simulated console, controller, gateway, the treatment, the summary. Everything
runs as its own process and is stopped by a signal; the figures come from the world (what really left the needle), the
journal (what was booked) and the gateway's cursor (what the broker acknowledged), never from a plan.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from device.core.profile import Profile
from device.core.records import MagazineIntent, MagazineSettled, PressRefused, ShotGiven
from device.core.syringe import Syringe
from device.core.units import Increments
from device.gateway.outbox_cursor import CURSOR_NAME, CursorFile
from device.journal_file import JOURNAL_NAME
from device.journal_reader import JournalReader
from device.service.broker import BrokerUnavailableError, start_broker
from device.service.control_client import CommandRefused, ControllerAbsent, ask
from device.service.demo_view import DemoView, open_view
from device.service.errors import ServiceError
from device.service.percentile import percentile
from device.service.processes import configuration_of
from device.service.sim_console import SimConsoleError, create_world, is_running, sim_paths, start_pump
from device.settings import Configuration
from drivers.sim.operator import OperatorReport, SimulatedOperator
from drivers.sim.world import World

REGIONS: Final = ("front", "crown", "vertex")
SYRINGE: Final = "1ml"
SERUM: Final = "saline"
PRIME_NL: Final = 50_000
EARLY_PRESSES: Final = 2
START_DEADLINE_S: Final = 30.0
END_DEADLINE_S: Final = 15.0
SECONDS_A_SHOT: Final = 5.0
"""Bound of the treatment's time for each shot: with refills it takes about half a second."""

VIEW_PERIOD_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo prints with `--json`. Volumes in uL; `delivered` is the world's truth, `booked` the journal's."""

    shots_planned: int
    shots_delivered: int
    shots_refused: int
    volume_planned_ul: float
    volume_delivered_ul: float
    volume_booked_ul: float
    volume_spilled_ul: float
    magazines: int
    increment_ul: float
    records: int
    records_published: int
    journal_ok: bool
    trigger_latency_us_p50: int
    trigger_latency_us_p99: int
    step_late_us_p50: int
    step_late_us_p99: int
    shots_per_minute: float
    duration_s: float
    broker: str
    state: str

    def agrees(self) -> bool:
        """Whether truth, book and plan agree within one plunger increment a magazine, and everything was published."""
        tolerance_ul = self.magazines * self.increment_ul
        return (
            self.shots_delivered == self.shots_planned
            and abs(self.volume_delivered_ul - self.volume_booked_ul) <= tolerance_ul
            and abs(self.volume_booked_ul - self.volume_planned_ul) <= tolerance_ul
            and self.volume_spilled_ul == 0
            and self.records_published == self.records
            and self.journal_ok
        )


def demo(options: argparse.Namespace) -> int:
    """`mesogun demo`: exit code 0 when every shot was given and truth, book and plan agree."""
    configuration = configuration_of(options.config)
    loaded = configuration.profiles.get(options.profile)
    if loaded is None:
        raise ServiceError(f"no profile named {options.profile!r}; there are: {', '.join(configuration.profiles)}")
    with ExitStack() as stack:
        state = options.state
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesogun-demo-")))
        view = stack.enter_context(open_view(as_json=options.json))
        show = _Show(options, configuration, loaded.value, state.absolute(), view)
        try:
            summary = asyncio.run(show.run())
        except (BrokerUnavailableError, ControllerAbsent, CommandRefused, SimConsoleError, OSError) as error:
            raise ServiceError(str(error)) from error
    view.summary(asdict(summary), good=summary.agrees())
    if options.json:
        sys.stdout.write(json.dumps(asdict(summary)) + "\n")
    return 0 if summary.agrees() else 1


def regions_of(shots: int, names: Sequence[str] = REGIONS) -> list[tuple[str, int]]:
    """Share `shots` over the regions as evenly as whole points allow; regions without a point are left out."""
    each, rest = divmod(shots, len(names))
    shares = [(name, each + (place < rest)) for place, name in enumerate(names)]
    return [(name, points) for name, points in shares if points]


class _Show:
    """One run of the demo."""

    def __init__(
        self, options: argparse.Namespace, configuration: Configuration, profile: Profile, state: Path, view: DemoView
    ) -> None:
        self._options = options
        self._configuration = configuration
        self._profile = profile
        self._state = state
        self._view = view
        self._socket = state / "control.sock"
        self._paths = sim_paths(state)
        burst = profile.burst_shots if profile.mode.value == "burst" else 1
        self._regions = regions_of(options.shots)
        if any(points % burst for _, points in self._regions):
            raise ServiceError(
                f"profile {profile.name} fires bursts of {burst}: choose --shots as a multiple of {3 * burst}"
            )

    async def run(self) -> Summary:
        """Start everything, treat, stop everything, sum up."""
        self._state.mkdir(parents=True, exist_ok=True)
        if is_running(self._paths):
            raise SimConsoleError(f"a simulated console runs already in {self._paths.directory}")
        with ExitStack() as stack:
            host, port, kind = self._broker(stack)
            world = create_world(self._paths, self._configuration)
            stack.callback(world.close)
            self._view.say(f"broker {kind} at {host}:{port}; state {self._state}")
            stack.enter_context(_stopped(start_pump(self._paths, baud=self._configuration.serial.baud, linger_s=None)))
            gateway = stack.enter_context(_stopped(self._start("gateway", f"--broker={host}:{port}")))
            controller = stack.enter_context(_stopped(self._start("run", "--sim")))
            await self._until_up(controller)
            started = time.monotonic()
            _, shots_a_minute = await self._treat(world)
            await self._command("session_stop")
            _stop(controller)
            published = await self._until_published(gateway)
            duration_s = time.monotonic() - started
            return self._summary(world, published, kind, shots_a_minute=shots_a_minute, duration_s=duration_s)

    def _broker(self, stack: ExitStack) -> tuple[str, int, str]:
        if self._options.broker is not None:
            host, port = self._options.broker
            return host, port, "given"
        directory = self._state / "broker"
        directory.mkdir(exist_ok=True)
        broker = start_broker(directory)
        stack.callback(broker.stop)
        return broker.host, broker.port, broker.kind

    def _start(self, command: str, *more: str) -> "subprocess.Popen[bytes]":
        arguments = [f"--config={self._configuration.directory}", f"--state={self._state}", *more]
        log = (self._state / f"{command}.log").open("wb")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "device.service.cli", command, *arguments],
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    async def _command(self, name: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self._socket, name, arguments)

    async def _until_up(self, controller: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            if controller.poll() is not None:
                raise ServiceError(f"the controller did not start: {self._last_line('run')}")
            with contextlib.suppress(ControllerAbsent):
                if (await self._command("status"))["state"] not in ("starting", "self_test"):
                    return
            if time.monotonic() > deadline:
                raise ServiceError(f"the controller was not up within {START_DEADLINE_S:g} s: {self._last_line('run')}")
            await asyncio.sleep(0.05)

    def _last_line(self, command: str) -> str:
        lines = (self._state / f"{command}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it logged nothing"

    async def _treat(self, world: World) -> tuple[OperatorReport, float]:
        """Home, start a session, prime, arm, and let the clinician work. Returns his report and the shots a minute."""
        self._view.say("homing needle and plunger")
        await self._command("home", {"plunger": True, "patient_detached": True})
        # The simulated pump gives what the syringe's file says: on a real one this is weighed.
        measured_nl = self._configuration.syringes[SYRINGE].value.stroke_nl
        await self._command("calibrate", {"syringe": SYRINGE, "measured_nl": measured_nl, "method": "simulated"})
        regions = [{"name": name, "points": points} for name, points in self._regions]
        await self._command(
            "session_start",
            {"profile": self._profile.name, "serum": SERUM, "syringe": SYRINGE, "patient": "demo", "regions": regions},
        )
        self._view.say("drawing serum and priming")
        await self._command("prime", {"volume_nl": PRIME_NL})
        self._spilled_before = world.given_in_air
        await self._command("arm")
        operator = SimulatedOperator(world, seed=self._options.seed, skew_us=1500)
        motion = MotionTime(pause_ns=max(500_000_000, 3 * self._profile.interval_ns))
        motion.needle_moved(world.needle_changed_ns)
        treating = asyncio.create_task(
            operator.treat(
                self._regions,
                mode=self._profile.mode,
                trigger=self._profile.trigger,
                burst_shots=self._profile.burst_shots,
                early_presses=EARLY_PRESSES,
                deadline_s=20 + SECONDS_A_SHOT * self._options.shots,
            )
        )
        try:
            while not treating.done():
                await self._look(world, motion)
            report = await treating
            await self._until_settled()
        finally:
            treating.cancel()
            await asyncio.wait([treating])
        motion.needle_moved(world.needle_changed_ns)
        return report, motion.a_minute(report.strokes)

    async def _until_settled(self) -> None:
        deadline = time.monotonic() + END_DEADLINE_S
        while time.monotonic() < deadline:
            status = await self._command("status")
            self._view.update(status, self._regions)
            if status["state"] in ("session", "fault"):
                return
            await asyncio.sleep(0.05)

    async def _look(self, world: World, motion: "MotionTime") -> None:
        """Show what is, and give up on a fault: a simulated clinician would press on in vain."""
        status = await self._command("status")
        self._view.update(status, self._regions)
        if status["fault_list"]:
            fault = status["fault_list"][0]
            raise ServiceError(f"fault {fault['code']}: {fault['title']}; {fault['action']}; state {self._state}")
        motion.needle_moved(world.needle_changed_ns)
        await asyncio.sleep(VIEW_PERIOD_S)

    async def _until_published(self, gateway: "subprocess.Popen[bytes]") -> int:
        """Wait until the broker has acknowledged every record; returns how many it has."""
        deadline = time.monotonic() + END_DEADLINE_S
        with JournalReader.open(self._state / JOURNAL_NAME) as reader:
            head = reader.head().seq
        published = 0
        while time.monotonic() < deadline and gateway.poll() is None:
            acknowledged = CursorFile(self._state / CURSOR_NAME).load()
            published = acknowledged.seq if acknowledged is not None else 0
            if published >= head:
                break
            await asyncio.sleep(0.05)
        return published

    def _summary(self, world: World, published: int, kind: str, *, shots_a_minute: float, duration_s: float) -> Summary:
        with JournalReader.open(self._state / JOURNAL_NAME) as reader:
            verification = reader.verify()
            records = [entry.record() for entry in _all(reader)]
        shots = [record for record in records if isinstance(record, ShotGiven)]
        settled = [record for record in records if isinstance(record, MagazineSettled) and record.purpose == "inject"]
        intents = [record for record in records if isinstance(record, MagazineIntent) and record.purpose == "inject"]
        syringe = self._configuration.syringes[SYRINGE].value
        latencies = sorted(shot.press_to_step_us for shot in shots if shot.press_to_step_us >= 0)
        late = sorted(shot.step_late_us_p99 for shot in shots if shot.step_late_us_p99 >= 0)
        late_p50 = sorted(shot.step_late_us_p50 for shot in shots if shot.step_late_us_p50 >= 0)
        return Summary(
            shots_planned=self._options.shots,
            shots_delivered=sum(shot.outcome == "delivered" for shot in shots),
            shots_refused=sum(record.presses for record in records if isinstance(record, PressRefused)),
            volume_planned_ul=self._options.shots * self._profile.dose_nl / 1000,
            volume_delivered_ul=_ul(world.given_in_tissue, syringe),
            volume_booked_ul=sum(record.given_nl for record in settled) / 1000,
            volume_spilled_ul=_ul(world.given_in_air - self._spilled_before, syringe),
            magazines=len(intents),
            increment_ul=syringe.volume_of_one / 1000,
            records=verification.records,
            records_published=published,
            journal_ok=verification.ok,
            trigger_latency_us_p50=percentile(latencies, 50),
            trigger_latency_us_p99=percentile(latencies, 99),
            step_late_us_p50=percentile(late_p50, 50),
            step_late_us_p99=percentile(late, 99),
            shots_per_minute=shots_a_minute,
            duration_s=round(duration_s, 1),
            broker=kind,
            state=str(self._state),
        )


@dataclass
class MotionTime:
    """The time in which the needle worked, without the pauses in which the gun moves to another region.

    Told again and again when the needle moved last; a gap of more than `pause_ns` is a pause. What it is told first
    was before the treatment.
    """

    pause_ns: int
    first_ns: int = -1
    last_ns: int = -1
    worked_ns: int = 0
    spans: int = 0

    def needle_moved(self, changed_ns: int) -> None:
        """Take the time of the needle's last step."""
        if self.first_ns < 0 or (changed_ns > self.last_ns and changed_ns - self.last_ns > self.pause_ns):
            self.worked_ns += self.last_ns - self.first_ns
            self.spans += self.first_ns >= 0
            self.first_ns = changed_ns
        self.last_ns = changed_ns

    def a_minute(self, strokes: int) -> float:
        """Return the rate of `strokes`: intervals a minute, so that a span's first stroke does not flatter it."""
        worked_ns = self.worked_ns + self.last_ns - self.first_ns
        return round(60e9 * max(0, strokes - self.spans) / worked_ns, 1) if worked_ns else 0.0


def _ul(increments: int, syringe: Syringe) -> float:
    return syringe.volume_of(Increments(increments)) / 1000


def _all(reader: JournalReader) -> Iterator[Any]:
    after = 0
    while entries := reader.entries(after, 500):
        yield from entries
        after = entries[-1].seq


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process as systemd would: SIGTERM, and SIGKILL after the deadline."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _stopped(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Stop the process at the end of the block, also on Ctrl-C."""
    try:
        yield process
    finally:
        _stop(process)
