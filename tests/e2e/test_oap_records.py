# SPDX-License-Identifier: Apache-2.0
"""A real SkyWalking OAP shows the meters, log records, events and properties that we report."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness import Site, Skystitch, Stage, until
from oap import Oap

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(400)]

ENV = {"SW_AGENT_METER_REPORTER_PERIOD": "2"}


@dataclass
class Setting:
    oap: Oap
    shop: Site


@pytest.fixture(scope="module")
def setting(module_stage: Stage) -> Setting:
    oap = Oap(module_stage)
    reporter = {"backends": [oap.address], "meter_interval": "2s"}
    return Setting(oap, Site(module_stage, "talking_app:app", config={"reporter": reporter}, env=ENV))


def test_meters_have_values(setting: Setting) -> None:
    oap, shop = setting.oap, setting.shop

    def value(name: str) -> float | None:
        for path in ("/collect", "/burn/100"):
            assert shop.proxy.get(path).status_code == 200
        return oap.latest(f"meter_instance_pvm_{name}", "shop", shop.proxy.instance)

    for name in ("process_cpu_utilization", "thread_active_count", "total_mem_utilization", "gc_g2"):
        assert until(lambda name=name: value(name), f"OAP has values of {name}", 120) >= 1
    assert shop.proxy.metric("skystitch_records_dropped_total", kind="meters") == 0


def test_log_records_lead_to_their_traces(setting: Setting) -> None:
    oap, shop = setting.oap, setting.shop
    shop.proxy.get("/say/error?text=needle")

    def found() -> list[dict]:
        return [record for record in oap.log_records("shop") if "needle" in record["content"]]

    (record,) = until(found, "OAP has the log record", 60)
    assert record["serviceInstanceName"] == shop.proxy.instance
    assert record["endpointName"] == "GET:/say/<level>"
    assert {"key": "level", "value": "ERROR"} in record["tags"]
    trace = until(lambda: oap.trace(record["traceId"]), "OAP has its trace", 60)
    assert trace[0].entry.operation == "GET:/say/<level>"


def test_start_and_stop_are_shown(setting: Setting, stage: Stage) -> None:
    proxy = Skystitch(stage, "127.0.0.1:1", service="brief", collector=setting.oap.address)
    proxy.stop()

    def both() -> list[dict]:
        events = setting.oap.events("brief")
        return events if {event["name"] for event in events} == {"Start", "Shutdown"} else []

    events = until(both, "OAP has the events", 60)
    assert {event["layer"] for event in events} == {"GENERAL"}
    assert {event["source"]["serviceInstance"] for event in events} == {proxy.instance}


def test_the_instance_tells_what_runs_in_it(setting: Setting) -> None:
    def attributes() -> dict[str, str] | None:
        (instance,) = setting.oap.instances("shop")
        told = {pair["name"]: pair["value"] for pair in instance["attributes"]}
        return told if "Flask" in told else None

    told = until(attributes, "OAP has the properties of the app's process", 60)
    assert told is not None
    assert {"OS Name", "hostname", "Process No.", "python_version", "app server"} <= set(told)


def test_rest_carries_logs_and_events(setting: Setting, stage: Stage) -> None:
    reporter = {"protocol": "http", "backends": [setting.oap.rest_address], "meter_interval": "2s"}
    site = Site(stage, "talking_app:app", name="resting", config={"reporter": reporter}, env=ENV)
    site.proxy.get("/say/error?text=rested")
    until(
        lambda: any("rested" in record["content"] for record in setting.oap.log_records("resting")),
        "OAP has the log record",
        60,
    )
    assert until(lambda: setting.oap.events("resting"), "OAP has the event", 60)[0]["name"] == "Start"
    assert site.proxy.metric("skystitch_records_dropped_total") == 0
