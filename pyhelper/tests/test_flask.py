# SPDX-License-Identifier: Apache-2.0
"""Real Flask apps: the answer header and the message of each situation, in full."""

from __future__ import annotations

import asyncio
import functools
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

flask = pytest.importorskip("flask")

from flask.views import MethodView, View  # noqa: E402
from werkzeug.exceptions import NotFound, ServiceUnavailable  # noqa: E402
from werkzeug.middleware.dispatcher import DispatcherMiddleware  # noqa: E402
from werkzeug.middleware.proxy_fix import ProxyFix  # noqa: E402

from conftest import Client, app_span, log, message, timeless  # noqa: E402
from skystitch import agent  # noqa: E402
from skystitch.context import MARK  # noqa: E402
from skystitch.plugins import sw_flask  # noqa: E402
from skystitch.scope import current, find_scope  # noqa: E402

HERE = __name__
ENTRY_POINT = "flask.app.Flask.wsgi_app"


class ShopError(Exception):
    pass


def index() -> str:
    return "index"


def user(id: int) -> str:  # noqa: A002
    return f"user {id}"


def boom() -> str:
    raise ValueError("boom")


def caused() -> str:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise ShopError("sold out") from error


def handled() -> str:
    raise ShopError("sold out")


def abort(code: int) -> str:
    flask.abort(code)
    return "not reached"


def aborted_with_answer() -> str:
    flask.abort(flask.Response("own", 500))
    return "not reached"


def status(code: int) -> tuple[str, int]:
    return "status", code


def late() -> Any:
    @flask.after_this_request
    def fail(response: Any) -> Any:
        raise ShopError("after")

    return "late"


def file() -> Any:
    return flask.send_file(Path(__file__))


def memory_file() -> Any:
    return flask.send_file(io.BytesIO(b"x" * 100_000), mimetype="text/plain")


class Shelf(View):
    def dispatch_request(self, place: str) -> str:
        return place


class Item(MethodView):
    def get(self, pk: int) -> str:
        return f"item {pk}"

    def delete(self, pk: int) -> str:
        raise NotFound


class Odd:
    """A view that cannot be hashed."""

    __name__ = "odd"
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> str:
        return "odd"


def make_app(**config: Any) -> Any:
    app = flask.Flask("shop")
    app.config.update(config)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/users/<int:id>", view_func=user)
    app.add_url_rule("/files/<path:name>/<uuid:pk>", "files", lambda name, pk: "x")
    app.add_url_rule("/boom", view_func=boom, methods=["GET", "POST"])
    app.add_url_rule("/caused", view_func=caused)
    app.add_url_rule("/handled", view_func=handled)
    app.add_url_rule("/abort/<int:code>", view_func=abort)
    app.add_url_rule("/aborted", view_func=aborted_with_answer)
    app.add_url_rule("/status/<int:code>", view_func=status)
    app.add_url_rule("/late", view_func=late)
    app.add_url_rule("/file", "send", file)
    app.add_url_rule("/memory-file", view_func=memory_file)
    app.add_url_rule("/slash/", view_func=index, endpoint="slash")
    app.add_url_rule("/shelves/<place>", view_func=Shelf.as_view("shelf"))
    app.add_url_rule("/items/<int:pk>", view_func=Item.as_view("item"))
    app.add_url_rule("/partial", view_func=functools.partial(user, 3), endpoint="partial")
    app.add_url_rule("/odd", view_func=Odd())
    app.add_url_rule("/café/100%; a", view_func=index, endpoint="accents")
    shop = flask.Blueprint("catalogue", "catalogue", url_prefix="/catalogue")
    inner = flask.Blueprint("inner", "inner", url_prefix="/inner/<lang>")
    inner.add_url_rule("/books/<isbn>", view_func=lambda lang, isbn: isbn, endpoint="book")
    shop.add_url_rule("/", view_func=index)
    shop.register_blueprint(inner)
    app.register_blueprint(shop)
    return app


def quiet(app: Any) -> Any:
    app.logger.disabled = True
    return app


@pytest.fixture
def app() -> Any:
    return quiet(make_app())


def plain(handler: str, operation: str, more: str = "0") -> str:
    return f"1;7001;*;*;{more};{handler};{operation}"


@pytest.mark.parametrize(
    ("method", "path", "status", "handler", "operation"),
    [
        ("GET", "/", 200, f"{HERE}.index", "GET:/"),
        ("GET", "/?q=1&secret=2", 200, f"{HERE}.index", "GET:/"),
        ("GET", "/users/3", 200, f"{HERE}.user", "GET:/users/<int:id>"),
        ("HEAD", "/users/3", 200, f"{HERE}.user", "HEAD:/users/<int:id>"),
        ("OPTIONS", "/users/3", 200, f"{HERE}.user", "OPTIONS:/users/<int:id>"),
        (
            "GET",
            "/files/a/b/12345678-1234-1234-1234-123456789012",
            200,
            f"{HERE}.make_app.<locals>.<lambda>",
            "GET:/files/<path:name>/<uuid:pk>",
        ),
        ("GET", "/shelves/a", 200, f"{HERE}.Shelf", "GET:/shelves/<place>"),
        ("GET", "/items/3", 200, f"{HERE}.Item", "GET:/items/<int:pk>"),
        ("DELETE", "/items/3", 404, f"{HERE}.Item", "DELETE:/items/<int:pk>"),
        ("GET", "/partial", 200, f"{HERE}.user", "GET:/partial"),
        ("GET", "/odd", 200, f"{HERE}.Odd", "GET:/odd"),
        ("GET", "/catalogue/", 200, f"{HERE}.index", "GET:/catalogue/"),
        (
            "GET",
            "/catalogue/inner/de/books/3",
            200,
            f"{HERE}.make_app.<locals>.<lambda>",
            "GET:/catalogue/inner/<lang>/books/<isbn>",
        ),
        ("GET", "/café/100%; a", 200, f"{HERE}.index", "GET:/caf%C3%A9/100%25%3B%20a"),
        ("GET", "/status/404", 200, f"{HERE}.status", "GET:/status/<int:code>"),
        ("GET", "/status/500", 200, f"{HERE}.status", "GET:/status/<int:code>"),
        ("GET", "/abort/403", 403, f"{HERE}.abort", "GET:/abort/<int:code>"),
        ("GET", "/abort/404", 404, f"{HERE}.abort", "GET:/abort/<int:code>"),
        ("GET", "/aborted", 500, f"{HERE}.aborted_with_answer", "GET:/aborted"),
        ("GET", "/nope/42", 404, "", "GET:/*"),
        ("BREW", "/nope/42", 404, "", "OTHER:/*"),
        ("POST", "/users/3", 405, "", ""),
        ("GET", "/slash", 308, "", ""),
        ("GET", "/file", 200, f"{HERE}.file", "GET:/file"),
        ("GET", "/memory-file", 200, f"{HERE}.memory_file", "GET:/memory-file"),
    ],
)
def test_plain_answer(
    app: Any, client: Client, method: str, path: str, status: int, handler: str, operation: str
) -> None:
    for _ in range(2):  # the second time the route comes from the cache
        answer = client(app, path, method)
        code = int(path[-3:]) if path.startswith("/status/") else status
        assert answer.status.startswith(str(code))
        assert answer.stitch == plain(handler, operation)
        assert answer.messages == []
        assert answer.error is None
    assert client.proxy.connections == []  # no socket without a message


def test_times_count_from_t0(app: Any, client: Client) -> None:
    answer = client(app, "/")
    begin, duration = map(int, answer.header("sw8-stitch").split(";")[2:4])  # type: ignore[union-attr]
    assert begin < 1_000_000
    assert duration < 1_000_000
    # A proxy whose clock is ahead.
    ahead = client.traced()
    ahead["sw8-stitch"] = f"1;{client.proxy.channel};9999999999999999;s"
    header = client(app, "/", traced=ahead).header("sw8-stitch")
    assert header is not None
    assert header.split(";")[2] == "0"


def test_handled_exception_is_a_log(app: Any, client: Client) -> None:
    app.register_error_handler(ShopError, lambda error: (str(error), 409))
    answer = client(app, "/handled")
    assert (answer.status, answer.body) == ("409 CONFLICT", b"sold out")
    assert answer.stitch == plain(f"{HERE}.handled", "GET:/handled", "1")
    span = app_span(f"{HERE}.handled", 7001, [log(f"{HERE}.ShopError", "sold out")])
    assert timeless(answer.message) == message(7001, f"{HERE}.handled", "GET:/handled", [span])


def test_handled_exception_that_ends_as_server_error(app: Any, client: Client) -> None:
    app.register_error_handler(ShopError, lambda error: (str(error), 503))
    answer = client(app, "/handled")
    span = app_span(f"{HERE}.handled", 7001, [log(f"{HERE}.ShopError", "sold out")], error=True)
    assert timeless(answer.message) == message(7001, f"{HERE}.handled", "GET:/handled", [span])


def test_handler_for_http_exceptions_makes_no_log(app: Any, client: Client) -> None:
    app.register_error_handler(404, lambda error: ("own page", 404))
    assert client(app, "/nope").stitch == plain("", "GET:/*")
    answer = client(app, "/abort/404")
    assert answer.body == b"own page"
    assert answer.messages == []


def test_server_error_by_abort(app: Any, client: Client) -> None:
    answer = client(app, "/abort/503")
    assert answer.status == "503 SERVICE UNAVAILABLE"
    assert answer.stitch == plain(f"{HERE}.abort", "GET:/abort/<int:code>", "1")
    kind = "werkzeug.exceptions.ServiceUnavailable"
    span = app_span(f"{HERE}.abort", 7001, [log(kind, str(ServiceUnavailable()))], error=True)
    assert timeless(answer.message) == message(
        7001, f"{HERE}.abort", "GET:/abort/<int:code>", [span]
    )


def test_handler_that_raises(app: Any, client: Client) -> None:
    def broken(error: Exception) -> Any:
        raise LookupError("no page for this")

    app.register_error_handler(ShopError, broken)
    answer = client(app, "/handled")
    assert answer.status.startswith("500")
    logs = [log(f"{HERE}.ShopError", "sold out"), log("LookupError", "no page for this")]
    span = app_span(f"{HERE}.handled", 7001, logs, error=True)
    assert timeless(answer.message) == message(7001, f"{HERE}.handled", "GET:/handled", [span])


UNHANDLED = app_span(f"{HERE}.boom", 7001, [log("ValueError", "boom")], error=True)
UNHANDLED_MESSAGE = message(7001, f"{HERE}.boom", "GET:/boom", [UNHANDLED])


def test_unhandled_exception(app: Any, client: Client) -> None:
    answer = client(app, "/boom")
    assert answer.status == "500 INTERNAL SERVER ERROR"
    assert answer.stitch == plain(f"{HERE}.boom", "GET:/boom", "1")
    assert timeless(answer.message) == UNHANDLED_MESSAGE


@pytest.mark.parametrize("config", ["DEBUG", "TESTING", "PROPAGATE_EXCEPTIONS"])
def test_propagated_exception(client: Client, config: str) -> None:
    answer = client(make_app(**{config: True}), "/boom")
    assert isinstance(answer.error, ValueError)
    assert answer.status == ""  # the server answers, without a header of ours
    assert timeless(answer.message) == UNHANDLED_MESSAGE


def test_stack_has_the_causes_and_no_frames_of_ours(app: Any, client: Client) -> None:
    made = client(app, "/caused").message
    data = dict(made["spans"][0]["logs"][0]["data"])
    assert data["error.kind"] == f"{HERE}.ShopError"
    stack = data["stack"]
    assert "KeyError: 'the cause'" in stack
    assert "direct cause" in stack
    assert stack.endswith(f"{HERE}.ShopError: sold out\n")
    assert "in caused" in stack
    assert "site-packages/flask" in stack
    assert "skystitch" not in stack


def test_base_exception_has_its_route(app: Any, client: Client) -> None:
    """A worker that is told to stop in the middle of a view, as gunicorn does after its timeout."""

    def hang(word: str) -> str:
        raise SystemExit(1)

    app.add_url_rule("/hang/<word>", view_func=hang)
    handler = f"{HERE}.test_base_exception_has_its_route.<locals>.hang"
    answer = client(app, "/hang/x")
    assert isinstance(answer.error, SystemExit)
    span = app_span(handler, 7001, [log("SystemExit", "1")], error=True)
    assert timeless(answer.message) == message(7001, handler, "GET:/hang/<word>", [span])


def test_before_request_that_answers(app: Any, client: Client) -> None:
    app.before_request(lambda: ("closed", 503))
    answer = client(app, "/users/3")
    assert (answer.status, answer.body) == ("503 SERVICE UNAVAILABLE", b"closed")
    assert answer.stitch == plain(f"{HERE}.user", "GET:/users/<int:id>")
    assert answer.messages == []
    assert client(app, "/nope").stitch == plain("", "")  # answered, so not the router's 404


def test_before_request_that_raises_without_a_route(app: Any, client: Client) -> None:
    app.before_request(lambda: 1 // 0)
    answer = client(app, "/nope")
    assert answer.stitch == plain("", "", "1")
    zero = [log("ZeroDivisionError", "integer division or modulo by zero")]
    span = app_span(ENTRY_POINT, 7001, zero, error=True)
    assert timeless(answer.message) == message(7001, "", "", [span])


def test_after_request_that_raises(app: Any, client: Client) -> None:
    answer = client(app, "/late")
    assert answer.status.startswith("500")
    assert answer.stitch == plain(f"{HERE}.late", "GET:/late", "1")
    span = app_span(f"{HERE}.late", 7001, [log(f"{HERE}.ShopError", "after")], error=True)
    assert timeless(answer.message) == message(7001, f"{HERE}.late", "GET:/late", [span])


def test_teardown_that_raises(app: Any, client: Client) -> None:
    """The header was made, but the server will throw it away with the answer."""

    @app.teardown_request
    def broken(error: BaseException | None) -> None:
        raise ShopError("teardown")

    answer = client(app, "/users/3")
    assert isinstance(answer.error, ShopError)
    assert answer.stitch == plain(f"{HERE}.user", "GET:/users/<int:id>")
    span = app_span(f"{HERE}.user", 7001, [log(f"{HERE}.ShopError", "teardown")], error=True)
    assert timeless(answer.message) == message(7001, f"{HERE}.user", "GET:/users/<int:id>", [span])


def test_route_too_long_for_the_header(app: Any, client: Client) -> None:
    rule = "/" + "long" * 120
    app.add_url_rule(rule, view_func=index, endpoint="long")
    answer = client(app, rule)
    assert answer.stitch == plain("", "", "1")
    assert answer.message == message(7001, f"{HERE}.index", f"GET:{rule}", [])
    # Not to be reported, or without a channel: the route is left out.
    assert client(app, rule, traced=client.traced(flags="")).stitch == plain("", "")
    answer = client(app, rule, traced=client.traced(channel="-"))
    assert (answer.stitch, answer.messages) == (plain("", ""), [])


class FileWrapper:
    def __init__(self, file: Any, size: int = 8192) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(8192), b"")


@pytest.mark.parametrize("path", ["/file", "/memory-file"])
def test_files_are_the_servers(app: Any, client: Client, path: str) -> None:
    answer = client(app, path, **{"wsgi.file_wrapper": FileWrapper})
    assert type(answer.iterable) is FileWrapper
    assert answer.stitch == plain(f"{HERE}.{path[1:].replace('-', '_')}", f"GET:{path}")
    assert answer.messages == []


# Several apps, mounts.


def test_two_apps_of_a_dispatcher(client: Client) -> None:
    first, second = quiet(make_app()), quiet(make_app())
    second.add_url_rule("/only/<here>", view_func=lambda here: here, endpoint="only")
    outside = DispatcherMiddleware(first, {"/second": second})
    inside = quiet(make_app())
    inside.wsgi_app = DispatcherMiddleware(inside.wsgi_app, {"/second": second})
    for stack in (outside, inside):
        assert client(stack, "/users/3").stitch == plain(f"{HERE}.user", "GET:/users/<int:id>")
        answer = client(stack, "/second/only/x")
        handler = f"{HERE}.test_two_apps_of_a_dispatcher.<locals>.<lambda>"
        assert answer.stitch == plain(handler, "GET:/second/only/<here>")
        assert client(stack, "/second/nope").stitch == plain("", "GET:/second/*")
        answer = client(stack, "/second/boom")
        assert answer.stitch == plain(f"{HERE}.boom", "GET:/second/boom", "1")
        assert timeless(answer.message) == message(
            7001, f"{HERE}.boom", "GET:/second/boom", [UNHANDLED]
        )


def test_app_within_a_view(app: Any, client: Client) -> None:
    """The inner answer becomes part of the outer one: one header, the outer's."""
    inner = quiet(make_app())

    def outer(rest: str) -> Any:
        request = {**flask.request.environ, "PATH_INFO": f"/{rest}"}
        return flask.Response.from_app(inner.wsgi_app, request)

    app.add_url_rule("/outer/<path:rest>", view_func=outer)
    handler = f"{HERE}.test_app_within_a_view.<locals>.outer"
    answer = client(app, "/outer/users/3")
    assert answer.body == b"user 3"
    assert answer.stitch == plain(handler, "GET:/outer/<path:rest>")
    answer = client(app, "/outer/boom")
    assert answer.status.startswith("500")
    assert answer.stitch == plain(handler, "GET:/outer/<path:rest>", "1")


def test_script_name(app: Any, client: Client) -> None:
    answer = client(app, "/users/3", SCRIPT_NAME="/v1")
    assert answer.stitch == plain(f"{HERE}.user", "GET:/v1/users/<int:id>")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)
    answer = client(app, "/users/3", headers={"X-Forwarded-Prefix": "/outside"})
    assert answer.stitch == plain(f"{HERE}.user", "GET:/outside/users/<int:id>")


def test_routes_are_bounded(app: Any, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skystitch.routes._MAX_ROUTES", 10)
    for number in range(25):
        operation = f"GET:/{number}/users/<int:id>"
        answer = client(app, "/users/3", SCRIPT_NAME=f"/{number}")
        assert answer.stitch == plain(f"{HERE}.user", operation)
        assert len(sw_flask._routes) <= 10


# Who gets what.


def test_nothing_without_the_proxy(app: Any, client: Client) -> None:
    app.add_url_rule("/stream", "stream", lambda: flask.Response(iter(["part 0", "part 1"])))
    for traced in ({}, {"sw8": client.traced()["sw8"]}):
        for path in ("/", "/nope", "/boom", "/stream", "/file"):
            answer = client(app, path, traced=traced)
            assert answer.stitch is None
            assert answer.messages == []
            assert [name for name, _ in answer.headers if "sw8" in name.lower()] == []


@pytest.mark.parametrize("field", ["", "x", "2;-;1;s", "1;-;x;s", "1", ";;;", "1;-"])
def test_nothing_for_a_defective_field(app: Any, client: Client, field: str) -> None:
    app.add_url_rule("/stream", "stream", lambda: flask.Response(iter(["part 0", "part 1"])))
    for path in ("/", "/boom", "/stream"):
        answer = client(app, path, traced={"sw8": client.traced()["sw8"], "sw8-stitch": field})
        assert answer.stitch is None
        assert answer.messages == []


def test_not_reported_unless_kept(app: Any, client: Client) -> None:
    """Without `s` there are exceptions, nothing else."""
    traced = client.traced(flags="", sample="0")
    answer = client(app, "/users/3", traced=traced)
    assert (answer.stitch, answer.messages) == (plain(f"{HERE}.user", "GET:/users/<int:id>"), [])
    answer = client(app, "/boom", traced=traced)
    assert answer.stitch == plain(f"{HERE}.boom", "GET:/boom", "1")
    assert timeless(answer.message) == UNHANDLED_MESSAGE


@pytest.mark.parametrize("channel", ["-", "@elsewhere", "/run/docker.sock", "skystitch-x", "@"])
def test_no_details_without_a_channel(app: Any, client: Client, channel: str) -> None:
    answer = client(app, "/boom", traced=client.traced(channel=channel))
    assert answer.stitch == plain(f"{HERE}.boom", "GET:/boom")
    assert answer.messages == []
    assert [name for name, _ in answer.headers if name.startswith("sw8-")] == ["sw8-stitch"]


def test_defective_sw8_costs_the_message_alone(app: Any, client: Client) -> None:
    traced = {**client.traced(), "sw8": "1-x"}
    answer = client(app, "/boom", traced=traced)
    assert (answer.stitch, answer.messages) == (plain(f"{HERE}.boom", "GET:/boom"), [])


def test_nothing_of_a_request_is_kept(app: Any, client: Client) -> None:
    seen: list[dict[str, Any]] = []
    app.before_request(lambda: seen.append(flask.request.environ))
    for path in ("/users/3", "/boom", "/nope"):
        client(app, path)
    assert [request[MARK] for request in seen] == [None] * 3
    assert current.get() is None
    assert find_scope() is None


@pytest.mark.parametrize("end", [StopIteration, ConnectionError, None])
def test_connection_that_the_app_takes_over(client: Client, end: Any) -> None:
    """As simple-websocket does: what is known goes before it, the rest when it is over."""
    app = make_app()
    seen = []

    class Over(flask.Response):
        def __call__(self, *args: Any) -> Any:
            if end is None:
                return super().__call__(*args)
            raise end

    def talk(room: str) -> Any:
        find_scope().take_over()
        seen.extend(client.proxy.read())
        return Over("over")

    app.add_url_rule("/talk/<room>", view_func=talk)
    answer = client(app, "/talk/blue")
    handler = f"{HERE}.test_connection_that_the_app_takes_over.<locals>.talk"
    operation = "GET:/talk/<room>"
    first = message(7001, handler, operation, [])
    assert seen == [{**first, "last": False}]
    last = message(7001, handler, operation, [app_span(handler, 7001)])
    assert timeless(answer.message) == {**last, "seq": 1}
    if end is None:
        assert answer.stitch == f"1;7001;*;*;2;{handler};{operation}"


def test_async_views(app: Any, client: Client) -> None:
    pytest.importorskip("asgiref")
    seen = []

    async def wait() -> str:
        await asyncio.sleep(0)
        seen.append(find_scope())
        return "waited"

    async def fail() -> str:
        await asyncio.sleep(0)
        raise ShopError("sold out")

    app.add_url_rule("/wait", view_func=wait)
    app.add_url_rule("/fail", view_func=fail)
    prefix = f"{HERE}.test_async_views.<locals>"
    answer = client(app, "/wait")
    assert (answer.body, answer.messages) == (b"waited", [])
    assert answer.stitch == f"1;7001;*;*;0;{prefix}.wait;GET:/wait"
    assert type(seen[0]) is sw_flask.FlaskRecording
    assert current.get() is None
    answer = client(quiet(app), "/fail")
    span = app_span(f"{prefix}.fail", 7001, [log(f"{HERE}.ShopError", "sold out")], error=True)
    assert timeless(answer.message) == message(7001, f"{prefix}.fail", "GET:/fail", [span])


def test_copied_request_context(app: Any, client: Client) -> None:
    """What a thread or greenlet does with a copy of the context belongs to the request."""
    seen = []

    def spread() -> str:
        here = find_scope()

        @flask.copy_current_request_context
        def work() -> None:
            seen.append(find_scope() is here)

        for target in (work, lambda: seen.append(find_scope())):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        return "spread"

    app.add_url_rule("/spread", view_func=spread)
    answer = client(app, "/spread")
    assert answer.stitch is not None
    assert answer.messages == []
    assert seen == [True, None]


def test_rules_keep_nothing_of_ours_after_the_stop(app: Any, client: Client) -> None:
    def attributes() -> list[set[str]]:
        return [set(vars(rule)) for rule in app.url_map.iter_rules()]

    before = attributes()
    assert client(app, "/users/42").stitch == plain(f"{HERE}.user", "GET:/users/<int:id>")
    assert attributes() != before
    agent.stop()
    assert attributes() == before
    agent.start()
    assert client(app, "/users/42").stitch == plain(f"{HERE}.user", "GET:/users/<int:id>")
