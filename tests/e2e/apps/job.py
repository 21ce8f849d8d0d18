# SPDX-License-Identifier: Apache-2.0
"""A job without a request: calls the URL of its first argument within a span."""

import sys
import urllib.request

from skystitch import agent

agent.start()

import skystitch  # noqa: E402

with skystitch.span("nightly", tags={"run": 1}):
    urllib.request.urlopen(sys.argv[1], timeout=10).read()
print(skystitch.current_trace_id() or "none")
