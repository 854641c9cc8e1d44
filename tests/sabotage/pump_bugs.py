"""Planted bugs of the pump driver: its frames, its conversation, its programs and the checks before a load."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_CODEC: Final = "drivers/pump/cavro_codec.py"
_SESSION: Final = "drivers/pump/cavro_session.py"
_PROGRAM: Final = "drivers/pump/cavro_program.py"
_PUMP: Final = "drivers/pump/cavro.py"

PUMP_BUGS: Final = (
    PlantedBug(
        name="constant-sequence-number",
        file=_SESSION,
        changes=(("self._sequence = self._sequence % SEQUENCE_MOST + 1", "self._sequence = 1"),),
        mistake="every frame has number 1: a repeat after a lost frame is skipped by the pump, and the dose with it",
        breaks="I2",
        caught_by=("tests/unit/test_cavro_session.py::test_numbers_run_from_1_to_7_and_round",),
    ),
    PlantedBug(
        name="blind-retry-with-a-new-number",
        file=_SESSION,
        changes=(
            ("return self._send(request.text, now_ns, repeat=True)", "return self._send_request(request, now_ns)"),
        ),
        mistake="a command without an answer is sent again as a new one: the pump runs it twice",
        breaks="I1",
        caught_by=(
            "tests/unit/test_cavro_session.py"
            "::test_a_command_without_answer_is_repeated_with_its_number_and_then_given_up",
        ),
    ),
    PlantedBug(
        name="repeat-flag-never-set",
        file=_CODEC,
        changes=(("0x30 | self.sequence | (_REPEAT_BIT if self.repeat else 0)", "0x30 | self.sequence"),),
        mistake="a repeated frame looks like a new one with the same number, which the pump always runs",
        breaks="I1",
        caught_by=("tests/unit/test_cavro_codec.py::test_a_worked_command_of_the_manual_is_written_and_read",),
    ),
    PlantedBug(
        name="query-between-command-and-repeat",
        file=_SESSION,
        changes=(
            (
                "            return self._send(request.text, now_ns, repeat=True)\n",
                "            return self._drain(now_ns, now_ns)\n",
            ),
        ),
        mistake="the pump is asked something before the repeat: its last number changes and the repeat runs again",
        breaks="I1",
        caught_by=(
            "tests/unit/test_cavro_session.py"
            "::test_a_command_without_answer_is_repeated_with_its_number_and_then_given_up",
        ),
    ),
    PlantedBug(
        name="relative-move",
        file=_PROGRAM,
        changes=(("A{move.target}J", "D{move.target}J"),),
        mistake="the dose is a way and not a place: sent twice it is given twice",
        breaks="I1",
        caught_by=("tests/unit/test_cavro_program.py::test_gates_and_the_phase_line_alternate_over_the_whole_program",),
    ),
    PlantedBug(
        name="no-draining-after-silence",
        file=_SESSION,
        changes=(
            (
                "return self._drain(now_ns, now_ns) if self._in_doubt else self._send_request(request, now_ns)",
                "return self._send_request(request, now_ns)",
            ),
        ),
        mistake="after a silence the next question is asked at once: a late answer is taken for its own",
        breaks="I2",
        caught_by=(
            "tests/unit/test_cavro_session.py::test_a_late_acknowledgement_is_not_taken_for_the_answer_to_q",
            "tests/unit/test_cavro_session.py::test_a_late_identity_is_not_taken_for_a_number",
        ),
    ),
    PlantedBug(
        name="any-answer-fits-any-question",
        file=_SESSION,
        changes=((" and fits(self._request.kind, answer):", ":"),),
        mistake="an answer's shape is not looked at: an acknowledgement passes for a position",
        breaks="I2",
        caught_by=("tests/unit/test_cavro_session.py",),
    ),
    PlantedBug(
        name="command-before-the-first-q",
        file=_SESSION,
        changes=(("if request.kind is Kind.COMMAND and not self._status_seen:", "if False:"),),
        mistake="after a start a command leaves before the pump has answered a Q: an old number may swallow it",
        breaks="I2",
        caught_by=("tests/unit/test_cavro_session.py::test_no_command_leaves_before_a_q_was_answered",),
    ),
    PlantedBug(
        name="checksum-not-checked",
        file=_CODEC,
        changes=(("    if checksum(buffer[: end + 1]) != buffer[end + 1]:\n        return -1\n", ""),),
        mistake="a frame with a flipped bit is believed",
        breaks="I2",
        caught_by=(
            "tests/unit/test_cavro_codec.py"
            "::test_no_single_bit_flip_of_an_answer_is_a_frame_and_the_next_answer_is_read",
        ),
    ),
    PlantedBug(
        name="load-without-ceiling-check",
        file=_PUMP,
        changes=(
            ("        check_ceiling(program, spec=self._spec, ceiling=self._ceiling)\n        with", "        with"),
        ),
        mistake="the driver trusts the planner: one wrong calculation is enough for an overdose",
        breaks="I1",
        caught_by=("tests/contract/test_pump_port.py::test_a_program_above_the_ceiling_sends_nothing_at_all",),
    ),
    PlantedBug(
        name="ceiling-forgets-the-shot",
        file=_PROGRAM,
        changes=(("if shot_top - lowest > bounds.shot + allowed_repay:", "if shot_top - lowest > bounds.program:"),),
        mistake="the driver holds a shot to the ceiling of a whole program",
        breaks="I1",
        caught_by=(
            "tests/unit/test_cavro_program.py"
            "::test_a_shot_may_give_its_most_and_a_repaid_suck_back_but_not_one_increment_more",
        ),
    ),
    PlantedBug(
        name="ceiling-allows-every-shot-a-repayment",
        file=_PROGRAM,
        changes=(("shot_top, allowed_repay = lowest, 0", "shot_top = lowest"),),
        mistake="only the first shot can repay a suck-back that the program does not show; all of them may here",
        breaks="I1",
        caught_by=(
            "tests/unit/test_cavro_program.py"
            "::test_the_second_shot_has_no_allowance_for_a_suck_back_that_the_program_shows",
        ),
    ),
    PlantedBug(
        name="gates-not-read-back-before-a-load",
        file=_PUMP,
        changes=(
            (
                "            gates = await self._gates(turn)\n            if",
                "            gates = GateLevels(gate_1_open=False, gate_2_open=False)\n            if",
            ),
        ),
        mistake="a gate that is stuck low is not seen: the loaded move begins at once, with the needle at home",
        breaks="I3",
        caught_by=("tests/contract/test_pump_port.py::test_an_open_gate_refuses_a_load",),
    ),
    PlantedBug(
        name="only-gate-1-read-back",
        file=_PUMP,
        changes=(("            if gates.gate_1_open or gates.gate_2_open:\n", "            if gates.gate_1_open:\n"),),
        mistake="the second gate's line is never looked at before a load",
        breaks="I3",
        caught_by=("tests/contract/test_pump_port.py::test_an_open_gate_refuses_a_load",),
    ),
    PlantedBug(
        name="position-not-compared-before-a-load",
        file=_PUMP,
        changes=(("            if not reads_as(position, program.start):\n", "            if position < 0:\n"),),
        mistake="the plunger is not where the plan thinks: the way to the first target is no dose that anyone planned",
        breaks="I1",
        caught_by=("tests/contract/test_pump_port.py::test_a_program_from_another_position_is_refused",),
    ),
    PlantedBug(
        name="refill-ends-where-it-was-read",
        file=_PUMP,
        changes=(("        return target\n", "        return position\n"),),
        mistake="the encoder's error counts as serum that was drawn: the next shot gives it on top of its dose",
        breaks="I2",
        caught_by=(
            "tests/contract/test_pump_port.py"
            "::test_a_refill_and_a_homing_end_where_they_were_sent_and_not_where_the_encoder_reads_them",
        ),
    ),
    PlantedBug(
        name="terminate-leaves-the-buffer",
        file=_PUMP,
        changes=(
            (
                '        await self._command("J0R", turn, tolerated=NEED_HOMING)\n'
                "        await self._until_ready(SETTING_NS, turn, tolerated=NEED_HOMING)\n"
                '        if await self._report("?10", turn) != 0:\n',
                '        if await self._report("?10", turn) < 0:\n',
            ),
        ),
        mistake="T stops the program but keeps its rest: a later R goes on with it",
        breaks="I5",
        caught_by=("tests/contract/test_pump_port.py::test_terminate_stops_a_move_and_leaves_nothing_for_a_later_r",),
    ),
    PlantedBug(
        name="terminate-believed-at-once",
        file=_PUMP,
        changes=(
            (
                "            if (await self._exchange(STATUS, turn)).ready:\n                break\n",
                "            break\n",
            ),
        ),
        mistake="T is sent once and taken for done: a pump in a valve change goes on",
        breaks="I5",
        caught_by=("tests/contract/test_pump_stops.py::test_a_t_that_the_pump_does_not_obey_is_sent_until_it_does",),
    ),
    PlantedBug(
        name="valve-forgotten-after-a-cut-refill",
        file=_PUMP,
        changes=(
            (
                "            self._valve_at_needle = False\n            back =",
                "            back =",
            ),
        ),
        mistake="after a cut-off refill the valve points to the vial: the dose goes there and is booked as given",
        breaks="I2",
        caught_by=(
            "tests/contract/test_pump_stops.py"
            "::test_a_valve_that_stood_at_the_needle_is_turned_back_after_a_refill_that_was_cut_off",
        ),
    ),
    PlantedBug(
        name="refill-approached-from-below",
        file=_PUMP,
        changes=(("IA{top}A{low}{back}OR", "IA{low}{back}OR"),),
        mistake="the screw's play is taken up by the first dose, which is too small by it",
        breaks="dose",
        caught_by=(
            "tests/contract/test_pump_port.py::test_a_refill_draws_from_the_vial_only_and_approaches_from_above",
        ),
    ),
    PlantedBug(
        name="pump-error-overlooked",
        file=_PUMP,
        changes=(
            (
                "    if answer.error == 0 or answer.error in tolerated:\n",
                "    if answer.ready or answer.error in tolerated:\n",
            ),
        ),
        mistake="a pump that says ready and overload at once is taken for a good one",
        breaks="I2",
        caught_by=("tests/contract/test_pump_port.py",),
    ),
)
