# SPDX-License-Identifier: Apache-2.0
"""httpx, sync and async: one Exit span for each call, with the redirects and logins it makes."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7019

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from httpx import AsyncClient, Client  # the app has imported it

    require(Client, "send")
    require(AsyncClient, "send")
    _patches.wrap(Client, "send", _wrap_send)
    _patches.wrap(AsyncClient, "send", _wrap_async_send)


def uninstall() -> None:
    _patches.restore()


def _wrap_send(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, request = _begin(request)
        try:
            response = original(client, request, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.answered(getattr(response, "status_code", None))
        return response

    return send


def _wrap_async_send(original: Callable[..., Any]) -> Callable[..., Any]:
    async def send(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, request = _begin(request)
        try:
            response = await original(client, request, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.answered(getattr(response, "status_code", None))
        return response

    return send


def _begin(request: Any) -> tuple[http_exits.HttpCall | None, Any]:
    method, url = getattr(request, "method", ""), getattr(request, "url", "")
    call = http_exits.begin(COMPONENT, method, url)
    return (None, request) if call is None else (call, _with_trace(request, call))


def _with_trace(request: Any, call: http_exits.HttpCall) -> Any:
    """A copy: the caller may send the same request again. Not by copy.copy(), which makes what can
    be pickled of a request: one without its body's stream."""
    try:
        headers = http_exits.with_headers(request.headers, call.headers)
        copied = object.__new__(type(request))
        vars(copied).update(vars(request), headers=headers)
        return copied
    except Exception:
        log.internal_error("sw_httpx")
        return request
