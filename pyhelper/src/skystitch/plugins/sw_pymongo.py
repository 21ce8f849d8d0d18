# SPDX-License-Identifier: Apache-2.0
"""PyMongo, sync and async: one Exit span for each command that is sent.

PyMongo tells of them itself, through its monitoring: nothing is replaced.
"""

from __future__ import annotations

from typing import Any

from skystitch import capture, exits, log, wire
from skystitch.patches import require

COMPONENT = 9
_MAX_OPEN = 1024
# What the driver does on its own account, and what carries credentials.
_LEFT_OUT = frozenset(
    [
        "authenticate",
        "copydb",
        "copydbgetnonce",
        "copydbsaslstart",
        "createuser",
        "endsessions",
        "getnonce",
        "hello",
        "ismaster",
        "killcursors",
        "saslcontinue",
        "saslstart",
        "updateuser",
    ]
)
# Of a command, what says nothing of what is asked.
_NOT_SHOWN = frozenset(("$clusterTime", "$db", "$readPreference", "lsid", "txnNumber"))

_listener: Any = None


def install() -> None:
    global _listener
    if _listener is not None:
        return
    from pymongo import monitoring  # the app has imported pymongo

    require(monitoring, "CommandListener", "register")

    class Listener(monitoring.CommandListener):  # type: ignore[misc]
        """Commands between started() and their end. What is not there when they end was not to be
        shown, or was begun before the agent was stopped."""

        def __init__(self) -> None:
            self.open: dict[int, exits.Call] = {}
            self.is_on = True

        def started(self, event: Any) -> None:
            if not self.is_on or len(self.open) >= _MAX_OPEN:
                return
            # The driver may go on in another context.
            call = exits.start(_describe, event, is_current=False)
            if call is not None:
                self.open[event.request_id] = call

        def succeeded(self, event: Any) -> None:
            call = self.open.pop(event.request_id, None)
            if call is not None:
                call.end()

        def failed(self, event: Any) -> None:
            call = self.open.pop(event.request_id, None)
            if call is None:
                return
            failure = event.failure
            if isinstance(failure, dict):
                call.log(
                    [
                        ["event", "error"],
                        ["error.kind", str(failure.get("codeName", "Error"))],
                        ["message", str(failure.get("errmsg", ""))],
                    ]
                )
            call.end(failed=True)

    _listener = Listener()
    monitoring.register(_listener)


def uninstall() -> None:
    """Clients that were made meanwhile keep the listener, which is silent from now on."""
    global _listener
    listener, _listener = _listener, None
    if listener is None:
        return
    listener.is_on = False
    listener.open.clear()
    try:
        from pymongo import monitoring

        monitoring._LISTENERS.command_listeners.remove(listener)
    except (AttributeError, ValueError):
        log.internal_error("sw_pymongo")


def _describe(event: Any) -> exits.Target | None:
    name = event.command_name
    if name.lower() in _LEFT_OUT:
        return None
    host, port = event.connection_id[:2]
    tags = [wire.tag("db.type", "MongoDB"), wire.tag("db.instance", event.database_name)]
    if capture.Options.mongo_length:
        said = {key: value for key, value in event.command.items() if key not in _NOT_SHOWN}
        tags.append(
            wire.tag("db.statement", f"{name} {capture.shown(said, capture.Options.mongo_length)}")
        )
    operation = f"MongoDB/{name.capitalize()}Operation"
    peer = f"{host}:{port}" if port else f"unix:{host}"
    return exits.Target(COMPONENT, "database", operation, peer, tags)
