"""The core that the real-time process takes: one that is kept free of others, and none where there is none."""

import os
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from device.realtime.scheduling import take_isolated_core


@pytest.mark.parametrize(("listing", "core"), [("3\n", 3), ("2-3\n", 2), ("1,3\n", 1), ("0-1,3\n", 0)])
def test_the_first_isolated_core_is_taken(tmp_path: Path, mocker: MockerFixture, listing: str, core: int) -> None:
    move = mocker.patch("os.sched_setaffinity")
    (tmp_path / "isolated").write_text(listing)
    assert take_isolated_core(tmp_path / "isolated") == core
    move.assert_called_once_with(0, {core})


@pytest.mark.parametrize("listing", ["", "\n", "none\n"])
def test_without_an_isolated_core_the_process_stays_where_it_is(
    tmp_path: Path, mocker: MockerFixture, listing: str
) -> None:
    move = mocker.patch("os.sched_setaffinity")
    (tmp_path / "isolated").write_text(listing)
    assert take_isolated_core(tmp_path / "isolated") is None
    assert take_isolated_core(tmp_path / "missing") is None
    move.assert_not_called()


def test_a_core_that_is_not_there_is_not_taken(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    (tmp_path / "isolated").write_text("4095\n")
    assert take_isolated_core(tmp_path / "isolated") is None
    assert os.sched_getaffinity(0) == before
