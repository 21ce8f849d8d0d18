# SPDX-License-Identifier: Apache-2.0
"""What spans show of the app's data: literals of SQL, values, secrets."""

from __future__ import annotations

from typing import Any

import pytest

from skystitch import capture, sql


@pytest.mark.parametrize(
    ("dialect", "statement", "masked"),
    [
        (sql.POSTGRES, "SELECT t1.a WHERE a = 'x''y' AND b=1.5", "SELECT t1.a WHERE a = ? AND b=?"),
        (sql.POSTGRES, "SELECT $1, %s, %(p1)s, x::int4, :n", "SELECT $1, %s, %(p1)s, x::int4, :n"),
        (sql.POSTGRES, r"SELECT 'a\' , 'secret'", "SELECT ? , ?"),
        (sql.POSTGRES, r"SELECT E'it\'s', $$a'b$$, $f$x$f$", "SELECT ?, ?, ?"),
        (sql.POSTGRES, "SELECT \"Col'1\" -- it's\n, 'x'", "SELECT \"Col'1\"  \n, ?"),
        (sql.POSTGRES, "SELECT a #> '{b}' /* 'c' */, -.5, 0xFF, 1e3", "SELECT a #> ?  , -?, ?, ?"),
        (sql.POSTGRES, "SELECT 'open", "SELECT ?"),
        (sql.MYSQL, 'SELECT "a", `b"`, \'it\\\'s\' # "c', 'SELECT ?, `b"`, ?'),
        (sql.MYSQL, "SELECT 'a\\", "SELECT ?"),
        (sql.SQLITE, "SELECT [a 'b], x'00' FROM t", "SELECT [a 'b], x? FROM t"),
        (sql.SQLITE, "", ""),
    ],
)  # fmt: skip
def test_literals_are_masked(dialect: Any, statement: str, masked: str) -> None:
    assert dialect.masked(statement) == masked
    assert dialect.masked(statement) == masked  # as remembered


def test_the_memory_of_statements_is_bounded() -> None:
    dialect = sql.SQLITE
    for number in range(2000):
        dialect.masked(f"SELECT {number}")
    dialect.masked("SELECT '" + "x" * 5000)
    assert len(dialect._known) <= 512
    assert max(map(len, dialect._known)) <= 1000


def test_shown_is_bounded_and_masked() -> None:
    value = {"user": "me", "Password": "pw", "deep": [{"api-key": 1, "n": 5}], "b": b"x"}
    assert capture.shown(value, 200) == (
        "{'user': 'me', 'Password': '***', 'deep': [{'api-key': '***', 'n': 5}], 'b': b'x'}"
    )
    assert capture.shown(["x" * 10**6] * 10**6, 10) == "['xxxxxxxx..."
    deep: list[Any] = []
    deep.append(deep)
    assert capture.shown(deep, 100).startswith("[[[[")
    assert len(capture.shown({str(n): n for n in range(1000)}, 50)) == 53


def test_parameters_of_an_iterator_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture.Options, "sql_parameters", 20)
    rows = iter([(1,)])
    assert capture.sql_parameters("q", rows, many=True) == ""
    assert list(rows) == [(1,)]
    assert capture.sql_parameters("q", [(1, 2), {"a": 3}], many=True) == "[1,2,a=3]"


@pytest.mark.parametrize(
    ("host", "port", "socket", "peer"),
    [
        ("db", 5432, "", "db:5432"),
        ("", 3306, "", "localhost:3306"),
        ("::1", 5432, "", "[::1]:5432"),
        ("", 0, "/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_peers(host: str, port: int, socket: str, peer: str) -> None:
    assert sql.peer(host, port, socket) == peer
