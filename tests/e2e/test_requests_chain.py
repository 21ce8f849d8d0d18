# SPDX-License-Identifier: Apache-2.0
"""A trace that goes on into the next service: Flask, requests, Django, each behind its own skystitch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from expect import DJANGO, FLASK, REQUESTS, check_log, check_times
from harness import Collector, Segment, Site, Span, Stage, free_port


@dataclass
class Chain:
    shop: Site
    stock: Site

    @property
    def stock_address(self) -> str:
        return f"127.0.0.1:{self.stock.proxy.port}"

    def call(self, shop_path: str, stock_path: str) -> tuple[int, Segment, list[Segment]]:
        """The shop calls the stock service: the status, the shop's segment, the stock service's segments."""
        self.shop.collector.clear()
        response = self.shop.proxy.get(f"{shop_path}?url=http://{self.stock_address}{stock_path}")
        shop = self.shop.collector.one(lambda segment: segment.service == "shop")
        expected = len(shop.of_type("Exit"))
        stock = self.shop.collector.wait(expected, lambda segment: segment.service == "stock") if expected else []
        return response.status_code, shop, stock


@pytest.fixture(scope="module")
def chain(module_stage: Stage) -> Iterator[Chain]:
    collector = Collector(module_stage)
    stock = Site(module_stage, "django_app:application", name="stock", collector=collector)
    shop = Site(module_stage, "flask_app:app", name="shop", collector=collector, worker_class="gthread")
    return Chain(shop, stock)


def check_link(shop: Segment, exit_span: Span, stock: Segment, parent_endpoint: str) -> None:
    assert stock.trace == shop.trace
    assert len(stock.entry.refs) == 1
    ref = stock.entry.refs[0]
    assert (ref.type, ref.trace, ref.segment, ref.span) == ("CrossProcess", shop.trace, shop.id, exit_span.id)
    assert (ref.service, ref.instance) == ("shop", "shop-1")
    assert ref.endpoint == parent_endpoint
    assert ref.address == exit_span.peer


def test_one_call(chain: Chain) -> None:
    status, shop, stocks = chain.call("/call", "/items/3?full=1")
    assert status == 200
    assert len(shop.spans) == 3
    exit_span = shop.of_type("Exit")[0]
    assert (exit_span.id, exit_span.parent) == (2, 1)
    assert (exit_span.layer, exit_span.component, exit_span.operation) == ("Http", REQUESTS, "/items/3")
    assert exit_span.peer == chain.stock_address
    assert not exit_span.error
    assert exit_span.tags == (
        ("http.method", "GET"),
        ("http.url", f"http://{chain.stock_address}/items/3"),
        ("http.status_code", "200"),
    )
    assert shop.entry.operation == "GET:/call"
    assert shop.entry.component == FLASK
    assert len(stocks) == 1
    stock = stocks[0]
    assert (stock.entry.operation, stock.entry.component) == ("GET:/items/<int:pk>", DJANGO)
    check_link(shop, exit_span, stock, "GET:/call")
    check_times(shop)
    check_times(stock)


def test_the_apps_own_headers_are_not_written_to(chain: Chain) -> None:
    chain.shop.collector.clear()
    response = chain.shop.proxy.get(f"/call-headers?url=http://{chain.stock_address}/items/3")
    assert response.json() == {"X-Caller": "shop"}
    assert {segment.service for segment in chain.shop.collector.wait(2)} == {"shop", "stock"}


def test_two_calls_on_one_session(chain: Chain) -> None:
    _, shop, stocks = chain.call("/call-session", "/items/3")
    exits = shop.of_type("Exit")
    assert [span.parent for span in exits] == [1, 1]
    assert len({span.id for span in exits}) == 2
    assert {stock.entry.refs[0].span for stock in stocks} == {span.id for span in exits}


def test_a_call_that_fails_over_there(chain: Chain) -> None:
    status, shop, stocks = chain.call("/call", "/boom/x")
    assert status == 500
    exit_span = shop.of_type("Exit")[0]
    assert exit_span.error
    assert exit_span.tag("http.status_code") == "500"
    check_link(shop, exit_span, stocks[0], "GET:/call")
    assert stocks[0].entry.error
    check_log(stocks[0].span(1), "ValueError")
    assert shop.span(1).logs == ()


def test_a_call_that_finds_nothing(chain: Chain) -> None:
    status, shop, stocks = chain.call("/call", "/nope")
    assert status == 404
    assert shop.of_type("Exit")[0].error
    assert not shop.entry.error
    assert not stocks[0].entry.error


def test_a_call_that_is_redirected(chain: Chain) -> None:
    """One call of the app is one exit span with the last status; both requests over there belong to it."""
    _, shop, _ = chain.call("/call", "/redirect")
    exits = shop.of_type("Exit")
    assert [(span.operation, span.tag("http.status_code")) for span in exits] == [("/redirect", "200")]
    stocks = chain.shop.collector.wait(2, lambda segment: segment.service == "stock")
    assert {stock.entry.operation for stock in stocks} == {"GET:/redirect", "GET:/items/<int:pk>"}
    for stock in stocks:
        check_link(shop, exits[0], stock, "GET:/call")


def test_a_call_inside_a_stream(chain: Chain) -> None:
    _, shop, stocks = chain.call("/call-in-stream", "/items/3")
    exits = shop.of_type("Exit")
    assert len(exits) == 1
    check_link(shop, exits[0], stocks[0], "GET:/call-in-stream")


def test_a_call_that_is_refused(chain: Chain) -> None:
    chain.shop.collector.clear()
    port = free_port()
    response = chain.shop.proxy.get(f"/call?url=http://127.0.0.1:{port}/x")
    assert response.status_code == 500
    segment = chain.shop.collector.one(lambda segment: segment.service == "shop")
    exit_span = segment.of_type("Exit")[0]
    assert exit_span.error
    assert exit_span.peer == f"127.0.0.1:{port}"
    assert exit_span.tag("http.status_code") is None
    check_log(exit_span, "requests.exceptions.ConnectionError")
    check_log(segment.span(1), "requests.exceptions.ConnectionError")


def test_a_call_on_a_thread_of_the_apps_own(chain: Chain) -> None:
    """No context goes along by itself: the call works and begins a trace of its own."""
    chain.shop.collector.clear()
    response = chain.shop.proxy.get(f"/call-in-thread?url=http://{chain.stock_address}/items/3")
    assert response.text == "[200]"
    shop = chain.shop.collector.one(lambda segment: segment.service == "shop")
    stock = chain.shop.collector.one(lambda segment: segment.service == "stock")
    assert shop.of_type("Exit") == []
    assert stock.entry.refs == ()
    assert stock.trace != shop.trace
