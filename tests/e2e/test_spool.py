# SPDX-License-Identifier: Apache-2.0
"""Backends away for longer than memory lasts, stops and kills meanwhile: the spool keeps what was reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Origin, Skystitch, Stage, free_port, until
from harness.skystitch import run
from load import Load

CONFIRMED = "skystitch_segments_confirmed_total"
DROPPED = "skystitch_segments_dropped_total"
# Little enough to be full soon, enough for a busy machine not to overflow the rings.
MEMORY = "2MiB"


@pytest.fixture
def folder(stage: Stage) -> Path:
    return stage.path("spool")


def proxy_with(stage: Stage, origin: Origin, folder: Path, name: str, **options: Any) -> Skystitch:
    reporter = {"memory": MEMORY, "spool": {"path": str(folder)}, **options.pop("reporter", {})}
    proxy = Skystitch(stage, origin.address, name=name, config={"reporter": reporter, "workers": 2}, **options)
    until(lambda: proxy.metric("skystitch_spool_ready") == 1, "the spool is open")
    return proxy


def start_again(proxy: Skystitch) -> None:
    proxy.start()
    until(lambda: proxy.metric("skystitch_spool_ready") == 1, "the spool is open")


def fill(proxy: Skystitch) -> Load:
    load = Load(proxy.port)
    until(lambda: proxy.metric("skystitch_spool_segments") > 500, "segments are in the spool", 60)
    load.stop()
    assert load.failures == []
    assert set(load.statuses) == {200}
    until(lambda: proxy.metric("skystitch_segments_made_total") == load.done, "all are made")
    return load


def check_all_arrive(collector: Collector, count: int) -> None:
    def arrived() -> bool:
        return len({segment.id for segment in collector.segments}) == count

    until(arrived, f"{count} segments arrive", 60)


def test_outage_longer_than_memory(stage: Stage, folder: Path) -> None:
    collector = Collector(stage)
    proxy = proxy_with(stage, Origin(stage), folder, "skystitch", collector=collector)
    collector.refuse()
    load = fill(proxy)
    assert proxy.metric("skystitch_backend_up") == 0
    assert proxy.metric("skystitch_backend_last_error_info") == 1
    assert 0 < proxy.metric("skystitch_spool_bytes") < proxy.metric("skystitch_spool_limit_bytes") == 1 << 30
    collector.serve()
    check_all_arrive(collector, load.done)
    until(lambda: proxy.metric(CONFIRMED) == load.done, "all are confirmed")
    assert proxy.metric(DROPPED) == 0
    assert proxy.metric("skystitch_spool_segments") == 0
    calls = proxy.metric("skystitch_backend_call_seconds_count")
    assert calls == proxy.metric("skystitch_backend_batch_segments_count") > 0


def test_stop_and_start_while_it_is_away(stage: Stage, folder: Path) -> None:
    collector = Collector(stage)
    collector.refuse()
    origin = Origin(stage)
    first = proxy_with(stage, origin, folder, "first", collector=collector)
    load = fill(first)
    first.stop(15)
    assert f"{load.done} segments are kept in the spool" in first.log()
    collector.serve()
    second = proxy_with(stage, origin, folder, "second", collector=collector)
    assert second.metric("skystitch_spool_found_total") == load.done
    check_all_arrive(collector, load.done)
    assert second.metric("skystitch_segments_lost_in_crash_total") == 0


def test_killed_with_a_filled_spool(stage: Stage, folder: Path) -> None:
    """Each request that was answered is a segment that arrives, or is counted by the next process."""
    collector = Collector(stage)
    collector.refuse()
    origin = Origin(stage)
    proxy = proxy_with(stage, origin, folder, "skystitch", collector=collector)
    load = fill(proxy)
    proxy.kill()
    start_again(proxy)
    found = int(proxy.metric("skystitch_spool_found_total"))
    assert found > 500
    assert found + proxy.metric("skystitch_segments_lost_in_crash_total") == load.done
    collector.serve()
    check_all_arrive(collector, found)
    until(lambda: proxy.metric(CONFIRMED) == found, "all that was found is confirmed")


def test_killed_under_load(stage: Stage, folder: Path) -> None:
    """As before, but for the requests that were being answered."""
    collector = Collector(stage)
    collector.refuse()
    origin = Origin(stage)
    proxy = proxy_with(stage, origin, folder, "skystitch", collector=collector)
    load = Load(proxy.port, clients=4)
    until(lambda: proxy.metric("skystitch_spool_segments") > 500, "segments are in the spool", 60)
    proxy.kill()
    load.join()
    start_again(proxy)
    told = proxy.metric("skystitch_spool_found_total") + proxy.metric("skystitch_segments_lost_in_crash_total")
    assert load.done - 4 <= told <= load.done + 4


def test_rest(stage: Stage, folder: Path) -> None:
    """The backend is another skystitch, which comes later."""
    origin = Origin(stage)
    port = free_port()
    reporter = {"protocol": "http", "backends": [f"127.0.0.1:{port}"]}
    proxy = proxy_with(stage, origin, folder, "skystitch", reporter=reporter)
    load = fill(proxy)
    Skystitch(stage, origin.address, name="backend", service="backend", admin_port=port)
    until(lambda: proxy.metric(CONFIRMED) == load.done, "all are confirmed", 60)
    assert proxy.metric(DROPPED) == 0


def test_two_proxies_and_one_folder(stage: Stage, folder: Path) -> None:
    collector = Collector(stage)
    origin = Origin(stage)
    first = proxy_with(stage, origin, folder, "first", collector=collector)
    config = {"reporter": {"spool": {"path": str(folder)}}}
    second = Skystitch(stage, origin.address, name="second", collector=collector, config=config)
    until(lambda: f"is in use by process {first.pid}" in second.log(), "it is said who has the folder")
    assert second.metric("skystitch_spool_ready") == 0
    first.stop()
    until(lambda: second.metric("skystitch_spool_ready") == 1, "the second takes over")


def test_mistakes(stage: Stage) -> None:
    upstream = ["--upstream", "127.0.0.1:8000", "--set", "admin.listen=off"]
    backend = ["--service", "shop", "--set", "reporter.backends=127.0.0.1:1"]
    done = run(*upstream, *backend, "--check", "--set", "reporter.spool.path=spool")
    assert done.returncode == 2
    assert "reporter.spool.path: is no absolute path" in done.stderr
    done = run(*upstream, "--check", "--set", "reporter.spool.path=/var/spool")
    assert done.returncode == 2
    assert "reporter.spool.path: is set, but there is no backend" in done.stderr
    path = stage.path("file")
    path.write_text("")
    done = run(*upstream, *backend, "--check", "--set", f"reporter.spool.path={path}")
    assert done.returncode == 0
    assert f"reporter.spool.path: {path}: is no folder" in done.stderr
    done = run(*upstream, *backend, "--check", "--set", "reporter.on_unclear=maybe")
    assert done.returncode == 2
    assert "resend" in done.stderr
    assert "drop" in done.stderr
