# SPDX-License-Identifier: Apache-2.0
"""HUP: the configuration is read again, and takes the place of the running one whole or not at all."""

from __future__ import annotations

import errno
import json
import re
import signal
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Exchange, Origin, Pki, RawClient, Skystitch, Stage, free_port, until
from load import Load

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def write(proxy: Skystitch, **sections: Any) -> None:
    """Lays the sections over the file that the proxy reads."""
    config = json.loads(proxy.config_path.read_text())
    config.update(sections)
    proxy.config_path.write_text(json.dumps(config))


def reloads(proxy: Skystitch, result: str = "done") -> float:
    return proxy.metric("skystitch_reloads_total", result=result)


def reload(proxy: Skystitch, result: str = "done", **sections: Any) -> None:
    write(proxy, **sections)
    before = reloads(proxy, result)
    proxy.signal(signal.SIGHUP)
    until(lambda: reloads(proxy, result) == before + 1, f"a reload that is {result}")


def servers(*addresses: str) -> dict[str, Any]:
    return {"app": {"servers": list(addresses)}}


@pytest.mark.parametrize("fresh", [False, True], ids=["kept connections", "a connection each"])
def test_under_load(stage: Stage, fresh: bool) -> None:
    """Servers come and go, the listener beside the loaded one too; no request fails, no segment is lost."""
    collector = Collector(stage)
    origins = [Origin(stage, name=f"origin{i}") for i in range(2)]
    proxy = Skystitch(stage, origins[0].address, collector=collector, config={"workers": 2})
    here, other = {"address": f"127.0.0.1:{proxy.port}"}, {"address": f"127.0.0.1:{free_port()}"}
    load = Load(proxy.port, fresh=fresh)
    until(lambda: load.done > 100, "load")
    for turn in range(30):
        chosen = [origin.address for origin in origins][turn % 2 : turn % 2 + 1 + turn % 3 // 2]
        reload(proxy, upstreams=servers(*chosen), listen=[here, other] if turn % 2 else [other, here])
    load.stop()
    assert load.failures == []
    assert load.refused == 0
    assert set(load.statuses) == {200}
    assert all(origin.exchanges for origin in origins)
    collector.wait(load.done)
    assert len({segment.id for segment in collector.segments}) == load.done


def test_a_running_request_ends_by_what_it_began_with(stage: Stage) -> None:
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert go.wait(20)
        exchange.send(answer(b"old"))

    old, new = Origin(stage, wait, name="old"), Origin(stage, answer(b"new"), name="new")
    rules = {"path": "/", "upstream": "app", "response_headers": {"set": {"X-Rules": "old"}}}
    proxy = Skystitch(stage, old.address, config={"routes": [rules]})
    with ThreadPoolExecutor(1) as pool, proxy.raw() as idle:
        running = pool.submit(proxy.session.get, proxy.url, timeout=20)
        until(lambda: old.exchanges, "the request is with the old app")
        rules["response_headers"] = {"set": {"X-Rules": "new"}}
        reload(proxy, upstreams=servers(new.address), routes=[rules])
        idle.send(GET)
        head, body = idle.response()
        assert body == b"new"
        assert head.headers["X-Rules"] == "new"
        go.set()
        response = running.result()
    assert response.text == "old"
    assert response.headers["X-Rules"] == "old"
    assert "Connection" not in response.headers


def test_sockets_to_servers_that_stay_are_kept(stage: Stage) -> None:
    origin, other = Origin(stage), Origin(stage, name="other")
    proxy = Skystitch(stage, origin.address, config={"timeouts": {"upstream_idle": "60s"}})
    with proxy.raw() as client:
        for sections in [{}, {"upstreams": servers(origin.address, other.address)}, {"log": {"level": "debug"}}]:
            reload(proxy, **sections)
            until(lambda: ask(client) and origin.exchanges and origin.exchanges[-1], "an answer of that server")
            ask(client)
    assert origin.connections == 1


def test_sockets_are_kept_while_a_request_of_before_runs(stage: Stage) -> None:
    """It holds the first configuration, and so the upstream that the second one shares and the third replaces."""
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        assert b"/wait" not in exchange.request_line or go.wait(20)
        exchange.send(answer(b"ok"))

    origin, other = Origin(stage, wait), Origin(stage, name="other")
    proxy = Skystitch(stage, origin.address, config={"timeouts": {"upstream_idle": "60s"}})
    with ThreadPoolExecutor(1) as pool, proxy.raw() as client:
        running = pool.submit(proxy.session.get, f"{proxy.url}/wait", timeout=20)
        until(lambda: origin.exchanges, "the request is with the app")
        assert ask(client)
        reload(proxy, log={"level": "debug"})
        reload(proxy, upstreams=servers(origin.address, other.address))
        until(lambda: ask(client) and len(origin.exchanges) == 3, "an answer of that server")
        assert origin.connections == 2
        go.set()
        assert running.result().status_code == 200


def ask(client: RawClient) -> bool:
    client.send(GET)
    return client.response()[0].status == 200


def test_a_bad_configuration_changes_nothing(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    before = proxy.admin("/api/config").text
    reload(proxy, "refused", routes=[{"path": "/", "upstream": "nowhere"}], log={"level": "shout"})
    log = proxy.log()
    assert re.search(r"reload: \S+skystitch\.yaml:\d+:\d+: log\.level: \"shout\" ", log), log
    assert "refused; the running configuration stays" in log
    assert proxy.admin("/api/config").text == before
    assert proxy.get("/").status_code == 200
    proxy.config_path.write_text("{")
    reloaded = reloads(proxy, "refused")
    proxy.signal(signal.SIGHUP)
    until(lambda: reloads(proxy, "refused") == reloaded + 1, "refused")
    assert proxy.get("/").status_code == 200


@pytest.mark.parametrize(
    ("sections", "option"),
    [
        ({"workers": 3}, "workers"),
        ({"agent": {"service": "other"}}, "agent.service"),
        ({"reporter": {"authentication": "another"}}, "reporter.authentication"),
        ({"reporter": {"kafka": {"properties": ["a=b"]}}}, "reporter.kafka.properties"),
        ({"admin": {"listen": "off"}}, "admin.listen"),
    ],
)
def test_what_takes_a_restart_is_named(stage: Stage, sections: dict[str, Any], option: str) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    write(proxy, routes=[{"path": "/", "return": {"status": 410}}])
    reload(proxy, "refused", **sections)
    assert f"reload: {option}: has changed, which takes a restart" in proxy.log()
    assert proxy.get("/").status_code == 200, "and nothing else was applied"


def test_listeners(stage: Stage) -> None:
    """A new one opens, the one that stays is never closed, one that goes serves what it has queued."""
    proxy = Skystitch(stage, Origin(stage).address, config={"workers": 2})
    stays, comes = {"address": f"127.0.0.1:{proxy.port}"}, {"address": f"127.0.0.1:{free_port()}"}
    goes = {"address": f"unix:{stage.path('gone.sock')}"}
    reload(proxy, listen=[stays, goes])
    kept = proxy.raw()
    gone = socket.socket(socket.AF_UNIX)
    gone.connect(str(stage.path("gone.sock")))
    reload(proxy, listen=[comes, stays])
    until(lambda: not stage.path("gone.sock").exists(), "its file goes")
    with RawClient("127.0.0.1", int(comes["address"].split(":")[1])) as client:
        assert ask(client)
    with kept, gone:
        assert ask(kept)
        gone.settimeout(10)
        gone.sendall(GET)
        assert gone.recv(64).startswith(b"HTTP/1.1 200")
    assert proxy.get("/").status_code == 200
    with socket.create_server(("127.0.0.1", 0)) as other:
        reload(proxy, "refused", listen=[stays, {"address": f"127.0.0.1:{other.getsockname()[1]}"}])
    assert "another process listens there" in proxy.log()
    reload(proxy, "refused", listen=[stays, {"address": f"127.0.0.1:{proxy.admin_port}"}])
    assert "or by admin.listen" in proxy.log()
    with RawClient("127.0.0.1", int(comes["address"].split(":")[1])) as client:
        assert ask(client), "of the running configuration"


def test_the_socket_of_a_busy_process_is_not_waited_for(stage: Stage) -> None:
    """Whether one that is there is a dead process's is asked without waiting for a place in its backlog."""
    proxy = Skystitch(stage, Origin(stage).address)
    path = stage.path("busy.sock")
    with ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        waiting = [
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            for _ in range(4)
        ]
        assert waiting[0].connect_ex(str(path)) == 0
        assert [one.connect_ex(str(path)) for one in waiting][-1] == errno.EAGAIN
        reload(proxy, "refused", listen=[{"address": f"127.0.0.1:{proxy.port}"}, {"address": f"unix:{path}"}])
    assert "another process listens there" in proxy.log()
    assert path.exists()


def test_a_listener_that_goes_and_comes_back(stage: Stage) -> None:
    """At once: the reload that removes it lasts until its socket is closed."""
    proxy = Skystitch(stage, Origin(stage).address, config={"workers": 2})
    stays, other = {"address": f"127.0.0.1:{proxy.port}"}, {"address": f"127.0.0.1:{free_port()}"}
    load = Load(proxy.port, fresh=True, clients=2)
    for _ in range(5):
        reload(proxy, listen=[stays, other])
        with RawClient("127.0.0.1", int(other["address"].split(":")[1])) as client:
            assert ask(client)
        reload(proxy, listen=[stays])
    reload(proxy, listen=[stays, other])
    load.stop()
    assert load.failures == []
    assert load.refused == 0


def test_from_one_address_to_all(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    load = Load(proxy.port, fresh=True, clients=2)
    reload(proxy, listen=[{"address": f":{proxy.port}"}])
    reload(proxy, listen=[{"address": f"127.0.0.1:{proxy.port}"}])
    until(lambda: load.done > 20, "load")
    load.stop()
    assert load.failures == []
    assert load.refused == 0


def test_certificates_and_tls(stage: Stage) -> None:
    pki = Pki(stage.directory)
    first, second = pki.sign("first", "DNS:localhost"), pki.sign("second", "DNS:localhost")
    used = {"certificate": str(stage.path("used.pem")), "key": str(stage.path("used.key"))}

    def install(pair: Any) -> None:
        Path(used["certificate"]).write_bytes(pair.certificate.read_bytes())
        Path(used["key"]).write_bytes(pair.key.read_bytes())

    install(first)
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": {"certificates": [used], "hsts": "max-age=1"}}]
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": listen})
    old = connect(port, pki.context())
    assert name_of(old) == "first"
    install(second)
    reload(proxy)
    assert name_of(connect(port, pki.context())) == "second"
    listen[0]["tls"]["hsts"] = "max-age=2"
    reload(proxy, listen=listen)
    assert b"Strict-Transport-Security: max-age=2" in exchange(old), "the connection of before goes on"
    Path(used["key"]).write_bytes(first.key.read_bytes())
    reload(proxy, "refused")
    assert "does not belong to the certificate" in proxy.log()
    assert name_of(connect(port, pki.context())) == "second"


def test_a_client_that_begins_tls_after_a_reload(stage: Stage) -> None:
    """It was accepted with the certificate of before, and gets it, however late its ClientHello is."""
    pki, port = Pki(stage.directory), free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": pki.sign("server", "DNS:localhost").config()}]
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": listen})
    with socket.create_connection(("127.0.0.1", port), 10) as late, socket.create_connection(("127.0.0.1", port), 10):
        until(lambda: proxy.metric("skystitch_connections_total") == 2, "both are accepted")
        for _ in range(2):
            reload(proxy)
        with pki.context().wrap_socket(late, server_hostname="localhost") as client:
            assert b" 200 OK" in exchange(client)


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost")


def name_of(client: ssl.SSLSocket) -> str:
    subject: Any = client.getpeercert()["subject"]  # type: ignore[index]
    return str(dict(part[0] for part in subject)["commonName"])


def exchange(client: ssl.SSLSocket) -> bytes:
    client.sendall(GET)
    got = b""
    while not got.endswith(b"\r\n\r\nok"):
        got += client.recv(4096)
    return got


def test_a_log_file_outlives_its_configuration(stage: Stage) -> None:
    path = stage.path("a-name-of-some-length-that-is-not-like-others.log")
    proxy = Skystitch(stage, Origin(stage).address)
    reload(proxy, log={"access": str(path)})
    for turn in range(4):
        path.unlink()
        reload(proxy, forwarded={"port": turn % 2 == 0})
        until(path.exists, "the file is opened anew, by its own name")


def test_log_files(stage: Stage) -> None:
    first, second = stage.path("first.log"), stage.path("second.log")
    proxy = Skystitch(stage, Origin(stage).address, config={"log": {"access": str(first), "level": "info"}})
    proxy.get("/one")
    until(lambda: "/one" in first.read_text(), "a line")
    first.rename(stage.path("moved.log"))
    reload(proxy)
    proxy.get("/two")
    until(lambda: first.exists() and "/two" in first.read_text(), "the file is opened anew")
    reload(proxy, log={"access": str(second), "format": "json"})
    proxy.get("/three")
    until(lambda: second.exists() and '"/three"' in second.read_text(), "another file, another format")
    reload(proxy, "refused", log={"access": "/nowhere/at/all.log"})
    proxy.get("/four")
    until(lambda: "/four" in second.read_text(), "still that file")


def test_limits_and_trust(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    with proxy.raw() as client:
        assert ask(client)
        reload(proxy, limits={"header": "2KiB", "header_fields": 10}, timeouts={"header": "300ms"})
        client.send(GET[:-2] + b"X-Long: " + b"x" * 3000 + b"\r\n\r\n")
        assert client.response()[0].status == 431
    with proxy.raw() as client:
        client.send(GET[:10])
        assert client.response()[0].status == 408


def test_many_at_once_and_with_term(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"workers": 2})
    load = Load(proxy.port)
    until(lambda: load.done > 50, "load")
    for _ in range(20):
        proxy.signal(signal.SIGHUP)
    until(lambda: reloads(proxy) >= 1, "reloads")
    proxy.signal(signal.SIGHUP)
    proxy.stop()
    load.join()
    assert load.failures == []


def test_under_h2load(stage: Stage) -> None:
    """HTTP/2 through TLS: connections with many streams live through 20 reloads."""
    pki = Pki(stage.directory)
    pair = pki.sign("localhost", "DNS:localhost")
    listen = [{"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": [pair.config()]}}]
    origins = [Origin(stage, name=f"origin{i}") for i in range(2)]
    proxy = Skystitch(stage, origins[0].address, config={"listen": listen, "workers": 2})
    url = f"https://{listen[0]['address']}/"
    command = ["h2load", "-c4", "-m8", "-n6000", url]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: origins[0].exchanges, "load")
        for turn in range(20):
            reload(proxy, upstreams=servers(origins[(turn + 1) % 2].address))
        output = load.communicate(timeout=60)[0]
    finally:
        load.kill()
    assert re.search(r"requests: 6000 total, 6000 started, 6000 done, 6000 succeeded, 0 failed, 0 errored", output), (
        output
    )
    assert re.search(r"status codes: 6000 2xx", output), output


@pytest.mark.matrix
def test_a_thousand_under_wrk(stage: Stage) -> None:
    """No failed request, no growth."""
    origins = [Origin(stage, name=f"origin{i}") for i in range(2)]
    config = {"workers": 2, "local": {"max": "64KiB"}}
    proxy = Skystitch(stage, origins[0].address, config=config)
    wrk = subprocess.Popen(["wrk", "-t1", "-c16", "-d600s", proxy.url], stdout=subprocess.PIPE, text=True)
    try:
        grown = 0
        for turn in range(1000):
            if turn == 200:
                grown = proxy.memory_kb()
            reload(proxy, upstreams=servers(origins[turn % 2].address))
        proxy.check_growth(grown, 2048)
    finally:
        wrk.send_signal(signal.SIGINT)
        output = wrk.communicate(timeout=30)[0]
    assert "Socket errors" not in output, output
    assert "Non-2xx" not in output, output
    assert int(re.search(r"(\d+) requests in", output).group(1)) > 1000  # type: ignore[union-attr]
