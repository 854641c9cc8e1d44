"""The pump with its line in virtual time, and the world around it as the observers see it.

Owns when the shipped firmware simulator is asked to go on. A pump that is halted at a closed gate and has nothing on
its line sleeps until the gate moves, and sees that as late as a pump that looks again and again.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from device.simulation.virtual_time import Timer
from drivers.pump.cavro_codec import Command as Frame
from drivers.sim.fluid import FluidSpec
from drivers.sim.pump_firmware import PumpFirmware
from drivers.sim.pump_line import PumpOnLine
from drivers.sim.pump_mechanics import GATE_LOOK_NS, GRAIN_NS, NOT_INITIALISED, STROKES

if TYPE_CHECKING:
    from device.simulation.gun import VirtualGun

Noise = Callable[[bytes], bytes]
"""What the line makes of bytes."""

COARSE: Final = STROKES[1] // STROKES[0]


class PumpUnit:
    """A pump that has long been in use: its plunger stands at `content`, its valve at the needle."""

    def __init__(
        self,
        gun: "VirtualGun",
        content: int,
        baud: int,
        address: int,
        *,
        fluid: FluidSpec | None = None,
        encoder: Callable[[int], int] | None = None,
    ) -> None:
        self._gun = gun
        position = content // COARSE
        path = None if fluid is None else gun.world.carry_fluid(fluid, position=position)
        # Fluid is told in movements of this length at most; of a step, where a coarse needle stands still for longer.
        look_ns = max(GRAIN_NS, gun.configuration.device.axis.shortest_step_ns)
        self.firmware = PumpFirmware(
            self,
            address=address,
            position=position,
            told_of_gates=True,
            fluid=path,
            look_ns=look_ns,
            encoder=encoder,
        )
        self.play = 0 if fluid is None else -(-fluid.backlash_pl * STROKES[1] // (fluid.stroke_nl * 1000))
        """The play of its drive, in increments, rounded up."""
        self._wire = PumpOnLine(self.firmware, baud=baud)
        self._timer: Timer | None = None
        self._due_ns = 0
        self.reset_ns = -1
        """When it was last switched off and on."""
        self.unplugged = False
        """The cable is out: no byte passes in either direction."""
        self.noise_out: Noise | None = None
        """What happens to the next bytes on their way to the pump."""
        self.noise_in: Noise | None = None
        """What happens to the next bytes on their way to the host."""
        self.listener: Callable[[bytes], None] | None = None
        # It knows its plunger, and its valve stands at the needle.
        self.firmware.receive(Frame(address, 1, repeat=False, data="zR").to_bytes(), gun.time.now_ns)
        self.advance()

    @property
    def is_homing(self) -> bool:
        """Whether the plunger looks for the top: what it gives then is waste."""
        return self.firmware.error == NOT_INITIALISED

    def gate_low(self, number: int) -> bool:
        """What the pump sees of a gate."""
        return self._gun.world.gate_low(number)

    def set_phase(self, level: bool, now_ns: int) -> None:  # noqa: FBT001 - a level is the datum
        """Set its output 1."""
        if not self._gun.world.trouble_phase_stuck:
            for phase in self._gun.audience.phase:
                phase(level, now_ns)
        self._gun.world.set_phase(level, now_ns)

    def plunger_moved(self, from_position: int, to_position: int, *, needle_side: bool, now_ns: int) -> None:
        """Its plunger moves by a little."""
        for plunger in self._gun.audience.plunger:
            plunger(from_position, to_position, needle_side, now_ns)
        self._gun.world.plunger_moved(from_position, to_position, needle_side=needle_side, now_ns=now_ns)

    def host_sends(self, data: bytes) -> None:
        """Bytes from the host's port."""
        if self.unplugged:
            return
        if self.noise_out is not None:
            noise, self.noise_out = self.noise_out, None
            data = noise(data)
        self._wire.host_sends(data, self._gun.time.now_ns)
        self.advance()

    def power_cycle(self) -> None:
        """Switch it off and on: whatever was loaded is gone."""
        self.reset_ns = self._gun.time.now_ns
        self.firmware.power_cycle(self._gun.time.now_ns)
        self.advance()

    def gate_changed(self) -> None:
        """One of the gates has another level: a pump that is halted at it sees that in one of its looks."""
        look_ns = self._gun.time.now_ns + GATE_LOOK_NS
        if self._timer is None or look_ns < self._due_ns:
            self._advance_at(look_ns)

    def advance(self) -> None:
        """Let the pump live until now, and set the timer for its next event."""
        now_ns = self._gun.time.now_ns
        answer = self._wire.advance(now_ns)
        event_ns = self._wire.next_event_ns(now_ns)
        if event_ns is not None:
            self._advance_at(max(event_ns, now_ns + 1))
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if answer and self.noise_in is not None:
            noise, self.noise_in = self.noise_in, None
            answer = noise(answer)
        if answer and self.listener is not None and not self.unplugged:
            self.listener(answer)

    def _advance_at(self, due_ns: int) -> None:
        if self._timer is not None:
            if self._due_ns == due_ns > self._gun.time.now_ns:
                return
            self._timer.cancel()
        self._due_ns = due_ns
        self._timer = self._gun.time.at(due_ns, self.advance)
