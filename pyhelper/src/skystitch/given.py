# SPDX-License-Identifier: Apache-2.0
"""Options that the app gives in code, with the names of the SkyWalking agent's config.init()."""

from __future__ import annotations

from typing import Any

from skystitch.log import warn_once

#: What config.init() got, by the environment's names; stronger than the environment.
options: dict[str, str] = {}

#: All variables that the helper reads; config.init() has them without prefix, in lower case.
VARIABLES = frozenset(
    (
        "SKYSTITCH_CHANNEL",
        "SKYSTITCH_CHANNEL_DIR",
        "SKYSTITCH_INSTANCE",
        "SKYSTITCH_LOG_TID",
        "SKYSTITCH_MASK",
        "SKYSTITCH_PROXY_UID",
        "SKYSTITCH_SERVICE",
        "SKYSTITCH_SQL_STATEMENT",
        "SKYSTITCH_TOKEN",
        "SW_AGENT_DISABLE_PLUGINS",
        "SW_AGENT_LOGGING_LEVEL",
        "SW_AGENT_LOG_REPORTER_ACTIVE",
        "SW_AGENT_LOG_REPORTER_FORMATTED",
        "SW_AGENT_LOG_REPORTER_IGNORE_FILTER",
        "SW_AGENT_LOG_REPORTER_LAYOUT",
        "SW_AGENT_LOG_REPORTER_LEVEL",
        "SW_AGENT_LOG_REPORTER_SAFE_MODE",
        "SW_AGENT_METER_REPORTER_ACTIVE",
        "SW_AGENT_METER_REPORTER_PERIOD",
        "SW_AGENT_PVM_METER_REPORTER_ACTIVE",
        "SW_PLUGIN_CELERY_PARAMETERS_LENGTH",
        "SW_PLUGIN_ELASTICSEARCH_TRACE_DSL",
        "SW_PLUGIN_GRPC_IGNORED_METHODS",
        "SW_PLUGIN_HTTP_IGNORE_METHOD",
        "SW_PLUGIN_PYMONGO_PARAMETERS_MAX_LENGTH",
        "SW_PLUGIN_PYMONGO_TRACE_PARAMETERS",
        "SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH",
    )
)

# How names of the agent begin that reports by itself; here the proxy reports.
_PROXYS = ("agent_", "correlation_", "kafka_", "plugin_", "profile_", "sample_", "trace_")


def take(given: dict[str, Any]) -> None:
    """Keeps what is the helper's, says once of all else where it belongs. Never raises."""
    for name, value in given.items():
        names = (f"SW_{name.upper()}", f"SKYSTITCH_{name.upper()}")
        variable = next((known for known in names if known in VARIABLES), None)
        if variable is not None:
            options[variable] = _text(value)
        elif name.startswith(_PROXYS):
            warn_once(
                f"option {name}",
                "config.init(%s=...) is the proxy's now: give it SW_%s, or the option that the"
                " proxy's docs/sw-variables.md names",
                name,
                name.upper(),
            )
        else:
            warn_once(f"option {name}", "config.init(%s=...): there is no such option", name)


def _text(value: Any) -> str:
    """As the environment would have it: lists with commas."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, value))
    return str(value)
