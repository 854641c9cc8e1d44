"""device.toml: one console, as a pydantic model, and its conversion into the core's and the ports' types.

Owns every key of the file: its name with the unit last, its meaning, its range. A table holds the file as it was
written, in mm, uL and ms; `to_*` converts exactly. Never reads a file and never looks at a profile (`loading` does).
An unknown key is an error; a rule between keys stands in a model's validator or in the core type's own check, and its
text names the keys, by which `key_help` finds their lines.
"""

from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import model_validator

from device.core.device_spec import AxisSpec, DeviceSpec, HardLimits, PumpSpec, SoftLimits, Timing
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    MicrometresPerSecond2,
)
from device.settings.values import (
    MICROSECONDS,
    MILLIMETRES,
    MILLIMETRES_PER_S,
    MILLIMETRES_PER_S2,
    MILLISECONDS,
    AccountNames,
    Choice,
    Count,
    Flag,
    SettingsTable,
    Text,
    micrometres,
    micrometres_per_s,
    nanoseconds,
    quantity,
    topic_name,
)
from drivers.ports import LineMap

DIALECTS: Final = ("cavro",)
"""The pump dialects that have a driver."""
BAUD_RATES: Final = (9600, 38400)
"""The two rates of a Cavro pump's OEM protocol."""
UART_LINES: Final = (14, 15)
"""BCM numbers of the serial port on the Pi's own header."""
HEADER_PORTS: Final = ("/dev/serial0", "/dev/serial1", "/dev/ttyAMA", "/dev/ttyS")
"""The names under which that port appears."""
EXAMPLE_SITE: Final = "demo-clinic"
"""The site of the shipped device.toml, which is an example: on a real console its wiring would make outputs of lines to
which something else may be connected. Whoever writes a console's own values changes this one with them."""
BCM_LEAST: Final = 2
"""BCM 0 and 1 belong to the identification EEPROM of an expansion board."""
BCM_MOST: Final = 27


def _line(meaning: str) -> Count:
    return Count(f"{meaning}, BCM number", BCM_LEAST, BCM_MOST)


class NeedleTable(SettingsTable):
    """The needle axis."""

    steps_per_mm: Annotated[int, Count("motor steps for one millimetre of needle travel", 10, 1000)]
    clearance_mm: Annotated[
        Decimal, quantity("needle tip's way from home to the skin in the nosepiece", MILLIMETRES, "0.1", "5")
    ]
    travel_mm: Annotated[Decimal, quantity("farthest needle position from home", MILLIMETRES, "1", "30")]
    fastest_mm_s: Annotated[Decimal, quantity("fastest needle speed", MILLIMETRES_PER_S, "1", "200")]
    acceleration_mm_s2: Annotated[Decimal, quantity("needle acceleration", MILLIMETRES_PER_S2, "100", "20000")]
    homing_mm_s: Annotated[Decimal, quantity("needle speed toward the home switch", MILLIMETRES_PER_S, "0.5", "20")]

    def to_axis(self) -> AxisSpec:
        """Return the core's axis."""
        return AxisSpec(
            steps_per_mm=self.steps_per_mm,
            clearance_um=micrometres(self.clearance_mm),
            travel_um=micrometres(self.travel_mm),
            fastest_um_s=micrometres_per_s(self.fastest_mm_s),
            acceleration_um_s2=MicrometresPerSecond2(MILLIMETRES_PER_S2.whole(self.acceleration_mm_s2)),
            homing_um_s=micrometres_per_s(self.homing_mm_s),
        )


class PumpTable(SettingsTable):
    """The pump and its serial line. Ranges of v, V, c and L: Cavro XCalibur manual 733085-B, chapter 3."""

    dialect: Annotated[str, Choice("the pump's language", DIALECTS)]
    port: Annotated[
        str, Text("the serial port", r"/dev/[A-Za-z0-9/_.:-]{1,120}", 'a device path such as "/dev/ttyUSB0"')
    ]
    baud: Annotated[int, Choice("serial speed in bits per second", BAUD_RATES)]
    address: Annotated[int, Count("the pump's address switch plus 1", 1, 15)]
    stroke_increments: Annotated[
        int, Choice("full stroke in position increments (24000: XCalibur, N1)", (3000, 24000, 6000, 48000))
    ]
    stroke_half_increments: Annotated[
        int, Choice("full stroke in the half-increments of the pump's speeds", (6000, 12000))
    ]
    start_speed: Annotated[int, Count("start speed v in half-increments per second", 50, 1000)]
    fastest_speed: Annotated[int, Count("fastest top speed V in half-increments per second", 5, 6000)]
    cutoff_speed: Annotated[int, Count("cut-off speed c in half-increments per second", 50, 2700)]
    slope: Annotated[int, Count("acceleration L in steps of 2500 half-increments per second squared", 1, 20)]
    refill_speed: Annotated[int, Count("top speed of a refill in half-increments per second", 5, 6000)]
    program_bytes: Annotated[int, Count("longest program that the pump holds, in characters", 64, 255)]
    gate_latency_ms: Annotated[
        Decimal, quantity("longest time from a gate's opening to the plunger's movement", MILLISECONDS, "0", "50")
    ]
    settle_ms: Annotated[
        Decimal,
        quantity("time after the plunger's stop in which the tube drains through the needle", MILLISECONDS, "0", "200"),
    ]
    phase_feedback: Annotated[bool, Flag("whether the pump's output 1 is wired to lines.phase")]

    @model_validator(mode="after")
    def _scales_and_speeds_agree(self) -> Self:
        half = self.stroke_half_increments
        if self.stroke_increments not in {half // 2, half * 4}:
            # The wrong scale would be a dose eight times too large.
            raise ValueError(
                f"stroke_increments must be {half // 2} (N0) or {half * 4} (N1) with this stroke_half_increments"
            )
        if max(self.refill_speed, self.start_speed) > self.fastest_speed:
            raise ValueError("start_speed and refill_speed must be at most fastest_speed")
        return self

    def to_pump(self) -> PumpSpec:
        """Return the core's pump."""
        half = self.stroke_half_increments
        return PumpSpec(
            stroke_increments=Increments(self.stroke_increments),
            stroke_half_increments=half,
            start_speed=HalfIncrementsPerSecond(self.start_speed),
            fastest_speed=HalfIncrementsPerSecond(self.fastest_speed),
            cutoff_speed=HalfIncrementsPerSecond(self.cutoff_speed),
            slope=self.slope,
            refill_speed=HalfIncrementsPerSecond(self.refill_speed),
            program_bytes=self.program_bytes,
            gate_latency_ns=nanoseconds(self.gate_latency_ms),
            phase_feedback=self.phase_feedback,
            settle_ns=nanoseconds(self.settle_ms),
        )


class AccessTable(SettingsTable):
    """Who may do what over the control socket, beyond what its group may."""

    override_users: Annotated[list[str], AccountNames("accounts whose word goes beyond soft limits")]


class TimingTable(SettingsTable):
    """Deadlines of the supervision and of the scan. A permit and a silence longer than 40 ms would break 50 ms."""

    permit_ms: Annotated[
        Decimal, quantity("how long the controller's permit lasts without renewal", MILLISECONDS, "5", "40")
    ]
    silence_ms: Annotated[
        Decimal, quantity("how long the real-time process may be silent before it is killed", MILLISECONDS, "5", "40")
    ]
    discrepancy_ms: Annotated[
        Decimal, quantity("how long the two channels of one switch may differ", MILLISECONDS, "1", "200")
    ]
    lockout_ms: Annotated[
        Decimal,
        quantity("how long a released trigger stays released before it counts again", MILLISECONDS, "1", "500"),
    ]
    late_limit_ms: Annotated[Decimal, quantity("a step later than this ends the shot", MILLISECONDS, "0.5", "50")]
    phase_wait_ms: Annotated[
        Decimal, quantity("how long the needle waits for a phase that should have ended", MILLISECONDS, "1", "1000")
    ]
    idle_scan_us: Annotated[Decimal, quantity("scan period at rest", MICROSECONDS, "100", "10000")]
    armed_scan_us: Annotated[Decimal, quantity("scan period while armed", MICROSECONDS, "50", "2000")]
    spin_us: Annotated[Decimal, quantity("last part of a wait, spent awake", MICROSECONDS, "0", "200")]

    @model_validator(mode="after")
    def _leaves_time_to_sleep(self) -> Self:
        if self.spin_us >= self.armed_scan_us:
            # A FIFO process that never sleeps is throttled by the kernel for 50 ms in each second.
            raise ValueError("spin_us must be less than armed_scan_us")
        return self

    def to_timing(self) -> Timing:
        """Return the core's timing."""
        return Timing(
            permit_ns=nanoseconds(self.permit_ms),
            silence_ns=nanoseconds(self.silence_ms),
            discrepancy_ns=nanoseconds(self.discrepancy_ms),
            lockout_ns=nanoseconds(self.lockout_ms),
            late_limit_ns=nanoseconds(self.late_limit_ms),
            phase_wait_ns=nanoseconds(self.phase_wait_ms),
            idle_scan_ns=nanoseconds(self.idle_scan_us, MICROSECONDS),
            armed_scan_ns=nanoseconds(self.armed_scan_us, MICROSECONDS),
            spin_ns=nanoseconds(self.spin_us, MICROSECONDS),
        )


class LinesTable(SettingsTable):
    """BCM numbers of the console's lines. Leave `contact` or `phase` out where it is not wired."""

    trigger_a: Annotated[int, _line("trigger, normally open, low when pressed")]
    trigger_b: Annotated[int, _line("trigger, normally closed, high when pressed")]
    stop_a: Annotated[int, _line("stop, first normally closed contact, high when pressed")]
    stop_b: Annotated[int, _line("stop, second normally closed contact, high when pressed")]
    home: Annotated[int, _line("needle home switch, low at home")]
    contact: Annotated[int | None, _line("skin contact, low when touching")] = None
    phase: Annotated[int | None, _line("the pump's output 1, high in every other phase")] = None
    step: Annotated[int, _line("motor step")]
    direction: Annotated[int, _line("motor direction, high is toward the skin")]
    enable: Annotated[int, _line("motor enable, low is on")]
    gate_1: Annotated[int, _line("the pump's input 1, low lets a loaded move run")]
    gate_2: Annotated[int, _line("the pump's input 2, low lets a loaded move run")]
    light: Annotated[int, _line("status light")]
    buzzer: Annotated[int, _line("buzzer")]

    @model_validator(mode="after")
    def _no_line_serves_twice(self) -> Self:
        users: dict[int, str] = {}
        for name in LinesTable.model_fields:
            line = getattr(self, name)
            if line in users:
                raise ValueError(f"{users[line]} and {name} must be two different lines")
            if line is not None:
                users[line] = name
        return self

    def to_lines(self) -> LineMap:
        """Return the ports' line map."""
        return LineMap(**{name: getattr(self, name) for name in LinesTable.model_fields})


class MqttTable(SettingsTable):
    """The broker to which the gateway publishes."""

    host: Annotated[str, Text("the broker's name or address", r"[A-Za-z0-9._:-]{1,253}", "a host name or address")]
    port: Annotated[int, Count("the broker's TCP port", 1, 65535)]
    username: Annotated[str, Text("the account, empty for none", r"[^\x00-\x1f\x7f]{0,120}", "one line of text")]
    password_file: Annotated[
        str,
        Text(
            "a file that holds only the password, empty for none",
            r"(?:/[^\x00-\x1f\x7f]{1,250})?",
            'an absolute path, or ""',
        ),
    ]
    keepalive_s: Annotated[int, Count("how often the connection is proved alive, in seconds", 5, 300)]

    @model_validator(mode="after")
    def _password_has_an_account(self) -> Self:
        if self.password_file and not self.username:
            raise ValueError("username must be given where password_file is")
        return self


class DeviceFile(SettingsTable):
    """device.toml: one console."""

    site: Annotated[str, topic_name("the clinic, a level of the MQTT topic")]
    device: Annotated[str, topic_name("the console, a level of the MQTT topic")]
    needle: NeedleTable
    pump: PumpTable
    access: AccessTable
    timing: TimingTable
    lines: LinesTable
    mqtt: MqttTable

    @model_validator(mode="after")
    def _lines_fit_the_pump(self) -> Self:
        if self.pump.phase_feedback and self.lines.phase is None:
            raise ValueError("pump.phase_feedback must be false where lines.phase is not given")
        if self.pump.port.startswith(HEADER_PORTS):
            for name in LinesTable.model_fields:
                if getattr(self.lines, name) in UART_LINES:
                    raise ValueError(f"lines.{name} must be neither 14 nor 15: they are the serial port of pump.port")
        return self

    def to_device(self, limits: HardLimits, soft: SoftLimits) -> DeviceSpec:
        """Return the core's console under its formulary's limits.

        Raises ValueError, naming the keys, where its parts contradict each other.
        """
        return DeviceSpec(
            site=self.site,
            device=self.device,
            axis=self.needle.to_axis(),
            pump=self.pump.to_pump(),
            limits=limits,
            soft=soft,
            timing=self.timing.to_timing(),
        )
