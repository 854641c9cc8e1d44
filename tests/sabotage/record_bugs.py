"""Planted bugs of the record: how outcomes are settled and booked, and how the journal keeps them."""

from typing import Final

from tests.sabotage.planted_bug import PlantedBug

_SETTLEMENT: Final = "device/core/settlement.py"
_LEDGER: Final = "device/core/ledger.py"
_CHAIN: Final = "device/core/journal_chain.py"
_JOURNAL: Final = "device/controller/journal.py"
_DURABILITY: Final = "tests/unit/test_journal_durability.py"

RECORD_BUGS: Final = (
    PlantedBug(
        name="least-history-booked",
        file=_SETTLEMENT,
        changes=(("end=Increments(min(history.deepest for", "end=Increments(max(history.deepest for"),),
        mistake="of all histories that fit the position the one that gave the least is booked",
        breaks="I2",
        caught_by=(
            "tests/unit/test_settlement.py"
            "::test_a_place_passed_twice_because_of_the_suck_back_books_the_most_that_can_have_been",
        ),
    ),
    PlantedBug(
        name="uncertain-booked-as-nothing",
        file=_SETTLEMENT,
        changes=(("end = Increments(_low_waters(intent)[beyond])", "end = Increments(_low_waters(intent)[0])"),),
        mistake="what is not known is booked as not given",
        breaks="I2",
        caught_by=("tests/unit/test_settlement.py::test_knowing_nothing_at_all_books_the_whole_magazine",),
    ),
    PlantedBug(
        name="huge-tolerance",
        file=_SETTLEMENT,
        changes=(("POSITION_TOLERANCE = 2\n", "POSITION_TOLERANCE = 20\n"),),
        mistake="a plunger that stands 0.8 uL beside its target counts as having reached it",
        breaks="I2",
        caught_by=("tests/unit/test_debts_and_tolerances.py::test_three_increments_beside_the_target_is_not_there",),
    ),
    PlantedBug(
        name="stuck-gate-history-left-out",
        file=_SETTLEMENT,
        changes=(
            ("_fitting(intent, position, fewest, beyond, seen)", "_fitting(intent, position, fewest, most, seen)"),
        ),
        mistake="a move that a stuck gate let begin fits no history and is called uncertain or lost",
        breaks="I2",
        caught_by=(
            "tests/unit/test_settlement.py"
            "::test_a_place_passed_twice_because_of_the_suck_back_books_the_most_that_can_have_been",
        ),
    ),
    PlantedBug(
        name="contradiction-believed",
        file=_SETTLEMENT,
        changes=(("end=Increments(max(0, deepest))", "end=Increments(_low_waters(intent)[most])"),),
        mistake="a plunger deeper than any gate allowed is booked at what the gates allowed",
        breaks="I2",
        caught_by=(
            "tests/unit/test_settlement.py"
            "::test_a_plunger_deeper_than_any_gate_allowed_is_uncertain_and_books_all_of_it",
        ),
    ),
    PlantedBug(
        name="broken-off-move-booked-as-it-was-read",
        file=_SETTLEMENT,
        changes=(("for place in (position, position - POSITION_TOLERANCE)", "for place in (position, position)"),),
        mistake="of a move that was broken off the encoder is believed to the increment, though it may err",
        breaks="I2",
        caught_by=("tests/unit/test_settlement.py::test_booked_is_never_less_than_given_however_the_encoder_errs",),
    ),
    PlantedBug(
        name="broken-off-suck-back-repaid-as-it-was-read",
        file=_SETTLEMENT,
        changes=(("place = max(reached, position - POSITION_TOLERANCE)", "place = position"),),
        mistake="of a suck-back that was broken off the encoder is believed to the increment: a shot gives too much",
        breaks="I2",
        caught_by=(
            "tests/unit/test_settlement.py"
            "::test_of_a_suck_back_that_was_broken_off_only_what_was_surely_drawn_is_repaid",
        ),
    ),
    PlantedBug(
        name="reading-taken-for-the-place",
        file=_SETTLEMENT,
        changes=(
            ("position=Increments(max(low_water, min(history.place for history in fitting)))", "position=position"),
        ),
        mistake="the encoder's error is taken for a draw: a refill keeps it, and the next shot gives it unbooked",
        breaks="I2",
        caught_by=(
            "tests/simulation/test_encoder.py::test_a_whole_region_is_given_and_booked_exactly_however_the_encoder_errs",
        ),
    ),
    PlantedBug(
        name="error-of-the-encoder-taken-for-a-stuck-gate",
        file=_SETTLEMENT,
        changes=(("if move < seen.opened else -POSITION_TOLERANCE", "if move < seen.opened else 0"),),
        mistake="a magazine that is unloaded unfired books a shot of an increment wherever its plunger reads too deep",
        breaks="I2",
        caught_by=(
            "tests/simulation/test_encoder.py::test_a_magazine_that_fired_nothing_books_nothing_however_the_encoder_errs",
        ),
    ),
    PlantedBug(
        name="made-up-for-what-may-have-been-given",
        file=_SETTLEMENT,
        changes=(("low if certain else min(highest, position)", "low"),),
        mistake="the next shot repays a suck-back that may not have happened: serum on top of its own dose",
        breaks="I1",
        caught_by=(
            "tests/unit/test_settlement.py::test_a_suck_back_that_may_not_have_happened_is_not_repaid_by_the_next_shot",
        ),
    ),
    PlantedBug(
        name="sure-of-one-of-two-courses",
        file=_SETTLEMENT,
        changes=(("certain = highest - likely.low <= POSITION_TOLERANCE", "certain = True"),),
        mistake="where two courses fit that gave differently, one of them is taken for certain and nobody asked",
        breaks="I2",
        caught_by=(
            "tests/unit/test_settlement.py"
            "::test_a_place_passed_twice_because_of_the_suck_back_books_the_most_that_can_have_been",
        ),
    ),
    PlantedBug(
        name="suck-back-counted-as-given",
        file=_LEDGER,
        changes=(("        low_water=record.low_water,\n", "        low_water=record.position,\n"),),
        mistake="the next shot is planned from above the suck-back: its first increments repay it and give nothing",
        breaks="I9",
        caught_by=("tests/unit/test_debts_and_tolerances.py::test_a_suck_back_is_a_debt_of_the_plunger_and_no_dose",),
    ),
    PlantedBug(
        name="refill-forgives-the-suck-back",
        file=_LEDGER,
        changes=(("position=place, low_water=place - owed, play_open", "position=place, low_water=place, play_open"),),
        mistake="a refill forgets that the needle is still empty by the suck-back",
        breaks="I9",
        caught_by=("tests/unit/test_ledger.py::test_a_refill_keeps_the_debt_of_the_suck_back",),
    ),
    PlantedBug(
        name="vial-never-empties",
        file=_LEDGER,
        changes=(("drawn_nl=session.drawn_nl + volume_nl)", "drawn_nl=volume_nl)"),),
        mistake="only the last refill counts against the vial: air is drawn and given",
        breaks="I1",
        caught_by=("tests/unit/test_ledger.py::test_what_was_drawn_from_the_vial_is_added_up_over_the_session_alone",),
    ),
    PlantedBug(
        name="broken-refill-of-nobody",
        file=_LEDGER,
        changes=((", content=ledger.content or session.started)", ")"),),
        mistake="what a refill drew that was broken off belongs to nobody: the next patient gets it",
        breaks="I1",
        caught_by=(
            "tests/unit/test_broken_refill.py"
            "::test_what_it_drew_for_one_patient_is_refused_for_another_until_the_plunger_is_homed",
        ),
    ),
    PlantedBug(
        name="unknown-draw-given",
        file=_LEDGER,
        changes=(("return replace(ledger, unhomed=True)\n    # A refill", "return ledger\n    # A refill"),),
        mistake="what the plunger drew while nobody looked, serum or air, is given",
        breaks="I1",
        caught_by=(
            "tests/unit/test_broken_refill.py"
            "::test_a_plunger_that_drew_without_a_session_is_homed_before_anything_is_given",
        ),
    ),
    PlantedBug(
        name="needle-forgotten-by-a-change",
        file=_LEDGER,
        changes=(("used = (*others, off) if off.needle and off.used else others", "used = others"),),
        mistake="a needle that was off in between is a new one: another patient's blood, a count from nought",
        breaks="I1",
        caught_by=("tests/unit/test_needles.py::test_a_needle_that_is_put_on_again_goes_on_with_its_count",),
    ),
    PlantedBug(
        name="totals-of-the-last-magazine-only",
        file=_LEDGER,
        changes=(("increments=session.increments + record.given,", "increments=record.given,"),),
        mistake="the session's total is the last magazine's: no session limit is ever reached",
        breaks="I1",
        caught_by=("tests/unit/test_whole_session.py::test_the_magazines_of_a_session_add_up",),
    ),
    PlantedBug(
        name="intent-closed-by-nobody",
        file=_LEDGER,
        changes=(("        open_intent=None,\n", ""),),
        mistake="a settled intent stays open: it is settled a second time after a restart",
        breaks="I2",
        caught_by=("tests/unit/test_ledger.py::test_an_intent_is_open_until_it_is_settled_and_counts_the_magazines",),
    ),
    PlantedBug(
        name="fault-forgotten-by-a-restart",
        file=_LEDGER,
        changes=(("case FaultRaised() if record.latched:", "case FaultRaised() if not record.latched:"),),
        mistake="a latched fault is not in the ledger: a restart clears it",
        breaks="I6",
        caught_by=("tests/unit/test_ledger.py::test_a_fault_is_open_from_its_latched_record_to_the_clearing",),
    ),
    PlantedBug(
        name="booked-volume-rounded-down",
        file="device/core/units.py",
        changes=(("-(-increments * stroke_nl // stroke_increments)", "increments * stroke_nl // stroke_increments"),),
        mistake="each booking loses up to a nanolitre: a session books less than was given",
        breaks="I2",
        caught_by=(
            "tests/unit/test_units.py"
            "::test_a_booked_volume_is_never_less_than_what_moved_and_at_most_one_nanolitre_more",
        ),
    ),
    PlantedBug(
        name="chain-hash-not-verified",
        file=_CHAIN,
        changes=(("    if digest != row.hash:\n", "    if not digest:\n"),),
        mistake="an altered record is read as a true one",
        breaks="I8",
        caught_by=("tests/unit/test_journal_chain.py::test_a_row_altered_in_any_column_is_refused_with_its_number",),
    ),
    PlantedBug(
        name="chain-without-its-links",
        file=_CHAIN,
        changes=(("hashlib.sha256(previous + f", "hashlib.sha256(f"),),
        mistake="each record is hashed alone: records can change places or be left out",
        breaks="I8",
        caught_by=("tests/unit/test_journal_chain.py",),
    ),
    PlantedBug(
        name="gap-in-the-numbers-accepted",
        file=_CHAIN,
        changes=(("    if row.seq != head.seq + 1:\n", "    if row.seq <= head.seq:\n"),),
        mistake="a missing record is told as an altered one, and never as missing",
        breaks="I8",
        caught_by=("tests/unit/test_journal_chain.py::test_a_missing_row_is_named",),
    ),
    PlantedBug(
        name="journal-not-synchronised",
        file=_JOURNAL,
        changes=(
            (
                'synchronous = FULL")\n    connection.execute(f"PRAGMA journal_size_limit',
                'synchronous = OFF")\n    connection.execute(f"PRAGMA journal_size_limit',
            ),
        ),
        mistake="an intent is acknowledged before it is on the card: a power cut loses it, and with it the dose",
        breaks="I2",
        caught_by=(f"{_DURABILITY}::test_every_commit_is_synchronised_to_the_medium",),
    ),
    PlantedBug(
        name="new-journal-not-synchronised",
        file=_JOURNAL,
        changes=(("        _synchronise(draft)\n        draft.rename(path)\n", "        draft.rename(path)\n"),),
        mistake="the file has its name before its content is on the card",
        breaks="I8",
        caught_by=(f"{_DURABILITY}::test_a_new_journal_is_on_the_medium_before_it_has_its_name_and_its_name_is_too",),
    ),
    PlantedBug(
        name="records-written-one-by-one",
        file=_JOURNAL,
        changes=(
            (
                '            connection.execute("BEGIN IMMEDIATE")\n            connection.executemany',
                "            connection.executemany",
            ),
            ('            connection.execute("COMMIT")\n        except', "        except"),
        ),
        mistake="without a transaction a power cut leaves an outcome without its settlement",
        breaks="I2",
        caught_by=(f"{_DURABILITY}::test_records_that_do_not_all_fit_are_none_of_them_written",),
    ),
    PlantedBug(
        name="journal-opens-unverified",
        file=_JOURNAL,
        changes=(
            (
                "            head = _verify(path, connection)\n",
                "            meta = read_meta(connection)\n            head = Head(meta.head.seq, meta.head.hash)\n",
            ),
        ),
        mistake="the stored head is believed: a damaged journal opens and is written on",
        breaks="I8",
        caught_by=("tests/unit/test_journal.py::test_what_was_altered_by_sql_is_refused",),
    ),
    PlantedBug(
        name="two-writers",
        file=_JOURNAL,
        changes=(
            ("fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)", "fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)"),
        ),
        mistake="two controllers write one journal",
        breaks="I8",
        caught_by=("tests/unit/test_journal.py::test_a_second_writer_is_refused",),
    ),
)
