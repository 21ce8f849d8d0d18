# SPDX-License-Identifier: Apache-2.0
"""sw8, sw8-correlation and sw8-x, in and out."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from skywalking.trace.carrier import Carrier

from harness import Collector, Exchange, Origin, RawClient, Ref, Skystitch, Stage, free_port, run


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def sw8(sample: str = "1", span: str = "3", address: str = "10.0.0.2:8080") -> str:
    encoded = [
        b64("trace-1"),
        b64("seg-1"),
        span,
        b64("caller"),
        b64("caller@host"),
        b64("GET:/from"),
        b64(address),
    ]
    return "-".join([sample, *encoded])


JOINED = Ref("CrossProcess", "trace-1", "seg-1", 3, "caller", "caller@host", "GET:/from", "10.0.0.2:8080")

MALFORMED = {
    "python's suppressed": "1-------",
    "empty": "",
    "seven fields": sw8().rsplit("-", 1)[0],
    "nine fields": sw8() + "-" + b64("x"),
    "unpadded": sw8().replace("=", ""),
    "url-safe": sw8(address="??>>").replace("/", "_").replace("+", "-"),
    "not UTF-8": "-".join([*sw8().split("-")[:7], base64.b64encode(b"\xff\xfe").decode()]),
    "span id no number": sw8(span="x"),
    "negative span id": sw8(span="-1"),
    "sample 2": sw8(sample="2"),
    "too long": sw8(address="a" * 2000),
}


class Setting:
    def __init__(
        self, stage: Stage, agent: dict[str, Any] | None = None, routes: list[dict[str, Any]] | None = None
    ) -> None:
        self.collector = Collector(stage)
        self.origin = Origin(stage)
        config: dict[str, Any] = {"agent": agent or {}}
        if routes is not None:
            config["routes"] = [{"upstream": "app", **route} for route in routes]
        self.proxy = Skystitch(stage, self.origin.address, collector=self.collector, config=config)

    def exchange(self, path: str = "/users/7", **headers: str) -> Exchange:
        """What the app was sent for a request with these headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        assert self.proxy.get(path, headers=named).status_code == 200
        return self.origin.exchanges[-1]


def carrier(exchange: Exchange) -> Carrier:
    """The sw8 that the app was sent, as the upstream agent reads it."""
    values = exchange.values(b"sw8")
    assert len(values) == 1, values
    read = Carrier()
    read.val = values[0].decode()
    assert read.is_valid
    return read


def test_the_app_is_told_the_entry(stage: Stage) -> None:
    setting = Setting(stage)
    exchange = setting.exchange()
    segment = setting.collector.one()
    told = carrier(exchange)
    assert exchange.values(b"sw8")[0].startswith(b"1-")
    assert told.trace_id == segment.trace
    assert told.segment_id == segment.id
    assert int(told.span_id) == 0
    assert told.service == "shop"
    assert told.service_instance == "shop-1"
    assert told.endpoint == "GET:/users/{id}" == segment.entry.operation
    assert told.client_address == setting.origin.address
    stitch = exchange.values(b"sw8-stitch")
    assert len(stitch) == 1
    version, channel, t0, flags = stitch[0].split(b";")
    assert (version, flags) == (b"1", b"spml")  # sampled; processes, meters and log records are asked for
    assert channel.startswith(b"@skystitch-")
    assert int(t0) // 1000 == segment.entry.start_ms


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", ""])
def test_the_channel_reaches_this_machine(stage: Stage, host: str) -> None:
    """However an upstream on this machine is written, its helper shares our abstract sockets."""
    origin = Origin(stage, tcp=True)
    proxy = Skystitch(stage, f"{host}:{origin.address.rpartition(':')[2]}", collector=Collector(stage))
    assert proxy.get("/").status_code == 200
    (stitch,) = origin.exchanges[-1].values(b"sw8-stitch")
    assert stitch.split(b";")[1].startswith(b"@skystitch-")


def test_a_trusted_caller_is_joined(stage: Stage) -> None:
    setting = Setting(stage)
    exchange = setting.exchange(sw8=sw8())
    segment = setting.collector.one()
    assert segment.trace == "trace-1"
    assert segment.entry.refs == (JOINED,)
    assert carrier(exchange).trace_id == "trace-1"
    assert carrier(exchange).segment_id == segment.id != "seg-1"
    assert setting.proxy.metric("skystitch_sw8_received_total", result="joined") == 1


@pytest.mark.parametrize("kind", ["never", "elsewhere"])
def test_an_untrusted_caller_is_not(stage: Stage, kind: str) -> None:
    setting = Setting(stage, {"trust_incoming": {"never": "never", "elsewhere": "192.0.2.0/24"}[kind]})
    exchange = setting.exchange(sw8=sw8(), sw8_correlation="a2V5:dmFsdWU=", sw8_x="1")
    segment = setting.collector.one()
    assert segment.trace != "trace-1"
    assert segment.entry.refs == ()
    assert not segment.entry.skip_analysis
    assert carrier(exchange).trace_id == segment.trace
    assert exchange.values(b"sw8-correlation") == []
    assert exchange.values(b"sw8-x") == []
    assert setting.proxy.metric("skystitch_sw8_received_total", result="untrusted") == 1


def test_malformed_is_as_absent(stage: Stage) -> None:
    setting = Setting(stage)
    for number, (kind, value) in enumerate(MALFORMED.items(), 1):
        setting.collector.clear()
        exchange = setting.exchange(sw8=value)
        segment = setting.collector.one()
        assert segment.entry.refs == (), kind
        assert carrier(exchange).trace_id == segment.trace, kind
        assert number  # every kind was tried
    counted = setting.proxy.metric("skystitch_sw8_received_total", result="malformed")
    assert counted == len(MALFORMED) - 1, "the empty one is no sw8 at all"


def test_two_sw8_fields_are_malformed(stage: Stage) -> None:
    setting = Setting(stage)
    line = f"sw8: {sw8()}\r\n".encode()
    with setting.proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + line + b"\r\n")
        assert client.response()[0].status == 200
    assert setting.collector.one().entry.refs == ()
    assert len(setting.origin.exchanges[-1].values(b"sw8")) == 1


def test_correlation_goes_on_without_its_defects(stage: Stage) -> None:
    setting = Setting(stage)
    good, other = f"{b64('user')}:{b64('7')}", f"{b64('plan')}:{b64('gold')}"
    exchange = setting.exchange(sw8=sw8(), sw8_correlation=f"{good},broken,{other}")
    assert exchange.values(b"sw8-correlation") == [f"{good},{other}".encode()]


def test_skip_analysis_goes_on(stage: Stage) -> None:
    setting = Setting(stage)
    exchange = setting.exchange(sw8=sw8(), sw8_x="1-1700000000000")
    assert exchange.values(b"sw8-x") == [b"1"]
    assert setting.collector.one().entry.skip_analysis


def test_untraced_is_untouched(stage: Stage) -> None:
    """An ignored path: the next service becomes a child of the client's span."""
    setting = Setting(stage)
    headers = {"sw8": sw8(), "sw8_correlation": "a2V5:dmFsdWU=", "sw8_x": "0-"}
    exchange = setting.exchange("/logo.png", **headers)
    assert exchange.values(b"sw8") == [sw8().encode()]
    assert exchange.values(b"sw8-correlation") == [b"a2V5:dmFsdWU="]
    assert exchange.values(b"sw8-x") == [b"0-"]
    assert exchange.values(b"sw8-stitch") == []
    assert setting.exchange("/logo.png").values(b"sw8") == []
    setting.exchange("/users/1")
    assert setting.collector.one().path() == "/users/1"
    assert setting.proxy.metric("skystitch_requests_untraced_total", reason="ignored") == 2


def test_untraced_and_untrusted_is_removed(stage: Stage) -> None:
    setting = Setting(stage, {"trust_incoming": "never"})
    exchange = setting.exchange("/logo.png", sw8=sw8(), sw8_correlation="a2V5:dmFsdWU=")
    assert [name for name, _ in exchange.fields if name.startswith(b"sw8")] == []


@pytest.mark.parametrize("path", ["/users/1", "/logo.png"])
def test_nobody_speaks_as_the_proxy(stage: Stage, path: str) -> None:
    """sw8-stitch* of a client never reaches the app, whoever the client is."""
    setting = Setting(stage)
    forged = {"sw8_stitch": "1;@evil;1;s", "sw8_stitch_data": "e30=", "SW8_Stitch_More": "x"}
    exchange = setting.exchange(path, **forged)
    names = [name for name, _ in exchange.fields if name.startswith(b"sw8-stitch")]
    assert names == ([b"sw8-stitch"] if path == "/users/1" else [])
    assert b"evil" not in exchange.head


def test_no_answer_shows_the_helpers_part(stage: Stage) -> None:
    """Every sw8-stitch* field of an answer is taken out: sound, unreadable, repeated, in a 1xx."""
    setting = Setting(stage)
    fields = b"".join(
        [
            b"sw8-stitch: 1;7001;10;20;0;app.view;GET:/users/<id>\r\n",
            b"SW8-Stitch: what\r\n",
            b"sw8-stitch-data: e30=\r\n",
        ]
    )
    answer = b"HTTP/1.1 103 Early Hints\r\n%s\r\nHTTP/1.1 200 OK\r\n%sX-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
    setting.origin.script = answer % (fields, fields)
    with setting.proxy.raw() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = client.rest()
    assert received.endswith(b"ok")
    assert b"x-kept: 1" in received.lower()
    assert b"stitch" not in received.lower()


@pytest.mark.parametrize("trust", ["private", "never"])
def test_forwarded_by_rfc_7239(stage: Stage, trust: str) -> None:
    origin = Origin(stage)
    forwarded = {"trust": trust, "rfc7239": "on", "port": "on"}
    proxy = Skystitch(stage, origin.address, config={"forwarded": forwarded})
    proxy.get("/", headers={"Host": "shop.test:80", "Forwarded": 'for=192.0.2.1;by="a,b"'})
    (field,) = origin.exchanges[0].values(b"forwarded")
    own = b'for=127.0.0.1;host="shop.test:80";proto=http'
    assert field == (b'for=192.0.2.1;by="a,b", ' + own if trust == "private" else own)
    assert origin.exchanges[0].values(b"x-forwarded-port") == [b"%d" % proxy.port]
    proxy.get("/", headers={"X-Forwarded-Port": "443"})
    expected = b"443" if trust == "private" else b"%d" % proxy.port
    assert origin.exchanges[1].values(b"x-forwarded-port") == [expected]


FORWARDED_FIELDS = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix")
OF_THE_PEER = {
    "X-Forwarded-For": "192.0.2.1, 2001:db8::1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.test",
    "X-Forwarded-Port": "443",
    "X-Real-IP": "192.0.2.1",
}
X_FORWARDED = {
    "x-forwarded-for": b"192.0.2.1, 2001:db8::1, 127.0.0.1",
    "x-forwarded-proto": b"https",
    "x-forwarded-host": b"shop.test",
    "x-forwarded-prefix": b"/app",
}
OWN = b'for=127.0.0.1;host="a.test";proto=http'
CONVERTED = b'for=192.0.2.1;host="shop.test";proto=https, for="[2001:db8::1]", ' + OWN


@pytest.mark.parametrize(
    ("fields", "trusted", "others"),
    [
        ("x-forwarded", X_FORWARDED, None),
        ("forwarded", {"forwarded": CONVERTED}, {"forwarded": OWN}),
        ("both", {**X_FORWARDED, "forwarded": CONVERTED}, None),
        ("none", {}, {}),
    ],
)
def test_the_fields_that_the_app_gets(
    stage: Stage, fields: str, trusted: dict[str, bytes], others: dict[str, bytes] | None
) -> None:
    """Those that are not sent are nobody's: not the client's either, whether it is trusted or not."""
    origin = Origin(stage)
    listen = [free_port(), free_port()]
    proxy = Skystitch(
        stage,
        origin.address,
        port=listen[0],
        config={
            "listen": [
                {"address": f"127.0.0.1:{listen[0]}"},
                {"address": f"127.0.0.1:{listen[1]}", "forwarded": {"trust": "never"}},
            ],
            "forwarded": {"fields": fields},
            "routes": [{"path": "/app/", "upstream": "app", "strip_prefix": "on"}],
        },
    )

    def sent(port: int) -> dict[str, bytes]:
        lines = [f"{name}: {value}\r\n" for name, value in OF_THE_PEER.items()]
        with RawClient("127.0.0.1", port) as client:
            client.send(f"GET /app/ HTTP/1.1\r\nHost: a.test\r\n{''.join(lines)}\r\n".encode())
            assert client.response()[0].status == 200
        exchange = origin.exchanges[-1]
        passed = {name for name, _ in exchange.fields if b"forwarded" in name or b"real" in name}
        if fields in ("forwarded", "none"):
            assert passed <= {b"forwarded"}, "what else speaks of the client is gone"
        found = {name: exchange.values(name.encode()) for name in FORWARDED_FIELDS}
        assert all(len(values) <= 1 for values in found.values())
        return {name: values[0] for name, values in found.items() if values}

    assert sent(proxy.port) == trusted
    if others is not None:
        assert sent(listen[1]) == others
    if fields in ("forwarded", "both"):
        proxy.get("/app/", headers={"Forwarded": "for=_hidden", "X-Forwarded-For": "192.0.2.1", "Host": "a.test"})
        (value,) = origin.exchanges[-1].values(b"forwarded")
        assert value == b"for=_hidden, " + OWN, "a peer that knows Forwarded has said it all there"


@pytest.mark.parametrize(("fields", "option"), [("none", "rfc7239"), ("none", "port"), ("forwarded", "port")])
def test_fields_that_contradict_each_other(fields: str, option: str) -> None:
    line = ["--upstream", "127.0.0.1:1", "--set", f"forwarded.fields={fields}", "--set", f"forwarded.{option}=on"]
    done = run("--check", *line)
    assert done.returncode == 2
    assert f"forwarded.{option}: is on, but forwarded.fields" in done.stderr
