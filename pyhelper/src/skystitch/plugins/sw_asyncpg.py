# SPDX-License-Identifier: Apache-2.0
"""asyncpg: one Exit span for each statement that is sent, prepared ones included."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import exits, log, sql
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
    require(Protocol, "set_connection", *methods)
    _patches.wrap(Protocol, "set_connection", _wrap_set_connection)
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
    known: sql.Database = getattr(protocol, "skystitch_database", _nowhere)
    return known


def _wrap_set_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    """A protocol does not know its address; its connection does."""

    def set_connection(protocol: Any, connection: Any) -> Any:
        try:
            address, name = connection._addr, str(connection._params.database or "")
            socket = address if isinstance(address, str) else ""
            host, port = ("", 0) if socket else address[:2]
            protocol.skystitch_database = sql.Database(sql.peer(host, port, socket), name)
        except Exception:
            log.internal_error("sw_asyncpg")
        return original(protocol, connection)

    return set_connection
