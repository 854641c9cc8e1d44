"""Planted bugs of the scan: what it checks under way, needle and gates, and the way out."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_INTERLOCKS: Final = "device/core/interlocks.py"
_RETREAT: Final = "device/core/retreat.py"
_MOTION: Final = "device/core/scan_motion.py"
_STROKE: Final = "device/core/stroke.py"
_TIMELINE: Final = "device/core/stroke_timeline.py"

_TESTS: Final = "tests/unit/test_stroke.py"
_FAULTS: Final = "tests/unit/test_stroke_faults.py"
_EVERY_PLACE: Final = f"{_FAULTS}::test_at_every_place_of_a_stroke_a_fault_closes_the_gates_and_brings_the_needle_home"

STROKE_BUGS: Final = (
    PlantedBug(
        name="contact-not-checked-in-a-stroke",
        file=_INTERLOCKS,
        changes=(
            (
                "    if loaded.magazine.require_contact and not inputs.contact and state.position > 0:\n",
                "    if loaded.magazine.require_contact and not inputs.contact and motion.gate < 0:\n",
            ),
        ),
        mistake="the gun is lifted in mid-stroke and goes on dosing",
        breaks="I3",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="permit-not-checked",
        file=_INTERLOCKS,
        changes=(("    if now_ns > permit_until_ns:\n", "    if permit_until_ns < 0:\n"),),
        mistake="a controller that hangs does not stop the gun",
        breaks="I5",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="permit-not-checked-on-the-short-way",
        file=_STROKE,
        changes=((" and linked and now_ns <= permit_until_ns:\n", " and linked:\n"),),
        mistake="a needle under way takes its plain steps without asking for the permit",
        breaks="I5",
        caught_by=(_FAULTS,),
    ),
    PlantedBug(
        name="link-not-checked-on-the-short-way",
        file=_STROKE,
        changes=((" and order is None and linked and ", " and order is None and "),),
        mistake="a needle under way does not notice that the controller is gone",
        breaks="I5",
        caught_by=(_FAULTS,),
    ),
    PlantedBug(
        name="order-waits-for-the-stroke",
        file=_STROKE,
        changes=(("motion.clear is inputs and order is None and", "motion.clear is inputs and"),),
        mistake="an order that comes while the needle moves is lost",
        breaks="I5",
        caught_by=(_FAULTS,),
    ),
    PlantedBug(
        name="link-loss-ignored",
        file=_INTERLOCKS,
        changes=(("    if not linked:\n        return Fault.CONTROLLER_LOST\n", ""),),
        mistake="a controller that was killed does not stop the gun before its permit runs out",
        breaks="I5",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="halt-not-obeyed",
        file=_INTERLOCKS,
        changes=(("    if isinstance(order, Halt):\n        return order.fault\n", ""),),
        mistake="what the controller finds does not stop a running stroke",
        breaks="I5",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="stop-not-obeyed",
        file=_INTERLOCKS,
        changes=(("    if switches.stop:\n        return Fault.STOP_PRESSED\n", ""),),
        mistake="the stop button is noticed only when its channels differ",
        breaks="I5",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="stop-ends-the-retraction",
        file=_INTERLOCKS,
        changes=(
            ("    if state.mode is ScanMode.SAFE or retreating(state):\n", "    if state.mode is ScanMode.SAFE:\n"),
        ),
        mistake="a second stop leaves the needle standing in the skin",
        breaks="I5",
        caught_by=(f"{_FAULTS}::test_nothing_stops_a_retraction_not_even_the_stop", _FAULTS),
    ),
    PlantedBug(
        name="lateness-not-checked",
        file=_INTERLOCKS,
        changes=(
            ("    return Fault.STEP_LATE if overdue_ns > spec.timing.late_limit_ns else None\n", "    return None\n"),
        ),
        mistake="a stroke goes on however long the process was held up",
        breaks="I5",
        caught_by=(f"{_FAULTS}::test_a_step_later_than_the_limit_ends_the_shot",),
    ),
    PlantedBug(
        name="pump-waited-for-without-end",
        file=_INTERLOCKS,
        changes=(
            (
                "        return Fault.PHASE_NOT_FINISHED if overdue_ns > spec.timing.phase_wait_ns else None\n",
                "        return None\n",
            ),
        ),
        mistake="with a blocked needle the gun waits in the skin for ever",
        breaks="bounds",
        caught_by=(f"{_TESTS}::test_a_pump_that_is_too_late_ends_the_shot",),
    ),
    PlantedBug(
        name="stuck-gate-not-noticed",
        file=_INTERLOCKS,
        changes=(("        return Fault.PUMP_GATE_STUCK\n", "        return None\n"),),
        mistake="a move that no gate let begin goes unnoticed while armed",
        breaks="I3",
        caught_by=(f"{_FAULTS}::test_a_phase_line_that_changes_before_any_gate_was_opened_tells_of_a_stuck_gate",),
    ),
    PlantedBug(
        name="jammed-needle-not-noticed",
        file=_INTERLOCKS,
        changes=(("    if inputs.home and state.position > spec.axis.clearance_steps:\n        return True\n", ""),),
        mistake="a needle that stays at home while its steps count doses into the air",
        breaks="I3",
        caught_by=(
            f"{_FAULTS}::test_a_needle_that_stays_at_home_while_the_steps_count_past_the_surface_opens_no_gate",
        ),
    ),
    PlantedBug(
        name="suck-back-before-home",
        file=_INTERLOCKS,
        changes=(("    return opens_at_home and now_ns >= motion.due_ns and not inputs.home\n", "    return False\n"),),
        mistake="the suck-back begins by the count of steps, with a needle that may still be in the skin",
        breaks="I9",
        caught_by=(
            f"{_FAULTS}"
            "::test_steps_lost_on_the_way_out_are_found_before_the_suck_back_and_searched_for_until_the_needle_is_home",
        ),
    ),
    PlantedBug(
        name="suck-back-on-the-way-out",
        file=_TIMELINE,
        changes=(
            (
                "        writer.add(home_ns, Action.OPEN)\n",
                "        writer.add(home_ns - HOME_SETTLING_NS, Action.OPEN)\n",
            ),
        ),
        mistake="the suck-back begins with the last step, before the home switch has settled",
        breaks="I9",
        caught_by=(f"{_FAULTS}::test_the_home_switch_has_its_settling_time_to_close_behind_the_needle",),
    ),
    PlantedBug(
        name="exit-before-the-dwells-end",
        file=_TIMELINE,
        changes=(("    if program.dwell_dose:\n        writer.add(bottom_ns, Action.AWAIT)\n", ""),),
        mistake="the needle leaves its depth by time, while the pump is still giving",
        breaks="I3",
        caught_by=(
            "tests/unit/test_stroke_timeline.py"
            "::test_every_gate_opens_at_its_depth_and_is_awaited_before_the_needle_leaves_it",
        ),
    ),
    PlantedBug(
        name="phase-line-not-awaited",
        file=_MOTION,
        changes=(
            (
                "            if spec.phase_feedback and inputs.phase != (state.loaded.opened % 2 == 1):\n"
                "                return _waiting(",
                "            if spec.phase_feedback and inputs.phase is None:\n                return _waiting(",
            ),
        ),
        mistake="a phase counts as ended when its time is over, whatever the pump says",
        breaks="I3",
        caught_by=(f"{_TESTS}::test_a_late_pump_makes_the_needle_wait_where_it_is",),
    ),
    PlantedBug(
        name="gate-opened-too-early",
        file=_TIMELINE,
        changes=(
            ("        if step == program.entry_open:\n", "        if step == 1 and program.entry_open is not None:\n"),
        ),
        mistake="the entry's gate opens with the first step, above the skin",
        breaks="I3",
        caught_by=(
            "tests/unit/test_stroke_timeline.py"
            "::test_every_gate_opens_at_its_depth_and_is_awaited_before_the_needle_leaves_it",
        ),
    ),
    PlantedBug(
        name="always-gate-1",
        file=_MOTION,
        changes=(("gate = 1 + (loaded.opened - 1) % 2", "gate = 1"),),
        mistake="one gate for all phases: still low from one phase it lets the next one through",
        breaks="I3",
        caught_by=(f"{_TESTS}::test_a_press_fires_one_shot_with_every_phase_at_its_depth",),
    ),
    PlantedBug(
        name="gate-closed-after-the-await",
        file=_MOTION,
        changes=(("    return state._replace(motion=motion._replace(gate=0))\n", "    return state\n"),),
        mistake="a gate stays open until the needle has reached its place, though the pump's move has ended",
        breaks="I3",
        caught_by=(_TESTS, _FAULTS),
    ),
    PlantedBug(
        name="gate-left-open-on-a-stop",
        file=_RETREAT,
        changes=(
            (
                "motion=retraction(state, motion, spec=spec, now_ns=now_ns))\n",
                "motion=retraction(state, motion, spec=spec, now_ns=now_ns)._replace(gate=motion.gate))\n",
            ),
        ),
        mistake="the needle retracts with the gate open: the running phase goes on to its end and the next may begin",
        breaks="I5",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="needle-not-retracted-on-a-fault",
        file=_RETREAT,
        changes=(
            (
                "    if working and state.position > 0 and motion is not None:\n",
                "    if working and state.position < 0 and motion is not None:\n",
            ),
            ("    if working and not inputs.home:\n", "    if working and state.position < 0:\n"),
        ),
        mistake="in a fault the motor is switched off with the needle in the skin",
        breaks="I5",
        caught_by=(_EVERY_PLACE,),
    ),
    PlantedBug(
        name="retraction-ends-without-the-switch",
        file=_MOTION,
        changes=(
            (
                "            state = start_homing(state, spec=spec, now_ns=now_ns)\n",
                "            state = state._replace(mode=ScanMode.SAFE, motion=None, position=0)\n",
            ),
        ),
        mistake="after lost steps the needle counts as out although its switch has not come",
        breaks="I5",
        caught_by=(f"{_FAULTS}::test_steps_lost_in_a_retraction_are_searched_for_too",),
    ),
    PlantedBug(
        name="stroke-ends-without-the-switch",
        file=_MOTION,
        changes=(("    elif state.loaded is None or not inputs.home:\n", "    elif state.loaded is None:\n"),),
        mistake="a stroke that lost steps counts as complete: the next one goes deeper",
        breaks="I3",
        caught_by=(
            "tests/unit/test_stroke_endings.py"
            "::test_steps_lost_on_the_way_out_are_a_fault_of_that_stroke_without_a_suck_back_too",
        ),
    ),
    PlantedBug(
        name="reset-survives-a-broken-off-homing",
        file=_RETREAT,
        changes=((", homed=homed, reset_pending=False)\n", ", homed=homed)\n"),),
        mistake="a reset that waited for the homing's end clears the fault that broke it off",
        breaks="I6",
        caught_by=(
            "tests/unit/test_retreat.py::test_a_reset_that_waits_for_the_homings_end_is_void_when_that_is_broken_off",
        ),
    ),
    PlantedBug(
        name="needle-reversed-at-full-speed",
        file=_RETREAT,
        changes=(("inward_speed_steps_s=NS_PER_S // gap_ns if gap_ns > 0 else 0,", "inward_speed_steps_s=0,"),),
        mistake="a needle on its way in is turned round without braking and loses its steps",
        breaks="I5",
        caught_by=(
            "tests/unit/test_retreat.py"
            "::test_the_needle_brakes_over_the_way_that_its_speed_needs_and_never_deeper_than_the_stroke",
        ),
    ),
    PlantedBug(
        name="homing-without-end",
        file=_RETREAT,
        changes=(("HOMING_OVERTRAVEL_PERCENT = 120\n", "HOMING_OVERTRAVEL_PERCENT = 1200\n"),),
        mistake="with a broken home switch the motor pushes against its stop for ten times its way",
        breaks="bounds",
        caught_by=("tests/unit/test_stroke_endings.py::test_homing_gives_up_a_fifth_beyond_the_axis",),
    ),
    PlantedBug(
        name="reset-clears-a-pressed-stop",
        file=_STROKE,
        changes=(("    fault = switch_fault(state.switches)\n    if fault", "    fault = None\n    if fault"),),
        mistake="the gun leaves its safe mode while the stop is still pressed",
        breaks="I6",
        caught_by=(f"{_FAULTS}::test_a_reset_with_the_stop_still_pressed_is_refused",),
    ),
    PlantedBug(
        name="load-with-the-phase-line-high",
        file=_STROKE,
        changes=(("        return Fault.PHASE_LINE_STUCK\n", "        return None\n"),),
        mistake="a phase line that reads 1 before the first move tells every end at once",
        breaks="I3",
        caught_by=(f"{_FAULTS}::test_a_phase_line_that_reads_high_before_the_first_move_is_stuck",),
    ),
    PlantedBug(
        name="steps-made-up-for",
        file=_MOTION,
        changes=(("            base_ns += missing_ns\n", "            base_ns += 0\n"),),
        mistake="after a late step the motor is asked for all missing ones at once, and loses them",
        breaks="I3",
        caught_by=(f"{_FAULTS}::test_a_late_step_is_not_made_up_for_faster_than_the_motor_can_follow",),
    ),
    PlantedBug(
        name="two-gates-open-at-once",
        file="device/realtime/process.py",
        changes=(
            (
                "        if self._gate and outputs.gate != self._gate:\n"
                "            self._lines.set_gate(self._gate, False)  # noqa: FBT003 - the driver's form\n"
                "            self._gate = 0\n",
                "",
            ),
        ),
        mistake="a gate that the scan has closed stays open on the line",
        breaks="I5",
        caught_by=("tests/unit/test_output_writer.py",),
    ),
    PlantedBug(
        name="lines-not-safe-at-the-start",
        file="drivers/gpio/realtime_lines.py",
        changes=(("_gate_2 = output(lines.gate_2, high=_CLOSED)", "_gate_2 = output(lines.gate_2, high=_OPEN)"),),
        mistake="gate 2 is open from the moment in which its line becomes an output",
        breaks="I3",
        caught_by=("tests/contract/test_gpio_lines.py::test_the_realtime_lines_begin_safe_and_show_no_other_level",),
    ),
    PlantedBug(
        name="stop-wired-as-normally-open",
        file="drivers/gpio/realtime_lines.py",
        changes=(("            bool(self._stop_b.state),\n", "            not self._stop_b.state,\n"),),
        mistake="a broken wire of the stop reads as not pressed",
        breaks="I5",
        caught_by=(
            "tests/contract/test_gpio_lines.py::test_a_broken_wire_reads_as_stopped_and_as_a_disagreeing_trigger",
        ),
    ),
    PlantedBug(
        name="stroke-longer-than-a-scan-can-prepare",
        file="device/core/device_spec.py",
        changes=(("        if steps > most:\n", "        if steps > 10 * most:\n"),),
        mistake="at a load the real-time process is silent for longer than its supervision bears, and killed",
        breaks="I5",
        caught_by=(
            "tests/unit/test_device_spec.py"
            "::test_the_longest_stroke_has_as_many_steps_as_one_scan_can_prepare_and_not_one_more",
        ),
    ),
)
