# SPDX-License-Identifier: Apache-2.0
"""The stock service: Django in one file."""

from skystitch import agent

agent.start()

import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

settings.configure(SECRET_KEY="of the demo", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True)

SHELVES = {7: 12, 8: 0}


def ready(_: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


def stock(_: HttpRequest, item: int) -> JsonResponse:
    return JsonResponse({"item": item, "pieces": SHELVES[item]})


urlpatterns = [path("ready", ready), path("stock/<int:item>", stock)]

django.setup()
application = get_wsgi_application()
