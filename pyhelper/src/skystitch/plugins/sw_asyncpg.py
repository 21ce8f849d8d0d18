# SPDX-License-Identifier: Apache-2.0
"""asyncpg: one Exit span for each statement that is sent, prepared ones included."""

from __future__ import annotations

from typing import Any

from skystitch import exits, sql
from skystitch.patches import Patches, require

COMPONENT = 7016

_driver = sql.Driver(COMPONENT, "PostgreSQL/AsyncPG", "PostgreSQL", sql.POSTGRES)
_nowhere = sql.Database("localhost:5432", "")
_patches = Patches()


def install() -> None:
    if _patches:
        return
    from asyncpg.protocol import Protocol  # the app has imported it

    methods = ("bind", "bind_execute", "bind_execute_many", "query")
    require(Protocol, "get_connection", *methods)
    _patches.wrap(Protocol, "bind", exits.traced_async(_bind))
    _patches.wrap(Protocol, "bind_execute", exits.traced_async(_bind))
    _patches.wrap(Protocol, "bind_execute_many", exits.traced_async(_bind_many))
    _patches.wrap(Protocol, "query", exits.traced_async(_query))


def uninstall() -> None:
    _patches.restore()


# All under the one name that the SkyWalking agent gives them.


def _bind(protocol: Any, state: Any, args: Any, *_: Any, **__: Any) -> exits.Target:
    return _driver.call(_database(protocol), "bind", state.query, args)


def _bind_many(protocol: Any, state: Any, args: Any, *_: Any, **__: Any) -> exits.Target:
    return _driver.call(_database(protocol), "bind", state.query, args, many=True)


def _query(protocol: Any, query: Any, *_: Any, **__: Any) -> exits.Target:
    return _driver.call(_database(protocol), "bind", query)


def _database(protocol: Any) -> sql.Database:
    connection = protocol.get_connection()
    if connection is None:
        return _nowhere
    name = getattr(getattr(connection, "_params", None), "database", "") or ""
    address = connection._addr
    if isinstance(address, str):
        return sql.Database(sql.peer("", "", address), name)
    return sql.Database(sql.peer(address[0], address[1]), name)
