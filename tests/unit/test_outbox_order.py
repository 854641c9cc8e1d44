"""The outbox stops at a record that it cannot publish, and its cursor is on the medium before it counts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from device.core.journal_chain import Head
from device.gateway.outbox import JOURNAL_RETRY_S, Outbox
from device.gateway.outbox_cursor import CURSOR_NAME, CursorFile
from device.gateway.publications import DeviceAddress
from device.journal_file import JOURNAL_NAME
from tests.support.journal import SHOT, journal_of, shot


def test_a_record_that_makes_no_message_is_never_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    outbox = Outbox(
        tmp_path / JOURNAL_NAME,
        CursorFile(tmp_path / CURSOR_NAME),
        DeviceAddress("clinic", "console-1"),
        now_s=lambda: now_s,
    )
    with journal_of(tmp_path / JOURNAL_NAME, shot(1), replace(SHOT, outcome="lost"), shot(3)):
        assert [entry.seq for entry, _ in outbox._next(10)] == [1]
        for _ in range(3):
            now_s += JOURNAL_RETRY_S
            assert outbox._next(10) == []
            assert outbox.journal_state == "damaged"
        outbox.close()
    assert caplog.text.count("record 2: no message for it") == 1


def test_a_cursor_is_on_the_medium_before_it_has_its_name_and_its_name_is_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = CursorFile(tmp_path / CURSOR_NAME)
    synchronised: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synchronised.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, cursor.path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    cursor.store(Head(7, bytes(32)))
    assert synchronised == [(f"{CURSOR_NAME}.new", False), (tmp_path.name, True)]
