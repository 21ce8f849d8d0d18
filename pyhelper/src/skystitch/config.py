# SPDX-License-Identifier: Apache-2.0
"""The helper's options, read when the agent starts: the environment's, and over them what the app
has given in code:

    from skystitch import agent, config
    config.init(agent_disable_plugins="sw_http_client")
    agent.start()
"""

from __future__ import annotations

import logging
import os
import re
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from skystitch import capture, given
from skystitch.log import warn_once

_MAX_LENGTH = 4096
_METER_PERIOD_S = 20
_LAYOUT = "%(asctime)s [%(threadName)s] %(levelname)s %(name)s - %(message)s"
_OFF = frozenset(("false", "off", "no", "0"))


def init(**options: Any) -> None:
    """Gives options in code, before agent.start(). Takes the names of the SkyWalking agent's
    config.init(), so that a call of it can stay: of those that the proxy has now, it says so."""
    given.take(options)


class Config:
    """The options as values. Whatever cannot be understood is said and then left out: an option
    must never keep an app from starting."""

    __slots__ = (
        "celery_length",
        "channel",
        "channel_directory",
        "disabled_plugins",
        "elasticsearch",
        "ignored_grpc_methods",
        "ignored_methods",
        "instance",
        "log_ignore_filter",
        "log_level",
        "log_reporter",
        "log_reporter_formatted",
        "log_reporter_layout",
        "log_reporter_level",
        "log_reporter_safe",
        "log_tid",
        "meter_period",
        "mongo_length",
        "proxy_uids",
        "secrets",
        "service",
        "sql",
        "sql_parameters",
        "token",
    )

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        if environ is None:
            environ = ChainMap(given.options, dict(os.environ))
        # Segments without a request, see own.
        self.channel = environ.get("SKYSTITCH_CHANNEL", "").strip()
        self.service = environ.get("SKYSTITCH_SERVICE", "").strip()
        self.instance = environ.get("SKYSTITCH_INSTANCE", "").strip()
        self.channel_directory = environ.get("SKYSTITCH_CHANNEL_DIR", "").rstrip("/")
        self.token = environ.get("SKYSTITCH_TOKEN", "")
        self.proxy_uids = _proxy_uids(environ.get("SKYSTITCH_PROXY_UID", ""))
        self.disabled_plugins = _patterns(environ.get("SW_AGENT_DISABLE_PLUGINS", ""))
        # What spans show of the app's data, see capture.
        self.celery_length = _length(environ, "SW_PLUGIN_CELERY_PARAMETERS_LENGTH", 0)
        self.elasticsearch = _is_on(environ, "SW_PLUGIN_ELASTICSEARCH_TRACE_DSL")
        length = _length(environ, "SW_PLUGIN_PYMONGO_PARAMETERS_MAX_LENGTH", 512)
        self.mongo_length = length if _is_on(environ, "SW_PLUGIN_PYMONGO_TRACE_PARAMETERS") else 0
        self.secrets = frozenset(map(str.lower, _names(environ.get("SKYSTITCH_MASK", ""))))
        self.sql = _sql(environ.get("SKYSTITCH_SQL_STATEMENT", ""))
        self.sql_parameters = _length(environ, "SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH", 0)
        self.ignored_grpc_methods = _names(environ.get("SW_PLUGIN_GRPC_IGNORED_METHODS", ""))
        self.ignored_methods = _names(environ.get("SW_PLUGIN_HTTP_IGNORE_METHOD", ""))
        self.log_level = _level(environ.get("SW_AGENT_LOGGING_LEVEL", ""))
        # What the process says of itself, see process and logs.
        self.meter_period = _meter_period(environ)
        self.log_tid = _is_left_on(environ, "SKYSTITCH_LOG_TID")
        self.log_reporter = _is_left_on(environ, "SW_AGENT_LOG_REPORTER_ACTIVE")
        level = _level(environ.get("SW_AGENT_LOG_REPORTER_LEVEL", ""))
        self.log_reporter_level = level or logging.WARNING
        self.log_reporter_layout = environ.get("SW_AGENT_LOG_REPORTER_LAYOUT", _LAYOUT)
        self.log_reporter_formatted = _is_left_on(environ, "SW_AGENT_LOG_REPORTER_FORMATTED")
        self.log_reporter_safe = _is_on(environ, "SW_AGENT_LOG_REPORTER_SAFE_MODE")
        self.log_ignore_filter = _is_on(environ, "SW_AGENT_LOG_REPORTER_IGNORE_FILTER")

    def disables(self, plugin: str) -> bool:
        """Whether SW_AGENT_DISABLE_PLUGINS names the plugin; as in the SkyWalking agent an
        expression has to match from the name's beginning."""
        return any(pattern.match(plugin) for pattern in self.disabled_plugins)


def _proxy_uids(text: str) -> frozenset[int]:
    own = {0, os.geteuid()}
    if not text:
        return frozenset(own)
    if not text.isdecimal():
        warn_once("uid", "SKYSTITCH_PROXY_UID=%s is not a number: ignored", text)
        return frozenset(own)
    return frozenset(own | {int(text)})


def _patterns(text: str) -> list[re.Pattern[str]]:
    patterns = []
    for expression in filter(None, map(str.strip, text.split(","))):
        try:
            patterns.append(re.compile(expression))
        except re.error as error:
            warn_once(
                f"disable {expression}",
                "SW_AGENT_DISABLE_PLUGINS: %r is not a regular expression (%s): ignored",
                expression,
                error,
            )
    return patterns


def _names(text: str) -> frozenset[str]:
    """A list as the SkyWalking agent takes it: without regard to case, so in upper case here."""
    return frozenset(filter(None, map(str.strip, text.upper().split(","))))


def _length(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        warn_once(name, "%s=%s is not a number: ignored", name, text)
        return default
    return min(int(text), _MAX_LENGTH)


def _is_on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() == "true"


def _is_left_on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() not in _OFF


def _meter_period(environ: Mapping[str, str]) -> int:
    """In seconds; 0: no meters."""
    switches = ("SW_AGENT_METER_REPORTER_ACTIVE", "SW_AGENT_PVM_METER_REPORTER_ACTIVE")
    if not all(_is_left_on(environ, switch) for switch in switches):
        return 0
    return _length(environ, "SW_AGENT_METER_REPORTER_PERIOD", _METER_PERIOD_S) or _METER_PERIOD_S


def _sql(text: str) -> str:
    value = text.strip().lower()
    if value in ("", capture.MASKED, capture.FULL, capture.OFF):
        return value or capture.MASKED
    warn_once("sql", "SKYSTITCH_SQL_STATEMENT=%s is none of masked, full, off: masked", text)
    return capture.MASKED


def _level(text: str) -> int:
    """A name that is none of logging's leaves the level to the app's own logging set-up."""
    level = logging.getLevelName(text.strip().upper())
    return level if isinstance(level, int) else logging.NOTSET
