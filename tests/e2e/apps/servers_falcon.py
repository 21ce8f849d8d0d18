# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Falcon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import tracing

tracing.start()

import falcon  # noqa: E402
import requests  # noqa: E402


class OutOfStockError(Exception):
    pass


def out_of_stock(_: Any, response: Any, error: OutOfStockError, __: Any) -> None:
    response.status, response.text = falcon.HTTP_409, f"out of stock: {error}"


def broken_parts() -> Iterator[bytes]:
    yield b"part 0\n"
    raise RuntimeError("the stream broke")


def endless_parts() -> Iterator[bytes]:
    while True:
        yield b"x" * 4096
        time.sleep(0.005)


def fail(error: Exception) -> None:
    raise error


def responder(name: str, answer: Callable[..., None]) -> Any:
    """A resource whose class has the name of the situation."""

    def on_get(self: Any, _: Any, response: Any, **params: Any) -> None:
        answer(response, **params)

    on_get.__qualname__ = f"{name}.on_get"
    return type(name, (), {"on_get": on_get, "on_head": on_get})()


def sets(name: str, make: Callable[..., Any]) -> Callable[..., None]:
    return lambda response, **params: setattr(response, name, make(**params))


app = falcon.App()
app.add_error_handler(OutOfStockError, out_of_stock)
for rule, name, answer in (
    ("/ready", "ready", sets("text", lambda: str(os.getpid()))),
    ("/users/{id:int}", "user", sets("text", lambda id: f"user {id}")),
    ("/handled", "handled", lambda _: fail(OutOfStockError("bolts"))),
    ("/boom", "boom", lambda _: fail(ValueError("boom"))),
    ("/abort", "aborted", lambda _: fail(falcon.HTTPForbidden())),
    ("/redirect", "redirected", lambda _: fail(falcon.HTTPFound("/users/1"))),
    ("/large", "large", sets("data", lambda: bytes(4 << 20))),
    ("/stream", "stream", sets("stream", lambda: (b"part %d\n" % number for number in range(3)))),
    ("/stream-broken", "stream_broken", sets("stream", broken_parts)),
    ("/endless", "endless", sets("stream", endless_parts)),
    ("/call", "call", sets("text", lambda: requests.get(os.environ["APP_CALLEE"], timeout=10).text)),
):
    app.add_route(rule, responder(name, answer))
