# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Pyramid."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import tracing

tracing.start()

import requests  # noqa: E402
from pyramid.config import Configurator  # noqa: E402
from pyramid.httpexceptions import HTTPForbidden, HTTPFound  # noqa: E402
from pyramid.response import Response  # noqa: E402


class OutOfStockError(Exception):
    pass


def out_of_stock(error: OutOfStockError, _: Any) -> Response:
    return Response(f"out of stock: {error}", status=409)


def user(request: Any) -> Response:
    return Response(f"user {request.matchdict['id']}")


def handled(_: Any) -> Response:
    raise OutOfStockError("bolts")


def boom(_: Any) -> Response:
    raise ValueError("boom")


def aborted(_: Any) -> Response:
    raise HTTPForbidden


def broken_parts() -> Iterator[bytes]:
    yield b"part 0\n"
    raise RuntimeError("the stream broke")


def endless_parts() -> Iterator[bytes]:
    while True:
        yield b"x" * 4096
        time.sleep(0.005)


VIEWS = {
    "/ready": lambda _: Response(str(os.getpid())),
    "/users/{id}": user,
    "/handled": handled,
    "/boom": boom,
    "/abort": aborted,
    "/redirect": lambda _: HTTPFound("/users/1"),
    "/large": lambda _: Response(bytes(4 << 20)),
    "/stream": lambda _: Response(app_iter=(b"part %d\n" % number for number in range(3))),
    "/stream-broken": lambda _: Response(app_iter=broken_parts()),
    "/endless": lambda _: Response(app_iter=endless_parts()),
    "/call": lambda _: Response(requests.get(os.environ["APP_CALLEE"], timeout=10).text),
}

with Configurator() as config:
    for pattern, view in VIEWS.items():
        config.add_route(pattern, pattern)
        config.add_view(view, route_name=pattern)
    config.add_exception_view(out_of_stock, context=OutOfStockError)
    app = config.make_wsgi_app()
