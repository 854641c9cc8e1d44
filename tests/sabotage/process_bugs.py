"""Planted bugs of the processes around the core: supervision, the cycle, the gateway and its place in the journal."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_CHILD: Final = "device/controller/realtime_child.py"
_OUTBOX: Final = "device/gateway/outbox.py"
_CURSOR: Final = "device/gateway/outbox_cursor.py"

_SUPERVISION: Final = "tests/unit/test_child_supervision.py"

PROCESS_BUGS: Final = (
    PlantedBug(
        name="silent-process-not-noticed",
        file=_CHILD,
        changes=(
            (
                "        if silent_ns > self._timing.silence_ns:\n",
                "        if silent_ns > 100 * self._timing.silence_ns:\n",
            ),
        ),
        mistake="a real-time process that is stopped keeps its gate open for seconds",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}"
            "::test_a_silent_process_is_killed_and_reported_within_its_limit_and_one_period_and_another_is_started",
        ),
    ),
    PlantedBug(
        name="silent-process-not-killed",
        file=_CHILD,
        changes=(
            (
                "        if self._child is not None:\n            self._child.kill()\n        self._post(",
                "        self._post(",
            ),
        ),
        mistake="a silent process is reported and left alone: its lines never fall to their pulls",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}"
            "::test_a_silent_process_is_killed_and_reported_within_its_limit_and_one_period_and_another_is_started",
        ),
    ),
    PlantedBug(
        name="lost-process-not-told",
        file=_CHILD,
        changes=(("        self._post(FaultOccurred(Fault.REALTIME_LOST, reason))\n", ""),),
        mistake="a process is replaced without the machine: the pump is not terminated",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}::test_a_process_that_ended_is_reported_in_its_own_words_and_its_permit_ends_with_it",
        ),
    ),
    PlantedBug(
        name="restart-not-told",
        file=_CHILD,
        changes=(("            self._post(RealtimeRestarted())\n", ""),),
        mistake="the machine takes the old needle's place for the new process' own",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}::test_a_process_that_ended_is_reported_in_its_own_words_and_its_permit_ends_with_it",
        ),
    ),
    PlantedBug(
        name="needle-left-in-after-a-lost-process",
        file=_CHILD,
        changes=(("            self._deliver(Home(rescue=True))\n", ""),),
        mistake="the new real-time process waits in its safe mode with the needle in the skin",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}::test_a_successor_takes_the_needle_out_before_it_obeys_anything_else",
            "tests/simulation/test_broken_parts.py",
        ),
    ),
    PlantedBug(
        name="needle-left-in-at-an-end",
        file=_CHILD,
        changes=(
            ("            if reason is not None:\n", "            if reason is not None and not self._closing:\n"),
        ),
        mistake="a controller that is told to end leaves the needle to a process that is gone",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}::test_an_end_waits_for_the_successor_of_a_lost_process_which_takes_the_needle_out",
        ),
    ),
    PlantedBug(
        name="restarts-without-a-pause",
        file=_CHILD,
        changes=(("        if self._short_lives:\n", "        if self._short_lives < 0:\n"),),
        mistake="a process that dies at once is started again as fast as the computer can",
        breaks="bounds",
        caught_by=(f"{_SUPERVISION}::test_a_process_that_dies_again_and_again_is_started_again_ever_more_slowly",),
    ),
    PlantedBug(
        name="watchdog-fed-by-a-timer",
        file="device/controller/watchdog.py",
        changes=(("            if gets_on():\n", "            if gets_on:\n"),),
        mistake="a controller that waits for its card for ever is called alive",
        breaks="watchdog",
        caught_by=("tests/unit/test_watchdog.py::test_a_controller_that_does_not_get_on_feeds_nothing",),
    ),
    PlantedBug(
        name="permit-for-a-minute",
        file=_CHILD,
        changes=(("self._now_ns() + self._timing.permit_ns)", "self._now_ns() + 60_000_000_000)"),),
        mistake="a controller that hangs goes on permitting",
        breaks="I5",
        caught_by=(
            f"{_SUPERVISION}::test_the_permit_is_renewed_before_it_runs_out_and_never_for_longer_than_it_may_hold",
        ),
    ),
    PlantedBug(
        name="watchdog-fed-too-seldom",
        file="device/controller/watchdog.py",
        changes=(("watchdog_us / 2_000_000", "watchdog_us / 1_000_000"),),
        mistake="the alive message comes as often as it is due: one that is late by a little is a restart",
        breaks="watchdog",
        caught_by=("tests/unit/test_watchdog.py::test_the_event_loop_itself_feeds_it_twice_a_period",),
    ),
    PlantedBug(
        name="watchdog-fed-by-a-thread",
        file="device/controller/watchdog.py",
        changes=(
            (
                '            self._notify("WATCHDOG=1")\n',
                '            await asyncio.to_thread(self._notify, "WATCHDOG=1")\n',
            ),
        ),
        mistake="a thread of its own says alive while the loop hangs",
        breaks="watchdog",
        caught_by=("tests/unit/test_watchdog.py::test_the_event_loop_itself_feeds_it_twice_a_period",),
    ),
    PlantedBug(
        name="watchdog-holds-up-the-loop",
        file="device/controller/watchdog.py",
        changes=((" | socket.SOCK_NONBLOCK\n", "\n"),),
        mistake="a service manager that does not read stops the loop that renews the permit",
        breaks="I5",
        caught_by=("tests/unit/test_watchdog.py::test_a_manager_that_does_not_read_never_holds_up_the_loop",),
    ),
    PlantedBug(
        name="watchdog-ends-both-processes",
        file="device/realtime/__main__.py",
        changes=(
            (
                "(signal.SIGTERM, signal.SIGINT, signal.SIGABRT)",
                "(signal.SIGTERM, signal.SIGINT)",
            ),
        ),
        mistake="the watchdog's signal to a silent controller ends the retraction that its silence began",
        breaks="I5",
        caught_by=(
            "tests/unit/test_systemd_units.py"
            "::test_a_controller_that_stops_turning_is_ended_and_its_child_is_left_to_take_the_needle_out",
        ),
    ),
    PlantedBug(
        name="process-ends-with-its-controller",
        file="device/realtime/process.py",
        changes=(
            (
                "        return self._end.linked or self.state.mode is not ScanMode.SAFE\n",
                "        return self._end.linked\n",
            ),
        ),
        mistake="a killed controller takes the real-time process along, the needle in the skin",
        breaks="I5",
        caught_by=("tests/unit/test_cycle.py::test_a_rescue_goes_on_to_the_home_switch_without_its_controller",),
    ),
    PlantedBug(
        name="no-heartbeat",
        file="device/realtime/process.py",
        changes=(("        page.beat(now_ns, result.state.position)\n", "        page.beat(now_ns, 0)\n"),),
        mistake="the controller never learns where the needle is",
        breaks="status",
        caught_by=("tests/unit/test_cycle.py::test_every_turn_beats_with_its_own_time_and_the_needles_place",),
    ),
    PlantedBug(
        name="cursor-before-the-acknowledgement",
        file=_OUTBOX,
        changes=(
            (
                "                    unacknowledged.append((entry, asyncio.create_task(link.publish(message))))\n",
                "                    unacknowledged.append((entry, asyncio.create_task(link.publish(message))))\n"
                "                    self.acknowledged = entry.head\n",
            ),
        ),
        mistake="a record counts as delivered when it is sent",
        breaks="I7",
        caught_by=("tests/unit/test_outbox.py::test_the_cursor_waits_for_the_oldest_unacknowledged_record",),
    ),
    PlantedBug(
        name="unpublishable-record-skipped",
        file=_OUTBOX,
        changes=(
            (
                '            what = " ".join(str(error).split())\n',
                '            what = " ".join(str(error).split())\n            self._sent += 1\n',
            ),
        ),
        mistake="a record that makes no message is passed over, and nobody misses it",
        breaks="I7",
        caught_by=("tests/unit/test_outbox_order.py::test_a_record_that_makes_no_message_is_never_passed_over",),
    ),
    PlantedBug(
        name="nothing-sent-again",
        file=_OUTBOX,
        changes=(("        self._sent = self.acknowledged.seq\n", ""),),
        mistake="what was under way when the connection broke is not published again",
        breaks="I7",
        caught_by=(
            "tests/unit/test_outbox.py::test_what_was_not_acknowledged_is_published_again_on_the_next_connection",
        ),
    ),
    PlantedBug(
        name="cursor-of-another-journal",
        file=_CURSOR,
        changes=(
            (
                "    if journal.hash_at(cursor.seq) == cursor.hash:\n",
                "    if journal.hash_at(cursor.seq) is not None:\n",
            ),
        ),
        mistake="after the journal was replaced its first records are never published",
        breaks="I7",
        caught_by=(
            "tests/unit/test_outbox_cursor.py::test_a_cursor_ahead_of_the_journal_or_of_another_one_begins_anew",
        ),
    ),
    PlantedBug(
        name="cursor-not-synchronised",
        file=_CURSOR,
        changes=(("            file.flush()\n            os.fsync(file.fileno())\n", ""),),
        mistake="after a power cut the cursor's name stands for an empty file",
        breaks="I7",
        caught_by=(
            "tests/unit/test_outbox_order.py"
            "::test_a_cursor_is_on_the_medium_before_it_has_its_name_and_its_name_is_too",
        ),
    ),
    PlantedBug(
        name="patient-published",
        file="device/gateway/publications.py",
        changes=(
            (
                "    if name in PRIVATE_FIELDS:\n        return {}\n",
                "    if name in PRIVATE_FIELDS:\n        return {name: value}\n",
            ),
        ),
        mistake="the patient's name leaves the console",
        breaks="privacy",
        caught_by=("tests/unit/test_messages.py::test_the_patient_does_not_leave",),
    ),
    PlantedBug(
        name="simulated-journal-on-a-real-console",
        file="device/controller/recovery.py",
        changes=(
            (
                "            if isinstance(record, Booted) and record.simulated != simulated:\n",
                "            if isinstance(record, Booted) and record.simulated is None:\n",
            ),
        ),
        mistake="a real console goes on with the totals of a simulated one",
        breaks="stamp",
        caught_by=(
            "tests/unit/test_console_wiring.py"
            "::test_a_journal_of_the_other_kind_of_console_is_refused_and_its_own_kind_is_taken",
        ),
    ),
    PlantedBug(
        name="session-goes-on-with-changed-files",
        file="device/controller/recovery.py",
        changes=(
            (
                "    if [loaded.sha256 for loaded in found] != [digest for _, _, digest in files]:\n",
                "    if len(found) != len(files):\n",
            ),
        ),
        mistake="after a restart a session goes on with a profile that somebody has changed",
        breaks="stamp",
        caught_by=("tests/unit/test_console_wiring.py::test_a_session_is_not_continued_with_files_that_have_changed",),
    ),
)
