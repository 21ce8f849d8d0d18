# SPDX-License-Identifier: Apache-2.0
"""Outgoing calls through requests and urllib3, to a real server."""

from __future__ import annotations

import _thread
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest

flask = pytest.importorskip("flask")
requests = pytest.importorskip("requests")
urllib3 = pytest.importorskip("urllib3")

from calls import HANDLER, OPERATION, Origin, exit_header, exit_span, expected  # noqa: E402
from conftest import (  # noqa: E402
    Client,
    app_span,
    b64,
    environ,
    log,
    message,
    serve,
    sw8,
    timeless,
)
from skystitch.channel import losses  # noqa: E402

HERE = __name__


def test_requests(run: Any, origin: Origin) -> None:
    url = f"{origin.url}/stock/3?secret=1#part".replace("http://", "http://me:pw@")
    answer = run(lambda: requests.get(url, timeout=5))
    assert answer.stitch == f"1;7001;*;*;1;{HANDLER};{OPERATION}"
    assert timeless(answer.message) == expected(exit_span(origin, "/stock/3", 7002, "200"))
    assert origin.sw8s() == [exit_header(origin, 2)]


@pytest.mark.parametrize("how", ["manager", "pool", "pool request", "module"])
def test_urllib3(run: Any, origin: Origin, how: str) -> None:
    host, port = origin.peer.split(":")
    calls = {
        "manager": lambda: urllib3.PoolManager().request("GET", f"{origin.url}/stock?secret=1"),
        "pool": lambda: urllib3.HTTPConnectionPool(host, int(port)).urlopen("GET", "/stock?a=1"),
        "pool request": lambda: urllib3.connection_from_url(origin.url).request("GET", "/stock"),
        "module": lambda: urllib3.PoolManager().urlopen(method="GET", url=f"{origin.url}/stock"),
    }
    answer = run(calls[how])
    assert timeless(answer.message) == expected(exit_span(origin, "/stock", 7006, "200"))
    assert origin.sw8s() == [exit_header(origin, 2)]


def test_callers_headers_stay_as_they_are(run: Any, origin: Origin) -> None:
    mine = {"X-Mine": "1", "SW8": "stale", "Sw8-Stitch": "the request's own"}
    session = requests.Session()
    session.headers["X-Session"] = "1"
    prepared = requests.Request("GET", f"{origin.url}/p", headers=mine).prepare()
    manager = urllib3.PoolManager(headers={"X-Manager": "1"})
    pool = urllib3.HTTPConnectionPool(*origin.peer.split(":"), headers={"X-Pool": "1"})

    def calls() -> None:
        session.get(f"{origin.url}/r", headers=mine, timeout=5)
        requests.Session().send(prepared, timeout=5)
        manager.request("GET", f"{origin.url}/m")
        manager.request("GET", f"{origin.url}/n", headers=mine)
        pool.urlopen("GET", "/u")
        pool.urlopen("GET", "/v", headers=mine)

    answer = run(calls)
    assert mine == {"X-Mine": "1", "SW8": "stale", "Sw8-Stitch": "the request's own"}
    assert dict(prepared.headers) == mine
    assert session.headers.get("sw8") is None
    assert (dict(manager.headers), dict(pool.headers)) == ({"X-Manager": "1"}, {"X-Pool": "1"})
    spans = answer.message["spans"][1:]
    assert [span["id"] for span in spans] == [2, 3, 4, 5, 6, 7]
    assert origin.sw8s() == [exit_header(origin, span) for span in range(2, 8)]
    own = ["X-Session", "X-Mine", "X-Manager", "X-Mine", "X-Pool", "X-Mine"]
    for name, (_, headers) in zip(own, origin.seen):
        assert headers[name] == "1"
        assert [key for key in headers if key.lower() == "sw8-stitch"] == []


def test_a_prepared_request_from_where_nobody_calls(run: Any, origin: Origin) -> None:
    """As a greenlet's, or a thread's of _thread: its first frame is that of send()."""
    prepared = requests.Request("GET", f"{origin.url}/p").prepare()
    done = threading.Event()
    session = requests.Session()
    session.hooks["response"].append(lambda *_, **__: done.set())
    prepared.hooks = session.hooks

    def call() -> bool:
        run_here = contextvars.copy_context().run
        _thread.start_new_thread(run_here, (session.send, prepared))
        return done.wait(5)

    assert run(call).result
    assert origin.sw8s() == [exit_header(origin, 2)]
    assert "sw8" not in prepared.headers


def test_redirects_are_one_span(run: Any, origin: Origin) -> None:
    target = Origin()
    answer = run(lambda: requests.get(f"{origin.url}/to?{target.url}/there", timeout=5))
    assert answer.result.status_code == 200
    assert len(answer.result.history) == 1
    assert timeless(answer.message) == expected(exit_span(origin, "/to", 7002, "200"))
    assert target.sw8s() == [exit_header(origin, 2)]
    answer = run(lambda: urllib3.PoolManager().request("GET", f"{origin.url}/to?{target.url}/x"))
    assert timeless(answer.message) == expected(exit_span(origin, "/to", 7006, "200"))
    target.server.shutdown()
    target.server.server_close()


def test_redirect_that_is_not_followed(run: Any, origin: Origin) -> None:
    answer = run(lambda: requests.get(f"{origin.url}/to?/x", timeout=5, allow_redirects=False))
    assert timeless(answer.message) == expected(exit_span(origin, "/to", 7002, "302"))


@pytest.mark.parametrize("code", ["400", "404", "500"])
def test_error_statuses(run: Any, origin: Origin, code: str) -> None:
    answer = run(lambda: requests.post(f"{origin.url}/code/{code}", timeout=5))
    span = exit_span(origin, f"/code/{code}", 7002, code, method="POST", error=True)
    assert timeless(answer.message) == expected(span)


def test_refused_call(run: Any, origin: Origin) -> None:
    origin.server.shutdown()
    origin.server.server_close()

    def call() -> Any:
        with pytest.raises(requests.ConnectionError) as raised:
            requests.get(f"{origin.url}/stock", timeout=5)
        return raised.value

    answer = run(call)
    data = log("requests.exceptions.ConnectionError", str(answer.result))
    span = exit_span(origin, "/stock", 7002, "", error=True, logs=[data])
    assert timeless(answer.message) == expected(span)


def test_unhandled_failure_of_a_call_is_both_spans(run: Any, origin: Origin) -> None:
    origin.server.shutdown()
    origin.server.server_close()
    answer = run(lambda: urllib3.PoolManager(retries=False).request("GET", f"{origin.url}/x"))
    assert answer.status.startswith("500")
    first, second = answer.message["spans"]
    assert first["error"] is True
    assert second["error"] is True
    assert first["logs"][0]["data"][1] == second["logs"][0]["data"][1]


def test_correlation_goes_on(run: Any, origin: Origin) -> None:
    value = f"{b64('user')}:{b64('7')}"
    run(lambda: requests.get(origin.url, timeout=5), headers={"sw8-correlation": value})
    assert origin.seen[0][1]["sw8-correlation"] == value


def test_no_analysis_goes_on(run: Any, origin: Any) -> None:
    """sw8-x: 1 of the request goes with its calls; a mode of its own does not."""
    run(lambda: requests.get(origin.url, timeout=5), headers={"sw8-x": "1"})
    run(lambda: requests.get(origin.url, timeout=5), headers={"sw8-x": "0-"})
    run(lambda: requests.get(origin.url, headers={"SW8-X": "1"}, timeout=5))
    assert [headers["sw8-x"] for _, headers in origin.seen] == ["1", None, None]


def test_other_schemes_pass(run: Any) -> None:
    def call() -> str:
        session = requests.Session()
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get("ftp://127.0.0.1/x", timeout=5)
        with pytest.raises(requests.exceptions.MissingSchema):
            session.get("no-url", timeout=5)
        with pytest.raises(ValueError, match="PreparedRequest"):
            session.send(requests.Request("GET", "http://127.0.0.1/"))
        with pytest.raises(Exception):  # noqa: B017, PT011
            urllib3.PoolManager().request("GET", "http://127.0.0.1:99999/")
        return "passed"

    answer = run(call)
    assert answer.result == "passed"
    assert answer.stitch.split(";")[4] in {"0", "1"}


def test_outside_of_a_request(origin: Origin) -> None:
    requests.get(origin.url, timeout=5)
    urllib3.PoolManager().request("GET", origin.url)
    assert origin.sw8s() == [None, None]


def test_without_the_proxy(run: Any, origin: Origin) -> None:
    answer = run(lambda: requests.get(origin.url, timeout=5), traced={"sw8": sw8()})
    assert answer.stitch is None
    assert origin.sw8s() == [None]


def test_not_reported_unless_kept(run: Any, client: Client, origin: Origin) -> None:
    """The callee hangs in the entry span, the exit span is not sent."""
    traced = client.traced(flags="", sample="0")
    answer = run(lambda: requests.get(origin.url, timeout=5), traced=traced)
    assert answer.messages == []
    assert origin.sw8s() == [exit_header(origin, 0, sample="0")]


def test_without_a_channel(run: Any, client: Client, origin: Origin) -> None:
    answer = run(lambda: requests.get(origin.url, timeout=5), traced=client.traced(channel="-"))
    assert answer.stitch == f"1;7001;*;*;0;{HANDLER};{OPERATION}"
    assert origin.sw8s() == [exit_header(origin, 0)]
    assert not losses


def test_call_before_the_route_is_known(client: Client, origin: Origin) -> None:
    app = flask.Flask("shop")
    app.before_request(lambda: requests.get(origin.url, timeout=5) and None)
    answer = client(app, "/nope")
    assert answer.status.startswith("404")
    assert origin.sw8s() == [exit_header(origin, 2, operation="GET:/raw")]
    spans = [app_span("flask.app.Flask.wsgi_app", 7001), exit_span(origin, "/", 7002, "200")]
    assert timeless(answer.message) == message(7001, "", "GET:/*", spans)


def test_call_in_a_stream(client: Client, origin: Origin) -> None:
    app = flask.Flask("shop")

    @app.route("/stream/<word>")
    def stream(word: str) -> Any:
        def generate() -> Iterator[str]:
            yield "part 0"
            yield requests.get(f"{origin.url}/in", timeout=5).text

        return flask.Response(generate())

    answer = client(app, "/stream/x")
    handler = f"{HERE}.test_call_in_a_stream.<locals>.stream"
    operation = "GET:/stream/<word>"
    assert answer.stitch == f"1;7001;*;*;+;{handler};{operation}"
    spans = [app_span(handler, 7001), exit_span(origin, "/in", 7002, "200")]
    assert timeless(answer.message) == message(7001, handler, operation, spans)
    assert origin.sw8s() == [exit_header(origin, 2, operation=operation)]


def test_call_after_the_answer_is_counted(client: Client, origin: Origin) -> None:
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: "x", endpoint="x")
    app.teardown_request(lambda error: requests.get(origin.url, timeout=5) and None)
    answer = client(app, "/")
    assert answer.messages == []
    handler = f"{HERE}.test_call_after_the_answer_is_counted.<locals>.<lambda>"
    assert origin.sw8s() == [exit_header(origin, 0, operation="GET:/")]
    assert sum(losses) == 1
    assert client(app, "/").stitch == f"1;7001;*;*;0!1;{handler};GET:/"


def test_call_that_ends_after_the_answer_is_counted(
    run: Any, client: Client, origin: Origin
) -> None:
    """A thread that was given the request's context outlives the request."""
    go, done = threading.Event(), threading.Event()

    class Hook(requests.auth.AuthBase):
        def __call__(self, request: Any) -> Any:
            return request

    def slow(response: Any, *args: Any, **kwargs: Any) -> Any:
        go.wait(5)
        return response

    def work() -> None:
        requests.get(origin.url, timeout=5, hooks={"response": slow})
        done.set()

    def call() -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(work,))
        thread.start()
        while not origin.seen:
            pass

    answer = run(call)
    assert answer.messages == []
    go.set()
    assert done.wait(5)
    assert sum(losses) == 1


def test_calls_of_threads_with_the_context(run: Any, origin: Origin) -> None:
    def call() -> None:
        threads = []
        for _ in range(8):
            context = contextvars.copy_context()
            work = lambda: requests.get(origin.url, timeout=5)  # noqa: E731
            threads.append(threading.Thread(target=context.run, args=(work,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    answer = run(call)
    spans = answer.message["spans"][1:]
    assert sorted(span["id"] for span in spans) == list(range(2, 10))
    assert sorted(origin.sw8s()) == sorted(exit_header(origin, span) for span in range(2, 10))


def test_many_calls_are_cut_and_counted(
    run: Any, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skystitch.context._MAX_SPANS", 5)

    def call() -> None:
        with requests.Session() as session:
            for _ in range(7):
                session.get(origin.url, timeout=5)

    answer = run(call)
    assert [span["id"] for span in answer.message["spans"]] == [1, 2, 3, 4, 5]
    assert answer.stitch.split(";")[4] == "1!3"
    assert origin.sw8s()[-1] == exit_header(origin, 0)


def test_many_calls_come_in_parts(run: Any, origin: Origin) -> None:
    path = "/" + "long" * 400

    def call() -> None:
        with requests.Session() as session:
            for _ in range(40):
                session.get(f"{origin.url}{path}", timeout=5)

    answer = run(call)
    parts = answer.messages
    assert len(parts) > 1
    assert answer.stitch.split(";")[4] == str(len(parts))
    assert [part["seq"] for part in parts] == list(range(len(parts)))
    assert [part["last"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [span["id"] for part in parts for span in part["spans"]] == list(range(1, 42))


def test_disabled_plugins(run: Any, origin: Origin, restart: Any) -> None:
    restart(SW_AGENT_DISABLE_PLUGINS="sw_req.*")
    answer = run(lambda: requests.get(f"{origin.url}/x", timeout=5))
    assert timeless(answer.message) == expected(exit_span(origin, "/x", 7006, "200"))
    restart(SW_AGENT_DISABLE_PLUGINS="sw_urllib3, sw_requests")
    answer = run(lambda: requests.get(f"{origin.url}/x", timeout=5))
    assert timeless(answer.message) == expected(exit_span(origin, "/x", 7000, "200"))
    restart(SW_AGENT_DISABLE_PLUGINS="sw_urllib3, sw_requests, sw_http_client")
    answer = run(lambda: requests.get(f"{origin.url}/x", timeout=5))
    assert answer.messages == []
    assert origin.sw8s()[2:] == [None]


def test_view_raises_after_a_call_when_exceptions_propagate(client: Client, origin: Origin) -> None:
    app = flask.Flask("shop")
    app.testing = True

    @app.route("/")
    def call() -> str:
        requests.get(f"{origin.url}/x", timeout=5)
        raise ValueError("after the call")

    answer = client(app, "/")
    assert isinstance(answer.error, ValueError)
    handler = f"{HERE}.test_view_raises_after_a_call_when_exceptions_propagate.<locals>.call"
    logs = [log("ValueError", "after the call")]
    spans = [app_span(handler, 7001, logs, error=True), exit_span(origin, "/x", 7002, "200")]
    assert timeless(answer.message) == message(7001, handler, "GET:/", spans)


def test_ipv6_and_default_ports() -> None:
    from skystitch.http_exits import target

    for url, peer, shown in [
        ("http://[::1]:8080/x?y", "[::1]:8080", "http://[::1]:8080/x"),
        ("http://[::1]/", "[::1]:80", "http://[::1]/"),
        ("https://a:b@Example.com", "example.com:443", "https://Example.com"),
        ("http://h:80/%20", "h:80", "http://h:80/%20"),
    ]:
        for _ in range(2):  # the second time from memory
            assert target(url)[1:] == (peer, shown)
    for url in ("", "x", "/x", "http://", "http:///x", "http://h:x/", "unix://x", "http://h:70000"):
        with pytest.raises(ValueError):  # noqa: PT011
            target(url)


def test_serve_is_untouched_by_the_wrapped_session(origin: Origin) -> None:
    """A request of the proxy's in one context, none in the next: nothing is left behind."""
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: requests.get(origin.url, timeout=5).text)
    assert serve(app, environ("/")).status == "200 OK"
    assert origin.sw8s() == [None]
