# SPDX-License-Identifier: Apache-2.0
"""Routes of apps whose framework no plugin knows, from what it leaves in the environ or scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skystitch import wire
from skystitch.context import Environ
from skystitch.routes import RouteCache

#: SkyWalking's number for what has none of its own.
PYTHON = 7000


class ForeignRoutes:
    """The routes of one app."""

    def __init__(self, app: Any, component: int) -> None:
        #: Names the app's span where no view is known.
        self.handler = wire.handler_name(app)
        self._app = app
        self._cache = RouteCache(component, str)
        self._unknown = wire.Route(component, self.handler)

    def find(self, told: Mapping[str, Any], environ: Environ) -> wire.Route:
        """told: the environ or scope of the request."""
        view, rule = _find_rule(told)
        if not rule:
            return self._unknown
        return self._cache.find(view or self._app, rule, environ)


def _find_rule(told: Mapping[str, Any]) -> tuple[Any, str]:
    """The view, if it is known, and its rule; an empty one as long as there is none."""
    route = told.get("route") or told.get("bottle.route")
    rule = getattr(route, "path", None) or getattr(route, "rule", None)
    if isinstance(rule, str):
        return told.get("endpoint") or getattr(route, "callback", None), rule
    rule = told.get("path_template")  # Litestar's
    return None, rule if isinstance(rule, str) else ""
