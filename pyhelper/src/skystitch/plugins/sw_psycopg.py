# SPDX-License-Identifier: Apache-2.0
"""psycopg 3, sync and async: one Exit span for each statement."""

from __future__ import annotations

import weakref
from typing import Any

from skystitch import exits, sql
from skystitch.patches import Patches, require

COMPONENT = 7010

_driver = sql.Driver(COMPONENT, "PostgreSQL/Psycopg", "PostgreSQL", sql.POSTGRES)
_patches = Patches()
#: By connection: to ask one takes longer than to look it up.
_databases: weakref.WeakKeyDictionary[Any, sql.Database] = weakref.WeakKeyDictionary()


def install() -> None:
    if _patches:
        return
    import psycopg  # the app has imported it

    for cursor in (psycopg.Cursor, psycopg.ServerCursor):
        require(cursor, "execute", "executemany")
        _patches.wrap(cursor, "execute", exits.traced(_execute))
        _patches.wrap(cursor, "executemany", exits.traced(_executemany))
    for cursor in (psycopg.AsyncCursor, psycopg.AsyncServerCursor):
        require(cursor, "execute", "executemany")
        _patches.wrap(cursor, "execute", exits.traced_async(_execute))
        _patches.wrap(cursor, "executemany", exits.traced_async(_executemany))


def uninstall() -> None:
    _patches.restore()
    _databases.clear()


def _execute(cursor: Any, query: Any, params: Any = None, **_: Any) -> exits.Target:
    return _driver.call(_database(cursor), "execute", query, params, context=cursor)


def _executemany(cursor: Any, query: Any, params_seq: Any, **_: Any) -> exits.Target:
    database = _database(cursor)
    return _driver.call(database, "executemany", query, params_seq, many=True, context=cursor)


def _database(cursor: Any) -> sql.Database:
    connection = cursor.connection
    known = _databases.get(connection)
    if known is None:
        info = connection.info
        host, port = info.host, info.port
        socket = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else ""
        known = _databases[connection] = sql.Database(sql.peer(host, port, socket), info.dbname)
    return known
