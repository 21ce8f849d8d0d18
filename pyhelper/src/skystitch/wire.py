# SPDX-License-Identifier: Apache-2.0
"""The stitch protocol, version 1, and sw8 as bytes and values. Pure: no clock, no I/O."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from json.encoder import encode_basestring
from typing import Any, NamedTuple

#: A text as JSON.
quoted = encode_basestring

MAX_MESSAGE_BYTES = 48 * 1024
MAX_DATA_BYTES = 4 * 1024
MAX_PARTS = 64
MAX_HEADER_BYTES = 512

# Leaves room in MAX_HEADER_BYTES for the version, component, two times, `more` and separators.
_MAX_ROUTE_BYTES = MAX_HEADER_BYTES - 80

# SkyWalking's limits for what sw8 carries, in characters.
_MAX_ENDPOINT = 150
_MAX_ADDRESS = 150

_SW8_FIELDS = 8
_MAX_KNOWN = 512
_MAX_T0_DIGITS = 18
_SEPARATORS = (3, 4)  # without and with a mac
#: What an operation's name has as its method; others are OTHER.
METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)
_ESCAPES = [
    chr(byte) if 0x21 <= byte <= 0x7E and byte not in b"%;" else f"%{byte:02X}"
    for byte in range(256)
]
_SURROGATES = re.compile("[\ud800-\udfff]")


class Request(NamedTuple):
    """The request's sw8-stitch."""

    channel: str
    t0: int  # microseconds since 1970
    sampled: bool  # whether the segment will be reported; else it may be, for an exception
    mac: str  # empty: none


class Route:
    """What a route says about every request to it: built once, then cached."""

    __slots__ = ("handler", "head", "operation", "tail")

    def __init__(self, component: int, handler: str = "", operation: str = "") -> None:
        self.handler = handler  # module.qualname of the view; empty: no Local span
        self.operation = operation  # METHOD:/route; empty: no route known
        #: The answer header up to its times.
        self.head = f"1;{component};"
        #: What follows the times when there are no messages; empty if it is too long for a header.
        self.tail = f";0;{escape(handler)};{escape(operation)}"
        if len(self.tail) > _MAX_ROUTE_BYTES:
            self.tail = ""


class Sw8(NamedTuple):
    """The received sw8: what goes on into the next one as it came, and our segment's id."""

    sample: str
    trace_id: str  # base64, as received
    segment_id: str  # base64, as received
    service: str  # base64, as received
    instance: str  # base64, as received
    endpoint: str  # base64, as received
    segment: str
    text: str = ""  # all of it, as received


def parse_request(field: str) -> Request | None:
    """Reads the request's sw8-stitch. None for anything that is not version 1 to the letter."""
    version, _, rest = field.partition(";")
    channel, _, rest = rest.partition(";")
    t0, _, rest = rest.partition(";")
    flags, _, mac = rest.partition(";")
    if version != "1" or not channel or not t0.isdecimal() or len(t0) > _MAX_T0_DIGITS:
        return None
    if field.count(";") not in _SEPARATORS or (flags and not flags.isalpha()):
        return None
    return Request(channel, int(t0), "s" in flags, mac)


def parse_sw8(value: str) -> Sw8 | None:
    """Reads an sw8, version 3. None for a defective one."""
    parts = value.split("-")
    if len(parts) != _SW8_FIELDS or not all(parts):
        return None
    sample, trace_id, segment_id, _, service, instance, endpoint, _ = parts
    try:
        segment = a2b_base64(segment_id).decode()
    except ValueError:
        return None
    if not segment:
        return None
    return Sw8(sample, trace_id, segment_id, service, instance, endpoint, segment, value)


def exit_sw8(received: Sw8, operation: str) -> tuple[str, str]:
    """The sw8 of all outgoing calls of a request, before and after the calling span, up to the
    address(): ours, with the operation of the request that is being answered as far as known."""
    endpoint = _encoded(operation[:_MAX_ENDPOINT]) if operation else received.endpoint
    return (
        f"{received.sample}-{received.trace_id}-{received.segment_id}-",
        f"-{received.service}-{received.instance}-{endpoint}-",
    )


def address(peer: str) -> str:
    """The last field of an outgoing call's sw8: the address that is called."""
    return _known_base64.get(peer) or _encoded(peer[:_MAX_ADDRESS])


def new_sw8(sample: str, trace: str, segment: str, span: int, names: tuple[str, ...]) -> str:
    """The sw8 of a call from a segment of ours. names: service, instance, endpoint, address."""
    encoded = [base64_text(name[:_MAX_ADDRESS]) for name in names]
    return "-".join((sample, base64_text(trace), base64_text(segment), str(span), *encoded))


def parse_correlation(value: str) -> dict[str, str]:
    """Reads an sw8-correlation; defective elements are left out."""
    elements = {}
    for element in value.split(","):
        key, _, text = element.partition(":")
        try:
            elements[a2b_base64(key.strip()).decode()] = a2b_base64(text.strip()).decode()
        except ValueError:
            continue
    elements.pop("", None)
    return elements


def write_correlation(elements: dict[str, str]) -> str:
    return ",".join(f"{base64_text(key)}:{base64_text(value)}" for key, value in elements.items())


def text_of_base64(value: str) -> str:
    try:
        return a2b_base64(value).decode()
    except ValueError:
        return ""


# Operations and peers: few, again and again.
_known_base64: dict[str, str] = {}


def _encoded(text: str) -> str:
    known = _known_base64.get(text)
    if known is None:
        if len(_known_base64) >= _MAX_KNOWN:
            _known_base64.clear()
        known = _known_base64[text] = base64_text(text)
    return known


def base64_text(text: str) -> str:
    return base64_bytes(clean(text).encode())


def base64_bytes(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


def clean(text: str) -> str:
    """Makes a text that every JSON reader takes: no NUL, U+FFFD for lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def escape(text: str) -> str:
    """Writes a text as a field of the answer header: %XX for bytes that do not belong there."""
    return "".join(map(_ESCAPES.__getitem__, clean(text).encode()))


def operation(method: str, script_name: str, route: str) -> str:
    """METHOD:/route as SkyWalking writes it. script_name is WSGI's, bytes as Latin-1."""
    if method not in METHODS:
        method = "OTHER"
    mount = script_name.rstrip("/")
    if not mount.isascii():
        mount = mount.encode("latin-1", "replace").decode("utf-8", "replace")
    return f"{method}:{mount}{route}"


def handler_name(view: object) -> str:
    """module.qualname of a view: a function, a class, a functools.partial or another callable."""
    for attribute in ("view_class", "cls"):  # what as_view() of Flask, Django, DRF leaves behind
        view = getattr(view, attribute, view)
    while not hasattr(view, "__qualname__") and hasattr(view, "func"):
        view = view.func
    if not hasattr(view, "__qualname__"):
        view = type(view)
    return f"{view.__module__}.{view.__qualname__}"


def answer(component: int, begin: int, duration: int, more: str, route: Route) -> str:
    """The answer's sw8-stitch. A route that is too long for it is left to the message."""
    fields = route.tail[len(";0;") :] or ";"
    return f"1;{component};{begin};{duration};{more};{fields}"


def status_code(status: str) -> int:
    """The number of a WSGI status; 0 if there is none."""
    digits = status[:3]
    return int(digits) if digits.isdecimal() else 0


def head(segment: str, component: int, route: Route, *, ignored: bool = False) -> dict[str, Any]:
    """What each message of a request's segment says apart from the spans."""
    made: dict[str, Any] = {"v": 1, "segment": segment, "component": component}
    if route.handler:
        made["handler"] = route.handler
    if route.operation:
        made["operation"] = route.operation
    if ignored:
        made["ignored"] = True
    return made


def tag(key: str, value: str) -> str:
    """A tag of a span as it is written."""
    return f"[{quoted(key)},{quoted(value)}]"


def span(
    span: int,
    parent: int,
    kind: str,
    layer: str,
    component: int,
    operation: str,
    peer: str,
    tags: list[str] | None,
    begin: int,
    duration: int,
    failed: bool,
    logs: list[dict[str, Any]] | None,
) -> str:
    """A span as it is written; examples are in tests/vectors/stitch.json. By hand: an encoder takes
    four times as long, and each outgoing call pays for it. tags: as tag() writes them."""
    more = f',"peer":{quoted(peer)}' if peer else ""
    if tags is not None:
        more = f'{more},"tags":[{",".join(tags)}]'
    if failed:
        more = f'{more},"error":true'
    if logs:
        more = f'{more},"logs":{_encode(logs)}'
    return (
        f'{{"id":{span},"parent":{parent},"type":"{kind}","layer":{quoted(layer)},'
        f'"component":{component},"operation":{quoted(operation)},'
        f'"begin":{begin},"duration":{duration}{more}}}'
    )


def messages(
    head: dict[str, Any],
    spans: list[str],
    limit: int = MAX_MESSAGE_BYTES,
    max_parts: int = MAX_PARTS,
    first: int = 0,
) -> tuple[list[bytes], int]:
    """Writes the closing message of a segment, in as many parts as the limit makes necessary, or
    at most max_parts, numbered from first. Returns them and the number of spans that found no
    place."""
    whole = _message({**head, "seq": first, "last": True}, spans)
    if len(whole) <= limit:
        return [whole], 0
    room = limit - len(_message({**head, "seq": 999, "last": False, "cut": True}, []))
    groups: list[list[str]] = [[]]
    left, cut, dropped = room, False, 0
    for span in spans:
        text, shortened = _fit(span, room)
        cut = cut or shortened
        size = len(_bytes(text)) + 1
        if size > left and groups[-1] and len(groups) < max_parts:
            groups.append([])
            left = room
        if size > left:
            dropped += 1
            continue
        groups[-1].append(text)
        left -= size
    if cut or dropped:
        head = {**head, "cut": True}
    last = len(groups) - 1
    parts = [
        _message({**head, "seq": first + number, "last": number == last}, group)
        for number, group in enumerate(groups)
    ]
    return parts, dropped


def opening(head: dict[str, Any]) -> bytes:
    """Writes a first part that says what is known before there are spans."""
    return _message({**head, "seq": 0, "last": False}, [])


def word(process: str, said: dict[str, Any]) -> bytes:
    """Writes what a process says of itself: properties, meters, log records."""
    return _bytes(_encode({"v": 1, "process": process, **said}))


def _message(head: dict[str, Any], spans: list[str]) -> bytes:
    return _bytes(f'{_encode(head)[:-1]},"spans":[{",".join(spans)}]}}')


def _fit(span: str, room: int) -> tuple[str, bool]:
    """A span with its longest texts halved until it fits. What is said last in a stack is nearest
    to the failure, so the beginning goes."""
    if len(_bytes(span)) < room:
        return span, False
    told, shortened = json.loads(span), False
    while len(_bytes(span)) >= room:
        pairs = [pair for log in told.get("logs", ()) for pair in log["data"]]
        pairs += told.get("tags", ())
        longest = max(pairs, key=lambda pair: len(pair[1]), default=None)
        if longest is None or len(longest[1]) < 64:
            break
        longest[1] = f"...\n{longest[1][-(len(longest[1]) // 2) :]}"
        shortened = True
        span = _encode(told)
    return span, shortened


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _bytes(text: str) -> bytes:
    """JSON in UTF-8, without NUL and lone surrogates."""
    if "\\u0000" in text:
        text = _encode(_cleaned(json.loads(text)))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value
