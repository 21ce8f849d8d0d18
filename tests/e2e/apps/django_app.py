# SPDX-License-Identifier: Apache-2.0
"""A Django app with the situations that a tracer meets. APP_AGENT as in flask_app, APP_DEBUG=1 sets DEBUG."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import tracing

tracing.start()

import django  # noqa: E402
import requests  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.exceptions import PermissionDenied  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import (  # noqa: E402
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect  # noqa: E402
from django.urls import include, path, re_path  # noqa: E402
from django.views import View  # noqa: E402
from django.views.decorators.http import require_GET  # noqa: E402

settings.configure(
    DEBUG=bool(os.environ.get("APP_DEBUG")),
    SECRET_KEY="of the tests",
    ALLOWED_HOSTS=["127.0.0.1", "localhost", "app", "shop.test"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", f"{__name__}.gate"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)


def gate(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        if request.GET.get("gate") == "closed":
            return HttpResponse("closed by middleware")
        if request.GET.get("gate") == "broken":
            raise LookupError("middleware broke")
        return get_response(request)

    return middleware


def ready(_: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


def item(_: HttpRequest, pk: int) -> JsonResponse:
    return JsonResponse({"id": pk})


def boom(_: HttpRequest, word: str) -> HttpResponse:
    raise ValueError(f"no such word: {word}")


def missing(_: HttpRequest) -> HttpResponse:
    raise Http404("no such thing")


def denied(_: HttpRequest) -> HttpResponse:
    raise PermissionDenied("not you")


def status(_: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse(status=status)


@require_GET
def only_get(_: HttpRequest) -> HttpResponse:
    return HttpResponse("got")


def stream(_: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        for part in range(3):
            time.sleep(0.05)
            yield f"part {part}\n"

    return StreamingHttpResponse(parts(), content_type="text/plain")


def stream_broken(_: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield "part 0\n"
        raise RuntimeError("the stream broke")

    return StreamingHttpResponse(parts(), content_type="text/plain")


def redirected(_: HttpRequest) -> HttpResponse:
    return redirect("/items/1")


def slash(_: HttpRequest) -> HttpResponse:
    return HttpResponse("slash")


def echo(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {
            "method": request.method,
            "headers": sorted(request.headers.items()),
            "form": {key: request.POST[key] for key in request.POST},
            "body": request.body.decode("latin-1"),
        }
    )


def call(request: HttpRequest) -> HttpResponse:
    response = requests.get(request.GET["url"], timeout=10)
    return HttpResponse(response.text, status=response.status_code)


class Shelf(View):
    def get(self, _: HttpRequest, place: str) -> HttpResponse:
        return HttpResponse(place)


inner = [path("reports/<uuid:report>", lambda _, report: HttpResponse(str(report)), name="report")]

urlpatterns = [
    path("ready", ready),
    path("items/<int:pk>", item),
    path("boom/<word>", boom),
    path("missing", missing),
    path("denied", denied),
    path("status/<int:status>", status),
    path("only-get", only_get),
    path("stream", stream),
    path("stream-broken", stream_broken),
    path("redirect", redirected),
    path("slash/", slash),
    path("echo", echo),
    path("call", call),
    path("shelves/<place>", Shelf.as_view()),
    path("admin/", include(inner)),
    re_path(r"^parts/(?P<pk>[0-9]+)/$", item),
]

django.setup()
application = get_wsgi_application()
