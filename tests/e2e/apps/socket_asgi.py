# SPDX-License-Identifier: Apache-2.0
"""WebSockets by bare ASGI: /echo, /refuse (403), /close (by the app, with 4001); anything else by HTTP is 200."""

from __future__ import annotations


async def app(scope, receive, send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/refuse":
        await send({"type": "websocket.close"})
        return
    headers = [(b"x-app", b"echo"), (b"sw8-stitch", b"1 nonsense")]
    await send({"type": "websocket.accept", "headers": headers})
    while (message := await receive())["type"] == "websocket.receive":
        if scope["path"] == "/close":
            await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
            return
        payload = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
        await send({"type": "websocket.send", **payload})
