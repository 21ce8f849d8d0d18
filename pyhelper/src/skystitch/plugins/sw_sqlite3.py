# SPDX-License-Identifier: Apache-2.0
"""sqlite3: one Exit span for each statement.

Its types are C's, so sqlite3.connect() makes connections of a class below the caller's, whose
cursors are of a class below theirs.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Any, Callable

from skystitch import exits, sql
from skystitch.patches import Patches, require
from skystitch.subclasses import Subclasses

COMPONENT = 31
_FACTORY = 4  # its place among the parameters after the first

_driver = sql.Driver(COMPONENT, "SQLite", "SQLite", sql.SQLITE)
_databases: weakref.WeakKeyDictionary[Any, sql.Database] = weakref.WeakKeyDictionary()
_nowhere = sql.Database("sqlite::memory:", ":memory:")
_patches = Patches()


def install() -> None:
    if _patches:
        return
    import sqlite3
    from sqlite3 import dbapi2

    require(dbapi2, "connect", "Connection", "Cursor")
    _patches.wrap(dbapi2, "connect", _wrap_connect)
    _patches.put(sqlite3, "connect", dbapi2.connect)


def uninstall() -> None:
    _patches.restore()


def _wrap_connect(original: Callable[..., Any]) -> Callable[..., Any]:
    from sqlite3 import Connection

    def connect(database: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > _FACTORY:
            factory = _connections.of(args[_FACTORY])
            args = (*args[:_FACTORY], factory, *args[_FACTORY + 1 :])
        else:
            kwargs["factory"] = _connections.of(kwargs.get("factory", Connection))
        connection = original(database, *args, **kwargs)
        with suppress(TypeError):  # of a factory's own, without weak references
            _databases[connection] = _database(database)
        return connection

    return connect


def _database(database: Any) -> sql.Database:
    path = os.fsdecode(database)
    name = path.partition("?")[0]
    return sql.Database(f"sqlite:{os.path.basename(name) or name}", name)


_METHODS = ("execute", "executemany", "executescript")


def _make_connection(above: type) -> dict[str, Any]:
    from sqlite3 import Cursor

    base: Any = above

    def cursor(self: Any, factory: Any = Cursor) -> Any:
        return base.cursor(self, _cursors.of(factory))

    def describe(name: str) -> exits.Describe:
        def described(connection: Any, statement: Any, parameters: Any = None) -> exits.Target:
            return _describe(connection, name, statement, parameters)

        return described

    methods = {name: exits.traced_method(above, name, describe(name)) for name in _METHODS}
    return {"cursor": cursor, **methods}


def _make_cursor(above: type) -> dict[str, Any]:
    def describe(name: str) -> exits.Describe:
        def described(cursor: Any, statement: Any, parameters: Any = None) -> exits.Target:
            return _describe(cursor.connection, name, statement, parameters)

        return described

    return {name: exits.traced_method(above, name, describe(name)) for name in _METHODS}


def _describe(connection: Any, name: str, statement: Any, parameters: Any) -> exits.Target:
    database = _databases.get(connection, _nowhere)
    return _driver.call(database, name, statement, parameters, many=name == "executemany")


_connections = Subclasses(_make_connection)
_cursors = Subclasses(_make_cursor)
