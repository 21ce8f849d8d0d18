# SPDX-License-Identifier: Apache-2.0
"""http.client: one Exit span for each call that no other library makes.

A call begins at putrequest() and ends at getresponse(); until then some methods are replaced, on
that connection alone. So other libraries' calls pay for one look.
"""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7000  # SkyWalking's for what comes with Python

_REPLACED = ("putheader", "endheaders", "getresponse", "close")
_patches = Patches()


def install() -> None:
    if _patches:
        return
    from http.client import HTTPConnection

    require(HTTPConnection, "putrequest", *_REPLACED)
    _patches.wrap(HTTPConnection, "putrequest", _wrap_putrequest)


def uninstall() -> None:
    _patches.restore()


def _wrap_putrequest(original: Callable[..., Any]) -> Callable[..., Any]:
    def putrequest(connection: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        call = http_exits.begin(COMPONENT, method, _absolute(connection, url), is_current=False)
        try:
            result = original(connection, method, url, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            _follow(connection, call)
        return result

    return putrequest


def _follow(connection: Any, call: http_exits.HttpCall) -> None:
    """Replaces what the rest of the call goes through, until it has ended."""
    is_answering = False
    putheader, endheaders = connection.putheader, connection.endheaders
    getresponse, close = connection.getresponse, connection.close

    def put_callers_header(name: Any, *values: Any) -> None:
        if not http_exits.is_propagated(name):
            putheader(name, *values)

    def end_headers(*args: Any, **kwargs: Any) -> Any:
        for name, value in call.headers.items():
            putheader(name, value)
        _forget(connection, "putheader", "endheaders")
        return _run(endheaders, *args, **kwargs)

    def get_response(*args: Any, **kwargs: Any) -> Any:
        nonlocal is_answering
        if kwargs:  # urllib3 1.26 tries an argument of Python 2's, then again without it
            return getresponse(*args, **kwargs)
        is_answering = True
        response = _run(getresponse, *args, **kwargs)
        _forget(connection, *_REPLACED)
        call.answered(getattr(response, "status", None))
        return response

    def close_connection() -> Any:
        _forget(connection, *_REPLACED)
        if not is_answering:  # given up
            call.end()
        return close()

    def _run(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            _forget(connection, *_REPLACED)
            call.end(error)
            errors.forget_own_frame(error)
            raise

    replaced: tuple[Callable[..., Any], ...]
    replaced = put_callers_header, end_headers, get_response, close_connection
    try:
        vars(connection).update(zip(_REPLACED, replaced))
    except TypeError:
        log.internal_error("sw_http_client")


def _forget(connection: Any, *names: str) -> None:
    own = vars(connection)
    for name in names:
        own.pop(name, None)


def _absolute(connection: Any, url: Any) -> Any:
    """A connection is given a path, or the whole URL when it leads to an HTTP proxy."""
    if not isinstance(url, str) or not url.startswith("/"):
        return url
    host = str(getattr(connection, "_tunnel_host", None) or getattr(connection, "host", ""))
    port = getattr(connection, "_tunnel_port", None) or getattr(connection, "port", None)
    if ":" in host:
        host = f"[{host}]"
    scheme = "https" if getattr(connection, "default_port", 80) == 443 else "http"
    return f"{scheme}://{host}{f':{port}' if port else ''}{url}"
