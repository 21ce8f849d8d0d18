# SPDX-License-Identifier: Apache-2.0
"""The channel: who is talked to, what is lost, and that nothing of it reaches the app."""

from __future__ import annotations

import _socket
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Client, Proxy
from skystitch import channel as channel_module
from skystitch.channel import FOREIGN, LOST, SENT, Channels, losses

SELF = frozenset({os.geteuid()})


@pytest.fixture
def channels() -> Iterator[Channels]:
    made = Channels(uids=SELF)
    yield made
    made.close()


def test_one_connection_opened_at_the_first_message(channels: Channels, proxy: Proxy) -> None:
    proxy.accept()
    assert proxy.connections == []
    for number in range(3):
        assert channels.send(proxy.channel, b'{"n": %d}' % number) == SENT
    assert [message["n"] for message in proxy.read()] == [0, 1, 2]
    assert len(proxy.connections) == 1
    assert not losses


@pytest.mark.parametrize(
    ("address", "directory", "leads"),
    [
        ("@skystitch-1-2", "", True),
        ("@other-1", "", False),
        ("@", "", False),
        ("-", "", False),
        ("", "/run/skystitch", False),
        ("/run/skystitch/skystitch-1.sock", "", False),
        ("/run/skystitch/skystitch-1.sock", "/mnt/channels", True),
        ("/run/docker.sock", "/run", False),
        ("skystitch-1.sock", "/run", False),
        ("/run/skystitch-1/../docker.sock", "/run", False),
        ("/skystitch-\0x", "/run", False),
        ("@skystitch-\xff", "", False),
    ],
)
def test_addresses(address: str, directory: str, leads: bool) -> None:
    channels = Channels(directory, SELF)
    assert channels.leads_somewhere(address) is leads
    # There is nothing to connect to, and for most nothing is tried.
    assert channels.send(address, b"{}") == (LOST if leads else FOREIGN)


def test_file_in_the_configured_directory(tmp_path: Path) -> None:
    """The mount may be elsewhere than with the proxy: only the base name counts."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "skystitch-7-0.sock"))
    listener.listen()
    channels = Channels(str(tmp_path), SELF)
    assert channels.send("/run/elsewhere/skystitch-7-0.sock", b"{}") == SENT
    connection, _ = listener.accept()
    assert connection.recv(10) == b"{}"
    for each in (connection, listener, channels):
        each.close()


def test_other_kinds_of_sockets_are_lost(tmp_path: Path, channels: Channels) -> None:
    channels = Channels(str(tmp_path), SELF)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        path = tmp_path / f"skystitch-{kind}"
        with socket.socket(socket.AF_UNIX, kind) as other:
            other.bind(str(path))
            assert channels.send(f"/{path.name}", b"{}") == LOST
    (tmp_path / "skystitch-file").write_text("")
    assert channels.send("/skystitch-file", b"{}") == LOST
    assert channels.send("/skystitch-none", b"{}") == LOST
    assert channels.send(f"/skystitch-{'x' * 200}", b"{}") == LOST
    assert sum(losses) == 5


def test_listener_of_another_uid_gets_nothing(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    channels = Channels(uids=frozenset({os.geteuid() + 1}))
    assert channels.send(proxy.channel, b"{}") == FOREIGN
    assert channels.send(proxy.channel, b"{}") == FOREIGN
    assert proxy.read() == []
    assert not losses
    assert [record.getMessage() for record in caplog.records] == [
        f"skystitch: the proxy at {proxy.channel} runs as uid {os.geteuid()}, this app as"
        f" {os.geteuid()}: it gets routes and times only. SKYSTITCH_PROXY_UID={os.geteuid()} lets"
        " it have the rest."
    ]


def test_details_kept_from_another_uid_are_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's log then names the option; the app's log has the uid."""
    flask = pytest.importorskip("flask")
    monkeypatch.setattr(channel_module, "_peer_uid", lambda _: 12345)
    app = flask.Flask("shop")
    app.logger.disabled = True
    app.add_url_rule("/", "boom", lambda: 1 // 0)
    answer = client(app, "/")
    assert answer.messages == []
    assert answer.stitch is not None
    assert answer.stitch.split(";")[4] == "0!1"


def test_full_channel_does_not_wait(channels: Channels, proxy: Proxy) -> None:
    sent = 0
    while channels.send(proxy.channel, b"x" * 40_000) == SENT:
        sent += 1
        assert sent < 1000
    assert sent > 1
    assert channels.send(proxy.channel, b"x" * 40_000) == LOST
    assert channels.take_losses() == 2
    assert channels.take_losses() == 0
    proxy.accept()
    for _ in range(sent):
        assert len(proxy.connections[0].recv(1 << 20)) == 40_000
    assert channels.send(proxy.channel, b"{}") == SENT


def test_full_backlog_does_not_wait() -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    name = f"skystitch-backlog-{os.getpid()}"
    listener.bind(f"\0{name}")
    listener.listen(0)
    many = [Channels(uids=SELF) for _ in range(4)]
    outcomes = [channels.send(f"@{name}", b"{}") for channels in many]
    assert outcomes[0] == SENT
    assert outcomes[-1] == LOST
    for channels in many:
        channels.close()
    listener.close()


def test_proxy_that_goes_and_comes_back(channels: Channels, proxy: Proxy) -> None:
    assert channels.send(proxy.channel, b"{}") == SENT
    proxy.accept()
    proxy.close()
    assert channels.send(proxy.channel, b"{}") == LOST  # EPIPE
    assert channels.send(proxy.channel, b"{}") == LOST  # refused
    again = Proxy()
    again.listener.close()
    again.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    again.listener.bind(f"\0{proxy.name}")
    again.listener.listen()
    again.listener.setblocking(False)
    assert channels.send(proxy.channel, b'{"n": 1}') == SENT
    assert again.read() == [{"n": 1}]
    again.close()


def test_a_dead_proxy_raises_no_sigpipe(channels: Channels, proxy: Proxy) -> None:
    """An app may have set the signal to its default, and some kernels raise it for this socket."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        assert channels.send(proxy.channel, b"{}") == SENT
        proxy.accept()
        proxy.close()
        assert channels.send(proxy.channel, b"{}") == LOST
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_connections_of_dead_proxies_are_let_go(channels: Channels) -> None:
    first, second, third = Proxy(), Proxy(), Proxy()
    for made in (first, second):
        assert channels.send(made.channel, b"{}") == SENT
        made.accept()
    first.close()
    assert channels.send(third.channel, b"{}") == SENT
    assert sorted(channels._connections) == sorted([second.channel, third.channel])
    for made in (second, third):
        made.close()


def test_connections_are_bounded(channels: Channels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_MAX_CONNECTIONS", 3)
    proxies = [Proxy() for _ in range(6)]
    for made in proxies:
        assert channels.send(made.channel, b"{}") == SENT
        assert len(channels._connections) <= 3
    for made in proxies:
        made.close()


def test_losses_are_bounded(channels: Channels) -> None:
    for _ in range(5000):
        channels.count_lost()
    assert 1000 < channels.take_losses() <= 5000


def test_threads_share_one_connection(channels: Channels, proxy: Proxy) -> None:
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait(5)
        for _ in range(10):
            assert channels.send(proxy.channel, b"{}") == SENT

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(proxy.read()) == 80
    assert len(channels._connections) == 1


def in_child(work: Any) -> int:
    """Runs work in a fork; returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_fork_gets_its_own_connection(channels: Channels, proxy: Proxy) -> None:
    assert channels.send(proxy.channel, b'{"n": 0}') == SENT
    channels.count_lost(7)

    def work() -> None:
        assert channels.take_losses() == 0  # the parent tells of these
        assert channels.send(proxy.channel, b'{"n": 1}') == SENT

    assert in_child(work) == 0
    assert channels.send(proxy.channel, b'{"n": 2}') == SENT
    assert sorted(message["n"] for message in proxy.read()) == [0, 1, 2]
    assert len(proxy.connections) == 2
    assert channels.take_losses() == 7


def test_the_patched_socket_module_is_not_used(
    channels: Channels, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gevent and eventlet patch it."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(socket, "socket", fail)
    assert channels.send(proxy.channel, b"{}") == SENT
    assert type(next(iter(channels._connections.values()))) is _socket.socket


def test_answers_while_the_proxy_is_away(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """No exception, no warning; the next answer that gets through tells how many were lost."""
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")
    app.logger.disabled = True
    app.add_url_rule("/", "ok", lambda: "ok")
    app.add_url_rule("/boom", "boom", lambda: 1 // 0)
    away = client.traced(channel="@skystitch-nobody-listens")
    handler = f"{__name__}.test_answers_while_the_proxy_is_away.<locals>.<lambda>"
    for _ in range(3):
        answer = client(app, "/boom", traced=away)
        assert answer.status.startswith("500")
        # Its own message is among the lost.
        assert answer.stitch == f"1;7001;*;*;0!1;{handler};GET:/boom"
    channel_module.losses.append(2)
    assert client(app, "/").stitch == f"1;7001;*;*;0!2;{handler};GET:/"
    assert client(app, "/").stitch == f"1;7001;*;*;0;{handler};GET:/"
    assert client(app, "/boom").stitch == f"1;7001;*;*;1;{handler};GET:/boom"
    assert caplog.records == []
