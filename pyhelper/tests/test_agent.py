# SPDX-License-Identifier: Apache-2.0
"""Start and stop, plugins, the import hook; in an interpreter of its own where imports count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from skystitch import agent, log
from skystitch.config import Config
from skystitch.hooks import ImportHook
from skystitch.patches import NotAvailable, Patches, require
from skystitch.plugins import PLUGINS


def python(code: str, *options: str, **environment: str) -> Any:
    """Runs code in a new interpreter; returns what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_nothing_is_imported_opened_or_started() -> None:
    seen = python(
        """
        import json, os, sys, threading
        before = set(os.listdir("/proc/self/fd"))
        from skystitch import agent
        agent.start()
        agent.start()
        names = {name.partition(".")[0] for name in sys.modules}
        print(json.dumps([
            sorted(names & {"flask", "werkzeug", "django", "requests", "urllib3", "jinja2"}),
            len(set(os.listdir("/proc/self/fd"))) - len(before),
            threading.active_count(),
            sum("skystitch" in type(finder).__module__ for finder in sys.meta_path),
        ]))
        """
    )
    assert seen == [[], 0, 1, 1]


@pytest.mark.parametrize("order", ["before", "after"])
def test_frameworks_before_and_after_the_start(order: str) -> None:
    pytest.importorskip("flask")
    pytest.importorskip("django")
    pytest.importorskip("requests")
    seen = python(
        f"""
        import importlib, json, sys
        names = ["flask", "django.core.handlers.wsgi", "requests", "urllib3"]
        def load():
            for name in names:
                importlib.import_module(name)
        if {order!r} == "before":
            load()
        from skystitch import agent
        agent.start()
        if {order!r} == "after":
            load()
        from flask import Flask
        from django.core.handlers.wsgi import WSGIHandler
        from requests import Session
        from urllib3 import HTTPConnectionPool
        loaders = [vars(sys.modules[name].__spec__.loader) for name in names]
        print(json.dumps([
            [hasattr(function, "__wrapped__") for function in
             (Flask.wsgi_app, WSGIHandler.__call__, Session.send, HTTPConnectionPool.urlopen)],
            any("exec_module" in attributes for attributes in loaders),
        ]))
        """
    )
    assert seen == [[True] * 4, False]


def test_wrappers_look_like_the_originals() -> None:
    flask = pytest.importorskip("flask")
    assert flask.Flask.wsgi_app.__name__ == "wsgi_app"
    assert flask.Flask.wsgi_app.__module__ == "flask.app"
    assert flask.Flask.wsgi_app.__doc__ == flask.Flask.wsgi_app.__wrapped__.__doc__


def snapshot() -> dict[str, Any]:
    """Every attribute that plugins may replace, by identity."""
    owners: list[Any] = []
    if "flask" in sys.modules:
        from flask import Flask
        from werkzeug.wrappers import Response

        owners += [Flask, *Flask.__mro__, Response]
    if "django.core.handlers.wsgi" in sys.modules:
        from django.core.handlers import base, exception, wsgi

        owners += [base.BaseHandler, wsgi.WSGIHandler, wsgi.WSGIRequest, exception]
    if "requests" in sys.modules:
        from requests import Session

        owners.append(Session)
    if "urllib3" in sys.modules:
        from urllib3 import HTTPConnectionPool, PoolManager

        owners += [HTTPConnectionPool, PoolManager]
    return {
        f"{owner.__module__}.{owner.__qualname__}.{name}": value
        for owner in owners
        if isinstance(owner, type)
        for name, value in vars(owner).items()
        if name not in {"__doc__", "__abstractmethods__"} and not name.startswith("_abc_")
    }


def test_stop_restores_the_originals() -> None:
    for name in ("flask", "django.core.handlers.wsgi", "requests", "urllib3"):
        pytest.importorskip(name)
    from django.core.signals import got_request_exception
    from flask import got_request_exception as flask_signal

    agent.stop()
    before = snapshot()
    receivers = len(got_request_exception.receivers), len(getattr(flask_signal, "receivers", ()))
    agent.start()
    changed = {name for name, value in snapshot().items() if before.get(name) is not value}
    assert {name.rpartition(".")[2] for name in changed} == {
        "wsgi_app",
        "_find_error_handler",
        "__call__",
        "get_response",
        "get_response_async",
        "process_exception_by_middleware",
        "send",
        "urlopen",
    }
    agent.stop()
    after = snapshot()
    assert after.keys() == before.keys()
    assert all(after[name] is value for name, value in before.items())
    assert receivers == (
        len(got_request_exception.receivers),
        len(getattr(flask_signal, "receivers", ())),  # Flask 2.0 can be without signals
    )


def test_someone_elses_wrapper_survives_the_stop() -> None:
    flask = pytest.importorskip("flask")
    ours = flask.Flask.wsgi_app

    def theirs(app: Any, environ: Any, start_response: Any) -> Any:
        return ours(app, environ, start_response)

    flask.Flask.wsgi_app = theirs
    try:
        agent.stop()
        assert flask.Flask.wsgi_app is theirs
    finally:
        flask.Flask.wsgi_app = ours.__wrapped__


def test_disabled_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SW_AGENT_DISABLE_PLUGINS", " sw_fl.*, sw_d ,(, ")
    config = Config()
    assert [name for name in sorted(PLUGINS) if config.disables(name)] == ["sw_django", "sw_flask"]
    flask = pytest.importorskip("flask")
    agent.stop()
    agent.start()
    assert not hasattr(flask.Flask.wsgi_app, "__wrapped__")


def test_bad_options_are_said_and_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.stop()
    monkeypatch.setenv("SW_AGENT_DISABLE_PLUGINS", "(")
    monkeypatch.setenv("SKYSTITCH_PROXY_UID", "proxy")
    monkeypatch.setenv("SW_AGENT_LOGGING_LEVEL", "LOUD")
    agent.start()
    assert [record.getMessage() for record in caplog.records] == [
        "SKYSTITCH_PROXY_UID=proxy is not a number: ignored",
        "SW_AGENT_DISABLE_PLUGINS: '(' is not a regular expression (missing ), unterminated"
        " subpattern at position 0): ignored",
    ]


def test_options() -> None:
    config = Config(
        {
            "SKYSTITCH_CHANNEL_DIR": "/run/skystitch/",
            "SKYSTITCH_TOKEN": "secret",
            "SKYSTITCH_PROXY_UID": "101",
            "SW_AGENT_LOGGING_LEVEL": "error",
        }
    )
    assert config.channel_directory == "/run/skystitch"
    assert config.token == "secret"
    assert config.proxy_uids == {0, 101, os.geteuid()}
    assert config.log_level == 40


def test_unsupported_framework_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The plugin stays off as a whole, the app runs."""
    flask = pytest.importorskip("flask")
    agent.stop()
    ensure_sync = flask.Flask.ensure_sync
    del_from = next(owner for owner in flask.Flask.__mro__ if "ensure_sync" in vars(owner))
    del del_from.ensure_sync
    try:
        agent.start()
        agent.start()
        assert not hasattr(flask.Flask.wsgi_app, "__wrapped__")
    finally:
        del_from.ensure_sync = ensure_sync
    assert [record.getMessage() for record in caplog.records] == [
        "skystitch: sw_flask is off: this Flask is older than 2.0"
    ]


def test_defect_of_a_plugin_does_not_reach_the_app(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flask = pytest.importorskip("flask")
    agent.stop()
    monkeypatch.setattr("skystitch.plugins.sw_flask._find_contexts", lambda _: 1 // 0)
    agent.start()
    assert not hasattr(flask.Flask.wsgi_app, "__wrapped__")
    assert "the request is not affected" in caplog.text
    assert "ZeroDivisionError" in caplog.text


# The import hook.


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a name of its own that counts its executions."""
    name = f"hooked_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("executed = True\n")
    (tmp_path / name / "inner.py").write_text("executed = True\n")
    (tmp_path / name / "broken.py").write_text("raise LookupError('broken')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_hook_calls_once_after_the_module_was_executed(package: str) -> None:
    hook = ImportHook()
    calls = []

    def callback() -> None:
        calls.append(sys.modules[f"{package}.inner"].executed)

    hook.when_imported(f"{package}.inner", callback)
    __import__(package)
    assert calls == []
    __import__(f"{package}.inner")
    assert calls == [True]
    assert hook not in sys.meta_path
    hook.when_imported(f"{package}.inner", callback)
    assert calls == [True, True]  # at once


def test_hook_leaves_errors_of_imports_alone(package: str) -> None:
    hook = ImportHook()
    calls: list[str] = []
    for name in (f"{package}.broken", f"{package}.missing"):
        hook.when_imported(name, lambda: calls.append(name))  # noqa: B023
    for _ in range(2):
        with pytest.raises(LookupError, match="broken"):
            __import__(f"{package}.broken")
        with pytest.raises(ModuleNotFoundError):
            __import__(f"{package}.missing")
    assert calls == []
    hook.stop()
    assert hook not in sys.meta_path


def test_hook_survives_its_callback(package: str, caplog: pytest.LogCaptureFixture) -> None:
    hook = ImportHook()
    hook.when_imported(package, lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    module = __import__(package)
    assert module.executed
    assert "ZeroDivisionError" in caplog.text


def test_hook_in_the_middle_of_an_import(package: str, tmp_path: Path) -> None:
    """agent.start() by a module that the framework itself imports."""
    hook = ImportHook()
    calls = []
    sys.modules["skystitch_test_hook"] = sys.modules[__name__]
    globals()["started_hook"] = lambda: hook.when_imported(package, lambda: calls.append(1))
    (tmp_path / package / "__init__.py").write_text(
        "import skystitch_test_hook\nskystitch_test_hook.started_hook()\n"
    )
    __import__(package)
    # The package is half there: it is not patched then, and not reported as imported.
    assert calls == []
    hook.stop()
    del sys.modules["skystitch_test_hook"], globals()["started_hook"]


# Patches.


class Base:
    def inherited(self) -> str:
        return "base"


class Owner(Base):
    def own(self) -> str:
        return "own"


def test_patches_restore_inherited_attributes_too() -> None:
    patches = Patches()
    own = vars(Owner)["own"]
    for name in ("own", "inherited"):
        patches.wrap(Owner, name, lambda original: lambda self: f"<{original(self)}>")
    assert (Owner().own(), Owner().inherited(), Base().inherited()) == ("<own>", "<base>", "base")
    assert patches
    patches.restore()
    assert vars(Owner)["own"] is own
    assert "inherited" not in vars(Owner)
    assert not patches


def test_require() -> None:
    require(Owner, "own", "inherited")
    with pytest.raises(NotAvailable, match="Owner has no a, b"):
        require(Owner, "a", "own", "b")


def test_warnings_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        log.warn_once("key", "said %s", "once")
    for number in range(200):
        log.warn_once(f"many {number}", "many")
    assert caplog.text.count("said once") == 1
    assert len(caplog.records) <= 64
    assert threading.active_count() >= 1
