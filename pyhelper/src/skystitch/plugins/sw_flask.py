# SPDX-License-Identifier: Apache-2.0
"""Flask 2.0 and later: the app's span is wsgi_app, its name the view's, its route the URL rule.

What is replaced: Flask.wsgi_app; Flask._find_error_handler, which sees each exception and through
which none passes, so tracebacks stay as they are; Response.__call__, which knows a stream from a
plain answer. Flask tells of the exceptions that nobody handles by its signal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from skystitch import errors, log, wire
from skystitch.context import MARK, Environ, Recording, StartResponse, Stream, current
from skystitch.patches import NotAvailable, Patches, require
from skystitch.routes import RouteCache

COMPONENT = 7001

_patches = Patches()
_routes = RouteCache(str)
_current_request_context: Callable[[], Any]
_http_exception: type[BaseException]
_closing_iterator: type[Iterable[bytes]]


class FlaskRecording(Recording):
    """A request in a Flask app."""

    __slots__ = ("app",)
    component = COMPONENT
    entry_point = "flask.app.Flask.wsgi_app"

    app: Any

    def route(self, status: str) -> wire.Route:
        # Of several apps in one stack the one that answers has the context.
        context = _current_request_context()
        if context is None:
            return _routes.without_rule(status, self.environ)
        request = context.request
        rule = request.url_rule
        if rule is None:
            return _routes.without_rule(status, request.environ)
        view = context.app.view_functions.get(rule.endpoint)
        return _routes.find(view, rule.rule, request.environ)

    def route_of_failure(self) -> wire.Route:
        # The context has gone with the exception, and Flask's handlers were not asked.
        try:
            adapter = self.app.url_map.bind_to_environ(self.environ)
            rule, _ = adapter.match(return_rule=True)
        except _http_exception:
            return wire.NO_ROUTE
        return _routes.find(self.app.view_functions.get(rule.endpoint), rule.rule, self.environ)


def install() -> None:
    if _patches:
        return
    import flask  # the app has imported it
    import flask.globals
    import werkzeug.exceptions
    import werkzeug.wrappers
    import werkzeug.wsgi

    global _current_request_context, _http_exception, _closing_iterator
    require(flask.Flask, "wsgi_app", "_find_error_handler", "ensure_sync")
    require(werkzeug.wrappers.Response, "__call__", "is_sequence")
    _current_request_context = _context_getter(flask.globals)
    _http_exception = werkzeug.exceptions.HTTPException
    _closing_iterator = werkzeug.wsgi.ClosingIterator
    _patches.wrap(flask.Flask, "wsgi_app", _wrap_wsgi_app)
    _patches.wrap(flask.Flask, "_find_error_handler", _wrap_find_error_handler)
    _patches.wrap(werkzeug.wrappers.Response, "__call__", _wrap_response)
    if getattr(flask.signals, "signals_available", True):
        flask.got_request_exception.connect(_on_unhandled)


def uninstall() -> None:
    import flask

    _patches.restore()
    _routes.clear()
    if getattr(flask.signals, "signals_available", True):
        flask.got_request_exception.disconnect(_on_unhandled)


def _context_getter(flask_globals: Any) -> Callable[[], Any]:
    """How this Flask finds the request that is being answered."""
    variable = getattr(flask_globals, "_cv_request", None)
    if variable is not None:
        get: Callable[[Any], Any] = variable.get
        return lambda: get(None)
    stack = getattr(flask_globals, "_request_ctx_stack", None)
    if stack is not None:
        return lambda: stack.top
    raise NotAvailable("flask.globals has no request context")


def _wrap_wsgi_app(original: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def wsgi_app(app: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        recording = _begin(app, environ, start_response)
        if recording is None:
            try:
                return original(app, environ, start_response)
            except BaseException as error:
                errors.forget_own_frame(error)
                raise
        reset = current.set(recording)
        try:
            body = original(app, environ, recording.start_response)
        except BaseException as error:
            recording.fail(error)
            errors.forget_own_frame(error)
            raise
        finally:
            current.reset(reset)
        return Stream(body, recording) if recording.streams else body

    return wsgi_app


def _begin(app: Any, environ: Environ, start_response: StartResponse) -> FlaskRecording | None:
    try:
        field = environ.get("HTTP_SW8_STITCH")
        if field is None or MARK in environ:
            return None
        request = wire.parse_request(field)
        if request is None:
            return None
        recording = FlaskRecording(environ, start_response, request)
        recording.app = app
        environ[MARK] = True
        return recording
    except Exception:
        log.internal_error("sw_flask")
        return None


def _wrap_find_error_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    def _find_error_handler(app: Any, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        _note(error)
        return original(app, error, *args, **kwargs)

    return _find_error_handler


def _wrap_response(original: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def call(response: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        recording = getattr(start_response, "__self__", None)
        if type(recording) is FlaskRecording and not response.is_sequence:
            recording.streams = _makes_a_stream(response, environ)
        try:
            return original(response, environ, start_response)
        except BaseException as error:
            errors.forget_own_frame(error)
            raise

    return call


def _makes_a_stream(response: Any, environ: Environ) -> bool:
    """Whether the app makes the body while it is sent. Files are the server's to send."""
    try:
        if response.direct_passthrough or environ["REQUEST_METHOD"] == "HEAD":
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
        recording = current.get()
        if not isinstance(recording, Recording):
            return
        error = getattr(error, "original_exception", None) or error
        recording.note(error, is_answer=isinstance(error, _http_exception))
    except Exception:
        log.internal_error("sw_flask note")
