"""How much of a planned dose reaches its phase when the tube gives way and the drive has play: the truth of the dose.

Owns the cases, the errors and the committed table `docs/dose-truth.md`, which `python -m tests.bench.dose_truth`
writes anew. In virtual time and without randomness: the same code gives the same figures on every machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from device.core.profile import Phase
from device.core.shot_plan import PlanRefused, plan_stroke
from device.settings import Configuration
from drivers.sim.fluid import FLUID_30G, FLUID_32G
from tests.bench.dose_gun import Amounts, Case, Shot, fired
from tests.bench.effort import Effort
from tests.bench.figures import Findings, Row, Unit, row
from tests.bench.shipped import CHECKOUT, SYRINGE, shipped_configuration

TABLE: Final = CHECKOUT / "docs" / "dose-truth.md"
SHOTS: Final = 25
DOSE_GRAIN_NL: Final = 500
TOTAL_MOST_PERCENT: Final = 1
PHASE_MOST_PERCENT: Final = 5
"""The aims: by how much the mean of all shots may miss the plan."""

SETTLE_32G_NS: Final = 45_000_000
FASTEST_32G_NL_S: Final = 100_000
"""With 32G the configuration says less flow and a longer settling time."""

_PARTS: Final[tuple[tuple[str, Callable[[Amounts], int]], ...]] = (
    (Phase.ENTRY.value, lambda amounts: amounts.entry_pl),
    (Phase.DWELL.value, lambda amounts: amounts.dwell_pl),
    (Phase.EXIT.value, lambda amounts: amounts.exit_pl),
    ("total", lambda amounts: amounts.in_tissue_pl),
)


@dataclass(frozen=True, slots=True)
class Errors:
    """One part of a case's shots: errors in parts per million of what was planned, each shot's and that of the sum."""

    mean_ppm: int
    worst_ppm: int
    """The largest of a single shot, with its sign."""
    single_ppm: tuple[int, ...]

    @classmethod
    def of(cls, shots: Sequence[Shot], part: Callable[[Amounts], int]) -> Self | None:
        """Return the errors of `part`; None where nothing was planned for it."""
        planned = sum(part(shot.planned) for shot in shots)
        if not planned:
            return None
        given = sum(part(shot.given) for shot in shots)
        single = tuple(_ppm(part(shot.given), part(shot.planned)) for shot in shots)
        return cls(_ppm(given, planned), max(single, key=abs), single)


def _ppm(given: int, planned: int) -> int:
    return (given - planned) * 1_000_000 // planned


def errors_of(shots: Sequence[Shot]) -> dict[str, Errors | None]:
    """Return the errors by part: entry, dwell, exit, total."""
    return {name: Errors.of(shots, part) for name, part in _PARTS}


def misses(case: Case, shots: Sequence[Shot]) -> list[str]:
    """Return which aims the case misses, one line each."""
    found = []
    for name, errors in errors_of(shots).items():
        most = TOTAL_MOST_PERCENT if name == "total" else PHASE_MOST_PERCENT
        if errors is not None and abs(errors.mean_ppm) > most * 10_000:
            found.append(f"{_label(case)}: {name} {_percent(errors.mean_ppm)}, the aim is {most} %")
    return found


# The cases


def doses_nl(shipped: Configuration, profile: str) -> tuple[int, ...]:
    """Return the smallest, the profile's own, a middle and the largest dose that syringe, console and profile allow."""
    smallest = int(shipped.syringes[SYRINGE].value.smallest_dose_nl)
    case = Case(profile, smallest, SYRINGE, FLUID_30G, shipped.device.pump.settle_ns, compensated=True)
    largest = _largest_dose_nl(shipped, case, most_nl=shipped.device.limits.shot_nl)
    middle = (smallest + largest) // 2 // DOSE_GRAIN_NL * DOSE_GRAIN_NL
    return tuple(sorted({smallest, int(shipped.profiles[profile].value.dose_nl), middle, largest}))


def _largest_dose_nl(shipped: Configuration, case: Case, *, most_nl: int) -> int:
    """Return the largest dose of at most `most_nl` that can be planned as in `case`; 0 where none can."""
    smallest = shipped.syringes[case.syringe].value.smallest_dose_nl
    for dose_nl in range(most_nl, smallest - 1, -DOSE_GRAIN_NL):
        changed = replace(case, dose_nl=dose_nl).configuration(shipped)
        try:
            plan_stroke(changed.profiles[case.profile].value, changed.syringes[case.syringe].value, changed.device)
        except PlanRefused:
            continue
        return dose_nl
    return 0


def main_cases(shipped: Configuration, *, compensated: bool) -> list[Case]:
    """Return every shipped profile with every dose, through 30G from the 1 mL syringe."""
    settle_ns = shipped.device.pump.settle_ns
    return [
        Case(profile, dose_nl, SYRINGE, FLUID_30G, settle_ns, compensated)
        for profile in sorted(shipped.profiles)
        for dose_nl in doses_nl(shipped, profile)
    ]


def other_cases(shipped: Configuration) -> list[Case]:
    """Return other needles and syringes.

    Through 32G each profile's own dose, or the largest below it that can be planned; the larger syringes' smallest.
    """
    settle_ns = shipped.device.pump.settle_ns
    thin = []
    for name, profile in sorted(shipped.profiles.items()):
        case = Case(name, 0, SYRINGE, FLUID_32G, SETTLE_32G_NS, True, FASTEST_32G_NL_S)
        if dose_nl := _largest_dose_nl(shipped, case, most_nl=profile.value.dose_nl):
            thin.append(replace(case, dose_nl=dose_nl))
    large = [
        Case("point-by-point", shipped.syringes[name].value.smallest_dose_nl, name, FLUID_30G, settle_ns, True)
        for name in ("3ml", "5ml")
    ]
    return [*thin, *large]


def other_tubes(shipped: Configuration) -> list[Case]:
    """Return each profile's own dose through tubes and tissue that are not as estimated, settling as shipped."""
    settle_ns = shipped.device.pump.settle_ns
    tubes = (
        replace(FLUID_30G, compliance_pl_per_kpa=FLUID_30G.compliance_pl_per_kpa // 2),
        replace(FLUID_30G, compliance_pl_per_kpa=FLUID_30G.compliance_pl_per_kpa * 2),
        replace(FLUID_30G, tissue_pa=FLUID_30G.tissue_pa * 2),
    )
    return [
        Case(name, profile.value.dose_nl, SYRINGE, tube, settle_ns, compensated=True)
        for tube in tubes
        for name, profile in sorted(shipped.profiles.items())
    ]


def dose_truth(effort: Effort) -> Findings:
    """Fire `effort.dose_shots` shots of every profile's own dose; with compensation and, as its floor, without."""
    shipped = shipped_configuration()
    rows: list[Row] = []
    for name, profile in sorted(shipped.profiles.items()):
        for compensated in (False, True):
            settle_ns = shipped.device.pump.settle_ns
            case = Case(name, profile.value.dose_nl, SYRINGE, FLUID_30G, settle_ns, compensated)
            for part, errors in errors_of(fired(shipped, case, shots=effort.dose_shots)).items():
                if errors is not None:
                    floor = f"{name} {part}, bare"
                    label, floors = (f"{name} {part}", (floor,)) if compensated else (floor, ())
                    rows.append(row(label, [abs(each) for each in errors.single_ppm], *floors, unit=Unit.PPM))
    return Findings(tuple(rows), ("errors of single shots, without their sign; bare: without any compensation",))


# The table


def table_text(shipped: Configuration) -> str:
    """Return the whole of docs/dose-truth.md."""
    pump = shipped.device.pump
    with_all = [(case, fired(shipped, case, shots=SHOTS)) for case in main_cases(shipped, compensated=True)]
    without = [(case, fired(shipped, case, shots=SHOTS)) for case in main_cases(shipped, compensated=False)]
    others = [(case, fired(shipped, case, shots=SHOTS)) for case in other_cases(shipped)]
    tubes = [(case, fired(shipped, case, shots=SHOTS)) for case in other_tubes(shipped)]
    return "\n".join(
        (
            _HEAD.format(shots=SHOTS, total=TOTAL_MOST_PERCENT, phase=PHASE_MOST_PERCENT, fluid=_fluid_text()),
            *_verdict((*with_all, *others)),
            "",
            f"## With compensation (settle_ms = {pump.settle_ns // 1_000_000})",
            "",
            *_table(with_all),
            "",
            "## Without: no settling, no one-sided refill, no suck-back beyond the play",
            "",
            *_table(without),
            "",
            f"## Other needles and syringes, with compensation (32G: settle_ms = {SETTLE_32G_NS // 1_000_000}, "
            f"fastest_ul_s = {FASTEST_32G_NL_S // 1000})",
            "",
            *_table(others),
            *_unplannable(shipped, [case for case, _ in others]),
            "",
            "## Other tubes and tissue than estimated, with compensation for the estimate",
            "",
            *_verdict(tubes),
            "",
            *_table(tubes),
            "",
            _FOOT,
        )
    )


_HEAD: Final = """# The truth of the dose

What the whole simulated gun gives when its tube gives way and its drive has play, against what was planned. Written by
`make dose-truth`; review its difference like code. {shots} shots in a row, the first after a refill, in virtual time.
Errors are percent of the part that was planned: **mean** of all shots, and the *worst* single one. *Spilled* is what
left outside the skin, for one shot. The aims: the mean of the total within {total} %, of each phase within {phase} %.

{fluid}
"""

_FOOT: Final = """## What remains, and why

- Under the skin the tissue's pressure holds a little serum in the tube; it drips when the needle leaves the skin, and
  the next shot must fill the tube with it again. It is lost from the total, and in the first phase of a shot.
  No plan can give it back without giving more than was planned where the tissue presses less.
- A gate opens when a phase begins, and the needle's first step outward comes some 2.5 ms later. What leaves in
  between is counted where the needle is, at depth: so the dwell has a little too much and the exit too little.
- What the tube has not drained after the settling time leaves in the next phase. A longer `settle_ms` makes it less
  and the strokes longer.
- Compliance and tissue pressure are estimates. Measure `settle_ms` on the console: a tube that gives way twice as
  much needs about twice the time.
"""


def _fluid_text() -> str:
    spec = FLUID_30G
    return (
        f"Path: compliance {spec.compliance_pl_per_kpa / 1000:g} nl/kPa, water through 4 mm of 30G (32G where said), "
        f"tissue {spec.tissue_pa / 1000:g} kPa, 50 um of play in the\ndrive, {spec.tube_pl // 1_000_000} uL of tube."
    )


def _verdict(results: Sequence[tuple[Case, Sequence[Shot]]]) -> list[str]:
    missed = [line for case, shots in results for line in misses(case, shots)]
    if not missed:
        return ["Both aims are met with compensation in every case."]
    return [f"The aims are missed in {len(missed)} parts:", "", *(f"- {line}" for line in missed)]


def _unplannable(shipped: Configuration, cases: Sequence[Case]) -> list[str]:
    thin = {case.profile for case in cases if case.fluid == FLUID_32G}
    missing = sorted(set(shipped.profiles) - thin)
    if not missing:
        return []
    return [
        "",
        f"With 32G the planner refuses {', '.join(missing)}: with so long a settling time no dose that the syringe "
        "allows fits",
        "into the phases' times and the interval. Such a profile needs a longer interval, or 30G.",
    ]


def _table(results: Sequence[tuple[Case, Sequence[Shot]]]) -> list[str]:
    names = [name for name, _ in _PARTS]
    return [
        "| profile | dose, uL | " + " | ".join(f"{name}: mean, worst" for name in names) + " | spilled, nl |",
        "|---|---|" + "---|" * len(names) + "---|",
        *(table_row(case, shots) for case, shots in results),
    ]


def table_row(case: Case, shots: Sequence[Shot]) -> str:
    """Return one line of a table."""
    spilled_nl = sum(shot.given.spilled_pl for shot in shots) // len(shots) // 1000
    parts = [
        "-" if errors is None else f"**{_percent(errors.mean_ppm)}**, *{_percent(errors.worst_ppm)}*"
        for errors in errors_of(shots).values()
    ]
    return f"| {_label(case)} | {case.dose_nl / 1000:g} | {' | '.join(parts)} | {spilled_nl} |"


def _label(case: Case) -> str:
    extra = [] if case.syringe == SYRINGE else [case.syringe]
    extra += ["32G"] if case.fluid == FLUID_32G else []
    if case.fluid.compliance_pl_per_kpa != FLUID_30G.compliance_pl_per_kpa:
        extra.append(f"{case.fluid.compliance_pl_per_kpa / 1000:g} nl/kPa")
    if case.fluid.tissue_pa != FLUID_30G.tissue_pa:
        extra.append(f"{case.fluid.tissue_pa / 1000:g} kPa")
    return " ".join((case.profile, *(f"({each})" for each in extra)))


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:+.2f} %"


def write_table(path: Path) -> None:
    """Fire every case and write the table."""
    path.write_text(table_text(shipped_configuration()), encoding="utf-8")


if __name__ == "__main__":
    write_table(TABLE)
    print(f"{TABLE} written: review its difference")
