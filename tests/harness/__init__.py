# SPDX-License-Identifier: Apache-2.0
"""The actors of end-to-end tests and of the demo: proxy, app server, collector, origin, clients."""

from harness.collector import Collector, Log, Ref, Segment, Span
from harness.gunicorn import Gunicorn
from harness.http2 import FrameClient
from harness.origin import Exchange, Origin
from harness.pki import Pair, Pki
from harness.process import Process, Stage, free_port, until
from harness.raw import RawClient
from harness.site import Site
from harness.skystitch import Skystitch, run
from harness.tls_origin import TlsOrigin
from harness.uvicorn import Uvicorn
from harness.uwsgi import Uwsgi

__all__ = [
    "Collector",
    "Exchange",
    "FrameClient",
    "Gunicorn",
    "Log",
    "Origin",
    "Pair",
    "Pki",
    "Process",
    "RawClient",
    "Ref",
    "Segment",
    "Site",
    "Skystitch",
    "Span",
    "Stage",
    "TlsOrigin",
    "Uvicorn",
    "Uwsgi",
    "free_port",
    "run",
    "until",
]
