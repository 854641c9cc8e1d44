"""The formulary's files as pydantic models, and their conversion into the core's types.

Owns every key of these files: its name with the unit last, its meaning, its range. A table holds the file as it was
written, in mm, uL and ms; `to_*` converts exactly. Never reads a file and never compares one with the console
(`loading` does). An unknown key is an error; a rule between keys stands in a model's validator or in the core type's
own check, and its text names the keys, by which `key_help` finds their lines.
"""

from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from device.core.checklist import Checklist, Item
from device.core.course import Block, Course
from device.core.device_spec import HardLimits, SoftLimits
from device.core.patient_hour import HOUR_MS
from device.core.profile import Mode, Profile, TriggerStyle
from device.core.serum import Ingredient, Serum
from device.core.syringe import Syringe
from device.core.units import Increments, Micrograms
from device.settings.values import (
    MICROLITRES,
    MICROLITRES_PER_CM2,
    MICROLITRES_PER_S,
    MILLIGRAMS,
    MILLIGRAMS_PER_KG,
    MILLIGRAMS_PER_ML,
    MILLILITRES,
    MILLIMETRES,
    MILLIMETRES_PER_S,
    MILLISECONDS,
    Choice,
    Count,
    Flag,
    Months,
    SettingsTable,
    Text,
    micrometres,
    micrometres_per_s,
    nanolitres,
    nanolitres_per_cm2,
    nanolitres_per_s,
    nanoseconds,
    quantity,
    refused,
    topic_name,
)

BLOCKS_MOST: Final = 12
ITEMS_MOST: Final = 40
INGREDIENTS_MOST: Final = 32
NAME_PATTERN: Final = r"[^\x00-\x1f\x7f,]{1,120}"
"""As `LINE_PATTERN`, without a comma: messages join names by commas."""
LINE_PATTERN: Final = r"[^\x00-\x1f\x7f]{1,120}"
"""One line of text: no control character."""


class FormularyFile(SettingsTable):
    """What the kinds have in common: the name by which sessions and records call them."""

    name: Annotated[str, topic_name("the name, that of the file without .toml")]


class SoftLimitsTable(SettingsTable):
    """What may be exceeded with a reason and a name. Where a key is left out the hard limit alone holds."""

    shot_ul: Annotated[Decimal | None, quantity("more in one shot", MICROLITRES, "1", "500")] = None
    session_ml: Annotated[Decimal | None, quantity("more in one session", MILLILITRES, "0.1", "20")] = None
    patient_day_ml: Annotated[
        Decimal | None, quantity("more for one patient in 24 hours", MILLILITRES, "0.1", "40")
    ] = None
    session_shots: Annotated[int | None, Count("more shots in one session", 1, 2000)] = None
    hour_shots: Annotated[int | None, Count("more shots for one patient in an hour", 1, 4000)] = None
    region_ul_per_cm2: Annotated[
        Decimal | None, quantity("more in one session for the area of a region", MICROLITRES_PER_CM2, "0.1", "500")
    ] = None
    least_interval_ms: Annotated[
        Decimal | None, quantity("less time from one shot's start to the next", MILLISECONDS, "50", "10000")
    ] = None

    def to_soft(self) -> SoftLimits:
        """Return the core's soft limits."""
        return SoftLimits(
            shot_nl=None if self.shot_ul is None else nanolitres(self.shot_ul),
            session_nl=None if self.session_ml is None else nanolitres(self.session_ml, MILLILITRES),
            patient_day_nl=None if self.patient_day_ml is None else nanolitres(self.patient_day_ml, MILLILITRES),
            session_shots=self.session_shots,
            hour_shots=self.hour_shots,
            region_nl_per_cm2=None if self.region_ul_per_cm2 is None else nanolitres_per_cm2(self.region_ul_per_cm2),
            least_interval_ns=None if self.least_interval_ms is None else nanoseconds(self.least_interval_ms),
        )


class LimitsFile(SettingsTable):
    """limits.toml: the hard limits. No profile, serum, syringe or operator exceeds them."""

    shot_ul: Annotated[Decimal, quantity("most in one shot", MICROLITRES, "1", "500")]
    session_ml: Annotated[Decimal, quantity("most in one session", MILLILITRES, "0.1", "20")]
    patient_day_ml: Annotated[Decimal, quantity("most for one patient in 24 hours", MILLILITRES, "0.1", "40")]
    session_shots: Annotated[int, Count("most shots in one session", 1, 2000)]
    hour_shots: Annotated[int, Count("most shots for one patient in an hour", 1, 4000)]
    least_interval_ms: Annotated[
        Decimal, quantity("least time from one shot's start to the next", MILLISECONDS, "50", "10000")
    ]
    fastest_ul_s: Annotated[Decimal, quantity("fastest flow through the needle", MICROLITRES_PER_S, "1", "1000")]
    depth_mm: Annotated[Decimal, quantity("deepest needle tip below the skin", MILLIMETRES, "0.1", "13")]
    magazine_shots: Annotated[int, Count("most shots authorised at one time", 1, 32)]
    prime_ul: Annotated[Decimal, quantity("most in one prime", MICROLITRES, "10", "2000")]
    prime_ms: Annotated[Decimal, quantity("longest time of one prime", MILLISECONDS, "100", "60000")]
    region_ul_per_cm2: Annotated[
        Decimal, quantity("most in one session for the area of a region", MICROLITRES_PER_CM2, "0.1", "500")
    ]
    needle_shots: Annotated[int, Count("most shots with one needle", 1, 2000)]
    soft: SoftLimitsTable

    @model_validator(mode="after")
    def _soft_limits_come_before_hard_ones(self) -> Self:
        for key in SoftLimitsTable.model_fields:
            soft, hard = getattr(self.soft, key), getattr(self, key)
            if soft is None:
                continue
            if key.startswith("least"):
                if soft <= hard:
                    raise ValueError(f"soft.{key} must be above {key}, or be left out: nothing lies between them")
            elif soft >= hard:
                raise ValueError(f"soft.{key} must be below {key}, or be left out: nothing lies between them")
        return self

    def to_limits(self) -> HardLimits:
        """Return the core's limits."""
        return HardLimits(
            shot_nl=nanolitres(self.shot_ul),
            session_nl=nanolitres(self.session_ml, MILLILITRES),
            patient_day_nl=nanolitres(self.patient_day_ml, MILLILITRES),
            session_shots=self.session_shots,
            hour_shots=self.hour_shots,
            least_interval_ns=nanoseconds(self.least_interval_ms),
            fastest_nl_s=nanolitres_per_s(self.fastest_ul_s),
            depth_um=micrometres(self.depth_mm),
            magazine_shots=self.magazine_shots,
            prime_nl=nanolitres(self.prime_ul),
            prime_ns=nanoseconds(self.prime_ms),
            region_nl_per_cm2=nanolitres_per_cm2(self.region_ul_per_cm2),
            needle_shots=self.needle_shots,
        )


class ProfileFile(FormularyFile):
    """profiles/<name>.toml: how to inject. Lengths are from the skin's surface, positive into the skin."""

    mode: Annotated[str, Choice("how many shots one press gives", tuple(mode.value for mode in Mode))]
    trigger: Annotated[
        str,
        Choice("press: a release changes nothing; hold: a release retracts", tuple(s.value for s in TriggerStyle)),
    ]
    burst_shots: Annotated[int, Count('shots of one press in mode "burst", else 1', 1, 32)]
    interval_ms: Annotated[Decimal, quantity("time from one shot's start to the next", MILLISECONDS, "50", "10000")]
    depth_mm: Annotated[Decimal, quantity("deepest needle tip", MILLIMETRES, "0.1", "13")]
    entry_speed_mm_s: Annotated[Decimal, quantity("wished speed inward", MILLIMETRES_PER_S, "1", "200")]
    exit_speed_mm_s: Annotated[Decimal, quantity("wished speed outward", MILLIMETRES_PER_S, "1", "200")]
    slowest_speed_mm_s: Annotated[
        Decimal, quantity("how far the planner may slow the needle to fit the dose", MILLIMETRES_PER_S, "1", "200")
    ]
    dwell_ms: Annotated[Decimal, quantity("wished time at depth", MILLISECONDS, "0", "2000")]
    longest_dwell_ms: Annotated[
        Decimal, quantity("how far the planner may lengthen the dwell to fit the dose", MILLISECONDS, "0", "2000")
    ]
    entry_from_mm: Annotated[Decimal, quantity("depth from which the entry dose may run", MILLIMETRES, "0", "13")]
    exit_until_mm: Annotated[Decimal, quantity("depth by which the exit dose has ended", MILLIMETRES, "0", "13")]
    dose_ul: Annotated[Decimal, quantity("volume of one shot", MICROLITRES, "0.1", "500")]
    entry_percent: Annotated[int, Count("share of the dose given while the needle enters", 0, 100)]
    dwell_percent: Annotated[int, Count("share of the dose given at depth", 0, 100)]
    exit_percent: Annotated[int, Count("share of the dose given while the needle leaves", 0, 100)]
    suck_back_ul: Annotated[
        Decimal, quantity("drawn back after the exit, repaid by the next shot", MICROLITRES, "0", "10")
    ]
    require_contact: Annotated[bool, Flag("whether a shot needs skin contact")]
    session_volume_ml: Annotated[Decimal, quantity("most in one session", MILLILITRES, "0.01", "20")]
    session_shots: Annotated[int, Count("most shots in one session", 1, 2000)]

    @model_validator(mode="after")
    def _only_a_burst_has_burst_shots(self) -> Self:
        if self.mode != Mode.BURST.value and self.burst_shots != 1:
            raise ValueError("burst_shots must be 1 unless mode is 'burst'")
        return self

    def to_profile(self) -> Profile:
        """Return the core's profile. Raises ValueError, naming the keys, where they contradict each other."""
        return Profile(
            name=self.name,
            mode=Mode(self.mode),
            trigger=TriggerStyle(self.trigger),
            burst_shots=self.burst_shots,
            interval_ns=nanoseconds(self.interval_ms),
            depth_um=micrometres(self.depth_mm),
            entry_speed_um_s=micrometres_per_s(self.entry_speed_mm_s),
            exit_speed_um_s=micrometres_per_s(self.exit_speed_mm_s),
            slowest_speed_um_s=micrometres_per_s(self.slowest_speed_mm_s),
            dwell_ns=nanoseconds(self.dwell_ms),
            longest_dwell_ns=nanoseconds(self.longest_dwell_ms),
            entry_from_um=micrometres(self.entry_from_mm),
            exit_until_um=micrometres(self.exit_until_mm),
            dose_nl=nanolitres(self.dose_ul),
            entry_percent=self.entry_percent,
            dwell_percent=self.dwell_percent,
            exit_percent=self.exit_percent,
            suck_back_nl=nanolitres(self.suck_back_ul),
            require_contact=self.require_contact,
            session_volume_nl=nanolitres(self.session_volume_ml, MILLILITRES),
            session_shots=self.session_shots,
        )


class IngredientTable(SettingsTable):
    """One ingredient. A limit that was only forgotten must not look like none: having none has to be said."""

    name: Annotated[str, Text("the ingredient's name", NAME_PATTERN, "one line of text without a comma")]
    concentration_mg_per_ml: Annotated[Decimal, quantity("concentration", MILLIGRAMS_PER_ML, "0.001", "1000")]
    most_mg: Annotated[
        Decimal | None, quantity("most in one session and in 24 hours", MILLIGRAMS, "0.001", "10000")
    ] = None
    most_mg_per_kg: Annotated[
        Decimal | None,
        quantity("most in one session and in 24 hours, by body weight", MILLIGRAMS_PER_KG, "0.001", "1000"),
    ] = None
    limit_by: Annotated[str | None, Text("who set the limit", LINE_PATTERN, "one line of text")] = None
    limit_source: Annotated[str | None, Text("where the limit comes from", LINE_PATTERN, "one line of text")] = None
    no_limit_reason: Annotated[
        str | None, Text("why it needs no limit, where it has none", LINE_PATTERN, "one line of text")
    ] = None

    @model_validator(mode="after")
    def _says_what_limits_it(self) -> Self:
        limited = self.most_mg is not None or self.most_mg_per_kg is not None
        if limited is (self.no_limit_reason is not None):
            raise refused(
                f"{self.name} with {'a limit and no_limit_reason' if limited else 'no limit'}",
                "required is most_mg or most_mg_per_kg or both, or else no_limit_reason",
                "remove what is not true" if limited else "add one of these keys",
            )
        if limited is not (self.limit_by is not None and self.limit_source is not None):
            raise refused(
                f"{self.name} with {'a limit of nobody' if limited else 'no limit, set by somebody'}",
                "required with a limit are limit_by and limit_source, and without one neither",
                "say who set it and where it comes from" if limited else "remove what is not true",
            )
        return self

    def to_ingredient(self) -> Ingredient:
        """Return the core's ingredient."""
        return Ingredient(
            name=self.name,
            concentration_ug_per_ml=MILLIGRAMS_PER_ML.whole(self.concentration_mg_per_ml),
            most_ug=None if self.most_mg is None else Micrograms(MILLIGRAMS.whole(self.most_mg)),
            most_ug_per_kg=(
                None if self.most_mg_per_kg is None else Micrograms(MILLIGRAMS_PER_KG.whole(self.most_mg_per_kg))
            ),
        )


class SerumFile(FormularyFile):
    """serums/<name>.toml: what is in the vial."""

    vial_ml: Annotated[Decimal, quantity("volume of the vial", MILLILITRES, "0.1", "100")]
    checklist_required: Annotated[bool, Flag("whether no session gives it without a check-list")]
    lot_required: Annotated[bool, Flag("whether no session gives it without its lot and when that expires")]
    use_within_hours: Annotated[
        int | None, Count("how long after mixing it may be given; as long as its lot if left out", 1, 720)
    ] = None
    ingredients: Annotated[list[IngredientTable], Field(min_length=1, max_length=INGREDIENTS_MOST)]

    @model_validator(mode="after")
    def _lists_each_ingredient_once(self) -> Self:
        names = [ingredient.name.casefold() for ingredient in self.ingredients]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            # Two entries would be limited one by one and never together.
            raise refused(
                f"{', '.join(twice)} listed more than once",
                "allowed is one entry for each ingredient",
                "write one entry with its whole concentration",
            )
        return self

    def to_serum(self) -> Serum:
        """Return the core's serum."""
        return Serum(
            name=self.name,
            ingredients=tuple(ingredient.to_ingredient() for ingredient in self.ingredients),
            vial_nl=nanolitres(self.vial_ml, MILLILITRES),
            checklist_required=self.checklist_required,
            lot_required=self.lot_required,
            use_within_ms=(self.use_within_hours or 0) * HOUR_MS,
        )


class SyringeFile(FormularyFile):
    """syringes/<name>.toml: a syringe type on the pump."""

    stroke_ul: Annotated[Decimal, quantity("calibrated volume of the pump's full stroke", MICROLITRES, "10", "20000")]
    smallest_dose_ul: Annotated[Decimal, quantity("doses under this are refused", MICROLITRES, "0.1", "500")]
    fastest_ul_s: Annotated[Decimal, quantity("fastest flow", MICROLITRES_PER_S, "1", "1000")]
    backlash_ul: Annotated[Decimal, quantity("what the drive's play can swallow at a turn", MICROLITRES, "0", "100")]

    @model_validator(mode="after")
    def _holds_its_smallest_dose(self) -> Self:
        if self.smallest_dose_ul + self.backlash_ul >= self.stroke_ul:
            raise ValueError("smallest_dose_ul and backlash_ul must together be less than stroke_ul")
        return self

    def to_syringe(self, stroke_increments: Increments) -> Syringe:
        """Return the core's syringe on a pump of `stroke_increments`; the overshoot is rounded up."""
        stroke_nl = nanolitres(self.stroke_ul)
        backlash_nl = nanolitres(self.backlash_ul)
        return Syringe(
            name=self.name,
            stroke_nl=stroke_nl,
            stroke_increments=stroke_increments,
            smallest_dose_nl=nanolitres(self.smallest_dose_ul),
            fastest_nl_s=nanolitres_per_s(self.fastest_ul_s),
            # More overshoot than the play costs nothing; less would put the play into the next dose.
            backlash_increments=Increments(-(-backlash_nl * stroke_increments // stroke_nl)),
        )


class BlockTable(SettingsTable):
    """Sessions in a row with the same gaps, each from the session before, which may be the last of another block."""

    sessions: Annotated[int, Count("how many sessions", 1, 60)]
    target_days: Annotated[int, Count("days from the session before, as planned", 1, 366)]
    least_days: Annotated[int, Count("fewest days from the session before", 1, 366)]
    greatest_days: Annotated[int, Count("most days from the session before: after them the course has lapsed", 1, 366)]
    seasons: Annotated[list[int] | None, Months("months in which the first of them should be; any if left out")] = None

    @model_validator(mode="after")
    def _keeps_its_order(self) -> Self:
        self.to_block()
        return self

    def to_block(self) -> Block:
        """Return the core's block. Raises ValueError, naming the keys, where the gaps contradict each other."""
        return Block(
            sessions=self.sessions,
            target_days=self.target_days,
            least_days=self.least_days,
            greatest_days=self.greatest_days,
            seasons=tuple(sorted(self.seasons or ())),
        )


class CourseFile(FormularyFile):
    """courses/<name>.toml: which sessions a patient has, and how far apart."""

    checklist: Annotated[str | None, topic_name("the check-list of its sessions; none if left out")] = None
    blocks: Annotated[list[BlockTable], Field(min_length=1, max_length=BLOCKS_MOST)]

    def to_course(self) -> Course:
        """Return the core's course."""
        blocks = tuple(block.to_block() for block in self.blocks)
        return Course(name=self.name, blocks=blocks, checklist=self.checklist or "")


class ItemTable(SettingsTable):
    """One item of a check-list."""

    key: Annotated[str, topic_name("the item's name in commands and records")]
    text: Annotated[str, Text("what the operator asks or does", LINE_PATTERN, "one line of text")]
    required: Annotated[bool, Flag("whether the gun is not armed until it is confirmed")]


class AdviceTable(SettingsTable):
    """One line of the aftercare."""

    text: Annotated[str, Text("what the patient is told at the end", LINE_PATTERN, "one line of text")]


class ChecklistFile(FormularyFile):
    """checklists/<name>.toml: what is asked and done before the gun is armed, and what the patient is told after."""

    items: Annotated[list[ItemTable], Field(min_length=1, max_length=ITEMS_MOST)]
    aftercare: Annotated[list[AdviceTable], Field(min_length=1, max_length=ITEMS_MOST)]

    @model_validator(mode="after")
    def _means_one_item_by_a_key(self) -> Self:
        keys = [item.key for item in self.items]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise refused(
                f"{', '.join(twice)} as the key of more than one item",
                "allowed is one item for each key",
                "give each item a key of its own",
            )
        return self

    def to_checklist(self) -> Checklist:
        """Return the core's check-list."""
        return Checklist(
            name=self.name,
            items=tuple(Item(item.key, item.text, required=item.required) for item in self.items),
            aftercare=tuple(advice.text for advice in self.aftercare),
        )
