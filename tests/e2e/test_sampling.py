# SPDX-License-Identifier: Apache-2.0
"""agent.sampling and agent.ignore_probes: what is reported, what the app is told, what is counted."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from expect import check_log
from harness import Collector, Exchange, Gunicorn, Origin, Site, Skystitch, Stage, Uwsgi, until
from test_propagation import JOINED, Setting, sw8

NONE = {"rate": 0, "keep_errors": False}
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
RESULTS = ("sampled", "joined", "kept_error", "kept_slow", "left")


def sampling(**options: Any) -> dict[str, Any]:
    return {"sampling": options}


def counted(proxy: Skystitch) -> dict[str, float]:
    """The results that are not zero. They are counted when the answer is out, so a test waits for them."""
    values = {result: proxy.metric("skystitch_sampling_total", result=result) for result in RESULTS}
    return {result: value for result, value in values.items() if value}


def wait_counted(proxy: Skystitch, **wanted: int) -> None:
    until(lambda: counted(proxy) == wanted, f"{wanted} on /metrics")


def flags(exchange: Exchange) -> bytes:
    (value,) = exchange.values(b"sw8-stitch")
    return value.split(b";")[3].translate(None, b"pml")  # what is asked of processes


def test_everything_is_sampled_by_default(stage: Stage) -> None:
    setting = Setting(stage)
    for number in range(5):
        assert flags(setting.exchange(f"/{number}")) == b"s"
    setting.collector.wait(5)
    wait_counted(setting.proxy, sampled=5)


def test_nothing_could_keep_it_so_it_is_untraced(stage: Stage) -> None:
    setting = Setting(stage, sampling(**NONE))
    setting.origin.script = FAILED
    setting.proxy.get("/users/7")
    fields = setting.origin.exchanges[-1].fields
    assert [name for name, _ in fields if name.startswith(b"sw8")] == []
    wait_counted(setting.proxy, left=1)
    assert setting.proxy.metric("skystitch_segments_made_total") == 0


def test_errors_are_kept(stage: Stage) -> None:
    """Both are told to the app as unsampled and undecided; only the one that ends as an error is reported."""
    setting = Setting(stage, sampling(rate=0))
    fine = setting.exchange("/fine")
    setting.origin.script = FAILED
    setting.proxy.get("/failed")
    failed = setting.origin.exchanges[-1]
    for exchange in (fine, failed):
        assert exchange.values(b"sw8")[0].startswith(b"0-")
        assert flags(exchange) == b""
    segment = setting.collector.one()
    assert segment.path() == "/failed"
    assert segment.entry.error
    wait_counted(setting.proxy, left=1, kept_error=1)
    assert setting.proxy.metric("skystitch_segments_made_total") == 1


def test_an_answer_that_never_comes_is_kept(stage: Stage) -> None:
    """The app closes, and is not even there: both are errors of the proxy's own making."""
    setting = Setting(stage, sampling(rate=0))
    setting.origin.script = lambda exchange: exchange.close()
    assert setting.proxy.get("/closed").status_code == 502
    setting.origin.close()
    assert setting.proxy.get("/nobody").status_code in (502, 503)
    assert {segment.path() for segment in setting.collector.wait(2)} == {"/closed", "/nobody"}
    wait_counted(setting.proxy, kept_error=2)


def test_slow_ones_are_kept(stage: Stage) -> None:
    """The end is held back until more time has passed than the option says; quick ones are left."""
    go = threading.Event()

    def answer(exchange: Exchange) -> None:
        if exchange.request_line.startswith(b"GET /slow"):
            assert go.wait(20)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    setting = Setting(stage, sampling(rate=0, keep_errors=False, keep_slower_than="2s"))
    setting.origin.script = answer
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(setting.proxy.get, "/slow")
        until(lambda: setting.origin.exchanges, "the slow request is with the app")
        setting.exchange("/quick")
        timer = threading.Timer(2.2, go.set)
        timer.start()
        assert slow.result().status_code == 200
    segment = setting.collector.one()
    assert segment.path() == "/slow"
    assert not segment.entry.error
    wait_counted(setting.proxy, left=1, kept_slow=1)


def test_a_caller_that_reports_is_joined_whatever_the_rate(stage: Stage) -> None:
    setting = Setting(stage, sampling(**NONE))
    exchange = setting.exchange(sw8=sw8())
    assert exchange.values(b"sw8")[0].startswith(b"1-")
    assert setting.collector.one().entry.refs == (JOINED,)
    wait_counted(setting.proxy, joined=1)


def test_a_caller_that_reports_only_what_it_keeps(stage: Stage) -> None:
    """sw8 with sample 0: the same is done here, although the rate is 1; ids and refs stay the trace's."""
    setting = Setting(stage)
    fine = setting.exchange("/fine", sw8=sw8(sample="0"))
    setting.origin.script = FAILED
    setting.proxy.get("/failed", headers={"sw8": sw8(sample="0")})
    assert fine.values(b"sw8")[0].startswith(b"0-")
    segment = setting.collector.one()
    assert (segment.path(), segment.trace) == ("/failed", "trace-1")
    assert segment.entry.refs == (JOINED,)
    wait_counted(setting.proxy, left=1, kept_error=1)


def test_such_a_caller_passes_when_nothing_could_keep_it(stage: Stage) -> None:
    setting = Setting(stage, sampling(keep_errors=False))
    value = sw8(sample="0")
    exchange = setting.exchange("/fine", sw8=value)
    assert exchange.values(b"sw8") == [value.encode()]
    assert exchange.values(b"sw8-stitch") == []
    wait_counted(setting.proxy, left=1)


def test_an_untrusted_caller_decides_nothing(stage: Stage) -> None:
    setting = Setting(stage, {"trust_incoming": "never", **sampling(**NONE)})
    exchange = setting.exchange(sw8=sw8())
    assert [name for name, _ in exchange.fields if name.startswith(b"sw8")] == []
    wait_counted(setting.proxy, left=1)


def test_a_rate_takes_about_its_part(stage: Stage) -> None:
    setting = Setting(stage, sampling(rate=0.5, keep_errors=False))
    with setting.proxy.raw() as client:
        for _ in range(400):
            client.send(b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response()[0].status == 200
    until(lambda: sum(counted(setting.proxy).values()) == 400, "all are counted")
    taken = counted(setting.proxy)["sampled"]
    assert 130 < taken < 270, "seven standard deviations"
    setting.collector.wait(int(taken))


def test_the_agents_variable_is_exact_over_all_workers(stage: Stage) -> None:
    """Nothing is left before a window of three seconds is used up, and no worker has a share of its own."""
    collector = Collector(stage)
    origin = Origin(stage)
    proxy = Skystitch(
        stage,
        origin.address,
        collector=collector,
        config={"workers": 4, "agent": sampling(keep_errors=False)},
        env={"SW_SAMPLE_N_PER_3_SECS": "5"},
    )
    started = time.monotonic()
    for _ in range(60):  # each on a connection of its own, so that all workers get some
        assert proxy.get("/users/7").status_code == 200
    windows = (time.monotonic() - started) // 3 + 2
    until(lambda: sum(counted(proxy).values()) == 60, "all are counted")
    taken = counted(proxy)["sampled"]
    assert 5 <= taken <= 5 * windows
    assert len(collector.wait(int(taken))) == taken


def test_an_error_is_kept_with_what_the_helper_tells(stage: Stage) -> None:
    """Unsampled, the helper sends exceptions and nothing else; a request that is left leaves nothing."""
    site = Site(stage, "flask_app:app", config={"agent": sampling(rate=0)})
    assert site.proxy.get("/users/42").status_code == 200
    assert site.proxy.get("/handled").status_code == 409, "an exception that the app answered"
    response, segment = site.get("/boom/x")
    assert response.status_code == 500
    assert segment.entry.operation == "GET:/boom/<word>"
    app = segment.span(1)
    assert app.error
    assert app.logs[0].data["event"] == "error"
    wait_counted(site.proxy, left=2, kept_error=1)
    assert site.proxy.get("/users/43").status_code == 200
    wait_counted(site.proxy, left=3, kept_error=1)
    assert site.proxy.metric("skystitch_stitch_messages_total", result="unknown") == 0
    assert site.proxy.metric("skystitch_stitch_bytes") == 0


@pytest.mark.parametrize("server", [Uwsgi, Gunicorn], ids=["hidden", "seen"])
def test_a_stream_that_breaks_is_kept(stage: Stage, server: type[Uwsgi | Gunicorn]) -> None:
    """Whether the proxy sees it (gunicorn cuts the answer short) or not (uWSGI ends it as if it were whole), with
    what the helper tells. A stream that does not break is left."""
    collector, app = Collector(stage), server(stage, "flask_app:app")
    proxy = Skystitch(stage, app.address, collector=collector, config={"agent": sampling(rate=0)})
    assert proxy.get("/stream").status_code == 200
    wait_counted(proxy, left=1)
    for count in (1, 2, 3):
        with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
            proxy.get("/stream-broken")
        segment = collector.wait(count)[-1]
        assert (segment.entry.tag("failure"), segment.entry.error) == ("answer cut short", True)
        assert segment.entry.operation == "GET:/stream-broken"
        assert not segment.size_limited
        check_log(segment.span(1), "RuntimeError")
    wait_counted(proxy, left=1, kept_error=3)
    assert proxy.get("/stream").status_code == 200
    wait_counted(proxy, left=2, kept_error=3)
    assert proxy.metric("skystitch_stitch_messages_total", result="used") == 3
    for result in ("unknown", "late"):
        assert proxy.metric("skystitch_stitch_messages_total", result=result) == 0
    assert proxy.metric("skystitch_stitch_bytes") == 0


def test_two_proxies_keep_the_same_trace(stage: Stage) -> None:
    """The inner one's error makes the outer one's: both report, as one trace."""
    collector = Collector(stage)
    origin = Origin(stage, FAILED)
    options = {"agent": {"mode": "gateway", **sampling(rate=0)}}
    inner = Skystitch(stage, origin.address, name="inner", service="stock", collector=collector)
    outer = Skystitch(stage, f"127.0.0.1:{inner.port}", name="outer", collector=collector, config=options)
    assert outer.get("/users/7").status_code == 500
    first, second = collector.wait(2)
    assert first.trace == second.trace
    by_service = {segment.service: segment for segment in (first, second)}
    assert by_service["stock"].entry.refs[0].segment == by_service["shop"].id
    origin.script = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert outer.get("/users/8").status_code == 200
    wait_counted(inner, kept_error=1, left=1)
    wait_counted(outer, kept_error=1, left=1)


def test_the_helper_hands_the_decision_on(stage: Stage) -> None:
    """A call of an unsampled request carries sample 0: the callee leaves it too, or both keep it."""
    collector = Collector(stage)
    stock = Site(stage, "django_app:application", name="stock", collector=collector)
    shop = Site(stage, "flask_app:app", collector=collector, config={"agent": sampling(rate=0)})
    callee = f"http://127.0.0.1:{stock.proxy.port}"
    assert shop.proxy.get(f"/call?url={callee}/items/3").status_code == 200
    wait_counted(stock.proxy, left=1)
    wait_counted(shop.proxy, left=1)
    assert shop.proxy.get(f"/call?url={callee}/boom/x").status_code == 500
    by_service = {segment.service: segment for segment in collector.wait(2)}
    assert by_service["stock"].trace == by_service["shop"].trace
    assert by_service["stock"].entry.refs[0].segment == by_service["shop"].id
    for site in (stock, shop):
        wait_counted(site.proxy, left=1, kept_error=1)


PROBES = ["kube-probe/1.29", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Consul Health Check", "Envoy/HC"]


@pytest.mark.parametrize("ignore", [True, False])
def test_probes(stage: Stage, ignore: bool) -> None:
    setting = Setting(stage, {} if ignore else {"ignore_probes": "off"})
    for agent in PROBES:
        exchange = setting.exchange("/healthz", user_agent=agent)
        assert bool(exchange.values(b"sw8")) is not ignore
    setting.exchange("/users/7")
    wait_counted(setting.proxy, sampled=1 if ignore else 6)
    assert setting.proxy.metric("skystitch_requests_untraced_total", reason="probe") == (5 if ignore else 0)


def test_skip_analysis_stands_on_every_span(stage: Stage) -> None:
    """sw8-x: 1 of a trusted caller: no metrics of this request in OAP; the app is asked the same."""
    site = Site(stage, "flask_app:app")
    _, segment = site.get("/users/42", headers={"sw8": sw8(), "sw8-x": "1"})
    assert len(segment.spans) == 2
    assert all(span.skip_analysis for span in segment.spans)
    _, segment = site.get("/users/42", headers={"sw8": sw8(), "sw8-x": "0"})
    assert not any(span.skip_analysis for span in segment.spans)
    origin = Origin(stage, tcp=True)
    site.get(f"/call?url=http://{origin.address}/down", headers={"sw8": sw8(), "sw8-x": "1"})
    assert origin.exchanges[-1].values(b"sw8-x") == [b"1"]  # and the next one is asked too


# Of a route.


def test_a_route_samples_by_itself(stage: Stage) -> None:
    """What a route leaves open is as in agent.sampling."""
    routes = [
        {"path": "/quiet/", "sampling": {"rate": 0}},
        {"path": "/silent/", "sampling": {"rate": 0, "keep_errors": False}},
        {"path": "/", "sampling": {"rate": 1}},
    ]
    setting = Setting(stage, sampling(rate=0), routes)
    assert flags(setting.exchange("/loud")) == b"s"
    assert flags(setting.exchange("/quiet/fine")) == b""
    assert setting.exchange("/silent/fine").values(b"sw8-stitch") == []
    setting.origin.script = FAILED
    for path in ("/quiet/failed", "/silent/failed"):
        setting.proxy.get(path)
    assert {segment.path() for segment in setting.collector.wait(2)} == {"/loud", "/quiet/failed"}
    wait_counted(setting.proxy, sampled=1, kept_error=1, left=3)


def test_a_route_counts_for_itself(stage: Stage) -> None:
    """Its own per_3_seconds, or all of them together."""
    routes = [
        {"path": "/few/", "sampling": {"per_3_seconds": 1}},
        {"path": "/all/", "sampling": {"per_3_seconds": 0}},
        {"path": "/", "sampling": {"keep_slower_than": "1h"}},
    ]
    setting = Setting(stage, sampling(per_3_seconds=2), routes)
    paths = ("/few/1", "/few/2", "/all/1", "/all/2", "/all/3", "/1", "/2", "/3")

    def within_three_seconds() -> list[bytes] | None:
        until(lambda: time.monotonic() % 3 < 1, "three seconds begin")
        window = time.monotonic() // 3
        told = [flags(setting.exchange(path)) for path in paths]
        return told if time.monotonic() // 3 == window else None

    told = until(within_three_seconds, "three seconds last for all", 30)
    assert told == [b"s", b"", b"s", b"s", b"s", b"s", b"s", b""]
