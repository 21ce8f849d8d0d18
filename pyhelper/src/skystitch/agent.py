# SPDX-License-Identifier: Apache-2.0
"""Switches the helper on and off.

Start it before the app is built, best as the first two lines of the module that the server loads:

    from skystitch import agent
    agent.start()
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from skystitch import capture, exits, log, logs, outbox, own, process, upstream_agent
from skystitch.config import Config
from skystitch.hooks import ImportHook
from skystitch.patches import NotAvailable
from skystitch.plugins import PLUGINS

_hook = ImportHook()
_installed: dict[str, Any] = {}
_started = False


def start() -> None:
    """Instruments the frameworks that the app has imported, and the others when it imports them.
    A second call does nothing. Never raises, starts no thread, opens no socket."""
    global _started
    if _started:
        return
    if upstream_agent.is_active():
        log.warn_once(
            "upstream agent",
            "skystitch stays off: the SkyWalking agent is active in this process, and both would"
            " trace the same calls. Take one of them out.",
        )
        return
    _started = True
    try:
        config = Config()
        if config.log_level != logging.NOTSET:
            log.logger.setLevel(config.log_level)
        outbox.configure(config)
        capture.configure(config)
        exits.Ignored.http_methods = config.ignored_methods
        exits.Ignored.grpc_methods = config.ignored_grpc_methods
        own.configure(config.channel, config.service, config.instance)
        process.configure(config.meter_period)
        logs.configure(config)
        for name, modules in PLUGINS.items():
            if config.disables(name):
                continue
            for module in (modules,) if isinstance(modules, str) else modules:
                _hook.when_imported(module, lambda name=name: _install(name))  # type: ignore[misc]
    except Exception:
        log.internal_error("agent.start()")


def stop() -> None:
    """Restores everything that start() has replaced."""
    global _started
    _hook.stop()
    for plugin in _installed.values():
        plugin.uninstall()
    _installed.clear()
    process.stop()
    logs.stop()
    outbox.close()
    log.forget()
    _started = False


def is_started() -> bool:
    """Whether start() has taken effect in this process."""
    return _started


def installed_plugins() -> list[str]:
    """The plugins whose frameworks are there and instrumented."""
    return sorted(_installed)


def _install(name: str) -> None:
    plugin = importlib.import_module(f"skystitch.plugins.{name}")
    try:
        plugin.install()
    except NotAvailable as error:
        plugin.uninstall()
        log.warn_once(name, "skystitch: %s is off: %s", name, error)
    except Exception:
        plugin.uninstall()
        raise
    else:
        _installed[name] = plugin
