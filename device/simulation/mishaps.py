"""What can go wrong in a simulated session, and a plan of it from a seed.

Owns the catalogue: on the line, in the pump, at the switches, in the mechanics, to the processes, the clock, the disk
and the broker. Each mishap is what happens in the world or to the operating system; none reaches into the product.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from device.simulation.disk import COMMIT_NS, Cut
from device.simulation.gun import VirtualGun
from device.simulation.oracles import Watch


class Level(Enum):
    """How much goes wrong in a session."""

    NONE = "none"
    LOW = "low"
    """One mishap."""
    HIGH = "high"
    """Two to four, some of them at the same time."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """What strikes, and when, in ms after the first arming; `seed` decides its particulars."""

    name: str
    at_ms: int
    seed: int


@dataclass
class Scene:
    """A gun to which something happens."""

    gun: VirtualGun
    watch: Watch
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - a reproducible world

    def strike(self, mishap: Mishap) -> None:
        """Let it happen."""
        self.random = Random(mishap.seed)  # noqa: S311 - as above
        MISHAPS[mishap.name](self)

    def later(self, least_ms: int, most_ms: int, call: Callable[[], object]) -> None:
        """Do something after a seeded time."""
        self.gun.time.after(self.random.randint(least_ms, most_ms) * 1_000_000, call)

    def stop(self) -> None:
        """Somebody presses the stop."""
        self.gun.hands.press_stop()
        self.watch.danger("stop pressed")

    def switch(self, line: int, *, closed: bool) -> None:
        """Close or open one switch's contact."""
        self.gun.world.set_switch(line, closed=closed, now_ns=self.gun.time.now_ns)

    def flip(self, line: int) -> None:
        """Turn one contact round."""
        self.switch(line, closed=self.gun.world.level(line))


def _tap_stop(scene: Scene) -> None:
    scene.stop()
    scene.later(1, 40, scene.gun.hands.release_stop)


def _bouncing_stop(scene: Scene) -> None:
    lines = scene.gun.configuration.lines
    scene.watch.danger("stop bounces")
    for _ in range(scene.random.randint(3, 12)):
        scene.later(0, 6, lambda: scene.flip(lines.stop_a))
        scene.later(0, 6, lambda: scene.flip(lines.stop_b))
    scene.later(7, 60, scene.gun.hands.release_stop)


def _one_stop_channel(scene: Scene) -> None:
    scene.switch(scene.gun.configuration.lines.stop_b, closed=False)
    scene.watch.danger("one stop channel open")


def _one_trigger_channel(scene: Scene) -> None:
    lines = scene.gun.configuration.lines
    scene.flip(scene.random.choice((lines.trigger_a, lines.trigger_b)))


def _bouncing_trigger(scene: Scene) -> None:
    lines = scene.gun.configuration.lines
    for _ in range(scene.random.randint(3, 20)):
        line = scene.random.choice((lines.trigger_a, lines.trigger_b))
        scene.later(0, 12, lambda line=line: scene.flip(line))  # type: ignore[misc]


def _stuck_trigger(scene: Scene) -> None:
    hands = scene.gun.hands
    hands.press()
    for ms in range(10, 400, 10):
        scene.later(ms, ms, hands.press)


def _lift(scene: Scene) -> None:
    scene.gun.hands.lift()
    if scene.gun.world.needle_steps > 0:
        scene.watch.danger("contact lost")


def _lose_frames(scene: Scene) -> None:
    scene.gun.pump.firmware.troubles.drop_frames += scene.random.randint(1, 6)


def _lose_answers(scene: Scene) -> None:
    scene.gun.pump.firmware.troubles.drop_answers += scene.random.randint(1, 6)


def _late_answer(scene: Scene) -> None:
    troubles = scene.gun.pump.firmware.troubles
    troubles.delay_answers += 1
    troubles.delay_ns = scene.random.randint(20, 260) * 1_000_000


def _flipped_bit(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


def _corrupt_answer(scene: Scene) -> None:
    bit = scene.random.randrange(400)
    scene.gun.pump.noise_in = lambda data: _flipped_bit(data, bit)


def _corrupt_frame(scene: Scene) -> None:
    bit = scene.random.randrange(2000)
    scene.gun.pump.noise_out = lambda data: _flipped_bit(data, bit)


def _lost_byte(scene: Scene) -> None:
    place = scene.random.random()
    scene.gun.pump.noise_out = lambda data: data[: int(len(data) * place)] + data[int(len(data) * place) + 1 :]


def _doubled_frame(scene: Scene) -> None:
    scene.gun.pump.noise_out = lambda data: data + data


def _doubled_answer(scene: Scene) -> None:
    scene.gun.pump.noise_in = lambda data: data + data


def _babble(scene: Scene) -> None:
    noise = bytes(scene.random.randrange(256) for _ in range(scene.random.randint(1, 12)))
    scene.gun.pump.noise_in = lambda data: noise + data + noise


def _overload(scene: Scene) -> None:
    scene.gun.pump.firmware.troubles.overloads += 1


def _lost_increments(scene: Scene) -> None:
    scene.gun.pump.firmware.troubles.lose_increments = scene.random.randint(1, 40)
    scene.stop()


def _stuck_gate(scene: Scene) -> None:
    setattr(scene.gun.world, scene.random.choice(("trouble_gate_1_stuck", "trouble_gate_2_stuck")), 1)
    scene.gun.pump.gate_changed()


def _stuck_phase(scene: Scene) -> None:
    scene.gun.world.trouble_phase_stuck = 1


def _jammed_needle(scene: Scene) -> None:
    scene.gun.world.trouble_needle_jammed = 1


def _lost_steps(scene: Scene) -> None:
    scene.gun.world.trouble_lose_steps += scene.random.randint(1, 60)


def _clogged_needle(scene: Scene) -> None:
    scene.gun.world.trouble_clogged_percent = scene.random.choice((300, 1000, 10_000))


def _air_in_the_tube(scene: Scene) -> None:
    scene.gun.world.trouble_air_nl += scene.random.randint(100, 5000)


def _broken_home(scene: Scene) -> None:
    scene.gun.world.trouble_home_broken = 1


def _unplugged(scene: Scene) -> None:
    scene.gun.unplug_pump()
    scene.later(20, 600, scene.gun.plug_pump)


def _frozen_controller(scene: Scene) -> None:
    scene.gun.freeze_controller(scene.random.randint(60, 400))


def _frozen_realtime(scene: Scene) -> None:
    scene.gun.freeze_realtime(scene.random.randint(60, 400))


def _stalled_realtime(scene: Scene) -> None:
    # Shorter than the supervision's patience: no fault has to come of it.
    scene.gun.freeze_realtime(scene.random.randint(1, 28), told=False)


def _killed_both(scene: Scene) -> None:
    scene.gun.kill_controller()
    scene.gun.kill_realtime()


def _full_disk(scene: Scene) -> None:
    scene.gun.disk.full = True


def _full_disk_for_a_moment(scene: Scene) -> None:
    disk = scene.gun.disk
    disk.full = True
    scene.later(5, 200, lambda: setattr(disk, "full", False))


def _slow_disk(scene: Scene) -> None:
    disk = scene.gun.disk
    disk.commit_ns = scene.random.randint(20, 900) * 1_000_000
    scene.later(100, 2000, lambda: setattr(disk, "commit_ns", COMMIT_NS))


def _power_cut_in_a_write(scene: Scene) -> None:
    disk = scene.gun.disk
    disk.cut_at(disk.appends + scene.random.randint(0, 2), scene.random.choice(list(Cut)))


def _stepping_clock(scene: Scene) -> None:
    scene.gun.wall_clock_step_ms += scene.random.choice((-1, 1)) * scene.random.randint(1, 10**9)


def _killed_gateway(scene: Scene) -> None:
    gateway = scene.gun.gateway
    if gateway is not None and gateway.alive:
        gateway.kill()
        scene.later(100, 900, scene.gun.start_gateway)


def _broker(call: Callable[[Scene], object]) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        call(scene)
        scene.later(200, 3000, scene.gun.broker.recover)

    return strike


MISHAPS: Final[dict[str, Callable[[Scene], None]]] = {
    "stop": Scene.stop,
    "tap_stop": _tap_stop,
    "bouncing_stop": _bouncing_stop,
    "one_stop_channel": _one_stop_channel,
    "release": lambda scene: scene.gun.hands.release(),
    "lift": _lift,
    "one_trigger_channel": _one_trigger_channel,
    "bouncing_trigger": _bouncing_trigger,
    "stuck_trigger": _stuck_trigger,
    "lose_frames": _lose_frames,
    "lose_answers": _lose_answers,
    "late_answer": _late_answer,
    "corrupt_answer": _corrupt_answer,
    "corrupt_frame": _corrupt_frame,
    "lost_byte": _lost_byte,
    "doubled_frame": _doubled_frame,
    "doubled_answer": _doubled_answer,
    "babble": _babble,
    "overload": _overload,
    "lost_increments": _lost_increments,
    "stuck_gate": _stuck_gate,
    "stuck_phase": _stuck_phase,
    "jammed_needle": _jammed_needle,
    "broken_home": _broken_home,
    "lost_steps": _lost_steps,
    "clogged_needle": _clogged_needle,
    "air_in_the_tube": _air_in_the_tube,
    "pump_reset": lambda scene: scene.gun.pump.power_cycle(),
    "unplugged": _unplugged,
    "frozen_controller": _frozen_controller,
    "killed_controller": lambda scene: scene.gun.kill_controller(),
    "frozen_realtime": _frozen_realtime,
    "stalled_realtime": _stalled_realtime,
    "killed_realtime": lambda scene: scene.gun.kill_realtime(),
    "killed_both": _killed_both,
    "power_cut": lambda scene: scene.gun.cut_power(),
    "power_cut_in_a_write": _power_cut_in_a_write,
    "full_disk": _full_disk,
    "full_disk_for_a_moment": _full_disk_for_a_moment,
    "slow_disk": _slow_disk,
    "stepping_clock": _stepping_clock,
    "killed_gateway": _killed_gateway,
    "broker_down": _broker(lambda scene: scene.gun.broker.go_down()),
    "broker_mute": _broker(lambda scene: scene.gun.broker.fall_mute()),
    "broker_refuses": _broker(lambda scene: scene.gun.broker.refuse()),
}
"""Every mishap by its name. Lasting ones last until `repair`."""


def plan_mishaps(random: Random, level: Level, *, until_ms: int) -> tuple[Mishap, ...]:
    """Return what goes wrong in a session, in order of time, within `until_ms` of the first arming."""
    count = {Level.NONE: 0, Level.LOW: 1, Level.HIGH: random.choice((2, 2, 3, 4))}[level]
    names = [random.choice(list(MISHAPS)) for _ in range(count)]
    times = [random.randrange(until_ms) for _ in names]
    if count > 1 and random.random() < 0.5:
        times[1] = times[0] + random.randrange(30)
    mishaps = [Mishap(name, at_ms, random.getrandbits(32)) for name, at_ms in zip(names, times, strict=True)]
    return tuple(sorted(mishaps, key=lambda mishap: mishap.at_ms))


def repair(gun: VirtualGun) -> None:
    """Service has been: every lasting mishap is mended."""
    world, pump, lines = gun.world, gun.pump, gun.configuration.lines
    world.trouble_gate_1_stuck = world.trouble_gate_2_stuck = world.trouble_phase_stuck = 0
    world.trouble_needle_jammed = world.trouble_home_broken = 0
    world.trouble_clogged_percent = 0
    world.set_switch(lines.home, closed=world.needle_steps <= 0, now_ns=gun.time.now_ns)
    troubles = pump.firmware.troubles
    troubles.lose_increments = troubles.overloads = troubles.drop_frames = troubles.drop_answers = 0
    pump.noise_in = pump.noise_out = None
    gun.plug_pump()
    gun.disk.full = False
    gun.disk.commit_ns = COMMIT_NS
    gun.broker.recover()
