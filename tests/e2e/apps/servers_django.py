# SPDX-License-Identifier: Apache-2.0
"""The situations of test_servers in Django, and its manage.py. Served by servers_django_wsgi and servers_django_asgi:
neither handler brings the other with it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

import tracing

tracing.start()

import django  # noqa: E402
import requests  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.exceptions import PermissionDenied  # noqa: E402
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.shortcuts import redirect  # noqa: E402
from django.urls import include, path  # noqa: E402

HERE = "servers_django"

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="of the tests",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=HERE,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", f"{HERE}.AnswersExceptions"],
        WSGI_APPLICATION=f"{HERE}_wsgi.application",
        INSTALLED_APPS=["django.contrib.contenttypes"],
        USE_TZ=True,
    )


class OutOfStockError(Exception):
    pass


class AnswersExceptions:
    """Of a kind that knows WSGI alone, as most do: under ASGI Django runs it in a thread."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        known = isinstance(error, OutOfStockError)
        return HttpResponse(f"out of stock: {error}", status=409) if known else None


def ready(_: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


def user(_: HttpRequest, id: int) -> HttpResponse:
    return HttpResponse(f"user {id}")


def handled(_: HttpRequest) -> HttpResponse:
    raise OutOfStockError("bolts")


def boom(_: HttpRequest) -> HttpResponse:
    raise ValueError("boom")


def aborted(_: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def redirected(_: HttpRequest) -> HttpResponse:
    return redirect("/users/1")


def large(_: HttpRequest) -> HttpResponse:
    return HttpResponse(bytes(4 << 20))


def stream(_: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"part {number}\n" for number in range(3))


def stream_broken(_: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield "part 0\n"
        raise RuntimeError("the stream broke")

    return StreamingHttpResponse(parts())


def endless(_: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        while True:
            yield "x" * 4096
            time.sleep(0.005)

    return StreamingHttpResponse(parts())


def call(_: HttpRequest) -> HttpResponse:
    return HttpResponse(requests.get(os.environ["APP_CALLEE"], timeout=10).text)


async def async_user(_: HttpRequest, id: int) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(f"user {id}")


async def async_boom(_: HttpRequest) -> HttpResponse:
    raise ValueError("boom")


async def async_stream(_: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"part {number}\n"

    return StreamingHttpResponse(parts())


async def async_stream_broken(_: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        yield "part 0\n"
        raise RuntimeError("the stream broke")

    return StreamingHttpResponse(parts())


async def async_endless(_: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        while True:
            yield "x" * 4096
            await asyncio.sleep(0.005)

    return StreamingHttpResponse(parts())


asynchronous = [
    path("users/<int:id>", async_user),
    path("boom", async_boom),
    path("stream", async_stream),
    path("stream-broken", async_stream_broken),
    path("endless", async_endless),
]

urlpatterns = [
    path("ready", ready),
    path("users/<int:id>", user),
    path("handled", handled),
    path("boom", boom),
    path("abort", aborted),
    path("redirect", redirected),
    path("large", large),
    path("stream", stream),
    path("stream-broken", stream_broken),
    path("endless", endless),
    path("call", call),
    path("async/", include(asynchronous)),
]

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
else:
    django.setup()
