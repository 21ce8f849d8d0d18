# SPDX-License-Identifier: Apache-2.0
"""PyMySQL: one Exit span for each statement."""

from __future__ import annotations

from typing import Any

from skystitch import exits, sql
from skystitch.patches import Patches, require

COMPONENT = 7003

# As the SkyWalking agent spells it.
_driver = sql.Driver(COMPONENT, "Mysql/PyMsql", "mysql", sql.MYSQL)
_patches = Patches()


def install() -> None:
    if _patches:
        return
    from pymysql.cursors import Cursor  # the app has imported it

    require(Cursor, "execute", "executemany")
    _patches.wrap(Cursor, "execute", exits.traced(_execute))
    _patches.wrap(Cursor, "executemany", exits.traced(_executemany))


def uninstall() -> None:
    _patches.restore()


def _execute(cursor: Any, query: Any, args: Any = None) -> exits.Target:
    return _driver.call(_database(cursor), "execute", query, args)


def _executemany(cursor: Any, query: Any, args: Any) -> exits.Target:
    return _driver.call(_database(cursor), "executemany", query, args, many=True)


def _database(cursor: Any) -> sql.Database:
    connection = cursor.connection
    name = connection.db or ""
    return sql.Database(
        sql.peer(connection.host, connection.port, connection.unix_socket or ""),
        name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
    )
