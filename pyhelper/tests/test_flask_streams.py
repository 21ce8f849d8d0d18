# SPDX-License-Identifier: Apache-2.0
"""Flask apps that stream: the announcement in the header, and one message when the body ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

flask = pytest.importorskip("flask")

from conftest import Client, app_span, log, message, timeless  # noqa: E402

HERE = __name__


class ShopError(Exception):
    pass


def handled() -> str:
    raise ShopError("sold out")


@pytest.fixture
def app() -> Any:
    app = flask.Flask("shop")
    app.logger.disabled = True
    app.add_url_rule("/handled", view_func=handled)
    return app


def plain(handler: str, operation: str, more: str = "0") -> str:
    return f"1;7001;*;*;{more};{handler};{operation}"


def parts(app: Any, count: int, **response: Any) -> None:
    def stream() -> Any:
        def generate() -> Iterator[str]:
            for number in range(count):
                yield f"part {number}\n"

        return flask.Response(generate(), **response)

    app.add_url_rule("/stream", view_func=stream)


STREAM = f"{HERE}.parts.<locals>.stream"
STREAM_MESSAGE = message(7001, STREAM, "GET:/stream", [app_span(STREAM, 7001)])


def test_stream(app: Any, client: Client) -> None:
    parts(app, 3)
    answer = client(app, "/stream")
    assert answer.body == b"part 0\npart 1\npart 2\n"
    assert answer.stitch == plain(STREAM, "GET:/stream", "+")
    assert timeless(answer.message) == STREAM_MESSAGE


def test_message_of_a_stream_comes_before_the_end_and_once(app: Any, client: Client) -> None:
    parts(app, 2)
    request = client.traced()
    seen = []

    def server(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        body = app(environ, start_response)
        for chunk in body:
            seen.append(len(client.proxy.read()))
            yield chunk
        seen.append(len(client.proxy.read()))
        body.close()
        body.close()
        seen.append(len(client.proxy.read()))

    client(server, "/stream", traced=request)
    assert seen == [0, 0, 1, 0]


def test_stream_with_a_given_length(app: Any, client: Client) -> None:
    parts(app, 1, headers={"Content-Length": "7"})
    answer = client(app, "/stream")
    assert answer.stitch == plain(STREAM, "GET:/stream", "+")
    assert timeless(answer.message) == STREAM_MESSAGE


def test_stream_that_the_client_leaves(app: Any, client: Client) -> None:
    closed = []

    def stream() -> Any:
        def generate() -> Iterator[str]:
            try:
                yield "part 0"
                yield "part 1"
            finally:
                closed.append(True)

        response = flask.Response(generate())
        response.call_on_close(lambda: closed.append(False))
        return response

    app.add_url_rule("/stream", view_func=stream)
    answer = client(app, "/stream", chunks=1)
    assert closed == [True, False]
    assert answer.error is None
    handler = f"{HERE}.test_stream_that_the_client_leaves.<locals>.stream"
    assert timeless(answer.message) == message(
        7001, handler, "GET:/stream", [app_span(handler, 7001)]
    )


def test_stream_that_breaks(app: Any, client: Client) -> None:
    def stream() -> Any:
        def generate() -> Iterator[str]:
            yield "part 0\n"
            raise ShopError("in the stream")

        return flask.Response(generate())

    app.add_url_rule("/stream", view_func=stream)
    answer = client(app, "/stream")
    assert isinstance(answer.error, ShopError)
    assert (answer.status, answer.body) == ("200 OK", b"part 0\n")
    handler = f"{HERE}.test_stream_that_breaks.<locals>.stream"
    assert answer.stitch == plain(handler, "GET:/stream", "+")
    logs = [log(f"{HERE}.ShopError", "in the stream")]
    span = app_span(handler, 7001, logs, error=True)
    assert timeless(answer.message) == message(7001, handler, "GET:/stream", [span])


def test_stream_of_a_view_that_a_handler_answered(app: Any, client: Client) -> None:
    parts(app, 1)
    app.register_error_handler(ShopError, lambda error: app.view_functions["stream"]())
    answer = client(app, "/handled")
    assert answer.stitch == plain(f"{HERE}.handled", "GET:/handled", "+")
    span = app_span(f"{HERE}.handled", 7001, [log(f"{HERE}.ShopError", "sold out")])
    assert timeless(answer.message) == message(7001, f"{HERE}.handled", "GET:/handled", [span])


def test_head_of_a_stream_is_plain(app: Any, client: Client) -> None:
    parts(app, 1)
    answer = client(app, "/stream", "HEAD")
    assert answer.stitch == plain(STREAM, "HEAD:/stream")
    assert (answer.body, answer.messages) == (b"", [])


@pytest.mark.parametrize("code", [204, 304])
def test_stream_without_a_body_is_plain(app: Any, client: Client, code: int) -> None:
    parts(app, 1, status=code)
    answer = client(app, "/stream")
    assert answer.stitch == plain(STREAM, "GET:/stream")
    assert (answer.body, answer.messages) == (b"", [])


def test_stream_that_will_not_be_reported(app: Any, client: Client) -> None:
    parts(app, 2)
    answer = client(app, "/stream", traced=client.traced(flags=""))
    assert answer.stitch == plain(STREAM, "GET:/stream", "?")
    assert (answer.body, answer.messages) == (b"part 0\npart 1\n", [])


def test_stream_that_will_be_reported_if_it_breaks(app: Any, client: Client) -> None:
    """The message has gone before the server knows."""

    def stream() -> Any:
        def generate() -> Iterator[str]:
            yield "part 0"
            raise RuntimeError("broken")

        return flask.Response(generate())

    app.add_url_rule("/stream", view_func=stream)
    request, seen = client.traced(flags=""), []

    def server(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        try:
            yield from app(environ, start_response)
        except RuntimeError:
            seen.extend(client.proxy.read())

    answer = client(server, "/stream", traced=request)
    handler = f"{HERE}.{test_stream_that_will_be_reported_if_it_breaks.__name__}.<locals>.stream"
    assert answer.stitch == plain(handler, "GET:/stream", "?")
    (told,) = seen
    assert told["last"]
    assert [span["error"] for span in told["spans"]] == [True]
    assert told["spans"][0]["logs"][0]["data"][1] == ["error.kind", "RuntimeError"]


def test_stream_without_a_channel(app: Any, client: Client) -> None:
    parts(app, 2)
    answer = client(app, "/stream", traced=client.traced(channel="-"))
    assert answer.stitch == plain(STREAM, "GET:/stream")
    assert answer.body == b"part 0\npart 1\n"
