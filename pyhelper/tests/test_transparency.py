# SPDX-License-Identifier: Apache-2.0
"""The app, its server and its log see the same with the helper as without it."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Answer, Client, environ, serve
from skystitch import agent

flask = pytest.importorskip("flask")
requests = pytest.importorskip("requests")

# Before 3.11 Python puts a frame back that was taken out of a traceback on its way.
EXACT = pytest.mark.skipif(sys.version_info < (3, 11), reason="tracebacks cannot be mended")


def chain(error: BaseException | None) -> list[Any]:
    """An exception with its causes: types, texts and frames."""
    if error is None:
        return []
    frames = [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return [
        type(error),
        str(error),
        frames,
        error.__suppress_context__,
        chain(error.__cause__),
        chain(error.__context__),
    ]


def make_app(**config: Any) -> Any:
    app = flask.Flask("shop")
    app.config.update(config)

    @app.route("/")
    def index() -> str:
        return "index"

    @app.route("/boom")
    def boom() -> str:
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise ValueError("boom") from error

    @app.route("/exit")
    def leave() -> str:
        raise SystemExit(3)

    @app.route("/stream")
    def stream() -> Any:
        def generate() -> Iterator[str]:
            yield "a"
            raise ValueError("in the stream")

        return flask.Response(generate())

    @app.route("/call")
    def call() -> str:
        return str(requests.get("http://127.0.0.1:1/x", timeout=1).status_code)

    @app.route("/teardown")
    def teardown() -> str:
        flask.g.fails = True
        return "x"

    @app.teardown_request
    def fail(error: BaseException | None) -> None:
        if flask.g.get("fails"):
            raise LookupError("teardown")

    return app


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """The exceptions that Flask logs."""
    seen: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert record.exc_info
            seen.append(chain(record.exc_info[1]))

    handler = Handler()
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


def compare(
    client: Client, path: str, make: Callable[[], Any], **extra: Any
) -> tuple[Answer, Answer]:
    agent.stop()
    without = serve(make(), environ(path, **extra))
    agent.start()
    traced = client(make(), path, **extra)
    # An app that is reached directly, with the helper active.
    direct = serve(make(), environ(path, **extra))
    for answer in (traced, direct):
        assert (answer.status, answer.body) == (without.status, without.body)
    assert direct.headers == without.headers
    assert [pair for pair in traced.headers if pair[0] != "sw8-stitch"] == without.headers
    return without, traced


@EXACT
@pytest.mark.parametrize("path", ["/boom", "/exit", "/stream", "/call", "/teardown", "/", "/nope"])
@pytest.mark.parametrize("config", [{}, {"PROPAGATE_EXCEPTIONS": True}, {"DEBUG": True}])
def test_flask_tracebacks(
    client: Client, path: str, config: dict[str, Any], logged: list[Any]
) -> None:
    without, traced = compare(client, path, lambda: make_app(**config))
    assert without.error is None or without.error is not traced.error
    assert without_addresses(chain(traced.error)[1:]) == without_addresses(chain(without.error)[1:])
    assert traced.frames == without.frames
    for entry in logged[1:]:
        assert without_addresses(entry) == without_addresses(logged[0])
    assert len(logged) in {0, 3}


def without_addresses(value: Any) -> Any:
    """str() of a connection error names an object by its address."""
    if isinstance(value, list):
        return [without_addresses(item) for item in value]
    return value.partition(" at 0x")[0] if isinstance(value, str) and " at 0x" in value else value


def test_exceptions_arrive_as_they_are(client: Client) -> None:
    """On every version of Python: nothing swallowed, nothing replaced."""
    app = make_app(PROPAGATE_EXCEPTIONS=True)
    answer = client(app, "/boom")
    assert type(answer.error) is ValueError
    assert type(answer.error.__cause__) is KeyError
    assert type(client(app, "/exit").error) is SystemExit
    assert type(client(app, "/stream").error) is ValueError
    assert type(client(app, "/teardown").error) is LookupError
    assert type(client(app, "/call").error) is requests.ConnectionError


@EXACT
def test_server_that_refuses_the_headers(client: Client) -> None:
    """start_response raises, as gunicorn's does for a header it does not take."""

    def refusing(app: Any) -> Any:
        def server(request: dict[str, Any], start_response: Any) -> Any:
            def refuse(status: str, headers: Any, exc_info: Any = None) -> Any:
                raise RuntimeError("invalid header")

            return app(request, refuse)

        return server

    without, traced = compare(client, "/", lambda: refusing(make_app()))
    assert str(traced.error) == "invalid header"
    # werkzeug's own frame between Flask and the server is the one that the helper stands in for.
    assert [frame for frame in without.frames if frame[1] != "__call__"] == [
        frame for frame in traced.frames if frame[1] != "__call__"
    ]


@EXACT
@pytest.mark.parametrize("path", ["/boom", "/stream", "/"])
@pytest.mark.parametrize("propagate", [False, True])
def test_django_tracebacks(client: Client, path: str, propagate: bool) -> None:
    pytest.importorskip("django")
    from django.test import override_settings

    import test_django

    path = {"/stream": "/broken-stream"}.get(path, path)
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=propagate):
        without, traced = compare(client, path, test_django.WSGIHandler)
    assert traced.frames == without.frames


def test_defect_of_ours_costs_the_header_alone(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    app.logger.disabled = True

    def defect(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    for name in ("plugins.sw_flask._find_route", "context.Recording._close", "errors.describe"):
        with monkeypatch.context() as patch:
            patch.setattr(f"skystitch.{name}", defect)
            for path, status in [("/", "200"), ("/boom", "500"), ("/nope", "404")]:
                assert client(app, path).status.startswith(status)
            assert client(app, "/stream").body == b"a"
            assert type(client(app, "/exit").error) is SystemExit
    assert "skystitch failed in" in caplog.text
    assert client(app, "/").stitch is not None


def test_defect_of_ours_in_django(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("django")
    import test_django

    app = test_django.WSGIHandler()
    names = ("plugins.sw_django.DjangoRecording.route", "context.Recording._close")
    for name in names:
        with monkeypatch.context() as patch:
            patch.setattr(f"skystitch.{name}", lambda *_, **__: 1 // 0)
            for path, status in [("/", "200"), ("/boom", "500"), ("/nope", "404")]:
                assert client(app, path).status.startswith(status)
            assert client(app, "/broken-stream").body == b"part 0\n"
    assert client(app, "/").stitch is not None
