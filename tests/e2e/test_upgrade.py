# SPDX-License-Identifier: Apache-2.0
"""USR2 starts the executable anew on the same sockets; systemd; drain; readiness."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import Collector, Exchange, Origin, Skystitch, Stage, free_port, until
from load import Load
from succession import activated, end, gone, successor

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("fresh", [False, True], ids=["kept connections", "a connection each"])
def test_under_load(stage: Stage, fresh: bool) -> None:
    """Several in a row: no request fails, no segment is lost, the last one stops as any."""
    collector = Collector(stage)
    proxy = Skystitch(stage, Origin(stage).address, collector=collector, config={"workers": 2})
    load = Load(proxy.port, fresh=fresh)
    until(lambda: load.done > 100, "load")
    pid = proxy.pid
    for _ in range(4):
        os.kill(pid, signal.SIGUSR2)
        new = successor(proxy, pid)
        until(lambda pid=pid: gone(pid), "the end of the old one", 30)
        pid = new
        done = load.done
        until(lambda done=done: load.done > done + 50, "it serves")
    assert proxy.admin("/readyz").status_code == 200
    end(pid)
    load.join()
    assert load.failures == []
    assert set(load.statuses) == {200}
    assert proxy.wait() == 0
    collector.wait(load.done)
    assert len({segment.id for segment in collector.segments}) == load.done


def test_a_running_request_is_finished_by_who_has_it(stage: Stage) -> None:
    go = threading.Event()

    def wait(exchange: Exchange) -> None:
        if b"/slow" in exchange.request_line:
            assert go.wait(20)
        exchange.send(OK)

    path = stage.path("front.sock")
    origin = Origin(stage, wait)
    listen = [{"address": f"127.0.0.1:{free_port()}"}, {"address": f"unix:{path}"}]
    proxy = Skystitch(stage, origin.address, config={"listen": listen})
    with socket.socket(socket.AF_UNIX) as slow, socket.socket(socket.AF_UNIX) as quick:
        slow.connect(str(path))
        slow.sendall(GET.replace(b"/ ", b"/slow "))
        until(lambda: origin.exchanges, "the request is with the app")
        proxy.signal(signal.SIGUSR2)
        new = successor(proxy, proxy.pid)
        quick.connect(str(path))
        quick.sendall(GET)
        assert quick.recv(64).startswith(b"HTTP/1.1 200")
        assert proxy.alive()
        go.set()
        assert slow.recv(64).startswith(b"HTTP/1.1 200")
    assert proxy.wait() == 0
    assert path.exists(), "the new one listens there"
    end(new)
    assert not path.exists()


def test_what_the_new_one_does_not_want_is_closed(stage: Stage) -> None:
    """With other listeners and another number of workers, which no reload could give it."""
    proxy = Skystitch(stage, Origin(stage).address, config={"workers": 2})
    port, other, gone_path = proxy.port, free_port(), stage.path("gone.sock")
    config = json.loads(proxy.config_path.read_text())
    config["listen"] = [{"address": f"127.0.0.1:{port}"}, {"address": f"unix:{gone_path}"}]
    proxy.config_path.write_text(json.dumps(config))
    proxy.signal(signal.SIGHUP)
    until(gone_path.exists, "both listeners")
    config["listen"] = [{"address": f"127.0.0.1:{other}"}, {"address": f"127.0.0.1:{port}"}]
    config["workers"] = 3
    proxy.config_path.write_text(json.dumps(config))
    proxy.signal(signal.SIGUSR2)
    new = successor(proxy, proxy.pid)
    assert proxy.wait() == 0
    assert not gone_path.exists()
    for number in (port, other):
        for _ in range(12):
            with socket.create_connection(("127.0.0.1", number), 10) as client:
                client.sendall(GET)
                assert client.recv(64).startswith(b"HTTP/1.1 200")
    assert proxy.metric("skystitch_workers") == 3
    end(new)


def test_a_listener_that_comes_back_at_once(stage: Stage) -> None:
    """By a reload of the new process, while the old one has not closed it yet."""
    proxy = Skystitch(stage, Origin(stage).address, config={"workers": 2})
    config = json.loads(proxy.config_path.read_text())
    kept, port, path = config["listen"], free_port(), stage.path("front.sock")
    both = [*kept, {"address": f"127.0.0.1:{port}"}, {"address": f"unix:{path}"}]

    def write(listen: list[dict[str, Any]]) -> None:
        proxy.config_path.write_text(json.dumps({**config, "listen": listen}))

    write(both)
    proxy.signal(signal.SIGHUP)
    until(lambda: "reload: done" in proxy.log(), "both listeners")
    write(kept)
    proxy.signal(signal.SIGUSR2)
    new = int(until(lambda: re.search(r"process (\d+) starts", proxy.log()), "it starts").group(1))
    proxy.signal(signal.SIGSTOP)
    until(lambda: proxy.log().count("admin page on") == 2, "the new one serves")
    until(lambda: not path.exists(), "nobody wants the socket's name")
    write(both)
    os.kill(new, signal.SIGHUP)
    until(lambda: proxy.log().count("reload: done") == 2 or "refused" in proxy.log(), "the reload")
    assert "refused" not in proxy.log()
    proxy.signal(signal.SIGCONT)
    assert proxy.wait() == 0
    for address in (("127.0.0.1", port), str(path)):
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
            client.settimeout(10)
            client.connect(address)
            client.sendall(GET)
            assert client.recv(64).startswith(b"HTTP/1.1 200")
    end(new)
    assert not path.exists()


def test_one_that_cannot_start_changes_nothing(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address)
    good = proxy.config_path.read_text()
    proxy.config_path.write_text("{")
    proxy.signal(signal.SIGUSR2)
    ended = "ended before it was ready, with status 2; this one goes on"
    until(lambda: ended in proxy.log(), "the end of the new one")
    assert proxy.get("/").status_code == 200
    proxy.config_path.write_text(good)
    proxy.signal(signal.SIGUSR2)
    end(successor(proxy, proxy.pid))
    assert proxy.wait() == 0


def test_one_that_fails_late_leaves_the_name_of_a_socket(stage: Stage) -> None:
    """It has the socket by then, whose name is still the old one's."""
    path = stage.path("front.sock")
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": [{"address": f"unix:{path}"}]})
    config = json.loads(proxy.config_path.read_text())
    proxy.config_path.write_text(json.dumps({**config, "log": {"access": "/nonexistent/log"}}))
    proxy.signal(signal.SIGUSR2)
    until(lambda: "ended before it was ready, with status 1" in proxy.log(), "the end of the new one")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(GET)
        assert client.recv(64).startswith(b"HTTP/1.1 200")
    proxy.stop()
    assert not path.exists()


def test_one_that_is_not_there_costs_no_descriptor(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, start=False)
    binary = Path(shutil.copy(proxy.argv[0], stage.path("copy.bin")))
    proxy.argv[0] = str(binary)
    proxy.start()
    descriptors = Path(f"/proc/{proxy.pid}/fd")
    binary.unlink()

    def refused(times: int) -> int:
        proxy.signal(signal.SIGUSR2)
        until(lambda: proxy.log().count("cannot be started: No such file") == times, "the refusal")
        return len(list(descriptors.iterdir()))

    assert refused(1) == refused(2)


def test_pid_file(stage: Stage) -> None:
    """It names who serves at any time; an executable that cannot start does not get into it."""
    pid_file = stage.path("skystitch.pid")
    proxy = Skystitch(stage, Origin(stage).address, config={"pid_file": str(pid_file)})
    assert pid_file.read_text() == f"{proxy.pid}\n"
    good = proxy.config_path.read_text()
    proxy.config_path.write_text("{")
    proxy.signal(signal.SIGUSR2)
    until(lambda: "ended before it was ready" in proxy.log(), "the end of the new one")
    assert pid_file.read_text() == f"{proxy.pid}\n"
    proxy.config_path.write_text(good)
    os.kill(int(pid_file.read_text()), signal.SIGUSR2)
    new = successor(proxy, proxy.pid)
    assert pid_file.read_text() == f"{new}\n"
    assert proxy.wait() == 0
    assert pid_file.read_text() == f"{new}\n", "the old one leaves it alone"
    end(new)
    assert not pid_file.exists()


def test_pid_file_that_cannot_be_made(stage: Stage) -> None:
    taken = stage.path("link")
    taken.symlink_to(stage.path("elsewhere"))
    for path in ("/no/such/folder/pid", str(taken)):
        proxy = Skystitch(stage, "127.0.0.1:1", config={"pid_file": path}, start=False)
        proxy.spawn()
        assert proxy.wait() == 1
        assert f"pid_file: {path}" in proxy.log()


def test_with_a_reload_at_once(stage: Stage) -> None:
    """Both signals are carried out, one after the other."""
    proxy = Skystitch(stage, Origin(stage).address, config={"workers": 2})
    proxy.signal(signal.SIGSTOP)
    for number in (signal.SIGUSR2, signal.SIGHUP):
        proxy.signal(number)
    proxy.signal(signal.SIGCONT)
    new = successor(proxy, proxy.pid)
    assert proxy.wait() == 0
    log = proxy.log()
    assert log.index("reload: done") < log.index("upgrade: process")
    end(new)


def test_a_reload_while_the_new_one_starts(stage: Stage) -> None:
    """Who serves afterwards carries it out: it may not be in what the new one has read."""
    proxy = Skystitch(stage, Origin(stage).address, start=False)
    held, starter = stage.path("held"), stage.path("starter")
    starter.write_text(f'#!/bin/bash\nwhile [ -e {held} ]; do sleep 0.01; done\nexec -a "$0" {proxy.argv[0]} "$@"\n')
    starter.chmod(0o755)
    proxy.argv[0] = str(starter)
    proxy.start()
    good = proxy.config_path.read_text()
    for turn, (text, result) in enumerate([("{", "refused"), (good, "done")], 1):
        held.touch()
        proxy.config_path.write_text(text)
        proxy.signal(signal.SIGUSR2)
        until(lambda turn=turn: len(re.findall("process .* starts as", proxy.log())) == turn, "it starts")
        proxy.signal(signal.SIGHUP)
        until(lambda turn=turn: proxy.log().count("reload: follows the upgrade") == turn, "it waits")
        held.unlink()
        # Not by a counter: who is asked may be about to leave.
        until(lambda result=result: f"reload: {result}" in proxy.log(), "a reload")
    end(successor(proxy, proxy.pid))
    assert proxy.wait() == 0


def test_not_as_process_1(stage: Stage) -> None:
    """As in a container, whose end that would be."""
    probe = subprocess.run(["unshare", "--fork", "--pid", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("no PID namespaces here")
    proxy = Skystitch(stage, Origin(stage).address, start=False)
    proxy.argv = ["unshare", "--fork", "--pid", "--kill-child", *proxy.argv]
    proxy.start()
    children = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGUSR2)
    until(lambda: "upgrade: refused: the container would end" in proxy.log(), "the refusal")
    assert proxy.get("/").status_code == 200
    os.kill(int(children[0]), signal.SIGTERM)
    assert proxy.wait() == 0


# systemd


class Notices:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, stage: Stage) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = str(stage.path("notify.sock"))
        self.socket.bind(self.path)
        self.socket.settimeout(15)
        self.seen: list[str] = []

    def wait(self, wanted: str) -> None:
        while not any(line.startswith(wanted) for line in self.seen):
            self.seen += self.socket.recv(4096).decode().splitlines()


def test_sockets_of_systemd(stage: Stage) -> None:
    """They are used by all workers, and go on listening when it stops."""
    front, admin, stray = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    config = {"workers": 2}
    proxy = Skystitch(
        stage,
        Origin(stage).address,
        port=front.getsockname()[1],
        admin_port=admin.getsockname()[1],
        config=config,
        start=False,
    )
    with front, admin, stray:
        with activated(proxy, [front, admin, stray]):
            assert all(proxy.get("/").status_code == 200 for _ in range(8))
            assert "is at no address of listen or admin.listen" in proxy.log()
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as early:
            early.sendall(GET)
            with activated(proxy, [front, admin]):
                early.settimeout(10)
                assert early.recv(64).startswith(b"HTTP/1.1 200"), "it waited in the socket's queue"


def test_what_systemd_is_told(stage: Stage) -> None:
    notices = Notices(stage)
    env: dict[str, Any] = {"NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "200000"}
    proxy = Skystitch(stage, Origin(stage).address, env=env)
    notices.wait("READY=1")
    notices.wait("WATCHDOG=1")
    notices.seen.clear()
    proxy.signal(signal.SIGHUP)
    notices.wait("RELOADING=1")
    notices.wait("MONOTONIC_USEC=")
    notices.wait("READY=1")
    proxy.signal(signal.SIGUSR2)
    new = successor(proxy, proxy.pid)
    notices.wait(f"MAINPID={new}")
    assert proxy.wait() == 0
    notices.seen.clear()
    notices.wait("WATCHDOG=1")
    end(new)
    notices.wait("STOPPING=1")


PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000


@contextmanager
def stopped(process: Skystitch, name: str) -> Iterator[None]:
    """One thread of the process stands still."""
    libc = ctypes.CDLL(None, use_errno=True)
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    thread = next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name)
    if libc.ptrace(PTRACE_ATTACH, thread, 0, 0) != 0:
        pytest.skip("threads cannot be stopped here")
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, thread, 0, 0)


def test_a_stuck_worker_is_not_called_alive(stage: Stage) -> None:
    notices = Notices(stage)
    env: dict[str, Any] = {"NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "100000"}
    proxy = Skystitch(stage, Origin(stage).address, env=env, config={"workers": 2})
    notices.wait("WATCHDOG=1")
    with stopped(proxy, "sky-worker-1"):
        notices.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            notices.wait("none")
        assert proxy.admin("/livez").status_code == 200
    notices.socket.settimeout(15)
    notices.seen.clear()
    notices.wait("WATCHDOG=1")


# POST /drain


def test_drain(stage: Stage) -> None:
    proxy = Skystitch(stage, Origin(stage).address, config={"timeouts": {"drain_delay": "200ms"}})
    assert proxy.admin("/drain", "POST").status_code == 403, "no page of another site may ask for it"
    with proxy.raw() as client:
        client.send(GET)
        assert client.response()[0].headers["Connection"] is None
        assert proxy.admin("/drain", "POST", headers={"X-Skystitch": "1"}).status_code == 200
        assert proxy.admin("/readyz").status_code == 503
        assert proxy.admin("/livez").status_code == 200
        until(lambda: "drain: listeners close" in proxy.log(), "the delay is over")
        client.send(GET)
        assert client.response()[0].headers["Connection"] == "close"

    def refuses() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", proxy.port)) != 0

    until(refuses, "no more connections are taken")
    assert proxy.alive(), "it stays until TERM"
    proxy.stop()


# GET /readyz


def test_ready_when_a_server_can_be_reached(stage: Stage) -> None:
    """Of any upstream; a name that does not resolve and a file that is not there do not delay the answer."""
    port = free_port()
    upstreams = {
        "app": {"servers": [f"unix:{stage.path('nobody.sock')}", "nobody.invalid:80"]},
        "other": {"servers": [f"127.0.0.1:{port}"]},
    }
    proxy = Skystitch(stage, "127.0.0.1:1", config={"upstreams": upstreams})
    answer = proxy.admin("/readyz")
    assert answer.status_code == 503
    assert "no server of any upstream" in answer.text
    assert proxy.admin("/livez").status_code == 200
    with socket.create_server(("127.0.0.1", port)):
        until(lambda: proxy.admin("/readyz").status_code == 200, "ready")
    until(lambda: proxy.admin("/readyz").status_code == 503, "not ready")
