# SPDX-License-Identifier: Apache-2.0
"""slowhttptest's attacks, with its defaults and with more connections: others are served meanwhile."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness import Origin, Pki, Skystitch, Stage, free_port, until
from load import Load

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600)]

MANY = ["-c", "1000", "-r", "200"]
#: What the kernel does not take at once.
FILE_BYTES = 32 << 20

ATTACKS = {
    "slow heads": ["-H"],
    "slow bodies": ["-B"],
    "ranges": ["-R"],
    "slow readers": ["-X"],
    "many slow heads": ["-H", *MANY],
    "many slow bodies": ["-B", *MANY],
}


class Attack:
    """One slowhttptest; its lines are kept in a file, since it writes some each second."""

    def __init__(self, stage: Stage, name: str, url: str) -> None:
        self.name = f"{name} at {url}"
        self.path = stage.path(re.sub(r"\W", "-", self.name))
        on_file = ATTACKS[name][0] in ("-R", "-X")
        command = ["slowhttptest", *ATTACKS[name], "-u", f"{url}/static/file" if on_file else f"{url}/"]
        with self.path.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def check(self) -> None:
        """Each of its own requests was answered within 5 s."""
        self.process.kill()
        self.process.wait()
        text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", self.path.read_text(errors="replace"))
        assert "service available:   YES" in text, f"{self.name}: {text[-2000:]}"
        assert "service available:   NO" not in text, f"{self.name}: {text[-2000:]}"


def refused(proxy: Skystitch, reason: str) -> float:
    return proxy.metric("skystitch_requests_refused_total", reason=reason)


@contextmanager
def attacks(stage: Stage, urls: list[str]) -> Iterator[list[Attack]]:
    running = [Attack(stage, name, url) for name in ATTACKS for url in urls]
    try:
        yield running
    finally:
        for attack in running:
            attack.process.kill()
            attack.process.wait()


def test_all_at_once(stage: Stage) -> None:
    if shutil.which("slowhttptest") is None:
        pytest.skip("slowhttptest is not installed")
    pki = Pki(stage.directory)
    folder = stage.path("static")
    folder.mkdir()
    (folder / "file").write_bytes(bytes(FILE_BYTES))
    port, tls_port = free_port(), free_port()
    config = {
        "listen": [
            {"address": f"127.0.0.1:{port}"},
            {"address": f"127.0.0.1:{tls_port}", "tls": pki.sign("localhost", "IP:127.0.0.1").config()},
        ],
        "routes": [{"path": "/static/", "static": str(folder)}, {"path": "/", "upstream": "app"}],
        "workers": 2,
    }
    proxy = Skystitch(stage, Origin(stage).address, port=port, config=config)
    others = [Load(port, clients=1), Load(tls_port, clients=1, tls=pki.context())]
    with attacks(stage, [f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}"]) as running:
        for reason in ("head_timeout", "body_rate"):
            until(lambda reason=reason: refused(proxy, reason) >= 2 * 1050, f"all are refused: {reason}", 120)
        # What is cut has to be counted here: of TLS the attacker goes on reading what it has of a record.
        until(lambda: proxy.metric("skystitch_responses_cut_total") >= 2 * 50, "all are cut", 240)
        for attack in running:
            attack.check()
    for other in others:
        other.stop()
        assert other.failures == []
        assert set(other.statuses) == {200}
        print(other.done)
    until(lambda: proxy.metric("skystitch_connections") == 0, "nothing is left of them")
