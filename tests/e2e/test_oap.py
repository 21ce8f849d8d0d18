# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP receives, stores, and shows what we report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from expect import check_log
from harness import Site, Stage, until
from oap import Oap

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(400)]


@dataclass
class Setting:
    oap: Oap
    shop: Site
    stock: Site


@pytest.fixture(scope="module")
def setting(module_stage: Stage) -> Iterator[Setting]:
    oap = Oap(module_stage)
    to_oap = {"reporter": {"backends": [oap.address]}}
    stock = Site(module_stage, "django_app:application", name="stock", config=to_oap)
    shop = Site(module_stage, "flask_app:app", name="shop", config=to_oap)
    assert shop.proxy.get("/users/42").status_code == 200
    assert shop.proxy.get(f"/call?url={stock.proxy.url}/items/3").status_code == 200
    assert shop.proxy.get(f"/call?url={stock.proxy.url}/boom/x").status_code == 500
    until(lambda: len(oap.trace_ids("shop")) >= 3, "OAP has stored the three traces", 120)
    return Setting(oap, shop, stock)


def test_nothing_was_lost_on_the_way(setting: Setting) -> None:
    for site, count in ((setting.shop, 3), (setting.stock, 2)):
        assert site.proxy.metric("skystitch_segments_confirmed_total") == count
        assert site.proxy.metric("skystitch_segments_dropped_total") == 0


def test_endpoints_are_routes(setting: Setting) -> None:
    assert "GET:/users/<int:id>" in setting.oap.endpoints("shop")
    assert {"GET:/items/<int:pk>", "GET:/boom/<word>"} <= setting.oap.endpoints("stock")


def test_the_stored_trace_is_whole(setting: Setting) -> None:
    traces = [setting.oap.trace(trace_id) for trace_id in setting.oap.trace_ids("shop")]
    whole = [
        {segment.service: segment for segment in trace}
        for trace in traces
        if any(segment.entry.operation == "GET:/items/<int:pk>" for segment in trace)
    ]
    assert len(whole) == 1
    shop, stock = whole[0]["shop"], whole[0]["stock"]
    assert [span.type for span in shop.spans] == ["Entry", "Local", "Exit"]
    assert shop.entry.operation == "GET:/call"
    exit_span = shop.span(2)
    assert exit_span.peer == f"127.0.0.1:{setting.stock.proxy.port}"
    ref = stock.entry.refs[0]
    assert (ref.segment, ref.span) == (shop.id, exit_span.id)
    assert (shop.entry.component, exit_span.component, stock.entry.component) == (7001, 7002, 7004)
    assert stock.entry.tag("http.status_code") == "200"


def test_the_exception_is_stored(setting: Setting) -> None:
    traces = [setting.oap.trace(trace_id) for trace_id in setting.oap.trace_ids("stock")]
    failed = [segment for trace in traces for segment in trace if segment.entry.operation == "GET:/boom/<word>"]
    assert len(failed) == 1
    assert failed[0].entry.error
    check_log(failed[0].span(1), "ValueError")


def test_topology(setting: Setting) -> None:
    """user -> shop -> stock, no self-loop, and no node that is named like an address.

    OAP learns from the first call that the address means the stock service, and uses that from the next
    ten seconds on: the minute of the first call may show the address.
    """
    wanted = {("User", "shop"), ("shop", "stock")}

    def seen_this_minute() -> bool:
        assert setting.shop.proxy.get(f"/call?url={setting.stock.proxy.url}/items/3").status_code == 200
        time.sleep(2)
        return setting.oap.topology(minutes=1) == wanted

    until(seen_this_minute, f"the topology is {wanted} and nothing else", 180)


def test_instances(setting: Setting) -> None:
    instances = setting.oap.instances("shop")
    assert [instance["name"] for instance in instances] == ["shop-1"]
    attributes = {pair["name"] for pair in instances[0]["attributes"]}
    assert {"OS Name", "hostname", "Process No."} <= attributes
