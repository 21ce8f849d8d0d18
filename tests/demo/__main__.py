# SPDX-License-Identifier: Apache-2.0
"""The demo; see ./dev help."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests
from google.protobuf.json_format import ParseDict
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject

from demo.tree import tree
from harness import Gunicorn, Segment, Skystitch, Span, Stage, until
from harness.collector import decode
from harness.process import free_port
from oap import Oap

APPS = Path(__file__).parent / "apps"
HELP = """
  {shop}/items/7         the shop asks the stock service
  {shop}/items/13        the stock service raises: see its stack in the trace
  {shop}/checkout/cart   the shop raises
  {traces:<36} {what}

Ctrl-C ends everything."""


class Demo:
    """shop: 8080, admin 9411. stock: 8081, admin 9412. With any_port, ports that are free."""

    def __init__(self, stage: Stage, *, any_port: bool, oap: bool) -> None:
        def port(number: int) -> int:
            return free_port() if any_port else number

        self.oap = Oap(stage) if oap else None
        stock_app = Gunicorn(stage, "stock:application", name="stock-app", worker_class="gthread", apps=APPS)
        stock_port, shop_admin = port(8081), port(9411)
        shop_app = Gunicorn(
            stage,
            "shop:app",
            name="shop-app",
            worker_class="gthread",
            apps=APPS,
            env={"STOCK_URL": f"http://127.0.0.1:{stock_port}"},
        )
        shop_reporter: dict[str, Any] = {}
        stock_reporter: dict[str, Any] = {"protocol": "http", "backends": [f"127.0.0.1:{shop_admin}"]}
        if self.oap:
            shop_reporter = stock_reporter = {"backends": [self.oap.address]}
        self.shop = Skystitch(
            stage,
            shop_app.address,
            name="shop",
            service="shop",
            port=port(8080),
            admin_port=shop_admin,
            config={"reporter": shop_reporter},
        )
        self.stock = Skystitch(
            stage,
            stock_app.address,
            name="stock",
            service="stock",
            port=stock_port,
            admin_port=port(9412),
            config={"reporter": stock_reporter},
        )

    def trace_ids(self) -> list[str]:
        if self.oap:
            return self.oap.trace_ids("shop") if self.oap.service("shop") else []
        return [trace["traceId"] for trace in self.shop.admin("/api/traces").json()["traces"]]

    def trace(self, trace_id: str) -> list[Segment]:
        if self.oap:
            return self.oap.trace(trace_id)
        answer = self.shop.admin(f"/api/traces/{trace_id}").json()
        return [decode(ParseDict(segment, SegmentObject())) for segment in answer["segments"]]

    def request(self, path: str, whole: Callable[[list[Segment]], bool]) -> list[Segment]:
        """Makes one request; its trace, as soon as it is whole (or time is up)."""
        before = set(self.trace_ids())
        status = self.shop.get(path).status_code
        print(f"\nGET {path}: {status}")
        segments: list[Segment] = []

        def found() -> bool:
            nonlocal segments
            new = [trace_id for trace_id in self.trace_ids() if trace_id not in before]
            segments = self.trace(new[0]) if new else []
            return whole(segments)

        try:
            until(found, "the trace is whole", timeout=60 if self.oap else 10)
        except AssertionError as late:
            print(f"not whole: {late}")
        print(tree(segments) if segments else "no trace")
        return segments


def by_service(segments: Sequence[Segment]) -> dict[str, Segment]:
    return {segment.service: segment for segment in segments}


def linked(segments: Sequence[Segment]) -> bool:
    """Whether the trace goes from the shop's route through its call to the stock service's route."""
    found = by_service(segments)
    if len(segments) != 2 or set(found) != {"shop", "stock"}:
        return False
    shop, stock = found["shop"], found["stock"]
    exits = shop.of_type("Exit")
    refs = stock.entry.refs
    return (
        shop.entry.operation == "GET:/items/<int:id>"
        and stock.entry.operation == "GET:/stock/<int:item>"
        and len(exits) == 1
        and len(refs) == 1
        and (refs[0].segment, refs[0].span) == (shop.id, exits[0].id)
    )


def raised(segment: Segment, kind: str) -> bool:
    logs = [log.data for span in segment.spans for log in span.logs]
    return segment.entry.error and any(
        log.get("error.kind") == kind and "Traceback" in log.get("stack", "") for log in logs
    )


NOTHING = Segment("", "", "", "", False, (Span(0, -1, "Entry", "", "", "", 0, False, 0, 0, (), (), ()),))


def once(demo: Demo) -> int:
    """Makes the requests and checks their traces; the exit status."""
    checks = {
        "one trace over both services, with both routes": linked(demo.request("/items/7", linked)),
        "an exception of the stock service with its stack": raised(
            by_service(demo.request("/items/13", linked)).get("stock", NOTHING), "KeyError"
        ),
        "an exception of the shop with its stack": raised(
            by_service(demo.request("/checkout/cart", lambda found: len(found) == 1)).get("shop", NOTHING),
            "ValueError",
        ),
    }
    print()
    for what, good in checks.items():
        print(f"{'ok    ' if good else 'FAILED'} {what}")
    return 0 if all(checks.values()) else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev demo")
    parser.add_argument("--binary", type=Path, default=Skystitch.binary)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--oap", action="store_true")
    options = parser.parse_args()
    Skystitch.binary = options.binary.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stage = Stage(Path(tempfile.mkdtemp(prefix="sky-demo-")))
    try:
        demo = Demo(stage, any_port=options.once, oap=options.oap)
        if options.once:
            return once(demo)
        if demo.oap:
            traces, what = f"http://127.0.0.1:{demo.oap.rest_port}/graphql", "OAP's GraphQL, with the traces"
        else:
            traces, what = f"http://127.0.0.1:{demo.shop.admin_port}/", "the traces"
        print(HELP.format(shop=demo.shop.url, traces=traces, what=what), flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print()
    except (AssertionError, requests.RequestException) as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        stage.close()
        shutil.rmtree(stage.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
