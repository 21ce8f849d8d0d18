# SPDX-License-Identifier: Apache-2.0
"""The helper's options, read from the environment when the agent starts."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping

from skystitch.log import warn_once


class Config:
    """The options as values. Whatever cannot be understood is said and then left out: an option
    must never keep an app from starting."""

    __slots__ = (
        "channel_directory",
        "disabled_plugins",
        "ignored_grpc_methods",
        "ignored_methods",
        "log_level",
        "proxy_uids",
        "token",
    )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.channel_directory = environ.get("SKYSTITCH_CHANNEL_DIR", "").rstrip("/")
        self.token = environ.get("SKYSTITCH_TOKEN", "")
        self.proxy_uids = _proxy_uids(environ.get("SKYSTITCH_PROXY_UID", ""))
        self.disabled_plugins = _patterns(environ.get("SW_AGENT_DISABLE_PLUGINS", ""))
        self.ignored_grpc_methods = _names(environ.get("SW_PLUGIN_GRPC_IGNORED_METHODS", ""))
        self.ignored_methods = _names(environ.get("SW_PLUGIN_HTTP_IGNORE_METHOD", ""))
        self.log_level = _level(environ.get("SW_AGENT_LOGGING_LEVEL", ""))

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


def _level(text: str) -> int:
    """A name that is none of logging's leaves the level to the app's own logging set-up."""
    level = logging.getLevelName(text.strip().upper())
    return level if isinstance(level, int) else logging.NOTSET
