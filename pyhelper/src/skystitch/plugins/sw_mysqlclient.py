# SPDX-License-Identifier: Apache-2.0
"""mysqlclient (MySQLdb): one Exit span for each statement."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, exits, sql
from skystitch.patches import NotAvailable, Patches, require

COMPONENT = 7013

_driver = sql.Driver(COMPONENT, "Mysql/MysqlClient", "mysql", sql.MYSQL)
_nowhere = sql.Database("localhost:3306", "")
_patches = Patches()


def install() -> None:
    if _patches:
        return
    import MySQLdb  # the app has imported it

    if hasattr(MySQLdb, "install_as_MySQLdb"):
        raise NotAvailable("MySQLdb is PyMySQL under another name")
    from MySQLdb.connections import Connection
    from MySQLdb.cursors import BaseCursor

    require(BaseCursor, "execute", "executemany")
    _patches.wrap(Connection, "__init__", _wrap_init)
    _patches.wrap(BaseCursor, "execute", exits.traced(_execute))
    _patches.wrap(BaseCursor, "executemany", exits.traced(_executemany))


def uninstall() -> None:
    _patches.restore()


def _wrap_init(original: Callable[..., Any]) -> Callable[..., Any]:
    """A connection does not say later where it leads."""

    def __init__(connection: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            original(connection, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        given = {**dict(zip(("host", "user", "password", "database", "port"), args)), **kwargs}
        name = given.get("database") or given.get("db") or ""
        port = given.get("port") or 3306
        peer = sql.peer(given.get("host"), port, given.get("unix_socket") or "")
        connection._skystitch_database = sql.Database(peer, str(name))

    return __init__


def _execute(cursor: Any, query: Any, args: Any = None) -> exits.Target:
    return _driver.call(_database(cursor), "execute", query, args)


def _executemany(cursor: Any, query: Any, args: Any) -> exits.Target:
    return _driver.call(_database(cursor), "executemany", query, args, many=True)


def _database(cursor: Any) -> sql.Database:
    known: sql.Database = getattr(cursor.connection, "_skystitch_database", _nowhere)
    return known
