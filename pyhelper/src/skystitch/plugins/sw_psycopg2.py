# SPDX-License-Identifier: Apache-2.0
"""psycopg2: one Exit span for each statement.

Its types are C's, so psycopg2.connect() makes connections of a class below the caller's, whose
cursors are of a class below theirs.
"""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, exits, sql
from skystitch.patches import Patches, require
from skystitch.subclasses import Subclasses

COMPONENT = 7010

_driver = sql.Driver(COMPONENT, "PostgreSQL/Psycopg", "PostgreSQL", sql.POSTGRES)
_patches = Patches()


def install() -> None:
    if _patches:
        return
    import psycopg2  # the app has imported it

    require(psycopg2, "connect", "extensions")
    _patches.wrap(psycopg2, "connect", _wrap_connect)


def uninstall() -> None:
    _patches.restore()


def _wrap_connect(original: Callable[..., Any]) -> Callable[..., Any]:
    from psycopg2.extensions import connection

    def connect(
        dsn: Any = None, connection_factory: Any = None, cursor_factory: Any = None, **kwargs: Any
    ) -> Any:
        factory = _connections.of(connection_factory or connection)
        try:
            return original(dsn, factory, cursor_factory, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return connect


def _make_connection(above: type) -> dict[str, Any]:
    from psycopg2.extensions import cursor as plain_cursor

    base: Any = above

    def cursor(self: Any, name: Any = None, cursor_factory: Any = None, **kwargs: Any) -> Any:
        factory = cursor_factory or self.cursor_factory or plain_cursor
        return base.cursor(self, name, _cursors.of(factory), **kwargs)

    return {"cursor": cursor, "skystitch_database": None}


def _database(cursor: Any) -> sql.Database:
    connection = cursor.connection
    known = getattr(connection, "skystitch_database", None)
    if known is None:
        said = connection.get_dsn_parameters()
        host, port = said.get("host", ""), said.get("port", "5432")
        socket = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else ""
        known = sql.Database(sql.peer(host, port, socket), said.get("dbname", ""))
        if hasattr(connection, "skystitch_database"):
            connection.skystitch_database = known
    return known


def _make_cursor(above: type) -> dict[str, Any]:
    def execute(cursor: Any, query: Any, vars: Any = None) -> exits.Target:  # noqa: A002
        return _driver.call(_database(cursor), "execute", query, vars, context=cursor)

    def executemany(cursor: Any, query: Any, vars_list: Any) -> exits.Target:
        database = _database(cursor)
        return _driver.call(database, "executemany", query, vars_list, many=True, context=cursor)

    def callproc(cursor: Any, procname: Any, parameters: Any = None) -> exits.Target:
        return _driver.call(_database(cursor), "callproc", procname, parameters)

    def copy_expert(cursor: Any, sql: Any, *_: Any, **__: Any) -> exits.Target:
        return _driver.call(_database(cursor), "copy", sql, context=cursor)

    methods = (execute, executemany, callproc, copy_expert)
    return {
        method.__name__: exits.traced_method(above, method.__name__, method) for method in methods
    }


_connections = Subclasses(_make_connection)
_cursors = Subclasses(_make_cursor)
