# SPDX-License-Identifier: Apache-2.0
"""urllib.request: one Exit span for each urlopen(), with the redirects and logins that it makes."""

from __future__ import annotations

import copy
from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7000  # SkyWalking's for what comes with Python

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from urllib.request import OpenerDirector

    require(OpenerDirector, "open")
    _patches.wrap(OpenerDirector, "open", _wrap_open)


def uninstall() -> None:
    _patches.restore()


def _wrap_open(original: Callable[..., Any]) -> Callable[..., Any]:
    from urllib.error import HTTPError

    # `open` is in the original's signature, so its names have to be ours too.
    def open(opener: Any, fullurl: Any, data: Any = None, *args: Any, **kwargs: Any) -> Any:  # noqa: A001
        call, fullurl, data = _begin(fullurl, data)
        try:
            response = original(opener, fullurl, data, *args, **kwargs)
        except BaseException as error:
            if call is not None and isinstance(error, HTTPError):
                call.answered(error.code)
            elif call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.answered(getattr(response, "status", None))
        return response

    return open


def _begin(url: Any, data: Any) -> tuple[http_exits.HttpCall | None, Any, Any]:
    from urllib.request import Request

    request = url
    try:
        if isinstance(url, str):
            if not url.startswith("http"):
                return None, url, data
            request = Request(url, data)
        method = request.get_method() if data is None else request.method or "POST"
        call = http_exits.begin(COMPONENT, method, request.full_url)
    except Exception:  # urllib says what is wrong with it
        return None, url, data
    if call is None:
        return None, url, data
    return call, _with_trace(request, call), None if isinstance(url, str) else data


def _with_trace(request: Any, call: http_exits.HttpCall) -> Any:
    """A copy: the caller may open the same request again."""
    try:
        added = {name.capitalize(): value for name, value in call.headers.items()}
        own = http_exits.with_headers(request.unredirected_hdrs, {})
        headers = http_exits.with_headers(request.headers, added)
        request = copy.copy(request)
        request.headers, request.unredirected_hdrs = headers, own
    except Exception:
        log.internal_error("sw_urllib_request")
    return request
