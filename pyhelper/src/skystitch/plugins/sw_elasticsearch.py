# SPDX-License-Identifier: Apache-2.0
"""elasticsearch 7 to 9, sync and async: one Exit span for each call, with its retries."""

from __future__ import annotations

import re
import sys
from typing import Any

from skystitch import capture, exits, wire
from skystitch.patches import NotAvailable, Patches

COMPONENT = 47
# Ids of documents, scrolls and tasks would make each call a name of its own.
_ID = re.compile(r"(/(?:_create|_doc|_explain|_source|_tasks|_termvectors|_update|scroll))/[^/]+")
_MAX_NODES = 3

_patches = Patches()


def install() -> None:
    if _patches:
        return
    for module, name, wrap in (
        ("elastic_transport", "Transport", exits.traced),  # since version 8
        ("elastic_transport", "AsyncTransport", exits.traced_async),
        ("elasticsearch", "Transport", exits.traced),
        ("elasticsearch", "AsyncTransport", exits.traced_async),
    ):
        if module == "elasticsearch" and _patches:
            break
        owner = getattr(sys.modules.get(module), name, None)
        if owner is None:
            continue
        _patches.wrap(owner, "perform_request", wrap(_describe))
    if not _patches:
        raise NotAvailable("elasticsearch has no Transport")


def uninstall() -> None:
    _patches.restore()


def _describe(
    transport: Any, method: Any, target: Any, *args: Any, body: Any = None, **_: Any
) -> exits.Target:
    path = str(target).partition("?")[0]
    tags = [wire.tag("db.type", "Elasticsearch")]
    if capture.Options.elasticsearch and body is not None:
        tags.append(wire.tag("db.statement", capture.shown(body, 2000)))
    name = _ID.sub(r"\1/{id}", path)
    operation = f"Elasticsearch/{method}{name}"
    return exits.Target(COMPONENT, "database", operation, _peer(transport), tags)


def _peer(transport: Any) -> str:
    pool = getattr(transport, "node_pool", None)
    if pool is not None:
        nodes = [f"{node.config.host}:{node.config.port}" for node in pool.all()]
    else:
        nodes = [f"{host['host']}:{host.get('port', 9200)}" for host in transport.hosts]
    return ",".join(nodes[:_MAX_NODES]) or "localhost:9200"
