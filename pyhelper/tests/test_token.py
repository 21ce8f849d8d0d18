# SPDX-License-Identifier: Apache-2.0
"""Details in a header, for a proxy on another host that shares the token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from conftest import SEGMENT, Client, app_span, log, message, timeless
from skystitch.token import is_genuine

flask = pytest.importorskip("flask")

TOKEN = "correct horse"
HANDLER = f"{__name__}.app.<locals>.boom"


def mac(t0: int, token: str = TOKEN, segment: str = SEGMENT) -> str:
    return hmac.new(token.encode(), f"{segment};{t0}".encode(), hashlib.sha256).hexdigest()


def test_is_genuine() -> None:
    now = 1_700_000_000_000_000
    assert is_genuine(TOKEN, SEGMENT, now, mac(now), now)
    assert is_genuine(TOKEN, SEGMENT, now, mac(now).upper(), now + 60_000_000)
    assert is_genuine(TOKEN, SEGMENT, now, mac(now), now - 60_000_000)
    assert not is_genuine(TOKEN, SEGMENT, now, mac(now), now + 60_000_001)
    assert not is_genuine(TOKEN, SEGMENT, now, mac(now), now - 60_000_001)
    assert not is_genuine(TOKEN, SEGMENT, now, mac(now + 1), now)
    assert not is_genuine(TOKEN, "other", now, mac(now), now)
    assert not is_genuine("other", SEGMENT, now, mac(now), now)
    assert not is_genuine(TOKEN, SEGMENT, now, "", now)
    assert not is_genuine(TOKEN, SEGMENT, now, "é", now)
    assert not is_genuine("", SEGMENT, now, mac(now, token=""), now)


@pytest.fixture
def app() -> Any:
    made = flask.Flask("shop")
    made.logger.disabled = True

    @made.route("/boom")
    def boom() -> str:
        raise ValueError(flask.request.args.get("text", "boom"))

    @made.route("/stream")
    def stream() -> Any:
        return flask.Response(iter(["a", "b"]))

    return made


def signed(client: Client, channel: str = "-", **changes: Any) -> dict[str, str]:
    t0 = changes.pop("t0", time.time_ns() // 1000)
    value = f"1;{channel};{t0};s;{mac(changes.pop('signs', t0))}"
    return {**client.traced(), "sw8-stitch": value}


def data(answer: Any) -> dict[str, Any]:
    value = answer.header("sw8-stitch-data")
    made = base64.b64decode(value, validate=True)
    assert len(made) <= 4096
    read = json.loads(made)
    assert isinstance(read, dict)
    return read


def test_details_in_a_header(app: Any, client: Client, restart: Any) -> None:
    restart(SKYSTITCH_TOKEN=TOKEN)
    answer = client(app, "/boom", traced=signed(client))
    assert answer.stitch == f"1;7001;*;*;0;{HANDLER};GET:/boom"
    span = app_span(HANDLER, 7001, [log("ValueError", "boom")], error=True)
    assert timeless(data(answer)) == message(7001, HANDLER, "GET:/boom", [span])
    assert answer.messages == []


def test_long_details_are_cut(app: Any, client: Client, restart: Any) -> None:
    restart(SKYSTITCH_TOKEN=TOKEN)
    made = data(client(app, f"/boom?text={'x' * 20000}", traced=signed(client)))
    assert made["cut"] is True
    stack = dict(made["spans"][0]["logs"][0]["data"])["stack"]
    assert stack.startswith("...\n")
    assert stack.endswith("xxx\n")


def test_the_channel_is_preferred(app: Any, client: Client, restart: Any) -> None:
    restart(SKYSTITCH_TOKEN=TOKEN)
    answer = client(app, "/boom", traced=signed(client, client.proxy.channel))
    assert answer.header("sw8-stitch-data") is None
    assert len(answer.messages) == 1


def test_the_header_stands_in_for_a_stranger_at_the_channel(
    app: Any, client: Client, restart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart(SKYSTITCH_TOKEN=TOKEN)
    monkeypatch.setattr("skystitch.channel._peer_uid", lambda _: 12345)
    answer = client(app, "/boom", traced=signed(client, client.proxy.channel))
    assert answer.messages == []
    assert data(answer)["handler"] == HANDLER
    assert answer.stitch is not None
    assert answer.stitch.split(";")[4] == "0"  # nothing is lost


@pytest.mark.parametrize("how", ["no token here", "other token", "no mac", "wrong mac", "old"])
def test_no_details_for_a_stranger(app: Any, client: Client, restart: Any, how: str) -> None:
    if how != "no token here":
        restart(SKYSTITCH_TOKEN="another" if how == "other token" else TOKEN)
    now = time.time_ns() // 1000
    traced = signed(client)
    if how == "no mac":
        traced = client.traced(channel="-")
    elif how == "wrong mac":
        traced = signed(client, signs=now - 1)
    elif how == "old":
        traced = signed(client, t0=now - 61_000_000)
    answer = client(app, "/boom", traced=traced)
    assert answer.status.startswith("500")
    assert answer.stitch == f"1;7001;*;*;0;{HANDLER};GET:/boom"
    assert [name for name, _ in answer.headers if name.startswith("sw8")] == ["sw8-stitch"]


def test_stream_has_nothing_to_say_in_a_header(app: Any, client: Client, restart: Any) -> None:
    restart(SKYSTITCH_TOKEN=TOKEN)
    answer = client(app, "/stream", traced=signed(client))
    assert answer.body == b"ab"
    assert answer.stitch is not None
    assert answer.stitch.split(";")[4] == "0"
