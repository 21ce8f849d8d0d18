# SPDX-License-Identifier: Apache-2.0
"""A Flask app with the situations that a tracer meets.

APP_AGENT chooses what traces it: skystitch (default), skywalking (the upstream agent), none.
APP_PROPAGATE=1 sets PROPAGATE_EXCEPTIONS, APP_DEBUG=1 the debug mode.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator

import tracing

tracing.start()

import requests  # noqa: E402
from flask import (  # noqa: E402
    Blueprint,
    Flask,
    Response,
    abort,
    g,
    jsonify,
    redirect,
    request,
    send_file,
    stream_with_context,
)
from flask.views import MethodView  # noqa: E402

app = Flask(__name__)
app.config["PROPAGATE_EXCEPTIONS"] = True if os.environ.get("APP_PROPAGATE") else None
app.debug = bool(os.environ.get("APP_DEBUG"))

static = tempfile.NamedTemporaryFile()  # noqa: SIM115 - lives as long as the worker
static.write(b"file " * 20000)
static.flush()


class OutOfStockError(Exception):
    pass


class TeapotError(Exception):
    pass


@app.errorhandler(OutOfStockError)
def out_of_stock(error: OutOfStockError) -> tuple[str, int]:
    return f"out of stock: {error}", 409


@app.errorhandler(TeapotError)
def teapot(error: TeapotError) -> str:
    return f"fine: {error}"


@app.before_request
def gate() -> str | None:
    if request.args.get("gate") == "closed":
        return "closed by before_request"
    if request.args.get("gate") == "broken":
        raise LookupError("before_request broke")
    g.began = time.monotonic()
    return None


@app.after_request
def after(response: Response) -> Response:
    if request.args.get("after") == "broken":
        raise LookupError("after_request broke")
    return response


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.get("/")
def index() -> str:
    return "hello"


@app.get("/users/<int:id>")
def user(id: int) -> Response:
    return jsonify(id=id)


@app.get("/files/<path:name>")
def files(name: str) -> str:
    return name


@app.post("/orders")
def orders() -> tuple[str, int]:
    return "created", 201


@app.get("/abort/<int:status>")
def aborted(status: int) -> Response:
    abort(status)


@app.get("/status/<int:status>")
def status(status: int) -> tuple[str, int]:
    return "", status


@app.get("/handled")
def handled() -> str:
    raise OutOfStockError("bolts")


@app.get("/handled-fine")
def handled_fine() -> str:
    raise TeapotError("tea")


@app.get("/boom/<word>")
def boom(word: str) -> str:
    raise ValueError(f"no such word: {word}")


@app.get("/boom-late/<word>")
def boom_late(word: str) -> str:
    time.sleep(0.05)
    raise ValueError(f"no such word: {word}")


@app.get("/boom-huge/<int:kib>")
def boom_huge(kib: int) -> str:
    raise ValueError("x" * 1024 * kib)


@app.get("/stream")
def stream() -> Response:
    def parts() -> Iterator[str]:
        for part in range(3):
            time.sleep(0.05)
            yield f"part {part}\n"

    return Response(parts(), mimetype="text/plain")


@app.get("/stream-broken")
def stream_broken() -> Response:
    def parts() -> Iterator[str]:
        yield "part 0\n"
        raise RuntimeError("the stream broke")

    return Response(stream_with_context(parts()), mimetype="text/plain")


@app.get("/redirect")
def redirected() -> Response:
    return redirect("/users/1")


@app.get("/slash/")
def slash() -> str:
    return "slash"


@app.get("/teardown-broken")
def teardown_broken() -> str:
    g.break_teardown = True
    return "ok"


@app.teardown_request
def teardown(_: BaseException | None) -> None:
    if g.get("break_teardown"):
        raise LookupError("teardown broke")


class Shelf(MethodView):
    def get(self, place: str) -> str:
        return place

    def delete(self, place: str) -> tuple[str, int]:
        return "", 204


app.add_url_rule("/shelves/<place>", view_func=Shelf.as_view("shelf"))

admin = Blueprint("admin", __name__, url_prefix="/admin")


@admin.get("/reports/<uuid:report>")
def report(report: str) -> str:
    return str(report)


app.register_blueprint(admin)


@app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def echo() -> Response:
    """What the app was given, byte for byte as far as WSGI shows it."""
    return jsonify(
        method=request.method,
        uri=request.environ.get("RAW_URI"),
        headers=[[name, value] for name, value in request.headers],
        remote=request.environ.get("REMOTE_ADDR"),
        body=request.get_data().decode("latin-1"),
        form=request.form.to_dict(),
    )


@app.post("/upload")
def upload() -> Response:
    digest, size = hashlib.sha256(), 0
    while part := request.stream.read(1 << 16):
        digest.update(part)
        size += len(part)
    return jsonify(size=size, sha256=digest.hexdigest())


@app.get("/download/<int:size>")
def download(size: int) -> Response:
    def parts() -> Iterator[bytes]:
        left, block = size, bytes(range(256)) * 256
        while left:
            yield block[:left]
            left -= min(left, len(block))

    headers = {"Content-Length": str(size)} if "length" in request.args else {}
    return Response(parts(), headers=headers, mimetype="application/octet-stream")


@app.get("/file")
def file() -> Response:
    return send_file(static.name, mimetype="text/plain", etag="fixed")


@app.get("/cookies")
def cookies() -> Response:
    response = Response("cookies")
    for number in range(12):
        response.set_cookie(f"c{number}", "x" * 1000)
    return response


@app.get("/sleep/<int:ms>")
def sleep(ms: int) -> str:
    print(f"asleep for {ms} ms", flush=True)
    time.sleep(ms / 1000)
    return f"slept {ms} ms"


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.get("/call")
def call() -> tuple[str, int]:
    """Calls ?url= with requests; its status and text are the answer's."""
    response = requests.get(request.args["url"], timeout=10)
    return response.text, response.status_code


@app.get("/call-headers")
def call_headers() -> Response:
    """The same with headers of the app's own: what they are afterwards."""
    headers = {"X-Caller": "shop"}
    requests.get(request.args["url"], headers=headers, timeout=10)
    return jsonify(headers)


@app.get("/call-session")
def call_session() -> str:
    """Two calls on one session, in order."""
    with requests.Session() as session:
        return ",".join(str(session.get(request.args["url"], timeout=10).status_code) for _ in range(2))


@app.get("/call-in-stream")
def call_in_stream() -> Response:
    url = request.args["url"]

    def parts() -> Iterator[str]:
        yield "before\n"
        yield requests.get(url, timeout=10).text

    return Response(parts(), mimetype="text/plain")


@app.get("/call-in-thread")
def call_in_thread() -> str:
    """A call on a thread of the app's own, that does not carry the request's context."""
    answers: list[int] = []
    url = request.args["url"]
    thread = threading.Thread(target=lambda: answers.append(requests.get(url, timeout=10).status_code))
    thread.start()
    thread.join()
    return str(answers)
