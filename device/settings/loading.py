"""Reads a configuration directory whole, or refuses it whole.

Owns finding the directory, the rules between the console and its formulary, and `Configuration`. Never returns a
part: every problem of every file is collected and raised together. Never opens anything but the `.toml` files; the
MQTT password's file is the gateway's to read. What needs a profile, a syringe and a serum together is the planner's
business.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, TypeVar

import device
from device.core.course import Course
from device.core.device_spec import DeviceSpec
from device.core.profile import Profile
from device.core.serum import Serum
from device.core.syringe import Syringe
from device.settings.device_file import DeviceFile, MqttTable, PumpTable
from device.settings.formulary import CourseFile, ProfileFile, SerumFile, SyringeFile
from device.settings.problems import ConfigurationError, Document, Problem, shown
from device.settings.reading import Named, Read, Reader
from drivers.ports import LineMap

DEVICE_FILE: Final = "device.toml"
COURSES: Final = "courses"
PROFILES: Final = "profiles"
SERUMS: Final = "serums"
SYRINGES: Final = "syringes"
ENVIRONMENT_VARIABLE: Final = "MESOGUN_CONFIG"
STANDARD_DIRECTORIES: Final = (
    Path("/etc/mesogun"),
    Path(sys.prefix) / "share" / "mesogun" / "config",
    Path(device.__file__).resolve().parent.parent / "config",
)
"""Where a configuration is looked for when nobody names it: the machine's, the installed, the checkout's."""

Core = TypeVar("Core")


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """The pump's serial line. `baud` in bits/s; `address` is the pump's address switch plus 1."""

    port: str
    baud: int
    address: int
    dialect: str


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The gateway's broker. `username` is empty and `password_file` None where the broker asks for neither."""

    host: str
    port: int
    username: str
    password_file: Path | None
    keepalive_s: int


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Core]):
    """What a file says, with the SHA-256 of its bytes (64 hexadecimal digits) and where it was read."""

    value: Core
    sha256: str
    path: Path


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a console is told, checked. The mappings are read-only and go by name.

    `sha256` covers every file: it is the SHA-256 of the lines that `sha256sum device.toml */*.toml` prints in the
    directory, in the byte order of the names, so that anyone can compute it again.
    """

    directory: Path
    device: DeviceSpec
    lines: LineMap
    serial: SerialSettings
    mqtt: MqttSettings
    profiles: Mapping[str, Loaded[Profile]]
    serums: Mapping[str, Loaded[Serum]]
    syringes: Mapping[str, Loaded[Syringe]]
    courses: Mapping[str, Loaded[Course]]
    sha256: str


@dataclass(frozen=True, slots=True)
class _Bound:
    """A value of a formulary file must not pass a value of device.toml in the same unit: `sign` 1 above, -1 below."""

    key: str
    table: str
    device_key: str
    sign: int = 1


# A profile within limits.depth_mm is within needle.travel_mm too: DeviceSpec holds the limit to the travel.
_PROFILE_BOUNDS: Final = (
    _Bound("depth_mm", "limits", "depth_mm"),
    _Bound("dose_ul", "limits", "shot_ul"),
    _Bound("interval_ms", "limits", "least_interval_ms", sign=-1),
    _Bound("session_volume_ml", "limits", "session_ml"),
    _Bound("session_shots", "limits", "session_shots"),
    _Bound("burst_shots", "limits", "magazine_shots"),
    _Bound("entry_speed_mm_s", "needle", "fastest_mm_s"),
    _Bound("exit_speed_mm_s", "needle", "fastest_mm_s"),
)
_SYRINGE_BOUNDS: Final = (_Bound("fastest_ul_s", "limits", "fastest_ul_s"),)


def find_configuration_directory(
    argument: Path | None,
    *,
    environment: Mapping[str, str] = os.environ,
    standard: Sequence[Path] = STANDARD_DIRECTORIES,
) -> Path:
    """Return the directory to load: `argument`, else $MESOGUN_CONFIG, else the first of `standard` that exists.

    One that was named is taken or refused, never passed over: a typing error must not load the shipped examples.
    Raises ConfigurationError with one problem, which lists where it was looked for.
    """
    if argument is not None:
        looked = [argument]
    elif named := environment.get(ENVIRONMENT_VARIABLE):
        looked = [Path(named)]
    else:
        looked = list(standard)
    for directory in looked:
        if directory.is_dir():
            return directory
    raise ConfigurationError(
        [
            Problem(
                file=looked[0],
                line=None,
                key="",
                found="no configuration directory",
                allowed=f"looked in {', '.join(map(str, looked))}",
                action=f"name one that exists by --config or {ENVIRONMENT_VARIABLE}",
            )
        ]
    )


def load_configuration(directory: Path) -> Configuration:
    """Return the configuration in `directory`: device.toml and the files in courses, profiles, serums and syringes.

    Raises ConfigurationError with every problem of every file; nothing partial is returned.
    """
    reader = Reader()
    console = reader.file(directory / DEVICE_FILE, DeviceFile)
    courses = reader.folder(directory / COURSES, CourseFile)
    profiles = reader.folder(directory / PROFILES, ProfileFile)
    serums = reader.folder(directory / SERUMS, SerumFile)
    syringes = reader.folder(directory / SYRINGES, SyringeFile)
    spec = None if console is None else reader.converted(console, console.file.to_device)
    if console is not None:
        _hold_to_console(reader, console, profiles, syringes)
    loaded_profiles = _loaded(reader, profiles, ProfileFile.to_profile)
    loaded_serums = _loaded(reader, serums, SerumFile.to_serum)
    loaded_courses = _loaded(reader, courses, CourseFile.to_course)
    if console is None or spec is None or reader.problems:
        raise ConfigurationError(sorted(reader.problems, key=lambda problem: (problem.file, problem.line or 0)))
    stroke_increments = spec.pump.stroke_increments
    return Configuration(
        directory=directory,
        device=spec,
        lines=console.file.lines.to_lines(),
        serial=_serial(console.file.pump),
        mqtt=_mqtt(console.file.mqtt),
        profiles=loaded_profiles,
        serums=loaded_serums,
        syringes=_loaded(reader, syringes, lambda file: file.to_syringe(stroke_increments)),
        courses=loaded_courses,
        sha256=_digest(
            directory, [console.document, *(each.document for each in (*courses, *profiles, *serums, *syringes))]
        ),
    )


def _hold_to_console(
    reader: Reader,
    console: Read[DeviceFile],
    profiles: Sequence[Read[ProfileFile]],
    syringes: Sequence[Read[SyringeFile]],
) -> None:
    """Report every value of a profile or a syringe that this console cannot or may not reach."""
    for profile in profiles:
        for bound in _PROFILE_BOUNDS:
            _hold(reader, console, profile, bound)
        if profile.file.require_contact and console.file.lines.contact is None:
            reader.problems.append(
                profile.document.problem(
                    ("require_contact",),
                    found="true",
                    allowed=f"{DEVICE_FILE} has no lines.contact",
                    action="wire the contact line and add it there",
                )
            )
    for syringe in syringes:
        for bound in _SYRINGE_BOUNDS:
            _hold(reader, console, syringe, bound)


def _hold(reader: Reader, console: Read[DeviceFile], read: Read[Named], bound: _Bound) -> None:
    value = getattr(read.file, bound.key)
    limit = getattr(getattr(console.file, bound.table), bound.device_key)
    if value * bound.sign > limit * bound.sign:
        side = "most" if bound.sign > 0 else "least"
        reader.problems.append(
            read.document.problem(
                (bound.key,),
                found=shown(value),
                allowed=f"allowed is at {side} {limit}, the {bound.table}.{bound.device_key} of {DEVICE_FILE}",
                action="write a value within it",
            )
        )


def _loaded(
    reader: Reader, read: Sequence[Read[Named]], convert: Callable[[Named], Core]
) -> Mapping[str, Loaded[Core]]:
    """Return the converted files by name; a file that cannot be converted is reported and left out."""
    loaded = {}
    for each in read:
        value = reader.converted(each, partial(convert, each.file))
        if value is not None:
            loaded[each.file.name] = Loaded(value, each.document.sha256, each.document.path)
    return MappingProxyType(loaded)


def _serial(pump: PumpTable) -> SerialSettings:
    return SerialSettings(port=pump.port, baud=pump.baud, address=pump.address, dialect=pump.dialect)


def _mqtt(mqtt: MqttTable) -> MqttSettings:
    return MqttSettings(
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password_file=Path(mqtt.password_file) if mqtt.password_file else None,
        keepalive_s=mqtt.keepalive_s,
    )


def _digest(directory: Path, documents: Sequence[Document]) -> str:
    """Return the digest of all files, which come in the order of their names whatever order the directory has."""
    lines = [f"{each.sha256}  {each.path.relative_to(directory).as_posix()}\n" for each in documents]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
