# SPDX-License-Identifier: Apache-2.0
"""Whether a request proves that it comes from the proxy, for when there is no local channel."""

from __future__ import annotations

import hashlib
import hmac

_MAX_AGE_US = 60_000_000


def is_genuine(token: str, segment: str, t0: int, mac: str, now_us: int) -> bool:
    """Compares the request's mac with the one that the shared token gives for its segment and time;
    a genuine one that is older than a minute may have been recorded and sent again."""
    if not token or not mac or abs(now_us - t0) > _MAX_AGE_US:
        return False
    text = f"{segment};{t0}".encode()
    expected = hmac.new(token.encode(), text, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), mac.lower().encode("utf-8", "replace"))
