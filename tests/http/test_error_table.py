"""The tables of errors in `docs/query.md`: they say what the code does, and every row is proved by a test that provokes
it on a real database.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.data import faults, retrying
from app.errors import BadQuery, BadValue, Conflict
from tests.http.test_bad_input import CASES, Case
from tests.http.test_database_errors import RAISED

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "query.md").read_text()
LINE = re.compile(r"^\| ([A-Z0-9, ]+) \| (.+) \| ([\d, ]+) \| ([\d, ]+) \| (\d*|seconds) ?\| (\d*) ?\|$", re.MULTILINE)

# Where each code is provoked; those of a body or a query string that are not named here are CASES of test_bad_input.
BAD_INPUT = "http/test_bad_input.py::test_bad_request_has_its_code_and_status"
ERRORS, LOST = "http/test_database_errors.py", "http/test_lost_connections.py"
RAISES = f"{ERRORS}::test_state_has_its_answer_and_its_repeats"
PROOFS = {
    "54000": ["http/test_filters_write.py::test_too_many_rows_are_refused"],
    "42501": ["http/test_writing.py::test_write_without_a_key_is_refused"],
    "BRD404": ["http/test_writing.py::test_write_to_a_row_that_is_not_there"],
    "25006": [
        "http/test_rpc.py::test_write_function_by_get_is_405",
        f"{LOST}::test_server_that_takes_no_writes_is_answered",
        f"{LOST}::test_demoted_server_is_left_by_all_connections_at_once",
    ],
    "BRD412": ["http/test_writing.py::test_other_version_is_refused"],
    "BRD428": ["http/test_versions.py::test_change_without_a_version_is_refused_where_one_is_wanted"],
    "BRD400": ["http/test_idempotency.py::test_what_is_no_key_is_refused"],
    "BRD422": ["http/test_idempotency.py::test_another_request_under_the_key_is_refused"],
    "BRD409": ["http/test_idempotency.py::test_key_at_work_is_a_conflict_after_the_lock_time_out"],
    "BRD431": ["http/test_armour.py::test_large_head_is_refused"],
    "BRD408": ["http/test_armour.py::test_half_a_head_is_refused_in_time"],
    "BRD429": ["http/test_limits.py::test_too_many_new_shapes_are_refused"],
    "40001": [f"{ERRORS}::test_writes_that_clash_under_serializable_all_get_through", RAISES],
    "40P01": [f"{ERRORS}::test_deadlock_with_another_program_costs_a_repeat", RAISES],
    "55P03": [
        f"{ERRORS}::test_row_that_stays_locked_is_busy",
        f"{ERRORS}::test_file_that_another_process_has_locked_is_busy",
    ],
    "PGRST001": [
        f"{LOST}::test_loss_before_commit_is_not_noticed_by_the_caller",
        f"{LOST}::test_loss_at_every_attempt_is_answered",
    ],
    "08": [f"{LOST}::test_loss_at_every_attempt_is_answered", RAISES],
    "57P": [f"{LOST}::test_loss_at_every_attempt_is_answered", RAISES],
    "25P03": [f"{ERRORS}::test_transaction_that_idles_too_long_is_ended_and_answered"],
    "08007": [
        f"{LOST}::test_lost_commit_is_answered_as_unknown_and_never_repeated",
        f"{LOST}::test_commit_whose_answer_is_lost_is_found_by_its_key",
    ],
    "0A000": [f"{LOST}::test_changed_schema_costs_one_repeat_whatever_the_pool"],
    "PGRST000": [f"{LOST}::test_server_that_is_gone_is_answered"],
    "28": [f"{LOST}::test_role_that_may_not_connect_is_answered"],
    "53": [f"{LOST}::test_role_that_may_not_connect_is_answered"],
    "3D000": [f"{LOST}::test_database_that_is_gone_is_answered"],
    "55000": [f"{LOST}::test_database_that_takes_no_connections_is_answered"],
    "57014": [f"{ERRORS}::test_slow_statement_is_stopped_and_answered"],
    "PGRST003": [f"{ERRORS}::test_pool_without_a_free_connection_is_an_answer"],
    "53100": [
        f"{ERRORS}::test_full_disk_refuses_writes_and_serves_reads",
        f"{ERRORS}::test_write_beyond_a_quota_is_refused_as_on_a_full_disk",
        RAISES,
    ],
    "BRD503": ["http/test_connections.py::test_connection_too_many_is_told_so"],
    "PGRSTX00": [f"{ERRORS}::test_error_that_nobody_knows_is_a_fault_that_says_nothing"],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One code of a line. `repeated` is None where the request is wrong."""

    code: str
    rest: frozenset[int]
    plain: frozenset[int]
    retry_after: str
    repeated: int | None


def rows() -> list[Row]:
    found = []
    for codes, _, rest, plain, retry, repeated in LINE.findall(PAGE):
        statuses = [frozenset(int(status) for status in text.split(",")) for text in (rest, plain)]
        times = int(repeated) if repeated else None
        found += [Row(code, statuses[0], statuses[1], retry, times) for code in codes.split(", ")]
    return found


OF_REQUESTS = {row.code: row for row in rows() if row.repeated is None}
OF_THE_DATABASE = {row.code: row for row in rows() if row.repeated is not None}


def test_tables_are_read_whole() -> None:
    lines = [line for line in PAGE.splitlines() if re.match(r"\| (PGRST|BRD|\d)", line)]
    assert len(lines) == len(LINE.findall(PAGE))
    assert len(rows()) == len(OF_REQUESTS) + len(OF_THE_DATABASE)


@pytest.mark.parametrize("code", sorted({*faults.ANSWERS, faults.UNKNOWN}))
def test_answer_to_the_database_is_that_of_the_table(code: str) -> None:
    answer = faults.ANSWERS.get(code)
    if answer is not None and issubclass(answer.kind, Conflict | BadValue | BadQuery):
        pytest.skip("about a value of the request")
    error = faults.outcome_unknown() if answer is None else faults._answer(faults.Fault(code))
    row = OF_THE_DATABASE[code]
    assert row.rest == row.plain == frozenset([error.status])
    assert row.retry_after == ("" if error.retry_after is None else str(error.retry_after))
    assert row.repeated == min(retrying.repeats_of(code), retrying.ATTEMPTS - 1)


def test_nothing_is_repeated_that_the_table_does_not_say() -> None:
    assert {code for code, times in retrying.REPEATS.items() if times} <= OF_THE_DATABASE.keys()


def test_states_that_are_provoked_stand_in_the_table() -> None:
    for code, status, retry, repeats in RAISED:
        row = faults.longest_prefix(OF_THE_DATABASE, code)
        assert row is not None
        assert (row.rest, row.retry_after or None, row.repeated) == (frozenset([status]), retry, repeats)


@pytest.mark.parametrize("case", [case for case in CASES if case.code in OF_REQUESTS], ids=lambda case: case.name)
def test_bad_request_has_a_status_of_the_table(case: Case) -> None:
    row = OF_REQUESTS[case.code]
    assert case.rest in row.rest
    assert case.plain in row.plain


@pytest.mark.parametrize("code", sorted(OF_REQUESTS | OF_THE_DATABASE))
def test_every_row_is_proved(code: str) -> None:
    proofs = PROOFS.get(code, [])
    assert proofs or code in {case.code for case in CASES}
    for proof in proofs:
        path, _, name = proof.partition("::")
        tree = ast.parse((ROOT / "tests" / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_code_of_ours_stands_on_a_page() -> None:
    pages = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    source = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    codes = set(re.findall(r'"(BRD\d{3})"', source))
    assert {"BRD404", "BRD412"} <= codes
    assert {code for code in codes if code not in pages} == set()
