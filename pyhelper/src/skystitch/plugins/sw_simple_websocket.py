# SPDX-License-Identifier: Apache-2.0
"""simple-websocket, under Flask-Sock and Flask-SocketIO: the app switches the connection by itself,
so there is no answer that could tell the proxy of the route and of a message that will follow."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors
from skystitch.context import Recording
from skystitch.patches import Patches, require
from skystitch.scope import find_scope

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from simple_websocket.ws import Server  # the app has imported it

    require(Server, "__init__")
    _patches.wrap(Server, "__init__", _wrap_init)


def uninstall() -> None:
    _patches.restore()


def _wrap_init(original: Callable[..., None]) -> Callable[..., None]:
    def init(server: Any, *args: Any, **kwargs: Any) -> None:
        scope = find_scope()
        if isinstance(scope, Recording):
            scope.take_over()
        try:
            original(server, *args, **kwargs)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return init
