# SPDX-License-Identifier: Apache-2.0
"""log.access: one line a request, whatever became of it, without ever holding one up."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from harness import Origin, Site, Skystitch, Stage, until
from harness.skystitch import run
from load import Load

COMBINED = re.compile(
    r"^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
    r'"([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"$'
)


def logging(stage: Stage, form: str = "json", **more: Any) -> tuple[Path, dict[str, Any]]:
    path = stage.path("access.log")
    return path, {"log": {"access": str(path), "format": form, **more}}


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def wait_lines(path: Path, count: int) -> list[str]:
    """They come a moment after the answer."""
    until(lambda: len(lines(path)) >= count, f"{count} lines in {path.name}")
    found = lines(path)
    assert len(found) == count, found
    return found


def records(path: Path, count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in wait_lines(path, count)]


def test_combined(stage: Stage) -> None:
    path, config = logging(stage, "combined")
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    headers = {"User-Agent": 'a "b" \\', "Referer": "http://shop/x"}
    assert proxy.get("/users/7?a=b", headers=headers).status_code == 200
    match = COMBINED.match(wait_lines(path, 1)[0])
    assert match, lines(path)
    assert match.groups() == (
        "GET /users/7?a=b HTTP/1.1",
        "200",
        "2",
        "http://shop/x",
        r"a \x22b\x22 \x5c",
    )
    assert path.stat().st_mode & 0o007 == 0


def test_common(stage: Stage) -> None:
    path, config = logging(stage, "common")
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    proxy.get("/")
    assert re.search(r'\] "GET / HTTP/1\.1" 200 2$', wait_lines(path, 1)[0])


def test_json_of_a_stitched_request(stage: Stage) -> None:
    path, config = logging(stage)
    site = Site(stage, "flask_app:app", config=config)
    _, segment = site.get("/users/42?verbose=1", headers={"User-Agent": "caf\u00e9".encode()})
    (record,) = records(path, 1)
    times = {key: record.pop(key) for key in ("queue_ms", "connect_ms", "first_byte_ms", "total_ms")}
    size = record.pop("bytes")
    assert size > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("time"))
    assert record == {
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/users/42?verbose=1",
        "protocol": "HTTP/1.1",
        "host": f"127.0.0.1:{site.proxy.port}",
        "status": 200,
        "user_agent": "caf\u00e9",
        "trace": segment.trace,
        "segment": segment.id,
        "operation": "GET:/users/<int:id>",
        "upstream": site.app.address,
    }
    assert all(value >= 0 for value in times.values())
    assert times["queue_ms"] + times["connect_ms"] + times["first_byte_ms"] <= times["total_ms"] + 0.01


def test_untraced_requests_are_logged(stage: Stage) -> None:
    path, config = logging(stage)
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    proxy.get("/logo.png")
    (record,) = records(path, 1)
    assert record["target"] == "/logo.png"
    assert not {"trace", "segment", "operation"} & record.keys()


def test_what_a_route_answers_itself(stage: Stage) -> None:
    """A file, a redirect and an unknown path: without an upstream, but with their sizes."""
    folder = stage.path("static")
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"x" * 100000)
    path, config = logging(stage)
    config["routes"] = [
        {"path": "/static/", "static": str(folder)},
        {"path": "/old", "redirect": "/new"},
        {"path": "/app", "upstream": "app"},
    ]
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    assert len(proxy.get("/static/a.txt").content) == 100000
    assert proxy.get("/old").status_code == 308
    assert proxy.get("/nowhere").status_code == 404
    file, moved, nowhere = records(path, 3)
    assert (file["status"], file["bytes"], moved["status"], nowhere["status"]) == (200, 100000, 308, 404)
    assert not any("upstream" in record for record in (file, moved, nowhere))
    assert nowhere["failure"]


def test_failures_say_what_failed(stage: Stage) -> None:
    path, config = logging(stage)
    origin = Origin(stage, lambda exchange: exchange.close())
    proxy = Skystitch(stage, origin.address, config=config)
    assert proxy.get("/closed").status_code == 502
    origin.close()
    Path(origin.address.removeprefix("unix:")).unlink()
    assert proxy.get("/nobody").status_code == 502
    closed, nobody = records(path, 2)
    assert (closed["status"], nobody["status"]) == (502, 502)
    assert closed["failure"]
    assert nobody["failure"]
    assert closed["failure"] != nobody["failure"]
    assert closed["upstream"] == nobody["upstream"] == origin.address
    assert "first_byte_ms" not in closed
    assert "connect_ms" in closed
    assert "connect_ms" not in nobody


def test_a_client_that_leaves(stage: Stage) -> None:
    path, config = logging(stage)
    origin = Origin(stage, lambda exchange: exchange.peer_closed())
    proxy = Skystitch(stage, origin.address, config=config)
    with proxy.raw() as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.exchanges, "the request is with the app")
    (record,) = records(path, 1)
    assert (record["status"], record["client_gone"], record["bytes"]) == (499, True, 0)


REFUSED = {
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "no Host": (b"GET /x HTTP/1.1\r\n\r\n", 400),
    "long line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 431),
    "bad chunk": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    "large body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", 413),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("form", ["combined", "json"])
def test_refused_requests_are_logged(stage: Stage, kind: str, form: str) -> None:
    path, config = logging(stage, form)
    config["limits"] = {"body": "1KiB"}
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    sent, status = REFUSED[kind]
    with proxy.raw() as client:
        client.send(sent)
        assert client.response()[0].status == status
    (line,) = wait_lines(path, 1)
    if form == "json":
        record = json.loads(line)
        assert (record["status"], record["client"]) == (status, "127.0.0.1")
        assert record["failure"]
        assert record.get("host", "a") in ("", "a"), "what the client did not name is not made up"
        return
    match = COMBINED.match(line)
    assert match, line
    assert match.group(2) == str(status)


def test_nobody_forges_a_line(stage: Stage) -> None:
    """Control characters never pass the front; what does (quotes, UTF-8 line ends) is escaped."""
    for form in ("combined", "json"):
        path = stage.path(f"{form}.log")
        config = {"log": {"access": str(path), "format": form}}
        proxy = Skystitch(stage, Origin(stage, name=form).address, name=f"proxy-{form}", config=config)
        with proxy.raw() as client:
            evil = b'x" 200 0 "-" "y\xe2\x80\xa8\xc2\x85{"status":200}\xff\\'
            client.send(b"GET /" + b" HTTP/1.1\r\nHost: a\r\nUser-Agent: " + evil + b"\r\n\r\n")
            assert client.response()[0].status == 200
        wait_lines(path, 1)
        data = path.read_bytes()
        assert data.count(b"\n") == 1
        assert data.endswith(b"\n")
        assert all(0x20 <= byte < 0x7F for byte in data[:-1])


def test_every_request_under_load_has_its_line(stage: Stage) -> None:
    """Also those that are answered just before the end: the stop flushes."""
    path, config = logging(stage, access_buffer="16MiB")
    proxy = Skystitch(stage, Origin(stage).address, config={**config, "workers": 2})
    load = Load(proxy.port)
    until(lambda: load.done > 300, "load")
    proxy.stop()
    load.join()
    assert load.failures == []
    found = [json.loads(line) for line in lines(path)]
    assert len([record for record in found if record["status"] == 200]) == load.done
    assert len({record["segment"] for record in found}) == len(found)


def test_usr1_opens_the_file_anew(stage: Stage) -> None:
    path, config = logging(stage)
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    proxy.get("/before")
    wait_lines(path, 1)
    moved = path.rename(stage.path("access.log.1"))
    proxy.get("/still")
    wait_lines(moved, 2)
    proxy.signal(signal.SIGUSR1)
    until(path.exists, "a new file")
    proxy.get("/after")
    assert records(path, 1)[0]["target"] == "/after"
    assert len(lines(moved)) == 2


def test_usr1_without_an_access_log(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    proxy.signal(signal.SIGUSR1)
    assert proxy.get("/").status_code == 200
    assert proxy.metric("skystitch_access_log_lines_total") == 0


def test_syslog(stage: Stage) -> None:
    path = stage.path("syslog.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10)
        config = {"log": {"access": f"syslog:{path}", "format": "common"}}
        proxy = Skystitch(stage, Origin(stage).address, config=config)
        proxy.get("/users/7")
        datagram = listener.recv(9000).decode()
    assert re.fullmatch(
        rf"<190>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d skystitch\[{proxy.pid}\]: "
        r'127\.0\.0\.1 - - \[.*\] "GET /users/7 HTTP/1\.1" 200 2',
        datagram,
    )


def test_a_pipe_that_nobody_reads(stage: Stage) -> None:
    """Requests go on, lines are dropped and counted, and the stop does not hang."""
    path = stage.path("access.fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    config = {"log": {"access": str(path), "access_buffer": "64KiB"}, "timeouts": {"flush": "200ms"}}
    proxy = Skystitch(stage, Origin(stage).address, config=config)
    agent = "a" * 1000

    def dropped() -> bool:
        with proxy.raw() as client:
            for _ in range(50):
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: %s\r\n\r\n" % agent.encode())
                assert client.response()[0].status == 200
        return proxy.metric("skystitch_access_log_lines_total", result="dropped") > 0

    until(dropped, "lines are dropped")
    proxy.stop()
    os.close(reader)


def test_a_full_disk_is_counted(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"log": {"access": "/dev/full"}})
    assert proxy.get("/").status_code == 200
    until(lambda: proxy.metric("skystitch_access_log_unwritten_total") == 1, "the loss is counted")
    assert "No space left on device" in proxy.log()


def test_it_must_open(stage: Stage) -> None:
    listen = f"unix:{stage.path('front.sock')}"
    more = [word for pair in ("log.access=/nowhere/x", "admin.listen=off") for word in ("--set", pair)]
    done = run("--upstream", ":1", "--listen", listen, *more)
    assert done.returncode == 1
    assert "log.access: cannot open /nowhere/x: No such file or directory" in done.stderr


def test_stdout(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"log": {"access": "stdout"}})
    proxy.get("/users/7")
    until(lambda: '"GET /users/7 HTTP/1.1" 200 2' in proxy.log(), "the line")
