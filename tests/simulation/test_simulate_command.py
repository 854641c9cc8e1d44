"""`mesogun simulate`: what a clinic is told before a session, and what an engineer is told when an invariant broke."""

import json
from typing import Any

import pytest
from pytest_mock import MockerFixture

from device.service.cli import main
from device.simulation.session import SessionResult
from tests.support.clinic import CONFIG


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["simulate", "--config", str(CONFIG), *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, _err = told(capsys, "--json", *arguments)
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_clinic_is_told_volume_time_refills_and_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "--profile", "papule", "--points", "6", "--pace-ms", "2000")
    assert (code, err) == (0, "")
    assert "1 session of 6 points, profile papule, serum saline, syringe 1ml" in out
    assert "outcome     1 completed" in out
    assert "volume      120.000 uL booked" in out
    assert "refills     0.0" in out
    assert "invariants  held in every session" in out


def test_the_hands_pace_is_most_of_a_sessions_time(capsys: pytest.CaptureFixture[str]) -> None:
    quick = report(capsys, "--points", "4", "--pace-ms", "0")["duration_s_mean"]
    slow = report(capsys, "--points", "4", "--pace-ms", "3000")["duration_s_mean"]
    assert 4 * 3 - 1 < slow - quick < 4 * 3 + 1


def test_a_session_that_would_be_refused_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--serum", "example-lidocaine", "--points", "4")
    assert found["outcomes"] == {"refused": 1}
    (reason,) = found["reasons"]
    assert "give --weight-kg" in reason


def test_the_limit_that_ends_a_session_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--profile", "saline-test", "--points", "70", "--pace-ms", "0", "--coarse")
    assert found["outcomes"] == {"limit": 1}
    assert found["shots_mean"] == 60
    assert any("session_shots is 60" in reason for reason in found["reasons"])


def test_two_jobs_find_what_one_finds(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--faults", "high", "--sessions", "4", "--seed", "11", "--points", "2", "--coarse")
    one, two = (report(capsys, *arguments, "--jobs", jobs) for jobs in ("1", "2"))
    assert [result["seed"] for result in one["results"]] == [11, 12, 13, 14]
    assert one["results"] == two["results"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--profile", "nix"), "mesogun simulate: profile 'nix' is not in the configuration; there are: continuous, "),
        (("--serum", "nix"), "mesogun simulate: serum 'nix' is not in the configuration; there are: "),
        (("--syringe", "nix"), "mesogun simulate: syringe 'nix' is not in the configuration; there are: 1ml, "),
    ],
)
def test_a_name_that_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    code, out, err = told(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize("wrong", [("--seed", "-1"), ("--sessions", "0"), ("--points", "many"), ("--faults", "some")])
def test_wrong_use_is_refused(capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as refused:
        told(capsys, *wrong)
    assert refused.value.code == 2


def test_a_broken_invariant_names_its_seed_the_command_that_repeats_it_and_the_trace(
    capsys: pytest.CaptureFixture[str], mocker: MockerFixture
) -> None:
    broken = SessionResult(
        17, "papule", "completed", mishaps=["stop at 12 ms"], violations=["I1: too much"], trace="end"
    )
    mocker.patch("device.service.simulate.run_session", return_value=broken)
    code, out, _err = told(
        capsys, "--seed", "17", "--profile", "papule", "--faults", "high", "--points", "3", "--coarse"
    )
    assert code == 1
    assert "BROKEN      seed 17: stop at 12 ms\n            I1: too much\n" in out
    repeat = (
        "mesogun simulate --seed 17 --sessions 1 --faults high --profile papule --serum saline --syringe 1ml "
        "--points 3 --pace-ms 1000 --coarse\n"
    )
    assert f"repeat      {repeat}            end\n" in out
    assert "invariants  held" not in out
