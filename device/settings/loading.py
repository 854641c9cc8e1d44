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
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, TypeVar

import device
from device.core.checklist import Checklist
from device.core.course import Course
from device.core.device_spec import DeviceSpec
from device.core.profile import Profile
from device.core.serum import Serum
from device.core.syringe import Syringe
from device.settings.device_file import DeviceFile, MqttTable, PumpTable
from device.settings.formulary import ChecklistFile, CourseFile, LimitsFile, ProfileFile, SerumFile, SyringeFile
from device.settings.problems import ConfigurationError, Document, Problem, shown
from device.settings.reading import Named, Read, Reader
from device.settings.values import SettingsTable
from drivers.ports import LineMap

DEVICE_FILE: Final = "device.toml"
FORMULARY: Final = "formulary"
LIMITS_FILE: Final = "limits.toml"
CHECKLISTS: Final = "checklists"
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

    `override_users` are the accounts whose word goes beyond soft limits. `files` are the formulary's digests by their
    paths in it. `sha256` covers every file: it is the SHA-256 of the lines that `sha256sum` prints in the directory for
    device.toml, formulary/limits.toml and formulary/*/*.toml, in the byte order of the names: anyone can compute it.
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
    override_users: tuple[str, ...]
    checklists: Mapping[str, Loaded[Checklist]]
    files: Mapping[str, str]
    sha256: str


@dataclass(frozen=True, slots=True)
class _Bound:
    """A value of a file must not pass that of another one in the same unit: `sign` 1 above, -1 below."""

    key: str
    bound_key: str
    sign: int = 1


# A profile within the limit of depth is within needle.travel_mm too: DeviceSpec holds the limit to the travel.
_PROFILE_LIMITS: Final = (
    _Bound("depth_mm", "depth_mm"),
    _Bound("dose_ul", "shot_ul"),
    _Bound("interval_ms", "least_interval_ms", sign=-1),
    _Bound("session_volume_ml", "session_ml"),
    _Bound("session_shots", "session_shots"),
    _Bound("burst_shots", "magazine_shots"),
)
_PROFILE_SPEEDS: Final = (
    _Bound("entry_speed_mm_s", "needle.fastest_mm_s"),
    _Bound("exit_speed_mm_s", "needle.fastest_mm_s"),
)
_SYRINGE_LIMITS: Final = (_Bound("fastest_ul_s", "fastest_ul_s"),)


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


@dataclass(frozen=True, slots=True)
class _FormularyFiles:
    """The formulary's files that could be read, in the order of their names."""

    limits: Read[LimitsFile] | None
    checklists: list[Read[ChecklistFile]]
    courses: list[Read[CourseFile]]
    profiles: list[Read[ProfileFile]]
    serums: list[Read[SerumFile]]
    syringes: list[Read[SyringeFile]]

    @property
    def documents(self) -> list[Document]:
        limits = [self.limits.document] if self.limits is not None else []
        others = (*self.checklists, *self.courses, *self.profiles, *self.serums, *self.syringes)
        return limits + [each.document for each in others]


def load_configuration(directory: Path, *, formulary: Path | None = None) -> Configuration:
    """Return the configuration in `directory`: device.toml, and what is in its `formulary`.

    That is the directory's own where none is given.

    Raises ConfigurationError with every problem of every file; nothing partial is returned. Whether the formulary is
    signed is another question (`bundle.verified`): an unsigned one can be read, tried and signed.
    """
    reader = Reader()
    console = reader.file(directory / DEVICE_FILE, DeviceFile)
    formulary = directory / FORMULARY if formulary is None else formulary
    files = _read_formulary(reader, formulary)
    limits = None if files.limits is None else reader.converted(files.limits, files.limits.file.to_limits)
    spec = None
    if console is not None:
        if files.limits is not None and limits is not None:
            soft = files.limits.file.soft.to_soft()
            spec = reader.converted(console, partial(console.file.to_device, limits, soft))
        _hold_to_console(reader, console, files)
    profiles = _loaded(reader, files.profiles, ProfileFile.to_profile)
    serums = _loaded(reader, files.serums, SerumFile.to_serum)
    courses = _loaded(reader, files.courses, CourseFile.to_course)
    checklists = _loaded(reader, files.checklists, ChecklistFile.to_checklist)
    if console is None or spec is None or reader.problems:
        raise _refusal(reader)
    stroke_increments = spec.pump.stroke_increments
    signed = digests(formulary, files.documents)
    return Configuration(
        directory=directory,
        device=spec,
        lines=console.file.lines.to_lines(),
        serial=_serial(console.file.pump),
        mqtt=_mqtt(console.file.mqtt),
        courses=courses,
        checklists=checklists,
        profiles=profiles,
        serums=serums,
        syringes=_loaded(reader, files.syringes, lambda file: file.to_syringe(stroke_increments)),
        override_users=tuple(console.file.access.override_users),
        files=signed,
        sha256=_digest(
            {DEVICE_FILE: console.document.sha256, **{f"{FORMULARY}/{name}": signed[name] for name in signed}}
        ),
    )


def load_formulary(directory: Path) -> Mapping[str, str]:
    """Return the digest of each file of the formulary in `directory`, by its path in it.

    Raises ConfigurationError with every problem that can be found without a console.
    """
    reader = Reader()
    files = _read_formulary(reader, directory)
    _loaded(reader, files.profiles, ProfileFile.to_profile)
    _loaded(reader, files.serums, SerumFile.to_serum)
    _loaded(reader, files.courses, CourseFile.to_course)
    _loaded(reader, files.checklists, ChecklistFile.to_checklist)
    if reader.problems:
        raise _refusal(reader)
    return digests(directory, files.documents)


def digests(directory: Path, documents: Sequence[Document]) -> Mapping[str, str]:
    """Return the SHA-256 of each document by its path in `directory`."""
    return MappingProxyType({each.path.relative_to(directory).as_posix(): each.sha256 for each in documents})


def _refusal(reader: Reader) -> ConfigurationError:
    return ConfigurationError(sorted(reader.problems, key=lambda problem: (problem.file, problem.line or 0)))


def _read_formulary(reader: Reader, directory: Path) -> _FormularyFiles:
    """Read the files, and report every value that passes the limits."""
    files = _FormularyFiles(
        limits=reader.file(directory / LIMITS_FILE, LimitsFile),
        checklists=reader.folder(directory / CHECKLISTS, ChecklistFile),
        courses=reader.folder(directory / COURSES, CourseFile),
        profiles=reader.folder(directory / PROFILES, ProfileFile),
        serums=reader.folder(directory / SERUMS, SerumFile),
        syringes=reader.folder(directory / SYRINGES, SyringeFile),
    )
    if files.limits is not None:
        for profile in files.profiles:
            _hold(reader, profile, files.limits, _PROFILE_LIMITS)
        for syringe in files.syringes:
            _hold(reader, syringe, files.limits, _SYRINGE_LIMITS)
    _hold_to_checklists(reader, directory / CHECKLISTS, files)
    return files


def _hold_to_checklists(reader: Reader, folder: Path, files: _FormularyFiles) -> None:
    """Report every course that names a check-list which is not there; one that is wrong has its own problem."""
    there = sorted(path.stem for path in folder.glob("*.toml"))
    for course in files.courses:
        if there and course.file.checklist is not None and course.file.checklist not in there:
            reader.problems.append(
                course.document.problem(
                    ("checklist",),
                    found=shown(course.file.checklist),
                    allowed=f"allowed is one of the check-lists: {', '.join(there)}",
                    action="write the name of one of these, or add the file",
                )
            )


def _hold_to_console(reader: Reader, console: Read[DeviceFile], files: _FormularyFiles) -> None:
    """Report every value of a profile that this console cannot reach."""
    for profile in files.profiles:
        _hold(reader, profile, console, _PROFILE_SPEEDS)
        if profile.file.require_contact and console.file.lines.contact is None:
            reader.problems.append(
                profile.document.problem(
                    ("require_contact",),
                    found="true",
                    allowed=f"{DEVICE_FILE} has no lines.contact",
                    action="wire the contact line and add it there",
                )
            )


def _hold(reader: Reader, read: Read[Named], to: Read[SettingsTable], bounds: Sequence[_Bound]) -> None:
    for bound in bounds:
        value = getattr(read.file, bound.key)
        limit = attrgetter(bound.bound_key)(to.file)
        if value * bound.sign > limit * bound.sign:
            side = "most" if bound.sign > 0 else "least"
            reader.problems.append(
                read.document.problem(
                    (bound.key,),
                    found=shown(value),
                    allowed=f"allowed is at {side} {limit}, the {bound.bound_key} of {to.document.path.name}",
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


def _digest(files: Mapping[str, str]) -> str:
    """Return the digest of all files, which come in the order of their names whatever order the directory has."""
    lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
