"""The refusals that the model foresees, as they are answered on the plain surface."""

from __future__ import annotations

from typing import Any

from tests.reliability.blog.state import Row, Unit


class Refusal(Exception):
    """`bodies` are the answers that would be right; more than one where the databases may choose."""

    def __init__(self, status: int, *bodies: Row) -> None:
        super().__init__(status, bodies)
        self.status, self.bodies = status, bodies


def body(code: str, message: str, details: str | None = None, hint: str | None = None) -> Row:
    return {"code": code, "message": message, "details": details, "hint": hint}


def denied(table: str, unit: Unit) -> Refusal:
    return forbidden(f"permission denied for table {table}", unit)


def forbidden(message: str, unit: Unit, hint: str | None = None) -> Refusal:
    return Refusal(401 if unit.view == "anonymous" else 403, body("42501", message, None, hint))


def missing_row(table: str, key: object) -> Refusal:
    return Refusal(404, body("BRD404", f"no row of {table} has the id {key}"))


def stale(table: str, row: Row) -> Refusal:
    hint = "Read the row again, then send its new version in If-Match."
    return Refusal(412, body("BRD412", f"the row of {table} is at version {row['version']}", None, hint))


def duplicate(table: str, *taken: tuple[str, Any]) -> Refusal:
    """One of these columns has a value that another row has."""
    return Refusal(
        409,
        *(
            body(
                "23505",
                f'duplicate key value violates unique constraint "{table}_{column}_key"',
                f"Key ({column})=({value}) already exists.",
            )
            for column, value in taken
        ),
    )


def absent(table: str, column: str, key: int, target: str) -> Refusal:
    message = f'insert or update on table "{table}" violates foreign key constraint "{table}_{column}_fkey"'
    return Refusal(409, body("23503", message, f'Key ({column})=({key}) is not present in table "{target}".'))


def refuse(problems: list[Row], where: str = "") -> None:
    """All that is wrong with a row: the first as the message, names that do not exist before others."""
    if not problems:
        return
    problems = sorted(problems, key=lambda problem: problem["code"] != "PGRST204")
    details = problems[0]["details"]
    if len(problems) > 1 or where:
        details = where + "; ".join(problem["message"] for problem in problems)
    raise Refusal(422, problems[0] | {"details": details})


# ---- what may be wrong with a value ---------------------------------------------------------------------------------


def is_null(table: str, column: str) -> Row:
    return body("23502", f'null value in column "{column}" of relation "{table}" violates not-null constraint')


def too_long(table: str, column: str, most: int) -> Row:
    hint = f'see column "{column}" of "{table}"'
    return body("22001", f"value too long for type character varying({most})", None, hint)


def no_choice(table: str, column: str, choices: tuple[str, ...]) -> Row:
    message = f'new row for relation "{table}" violates check constraint "{table}_{column}_check"'
    return body("23514", message, None, f"{column} is one of {', '.join(choices)}")


def no_column(table: str, column: str, near: str | None) -> Row:
    hint = f"Perhaps you meant the column '{near}'." if near else None
    return body("PGRST204", f"Could not find the '{column}' column of '{table}' in the schema cache", None, hint)
