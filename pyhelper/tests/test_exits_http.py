# SPDX-License-Identifier: Apache-2.0
"""Outgoing HTTP calls, the same situations through every library, to a real server."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import inspect
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from calls import HANDLER, OPERATION, Origin, exit_header, exit_span, expected
from conftest import b64, log, timeless


def by_requests(method: str, url: str, headers: Any = None) -> int:
    requests = pytest.importorskip("requests")
    return requests.request(method, url, headers=headers, timeout=5).status_code


def by_urllib3(method: str, url: str, headers: Any = None) -> int:
    urllib3 = pytest.importorskip("urllib3")
    return urllib3.PoolManager().request(method, url, headers=headers).status


def by_httpx(method: str, url: str, headers: Any = None) -> int:
    httpx = pytest.importorskip("httpx")
    return httpx.request(method, url, headers=headers, follow_redirects=True).status_code


def by_httpx_async(method: str, url: str, headers: Any = None) -> int:
    httpx = pytest.importorskip("httpx")

    async def call() -> int:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            return (await client.request(method, url, headers=headers)).status_code

    return asyncio.run(call())


def by_aiohttp(method: str, url: str, headers: Any = None) -> int:
    aiohttp = pytest.importorskip("aiohttp")

    async def call() -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers) as response,
        ):
            return response.status

    return asyncio.run(call())


def by_urllib_request(method: str, url: str, headers: Any = None) -> int:
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def by_http_client(method: str, url: str, headers: Any = None) -> int:
    host, _, path = url.partition("//")[2].partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request(method, f"/{path}", headers=headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


COMPONENTS = {
    by_requests: 7002,
    by_urllib3: 7006,
    by_httpx: 7019,
    by_httpx_async: 7019,
    by_aiohttp: 7008,
    by_urllib_request: 7000,
    by_http_client: 7000,
}
FOLLOWS = [library for library in COMPONENTS if library is not by_http_client]

Library = Callable[..., int]
OF_PYTHON = ("urllib_request", "http_client")


def libraries(*of: Library) -> Any:
    """Those that are installed; the others are skipped."""
    chosen = []
    for library in of or COMPONENTS:
        name = library.__name__[3:]
        module = name.removesuffix("_async")
        is_there = module in OF_PYTHON or importlib.util.find_spec(module) is not None
        marks = () if is_there else pytest.mark.skip(reason=f"no {module}")
        chosen.append(pytest.param(library, id=name, marks=marks))
    return pytest.mark.parametrize("library", chosen)


@libraries()
def test_one_span(run: Any, origin: Origin, library: Library) -> None:
    answer = run(lambda: library("GET", f"{origin.url}/stock/3?secret=1"))
    assert answer.result == 200
    assert answer.stitch == f"1;7001;*;*;1;{HANDLER};{OPERATION}"
    span = exit_span(origin, "/stock/3", COMPONENTS[library], "200")
    assert timeless(answer.message) == expected(span)
    assert origin.sw8s() == [exit_header(origin, 2)]


@libraries()
@pytest.mark.parametrize("code", ["404", "503"])
def test_error_statuses(run: Any, origin: Origin, library: Library, code: str) -> None:
    answer = run(lambda: library("POST", f"{origin.url}/code/{code}"))
    assert answer.result == int(code)
    component = COMPONENTS[library]
    span = exit_span(origin, f"/code/{code}", component, code, method="POST", error=True)
    assert timeless(answer.message) == expected(span)


@libraries()
def test_refused(run: Any, origin: Origin, library: Library) -> None:
    origin.server.shutdown()
    origin.server.server_close()

    def call() -> BaseException:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            library("GET", f"{origin.url}/stock")
        return raised.value

    answer = run(call)
    error = answer.result
    name = f"{type(error).__module__}.{type(error).__qualname__}".replace("builtins.", "")
    span = exit_span(
        origin, "/stock", COMPONENTS[library], "", error=True, logs=[log(name, str(error))]
    )
    assert timeless(answer.message) == expected(span)


@libraries(*FOLLOWS)
def test_a_followed_redirect_is_one_span(run: Any, origin: Origin, library: Library) -> None:
    answer = run(lambda: library("GET", f"{origin.url}/to?/there"))
    assert answer.result == 200
    span = exit_span(origin, "/to", COMPONENTS[library], "200")
    assert timeless(answer.message) == expected(span)
    assert len(origin.seen) == 2
    assert origin.sw8s()[0] == exit_header(origin, 2)


@libraries()
def test_callers_headers(run: Any, origin: Origin, library: Library) -> None:
    """They go out, but for the proxy's to this app; the dict that was given stays as it was."""
    mine = {"X-Mine": "1", "SW8": "stale", "Sw8-Stitch": "mine"}
    correlation = f"{b64('user')}:{b64('7')}"
    run(
        lambda: library("GET", f"{origin.url}/p", mine),
        headers={"sw8-correlation": correlation},
    )
    assert mine == {"X-Mine": "1", "SW8": "stale", "Sw8-Stitch": "mine"}
    (_, headers), *_ = origin.seen
    assert headers["X-Mine"] == "1"
    assert headers.get_all("sw8") == [exit_header(origin, 2)]
    assert headers.get_all("sw8-correlation") == [correlation]
    assert headers["sw8-stitch"] is None


@libraries()
def test_outside_of_a_request(origin: Origin, library: Library) -> None:
    assert library("GET", f"{origin.url}/x") == 200
    assert origin.sw8s() == [None]


@libraries()
def test_ignored_method(run: Any, origin: Origin, library: Library, restart: Any) -> None:
    restart(SW_PLUGIN_HTTP_IGNORE_METHOD="options, get")
    answer = run(lambda: library("GET", f"{origin.url}/x"))
    assert answer.messages == []
    assert origin.sw8s() == [None]


@libraries()
def test_many_calls_one_after_another(run: Any, origin: Origin, library: Library) -> None:
    answer = run(lambda: [library("GET", f"{origin.url}/{n}") for n in range(3)])
    spans = answer.message["spans"][1:]
    assert [(span["id"], span["parent"], span["operation"]) for span in spans] == [
        (2, 1, "/0"),
        (3, 1, "/1"),
        (4, 1, "/2"),
    ]


def test_http_client_by_hand(run: Any, origin: Origin) -> None:
    """As libraries do that write the request's head themselves; a connection used twice."""

    def call() -> list[int]:
        connection = http.client.HTTPConnection(origin.peer, timeout=5)
        codes = []
        for path in ("/a?q", f"{origin.url}/b"):
            connection.putrequest("GET", path, skip_accept_encoding=True)
            connection.putheader("X-Mine", 1)
            connection.endheaders()
            response = connection.getresponse()
            response.read()
            codes.append(response.status)
        assert not set(vars(connection)) & {"putheader", "endheaders", "getresponse", "close"}
        connection.close()
        return codes

    answer = run(call)
    assert answer.result == [200, 200]
    assert [span["operation"] for span in answer.message["spans"][1:]] == ["/a", "/b"]
    assert origin.sw8s() == [exit_header(origin, 2), exit_header(origin, 3)]


def test_http_client_given_up(run: Any, origin: Origin) -> None:
    def call() -> None:
        connection = http.client.HTTPConnection(origin.peer, timeout=5)
        connection.request("GET", "/x")
        connection.close()

    answer = run(call)
    assert timeless(answer.message) == expected(exit_span(origin, "/x", 7000, ""))


def test_request_objects_stay_as_they_are(run: Any, origin: Origin) -> None:
    httpx = pytest.importorskip("httpx")
    request = urllib.request.Request(f"{origin.url}/u", headers={"X-Mine": "1"})
    built = httpx.Request("POST", f"{origin.url}/h", content=b"body", headers={"X-Mine": "1"})
    headers = list(built.headers.items())

    def call() -> None:
        urllib.request.urlopen(request, timeout=5).close()
        with httpx.Client() as client:
            client.send(built)

    run(call)
    assert request.headers == {"X-mine": "1"}
    assert list(built.headers.items()) == headers
    assert origin.sw8s() == [exit_header(origin, 2), exit_header(origin, 3)]


def test_signatures_stay(origin: Origin) -> None:
    assert list(inspect.signature(http.client.HTTPConnection.putrequest).parameters)[:3] == [
        "self",
        "method",
        "url",
    ]
    aiohttp = pytest.importorskip("aiohttp")
    assert inspect.iscoroutinefunction(aiohttp.ClientSession._request)


def test_concurrent_tasks(run: Any, origin: Origin) -> None:
    """Each task's call is a span of its own, however they overlap."""
    httpx = pytest.importorskip("httpx")

    async def call() -> None:
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(client.get(f"{origin.url}/{n}") for n in range(5)))

    answer = run(lambda: asyncio.run(call()))
    spans = answer.message["spans"][1:]
    assert sorted(span["operation"] for span in spans) == ["/0", "/1", "/2", "/3", "/4"]
    assert {span["parent"] for span in spans} == {1}
    assert sorted(origin.sw8s()) == sorted(exit_header(origin, n) for n in range(2, 7))
