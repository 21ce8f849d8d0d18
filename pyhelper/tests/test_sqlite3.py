# SPDX-License-Identifier: Apache-2.0
"""sqlite3, the real one: spans of statements, and what of them is shown."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from calls import expected
from conftest import log, timeless
from skystitch import agent

MEMORY = ("sqlite::memory:", ":memory:")


def query(method: str, statement: str, database: Any = MEMORY, **extra: Any) -> dict[str, Any]:
    peer, name = database
    parameters = extra.pop("parameters", None)
    tags = [["db.type", "SQLite"], ["db.instance", name], ["db.statement", statement]]
    if parameters is not None:
        tags.append(["db.sql.parameters", parameters])
    return {
        "id": extra.pop("id", 2),
        "parent": 1,
        "type": "exit",
        "layer": "database",
        "component": 31,
        "operation": f"SQLite/{method}",
        "peer": peer,
        "tags": tags,
        **extra,
    }


def numbered(*spans: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**span, "id": number} for number, span in enumerate(spans, 2)]


def test_statements(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"

    def call() -> Any:
        with sqlite3.connect(path) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE item (name TEXT, price INT)")
            cursor.executemany("INSERT INTO item VALUES (?, 5)", [("tea",), ("mug",)])
            connection.execute("UPDATE item SET price = 7 WHERE name = 'tea' -- a comment")
            found = connection.execute("SELECT sum(price) FROM item").fetchone()
        connection.close()
        return found

    answer = run(call)
    assert answer.result == (12,)
    place = ("sqlite:shop.db", str(path))
    spans = numbered(
        query("execute", "CREATE TABLE item (name TEXT, price INT)", place),
        query("executemany", "INSERT INTO item VALUES (?, ?)", place),
        query("execute", "UPDATE item SET price = ? WHERE name = ?", place),
        query("execute", "SELECT sum(price) FROM item", place),
    )
    assert timeless(answer.message) == expected(*spans)


def test_error(run: Any) -> None:
    def call() -> Any:
        connection = sqlite3.connect(":memory:")
        with pytest.raises(sqlite3.OperationalError) as raised:
            connection.execute("SELECT * FROM nowhere")
        if sys.version_info >= (3, 11):  # before that, tracebacks cannot be mended
            assert raised.traceback[-1].path.name == Path(__file__).name
        connection.close()
        return str(raised.value)

    answer = run(call)
    logs = [log("sqlite3.OperationalError", answer.result)]
    span = query("execute", "SELECT * FROM nowhere", error=True, logs=logs)
    assert timeless(answer.message) == expected(span)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, ["SELECT ?, ?"]),
        ({"SKYSTITCH_SQL_STATEMENT": "full"}, ["SELECT ?, 'b'"]),
        ({"SKYSTITCH_SQL_STATEMENT": "nonsense"}, ["SELECT ?, ?"]),
        ({"SKYSTITCH_SQL_STATEMENT": "off"}, []),
        ({"SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH": "20"}, ["SELECT ?, ?", "[aaaaa]"]),
        ({"SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH": "3"}, ["SELECT ?, ?", "[aaa...]"]),
        ({"SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH": "x"}, ["SELECT ?, ?"]),
    ],
)
def test_what_is_shown(run: Any, restart: Any, options: dict[str, str], shown: list[str]) -> None:
    restart(**options)

    def call() -> None:
        connection = sqlite3.connect(":memory:")
        connection.execute("SELECT ?, 'b'", ("aaaaa",))
        connection.close()

    span = run(call).message["spans"][1]
    assert [value for _, value in span["tags"][2:]] == shown


def test_secrets_are_masked(run: Any, restart: Any) -> None:
    restart(SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH="100", SKYSTITCH_MASK="iban")

    def call() -> None:
        connection = sqlite3.connect(":memory:")
        connection.execute("SELECT :user", {"user": "me", "IBAN": "DE1"})
        connection.execute("SELECT ? AS password, ?", ("pw", 1))
        connection.execute("SELECT ?, ?", (b"bytes", object.__new__(Loud)))
        connection.close()

    class Loud:
        def __str__(self) -> str:
            raise AssertionError("the app's own code was called")

        def __conform__(self, protocol: Any) -> int:
            return 1

    spans = run(call).message["spans"][1:]
    loud = "test_secrets_are_masked.<locals>.Loud"
    assert [span["tags"][3][1] for span in spans] == [
        "[user=me,IBAN=***]",
        "[***,***]",
        f"[<5 bytes>,<{loud}>]",
    ]


def test_classes_of_the_app(run: Any) -> None:
    class Mine(sqlite3.Connection):
        pass

    class MyCursor(sqlite3.Cursor):
        def execute(self, *args: Any) -> Any:
            return super().execute(*args)

    def call() -> tuple[Any, ...]:
        made = []
        for connection in (
            sqlite3.connect(":memory:", factory=Mine),
            sqlite3.connect(":memory:", 5.0, 0, None, True, Mine),
        ):
            cursor = connection.cursor(MyCursor)
            cursor.execute("SELECT 1")
            made += [isinstance(connection, Mine), isinstance(cursor, MyCursor)]
            made += [type(connection).__name__, type(cursor).__qualname__]
            connection.close()
        return tuple(made)

    answer = run(call)
    mine = (True, True, "Mine", MyCursor.__qualname__)
    assert answer.result == mine * 2
    spans = numbered(query("execute", "SELECT ?"), query("execute", "SELECT ?"))
    assert timeless(answer.message) == expected(*spans)


def test_outside_of_a_request_and_after_the_agent() -> None:
    connection = sqlite3.connect(":memory:")
    agent.stop()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert type(sqlite3.connect(":memory:")) is sqlite3.Connection
    connection.close()


def test_bad_arguments_raise_as_they_did(run: Any) -> None:
    def call() -> None:
        connection = sqlite3.connect(":memory:")
        with pytest.raises(TypeError):
            connection.cursor().execute()
        with pytest.raises((TypeError, sqlite3.ProgrammingError)):
            connection.cursor().execute(5)
        connection.close()

    assert run(call).status == "200 OK"
