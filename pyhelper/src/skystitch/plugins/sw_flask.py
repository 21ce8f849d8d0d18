# SPDX-License-Identifier: Apache-2.0
"""Flask 2.0 and later: the app's span is wsgi_app, its name the view's, its route the URL rule.

What is replaced: Flask.wsgi_app; Flask._find_error_handler, which sees each exception and through
which none passes, so tracebacks stay as they are; Response.__call__, which knows a stream from a
plain answer and has the headers as they go to the server. Flask tells of the exceptions that nobody
handles by its signal.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.channel import losses
from skystitch.context import FIELD, MARK, Environ, Recording, StartResponse, WsgiApp, plain_answer
from skystitch.patches import NotAvailable, Patches, require
from skystitch.routes import RouteCache
from skystitch.scope import Scope, current, find_scope, finders
from skystitch.stream import Stream

COMPONENT = 7001
_ANSWERED = object()
# A method of an imported name is looked up anew by each call, and not from the interpreter's cache.
_get_scope = current.get

_patches = Patches()
_routes = RouteCache(COMPONENT, str)
#: By their ids, since they have no hash: those that keep a route of ours, see _learn_route().
_marked_rules: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_request_contexts: Any  # with get(default), as a ContextVar
_http_exception: type[BaseException]
_closing_iterator: type[Iterable[bytes]]


class FlaskRecording(Recording):
    """A request in a Flask app."""

    component = COMPONENT
    entry_point = "flask.app.Flask.wsgi_app"

    app: Any

    def route(self, status: str) -> wire.Route:
        return _find_route(self.environ, status)

    def route_of_failure(self) -> wire.Route:
        # The context has gone with the exception, and Flask's handlers were not asked.
        environ = self.environ
        try:
            rule, _ = self.app.url_map.bind_to_environ(environ).match(return_rule=True)
        except _http_exception:
            return _routes.without_rule("", environ)
        return _learn_route(self.app, rule, environ)


def _find_route(environ: Environ, status: str) -> wire.Route:
    # Of several apps in one stack the one that answers has the context.
    context = _request_contexts.get(None)
    if context is None:
        return _routes.without_rule(status, environ)
    rule = context.request.url_rule
    if rule is None:
        return _routes.without_rule(status, environ)
    try:
        if not environ.get("SCRIPT_NAME"):
            return rule.skystitch[environ["REQUEST_METHOD"]]  # type: ignore[no-any-return]
    except (AttributeError, KeyError):
        pass
    return _learn_route(context.app, rule, environ)


def _learn_route(app: Any, rule: Any, environ: Environ) -> wire.Route:
    """Finds the route the long way, and keeps it with its rule for the requests that follow: as
    long as the app lives, and for an app that is not mounted, as most are, at the least cost."""
    method, script_name = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "")
    key = (app.view_functions.get(rule.endpoint), rule.rule, method, script_name)
    try:
        route = _routes[key]
    except TypeError:  # a view that cannot be hashed
        route = _routes.make(key)
    if not script_name and method in wire.METHODS:
        if not hasattr(rule, "skystitch"):
            # Not by vars(): each look-up of an attribute is slower once an object has a dict.
            rule.skystitch = {}
            _marked_rules[id(rule)] = rule
        rule.skystitch[method] = route
    return route


def _recording(environ: Environ) -> Any:
    """The request's recording, made when there is something to record; None without any."""
    mark = environ.get(MARK)
    if type(mark) is not list:
        return mark  # another framework's, or none
    start_response, field, clock, state = mark
    if type(state) is FlaskRecording:
        return state
    recording = mark[3] = FlaskRecording(environ, start_response, field, clock)
    recording.answered = state is _ANSWERED
    return recording


def install() -> None:
    if _patches:
        return
    import flask  # the app has imported it
    import flask.globals
    import werkzeug.exceptions
    import werkzeug.wrappers
    import werkzeug.wsgi

    global _request_contexts, _http_exception, _closing_iterator
    if not hasattr(flask.Flask, "ensure_sync"):
        raise NotAvailable("this Flask is older than 2.0")
    require(flask.Flask, "wsgi_app", "_find_error_handler")
    require(werkzeug.wrappers.Response, "__call__", "get_wsgi_response", "is_sequence")
    _request_contexts = _find_contexts(flask.globals)
    _http_exception = werkzeug.exceptions.HTTPException
    _closing_iterator = werkzeug.wsgi.ClosingIterator
    finders.append(_find_recording)
    _patches.wrap(flask.Flask, "wsgi_app", _wrap_wsgi_app)
    _patches.wrap(flask.Flask, "_find_error_handler", _wrap_find_error_handler)
    _patches.wrap(werkzeug.wrappers.Response, "__call__", _wrap_response)
    if getattr(flask.signals, "signals_available", True):
        flask.got_request_exception.connect(_on_unhandled)


def uninstall() -> None:
    import flask

    _patches.restore()
    _routes.clear()
    for rule in list(_marked_rules.values()):
        del rule.skystitch
    _marked_rules.clear()
    if _find_recording in finders:
        finders.remove(_find_recording)
    if getattr(flask.signals, "signals_available", True):
        flask.got_request_exception.disconnect(_on_unhandled)


def _find_recording() -> Scope | None:
    context = _request_contexts.get(None)
    if context is None:
        return None
    environ = context.request.environ
    mark = environ.get(MARK)
    if type(mark) is list and type(mark[3]) is FlaskRecording:
        return mark[3]  # of the second look on
    recording = _recording(environ)
    return recording if isinstance(recording, Recording) else None


class _Stack:
    """The request contexts of Flask 2.0 and 2.1, which have a stack."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack

    def get(self, default: Any) -> Any:
        context = self._stack.top
        return default if context is None else context


def _find_contexts(flask_globals: Any) -> Any:
    """Where this Flask keeps the request that is being answered."""
    variable = getattr(flask_globals, "_cv_request", None)
    if variable is not None:
        return variable
    stack = getattr(flask_globals, "_request_ctx_stack", None)
    if stack is not None:
        return _Stack(stack)
    raise NotAvailable("flask.globals has no request context")


def _wrap_wsgi_app(original: WsgiApp) -> WsgiApp:
    def wsgi_app(app: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        outer = _get_scope()
        if (
            FIELD not in environ
            or (MARK in environ and environ[MARK] is not None)
            or (outer is not None and isinstance(outer, Recording))
        ):
            try:
                return original(app, environ, start_response)
            except BaseException as error:
                errors.forget_own_frame(error)
                raise
        # What a recording is made from, and the recording if there is one.
        mark = environ[MARK] = [start_response, environ[FIELD], perf_counter_ns(), None]
        try:
            body = original(app, environ, start_response)
        except BaseException as error:
            _fail(app, environ, error)
            _leave(environ, outer)
            errors.forget_own_frame(error)
            raise
        recording = mark[3]
        if recording is _ANSWERED:  # so nothing was recorded, and no scope entered
            environ[MARK] = None
            return body
        _leave(environ, outer)
        if type(recording) is FlaskRecording and recording.streams:
            return Stream(body, recording)
        return body

    return wsgi_app


def _leave(environ: Environ, outer: Scope | None) -> None:
    environ[MARK] = None  # a recording and its environ refer to each other
    # asgiref, for asynchronous views, brings the scope of their thread back to this one.
    if current.get() is not outer:
        current.set(outer)


def _fail(app: Any, environ: Environ, error: BaseException) -> None:
    recording = _recording(environ)
    if recording is not None:
        recording.app = app
        recording.fail(error)


def _wrap_find_error_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    def _find_error_handler(app: Any, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        _note(error)
        return original(app, error, *args, **kwargs)

    return _find_error_handler


def _wrap_response(original: WsgiApp) -> WsgiApp:
    def call(response: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        mark = environ.get(MARK)
        try:
            if type(mark) is not list or mark[0] is not start_response:
                # A response that is used as an app within the app: an error page, for one.
                return original(response, environ, start_response)
            if type(response.response) is not list and _makes_a_stream(response, environ):
                _recording(environ).expect_stream()
            # As the original does; the list of headers is made anew for each answer.
            body, status, headers = response.get_wsgi_response(environ)
            try:
                route = _find_route(environ, status)
                if mark[3] is None and route.tail and not losses:
                    mark[3] = _ANSWERED
                    value = plain_answer(mark[1], mark[2], route)
                    if value:
                        headers.append(("sw8-stitch", value))
                else:
                    _recording(environ).complete(headers, status)
            except Exception:
                log.internal_error("sw_flask answer")
            start_response(status, headers)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise
        return body  # type: ignore[no-any-return]

    return call


def _makes_a_stream(response: Any, environ: Environ) -> bool:
    """Whether the app makes the body while it is sent. Files are the server's to send."""
    try:
        if response.is_sequence or response.direct_passthrough:
            return False
        if environ["REQUEST_METHOD"] == "HEAD":
            return False
        if (
            isinstance(response.response, _closing_iterator)
            and "Content-Length" in response.headers
        ):
            return False  # not the app's: an error page, which Flask runs as a WSGI app
        code = response.status_code
        return not (code < 200 or code in (204, 304))
    except Exception:
        log.internal_error("sw_flask stream")
        return False


def _on_unhandled(sender: Any, exception: BaseException | None = None, **_: Any) -> None:
    if exception is not None:
        _note(exception)


def _note(error: BaseException) -> None:
    """Called with what Flask is about to handle, in the thread that handles it."""
    try:
        recording = find_scope()
        if not isinstance(recording, Recording):
            return
        error = getattr(error, "original_exception", None) or error
        recording.note(error, is_answer=isinstance(error, _http_exception))
    except Exception:
        log.internal_error("sw_flask note")
