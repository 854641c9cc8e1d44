"""The tables of limits: for each, the last that is allowed, the first that is refused, and what a person then reads.

Owns the edges, found by walking: shots are fired on the machine, and values tried on it, one after the other until it
refuses; no message and no edge is written here by hand. A new limit is a `Row` more in one of `TABLES`; a field of
`HardLimits` without one fails a test.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from device.core.console import Console, State
from device.core.device_spec import SoftLimits
from device.core.effects import Effect, Refill, Reply
from device.core.events import (
    ArmRequested,
    Command,
    OverrideRequested,
    PositionRead,
    PumpLoaded,
    RefillDone,
    Request,
    SessionStartRequested,
    SessionStopRequested,
)
from device.core.ledger import Needle
from device.core.machine import step
from device.core.magazine import PhaseMove, PumpProgram
from device.core.patient_day import DAY_MS
from device.core.profile import Mode
from device.core.realtime_messages import Loaded, StrokeStarted
from device.core.serum import Ingredient
from device.core.session import Region
from device.core.units import (
    HalfIncrementsPerSecond,
    Increments,
    Micrograms,
    Micrometres,
    Nanolitres,
    NanolitresPerSecond,
)
from drivers.ports import DriverError
from drivers.pump.cavro_program import PumpCeiling, check_ceiling
from tests.support.core import FORMULARY, LIMITS, MS, PUMP, SPEC, SYRINGE, TIMING, make_ingredient, make_serum
from tests.support.machine import (
    CALIBRATE,
    DISARMED,
    PRIME,
    PROFILE,
    REQUEST,
    START_SESSION,
    after,
    magazine_ended,
    shot_report,
)

GOLDEN: Final = Path(__file__).with_name("limits.txt")
STEPS_MOST: Final = 2_000
"""A walk that has found no edge by then has none."""

NOON_MS: Final = 1_772_600_000_000
"""A moment of the wall clock."""

Reasons = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One edge. `fields` are the hard limits that it shows."""

    limit: str
    allowed: str
    refused: str
    reasons: Reasons
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """The limits that are held at one place. `rows` walks them."""

    title: str
    rows: Callable[[], Iterable[Row]]


# --- walks --------------------------------------------------------------------------------------------------------


def walked(
    limit: str, values: Iterable[int], shown: str | tuple[str, str], attempt: Callable[[int], Reasons], *fields: str
) -> Row:
    """Try `values` one after the other; the first must be allowed, and one of them refused.

    `shown` is how a value is written, with `{k}` for it in thousands (uL, mm, ms) and `{v}` for it as it is; or two
    words, for 1 and for 0.
    """
    last: int | None = None
    for value in values:
        reasons = attempt(value)
        if reasons and last is not None:
            return Row(limit, _shown(shown, last), _shown(shown, value), reasons, fields)
        if reasons:
            raise AssertionError(f"{limit}: the walk begins beyond the edge, at {value}: {reasons}")
        last = value
    raise AssertionError(f"{limit}: nothing was refused up to {last}")


def _shown(shown: str | tuple[str, str], value: int) -> str:
    if isinstance(shown, tuple):
        return shown[1 - value]
    return shown.format(v=value, k=f"{value / 1000:.3f}".rstrip("0").rstrip("."))


def shot_by_shot(limit: str, console: Console, *fields: str, at_ms: int = 0) -> Row:
    """Fire shots on an armed machine until it refuses to be armed again."""
    console, effects = armed(console, at_ms=at_ms)
    for _ in range(STEPS_MOST):
        if (reasons := refusal_in(effects)) is not None:
            totals = console.ledger.session
            shots, volume_nl = (totals.shots, totals.volume_nl) if totals is not None else (0, 0)
            allowed = f"shot {shots}, with {volume_nl / 1000:g} uL in the session"
            return Row(limit, allowed, f"shot {shots + 1}", reasons, fields)
        console, effects = one_event_on(console, effects, at_ms=at_ms)
    raise AssertionError(f"{limit}: nothing was refused in {STEPS_MOST} steps")


def armed(console: Console, *, at_ms: int = 0) -> tuple[Console, tuple[Effect, ...]]:
    """Ask for the arming."""
    return step(console, ArmRequested(replace(REQUEST, at_ms=at_ms)))


def one_event_on(
    console: Console, effects: tuple[Effect, ...], *, at_ms: int = 0
) -> tuple[Console, tuple[Effect, ...]]:
    """Do what the pump, the trigger and the operator do next: draw, load, fire, or arm again."""
    magazine = console.magazine
    match console.state:
        case State.REFILLING:
            (refill,) = [effect for effect in effects if isinstance(effect, Refill)]
            return step(console, RefillDone(refill.target))
        case State.LOADING if magazine is not None:
            return step(after(console, PumpLoaded(magazine.magazine_id)), Loaded(magazine.magazine_id))
        case State.ARMED if magazine is not None:
            number = magazine.magazine_id
            fired = after(console, StrokeStarted(number, 0), shot_report(number), magazine_ended(magazine_id=number))
            return step(fired, PositionRead(magazine.pump_program().moves[-1].target))
        case State.SESSION:
            return armed(console, at_ms=at_ms)
        case state:
            raise AssertionError(f"nobody walks from {state.name}")


def refusal_in(effects: Sequence[Effect]) -> Reasons | None:
    """Return the reasons of a refusing answer; None where nothing was refused."""
    refused = [effect for effect in effects if isinstance(effect, Reply) and not effect.accepted]
    return tuple(refused[0].reasons) if refused else None


def asked(console: Console, command: Command) -> Reasons:
    """Give a command and return why it was refused, nothing if it was not."""
    return refusal_in(step(console, command)[1]) or ()


# --- consoles -----------------------------------------------------------------------------------------------------


def with_limits(console: Console = DISARMED, **limits: Any) -> Console:
    """Return the console with other hard limits."""
    return replace(console, spec=replace(console.spec, limits=replace(console.spec.limits, **limits)))


def start(profile: dict[str, Any] | None = None, **changes: Any) -> SessionStartRequested:
    """Return a session's start, without regions, with a changed profile and other changes."""
    unplanned: dict[str, Any] = {"profile": replace(PROFILE, **(profile or {})), "regions": ()}
    return replace(START_SESSION, **(unplanned | changes))


def in_session(console: Console = DISARMED, profile: dict[str, Any] | None = None, **changes: Any) -> Console:
    """Return the console in a session that was started so."""
    opened = after(console, start(profile, **changes))
    if opened.state is not State.SESSION:
        raise AssertionError(asked(console, start(profile, **changes)))
    return opened


def at(ms: int) -> Request:
    """Return a request at a moment of the wall clock."""
    return replace(REQUEST, at_ms=ms)


def after_a_session(shots: int, console: Console = DISARMED, *, ended_ms: int = NOON_MS, **changes: Any) -> Console:
    """Return the console after a session of so many shots for the same patient."""
    console = in_session(console, {"session_shots": shots}, **changes)
    effects: tuple[Effect, ...] = ()
    for _ in range(STEPS_MOST):
        console, effects = one_event_on(console, effects)
        if refusal_in(effects) is not None:
            return after(console, SessionStopRequested(at(ended_ms)))
    raise AssertionError("the session does not end")


# --- tables -------------------------------------------------------------------------------------------------------


def session_start_rows() -> Iterable[Row]:
    """Walk what a session's start refuses."""

    def dose(nl: int, console: Console = DISARMED) -> Reasons:
        return asked(console, start({"dose_nl": nl}))

    yield walked(
        "limits.shot_ul = 30 (a carried remainder may add one increment, 0.042 uL)",
        range(29_900, 30_100),
        "a dose of {k} uL",
        lambda nl: dose(nl, with_limits(shot_nl=30_000)),
        "shot_nl",
    )
    yield walked("syringe smallest_dose_ul = 5", range(5_010, 4_900, -1), "a dose of {k} uL", dose)
    yield walked(
        "limits.depth_mm = 6",
        range(5_990, 6_010),
        "a depth of {k} mm",
        lambda um: asked(with_limits(depth_um=6_000), start({"depth_um": um})),
        "depth_um",
    )
    yield walked(
        "limits.least_interval_ms = 100",
        range(101_000, 99_000, -100),
        "an interval of {k} ms",
        lambda us: asked(DISARMED, start({"interval_ns": us * 1000})),
        "least_interval_ns",
    )
    yield walked(
        "limits.fastest_ul_s, with a dwell of at most 100 ms for 12 uL",
        range(250, 50, -1),
        "a flow of {v} uL/s",
        lambda ul_s: asked(
            with_limits(fastest_nl_s=ul_s * 1000),
            start({"longest_dwell_ns": 100 * MS}, syringe=replace(SYRINGE, fastest_nl_s=NanolitresPerSecond(400_000))),
        ),
        "fastest_nl_s",
    )
    yield walked(
        "syringe fastest_ul_s, with a dwell of at most 100 ms for 12 uL",
        range(250, 50, -1),
        "a flow of {v} uL/s",
        lambda ul_s: asked(
            DISARMED,
            start(
                {"longest_dwell_ns": 100 * MS}, syringe=replace(SYRINGE, fastest_nl_s=NanolitresPerSecond(ul_s * 1000))
            ),
        ),
    )
    yield walked(
        "slowest_speed_mm_s = 10, over 3 mm of depth window",
        range(20_000, 99_000, 100),
        "a dose of {k} uL, all of it in the entry",
        lambda nl: asked(DISARMED, start({"dose_nl": nl, "entry_percent": 100, "dwell_percent": 0, "exit_percent": 0})),
    )
    yield walked(
        "interval_ms in a row of shots",
        range(700, 100, -1),
        "an interval of {v} ms",
        lambda ms: asked(DISARMED, start({"mode": Mode.CONTINUOUS, "interval_ns": ms * MS})),
    )
    yield walked(
        "limits.magazine_shots = 3",
        range(2, 9),
        "a burst of {v} shots",
        lambda shots: asked(with_limits(magazine_shots=3), start({"mode": Mode.BURST, "burst_shots": shots})),
        "magazine_shots",
    )
    yield walked(
        "pump.program_bytes, for one shot",
        range(70, 50, -1),
        "a buffer of {v} characters",
        lambda size: asked(replace(DISARMED, spec=replace(SPEC, pump=replace(PUMP, program_bytes=size))), start()),
    )
    yield walked(
        "suck_back_ul with the drive's play, 10 uL together",
        range(8_900, 9_200),
        "a suck-back of {k} uL",
        lambda nl: asked(DISARMED, start({"suck_back_nl": nl, "slowest_speed_um_s": 2_000})),
    )
    yield walked(
        "entry_from_mm, at a depth of 4 mm",
        range(3_800, 4_000),
        "from {k} mm on",
        lambda um: asked(DISARMED, start({"entry_from_um": um, "slowest_speed_um_s": 100, "dose_nl": 5_000})),
    )


def next_shot_rows() -> Iterable[Row]:
    """Walk what ends a session, shot by shot of 20 uL."""
    yield shot_by_shot("limits.session_ml = 0.1", in_session(with_limits(session_nl=100_000)), "session_nl")
    yield shot_by_shot("limits.session_ml = 0.099", in_session(with_limits(session_nl=99_000)), "session_nl")
    yield shot_by_shot("limits.session_shots = 7", in_session(with_limits(session_shots=7)), "session_shots")
    yield shot_by_shot("limits.hour_shots = 6", in_session(with_limits(hour_shots=6)), "hour_shots")
    yield shot_by_shot("limits.needle_shots = 6", in_session(with_limits(needle_shots=6)), "needle_shots")
    yield shot_by_shot("profile session_volume_ml = 0.08", in_session(profile={"session_volume_nl": 80_000}))
    yield shot_by_shot("profile session_shots = 4", in_session(profile={"session_shots": 4}))
    yield shot_by_shot("planned points, 3 and 2", in_session(regions=(Region("crown", 3), Region("temple", 2))))
    areas = (Region("crown", 9, area_mm2=400, spacing_um=5_000), Region("temple", 9))
    yield shot_by_shot(
        "limits.region_ul_per_cm2 = 15, on 4 cm2 planned for 9 points",
        in_session(with_limits(region_nl_per_cm2=15_000), regions=areas),
        "region_nl_per_cm2",
    )
    yield shot_by_shot(
        "limits.region_ul_per_cm2 = 14.999, on 4 cm2 planned for 9 points",
        in_session(with_limits(region_nl_per_cm2=14_999), regions=areas),
        "region_nl_per_cm2",
    )
    yield shot_by_shot(
        "two limits at one shot",
        in_session(with_limits(session_nl=100_000), {"session_shots": 5}),
    )
    yield shot_by_shot(
        "the rounding of doses that are no whole increments: 20.02 uL, session_volume_ml = 0.060041",
        in_session(profile={"dose_nl": 20_020, "session_volume_nl": 60_041}),
    )
    yield shot_by_shot(
        "serum vial_ml = 1.1: 1 mL in the syringe, then what is left", in_session(serum=make_serum(vial_nl=1_100_000))
    )


def soft_rows() -> Iterable[Row]:
    """Walk what gives way to somebody's word."""
    for name, limits in (
        ("soft.session_ml = 0.1", {"session_nl": 100_000}),
        ("soft.patient_day_ml = 0.06", {"patient_day_nl": 60_000}),
        ("soft.session_shots = 4", {"session_shots": 4}),
        ("soft.hour_shots = 3", {"hour_shots": 3}),
    ):
        yield shot_by_shot(name, in_session(with_soft(**limits)))
    yield walked(
        "soft.shot_ul = 20, at the arming",
        range(19_999, 20_003),
        "a dose of {k} uL",
        lambda nl: asked(in_session(with_soft(shot_nl=20_000), {"dose_nl": nl}), ArmRequested(REQUEST)),
    )
    yield walked(
        "soft.least_interval_ms = 500, at the arming",
        range(501, 490, -1),
        "an interval of {v} ms",
        lambda ms: asked(
            in_session(with_soft(least_interval_ns=500 * MS), {"interval_ns": ms * MS}), ArmRequested(REQUEST)
        ),
    )
    yield shot_by_shot(
        "soft.region_ul_per_cm2 = 12, on 5 cm2",
        in_session(with_soft(region_nl_per_cm2=12_000), regions=(Region("crown", 9, area_mm2=500),)),
    )
    reached = with_soft(session_nl=100_000)
    yield shot_by_shot(
        "soft.session_ml = 0.1 overridden, with limits.session_ml = 0.16",
        after(
            shots_fired(in_session(with_limits(reached, session_nl=160_000)), 5),
            OverrideRequested(REQUEST, "soft.session_ml", "as agreed", "a physician"),
        ),
    )


def with_soft(**limits: Any) -> Console:
    """Return the console with these soft limits."""
    return replace(DISARMED, spec=replace(DISARMED.spec, soft=SoftLimits(**limits)))


def shots_fired(console: Console, shots: int) -> Console:
    """Return the console in its session after so many shots."""
    effects: tuple[Effect, ...] = ()
    for _ in range(STEPS_MOST):
        totals = console.ledger.session
        if totals is not None and totals.shots == shots and console.state is State.SESSION:
            return console
        console, effects = one_event_on(console, effects)
    raise AssertionError(f"not {shots} shots in {STEPS_MOST} steps")


def ingredient_rows() -> Iterable[Row]:
    """Walk the limits of what is in the serum, 10 mg/mL: 0.2 mg a shot."""
    most = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=1_000))
    by_weight = make_serum(make_ingredient(ug_per_ml=10_000, most_ug_per_kg=20))
    both = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=1_400, most_ug_per_kg=20))
    yield shot_by_shot("ingredient most_mg = 1", in_session(serum=most))
    for weight_g in (50_000, 49_999):
        yield shot_by_shot(
            f"ingredient most_mg_per_kg = 0.02, for {weight_g / 1000:g} kg (the product rounded down)",
            in_session(serum=by_weight, weight_g=weight_g),
        )
    yield shot_by_shot(
        "the lower of most_mg = 1.4 and most_mg_per_kg = 0.02, 80 kg", in_session(serum=both, weight_g=80_000)
    )
    yield walked(
        "ingredient most_mg_per_kg without the patient's weight",
        (1, 0),
        ("with it", "without it"),
        lambda given: asked(DISARMED, start(serum=by_weight, weight_g=50_000 if given else None)),
    )
    yield shot_by_shot(
        "a mass rounded up: 0.333 mg/mL of most_mg = 0.02, 6.66 ug a shot",
        in_session(serum=make_serum(Ingredient("biotin", 333, Micrograms(20), None))),
    )


def day_rows() -> Iterable[Row]:
    """Walk what a patient's earlier session leaves to the next one."""
    tight = with_limits(patient_day_nl=100_000)
    yield shot_by_shot(
        "limits.patient_day_ml = 0.1, 3 shots in a session an hour before",
        in_session(after_a_session(3, tight), request=at(NOON_MS + DAY_MS // 24)),
        "patient_day_nl",
    )
    yield walked(
        "limits.patient_day_ml = 0.1, all of it given in a session before",
        range(DAY_MS + 2, DAY_MS - 3, -1),
        "a session {v} ms after its end",
        lambda later_ms: asked(after_a_session(5, tight), start(request=at(NOON_MS + later_ms))),
        "patient_day_nl",
    )
    yield shot_by_shot(
        "the same for another patient",
        in_session(after_home(after_a_session(3, tight)), request=at(NOON_MS + 1), patient="berta"),
        "patient_day_nl",
    )
    first = make_serum(make_ingredient(ug_per_ml=10_000, most_ug=1_000))
    second = replace(make_serum(Ingredient("LIDOCAINE", 5_000, Micrograms(900), None)), name="weaker")
    yield shot_by_shot(
        "one ingredient of two serums in 24 hours: 3 shots of 0.2 mg, then 0.1 mg each up to most_mg = 0.9",
        in_session(
            after_home(after_a_session(3, serum=first)), serum=second, serum_sha256="s2", request=at(NOON_MS + 1)
        ),
    )


def after_home(console: Console) -> Console:
    """Return the console with its syringe and needle changed and its plunger homed."""
    ledger = replace(console.ledger, content=None, position=Increments(0), low_water=Increments(0), needle=Needle())
    return replace(console, ledger=ledger)


def prime_rows() -> Iterable[Row]:
    """Walk the prime's limits."""

    def primed(nl: int, **limits: Any) -> Reasons:
        return asked(with_limits(in_session(), **limits), replace(PRIME, volume_nl=Nanolitres(nl)))

    yield walked("limits.prime_ul = 300", range(299_990, 300_010), "a prime of {k} uL", primed, "prime_nl")
    yield walked("one increment of the plunger", range(45, 38, -1), "a prime of {k} uL", primed)
    yield walked(
        "limits.prime_ms = 500",
        range(100_000, 200_000, 100),
        "a prime of {k} uL",
        lambda nl: primed(nl, prime_ns=500 * MS),
        "prime_ns",
    )


def calibration_rows() -> Iterable[Row]:
    """Walk the syringe's calibration."""
    for title, values in (
        ("2 % more than stroke_ul = 1000", range(1_019_990, 1_020_010)),
        ("2 % less than stroke_ul = 1000", range(980_010, 979_990, -1)),
    ):
        yield walked(
            title,
            values,
            "{k} uL measured",
            lambda nl: asked(DISARMED, replace(CALIBRATE, measured_nl=Nanolitres(nl))),
        )
    expires_ms = NOON_MS + 180 * DAY_MS
    ready = in_session(after(DISARMED, replace(CALIBRATE, request=at(NOON_MS), expires_ms=expires_ms)))
    yield walked(
        "a calibration for 180 days",
        range(-2, 3),
        "an arming {v} ms after its end",
        lambda late_ms: asked(ready, ArmRequested(at(expires_ms + late_ms))),
    )
    yield walked(
        "a calibration of the very file of the syringe",
        (1, 0),
        ("the file unchanged", "the file changed"),
        lambda same: asked(in_session(syringe_sha256="y" if same else "y2"), ArmRequested(at(0))),
    )


def formulary_rows() -> Iterable[Row]:
    """Walk the signed bundle's end."""
    expires_ms = NOON_MS + 90 * DAY_MS
    ends = replace(in_session(), formulary=replace(FORMULARY, expires_ms=expires_ms))
    yield walked(
        "a formulary for 90 days",
        range(-2, 3),
        "an arming {v} ms after its end",
        lambda late_ms: asked(ends, ArmRequested(at(expires_ms + late_ms))),
    )


def pump_rows() -> Iterable[Row]:
    """Walk the pump driver's own ceiling, with arithmetic of its own, on the programs that the machine loads."""
    one, many = _program(Mode.SINGLE), _program(Mode.CONTINUOUS)
    ceiling = PumpCeiling.of(LIMITS)

    def refused(program: PumpProgram, **pump: Any) -> Reasons:
        try:
            check_ceiling(program, spec=replace(PUMP, **pump), ceiling=ceiling)
        except DriverError as error:
            return (error.detail,)
        return ()

    def deeper(program: PumpProgram, more: int) -> PumpProgram:
        """Let the exit of the last shot go deeper, and the suck-back behind it with it."""
        *others, exit_, back = program.moves
        return replace(program, moves=(*others, _moved(exit_, -more), _moved(back, -more)))

    yield walked(
        "limits.shot_ul = 100 (2400 increments, and 240 of a suck-back that is repaid)",
        range(2_150, 2_200),
        "{v} increments more than planned in the exit of a first shot",
        lambda more: refused(deeper(one, more)),
        "shot_nl",
    )
    yield walked(
        "limits.shot_ul = 100 in a later shot of the program",
        range(1_900, 1_950),
        "{v} increments more than planned in the exit of the last shot",
        lambda more: refused(deeper(many, more)),
        "shot_nl",
    )
    few = PumpCeiling(ceiling.shot_nl_most, Nanolitres(100_000), ceiling.prime_nl_most, ceiling.suck_back_nl_most)

    def whole(more: int) -> Reasons:
        try:
            check_ceiling(deeper(many, more), spec=PUMP, ceiling=few)
        except DriverError as error:
            return (error.detail,)
        return ()

    planned = many.start - min(move.target for move in many.moves)
    yield walked(
        "limits.shot_ul x limits.magazine_shots for a whole program, here 100 uL",
        range(2_640 - planned - 3, 2_640 - planned + 3),
        f"{planned} increments planned and {{v}} more",
        whole,
        "magazine_shots",
    )
    prime = _primed()
    yield walked(
        "limits.prime_ul = 300 (7200 increments, and 240 of a suck-back)",
        range(6_235, 6_250),
        "{v} increments more than planned in a prime of 1200",
        lambda more: refused(replace(prime, moves=(_moved(prime.moves[0], -more),))),
        "prime_nl",
    )
    yield walked(
        "a suck-back of 10 uL",
        range(190, 200),
        "{v} increments more than planned",
        lambda more: refused(replace(one, moves=(*one.moves[:-1], _moved(one.moves[-1], more)))),
    )
    yield walked(
        "no dose by drawing back",
        range(-2, 3),
        "an entry that ends {v} increments above its start",
        lambda above: refused(
            replace(one, moves=(_moved(one.moves[0], one.start + above - one.moves[0].target), *one.moves[1:]))
        ),
    )
    yield walked(
        "the stroke of 24000 increments, at its top",
        range(-2, 3),
        "a program from increment 24000 and {v}",
        lambda above: refused(replace(one, start=Increments(24_000 + above))),
    )
    yield walked(
        "the stroke of 24000 increments, at its bottom",
        range(2, -3, -1),
        "a target at increment {v}",
        lambda place: refused(
            replace(one, start=Increments(40), moves=(replace(one.moves[0], target=Increments(place)),))
        ),
    )
    fastest = PUMP.fastest_speed
    yield walked(
        "pump.fastest_speed = 6000",
        range(fastest - 2, fastest + 3),
        "a top speed of {v}",
        lambda speed: refused(_at_speed(one, speed)),
    )
    yield walked(
        "the least that the pump's V takes", range(7, 2, -1), "a top speed of {v}", lambda v: refused(_at_speed(one, v))
    )
    yield walked(
        "pump.program_bytes",
        range(80, 30, -1),
        "a buffer of {v} characters",
        lambda size: refused(one, program_bytes=size),
    )


def _moved(move: PhaseMove, by: int) -> PhaseMove:
    return replace(move, target=Increments(move.target + by))


def _at_speed(program: PumpProgram, speed: int) -> PumpProgram:
    first = replace(program.moves[0], top_speed=HalfIncrementsPerSecond(speed))
    return replace(program, moves=(first, *program.moves[1:]))


def _program(mode: Mode) -> PumpProgram:
    """Return the program of the session's first magazine."""
    console, effects = armed(in_session(profile={"mode": mode, "interval_ns": 2_000 * MS}))
    return _loaded(console, effects)


def _primed() -> PumpProgram:
    return _loaded(*step(in_session(), PRIME))


def _loaded(console: Console, effects: tuple[Effect, ...]) -> PumpProgram:
    while console.magazine is None:
        console, effects = one_event_on(console, effects)
    return console.magazine.pump_program()


def console_rows() -> Iterable[Row]:
    """Walk the rules between the parts of a console, without which it does not start."""

    def built(**changes: Any) -> Reasons:
        try:
            replace(SPEC, **changes)
        except ValueError as error:
            return (str(error),)
        return ()

    yield walked(
        "limits.depth_mm with needle.clearance_mm = 0.5 in needle.travel_mm = 14",
        range(13_498, 13_503),
        "a limit of {k} mm",
        lambda um: built(limits=replace(LIMITS, depth_um=Micrometres(um))),
        "depth_um",
    )
    for name in ("permit", "silence"):
        yield walked(
            f"timing.{name}_ms, for a safe gun within 50 ms",
            range(39_998, 40_003),
            "{k} ms",
            lambda us, field=f"{name}_ns": built(timing=replace(TIMING, **{field: us * 1000})),  # type: ignore[misc]
        )


TABLES: Final = (
    Table("At a session's start: core.limits and core.shot_plan, through the machine", session_start_rows),
    Table("For the next shot of 20 uL: core.limits, by firing until nothing can be armed", next_shot_rows),
    Table("For what gives way to somebody's word: core.soft_limits, by firing until nothing can be armed", soft_rows),
    Table("For what is in the serum: core.limits, by firing until nothing can be armed", ingredient_rows),
    Table("For what a patient had before: core.patient_day, by firing in a second session", day_rows),
    Table("For a prime: core.shot_plan, through the machine", prime_rows),
    Table("For a calibration: core.calibration, through the machine", calibration_rows),
    Table("For a formulary: core.formulary, through the machine", formulary_rows),
    Table("In the pump's driver: drivers.pump.cavro_program, on the programs that the machine loads", pump_rows),
    Table("When a console is described: core.device_spec", console_rows),
)

HEADER: Final = """\
The tables of limits: the last that is allowed, the first that is refused, and what a person then reads.
The console, profile and syringe are those of tests/support/core.py, but for what a row says.
"""


def whole_text() -> str:
    """Return the golden text as the code of now makes it."""
    parts = [HEADER]
    for table in TABLES:
        parts.append(f"\n{table.title}\n{'-' * len(table.title)}\n")
        parts += [_text_of(row) for row in table.rows()]
    return "".join(parts)


def fields_shown() -> set[str]:
    """Return the hard limits that some row shows."""
    return {field for table in TABLES for row in table.rows() for field in row.fields}


def _text_of(row: Row) -> str:
    reasons = "".join(f"             {reason}\n" for reason in row.reasons)
    return f"  {row.limit}\n    allowed  {row.allowed}\n    refused  {row.refused}\n{reasons}"
