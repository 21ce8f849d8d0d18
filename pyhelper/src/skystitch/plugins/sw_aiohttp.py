# SPDX-License-Identifier: Apache-2.0
"""aiohttp's client: one Exit span for each call, with all redirects that it follows."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7008

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from aiohttp import ClientSession  # the app has imported it

    require(ClientSession, "_request", "_build_url")
    _patches.wrap(ClientSession, "_request", _wrap_request)


def uninstall() -> None:
    _patches.restore()


def _wrap_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _request(
        session: Any, method: Any, str_or_url: Any, *args: Any, headers: Any = None, **kwargs: Any
    ) -> Any:
        call = _begin(session, method, str_or_url)
        if call is not None:
            headers = _with_trace(headers, call)
        try:
            response = await original(session, method, str_or_url, *args, headers=headers, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.answered(getattr(response, "status", None))
        return response

    return _request


def _begin(session: Any, method: Any, url: Any) -> http_exits.HttpCall | None:
    try:
        absolute = session._build_url(url)
    except Exception:  # aiohttp says what is wrong with it
        return None
    return http_exits.begin(COMPONENT, method, absolute)


def _with_trace(headers: Any, call: http_exits.HttpCall) -> Any:
    """What the session adds from its own defaults stays with it."""
    try:
        if headers is not None and not hasattr(headers, "copy"):
            headers = dict(headers)  # pairs
        return http_exits.with_headers(headers, call.headers)
    except Exception:
        log.internal_error("sw_aiohttp")
        return headers
