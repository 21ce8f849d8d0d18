# SPDX-License-Identifier: Apache-2.0
"""Session tickets over workers, listeners and reloads; OCSP answers from a file."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import Origin, Pair, Pki, RawClient, Skystitch, Stage, free_port, until
from succession import end, gone, successor

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


def visit(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[bool, ssl.SSLSession | None]:
    """Whether the session was resumed, and the next one."""
    with RawClient("127.0.0.1", port, tls=context, session=session) as client:
        client.send(GET)
        assert client.response()[0].status == 200
        assert isinstance(client.sock, ssl.SSLSocket)
        return bool(client.sock.session_reused), client.sock.session


def rewrite(proxy: Skystitch, **sections: Any) -> None:
    config = json.loads(proxy.config_path.read_text())
    proxy.config_path.write_text(json.dumps({**config, **sections}))


def reload(proxy: Skystitch, **sections: Any) -> None:
    rewrite(proxy, **sections)
    before = proxy.metric("skystitch_reloads_total", result="done")
    proxy.signal(signal.SIGHUP)
    until(lambda: proxy.metric("skystitch_reloads_total", result="done") == before + 1, "a reload")


@BOTH
def test_sessions_outlive_reloads_and_go_to_any_worker(stage: Stage, version: ssl.TLSVersion) -> None:
    pki = Pki(stage.directory)
    pair = pki.sign("localhost", "DNS:localhost")
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": {"certificates": [pair.config()]}}]
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": listen, "workers": 3})
    context = pki.context(version)
    resumed, session = visit(port, context)
    assert not resumed
    for turn in range(12):
        if turn % 4 == 3:
            reload(proxy)
        resumed, session = visit(port, context, session)
        assert resumed, f"visit {turn}"


@BOTH
def test_sessions_outlive_upgrades(stage: Stage, version: ssl.TLSVersion) -> None:
    """The keys go from process to process, by no way that others could read."""
    pki = Pki(stage.directory)
    pair = pki.sign("localhost", "DNS:localhost")
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": {"certificates": [pair.config()]}}]
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": listen, "workers": 2})
    context = pki.context(version)
    _, session = visit(port, context)
    pid = proxy.pid
    for turn in range(2):
        os.kill(pid, signal.SIGUSR2)
        new = successor(proxy, pid)
        until(lambda pid=pid: gone(pid), "the end of the old one", 30)
        resumed, session = visit(port, context, session)
        assert resumed, f"upgrade {turn}"
        pid = new
        started_with = Path(f"/proc/{pid}/environ").read_bytes()
        (variable,) = [one for one in started_with.split(b"\0") if one.startswith(b"SKYSTITCH_UPGRADE=")]
        assert set(variable.partition(b"=")[2]) <= set(b"0123456789:,;"), "numbers of descriptors alone"
    assert "cannot be taken over" not in proxy.log()
    end(pid)


@BOTH
def test_keys_are_forgotten(stage: Stage, version: ssl.TLSVersion) -> None:
    pki = Pki(stage.directory)
    pair = pki.sign("localhost", "DNS:localhost")
    port = free_port()
    listen = [{"address": f"127.0.0.1:{port}", "tls": {"certificates": [pair.config()]}}]
    Skystitch(stage, Origin(stage).address, config={"listen": listen, "timeouts": {"ticket_key": "1s"}})
    context = pki.context(version)
    _, first = visit(port, context)
    assert visit(port, context, first)[0]
    until(lambda: not visit(port, context, first)[0], "its key is gone")
    _, fresh = visit(port, context)
    assert visit(port, context, fresh)[0]


def refused(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
    try:
        visit(port, context, session)
    except (ssl.SSLError, ConnectionError):
        return True
    return False


@BOTH
def test_no_session_gets_past_client_certificates(stage: Stage, version: ssl.TLSVersion) -> None:
    """Not by another listener that asks for none, for them if there are, or for those of another authority."""
    pki, others = Pki(stage.directory), Pki(stage.directory, "others")
    tls: dict[str, Any] = pki.sign("localhost", "DNS:localhost").config()
    asking = {**tls, "client_ca": str(pki.authority.certificate)}
    kinds = [tls, {**asking, "client_auth": "optional"}, {**tls, "client_ca": str(others.authority.certificate)}]
    ports = [free_port() for _ in range(4)]
    listen = [
        {"address": f"127.0.0.1:{port}", "tls": kind} for port, kind in zip(ports, [*kinds, asking], strict=True)
    ]
    Skystitch(stage, Origin(stage).address, config={"listen": listen})
    strangers = pki.context(version, others.sign("stranger"))
    for port, context in zip(ports[:3], [pki.context(version), pki.context(version), strangers], strict=True):
        _, session = visit(port, context)
        assert visit(port, context, session)[0]
        assert refused(ports[3], context, session)
    assert not visit(ports[3], pki.context(version, pki.sign("client")))[0]


@BOTH
@pytest.mark.parametrize("upgraded", [False, True], ids=["reload", "upgrade"])
def test_no_session_gets_past_later_client_certificates(
    stage: Stage, version: ssl.TLSVersion, upgraded: bool
) -> None:
    pki, port = Pki(stage.directory), free_port()
    tls: dict[str, Any] = pki.sign("localhost", "DNS:localhost").config()
    listen = [{"address": f"127.0.0.1:{port}", "tls": tls}]
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": listen})
    context = pki.context(version)
    _, session = visit(port, context)
    listen[0]["tls"] = {**tls, "client_ca": str(pki.authority.certificate)}
    if upgraded:
        rewrite(proxy, listen=listen)
        proxy.signal(signal.SIGUSR2)
        new = successor(proxy, proxy.pid)
        assert proxy.wait() == 0
    else:
        reload(proxy, listen=listen)
    assert refused(port, context, session)
    assert not visit(port, pki.context(version, pki.sign("client")))[0]
    if upgraded:
        end(new)


def ocsp_answer(pki: Pki, pair: Pair, status: str, name: str) -> Path:
    """What the authority says of the certificate."""

    def openssl(*arguments: str) -> str:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    serial = openssl("x509", "-noout", "-serial", "-in", str(pair.certificate)).strip().partition("=")[2]
    index, out = pki.directory / f"{name}.index", pki.directory / f"{name}.der"
    revoked = "200101000000Z" if status == "R" else ""
    index.write_text(f"{status}\t491231000000Z\t{revoked}\t{serial}\tunknown\t/CN=x\n")
    ca = str(pki.authority.certificate)
    signer = ["-rsigner", ca, "-rkey", str(pki.authority.key), "-CA", ca, "-ndays", "1"]
    asked = ["-issuer", ca, "-cert", str(pair.certificate)]
    openssl("ocsp", "-index", str(index), *signer, *asked, "-respout", str(out))
    return out


def stapled(port: int) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-status"]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=30).stdout


def test_ocsp(stage: Stage) -> None:
    pki = Pki(stage.directory)
    pair, other = pki.sign("localhost", "DNS:localhost"), pki.sign("other", "DNS:other")
    chain = stage.path("chain.pem")
    chain.write_bytes(pair.certificate.read_bytes() + pki.authority.certificate.read_bytes())
    good, revoked = ocsp_answer(pki, pair, "V", "good"), ocsp_answer(pki, pair, "R", "revoked")
    foreign = ocsp_answer(pki, other, "V", "foreign")
    answer = stage.path("answer.der")
    answer.write_bytes(good.read_bytes())
    port = free_port()
    files = {"certificate": str(chain), "key": str(pair.key), "ocsp": str(answer)}
    listen = [{"address": f"127.0.0.1:{port}", "tls": {"certificates": [files]}}]
    proxy = Skystitch(stage, Origin(stage).address, config={"listen": listen})
    assert "Cert Status: good" in stapled(port)
    assert json.loads(proxy.admin("/api/config").text)["listen"][0]["tls"]["certificates"] == [files]
    for content, why in [
        (revoked.read_bytes(), "does not say that the certificate is good"),
        (foreign.read_bytes(), "is of another certificate"),
        (b"no answer", "cannot be read"),
    ]:
        answer.write_bytes(content)
        reload(proxy)
        assert f"ocsp {answer}: {why}" in proxy.log()
        assert "no response sent" in stapled(port)
    answer.write_bytes(good.read_bytes())
    reload(proxy)
    assert "Cert Status: good" in stapled(port)


def test_records_leave_together(stage: Stage) -> None:
    """The kernel is told of each record that another one follows at once, and of the last that none does."""
    pki = Pki(stage.directory)
    library, sends = stage.path("record_sends.so"), stage.path("sends")
    source = Path(__file__).with_name("record_sends.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", source, "-o", library], check=True)
    port, folder = free_port(), stage.path("files")
    folder.mkdir()
    (folder / "a.bin").write_bytes(bytes(65000))
    tls = {"certificates": [pki.sign("localhost", "DNS:localhost").config()]}
    config = {
        "listen": [{"address": f"127.0.0.1:{port}", "tls": tls}],
        "routes": [{"path": "/", "static": str(folder)}],
    }
    environment = {"LD_PRELOAD": str(library), "SKY_TEST_SENDS": str(sends)}
    proxy = Skystitch(stage, "127.0.0.1:1", config=config, env=environment, start=False)
    # It comes before the sanitizer's own library, which has no use for it.
    proxy.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
    proxy.start()
    with RawClient("127.0.0.1", port, tls=pki.context()) as client:
        client.send(b"GET /a.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(client.response()[1]) == 65000
    lines = [line.split() for line in sends.read_text().splitlines()]
    assert [more for size, more in lines if int(size) > 16000] == ["1", "1", "1", "0"]
