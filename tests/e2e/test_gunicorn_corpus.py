# SPDX-License-Identifier: Apache-2.0
"""The request corpus of gunicorn's own tests (its source archive), sent through the proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Stage, until
from test_request_corpus import Setting, check_clean

pytestmark = pytest.mark.matrix

GUNICORN = "gunicorn==27.0.1"

#: What gunicorn takes and the proxy refuses, and why.
STRICTER = {
    "005": "a target has no fragment (RFC 9112, 3.2)",
    "025": "codings beside chunked are not taken from clients",
    "025_line": "the same",
    "028": "blank before the colon; gunicorn takes it on request only",
    "029": "identity is no coding any more (RFC 9112, 7)",
    "030": "the same",
    "099": "the file has less of a body than it says",
    "compat_obs_fold": "folded lines; gunicorn takes them on request only",
    "compat_obs_fold_huge": "the same",
    "pp_01": "PROXY protocol, which is on at listeners that expect it only",
    "pp_02": "the same",
    "pp_04": "the same",
    "pp_05": "the same",
    "rfc9112_smuggle_gzip_chunked_01": "codings beside chunked are not taken from clients",
    "rfc9112_smuggle_te_identity_chunked_01": "the same",
    "rfc9112_target_absolute_userinfo_01": "user and password have no place in a target (RFC 9110, 4.2.4)",
    "rfc9112_target_authority_connect_01": "CONNECT is for forward proxies",
    "rfc9112_target_authority_ipv6_01": "the same",
}
#: What gunicorn refuses and the proxy passes on as one clean request, and why.
LOOSER = {
    "003c": "a token that is no known method",
    "006": "limits of gunicorn's that its tests set, or its lower ones: its answer reaches the client",
    "007": "the same",
    "008": "the same",
    "010": "the same",
    "011": "the same",
    "012": "the same",
    "017": "the same",
    "limit_header_default_01": "the same",
    "019": "X-Forwarded-Ssl is not read here",
    "040": "names with underscores are left out, as gunicorn does when not told to refuse",
    "chunked_07": "the same",
    "041": "two Content-Types are the app's to judge",
    "rfc9110_trailer_forbidden_cl_01": "trailers are left out",
    "rfc9110_trailer_forbidden_host_01": "the same",
    "rfc9110_trailer_forbidden_te_01": "the same",
    "rfc9112_target_non_ascii_01": "bytes above 127 in a target, as old clients send them; they frame nothing",
    "rfc9112_target_non_ascii_02": "the same",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("gunicorn")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(to), GUNICORN], check=True, timeout=120)
    (archive,) = to.glob("*.tar.gz")
    shutil.unpack_archive(archive, to)
    (root,) = to.glob("gunicorn-*/tests/requests")
    return root


@pytest.fixture(scope="module")
def setting(module_stage: Stage) -> Iterator[Setting]:
    """What is not whole is answered soon: some of what gunicorn refuses is the beginning of a request."""
    return Setting(module_stage, {"timeouts": {"header": "500ms", "body": "500ms"}})


def read(path: Path) -> bytes:
    """As gunicorn's tests read these files: each line ends where `\\r\\n` is written out."""
    data = path.read_bytes().replace(b"\n", b"").replace(b"\\r\\n", b"\r\n")
    data = data.replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\t", b"\t")
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), data)


def with_host(request: bytes) -> bytes:
    """gunicorn asks nobody for a Host."""
    if b"\nhost:" in request.lower():
        return request
    line, end, rest = request.partition(b"\r\n")
    return line + end + b"Host: shop.test\r\n" + rest


def test_what_gunicorn_refuses(setting: Setting, corpus: Path) -> None:
    passed = {}
    files = sorted((corpus / "invalid").glob("*.http"))
    assert len(files) > 40
    for path in files:
        before = len(setting.origin.exchanges)
        with setting.proxy.raw() as client:
            client.send(with_host(read(path)))
            status = client.response()[0].status
        seen = setting.origin.exchanges[before:]
        for exchange in seen:
            check_clean(exchange)
        if status < 400 or seen:
            passed[path.stem] = status
    assert set(passed) == set(LOOSER), passed


def test_what_gunicorn_takes(setting: Setting, corpus: Path) -> None:
    refused = {}
    files = sorted((corpus / "valid").glob("*.http"))
    assert len(files) > 40
    for path in files:
        before = len(setting.origin.exchanges)
        with setting.proxy.raw() as client:
            client.send(with_host(read(path)))
            status = client.response()[0].status
        seen = setting.origin.exchanges[before:]
        for exchange in seen:
            check_clean(exchange)
        if status != 200:
            refused[path.stem] = (status, read(path)[:200])
    assert set(refused) == set(STRICTER), refused
    until(setting.proxy.is_ready, "still ready")
