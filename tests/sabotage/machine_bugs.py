"""Planted bugs of the controller: its machine's order of things, its faults, its queue and its start."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_TREATMENT: Final = "device/core/treatment.py"
_FIRING: Final = "device/core/firing.py"
_OPERATIONS: Final = "device/core/operations.py"
_SAFETY: Final = "device/core/safety.py"
_MACHINE: Final = "device/core/machine.py"
_LOOP: Final = "device/controller/loop.py"

_SESSIONS: Final = "tests/unit/test_machine_sessions.py"
_FAULTS: Final = "tests/unit/test_machine_faults.py"
_WHOLE: Final = "tests/unit/test_whole_session.py"
_TESTS_OF_THE_LOOP: Final = "tests/unit/test_controller_loop.py"

MACHINE_BUGS: Final = (
    PlantedBug(
        name="load-before-its-intent",
        file=_TREATMENT,
        changes=(
            (
                "(Commit((*records, intent)), LoadPump(magazine.pump_program()))",
                "(LoadPump(magazine.pump_program()), Commit((*records, intent)))",
            ),
        ),
        mistake="the pump is loaded first and the intent written after: a power cut between them leaves no trace",
        breaks="I2",
        caught_by=(f"{_SESSIONS}::test_arming_an_empty_plunger_draws_from_the_vial_then_commits_and_loads",),
    ),
    PlantedBug(
        name="outcome-not-committed",
        file=_FIRING,
        changes=(("effects = next_magazine(console, *records)\n", "effects = next_magazine(console)\n"),),
        mistake="the outcome is known to the running machine and never written",
        breaks="I2",
        caught_by=(
            f"{_SESSIONS}::test_a_shots_outcome_and_the_next_intent_are_committed_together_in_front_of_the_load",
        ),
    ),
    PlantedBug(
        name="outcome-not-committed-in-a-fault",
        file=_SAFETY,
        changes=(("        effects = (Commit(tuple(records)),)\n", ""),),
        mistake="what a broken-off shot gave is not written",
        breaks="I2",
        caught_by=(f"{_FAULTS}::test_what_was_given_in_a_fault_is_settled_from_the_position",),
    ),
    PlantedBug(
        name="refill-not-booked",
        file=_OPERATIONS,
        changes=(("    return next_magazine(console, record)\n", "    return next_magazine(console)\n"),),
        mistake="a refill is not in the journal: after a restart the plunger stands where nobody expects it",
        breaks="I2",
        caught_by=(f"{_SESSIONS}::test_arming_an_empty_plunger_draws_from_the_vial_then_commits_and_loads",),
    ),
    PlantedBug(
        name="prime-booked-as-a-shot",
        file="device/core/booking.py",
        changes=(("shots=0 if is_prime else fired,", "shots=fired,"),),
        mistake="a prime counts as a treated point",
        breaks="dose",
        caught_by=("tests/unit/test_booking.py::test_a_prime_counts_no_shot_though_the_real_time_process_reports_one",),
    ),
    PlantedBug(
        name="key-2-before-key-1",
        file=_TREATMENT,
        changes=(
            ("    LoadPump,\n    Refill,", "    LoadPump,\n    Send,\n    Refill,"),
            (
                "from device.core.realtime_messages import (\n",
                "from device.core.realtime_messages import (\n    Load,\n",
            ),
            (
                "intent)), LoadPump(magazine.pump_program()))",
                "intent)), Send(Load(magazine.realtime_magazine())), LoadPump(magazine.pump_program()))",
            ),
        ),
        mistake="the real-time process may fire before the pump holds this magazine",
        breaks="two keys",
        caught_by=(f"{_SESSIONS}::test_arming_an_empty_plunger_draws_from_the_vial_then_commits_and_loads",),
    ),
    PlantedBug(
        name="disarmed-magazine-still-loaded",
        file=_FIRING,
        changes=(("    if console.stopping or not (console.armed or priming):\n", "    if console.stopping:\n"),),
        mistake="a disarming that comes while the pump is loading is overtaken by the load",
        breaks="I4",
        caught_by=(f"{_SESSIONS}::test_a_disarming_while_the_pump_is_loading_keeps_key_2_from_the_real_time_process",),
    ),
    PlantedBug(
        name="disarm-answered-and-not-done",
        file=_FIRING,
        changes=(
            ("    if console.state in (State.ARMED, State.FIRING):\n", "    if console.state is State.HOMING:\n"),
        ),
        mistake="the operator is told that the gun is disarmed, the loaded magazine can still be fired",
        breaks="I4",
        caught_by=(f"{_SESSIONS}::test_disarming_unloads_first_and_answers_then",),
    ),
    PlantedBug(
        name="arming-over-an-open-intent",
        file=_OPERATIONS,
        changes=(
            ("    if console.ledger.open_intent is not None:\n        reasons", "    if False:\n        reasons"),
        ),
        mistake="a next magazine is authorised before it is known what the last one gave",
        breaks="I1",
        caught_by=(f"{_WHOLE}::test_nothing_is_given_before_the_last_magazine_is_settled",),
    ),
    PlantedBug(
        name="arming-with-a-needle-of-unknown-place",
        file=_OPERATIONS,
        changes=(("    if not console.homed:\n", "    if False:\n"),),
        mistake="a needle that was never homed is fired: every depth is wrong",
        breaks="I3",
        caught_by=(f"{_SESSIONS}::test_arming_an_unfit_console_is_refused_with_every_reason_at_once",),
    ),
    PlantedBug(
        name="arming-in-a-fault",
        file=_MACHINE,
        changes=(
            (
                "(State.FAULT, Ready): _on(realtime_ready, State.FAULT),\n",
                "(State.FAULT, Ready): _on(realtime_ready, State.FAULT),\n"
                "    (State.FAULT, ArmRequested): _on(arm, *_LOADED),\n",
            ),
        ),
        mistake="a latched fault does not keep the operator from arming",
        breaks="I6",
        caught_by=(f"{_WHOLE}::test_a_latched_fault_refuses_arming_however_fit_the_console_is_otherwise",),
    ),
    PlantedBug(
        name="fault-clears-itself",
        file=_SAFETY,
        changes=(
            ("from device.core.steps import Step, ", "from device.core.steps import back, Step, "),
            (
                "    return replace(console, ready=True, homed=event.homed), ()\n",
                "    return back(replace(console, ready=True, homed=event.homed))\n",
            ),
        ),
        mistake="a fault ends when the real-time process reports ready again",
        breaks="I6",
        caught_by=("tests/unit/test_machine_grid.py::test_every_event_does_in_every_state_what_the_grid_says",),
    ),
    PlantedBug(
        name="latched-fault-ends-with-a-restart",
        file=_OPERATIONS,
        changes=(
            (
                " if console.ledger.faults else back(console)\n",
                " if console.ledger.faults == (0,) else back(console)\n",
            ),
        ),
        mistake="switching the console off and on clears every fault",
        breaks="I6",
        caught_by=(f"{_SESSIONS}::test_a_latched_fault_outlives_a_restart",),
    ),
    PlantedBug(
        name="restart-goes-on-by-itself",
        file=_OPERATIONS,
        changes=(
            (
                "if console.ledger.faults else back(console)\n",
                "if console.ledger.faults else next_magazine(replace(console, armed=True))\n",
            ),
        ),
        mistake="a session that was open before a restart is armed again without the operator",
        breaks="I6",
        caught_by=(f"{_WHOLE}::test_a_session_that_a_restart_interrupted_waits_for_the_operator",),
    ),
    PlantedBug(
        name="intent-dropped-at-the-start",
        file=_OPERATIONS,
        changes=(("    intent = console.ledger.open_intent\n    found:", "    intent = None\n    found:"),),
        mistake="an intent without an outcome is passed over at the start: what it gave is never booked",
        breaks="I2",
        caught_by=(f"{_SESSIONS}::test_an_intent_without_outcome_is_settled_by_the_self_test_and_never_resumed",),
    ),
    PlantedBug(
        name="uncertain-dose-goes-on",
        file=_FIRING,
        changes=(
            (
                "    if not certain:\n        console, effects = fault",
                "    if certain is None:\n        console, effects = fault",
            ),
        ),
        mistake="a position that nothing explains does not disarm",
        breaks="I6",
        caught_by=(f"{_SESSIONS}::test_a_position_that_nothing_explains_books_the_most_and_disarms",),
    ),
    PlantedBug(
        name="plunger-deeper-than-booked-accepted",
        file=_OPERATIONS,
        changes=(
            ("            if event.position < console.ledger.low_water:\n", "            if event.position < 0:\n"),
        ),
        mistake="what left the needle while nobody looked is neither a fault nor booked",
        breaks="I2",
        caught_by=(
            f"{_SESSIONS}::test_a_plunger_found_elsewhere_is_written_down_and_deeper_than_booked_it_is_a_fault",
        ),
    ),
    PlantedBug(
        name="plunger-homed-into-the-patient",
        file=_OPERATIONS,
        changes=(("    if event.plunger and not event.patient_detached:\n", "    if event.plunger and False:\n"),),
        mistake="homing the plunger empties the syringe through the needle without a question",
        breaks="I1",
        caught_by=(f"{_SESSIONS}::test_homing_the_plunger_needs_the_patient_detached",),
    ),
    PlantedBug(
        name="syringe-of-the-last-patient",
        file=_OPERATIONS,
        changes=(("        *_content_refusals(console, event),\n", ""),),
        mistake="what was drawn for one patient is given to the next",
        breaks="content",
        caught_by=(
            f"{_SESSIONS}::test_what_was_drawn_for_one_patient_is_refused_to_the_next_until_the_plunger_was_homed",
        ),
    ),
    PlantedBug(
        name="fault-without-halt",
        file=_SAFETY,
        changes=(("[Send(Halt(occurred))] if halt else []", "[]"),),
        mistake="a fault that the controller finds leaves the real-time process at work",
        breaks="I5",
        caught_by=(f"{_FAULTS}::test_a_fault_makes_safe_before_it_is_written_down",),
    ),
    PlantedBug(
        name="fault-without-terminate",
        file=_SAFETY,
        changes=(("        safety.append(TerminatePump())\n", "        pass\n"),),
        mistake="in a fault the loaded program stays in the pump, halted at an open chance",
        breaks="I5",
        caught_by=(f"{_FAULTS}::test_a_fault_makes_safe_before_it_is_written_down",),
    ),
    PlantedBug(
        name="fault-recorded-before-made-safe",
        file=_SAFETY,
        changes=(("    return console, (*safety, *after)\n", "    return console, (*after, *safety)\n"),),
        mistake="a slow card delays the stop of the pump",
        breaks="I5",
        caught_by=(f"{_FAULTS}::test_a_fault_makes_safe_before_it_is_written_down",),
    ),
    PlantedBug(
        name="arming-survives-a-fault",
        file=_SAFETY,
        changes=(("        state=state,\n        armed=False,\n", "        state=state,\n"),),
        mistake="after a fault that does not latch the next magazine is loaded without the operator",
        breaks="I6",
        caught_by=(f"{_FAULTS}::test_lost_contact_ends_in_the_session_without_a_clearing",),
    ),
    PlantedBug(
        name="every-fault-without-latch",
        file="device/core/faults.py",
        changes=(("    latched: bool = True\n", "    latched: bool = False\n"),),
        mistake="a fault is over as soon as its cause is gone",
        breaks="I6",
        caught_by=(_FAULTS,),
    ),
    PlantedBug(
        name="queue-overflow-dropped",
        file=_LOOP,
        changes=(
            (
                "            dropped, self._events = self._events, deque([full])\n",
                "            dropped, self._events = self._events, deque[Event]()\n",
            ),
        ),
        mistake="events that find the queue full are dropped without a word",
        breaks="bounds",
        caught_by=(f"{_TESTS_OF_THE_LOOP}::test_a_full_queue_becomes_one_fault",),
    ),
    PlantedBug(
        name="queue-overflow-forgets-the-end",
        file=_LOOP,
        changes=(("isinstance(each, ShutdownRequested | RealtimeRestarted)", "isinstance(each, RealtimeRestarted)"),),
        mistake="a service that is stopped while its queue is full never ends",
        breaks="bounds",
        caught_by=(
            f"{_TESTS_OF_THE_LOOP}::test_a_full_queue_answers_the_commands_it_drops_and_keeps_what_nobody_says_again",
        ),
    ),
    PlantedBug(
        name="unwritten-records-lost-at-the-end",
        file=_LOOP,
        changes=(("                await self._write_the_rest()\n", ""),),
        mistake="what waited for a full disk is thrown away by the restart that its fault asks for",
        breaks="I6",
        caught_by=(f"{_TESTS_OF_THE_LOOP}::test_what_could_not_be_written_is_tried_once_more_at_the_end",),
    ),
    PlantedBug(
        name="the-journals-own-fault-untold",
        file=_LOOP,
        changes=(("            self._unwritten = (*self._unwritten, record)\n", "            return\n"),),
        mistake="a full disk is cleared in the journal and was never raised there",
        breaks="I6",
        caught_by=(
            f"{_TESTS_OF_THE_LOOP}::"
            "test_records_that_could_not_be_written_stand_in_front_of_the_next_ones_in_their_order",
        ),
    ),
    PlantedBug(
        name="load-after-a-failed-commit",
        file=_LOOP,
        changes=(
            (
                "                self._answer_dropped(effects[place + 1 :], failure)\n                return\n",
                "                self._answer_dropped(effects[place + 1 :], failure)\n",
            ),
        ),
        mistake="an effect that fails does not keep back those behind it: a load without its intent",
        breaks="I2",
        caught_by=(f"{_TESTS_OF_THE_LOOP}::test_without_its_committed_intent_nothing_is_loaded",),
    ),
    PlantedBug(
        name="unwritten-records-forgotten",
        file=_LOOP,
        changes=(("        self._unwritten = (*self._unwritten, *records)\n", "        self._unwritten = records\n"),),
        mistake="what a full disk refused is lost when there is room again",
        breaks="I2",
        caught_by=(
            f"{_TESTS_OF_THE_LOOP}"
            "::test_records_that_could_not_be_written_stand_in_front_of_the_next_ones_in_their_order",
        ),
    ),
    PlantedBug(
        name="fault-behind-the-queue",
        file=_LOOP,
        changes=(("self._events.appendleft(failure)", "self._events.append(failure)"),),
        mistake="a fault waits behind everything else that has happened",
        breaks="I5",
        caught_by=(f"{_TESTS_OF_THE_LOOP}::test_a_drivers_fault_comes_in_front_of_everything_that_waits",),
    ),
    PlantedBug(
        name="stuck-gate-passes-the-self-test",
        file=_LOOP,
        changes=(
            (
                "        if gates.gate_1_open or gates.gate_2_open:\n",
                "        if gates.gate_1_open and gates.gate_2_open:\n",
            ),
        ),
        mistake="the self-test wants both gates stuck before it says so",
        breaks="I3",
        caught_by=(f"{_TESTS_OF_THE_LOOP}::test_a_gate_that_the_pump_reads_as_open_at_rest_fails_the_self_test",),
    ),
    PlantedBug(
        name="unreadable-position-taken-for-nothing",
        file=_LOOP,
        changes=(("            self.post(PositionRead(None, self._wall_clock_ms()))\n", "            pass\n"),),
        mistake="in a fault whose position cannot be read the intent is never settled",
        breaks="I2",
        caught_by=(
            f"{_TESTS_OF_THE_LOOP}::test_a_position_that_cannot_be_read_after_lost_contact_is_an_uncertain_dose",
        ),
    ),
    PlantedBug(
        name="refill-owes-less-than-nothing",
        file=_TREATMENT,
        changes=(
            (
                "Increments(max(0, (console.ledger.position or 0) - console.ledger.low_water))",
                "Increments((console.ledger.position or 0) - console.ledger.low_water)",
            ),
        ),
        mistake="a plunger that the book has below what it gave is never filled again: fault 307 at every arming",
        breaks="refill",
        caught_by=(
            "tests/unit/test_machine_sessions.py"
            "::test_a_book_that_has_the_plunger_below_what_it_gave_owes_a_refill_nothing",
            "tests/unit/test_machine_sessions.py"
            "::test_a_vial_gives_a_refill_as_much_where_the_book_has_the_plunger_below_what_it_gave",
        ),
    ),
    PlantedBug(
        name="steady-light-while-loading",
        file=_LOOP,
        changes=(("    State.LOADING: Light.OFF,\n", "    State.LOADING: Light.ON,\n"),),
        mistake="the light promises that a press fires while nothing is loaded",
        breaks="light",
        caught_by=(f"{_TESTS_OF_THE_LOOP}::test_every_state_has_a_light_and_steady_light_means_that_a_press_fires",),
    ),
)
