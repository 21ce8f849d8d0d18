# SPDX-License-Identifier: Apache-2.0
"""Options given in code, the other agent in the same process, and the doctor."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("flask")
pytest.importorskip("django")

from conftest import Client, Proxy
from skystitch import agent, config, doctor, given, testing


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    given.options.clear()


def test_options_given_in_code_beat_the_environment(restart: Callable[..., None]) -> None:
    config.init(agent_disable_plugins=["sw_flask", "sw_requests"], agent_logging_level="ERROR")
    restart(SW_AGENT_DISABLE_PLUGINS="sw_django")
    import django.core.handlers.wsgi  # noqa: F401
    import flask  # noqa: F401

    assert "sw_flask" not in agent.installed_plugins()
    assert "sw_django" in agent.installed_plugins()
    logging.getLogger("skystitch").setLevel(logging.NOTSET)


def test_an_option_of_the_proxys_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    config.init(agent_collector_backend_services="oap:11800", agent_name="shop")
    config.init(agent_name="shop")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "agent_collector_backend_services" in said[0]
    assert "SW_AGENT_NAME" in said[1]
    assert given.options == {}


def test_an_unknown_option_is_said(caplog: pytest.LogCaptureFixture) -> None:
    config.init(agnt_name="shop")
    assert "agnt_name" in caplog.text


def test_every_variable_can_be_given_in_code() -> None:
    files = set(Path(config.__file__).parent.rglob("*.py")) - {Path(given.__file__)}
    pattern = re.compile(r'"((?:SW|SKYSTITCH)_[A-Z0-9_]+[A-Z0-9])"')
    read = {name for path in files for name in pattern.findall(path.read_text())}
    read.remove("SKYSTITCH_AUTOSTART")  # before there is code that could give it
    assert read == given.VARIABLES, "the list in given.py"


@pytest.mark.parametrize("flag", ["_SkyWalkingAgent__started", "_SkyWalkingAgentAsync__started"])
def test_stays_off_beside_the_skywalking_agent(
    flag: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = types.ModuleType("skywalking.agent")
    other.agent = types.SimpleNamespace(**{flag: True})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "skywalking.agent", other)
    agent.stop()
    agent.start()
    assert not agent.is_started()
    assert agent.installed_plugins() == []
    assert "SkyWalking agent is active" in caplog.text
    setattr(other.agent, flag, False)
    agent.start()
    assert agent.is_started(), "imported, but not at work"


def test_the_flags_are_the_agents_own() -> None:
    """The real one, if it is installed: otherwise the names above are only ours."""
    module = pytest.importorskip("skywalking.agent")
    names = vars(type(module.agent)) | vars(module.agent)
    assert any(name in names for name in ("_SkyWalkingAgent__started", "__started")), names


class Admin:
    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/readyz" else 404)
                self.end_headers()
                self.wfile.write(b"ready\n")

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


def test_doctor(
    proxy: Proxy, restart: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    admin = Admin()
    restart(SKYSTITCH_TOKEN="very secret", SW_AGENT_DISABLE_PLUGINS="sw_requests")
    assert doctor.report(admin.address) == 0
    admin.server.shutdown()
    admin.server.server_close()
    said = capsys.readouterr().out
    assert "very secret" not in said
    assert "SKYSTITCH_TOKEN=(set)" in said
    lines = {line.split()[0]: line for line in said.splitlines() if line.startswith("  sw_")}
    assert "flask " in lines["sw_flask"].lower()
    assert "off: SW_AGENT_DISABLE_PLUGINS" in lines["sw_requests"]
    assert f"{admin.address}: 200 ready" in said
    assert f"channel {proxy.channel}" in said


def test_doctor_without_a_proxy(
    restart: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    restart(SKYSTITCH_CHANNEL_DIR=str(tmp_path))
    assert doctor.report("127.0.0.1:1") == 1
    assert "no answer" in (said := capsys.readouterr().out)
    assert f"no channel in {tmp_path}" in said


def test_doctor_knows_what_is_too_old(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"flask": "1.1.4", "Flask": "1.1.4", "django": "4.2", "Django": "4.2"}
    monkeypatch.setattr(doctor.metadata, "version", lambda name: versions.get(name, "1"))
    doctor.report("127.0.0.1:1")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line[:2]}
    assert "off: " in lines["sw_flask"]
    assert lines["sw_flask"].endswith("1.1.4 is older than 2.0")
    assert " on, with" in lines["sw_django"]


def test_doctor_knows_of_an_autostart_without_its_extra(
    restart: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert importlib.util.find_spec("skystitch_autostart") is None
    restart(SKYSTITCH_AUTOSTART="1")
    doctor.report("127.0.0.1:1")
    assert "SKYSTITCH_AUTOSTART does nothing: pip" in capsys.readouterr().out
    restart(SKYSTITCH_AUTOSTART="")
    doctor.report("127.0.0.1:1")
    assert "does nothing" not in capsys.readouterr().out


def test_testing_needs_no_proxy_of_its_own(client: Client) -> None:
    """Both speak the same protocol: what the one sees the other sees."""
    import flask

    app = flask.Flask("shop")
    app.add_url_rule("/a", view_func=lambda: "a", endpoint="a")
    with testing.Proxy(app) as proxy:
        client(proxy)
        assert proxy.segment.operation == "GET:/*"
