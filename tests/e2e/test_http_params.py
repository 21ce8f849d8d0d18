# SPDX-License-Identifier: Apache-2.0
"""Parameters and fields of requests as tags, made by the proxy: the app's body is its own."""

from __future__ import annotations

import pytest

from harness import Collector, Site, Stage


@pytest.fixture(scope="module")
def shop(module_stage: Stage) -> Site:
    agent = {"http_params": "on", "http_params_length": 60, "http_headers": ["x-tenant", "authorization"]}
    return Site(
        module_stage,
        "api_app:app",
        name="shop",
        collector=Collector(module_stage),
        config={"agent": agent},
    )


def test_query_and_form(shop: Site) -> None:
    response, segment = shop.traced(
        "POST",
        "/echo?q=9&a=0",
        data={"a": ["1", "3"], "b": "ä x", "password": "secret"},
        headers={"X-Tenant": "t1", "Authorization": "Basic secret"},
    )
    assert response.text == "a=1&a=3&b=%C3%A4+x&password=secret"
    assert segment.entry.tags == (
        ("http.method", "POST"),
        ("http.url", f"http://127.0.0.1:{shop.proxy.port}/echo"),
        ("http.params", "q=[9]\na=[0,1,3]\nb=[ä x]\npassword=[***]"),
        ("http.headers", "x-tenant=[t1]\nauthorization=[***]"),
        ("http.status_code", "200"),
    )


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        ("a=1", "application/json", None),
        ("a=1", "application/x-www-form-urlencoded; charset=utf-8", "a=[1]"),
        ("a=" + "x" * 100, "application/x-www-form-urlencoded", "a=[" + "x" * 57 + "..."),
        ("a=" + "x" * 70_000, "application/x-www-form-urlencoded", None),
    ],
)
def test_bodies(shop: Site, body: str, content_type: str, shown: str | None) -> None:
    headers = {"Content-Type": content_type}
    response, segment = shop.traced("POST", "/echo", data=body, headers=headers)
    assert response.text == body
    assert segment.entry.tag("http.params") == shown


def test_off_by_default_and_by_the_agents_names(stage: Stage) -> None:
    shop = Site(stage, "api_app:app", name="shop")
    _, segment = shop.get("/item/1?q=1")
    assert segment.entry.tag("http.params") is None
    shop.proxy.stop()
    env = {"SW_PLUGIN_DJANGO_COLLECT_HTTP_PARAMS": "True", "SW_PLUGIN_HTTP_HTTP_PARAMS_LENGTH_THRESHOLD": "-1"}
    shop.proxy.env.update(env)
    shop.proxy.start()
    _, segment = shop.get(f"/item/1?q={'x' * 2000}")
    assert segment.entry.tag("http.params") == f"q=[{'x' * 2000}]"
