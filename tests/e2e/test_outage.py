# SPDX-License-Identifier: Apache-2.0
"""OAP away, slow or refusing under load: no request fails, and every segment is accounted for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest

from harness import Collector, Origin, Skystitch, Stage, until
from load import Load

DROPPED = "skystitch_segments_dropped_total"


@pytest.fixture
def collector(stage: Stage) -> Iterator[Collector]:
    return Collector(stage)


def proxy_for(stage: Stage, collector: Collector, memory: str = "64MiB") -> Skystitch:
    config = {"reporter": {"memory": memory}, "workers": 2}
    return Skystitch(stage, Origin(stage).address, collector=collector, config=config)


def check_sum(proxy: Skystitch, collector: Collector, load: Load) -> None:
    """What was served = what arrived + what was dropped and counted."""

    def settled() -> bool:
        made = proxy.metric("skystitch_segments_made_total")
        return made == load.done == proxy.metric("skystitch_segments_confirmed_total") + proxy.metric(DROPPED)

    until(settled, f"every one of {load.done} segments is confirmed or counted as dropped", 60)
    confirmed = proxy.metric("skystitch_segments_confirmed_total")
    ids = [segment.id for segment in collector.segments]
    assert len(set(ids)) >= confirmed
    assert len(set(ids)) + proxy.metric(DROPPED) >= load.done


def under_load(proxy: Skystitch, seconds: float) -> Load:
    load = Load(proxy.port)
    time.sleep(seconds)
    return load


def check_served(load: Load) -> None:
    load.stop()
    assert load.failures == []
    assert set(load.statuses) == {200}


def test_refused_for_a_while(stage: Stage, collector: Collector) -> None:
    proxy = proxy_for(stage, collector)
    load = under_load(proxy, 0.5)
    collector.refuse()
    time.sleep(3)
    collector.serve()
    time.sleep(0.5)
    check_served(load)
    check_sum(proxy, collector, load)
    assert proxy.metric(DROPPED) == 0, "64 MiB hold seconds of this load"


def test_away_from_the_start(stage: Stage, collector: Collector) -> None:
    collector.refuse()
    proxy = proxy_for(stage, collector)
    load = under_load(proxy, 1)
    check_served(load)
    collector.serve()
    check_sum(proxy, collector, load)
    assert proxy.metric(DROPPED) == 0
    until(lambda: collector.properties, "the properties came all the same")


def test_stalled_for_a_while(stage: Stage, collector: Collector) -> None:
    proxy = proxy_for(stage, collector)
    load = under_load(proxy, 0.5)
    collector.stall()
    time.sleep(2)
    collector.flow()
    check_served(load)
    check_sum(proxy, collector, load)


def test_more_than_the_memory_holds(stage: Stage, collector: Collector) -> None:
    """The oldest go, are counted, and the process does not grow."""
    collector.refuse()
    proxy = proxy_for(stage, collector, memory="1MiB")
    load = under_load(proxy, 1)
    before = proxy.memory_kb()
    until(lambda: proxy.metric(DROPPED, reason="backlog_full") > 500, "segments are dropped", 60)
    check_served(load)
    proxy.check_growth(before, 4 * 1024)
    collector.serve()
    check_sum(proxy, collector, load)
    assert 0 < len(collector.segments) < load.done


@pytest.mark.parametrize(
    "status",
    [
        grpc.StatusCode.UNAVAILABLE,
        # A wrong token is tried again after 30 s only.
        pytest.param(grpc.StatusCode.PERMISSION_DENIED, marks=pytest.mark.matrix),
    ],
)
def test_answers_a_passing_status(stage: Stage, collector: Collector, status: grpc.StatusCode) -> None:
    collector.status = status
    proxy = proxy_for(stage, collector)
    assert proxy.get("/").status_code == 200
    until(lambda: collector.calls >= 2, "calls were answered", 90)
    collector.status = None
    collector.wait(1, timeout=90)
    assert proxy.metric(DROPPED) == 0


def test_answers_that_it_will_never_take_it(stage: Stage, collector: Collector) -> None:
    proxy = proxy_for(stage, collector)
    collector.status = grpc.StatusCode.UNKNOWN
    assert proxy.get("/lost").status_code == 200
    until(lambda: proxy.metric(DROPPED, reason="refused") == 1, "counted as refused")
    collector.status = None
    assert proxy.get("/kept").status_code == 200
    assert collector.one(lambda segment: segment.path() == "/kept")


def test_stop_while_it_is_away(stage: Stage, collector: Collector) -> None:
    """The flush has its deadline; the process ends with 0."""
    collector.refuse()
    config = {"timeouts": {"flush": "500ms"}}
    proxy = Skystitch(stage, Origin(stage).address, collector=collector, config=config)
    proxy.get("/")
    began = time.monotonic()
    proxy.stop()
    assert time.monotonic() - began < 15
    assert "1 segment" in proxy.log(), "it says what it could not deliver"
