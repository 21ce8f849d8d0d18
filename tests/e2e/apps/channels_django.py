# SPDX-License-Identifier: Apache-2.0
"""Django Channels: consumers of WebSockets and of HTTP beside Django's own views, with a channel layer in memory."""

from __future__ import annotations

import sqlite3
from typing import Any

import tracing

tracing.start()

import django  # noqa: E402
from channels.generic.http import AsyncHttpConsumer  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path, re_path  # noqa: E402

HERE = "channels_django"

settings.configure(
    DEBUG=False,
    SECRET_KEY="of the tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=HERE,
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    INSTALLED_APPS=["channels"],
    USE_TZ=True,
)
django.setup()


class Chat(AsyncWebsocketConsumer):
    """Says everything to all in the room, through the channel layer."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "fail":
            raise ValueError(self.room)
        await self.channel_layer.group_send(self.room, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class Stock(WebsocketConsumer):
    """Not a coroutine: Channels calls it in a thread."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        connection = sqlite3.connect(":memory:")
        found = connection.execute("select 40 + ?", (int(text_data or 0),)).fetchone()
        connection.close()
        self.send(text_data=str(found[0]))


class Refuses(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.close()


class Report(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        if self.scope["url_route"]["kwargs"]["year"] == 1999:
            raise ValueError("too old")
        await self.send_response(200, b"report", headers=[(b"Content-Type", b"text/plain")])


def ready(_: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


def user(_: HttpRequest, id: int) -> HttpResponse:
    return HttpResponse(f"user {id}")


urlpatterns = [path("ready", ready), path("users/<int:id>", user)]

rooms = URLRouter([re_path(r"^(?P<room>\w+)/$", Chat.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [path("reports/<int:year>", Report.as_asgi()), re_path("", get_asgi_application())],
        ),
        "websocket": URLRouter(
            [path("chat/", rooms), path("stock/<str:item>", Stock.as_asgi()), path("refused", Refuses.as_asgi())]
        ),
    }
)
