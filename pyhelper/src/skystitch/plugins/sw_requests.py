# SPDX-License-Identifier: Apache-2.0
"""requests: one Exit span for each call, with all redirects that it follows."""

from __future__ import annotations

from sys import _getframe
from types import CodeType
from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7002

_patches = Patches()
_session_request: CodeType | None
_headers_type: type[Any]


def install() -> None:
    if _patches:
        return
    from requests import Session  # the app has imported it
    from requests.structures import CaseInsensitiveDict

    global _session_request, _headers_type
    require(Session, "send")
    _headers_type = CaseInsensitiveDict
    _session_request = getattr(Session.request, "__code__", None)
    _patches.wrap(Session, "send", _wrap_send)


def uninstall() -> None:
    _patches.restore()


def _wrap_send(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(session: Any, request: Any, **kwargs: Any) -> Any:
        try:
            call = http_exits.begin(COMPONENT, request.method, request.url)
        except AttributeError:  # not a request: it is for requests to complain
            call = None
        if call is not None:
            # What Session.request() sends it has made for this call alone: a copy, which costs a
            # fifth of all that is done for a call, is made of a caller's.
            try:
                is_callers = _getframe(1).f_code is not _session_request
            except ValueError:  # nobody calls: the first frame of a greenlet
                is_callers = True
            request = _with_trace(request, call, is_callers)
        try:
            response = original(session, request, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.answered(getattr(response, "status_code", None))
        return response

    return send


def _with_trace(request: Any, call: http_exits.HttpCall, is_callers: bool) -> Any:
    """The prepared request with the trace. Of a caller's a copy: it may be sent again, or from
    another thread. PreparedRequest.copy() would lose a subclass."""
    try:
        headers = request.headers
        if type(headers) is not _headers_type:
            return _copy(request, http_exits.with_headers(headers, call.headers))
        store = headers._store  # name in lower case -> (name, value)
        if is_callers:
            copied = object.__new__(_headers_type)
            copied._store = store = dict.copy(store)  # headers.copy() puts in one by one
            request = _copy(request, copied)
        if not http_exits.PROPAGATED.isdisjoint(store):
            for name in http_exits.PROPAGATED:
                store.pop(name, None)
        for name, value in call.headers.items():
            store[name] = (name, value)
    except Exception:
        log.internal_error("sw_requests")
    return request


def _copy(request: Any, headers: Any) -> Any:
    copied = object.__new__(type(request))
    copied.__dict__ = {**vars(request), "headers": headers}
    return copied
