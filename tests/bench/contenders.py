# SPDX-License-Identifier: Apache-2.0
"""The proxies that are measured, each started before the same origin."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import peers
from harness.pki import Pki
from harness.process import Process, Stage, free_port, until
from harness.skystitch import Skystitch
from measure import Printed, Sink, Spread, compiled
from rows import FILES, Load

Counts = Callable[[str], bool]


@dataclass
class Part:
    """The contender, or some of its threads: what one line of the table counts."""

    label: str
    counts: Counts = lambda _: True
    cpu_us: Spread = field(default_factory=Spread)


@dataclass
class Contender:
    process: Process
    port: int
    parts: list[Part]
    tls_port: int = 0
    reports: bool = False  # its work for a request ends some time after the answer
    per_second: Spread = field(default_factory=Spread)
    idle_mb: float = 0  # after one request
    connected_mb: float = 0  # with connections that wait for their next request

    def port_for(self, load: Load) -> int:
        return self.tls_port if load.tls else self.port


class Site:
    """What contenders stand before. `whole`: not for the plain row alone."""

    def __init__(self, stage: Stage, *, whole: bool) -> None:
        self.stage = stage
        self.whole = whole
        self.connections = 16384 if whole else 8192
        self.unix = stage.path("origin.sock")
        self.sink = Sink(stage)
        origin = Printed(stage, "origin", [compiled("origin"), self.unix])
        self.origin = origin.port
        if whole:
            self._make_files()

    def _make_files(self) -> None:
        # nginx and h2o that root starts become nobody
        self.stage.directory.chmod(0o755)
        self.unix.chmod(0o666)
        static = self.stage.path("static")
        static.mkdir()
        for name, size in FILES.items():
            (static / name).write_bytes(bytes(range(256)) * (size // 256))
        self.pair = Pki(self.stage.directory).sign("server", "IP:127.0.0.1")
        self.bundle = self.stage.path("bundle.pem")
        self.bundle.write_bytes(self.pair.certificate.read_bytes() + self.pair.key.read_bytes())

    def fill(self, text: str, port: int, tls: int, **more: str) -> str:
        """The text of a configuration, with `more` in it if this site is whole."""
        values = {"port": port, "origin": self.origin, "directory": self.stage.directory, "unix": self.unix}
        values["connections"] = self.connections
        if self.whole:
            values |= {"tls": tls, "bundle": self.bundle, **self.pair.config()}
        filled = {name: part.format(**values) if self.whole else "" for name, part in more.items()}
        return text.format(**values, **filled)


def configured(stage: Stage, name: str, text: str, argv: list[str], port: int, tls: int = 0) -> Contender:
    """A server that reads its configuration from a file, named last in its arguments."""
    config = stage.path(f"{name}.conf")
    config.write_text(text)
    process = Process(stage, name, [*argv, config])
    process.spawn()
    return Contender(process, port, [Part(name)], tls)


def relay(site: Site) -> Contender:
    process = Printed(site.stage, "relay", [compiled("relay"), str(site.origin)])
    return Contender(process, process.port, [Part("TCP relay without parsing")])


def nginx(site: Site) -> Contender:
    port, tls = free_port(), free_port()
    text = site.fill(peers.NGINX, port, tls, more=peers.NGINX_MORE)
    made = configured(site.stage, "nginx", text, [peers.executable("nginx"), "-c"], port, tls)
    made.parts[0].label = "nginx, no tracing"
    return made


def haproxy(site: Site) -> Contender:
    port, tls = free_port(), free_port()
    text = site.fill(peers.HAPROXY, port, tls, more=peers.HAPROXY_MORE)
    return configured(site.stage, "haproxy", text, [peers.executable("haproxy"), "-db", "-f"], port, tls)


def h2o(site: Site) -> Contender:
    port, tls = free_port(), free_port()
    more = {"more_listen": peers.H2O_MORE_LISTEN, "more_paths": peers.H2O_MORE_PATHS}
    text = site.fill(peers.H2O, port, tls, **more)
    return configured(site.stage, "h2o", text, [peers.executable("h2o"), "-c"], port, tls)


# The connections to the origin as long as the peers keep theirs: others have their turns between two of a contender.
COMMON = {"local": {"enabled": False}, "timeouts": {"upstream_idle": "60s"}}


def skystitch(site: Site) -> Contender:
    port, tls = free_port(), free_port()
    config: dict[str, object] = {**COMMON, "reporter": {"batch": {"interval": "1s"}}}
    if site.whole:
        secured = {"address": f"127.0.0.1:{tls}", "tls": site.pair.config()}
        config["listen"] = [{"address": f"127.0.0.1:{port}"}, secured]
        config["limits"] = {"connections": site.connections}
        config["upstreams"] = {"unix": {"servers": [f"unix:{site.unix}"]}}
        config["routes"] = [
            {"path": "/static/", "static": str(site.stage.path("static"))},
            {"path": "/unix/", "upstream": "unix"},
            {"path": "/", "upstream": "app"},
        ]
    proxy = Skystitch(site.stage, f"127.0.0.1:{site.origin}", collector=site.sink.address, config=config, port=port)
    parts = [
        Part("**skystitch, tracing on**"),
        Part("skystitch, worker threads", lambda name: name.startswith("sky-worker")),
        Part("skystitch, reporter thread", lambda name: name == "sky-reporter"),
    ]
    return Contender(proxy, proxy.port, parts, tls, reports=True)


def skystitch_untraced(site: Site) -> Contender:
    config = {**COMMON, "agent": {"ignore_path": ["/"]}}
    origin, sink = f"127.0.0.1:{site.origin}", site.sink.address
    proxy = Skystitch(site.stage, origin, name="skystitch-untraced", collector=sink, config=config)
    return Contender(proxy, proxy.port, [Part("skystitch, path ignored")])


def envoy(site: Site, sink: Sink | None) -> Contender:
    port = free_port()
    text = peers.envoy(port, site.origin, sink.port if sink else None)
    options = ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "--config-path"]
    name = "envoy-skywalking" if sink else "envoy"
    made = configured(site.stage, name, text, [str(peers.envoy_executable()), *options], port)
    made.parts[0].label = "Envoy with its SkyWalking tracer" if sink else "Envoy, no tracing"
    made.reports = sink is not None
    return made


def started(site: Site, wanted: Iterable[str]) -> dict[str, Contender]:
    """Starts those that are wanted and installed."""
    makers: dict[str, Callable[[], Contender]] = {
        "relay": lambda: relay(site),
        "nginx": lambda: nginx(site),
        "haproxy": lambda: haproxy(site),
        "h2o": lambda: h2o(site),
        "skystitch": lambda: skystitch(site),
        "skystitch-untraced": lambda: skystitch_untraced(site),
    }
    if peers.envoy_executable():
        makers["envoy"] = lambda: envoy(site, None)
        makers["envoy-skywalking"] = lambda: envoy(site, site.sink)
    made = {name: make() for name, make in makers.items() if not wanted or name in wanted}
    for name, contender in made.items():
        until(lambda port=contender.port: answers(port), f"{name} answers")
    return made


def connected(port: int) -> socket.socket:
    """A connection that has had one request answered and could have the next."""
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
    assert b" 200 " in client.recv(4096)
    return client


def answers(port: int) -> bool:
    try:
        connected(port).close()
    except (OSError, AssertionError):
        return False
    return True
