"""What a start takes over: the driver's ceiling from the limits, the journal of its own kind, its session unchanged."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from device.controller.app import utc_offset_s
from device.controller.recovery import OtherKindError, fold_journal, restored_session
from device.core.patient_day import Before
from device.core.records import SessionEnded, SessionStarted
from device.core.units import Micrograms, Nanolitres
from device.settings import Configuration, load_configuration
from drivers.pump.cavro_program import PumpCeiling
from tests.support.journal import BOOTED, SETTLED, STARTED, journal_of
from tests.support.settings import SHIPPED


def started_with(configuration: Configuration) -> SessionStarted:
    """Return the start of a session with files that `configuration` holds unchanged."""
    profile, serum, syringe = "point-by-point", "saline", "1ml"
    return replace(
        STARTED,
        profile=profile,
        profile_sha256=configuration.profiles[profile].sha256,
        serum=serum,
        serum_sha256=configuration.serums[serum].sha256,
        syringe=syringe,
        syringe_sha256=configuration.syringes[syringe].sha256,
    )


def test_the_drivers_ceiling_is_the_consoles_own_limits() -> None:
    limits = load_configuration(SHIPPED).device.limits
    ceiling = PumpCeiling.of(limits)
    assert ceiling.shot_nl_most == limits.shot_nl
    assert ceiling.program_nl_most == limits.shot_nl * limits.magazine_shots
    assert ceiling.prime_nl_most == limits.prime_nl
    assert ceiling.suck_back_nl_most < limits.shot_nl


@pytest.mark.parametrize(("simulated", "how"), [(True, "start with --sim"), (False, "start without --sim")])
def test_a_journal_of_the_other_kind_of_console_is_refused_and_its_own_kind_is_taken(
    tmp_path: Path, simulated: bool, how: str
) -> None:
    booted = replace(BOOTED, simulated=simulated)
    with journal_of(tmp_path / "journal.db", booted, STARTED) as journal:
        with pytest.raises(OtherKindError, match=how):
            fold_journal(journal, simulated=not simulated)
        session = fold_journal(journal, simulated=simulated).session
        assert session is not None
        assert isinstance(session.started, SessionStarted)


@pytest.mark.parametrize("changed", ["", "profile_sha256", "serum_sha256", "syringe_sha256"])
def test_a_session_is_not_continued_with_files_that_have_changed(tmp_path: Path, changed: str) -> None:
    configuration = load_configuration(SHIPPED)
    started = started_with(configuration)
    if changed:
        other: dict[str, Any] = {changed: "00" * 32}
        started = replace(started, **other)
    with journal_of(tmp_path / "journal.db", started) as journal:
        session = restored_session(fold_journal(journal, simulated=True), configuration)
    assert (session is None) is bool(changed)
    if session is not None:
        profile, syringe = configuration.profiles[started.profile], configuration.syringes[started.syringe]
        serum = configuration.serums[started.serum]
        assert (session.profile, session.serum, session.syringe) == (profile.value, serum.value, syringe.value)
        assert session.planned_shots == sum(started.region_points)


@pytest.mark.parametrize(("increments", "continued"), [(24_000, True), (3_000, False)], ids=["N1", "N0"])
def test_a_session_is_not_continued_on_another_scale_of_the_pump(
    tmp_path: Path, increments: int, continued: bool
) -> None:
    configuration = load_configuration(SHIPPED)
    started = started_with(configuration)
    stroke_nl = configuration.syringes[started.syringe].value.stroke_nl
    given = replace(SETTLED, given=increments, given_nl=stroke_nl)
    with journal_of(tmp_path / "journal.db", started, given) as journal:
        session = restored_session(fold_journal(journal, simulated=True), configuration)
    assert (session is not None) is continued


def test_a_continued_session_still_counts_what_its_patient_had_before_it(tmp_path: Path) -> None:
    configuration = load_configuration(SHIPPED)
    started = replace(
        started_with(configuration),
        at_ms=2_000_000_000_000,
        ingredients=["Sodium Chloride"],
        ug_per_ml=[9_000],
    )
    given = replace(SETTLED, purpose="inject", given_nl=20_000, shots=1)
    ended = SessionEnded(session_id="s-0001", reason="stopped", shots=1, volume_nl=20_000, at_ms=started.at_ms + 9)
    again = replace(started, session_id="s-0002", at_ms=started.at_ms + 10)
    with journal_of(tmp_path / "journal.db", started, given, ended, again) as journal:
        session = restored_session(fold_journal(journal, simulated=True), configuration)
    assert session is not None
    assert session.before == Before(Nanolitres(20_000), (("sodium chloride", Micrograms(180)),))


@pytest.mark.parametrize(
    ("zone", "moment", "hours"),
    [
        ("<+03>-3", datetime(2026, 7, 1, tzinfo=UTC), 3),
        ("CET-1CEST,M3.5.0,M10.5.0/3", datetime(2026, 7, 1, tzinfo=UTC), 2),
        ("CET-1CEST,M3.5.0,M10.5.0/3", datetime(2026, 12, 1, tzinfo=UTC), 1),
        ("PST8", datetime(2026, 7, 1, tzinfo=UTC), -8),
    ],
)
def test_a_request_knows_how_far_the_consoles_own_time_is_ahead_of_utc(
    zone: str, moment: datetime, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        assert utc_offset_s(int(moment.timestamp() * 1000)) == hours * 3600
    time.tzset()
