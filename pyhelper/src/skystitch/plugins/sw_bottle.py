# SPDX-License-Identifier: Apache-2.0
"""Bottle: the app's span is the app's call, its name the callback's, its route the rule, which
Bottle leaves in the environ. What nobody handles comes with start_response."""

from __future__ import annotations

from skystitch import wire
from skystitch.patches import Patches, require
from skystitch.routes import RouteCache
from skystitch.wsgi import WsgiRecording, wrap_app

COMPONENT = 7015

_patches = Patches()
_routes = RouteCache(COMPONENT, str)


class BottleRecording(WsgiRecording):
    """A request in a Bottle app."""

    component = COMPONENT
    entry_point = "bottle.Bottle.__call__"

    def route(self, status: str) -> wire.Route:
        route = self.environ.get("bottle.route")
        if route is None:
            return _routes.without_rule(status, self.environ)
        return _routes.find(route.callback, route.rule, self.environ)


def install() -> None:
    if _patches:
        return
    from bottle import Bottle  # the app has imported it

    require(Bottle, "__call__")
    _patches.wrap(Bottle, "__call__", wrap_app(BottleRecording))


def uninstall() -> None:
    _patches.restore()
    _routes.clear()
