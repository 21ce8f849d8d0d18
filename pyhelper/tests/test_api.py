# SPDX-License-Identifier: Apache-2.0
"""What an app says of itself: local spans, tags, logs, correlation; threads that go on with it."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import skystitch
from calls import HANDLER, Origin, exit_span, expected
from conftest import TRACE, Client, app_span, b64, log
from skystitch.scope import current, find_scope

requests = pytest.importorskip("requests")


def local(operation: str, span: int = 2, parent: int = 1, **extra: Any) -> dict[str, Any]:
    return {
        "id": span,
        "parent": parent,
        "type": "local",
        "layer": "unknown",
        "component": 0,
        "operation": operation,
        "tags": [],
        **extra,
    }


def event(*data: list[str]) -> dict[str, Any]:
    return {"data": [list(pair) for pair in data]}


def spans_of(answer: Any) -> list[dict[str, Any]]:
    """Without the app's, which is the first; in the order of their ids."""
    made = timeless_logs(answer.message)
    return sorted(made["spans"][1:], key=lambda span: span["id"])


def timeless_logs(message: dict[str, Any]) -> dict[str, Any]:
    for span in message["spans"]:
        span.pop("begin"), span.pop("duration")
        for entry in span.get("logs", ()):
            entry.pop("at")
            entry["data"] = [pair for pair in entry["data"] if pair[0] != "stack"]
    return message


def test_spans_nest(run: Any, origin: Origin) -> None:
    def call() -> None:
        with skystitch.span("outer", tags={"size": 640}) as outer:
            with skystitch.span("inner", component=7000, layer="cache") as inner:
                requests.get(f"{origin.url}/x", timeout=5)
                inner.tag("n", 1)
            outer.log("halfway", step=2)
        requests.get(f"{origin.url}/y", timeout=5)

    assert spans_of(run(call)) == [
        local("outer", tags=[["size", "640"]], logs=[event(["event", "halfway"], ["step", "2"])]),
        local("inner", 3, 2, component=7000, layer="cache", tags=[["n", "1"]]),
        {**exit_span(origin, "/x", 7002, "200"), "id": 4, "parent": 3},
        {**exit_span(origin, "/y", 7002, "200"), "id": 5},
    ]


def test_exceptions_go_on(run: Any) -> None:
    def call() -> None:
        with pytest.raises(KeyError), skystitch.span("failing"):
            raise KeyError("k")
        with skystitch.span("handled") as handled:
            handled.error(ValueError("v"))

    spans = spans_of(run(call))
    assert spans == [
        local("failing", error=True, logs=[log("KeyError", "'k'")]),
        local("handled", 3, error=True, logs=[log("ValueError", "v")]),
    ]


@skystitch.trace
def price(item: str) -> str:
    """What it costs."""
    if item == "none":
        raise LookupError(item)
    return f"price of {item}"


@skystitch.trace("all prices", tags={"kind": "batch"})
async def prices() -> list[str]:
    await asyncio.sleep(0)
    return [price("a")]


@skystitch.trace()
def count(to: int) -> Iterator[int]:
    for number in range(to):
        with skystitch.span(f"step {number}"):
            yield number


@skystitch.trace
async def count_async(to: int) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(0)
        price(str(number))
        yield number


def test_decorated_functions(run: Any) -> None:
    def call() -> list[str]:
        with pytest.raises(LookupError) as raised:
            price("none")
        if sys.version_info >= (3, 11):  # before that, tracebacks cannot be mended
            assert [entry.name for entry in raised.traceback] == ["call", "price"]
        return asyncio.run(prices())

    answer = run(call)
    assert answer.result == ["price of a"]
    name = f"{__name__}.price"
    assert spans_of(answer) == [
        local(name, error=True, logs=[log("LookupError", "none")]),
        local("all prices", 3, tags=[["kind", "batch"]]),
        local(name, 4, 3),
    ]


def test_decorated_functions_look_the_same() -> None:
    assert (price.__name__, price.__doc__) == ("price", "What it costs.")
    assert inspect.iscoroutinefunction(prices)
    assert inspect.isgeneratorfunction(count)
    assert inspect.isasyncgenfunction(count_async)
    assert str(inspect.signature(price)) == "(item: 'str') -> 'str'"
    assert [price("x"), list(count(2)), asyncio.run(prices())] == [
        "price of x",
        [0, 1],
        ["price of a"],
    ]


def test_generators(run: Any) -> None:
    """Their span is not the scope of who iterates."""

    def call() -> None:
        first = count(2)
        assert next(first) == 0
        with skystitch.span("between"):
            pass
        assert list(first) == [1]
        second = count(5)
        next(second)
        second.close()

        async def iterate() -> None:
            async for number in count_async(2):
                with skystitch.span(f"between {number}"):
                    pass

        asyncio.run(iterate())

    name = f"{__name__}.count"
    made = [(span["operation"], span["id"], span["parent"]) for span in spans_of(run(call))]
    assert made == [
        (name, 2, 1),
        ("step 0", 3, 2),
        ("between", 4, 1),  # not in the block that the generator has left open
        ("step 1", 5, 2),
        (name, 6, 1),
        ("step 0", 7, 6),
        (f"{name}_async", 8, 1),
        (f"{__name__}.price", 9, 8),
        ("between 0", 10, 1),
        (f"{__name__}.price", 11, 8),
        ("between 1", 12, 1),
    ]


def test_what_is_sent_to_a_generator_arrives() -> None:
    @skystitch.trace
    def echo() -> Iterator[Any]:
        got = None
        while True:
            try:
                got = yield got
            except KeyError as error:
                got = error

    made = echo()
    assert next(made) is None
    assert made.send(5) == 5
    assert isinstance(made.throw(KeyError()), KeyError)
    made.close()


def test_tags_and_logs_of_the_request(run: Any) -> None:
    def call() -> None:
        skystitch.set_tag("user", 7)
        skystitch.add_log("cache miss", key="k")
        skystitch.add_error(ValueError("handled"))
        with skystitch.span("inner"):
            skystitch.set_tag("inner", "1")

    message = timeless_logs(run(call).message)
    app = app_span(HANDLER, 7001, [event(["event", "cache miss"], ["key", "k"])])
    app["logs"].append(log("ValueError", "handled"))
    app["tags"] = [["user", "7"]]
    assert message == expected_without(app, local("inner", tags=[["inner", "1"]]))


def expected_without(*spans: dict[str, Any]) -> dict[str, Any]:
    return {**expected(), "spans": list(spans)}


def test_trace_id(run: Any) -> None:
    assert skystitch.current_trace_id() == ""

    def call() -> list[str]:
        with skystitch.span("inner"):
            return [skystitch.current_trace_id()]

    assert run(call).result == [TRACE]


def test_correlation(run: Any, origin: Origin) -> None:
    def call() -> list[Any]:
        done = [skystitch.get_correlation("user"), skystitch.get_correlation("none")]
        done += [skystitch.set_correlation("cart", "é"), skystitch.set_correlation("x", "1")]
        done += [
            skystitch.set_correlation("fourth", "1"),
            skystitch.set_correlation("x", "v" * 129),
        ]
        requests.get(origin.url, timeout=5)
        done += [skystitch.set_correlation("user", "")]
        requests.get(origin.url, timeout=5)
        return done

    answer = run(call, headers={"sw8-correlation": f"{b64('user')}:{b64('7')},broken"})
    assert answer.result == ["7", "", True, True, False, False, True]
    rest = f"{b64('cart')}:{b64('é')},{b64('x')}:{b64('1')}"
    assert [headers["sw8-correlation"] for _, headers in origin.seen] == [
        f"{b64('user')}:{b64('7')},{rest}",
        rest,
    ]
    assert skystitch.set_correlation("a", "b") is False
    assert skystitch.get_correlation("a") == ""


def test_ignore(run: Any, origin: Origin) -> None:
    def call() -> None:
        requests.get(origin.url, timeout=5)
        skystitch.ignore()
        requests.get(origin.url, timeout=5)
        skystitch.set_tag("a", "b")

    answer = run(call)
    assert answer.message == {**expected(), "ignored": True, "spans": []}
    assert [value and value[0] for value in origin.sw8s()] == ["1", "0"]


def test_threads(run: Any, origin: Origin) -> None:
    def work() -> str:
        requests.get(origin.url, timeout=5)
        return skystitch.current_trace_id()

    def call() -> list[str]:
        found: list[str] = []
        with skystitch.span("pool"), ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(work).result())
            found += pool.map(lambda _: work(), [1])
            with pytest.raises(ZeroDivisionError) as raised:
                pool.submit(lambda: 1 / 0).result()
        if sys.version_info >= (3, 11):
            assert "skystitch" not in {entry.path.parent.name for entry in raised.traceback}
        thread = threading.Thread(target=skystitch.runnable(lambda: found.append(work())))
        thread.start()
        thread.join()
        plain = threading.Thread(target=lambda: found.append(skystitch.current_trace_id()))
        plain.start()
        plain.join()
        return found

    answer = run(call)
    assert answer.result == [TRACE] * 3 + [""]
    assert [(span["operation"], span["parent"]) for span in spans_of(answer)] == [
        ("pool", 1),
        ("/", 2),
        ("/", 2),
        ("/", 1),
    ]


def test_tasks(run: Any) -> None:
    async def task(number: int) -> None:
        async with skystitch.span(f"task {number}"):
            await asyncio.sleep(0.001)
            with skystitch.span(f"in {number}"):
                await asyncio.sleep(0)

    def in_thread() -> None:
        with skystitch.span("in thread"):
            pass

    async def main() -> None:
        await asyncio.gather(task(0), task(1))
        await asyncio.to_thread(in_thread)

    spans = spans_of(run(lambda: asyncio.run(main())))
    ids = {span["operation"]: span["id"] for span in spans}
    parents = {span["operation"]: span["parent"] for span in spans}
    assert parents == {
        "task 0": 1,
        "task 1": 1,
        "in 0": ids["task 0"],
        "in 1": ids["task 1"],
        "in thread": 1,
    }


def test_gevent(run: Any) -> None:
    gevent = pytest.importorskip("gevent")

    def call() -> None:
        def work(number: int) -> None:
            with skystitch.span(f"greenlet {number}"):
                gevent.sleep(0)
                skystitch.set_tag("n", number)

        gevent.joinall([gevent.spawn(skystitch.runnable(work), n) for n in range(2)])

    assert [(span["operation"], span["tags"]) for span in spans_of(run(call))] == [
        ("greenlet 0", [["n", "0"]]),
        ("greenlet 1", [["n", "1"]]),
    ]


def test_nothing_outside_of_a_request() -> None:
    with skystitch.span("x") as made:
        made.tag("a", "b")
        made.log("e")
        made.error(ValueError())
        skystitch.set_tag("a", "b")
        skystitch.add_log("e")
        skystitch.add_error(ValueError())
        skystitch.ignore()
        assert find_scope() is None
    assert skystitch.runnable(price) is price


def test_span_that_ends_after_the_request(run: Any, client: Client) -> None:
    kept: list[Any] = []

    def call() -> None:
        made = skystitch.span("open")
        made.__enter__()
        kept.append(made)

    assert run(call).messages == []
    kept[0].__exit__(None, None, None)
    current.set(None)


def test_defects_do_not_reach_the_app(run: Any) -> None:
    class Loud:
        def __str__(self) -> str:
            raise RuntimeError("the app's own")

    def call() -> str:
        with skystitch.span("x", tags={"a": Loud()}):
            return "passed"

    assert run(call).result == "passed"
