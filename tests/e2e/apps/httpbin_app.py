# SPDX-License-Identifier: Apache-2.0
"""httpbin with a page that says it is there."""

from __future__ import annotations

from httpbin import app


@app.route("/ready")
def ready() -> str:
    return "ready"
