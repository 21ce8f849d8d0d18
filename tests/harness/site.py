# SPDX-License-Identifier: Apache-2.0
"""An app behind its proxy, the proxy reporting to a collector: what most tests look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from harness.collector import Collector, Segment
from harness.gunicorn import Gunicorn
from harness.process import Stage
from harness.skystitch import Skystitch


class Site:
    def __init__(
        self,
        stage: Stage,
        app: str,
        *,
        name: str = "shop",
        collector: Collector | None = None,
        config: Mapping[str, Any] | None = None,
        **gunicorn: Any,
    ) -> None:
        self.collector = collector or Collector(stage, f"{name}-collector")
        self.app = Gunicorn(stage, app, name=f"{name}-app", **gunicorn)
        self.proxy = Skystitch(
            stage,
            self.app.address,
            name=f"{name}-proxy",
            service=name,
            collector=self.collector,
            config=config,
        )

    def traced(self, method: str, path: str, **options: Any) -> tuple[requests.Response, Segment]:
        """One request and the one segment that comes of it."""
        self.collector.clear()
        response = self.proxy.request(method, path, **options)
        return response, self.collector.one(lambda segment: segment.service == self.proxy.service)

    def get(self, path: str, **options: Any) -> tuple[requests.Response, Segment]:
        return self.traced("GET", path, **options)
