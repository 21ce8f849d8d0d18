# SPDX-License-Identifier: Apache-2.0
"""urllib3 1.26 and 2: one Exit span for each call, with its retries and redirects.

A call begins at a PoolManager, which follows redirects over hosts, or at a pool; whichever is the
outer one makes the span. Below another library's span (requests) there is none.
"""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7006

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from urllib3 import HTTPConnectionPool, PoolManager  # the app has imported it

    require(HTTPConnectionPool, "urlopen")
    require(PoolManager, "urlopen")
    _patches.wrap(PoolManager, "urlopen", _wrap_manager_urlopen)
    _patches.wrap(HTTPConnectionPool, "urlopen", _wrap_pool_urlopen)


def uninstall() -> None:
    _patches.restore()


def _wrap_manager_urlopen(original: Callable[..., Any]) -> Callable[..., Any]:
    def urlopen(manager: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        call = http_exits.begin(COMPONENT, method, url)
        if call is not None:
            kwargs["headers"] = _with_trace(manager, kwargs.get("headers"), call)
        try:
            response = original(manager, method, url, *args, **kwargs)
        except BaseException as error:
            _end(call, error=error)
            errors.forget_own_frame(error)
            raise
        _end(call, response)
        return response

    return urlopen


def _wrap_pool_urlopen(original: Callable[..., Any]) -> Callable[..., Any]:
    def urlopen(
        pool: Any,
        method: Any,
        url: Any,
        body: Any = None,
        headers: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        call = http_exits.begin(COMPONENT, method, _absolute(pool, url))
        if call is not None:
            headers = _with_trace(pool, headers, call)
        try:
            response = original(pool, method, url, body, headers, *args, **kwargs)
        except BaseException as error:
            _end(call, error=error)
            errors.forget_own_frame(error)
            raise
        _end(call, response)
        return response

    return urlopen


def _end(
    call: http_exits.HttpCall | None, response: Any = None, error: BaseException | None = None
) -> None:
    if call is None:
        return
    if error is None:
        call.answered(getattr(response, "status", None))
    else:
        call.end(error)


def _with_trace(owner: Any, headers: Any, call: http_exits.HttpCall) -> Any:
    """headers are the call's own; without any the manager's or pool's apply."""
    try:
        return http_exits.with_headers(owner.headers if headers is None else headers, call.headers)
    except Exception:
        log.internal_error("sw_urllib3")
        return headers


def _absolute(pool: Any, url: Any) -> Any:
    """A pool is given a path, or the whole URL when it leads to an HTTP proxy."""
    if not isinstance(url, str) or not url.startswith("/"):
        return url
    host = getattr(pool, "host", "")
    if ":" in host:
        host = f"[{host}]"
    port = getattr(pool, "port", None)
    return f"{getattr(pool, 'scheme', '')}://{host}{f':{port}' if port else ''}{url}"
