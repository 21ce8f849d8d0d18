# SPDX-License-Identifier: Apache-2.0
"""Starts OAP from its Maven artifacts (storage in its own memory) and asks it by GraphQL."""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from harness import Log, Ref, Segment, Span
from harness.process import ROOT, Process, Stage, free_port, until

HERE = Path(__file__).parent
VERSION = "10.1.0"
MAIN = "org.apache.skywalking.oap.server.starter.OAPServerStartUp"

# As conf/component-libraries.yml names them.
COMPONENTS = {"http": 49, "Flask": 7001, "Requests": 7002, "Django": 7004}

SPAN = """
    traceId segmentId spanId parentSpanId serviceCode serviceInstanceName startTime endTime
    endpointName type peer component isError layer
    refs { traceId parentSegmentId parentSpanId type }
    tags { key value } logs { time data { key value } }"""


def jars(version: str) -> Path:
    """The server's jars, fetched once into build/."""
    directory = ROOT / "build" / f"oap-{version}"
    if not directory.exists():
        made = directory.with_suffix(".part")
        shutil.rmtree(made, ignore_errors=True)
        pom = ["-f", HERE / "pom.xml", f"-Doap.version={version}"]
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={made}"]
        subprocess.run(["mvn", "-q", "-B", "-ntp", *pom, *copy], check=True, stdin=subprocess.DEVNULL)
        made.rename(directory)
    return directory


def _span(answer: dict[str, Any]) -> Span:
    return Span(
        id=answer["spanId"],
        parent=answer["parentSpanId"],
        type=answer["type"],
        layer=answer["layer"],
        operation=answer["endpointName"],
        peer=answer["peer"],
        component=COMPONENTS.get(answer["component"], 0),
        error=answer["isError"],
        start_ms=answer["startTime"],
        end_ms=answer["endTime"],
        tags=tuple((tag["key"], tag["value"]) for tag in answer["tags"]),
        logs=tuple(Log(log["time"], {pair["key"]: pair["value"] for pair in log["data"]}) for log in answer["logs"]),
        refs=tuple(
            Ref(
                type=ref["type"],
                trace=ref["traceId"],
                segment=ref["parentSegmentId"],
                span=ref["parentSpanId"],
                service="",
                instance="",
                endpoint="",
                address="",
            )
            for ref in answer["refs"]
        ),
    )


class Oap(Process):
    """kill and start keep nothing but the ports."""

    def __init__(
        self, stage: Stage, *, name: str = "oap", version: str = VERSION, env: Mapping[str, str] | None = None
    ) -> None:
        """With SW_RECEIVER_GRPC_PORT in env, that port is for agents, secured as env says."""
        self.rest_port, self.grpc_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.grpc_port}"
        self.rest_address = f"127.0.0.1:{self.rest_port}"
        argv = ["java", "-Xms256m", "-Xmx1g", "-Djava.net.preferIPv4Stack=true"]
        super().__init__(
            stage,
            name,
            [*argv, "-cp", f"{HERE / 'conf'}:{jars(version)}/*", MAIN],
            {"SW_CORE_REST_PORT": str(self.rest_port), "SW_CORE_GRPC_PORT": str(self.grpc_port), **(env or {})},
        )
        self.start()

    def start(self) -> None:
        self.spawn()
        self.ready(self._answers, timeout=120)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.grpc_port), timeout=1):
                return bool(self.ask("{ version }")["version"])
        except (OSError, requests.RequestException):
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        response = requests.post(
            f"http://127.0.0.1:{self.rest_port}/graphql",
            json={"query": query, "variables": variables},
            timeout=20,
        )
        answer = response.json()
        assert not answer.get("errors"), answer["errors"]
        return answer["data"]

    def _last(self, minutes: int) -> dict[str, str]:
        """OAP reads times in a zone of its own, which it tells; whole minutes, the present one included."""
        told = self.ask("{ getTimeInfo { timezone currentTimestamp } }")["getTimeInfo"]
        zone = datetime.datetime.strptime(told["timezone"], "%z").tzinfo
        now = datetime.datetime.fromtimestamp(told["currentTimestamp"] / 1000, zone)
        begin = now - datetime.timedelta(minutes=minutes - 1)
        return {"start": f"{begin:%Y-%m-%d %H%M}", "end": f"{now:%Y-%m-%d %H%M}", "step": "MINUTE"}

    def service(self, name: str) -> dict[str, Any] | None:
        query = "query($n: String!) { findService(serviceName: $n) { id name layers normal } }"
        return self.ask(query, n=name)["findService"]

    def service_id(self, name: str, timeout: float = 60) -> str:
        found = until(lambda: self.service(name), f"OAP knows the service {name}", timeout)
        assert found is not None
        return str(found["id"])

    def endpoints(self, service: str) -> set[str]:
        query = 'query($s: ID!) { findEndpoint(keyword: "", serviceId: $s, limit: 1000) { name } }'
        return {found["name"] for found in self.ask(query, s=self.service_id(service))["findEndpoint"]}

    def instances(self, service: str) -> list[dict[str, Any]]:
        query = """query($d: Duration!, $s: ID!) {
            listInstances(duration: $d, serviceId: $s) { name language attributes { name value } } }"""
        return self.ask(query, d=self._last(60), s=self.service_id(service))["listInstances"]

    def latest(self, metric: str, service: str, instance: str) -> float | None:
        """The metric's newest value, as OAP's pages read it; None when it has none."""
        query = """query($e: String!, $n: Entity!, $d: Duration!) {
            execExpression(expression: $e, entity: $n, duration: $d) { error results { values { value } } } }"""
        entity = {"scope": "ServiceInstance", "serviceName": service, "serviceInstanceName": instance, "normal": True}
        told = self.ask(query, e=metric, n=entity, d=self._last(10))["execExpression"]
        assert not told["error"], told
        values = [value["value"] for result in told["results"] for value in result["values"] if value["value"]]
        return float(values[-1]) if values else None

    def log_records(self, service: str) -> list[dict[str, Any]]:
        query = """query($c: LogQueryCondition) { queryLogs(condition: $c) { logs {
            serviceInstanceName endpointName timestamp content traceId tags { key value } } } }"""
        condition = {
            "serviceId": self.service_id(service),
            "queryDuration": self._last(60),
            "paging": {"pageNum": 1, "pageSize": 100},
        }
        return self.ask(query, c=condition)["queryLogs"]["logs"]

    def events(self, service: str) -> list[dict[str, Any]]:
        query = """query($c: EventQueryCondition) { queryEvents(condition: $c) { events {
            uuid source { service serviceInstance } name type message startTime endTime layer } } }"""
        condition = {
            "source": {"service": service},
            "time": self._last(60),
            "paging": {"pageNum": 1, "pageSize": 100},
        }
        return self.ask(query, c=condition)["queryEvents"]["events"]

    def trace_ids(self, service: str) -> list[str]:
        query = """query($c: TraceQueryCondition) {
            queryBasicTraces(condition: $c) { traces { traceIds } } }"""
        condition = {
            "serviceId": self.service_id(service),
            "queryDuration": self._last(60),
            "traceState": "ALL",
            "queryOrder": "BY_START_TIME",
            "paging": {"pageNum": 1, "pageSize": 100},
        }
        return [trace["traceIds"][0] for trace in self.ask(query, c=condition)["queryBasicTraces"]["traces"]]

    def trace(self, trace_id: str) -> list[Segment]:
        """The trace's segments, as far as OAP tells of them; components it cannot name are 0."""
        query = f"query($t: ID!) {{ queryTrace(traceId: $t) {{ spans {{ {SPAN} }} }} }}"
        segments: dict[str, Segment] = {}
        for answer in self.ask(query, t=trace_id)["queryTrace"]["spans"]:
            key = answer["segmentId"]
            earlier = segments[key].spans if key in segments else ()
            segments[key] = Segment(
                trace=answer["traceId"],
                id=key,
                service=answer["serviceCode"],
                instance=answer["serviceInstanceName"],
                size_limited=False,
                spans=(*earlier, _span(answer)),
            )
        return list(segments.values())

    def topology(self, minutes: int = 60) -> set[tuple[str, str]]:
        """Who called whom in the last so many minutes, by name."""
        query = """query($d: Duration!) {
            getGlobalTopology(duration: $d) { nodes { id name } calls { source target } } }"""
        seen = self.ask(query, d=self._last(minutes))["getGlobalTopology"]
        names = {node["id"]: node["name"] for node in seen["nodes"]}
        return {(names[call["source"]], names[call["target"]]) for call in seen["calls"]}
