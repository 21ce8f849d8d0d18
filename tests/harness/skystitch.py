# SPDX-License-Identifier: Apache-2.0
"""The proxy under test: the real executable."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from harness.collector import Collector
from harness.process import ROOT, Process, Stage, free_port
from harness.raw import RawClient

SUPPRESSIONS = ROOT / "tests" / "suppressions"
REPORT = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error: |Assertion .* failed")
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


def default_binary() -> Path:
    return Path(os.environ.get("SKYSTITCH_BINARY", ROOT / "build" / "release" / "skystitch")).resolve()


def sanitizer_env(suppressions: Path = SUPPRESSIONS) -> dict[str, str]:
    """Reports go to stderr and end the process with a status of their own; plain builds ignore it."""
    return {
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=66:detect_stack_use_after_return=1",
        "LSAN_OPTIONS": f"suppressions={suppressions}/lsan.supp:print_suppressions=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": f"suppressions={suppressions}/tsan.supp:exitcode=66:second_deadlock_stack=1",
    }


@functools.cache
def instrumented(binary: Path) -> bool:
    data = binary.read_bytes()
    return b"libasan.so" in data or b"libtsan.so" in data


def merge(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """base with the sections of more laid over it, key by key."""
    merged = dict(base)
    for key, value in more.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


class Skystitch(Process):
    """Listens on a free port of 127.0.0.1 before `upstream`; `config` is laid over the tests' defaults."""

    binary = default_binary()

    def __init__(
        self,
        stage: Stage,
        upstream: str | Sequence[str],
        *,
        name: str = "skystitch",
        service: str = "shop",
        collector: Collector | str | None = None,
        config: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        port: int = 0,
        admin_port: int = 0,
        user: int | None = None,
        start: bool = True,
    ) -> None:
        self.port = port or free_port()
        self.admin_port = admin_port or free_port()
        self.service = service
        self.instance = f"{service}-1"
        servers = [upstream] if isinstance(upstream, str) else list(upstream)
        backend = collector.address if isinstance(collector, Collector) else collector
        reporter: dict[str, Any] = {"batch": {"interval": "20ms"}}
        if backend:
            reporter["backends"] = [backend]
        base: dict[str, Any] = {
            "listen": [{"address": f"127.0.0.1:{self.port}"}],
            "upstreams": {"app": {"servers": servers}},
            "routes": [{"path": "/", "upstream": "app"}],
            "agent": {"service": service, "instance": self.instance},
            "reporter": reporter,
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "workers": 1,
        }
        self.config_path = stage.path(f"{name}.yaml")
        # JSON is YAML.
        self.config_path.write_text(json.dumps(merge(base, config or {}), indent=1))
        binary, sanitizers = self.binary, sanitizer_env()
        if user is not None:
            # The checkout may lie where that user cannot go.
            binary = Path(shutil.copy(binary, stage.path(f"{name}.bin")))
            shutil.copy(SUPPRESSIONS / "lsan.supp", stage.directory)
            shutil.copy(SUPPRESSIONS / "tsan.supp", stage.directory)
            sanitizers = sanitizer_env(stage.directory)
        argv = [binary, "--config", self.config_path, *arguments]
        super().__init__(stage, name, argv, {**sanitizers, **(env or {})}, user=user)
        self.session = requests.Session()
        self.session.trust_env = False
        if start:
            self.start()

    def start(self) -> None:
        self.spawn()
        self.ready(self.is_ready, timeout=30)

    # The client's side.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request on a connection of its own; no answer may ever show what the helper said."""
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        headers = {"Connection": "close", **options.pop("headers", {})}
        response = self.session.request(method, self.url + path, headers=headers, **options)
        hidden = [name for name in response.headers if name.lower().startswith("sw8-stitch")]
        assert not hidden, f"{hidden} reached the client"
        return response

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def raw(self, **options: Any) -> RawClient:
        return RawClient("127.0.0.1", self.port, **options)

    # The administrator's side.

    def admin(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        options.setdefault("timeout", 10)
        return self.session.request(method, f"http://127.0.0.1:{self.admin_port}{path}", **options)

    def is_ready(self) -> bool:
        try:
            return self.admin("/livez").status_code == 200
        except requests.RequestException:
            return False

    def metrics(self) -> dict[tuple[str, Labels], float]:
        samples: dict[tuple[str, Labels], float] = {}
        for line in self.admin("/metrics").text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = SAMPLE.match(line)
            assert match, f"no sample of the exposition format: {line!r}"
            name, labels, value = match.groups()
            key = name, frozenset(LABEL.findall(labels or ""))
            assert key not in samples, f"twice in one exposition: {line!r}"
            samples[key] = float(value)
        return samples

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all samples of the name that bear these labels."""
        wanted = set(labels.items())
        found = [value for (key, have), value in self.metrics().items() if key == name and wanted <= have]
        assert found, f"/metrics has no {name} with {labels}"
        return sum(found)

    def memory_kb(self) -> int:
        """Memory of its own, without mapped files."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+)", status, re.M).group(1))  # type: ignore[union-attr]

    def check_growth(self, before_kb: int, limit_kb: int) -> None:
        """Fails when it has grown by more since then. Sanitizers keep what is freed: not measured there."""
        if not instrumented(self.binary):
            grown = self.memory_kb() - before_kb
            assert grown < limit_kb, f"grown by {grown} KiB"

    # The end.

    def stop(self, timeout: float = 30.0) -> None:
        """TERM; it must end with status 0 and without a sanitizer's report."""
        self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        self.check_log()
        assert status == 0, f"{self.name} ended with {status} after TERM\n{self.log()}"

    def check_log(self) -> None:
        log = self.log()
        assert not REPORT.search(log), f"report of {self.name}:\n{log}"

    def close(self) -> None:
        self.session.close()
        if self.child is None:
            return
        if self.alive():
            self.stop()
        elif self.child.returncode < 0:
            self.check_log()
            raise AssertionError(f"{self.name} died of signal {-self.child.returncode}\n{self.log()}")
        self.check_log()
        self.kill()


def run(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 20.0, uid: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the executable to its end, in an environment without any setting of its own; as another
    user, if one is given."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SW_", "SKYSTITCH_"))}
    started = time.monotonic()
    done = subprocess.run(
        [Skystitch.binary, *arguments],
        env={**clean, **sanitizer_env(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        user=uid,
    )
    assert not REPORT.search(done.stderr), done.stderr
    assert time.monotonic() - started < timeout
    return done
