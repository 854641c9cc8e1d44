"""The formulary in force: which signed bundle of limits, profiles, serums and syringes the gun was told, and by whom.

Owns why nothing may be released under one: not signed by a trusted key, expired, or older than one that this console
has already taken. Never checks a signature itself: `problem` says what came of that. Pure: the wall clock is an
argument.
"""

from dataclasses import dataclass
from typing import Final

from device.core.limits import Refusal

HOW_TO_GO_BACK: Final = '`mesogun formulary roll-back --reason "..." --by NAME`'


@dataclass(frozen=True, slots=True)
class Formulary:
    """A bundle as it was found at start. `sha256` is its manifest's, which names the digest of every file.

    `signed_ms` and `expires_ms` are wall clocks. `problem` says in one line why it may not be used; empty when it may.
    """

    version: int
    author: str
    signed_by: str
    sha256: str
    signed_ms: int
    expires_ms: int
    problem: str = ""


UNSIGNED: Final = Formulary(0, "", "", "", 0, 0, problem="the formulary is not signed")


@dataclass(frozen=True, slots=True)
class TakenFormulary:
    """The bundle that this console took last: by a newer version, or by somebody's word."""

    version: int
    sha256: str


def is_newer(formulary: Formulary, taken: TakenFormulary | None) -> bool:
    """Whether `formulary` is good and replaces what was taken without anybody's word."""
    return not formulary.problem and (taken is None or formulary.version > taken.version)


def is_roll_back(formulary: Formulary, taken: TakenFormulary | None) -> bool:
    """Whether `formulary` is good, and is taken only by somebody's word: an older one, or another of that version."""
    older = taken is not None and formulary.version <= taken.version and formulary.sha256 != taken.sha256
    return not formulary.problem and older


def formulary_refusals(formulary: Formulary, taken: TakenFormulary | None, *, now_ms: int) -> tuple[Refusal, ...]:
    """Return why nothing may be released under `formulary` now; empty when it may."""
    if formulary.problem:
        return (Refusal("formulary", f"formulary: {formulary.problem}"),)
    found = []
    # A clock that fell behind does not make an old bundle young: it was signed when it says at the earliest.
    if max(now_ms, formulary.signed_ms) >= formulary.expires_ms:
        found.append(f"formulary version {formulary.version} has expired: sign and install a new one")
    if taken is not None and is_roll_back(formulary, taken):
        found.append(
            f"formulary version {formulary.version} is "
            + (f"older than version {taken.version}" if formulary.version < taken.version else "not the one")
            + f" that this console has taken: install a newer one, or {HOW_TO_GO_BACK}"
        )
    return tuple(Refusal("formulary", reason) for reason in found)
