# SPDX-License-Identifier: Apache-2.0
"""What is reported beside segments: instance properties, meters, log records, events."""

from __future__ import annotations

import os
import platform
import signal
from importlib.metadata import version
from typing import Any

import pytest

from harness import Collector, Site, Skystitch, Stage, until

APP = "talking_app:app"
FAST = {"reporter": {"meter_interval": "1s"}}
ENV = {"SW_AGENT_METER_REPORTER_PERIOD": "1"}
PVM = {
    "instance_pvm_gc_g0",
    "instance_pvm_gc_g1",
    "instance_pvm_gc_g2",
    "instance_pvm_gc_time",
    "instance_pvm_process_cpu_utilization",
    "instance_pvm_process_mem_utilization",
    "instance_pvm_thread_active_count",
    "instance_pvm_total_cpu_utilization",
    "instance_pvm_total_mem_utilization",
}


@pytest.fixture(scope="module")
def site(module_stage: Stage) -> Site:
    return Site(module_stage, APP, config=FAST, env=ENV)


@pytest.fixture(autouse=True)
def forget(site: Site) -> None:
    site.collector.records.clear()


def last_properties(collector: Collector) -> dict[str, str]:
    return collector.properties[-1][2] if collector.properties else {}


# Properties.


def test_the_instance_says_what_runs_in_it(site: Site) -> None:
    site.get("/pid")
    properties = until(
        lambda: (found := last_properties(site.collector)).get("Flask") and found, "properties of the app's process"
    )
    assert properties["language"] == "python"
    assert properties["OS Name"] == "Linux"
    assert properties["Process No."] == str(site.proxy.pid)
    assert properties["python_version"] == platform.python_version()
    assert properties["python_implementation"] == platform.python_implementation()
    assert properties["Flask"] == version("flask")
    assert properties["app server"] == f"gunicorn {version('gunicorn')}"
    assert "Django" not in properties
    assert site.proxy.metric("skystitch_app_processes") == 1


def test_properties_are_told_again_only_when_they_change(site: Site) -> None:
    site.get("/pid")
    until(lambda: last_properties(site.collector).get("Flask"), "properties of the app's process")
    count = len(site.collector.properties)
    (worker,) = site.app.worker_pids()
    os.kill(worker, signal.SIGKILL)
    until(lambda: site.app.worker_pids() not in ([], [worker]), "another worker")
    until(lambda: site.proxy.get("/pid").text != str(worker), "the new worker answers")
    until(lambda: site.proxy.metric("skystitch_app_processes") == 1, "the worker that has gone is forgotten")
    assert len(site.collector.properties) == count


# Meters.


def meters(site: Site) -> dict[str, float]:
    found = site.collector.records.meters
    return found[-1].values if found else {}


def test_meters_of_the_app(site: Site) -> None:
    def said() -> dict[str, float] | None:
        site.proxy.get("/collect")
        site.proxy.get("/burn/50")
        values = meters(site)
        return values if values.get("instance_pvm_process_cpu_utilization", 0) > 0 else None

    values = until(said, "meters")
    assert set(values) == PVM
    assert 0 < values["instance_pvm_process_cpu_utilization"] < 100 * (os.cpu_count() or 1)
    assert 0 < values["instance_pvm_process_mem_utilization"] < 50
    assert 0 < values["instance_pvm_total_mem_utilization"] < 100
    assert 0 <= values["instance_pvm_total_cpu_utilization"] <= 100
    assert values["instance_pvm_thread_active_count"] >= 1
    until(lambda: said() and meters(site)["instance_pvm_gc_g2"] >= 1000, "the collected lists are counted")
    assert meters(site)["instance_pvm_gc_time"] > 0
    report = site.collector.records.meters[-1]
    assert (report.service, report.instance) == ("shop", site.proxy.instance)


def test_meters_are_the_sum_of_all_workers(stage: Stage) -> None:
    site = Site(stage, APP, workers=2, config=FAST, env=ENV)

    def threads(count: int) -> bool:
        site.proxy.get("/pid")
        return meters(site).get("instance_pvm_thread_active_count") == count

    until(lambda: threads(2), "two processes with a thread each")
    whole = meters(site)["instance_pvm_process_mem_utilization"]
    site.collector.records.clear()
    # gunicorn restarts what ends; stopped as a whole, none is left to talk
    for pid in site.app.worker_pids():
        os.kill(pid, signal.SIGSTOP)
        break
    until(lambda: bool(site.collector.records.meters), "meters go on")
    assert meters(site)["instance_pvm_process_mem_utilization"] == pytest.approx(whole, rel=0.2)
    os.kill(pid, signal.SIGKILL)
    until(lambda: site.proxy.metric("skystitch_app_processes") == 1, "the worker that has gone is forgotten")


def test_meters_of_the_proxy(stage: Stage) -> None:
    """They need no helper, and are off unless asked for."""
    collector = Collector(stage)
    config = {"reporter": {"meter_interval": "1s", "proxy_meters": "on"}}
    proxy = Skystitch(stage, "127.0.0.1:1", collector=collector, config=config)
    assert proxy.get("/").status_code == 502

    def counted() -> dict[str, float] | None:
        found = collector.records.meters
        return found[-1].values if found and found[-1].values["instance_skystitch_errors"] == 1 else None

    values = until(counted, "the error is counted")
    assert values["instance_skystitch_requests"] == 1
    assert values["instance_skystitch_segments"] == 1
    assert values["instance_skystitch_segments_dropped"] == 0
    assert values["instance_skystitch_memory"] > 1 << 20
    assert values["instance_skystitch_cpu"] >= 0
    assert not set(values) & PVM


# Log records.


def test_a_record_carries_its_trace(site: Site) -> None:
    _, segment = site.get("/say/warning?text=low")
    record = site.collector.records.log(lambda record: "said: low" in record.text)
    assert (record.service, record.instance) == ("shop", site.proxy.instance)
    assert (record.trace, record.segment, record.span) == (segment.trace, segment.id, 1)
    assert record.endpoint == segment.entry.operation == "GET:/say/<level>"
    assert record.tags == {"level": "WARNING", "logger": "shop.cart", "thread": "MainThread"}
    assert record.text.endswith("[MainThread] WARNING shop.cart - said: low")
    assert segment.entry.start_ms <= record.at_ms <= segment.entry.end_ms
    assert f"WARNING [{segment.trace}] said: low" in site.app.log()


def test_records_below_the_level_are_the_apps_alone(site: Site) -> None:
    site.get("/say/info?text=lower")
    site.get("/say/error?text=higher")
    site.collector.records.log(lambda record: "higher" in record.text)
    assert not [record for record in site.collector.records.logs if "lower" in record.text]


def test_an_exception_goes_with_its_record(site: Site) -> None:
    site.get("/catch")
    record = site.collector.records.log(lambda record: "caught" in record.text)
    assert "Traceback (most recent call last)" in record.text
    assert record.text.endswith("KeyError: 'missing'")


def test_a_record_beside_requests(site: Site) -> None:
    site.get("/pid")  # the channel is known
    site.get("/beside")
    record = site.collector.records.log(lambda record: "beside" in record.text)
    assert (record.trace, record.endpoint) == ("", "")
    assert record.tags["thread"] == "beside"
    assert "ERROR [N/A] beside a request" in site.app.log()


def test_a_record_before_the_first_request_waits_for_it(stage: Stage) -> None:
    site = Site(stage, APP)
    assert not site.collector.records.logs
    site.get("/pid")
    record = site.collector.records.log(lambda record: "the app starts" in record.text)
    assert record.trace == ""


def test_a_flood_is_cut_and_counted(site: Site) -> None:
    site.get("/pid")
    before = site.proxy.metric("skystitch_process_logs_lost_total", by="helper")
    site.get("/many/1000")

    def all_told() -> bool:
        # the next record that goes says how many did not
        site.proxy.get("/say/error?text=after")
        lost = site.proxy.metric("skystitch_process_logs_lost_total", by="helper") - before
        came = [record for record in site.collector.records.logs if "one of many" in record.text]
        return lost > 0 and lost + len(came) >= 1000

    until(all_told, "all of the flood came or are counted")
    came = [record for record in site.collector.records.logs if "one of many" in record.text]
    assert 0 < len(came) < 500


@pytest.mark.parametrize(
    ("config", "env"),
    [({"reporter": {"logs": "off"}}, {}), ({}, {"SW_AGENT_LOG_REPORTER_ACTIVE": "false"})],
    ids=["proxy", "helper"],
)
def test_logs_off(stage: Stage, config: dict[str, Any], env: dict[str, str]) -> None:
    site = Site(stage, APP, config=config, env=env)
    for _ in range(3):
        _, segment = site.get("/say/error")
    until(lambda: f"ERROR [{segment.trace}] said" in site.app.log(), "the trace's id in the app's own log")
    assert not site.collector.records.logs
    assert site.proxy.metric("skystitch_process_logs_lost_total") == 0


# Events.


def test_start_and_stop_are_events(stage: Stage) -> None:
    collector = Collector(stage)
    proxy = Skystitch(stage, "127.0.0.1:1", collector=collector)
    until(lambda: collector.records.events, "the event of the start")
    proxy.stop()
    events = collector.records.events
    assert [event.name for event in events] == ["Start", "Shutdown"]
    assert [(event.service, event.instance) for event in events] == [("shop", proxy.instance)] * 2
    assert [(event.type, event.layer) for event in events] == [("Normal", "GENERAL")] * 2
    assert events[0].start_ms <= events[0].end_ms <= events[1].start_ms <= events[1].end_ms
    assert events[0].uuid != events[1].uuid
    assert events[0].message.startswith("skystitch ")


def test_events_off(stage: Stage) -> None:
    site = Site(stage, APP, config={"reporter": {"events": "off"}})
    site.get("/pid")
    site.proxy.stop()
    assert not site.collector.records.events


# What an old OAP does not know.


def test_an_old_oap_is_asked_once(stage: Stage) -> None:
    collector = Collector(stage, takes_records=False)
    site = Site(stage, APP, collector=collector, config=FAST, env=ENV)

    def asked_for_all() -> bool:
        site.proxy.get("/say/error")
        unsupported = {
            kind: site.proxy.metric("skystitch_records_dropped_total", kind=kind, reason="unsupported")
            for kind in ("log", "event", "meters")
        }
        return all(unsupported.values())

    until(asked_for_all, "every kind was offered and dropped")
    site.proxy.get("/pid")
    collector.one(lambda segment: segment.entry.operation == "GET:/pid")  # segments go on
    log = site.proxy.log()
    for kind in ("log records", "events", "meters"):
        assert log.count(f"takes no {kind}, none are sent") == 1
