# SPDX-License-Identifier: Apache-2.0
"""Servers written by a name: each of its addresses is a server, and the list follows the name service."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness import Exchange, Origin, Skystitch, Stage, free_port, until
from load import Load
from test_reload import reload, reloads

UP = "skystitch_upstream_server_up"


@pytest.fixture(scope="module")
def library(module_stage: Stage) -> Path:
    """What stands in for libc's name service."""
    made = module_stage.path("name_service.so")
    source = Path(__file__).with_name("name_service.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", source, "-o", made, "-ldl"], check=True)
    return made


class Named:
    """A proxy whose one server is `app.test`; origins at 127.0.0.n have one port."""

    def __init__(
        self, stage: Stage, library: Path, *hosts: int, workers: int = 1, silent: int = 0, **config: Any
    ) -> None:
        self.stage, self.port = stage, free_port()
        self.origins: dict[int, Origin] = {}
        self.names = stage.path("names")
        self.log = stage.path("access.log")
        self.say(*hosts)
        upstream = {"servers": [f"app.test:{self.port}"], "resolve": "100ms", **config}
        first = {f"silent{i}": {"servers": ["silent.test:80"]} for i in range(silent)}
        environment = {"LD_PRELOAD": str(library), "SKY_TEST_NAMES": str(self.names)}
        self.proxy = Skystitch(
            stage,
            [],
            config={
                "upstreams": {**first, "app": upstream},
                "log": {"access": str(self.log), "format": "json"},
                "workers": workers,
            },
            env=environment,
            start=False,
        )
        # It comes before the sanitizer's own library, which has no use for the name service.
        self.proxy.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self.proxy.start()

    def say(self, *hosts: int) -> None:
        """What the name service says from now on; nothing: there is no such name."""
        new = self.stage.path("names.new")
        new.write_text("".join(f"app.test 127.0.0.{host}\n" for host in hosts))
        new.rename(self.names)

    def serve(self, *hosts: int, script: Any = None) -> None:
        for host in hosts:
            body = b"%d" % host
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            self.origins[host] = Origin(
                self.stage, script or answer, name=f"origin{host}", tcp=True, host=f"127.0.0.{host}", port=self.port
            )

    def ask(self, count: int) -> Counter[int]:
        """Who answers so many requests."""
        answers = [self.proxy.get("/") for _ in range(count)]
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        return Counter(int(answer.text) for answer in answers)

    def labels(self) -> set[str]:
        return {dict(labels)["server"] for (name, labels) in self.proxy.metrics() if name == UP}

    def label(self, host: int) -> str:
        return f"app.test:{self.port} (127.0.0.{host})"

    def follows(self, *hosts: int) -> None:
        until(lambda: self.labels() == {self.label(host) for host in hosts}, f"the servers are {hosts}")


def test_each_address_is_a_server(stage: Stage, library: Path) -> None:
    named = Named(stage, library, 2, 3, 4)
    named.serve(2, 3, 4)
    assert named.ask(12) == {2: 4, 3: 4, 4: 4}
    named.follows(2, 3, 4)
    (host,) = named.origins[3].exchanges[0].values(b"host")
    assert host == b"127.0.0.1:%d" % named.proxy.port
    until(lambda: len(named.log.read_text().splitlines()) == 12, "the log is written")
    shown = Counter(json.loads(line)["upstream"] for line in named.log.read_text().splitlines())
    assert shown == {named.label(host): 4 for host in (2, 3, 4)}
    assert named.proxy.metric("skystitch_name_lookups_total", result="answered") >= 1


def test_one_that_does_not_listen_is_passed_over(stage: Stage, library: Path) -> None:
    named = Named(stage, library, 2, 3)
    named.serve(2)
    assert named.ask(12) == {2: 12}
    assert named.proxy.metric(UP, server=named.label(3)) == 0
    assert named.proxy.metric(UP, server=named.label(2)) == 1


def test_the_list_follows_the_name_service(stage: Stage, library: Path) -> None:
    """What is gone ends what it has, and gets nothing more."""
    named = Named(stage, library, 2)
    go, began = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        if exchange.request_line.startswith(b"GET /slow"):
            began.set()
            go.wait(20)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")

    named.serve(2, script=slow)
    named.serve(3, 4)
    with named.proxy.raw() as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert began.wait(10)
        named.say(3, 4)
        named.follows(3, 4)
        assert named.ask(8) == {3: 4, 4: 4}
        go.set()
        answer, body = client.response()
        assert (answer.status, body) == (200, b"2")
    named.say(4, 2)
    named.follows(4, 2)
    assert named.ask(8) == {4: 4, 2: 4}


def test_under_load(stage: Stage, library: Path) -> None:
    """Servers come and go by the name service; no request fails."""
    named = Named(stage, library, 2, workers=2)
    named.serve(2, 3, 4)
    load = Load(named.proxy.port)
    until(lambda: load.done > 100, "load")
    for turn in range(12):
        hosts = [(2, 3), (3, 4), (4,), (4, 2, 3)][turn % 4]
        named.say(*hosts)
        named.follows(*hosts)
    load.stop()
    assert load.failures == []
    assert load.refused == 0
    assert set(load.statuses) == {200}
    assert all(origin.exchanges for origin in named.origins.values())


def test_a_name_that_comes_later(stage: Stage, library: Path) -> None:
    named = Named(stage, library)
    named.serve(2)
    answer = named.proxy.get("/")
    assert answer.status_code == 502
    assert "name cannot be resolved" in answer.text
    assert named.proxy.metric("skystitch_name_lookups_total", result="failed") >= 1
    assert named.proxy.admin("/readyz").status_code == 503
    named.say(2)
    named.follows(2)
    assert named.ask(2) == {2: 2}
    until(lambda: named.proxy.admin("/readyz").status_code == 200, "it is ready")
    failed = named.proxy.metric("skystitch_name_lookups_total", result="failed")
    named.say()
    until(lambda: named.proxy.metric("skystitch_name_lookups_total", result="failed") > failed, "it has failed")
    assert named.ask(2) == {2: 2}, "the last answer stays"


def test_beside_names_that_nobody_answers_for(stage: Stage, library: Path) -> None:
    """They do not hold the others up, and not the end of the process either."""
    named = Named(stage, library, 2, silent=3)
    named.serve(2, 3)
    assert named.ask(2) == {2: 2}
    named.say(3)
    named.follows(3)
    named.proxy.stop()


def test_each_is_checked(stage: Stage, library: Path) -> None:
    check = {"path": "/healthz", "interval": "100ms", "rise": 1, "fall": 1}
    named = Named(stage, library, 2, 3, health_check=check)
    named.serve(2, 4)
    named.serve(3, script=b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\n3")
    until(lambda: named.proxy.metric(UP, server=named.label(3)) == 0, "the check has failed")
    assert named.ask(6) == {2: 6}
    named.say(2, 4)
    named.follows(2, 4)
    until(lambda: named.origins[4].exchanges, "the new one is checked")
    assert named.ask(6) == {2: 3, 4: 3}
    asked = len(named.origins[3].exchanges)
    fours = len(named.origins[4].exchanges)
    until(lambda: len(named.origins[4].exchanges) > fours + 3, "some more checks")
    assert len(named.origins[3].exchanges) <= asked + 1, "the one that is gone is not asked any more"


def test_a_reload_knows_the_addresses(stage: Stage, library: Path) -> None:
    named = Named(stage, library, 2, 3)
    named.serve(2, 3)
    assert named.ask(4) == {2: 2, 3: 2}
    named.say()
    upstream = {"servers": [f"app.test:{named.port}"], "resolve": "100ms", "fail_timeout": "1s"}
    reload(named.proxy, upstreams={"app": upstream})
    assert named.ask(4) == {2: 2, 3: 2}
    assert reloads(named.proxy) == 1
