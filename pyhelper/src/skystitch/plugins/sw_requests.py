# SPDX-License-Identifier: Apache-2.0
"""requests: one Exit span for each call, with all redirects that it follows."""

from __future__ import annotations

from typing import Any, Callable

from skystitch import errors, http_exits, log
from skystitch.patches import Patches, require

COMPONENT = 7002

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from requests import Session  # the app has imported it

    require(Session, "send")
    _patches.wrap(Session, "send", _wrap_send)


def uninstall() -> None:
    _patches.restore()


def _wrap_send(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(session: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call = http_exits.begin(
            COMPONENT, getattr(request, "method", ""), getattr(request, "url", "")
        )
        if call is not None:
            request = _with_trace(request, call)
        try:
            response = original(session, request, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                call.end(error)
            errors.forget_own_frame(error)
            raise
        if call is not None:
            call.answered(getattr(response, "status_code", None))
        return response

    return send


def _with_trace(request: Any, call: http_exits.HttpCall) -> Any:
    """A copy of the prepared request: the caller may send the same one again, or from another
    thread. PreparedRequest.copy() would lose a subclass."""
    try:
        own = vars(request).copy()
        own["headers"] = _with_headers(request.headers, call.headers)
        copied = object.__new__(type(request))
        copied.__dict__ = own
        return copied
    except Exception:
        log.internal_error("sw_requests")
        return request


def _with_headers(headers: Any, added: dict[str, str]) -> Any:
    """As http_exits.with_headers(), for what requests keeps headers in at a quarter of the cost:
    its own copy() puts in one by one."""
    store = getattr(headers, "_store", None)  # name in lower case -> (name, value)
    if type(headers).__name__ != "CaseInsensitiveDict" or not isinstance(store, dict):
        return http_exits.with_headers(headers, added)
    store = dict.copy(store)  # an OrderedDict's own copies one by one
    if not http_exits.PROPAGATED.isdisjoint(store):
        for name in http_exits.PROPAGATED:
            store.pop(name, None)
    for name, value in added.items():
        store[name] = (name, value)
    copied = object.__new__(type(headers))
    copied._store = store
    return copied
