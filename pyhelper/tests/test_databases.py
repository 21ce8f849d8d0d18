# SPDX-License-Identifier: Apache-2.0
"""The drivers of PostgreSQL, MySQL and redis against real servers, where both are installed: the
row "data" of the matrix."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import servers
from calls import expected
from conftest import log, timeless


@pytest.fixture(scope="module")
def postgres() -> Iterator[servers.Server]:
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[servers.Server]:
    with servers.mariadb() as server:
        yield server


def query(
    method: str, peer: str, statement: str, component: int, kind: str = "PostgreSQL/Psycopg"
) -> dict[str, Any]:
    postgres = kind.startswith("Postgre")
    return {
        "id": 2,
        "parent": 1,
        "type": "exit",
        "layer": "database",
        "component": component,
        "operation": f"{kind}/{method}",
        "peer": peer,
        "tags": [
            ["db.type", "PostgreSQL" if postgres else "mysql"],
            ["db.instance", "postgres" if postgres else "mysql"],
            ["db.statement", statement],
        ],
    }


def numbered(*spans: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**span, "id": number} for number, span in enumerate(spans, 2)]


def failing(span: dict[str, Any], kind: str, message: str) -> dict[str, Any]:
    return {**span, "error": True, "logs": [log(kind, message)]}


def without_messages(message: dict[str, Any]) -> dict[str, Any]:
    """The servers' own words differ from version to version."""
    made = timeless(message)
    for span in made["spans"]:
        for entry in span.get("logs", ()):
            entry["data"][2][1] = ""
    return made


def test_psycopg2(run: Any, postgres: servers.Server) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    from psycopg2 import extras
    from psycopg2 import sql as composed

    def call() -> Any:
        connection = psycopg2.connect(
            host="127.0.0.1", port=postgres.port, user="tester", dbname="postgres"
        )
        assert isinstance(connection, psycopg2.extensions.connection)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE t (n int)")
            cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)])
            extras.execute_values(cursor, "INSERT INTO t VALUES %s", [(3,)])
            cursor.execute(composed.SQL("SELECT {} FROM t").format(composed.Identifier("n")))
            assert len(cursor.fetchall()) == 3
        with connection, connection.cursor(cursor_factory=extras.RealDictCursor) as cursor:
            cursor.execute("SELECT 5 AS five")
            assert dict(cursor.fetchone()) == {"five": 5}
        with pytest.raises(psycopg2.Error), connection, connection.cursor() as cursor:
            cursor.execute("SELECT nothing")
        with connection, connection.cursor("server_side") as cursor:
            cursor.execute("SELECT 1")
        connection.close()

    peer = f"127.0.0.1:{postgres.port}"
    unknown = "psycopg2.errors.UndefinedColumn"
    spans = numbered(
        query("execute", peer, "CREATE TEMP TABLE t (n int)", 7010),
        query("executemany", peer, "INSERT INTO t VALUES (%s)", 7010),
        query("execute", peer, "INSERT INTO t VALUES (?)", 7010),
        query("execute", peer, 'SELECT "n" FROM t', 7010),
        query("execute", peer, "SELECT ? AS five", 7010),
        failing(query("execute", peer, "SELECT nothing", 7010), unknown, ""),
        query("execute", peer, "SELECT ?", 7010),
    )
    assert without_messages(run(call).message) == expected(*spans)


def test_psycopg(run: Any, postgres: servers.Server) -> None:
    psycopg = pytest.importorskip("psycopg")
    place = f"host=127.0.0.1 port={postgres.port} user=tester dbname=postgres"

    async def call_async() -> None:
        async with await psycopg.AsyncConnection.connect(place) as connection:
            await connection.execute("SELECT 5")
            async with connection.cursor("server_side") as cursor:
                await cursor.execute("SELECT %s::int", (7,))

    def call() -> None:
        with psycopg.connect(place) as connection:
            connection.execute("SELECT 'x'")
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMP TABLE t (n int)")
                cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)])
                with pytest.raises(psycopg.Error):
                    cursor.execute(psycopg.sql.SQL("SELECT {}").format(psycopg.sql.Identifier("x")))
        asyncio.run(call_async())

    peer = f"127.0.0.1:{postgres.port}"
    spans = numbered(
        query("execute", peer, "SELECT ?", 7010),
        query("execute", peer, "CREATE TEMP TABLE t (n int)", 7010),
        query("executemany", peer, "INSERT INTO t VALUES (%s)", 7010),
        failing(query("execute", peer, 'SELECT "x"', 7010), "psycopg.errors.UndefinedColumn", ""),
        query("execute", peer, "SELECT ?", 7010),
        query("execute", peer, "SELECT %s::int", 7010),
    )
    assert without_messages(run(call).message) == expected(*spans)


def test_psycopg_socket_file(run: Any, postgres: servers.Server) -> None:
    psycopg = pytest.importorskip("psycopg")
    psycopg2 = pytest.importorskip("psycopg2")
    place = f"host={postgres.directory} port={postgres.port} user=tester dbname=postgres"

    def call() -> None:
        with psycopg.connect(place) as connection:
            connection.execute("SELECT 1")
        connection = psycopg2.connect(place)
        connection.cursor().execute("SELECT 1")
        connection.close()

    spans = run(call).message["spans"][1:]
    peer = f"unix:{postgres.directory}/.s.PGSQL.{postgres.port}"
    assert [span["peer"] for span in spans] == [peer, peer]


def test_asyncpg(run: Any, postgres: servers.Server) -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def call() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=postgres.port, user="tester", database="postgres"
        )
        await connection.execute("CREATE TEMP TABLE t (n int)")
        await connection.executemany("INSERT INTO t VALUES ($1)", [(1,), (2,)])
        assert await connection.fetchval("SELECT count(*) FROM t WHERE n < $1", 5) == 2
        async with connection.transaction():
            async for _ in connection.cursor("SELECT 1"):
                pass
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("SELECT nothing")
        await connection.close()

    spans = run(lambda: asyncio.run(call())).message["spans"][1:]
    assert {span["peer"] for span in spans} == {f"127.0.0.1:{postgres.port}"}
    assert {span["component"] for span in spans} == {7016}
    assert {span["operation"] for span in spans} == {"PostgreSQL/AsyncPG/bind"}
    assert [span["tags"][2][1] for span in spans] == [
        "CREATE TEMP TABLE t (n int)",
        "INSERT INTO t VALUES ($1)",
        "SELECT count(*) FROM t WHERE n < $1",
        "BEGIN;",
        "SELECT ?",
        "COMMIT;",
        "SELECT nothing",
    ]
    assert [span.get("error", False) for span in spans] == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("module", "kind", "component"),
    [("pymysql", "Mysql/PyMsql", 7003), ("MySQLdb", "Mysql/MysqlClient", 7013)],
)
def test_mysql(run: Any, mariadb: servers.Server, module: str, kind: str, component: int) -> None:
    driver = pytest.importorskip(module)

    def call() -> None:
        connection = driver.connect(
            host="127.0.0.1", port=mariadb.port, user="root", database="mysql"
        )
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE t (n int, s text)")
            cursor.executemany("INSERT INTO t VALUES (%s, 'x')", [(1,), (2,)])
            cursor.execute('SELECT "it\'s", n FROM t WHERE n = %s', (1,))
            assert cursor.fetchall() == (("it's", 1),)
            with pytest.raises(driver.Error):
                cursor.execute("SELECT nothing")
        connection.close()

    peer = f"127.0.0.1:{mariadb.port}"
    answer = run(call)
    error = dict(answer.message["spans"][-1]["logs"][0]["data"])["error.kind"]
    assert error.endswith("OperationalError")
    spans = numbered(
        query("execute", peer, "CREATE TEMPORARY TABLE t (n int, s text)", component, kind),
        query("executemany", peer, "INSERT INTO t VALUES (%s, ?)", component, kind),
        query("execute", peer, "SELECT ?, n FROM t WHERE n = %s", component, kind),
        failing(query("execute", peer, "SELECT nothing", component, kind), error, ""),
    )
    assert without_messages(answer.message) == expected(*spans)


def test_redis(run: Any) -> None:
    redis = pytest.importorskip("redis")
    with servers.redis() as server:

        async def call_async() -> None:
            connection = redis.asyncio.Redis(host="127.0.0.1", port=server.port)
            await connection.incr("n")
            await connection.aclose()

        def call() -> Any:
            with redis.Redis("127.0.0.1", server.port) as connection:
                connection.set("key", "value")
                with connection.pipeline() as pipeline:
                    pipeline.incr("n").get("n").execute()
                with pytest.raises(redis.ResponseError):
                    connection.incr("key")
                asyncio.run(call_async())
                return connection.get("n")

        answer = run(call)
        assert answer.result == b"2"
        spans = answer.message["spans"][1:]
        assert [span["operation"] for span in spans] == [
            "Redis/SET",
            "Redis/PIPELINE",
            "Redis/INCRBY",
            "Redis/INCRBY",
            "Redis/GET",
        ]
        assert [span.get("error", False) for span in spans] == [False, False, True, False, False]
        assert {span["peer"] for span in spans} == {f"127.0.0.1:{server.port}"}


def test_redis_cluster(run: Any) -> None:
    """Of one node that has all slots. What clients ask it for by themselves is a call, too."""
    redis = pytest.importorskip("redis")
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(servers.free_port()))
    with servers.redis(*bus) as server:
        with redis.Redis("127.0.0.1", server.port) as node:
            node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            servers.wait_until(lambda: node.cluster("info")["cluster_state"] == "ok")

        async def call_async() -> None:
            connection = redis.asyncio.RedisCluster("127.0.0.1", server.port)
            await connection.incr("n")
            async with connection.pipeline() as pipeline:
                await pipeline.get("n").execute()
            await connection.aclose()

        def call() -> Any:
            connection = redis.RedisCluster("127.0.0.1", server.port)
            connection.set("key", "value")
            with connection.pipeline() as pipeline:
                pipeline.incr("n").get("n").execute()
            asyncio.run(call_async())
            found = connection.get("n")
            connection.close()
            return found

        answer = run(call)
        assert answer.result == b"2"
        spans = answer.message["spans"][1:]
        assert {span["peer"] for span in spans} == {f"127.0.0.1:{server.port}"}
        asked = ("Redis/CLUSTER", "Redis/COMMAND")
        assert [span["operation"] for span in spans if span["operation"] not in asked] == [
            "Redis/SET",
            "Redis/PIPELINE",
            "Redis/INCRBY",
            "Redis/PIPELINE",
            "Redis/GET",
        ]
        assert not any(span.get("error") for span in spans)
