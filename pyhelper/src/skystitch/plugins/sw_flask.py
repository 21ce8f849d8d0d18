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

COMPONENT = 7001
_MAX_ROUTES = 4096

_patches = Patches()
_routes: dict[tuple[Any, ...], wire.Route] = {}
_current_request_context: Callable[[], Any]
_http_exception: type[BaseException]
_closing_iterator: type[Iterable[bytes]]


class FlaskRecording(Recording):
    """A request in a Flask app."""

    __slots__ = ()
    component = COMPONENT
    entry_point = "flask.app.Flask.wsgi_app"

    def route(self, status: str) -> wire.Route:
        # Of several apps in one stack the one that answers has the context.
        context = _current_request_context()
        if context is None:
            return _route(None, "", self.environ, status)
        request = context.request
        rule = request.url_rule
        if rule is None:
            return _route(None, "", request.environ, status)
        return _route(
            context.app.view_functions.get(rule.endpoint), rule.rule, request.environ, status
        )


def _route(view: Any, rule: str, environ: Environ, status: str) -> wire.Route:
    method, script_name = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "")
    if not rule:
        if not status.startswith("404"):
            return wire.NO_ROUTE
        rule = "/*"
    key = (view, rule, method, script_name)
    known = _routes.get(key)
    if known is None:
        if len(_routes) >= _MAX_ROUTES:
            _routes.clear()
        handler = "" if view is None else wire.handler_name(view)
        known = wire.route(handler, wire.operation(method, script_name, rule))
        _routes[key] = known
    return known


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


def _wrap_wsgi_app(original: Callable[..., Any]) -> Callable[..., Any]:
    def wsgi_app(app: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        recording = None
        try:
            field = environ.get("HTTP_SW8_STITCH")
            if field is not None and MARK not in environ:
                request = wire.parse_request(field)
                if request is not None:
                    recording = FlaskRecording(environ, start_response, request)
                    environ[MARK] = True
        except Exception:
            log.internal_error("sw_flask")
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


def _wrap_find_error_handler(original: Callable[..., Any]) -> Callable[..., Any]:
    def _find_error_handler(app: Any, error: BaseException, *args: Any, **kwargs: Any) -> Any:
        _note(error)
        return original(app, error, *args, **kwargs)

    return _find_error_handler


def _wrap_response(original: Callable[..., Any]) -> Callable[..., Any]:
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
